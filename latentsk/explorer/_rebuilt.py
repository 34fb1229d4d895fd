"""Images as the latent space sees them, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from latentsk._device import on_host
from latentsk.explorer._columns import as_text
from latentsk.explorer._model import entering, last_step
from latentsk.explorer._pictures import Bytes, Pictures


@dataclass(frozen=True)
class Rebuilt:
    """Reconstructed images.

    Attributes
    ----------
    images : ndarray of shape (n_rows, height, width, n_channels) or None
        None: there are none.

    missing : str or None
        Why there are none.
    """

    images: Bytes | None
    missing: str | None


def rebuilt_images(
    embedder: Any, X: Any, rows: NDArray[np.int64], pictures: Pictures
) -> Rebuilt:
    """Return some rows of X as the latent space sees them.

    Parameters
    ----------
    embedder : fitted transformer or None

    X : array-like
        All rows.

    rows : ndarray of shape (n_rows,)

    pictures : Pictures
    """
    name = type(last_step(embedder)).__name__
    if embedder is None:
        return Rebuilt(None, "there is no embedder that leads back to rows")
    if not any(hasattr(embedder, n) for n in ("reconstruct", "inverse_transform")):
        missing = f"the embedder, {name}, has neither reconstruct nor inverse_transform"
        return Rebuilt(None, missing)
    if pictures.layout is None:
        return Rebuilt(
            None,
            "the rows that the models take are not the images that are shown here "
            "(flat rows must have their channels first)",
        )
    try:
        found = _rebuilt(embedder, entering(embedder, _safe_indexing(X, rows)))
    except (TypeError, ValueError) as error:  # it needs conditions, say
        return Rebuilt(None, f"{name} says: {as_text(error)}")
    images = pictures.rebuilt(found)
    if images is None:
        return Rebuilt(None, f"what {name} returns has another shape than the images")
    return Rebuilt(images, None)


def _rebuilt(embedder: Any, X: Any) -> Any:
    if hasattr(embedder, "reconstruct"):
        return on_host(embedder.reconstruct(X))
    return on_host(embedder.inverse_transform(embedder.transform(X)))

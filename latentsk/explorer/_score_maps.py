"""What pixels add to scores that are those of one window of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from latentsk.display._image_explanation import lowest_window, mapping_embedder
from latentsk.explorer._encoding import rounded, smallest
from latentsk.explorer._model import entering


@dataclass(frozen=True)
class ScoreMaps:
    """Score maps of some images, with the window that each score is the sum of.

    Attributes
    ----------
    size : int
        Rows and columns of a window.

    arrays : dict of str to ndarray
        "score_map" of shape (n_rows, height, width); "window" of shape (n_rows, 2), the
        first row and column of each window.
    """

    size: int
    arrays: dict[str, NDArray[Any]]


def score_maps(scorer: Any, X: Any, rows: NDArray[np.int64]) -> ScoreMaps | None:
    """Return the score maps of some rows; None where no score is that of a window.

    Parameters
    ----------
    scorer : fitted object or None

    X : array-like
        All rows.

    rows : ndarray of shape (n_rows,)
    """
    embedder = mapping_embedder(scorer)
    size = getattr(embedder, "score_window", None)
    if embedder is None or size is None or len(rows) == 0:
        return None
    maps = embedder.score_map(entering(embedder, _safe_indexing(X, rows)))
    windows = smallest([lowest_window(found, size) for found in maps])
    return ScoreMaps(int(size), {"score_map": rounded(maps, 7), "window": windows})

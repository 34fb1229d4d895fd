"""What a decoder makes of points on a grid, where there are two latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._columns import as_floats
from latentsk._device import on_host
from latentsk.explorer._encoding import rounded
from latentsk.explorer._pictures import Pictures, coarse
from latentsk.explorer._positions import MapBox

N_STEPS = 17
MOST_FEATURES = 200


@dataclass(frozen=True)
class DecodedGrid:
    """Decoded rows at the middles of squares that cover the map, from below left.

    Attributes
    ----------
    arrays : dict of str to ndarray
        "image" of shape (n_squares, height, width, n_channels), or "value" of shape
        (n_squares, n_features).
    """

    arrays: dict[str, NDArray[Any]]


def decoded_grid(
    embedder: Any, box: MapBox, pictures: Pictures | None, n_features: int
) -> DecodedGrid | None:
    """Return what is decoded on a grid over the map; None if there is no decoder.

    Parameters
    ----------
    embedder : fitted transformer

    box : MapBox

    pictures : Pictures or None

    n_features : int
        Of rows that are no images.
    """
    if not hasattr(embedder, "inverse_transform"):
        return None
    steps = (np.arange(N_STEPS) + 0.5) / N_STEPS
    ys, xs = np.meshgrid(steps, steps, indexing="ij")
    shares = np.column_stack([xs.ravel(), ys.ravel()])
    try:
        rows = on_host(
            embedder.inverse_transform(box.low + shares * (box.high - box.low))
        )
    except (TypeError, ValueError, AttributeError):  # it needs conditions, say
        return None
    if pictures is not None and pictures.layout is not None:
        images = pictures.rebuilt(rows)
        return None if images is None else DecodedGrid({"image": coarse(images)})
    values = _array(rows)
    if values.ndim != 2 or values.shape[1] != n_features or n_features > MOST_FEATURES:
        return None
    return DecodedGrid({"value": rounded(values)})


def _array(rows: Any) -> NDArray[Any]:
    array = np.asarray(rows)
    if array.dtype.kind in "fiub":
        return array
    return np.column_stack([as_floats(column) for column in array.T])

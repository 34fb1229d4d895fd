"""The sections of data that a page holds, within a number of bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._version import __version__
from latentsk.explorer._budget import (
    first_that_fits,
    full_counts,
    rows_by_priority,
    section,
)
from latentsk.explorer._columns import Column
from latentsk.explorer._contents import Contents
from latentsk.explorer._known import id_texts
from latentsk.explorer._model import described
from latentsk.explorer._pictures import (
    Pictures,
    coarse,
    in_grey,
    place_of_pixel,
    shrunk,
    thumbnail_sizes,
)
from latentsk.explorer._positions import STEPS
from latentsk.explorer._reasons import all_reasons
from latentsk.explorer._rebuilt import rebuilt_images
from latentsk.explorer._score_maps import score_maps
from latentsk.networks._image_layout import ImageLayout

# Of what is left, once the map is there: shares of thumbnails and of columns.
THUMBNAIL_SHARE, FEATURE_SHARE = 0.6, 0.5
Arrays = dict[str, NDArray[Any]]


class TooLarge(Exception):
    """The section that every page has is larger than allowed.

    Parameters
    ----------
    n_bytes : int
        What it needs.
    """

    def __init__(self, n_bytes: int) -> None:
        super().__init__(n_bytes)
        self.n_bytes = n_bytes


def sections_of(contents: Contents, title: str, max_bytes: int) -> dict[str, str]:
    """Return the sections of a page, by name.

    "core" has what every point has, but for its thumbnail; "thumbnails"; "features",
    columns that groups are compared by; "grid", what is decoded; "details", what only
    some rows have. What does not fit becomes smaller, or is left out.

    Parameters
    ----------
    contents : Contents

    title : str

    max_bytes : int
        Of all sections together.

    Raises
    ------
    TooLarge
        If "core" alone is longer.
    """
    core = section(*_core(contents, title))
    left = max_bytes - len(core)
    if left < 0:
        raise TooLarge(len(core))
    found = {"core": core}

    def add(name: str, made: str | None) -> None:
        nonlocal left
        if made is not None and len(made) <= left:
            found[name] = made
            left -= len(made)

    if contents.grid is not None:
        add("grid", section({}, contents.grid.arrays))
    if contents.pictures is not None:
        add("thumbnails", _thumbnails(contents, int(left * THUMBNAIL_SHARE), left))
    if not _rows_are_images(contents):  # which thumbnails compare
        add("features", _features(contents, int(left * FEATURE_SHARE)))
    add("details", _details(contents, left))
    return found


def _core(contents: Contents, title: str) -> tuple[dict[str, Any], Arrays]:
    """Return what is known of every point, but for pictures and columns."""
    positions, scores, reasons = contents.positions, contents.scores, contents.reasons
    models = contents.models
    arrays: Arrays = {"position": contents.box.steps(positions.points)}
    if scores is not None:
        arrays["score"] = scores.values
        if scores.calibration is not None:
            arrays["calibration"] = scores.calibration
    if contents.p_values is not None:
        arrays["pValue"] = contents.p_values
    arrays |= contents.neighbors.arrays
    if reasons is not None:
        arrays |= {f"reason_{name}": found for name, found in reasons.arrays.items()}
    columns = contents.metadata if contents.label is None else [contents.label]
    if contents.label is not None:
        columns = [contents.label, *contents.metadata]
    arrays |= _column_arrays(columns)
    header = {
        "title": title,
        "version": __version__,
        "n": contents.n_rows,
        "ids": id_texts(contents.ids),
        "embedder": described(models.embedder),
        "scorer": described(models.scorer) if scores is not None else None,
        "hasImages": contents.pictures is not None,
        "hasLabel": contents.label is not None,
        "columns": [column.header for column in columns],
        "threshold": None if scores is None else scores.threshold,
        "map": _map(contents),
        "approximate": contents.is_approximate,
        "duplicates": contents.duplicates and contents.duplicates.header,
        "reasonNames": None if reasons is None else _reason_names(contents),
        "reasonTexts": {str(j): t for j, t in contents.cells.texts.items()},
        "featuresAre": contents.features_are,
    }
    return header, arrays


def _reason_names(contents: Contents) -> list[str]:
    """Return the names of features; of pixels by their place where they have none."""
    assert contents.reasons is not None, "there are reasons"
    names, layout = contents.reasons.names, _layout_of_reasons(contents)
    if layout is None:
        return names
    # As rows of numbers have them, and as a detector of images has them.
    unnamed = [f"x{j}" for j in range(len(names))], list(layout.names_of_pixels)
    if names not in unnamed:
        return names
    return [place_of_pixel(layout, j) for j in range(len(names))]


def _map(contents: Contents) -> dict[str, Any]:
    box, positions = contents.box, contents.positions
    return {
        "low": box.low.tolist(),
        "high": box.high.tolist(),
        "steps": STEPS,
        "axes": list(positions.axes),
        "areLatents": positions.are_latents,
        "nOutside": box.n_outside(positions.points),
    }


def _column_arrays(columns: list[Column]) -> Arrays:
    return {f"column_{i}": column.values for i, column in enumerate(columns)}


def _features(contents: Contents, most: int) -> str | None:
    """Return as many columns as fit, in their order."""
    columns = contents.features
    counts = (len(columns) >> halvings for halvings in range(9))

    def made(count: int) -> str:
        chosen = columns[:count]
        header = {
            "columns": [column.header for column in chosen],
            "nColumns": len(columns),
        }
        return section(header, _column_arrays(chosen))

    return first_that_fits((count for count in counts if count), made, most)[1]


def _thumbnails(contents: Contents, most: int, left: int) -> str | None:
    """Return the largest thumbnails that fit; the smallest may take all there is."""
    pictures = contents.pictures
    assert pictures is not None, "there are images"
    images = pictures.bytes(slice(None))

    def made(choice: tuple[int, bool]) -> str:
        side, grey = choice
        small = shrunk(in_grey(images) if grey else images, side)
        return section({}, {"image": coarse(small)})

    sizes = thumbnail_sizes(contents.n_rows, images.shape[-1])
    found = first_that_fits(sizes, made, most)[1]
    return first_that_fits(sizes[-1:], made, left)[1] if found is None else found


def _rows_are_images(contents: Contents) -> bool:
    return contents.pictures is not None and contents.pictures.layout is not None


def _details(contents: Contents, left: int) -> str | None:
    """Return what only some rows have: images, reconstructions and all reasons.

    It is there once, for as many rows as may be; of these, as many as fit are taken.
    """
    reasons = contents.reasons
    counts = full_counts(1 if reasons is None else len(reasons.names))
    scores = None if contents.scores is None else contents.scores.values
    priority = rows_by_priority(scores, contents.n_rows, counts[0])
    arrays = _all_reasons(contents, priority)
    header: dict[str, Any] = {
        "reasonTexts": {str(j): t for j, t in contents.cells.texts.items()}
    }
    if contents.pictures is not None:
        pixels = _pixels(contents, contents.pictures, priority)
        header, arrays = header | pixels[0], arrays | pixels[1]
    if not arrays:
        return None

    def made(n_each: int) -> str:
        rows = priority[: 2 * n_each]
        order = np.argsort(rows)
        chosen = {name: array[order] for name, array in arrays.items()}
        return section(header, {"row": rows[order].astype(np.uint32), **chosen})

    return first_that_fits(counts, made, left)[1]


def _all_reasons(contents: Contents, rows: NDArray[np.int64]) -> Arrays:
    if contents.reasons is None:
        return {}
    reasons = all_reasons(
        contents.models.scorer,
        contents.X,
        rows,
        contents.cells,
        has_values=not _rows_are_images(contents),
    )
    return {f"reason_{name}": found for name, found in (reasons or {}).items()}


def _pixels(
    contents: Contents, pictures: Pictures, rows: NDArray[np.int64]
) -> tuple[dict[str, Any], Arrays]:
    """Return images, reconstructions and score maps of rows, and what they are.

    In the header: "pixels", the channels, height and width that reasons have; "window",
    the side of the window that scores are the sum of; "missing", why there are no
    reconstructions.
    """
    arrays: Arrays = {"image": coarse(pictures.bytes(rows), 64)}
    models = contents.models
    rebuilt = rebuilt_images(models.embedder, contents.X, rows, pictures)
    if rebuilt.images is not None:
        arrays["rebuilt"] = coarse(rebuilt.images)
    layout = _layout_of_reasons(contents)
    maps = None
    if layout is not None:
        maps = score_maps(models.scorer, contents.X, rows)
    header = {
        "pixels": None if layout is None else layout.shape,
        "window": None if maps is None else maps.size,
        "missing": rebuilt.missing,
    }
    return header, arrays if maps is None else arrays | maps.arrays


def _layout_of_reasons(contents: Contents) -> ImageLayout | None:
    """Return how reasons are images; None where they are not those of pixels."""
    if contents.pictures is None or contents.reasons is None:
        return None
    layout = contents.pictures.layout
    n_reasons = len(contents.reasons.names)
    is_fitting = layout is not None and math.prod(layout.shape) == n_reasons
    return layout if is_fitting else None

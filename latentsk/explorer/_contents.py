"""All that a page may show, gathered from models and rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples

from latentsk._typing import Float64
from latentsk.explorer import _known as known
from latentsk.explorer import _model as model
from latentsk.explorer._columns import Column
from latentsk.explorer._grid import DecodedGrid, decoded_grid
from latentsk.explorer._links import (
    Duplicates,
    Neighbors,
    duplicate_threshold,
    duplicates_of,
    neighbors_of,
)
from latentsk.explorer._pictures import Pictures, pictures_of
from latentsk.explorer._positions import MapBox, Positions, positions_of
from latentsk.explorer._reasons import Cells, LargestReasons, largest_reasons


@dataclass(frozen=True)
class Request:
    """What :func:`explore` was asked to show; see there."""

    embedder: Any
    detector: Any
    index: Any
    labels: Any
    images: Any
    metadata: Any
    ids: Any
    projection: Any
    duplicate_threshold: float | None
    random_state: Any


@dataclass(frozen=True)
class Contents:
    """What is known of rows, and the models that tell more of some of them."""

    X: Any
    models: model.Models
    ids: NDArray[Any]
    label: Column | None
    metadata: list[Column]
    features: list[Column]
    features_are: str
    positions: Positions
    box: MapBox
    scores: model.Scores | None
    p_values: Float64 | None
    neighbors: Neighbors
    is_approximate: bool
    duplicates: Duplicates | None
    cells: Cells
    reasons: LargestReasons | None
    pictures: Pictures | None
    grid: DecodedGrid | None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.ids)


def gather(X: Any, request: Request) -> Contents:
    """Return what is known of rows.

    Raises
    ------
    ValueError, TypeError
        If what is asked for does not fit the rows.
    """
    n_rows = _num_samples(X)
    if n_rows < 2:
        raise ValueError(f"X must have at least 2 rows to explore, got {n_rows}.")
    # What is cheap to check comes before any fit.
    if request.index is not None:
        model.check_index(request.index, n_rows)
    ids = known.ids_of(X, request.ids, request.index)
    label = known.label_column(X, request.labels)
    metadata = known.metadata_columns(request.metadata, ids, request.index)

    models = model.resolve(
        X, request.embedder, request.detector, request.index, request.random_state
    )
    pictures = pictures_of(X, request.images, model.last_step(models.embedder))
    latents = model.latents_of(models, X)
    scores = model.scores_of(models.scorer, X)
    values = None if scores is None else scores.values
    positions = positions_of(latents, request.projection, values)
    box = MapBox.of(positions)
    features, features_are = known.feature_columns(X, latents)

    index = model.neighbors_index(models, latents)
    neighbors = neighbors_of(index, n_rows)
    threshold = request.duplicate_threshold
    if threshold is None:
        threshold = duplicate_threshold(neighbors.distances)
    cells = Cells({})
    grid = None
    if positions.are_latents:
        grid = decoded_grid(models.embedder, box, pictures, len(features))
    return Contents(
        X=X,
        models=models,
        ids=ids,
        label=label,
        metadata=metadata,
        features=features,
        features_are=features_are,
        positions=positions,
        box=box,
        scores=scores,
        p_values=model.p_values_of(models.scorer, X, scores),
        neighbors=neighbors,
        is_approximate=getattr(index, "target_recall", None) is not None,
        duplicates=duplicates_of(index, threshold),
        cells=cells,
        reasons=largest_reasons(models.scorer, X, cells),
        pictures=pictures,
        grid=grid,
    )

"""What a file may hold: classes by name, and the check of each one's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from latentsk._schema import check_state
from latentsk.embedders import AutoencoderEmbedder, PCAEmbedder, VAEEmbedder
from latentsk.embedders._files import check_autoencoder, check_pca, check_vae
from latentsk.index import LatentNeighborsTransformer
from latentsk.outliers import LatentOutlierDetector, PyODAdapter
from latentsk.outliers._files import (
    check_adapter,
    check_detector,
    check_neighborhood,
    check_view,
    fitted_index,
)
from latentsk.outliers._latent_view import LatentView
from latentsk.outliers._neighborhood import Neighborhood

KIND = "estimator"
# Parameters that belong to a machine or a session, and are not stored.
LEFT_OUT = ("checkpoint", "memory")
# Steps of these may be ours, which skops does not store.
CONTAINERS: dict[str, Any] = {
    "FrozenEstimator": FrozenEstimator,
    "Pipeline": Pipeline,
}


class Storable(NamedTuple):
    """A class whose fitted state is `_get_state`, and a check of what is claimed."""

    cls: Any
    check: Callable[[Any, Mapping[str, Any]], None]


def check_transformer(transformer: Any, state: Mapping[str, Any]) -> None:
    """Refuse what is no state of a LatentNeighborsTransformer.

    Raises
    ------
    FormatError
    """
    rules = {"index_": fitted_index()}
    check_state("LatentNeighborsTransformer", state, rules, {}, {})


def check_parameters(estimator: Any) -> None:
    """Refuse parameters that a fit would refuse.

    Raises
    ------
    TypeError, ValueError
    """
    if isinstance(estimator, FrozenEstimator):
        if not isinstance(estimator.estimator, BaseEstimator):
            raise TypeError("a FrozenEstimator holds no estimator.")
        return
    estimator._validate_params()
    if isinstance(estimator, Pipeline):
        if not estimator.steps:
            raise ValueError("a Pipeline has no steps.")
        estimator._validate_steps()


STORABLE = {
    entry.cls.__name__: entry
    for entry in (
        Storable(AutoencoderEmbedder, check_autoencoder),
        Storable(LatentNeighborsTransformer, check_transformer),
        Storable(LatentOutlierDetector, check_detector),
        Storable(LatentView, check_view),
        Storable(Neighborhood, check_neighborhood),
        Storable(PCAEmbedder, check_pca),
        Storable(PyODAdapter, check_adapter),
        Storable(VAEEmbedder, check_vae),
    )
}

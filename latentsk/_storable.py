"""What a file may hold: classes by name, and the check of each one's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from latentsk._schema import Rule, check_state
from latentsk.embedders import AutoencoderEmbedder, PCAEmbedder, VAEEmbedder
from latentsk.embedders._files import check_autoencoder, check_pca, check_vae
from latentsk.index import LatentIndex, LatentNeighborsTransformer
from latentsk.outliers import LatentOutlierDetector, PyODAdapter
from latentsk.outliers._files import (
    check_adapter,
    check_detector,
    check_neighborhood,
)
from latentsk.outliers.neighborhood import Neighborhood

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
    index = Rule(lambda value, _: type(value) is LatentIndex, "index")
    check_state("LatentNeighborsTransformer", state, {"index_": index}, {}, {})


STORABLE = {
    entry.cls.__name__: entry
    for entry in (
        Storable(AutoencoderEmbedder, check_autoencoder),
        Storable(LatentNeighborsTransformer, check_transformer),
        Storable(LatentOutlierDetector, check_detector),
        Storable(Neighborhood, check_neighborhood),
        Storable(PCAEmbedder, check_pca),
        Storable(PyODAdapter, check_adapter),
        Storable(VAEEmbedder, check_vae),
    )
}

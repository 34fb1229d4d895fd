"""Nearest neighbours among latent vectors."""

from latentsk.index.latent_index import LatentIndex
from latentsk.index.neighbors_transformer import LatentNeighborsTransformer

__all__ = ["LatentIndex", "LatentNeighborsTransformer"]

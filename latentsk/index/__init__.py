"""Nearest neighbours among latent vectors."""

from latentsk.index._latent_index import LatentIndex
from latentsk.index._neighbors_transformer import LatentNeighborsTransformer

__all__ = ["LatentIndex", "LatentNeighborsTransformer"]

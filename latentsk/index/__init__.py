"""Nearest neighbours among latent vectors."""

from latentsk.index.latent_index import LatentIndex

__all__ = ["LatentIndex"]

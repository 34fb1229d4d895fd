"""Embedders: scikit-learn estimators over a latent space."""

from latentsk.embedders._autoencoder import AutoencoderEmbedder
from latentsk.embedders._hierarchical_vae import HierarchicalVAEEmbedder
from latentsk.embedders._pca import PCAEmbedder
from latentsk.embedders._vae import VAEEmbedder
from latentsk.embedders._vq_vae import VQVAEEmbedder

__all__ = [
    "AutoencoderEmbedder",
    "HierarchicalVAEEmbedder",
    "PCAEmbedder",
    "VAEEmbedder",
    "VQVAEEmbedder",
]

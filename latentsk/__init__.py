"""latentsk: fit a latent space once, use it for everything."""

from latentsk.embedders import PCAEmbedder
from latentsk.index import LatentIndex

__version__ = "0.1.0.dev0"

__all__ = ["LatentIndex", "PCAEmbedder", "__version__"]

"""latentsk: fit a latent space once, use it for everything."""

from latentsk._progress import LossProgressBar
from latentsk.embedders import AutoencoderEmbedder, PCAEmbedder, VAEEmbedder
from latentsk.index import LatentIndex
from latentsk.outliers import LatentOutlierDetector

__version__ = "0.1.0.dev0"

__all__ = [
    "AutoencoderEmbedder",
    "LatentIndex",
    "LatentOutlierDetector",
    "LossProgressBar",
    "PCAEmbedder",
    "VAEEmbedder",
    "__version__",
]

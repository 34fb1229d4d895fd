"""latentsk: fit a latent space once, use it for everything."""

from latentsk._progress import LossProgressBar
from latentsk.display import ExplanationDisplay, OutlierScoreDisplay
from latentsk.embedders import AutoencoderEmbedder, PCAEmbedder, VAEEmbedder
from latentsk.index import LatentIndex, LatentNeighborsTransformer
from latentsk.outliers import LatentOutlierDetector, PyODAdapter

__version__ = "0.1.0.dev0"

__all__ = [
    "AutoencoderEmbedder",
    "ExplanationDisplay",
    "LatentIndex",
    "LatentNeighborsTransformer",
    "LatentOutlierDetector",
    "LossProgressBar",
    "OutlierScoreDisplay",
    "PCAEmbedder",
    "PyODAdapter",
    "VAEEmbedder",
    "__version__",
]

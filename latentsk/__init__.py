"""latentsk: fit a latent space once, use it for everything."""

from latentsk._progress import LossProgressBar
from latentsk._version import __version__
from latentsk.classify import GenerativeClassifier
from latentsk.display import ExplanationDisplay, OutlierScoreDisplay
from latentsk.embedders import (
    AutoencoderEmbedder,
    HierarchicalVAEEmbedder,
    PCAEmbedder,
    VAEEmbedder,
    VQVAEEmbedder,
)
from latentsk.export import to_onnx
from latentsk.index import LatentIndex, LatentNeighborsTransformer
from latentsk.outliers import LatentOutlierDetector, PyODAdapter
from latentsk.persistence import load, save
from latentsk.preprocessing import (
    CategoryEncoder,
    DatetimeEncoder,
    RobustStandardizer,
    SlidingWindows,
    make_table_preprocessor,
)
from latentsk.vae import mutual_information_gap

__all__ = [
    "AutoencoderEmbedder",
    "CategoryEncoder",
    "DatetimeEncoder",
    "ExplanationDisplay",
    "GenerativeClassifier",
    "HierarchicalVAEEmbedder",
    "LatentIndex",
    "LatentNeighborsTransformer",
    "LatentOutlierDetector",
    "LossProgressBar",
    "OutlierScoreDisplay",
    "PCAEmbedder",
    "PyODAdapter",
    "RobustStandardizer",
    "SlidingWindows",
    "VAEEmbedder",
    "VQVAEEmbedder",
    "__version__",
    "load",
    "make_table_preprocessor",
    "mutual_information_gap",
    "save",
    "to_onnx",
]

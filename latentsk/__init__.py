"""latentsk: fit a latent space once, use it for everything."""

from latentsk._progress import LossProgressBar
from latentsk._version import __version__
from latentsk.classify import GenerativeClassifier
from latentsk.display import (
    ExplanationDisplay,
    ImageExplanationDisplay,
    InterpolationDisplay,
    LatentMapDisplay,
    LearningCurveDisplay,
    NeighborsDisplay,
    OutlierScoreDisplay,
    RecallDisplay,
    ReconstructionDisplay,
    TraversalDisplay,
)
from latentsk.embedders import (
    AutoencoderEmbedder,
    HierarchicalVAEEmbedder,
    PCAEmbedder,
    VAEEmbedder,
    VQVAEEmbedder,
)
from latentsk.explorer import Explorer, explore
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
    "Explorer",
    "GenerativeClassifier",
    "HierarchicalVAEEmbedder",
    "ImageExplanationDisplay",
    "InterpolationDisplay",
    "LatentIndex",
    "LatentMapDisplay",
    "LatentNeighborsTransformer",
    "LatentOutlierDetector",
    "LearningCurveDisplay",
    "LossProgressBar",
    "NeighborsDisplay",
    "OutlierScoreDisplay",
    "PCAEmbedder",
    "PyODAdapter",
    "RecallDisplay",
    "ReconstructionDisplay",
    "RobustStandardizer",
    "SlidingWindows",
    "TraversalDisplay",
    "VAEEmbedder",
    "VQVAEEmbedder",
    "__version__",
    "explore",
    "load",
    "make_table_preprocessor",
    "mutual_information_gap",
    "save",
    "to_onnx",
]

"""From scores to decisions: outlier detection over embedders and index."""

from latentsk.outliers._detector import LatentOutlierDetector
from latentsk.outliers._pyod import PyODAdapter

__all__ = ["LatentOutlierDetector", "PyODAdapter"]

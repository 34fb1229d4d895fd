"""From scores to decisions: outlier detection over embedders and index."""

from latentsk.outliers.detector import LatentOutlierDetector
from latentsk.outliers.pyod import PyODAdapter

__all__ = ["LatentOutlierDetector", "PyODAdapter"]

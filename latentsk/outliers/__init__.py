"""From scores to decisions: outlier detection over embedders and index."""

from latentsk.outliers.detector import LatentOutlierDetector

__all__ = ["LatentOutlierDetector"]

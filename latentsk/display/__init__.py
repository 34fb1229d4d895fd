"""Pictures of scores and of explanations, drawn by matplotlib."""

from latentsk.display._explanation import ExplanationDisplay
from latentsk.display._outlier_scores import OutlierScoreDisplay

__all__ = ["ExplanationDisplay", "OutlierScoreDisplay"]

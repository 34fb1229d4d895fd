"""Pictures of scores and of explanations, drawn by matplotlib."""

from latentsk.display.explanation import ExplanationDisplay
from latentsk.display.outlier_scores import OutlierScoreDisplay

__all__ = ["ExplanationDisplay", "OutlierScoreDisplay"]

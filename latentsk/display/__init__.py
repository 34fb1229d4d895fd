"""Pictures of latent spaces, scores and explanations, drawn by matplotlib."""

from latentsk.display._explanation import ExplanationDisplay
from latentsk.display._image_explanation import ImageExplanationDisplay
from latentsk.display._interpolation import InterpolationDisplay
from latentsk.display._latent_map import LatentMapDisplay
from latentsk.display._learning_curve import LearningCurveDisplay
from latentsk.display._neighbors import NeighborsDisplay
from latentsk.display._outlier_scores import OutlierScoreDisplay
from latentsk.display._recall import RecallDisplay
from latentsk.display._reconstruction import ReconstructionDisplay
from latentsk.display._traversal import TraversalDisplay

__all__ = [
    "ExplanationDisplay",
    "ImageExplanationDisplay",
    "InterpolationDisplay",
    "LatentMapDisplay",
    "LearningCurveDisplay",
    "NeighborsDisplay",
    "OutlierScoreDisplay",
    "RecallDisplay",
    "ReconstructionDisplay",
    "TraversalDisplay",
]

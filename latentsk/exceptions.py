"""The errors and warnings of this package that are not scikit-learn's or Python's."""

from latentsk._format import FormatError
from latentsk.embedders._latents import PosteriorCollapseWarning
from latentsk.training.checkpoint import CheckpointError
from latentsk.training.inference import OutOfMemoryWarning
from latentsk.training.loop import DivergenceError
from latentsk.training.run import TrainingInterruptedWarning

__all__ = [
    "CheckpointError",
    "DivergenceError",
    "FormatError",
    "OutOfMemoryWarning",
    "PosteriorCollapseWarning",
    "TrainingInterruptedWarning",
]

"""The errors and warnings of this package that are not scikit-learn's or Python's."""

__all__ = [
    "CheckpointError",
    "DivergenceError",
    "FormatError",
    "OutOfMemoryWarning",
    "PosteriorCollapseWarning",
    "PriorMismatchWarning",
    "TrainingInterruptedWarning",
]


class CheckpointError(ValueError):
    """A checkpoint belongs to another training."""


class DivergenceError(ArithmeticError):
    """The loss became infinite or not a number."""


class FormatError(ValueError):
    """A file is not what it should be: foreign, truncated, altered or too new."""


class OutOfMemoryWarning(UserWarning):
    """A batch did not fit into the device's memory, and was halved."""


class PosteriorCollapseWarning(UserWarning):
    """The posterior of every row is about the same: the latents carry nothing."""


class PriorMismatchWarning(UserWarning):
    """The latents of all rows lie far from the prior: samples are unlike the data."""


class TrainingInterruptedWarning(UserWarning):
    """Training was stopped from the keyboard; the best weights so far are used."""

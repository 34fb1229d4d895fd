"""Which steps can be exported: for each class, the module that acts as it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentsk.export._sources import Source, Stage

# Returns the stage of a fitted step and of what it is given.
Builder = Callable[[Any, Source], Stage]

_BUILDERS: dict[type, Builder] = {}
_FAMILIES: dict[type, Builder] = {}

REMEDY = (
    "Steps that can be exported are listed in the user guide, on the page 'Export'. "
    "Replace the step by one of them, or do its work before the file and export what "
    "follows."
)


def exports(*classes: type) -> Callable[[Builder], Builder]:
    """Register the function that exports the fitted steps of some classes.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from torch import nn
    >>> class Nothing(BaseEstimator):
    ...     def fit(self, X, y=None): return self
    ...     def transform(self, X): return X
    >>> @exports(Nothing)
    ... def nothing(step, source):
    ...     return Stage(nn.Identity(), source)
    >>> is_exported(Nothing())
    True
    >>> _ = _BUILDERS.pop(Nothing)
    """

    def register(builder: Builder) -> Builder:
        _BUILDERS.update(dict.fromkeys(classes, builder))
        return builder

    return register


def exports_family(base: type) -> Callable[[Builder], Builder]:
    """Register the function that exports the fitted steps of all classes of a family.

    Of a base whose classes say themselves what is exported of them.
    """

    def register(builder: Builder) -> Builder:
        _FAMILIES[base] = builder
        return builder

    return register


def is_exported(step: Any) -> bool:
    """Tell whether steps of this class can be exported."""
    return _builder_of(step) is not None


def _builder_of(step: Any) -> Builder | None:
    families = (b for base, b in _FAMILIES.items() if isinstance(step, base))
    return _BUILDERS.get(type(step)) or next(families, None)


def stage_of(step: Any, source: Source) -> Stage:
    """Return the stage of a fitted step.

    Parameters
    ----------
    step : fitted transformer
        Of a class that is registered, not of one derived from it, which may do
        anything.

    source : Source

    Raises
    ------
    ValueError
        If it cannot be exported.

    Examples
    --------
    >>> from sklearn.preprocessing import KBinsDiscretizer
    >>> stage_of(KBinsDiscretizer(), None)
    Traceback (most recent call last):
    ...
    ValueError: KBinsDiscretizer cannot be exported to ONNX: ...
    """
    builder = _builder_of(step)
    if builder is None:
        raise cannot_export(step, "it is none of the known steps")
    return builder(step, source)


def cannot_export(step: Any, reason: str, remedy: str = REMEDY) -> ValueError:
    """Return the error that says why a step cannot be exported, and what to do."""
    name = step if isinstance(step, str) else type(step).__name__
    return ValueError(f"{name} cannot be exported to ONNX: {reason}. {remedy}")

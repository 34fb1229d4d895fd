"""The parameters that a fit rests on, remembered to notice when they are changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

# Of an embedder: what does not change its vectors, and what files do not hold.
IGNORED_PARAMETERS = {
    "cache_size",
    "checkpoint",
    "checkpoint_interval",
    "contamination",
    "copy",
    "device",
    "forgetting_factor",
    "memory",
    "n_jobs",
    "random_state",
    "verbose",
}
# Longer lists are described by their length.
MOST_ITEMS = 100

# A line of text for each parameter, by its name.
Descriptions: TypeAlias = dict[str, str]


def describe_parameters(
    detector: Any, names: Iterable[str], fitted_embedder: Any
) -> Descriptions:
    """Describe parameters of a detector, those of its embedder included.

    An embedder that was fitted before is used as it is. Its parameters are its own
    affair, and only that it is still the same object is of interest.

    Parameters
    ----------
    detector : estimator
        With a parameter `embedder`.

    names : iterable of str
        Its other parameters.

    fitted_embedder : transformer
        What the detector embeds with.

    Returns
    -------
    descriptions : dict of str to str

    Examples
    --------
    >>> from latentsk import LatentOutlierDetector, PCAEmbedder
    >>> detector = LatentOutlierDetector(PCAEmbedder(2, whiten=True))
    >>> described = describe_parameters(detector, ["n_neighbors"], None)
    >>> described["n_neighbors"], described["embedder"], described["embedder__whiten"]
    ('5', 'a PCAEmbedder', 'True')
    """
    found = {name: describe(getattr(detector, name)) for name in names}
    embedder = detector.embedder
    if embedder is None:
        return found | {"embedder": "None"}
    kind = type(embedder).__name__
    if embedder is fitted_embedder:
        return found | {"embedder": f"a fitted {kind}"}
    found["embedder"] = f"a {kind}"
    nested = embedder.get_params() if hasattr(embedder, "get_params") else {}
    for name, value in sorted(nested.items()):
        if name.split("__")[-1] not in IGNORED_PARAMETERS:
            found[f"embedder__{name}"] = describe(value)
    return found


def describe(value: Any) -> str:
    """Return a text that is the same for equal values, in every process.

    Numbers and strings are as they are, functions and classes have their names, other
    objects those of their class.

    Examples
    --------
    >>> describe(np.float64(0.5)), describe("auto"), describe((8, None))
    ('0.5', "'auto'", '[8, None]')
    >>> describe([("scale", object()), ("log", np.log1p)])
    "[['scale', object], ['log', log1p]]"
    """
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, list | tuple) and len(value) <= MOST_ITEMS:
        return f"[{', '.join(map(describe, value))}]"
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    kind = type(value).__name__
    return f"{kind} of {len(value)}" if isinstance(value, list | tuple) else kind


def require_unchanged(fitted: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse parameters that were changed since the fit.

    Raises
    ------
    ValueError
        Naming the first of them.

    Examples
    --------
    >>> require_unchanged({"n_neighbors": "5"}, {"n_neighbors": "50"})
    Traceback (most recent call last):
    ...
    ValueError: n_neighbors was 5 when the detector was fitted, and is now 50. ...
    """
    for name, before in fitted.items():
        after = now.get(name, before)
        if after != before:
            is_another = after == before.replace("a fitted ", "a ")
            raise ValueError(
                f"{name} was {before} when the detector was fitted, and is now "
                f"{'another one' if is_another else after}. Fit it again, or set "
                f"{name} back."
            )

"""Labels of classes, and the one that means none of them."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_y,
    check_consistent_length,
    column_or_1d,
)

Labels = NDArray[Any]
STRING_KINDS = "UT"


def class_labels(y: Any, X: Any) -> Labels:
    """Return the label of each row as an array.

    Raises
    ------
    ValueError
        If a label is missing, there is not one for each row, or they are numbers that
        are no classes.
    """
    if y is None:
        raise ValueError(
            "GenerativeClassifier requires y to be passed, but the target y is None."
        )
    # Of a nullable type of pandas, what is missing would be NaN among floats.
    has_gaps = hasattr(y, "isna") and bool(np.any(y.isna()))
    labels = column_or_1d(y.to_numpy(object) if has_gaps else y, warn=True)
    if labels.dtype.kind == "f" and not np.isnan(labels).any():
        labels = _check_y(labels)
    missing = [i for i, label in enumerate(labels.tolist()) if _is_missing(label)]
    if missing:
        raise ValueError(
            f"y must hold a label for each row, but row {missing[0]} has none. Leave "
            "such rows out: is_known = ~pd.isna(y); X[is_known], y[is_known]."
        )
    check_consistent_length(X, labels)
    _require_classes(labels)
    return labels


def _require_classes(labels: Labels) -> None:
    """Refuse labels that are no classes, with a remedy.

    Raises
    ------
    ValueError
    """
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise ValueError(f"Unknown label type: y {_no_classes(labels)}.") from error


def _no_classes(labels: Labels) -> str:
    """Return what labels are that are no classes, and what to do."""
    if labels.dtype.kind == "f":
        other = labels[labels != np.floor(labels)][0]
        return (
            f"holds numbers with fractions, such as {other:g}. Make classes of them: "
            "y = pd.cut(y, 3, labels=False)"
        )
    kinds = sorted({type(label).__name__ for label in labels.tolist()})
    are_numbers = all(isinstance(label, Real) for label in labels.tolist())
    remedy = "y = np.asarray(y).astype(int)"
    if not are_numbers:
        remedy = "y = [str(label) for label in y]"
    return f"is of dtype {labels.dtype} and holds {', '.join(kinds)}. Write {remedy}"


def _is_missing(label: Any) -> bool:
    is_na = type(label).__name__ in ("NAType", "NaTType")
    return label is None or is_na or label != label


def positions_of(labels: Labels, classes: Labels) -> NDArray[np.intp]:
    """Return the position of each label among the classes.

    Raises
    ------
    ValueError
        If a label is none of the classes.

    Examples
    --------
    >>> positions_of(np.array(["b", "a"]), np.array(["a", "b", "c"]))
    array([1, 0])
    """
    places = {label: k for k, label in enumerate(classes.tolist())}
    found = [places.get(label, -1) for label in labels.tolist()]
    if -1 in found:
        other = labels[found.index(-1)]
        raise ValueError(
            f"y has the label {_shown(other)} in row {found.index(-1)}, which is none "
            f"of the classes of the fit: {_listed(classes)}."
        )
    return np.array(found, np.intp)


def checked_unknown_label(unknown_label: Any, classes: Labels) -> Labels:
    """Return the label of rows that belong to no class, in the dtype for answers.

    Parameters
    ----------
    unknown_label : object

    classes : ndarray of shape (n_classes,)

    Returns
    -------
    label : ndarray of shape (), of the dtype of `classes`
        Longer strings make a longer dtype, and an integer that is none of its numbers
        makes a wider one, such as int16 for -1 beside uint8.

    Raises
    ------
    ValueError
        If it is one of the classes, or of another kind.

    Examples
    --------
    >>> checked_unknown_label("none", np.array(["a", "b"]))
    array('none', dtype='<U4')
    >>> checked_unknown_label(-1, np.array([3, 7], dtype=np.uint8))
    array(-1, dtype=int16)
    >>> checked_unknown_label(-1, np.array(["a", "b"]))
    Traceback (most recent call last):
    ...
    ValueError: unknown_label must be a string, as the classes are, got -1. ...
    """
    kind, remedy = _kind_of(classes)
    if kind == "boolean" and len(classes) == 2:
        raise ValueError(
            "With reject, rows may belong to no class, and both True and False are "
            "classes. Make other labels: y.astype(int), or np.where(y, 'yes', 'no') "
            "with unknown_label='neither'."
        )
    if not _is_of_kind(unknown_label, kind):
        raise ValueError(
            f"unknown_label must be a {kind}, as the classes are, got "
            f"{_shown(unknown_label)}. {remedy}"
        )
    if unknown_label in classes.tolist():
        raise ValueError(
            f"unknown_label={_shown(unknown_label)} is one of the classes: "
            f"{_listed(classes)}. Choose another one."
        )
    if kind == "string":
        # The answer is as long as it has to be.
        is_object = classes.dtype == object
        label = np.array(unknown_label, dtype=object if is_object else None)
        return label.astype(np.result_type(label, classes)) if not is_object else label
    for dtype in (classes.dtype, _wider(classes.dtype, unknown_label)):
        found = _in_dtype(unknown_label, dtype)
        if found is not None and found.item() == unknown_label:
            return found
    raise ValueError(
        f"unknown_label={_shown(unknown_label)} does not fit the dtype of y, "
        f"{classes.dtype}. Choose another one: unknown_label={_free(classes)}."
    )


def _in_dtype(label: Any, dtype: np.dtype[Any]) -> Labels | None:
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            return np.array(label).astype(dtype)
    except OverflowError:
        return None


def _wider(dtype: np.dtype[Any], label: Any) -> np.dtype[Any]:
    """Return a dtype for integers of another one and a label beside them, if any.

    -1 and the integers of uint8 are all in int16. Beside those of uint64 they would
    become floats, which do not hold them.
    """
    if dtype.kind not in "iu" or label != int(label):
        return dtype
    found = np.result_type(dtype, np.min_scalar_type(int(label)))
    return found if found.kind in "iu" else dtype


def _free(classes: Labels) -> int:
    """Return the least number from 0 on that is no class."""
    known = set(classes.tolist())
    return next(number for number in range(len(known) + 1) if number not in known)


def _kind_of(classes: Labels) -> tuple[str, str]:
    """Return what labels are, and what to do where the unknown one is not."""
    if classes.dtype.kind == "b" or all(type(c) is bool for c in classes.tolist()):
        return "boolean", "Choose the other of True and False."
    if classes.dtype.kind in STRING_KINDS or isinstance(classes[0], str):
        return "string", "Choose a name for it: unknown_label='unknown'."
    return "number", "Choose a number that is no class: unknown_label=-1."


def _is_of_kind(label: Any, kind: str) -> bool:
    if kind == "string":
        return isinstance(label, str)
    is_boolean = isinstance(label, bool | np.bool_)
    if kind == "boolean":
        return is_boolean
    return isinstance(label, Real) and not is_boolean and math.isfinite(label)


def answers(
    classes: Labels, chosen: NDArray[np.intp], is_unknown: Any, unknown: Labels | None
) -> Labels:
    """Return the labels of chosen classes, and the unknown one where it applies."""
    labels = classes[chosen]
    if unknown is None:
        return labels
    labels = labels.astype(unknown.dtype)
    labels[is_unknown] = unknown.item()
    return labels


def _shown(label: Any) -> str:
    return repr(label.item() if isinstance(label, np.generic) else label)


def _listed(classes: Labels) -> str:
    shown = ", ".join(map(repr, classes.tolist()[:10]))
    return shown + (", ..." if len(classes) > 10 else "")

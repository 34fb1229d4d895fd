"""Labels of classes and the unknown one: their kinds, and their dtypes."""

import re

import numpy as np
import pandas as pd
import pytest

from latentsk.classify._labels import checked_unknown_label, class_labels

CLASSES = {
    "integers": np.array([0, 1, 2]),
    "floats": np.array([0.0, 0.5]),
    "strings": np.array(["cat", "dog"]),
    "objects": np.array(["cat", "dog"], dtype=object),
    "one boolean": np.array([True]),
    "bytes of numbers": np.array([0, 7], dtype=np.uint8),
    "largest integers": np.array([0, 1, 2**64 - 1], dtype=np.uint64),
}
FINE = [
    ("integers", -1),
    ("integers", np.int64(9)),
    ("integers", -1.0),
    ("floats", -1),
    ("strings", "something else"),
    ("objects", "none"),
    ("one boolean", False),
    ("bytes of numbers", 255),
]
WRONG = [
    ("integers", 1, "one of the classes: 0, 1, 2"),
    ("integers", "none", "must be a number"),
    ("integers", True, "must be a number"),
    ("integers", None, "must be a number"),
    ("integers", -0.5, "does not fit the dtype of y, int64"),
    ("floats", np.nan, "must be a number"),
    ("strings", -1, "unknown_label='unknown'"),
    ("strings", "dog", "one of the classes"),
    ("objects", None, "must be a string"),
    ("one boolean", -1, "must be a boolean"),
    ("bytes of numbers", 0.5, "does not fit the dtype of y, uint8"),
    ("largest integers", -1, r"dtype of y, uint64. .* unknown_label=2\."),
]


@pytest.mark.parametrize(("kind", "label"), FINE)
def test_a_label_of_the_kind_keeps_the_dtype(kind, label):
    found = checked_unknown_label(label, CLASSES[kind])
    assert found.item() == label
    assert found.dtype.kind == CLASSES[kind].dtype.kind
    if kind != "strings":
        assert found.dtype == CLASSES[kind].dtype


@pytest.mark.parametrize(
    ("dtype", "label", "expected"),
    [
        ("uint8", -1, "int16"),
        ("uint8", -1.0, "int16"),
        ("uint8", 256, "uint16"),
        ("int8", 200, "int16"),
        ("uint32", -1, "int64"),
    ],
)
def test_integers_become_wider_where_the_label_needs_it(dtype, label, expected):
    found = checked_unknown_label(label, np.array([0, 7], dtype=dtype))
    assert found.dtype == expected
    assert found == label


def test_the_number_that_is_advised_is_free():
    classes = CLASSES["largest integers"]
    assert checked_unknown_label(2, classes) == 2


@pytest.mark.parametrize(("kind", "label", "message"), WRONG)
def test_a_label_of_another_kind_is_refused(kind, label, message):
    with pytest.raises(ValueError, match=message):
        checked_unknown_label(label, CLASSES[kind])


def test_two_booleans_leave_no_label():
    with pytest.raises(ValueError, match="Make other labels"):
        checked_unknown_label(-1, np.array([False, True]))


@pytest.mark.parametrize(
    "missing", [np.nan, None, pd.NA, float("nan")], ids=["nan", "None", "NA", "float"]
)
def test_a_missing_label_is_refused(missing):
    y = np.array(["a", missing, "b"], dtype=object)
    with pytest.raises(ValueError, match="row 1 has none"):
        class_labels(y, np.zeros((3, 1)))


def test_missing_numbers_and_numbers_that_are_no_classes_are_refused():
    with pytest.raises(ValueError, match=r"row 1 has none\. Leave"):
        class_labels([0.0, np.nan], np.zeros((2, 1)))
    with pytest.raises(
        ValueError, match=r"fractions, such as 0.5\. Make classes of them: y = pd.cut"
    ):
        class_labels([0.5, 0.1], np.zeros((2, 1)))
    with pytest.raises(ValueError, match="inconsistent numbers"):
        class_labels([0, 1, 1], np.zeros((2, 1)))


@pytest.mark.parametrize(
    "labels",
    [pd.array([1, pd.NA], "Int64"), pd.Series([True, None], dtype="boolean")],
)
def test_missing_labels_of_pandas_are_told(labels):
    with pytest.raises(ValueError, match=r"row 1 has none\. Leave such rows out"):
        class_labels(labels, np.zeros((2, 1)))
    is_known = ~pd.isna(labels)
    assert class_labels(labels[is_known], np.zeros((1, 1))).tolist() == [1]


@pytest.mark.parametrize(
    ("labels", "kinds"),
    [([1, 2], "int"), ([1, "a"], "int, str"), ([1, (2,)], "int, tuple")],
)
def test_objects_that_are_no_classes_are_told(labels, kinds):
    y = np.empty(2, object)
    y[:] = labels
    with pytest.raises(
        ValueError, match=f"y is of dtype object and holds {kinds}"
    ) as e:
        class_labels(y, np.zeros((2, 1)))
    code = re.search(r"Write y = (.*)\.$", str(e.value))
    found = class_labels(eval(code[1], {"np": np, "y": y}), np.zeros((2, 1)))
    assert len(set(found.tolist())) == 2

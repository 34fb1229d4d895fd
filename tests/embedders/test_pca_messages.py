"""Messages of PCAEmbedder about values beyond its arithmetic."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import PCAEmbedder

TABLE = np.random.default_rng(0).normal(size=(80, 4))


def _with(value, dtype=np.float64):
    rows = TABLE.astype(dtype)
    rows[4, 1] = value
    return rows


@pytest.mark.parametrize("value", [1e30, -3e38])
@pytest.mark.parametrize("method", ["fit", "fit_transform", "partial_fit"])
def test_the_column_of_the_largest_value_is_named(method, value):
    rows = _with(value, np.float32)
    message = rf"squares leave the range.*The largest is {value:g}.*, in column"
    message = message.replace("+", r"\+")
    embedder = PCAEmbedder(2)
    if method == "partial_fit":  # in float64, where the squares are in range
        assert np.isfinite(embedder.partial_fit(rows).explained_variance_).all()
        return
    with pytest.raises(ValueError, match=f"{message} 'x1'"):
        getattr(embedder, method)(rows)
    table = pd.DataFrame(rows, columns=["age", "income", "score", "weight"])
    with pytest.raises(ValueError, match=f"{message} 'income'"):
        getattr(embedder, method)(table)
    assert not hasattr(embedder, "components_")
    assert make_pipeline(StandardScaler(), embedder).fit(rows).score_samples(
        rows
    ).argmin() == (4)


def test_a_read_only_array_and_a_sparse_one():
    rows = _with(1e30, np.float32)
    rows.flags.writeable = False
    with pytest.raises(ValueError, match="The largest is 1e\\+30, in column 'x1'"):
        PCAEmbedder(2).fit(rows)
    with pytest.raises(ValueError, match="The largest is 1e\\+30, in column 'x1'"):
        PCAEmbedder(2).fit(csr_array(rows))


@pytest.mark.parametrize("value", [1e60, -1e99])
@pytest.mark.parametrize("n_components", [None, 3, "auto"])
def test_a_column_beside_which_others_have_no_variance_is_named(n_components, value):
    rows = _with(value)
    embedder = PCAEmbedder(n_components).fit(rows)
    message = "Column 'x1' has nearly all of the variance, .*StandardScaler before"
    with pytest.raises(ValueError, match=message):
        embedder.score_samples(rows)
    scaled = make_pipeline(StandardScaler(), PCAEmbedder(3)).fit(rows)
    assert scaled.score_samples(rows).argmin() == 4
    clipped = rows.clip(-10.0, 10.0)
    assert embedder.fit(clipped).score_samples(clipped).argmin() == 4


def test_of_constant_columns_no_other_column_is_accused():
    rows = np.column_stack([TABLE, np.ones(80)])
    with pytest.raises(ValueError, match="undefined") as raised:
        PCAEmbedder(None).fit(rows).score_samples(rows)
    assert "Column" not in str(raised.value)

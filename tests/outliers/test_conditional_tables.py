"""Conditional models behind preprocessors, in detectors."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures

from latentsk import (
    LatentOutlierDetector,
    RobustStandardizer,
    VAEEmbedder,
    load,
    make_table_preprocessor,
    save,
)
from latentsk.exceptions import PosteriorCollapseWarning

CLAIMS = pd.DataFrame(
    {
        "amount": np.random.default_rng(0).normal(7.0, size=300),
        "region": np.random.default_rng(1).choice(["n", "s"], 300),
        "age": np.random.default_rng(2).integers(18, 90, 300),
        "car": np.random.default_rng(3).choice(["small", "big"], 300),
        "paid": pd.Timestamp("2026-01-01")
        + pd.to_timedelta(np.random.default_rng(4).integers(0, 300, 300), unit="D"),
    },
    index=[f"C{i}" for i in range(300)],
)
GAPS = CLAIMS.assign(
    amount=CLAIMS["amount"].mask(np.arange(300) % 9 == 0),
    region=CLAIMS["region"].mask(np.arange(300) % 7 == 0),
)


def behind(parts, condition, **parameters):
    """Return a detector of a conditional model behind a preprocessor."""
    table = ColumnTransformer(parts, verbose_feature_names_out=False)
    model = VAEEmbedder(
        1, condition=condition, hidden_layer_sizes=(4,), max_epochs=3, random_state=0
    )
    pipeline = make_pipeline(table.set_output(transform="pandas"), model)
    return LatentOutlierDetector(pipeline, random_state=0, **parameters)


def mixed_parts(condition):
    others = make_table_preprocessor(GAPS.drop(columns=condition)).transformers
    return [*others, ("context", "passthrough", condition)]


NUMBERS = ("numbers", RobustStandardizer(), ["amount"])
ONE_HOT = ("codes", OneHotEncoder(sparse_output=False), ["region"])
POWERS = ("powers", PolynomialFeatures(), ["amount", "age"])


@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("method", ["auto", "embedder_score"])
@pytest.mark.parametrize(
    ("parts", "condition"),
    [
        ([NUMBERS], ["car"]),
        ([NUMBERS], ["age"]),
        ([NUMBERS, ONE_HOT], ["car"]),
        ([NUMBERS, ONE_HOT], ["car", "age"]),
        (None, ["car"]),
        (None, ["region", "age"]),
    ],
)
def test_reasons_behind_a_preprocessor_are_about_the_columns(
    parts, condition, method, tmp_path
):
    X = CLAIMS if parts else GAPS.assign(region=CLAIMS["region"])
    kept = [*parts, ("c", "passthrough", condition)] if parts else None
    detector = behind(kept or mixed_parts(condition), condition, method=method).fit(X)
    rows = X[:9]
    reasons = detector.explain(rows)
    contributions = reasons["contribution"].unstack(sort=False)
    assert list(contributions.columns) == list(X.columns)
    np.testing.assert_allclose(contributions.sum(axis=1), detector.score_samples(rows))
    assert (contributions[condition] == 0.0).all(axis=None)
    for column in ("value", "reconstructed"):
        cells = reasons[column].unstack(sort=False)
        assert (cells[condition] == rows[condition]).all(axis=None)
    nearest = reasons["nearest_1"].unstack(sort=False)
    for column in condition:
        assert set(nearest[column]) <= set(X[column])
    if parts:  # what no part takes is not reconstructed
        assert reasons["reconstructed"].unstack(sort=False)["paid"].isna().all()
    save(detector, tmp_path / "detector.latentsk")
    again = load(tmp_path / "detector.latentsk")
    np.testing.assert_array_equal(
        again.score_samples(rows), detector.score_samples(rows)
    )
    pd.testing.assert_frame_equal(again.explain(rows), reasons)


@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
def test_conditions_beside_features_of_several_columns_have_their_values():
    parts = [POWERS, ("c", "passthrough", ["car"])]
    detector = behind(parts, ["car"]).fit(CLAIMS)
    reasons = detector.explain(CLAIMS[:3])
    np.testing.assert_allclose(
        reasons["contribution"].groupby(level=0, sort=False).sum(),
        detector.score_samples(CLAIMS[:3]),
    )
    cars = reasons.xs("car", level="feature")
    for column in ("value", "reconstructed"):
        assert cars[column].tolist() == CLAIMS["car"][:3].tolist()
    squares = reasons.xs("amount^2", level="feature")["value"].astype(float)
    np.testing.assert_allclose(squares, CLAIMS["amount"][:3] ** 2)


@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
def test_the_nearest_row_is_shown_with_a_numeric_condition_of_its_own():
    X = CLAIMS[["amount", "age"]]
    model = VAEEmbedder(1, condition=["age"], max_epochs=1, random_state=0)
    reasons = LatentOutlierDetector(model, random_state=0).fit(X).explain(X[:5])
    nearest = reasons["nearest_1"].unstack(sort=False)
    # Both cells are those of one training row.
    pairs = set(map(tuple, X.to_numpy()))
    assert set(map(tuple, nearest.to_numpy())) <= pairs


@pytest.mark.parametrize(
    "fit",
    [
        lambda model: model.fit(GAPS),
        lambda model: model.fit(GAPS.drop(columns="paid")),
        lambda model: model.fit(GAPS.drop(columns=["paid", "region"])),
        lambda model: LatentOutlierDetector(model).fit(GAPS),
        lambda model: make_pipeline(make_table_preprocessor(GAPS), model).fit(GAPS),
        lambda model: make_pipeline(
            make_table_preprocessor(GAPS).set_output(transform="pandas"), model
        ).fit(GAPS),
    ],
)
def test_a_mixed_table_is_led_to_a_preprocessor_that_keeps_conditions(fit):
    model = VAEEmbedder(1, condition=["car"], max_epochs=1, random_state=0)
    with pytest.raises((TypeError, ValueError)) as caught:
        fit(model)
    code = re.search(r"ColumnTransformer\(.*\)\.set_output\(.*?\)", str(caught.value))
    names = {"make_table_preprocessor": make_table_preprocessor, "X": GAPS}
    step = eval(code[0], {**names, "ColumnTransformer": ColumnTransformer})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosteriorCollapseWarning)
        scores = make_pipeline(step, model).fit(GAPS).score_samples(GAPS)
    assert np.isfinite(scores).all()

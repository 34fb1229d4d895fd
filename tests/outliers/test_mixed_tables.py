"""Tables of mixed columns, with gaps, straight into a detector."""

import datetime
from contextlib import nullcontext

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import latentsk
from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    RobustStandardizer,
    make_table_preprocessor,
)

START = pd.Timestamp("2026-01-05")


def payments(n_rows, seed):
    """Return payments whose balance is three times the amount, with gaps."""
    rng = np.random.default_rng(seed)
    amount = np.exp(rng.normal(3.0, 0.5, size=n_rows))
    table = pd.DataFrame(
        {
            "amount": amount,
            "balance": 3.0 * amount + rng.normal(0.0, 3.0, size=n_rows),
            "age": rng.integers(18, 90, size=n_rows),
            "member": rng.random(n_rows) < 0.5,
            "channel": rng.choice(["web", "shop", "phone"], size=n_rows),
            "paid": START + pd.to_timedelta(rng.uniform(0, 30, size=n_rows), unit="D"),
        },
        index=[f"tx{i}" for i in range(n_rows)],
    )
    table.loc[rng.random(n_rows) < 0.05, "balance"] = np.nan
    table.loc[rng.random(n_rows) < 0.05, "channel"] = None
    table.loc[rng.random(n_rows) < 0.05, "paid"] = pd.NaT
    return table


TABLE, NEW = payments(600, 0), payments(200, 1)
NUMBERS = ["amount", "balance", "age"]


@pytest.fixture(scope="module")
def detector():
    return LatentOutlierDetector(random_state=0).fit(TABLE)


def test_the_preprocessor_is_the_documented_one(detector):
    assert isinstance(detector.preprocessor_, ColumnTransformer)
    assert detector.preprocessor_ is detector.embedder_[0]
    expected = make_table_preprocessor(TABLE).fit(TABLE)
    np.testing.assert_array_equal(
        detector.preprocessor_.transform(NEW), expected.transform(NEW)
    )


def test_a_fresh_table_is_normal(detector):
    # Amounts have long tails: of normal ones, fewer are called outliers.
    assert np.mean(detector.predict(payments(3_000, 2)) == -1) < 0.08


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("amount", 5_000.0),
        ("balance", -500.0),
        ("age", -999),
        ("channel", "fax"),
    ],
)
def test_what_the_fit_has_not_seen_is_an_outlier(detector, column, value):
    odd = NEW[:20].copy()
    odd[column] = value
    assert (detector.predict(odd) == -1).all()
    reasons = detector.explain(odd)["contribution"].unstack()
    assert (reasons.idxmin(axis=1) == column).mean() > 0.9


def test_a_relation_that_does_not_hold_is_an_outlier(detector):
    odd = NEW.dropna().iloc[:20].copy()
    odd["balance"] = 4.5 * odd["amount"]  # each usual by itself
    normal = NEW.dropna().iloc[:20]
    assert np.median(detector.score_samples(odd)) < -2.5
    assert np.median(detector.score_samples(normal)) > -1.0


def test_gaps_are_no_outliers(detector):
    gaps = NEW.dropna()
    whole = detector.score_samples(gaps)
    for column in ("balance", "channel", "paid"):
        lacks = gaps.assign(**{column: None}).astype({column: NEW[column].dtype})
        assert np.median(detector.score_samples(lacks)) > np.median(whole) - 0.1
    odd = gaps.assign(amount=5_000.0, balance=np.nan)
    assert (detector.predict(odd) == -1).all()


def test_a_table_of_numbers_is_the_array():
    table = TABLE[NUMBERS].dropna()
    one = LatentOutlierDetector(random_state=0).fit(table)
    other = LatentOutlierDetector(random_state=0).fit(table.to_numpy())
    assert one.preprocessor_ is None
    np.testing.assert_array_equal(
        one.score_samples(table), other.score_samples(table.to_numpy())
    )


@pytest.mark.parametrize("method", ["auto", "embedder_score"])
def test_a_table_of_numbers_with_gaps_is_the_array(method):
    table = TABLE[NUMBERS]
    one = LatentOutlierDetector(method=method, random_state=0).fit(table)
    other = LatentOutlierDetector(method=method, random_state=0).fit(table.to_numpy())
    assert isinstance(one.preprocessor_, ColumnTransformer)
    assert other.preprocessor_ is None
    np.testing.assert_array_equal(
        one.score_samples(table), other.score_samples(table.to_numpy())
    )
    np.testing.assert_array_equal(
        one.explain(table[:9])["contribution"],
        other.explain(table[:9].to_numpy())["contribution"],
    )


def test_a_missing_cell_does_not_count_for_the_distance():
    """The squared distance of the others alone: by the covariance of these."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3))
    rows[::8, 2] = np.nan
    detector = LatentOutlierDetector(method="distance", random_state=0).fit(rows)
    complete = rows[~np.isnan(rows).any(axis=1)]
    both = complete[:, :2] - np.median(rows[:, :2], axis=0)
    precision = np.linalg.inv(np.cov(complete[:, :2].T))
    expected = np.einsum("ij,jk,ik->i", both, precision, both)
    lacking = complete.copy()
    lacking[:, 2] = np.nan
    found = -detector.score_samples(lacking)
    assert np.corrcoef(found, expected)[0, 1] > 0.99


@pytest.mark.parametrize("share", [0.005, 0.2])
def test_a_missing_cell_of_a_tight_relation_is_no_outlier(share):
    """Neighbours see what the other columns make most likely, not the median."""
    rng = np.random.default_rng(0)

    def related(n_rows):
        a = rng.normal(size=n_rows)
        b = 0.99 * a + 0.14 * rng.normal(size=n_rows)
        return pd.DataFrame({"a": a, "b": b, "c": rng.normal(size=n_rows)})

    table, new = related(2_000), related(1_000)
    table.loc[rng.random(2_000) < share, "a"] = np.nan
    detector = LatentOutlierDetector(random_state=0).fit(table)
    assert np.mean(detector.predict(table) == -1) < 0.03
    assert np.mean(detector.predict(new.assign(a=np.nan)) == -1) < 0.03
    reasons = detector.explain(new[:20].assign(a=np.nan))["contribution"].unstack()
    assert (reasons["a"] == 0.0).all()
    np.testing.assert_array_equal(
        detector.fit_predict(table), detector.fit(table).predict(table)
    )


def test_infinity_is_refused_and_nothing_is_left():
    table = TABLE.copy()
    table.loc["tx7", "amount"] = np.inf
    detector = LatentOutlierDetector()
    with pytest.raises(ValueError, match="infinity: inf in column 'amount', row 7"):
        detector.fit(table)
    assert not [name for name in vars(detector) if name.endswith("_")]


def test_object_arrays_keep_the_rules_of_scikit_learn():
    numbers = TABLE[NUMBERS].dropna().to_numpy()
    expected = LatentOutlierDetector(random_state=0).fit(numbers)
    found = LatentOutlierDetector(random_state=0).fit(numbers.astype(object))
    np.testing.assert_array_equal(found.training_scores_, expected.training_scores_)
    with pytest.raises(ValueError, match="column 'x4' holds strings"):
        LatentOutlierDetector().fit(TABLE.drop(columns="paid").to_numpy())


def test_tables_of_other_libraries(detector):
    table = pl.DataFrame(TABLE.reset_index(drop=True))
    for rows in (table, table.to_arrow()):
        found = LatentOutlierDetector(random_state=0).fit(rows)
        np.testing.assert_array_equal(found.training_scores_, detector.training_scores_)
        np.testing.assert_array_equal(
            found.score_samples(rows[:50]), detector.score_samples(TABLE[:50])
        )


def test_types_may_differ_from_those_of_the_fit(detector):
    found = detector.score_samples(NEW)
    others = NEW.astype({"channel": "category", "member": object, "age": float})
    np.testing.assert_array_equal(detector.score_samples(others), found)
    days = [None if pd.isna(day) else str(day) for day in NEW["paid"]]
    np.testing.assert_allclose(
        detector.score_samples(NEW.assign(paid=days)), found, rtol=1e-6
    )


CHANGES = {
    "two rows": lambda t: t[:2],
    "a column without values": lambda t: t.assign(z=None),
    "one category": lambda t: t.assign(channel="web"),
    "categories alone": lambda t: t[["channel"]],
    "dates alone": lambda t: t[["paid"]],
    "equal dates": lambda t: t[["amount"]].assign(paid=START),
    "numbered columns": lambda t: t.set_axis(range(6), axis=1),
    "levels of columns": lambda t: t.set_axis(
        pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]]), axis=1
    ),
    "equal labels": lambda t: t.set_axis(["r"] * len(t), axis=0),
    "ids": lambda t: t.assign(id=t.index),
    "types of Arrow": lambda t: t.convert_dtypes(dtype_backend="pyarrow"),
    "nullable types": lambda t: t.convert_dtypes(),
    "a sparse column": lambda t: t.assign(z=pd.arrays.SparseArray(t["age"] > 80)),
    "intervals": lambda t: t.assign(z=pd.cut(t["amount"], 4)),
    "objects": lambda t: t.astype(object),
    "bytes": lambda t: t.assign(z=[b"a", b"b"] * (len(t) // 2)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_tables_of_many_kinds(name, tmp_path):
    table = CHANGES[name](TABLE)
    empty = "z" in table and table["z"].isna().all()
    with pytest.warns(match="'z' has no value") if empty else nullcontext():
        detector = LatentOutlierDetector(random_state=0).fit(table)
    scores = detector.score_samples(table)
    assert np.isfinite(scores).all()
    assert np.mean(scores < detector.offset_) < 0.08
    few = table[:2]
    reasons = detector.explain(few)
    sums = reasons["contribution"].to_numpy().reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(sums, scores[:2], rtol=1e-9, atol=1e-12)
    latentsk.save(detector, tmp_path / "detector")
    loaded = latentsk.load(tmp_path / "detector")
    np.testing.assert_array_equal(loaded.score_samples(table), scores)
    pd.testing.assert_frame_equal(loaded.explain(few), reasons)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_a_setting_of_outputs_changes_nothing(detector, output):
    with config_context(transform_output=output):
        found = LatentOutlierDetector(random_state=0).fit(TABLE).score_samples(NEW)
    np.testing.assert_allclose(detector.score_samples(NEW), found, atol=1e-9)


def test_a_table_that_tells_nothing_is_refused():
    table = pd.DataFrame({"paid": [START] * 9})
    with pytest.raises(ValueError, match="makes no feature of X"):
        LatentOutlierDetector().fit(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to_numpy(), "must be one with the same columns"),
        (lambda t: t.drop(columns="age"), "now missing"),
        (lambda t: t.assign(amount="much"), "'amount' had numbers in the fit"),
        (lambda t: t.assign(amount="12,50"), r"\.replace\(',', '\.', regex=True\)"),
        (lambda t: t.assign(paid="26.03.2026"), r"format='%d\.%m\.%Y'\)"),
        (lambda t: t.assign(paid="soon"), "'paid' must hold dates"),
        (lambda t: t.assign(channel=[["a"]] * len(t)), "column 'channel' holds"),
        (lambda t: t.assign(age=-np.inf), "infinity: -inf in column 'age'"),
    ],
)
def test_rows_that_are_others_are_refused_by_name(detector, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        detector.score_samples(change(NEW))


def test_a_large_number_of_another_form_is_an_outlier_after_the_remedy(detector):
    rows, as_text = NEW[:2].assign(amount=99_999.0), NEW[:2].assign(amount="99.999,00")
    with pytest.raises(TypeError, match=r"got '99\.999,00' in row 0") as error:
        detector.predict(as_text)
    exec(str(error.value).split("of them: ")[1].rstrip("."), {"X": as_text, "pd": pd})
    assert (detector.predict(as_text) == -1).all()
    np.testing.assert_array_equal(
        detector.score_samples(as_text), detector.score_samples(rows)
    )


def test_words_for_booleans_are_read_by_the_remedy():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"paid": rng.normal(size=99), "city": ["Rome", "Bonn", "York"] * 33}
    )
    X["express"] = rng.random(99) < 0.3
    fitted = LatentOutlierDetector(random_state=0).fit(X)
    rows = X.assign(express=X["express"].map({True: "Yes", False: "No"}))
    with pytest.raises(TypeError, match="'express' had numbers in the fit") as error:
        fitted.score_samples(rows)
    exec(str(error.value).split("the words: ")[1].rstrip("."), {"X": rows})
    np.testing.assert_array_equal(fitted.score_samples(rows), fitted.score_samples(X))


def test_reasons_are_in_the_columns_of_the_table(detector):
    reasons = detector.explain(NEW[:30], n_nearest=2)
    assert reasons.loc["tx0"].index.tolist() == TABLE.columns.tolist()
    sums = reasons["contribution"].groupby(level="row", sort=False).sum()
    np.testing.assert_allclose(sums, detector.score_samples(NEW[:30]))
    values = reasons["value"].unstack()[TABLE.columns.tolist()].loc[NEW.index[:30]]
    for name in ("amount", "channel", "paid"):
        known = NEW[name][:30].notna()
        assert (values[name][known] == NEW[name][:30][known]).all()
    nearest = reasons["nearest_1"].unstack()
    rows = TABLE.reset_index(drop=True)
    for _, row in nearest.iterrows():
        same = (rows["amount"] == row["amount"]) & (rows["age"] == row["age"])
        (found,) = rows.index[same]
        assert rows["paid"][found] is row["paid"] or rows["paid"][found] == row["paid"]


@pytest.mark.parametrize("last", [None, PCAEmbedder(2)])
def test_nearest_rows_are_rows_of_the_table(last):
    """Also where features hold imputed values, or rare categories that are joined."""
    rng = np.random.default_rng(0)
    table = TABLE[NUMBERS].assign(
        city=np.where(rng.random(600) < 0.8, "A", TABLE.index)
    )
    if last is not None:
        steps = SimpleImputer(add_indicator=True), StandardScaler(), last
        table = table[NUMBERS]
    embedder = None if last is None else make_pipeline(*steps)
    detector = LatentOutlierDetector(embedder, random_state=0).fit(table)
    nearest = detector.explain(table[:100])["nearest_1"].unstack()[table.columns]
    rows = {tuple(row) for row in table.astype(object).fillna(-1.0).to_numpy()}
    for row in nearest.astype(object).fillna(-1.0).to_numpy():
        assert tuple(row) in rows


def test_a_detector_of_a_mixed_table_is_stored_whole(detector, tmp_path):
    calibrated = LatentOutlierDetector(random_state=0).fit(TABLE).calibrate(NEW)
    latentsk.save(calibrated, tmp_path / "detector")
    loaded = latentsk.load(tmp_path / "detector")
    np.testing.assert_array_equal(
        loaded.score_samples(NEW), detector.score_samples(NEW)
    )
    np.testing.assert_array_equal(loaded.p_values(NEW), calibrated.p_values(NEW))
    pd.testing.assert_frame_equal(loaded.explain(NEW[:5]), calibrated.explain(NEW[:5]))


def test_an_update_keeps_the_preprocessor(detector):
    updated = LatentOutlierDetector(random_state=0).fit(TABLE)
    before = updated.preprocessor_.transform(NEW)
    updated.update(NEW)
    np.testing.assert_array_equal(updated.preprocessor_.transform(NEW), before)
    assert len(updated.training_scores_) == len(NEW)
    reasons = updated.explain(NEW[:3])
    assert set(reasons.xs("amount", level="feature")["nearest_1"]) <= set(NEW["amount"])


def test_the_adapter_takes_mixed_tables(detector):
    adapter = PyODAdapter(random_state=0).fit(TABLE)
    np.testing.assert_array_equal(
        adapter.decision_function(NEW), -detector.score_samples(NEW)
    )


@pytest.mark.parametrize(
    "embedder",
    [PCAEmbedder(3), AutoencoderEmbedder(3, max_epochs=3, random_state=0)],
    ids=["PCA", "network"],
)
def test_the_preprocessor_before_an_embedder_of_ones_own(embedder):
    whole = make_pipeline(make_table_preprocessor(TABLE), embedder)
    detector = LatentOutlierDetector(whole, random_state=0).fit(TABLE)
    assert detector.preprocessor_ is None
    reasons = detector.explain(NEW[:5])
    assert reasons.loc["tx0"].index.tolist() == TABLE.columns.tolist()
    sums = reasons["contribution"].groupby(level="row", sort=False).sum()
    np.testing.assert_allclose(sums, detector.score_samples(NEW[:5]), rtol=1e-6)
    seen = reasons["reconstructed"].unstack()
    assert set(seen["channel"]) <= {"web", "shop", "phone", np.nan}
    assert seen["paid"].isna().all()  # a phase is no date
    assert seen["amount"].astype(float).between(0.0, 200.0).all()


def test_an_index_of_a_mixed_table():
    whole = make_pipeline(make_table_preprocessor(TABLE), PCAEmbedder(6))
    index = LatentIndex(whole).fit(TABLE)
    assert index.kneighbors(TABLE[:5], 1)[1].ravel().tolist() == [0, 1, 2, 3, 4]


def hours(dates):
    when = dates.iloc[:, 0].dt
    return np.column_stack([when.hour, when.day_of_week])


def test_reasons_with_a_transformer_of_ones_own():
    table = TABLE.dropna()
    columns = ColumnTransformer(
        [
            ("log", make_pipeline(FunctionTransformer(np.log), StandardScaler()), [0]),
            ("hours", FunctionTransformer(hours), ["paid"]),
            ("rest", RobustStandardizer(), ["age", "balance"]),
        ]
    )
    embedder = make_pipeline(columns, StandardScaler(), PCAEmbedder(4))
    detector = LatentOutlierDetector(embedder, random_state=0).fit(table)
    odd = table[:1].assign(amount=73_214.0)
    reasons = detector.explain(odd)
    sums = reasons["contribution"].sum()
    np.testing.assert_allclose(sums, detector.score_samples(odd)[0])
    assert reasons["contribution"].idxmin() == ("tx0", "amount")
    assert reasons.loc[("tx0", "amount"), "value"] == 73_214.0
    assert reasons.loc[("tx0", "channel"), "contribution"] == 0.0


def with_ratio(table):
    return table[NUMBERS].assign(ratio=table["amount"] / table["balance"])


def test_a_table_that_a_function_makes_keeps_its_names():
    steps = FunctionTransformer(with_ratio), StandardScaler(), PCAEmbedder(2)
    detector = LatentOutlierDetector(make_pipeline(*steps), random_state=0)
    reasons = detector.fit(TABLE.dropna()).explain(TABLE.dropna()[:1])
    assert reasons.loc["tx0"].index.tolist() == [*NUMBERS, "ratio"]


def test_a_frozen_pipeline_is_seen_through():
    whole = make_pipeline(make_table_preprocessor(TABLE), PCAEmbedder(4)).fit(TABLE)
    one = LatentOutlierDetector(whole, random_state=0).fit(TABLE)
    frozen = FrozenEstimator(whole)
    other = LatentOutlierDetector(frozen, random_state=0).fit(TABLE)
    assert other.embedder_ is frozen
    np.testing.assert_array_equal(one.training_scores_, other.training_scores_)
    assert other.explain(NEW[:1]).loc["tx0"].index.tolist() == TABLE.columns.tolist()


def test_one_column_of_dates():
    days = [START.date() + datetime.timedelta(days=d) for d in range(200)]
    table = pd.DataFrame({"day": [d for d in days if d.weekday() < 5]})
    detector = LatentOutlierDetector(random_state=0).fit(table)
    saturday = pd.DataFrame({"day": [datetime.date(2026, 1, 10)]})
    monday = pd.DataFrame({"day": [datetime.date(2026, 1, 12)]})
    assert detector.score_samples(saturday) < detector.score_samples(monday)


def test_the_table_vectorizer_of_skrub(tmp_path):
    skrub = pytest.importorskip("skrub")
    steps = skrub.TableVectorizer(), SimpleImputer(), StandardScaler(), PCAEmbedder(8)
    detector = LatentOutlierDetector(make_pipeline(*steps), random_state=0).fit(TABLE)
    odd = NEW.dropna()[:5].assign(amount=5_000.0, balance=np.nan)
    reasons = detector.explain(odd)
    assert reasons.loc[odd.index[0]].index.tolist() == TABLE.columns.tolist()
    sums = reasons["contribution"].groupby(level="row", sort=False).sum()
    np.testing.assert_allclose(sums, detector.score_samples(odd))
    assert (reasons["contribution"].unstack().idxmin(axis=1) == "amount").all()
    assert set(reasons.xs("amount", level="feature")["value"]) == {5_000.0}
    with pytest.raises(TypeError, match=r"TableVectorizer .* cannot be stored"):
        latentsk.save(detector, tmp_path / "detector")

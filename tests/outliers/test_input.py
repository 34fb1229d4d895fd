"""Rows of any kind: what an index takes through its embedder, the detector takes."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    OneHotEncoder,
    StandardScaler,
)
from sklearn.utils import _safe_indexing, get_tags

import latentsk
from latentsk import LatentIndex, LatentOutlierDetector, PCAEmbedder, PyODAdapter
from latentsk.outliers._latent_rows import MAX_DENSE_COLUMNS

RNG = np.random.default_rng(0)
WORDS = ["red", "green", "blue", "round", "square", "heavy", "light", "new"]
TEXTS = [" ".join(RNG.choice(WORDS, 6)) for _ in range(90)]
TEXTS[7] = "zebra quux quux zebra heavy round"
TABLE = RNG.normal(size=(90, 4))
TABLE[5] += 9.0
NAMES = ["age", "income", "score", "weight"]
FRAME = pd.DataFrame(TABLE, columns=NAMES, index=range(500, 590))
N_COLUMNS = MAX_DENSE_COLUMNS + 100
WIDE = sparse.random_array((90, N_COLUMNS), density=0.02, rng=1, format="lil")
WIDE[[3], :60] = 4.0
WIDE = WIDE.tocsr()
NARROW = sparse.random_array((90, 12), density=0.3, rng=2, format="csr")


def svd(n_components=4):
    return TruncatedSVD(n_components, random_state=0)


def of_texts():
    return make_pipeline(TfidfVectorizer(), svd())


class Words(TransformerMixin, BaseEstimator):
    """Takes texts itself, as a language model does."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.array([[text.split().count(word) for word in WORDS] for text in X])


def _columns(encoder):
    return make_column_transformer(
        (TfidfVectorizer(), "note"), (encoder, ["city"]), (StandardScaler(), NAMES)
    )


MIXED = FRAME.assign(note=TEXTS, city=["Bath", "York"] * 45)
# An embedder, and rows that it takes.
KINDS = {
    "texts": (of_texts(), TEXTS),
    "array of texts": (of_texts(), np.array(TEXTS)),
    "objects": (of_texts(), np.array(TEXTS, dtype=object)),
    "Series": (of_texts(), pd.Series(TEXTS, index=FRAME.index)),
    "polars Series": (of_texts(), pl.Series(TEXTS)),
    "texts, then PCA": (make_pipeline(of_texts(), PCAEmbedder(2)), TEXTS),
    "texts alone": (Words(), TEXTS),
    "dicts": (
        make_pipeline(DictVectorizer(), svd(2)),
        pd.DataFrame(TABLE, columns=NAMES).to_dict("records"),
    ),
    "wide": (svd(), WIDE),
    "wide matrix": (svd(), sparse.csr_matrix(WIDE)),
    "wide coo": (make_pipeline(MaxAbsScaler(), svd()), WIDE.tocoo()),
    "wide csc": (
        make_pipeline(StandardScaler(with_mean=False), svd()),
        WIDE.tocsc(),
    ),
    "wide, then PCA": (make_pipeline(svd(10), PCAEmbedder(3)), WIDE),
    "wide PCA": (PCAEmbedder(3, random_state=0), WIDE),
    "narrow": (svd(), NARROW),
    "narrow PCA": (make_pipeline(MaxAbsScaler(), PCAEmbedder(3)), NARROW),
    "sparse columns": (PCAEmbedder(3), pd.DataFrame.sparse.from_spmatrix(NARROW)),
    "polars": (make_pipeline(StandardScaler(), PCAEmbedder(2)), pl.DataFrame(FRAME)),
    "Arrow": (PCAEmbedder(2), pl.DataFrame(FRAME).to_arrow()),
    "mixed": (make_pipeline(_columns(OneHotEncoder()), PCAEmbedder(3)), MIXED),
    "mixed alone": (
        make_column_transformer(
            (OneHotEncoder(sparse_output=False), ["city"]), (StandardScaler(), NAMES)
        ),
        MIXED,
    ),
    "images": (
        make_pipeline(
            FunctionTransformer(lambda rows: rows.reshape(len(rows), -1)),
            PCAEmbedder(2),
        ),
        TABLE.reshape(90, 2, 2),
    ),
    "lists": (make_pipeline(StandardScaler(), PCAEmbedder(2)), TABLE.tolist()),
}


def _detector(embedder, **parameters):
    return LatentOutlierDetector(embedder, random_state=0, **parameters)


def _some(rows, positions):
    return _safe_indexing(
        rows.tocsr() if sparse.issparse(rows) else rows, np.array(positions)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_takes_what_an_index_takes(kind):
    embedder, rows = KINDS[kind]
    LatentIndex(embedder).fit(rows)
    detector = _detector(embedder).fit(rows)
    scores = detector.score_samples(rows)
    assert scores.shape == (90,)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(detector.training_scores_, np.sort(scores))
    labels = np.where(scores >= detector.offset_, 1, -1)
    np.testing.assert_array_equal(detector.predict(rows), labels)
    np.testing.assert_array_equal(_detector(embedder).fit_predict(rows), labels)
    parts = detector.score_parts(rows)
    lowest = parts[["joint", "near", "overall"]].min(axis=1)
    np.testing.assert_allclose(lowest, scores)

    few = _some(rows, [3, 5, 7])
    reasons = detector.explain(few, n_nearest=1)
    sums = reasons["contribution"].groupby(level=0, sort=False).sum()
    np.testing.assert_allclose(sums, scores[[3, 5, 7]], rtol=1e-6, atol=1e-6)
    assert np.isfinite(reasons["contribution"]).all()
    assert (
        not reasons.drop(columns="reconstructed", errors="ignore").isna().any(axis=None)
    )

    detector.calibrate(rows)
    n_as_low = (scores[:, None] <= scores).sum(axis=0)
    np.testing.assert_allclose(detector.p_values(rows), (1 + n_as_low) / 91)
    assert detector.predict_fdr(few).shape == (3,)
    assert detector.outlier_probability(few).shape == (3,)
    adapter = PyODAdapter(_detector(embedder)).fit(rows)
    np.testing.assert_allclose(adapter.decision_scores_, -scores)


@pytest.mark.parametrize("kind", ["texts", "wide", "polars", "mixed"])
def test_blocks_of_rows_are_scored_alike(kind, monkeypatch):
    embedder, rows = KINDS[kind]
    detector = _detector(embedder).fit(rows)
    scores = detector.score_samples(rows)
    monkeypatch.setattr("latentsk.outliers._detector.BLOCK_ELEMENTS", 7_000)
    # Distances of 0 are those of rounded squares, to some 1e-8.
    np.testing.assert_allclose(detector.score_samples(rows), scores, atol=1e-6)


@pytest.mark.parametrize("kind", ["texts", "wide", "polars", "mixed", "images"])
@pytest.mark.parametrize("position", [5, 30])
def test_a_row_s_score_depends_on_it_alone(kind, position):
    embedder, rows = KINDS[kind]
    detector = _detector(embedder).fit(rows)
    alone = detector.score_samples(_some(rows, [position]))
    np.testing.assert_allclose(
        alone, detector.score_samples(rows)[[position]], atol=1e-6
    )


# The same numbers in another container


def test_texts_of_any_container_are_the_same_texts():
    expected = _detector(of_texts()).fit(TEXTS).score_samples(TEXTS)
    assert expected.argmin() == 7
    for kind in ("array of texts", "objects", "Series", "polars Series"):
        rows = KINDS[kind][1]
        scores = _detector(of_texts()).fit(rows).score_samples(rows)
        np.testing.assert_allclose(scores, expected, err_msg=kind)


@pytest.mark.parametrize("embedder", [None, PCAEmbedder(2), StandardScaler()])
def test_tables_of_any_library_are_the_same_numbers(embedder):
    detector = _detector(embedder).fit(FRAME)
    expected = detector.score_samples(FRAME)
    assert 5 in expected.argsort()[:2]
    reasons = detector.explain(FRAME.iloc[:2]).reset_index(drop=True)
    for table in (pl.DataFrame(FRAME), pl.DataFrame(FRAME).to_arrow()):
        other = _detector(embedder).fit(table)
        np.testing.assert_allclose(other.score_samples(table), expected)
        np.testing.assert_allclose(detector.score_samples(table), expected)
        assert other.feature_names_in_.tolist() == NAMES
        assert_frame_equal(other.explain(table[:2]).reset_index(drop=True), reasons)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.coo_matrix])
def test_narrow_sparse_rows_are_the_same_numbers(container):
    dense = NARROW.toarray()
    for embedder in (svd(), make_pipeline(MaxAbsScaler(), svd())):
        detector = _detector(embedder).fit(dense)
        expected = detector.score_samples(dense)
        other = _detector(embedder).fit(container(NARROW))
        assert other.parts_ == detector.parts_ == ["distance", "residual", "neighbors"]
        found = other.score_samples(container(NARROW))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        # Their features are columns of X.
        reasons = other.explain(container(NARROW[:2]))
        np.testing.assert_allclose(reasons["value"], dense[:2].ravel(), atol=1e-12)
        assert reasons.index[1] == (0, "x1")


def test_of_wide_sparse_rows_the_latents_stand_for_the_features():
    """As if the latents had been given: nothing else is known of the rows."""
    latents = svd().fit_transform(WIDE)
    expected = _detector(FunctionTransformer()).fit(latents).score_samples(latents)
    assert expected.argmin() == 3
    embedder = make_pipeline(svd())
    detector = _detector(embedder).fit(WIDE)
    np.testing.assert_allclose(detector.score_samples(WIDE), expected, rtol=1e-6)
    assert detector.parts_ == ["distance", "neighbors"]
    reasons = detector.explain(WIDE[:1])
    np.testing.assert_allclose(reasons["value"], latents[0], rtol=1e-6)
    assert reasons.index[0] == (0, "truncatedsvd0")
    assert detector.index_.vectors_.shape[1] == 4


def test_rows_are_sparse_in_one_call_and_dense_in_another():
    new = sparse.random_array((9, N_COLUMNS), density=0.02, rng=3, format="csr")
    for rows in (WIDE, WIDE.toarray()):
        detector = _detector(svd()).fit(rows)
        np.testing.assert_allclose(
            detector.score_samples(new), detector.score_samples(new.toarray())
        )


# What is known of the fit


@pytest.mark.parametrize("kind", ["wide", "texts", "mixed"])
def test_the_embedder_is_the_one_that_was_given(kind):
    embedder, rows = KINDS[kind]
    detector = _detector(embedder).fit(rows)
    assert type(detector.embedder_) is type(embedder)
    assert detector.embedder_.get_params().keys() == embedder.get_params().keys()
    fitted = detector.embedder_
    again = _detector(fitted).fit(rows)
    assert again.embedder_ is fitted
    np.testing.assert_allclose(
        again.index_.vectors_, fitted.transform(rows)[again.index_.ids_]
    )


def test_rows_without_columns_have_no_features():
    detector = _detector(of_texts()).fit(TEXTS)
    assert not hasattr(detector, "n_features_in_")
    assert not hasattr(PyODAdapter(detector).fit(TEXTS), "n_features_in_")
    detector.set_params(embedder=None).fit(FRAME)
    assert (detector.n_features_in_, list(detector.feature_names_in_)) == (4, NAMES)
    detector.set_params(embedder=of_texts()).fit(TEXTS)
    assert not hasattr(detector, "n_features_in_")
    assert not hasattr(detector, "feature_names_in_")


def test_columns_of_other_libraries_are_compared():
    table = pl.DataFrame(FRAME)
    detector = _detector(PCAEmbedder(2)).fit(table)
    with pytest.raises(ValueError, match="feature names should match"):
        detector.predict(table.rename({"age": "years"}))
    with pytest.raises(ValueError, match="X has 599 features"):
        _detector(svd()).fit(WIDE).predict(WIDE[:, 1:])


@pytest.mark.parametrize("rows", [FRAME, pd.Series(TEXTS, index=FRAME.index)])
def test_labels_of_rows_are_kept(rows):
    embedder = None if rows is FRAME else of_texts()
    detector = _detector(embedder).fit(rows)
    assert detector.score_parts(rows).index.tolist() == list(range(500, 590))
    reasons = detector.explain(rows[:2])
    assert reasons.index.get_level_values("row").unique().tolist() == [500, 501]
    index = LatentIndex(embedder).fit(rows)
    assert index.ids_.tolist() == list(range(500, 590))


def test_tags_are_those_of_the_embedder():
    for embedder in (svd(), PCAEmbedder(), StandardScaler(), of_texts()):
        assert get_tags(_detector(embedder)).input_tags == get_tags(embedder).input_tags
    assert not get_tags(LatentOutlierDetector()).input_tags.sparse


@pytest.mark.parametrize("kind", ["wide", "texts", "texts alone"])
def test_copies_answer_alike(kind):
    embedder, rows = KINDS[kind]
    detector = _detector(embedder).fit(rows)
    copied = pickle.loads(pickle.dumps(detector))
    assert_frame_equal(copied.score_parts(rows), detector.score_parts(rows))


def test_a_file_holds_the_latents_of_wide_rows(tmp_path):
    detector = _detector(make_pipeline(MaxAbsScaler(), svd())).fit(WIDE)
    latentsk.save(detector, tmp_path / "model")
    loaded = latentsk.load(tmp_path / "model")
    assert_frame_equal(loaded.score_parts(WIDE), detector.score_parts(WIDE))
    assert_frame_equal(loaded.explain(WIDE[:2]), detector.explain(WIDE[:2]))
    assert [name for name, _ in loaded.embedder_.steps] == [
        name for name, _ in detector.embedder_.steps
    ]


# What needs features


def test_what_latents_alone_cannot_do_is_refused():
    message = "needs features, and what enters the embedder"
    detector = _detector(PCAEmbedder(2, random_state=0), method="residual")
    with pytest.raises(ValueError, match=f"method='residual' {message}"):
        detector.fit(WIDE)
    assert not hasattr(detector, "offset_")
    detector.set_params(method="embedder_score").fit(WIDE)
    expected = detector.embedder_.score_samples(WIDE)
    np.testing.assert_allclose(detector.score_samples(WIDE), expected)
    with pytest.raises(ValueError, match=message):
        detector.explain(WIDE[:2])


def test_an_embedder_of_tables_says_what_texts_need():
    for embedder in (None, PCAEmbedder(2), make_pipeline(StandardScaler(), svd())):
        with pytest.raises(ValueError, match=r"holds strings.*TfidfVectorizer\(\)"):
            _detector(embedder).fit(TEXTS)


@pytest.mark.parametrize("rows", [[], TEXTS[:1], WIDE[:1], pl.DataFrame(FRAME)[:1]])
def test_too_few_rows(rows):
    embedder = of_texts() if isinstance(rows, list) else svd(1)
    with pytest.raises(ValueError, match=r"\d sample\(s\).*a minimum of 2 is required"):
        _detector(embedder).fit(rows)


@pytest.mark.parametrize(
    "rows", ["one text", (text for text in TEXTS), None, 3.0, {"a": TEXTS}, set(TEXTS)]
)
def test_what_is_no_sequence_of_rows(rows):
    detector = _detector(of_texts()).fit(TEXTS)
    for act in (_detector(of_texts()).fit, detector.predict, detector.explain):
        with pytest.raises((TypeError, ValueError)):
            act(rows)
    with pytest.raises(TypeError, match="must be a sequence of rows, got a dict"):
        detector.predict({"a": TEXTS})


@pytest.mark.parametrize(
    "ask",
    [
        "fit",
        "score_samples",
        "predict",
        "score_parts",
        "calibrate",
        "update",
        "explain",
    ],
)
def test_texts_are_a_column_and_no_table(ask):
    table = pd.DataFrame({"id": range(90), "note": TEXTS})
    detector = _detector(of_texts()).fit(table["note"])
    message = r"one column of texts for TfidfVectorizer, .* X\['note'\]\.$"
    for wrong in (table[:2], table[["note"]], pl.DataFrame(table)):
        with pytest.raises(ValueError, match=message):
            getattr(detector, ask)(wrong)
    getattr(detector, ask)(table["note"])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_text_is_named(missing):
    texts = pd.Series([*TEXTS[:5], missing, *TEXTS[6:]], dtype=object)
    detector = _detector(of_texts()).fit(TEXTS)
    for ask in (
        _detector(of_texts()).fit,
        detector.score_samples,
        detector.explain,
        detector.update,
    ):
        with pytest.raises(ValueError, match=r"row 5 is missing.*Give X\.fillna"):
            ask(texts)
        with pytest.raises(ValueError, match=r"row 5 is missing.*pd\.Series\(X\)"):
            ask(list(texts))
        ask(texts.fillna(""))

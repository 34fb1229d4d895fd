"""Reasons: sums that are the score, values that are the rows', the planted feature."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import inv, sqrtm
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from latentsk import (
    AutoencoderEmbedder,
    LatentOutlierDetector,
    PCAEmbedder,
    VAEEmbedder,
    load,
    save,
)
from latentsk.outliers._explain import neighbor_parts, shares, substitution_parts
from latentsk.outliers._gaussian import RIDGES
from latentsk.outliers._neighbors import minimum_weights
from latentsk.outliers._scales import KINDS, deviations
from latentsk.preprocessing._columns import robust_scales

METHODS = ["auto", "distance", "residual", "neighbors", "embedder_score"]
SMALL = {"hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0}
NAMES = ["mass", "length", "width", "height", "charge"]
EMBEDDERS = {
    "None": None,
    "PCAEmbedder": PCAEmbedder(2),
    "PCA": PCA(2),
    "whitened": PCA(2, whiten=True),
    "pipeline": make_pipeline(StandardScaler(), PCAEmbedder(2)),
    "pandas": make_pipeline(StandardScaler(), PCA(2)).set_output(transform="pandas"),
    "no way back": FactorAnalysis(2),
    "autoencoder": AutoencoderEmbedder(2, **SMALL),
    "vae": VAEEmbedder(2, **SMALL, n_score_samples=4),
}
NO_RESIDUAL = ("None", "no way back")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 5))
    rows = (rows + 0.3 * rng.normal(size=rows.shape)) * [1, 10, 0.1, 1, 5] + 7.0
    return pd.DataFrame(rows, columns=NAMES, index=[f"r{i}" for i in range(80)])


@pytest.fixture(scope="module")
def new(table):
    rng = np.random.default_rng(1)
    away = rng.normal(size=(20, 5)) * rng.choice([0.1, 4.0], size=(20, 1))
    new = table.iloc[:20] + away * table.std().to_numpy()
    return new.set_axis([f"n{i}" for i in range(20)])


@pytest.mark.parametrize("kind", EMBEDDERS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("assume_clean", [False, True])
def test_contributions_add_up_to_the_score(table, new, method, kind, assume_clean):
    if method == "residual" and kind in NO_RESIDUAL:
        pytest.skip("leaves no residual")
    detector = LatentOutlierDetector(
        EMBEDDERS[kind], method=method, assume_clean=assume_clean, random_state=0
    ).fit(table)
    rows = pd.concat([table.iloc[::4], new])
    reasons = detector.explain(rows)
    assert reasons.index.names == ["row", "feature"]
    assert list(reasons.index) == [(row, name) for row in rows.index for name in NAMES]
    sums = reasons["contribution"].to_numpy().reshape(-1, 5).sum(axis=1)
    scores = detector.score_samples(rows)
    np.testing.assert_allclose(sums, scores, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(reasons["value"], rows.to_numpy().ravel(), rtol=1e-9)
    expected = {method} if method not in ("auto", "neighbors") else {"near", "overall"}
    if method == "auto":
        expected |= {"joint"}
    assert set(reasons["part"]) <= expected
    alone = detector.explain(rows.iloc[3:4])
    np.testing.assert_allclose(
        alone["contribution"], reasons.loc[[rows.index[3]], "contribution"], atol=1e-8
    )


def test_part_names_what_the_score_is(table, new):
    detector = LatentOutlierDetector(PCAEmbedder(2), random_state=0).fit(table)
    rows = pd.concat([table, new])
    found = deviations(detector._measure(rows), detector._scale)
    kinds = detector.explain(rows).groupby(level="row", sort=False)["part"].first()
    assert set(kinds) == {"near", "overall", "joint"}
    scores = detector.score_samples(rows)
    for i, kind in enumerate(kinds):
        assert scores[i] == pytest.approx(-found[i, KINDS.index(kind)])


@pytest.mark.parametrize("kind", ["PCAEmbedder", "pipeline", "autoencoder", "vae"])
def test_reconstructed_is_what_the_embedder_reconstructs(table, new, kind):
    detector = LatentOutlierDetector(EMBEDDERS[kind], random_state=0).fit(table)
    rows = pd.concat([table.iloc[:9], new])
    found = detector.explain(rows)["reconstructed"].to_numpy().reshape(-1, 5)
    embedder = detector.embedder_
    expected = np.asarray(embedder.inverse_transform(embedder.transform(rows)))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if hasattr(embedder, "reconstruct"):
        np.testing.assert_allclose(found, embedder.reconstruct(rows), rtol=1e-6)


@pytest.mark.parametrize("kind", NO_RESIDUAL)
def test_where_nothing_is_left_out_nothing_is_reconstructed(table, kind):
    detector = LatentOutlierDetector(EMBEDDERS[kind], random_state=0).fit(table)
    assert "reconstructed" not in detector.explain(table)


@pytest.mark.parametrize("kind", ["None", "PCAEmbedder", "pipeline"])
@pytest.mark.parametrize("method", ["auto", "residual", "embedder_score"])
def test_nearest_are_those_of_brute_force(table, new, kind, method):
    if method == "residual" and kind == "None":
        pytest.skip("leaves no residual")
    detector = LatentOutlierDetector(EMBEDDERS[kind], method=method, random_state=0)
    detector.fit(table)
    rows = pd.concat([table.iloc[:30], new])
    reasons = detector.explain(rows, n_nearest=3)
    ids = detector.index_.ids_
    # The default embedder takes arrays.
    of = np.asarray if kind == "None" else lambda x: x
    latents = detector.embedder_.transform(of(table))[ids]
    queries = detector.embedder_.transform(of(rows))
    among = np.sort(cdist(latents, latents), axis=1)[:, 1:6].mean(axis=1)
    is_outlier = detector.predict(table)[ids] == -1
    for i, query in enumerate(queries):
        # By how far it is, and how close together others are there.
        lengths = np.linalg.norm(latents - query, axis=1) ** 1.5 / np.sqrt(among)
        lengths[ids == i if i < 30 else ids < 0] = np.inf
        if i >= 30 and detector._neighborhood.measure(query[None]).present[0] > 0.5:
            lengths[lengths.argmin()] = np.inf  # it is hardly another row
        lengths[is_outlier] = np.inf
        nearest = ids[np.argsort(lengths)[:3]]
        for rank in range(3):
            found = reasons.loc[rows.index[i], f"nearest_{rank + 1}"]
            expected = table.iloc[nearest[rank]]
            np.testing.assert_allclose(found, expected, rtol=1e-9)


def planted(n_rows=600):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(n_rows, 3)), columns=list("abc"))
    rows.loc[:8, "a"] = rng.uniform(4, 6, 9)
    return rows


def called(detector, rows, n_nearest=1):
    """Return how many of the nearest rows of each row the detector calls outliers."""
    reasons = detector.explain(rows, n_nearest=n_nearest)
    nearest = [c for c in reasons if c.startswith("nearest")]
    assert len(nearest) == n_nearest
    found = [reasons[c].unstack()[list("abc")].astype(float) for c in nearest]
    return int((detector.predict(pd.concat(found)) == -1).sum())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"contamination": 0.05},
        {"assume_clean": True, "contamination": 0.05},
        {"max_samples": 150},
        {"max_samples": 150, "embedder": PCAEmbedder(2)},
        {"method": "distance"},
        {"method": "embedder_score"},
        {"embedder": make_pipeline(StandardScaler(), PCA(2)), "contamination": 0.2},
    ],
    ids=lambda settings: " ".join(f"{k}={v}" for k, v in settings.items()),
)
def test_rows_shown_as_nearest_are_no_outliers(settings, tmp_path):
    rows = planted()
    detector = LatentOutlierDetector(random_state=0, **settings).fit(rows)
    assert (detector.predict(rows[:9]) == -1).any()
    assert called(detector, rows[:50], n_nearest=3) == 0
    save(detector, tmp_path / "model")
    again = load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.explain(rows[:9]), detector.explain(rows[:9]))
    later = detector.update(rows[::-1].reset_index(drop=True) + 1.0)
    assert called(later, rows[:50] + 1.0) == 0


def test_a_threshold_that_is_moved_later_leaves_the_nearest_rows():
    rows = planted()
    detector = LatentOutlierDetector(random_state=0).fit(rows)
    before = detector.explain(rows[:9])
    pd.testing.assert_frame_equal(
        detector.set_threshold(contamination=0.5).explain(rows[:9]), before
    )
    # Without a threshold, until there are calibration rows, "auto" decides.
    detector.calibrate(rows[100:]).set_threshold(fpr=0.05).update(rows)
    assert not hasattr(detector, "offset_")
    pd.testing.assert_frame_equal(detector.explain(rows[:9]), before)


def test_what_is_shown_as_nearest_does_not_change_contributions():
    rows = planted()
    detector = LatentOutlierDetector(random_state=0).fit(rows)
    found = detector.explain(rows)
    detector._neighborhood = detector._neighborhood._replace(is_example=None)
    every = detector.explain(rows)
    pd.testing.assert_series_equal(found["contribution"], every["contribution"])
    differs = (found["nearest_1"] != every["nearest_1"]).groupby(level="row").any()
    assert differs[1:9].all()  # row 0 is nearest to one that is let pass


def test_a_file_that_tells_no_examples_shows_any_kept_row(tmp_path):
    golden = Path(__file__).parents[1] / "golden"
    detector = load(golden / "v2-detector.latentsk")
    assert detector._neighborhood.is_example is None
    rows = np.load(golden / "v2-detector.npz")["rows"]
    assert detector.explain(rows[:3])["nearest_1"].notna().all()
    save(detector, tmp_path / "model")
    again = load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.explain(rows), detector.explain(rows))
    some = detector._neighborhood._replace(
        is_example=np.zeros(len(again.index_.ids_), bool)
    )
    detector._neighborhood = some
    with pytest.raises(ValueError, match="no rows may be shown"):
        save(detector, tmp_path / "none")


def test_how_many_nearest_is_for_the_caller_to_say(table):
    detector = LatentOutlierDetector(random_state=0).fit(table[:4])
    assert "nearest_1" not in detector.explain(table[:2], n_nearest=0)
    assert "nearest_2" not in detector.explain(table[:2])
    most = detector.explain(table[:2], n_nearest=100)
    assert [c for c in most if c.startswith("nearest")] == [
        "nearest_1",
        "nearest_2",
        "nearest_3",
    ]
    for wrong in (-1, 1.0, None, "1"):
        with pytest.raises(ValueError, match="n_nearest must be an integer >= 0"):
            detector.explain(table, n_nearest=wrong)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["PCAEmbedder", "PCA", "pipeline", "no way back"])
@pytest.mark.parametrize("assume_clean", [False, True])
def test_a_planted_feature_contributes_most(method, kind, assume_clean):
    if method == "residual" and kind == "no way back":
        pytest.skip("leaves no residual")
    embedder = EMBEDDERS[kind]
    if method == "distance":  # two components cannot tell six features apart
        embedder = {"PCAEmbedder": PCAEmbedder(6), "PCA": PCA()}.get(kind)
    rng = np.random.default_rng(0)
    # Two latent variables, each in three features: the odd one out is told.
    rows = np.repeat(rng.normal(size=(200, 2)), 3, axis=1)
    rows += 0.5 * rng.normal(size=rows.shape)
    detector = LatentOutlierDetector(
        embedder, method=method, assume_clean=assume_clean, random_state=0
    ).fit(rows)
    for feature in range(6):
        odd = np.zeros((1, 6))
        odd[0, feature] = 12.0
        contributions = detector.explain(odd)["contribution"].to_numpy()
        assert np.argmax(np.abs(contributions)) == feature
        assert contributions[feature] == contributions.min() < 0.0


@pytest.mark.parametrize("method", ["auto", "distance", "neighbors"])
@pytest.mark.parametrize("assume_clean", [False, True])
def test_a_constant_feature_that_changes_is_told(method, assume_clean):
    """No correlation says which of several constant features a deviation is of."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=(100, 4)), np.ones((100, 6))])
    detector = LatentOutlierDetector(
        method=method, assume_clean=assume_clean, random_state=0
    ).fit(rows)
    for feature in range(4, 10):
        odd = np.r_[np.zeros(4), np.ones(6)][None]
        odd[0, feature] += 50.0
        contributions = detector.explain(odd)["contribution"].to_numpy()
        assert np.argmin(contributions) == feature


def _is_new(detector, rows):
    """Tell which rows are no training row in part."""
    latents = detector.embedder_.transform(rows)
    is_new = detector._neighborhood.measure(latents).in_support == 0.0
    assert is_new.sum() > 5
    return is_new


def _ridge(detector, covariance):
    """What the detector has added to the variances, one of its shares of their mean."""
    mean = np.trace(covariance) / len(covariance)
    added = detector._gaussian.variances.mean() - mean
    assert np.isclose(added / mean, RIDGES, rtol=1e-6).any()
    return added


@pytest.mark.parametrize("embedder", [PCAEmbedder(4), PCA(whiten=True), None])
def test_distances_are_split_by_the_corr_max_rotation(embedder):
    """Garthwaite and Koch: R^(-1/2) D^(-1/2) (x - mean), of the widened covariance."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + 3.0
    odd = rng.normal(size=(5, 4)) * 9
    detector = LatentOutlierDetector(
        embedder, method="distance", assume_clean=True, random_state=0
    ).fit(rows)
    found = -detector.explain(odd)["contribution"].to_numpy().reshape(5, 4)
    deviations = robust_scales(rows)
    if embedder is None:
        standardizer = detector.embedder_[0]
        rows, odd = standardizer.transform(rows), standardizer.transform(odd)
        deviations = 1.0
    centre, covariance = rows.mean(axis=0), np.cov(rows, rowvar=False)
    if isinstance(embedder, PCA):  # the ridge is added where every variance is 1
        ridge = _ridge(detector, np.eye(4)) * covariance
    else:
        ridge = _ridge(detector, covariance) * np.eye(4)
    root = sqrtm(covariance + ridge)
    # The polar factor of D^(-1/2) S^(1/2).
    left, _, right = np.linalg.svd((root / deviations).T)
    expected = ((odd - centre) @ inv(root) @ (left @ right).T) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # The paper's D is that of the same covariance; ours, of the rows, is nearly that.
    widened = np.sqrt(np.diag(covariance + ridge))
    correlations = (covariance + ridge) / np.multiply.outer(widened, widened)
    textbook = ((odd - centre) / widened @ inv(sqrtm(correlations))) ** 2
    np.testing.assert_allclose(found, textbook, atol=0.05 * found.max())
    if isinstance(embedder, PCA):  # where D is in proportion, they agree
        np.testing.assert_allclose(found, textbook, rtol=1e-6)


def test_without_decoding_the_correlations_rotate(table, new):
    detector = LatentOutlierDetector(
        FactorAnalysis(2), method="distance", assume_clean=True, random_state=0
    ).fit(table)
    new = new[_is_new(detector, new)]
    latents = detector.embedder_.transform(table)
    covariance = np.cov(latents, rowvar=False)
    covariance += _ridge(detector, covariance) * np.eye(2)
    whitening = inv(sqrtm(covariance))
    centre = latents.mean(axis=0)
    standardized = ((table - table.mean()) / robust_scales(table.to_numpy())).to_numpy()
    correlations = ((latents - centre) @ whitening).T @ standardized / 80
    left, _, right = np.linalg.svd(correlations.T, full_matrices=False)
    white = (detector.embedder_.transform(new) - centre) @ whitening
    expected = -((white @ (left @ right).T) ** 2)
    found = detector.explain(new)["contribution"].to_numpy().reshape(-1, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_residuals_are_split_as_they_are(table, new):
    detector = LatentOutlierDetector(
        PCAEmbedder(2), method="residual", assume_clean=True, random_state=0
    ).fit(table)
    new = new[_is_new(detector, new)]
    rest = new - detector.embedder_.reconstruct(new)
    expected = -((rest / robust_scales(table.to_numpy())) ** 2).to_numpy()
    found = detector.explain(new)["contribution"].to_numpy().reshape(-1, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_joint_parts_weigh_the_residual_by_the_noise(table):
    detector = LatentOutlierDetector(
        PCAEmbedder(2), assume_clean=True, random_state=0
    ).fit(table)
    embedder = detector.embedder_
    # Far outside of the latent space, where neighbours see nothing.
    outwards = table.iloc[:3] - embedder.reconstruct(table.iloc[:3])
    rows = table.iloc[:3] + 30 * outwards
    reasons = detector.explain(rows)
    assert reasons["part"].unique().tolist() == ["joint"]
    scale = robust_scales(table.to_numpy())
    outside = ((rows - embedder.reconstruct(rows)).to_numpy() / scale) ** 2
    training = ((table - embedder.reconstruct(table)).to_numpy() / scale) ** 2
    latents = embedder.transform(table)
    ridge = _ridge(detector, np.cov(latents, rowvar=False))
    variances = latents.var(axis=0, ddof=1) + ridge
    # As if each row had been left out of a regression on its latents.
    squares = ((latents - latents.mean(axis=0)) ** 2 / variances).sum(axis=1)
    training = training.sum(axis=1) / (1 - 1 / 80 - squares / 79) ** 2
    noise = training.mean() / 3 + RIDGES[0] * np.mean(table.var(ddof=0) / scale**2)
    white = (embedder.transform(rows) - latents.mean(axis=0)) / np.sqrt(variances)
    loadings = np.sqrt(variances)[:, None] * embedder.components_ / scale
    left, _, right = np.linalg.svd(loadings.T, full_matrices=False)
    parts = (white @ (left @ right).T) ** 2 + outside / noise
    found = reasons["contribution"].to_numpy().reshape(3, 5)
    shares = found / found.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        shares, parts / parts.sum(axis=1, keepdims=True), rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["near", "overall"])
def test_neighbours_are_split_by_squared_differences(table, new, kind):
    detector = LatentOutlierDetector(
        PCAEmbedder(2), method="neighbors", random_state=0
    ).fit(table)
    rows = pd.concat([table, new])
    reasons = detector.explain(rows)
    ids, scale = detector.index_.ids_, robust_scales(table.to_numpy())
    latents = detector.embedder_.transform(table)[ids]
    among = np.sort(cdist(latents, latents), axis=1)[:, 1:6].mean(axis=1)
    measured = detector._neighborhood.measure(detector.embedder_.transform(rows))
    chosen = [
        i
        for i, row in enumerate(rows.index)
        if reasons.loc[row, "part"].iloc[0] == kind and measured.present[i] in (0, 1)
    ]
    assert len(chosen) > 5
    for i in chosen:
        query = detector.embedder_.transform(rows.iloc[i : i + 1])
        lengths = cdist(query, latents)[0]
        if i < 80:
            lengths[ids == i] = np.inf
        others = np.flatnonzero(np.isfinite(lengths))
        if kind == "near":
            scaled = lengths**1.5 / np.sqrt(among)
            others = np.argsort(scaled)[:5]
            weights = scaled[others]
        else:
            others = others[np.argsort(lengths[others])]
            weights = minimum_weights(len(others)) * lengths[others]
        away = rows.iloc[i].to_numpy() - table.to_numpy()[ids[others]]
        squares = (away / scale) ** 2
        parts = weights @ (squares / squares.sum(axis=1, keepdims=True))
        found = reasons.loc[rows.index[i], "contribution"].to_numpy()
        np.testing.assert_allclose(found / found.sum(), parts / parts.sum(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["PCAEmbedder", "autoencoder", "vae"])
def test_the_embedder_s_own_terms_are_its_reasons(table, new, kind):
    embedder = clone(EMBEDDERS[kind]).fit(table)
    for given in (embedder, FrozenEstimator(embedder)):
        detector = LatentOutlierDetector(
            given, method="embedder_score", random_state=0
        ).fit(table)
        found = detector.explain(new)["contribution"].to_numpy().reshape(-1, 5)
        expected = embedder.score_contributions(new)
        np.testing.assert_allclose(found, expected)


def test_the_score_of_another_embedder_is_shared_by_substitution(table, new):
    detector = LatentOutlierDetector(
        PCA(2), method="embedder_score", assume_clean=True, random_state=0
    ).fit(table)
    reasons = detector.explain(new)
    pca, scores = detector.embedder_, detector.score_samples(new)
    nearest = reasons["nearest_1"].to_numpy().reshape(-1, 5)
    for i, row in enumerate(new.to_numpy()):
        rises = []
        for j in range(5):
            changed = row.copy()
            changed[j] = nearest[i, j]
            rise = pca.score_samples(pd.DataFrame([changed], columns=NAMES))[0]
            rises.append(max(rise - scores[i], 0.0))
        found = reasons["contribution"].to_numpy().reshape(-1, 5)[i]
        share = np.array(rises) / np.sum(rises) if np.any(rises) else 0.2
        expected = scores[i] * share
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_the_divergence_of_a_vae_is_no_sum_over_features(table):
    vae = VAEEmbedder(2, **SMALL, score_method="kl")
    detector = LatentOutlierDetector(vae, method="embedder_score").fit(table)
    with pytest.raises(ValueError, match="no sum over features"):
        detector.explain(table)


# Names and values of features


def test_rows_without_names_are_numbered(table):
    detector = LatentOutlierDetector(random_state=0).fit(table.to_numpy())
    reasons = detector.explain(table.to_numpy()[:2])
    assert list(reasons.index) == [(i, f"x{j}") for i in range(2) for j in range(5)]


def test_repeated_row_labels_are_kept(table):
    detector = LatentOutlierDetector(random_state=0).fit(table)
    rows = table.iloc[:3].set_axis(["a", "b", "a"])
    reasons = detector.explain(rows)
    assert reasons.index.get_level_values("row").tolist() == [
        label for label in "aba" for _ in range(5)
    ]
    np.testing.assert_allclose(reasons["value"], rows.to_numpy().ravel())


def test_columns_that_a_pipeline_encodes(table):
    kinds = np.where(np.arange(80) % 3, "even", "odd")
    mixed = table[["mass", "length"]].assign(kind=kinds)
    columns = ColumnTransformer(
        [
            ("n", StandardScaler(), ["mass", "length"]),
            ("k", OneHotEncoder(sparse_output=False), ["kind"]),
        ]
    )
    detector = LatentOutlierDetector(
        make_pipeline(columns, PCA(2)), random_state=0
    ).fit(mixed)
    reasons = detector.explain(mixed[:2])
    assert reasons.loc["r0"].index.tolist() == ["mass", "length", "kind"]
    assert reasons["value"].tolist() == mixed[:2].to_numpy().ravel().tolist()
    assert set(reasons.xs("kind", level="feature")["nearest_1"]) <= {"even", "odd"}
    assert set(reasons.xs("kind", level="feature")["reconstructed"]) <= {"even", "odd"}
    sums = reasons["contribution"].groupby(level="row", sort=False).sum()
    np.testing.assert_allclose(sums, detector.score_samples(mixed[:2]))


@pytest.mark.parametrize(
    "steps",
    [
        [SimpleImputer(), StandardScaler()],
        [StandardScaler(), KNNImputer()],
        [MinMaxScaler(), SimpleImputer(), StandardScaler()],
    ],
    ids=["imputed first", "imputed last", "imputed between"],
)
def test_steps_that_can_be_undone_or_passed_over_leave_the_rows_values(table, steps):
    rows = table.copy()
    embedder = make_pipeline(*steps, PCA(2))
    detector = LatentOutlierDetector(embedder, random_state=0).fit(rows)
    asked = 3 * rows[:4]
    reasons = detector.explain(asked)
    sums = reasons["contribution"].groupby(level="row", sort=False).sum()
    np.testing.assert_allclose(sums, detector.score_samples(asked))
    assert reasons.loc["r0"].index.tolist() == NAMES
    np.testing.assert_allclose(reasons["value"], asked.to_numpy().ravel())
    nearest = reasons["nearest_1"].to_numpy().reshape(4, 5)
    lengths = np.abs(nearest[:, None] - table.to_numpy()).sum(axis=2)
    np.testing.assert_allclose(lengths.min(axis=1), 0.0, atol=1e-9)


def test_steps_that_cannot_be_undone_still_name_the_columns(table):
    rows = table.abs() + 1.0
    step = FunctionTransformer(np.log, feature_names_out="one-to-one")
    embedder = make_pipeline(step, StandardScaler(), PCA(2))
    detector = LatentOutlierDetector(embedder, random_state=0).fit(rows)
    reasons = detector.explain(rows[:4])
    sums = reasons["contribution"].groupby(level="row", sort=False).sum()
    np.testing.assert_allclose(sums, detector.score_samples(rows[:4]))
    np.testing.assert_allclose(reasons["value"], rows[:4].to_numpy().ravel())
    assert reasons["reconstructed"].isna().all()
    nearest = reasons["nearest_1"].to_numpy(float).reshape(4, 5)
    lengths = np.abs(nearest[:, None] - rows.to_numpy()).sum(axis=2)
    assert (lengths.min(axis=1) == 0.0).all()


def test_features_of_several_columns_have_names_of_their_own(table):
    embedder = make_pipeline(PolynomialFeatures(2, include_bias=False), PCA(2))
    detector = LatentOutlierDetector(embedder, random_state=0).fit(table)
    reasons = detector.explain(table[:2])
    assert "mass length" in reasons.loc["r0"].index
    prepared = detector.embedder_[:-1].transform(table[:2])
    np.testing.assert_allclose(reasons["value"], prepared.ravel())


def test_labels_of_rows(table):
    detector = LatentOutlierDetector(random_state=0).fit(table)
    reasons = detector.explain(table[:2], labels=["a", "b"])
    assert reasons.index.get_level_values("row").unique().tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="one label for each row of X, got 3 for 2"):
        detector.explain(table[:2], labels=["a", "b", "c"])


def test_float32_rows(table):
    rows = table.astype(np.float32)
    for embedder in (None, PCAEmbedder(2), AutoencoderEmbedder(2, **SMALL)):
        detector = LatentOutlierDetector(embedder, random_state=0).fit(rows)
        reasons = detector.explain(rows[:10])
        sums = reasons["contribution"].to_numpy().reshape(-1, 5).sum(axis=1)
        scores = detector.score_samples(rows[:10])
        np.testing.assert_allclose(sums, scores, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            reasons["value"], rows[:10].to_numpy().ravel(), rtol=1e-6
        )


def test_reasons_need_a_fit(table):
    with pytest.raises(NotFittedError):
        LatentOutlierDetector().explain(table)


def test_units_do_not_depend_on_what_other_rows_are_asked(table):
    embedder = make_pipeline(MinMaxScaler(clip=True), PCA(2))
    detector = LatentOutlierDetector(embedder, random_state=0).fit(table)
    alone = detector.explain(table[:1])
    beside = detector.explain(pd.concat([table[:1], table[1:2] + 100.0]))
    np.testing.assert_allclose(alone["value"], table.iloc[0])
    np.testing.assert_allclose(beside["value"][:5], alone["value"])
    np.testing.assert_allclose(beside["value"][5:], table.iloc[1] + 100.0)


# Parts of distances


def test_shares_are_parts_over_their_sum():
    parts = np.random.default_rng(0).gamma(1.0, size=(20, 5))
    found = shares(parts)
    np.testing.assert_allclose(found, parts / parts.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(shares(1e-200 * parts), found)


def test_shares_of_nothing_are_equal():
    np.testing.assert_array_equal(shares(np.zeros((2, 4))), np.full((2, 4), 0.25))


def test_shares_of_the_largest_numbers_are_finite():
    largest = np.finfo(np.float64).max
    found = shares([[largest, largest, 0.0], [largest, 1.0, 0.0]])
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], atol=1e-300)


def test_neighbor_parts_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    rows, neighbors = rng.normal(size=(6, 4)), rng.normal(size=(6, 3, 4))
    weights = rng.uniform(size=(6, 3))
    neighbors[2, 1] = rows[2]  # a copy
    expected = np.zeros((6, 4))
    for i in range(6):
        for other, weight in zip(neighbors[i], weights[i], strict=True):
            squares = (rows[i] - other) ** 2
            if squares.sum() > 0:
                expected[i] += weight * squares / squares.sum()
    found = neighbor_parts(rows, neighbors, weights)
    np.testing.assert_allclose(found, expected)
    weights[2, 1] = 0.0
    np.testing.assert_allclose(found.sum(axis=1), weights.sum(axis=1))


def test_substitution_is_the_rise_of_the_score():
    rng = np.random.default_rng(0)
    rows, replacements = rng.normal(size=(2, 30, 3))
    before = rows.copy()

    def score(x):
        return -(x**2 @ [1.0, 10.0, 0.0])

    found = substitution_parts(score, rows, replacements)
    rises = (rows**2 - replacements**2) * [1.0, 10.0, 0.0]
    np.testing.assert_allclose(found, np.maximum(rises, 0.0), atol=1e-12)
    assert (found > 0.0).any(axis=0).tolist() == [True, True, False]
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_of_float32_rows_are_float64(dtype):
    rows = np.ones((2, 3), dtype)
    found = substitution_parts(lambda x: x.sum(axis=1), rows, rows + 1)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 1.0)

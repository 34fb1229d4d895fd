"""What a page holds: read back from it, and compared with the models."""

import html
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import IsolationForest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    explore,
    load,
    save,
)
from latentsk.explorer import _page
from latentsk.explorer._columns import as_column, as_text
from latentsk.explorer._encoding import rounded
from latentsk.explorer._pictures import Grey, pictures_of, shrunk
from latentsk.explorer._positions import MapBox, positions_of

ROOT = Path(__file__).parents[2]
WINE, KINDS = load_wine(return_X_y=True, as_frame=True)
X = WINE.to_numpy()


def core(read_sections, *args, **options):
    """Return header and arrays of the section that every page has."""
    return read_sections(explore(*args, path=None, **options).html)["core"]


# What every row has


def test_a_page_holds_scores_neighbours_and_reasons(read_sections, digits):
    header, arrays = read_sections(digits.explorer.html)["core"]
    np.testing.assert_array_equal(arrays["score"], digits.scores)
    assert header["threshold"] == digits.detector.offset_
    np.testing.assert_array_equal(
        arrays["calibration"], digits.detector.calibration_scores_
    )
    latents = digits.detector.embedder_.transform(digits.X)
    distances = NearestNeighbors(n_neighbors=5).fit(latents).kneighbors()[0]
    np.testing.assert_allclose(arrays["distance"], distances, rtol=2e-3)
    found = np.linalg.norm(latents[arrays["neighbor"]] - latents[:, None], axis=2)
    np.testing.assert_allclose(found, distances, atol=1e-6)

    contributions = digits.detector.explain(digits.X)["contribution"].to_numpy()
    contributions = contributions.reshape(len(latents), -1)
    lowest = np.sort(contributions, axis=1)[:, :5]
    np.testing.assert_allclose(arrays["reason_contribution"], lowest, rtol=3e-4)
    chosen = np.take_along_axis(contributions, arrays["reason_feature"].astype(int), 1)
    np.testing.assert_allclose(chosen, lowest)
    values = np.take_along_axis(digits.X, arrays["reason_feature"].astype(int), 1)
    np.testing.assert_allclose(arrays["reason_value"], values, rtol=1e-6)
    assert header["reasonNames"][9] == "row 1, column 1"


def test_a_page_holds_details_of_some_rows(read_sections, digits):
    _, arrays = read_sections(digits.explorer.html)["details"]
    np.testing.assert_array_equal(arrays["row"], np.arange(len(digits.X)))
    wanted = digits.X / digits.X.max() * 255
    np.testing.assert_allclose(
        arrays["image"].reshape(wanted.shape), wanted, atol=255 / 63 / 2 + 1
    )
    contributions = digits.detector.explain(digits.X)["contribution"].to_numpy()
    contributions = contributions.reshape(wanted.shape)
    least = 0.0021 * np.abs(contributions).max(axis=1, keepdims=True)
    gaps = np.abs(arrays["reason_contribution"] - contributions)
    assert (gaps <= np.maximum(least, 0.004 * np.abs(contributions))).all()


def test_of_too_many_rows_the_lowest_and_some_others_have_details(read_sections):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4_500, 3))
    detector = LatentOutlierDetector(random_state=0).fit(rows[:500])
    sections = read_sections(explore(rows, detector=detector, path=None).html)
    shown = sections["details"][1]["row"]
    assert len(shown) == 4_000
    lowest = np.argsort(sections["core"][1]["score"], kind="stable")[:2_000]
    assert np.isin(lowest, shown).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_a_page_is_no_larger_than_allowed(read_sections, digits, share):
    whole = len(digits.explorer.html.encode())
    core = len(digits.explorer.html.split('id="section-core">')[1].split("<")[0])
    least = len(_page.page_of({})) + core + 1_000
    allowed = int(least + share * (whole - least))
    explorer = explore(
        digits.X,
        detector=digits.detector,
        ids=[f"digit {i}" for i in range(len(digits.X))],
        images=(8, 8),
        path=None,
        max_bytes=allowed,
    )
    assert len(explorer.html.encode()) <= allowed
    assert ("details" in read_sections(explorer.html)) == (share > 0)


def test_too_small_a_page_is_refused_with_what_is_needed(tmp_path):
    path = tmp_path / "page.html"
    with pytest.raises(ValueError, match="max_bytes must be at least") as error:
        explore(X, path=path, max_bytes=1_000)
    assert not path.exists()
    needed = int(str(error.value).split("at least ")[1].split(" ")[0].replace(",", ""))
    assert len(explore(X, path=None, max_bytes=needed).html) <= needed


# Models


def test_without_models_a_detector_is_fitted(read_sections):
    header, arrays = core(read_sections, WINE, labels=KINDS)
    detector = LatentOutlierDetector(random_state=0).fit(WINE)
    np.testing.assert_array_equal(arrays["score"], detector.score_samples(WINE))
    assert header["scorer"].startswith("LatentOutlierDetector")
    assert header["columns"][0]["categories"] == ["0", "1", "2"]
    assert header["reasonNames"] == list(WINE.columns)
    assert header["title"] == "LatentOutlierDetector"


def test_an_embedder_scores_and_explains_by_itself(read_sections):
    embedder = PCAEmbedder(3).fit(X)
    header, arrays = core(read_sections, X, embedder=embedder)
    np.testing.assert_array_equal(arrays["score"], embedder.score_samples(X))
    contributions = np.sort(embedder.score_contributions(X), axis=1)[:, :5]
    np.testing.assert_allclose(arrays["reason_contribution"], contributions, rtol=3e-4)
    assert header["reasonNames"][:2] == ["x0", "x1"]


def test_an_unfitted_model_is_cloned(read_sections):
    embedder = PCAEmbedder(2)
    header, _ = core(read_sections, X, embedder=embedder)
    assert not hasattr(embedder, "components_")
    assert header["map"]["areLatents"]


def test_any_transformer_makes_a_map(read_sections):
    pipeline = make_pipeline(StandardScaler(), PCA(2)).fit(WINE)
    pipeline = make_pipeline(StandardScaler(), TruncatedSVD(2)).fit(WINE)
    header, arrays = core(read_sections, WINE, embedder=pipeline)
    assert header["scorer"] is None
    assert header["threshold"] is None
    assert "score" not in arrays
    low, high = (np.array(header["map"][end]) for end in ("low", "high"))
    points = low + arrays["position"] / header["map"]["steps"] * (high - low)
    np.testing.assert_allclose(points, pipeline.transform(WINE), atol=1e-3)


def test_scikit_learns_detectors_will_do(read_sections):
    forest = IsolationForest(random_state=0).fit(X)
    header, arrays = core(read_sections, X, embedder=PCAEmbedder(2), detector=forest)
    np.testing.assert_array_equal(arrays["score"], forest.score_samples(X))
    assert header["threshold"] == forest.offset_
    assert header["reasonNames"] is None


def test_pyods_signs_are_turned(read_sections):
    detector = PyODAdapter(LatentOutlierDetector(random_state=0)).fit(X)
    header, arrays = core(read_sections, X, embedder=PCAEmbedder(2), detector=detector)
    np.testing.assert_array_equal(arrays["score"], -detector.decision_function(X))
    assert header["threshold"] == -detector.threshold_
    n_below = int((arrays["score"] < header["threshold"]).sum())
    assert n_below == int(detector.predict(X).sum())


def test_p_values_are_kept_where_calibration_scores_are_not(read_sections):
    inner = LatentOutlierDetector(random_state=0).fit(X[:90]).calibrate(X[90:])

    class WithPValues(BaseEstimator):
        def __sklearn_is_fitted__(self):
            return True

        def fit(self, X, y=None):
            return self

        def score_samples(self, X):
            return inner.score_samples(X)

        def p_values(self, X):
            return inner.p_values(X)

    _, arrays = core(read_sections, X, embedder=PCAEmbedder(2), detector=WithPValues())
    np.testing.assert_array_equal(arrays["pValue"], inner.p_values(X))


def test_an_index_brings_ids_metadata_and_neighbours(read_sections):
    ids = [f"wine {i}" for i in range(len(X))]
    metadata = pd.DataFrame({"kind": KINDS.to_numpy()}, index=ids)
    index = LatentIndex(PCAEmbedder(3), metric="cosine")
    index.fit(X, ids=ids, metadata=metadata)
    header, arrays = core(read_sections, X, index=index)
    assert header["ids"] == ids
    assert header["columns"][0]["name"] == "kind"
    np.testing.assert_array_equal(
        arrays["neighbor"], index.kneighbors(n_neighbors=5, return_distance=False)
    )


@pytest.mark.parametrize("width", [2, 13])
def test_vectors_of_an_index_are_the_latent_space(read_sections, width):
    vectors = X[:, :width]
    index = LatentIndex().fit(vectors, metadata=pd.DataFrame({"kind": KINDS}))
    sections = read_sections(explore(vectors, index=index, path=None).html)
    header, arrays = sections["core"]
    assert header["embedder"] is None
    assert header["title"] == "LatentIndex"
    np.testing.assert_array_equal(
        arrays["neighbor"], index.kneighbors(n_neighbors=5, return_distance=False)
    )
    low, high = (np.array(header["map"][end]) for end in ("low", "high"))
    points = low + arrays["position"] / header["map"]["steps"] * (high - low)
    if width > 2:
        pca = PCA(2, svd_solver="full")
        expected = pca.fit_transform(vectors)
        points = points * np.sign((points * expected).sum(axis=0))
    else:
        expected = vectors
    inside = ((arrays["position"] > 0) & (arrays["position"] < 65_535)).all(axis=1)
    assert inside.mean() > 0.9
    atol = 2e-4 * np.ptp(expected)
    np.testing.assert_allclose(points[inside], expected[inside], atol=atol)
    assert "grid" not in sections


def test_a_detector_of_another_package_may_have_vectors_beside_it(read_sections):
    forest = IsolationForest(random_state=0).fit(X)
    index = LatentIndex(metric="cosine").fit(X)
    header, arrays = core(read_sections, X, detector=forest, index=index)
    np.testing.assert_array_equal(arrays["score"], forest.score_samples(X))
    assert header["embedder"] is None


def test_images_of_vectors_have_no_reconstructions(read_sections):
    images = load_digits().images[:100]
    vectors = PCA(4).fit_transform(images.reshape(100, -1))
    index = LatentIndex().fit(pd.DataFrame(vectors))
    page = explore(pd.DataFrame(vectors), index=index, images=images, path=None)
    header, arrays = read_sections(page.html)["details"]
    assert "no embedder" in header["missing"]
    assert arrays["image"].shape == (100, 8, 8, 1)


def test_metadata_are_aligned_by_ids(read_sections):
    ids = [f"wine {i}" for i in range(len(X))]
    metadata = pd.DataFrame({"alcohol": WINE["alcohol"].to_numpy()}, index=ids)[::-1]
    _, arrays = core(read_sections, X, ids=ids, metadata=metadata)
    np.testing.assert_allclose(arrays["column_0"], WINE["alcohol"], rtol=1e-6)


# Rows of other kinds


def test_mixed_tables_have_values_as_text(read_sections):
    table = WINE[["alcohol", "hue"]].assign(
        owner=np.where(KINDS == 0, "<b>", "b"), when=pd.Timestamp("2026-01-01")
    )
    table.loc[3, "owner"] = "never seen"
    sections = read_sections(explore(table, path=None).html)
    header, arrays = sections["core"]
    at = header["reasonNames"].index("owner")
    row = np.flatnonzero(arrays["reason_feature"][3] == at)[0]
    text = header["reasonTexts"][str(at)][int(arrays["reason_value"][3, row])]
    assert text == "never seen"
    features = sections["features"][0]["columns"]
    assert [column["name"] for column in features] == list(table.columns)
    assert features[3]["isDate"]


def test_missing_values_are_shown(read_sections):
    table = WINE.assign(hue=WINE["hue"].where(KINDS > 0))
    sections = read_sections(explore(table, labels=WINE["alcohol"], path=None).html)
    column = list(WINE.columns).index("hue")
    values = sections["features"][1][f"column_{column}"]
    np.testing.assert_array_equal(np.isnan(values), KINDS == 0)
    assert sections["core"][0]["columns"][0]["categories"] is None  # labels are numbers
    rows = table.to_numpy()
    np.testing.assert_array_equal(
        core(read_sections, rows)[1]["score"],
        LatentOutlierDetector(random_state=0).fit(rows).score_samples(rows),
    )


def test_texts_and_sparse_rows_are_compared_by_their_latents(read_sections):
    texts = [f"word{i % 7} word{i % 5} end" for i in range(60)]
    texts = [*texts, "something else altogether"]
    embedder = make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0))
    sections = read_sections(explore(texts, embedder=embedder, path=None).html)
    assert sections["core"][0]["featuresAre"] == "latents"
    assert len(sections["features"][0]["columns"]) == 3
    rows = csr_matrix(np.eye(300)[np.arange(80) % 60])
    sections = read_sections(
        explore(rows, embedder=TruncatedSVD(2, random_state=0), path=None).html
    )
    assert sections["core"][0]["n"] == 80


def test_images_of_a_network_are_shown_and_decoded(read_sections):
    rows = load_digits().images[:120] / 16
    embedder = AutoencoderEmbedder(2, network="conv", max_epochs=2, random_state=0)
    embedder.fit(rows)
    sections = read_sections(explore(rows, embedder=embedder, path=None).html)
    assert sections["grid"][1]["image"].shape == (17 * 17, 8, 8, 1)
    assert sections["details"][1]["rebuilt"].shape == (120, 8, 8, 1)
    wanted = np.clip(np.asarray(embedder.reconstruct(rows)), 0, 1) * 255
    found = sections["details"][1]["rebuilt"][..., 0]
    np.testing.assert_allclose(found, wanted, atol=255 / 31 / 2 + 1)


def test_colour_images_come_with_channels_first_or_last(read_sections):
    rng = np.random.default_rng(0)
    last = rng.integers(0, 256, size=(60, 6, 8, 3), dtype=np.uint8)
    embedder = AutoencoderEmbedder(2, max_epochs=1, random_state=0).fit(last)
    pages = [
        explore(last, embedder=embedder, path=None),
        explore(
            np.moveaxis(last, -1, 1).reshape(60, -1).astype(float),
            embedder=PCAEmbedder(2),
            images=(3, 6, 8),
            path=None,
        ),
        explore(rng.normal(size=(60, 4)), images=last, path=None),
    ]
    for page in pages:
        image = read_sections(page.html)["details"][1]["image"]
        np.testing.assert_allclose(image, last, atol=255 / 63 / 2 + 2)


@pytest.fixture(scope="module")
def coloured():
    """Images of three channels that differ, channels last, and what fits to them."""
    rng = np.random.default_rng(0)
    across, down = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 1, 6))
    planes = np.stack([across, down, 1 - across], axis=-1)
    last = 0.1 + 0.8 * planes * rng.uniform(0.2, 1, size=(80, 1, 1, 3))
    options = {"standardize": False, "max_epochs": 40, "random_state": 0}
    first = np.moveaxis(last, -1, 1).copy()
    fitted = {
        "last": AutoencoderEmbedder(2, **options).fit(last),
        "first": AutoencoderEmbedder(2, **options).fit(first),
    }
    return {"last": last, "first": first}, fitted


def details_of(read_sections, *args, **options):
    return read_sections(explore(*args, path=None, **options).html)["details"]


def assert_shows(arrays, embedder, last):
    """Check what a page has of images with channels last against the embedder."""
    rebuilt = np.clip(embedder.reconstruct(last), 0, 1) * 255
    np.testing.assert_allclose(arrays["rebuilt"], rebuilt, atol=255 / 31 / 2 + 1)
    contributions = np.moveaxis(embedder.score_contributions(last), -1, 1)
    contributions = contributions.reshape(len(last), -1)
    gaps = np.abs(arrays["reason_contribution"] - contributions)
    largest = np.abs(contributions).max(axis=1, keepdims=True)
    assert (gaps <= 0.005 * largest).all()


@pytest.mark.parametrize("explored", ["last", "first"])
@pytest.mark.parametrize("fitted", ["last", "first"])
def test_channels_lie_where_those_of_the_explored_images_do(
    read_sections, coloured, fitted, explored
):
    images, embedders = coloured
    embedder, rows = embedders[fitted], images[explored]
    sections = read_sections(explore(rows, embedder=embedder, path=None).html)
    header, arrays = sections["details"]
    assert header["pixels"] == [3, 6, 8]
    assert_shows(arrays, embedder, images["last"])
    # What is decoded on the map, too: red is brighter at the right, blue at the left.
    tiles = sections["grid"][1]["image"].astype(float)
    assert (tiles[..., 7, 0] - tiles[..., 0, 0]).mean() > 20
    assert (tiles[..., 0, 2] - tiles[..., 7, 2]).mean() > 20
    # Reasons of pixels have a value and what is expected, by names of their places.
    core, found = sections["core"]
    j = found["reason_feature"][5, 0]
    channel, row, column = np.unravel_index(j, (3, 6, 8))
    name = f"row {row}, column {column}, channel {channel}"
    assert core["reasonNames"][j] == name
    value = images["last"][5, row, column, channel]
    assert found["reason_value"][5, 0] == pytest.approx(value, rel=1e-5)
    expected = embedder.reconstruct(images["last"])[5, row, column, channel]
    assert found["reason_expected"][5, 0] == pytest.approx(expected, rel=1e-3)


def test_a_loaded_model_shows_channels_where_they_are(
    read_sections, coloured, tmp_path
):
    images, embedders = coloured
    save(embedders["last"], tmp_path / "embedder.latentsk")
    loaded = load(tmp_path / "embedder.latentsk")
    _, arrays = details_of(read_sections, images["last"], embedder=loaded)
    assert_shows(arrays, embedders["last"], images["last"])


def test_a_detector_shows_channels_where_they_are(read_sections, coloured):
    images, embedders = coloured
    detector = LatentOutlierDetector(embedders["last"], method="embedder_score")
    detector.fit(images["last"])
    sections = read_sections(explore(images["last"], detector=detector, path=None).html)
    assert_shows(sections["details"][1], embedders["last"], images["last"])
    names = sections["core"][0]["reasonNames"]
    assert names[-1] == "row 5, column 7, channel 2"


def test_bytes_are_rebuilt_as_bytes(read_sections, coloured):
    rows = np.rint(coloured[0]["last"] * 255).astype(np.uint8)
    embedder = AutoencoderEmbedder(2, max_epochs=20, random_state=0).fit(rows)
    _, arrays = details_of(read_sections, rows, embedder=embedder)
    wanted = np.clip(embedder.reconstruct(rows), 0, 255)
    np.testing.assert_allclose(arrays["rebuilt"], wanted, atol=255 / 31 / 2 + 1)


@pytest.mark.parametrize("rows", ["last", "first", "flat"])
@pytest.mark.parametrize("shown", ["last", "first", "bytes", "shape"])
def test_images_beside_the_same_images_leave_reconstructions(
    read_sections, coloured, rows, shown
):
    images, embedders = coloured
    X = images["first"].reshape(80, -1) if rows == "flat" else images[rows]
    given = {
        **images,
        "bytes": np.rint(images["last"] * 255).astype(np.uint8),
        "shape": (3, 6, 8),
    }[shown]
    embedder = embedders["first"]
    _, arrays = details_of(read_sections, X, embedder=embedder, images=given)
    assert_shows(arrays, embedder, images["last"])
    image = images["last"] * 255
    np.testing.assert_allclose(arrays["image"], image, atol=255 / 63 / 2 + 1)


@pytest.mark.parametrize("kind", [pd.DataFrame, np.ndarray.tolist, np.asarray])
def test_an_embedder_knows_that_flat_rows_are_images(read_sections, coloured, kind):
    images, _ = coloured
    embedder = AutoencoderEmbedder(
        2, standardize=False, input_shape=(3, 6, 8), max_epochs=5, random_state=0
    ).fit(images["first"])
    rows = kind(images["first"].reshape(80, -1))
    _, arrays = details_of(read_sections, rows, embedder=embedder)
    assert_shows(arrays, embedder, images["last"])


def test_other_images_are_shown_beside_reconstructions_of_the_rows(
    read_sections, coloured
):
    images, embedders = coloured
    larger = np.random.default_rng(0).integers(0, 256, (80, 12, 16), dtype=np.uint8)
    header, arrays = details_of(
        read_sections, images["last"], embedder=embedders["last"], images=larger
    )
    assert_shows(arrays, embedders["last"], images["last"])
    np.testing.assert_allclose(arrays["image"][..., 0], larger, atol=255 / 63 / 2 + 1)
    assert header["pixels"] == [3, 6, 8]  # of the reasons


def test_a_page_says_why_there_are_no_reconstructions(read_sections, coloured):
    last = coloured[0]["last"]
    flat_last = last.reshape(80, -1)
    header, arrays = details_of(
        read_sections, flat_last, embedder=PCAEmbedder(2), images=last
    )
    assert "rebuilt" not in arrays
    assert "flat rows must have their channels first" in header["missing"]
    header, _ = details_of(
        read_sections, flat_last, embedder=OneWay(2), images=(3, 6, 8)
    )
    wanted = "OneWay, has neither reconstruct nor inverse_transform"
    assert wanted in header["missing"]


class OneWay(BaseEstimator):
    """A transformer without a way back."""

    def __init__(self, n_components):
        self.n_components = n_components

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X[:, : self.n_components]


def test_a_score_of_windows_has_its_map_and_the_worst_window(read_sections):
    rows = load_digits().images[:120] / 16
    embedder = AutoencoderEmbedder(5, score_window=3, max_epochs=5, random_state=0)
    embedder.fit(rows)
    detector = LatentOutlierDetector(embedder, method="embedder_score").fit(rows)
    pages = [
        details_of(read_sections, rows, embedder=embedder),
        details_of(read_sections, rows, detector=detector),
    ]
    maps, scores = embedder.score_map(rows), embedder.score_samples(rows)
    for header, arrays in pages:
        assert header["window"] == 3
        np.testing.assert_allclose(arrays["score_map"], maps, rtol=5e-3)
        for i in (0, 50, 119):
            top, left = arrays["window"][i]
            found = maps[i, top : top + 3, left : left + 3].sum()
            assert found == pytest.approx(scores[i], rel=1e-5)
    # Another score has no window.
    other = LatentOutlierDetector(embedder, random_state=0).fit(rows)
    header, arrays = details_of(read_sections, rows, detector=other)
    assert header["window"] is None
    assert "score_map" not in arrays


def test_images_beside_a_table_do_not_replace_its_columns(read_sections):
    rows = np.random.default_rng(0).normal(size=(30, 2))
    sections = read_sections(explore(rows, images=np.ones((30, 5, 5)), path=None).html)
    assert len(sections["features"][0]["columns"]) == 2
    header, arrays = sections["details"]
    assert "rebuilt" not in arrays
    assert "are not the images that are shown here" in header["missing"]
    # 25 columns are no pixels of 5 x 5 because there are images of that size.
    rows = np.random.default_rng(0).normal(size=(60, 25))
    page = explore(rows, images=np.ones((60, 5, 5)), path=None)
    assert read_sections(page.html)["details"][0]["pixels"] is None


def test_large_images_become_small():
    images = np.zeros((3, 200, 100, 3), np.uint8)
    images[1, :100] = 200
    small = shrunk(images, 10)
    assert small.shape == (3, 10, 5, 3)
    assert (small[1, :5] == 200).all()
    assert (small[1, 5:] == 0).all()
    assert pictures_of(images.reshape(3, -1), images, None).bytes([0]).shape[1] == 128


def test_grey_values_are_those_of_the_numbers():
    assert Grey.of(np.array([-1.0, 3.0])) == Grey(-1.0, 3.0)
    assert Grey.of(np.zeros(3, np.uint8)).white == 255
    np.testing.assert_array_equal(
        Grey(0.0, 1.0).bytes(np.array([np.nan, 2.0])), [0, 255]
    )


# Pieces


def test_labels_may_be_missing_and_ids_are_unique(read_sections):
    labels = pd.Series(["a", None] * (len(X) // 2))
    header, arrays = core(read_sections, X, labels=labels)
    assert header["columns"][0]["categories"] == ["(missing)", "a"]
    assert arrays["column_0"][:3].tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="unique"):
        explore(X, ids=["a"] * len(X), path=None)


def test_columns_of_many_kinds():
    assert as_column("b", [True, False, None]).categories == [
        "False",
        "True",
        "(missing)",
    ]
    assert as_column("i", np.arange(20)).values.dtype == np.float32
    big = as_column("i", 10**9 + np.arange(20))
    np.testing.assert_array_equal(big.values, 10**9 + np.arange(20))  # every digit
    assert as_column("i", [3, 1, 10]).categories == ["1", "3", "10"]
    assert as_column("c", pd.Categorical(["b", "a"])).categories == ["a", "b"]
    assert as_column("n", pd.array([1.5, None], "Float64")).values[0] == 1.5
    date = as_column("d", pd.to_datetime(["1970-01-02", None]))
    assert date.is_date
    np.testing.assert_array_equal(date.values, [86_400_000, np.nan])
    assert as_column("o", [{"a": 1}, (1, 2)]).categories == ["(1, 2)", "{'a': 1}"]
    assert as_text("half a pair \ud800") == "half a pair ?"


def test_texts_that_nearly_all_differ_are_no_categories(read_sections):
    titles = [f"product {i}" for i in range(len(X))]
    titles[3] = titles[4]
    metadata = pd.DataFrame({"owner": KINDS.astype(str), "title": titles})
    header, _ = core(read_sections, X, metadata=metadata, labels=KINDS)
    assert [column["isText"] for column in header["columns"]] == [False, False, True]
    assert not as_column("few", list("abcdefghij")).is_text  # as many as colours
    assert as_column("more", list("abcdefghijk")).is_text
    assert not as_column("number", np.arange(40)).is_text


def test_rounding_is_bounded():
    values = (
        np.random.default_rng(0).normal(size=1_000) * 10.0 ** np.arange(1_000) ** 0.5
    )
    for bits in (5, 11, 20):
        np.testing.assert_allclose(
            rounded(values, bits), values, rtol=2.0 ** -(bits + 1) * 1.1
        )
    assert rounded([np.inf, -np.inf, 0.0]).tolist() == pytest.approx(
        [np.finfo(np.float32).max, -np.finfo(np.float32).max, 0.0]
    )


def test_positions_follow_the_projection():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(50, 4)) @ np.diag([5, 2, 1, 0.1])
    expected = np.abs(PCA(2).fit_transform(latents))
    np.testing.assert_allclose(
        np.abs(positions_of(latents, None, None).points), expected, atol=1e-8
    )
    given = rng.normal(size=(50, 2))
    assert positions_of(latents, given, None).points is not None
    tsne = TSNE(perplexity=5, random_state=0, max_iter=250)
    assert positions_of(latents, tsne, None).axes == ("TSNE 0", "TSNE 1")
    one = positions_of(latents[:, :1], None, np.arange(50.0))
    np.testing.assert_array_equal(one.points[:, 1], np.arange(50))
    with pytest.raises(
        ValueError, match=r"projection must be an array of shape \(50, 2"
    ):
        positions_of(latents, given[:20], None)


def test_a_far_point_is_on_the_edge_and_counted():
    latents = np.random.default_rng(0).normal(size=(1_000, 2))
    latents[0] = [1e6, 0]
    positions = positions_of(latents, None, None)
    box = MapBox.of(positions)
    assert box.n_outside(latents) == 1
    steps = box.steps(latents)
    assert steps[0, 0] == 65_535
    assert np.ptp(steps[1:], axis=0).min() > 20_000


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [1, 2]}, "labels must hold one label for each of the 178 rows"),
        ({"images": np.zeros((3, 4, 4))}, "an image for each of the 178 rows"),
        ({"images": (5, 5)}, "has 25 values, but rows of X have 13"),
        ({"metadata": pd.DataFrame({"a": [1]})}, "metadata of 1 rows for 178"),
        ({"projection": np.zeros((3, 2))}, "projection must be an array of shape"),
        ({"index": LatentIndex(PCAEmbedder(2)).fit(X[:50])}, "index must hold the 178"),
        ({"images": (24, 24, 3)}, r"24 channels; .* Set images=\(3, 24, 24\)"),
        ({"images": (13, 1, 9)}, "Pass the images to show as an array"),
        (
            {"index": LatentIndex().fit(X[:, :2])},
            r"has no embedder, .*\(n_samples, 2\)",
        ),
        ({"detector": IsolationForest()}, "IsolationForest has no embedder_"),
        ({"max_bytes": 0}, "max_bytes must be a positive integer"),
        ({"path": "no/such/folder/page.html"}, "folder no/such/folder does not exist"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    options = {"path": None, **options}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        explore(X, **options)


def test_one_row_and_no_detector_are_refused():
    with pytest.raises(ValueError, match="at least 2 rows"):
        explore(X[:1], path=None)
    with pytest.raises(TypeError, match="detector must have score_samples"):
        explore(X, detector=StandardScaler(), path=None)


# The file


def test_a_page_is_written_and_shown(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    explorer = explore(X, path=path)
    assert path.read_text(encoding="utf-8") == explorer.html
    assert explorer.path == path
    assert repr(explorer).startswith(f"Explorer({str(path)!r}, 0.")
    frame = explorer._repr_html_()
    assert 'sandbox="allow-scripts allow-downloads"' in frame
    content = frame.split('srcdoc="')[1].removesuffix('"></iframe>')
    assert '"' not in content
    assert html.unescape(content) == explorer.html


def test_pages_of_the_same_models_are_the_same():
    pages = [explore(X, path=None).html for _ in range(2)]
    assert pages[0] == pages[1]


def test_scripts_cannot_end_early():
    for script in (_page.asset("scatterplot.min.js"), _page.application()):
        assert "</script" not in script.lower()
        assert "<!--" not in script
    assert "innerHTML" not in _page.application()
    assert "insertAdjacentHTML" not in _page.application()


def test_the_bundle_is_the_pinned_one():
    import json

    package = json.loads((ROOT / "explorer_assets" / "package.json").read_text())
    named = _page.asset("scatterplot.min.js").splitlines()[0]
    licences = _page.asset("scatterplot.licenses.txt")
    for name, version in package["devDependencies"].items():
        if name != "esbuild":
            assert f"{name} {version}" in named
            assert f"{name} {version} (MIT)" in licences


def test_every_script_is_in_the_page():
    scripts = {path.name for path in (ROOT / "latentsk/explorer/assets").glob("*.js")}
    assert scripts == {*_page.SCRIPTS, "scatterplot.min.js"}


def test_the_wheel_holds_what_the_page_needs(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    built = subprocess.run(
        [*command, "-d", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "latentsk/explorer/assets").iterdir():
        assert f"latentsk/explorer/assets/{path.name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)

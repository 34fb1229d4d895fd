"""The score of the worst window, and the map of what every pixel contributes."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from latentsk import AutoencoderEmbedder, LatentOutlierDetector, VAEEmbedder

IMAGES = load_digits().images[:200] / 16.0
COLOUR = np.stack([IMAGES, IMAGES**2, 1.0 - IMAGES], axis=-1)
SMALL = {"max_epochs": 3, "hidden_layer_sizes": (16,), "random_state": 0}
pytestmark = pytest.mark.filterwarnings(
    "ignore::latentsk.exceptions.PosteriorCollapseWarning"
)
KINDS = pytest.mark.parametrize("kind", [AutoencoderEmbedder, VAEEmbedder])


def lowest_of_all_windows(maps, size):
    height, width = maps.shape[1:]
    return np.min(
        [
            maps[:, i : i + size, j : j + size].sum(axis=(1, 2))
            for i in range(height - size + 1)
            for j in range(width - size + 1)
        ],
        axis=0,
    )


@KINDS
@pytest.mark.parametrize("images", [IMAGES, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_score_is_the_lowest_sum_over_windows(kind, images, size):
    plain = kind(4, **SMALL).fit(images)
    windowed = kind(4, **SMALL, score_window=size).fit(images)
    maps = plain.score_map(images)
    assert maps.shape == (200, 8, 8)
    assert np.allclose(maps.sum(axis=(1, 2)), plain.score_samples(images), rtol=1e-5)
    # The map does not depend on the window, nor does the training.
    assert np.array_equal(windowed.score_map(images), maps)
    scores = windowed.score_samples(images)
    assert np.allclose(scores, lowest_of_all_windows(maps, size), rtol=1e-4, atol=1e-4)
    parts = windowed.score_contributions(images)
    assert parts.shape == images.shape
    axes = tuple(range(1, parts.ndim))
    assert np.allclose(parts.sum(axis=axes), scores, rtol=1e-4, atol=1e-4)
    inside = parts != 0.0
    assert inside.reshape(200, -1).sum(axis=1).max() <= size**2 * images[0, 0, 0].size


def test_the_map_is_the_squared_error_in_standardized_units():
    embedder = AutoencoderEmbedder(4, **SMALL).fit(COLOUR)
    scale = embedder.scale_.reshape(3, 8, 8).transpose(1, 2, 0)
    errors = ((embedder.reconstruct(COLOUR) - COLOUR) / scale) ** 2
    assert np.allclose(-embedder.score_map(COLOUR), errors.sum(axis=3), rtol=1e-6)


def test_the_map_has_the_orientation_of_the_image():
    embedder = AutoencoderEmbedder(8, **SMALL, standardize=False).fit(IMAGES)
    image = IMAGES[:1].copy()
    image[0, 2, 6] = 5.0
    found = embedder.score_map(image)[0]
    assert np.unravel_index(found.argmin(), (8, 8)) == (2, 6)
    assert np.array_equal(embedder.score_map(image.reshape(1, -1))[0], found)


@pytest.mark.parametrize("method", ["elbo", "iwae", "reconstruction"])
def test_every_score_of_a_vae_that_is_a_sum_has_windows(method):
    vae = VAEEmbedder(3, **SMALL, score_method=method, score_window=2).fit(IMAGES)
    expected = lowest_of_all_windows(vae.score_map(IMAGES), 2)
    assert np.allclose(vae.score_samples(IMAGES), expected, rtol=1e-4, atol=1e-4)


def test_the_divergence_alone_has_none():
    vae = VAEEmbedder(3, **SMALL, score_method="kl", score_window=2)
    with pytest.raises(ValueError, match="'kl' is no sum over features"):
        vae.fit(IMAGES)
    assert not hasattr(vae, "module_")
    with pytest.raises(ValueError, match="'kl' is no sum over features"):
        VAEEmbedder(3, **SMALL, score_method="kl").fit(IMAGES).score_map(IMAGES)


@KINDS
def test_decisions_rest_on_the_window(kind):
    embedder = kind(4, **SMALL, score_window=3, contamination=0.1).fit(IMAGES)
    scores = embedder.score_samples(IMAGES)
    assert np.mean(scores < embedder.offset_) == pytest.approx(0.1)
    decision = embedder.decision_function(IMAGES)
    assert np.allclose(decision, scores - embedder.offset_)
    assert np.array_equal(embedder.predict(IMAGES) == -1, decision < 0)


@KINDS
@pytest.mark.parametrize(("before", "after"), [(None, 3), (3, None), (3, 2)])
def test_another_window_needs_another_threshold(kind, before, after):
    embedder = kind(4, **SMALL, score_window=before, contamination=0.1).fit(IMAGES)
    embedder.set_params(score_window=after)
    with pytest.raises(ValueError, match=r"the score is now .*Call calibrate\(X\)"):
        embedder.predict(IMAGES)
    assert (embedder.calibrate(IMAGES).predict(IMAGES) == -1).sum() == 20
    with pytest.raises(ValueError, match="the score is now"):
        embedder.set_params(score_window=before).predict(IMAGES)


@pytest.mark.parametrize(
    ("window", "X", "message"),
    [
        (9, IMAGES, "score_window=9 is larger than images of 8 x 8 pixels"),
        (3, IMAGES.reshape(200, -1), "score_window needs images. Fit on an array"),
        (0, IMAGES, "'score_window' parameter"),
        (2.5, IMAGES, "'score_window' parameter"),
    ],
)
def test_windows_that_are_refused(window, X, message):
    embedder = AutoencoderEmbedder(4, **SMALL, score_window=window)
    with pytest.raises(ValueError, match=message):
        embedder.fit(X)
    assert not hasattr(embedder, "module_")


def test_a_map_needs_images():
    embedder = AutoencoderEmbedder(4, **SMALL).fit(IMAGES.reshape(200, -1))
    with pytest.raises(ValueError, match="score_map needs images"):
        embedder.score_map(IMAGES.reshape(200, -1))


def test_flat_rows_with_their_shape_have_windows_too():
    rows = IMAGES.reshape(200, -1)
    embedder = AutoencoderEmbedder(4, **SMALL, input_shape=(1, 8, 8), score_window=3)
    arrays = AutoencoderEmbedder(4, **SMALL, score_window=3).fit(IMAGES)
    scores = embedder.fit(rows).score_samples(rows)
    assert np.array_equal(scores, arrays.score_samples(IMAGES))
    assert np.array_equal(embedder.score_map(rows), arrays.score_map(IMAGES))


def test_a_window_finds_small_defects_that_the_sum_does_not():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(500, 20, 20))
    images = 5.0 * np.sin(np.arange(20) / 3.0) + noise
    images *= rng.uniform(0.9, 1.1, size=(500, 1, 1))  # some are noisier
    is_scratched = np.arange(200) % 2 == 1
    new = images[300:].copy()
    for n in np.flatnonzero(is_scratched):
        i, j = rng.integers(0, 18, size=2)
        new[n, i : i + 3, j : j + 3] += 2.0
    parameters = {"max_epochs": 20, "random_state": 0, "standardize": False}
    embedder = AutoencoderEmbedder(2, **parameters).fit(images[:300])
    areas = {}
    for window in (None, 3):
        scores = embedder.set_params(score_window=window).score_samples(new)
        areas[window] = roc_auc_score(is_scratched, -scores)
    assert areas[None] < 0.75
    assert areas[3] > 0.9


def test_a_detector_scores_by_the_window():
    embedder = AutoencoderEmbedder(4, **SMALL, score_window=3)
    detector = LatentOutlierDetector(
        embedder, method="embedder_score", assume_clean=True, random_state=0
    ).fit(IMAGES)
    scores = detector.score_samples(IMAGES)
    assert np.array_equal(scores, detector.embedder_.score_samples(IMAGES))
    reasons = detector.explain(IMAGES[:5])["contribution"]
    assert np.allclose(reasons.groupby("row").sum(), scores[:5], rtol=1e-5)
    assert (reasons != 0).groupby("row").sum().max() <= 9
    assert detector.embedder_.score_map(IMAGES).shape == (200, 8, 8)
    fitted = LatentOutlierDetector(
        detector.embedder_, method="embedder_score", random_state=0
    ).fit(IMAGES)
    detector.embedder_.set_params(score_window=2)
    with pytest.raises(ValueError, match="score_window=2"):
        fitted.predict(IMAGES)

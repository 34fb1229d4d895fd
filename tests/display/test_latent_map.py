"""Latent maps: where points lie, what colours and rings say."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from latentsk import LatentOutlierDetector, PCAEmbedder, VAEEmbedder
from latentsk.display import LatentMapDisplay


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def vae(digits):
    return VAEEmbedder(2, max_epochs=2, random_state=0).fit(digits[0])


def test_two_latent_dimensions_are_drawn_as_they_are(digits, vae):
    display = LatentMapDisplay.from_estimator(vae, digits[0])
    drawn = np.asarray(display.points_[0].get_offsets())
    assert_allclose(drawn, vae.transform(digits[0]))


def test_more_are_projected_on_principal_components(digits):
    embedder = PCAEmbedder(6).fit(digits[0])
    display = LatentMapDisplay.from_estimator(embedder, digits[0])
    expected = PCA(2).fit_transform(embedder.transform(digits[0]))
    assert_allclose(np.asarray(display.coordinates), expected)


def test_the_density_is_that_of_the_prior(digits, vae):
    display = LatentMapDisplay.from_estimator(vae, digits[0])
    first, second, density = display.density
    points = np.stack([first, second], axis=-1)
    assert_allclose(density, multivariate_normal(np.zeros(2)).pdf(points), rtol=1e-6)
    plain = LatentMapDisplay.from_estimator(vae, digits[0], density=False)
    assert plain.density is None


def test_classes_have_a_colour_each_and_numbers_a_bar(digits, vae):
    X, y = digits
    display = LatentMapDisplay.from_estimator(vae, X, color=y, name="digit")
    sizes = [len(points.get_offsets()) for points in display.points_]
    assert_array_equal(sizes, np.bincount(y))
    assert display.ax_.get_legend().get_title().get_text() == "digit"
    scores = LatentMapDisplay.from_estimator(vae, X, color="score")
    assert_allclose(scores.points_[0].get_array(), vae.score_samples(X))
    assert scores.figure_.axes[1].get_ylabel() == "score"


def test_outliers_of_a_detector_are_ringed(digits):
    X, _ = digits
    detector = LatentOutlierDetector(random_state=0).fit(X)
    display = LatentMapDisplay.from_estimator(detector, X)
    ringed = np.asarray(display.rings_.get_offsets())
    expected = np.asarray(display.coordinates)[detector.predict(X) == -1]
    assert_allclose(ringed, expected)
    assert LatentMapDisplay.from_estimator(detector, X, outliers=False).rings_ is None


def test_rings_have_a_colour_of_no_class_and_no_score(digits):
    X, y = digits
    detector = LatentOutlierDetector(random_state=0).fit(X)
    for color in (y, "score"):
        display = LatentMapDisplay.from_estimator(detector, X, color=color)
        ring = display.rings_.get_edgecolors()
        assert_array_equal(ring, [[0.0, 0.0, 0.0, 1.0]])
        shades = np.vstack([points.get_facecolors() for points in display.points_])
        assert (np.abs(shades[:, :3] - ring[:, :3]).max(axis=1) > 0.2).all()


def test_tsne_needs_no_settings_on_few_rows(digits):
    embedder = PCAEmbedder(6).fit(digits[0])
    display = LatentMapDisplay.from_estimator(embedder, digits[0][:20], method="tsne")
    assert np.asarray(display.coordinates).shape == (20, 2)


def boxes(display):
    """Return the thumbnails of a map."""
    from matplotlib.offsetbox import AnnotationBbox

    return [a for a in display.ax_.artists if isinstance(a, AnnotationBbox)]


def test_thumbnails_lie_apart(digits, vae):
    display = LatentMapDisplay.from_estimator(
        vae, digits[0], thumbnails=True, image_shape=(8, 8)
    )
    places = np.array([box.xy for box in boxes(display)])
    assert 2 <= len(places) <= 40
    span = np.ptp(np.asarray(display.coordinates), axis=0)
    gaps = np.abs(places[:, None] - places).max(axis=2, initial=0.0)
    scaled = np.abs((places[:, None] - places) / span).max(axis=2)
    assert (scaled[gaps > 0.0] > 0.09).all()


def test_thumbnails_are_the_images_in_the_colour_of_their_class(digits, vae):
    X, y = digits
    display = LatentMapDisplay.from_estimator(
        vae, X, color=y, thumbnails=True, n_thumbnails=5, image_shape=(8, 8)
    )
    found = boxes(display)
    assert len(found) == 5
    colours = [points.get_facecolors()[0, :3] for points in display.points_]
    for box in found:
        row = int(np.abs(display.coordinates - box.xy).sum(axis=1).argmin())
        image = box.offsetbox.image
        shown = np.asarray(image.get_array()).reshape(8, 8)
        white = image.to_rgba(shown)[..., 0]
        assert_allclose(white, X[row].reshape(8, 8) / 16.0, atol=0.01)
        assert_allclose(box.patch.get_facecolor()[:3], colours[y[row]])


def test_thumbnails_are_framed_in_the_colour_of_their_number(digits, vae):
    settings = {"thumbnails": True, "image_shape": (8, 8), "n_thumbnails": 3}
    X = digits[0]
    display = LatentMapDisplay.from_estimator(vae, X, color="score", **settings)
    points = display.points_[0]
    for box in boxes(display):
        row = int(np.abs(display.coordinates - box.xy).sum(axis=1).argmin())
        expected = points.to_rgba(points.get_array()[row])[:3]
        assert_allclose(box.patch.get_facecolor()[:3], expected)
    plain = LatentMapDisplay.from_estimator(vae, X, **settings)
    expected = plain.points_[0].get_facecolors()[0, :3]
    assert_allclose(boxes(plain)[2].patch.get_facecolor()[:3], expected)
    none = LatentMapDisplay.from_estimator(vae, X, **{**settings, "n_thumbnails": 0})
    assert boxes(none) == []


def test_bad_parameters(digits, vae):
    X, y = digits
    with pytest.raises(ValueError, match="method must be one of"):
        LatentMapDisplay.from_estimator(vae, X, method="mds")
    with pytest.raises(ValueError, match="color must be 'score' or an array"):
        LatentMapDisplay.from_estimator(vae, X, color="scores")
    with pytest.raises(ValueError, match="thumbnails=True is for images"):
        LatentMapDisplay.from_estimator(vae, X, thumbnails=True)
    with pytest.raises(ValueError, match="n_thumbnails must be an integer"):
        LatentMapDisplay.from_estimator(vae, X, n_thumbnails=-1)
    with pytest.raises(ValueError, match="300 points need as many colours, got 10"):
        LatentMapDisplay.from_estimator(vae, X, color=y[:10])
    with pytest.raises(ValueError, match="coordinates must have 2 columns"):
        LatentMapDisplay(np.zeros((5, 3))).plot()

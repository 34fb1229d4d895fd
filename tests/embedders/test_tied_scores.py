"""Thresholds of embedders on rows of which many are equal."""

import numpy as np
import pytest
from sklearn.base import clone

from latentsk import AutoencoderEmbedder, PCAEmbedder, VAEEmbedder

ROWS = np.random.default_rng(0).normal(size=(174, 5))
WORST = np.tile([30.0, -30.0, 30.0, 0.0, -30.0], (26, 1))
TIED = np.random.default_rng(1).permutation(np.r_[ROWS[:74], WORST])
SMALL = {"max_epochs": 2, "hidden_layer_sizes": (4,), "random_state": 0}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "embedder",
    [
        PCAEmbedder(2, contamination=0.2),
        PCAEmbedder(2, score_method="reconstruction", contamination=0.2),
        AutoencoderEmbedder(2, contamination=0.2, **SMALL),
        VAEEmbedder(2, contamination=0.2, kl_warmup=0.5, **SMALL),
    ],
    ids=["likelihood", "reconstruction", "autoencoder", "VAE"],
)
@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
def test_equally_worst_rows_are_flagged_together(embedder, dtype):
    embedder = clone(embedder).fit(ROWS[74:].astype(dtype))
    rows = TIED.astype(dtype)
    with pytest.warns(UserWarning, match="asks for 20 of 100 rows, but 26") as caught:
        embedder.calibrate(rows)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(embedder.predict(rows) == -1, TIED[:, 0] == 30.0)
    # However many are scored at once.
    for n_rows in (1, 2, 5, 26):
        assert (embedder.predict(WORST[:n_rows].astype(dtype)) == -1).all()
    embedder.set_params(contamination=0.1)
    with pytest.warns(UserWarning, match="asks for 10 of 100 rows, but none is"):
        embedder.calibrate(rows)
    for n_rows in (1, 2, 5, 26):
        assert (embedder.predict(WORST[:n_rows].astype(dtype)) == 1).all()


def test_a_fit_says_it_too():
    # Along a line whose mean is 77.75: the equal rows are the farthest from it.
    line = np.r_[np.arange(75.0), np.full(25, 200.0)]
    embedder = PCAEmbedder(1, score_method="mahalanobis", contamination=0.2)
    with pytest.warns(UserWarning, match="20 of 100 rows, but 25 .*flagged: 25 rows"):
        labels = embedder.fit_predict(np.column_stack([line, np.sin(line)]))
    np.testing.assert_array_equal(labels == -1, line == 200.0)


def test_an_offset_that_was_assigned_is_replaced_by_calibrate():
    embedder = PCAEmbedder(2).fit(ROWS)
    offset = embedder.offset_
    embedder.offset_ = -1e9
    assert (embedder.predict(WORST) == 1).all()
    assert embedder.calibrate(ROWS).offset_ == offset

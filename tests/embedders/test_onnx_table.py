import numpy as np
import pandas as pd
import pytest

import latentsk
from latentsk import LatentOutlierDetector, VAEEmbedder

onnxruntime = pytest.importorskip("onnxruntime")

SMALL = {"max_epochs": 5, "hidden_layer_sizes": (8,), "random_state": 0}


def counts(n_rows=200):
    rng = np.random.default_rng(0)
    busy = rng.normal(size=n_rows)
    return pd.DataFrame(
        {
            "kind": pd.Categorical(rng.choice([1, 2, 5], n_rows)),
            "sales": 3.0 * busy + rng.normal(size=n_rows),
            "calls": rng.poisson(np.exp(1 + 0.5 * busy)),
            "place": rng.choice([0.0, 1.0, 2.0], n_rows),
            "hour": rng.normal(size=n_rows),
        }
    )


def ran(path, rows):
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": rows}), strict=True))


def test_tables_of_numbers_are_coded_in_the_file(tmp_path):
    X = counts()
    vae = VAEEmbedder(
        2,
        condition=["kind", "hour"],
        likelihood={"calls": "poisson", "place": "categorical"},
        **SMALL,
    ).fit(X)
    vae.to_onnx(tmp_path / "vae.onnx", dtype="float64")
    rows = X.astype({"kind": float, "calls": float})
    rows.loc[3, "sales"] = rows.loc[4, "place"] = np.nan
    rows.loc[5, "place"] = 7.0  # no level of the training rows
    found = ran(tmp_path / "vae.onnx", rows.to_numpy(float))
    for name, atol in (("transform", 1e-4), ("reconstruct", 1e-3)):
        expected = np.asarray(getattr(vae, name)(rows), float)
        np.testing.assert_allclose(found[name], expected, atol=atol)
    scores = vae.score_samples(rows)
    np.testing.assert_allclose(found["score_samples"], scores, rtol=1e-5, atol=1e-2)
    assert scores[5] < -1e6


def test_a_file_of_everything_reconstructs_at_the_conditions(tmp_path):
    rows = counts()[["sales", "calls", "hour"]].to_numpy(float)
    vae = VAEEmbedder(1, condition=[2], **SMALL).fit(rows)
    latentsk.to_onnx(vae, tmp_path / "vae.onnx")
    found = ran(tmp_path / "vae.onnx", rows)
    np.testing.assert_allclose(found["reconstruct"], vae.reconstruct(rows), atol=1e-4)
    np.testing.assert_array_equal(found["predict"], vae.predict(rows))


def test_what_needs_strings_or_conditions_elsewhere_is_refused(tmp_path):
    X = counts().assign(kind="a")[["kind", "sales", "hour"]]
    vae = VAEEmbedder(1, condition=["kind"], kl_warmup=0.5, **SMALL)
    with pytest.raises(ValueError, match="numbers only, but columns 'kind' hold"):
        vae.fit(X).to_onnx(tmp_path / "vae.onnx")
    detector = LatentOutlierDetector(
        VAEEmbedder(1, condition=[2], kl_warmup=0.5, **SMALL), random_state=0
    ).fit(counts()[["sales", "calls", "hour"]].to_numpy(float))
    with pytest.raises(ValueError, match="columns of the table besides"):
        latentsk.to_onnx(detector, tmp_path / "detector.onnx")
    assert not list(tmp_path.iterdir())

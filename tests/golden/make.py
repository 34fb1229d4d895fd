"""Write the files that every later release must read.

    python tests/golden/make.py

Run once for each format version, by the release that introduces it; files of earlier
versions stay as they are, and so does v2-columns-by-skops, in which a ColumnTransformer
and a FeatureUnion are parts of skops's. Beside each file lie rows, and the answers to
them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

import latentsk
from latentsk.persistence._format import FORMAT_VERSION

SMALL = {"max_epochs": 3, "hidden_layer_sizes": (5,), "random_state": 0}
CONV = {**SMALL, "network": "conv", "input_shape": (1, 2, 2), "device": "cpu"}


def estimators(X):
    ids = [f"flower {i}" for i in range(len(X))]
    metadata = pd.DataFrame(
        {"day": pd.date_range("2026-01-01", periods=len(X)), "n": range(len(X))}
    )
    many = np.tile(X, (8, 1)) + np.random.default_rng(0).normal(size=(8 * len(X), 4))
    scaled = make_pipeline(StandardScaler(), latentsk.PCAEmbedder(2))
    spec = "IVF8,PQ4x4fs,nprobe=4,rerank=5"
    coded = np.where(np.arange(len(X))[:, None] % 10 == [0, 3, 20, 20], -99, X)
    return {
        "pca": latentsk.PCAEmbedder(2).fit(X),
        "pca-streamed": latentsk.PCAEmbedder(2).partial_fit(X),
        "autoencoder": latentsk.AutoencoderEmbedder(2, **SMALL).fit(X),
        "autoencoder-streamed": latentsk.AutoencoderEmbedder(2, **SMALL).partial_fit(X),
        "autoencoder-conv": latentsk.AutoencoderEmbedder(2, **CONV).fit(X),
        "autoencoder-images": latentsk.AutoencoderEmbedder(
            2, **SMALL, score_window=1
        ).fit(X.reshape(-1, 2, 2)),
        "vae": latentsk.VAEEmbedder(2, **SMALL).fit(X),
        "vae-given": latentsk.VAEEmbedder(
            1, condition=["width"], likelihood={"count": "poisson"}, **SMALL
        ).fit(as_given("vae-given", X)),
        "vae-mixture": latentsk.VAEEmbedder(2, prior="mixture", **SMALL).fit(X),
        "vae-vamp": latentsk.VAEEmbedder(
            2, prior="vamp", n_prior_components=5, **SMALL
        ).fit(X),
        "vae-flow": latentsk.VAEEmbedder(2, prior="flow", **SMALL).fit(X),
        "vq-vae": latentsk.VQVAEEmbedder(8, n_positions=2, **SMALL).fit(X),
        "vq-vae-levels": latentsk.VQVAEEmbedder(
            9,
            quantizer="fsq",
            prior="independent",
            **{**CONV, "hidden_layer_sizes": (3,)},
        ).fit(X),
        "vae-levels": latentsk.HierarchicalVAEEmbedder(
            (2, 1), prior="vamp", n_prior_components=5, levels=(2, 1), **SMALL
        ).fit(X),
        "pipeline": make_pipeline(StandardScaler(), latentsk.PCAEmbedder(2)).fit(X),
        "index": latentsk.LatentIndex(scaled).fit(X, ids=ids, metadata=metadata),
        "index-lists": latentsk.LatentIndex(index_spec=spec).fit(many),
        "index-whole-lists": latentsk.LatentIndex(
            index_spec="IVF8,Flat,nprobe=3,rerank=1", target_recall=0.8
        ).fit(many),
        "index-window": latentsk.LatentIndex(index_spec=spec)
        .fit(many)
        .remove(range(40))
        .compact()
        .add(X[:5])
        .remove([60, 1_201]),
        "index-graph": latentsk.LatentIndex(
            index_spec="HNSW8,ef=40", static=True, n_jobs=1
        ).fit(many),
        "neighbors": latentsk.LatentNeighborsTransformer(scaled).fit(X),
        "detector": latentsk.LatentOutlierDetector(random_state=0).fit(X),
        "adapter": latentsk.PyODAdapter(random_state=0).fit(X),
        "columns": make_pipeline(
            ColumnTransformer(
                [
                    ("sepal", latentsk.RobustStandardizer(), slice(0, 2)),
                    (
                        "petal",
                        make_pipeline(StandardScaler(), latentsk.PCAEmbedder(1)),
                        [2, 3],
                    ),
                    ("none", "drop", [0]),
                ],
                remainder="passthrough",
            ),
            make_union(latentsk.PCAEmbedder(2), StandardScaler()),
        ).fit(X),
        "standardizer": latentsk.RobustStandardizer().fit(coded),
        "categories": latentsk.CategoryEncoder().fit(X.round()),
        "windows": latentsk.SlidingWindows(3, step=2).fit(X),
        "classifier": latentsk.GenerativeClassifier(
            latentsk.VAEEmbedder(1, **SMALL),
            reject=0.2,
            unknown_label="?",
            random_state=0,
        ).fit(X, load_iris().target_names[load_iris().target]),
        "dates": latentsk.DatetimeEncoder().fit(as_given("dates", X)),
        "detector-mixed": latentsk.LatentOutlierDetector(random_state=0).fit(
            as_given("detector-mixed", X)
        ),
    }


def as_given(name, rows):
    """Return rows of numbers as those that a file's estimator takes."""
    dates = (rows * 1e6).astype("datetime64[s]")
    if name.endswith("dates"):
        return dates
    if name.endswith("given"):
        return pd.DataFrame(
            {
                "length": np.where(np.arange(len(rows)) % 5 == 0, np.nan, rows[:, 0]),
                "width": rows[:, 1].clip(2.6, 3.4).round().astype(str),
                "count": rows[:, 2].round(),
            }
        )
    if not name.endswith("mixed"):
        return rows
    return pd.DataFrame(
        {
            "length": np.where(np.arange(len(rows)) % 5 == 0, np.nan, rows[:, 0]),
            "width": rows[:, 1].round().astype(str),
            "day": dates[:, 2],
        }
    )


def answers(estimator, rows):
    found = {}
    scoring = ("transform", "score_samples", "decision_function", "kneighbors")
    for name in (*scoring, "class_score_samples", "novelty_score"):
        has_threshold = hasattr(estimator, "offset_") or hasattr(estimator, "labels_")
        if not hasattr(estimator, name) or (name[0] == "d" and not has_threshold):
            continue
        result = getattr(estimator, name)(rows)
        first = result[0] if isinstance(result, tuple) else result
        found[name] = first.toarray() if hasattr(first, "toarray") else first
    return found


def main():
    folder, X = Path(__file__).parent, load_iris().data
    rows = X[::15] + 0.1
    for name, estimator in estimators(X).items():
        path = folder / f"v{FORMAT_VERSION}-{name}.latentsk"
        latentsk.save(estimator, path)
        np.savez_compressed(
            path.with_suffix(".npz"),
            rows=rows,
            **answers(estimator, as_given(name, rows)),
        )
    alone = latentsk.LatentIndex().fit(X, ids=[f"flower {i}" for i in range(len(X))])
    alone.save(folder / f"v{FORMAT_VERSION}-alone.index")


if __name__ == "__main__":
    main()

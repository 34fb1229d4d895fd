"""What every public estimator answers on fixed data, case by case.

    python tests/recorded/answers.py [FILE]

writes the answers of the present code. ``tests/test_recorded_answers.py`` holds them to
those of an earlier state of the code, which a change of structure must not change.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentNeighborsTransformer,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    VAEEmbedder,
)

FILE = Path(__file__).with_name("answers.npz")
N_ASKED = 8
SHORT = {"max_epochs": 4, "random_state": 0, "compile": False, "device": "cpu"}


def wine():
    return load_wine().data


def cancer():
    return load_breast_cancer().data


def digits():
    return load_digits().data[:600]


def images():
    return load_digits().data[:300] / 16.0


def _asked(X):
    return X[:: len(X) // N_ASKED][:N_ASKED]


def _embedder(estimator, X):
    rows = _asked(X)
    latents = estimator.transform(rows)
    found = {
        "transform": latents,
        "inverse_transform": estimator.inverse_transform(latents)[:2],
        "score_samples": estimator.score_samples(rows),
        "offset": np.array([estimator.offset_]),
        "contributions": estimator.score_contributions(rows)[:2],
    }
    if hasattr(estimator, "history_"):
        losses = ("train_loss", "validation_loss", "monitored_loss")
        found["history"] = np.array(
            [[r[name] for name in losses] for r in estimator.history_], dtype=float
        )
    return found


def _pca(make, data=wine):
    X = data()
    estimator = make(X)
    return {**_embedder(estimator, X), "sample": estimator.sample(3, random_state=0)}


def pca_cases():
    def streamed(X):
        return PCAEmbedder(3).partial_fit(X[:100]).partial_fit(X[100:]).calibrate(X)

    return {
        "default": lambda: _pca(lambda X: PCAEmbedder().fit(X)),
        "digits": lambda: _pca(lambda X: PCAEmbedder().fit(X), digits),
        "reconstruction": lambda: _pca(
            lambda X: PCAEmbedder(2, score_method="reconstruction").fit(X)
        ),
        "mahalanobis": lambda: _pca(
            lambda X: PCAEmbedder(4, score_method="mahalanobis", whiten=True).fit(X)
        ),
        "contamination": lambda: _pca(
            lambda X: PCAEmbedder(4, contamination=0.1).fit(X), cancer
        ),
        "streamed": lambda: _pca(streamed),
    }


def _network(make, data=wine):
    X = data()
    return _embedder(make(X), X)


def _autoencoder(data=wine, **parameters):
    settings = {"hidden_layer_sizes": (12,), **SHORT, **parameters}
    return lambda: _network(lambda X: AutoencoderEmbedder(3, **settings).fit(X), data)


def autoencoder_cases():
    def streamed(X):
        estimator = AutoencoderEmbedder(3, hidden_layer_sizes=(12,), **SHORT)
        for start in (0, 60, 120):
            estimator.partial_fit(X[start : start + 60])
        return estimator.calibrate(X)

    def warm(X):
        settings = {"hidden_layer_sizes": (12,), **SHORT, "warm_start": True}
        return AutoencoderEmbedder(3, **settings).fit(X[:90]).fit(X)

    def custom(X):
        n_features = X.shape[1]
        encoder = nn.Sequential(nn.Linear(n_features, 6), nn.Softplus())
        for parameter in encoder.parameters():
            nn.init.constant_(parameter, 0.03)
        encoder.append(nn.Linear(6, 2))
        decoder = nn.Linear(2, n_features)
        for number, part in enumerate((encoder[2], decoder)):
            values = np.random.default_rng(number).normal(size=part.weight.shape) / 3
            part.weight.data.copy_(part.weight.new_tensor(values))
            nn.init.zeros_(part.bias)
        settings = {"encoder": encoder, "decoder": decoder, **SHORT}
        return AutoencoderEmbedder("auto", **settings).fit(X)

    early = {"max_epochs": 40, "n_iter_no_change": 2, "tol": 0.05, "batch_size": 64}
    return {
        "default": _autoencoder(hidden_layer_sizes="auto"),
        "huber": _autoencoder(loss="huber"),
        "absolute": _autoencoder(loss="absolute_error"),
        "cross_entropy": _autoencoder(images, loss="binary_cross_entropy"),
        "masking": _autoencoder(noise="masking", noise_level=0.2),
        "gaussian_noise": _autoencoder(noise="gaussian", activation="tanh"),
        "contractive": _autoencoder(contractive_penalty=0.1),
        "sparse": _autoencoder(sparse_penalty=0.1, activation="elu"),
        "dropout": _autoencoder(dropout=0.2, activation="gelu"),
        "decay_clip": _autoencoder(weight_decay=0.1, clip_norm=1.0),
        "normalize": _autoencoder(normalize=True, learning_rate="constant"),
        "no_validation": _autoencoder(validation_fraction=0.0, activation="silu"),
        "early_stop": _autoencoder(**early),
        "conv": _autoencoder(
            images, network="conv", input_shape=(1, 8, 8), hidden_layer_sizes="auto"
        ),
        "streamed": lambda: _network(streamed),
        "warm_start": lambda: _network(warm),
        "custom": lambda: _network(custom),
    }


def _vae(data=wine, streamed=False, **parameters):
    settings = {"hidden_layer_sizes": (12,), **SHORT, **parameters}

    def answers():
        X = data()
        estimator = VAEEmbedder(3, **settings)
        if streamed:
            estimator.partial_fit(X[:90]).partial_fit(X[90:])
            estimator.calibrate(X)
        else:
            estimator.fit(X)
        found = _embedder(estimator, X)
        rows = _asked(X)
        means, deviations = estimator.transform_distribution(rows)
        found |= {
            "means": means,
            "deviations": deviations,
            "log_likelihood": estimator.log_likelihood(
                rows, n_samples=50, random_state=0
            ),
            "sample": estimator.sample(3, random_state=0),
            "interpolate": estimator.interpolate(rows[0], rows[1], n_steps=3),
        }
        for method in ("iwae", "reconstruction", "kl"):
            estimator.set_params(score_method=method)
            found[method] = estimator.score_samples(rows)
            if method != "kl":
                contributions = estimator.score_contributions(rows)
                found[f"{method}_contributions"] = contributions[:2]
        return found

    return answers


def vae_cases():
    iwae = {"objective": "iwae", "n_samples": 5}
    return {
        "default": _vae(hidden_layer_sizes="auto"),
        # Signs of an odd number of rows never cancel out: Adam divides by what is left.
        "laplace": _vae(
            likelihood="laplace", likelihood_scale="feature", batch_size=15
        ),
        "student_t": _vae(likelihood="student_t", likelihood_scale=0.5),
        "bernoulli": _vae(images, likelihood="bernoulli", dynamic_binarization=True),
        "continuous": _vae(images, likelihood="continuous_bernoulli"),
        "beta_warmup": _vae(beta=4.0, kl_warmup=0.6),
        "cosine": _vae(kl_warmup=0.9, kl_schedule="cosine", n_samples=3),
        "cyclical": _vae(kl_warmup=0.5, kl_schedule="cyclical"),
        "free_nats": _vae(free_nats=0.5, kl_warmup=0.3),
        "capacity": _vae(capacity=2.0, beta=3.0, kl_warmup=0.8),
        "iwae": _vae(**iwae),
        "dreg": _vae(**iwae, doubly_reparameterized=True, kl_warmup=0.4),
        "dropout": _vae(dropout=0.1, activation="tanh"),
        "normalize": _vae(normalize=True),
        "early_stop": _vae(
            max_epochs=40, n_iter_no_change=2, tol=0.05, kl_warmup=0.1, batch_size=64
        ),
        "conv": _vae(
            images,
            network="conv",
            input_shape=(1, 8, 8),
            hidden_layer_sizes="auto",
            likelihood="bernoulli",
        ),
        "streamed": _vae(streamed=True, kl_warmup=0.5),
    }


def _ids(frame):
    # The last column is "distance" or "similarity".
    values = frame.iloc[:, -1].to_numpy(dtype=float)
    return {"ids": frame["id"].to_numpy(), "distances": values}


def _index(data=digits, changed=False, **parameters):
    def answers():
        X = data()
        index = LatentIndex(**parameters).fit(X[50:])
        if changed:
            index.add(X[:40], ids=np.arange(9_000, 9_040))
            index.remove([3, 7, 9_002, 100])
            index.update(X[40:42], ids=[10, 11])
        queries = X[:12]
        found = _ids(index.search(queries, n_neighbors=7))
        mask = np.arange(len(index.ids_)) % 3 == 0
        filtered = _ids(index.search(queries, n_neighbors=4, filter=mask))
        found |= {f"filtered_{name}": value for name, value in filtered.items()}
        if parameters.get("metric") != "inner_product":
            distances, positions = index.kneighbors(n_neighbors=3)
            found |= {
                "own_distances": distances[::20],
                "own_positions": positions[::20],
            }
            radius = float(np.median(distances[:, -1]))
            near, at = index.radius_neighbors(queries, radius, sort_results=True)
            found |= {
                "radius_distances": np.concatenate(near),
                "radius_positions": np.concatenate(at),
            }
        return found

    return answers


def _clusters():
    rng = np.random.default_rng(0)
    centres = 6.0 * rng.normal(size=(30, 16))
    return centres[rng.integers(0, 30, 6_000)] + rng.normal(size=(6_000, 16))


def _duplicates():
    X = digits()
    noise = 1e-3 * np.random.default_rng(0).normal(size=(100, X.shape[1]))
    groups = LatentIndex().fit(np.concatenate([X, X[:100] + noise])).duplicates(0.1)
    return {name: groups[name].to_numpy() for name in groups.columns}


def _recall():
    X = _clusters()
    index = LatentIndex(target_recall=0.9).fit(X)
    spec = np.array([str(index.index_spec_)])
    return {**_ids(index.search(X[::500], n_neighbors=5)), "spec": spec}


def _graph():
    graph = LatentNeighborsTransformer(PCAEmbedder(5), n_neighbors=4)
    matrix = graph.fit_transform(wine()).tocsr()
    rows = matrix[:40]
    return {"data": rows.data, "indices": rows.indices, "indptr": rows.indptr}


def index_cases():
    spec = "IVF16,PQ16x4fs,nprobe=4,rerank=10"
    return {
        "exact": _index(),
        "cosine": _index(metric="cosine"),
        "inner_product": _index(metric="inner_product"),
        "float32": _index(exactness="float32", backend="torch"),
        "embedder": _index(embedder=PCAEmbedder(10, svd_solver="full")),
        "rerank": _index(
            _clusters,
            embedder=PCAEmbedder(10, random_state=0),
            rerank="original",
            index_spec="IVF16,PQ10x4fs,nprobe=4,rerank=20",
        ),
        "spec": _index(_clusters, index_spec=spec),
        "budget": _index(_clusters, memory_budget="1.3MB"),
        "changed": _index(changed=True),
        "changed_cosine": _index(changed=True, metric="cosine"),
        "changed_spec": _index(_clusters, changed=True, index_spec=spec),
        "duplicates": _duplicates,
        "target_recall": _recall,
        "graph": _graph,
    }


def _detector(data=wine, explained=True, **parameters):
    def answers():
        X = data()
        detector = LatentOutlierDetector(random_state=0, **parameters).fit(X)
        rows = np.concatenate([_asked(X), _asked(X) * 1.3])
        found = {
            "score_samples": detector.score_samples(rows),
            "training_scores": detector.training_scores_[::5],
            "offset": np.array([detector.offset_]),
            "probability": detector.outlier_probability(rows),
        }
        if parameters.get("method") != "embedder_score":
            found["parts"] = detector.score_parts(rows).to_numpy(dtype=float)
        if explained:
            reasons = detector.explain(rows[-2:])
            numbers = reasons.select_dtypes("number")
            found["reasons"] = numbers.to_numpy(dtype=float)
            found["reason_parts"] = reasons["part"].to_numpy().astype(str)
        calibrated = detector.calibrate(X[::3])
        found["p_values"] = calibrated.p_values(rows)
        return found

    return answers


def _adapter():
    adapter = PyODAdapter(random_state=0).fit(wine())
    return {
        "decision_scores": adapter.decision_scores_,
        "labels": adapter.labels_,
        "probability": adapter.predict_proba(_asked(wine())),
    }


def detector_cases():
    network = AutoencoderEmbedder(2, hidden_layer_sizes=(8,), **SHORT)
    pipeline = make_pipeline(StandardScaler(), PCAEmbedder(5))
    return {
        "default": _detector(),
        "cancer": _detector(cancer),
        "digits": _detector(digits, explained=False),
        "clean": _detector(assume_clean=True),
        "distance": _detector(method="distance"),
        "residual": _detector(embedder=pipeline, method="residual"),
        "neighbors": _detector(method="neighbors", n_neighbors=3),
        "embedder_score": _detector(method="embedder_score"),
        "pipeline": _detector(embedder=pipeline),
        "subsampled": _detector(max_samples=100),
        "network": _detector(embedder=network),
        "adapter": _adapter,
    }


CASES = {
    f"{kind}/{name}": case
    for kind, cases in {
        "pca": pca_cases(),
        "autoencoder": autoencoder_cases(),
        "vae": vae_cases(),
        "index": index_cases(),
        "detector": detector_cases(),
    }.items()
    for name, case in cases.items()
}


def answers_of(name):
    """Return the answers of a case, as arrays of numbers or strings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CASES[name]()
    return {key: _plain(value) for key, value in found.items()}


def _plain(value):
    array = value.to_numpy() if isinstance(value, pd.DataFrame) else np.asarray(value)
    return array.astype(str) if array.dtype == object else array


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    arrays = {}
    for name in CASES:
        for key, value in answers_of(name).items():
            arrays[f"{name}/{key}"] = value
        print(name)
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    main()

"""MNIST: ten digits told apart, and four that are unknown among six that are known.

    python benchmarks/open_set.py [--threads 1] [--folder PATH] [--trial] [--write]

One VAEEmbedder for each digit ({network}, a normal likelihood of fixed scale), trained
once on its training images. GenerativeClassifier puts them together: all ten, for the
accuracy, and six of them in five splits, where the test images of the other four digits
are unknown (each digit in two splits). AUROC is how well a method tells unknown from
known images; peers are fitted to the same images and judge the same ones. Then known
test images are divided in halves, 100 times: one calibrates, and of the other it is
counted how many are falsely called unknown.

Settings were chosen by `--trial`, which takes 10,000 of the training images for test
images and leaves these alone. With `--folder` trained densities are kept there, and
another run of the same command trains none again.
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from hashlib import blake2b
from pathlib import Path

import numpy as np
from _harness import arguments, images, publish, table, threads
from scipy.stats import betabinom
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.utils._testing import ignore_warnings

from latentsk import GenerativeClassifier, VAEEmbedder, load, save
from latentsk.classify._conformal import lowest_rank

N_SPLITS, N_KNOWN = 5, 6
N_CALIBRATIONS, LEVEL, CONFIDENCE = 100, 0.05, 0.95
N_LATENTS, HIDDEN, SCALE = 20, (300, 300), 0.2
OURS = "GenerativeClassifier"


class Density:
    """A trained VAEEmbedder, the time that it took, and the scores of known rows."""

    def __init__(self, vae: VAEEmbedder, seconds: float) -> None:
        self.vae, self.seconds = vae, seconds
        self.scores: dict[bytes, float] = {}

    def score(self, X: np.ndarray) -> np.ndarray:
        """Return the score of each row."""
        names = [blake2b(row.tobytes(), digest_size=16).digest() for row in X]
        new = [i for i, name in enumerate(names) if name not in self.scores]
        if new:
            found = self.vae.score_samples(X[new]).tolist()
            self.scores.update(zip((names[i] for i in new), found, strict=True))
        return np.array([self.scores[name] for name in names])


DENSITIES: dict[str, Density] = {}


class TrainedOnce(BaseEstimator):
    """The density of rows: trained where they are new, else the one that there is."""

    def __init__(
        self,
        folder: Path | None = None,
        epochs: int = 40,
        scale: float | str = SCALE,
    ) -> None:
        self.folder, self.epochs, self.scale = folder, epochs, scale

    def fit(self, X: np.ndarray, y: None = None) -> TrainedOnce:
        """Find the density of these very rows, or train it."""
        name = f"{zlib.crc32(X.tobytes()):08x}-{self.epochs}"
        name += "" if self.scale == SCALE else f"-{self.scale}"
        if name not in DENSITIES:
            DENSITIES[name] = self.restored(name) or self.trained(X, name)
        self.density_ = DENSITIES[name]
        return self

    def restored(self, name: str) -> Density | None:
        """Return the density that the folder holds."""
        place = self.folder and self.folder / f"open_set_{name}.json"
        if not place or not place.exists():
            return None
        seconds = json.loads(place.read_text())
        return Density(load(place.with_suffix(".latentsk")), seconds)

    def trained(self, X: np.ndarray, name: str) -> Density:
        """Return a new density, which the folder then holds."""
        start = time.process_time()
        vae = VAEEmbedder(
            N_LATENTS,
            hidden_layer_sizes=HIDDEN,
            likelihood="gaussian",
            likelihood_scale=self.scale,  # learned, it is far less, and fits noise
            standardize=False,
            batch_size=100,
            max_epochs=self.epochs,
            validation_fraction=0.0,
            compile=False,
            device="cpu",
            random_state=0,
        ).fit(X)
        seconds = time.process_time() - start
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            place = self.folder / f"open_set_{name}.json"
            save(vae, place.with_suffix(".latentsk"))
            place.write_text(json.dumps(seconds))
        print(f"a density in {seconds:.0f} s", flush=True)
        return Density(vae, seconds)

    def score_samples(self, X: np.ndarray) -> np.ndarray:
        """Return bounds on the log-densities of rows."""
        return self.density_.score(X)


def as_scale(word: str) -> float | str:
    return word if word == "shared" else float(word)


def digits(folder: Path, part: str) -> np.ndarray:
    name = {"train": "train-labels", "test": "t10k-labels"}[part]
    path = folder / "mnist" / f"{name}-idx1-ubyte.gz"
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8)


def data(options) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images and digits, and those to test with."""
    train, _ = images(options.data, "train")
    labels = digits(options.data, "train").astype(int)
    if not options.trial:
        test, _ = images(options.data, "test")
        return train, labels, test, digits(options.data, "test").astype(int)
    order = np.random.default_rng(7).permutation(len(train))
    some, rest = order[:-10_000], order[-10_000:]
    return train[some], labels[some], train[rest], labels[rest]


def splits() -> list[np.ndarray]:
    """Return which digits are known: each is unknown in two splits of five."""
    order = np.random.default_rng(0).permutation(10)
    unknown = [
        np.take(order, np.arange(2 * i, 2 * i + 4), mode="wrap") for i in range(5)
    ]
    return [np.setdiff1d(order, some) for some in unknown]


def ours(options) -> GenerativeClassifier:
    density = TrainedOnce(options.folder, options.epochs, options.scale)
    return GenerativeClassifier(density, random_state=0)


def distances(train, labels, test) -> np.ndarray:
    """Return the distance of each image to the nearest of each digit."""
    found = np.empty((len(test), 10))
    for digit in range(10):
        search = NearestNeighbors(n_neighbors=1, algorithm="brute")
        search.fit(train[labels == digit])
        found[:, digit] = search.kneighbors(test)[0][:, 0]
    return found


@ignore_warnings(category=ConvergenceWarning)
def perceptron(train, labels, epochs: int) -> MLPClassifier:
    peer = MLPClassifier((256,), max_iter=epochs, batch_size=200, random_state=0)
    return peer.fit(train, labels)


def neighbours_ratio(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest class, and how novel a row is."""
    two = np.sort(found, axis=1)[:, :2]
    return found.argmin(axis=1), two[:, 0] / two[:, 1]


def methods(train, labels, test, options):
    """Return what fits each method to some digits, and judges the test images."""
    found = distances(train, labels, test)

    def of_ours(known):
        own = np.isin(labels, known)
        model = ours(options).fit(train[own], labels[own])
        densities = model.class_score_samples(test)
        scores = {
            f"{OURS}, novelty_score": model.novelty_score(test),
            f"{OURS}, -score_samples": -model.score_samples(test),
            f"{OURS}, -max predict_proba": -model.predict_proba(test).max(axis=1),
        }
        chosen = known[densities.argmax(axis=1)]
        return {name: (chosen, score) for name, score in scores.items()}

    def of_neighbours(known):
        nearest, ratio = neighbours_ratio(found[:, known])
        return {"nearest neighbours, ratio of two classes": (known[nearest], ratio)}

    def of_classifier(name, fit):
        def judged(known):
            own = np.isin(labels, known)
            model = fit(train[own], labels[own])
            chances = model.predict_proba(test)
            return {name: (known[chances.argmax(axis=1)], -chances.max(axis=1))}

        return judged

    epochs = options.peer_epochs
    return [
        of_ours,
        of_neighbours,
        of_classifier("MLPClassifier, softmax", lambda X, y: perceptron(X, y, epochs)),
        of_classifier(
            "GaussianNB", lambda X, y: GaussianNB(var_smoothing=0.1).fit(X, y)
        ),
    ]


def compared(train, labels, test, truth, options) -> list[list[object]]:
    """Return accuracy on ten digits, and AUROC in each split, of each method."""
    accuracy: dict[str, float] = {}
    areas: dict[str, list[float]] = {}
    for judge in methods(train, labels, test, options):
        for name, (chosen, _) in judge(np.arange(10)).items():
            accuracy[name] = (chosen == truth).mean()
        for known in splits():
            for name, (_, novelty) in judge(known).items():
                area = roc_auc_score(~np.isin(truth, known), novelty)
                areas.setdefault(name, []).append(float(area))
        print({name: np.mean(found) for name, found in areas.items()}, flush=True)
    return [
        [name, f"{accuracy[name]:.4f}", f"{np.mean(found):.3f}"]
        + [f"{area:.3f}" for area in found]
        for name, found in areas.items()
    ]


def false_rejection(train, labels, test, truth, options) -> list[list[object]]:
    """Return how often known images are called unknown, over calibrations."""
    models = []
    for known in splits():
        own = np.isin(labels, known)
        models.append(ours(options).fit(train[own], labels[own]))
    draw = np.random.default_rng(1)
    called, lacking, found, expected = [], [], [], []
    for number in range(N_CALIBRATIONS):
        known, model = splits()[number % N_SPLITS], models[number % N_SPLITS]
        is_known = np.isin(truth, known)
        places = draw.permutation(np.flatnonzero(is_known))
        one, other = np.array_split(places, 2)
        model.set_params(reject=LEVEL).calibrate(test[one], truth[one])
        is_unknown = model.predict(test[other]) == -1
        sets = model.predict_set(test[other], LEVEL, confidence=CONFIDENCE)
        own = np.searchsorted(known, truth[other])
        lacks = ~sets[np.arange(len(other)), own]
        called.append(shares(is_unknown, own))
        lacking.append(shares(lacks, own))
        found.append((model.predict(test[~is_known]) == -1).mean())
        counts = (
            np.bincount(truth[one], minlength=10),
            np.bincount(truth[other], minlength=10),
        )
        for n_rows, n_counted in zip(*(part[known] for part in counts), strict=True):
            expected.append(expected_within(n_rows, n_counted))
    usual, sure = f"reject={LEVEL}", f"level={LEVEL}, confidence={CONFIDENCE}"
    return [
        summary(f"predict, {usual}", np.array(called), "", f"{np.mean(found):.3f}"),
        summary(
            f"predict_set, {sure}", np.array(lacking), f"{np.mean(expected):.0%}", ""
        ),
    ]


def expected_within(n_rows: int, n_counted: int) -> float:
    """Return how often a counted share is within the level, if all is as promised.

    The true share is, with the confidence; a count of few images has an error besides.
    """
    rank = lowest_rank(n_rows, LEVEL, CONFIDENCE)
    law = betabinom(n_counted, rank, n_rows + 1 - rank)
    return float(law.cdf(np.floor(LEVEL * n_counted)))


def shares(is_wrong: np.ndarray, own: np.ndarray) -> list[float]:
    """Return the share of all images, and of those of each class."""
    return [is_wrong.mean(), *(is_wrong[own == k].mean() for k in range(N_KNOWN))]


def summary(name: str, rates: np.ndarray, expected: str, found: str) -> list[object]:
    whole, by_class = rates[:, 0], rates[:, 1:]
    error = whole.std(ddof=1) / np.sqrt(len(whole))
    return [
        name,
        f"{whole.mean():.4f}",
        f"{error:.4f}",
        f"{whole.max():.4f}",
        f"{(whole <= LEVEL).mean():.0%}",
        f"{(by_class <= LEVEL).mean():.0%}",
        expected,
        found,
    ]


def main() -> None:
    sizes = "-".join(map(str, (784, *HIDDEN, N_LATENTS)))
    parser = arguments(__doc__.format(network=sizes))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--scale", type=as_scale, default=SCALE, help="or 'shared'")
    parser.add_argument("--peer-epochs", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=None, help="to go on from")
    parser.add_argument("--trial", action="store_true", help="on the training images")
    options = parser.parse_args()
    train, labels, test, truth = data(options)
    with threads(options.threads):
        compared_rows = compared(train, labels, test, truth, options)
        rejected = false_rejection(train, labels, test, truth, options)
    seconds = sum(density.seconds for density in DENSITIES.values())
    where = (
        f"{options.threads} thread(s), {len(train):,} training and {len(test):,} test "
        f"images, ten densities of {options.epochs} epochs trained in "
        f"{seconds / 60:.1f} minutes of the processor"
    )
    header = ["method", "accuracy, ten digits", "AUROC of unknown, mean"]
    header += [f"known: {' '.join(map(str, known))}" for known in splits()]
    first = table(header, compared_rows)
    header = ["false rejection of known images", "mean", "its standard error"]
    header += ["largest", "calibrations within the level", "classes within"]
    header += ["expected of these", "unknown images found"]
    second = table(header, rejected)
    printed = f"{where}\n\n{first}\n\n{N_CALIBRATIONS} calibrations\n\n{second}"
    document = {"setting": where, "rows": compared_rows, "rejection": rejected}
    publish("open_set", printed, document, options.write)


if __name__ == "__main__":
    main()

"""None of these: digits that a classifier has never seen, and how typical others are.

    .venv/bin/python examples/none_of_these.py

Six of the handwritten digits are classes; the other four come later, unannounced. A
GenerativeClassifier with one PCAEmbedder for each class tells them from the known ones,
keeps the rate of false alarms that it is asked for, and says how typical an image is of
the class that it resembles most: a 4 may look like a 9, and is hardly one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from latentsk import GenerativeClassifier, PCAEmbedder

OUTPUT = Path(__file__).parents[1] / "docs" / "_static" / "none_of_these.png"
KNOWN = (0, 1, 2, 3, 7, 9)
RESEMBLED = 9
# Of Okabe and Ito's palette, which all eyes tell apart.
BLUE, ORANGE = "#0072B2", "#E69F00"
N_SHOWN = 7


def digits(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images of the known digits, and test images of all."""
    X, y = load_digits(return_X_y=True)
    train, test, labels, truth = train_test_split(
        X, y, test_size=0.4, random_state=seed, stratify=y
    )
    is_known = np.isin(labels, KNOWN)
    return train[is_known], labels[is_known], test, truth


def spread(order: np.ndarray) -> np.ndarray:
    """Return some positions of an order, from the first to the last."""
    return order[np.linspace(0, len(order) - 1, N_SHOWN).round().astype(int)]


def draw_novelty(axis, novelty: np.ndarray, is_known: np.ndarray) -> None:
    """Draw histograms of the scores of known and of unknown images."""
    edges = np.geomspace(novelty.min(), novelty.max(), 40)
    for which, colour, name in (
        (is_known, BLUE, "known digits"),
        (~is_known, ORANGE, "digits never seen"),
    ):
        axis.hist(novelty[which], edges, color=colour, alpha=0.7, label=name)
    axis.set_xscale("log")
    axis.set_xlabel("novelty_score")
    axis.set_ylabel("test images")
    axis.legend(fontsize=8)
    axis.set_title("None of these?", size=10)


def draw_images(axis, images: np.ndarray, captions: list[str], title: str) -> None:
    """Draw images side by side, with a caption below each."""
    wide = np.full((8, 9 * len(images) - 1), np.nan)
    for i, image in enumerate(images):
        wide[:, 9 * i : 9 * i + 8] = image.reshape(8, 8)
    axis.imshow(wide, cmap="gray_r")
    for i, caption in enumerate(captions):
        axis.text(9 * i + 3.5, 9.5, caption, ha="center", size=9)
    axis.set_title(title, size=10, loc="left")
    axis.set_axis_off()


def main() -> None:
    """Print the numbers and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()

    X, y, test, truth = digits()
    classifier = GenerativeClassifier(PCAEmbedder(15), reject=0.1, random_state=0)
    classifier.fit(X, y)
    answers, novelty = classifier.predict(test), classifier.novelty_score(test)
    is_known = np.isin(truth, KNOWN)
    known, other = answers[is_known], answers[~is_known]
    accepted = known != -1
    right = (known == truth[is_known])[accepted].mean()
    chances = classifier.predict_proba(test).max(axis=1)
    density = classifier.score_samples(test)
    print(f"known digits, accepted: {accepted.mean():.1%}, of these right: {right:.1%}")
    print(f"digits never seen, called unknown: {(other == -1).mean():.1%}")
    for name, score in (
        ("novelty_score", novelty),
        ("minus score_samples", -density),
        ("minus the largest of predict_proba", -chances),
    ):
        print(f"AUROC of {name}: {roc_auc_score(~is_known, score):.3f}")

    closest = classifier.classes_[classifier.predict_proba(test).argmax(axis=1)]
    typicality = classifier.typicality(test)
    figure = plt.figure(figsize=(10.0, 3.6), layout="constrained")
    left, right_side = figure.subfigures(1, 2, width_ratios=[1.0, 1.35])
    draw_novelty(left.subplots(), novelty, is_known)
    axes = right_side.subplots(2, 1)
    for axis, digit, which in (
        (axes[0], "nines", truth == RESEMBLED),
        (axes[1], "other digits that resemble a nine most", ~is_known),
    ):
        places = np.flatnonzero(which & (closest == RESEMBLED))
        places = spread(places[np.argsort(-typicality[places], kind="stable")])
        shown = [f"{value:.2f}" for value in typicality[places]]
        title = f"How much of a nine is it? Typicality of {digit}"
        draw_images(axis, test[places], shown, title)
        print(f"{digit}: median typicality {np.median(typicality[places]):.2f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=110)
    plt.close(figure)
    print(f"\npicture: {options.output}")


if __name__ == "__main__":
    main()

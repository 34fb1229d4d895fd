"""Outliers with an error rate and with reasons: malignant cells among benign ones.

    .venv/bin/python examples/outliers.py

Breast cancer data (569 rows of 30 features, shipped with scikit-learn); benign rows are
the normal ones. 157 of them are fitted, 100 calibrate the error rate, 100 are judged
together with all malignant rows, as on the page "Find abnormal rows" of the user guide.
Prints what is found and why, and writes one picture to examples/output/outliers.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from latentsk import ExplanationDisplay, LatentOutlierDetector, OutlierScoreDisplay

LEVEL = 0.1
OUTPUT = Path(__file__).parent / "output" / "outliers.png"


def load() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Return rows to fit, to calibrate on and to judge, and what the last ones are."""
    data = load_breast_cancer(as_frame=True)
    names = data.target_names[data.target]
    benign, malignant = data.data[names == "benign"], data.data[names == "malignant"]
    fitted, others = train_test_split(benign, train_size=157, random_state=0)
    calibration, normal = train_test_split(others, train_size=100, random_state=0)
    kinds = np.repeat(["benign", "malignant"], [len(normal), len(malignant)])
    return fitted, calibration, pd.concat([normal, malignant]), kinds


def draw(
    detector: LatentOutlierDetector,
    X: pd.DataFrame,
    y: np.ndarray,
    row: int,
    path: Path,
) -> None:
    """Draw the scores of all rows, and the reasons of one."""
    figure, axes = plt.subplots(1, 2, figsize=(13.0, 4.6), layout="constrained")
    OutlierScoreDisplay.from_estimator(detector, X, y=y, ax=axes[0])
    ExplanationDisplay.from_estimator(detector, X.iloc[[row]], ax=axes[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Print the error rate, the share found and the reasons, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    path = parser.parse_args().output
    fitted, calibration, X, y = load()
    detector = LatentOutlierDetector(assume_clean=True, random_state=0).fit(fitted)
    called = detector.calibrate(calibration).predict_fdr(X, level=LEVEL) == -1
    malignant = y == "malignant"
    print(f"{called.sum()} of {len(X)} rows are called outliers.")
    print(f"Of these, benign (allowed {LEVEL:.0%}): {np.mean(~malignant[called]):.1%}")
    print(f"Of the malignant ones, found: {np.mean(called[malignant]):.1%}")

    row = int(np.argmin(detector.score_samples(X)))
    reasons = detector.explain(X.iloc[[row]]).droplevel("row")
    print(f"\nThe most abnormal row, {X.index[row]}, is so by\n")
    columns = ["contribution", "value", "nearest_1"]
    print(reasons[columns].nsmallest(3, "contribution").round(2).to_string())
    draw(detector, X, y, row, path)
    print(f"\npicture: {path}")


if __name__ == "__main__":
    main()

"""One page that shows a latent space: written digits, the strange ones and the reasons.

    .venv/bin/python examples/explorer.py [--folder FOLDER] [--screenshot]

An autoencoder learns what written digits look like, a detector is calibrated on others,
and a page shows 900 further ones: open `examples/output/explorer.html` in a browser.
FOLDER holds MNIST's four files in IDX format, compressed: the page then shows 10,000
images (about two minutes). With --screenshot, Chromium, driven by playwright, makes the
pictures of the user guide.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split

from latentsk import AutoencoderEmbedder, Explorer, LatentOutlierDetector, explore

OUTPUT = Path(__file__).parent / "output" / "explorer.html"
PICTURES = Path(__file__).parents[1] / "docs" / "_static"
Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def read_idx(path: Path) -> np.ndarray:
    """Return the array of a compressed IDX file of bytes."""
    content = gzip.decompress(path.read_bytes())
    n_dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=n_dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions).reshape(shape)


def load(folder: Path | None) -> Data:
    """Return images to fit to, others to calibrate on, others to show, their digits."""
    if folder is None:
        X, y = load_digits(return_X_y=True)
        images = X.reshape(-1, 8, 8) / 16
        fit, shown, _, labels = train_test_split(
            images, y, test_size=900, random_state=0
        )
        return fit[:600], fit[600:], shown, labels
    train = read_idx(folder / "train-images-idx3-ubyte.gz") / 255
    shown = read_idx(folder / "t10k-images-idx3-ubyte.gz") / 255
    labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz")
    return train[:15_000], train[15_000:20_000], shown, labels


def make_page(folder: Path | None, output: Path) -> Explorer:
    """Fit, calibrate, and write the page."""
    fit, calibration, shown, labels = load(folder)
    embedder = AutoencoderEmbedder(
        16,
        hidden_layer_sizes=(256, 64),
        standardize=False,  # pixels have one unit
        max_epochs=60 if folder is None else 25,
        random_state=0,
    )
    detector = LatentOutlierDetector(
        embedder, method="embedder_score", assume_clean=True, random_state=0
    )
    detector.fit(fit).calibrate(calibration).set_threshold(fpr=0.02)
    below = detector.predict(shown) == -1
    found = detector.predict_fdr(shown, level=0.2) == -1
    print(f"{len(shown)} images, {below.sum()} below a false-positive rate of 2 %")
    print(f"{found.sum()} at a false discovery rate of 20 %")
    output.parent.mkdir(exist_ok=True)
    return explore(
        shown,
        detector=detector,
        labels=labels,
        metadata=pd.DataFrame({"ink": shown.mean(axis=(1, 2))}),
        ids=[f"image {i}" for i in range(len(shown))],
        projection=TSNE(random_state=0),
        title="Written digits, by an autoencoder",
        path=output,
    )


def photograph(page_path: Path, row: int, folder: Path) -> None:
    """Take pictures of the page, wide and narrow, with a row selected."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, size in (("explorer", (1300, 860)), ("explorer_narrow", (400, 1500))):
            viewport = {"width": size[0], "height": size[1]}
            page = browser.new_page(viewport=viewport)
            page.goto(page_path.resolve().as_uri())
            page.wait_for_selector("html[data-ready]")
            page.fill("#search-id", f"image {row}")
            page.keyboard.press("Enter")
            page.fill("#search-id", "")
            page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"{name}.png")
            page.close()
        browser.close()


def main() -> None:
    """Write the page and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where MNIST's files are")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--screenshot", action="store_true")
    parser.add_argument("--row", type=int, default=810, help="the row on the pictures")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        explorer = make_page(options.folder, options.output)
    print(explorer)
    if options.screenshot:
        photograph(options.output, options.row, PICTURES)


if __name__ == "__main__":
    main()

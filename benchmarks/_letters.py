"""Distorted images of letters: a labelled set to choose settings with."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

FONTS = ("DejaVuSans", "DejaVuSans-Oblique", "cmss10", "DejaVuSerif", "STIXGeneral")
SIDE = 28
CANVAS = 112
# Height or width of a letter in an image, whichever is more.
SIZE = 20
CENTRE = (SIDE - 1) / 2


def letters(
    alphabet: str, n_rows: int = 15_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return images of 28 x 28 pixels in [0, 1], as rows, and their labels."""
    rng = np.random.default_rng(seed)
    drawn = {
        (n, font): _drawn(c, font) for n, c in enumerate(alphabet) for font in FONTS
    }
    labels = rng.integers(len(alphabet), size=n_rows)
    rows = np.empty((n_rows, SIDE * SIDE), dtype=np.float32)
    for row, label in zip(rows, labels, strict=True):
        font = FONTS[rng.integers(len(FONTS))]
        row[:] = _distorted(drawn[label, font], rng).ravel()
    return rows, labels


def _drawn(letter: str, font: str) -> np.ndarray:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    image = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(image).text(
        (CANVAS // 2, CANVAS // 2),
        letter,
        font=ImageFont.truetype(folder / f"{font}.ttf", 60),
        fill=255,
        anchor="mm",
    )
    return np.asarray(image, dtype=float) / 255


def _distorted(drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn, shear, scale and bend a letter, and make its strokes thicker or thinner."""
    rows, columns = np.nonzero(drawn > 0.3)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    centre = np.array(ndimage.center_of_mass(drawn))
    grid = np.mgrid[:SIDE, :SIDE] - CENTRE
    scale = extent / SIZE * np.exp(rng.normal(0, 0.08, 2))
    angle, shear = rng.normal(0, 0.12), rng.normal(-0.05, 0.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = np.einsum("ij,jab->iab", turn @ [[1, 0], [shear, 1]], grid)
    bend = ndimage.gaussian_filter(rng.normal(size=places.shape), (0, 5, 5))
    places = places + bend * 1.7 / bend.std() * rng.uniform(0.3, 1)
    places = places * scale[:, None, None] + centre[:, None, None]
    strokes = ndimage.gaussian_filter(_with_strokes(drawn, rng.normal()), 1.2)
    image = ndimage.map_coordinates(strokes, places, order=1)
    mass = np.array(ndimage.center_of_mass(image + 1e-9))
    return np.clip(1.4 * ndimage.shift(image, CENTRE - mass, order=1), 0, 1)


def _with_strokes(drawn: np.ndarray, weight: float) -> np.ndarray:
    if abs(weight) < 0.6:
        return drawn
    if weight < 0:
        return ndimage.grey_erosion(drawn, size=(2, 2))
    return ndimage.grey_dilation(drawn, size=(3, 3) if weight < 1.8 else (5, 5))

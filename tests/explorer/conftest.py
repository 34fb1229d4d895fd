"""Pages of the explorer, and a browser to open them in: Debian's Chromium."""

import base64
import json
import math
import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
    explore,
)

# Nothing of Chromium's own may ask the network for anything either.
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
N_ROWS = 700
# Each would do something if it became markup, a script, an attribute or a formula.
HOSTILE = [
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=2</script>",
    "<!--<script>",
    '"><svg onload=window.hacked=3>',
    "line\u2028separator\u2029",
    "=HYPERLINK(0)",
    "+1+1",
    "@SUM(1)",
    'a,b;\'c\n"d"',
    "javascript:window.hacked=4",
    "${window.hacked=5}",
    "\u202eright to left",
    "",
]


@pytest.fixture(scope="session")
def hostile_texts():
    return HOSTILE


@dataclass(frozen=True)
class Shown:
    """A page, and what it was made of."""

    path: Path
    X: Any
    detector: Any
    labels: Any
    explorer: Any

    @property
    def scores(self):
        return self.detector.score_samples(self.X)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Digits as images, a calibrated detector, metadata, and two near-duplicates."""
    X, y = load_digits(return_X_y=True)
    rows, labels = X[:N_ROWS].copy(), y[:N_ROWS]
    rows[1], rows[2] = rows[0], rows[0] + (rows[0] > 8) * 0.01
    detector = LatentOutlierDetector(PCAEmbedder(12), random_state=0)
    detector.fit(rows).calibrate(X[N_ROWS:1100])
    metadata = pd.DataFrame(
        {
            "ink": rows.sum(axis=1),
            "batch": np.arange(N_ROWS) // 50,
            "when": pd.date_range("2026-01-01", periods=N_ROWS, freq="h"),
        }
    ).astype({"batch": str})
    path = tmp_path_factory.mktemp("explorer") / "digits.html"
    explorer = explore(
        rows,
        detector=detector,
        labels=labels,
        images=(8, 8),
        metadata=metadata,
        ids=[f"digit {i}" for i in range(N_ROWS)],
        title="Digits",
        path=path,
    )
    return Shown(path, rows, detector, labels, explorer)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A table whose names, ids, labels and metadata would all rather be something."""
    rng = np.random.default_rng(0)
    n_rows = 10 * len(HOSTILE)
    names = [name or "empty" for name in HOSTILE[:6]]
    X = pd.DataFrame(rng.normal(size=(n_rows, len(names))), columns=names)
    X[names[0]] = np.where(X[names[0]] > 0, HOSTILE[0], HOSTILE[1])
    labels = np.array(HOSTILE * 10, dtype=object)
    detector = LatentOutlierDetector(random_state=0).fit(X)
    path = tmp_path_factory.mktemp("hostile") / "hostile.html"
    explorer = explore(
        X,
        detector=detector,
        labels=labels,
        metadata=pd.DataFrame({name: labels for name in HOSTILE if name}),
        ids=[f"{text}{i}" for i, text in enumerate(HOSTILE * 10)],
        title=HOSTILE[1],
        path=path,
    )
    return Shown(path, X, detector, labels, explorer)


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    """Images of two latents, with a decoder."""
    X, y = load_digits(return_X_y=True)
    embedder = PCAEmbedder(2).fit(X[:300])
    path = tmp_path_factory.mktemp("plane") / "plane.html"
    explorer = explore(
        X[:300], embedder=embedder, labels=y[:300], images=(8, 8), path=path
    )
    return Shown(path, X[:300], embedder, y[:300], explorer)


@pytest.fixture(scope="session")
def windowed(tmp_path_factory):
    """Images whose score is that of a window, with a name for each."""
    X = load_digits().images[:150] / 16
    embedder = AutoencoderEmbedder(4, score_window=3, max_epochs=5, random_state=0)
    detector = LatentOutlierDetector(embedder.fit(X), method="embedder_score").fit(X)
    names = [f"digit number {i}" for i in range(len(X))]
    path = tmp_path_factory.mktemp("windowed") / "windowed.html"
    explorer = explore(
        X, detector=detector, metadata=pd.DataFrame({"name": names}), path=path
    )
    return Shown(path, X, detector, None, explorer)


@pytest.fixture(scope="session")
def vectors(tmp_path_factory):
    """Vectors of an index, and the images that they are of."""
    images = load_digits().images[:100]
    rows = PCAEmbedder(4).fit_transform(images.reshape(100, -1))
    path = tmp_path_factory.mktemp("vectors") / "vectors.html"
    explorer = explore(rows, index=LatentIndex().fit(rows), images=images, path=path)
    return Shown(path, rows, None, None, explorer)


@pytest.fixture(scope="session")
def browser():
    """Chromium, one for all tests of a process."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


def sections_of(html):
    """Return the sections of a page as {name: (header, arrays)}, read back by numpy."""
    found = {}
    pattern = r'<script type="text/plain" id="section-(\w+)">([^<]*)</script>'
    for name, text in re.findall(pattern, html):
        content = zlib.decompress(base64.b64decode(text))
        length = int.from_bytes(content[:4], "little")
        header = json.loads(content[4 : 4 + length])
        start = 4 + length + -(4 + length) % 8
        arrays = {}
        for key, (code, shape, offset) in header.pop("arrays").items():
            dtype = np.dtype(f"<{code}")
            n_bytes = math.prod(shape) * dtype.itemsize
            planes = np.frombuffer(content, np.uint8, n_bytes, start + offset)
            joined = np.ascontiguousarray(planes.reshape(dtype.itemsize, -1).T)
            arrays[key] = joined.view(dtype).reshape(shape)
        found[name] = header, arrays
    return found


@pytest.fixture(scope="session")
def read_sections():
    return sections_of


class Opened:
    """An open page, what it asked for and what went wrong on it."""

    def __init__(self, browser, path, *, fragment="", script=None, **options):
        options = {"viewport": {"width": 1300, "height": 900}, **options}
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.requests, self.errors = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._heard)
        if script is not None:
            self.page.add_init_script(script)
        self.url = path.as_uri() + fragment
        self.page.goto(self.url)
        self.page.wait_for_selector("html[data-ready]", timeout=30_000)

    def _heard(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def run(self, code, argument=None):
        """Run the body of a function with `app`, `data` and an argument `x`."""
        function = (
            "async (x) => { const app = window.explorer.app, data = app.data; "
            f"{code} }}"
        )
        return self.page.evaluate(function, argument)

    def frame(self):
        """Wait until what was changed is drawn."""
        self.run(
            "await app.drawn; await app.map.nextFrame(); await app.map.nextFrame();"
        )

    def reset(self):
        """Go back to what the page showed at first."""
        self.run(
            "app.selectGroup([], ''); app.select(null); app.map.view.all();"
            "app.map.setMode(false); app.openTab('lowest');"
            "document.getElementById('color-by').value = '0';"
            "document.getElementById('color-by').dispatchEvent(new Event('change'));"
            "if (app.threshold) app.threshold.setThreshold(data.threshold);"
            "document.activeElement.blur();"
        )
        self.frame()

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def pixel(self, selector, x, y):
        """Return red, green, blue and opacity of a canvas at a place in CSS pixels."""
        return self.page.evaluate(
            """([selector, x, y]) => {
                const canvas = document.querySelector(selector);
                const ratio = canvas.width / canvas.getBoundingClientRect().width;
                const at = [Math.round(x * ratio), Math.round(y * ratio)];
                return [...canvas.getContext("2d").getImageData(...at, 1, 1).data];
            }""",
            [selector, x, y],
        )

    def place(self, row):
        """Return where a row is on the window."""
        box = self.page.locator("#map").bounding_box()
        x, y = self.run("return app.map.screenOf(x);", row)
        return box["x"] + 1 + x, box["y"] + 1 + y  # beside the border


@pytest.fixture(scope="session")
def opened(browser, digits):
    """The page of digits, open for all tests that share it."""
    opened = Opened(browser, digits.path)
    yield opened
    opened.context.close()


@pytest.fixture
def shown(opened):
    """The page of digits as it was at first."""
    opened.reset()
    yield opened
    assert opened.errors == []


@pytest.fixture
def open_page(browser):
    """A function that opens another page, which is closed after the test."""
    found = []

    def function(path, **options):
        found.append(Opened(browser, path, **options))
        return found[-1]

    yield function
    for opened in found:
        assert opened.errors == []
        opened.context.close()

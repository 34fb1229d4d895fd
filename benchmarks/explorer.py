"""The explorer's page in Chromium: its size, how soon it is ready, how it moves.

60,000 images of MNIST on one page (random images of the same shape where its files are
missing), opened anew in each round; and a map of 100,000 points that is moved. Without
a graphics card, Chromium draws WebGL by its software renderer; the table names it.
Needs Chromium and playwright.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from _harness import arguments, images, publish, table, threads

from latentsk import LatentOutlierDetector, PCAEmbedder, explore

N_POINTS = 100_000
N_FRAMES = 60
FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-sync")
READY = "performance.getEntriesByName('explorer-ready')[0].startTime"
RENDERER = """() => {
    const gl = document.createElement("canvas").getContext("webgl2");
    const info = gl && gl.getExtension("WEBGL_debug_renderer_info");
    return info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "no WebGL";
}"""
# The time from one frame to the next, while each moves the map.
PAN = """async (n) => {
    const { map } = window.explorer.app;
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const times = [await frame()];
    for (let i = 0; i < n; i++) {
        map.view.pan(i % 20 < 10 ? 3 : -3, 1);
        map.schedule();
        times.push(await frame());
    }
    return times.slice(1).map((time, i) => time - times[i]);
}"""


def mnist_page(folder: Path, path: Path) -> dict[str, object]:
    """Write the page of all training images; return its size and how long that took."""
    X, data = images(folder, "train")
    embedder = PCAEmbedder(32, random_state=0)
    detector = LatentOutlierDetector(embedder, random_state=0).fit(X[:10_000])
    start = time.perf_counter()
    explore(X, detector=detector, images=(28, 28), path=path)
    seconds = time.perf_counter() - start
    return {"data": data, "bytes": path.stat().st_size, "seconds": seconds}


def points_page(path: Path) -> None:
    """Write a page of many points in ten clusters."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(10, size=N_POINTS)
    X = rng.normal(size=(N_POINTS, 2)) + 4 * rng.normal(size=(10, 2))[kinds]
    explore(X, embedder=PCAEmbedder(2), labels=kinds, path=path)


def opened(browser: object, path: Path) -> object:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    return page


def measured(page_path: Path, map_path: Path, rounds: int) -> dict[str, object]:
    """Return what each round took, in milliseconds."""
    from playwright.sync_api import sync_playwright

    ready, frames = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS
        )
        version = browser.version
        for _ in range(rounds):
            page = opened(browser, page_path)
            ready.append(page.evaluate(READY))
            page.close()
            page = opened(browser, map_path)
            frames.append(median(page.evaluate(PAN, N_FRAMES)))
            renderer = page.evaluate(RENDERER)
            drawn_by = page.evaluate("window.explorer.app.map.plot.name")
            page.close()
        browser.close()
    return {
        "ready_ms": ready,
        "frame_ms": frames,
        "renderer": renderer,
        "drawn_by": drawn_by,
        "chromium": version,
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(rounds=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, threads(options.threads):
        page_path, map_path = Path(name) / "mnist.html", Path(name) / "map.html"
        page = mnist_page(options.data, page_path)
        points_page(map_path)
        found = measured(page_path, map_path, options.rounds)
    rows = [
        ["60,000 images: size (MB)", f"{page['bytes'] / 1e6:.1f}", "15"],
        ["60,000 images: ready (s)", f"{median(found['ready_ms']) / 1e3:.2f}", "3"],
        ["100,000 points: frame (ms)", f"{median(found['frame_ms']):.0f}", "100"],
        ["60,000 images: written in (s)", f"{page['seconds']:.0f}", ""],
    ]
    printed = (
        f"{page['data']}; Chromium {found['chromium']}, {found['drawn_by']} by "
        f"{found['renderer']}; medians of {options.rounds}\n\n"
        + table(["page", "measured", "at most"], rows)
    )
    publish("explorer", printed, {"page": page, **found}, options.write)


if __name__ == "__main__":
    main()

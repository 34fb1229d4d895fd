"""Check built pages in a browser: what the search finds, and what is cut off.

    python docs/check_in_browser.py FOLDER

Asks the search what people ask, and wants the right page among the first three. Opens
every page 400 and 1,300 pixels wide, and wants nothing to reach beyond the window that
does not scroll by itself. Needs playwright and Chromium, and says so without them.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

WIDTHS = (400, 1300)
# What is asked, and pages that answer: the beginning of their names.
QUESTIONS = {
    "anomaly": ("user_guide/outliers",),
    "why is this row abnormal": ("user_guide/outliers",),
    "at most 5 % false alarms": ("user_guide/outliers", "user_guide/defects"),
    "categorical": ("user_guide/mixed_tables",),
    "insurance claims": ("user_guide/mixed_tables",),
    "does not fit together": ("user_guide/outliers_in_context",),
    "drift": ("user_guide/alerts_and_drift", "gallery/drift"),
    "which column has changed since last month": ("user_guide/alerts_and_drift",),
    "heat map": ("user_guide/defects_in_images",),
    "scratches on images": ("user_guide/defects_in_images",),
    "outliers in texts": ("user_guide/texts",),
    "cluster texts": ("user_guide/texts",),
    "alerts a day of a sensor": ("user_guide/sensors", "user_guide/alerts"),
    "time series": ("user_guide/sensors_and_windows",),
    "near-duplicates": ("user_guide/near_duplicates", "gallery/near_duplicates"),
    "fuzzy matching of titles": ("user_guide/near_duplicates",),
    "web service": ("user_guide/live_index", "user_guide/export"),
    "flask": ("user_guide/live_index",),
    "recommendation": ("user_guide/similarity",),
    "speed accuracy trade-off": ("user_guide/exact_or", "gallery/search_faster"),
    "open set": ("user_guide/none_of_these", "gallery/new_classes"),
    "clustering": ("user_guide/kinds_of_normal", "gallery/kinds_of_rows"),
    "synthetic data": ("user_guide/vae", "gallery/generate"),
    "how many components": ("gallery/choose_without_labels", "user_guide/pca"),
    "compress images": ("user_guide/codes_and_compression", "gallery/codes"),
    "remove noise": ("user_guide/denoising", "gallery/denoise"),
    "html report": ("user_guide/explore", "gallery/look_at_everything"),
    "savefig": ("user_guide/pictures",),
    "nightly job": ("user_guide/saving",),
    "dask": ("faq",),
}
FOUND = """query => {
    const asked = Search._parseQuery(query);
    const pages = Search._performSearch(...asked).reverse().map((result) => result[0]);
    return [...new Set(pages)];
}"""
BEYOND = """() => {
    const width = document.documentElement.clientWidth;
    const scrolls = (element) => {
        for (let above = element.parentElement; above; above = above.parentElement) {
            const { overflowX } = getComputedStyle(above);
            if (overflowX === "auto" || overflowX === "scroll") return true;
        }
        return false;
    };
    const isCut = (element) => {
        const { left, right, width: own } = element.getBoundingClientRect();
        return own && (right > width + 1 || left < -1) && !scrolls(element);
    };
    const shown = [...document.querySelectorAll("table, img, pre, iframe, h1, h2, p")];
    const faults = shown.filter(isCut).map(
        (element) => `${element.tagName} ${element.textContent.trim().slice(0, 40)}`);
    if (document.documentElement.scrollWidth > width + 1) faults.push("the page");
    return faults;
}"""


def search_faults(page: Any, folder: Path) -> list[str]:
    """Return the questions whose answer is not among the first three pages."""
    faults = []
    for query, answers in QUESTIONS.items():
        page.goto(f"{(folder / 'search.html').as_uri()}?q={quote_plus(query)}")
        page.wait_for_function("() => typeof Search !== 'undefined' && Search.output")
        found = page.evaluate(FOUND, query)[:3]
        if not any(name.startswith(answers) for name in found):
            faults.append(f"a search for {query!r} finds {found}, not {answers[0]}")
    return faults


def width_faults(page: Any, folder: Path) -> list[str]:
    """Return what reaches beyond the window, by page and width."""
    faults = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for path in sorted(folder.rglob("*.html")):
            page.goto(path.as_uri())
            name = path.relative_to(folder)
            faults += [f"{name} at {width}: {cut}" for cut in page.evaluate(BEYOND)]
    return faults


def main() -> int:
    """Check a folder, and return the exit status."""
    folder = Path(sys.argv[1]).resolve()
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("No playwright or no Chromium: the pages are not tried in a browser.")
        return 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        # Of two contexts: a search leaves its words behind, to be marked in pages.
        faults = search_faults(browser.new_page(), folder)
        faults += width_faults(browser.new_page(), folder)
        browser.close()
    print("\n".join([*faults, f"{len(QUESTIONS)} questions, {len(faults)} faults"]))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

"""What the gallery adds to sphinx-gallery: an order by job, and texts for pictures.

A block of a script states what its picture shows, for readers who cannot see it, in
comments that the page and the notebook leave out::

    # sphinx_gallery_alt = "Two histograms, of payments and of frauds, "
    # sphinx_gallery_alt = "with a threshold between them"
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx_gallery.scrapers import matplotlib_scraper

SCRIPTS = Path(__file__).parents[1] / "examples" / "gallery"
# As on the landing page: find what is abnormal, then what is alike, then look and draw,
# then what serving and large data need.
ORDER = (
    "fraud_in_a_table",
    "defects_in_images",
    "sensors_and_windows",
    "contextual_outliers",
    "drift_and_alerts",
    "new_classes",
    "choose_without_labels",
    "near_duplicates",
    "search_service",
    "search_faster",
    "pretrained_encoder",
    "look_at_everything",
    "generate_and_interpolate",
    "kinds_of_rows",
    "levels",
    "codes",
    "denoise",
    "larger_than_memory",
)
_PIECE = re.compile(r'^# sphinx_gallery_alt = "(.*)"$', re.MULTILINE)


class ByJob:
    """The key by which sphinx-gallery sorts scripts."""

    def __init__(self, source_folder: str) -> None:
        self.source_folder = source_folder

    def __call__(self, filename: str) -> int:
        """Return the place of a script."""
        return ORDER.index(Path(filename).stem)


def stated_text(code: str) -> str:
    """Return what a block of code says that its picture shows, or ""."""
    return "".join(_PIECE.findall(code))


def described_pictures(block: Any, variables: Any, settings: Any) -> str:
    """Return the pictures of a block as reStructuredText, with the stated text."""
    pictures = matplotlib_scraper(block, variables, settings, bbox_inches="tight")
    text = stated_text(block.content)
    if pictures and not text:
        name = Path(variables["src_file"]).name
        raise ExtensionError(
            f"{name}: the block at line {block.lineno} draws a picture, but has no "
            "line '# sphinx_gallery_alt = \"...\"' that says what it shows"
        )
    return re.sub(r":alt: .*", lambda _: f":alt: {text}", pictures)


def describe_thumbnails(app: Any, doctree: nodes.document) -> None:
    """Give each thumbnail the text of the first picture of its script."""
    for image in doctree.findall(nodes.image):
        found = re.search(r"sphx_glr_(\w+)_thumb", image["uri"])
        if found and not image.get("alt"):
            script = (SCRIPTS / f"{found[1]}.py").read_text(encoding="utf-8")
            block = next(filter(stated_text, script.split("# %%")))
            image["alt"] = stated_text(block)

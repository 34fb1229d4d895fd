"""Check built pages for what a reader stumbles over.

    python docs/check_pages.py FOLDER

Every picture has an alternative text, headings do not skip a level, links within the
pages lead somewhere, and the words that people look for are in the index of the search.
Exits with 1, and a line for each fault, where that is not so.
"""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

WORDS = (
    "anomaly",
    "categorical",
    "clustering",
    "dask",
    "deduplication",
    "drift",
    "fraud",
    "heat map",
    "report",
    "time series",
    "web service",
)


class Page(HTMLParser):
    """What a page has of links, places to link to, headings and pictures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.levels: list[int] = []
        self.undescribed: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is needed of a tag."""
        found = dict(attrs)
        self.places.update(filter(None, (found.get("id"), found.get("name"))))
        target = found.get("href") if tag == "a" else found.get("src")
        if target and tag in ("a", "img", "script"):
            self.links.append(target)
        if tag == "img" and not found.get("alt"):
            self.undescribed.append(str(found.get("src")))
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))


def has_place(page: Page, fragment: str) -> bool:
    """Tell whether a page has what the end of a link names."""
    return not fragment or unquote(fragment) in page.places


def faults_of(path: Path, pages: dict[Path, Page]) -> list[str]:
    """Return what is wrong with a page."""
    page = pages[path]
    faults = [f"{source} has no alternative text" for source in page.undescribed]
    for above, below in zip([0, *page.levels], page.levels, strict=False):
        # The page that searches has its heading written by a script.
        if below > above + 1 and path.name != "search.html":
            faults.append(f"a heading of level {below} follows one of level {above}")
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.exists():
            faults.append(f"{link} leads nowhere")
        elif target in pages and not has_place(pages[target], parts.fragment):
            faults.append(f"{link} leads to no place of that page")
    return faults


def words_missing(folder: Path) -> list[str]:
    """Return the words that no page is found by."""
    index = (folder / "searchindex.js").read_text(encoding="utf-8")
    entries = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))
    return [word for word in WORDS if word not in entries["indexentries"]]


def main() -> int:
    """Check a folder, and return the exit status."""
    folder = Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html"))}
    faults = [f"the search has no entry {word!r}" for word in words_missing(folder)]
    for path in pages:
        name = path.relative_to(folder)
        faults += [f"{name}: {fault}" for fault in faults_of(path, pages)]
    print("\n".join([*faults, f"{len(pages)} pages, {len(faults)} faults"]))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

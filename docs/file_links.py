"""Names of scripts in the pages, such as ``examples/fraud.py``, lead to the scripts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parents[1]
_FILE = re.compile(r"(?:examples|benchmarks)/[\w/]+\.(?:py|md)")


class LinkFiles(SphinxTransform):
    """Make a link of each literal that begins with the path of a file."""

    default_priority = 400

    def apply(self, **options: Any) -> None:
        """Replace literals; those within a link or a heading stay."""
        for literal in list(self.document.findall(nodes.literal)):
            found = _FILE.match(literal.astext())
            if found is None or isinstance(
                literal.parent, (nodes.reference, nodes.title)
            ):
                continue
            if not (ROOT / found[0]).exists():
                raise ValueError(f"{self.env.docname} names {found[0]}: no such file")
            literal.replace_self(self.link_to(found[0], literal))

    def link_to(self, path: str, literal: nodes.literal) -> nodes.Element:
        """Return a link to a file, or to the page that shows it."""
        if path == "benchmarks/README.md":
            return addnodes.pending_xref(
                "",
                literal.deepcopy(),
                refdomain="std",
                reftype="doc",
                reftarget="/benchmarks",
                refdoc=self.env.docname,
                refexplicit=True,
                refwarn=True,
            )
        return addnodes.download_reference(
            "", "", literal.deepcopy(), reftarget=f"/../{path}"
        )

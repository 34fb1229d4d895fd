"""The page: one HTML file that asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

ASSETS = files("latentsk.explorer") / "assets"
# In this order: each uses what comes before it.
SCRIPTS = (
    "elements.js",
    "numbers.js",
    "data.js",
    "colors.js",
    "decisions.js",
    "groups.js",
    "files.js",
    "view.js",
    "webgl.js",
    "canvas2d.js",
    "map.js",
    "pictures.js",
    "threshold.js",
    "point.js",
    "group.js",
    "lists.js",
    "app.js",
)


def asset(name: str) -> str:
    """Return a file of the page."""
    return (ASSETS / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def application() -> str:
    """Return the scripts as one function, so that none of its names is global."""
    parts = "\n".join(asset(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


def content_security_policy(scripts: list[str], style: str) -> str:
    """Return a policy that forbids every request, and every other script.

    The library compiles what it draws with by `Function`, which is "unsafe-eval"; data
    never reach that.

    Examples
    --------
    >>> content_security_policy(["f()"], "")[:43]
    "default-src 'none'; script-src 'sha256-GcEE"
    """
    hashes = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; "
        f"style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def page_of(sections: Mapping[str, str]) -> str:
    """Return the page with sections of data, which are base64.

    Parameters
    ----------
    sections : mapping of str to str
    """
    scripts, style = [asset("scatterplot.min.js"), application()], asset("style.css")
    data = "\n".join(
        f'<script type="text/plain" id="section-{name}">{content}</script>'
        for name, content in sections.items()
    )
    parts = {
        "policy": content_security_policy(scripts, style),
        "style": style,
        "sections": data,
        "library": scripts[0],
        "application": scripts[1],
    }
    page = asset("page.html")
    for name, part in parts.items():
        page = page.replace(f"%{name}%", part, 1)
    return page


class Explorer:
    """A page that shows a latent space, as :func:`explore` returns it.

    In a notebook, it shows itself.

    Parameters
    ----------
    html : str
        The page.

    path : Path or None
        Where it was written.

    Attributes
    ----------
    html : str

    path : Path or None
    """

    def __init__(self, html: str, path: Path | None) -> None:
        self.html = html
        self.path = path

    def __repr__(self) -> str:
        """Return where the page is, and how large."""
        where = "not written" if self.path is None else repr(str(self.path))
        return f"Explorer({where}, {len(self.html) / 1e6:.1f} MB)"

    def _repr_html_(self) -> str:
        """Return the page in a frame, which can reach nothing of the notebook."""
        return (
            '<iframe title="Explorer of a latent space" '
            'sandbox="allow-scripts allow-downloads" allow="clipboard-write" '
            'style="width: 100%; height: 760px; border: 1px solid #8888" '
            f'srcdoc="{html.escape(self.html, quote=True)}"></iframe>'
        )

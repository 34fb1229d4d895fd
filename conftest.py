"""What tests and the examples in docstrings have in common."""

import sys

import pytest

# Parts of the build of the pages, which need Sphinx, and what it writes.
collect_ignore_glob = ["docs/*.py", "docs/_build", "docs/api", "docs/gallery"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")

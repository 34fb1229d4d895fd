import os
import re

import latentsk

project = "latentsk"
author = "The latentsk developers"
copyright = "The latentsk developers"
version = release = latentsk.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
]
# Links to scikit-learn's pages need its inventory from the network, so they are made
# on request only.
if os.environ.get("LATENTSK_DOCS_LINKS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }

templates_path = ["_templates"]
exclude_patterns = ["_build"]

autosummary_generate = True
# The docstrings say it in words.
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"latentsk {release}"


def escape_fitted_names(app, what, name, obj, options, lines):
    """Keep names such as n_components_ in a shape from being read as links."""
    for i, line in enumerate(lines):
        if " of shape (" in line:
            lines[i] = re.sub(r"(?<=[\s(])(\w+)_(?=[,)])", r"\1\\_", line)


def drop_foreign_labels(app, what, name, obj, options, lines):
    """Leave the text of links to scikit-learn's pages, in what is inherited of it."""
    if not os.environ.get("LATENTSK_DOCS_LINKS"):
        lines[:] = [
            re.sub(r":ref:`([^<`]+) <accuracy_score>`", r"\1", x) for x in lines
        ]


def setup(app):
    # After numpydoc, whose priority is the default of 500.
    app.connect("autodoc-process-docstring", escape_fitted_names, priority=600)
    app.connect("autodoc-process-docstring", drop_foreign_labels, priority=600)

import os
import re
import sys
from pathlib import Path

import latentsk

sys.path.append(str(Path(__file__).parent))
from file_links import LinkFiles
from gallery_pages import describe_thumbnails

project = "latentsk"
author = "The latentsk developers"
copyright = "The latentsk developers"
version = release = latentsk.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
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

# Prompts and output stay behind when code is copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery_pages.ByJob",
    "image_scrapers": "gallery_pages.described_pictures",
    "backreferences_dir": "api/backreferences",
    "doc_module": ("latentsk",),
    # Pictures, and what is printed; not what the last line of a block returns.
    "capture_repr": (),
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
    "show_signature": False,
    "abort_on_example_error": True,
    "min_reported_time": 1_000,
    "write_computation_times": False,
}

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_js_files = ["search.js"]
html_title = f"latentsk {release}"


def escape_fitted_names(app, what, name, obj, options, lines):
    """Keep names such as n_components_ in a shape from being read as links."""
    for i, line in enumerate(lines):
        if " of shape (" in line:
            lines[i] = re.sub(r"(?<=[\s(])(\w+)_(?=[,)])", r"\1\\_", line)


def unlink_foreign_roles(app, what, name, obj, options, lines):
    """Make plain text of what inherited docstrings link to in scikit-learn's pages."""
    is_foreign = (getattr(obj, "__module__", None) or "").startswith("sklearn")
    if not is_foreign or os.environ.get("LATENTSK_DOCS_LINKS"):
        return
    for i, line in enumerate(lines):
        lines[i] = re.sub(r":(?:ref|term):`([^`<]+?)(?: <[^`]*>)?`", r"\1", line)


def setup(app):
    app.add_transform(LinkFiles)
    app.connect("doctree-read", describe_thumbnails)
    # After numpydoc, whose priority is the default of 500.
    app.connect("autodoc-process-docstring", escape_fitted_names, priority=600)
    app.connect("autodoc-process-docstring", unlink_foreign_roles, priority=600)

"""Configuration of the documentation: ``sphinx-build -W docs docs/_build``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import si_curation

project = "si_curation"
author = "The si_curation developers"
copyright = author
release = version = si_curation.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_parser",
    "sphinx_click",
    "pages_from_code",
]
exclude_patterns = ["_build", "README.md"]
templates_path: list[str] = []

html_theme = "furo"
html_title = f"si_curation {release}"
html_static_path = ["_static"]
html_css_files = ["wide_tables.css"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autosummary_generate = False
autodoc_typehints = "none"  # the docstrings have the types
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

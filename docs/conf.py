"""Configuration of the documentation: ``sphinx-build -W docs docs/_build/html``."""

import os
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
    "sphinx.ext.intersphinx",
    "myst_nb",
    "sphinx_click",
    "pages_from_code",
    "links_elsewhere",
    "tutorial_pages",
]
exclude_patterns = ["_build", "_ext", "README.md"]
templates_path: list[str] = []

html_theme = "furo"
html_title = f"si_curation {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# The tutorials are run when the pages are built. Quickly, without them: -D nb_execution_mode=off
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_execution_show_tb = True  # of a cell that fails, which is a warning
nb_output_stderr = "remove"
nb_merge_streams = True
os.environ.pop("MPLBACKEND", None)  # that of notebooks
os.environ["TQDM_DISABLE"] = "1"
# the notebooks, which run elsewhere, find this package as it was found here
found = [str(Path(si_curation.__file__).parents[1]), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, found))

intersphinx_timeout = 5  # the addresses are in _ext/links_elsewhere.py

autosummary_generate = False
autodoc_typehints = "none"  # the docstrings have the types
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

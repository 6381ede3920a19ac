"""Views of a GUI that is not installed have no doctests to run."""

from importlib.util import find_spec

if find_spec("spikeinterface_gui") is None:
    collect_ignore_glob = ["src/si_curation/gui/*_view.py"]

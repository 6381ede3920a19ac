"""Links from the API to the documentation of other projects, with the network or without.

With the network, intersphinx reads the inventory of each project. Without it, the inventory is made
from the list below, which has the types that docstrings name most. So no build depends on the
network.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from docutils import nodes

# project: (address of its documentation, {object: (domain:role, page; "$": name of the object)})
PROJECTS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "python": (
        "https://docs.python.org/3",
        {
            **dict.fromkeys(("int", "float", "bool"), ("py:class", "library/functions.html#$")),
            **dict.fromkeys(
                ("str", "dict", "list", "tuple", "set"), ("py:class", "library/stdtypes.html#$")
            ),
            "pathlib.Path": ("py:class", "library/pathlib.html#$"),
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable",
        {"numpy.ndarray": ("py:class", "reference/generated/numpy.ndarray.html#$")},
    ),
    "pandas": (
        "https://pandas.pydata.org/docs",
        {
            "pandas.DataFrame": ("py:class", "reference/api/pandas.DataFrame.html#$"),
            "pandas.Series": ("py:class", "reference/api/pandas.Series.html#$"),
        },
    ),
    "matplotlib": (
        "https://matplotlib.org/stable",
        {"matplotlib.axes.Axes": ("py:class", "api/_as_gen/matplotlib.axes.Axes.html#$")},
    ),
    "spikeinterface": (
        "https://spikeinterface.readthedocs.io/en/stable",
        dict.fromkeys(
            ("spikeinterface.core.SortingAnalyzer", "spikeinterface.core.BaseRecording"),
            ("py:class", "api.html#$"),
        ),
    ),
}
# as docstrings write them
SHORT_NAMES = {
    "Path": "pathlib.Path",
    "np.ndarray": "numpy.ndarray",
    "array": "numpy.ndarray",
    "pd.DataFrame": "pandas.DataFrame",
    "DataFrame": "pandas.DataFrame",
    "Axes": "matplotlib.axes.Axes",
    "SortingAnalyzer": "spikeinterface.core.SortingAnalyzer",
    "BaseRecording": "spikeinterface.core.BaseRecording",
}


def write_inventories(app: Any, config: Any) -> None:
    """Write the stored inventories, and tell intersphinx of both kinds."""
    folder = Path(app.outdir).parent / "inventories"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for project, (address, objects) in PROJECTS.items():
        path = folder / f"{project}.inv"
        path.write_bytes(inventory(project, objects))
        found[project] = (address, (None, str(path)))
    config.intersphinx_mapping = found


def inventory(project: str, objects: dict[str, tuple[str, str]]) -> bytes:
    """Return an inventory of objects, in version 2 of Sphinx's format."""
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    lines = [f"{name} {role} 1 {page} -\n" for name, (role, page) in objects.items()]
    return head.encode() + zlib.compress("".join(lines).encode())


def spell_out(app: Any, env: Any, node: nodes.Element, content: nodes.Node) -> None:
    """Write the full name of a type into a reference that leads nowhere, for intersphinx."""
    if node.get("refdomain") == "py" and node.get("reftarget") in SHORT_NAMES:
        node["reftarget"] = SHORT_NAMES[node["reftarget"]]


def setup(app: Any) -> dict[str, Any]:
    """Connect to Sphinx, both before intersphinx does its part."""
    app.connect("config-inited", write_inventories, priority=400)
    app.connect("missing-reference", spell_out, priority=400)
    return {"parallel_read_safe": True}

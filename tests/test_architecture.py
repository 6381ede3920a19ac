"""Imports go one way, and private names of SpikeInterface are touched in one file."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import si_curation

PACKAGE = Path(si_curation.__file__).parent
LAYERS = [
    {"errors", "checks", "variables", "files", "_spikeinterface"},
    {"kernels"},
    {"phy"},
    {"reading", "simulation"},
    {"extensions"},
    {"spikes"},
    {"quality"},
    {"curation"},
    {"evidence", "exporters", "doctor"},
    {"views", "report", "gui"},
    {"batch"},
    {"cli", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.append(node.module or "")
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path):
    own = part_of(path)
    assert own in LEVEL, f"{own} has no layer"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "si_curation" or len(parts) < 2 or parts[1] not in LEVEL:
            continue
        assert parts[1] == own or LEVEL[parts[1]] < LEVEL[own], f"{own} imports {parts[1]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_private_names_of_spikeinterface_are_in_one_file(path):
    if path.name == "_spikeinterface.py":
        return
    for name in imports_of(path):
        parts = name.split(".")
        assert parts[0] != "spikeinterface" or not any(p.startswith("_") for p in parts), name
    tree = ast.parse(path.read_text(encoding="utf-8"))
    private = {"_builtin_extensions", "_main_channel_indices", "_recording", "_sampling_frequency"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & private


def test_public_names():
    names = list(si_curation.__all__)
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))
    for name in si_curation.__all__:
        assert getattr(si_curation, name).__doc__, name


def test_names_imported_when_first_used_are_those_that_type_checkers_see():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = {
        alias.name: node.module.removeprefix("si_curation.")
        for node in block.body
        for alias in node.names
    }
    assert seen == si_curation._WHEN_FIRST_USED
    assert set(seen) < set(si_curation.__all__) <= set(dir(si_curation))
    # a submodule would take the place of a function of the same name when something imports it
    assert not set(seen) & {path.stem for path in PACKAGE.iterdir()}


def test_import_brings_no_more_than_the_extensions_need():
    heavy = {"matplotlib", "pynwb", "h5py", "dask", "distributed", "jinja2", "pydantic", "sklearn"}
    heavy |= {"PySide6", "spikeinterface_gui", "scipy.stats", "scipy.signal", "scipy.ndimage"}
    code = (
        "import json, sys, si_curation\n"
        "before = list(sys.modules)\n"
        "figures = callable(si_curation.plot_isi) and 'matplotlib' in sys.modules\n"
        "print(json.dumps([before, figures, hasattr(si_curation, 'no_such_name')]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    before, figures, no_such_name = json.loads(done.stdout)
    assert not heavy & set(before)
    assert figures
    assert not no_such_name


def test_files_are_short():
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= 450, f"{path.name} has {lines} lines: two files"

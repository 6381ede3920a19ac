"""The rules of the house (CONTRIBUTING.md) hold: rooms, imports, names, functions, tests."""

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import si_curation

PACKAGE = Path(si_curation.__file__).parent
ROOT = Path(__file__).parents[1]
TESTS = Path(__file__).parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DATA_FOLDERS = {"ks4_phy_curated"}
LOOSE = {
    "__init__",
    "errors",
    "checks",
    "documents",
    "variables",
    "files",
    "progress",
    "shown",
    "_spikeinterface",
}
FOREIGN_GATE = "_spikeinterface.py"
# for what libraries have no public name: scikit-learn for its trees, of which what is read is
# compared with what it says; numba for the list of what it keeps of a kernel
NOT_PUBLIC = {
    "learning/training.py": {"_predictors", "_baseline_prediction"},
    "kernels/parallel.py": {"_cache", "_cache_file", "_load_index"},
}

SOURCES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if not DATA_FOLDERS & set(path.parts)
}
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def section(title: str) -> str:
    """The text of CONTRIBUTING.md under one heading."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    assert found, f"CONTRIBUTING.md has no section {title!r}"
    return found[1]


def layers() -> list[list[str]]:
    """The rooms of each layer, lowest first: the numbered list of the section "Layers"."""
    lines = re.findall(r"^\d+\. (.*?)(?::|$)", section("Layers"), re.MULTILINE)
    return [re.findall(r"`(\w+)`", line) for line in lines]


def module_of(file: str) -> str:
    return "si_curation." + file.removesuffix(".py").replace("/", ".")


def room_of(module: str) -> str:
    """The folder below the root; the files of the lowest layer, at the root, are one room."""
    part = module.split(".")[1] if "." in module else "__init__"
    return "errors" if part in LOOSE - {"__init__"} else part


MODULES = {module_of(file).removesuffix(".__init__"): file for file in SOURCES}


def stub_imports() -> list[tuple[str, str]]:
    """Module and name of every public name, from ``__init__.pyi``."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    return [
        (f"si_curation.{node.module}", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def imports_of(file: str) -> Iterator[tuple[str, str | None]]:
    """Module and name of each import, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(SOURCES[file]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def own_imports_of(file: str) -> set[str]:
    """Modules of the package that a file imports, also by a string that names one."""
    found = set()
    for module, name in imports_of(file):
        full = f"{module}.{name}"
        found |= {full} if full in MODULES else {module} & MODULES.keys()
    for node in ast.walk(SOURCES[file]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value.partition(":")[0]} & (MODULES.keys() - {"si_curation"})
    if file == "__init__.py":
        found |= {module for module, _ in stub_imports()}
    return found


def functions_of(file: str) -> Iterator[FUNCTION]:
    return (node for node in ast.walk(SOURCES[file]) if isinstance(node, FUNCTION))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def defined_in(tree: ast.AST) -> set[str]:
    """Names that a tree defines: functions, classes, variables, and attributes of self."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


def nothing(wrong: list[str]) -> None:
    """Fail with every place that breaks a rule."""
    if wrong:
        pytest.fail(f"{len(wrong)} places:\n" + "\n".join(wrong), pytrace=False)


def where(file: str, node: ast.AST) -> str:
    return f"{file}:{node.lineno}"


def test_layers_are_the_rooms_that_exist():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    named = [room for layer in layers() for room in layer]
    assert sorted(named) == sorted(rooms | LOOSE)
    assert len(layers()) <= 12


def test_few_files_are_loose_at_the_root():
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE


def test_rooms_import_from_lower_layers_only():
    level = {room: number for number, rooms in enumerate(layers()) for room in rooms}
    wrong = []
    for file in SOURCES:
        own = room_of(module_of(file))
        for module in own_imports_of(file):
            other = room_of(module)
            as_users_do = (own, other) == ("cli", "__init__")
            if other != own and level[other] >= level[own] and not as_users_do:
                wrong.append(f"{file} imports {module}")
    nothing(wrong)


def test_no_import_cycles():
    graph = {module: own_imports_of(file) for module, file in MODULES.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_imports_are_absolute():
    nothing(
        [
            where(file, node)
            for file in SOURCES
            for node in ast.walk(SOURCES[file])
            if isinstance(node, ast.ImportFrom) and node.level
        ]
    )


def test_no_private_name_is_imported():
    gate = module_of(FOREIGN_GATE)
    wrong = []
    for file in SOURCES:
        for module, name in imports_of(file):
            full = module if name is None else f"{module}.{name}"
            if gate in (module, full):
                full = full.replace(gate, "", 1)
            foreign = full.startswith(("spikeinterface.", "spikeinterface_gui."))
            if file == FOREIGN_GATE and foreign:
                continue
            if any(is_private(part) for part in full.split(".")):
                wrong.append(f"{file}: {full}")
    nothing(wrong)


def test_private_attributes_are_used_where_they_are_defined():
    """Of another object: defined in the same file. Of self: defined in the package."""
    anywhere = set().union(*(defined_in(tree) for tree in SOURCES.values()))
    by_name = ("getattr", "hasattr", "setattr")
    named_tuple = {"_replace", "_asdict", "_fields"}
    wrong = []
    for file, tree in SOURCES.items():
        if file == FOREIGN_GATE:
            continue
        here = defined_in(tree) | NOT_PUBLIC.get(file, set())
        for node in ast.walk(tree):
            owner, name = None, None
            if isinstance(node, ast.Attribute):
                owner, name = node.value, node.attr
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in by_name:
                owner, name = node.args[0], getattr(node.args[1], "value", None)
            if not isinstance(name, str) or not is_private(name) or name in named_tuple:
                continue
            owner = ast.unparse(owner)
            own = owner in ("self", "cls", "super()")
            if name not in (anywhere if own else here):
                wrong.append(f"{where(file, node)} {owner}.{name}")
    nothing(wrong)


def test_numba_is_imported_by_kernels_only():
    nothing(
        [
            file
            for file in SOURCES
            for module, _ in imports_of(file)
            if module.split(".")[0] == "numba" and not file.startswith("kernels/")
        ]
    )


def test_spikes_are_arrays():
    """A lazy analyzer has zarr arrays in their place: `spike_vector_of` makes them one."""
    nothing(
        [
            where(file, node)
            for file, tree in SOURCES.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "to_spike_vector"
            if file != FOREIGN_GATE
        ]
    )


def test_paths_are_checked_in_one_place():
    """`checks.local_path` expands ``~``, and refuses URLs, which would become folders."""
    nothing(
        [
            where(file, node)
            for file, tree in SOURCES.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "expanduser"
            if file not in ("checks.py", "cli/check.py")
        ]
    )


def test_documents_are_read_in_one_place():
    """JSON, YAML and TOML from elsewhere are bounded: `documents.py`. Excepted is what was checked
    in another way, or written by the same function."""
    excepted = {"documents.py", "reading/trust.py", "reading/loading.py"}
    wrong = []
    for file, tree in SOURCES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or file in excepted:
                continue
            text = ast.unparse(node)
            own = "model_dump_json" in text
            if re.match(r"(json\.loads?|\w+\.safe_load|tomll?i?b?\.loads?)\(", text) and not own:
                wrong.append(where(file, node))
    nothing(wrong)


def test_data_of_extensions_are_read_by_their_own_methods():
    """Others do not read ``x.data["name"]``; what other libraries give has a ``data`` too."""
    others = {"counts", "source", "self.source"}  # sparse arrays, bokeh
    others |= {"info", "event"}  # pydantic, numba
    wrong = []
    for file, tree in SOURCES.items():
        if file == FOREIGN_GATE:
            continue
        reads_as_dict = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript):
                text = isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
                reads_as_dict |= {node.value} if text else set()
            elif isinstance(node, ast.Attribute) and node.attr in ("get", "items", "keys"):
                reads_as_dict.add(node.value)
            elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
                reads_as_dict |= set(node.comparators)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or node.attr != "data":
                continue
            owner = ast.unparse(node.value)
            plain = isinstance(node.value, ast.Name) and not file.startswith("exporters/nwb/")
            if owner not in {"self", *others} and (node in reads_as_dict or plain):
                wrong.append(f"{where(file, node)} {owner}.data")
    nothing(wrong)


def test_functions_are_short():
    long = []
    for file in SOURCES:
        for function in functions_of(file):
            body = function.body[1:] if ast.get_docstring(function) else function.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if lines > 60:
                long.append(f"{where(file, function)} {function.name} has {lines} lines")
    nothing(long)


def test_functions_have_few_parameters():
    """Excepted: public functions, ``__init__`` of public classes, commands with their options."""
    wrong = []
    for file, tree in SOURCES.items():
        public = {name for module, name in stub_imports() if module == module_of(file)}
        aliases = (node for node in tree.body if isinstance(node, ast.Assign))
        made = [one.value for one in aliases if ast.unparse(one.targets) in public]
        public |= {name.id for one in made for name in ast.walk(one) if isinstance(name, ast.Name)}
        excepted = set()
        for node in tree.body:
            if getattr(node, "name", None) in public:
                inner = [one for one in node.body if getattr(one, "name", "") == "__init__"]
                excepted |= {node, *inner}
        for function in functions_of(file):
            is_command = any("command(" in ast.unparse(one) for one in function.decorator_list)
            given = function.args
            names = [one.arg for one in [*given.posonlyargs, *given.args, *given.kwonlyargs]]
            names = [name for name in names if name not in ("self", "cls")]
            if len(names) > 8 and function not in excepted and not is_command:
                wrong.append(f"{where(file, function)} {function.name}: {len(names)} parameters")
    nothing(wrong)


def test_docstrings_say_what_is_returned_or_done():
    wrong = []
    for file, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTION | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node) or ""
                if text.split(" ")[0] in ("Give", "Gives", "Tell", "Tells"):
                    wrong.append(f"{file}:{getattr(node, 'lineno', 1)} {text.splitlines()[0]}")
    nothing(wrong)


def test_no_sentence_is_parsed():
    """Reasons and flags are codes; text is made from them and never read back."""
    methods = ("partition", "rpartition", "split", "rsplit")
    wrong = []
    for file, tree in SOURCES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            by = [one.value for one in node.args if isinstance(one, ast.Constant)]
            if node.func.attr in methods and {": ", "; ", ", ", " (", ". "} & set(by):
                wrong.append(f"{where(file, node)} {ast.unparse(node.func)}({by[0]!r})")
    nothing(wrong)


def test_public_names():
    names = list(si_curation.__all__)
    modules = stub_imports()
    assert names == sorted(set(names))
    assert sorted(name for _, name in modules) == names, "each once, with its module"
    assert set(names) <= set(dir(si_curation))
    for name in names:
        assert getattr(si_curation, name).__doc__, name
    # a submodule would take the place of a function of the same name when something imports it
    assert not set(names) & {path.stem for path in PACKAGE.iterdir()}


def test_import_brings_no_more_than_spikeinterfaces_core():
    heavy = {"matplotlib", "pynwb", "h5py", "dask", "distributed", "jinja2", "pydantic", "sklearn"}
    heavy |= {"PySide6", "spikeinterface_gui", "numba", "pandas", "scipy"}
    heavy |= {"spikeinterface.postprocessing", "spikeinterface.metrics"}
    code = (
        "import json, sys, si_curation, si_curation.cli.main\n"
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


def test_text_files_are_utf_8():
    """What the system takes for the encoding of text differs, on Windows above all."""
    wrong = []
    for file, tree in SOURCES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called, words = ast.unparse(node.func), ast.unparse(node)
            is_text = called == "open" or called.endswith((".read_text", ".write_text"))
            if is_text and not re.search("utf-8|encoding=|'[rwx+]*b'", words):
                wrong.append(f"{where(file, node)} {words}")
    nothing(wrong)


def test_every_kernel_has_its_test():
    kernels = {Path(file).stem for file in SOURCES if file.startswith("kernels/")} - {"__init__"}
    tested = {path.stem.removeprefix("test_") for path in (TESTS / "kernels").glob("test_*.py")}
    nothing(sorted(kernels - tested))


def test_tests_mirror_the_source():
    """``tests/room/test_x.py`` tests ``room/x.py``; ``test_x_hostile.py`` also tests ``x.py``."""
    stray = []
    for path in sorted(TESTS.rglob("test_*.py")):
        room = path.parent.relative_to(TESTS).as_posix()
        if room in (".", "workflows"):
            continue
        names = {Path(file).stem for file in SOURCES if Path(file).parent.as_posix() == room}
        names |= {one.name for one in (PACKAGE / room).glob("*/") if (one / "__init__.py").exists()}
        subject = path.stem.removeprefix("test_")
        if not any(subject == name or subject.startswith(f"{name}_") for name in names):
            stray.append(f"{room}/{path.name}")
    nothing(stray)


def test_the_map_is_true():
    """Every place that the map names exists; a name after ``:`` is defined there."""
    places = re.findall(r"`([\w/.]+\.(?:py|md|html|js))(?::([\w.]+))?`", section("The map"))
    assert len(places) >= 10
    for place, name in places:
        path = next((one for one in (PACKAGE / place, ROOT / place) if one.is_file()), None)
        assert path is not None, f"{place} is not there"
        if name:
            names = defined_in(ast.parse(path.read_text(encoding="utf-8")))
            assert set(name.split(".")) <= names, f"{place} does not define {name}"

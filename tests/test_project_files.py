"""Files that services read, and what stands in several files."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", ".github/workflows/*.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("dependabot", ".github/dependabot.yml"),
        ("readthedocs", ".readthedocs.yaml"),
        ("citation-file-format", "CITATION.cff"),
    ],
)
def test_files_of_services_are_valid(schema, files):
    paths = [str(path) for path in sorted(ROOT.glob(files))]
    assert paths
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout


def test_the_pythons_that_are_named_are_tested():
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))[
        "jobs"
    ]
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    support = (ROOT / "docs/support.md").read_text(encoding="utf-8")
    assert f"| Python | {PYTHONS[0]} to {PYTHONS[-1]};" in support


def test_extras_that_are_asked_for_are_there():
    extras = set(PROJECT["optional-dependencies"])
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / ".ci/run"]
    files += [*(ROOT / ".github").rglob("*.yml"), ROOT / ".readthedocs.yaml"]
    named = {}
    for path in files:
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"(?:si_curation|\"\.|'\.|\)|whl\))\[([a-z][\w,]*)\]", text)
        found += re.findall(r"extra_requirements: \[([\w, ]+)\]", text)
        named |= {one.strip(): path.name for names in found for one in names.split(",")}
    assert {"nwb", "learn", "gui", "batch", "docs", "test"} <= set(named)
    assert not {name: path for name, path in named.items() if name not in extras}


def test_one_version():
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    recipe = (ROOT / "conda/recipe/meta.yaml").read_text(encoding="utf-8")
    assert f'{{% set version = "{version}" %}}' in recipe
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_recipe_has_the_dependencies():
    recipe = (ROOT / "conda/recipe/meta.yaml").read_text(encoding="utf-8")

    def section(name):
        return re.search(rf"^  {name}:\n((?:    - .*\n)+)", recipe, re.MULTILINE)[1]

    def of_conda(requirement):
        return re.sub(r"\bmatplotlib\b", "matplotlib-base", requirement).replace(">=", " >=")

    run = re.findall(r"- (.*)", section("run"))
    assert run[1:] == [of_conda(one) for one in PROJECT["dependencies"]]
    optional = {
        of_conda(one) for extra in PROJECT["optional-dependencies"].values() for one in extra
    }
    assert set(re.findall(r"- (.*)", section("run_constrained"))) <= optional


def test_addresses_of_the_project_stand_in_one_place():
    owner = "OWNER" + "/si_curation"
    texts = [*ROOT.glob("*.*"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.yml")]
    found = {
        path.name
        for path in texts
        if path.is_file() and owner in path.read_text("utf-8", "replace")
    }
    assert found == {"pyproject.toml"}


def test_what_is_imported_is_declared():
    """The base has what modules import from outside, and no more; extras have the rest."""
    imported = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(str(node.module).partition(".")[0])
    imported -= set(sys.stdlib_module_names) | {"si_curation"}

    def names(requirements):
        return {re.match(r"[\w-]+", one)[0].lower().replace("-", "_") for one in requirements}

    base = names(PROJECT["dependencies"])
    extras = names(one for extra in PROJECT["optional-dependencies"].values() for one in extra)
    called = {"sklearn": "scikit_learn", "yaml": "pyyaml"}
    comes_with = {
        "probeinterface",
        "zarr",
        "packaging",
        "markupsafe",
        "typing_extensions",
    }  # with those of the base
    comes_with |= {"h5py", "hdmf", "panel", "param", "bokeh", "PySide6"}  # with those of extras
    imported = {called.get(name, name) for name in imported} - comes_with - {"tomllib"}
    assert imported <= base | extras
    assert base - imported <= {"pyyaml"}, "pyyaml is imported by its name, as text"

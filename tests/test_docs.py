"""The documentation builds without a warning, runs as printed, and leaves no public name out."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from helpers.needs import need
from si_curation.variables import REASONS, TABLES

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\s*^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
TUTORIALS = sorted((DOCS.parent / "tutorials").glob("[0-9]*_*.py"))
pytestmark = pytest.mark.long
PAGES = [DOCS / "quickstart.md", DOCS / "pipelines.md", *sorted((DOCS / "howto").glob("*.md"))]


def as_cases(pages):
    """The pages as parameters; all but the first are slow."""
    slow = pytest.mark.slow
    return [
        pytest.param(one, id=one.stem, marks=[slow] if i else []) for i, one in enumerate(pages)
    ]


if not DOCS.is_dir():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)


@pytest.fixture(scope="module")
def pages_from_code():
    spec = spec_from_file_location("pages_from_code", DOCS / "_ext" / "pages_from_code.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks_of(page):
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def words(text):
    return [line.split() for line in text.strip().splitlines()]


@pytest.mark.parametrize("page", as_cases(PAGES))
def test_python_runs_and_prints_what_it_says(page, tmp_path, monkeypatch, capsys):
    if page.stem == "nwb":
        need("pynwb")
    blocks = blocks_of(page)
    assert blocks or page.stem == "gui", "nothing runs on this page"
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "docs"}
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for code, expected in blocks:
            exec(compile(code, str(page), "exec"), namespace)
            printed = capsys.readouterr().out
            if expected:
                assert words(printed) == words(expected)
    plt.close("all")


def test_every_public_name_is_in_one_group(pages_from_code):
    listed = [
        name
        for group in pages_from_code.GROUPS.values()
        for name in pages_from_code.names_of(group)
    ]
    assert sorted(listed) == sorted(sic.__all__), "a name in no group, or in two"


def test_groups_name_nothing_that_is_gone(pages_from_code):
    for group in pages_from_code.GROUPS.values():
        gone = [name for name in group.names if not name.endswith("*") and not hasattr(sic, name)]
        assert not gone


def test_constants_are_told_what_they_are(pages_from_code):
    assert set(pages_from_code.CONSTANTS) == {name for name in sic.__all__ if name.isupper()}


def test_pages_of_numbers_hold_every_column(pages_from_code):
    pages = pages_from_code.number_pages()
    shown = [name for page in pages_from_code.TABLE_PAGES.values() for name in page.tables]
    assert sorted(shown) == sorted(TABLES)
    for key, page in pages_from_code.TABLE_PAGES.items():
        for name in page.tables:
            for column in TABLES[name]:
                assert f"`{column}`" in pages[key]
    assert all(f"`{code}`" in pages["reasons"] for code in REASONS)
    assert all(preset in pages["labels"] for preset in sic.LABEL_PRESETS)
    listed = (DOCS / "numbers.md").read_text(encoding="utf-8")
    assert all(f"\nnumbers/{key}\n" in listed for key in pages)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the pages, built once; the tutorials were run for them."""
    need("sphinx", "myst_nb", "furo", "sphinx_click", "nwbinspector", "distributed")
    folder = tmp_path_factory.mktemp("built")
    done = subprocess.run(
        [
            *[sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"],
            *["-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(sic.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_it_builds_without_a_warning(built):
    """Links to nowhere, faulty docstrings, lost pages and tutorials that fail are warnings."""
    views = (built / "html" / "api" / "views.html").read_text(encoding="utf-8")
    commands = (built / "html" / "commands.html").read_text(encoding="utf-8")
    assert "plot_effect_vs_quality" in views
    for name in ("check", "export-phy", "metrics", "merges"):
        assert f"si-curation {name}" in re.sub(r"<[^>]+>", "", commands) or name in commands


@pytest.mark.slow
def test_types_link_to_the_documentation_of_others(built):
    """Also without the network, with which the whole inventories of the others are read."""
    curation = (built / "html" / "api" / "curation.html").read_text(encoding="utf-8")
    assert "https://docs.python.org/3/library/functions.html#float" in curation
    assert (
        "https://spikeinterface.readthedocs.io/en/stable/api.html#spikeinterface.core." in curation
    )
    assert "https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.html" in curation


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_quote_what_is_printed(built, tutorial):
    """Bold text in a tutorial is quoted from what it prints."""
    notebook = built / "jupyter_execute" / "tutorials" / f"{tutorial.stem}.ipynb"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(one["source"]) for one in cells if one["cell_type"] == "markdown")
    outputs = [one for cell in cells for one in cell.get("outputs", ())]
    printed = "".join("".join(one["text"]) for one in outputs if one.get("name") == "stdout")
    printed = " ".join(printed.split())
    quoted = re.findall(r"\*\*(.+?)\*\*", text, re.S)
    words = [re.escape(" ".join(one.split())) for one in quoted]
    missing = [one for one in words if not re.search(rf"(?<![\w.]){one}(?!\w|\.\d)", printed)]
    assert not missing, f"bold is for what is printed; these are not:\n{missing}\nin\n{printed}"
    page = (built / "html" / "tutorials" / f"{tutorial.stem}.html").read_text(encoding="utf-8")
    if "savefig" in tutorial.read_text(encoding="utf-8"):
        assert re.search(r'<img [^>]*src="\.\./_images/', page), "the page shows no figure"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows_at_least"), [("migration", 30), ("phy_users", 35), ("questions", 45)]
)
def test_the_calls_in_tables_run(name, rows_at_least, tmp_path, monkeypatch):
    need("pynwb")
    from pynwb.testing.mock.file import mock_NWBFile

    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    ((setting, _),) = BLOCK.findall(text)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = [row[:2] for row in rows if "`" in row[1]]
    assert len(rows) >= rows_at_least
    monkeypatch.chdir(tmp_path)
    copy = shutil.copytree(sic.example_folder(), tmp_path / "copy")
    curation = sic.CurationSession(
        sic.read_kilosort_as_analyzer(sic.example_folder())
    ).to_spikeinterface_curation()
    nwbfile = mock_NWBFile()
    metadata = {"NWBFile": {"session_start_time": "2024-05-01T12:00:00+02:00"}}
    namespace = {"sic": sic, "np": np, "copy": copy, "curation": curation}
    namespace |= {"nwbfile": nwbfile, "metadata": metadata}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(setting, namespace)
        for old, new in rows:
            calls = re.findall(r"`([^`]+)`", new)
            assert calls, old
            for call in calls:
                eval(call, namespace)
            plt.close("all")
    if name == "migration":
        changed = pd.read_csv(copy / "cluster_depth.tsv", sep="\t")
        assert changed.to_numpy().tolist() == [[11, 120.0]]
        assert (tmp_path / "output" / "params.py").is_file()
        assert len(nwbfile.units) == len(namespace["analyzer"].unit_ids)


def test_the_old_calls_exist():
    """What the migration names of phylib and SpikeInterface is there in the versions it names."""
    import spikeinterface.curation as curation
    from phylib.io.model import TemplateModel

    text = (DOCS / "migration.md").read_text(encoding="utf-8")
    old = "\n".join(line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `"))
    for method in set(re.findall(r"model\.(get_\w+|save_\w+)\(", old)):
        assert hasattr(TemplateModel, method), method
    functions = r"`(compute_merge\w+|threshold_\w+|CurationSorting|apply_\w+)"
    for name in set(re.findall(functions, old)):
        assert hasattr(curation, name), name


def test_no_description_is_cut_in_the_middle():
    for name, one in sic.METRIC_DESCRIPTIONS.items():
        for text in (one.description, one.source):
            assert text.count("(") == text.count(")"), name

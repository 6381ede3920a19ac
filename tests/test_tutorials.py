"""The runner of the tutorials, and the figures that they make for the docs.

That they run, and say in their text what they print, is tested of the pages, in `test_docs.py`.
"""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "tutorials").is_dir():
    pytest.skip("the tutorials are not beside the tests", allow_module_level=True)

_spec = importlib.util.spec_from_file_location("run_tutorials", ROOT / "tutorials" / "run.py")
run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run)

CELL = re.compile(r"^# %%.*$", re.MULTILINE)
FIGURE = re.compile(r"savefig\(f?\"([^\"]+)\"")


def code_of(tutorial: Path) -> str:
    """The cells of code."""
    text = tutorial.read_text(encoding="utf-8")
    heads, cells = CELL.findall(text), CELL.split(text)[1:]
    return "".join(c for h, c in zip(heads, cells, strict=True) if "[markdown]" not in h)


def pictures_of(page: Path) -> list[Path]:
    """Pictures of the clone that a page shows."""
    links = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [(page.parent / link).resolve() for link in links if "://" not in link]


def test_figures_of_the_docs_are_those_of_the_tutorials():
    figures = ROOT / "docs" / "figures"
    shown = {page: pictures_of(page) for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]}
    missing = [path for paths in shown.values() for path in paths if not path.is_file()]
    assert not missing, "pictures that are not there"
    assert {path.parent for path in shown[ROOT / "README.md"]} == {figures}
    names = {n for one in run.TUTORIALS for n in FIGURE.findall(code_of(one))}
    patterns = [re.sub(r"\\\{.+?\\\}", ".+", re.escape(name)) for name in names]
    there = [path.name for path in figures.iterdir()]
    stray = [name for name in there if not any(re.fullmatch(one, name) for one in patterns)]
    assert not stray, "figures that no tutorial makes"


@pytest.mark.slow
def test_a_tutorial_that_fails_says_why(tmp_path):
    broken = tmp_path / "9_broken.py"
    broken.write_text("print('so far')\n1 / 0\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"(?s)9_broken\.py failed.*so far.*ZeroDivisionError"):
        run.run_script(broken, tmp_path)


@pytest.mark.slow
def test_what_the_tutorials_need_is_named(tmp_path, monkeypatch, capsys):
    lacking = tmp_path / "9_lacking.py"
    lacking.write_text("import a_package_that_nobody_has\n", encoding="utf-8")
    monkeypatch.setattr(run, "TUTORIALS", [lacking])
    monkeypatch.setattr(sys, "argv", ["run.py"])
    assert run.main() == 1
    assert 'pip install ".[tutorials]"' in capsys.readouterr().err

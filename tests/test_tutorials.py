"""The tutorials run, say in their text what they print, and make the figures that the docs show."""

import importlib.util
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
if not (ROOT / "tutorials").is_dir():
    pytest.skip("the tutorials are not beside the tests", allow_module_level=True)

_spec = importlib.util.spec_from_file_location("run_tutorials", ROOT / "tutorials" / "run.py")
run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run)

CELL = re.compile(r"^# %%.*$", re.MULTILINE)
FIGURE = re.compile(r"savefig\(f?\"([^\"]+)\"")


def cells_of(tutorial: Path, markdown: bool) -> str:
    """Cells of one kind; of markdown without comment signs."""
    text = tutorial.read_text(encoding="utf-8")
    heads, cells = CELL.findall(text), CELL.split(text)[1:]
    kind = [c for h, c in zip(heads, cells, strict=True) if ("[markdown]" in h) == markdown]
    return re.sub(r"^# ?", "", "\n".join(kind), flags=re.MULTILINE) if markdown else "".join(kind)


def pictures_of(page: Path) -> list[Path]:
    """Pictures of the clone that a page shows."""
    links = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [(page.parent / link).resolve() for link in links if "://" not in link]


@pytest.fixture(scope="module", params=run.TUTORIALS, ids=lambda path: path.stem)
def ran(request, tmp_path_factory):
    """A tutorial, what it printed, and the folder that it ran in."""
    folder = tmp_path_factory.mktemp("tutorial")
    return request.param, run.run_script(request.param, folder), folder


def test_the_text_quotes_what_is_printed(ran):
    tutorial, printed, _ = ran
    quoted = re.findall(r"\*\*(.+?)\*\*", cells_of(tutorial, markdown=True), re.S)
    printed = " ".join(printed.split())
    words = [re.escape(" ".join(one.split())) for one in quoted]
    missing = [one for one in words if not re.search(rf"(?<![\w.]){one}(?!\w|\.\d)", printed)]
    assert not missing, f"bold is for what is printed; these are not:\n{missing}\nin\n{printed}"


def test_figures_are_drawn(ran):
    tutorial, _, folder = ran
    names = FIGURE.findall(cells_of(tutorial, markdown=False))
    patterns = [re.sub(r"\{.+?\}", "*", name) for name in names]
    drawn = list(folder.glob("*.png"))
    assert {path for pattern in patterns for path in folder.glob(pattern)} == set(drawn)
    assert all(any(folder.glob(pattern)) for pattern in patterns)
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in drawn)


def test_figures_of_the_docs_are_those_of_the_tutorials():
    figures = ROOT / "docs" / "figures"
    shown = {page: pictures_of(page) for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]}
    missing = [path for paths in shown.values() for path in paths if not path.is_file()]
    assert not missing, "pictures that are not there"
    assert {path.parent for path in shown[ROOT / "README.md"]} == {figures}
    names = {n for one in run.TUTORIALS for n in FIGURE.findall(cells_of(one, markdown=False))}
    patterns = [re.sub(r"\\\{.+?\\\}", ".+", re.escape(name)) for name in names]
    there = [path.name for path in figures.iterdir()]
    stray = [name for name in there if not any(re.fullmatch(one, name) for one in patterns)]
    assert not stray, "figures that no tutorial makes"


def test_a_tutorial_that_fails_says_why(tmp_path):
    broken = tmp_path / "9_broken.py"
    broken.write_text("print('so far')\n1 / 0\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"(?s)9_broken\.py failed.*so far.*ZeroDivisionError"):
        run.run_script(broken, tmp_path)


def test_a_tutorial_as_a_page(tmp_path):
    tutorial = tmp_path / "1_small.py"
    tutorial.write_text(
        "# %% [markdown]\n# # A small one\n\n# %%\nimport si_curation as sic\n\n"
        "analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())\n"
        "print(6 * 7)\nsic.plot_lineage(analyzer)\n",
        encoding="utf-8",
    )
    run.render_page(tutorial, tmp_path, tmp_path)
    page = (tmp_path / "1_small.html").read_text(encoding="utf-8")
    assert "A small one" in page
    assert re.search(r"<pre>42\s*</pre>", page)
    assert "data:image/png;base64," in page

"""Run the tutorials, refresh the figures of the documentation, and render pages.

    python tutorials/run.py                          # all, as scripts
    python tutorials/run.py 3 4                      # those whose names begin with 3 or 4
    python tutorials/run.py --figures docs/figures   # copy their figures
    python tutorials/run.py --html OUT               # pages with outputs and figures

Each runs in a fresh process and an empty temporary directory, without a display. Pages need
``pip install "si_curation[docs]"``.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TUTORIALS = sorted(HERE.glob("[0-9]*_*.py"))
TIMEOUT_S = 600
# nbconvert's page without the scripts that it would fetch
OFFLINE = """{% extends "lab/index.html.j2" %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
"""


def run_script(tutorial: Path, folder: Path) -> str:
    """Run a tutorial in a folder and return its standard output.

    Raises
    ------
    RuntimeError
        It failed; with the end of its output.
    """
    done = subprocess.run(
        [sys.executable, str(tutorial)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{tutorial.name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a tutorial, with temporary files in its folder."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    names = ("TMPDIR", "TEMP", "TMP")
    paths = [str(HERE.parent / "src"), os.environ.get("PYTHONPATH")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),  # this clone, installed or not
        **dict.fromkeys(names, str(temporary)),
        "MPLBACKEND": "Agg",
        "PYTHONIOENCODING": "utf-8",
    }


def render_page(tutorial: Path, folder: Path, output: Path) -> None:
    """Run a tutorial as a notebook in a folder and write it as an HTML page."""
    import jupytext
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    notebook = jupytext.read(tutorial)
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3", resources=where)
    client.execute(env=environment(folder))
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_noise(output)]
    page, _ = HTMLExporter(raw_template=OFFLINE).from_notebook_node(
        notebook, resources={"metadata": {"name": tutorial.stem}}
    )
    (output / f"{tutorial.stem}.html").write_text(page, encoding="utf-8")


def is_noise(output: dict[str, Any]) -> bool:
    """Return whether an output is a progress bar or a warning."""
    is_widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return is_widget or output.get("name") == "stderr"


def main() -> int:
    """Run the chosen tutorials; return exit code 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", nargs="*", help="beginnings of names; all by default")
    parser.add_argument("--figures", type=Path, help="folder for the figures they draw")
    parser.add_argument("--html", type=Path, help="folder for pages")
    arguments = parser.parse_args()
    wanted = tuple(arguments.which)
    chosen = [one for one in TUTORIALS if not wanted or one.name.startswith(wanted)]
    if not chosen:
        parser.error(f"no tutorial begins with {wanted}: {[one.name for one in TUTORIALS]}")
    for folder in filter(None, (arguments.figures, arguments.html)):
        folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for tutorial in chosen:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            try:
                if arguments.html:
                    render_page(tutorial, folder, arguments.html)
                else:
                    print(run_script(tutorial, folder))
            except Exception as fault:
                failed += 1
                print(fault, file=sys.stderr)
            for figure in folder.glob("*.png") if arguments.figures else ():
                shutil.copy(figure, arguments.figures)
        print(f"{tutorial.name}: {time.perf_counter() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

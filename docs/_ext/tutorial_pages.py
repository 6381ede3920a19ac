"""The tutorials as notebooks, which myst-nb runs and shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupytext
import nbformat

TUTORIALS = Path(__file__).parents[2] / "tutorials"


def notebook_of(tutorial: Path) -> str:
    """Return a tutorial as a notebook without outputs; the same text at every build."""
    notebook = jupytext.read(tutorial)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    return nbformat.writes(notebook)


def write_notebooks(app: Any) -> None:
    """Write the notebooks that have changed."""
    folder = Path(app.srcdir) / "tutorials"
    folder.mkdir(exist_ok=True)
    for tutorial in sorted(TUTORIALS.glob("[0-9]*_*.py")):
        path, text = folder / f"{tutorial.stem}.ipynb", notebook_of(tutorial)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Connect the writing to Sphinx."""
    app.connect("builder-inited", write_notebooks)
    return {"parallel_read_safe": True}

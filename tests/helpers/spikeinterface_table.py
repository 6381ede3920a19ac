"""What works without traces, as docs/spikeinterface.md has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "spikeinterface.md"
ROW = re.compile(r"^\| ([a-z ]+) \| (.+?) \| ((?:`\w+`(?:, )?)+) \|$", re.MULTILINE)


def page() -> str:
    """The text of the page; skips where the documentation is not beside the tests."""
    if not PAGE.is_file():
        pytest.skip("the documentation is not beside the tests", allow_module_level=True)
    return PAGE.read_text(encoding="utf-8")


def written_for() -> str:
    """The version of SpikeInterface."""
    return re.search(r"function of SpikeInterface (\d[\d.]*\d)", page()).group(1)


def table() -> dict[str, dict[str, str]]:
    """{area: {name: "works", or the reason}}."""
    found: dict[str, dict[str, str]] = {}
    for area, outcome, names in ROW.findall(page()):
        for name in re.findall(r"\w+", names):
            assert name not in found.get(area, {}), f"{name} is there twice"
            found.setdefault(area, {})[name] = outcome
    return found


def works(area: str) -> set[str]:
    """The names of an area that work."""
    return {name for name, outcome in table()[area].items() if outcome.startswith("works")}

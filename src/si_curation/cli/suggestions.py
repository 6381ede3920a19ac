"""What the commands that suggest have in common: arguments, tables and files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from spikeinterface.core import SortingAnalyzer

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    PATH,
    calibrations_option,
    source_argument,
    source_options,
    table_options,
)
from si_curation.cli.output import echo
from si_curation.cli.tables import TableOutput, check_table_output, write_or_print
from si_curation.cli.wording import of_current_command
from si_curation.errors import OutputExistsError, ParameterError

if TYPE_CHECKING:
    from si_curation.evidence.calibration import Calibration
    from si_curation.evidence.suggestions import Suggestions


class Asked(NamedTuple):
    """The arguments that all commands of suggestions have, checked."""

    source: Path
    output: TableOutput
    curation_json: Path | None
    calibrations: dict[str, Calibration]
    reading: Reading

    def open(self) -> SortingAnalyzer:
        """Return the analyzer of the source."""
        return open_source(self.source, self.reading)

    def report(self, found: Suggestions, summary: str) -> None:
        """Print or write the table, say what is missing, and write the curation file."""
        write_or_print(found.table, self.output, list(found.shown))
        for missing in getattr(found, "missing", ()):
            echo(f"\nMissing evidence: {of_current_command(str(missing))}")
        echo(f"\n{summary}")

    def calibration(self, kind: str) -> Calibration | None:
        """Return the calibration of one kind of suggestion; None where none was given."""
        return self.calibrations.get(kind)

    def write(self, found: Any, **options: Any) -> None:
        """Write the curation file, where it is asked for."""
        if self.curation_json is not None:
            echo(f"Wrote {found.to_curation_json(self.curation_json, **options)}")


def suggestion_options(
    written: str, kind: str | None = None, *, has_periods: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the arguments of `Asked`, and gives it as ``asked``.

    Parameters
    ----------
    written : str
        What the curation file has.
    kind : str, optional
        What a calibration is of; None: calibrations of several kinds.
    has_periods : bool
    """
    options: list[Callable[..., Any]] = [
        source_options(periods=has_periods),
        calibrations_option,
        click.option(
            "--curation-json",
            type=PATH,
            help=f"Write {written} as SpikeInterface's curation file.",
        ),
        table_options,
        source_argument,
    ]

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**arguments: Any) -> None:
            values = {name: arguments.pop(name) for name in Asked._fields}
            check_table_output(values["output"])
            target = values["curation_json"]
            if target is not None and target.exists():
                raise OutputExistsError(f"{target} exists; give another --curation-json")
            values["calibrations"] = read_calibration_files(values["calibrations"], kind)
            function(asked=Asked(**values), **arguments)

        decorated: Callable[..., None] = command
        for option in options:  # the last that is added is listed first
            decorated = option(decorated)
        return decorated

    return add


def read_calibration_files(
    files: Sequence[Path], kind: str | None = None
) -> dict[str, Calibration]:
    """Return calibrations by kind of suggestion.

    Parameters
    ----------
    files : sequence of Path
    kind : str, optional
        The only one that is of use; None: all.

    Raises
    ------
    ParameterError, FolderNotFoundError
        A file is none or is not there, is of another kind, or two are of one kind.
    """
    if not files:
        return {}
    from si_curation.evidence.calibration import KINDS, Calibration

    expected = KINDS if kind is None else (kind,)
    found: dict[str, Calibration] = {}
    for path in files:
        one = Calibration.from_json(path)
        if one.kind not in expected:
            names = ", ".join(expected)
            raise ParameterError(f"{path} is one of {one.kind}, expected one of {names}")
        if one.kind in found:
            raise ParameterError(f"--calibration {path} is a second one of {one.kind}; give one")
        found[one.kind] = one
    return found

"""The command that checks folders: findings of one or many, as text or JSON."""

from __future__ import annotations

import glob
import json
import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from si_curation.cli.options import example, sampling_frequency_option
from si_curation.cli.printable import printable
from si_curation.cli.terminal import line_cleared
from si_curation.cli.wording import of_current_command
from si_curation.errors import Finding
from si_curation.progress import track

_SEVERITIES = ("info", "warning", "error")
_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}
_WIDTH = 100
_MANY = 5


@click.command(epilog=example("check si_curation_demo/phy"))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the evidence as numbers.")
@click.option(
    "--min-severity",
    type=click.Choice(_SEVERITIES),
    default="info",
    show_default=True,
    help="Leave out findings below this; the exit code stays the same.",
)
@sampling_frequency_option
@click.pass_context
def check(
    context: click.Context,
    paths: tuple[str, ...],
    as_json: bool,
    min_severity: str,
    sampling_frequency: float | None,
) -> None:
    """Find what is wrong with Kilosort/phy folders, and what to do about it.

    PATH is a folder, its params.py, or a pattern such as "data/*/kilosort4" or "data/**/ks4".
    Nothing is written, and nothing in a folder is run.

    Exit code: 0 nothing above info, 1 warnings, 2 errors (a folder that cannot be read, a path that
    is no folder).
    """
    from si_curation.doctor.check import check_phy_folder

    folders = expand_paths(paths)
    results = []
    for folder in track(folders, len(folders), "checking folders", hidden=True):
        found = check_phy_folder(folder, sampling_frequency=sampling_frequency)
        results.append((folder, found))
        if not as_json:
            with line_cleared():
                click.echo(describe(folder, _at_least(found, min_severity), found))
    worst = max((_level(f) for _, found in results for f in found), default=0)
    if as_json:
        click.echo(json.dumps(_as_data(results, min_severity), indent=2))
    elif len(results) > 1:
        click.echo(_summary(results))
    context.exit(worst)


def _level(finding: Finding) -> int:
    return _SEVERITIES.index(finding.severity)


def _at_least(found: Iterable[Finding], severity: str) -> list[Finding]:
    return [finding for finding in found if _level(finding) >= _SEVERITIES.index(severity)]


def expand_paths(paths: Sequence[str]) -> list[str]:
    """Return the folders that paths and patterns stand for, each once, in order.

    A pattern stands for folders, and for the folders of ``params.py`` files. One that nothing
    matches is kept as it is, so that it becomes a finding. Windows does not expand patterns itself.
    """
    folders: dict[str, None] = {}
    for path in paths:
        expanded = os.path.expanduser(path)
        matches = [path]
        if glob.has_magic(expanded) and not os.path.lexists(expanded):
            found = sorted(glob.glob(expanded, recursive=True))
            found = [p for p in found if os.path.isdir(p) or os.path.basename(p) == "params.py"]
            matches = found or [path]
        for match in matches:
            is_params = os.path.basename(match) == "params.py" and os.path.isfile(match)
            folders[(os.path.dirname(match) or os.curdir) if is_params else match] = None
    return list(folders)


def _counts(found: Iterable[Finding]) -> dict[str, int]:
    counted = Counter[str](finding.severity for finding in found)
    return {severity: counted[severity] for severity in reversed(_SEVERITIES)}


def _counts_text(found: Iterable[Finding]) -> str:
    plurals = {"error": "errors", "warning": "warnings", "info": "info"}
    texts = [
        f"{count} {severity if count == 1 else plurals[severity]}"
        for severity, count in _counts(found).items()
        if count
    ]
    return ", ".join(texts) or "nothing found"


def describe(folder: str, shown: Sequence[Finding], found: Sequence[Finding]) -> str:
    """Return the summary line of a folder and a table of its findings, 100 columns wide."""
    name = printable(folder).replace("\n", " ")
    lines = [click.style(f"{name}: {_counts_text(found)}", bold=True)]
    width = min(max((len(_where(finding, folder)) for finding in shown), default=0), 28)
    indent = 2 + 8 + width + 2
    for finding in shown:
        where = printable(_where(finding, folder)).replace("\n", " ")
        severity = click.style(f"{finding.severity:<8}", fg=_COLOURS[finding.severity])
        text = _wrapped(finding.what, indent)
        first = f"  {severity}{where:<{width}}  "
        if len(where) > width:  # a long name has a line of its own
            lines.append(first.rstrip())
            first = " " * indent
        lines.append(first + text[0])
        lines += [" " * indent + line for line in text[1:]]
        lines += [" " * indent + line for line in _wrapped("> " + finding.advice, indent)]
    return "\n".join(lines)


def _where(finding: Finding, folder: str) -> str:
    return "folder" if finding.where in (folder, str(Path(folder).resolve())) else finding.where


def _wrapped(text: str, indent: int) -> list[str]:
    text = printable(of_current_command(text)) if text != "> " else ""
    later = "  " if text.startswith("> ") else ""
    return textwrap.wrap(text, _WIDTH - indent, subsequent_indent=later, break_on_hyphens=False)


def _summary(results: Sequence[tuple[str, Sequence[Finding]]]) -> str:
    worst = Counter(max((_level(f) for f in found), default=0) for _, found in results)
    return (
        f"{len(results)} folders: {worst[2]} with errors, {worst[1]} with warnings, "
        f"{worst[0]} without"
    )


def _as_data(results: Sequence[tuple[str, Sequence[Finding]]], severity: str) -> dict[str, Any]:
    return {
        "folders": [
            {
                "folder": folder,
                "worst": found[0].severity if found else None,
                "counts": _counts(found),
                "findings": [
                    {
                        "severity": finding.severity,
                        "check": finding.check,
                        "where": finding.where,
                        "what": finding.what,
                        "advice": finding.advice,
                        "evidence": dict(finding.evidence),
                    }
                    for finding in _at_least(found, severity)
                ],
            }
            for folder, found in results
        ]
    }

"""Arguments and options that several commands share, each written once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from si_curation.cli.analyzers import Reading
from si_curation.cli.folders import FolderPath, LocalPath
from si_curation.cli.output import be_quiet, is_quiet
from si_curation.cli.tables import TableOutput
from si_curation.cli.terminal import stages_shown
from si_curation.progress import listening

#: Above the example at the end of each ``--help``; the folder is the one that ``demo`` makes.
EXAMPLE_HEADING = "Example (after `si-curation demo`):"
#: Of the group; its commands inherit them.
GROUP_SETTINGS = {"help_option_names": ["-h", "--help"]}


def example(*calls: str) -> str:
    r"""Return the end of a ``--help``: calls that run one after the other where ``demo`` was run.

    Examples
    --------
    >>> print(example("info si_curation_demo/phy").replace("\b", "(no line breaks)"))
    (no line breaks)
    Example (after `si-curation demo`):
      si-curation info si_curation_demo/phy
    """
    return "\n".join(["\b", EXAMPLE_HEADING, *(f"  si-curation {call}" for call in calls)])


PATH = LocalPath(path_type=Path)
#: A Kilosort/phy folder; a folder or a saved analyzer; those or a file of a curation.
FOLDER = FolderPath()
SOURCE = FolderPath(analyzers=True)
CURATION = FolderPath(analyzers=True, files=(".json", ".jsonl"))


class _Borders(click.ParamType):
    """Borders of sessions: whole numbers are samples; with an s or a decimal point, seconds."""

    name = "borders"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        texts = [text.strip() for text in value.split(",") if text.strip()]
        in_s = [text.endswith("s") or "." in text for text in texts]
        if not texts or (any(in_s) and not all(in_s)):
            self.fail(f"{value!r}: expected all in seconds (600s) or all in samples", param, ctx)
        try:
            return [
                float(text.removesuffix("s")) if seconds else int(text)
                for text, seconds in zip(texts, in_s, strict=True)
            ]
        except ValueError:
            self.fail(f"{value!r}: expected numbers: 600s,1200s or 18000000", param, ctx)


BORDERS = _Borders()

_Function = TypeVar("_Function", bound=Callable[..., Any])

folder_argument = click.argument("folder", type=FOLDER)
source_argument = click.argument("source", metavar="ANALYZER_OR_FOLDER", type=SOURCE)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
table_output_option = click.option(
    "--output", type=PATH, help="New .csv, .tsv or .json file; default: print the main columns."
)
sampling_frequency_option = click.option(
    "--sampling-frequency", type=float, help="In Hz; needed for a folder without params.py."
)
gain_option = click.option(
    "--gain-to-uv", type=float, help="For a folder: uV per unit of its raw data, if known."
)
calibrations_option = click.option(
    "--calibration",
    "calibrations",
    type=PATH,
    multiple=True,
    help="Calibration file (of run_batch, or Calibration.to_json): adds how probable it is that a "
    "suggestion is right, where that is known. One of each kind of suggestion can be given.",
)
label_model_option = click.option(
    "--label-model",
    type=PATH,
    help="File that `learn` wrote: units have its labels, and the order in which to look at them.",
)
trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Load all of a saved analyzer, also what can run code: pickles, and classes that are not "
    "known. Only if you trust whom it is from.",
)
periods_option = click.option(
    "--period",
    "periods",
    type=(float, float),
    multiple=True,
    metavar="START_S END_S",
    help="Part of the recording in which spikes were looked for, in s (END_S can be inf); can be "
    "given several times. Default: what the folder says.",
)
borders_option = click.option(
    "--borders",
    type=BORDERS,
    metavar="B1,B2,...",
    help="Where each session but the first begins, of sessions that were sorted as one: seconds "
    "such as 600s,1200s, or samples such as 18000000. Default: where they are known.",
)
top_option = click.option(
    "--top", type=click.IntRange(min=1), help="Print so many rows, the first ones."
)
_unwhiten_option = click.option(
    "--unwhiten",
    type=click.Choice(["auto", "phy", "none"]),
    default="auto",
    show_default=True,
    help="auto: the sorter's orientation; phy: as phy shows; none: as stored.",
)
_exclude_group_option = click.option(
    "--exclude-group",
    "exclude_groups",
    multiple=True,
    help="Of a folder: leave out a phy group, such as noise; can be given several times.",
)


def reading_options(function: _Function) -> _Function:
    """Add the options for `si_curation.cli.analyzers.read_folder`."""
    # the last that is added is listed first
    for option in (_exclude_group_option, gain_option, sampling_frequency_option, _unwhiten_option):
        function = option(function)
    return function


def table_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `TableOutput`, and give them as ``output``."""

    @functools.wraps(function)
    def command(*, output: Path | None, top: int | None, **arguments: Any) -> None:
        function(output=TableOutput(output, top), **arguments)

    return table_output_option(top_option(command))


def source_options(
    *, periods: bool = False, trust: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the options of `Reading`, and gives them as ``reading``.

    Parameters
    ----------
    periods : bool
        Whether the periods in which spikes were looked for make a difference.
    trust : bool
        Whether the command takes saved analyzers.
    """
    options = [_exclude_group_option, gain_option, sampling_frequency_option]
    options = [*([trust_option] if trust else []), *options, *([periods_option] if periods else [])]

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in Reading._fields if name in arguments}
            function(reading=Reading(**given), **arguments)

        decorated: Callable[..., None] = command
        for option in options:  # the last that is added is listed first
            decorated = option(decorated)
        return decorated

    return add


def _be_quiet(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        be_quiet()


def add_quiet_option(command: click.Command) -> click.Command:
    """Add ``-q`` to a command, whose stages are shown without it; it need not know of that."""
    option = click.Option(
        ["-q", "--quiet"],
        is_flag=True,
        expose_value=False,
        callback=_be_quiet,
        help="Say nothing on the way: no stages, and not that kernels are compiled.",
    )
    command.params.append(option)
    if command.callback is not None and not isinstance(command, click.Group):
        command.callback = _with_stages(command.callback, command.name or "")
    return command


def _with_stages(function: Callable[..., None], name: str) -> Callable[..., None]:
    @functools.wraps(function)
    def command(*args: Any, **arguments: Any) -> None:
        if is_quiet() or name == "gui":  # which is open as long as its user looks at it
            with listening(_Silent()):
                function(*args, **arguments)
            return
        with stages_shown(name):
            function(*args, **arguments)

    return command


class _Silent:
    """Shows nothing, nor tqdm's bars."""

    def begin(self, text: str, total: int | None) -> None:
        pass

    def advance(self, steps: int) -> None:
        pass

    def end(self) -> None:
        pass

"""What functions say of their arguments, in the words of the command line.

An error of the package names an argument as Python does: ``overwrite=True``, ``borders=`` where a
value is to be chosen, ``gain_to_uV is 0`` at the start of a problem, and ``gain_to_uV`` elsewhere.
That is all that is read here. A test compares the names in all texts of the package with the
options.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

#: Argument of a function: parameters of commands that give it, where their names differ.
OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "folder_path": ("folder", "source"),
    "score_threshold": ("threshold",),
    "num_workers": ("workers",),
    "num_threads": ("threads",),
    "client": ("scheduler",),
    "trust_analyzers": ("trust",),
    "include_inhibitory": ("inhibitory",),
    "electrical_series_path": ("series",),
    "write_waveforms": ("no_waveforms",),
    "max_spikes_per_unit": ("max_spikes",),
    "empty_units": ("drop_empty",),
    "format": ("kind",),
    "mode": ("web",),
}
#: Arguments that no command has; such a text says that they are of Python.
PYTHON_ONLY = (
    "columns",
    "delta_time_ms",
    "directions",
    "electrode_map",
    "impute",
    "kilosort_folder",
    "metrics",
    "operator",
    "pairs",
    "principal_components",
    "recording",
    "sorting_analyzer",
    "spikes",
    "timestamps",
    "trusted",
    "unit",
)
#: Values that are spelled in another way.
_SPELLED = {
    ("unwhiten", "False"): "--unwhiten none",
    ("good_labels", "'all'"): "--all-units",
    ("mode", '"web"'): "--web",
}
_LITERAL = (
    r"""True|False|None|'[^']*'|"[^"]*"|-?\d+(?:\.\d+)?|\{[^{}]*\}|\[[^\[\]]*\]|\.\.\."""
    r"|\w+(?:\.\w+)+"
)
#: Before and after the name of an argument: no path, no quoted text, no attribute.
_BEFORE, _AFTER = r"(?<![\w./\\'\"`-])", r"(?![\w/\\(=\[]|\.\w)"
KEYWORD = re.compile(rf"{_BEFORE}([A-Za-z_]\w*)=({_LITERAL})?(?=[\s,;:.)]|$)")


def in_options(text: str, command: click.Command, group: click.Group | None = None) -> str:
    """Return a text of a function with the options of a command in place of arguments.

    Parameters
    ----------
    text : str
    command : click.Command
        The one that is run.
    group : click.Group, optional
        Of the commands. Options of others are named by ``check``, which advises how to read a
        folder; else what the command has no option for is said to be of Python, or of the recipe.

    Examples
    --------
    >>> option = click.Option(["--gain-to-uv"], type=float)
    >>> overwrite = click.Option(["--overwrite"], is_flag=True)
    >>> command = click.Command("report", params=[option, overwrite])
    >>> in_options("gain_to_uV is 0; give overwrite=True, or pairs='all'", command)
    "--gain-to-uv is 0; give --overwrite, or pairs 'all' (in Python)"
    """
    others = {} if group is None else arguments_of(group.commands.values())
    options = {**(others if command.name == "check" else {}), **arguments_of([command])}

    def keyword(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name.lower() in options:
            return _spelled(options[name.lower()], name, value)
        if name not in PYTHON_ONLY and name.lower() not in others:
            return found[0]  # not of this package: a name of a folder, a line of code
        place = "in the recipe" if command.name == "batch" else "in Python"
        return f"{name}{'' if value is None else f' {value}'} ({place})"

    text = KEYWORD.sub(keyword, text)
    text = re.sub(r"(expected [^;]*?) or None\b", r"\1", text)  # None: the option is not given
    names = "|".join(sorted((re.escape(name) for name in options), key=len, reverse=True))
    if not names:
        return text
    whole = re.compile(rf"{_BEFORE}({names}){_AFTER}", re.IGNORECASE)

    def bare(found: re.Match[str]) -> str:
        subject = re.search(r"(^|[;:] )$", text[: found.start()])
        is_subject = subject and re.match(r" (is|has|are|goes) ", text[found.end() :])
        name = found[0]
        if not is_subject and "_" not in name:
            return name  # a word of the sentence
        return _label(options[name.lower()])

    return whole.sub(bare, text)


def of_current_command(text: str) -> str:
    """Return a text in the options of the command that is run; as it is where there is none."""
    context = click.get_current_context(silent=True)
    if context is None:
        return text
    group = context.find_root().command
    return in_options(text, context.command, group if isinstance(group, click.Group) else None)


def arguments_of(commands: Iterable[click.Command]) -> dict[str, click.Parameter]:
    """Return the parameters of commands by the arguments of functions that they give."""
    found: dict[str, click.Parameter] = {}
    for command in commands:
        own = {one.name: one for one in command.params if one.name is not None}
        for argument, names in OTHER_NAMES.items():
            found.update({argument.lower(): own[name] for name in names if name in own})
        found.update(own)
    return found


def _label(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        return (parameter.metavar or str(parameter.name)).strip("[].").upper()
    return max(parameter.opts, key=len)


def _spelled(parameter: click.Parameter, name: str, value: str | None) -> str:
    label = _label(parameter)
    if value is None or value == "...":
        return label
    if (name, value) in _SPELLED:
        return _SPELLED[name, value]
    if isinstance(parameter, click.Option) and parameter.is_flag:
        turned_on = (value == "True") != (parameter.name in ("no_waveforms",))
        return label if turned_on else f"no {label}"
    return f"{label} {value.strip(chr(39))}"

"""Errors of functions name options on the command line, and what has no option is of Python."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import si_curation
from si_curation.cli.main import cli
from si_curation.cli.wording import KEYWORD, OTHER_NAMES, PYTHON_ONLY, arguments_of, in_options

PACKAGE = Path(si_curation.__file__).parent
#: Texts that are no errors: code to copy, styles, tags, the formula of a reason.
NO_ERRORS = {"cli/demo.py", "report/page.py", "views/style.py", "views/widget.py", "variables.py"}


@pytest.mark.parametrize(
    ("command", "text", "expected"),
    [
        ("report", "x.html exists; give another path or overwrite=True", "path or --overwrite"),
        ("merges", "gain_to_uV is 0; leave it out", "--gain-to-uv is 0; leave"),
        ("merges", "score_threshold is 3.0, expected", "--threshold is 3.0"),
        (
            "info",
            "params.py: is missing (pass sampling_frequency= (in Hz))",
            "--sampling-frequency",
        ),
        ("split-sessions", "give borders=, the sample", "give --borders, the sample"),
        ("merges", "give borders=, the sample", "give borders (in Python), the"),
        ("merges", "or use pairs='all' or 'auto'", "or use pairs 'all' (in Python) or"),
        ("compute", "read with unwhiten=False, which", "read with --unwhiten none, which"),
        ("check", "or read with unwhiten=False", "or read with --unwhiten none"),
        ("export-phy", "export again with complete=True", "export again with --complete"),
        ("export-nwb", "give electrical_series_path= too", "give --electrical-series too"),
        ("export-nwb", "a source_nwb with the series", "a --source-nwb with the series"),
        ("export-nwb", "spike_times.npy has 3 rows", "spike_times.npy has 3 rows"),
        ("export-nwb", "or mode='sidecar'", "or --mode sidecar"),
        ("export-nwb", "write_waveforms=False leaves", "--no-waveforms leaves"),
        ("gui", 'or give mode="web" too', "or give --web too"),
        ("label", "metric_params=model.metric_params", "metric_params model.metric_params (in Py"),
        ("batch", "pass sampling_frequency= (in Hz)", "sampling_frequency (in the recipe) (in Hz)"),
        ("batch", "a: num_workers is -1, expected", "a: --workers is -1"),
        ("info", "folder_path is 's3://x', a URL", "FOLDER is 's3://x'"),
        # of the user: names of files, lines of code, values
        ("report", "data/overwrite=True/x does not exist", "data/overwrite=True/x does"),
        ("report", "sub=01/ks does not exist", "sub=01/ks does not exist"),
        ("info", "line 3 is code (`x=1`)", "line 3 is code (`x=1`)"),
        ("learn", "the column 'session_column' is not there", "the column 'session_column' is"),
        ("learn", "a column of notes is empty", "a column of notes is empty"),
        ("learn", "column is 3, expected text", "--column is 3"),
    ],
)
def test_words_of_the_command_line(command, text, expected):
    assert expected in in_options(text, cli.commands[command], cli)


def texts_of(tree: ast.AST) -> Iterator[str]:
    """Texts that a file writes: no docstrings; a value in an f-string is ``X``."""
    left_out: set[ast.AST] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            left_out.add(body[0].value)
        if isinstance(node, ast.JoinedStr):
            left_out.update(node.values)
            yield "".join(part.value if is_text(part) else "X" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in left_out:
            yield node.value


def is_text(part: ast.AST) -> bool:
    return isinstance(part, ast.Constant) and isinstance(part.value, str)


@pytest.mark.slow
def test_every_argument_that_a_text_names_has_an_option_or_is_of_python():
    known = arguments_of(cli.commands.values())
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if file in NO_ERRORS:
            continue
        for text in texts_of(ast.parse(path.read_text(encoding="utf-8"))):
            names = {one[1] for one in KEYWORD.finditer(text)} - {"X"}
            wrong += [
                f"{file}: {name}= in {text!r}"
                for name in names
                if name not in PYTHON_ONLY and name.lower() not in known
            ]
    assert not wrong, "name an option, or add it to PYTHON_ONLY"


def test_other_names_are_of_parameters_that_exist():
    names = {one.name for command in cli.commands.values() for one in command.params}
    assert {name for options in OTHER_NAMES.values() for name in options} <= names


def test_a_command_of_another_group_is_fine():
    command = click.Command("x", params=[])
    assert in_options("overwrite=True, x=1", command) == "overwrite=True, x=1"

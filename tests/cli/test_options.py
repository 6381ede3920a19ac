"""What commands share: the example at the end of each ``--help``."""

from __future__ import annotations

import shlex

import pytest

from si_curation.cli.main import cli
from si_curation.cli.options import EXAMPLE_HEADING


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_help_ends_with_an_example_that_the_command_understands(name):
    """Whether it runs is for `.ci/run`, in a folder where ``demo`` was run."""
    command = cli.commands[name]
    help_text = command.get_help(command.make_context(name, [], resilient_parsing=True))
    before, heading, after = help_text.partition(f"\n  {EXAMPLE_HEADING}\n")
    assert heading, "the example is written with options.example"
    calls = [shlex.split(line) for line in after.splitlines()]
    assert {call[0] for call in calls} == {"si-curation"}
    assert calls[-1][1] == name
    for _, called, *arguments in calls:
        cli.commands[called].make_context(called, arguments)

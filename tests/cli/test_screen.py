"""Tables on the screen are as wide as it, and lose nothing; elsewhere each row is one line."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import si_curation as sic
from si_curation.cli import main, screen
from si_curation.cli.screen import fit_table

words = st.lists(st.text("abc_-", min_size=1, max_size=12), max_size=12).map(" ".join)
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("contamination", "merges")]
columns = st.lists(st.text("ab_", min_size=1, max_size=25), min_size=1, max_size=9, unique=True)


@pytest.mark.slow
@given(columns, st.integers(30, 130), st.data())
def test_lines_fit_and_nothing_is_lost(names, width, data):
    num_rows = data.draw(st.integers(0, 3))
    kinds = [st.integers(-(10**6), 10**6), st.floats(allow_nan=True), words]
    table = pd.DataFrame(
        {
            name: data.draw(st.lists(kinds[i % 3], min_size=num_rows, max_size=num_rows))
            for i, name in enumerate(names)
        }
    )
    text = fit_table(table, width)
    assert max(map(len, text.splitlines())) <= width
    letters = re.sub(r"\s", "", "".join(names))
    for letter in set(letters):
        assert text.count(letter) >= letters.count(letter)
    for name in names:
        for value in table[name]:
            if isinstance(value, int):
                assert str(value) in text


def test_columns_without_room_come_below_with_the_ids():
    table = pd.DataFrame({"unit_id": [4, 12], **{f"long_name_{i}": [0.5, None] for i in range(12)}})
    blocks = fit_table(table, 60).split("\n\n")
    assert len(blocks) >= 2
    for block in blocks:
        last = [line.split() for line in block.splitlines()][-2:]
        assert [row[0] for row in last] == ["4", "12"]
        assert set(last[0][1:]) == {"0.5"}
        assert set(last[1][1:]) == {"-"}


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return call


@pytest.mark.parametrize("command", ["lineage", "metrics", *SLOW])
def test_tables_of_commands(run, monkeypatch, command):
    metric = ["--metric", "firing_rate", "--metric", "drift"] if command == "metrics" else []
    code, plain, _ = run(command, sic.example_folder(), *metric)
    assert code == 0
    code, two, err = run(command, sic.example_folder(), *metric, "--top", 2)
    header, *rows = plain.splitlines()
    assert [line.split() for line in two.splitlines()[:3]] == [
        line.split() for line in (header, *rows[:2])
    ]
    assert re.search(r"^2 of \d rows$", err, re.MULTILINE)
    monkeypatch.setattr(screen, "_is_screen", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    code, fitted, _ = run(command, sic.example_folder(), *metric)
    assert code == 0
    table = fitted.split("\nSuggested")[0]
    assert max(map(len, table.splitlines())) <= 60
    assert len(fitted.splitlines()) >= len(plain.splitlines())


def test_top_is_of_what_is_printed(run):
    folder = sic.example_folder()
    for arguments in (
        ("merges", folder, "--output", "a.csv", "--top", 2),
        ("lineage", folder, "--json", "--top", 2),
        ("metrics", folder, "--top", 0),
    ):
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "--top" in err

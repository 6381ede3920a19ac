"""All kernels are compiled by `warmup`, or it says why not."""

import json
import os
import subprocess
import sys

import pytest

import si_curation as sic
from si_curation.cli import main
from si_curation.compilation.warmup import Warmup
from si_curation.kernels import parallel

AFTERWARDS = """
import json, sys, tempfile, warnings
from contextlib import redirect_stdout
from pathlib import Path
import si_curation as sic
from si_curation.cli import main
from si_curation.kernels import parallel

def compiled():
    return {(one.__qualname__, str(types)) for one in parallel.KERNELS for types in one.signatures}

done = sic.warmup(progress_bar=False)
modules = {one.__module__ for one in parallel.KERNELS}
without = modules - {one.__module__ for one in parallel.KERNELS if one.signatures}
before, example = compiled(), sic.example_folder()
warnings.simplefilter("ignore")
with tempfile.TemporaryDirectory() as out, redirect_stdout(sys.stderr):
    sic.read_kilosort_as_analyzer(example).save_as(format="zarr", folder=f"{out}/a.zarr")
    for words in (
        ["check", example], ["report", example, f"{out}/page.html"], ["lineage", example],
        ["compare", example, f"{out}/a.zarr"],
        ["replay", example, example, f"{out}/replayed"], ["cleaning", example],
        ["cluster-info", example, "--output", f"{out}/info.tsv"], ["connections", example],
        ["attach", f"{out}/a.zarr", example, "--output", f"{out}/b.zarr"],
    ):
        try:
            main([*map(str, words)])
        except SystemExit as stop:
            assert stop.code in (0, 1), words
print(json.dumps([str(done), done.num_kernels, sorted(without), sorted(compiled() - before)]))
"""


@pytest.mark.slow
def test_nothing_is_compiled_afterwards():
    """In a process of its own, so that no other test has compiled what is missing."""
    command = [sys.executable, "-W", "ignore", "-c", AFTERWARDS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    text, num_kernels, without, new = json.loads(done.stdout.splitlines()[-1])
    assert set(without) <= {"si_curation.kernels.hash_table"}  # which are parts of others
    assert new == []
    assert text.startswith(f"{num_kernels} kernels are compiled")


def test_a_folder_that_cannot_be_written_is_an_error_before_anything(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("si_curation.compilation.warmup._Calls.all", lambda self: [])
    asked = str(tmp_path / "elsewhere")
    monkeypatch.setattr(parallel, "CACHE_FOLDER_ASKED_FOR", asked)
    with pytest.raises(sic.ParameterError, match=r"NUMBA_CACHE_DIR is .*elsewhere.*kept in") as one:
        sic.warmup()
    with pytest.raises(SystemExit, match="2"):
        main(["warmup", "-q"])  # which tells no stage where the machine is slow
    assert capsys.readouterr().err == f"Error: {one.value}\n"
    monkeypatch.setattr(parallel, "cache_folder", lambda kernel: None)
    with pytest.raises(sic.ParameterError, match="kept nowhere"):
        sic.warmup()
    monkeypatch.setattr(parallel, "CACHE_FOLDER_ASKED_FOR", "")
    with pytest.raises(sic.ParameterError, match=r"no folder .* set NUMBA_CACHE_DIR"):
        sic.warmup()
    with pytest.raises(sic.ParameterError, match="progress_bar"):
        sic.warmup(progress_bar="yes")


def test_the_command_says_where_the_kernels_are(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("si_curation.compilation.warmup._Calls.all", lambda self: [])
    monkeypatch.setattr(parallel, "CACHE_FOLDER_ASKED_FOR", "")
    monkeypatch.setattr(parallel, "cache_folder", lambda kernel: tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["warmup", "-q"])
    printed = capsys.readouterr().out
    assert f"kept in {tmp_path}" in printed
    assert f"{len(parallel.KERNELS)} kernels" in printed
    assert str(Warmup(tmp_path, 3, 2, 1.0)) == (
        f"3 kernels are compiled (2 variants of them now, in 1.0 s) and kept in {tmp_path}"
    )


COMPILE = """
import logging, sys
from si_curation.kernels import parallel
if len(sys.argv) > 1:
    logging.getLogger("si_curation.kernels").setLevel("ERROR")
from si_curation.kernels.hash_table import slot_of
import numpy as np
slot_of(np.full(4, -1, dtype=np.int64), 3)
slot_of(np.full(4, -1, dtype=np.int32), 3)
print(parallel.compilations.number)
"""


@pytest.mark.slow
def test_one_line_where_something_is_compiled_and_none_where_it_is_loaded(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run(*arguments):
        command = [sys.executable, "-W", "ignore", "-c", COMPILE, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=True)

    first, again = run(), run()
    assert (first.stdout, again.stdout) == ("2\n", "0\n")
    assert first.stderr.count("Compiling kernels, once for this environment") == 1
    assert len(first.stderr.splitlines()) == 1
    assert str(tmp_path / "cache") in first.stderr
    assert again.stderr == ""

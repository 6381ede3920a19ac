"""The file of `benchmarks/run.py`, the tables made from it, and what a comparison says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("the benchmarks are not beside the tests", allow_module_level=True)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("run", "_common"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run

    yield run
    for name in ("run", "_common"):
        sys.modules.pop(name, None)


def rows(*values, what="a", unit="s"):
    return [[{"table": "t", "what": what, "value": value, "unit": unit}] for value in values]


def results(run, **scripts):
    return {
        "form": run.FORM,
        "made": "2026-01-02T03:04:05+00:00",
        "quick": False,
        "machine": {"system": "Linux", "cpu": "x", "cores": 2, "memory_gb": 8, "python": "3.12"},
        "versions": {"numpy": "2.3"},
        "scripts": {
            name: {
                "arguments": ["--spikes", "5"],
                "load_before": 0.1,
                "seconds": 1.0,
                "failed": "",
                "numbers": run.spread(runs),
            }
            for name, runs in scripts.items()
        },
    }


def test_every_script_gives_numbers_and_has_a_quick_form(run):
    known = set(run.QUICK) | set(run.OF_TRUTH) | {"projections"}
    assert set(run.names()) == known
    assert set(run.SHORT) <= known
    for name in run.QUICK:
        text = (FOLDER / f"bench_{name}.py").read_text(encoding="utf-8")
        assert re.search(r"^from _common import record", text, re.MULTILINE), name
        words = [word for of in (run.QUICK, run.FULL, run.SHORT) for word in of.get(name, [])]
        given = {word for word in words if word.startswith("--")}
        assert given <= set(re.findall(r"--[a-z-]+", text)), name


def test_a_number_is_the_median_of_the_runs(run):
    (number,) = run.spread(rows(3.0, 1.0, 9.0))
    assert number == {
        "table": "t", "what": "a", "unit": "s", "median": 3.0, "low": 1.0, "high": 9.0, "runs": 3,
    }  # fmt: skip


def test_records_of_a_script(run, tmp_path, monkeypatch):
    from _common import RECORDS, record, record_all

    record("t", "without run.py nothing happens", 1.0)
    monkeypatch.setenv(RECORDS, str(tmp_path / "records"))
    record_all("t", {"µ": 1, "b": 2.5}, "MB")
    read = [json.loads(line) for line in (tmp_path / "records").read_text("utf-8").splitlines()]
    assert [(one["what"], one["value"], one["unit"]) for one in read] == [
        ("µ", 1.0, "MB"),
        ("b", 2.5, "MB"),
    ]
    with pytest.raises(ValueError, match="unit is 'hours'"):
        record("t", "a", 1.0, "hours")


def test_only_what_is_beyond_the_spread_has_changed(run):
    old = results(run, same=rows(1.0, 1.3), slow=rows(1.0, 1.1), fast=rows(2.0), worse=rows(1.0))
    new = results(run, same=rows(1.2, 1.5), slow=rows(1.6, 1.8), fast=rows(1.0), other=rows(1.0))
    verdicts = {row[1]: (row[0], row[-1]) for row in run.compare(old, new, 0.1)}
    assert verdicts == {"slow": ("slower", "1.62"), "fast": ("faster", "0.50")}
    speeds = [results(run, roofline=rows(v, unit="GB/s")) for v in (10.0, 5.0)]
    assert [row[0] for row in run.compare(*speeds, 0.1)] == ["worse"]
    shares = [results(run, roofline=rows(v, unit="share")) for v in (0.9, 0.5)]
    assert run.compare(*shares, 0.1) == []
    new["scripts"]["slow"]["arguments"] = ["--spikes", "6"]
    assert [row[1] for row in run.compare(old, new, 0.1)] == ["fast"]


def test_a_comparison_says_what_got_slower(run, tmp_path, capsys):
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, seconds in zip(paths, (1.0, 2.0), strict=True):
        path.write_text(json.dumps(results(run, nwb=rows(seconds))), encoding="utf-8")
    assert run.print_comparison(paths, 0.1) == 1
    assert "| slower | nwb | t | a | 1 s | 2 s | 2.00 |" in capsys.readouterr().out
    assert run.print_comparison(paths[::-1], 0.1) == 0
    paths[0].write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"old\.json is not a file of run\.py"):
        run.print_comparison(paths, 0.1)


def test_tables_of_the_readme_are_made_from_the_file(run):
    readme = (
        "# B\n\n`bench_nwb.py` is in this list\n\n## NWB (`bench_nwb.py`)\n\ntext\n\n## Z\n\nz\n"
    )
    made = run.with_tables(readme, results(run, nwb=rows(1.0, 2.0, 4.0), doctor=rows(0.5)))
    assert made.index("text") < made.index("| a | 2 s | 1 to 4 s | 3 |") < made.index("## Z")
    assert "## `bench_doctor.py`" in made
    again = run.with_tables(made, results(run, nwb=rows(7.0)))
    assert "| a | 7 s |  | 1 |" in again
    assert "2 s" not in again
    assert run.with_tables(again, results(run, nwb=rows(7.0))) == again


def test_rows_and_columns(run):
    """Others are shown as multiples of the last column that is ours, whatever the order of rows."""
    numbers = [
        *rows(2.0, what="1 M | ours, 1 thread")[0],
        *rows(1.0, what="1 M | ours, 2 threads")[0],
        *rows(64.0, what="1 M | others")[0],
        *rows(0.03, what="10 M | ours, 2 threads")[0],
        *rows(1234.5, what="10 M | memory", unit="MB")[0],
        *rows(0.25, what="10 M | part", unit="share")[0],
    ]
    made = run.tables_of(results(run, some=[numbers, numbers]), "some")
    assert made.splitlines()[-4:] == [
        "| t | ours, 1 thread | ours, 2 threads | others | memory | part |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| 1 M | 2 s (2 to 2 s) | 1 s (1 to 1 s) | 64 s (64 to 64 s), **64x** |  |  |",
        "| 10 M |  | 30 ms (30 to 30 ms) |  | 1,234 MB (1,234 to 1,234 MB) | 25 % (25 to 25 %) |",
    ]


def test_tables_of_times_in_the_readme_have_marks(run):
    text = run.README.read_text(encoding="utf-8")
    begun = re.findall(r"^<!-- made by run\.py: (\w+) -->$", text, re.MULTILINE)
    ended = re.findall(r"^<!-- end of (\w+) -->$", text, re.MULTILINE)
    assert begun == ended
    assert len(set(begun)) == len(begun)
    assert set(begun) <= set(run.names())
    assert len(begun) >= 18


@pytest.mark.slow
def test_one_command_runs_a_script(tmp_path):
    command = [sys.executable, str(FOLDER / "run.py"), str(tmp_path / "new.json"), "--quick"]
    subprocess.run([*command, "--only", "agreement"], check=True, capture_output=True, timeout=200)
    found = json.loads((tmp_path / "new.json").read_text(encoding="utf-8"))
    numbers = found["scripts"]["agreement"]["numbers"]
    assert {"compare_curations"} <= {one["what"] for one in numbers}
    assert all(one["median"] > 0 for one in numbers)
    assert found["machine"]["cores"] >= 1

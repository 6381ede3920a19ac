"""Run the benchmarks, keep their numbers in one file, make the tables of the README, and compare.

    python benchmarks/run.py new.json                    # all of them; a quiet machine, hours
    python benchmarks/run.py new.json --only nwb metrics --repeat 3
    python benchmarks/run.py new.json --short --repeat 1 # those of time, within half an hour
    python benchmarks/run.py new.json --quick            # whether they run: small data, once
    python benchmarks/run.py --write new.json            # the tables of benchmarks/README.md
    python benchmarks/run.py --compare old.json new.json # what got slower; ends with 1 if anything

Every script runs in a process of its own, ``--repeat`` times, one after the other. A number is the
median of what it was in each; the range is from the smallest to the largest. The file has the
machine, the load before each script, the versions and the arguments. It is written after each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from _common import RECORDS, UNITS

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
FORM = 1  # of the file; another number is refused
PACKAGES = ("si_curation", "spikeinterface", "numpy", "numba", "scipy", "pandas", "h5py", "pynwb")
PACKAGES += ("neuroconv", "phylib", "scikit-learn", "dask")
SHOWN = ("numpy", "numba", "spikeinterface", "neuroconv")  # of these, in the README
SORTERS_PYTHON = "SI_CURATION_SORTERS_PYTHON"  # an interpreter that has sorters, as in the tests
_SMALL = ["--spikes", "20000", "--templates", "20", "--channels", "32"]
_FEW = ["--spikes", "20000", "--units", "20"]
# what makes each small, and what it needs that is not on every machine
QUICK: dict[str, list[str]] = {
    "agreement": [*_FEW, "--bootstraps", "20"],
    "attach": _SMALL,
    "batch": ["--sessions", "2", *_FEW],
    "batch_scale": ["--sessions", "4", "--workers", "2", "--page", "10", "--page-units", "5"],
    "comparison": ["--speed", "--spikes", "20000"],
    "contamination": [*_FEW, "--repeats", "2"],
    "correlograms": [*_FEW, "--runs", "1"],
    "curation": ["--spikes", "20000", "--templates", "200", "--channels", "32"],
    "doctor": ["--folders", "2", "--spikes", "20000"],
    "effect_vs_quality": ["--runs", "2", "--units", "60"],
    "export": _SMALL,
    "features": [*_SMALL, "--file-spikes", "20000", "--runs", "1"],
    "first_hour": ["--spikes", "0", "--units", "0", "--runs", "1", "--no-cold"],
    "foundation": _SMALL,
    "isolation": [*_FEW, "--channels", "32", "--runs", "1", "--no-memory"],
    "labels": ["--speed"],
    "memory": ["--spikes", "20000", "--units", "60", "--channels", "32"],
    "merges": ["--seeds", "1", "--units", "10", "--duration", "60", "--templates", "20"],
    "metrics": [*_FEW, "--runs", "1", "--only", "speed"],
    "monosynaptic": ["--speed", *_FEW],
    "nwb": [*_FEW, "--channels", "32"],
    "pipeline": _SMALL,
    "plan": ["--speed", *_FEW],
    "report": [*_FEW, "--si-units", "0"],
    "roofline": ["--spikes", "20000", "40000", "--units", "20", "--array-mb", "8"],
    "sorters": ["--duration", "30", "--units", "4", "--sorters", "tridesclous2"],
    "splits": _FEW,
    "waveforms": ["--units", "8", "--spikes", "50", "--channels", "32", "--duration-s", "20"],
}
_CASES = ["--spikes", "1000000", "10000000", "--units", "100", "500"]
# what is timed of the others, whose other results are not of time
FULL = {
    "batch_scale": ["--workers", "2"],
    "correlograms": [*_CASES, "--other-runs", "1"],
    "isolation": ["--no-memory"],
    "labels": ["--speed"],
    "metrics": ["--only", "speed"],
    "monosynaptic": ["--speed"],
    "plan": ["--speed"],
    "splits": ["--spikes", "1000000"],
}
# other programs only where they take seconds, and in the order of what matters most
SHORT: dict[str, list[str]] = {
    "roofline": ["--runs", "1"],
    "nwb": [],
    "metrics": ["--only", "speed", "--leave-out", "SpikeInterface"],
    "isolation": ["--units", "500", "--ours-only"],
    "pipeline": ["--spikes", "1000000", "10000000"],
    "report": [],
    "correlograms": [*_CASES, "--other-runs", "1", "--skip", "numpy"],
    "batch_scale": ["--workers", "2"],
    "foundation": [],
    "attach": [],
    "features": ["--runs", "1"],
    "first_hour": ["--units", "0", "--runs", "1"],
}
# with the folders of --truth: what is not measured without them, nor quickly where above has none
OF_TRUTH = ("cleaning", "plan", "splits", "suggestions")


def names() -> list[str]:
    """Return the benchmarks that there are, without ``bench_`` and ``.py``."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def machine() -> dict[str, Any]:
    """Return what the numbers depend on besides the code."""
    cpu, memory = platform.processor() or platform.machine(), None
    if Path("/proc/cpuinfo").exists():
        models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
        kilobytes = re.findall(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text("utf-8"))
        cpu, memory = (models or [cpu])[0], round(int(kilobytes[0]) / 1e6, 1)
    return {
        "system": f"{platform.system()} {platform.release()}",
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": memory,
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if "si_curation" not in found:  # run from a clone
        text = (HERE.parent / "pyproject.toml").read_text(encoding="utf-8")
        found["si_curation"] = re.findall(r'(?m)^version = "(.*)"', text)[0]
    return found


def load() -> float | None:
    """Return how many programs wanted a processor in the last minute; None where unknown."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def run_once(name: str, arguments: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """Run one script; return the numbers that it gave, and why it failed ("" where it did not)."""
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records.jsonl"
        source = os.pathsep.join(filter(None, [str(HERE.parent / "src"), *_python_path()]))
        python = (
            os.environ.get(SORTERS_PYTHON, sys.executable) if name == "sorters" else sys.executable
        )
        done = subprocess.run(
            [python, str(HERE / f"bench_{name}.py"), *arguments],
            env={**_environment(), RECORDS: str(records), "PYTHONPATH": source},
            stderr=subprocess.PIPE,
            text=True,
        )
        text = records.read_text(encoding="utf-8") if records.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    if done.returncode == 0:
        return rows, ""
    return rows, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _environment() -> dict[str, str]:
    """Return the environment, in which modules that were compiled are kept, as users have it."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _python_path() -> list[str]:
    return [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]


def run_script(name: str, arguments: list[str], repeat: int) -> dict[str, Any]:
    """Run one script several times; return its arguments and the spread of each number."""
    before, start, runs, fault = load(), time.perf_counter(), [], ""
    for number in range(repeat):
        print(f"\n# {name} ({number + 1} of {repeat}) {' '.join(arguments)}", flush=True)
        rows, fault = run_once(name, arguments)
        runs.append(rows)
        if fault:
            print(f"# {name} failed: {fault}", flush=True)
            break
    return {
        "arguments": arguments,
        "load_before": before,
        "seconds": round(time.perf_counter() - start, 1),
        "failed": fault,
        "numbers": spread(runs),
    }


def spread(runs: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the median, the smallest and the largest of each number over the runs."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for row in (row for rows in runs for row in rows):
        values.setdefault((row["table"], row["what"], row["unit"]), []).append(row["value"])
    return [
        {
            **dict(zip(("table", "what", "unit"), key, strict=True)),
            "median": statistics.median(found),
            "low": min(found),
            "high": max(found),
            "runs": len(found),
        }
        for key, found in values.items()
    ]


def arguments_of(name: str, options: argparse.Namespace) -> list[str] | None:
    """Return the arguments of a script; None where it has to be left out."""
    kind = QUICK if options.quick else SHORT if options.short else FULL
    arguments = list(kind.get(name, []))
    if name in OF_TRUTH and not (options.quick and arguments):
        arguments = [*map(str, options.truth), *arguments]
    needs_more = (name in OF_TRUTH and not arguments) or name == "projections"
    return None if needs_more else arguments


def run_all(options: argparse.Namespace) -> dict[str, Any]:
    """Run the scripts; the file is written anew after each of them."""
    wanted = options.only or (list(SHORT) if options.short else names())
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        raise SystemExit(f"--only {' '.join(unknown)}: expected some of {' '.join(names())}")
    results: dict[str, Any] = {
        "form": FORM,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": machine(),
        "versions": versions(),
        "scripts": {},
    }
    left_out = []
    for name in wanted:
        arguments = arguments_of(name, options)
        if arguments is None:
            left_out.append(name)
            continue
        repeat = 1 if options.quick else options.repeat
        results["scripts"][name] = run_script(name, arguments, repeat)
        options.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if left_out:
        print(f"\n# left out, as they need folders with known truth: {', '.join(left_out)}")
    return results


def read_results(path: Path) -> dict[str, Any]:
    """Read a file of this script, or end with what is wrong with it."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise SystemExit(f"{path} cannot be read: {fault}") from None
    if not isinstance(results, dict) or results.get("form") != FORM:
        raise SystemExit(f"{path} is not a file of run.py, or of another version of it")
    return results


# the tables of the README


def shown(number: dict[str, Any], *which: str) -> str:
    """Return the median with its unit, or others of the numbers, in the unit of the median."""
    unit, factor = number["unit"], 1.0
    if unit == "s" and number["median"] < 0.1:
        unit, factor = "ms", 1000.0
    if unit == "share":
        unit, factor = "%", 100.0
    values = [number[one] * factor for one in which or ("median",)]
    texts = [f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" for value in values]
    return f"{' to '.join(texts)} {'' if unit == 'slope' else unit}".rstrip()


def range_of(number: dict[str, Any]) -> str:
    """Return the smallest and the largest of several runs; "" of one."""
    return shown(number, "low", "high") if number["runs"] > 1 else ""


def table_of_rows(title: str, numbers: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table with one number in each row."""
    lines = [f"| {title} | median | range | runs |", "| --- | ---: | ---: | ---: |"]
    for one in numbers:
        lines.append(f"| {one['what']} | {shown(one)} | {range_of(one)} | {one['runs']} |")
    return lines


def table_of_columns(title: str, numbers: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table of numbers whose names are "row | column"."""
    cells = {}
    for one in numbers:
        row, _, column = one["what"].partition(" | ")
        cells[row, column] = one
    rows, columns = dict.fromkeys(row for row, _ in cells), dict.fromkeys(c for _, c in cells)
    ours = [column for column in columns if column.startswith("ours")]
    lines = [f"| {title} | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for row in rows:
        of_ours = cells.get((row, ours[-1])) if ours else None
        texts = [cell_of(cells.get((row, c)), None if c in ours else of_ours) for c in columns]
        lines.append(f"| {row} | {' | '.join(texts)} |")
    return lines


def cell_of(number: dict[str, Any] | None, ours: dict[str, Any] | None) -> str:
    """Return a median, its range where there were several runs, and how many times ours it is."""
    if number is None:
        return ""
    text = shown(number)
    if number["runs"] > 1:
        text = f"{text} ({shown(number, 'low', 'high')})"
    if ours is not None and ours["unit"] == number["unit"] and ours["median"] > 0:
        text += f", **{number['median'] / ours['median']:.2g}x**"
    return text


def tables_of(results: dict[str, Any], name: str) -> str:
    """Return the numbers of one script as tables in Markdown, with where they are from."""
    script, of = results["scripts"][name], results["machine"]
    versions_of = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if k in SHOWN)
    lines = [
        f"`bench_{name}.py {' '.join(script['arguments'])}`".replace(" `", "`"),
        f"on {of['cores']} cores ({of['cpu']}), Python {of['python']}, "
        f"{versions_of}; load before {script['load_before']}; {results['made'][:10]}.",
    ]
    for table in dict.fromkeys(one["table"] for one in script["numbers"]):
        numbers = [one for one in script["numbers"] if one["table"] == table]
        has_columns = all(" | " in one["what"] for one in numbers)
        lines += ["", *(table_of_columns if has_columns else table_of_rows)(table, numbers)]
    return "\n".join(lines)


def with_tables(readme: str, results: dict[str, Any]) -> str:
    """Return the README with the tables of all scripts that ran, between marks.

    What is between the marks goes: numbers that were written by hand too. Where a script has no
    marks yet, they are put at the end of the section whose heading or first
    lines name it, else at the end of the README.
    """
    for name, script in results["scripts"].items():
        if script["failed"] or not script["numbers"]:
            continue
        begin, end = f"<!-- made by run.py: {name} -->", f"<!-- end of {name} -->"
        block = f"{begin}\n\n{tables_of(results, name)}\n\n{end}"
        marked = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if marked.search(readme):
            readme = marked.sub(lambda _, block=block: block, readme)
            continue
        sections = re.split(r"(?m)^(?=## )", readme)
        for number, section in enumerate(sections):
            if number and f"bench_{name}.py" in section[:400]:
                sections[number] = f"{section.rstrip()}\n\n{block}\n\n"
                break
        else:
            sections.append(f"\n## `bench_{name}.py`\n\n{block}\n\n")
        readme = "".join(sections)
    return readme.rstrip() + "\n"


# two files


def compare(old: dict[str, Any], new: dict[str, Any], share: float) -> list[tuple[str, ...]]:
    """Return what changed by more than a share, and by more than the spread of either file.

    Returns
    -------
    list of tuple
        Verdict ("slower", "larger", "faster", "smaller", "worse", "better"), script, table, what,
        old, new, ratio; what is worse first, by how much.
    """
    rows = []
    for name in sorted(set(old["scripts"]) & set(new["scripts"])):
        one, other = old["scripts"][name], new["scripts"][name]
        if one["arguments"] != other["arguments"]:
            continue
        before = {(n["table"], n["what"], n["unit"]): n for n in one["numbers"]}
        for now in other["numbers"]:
            was = before.get((now["table"], now["what"], now["unit"]))
            sign = UNITS[now["unit"]]
            if was is None or sign == 0 or was["median"] <= 0 or now["median"] <= 0:
                continue
            ratio = now["median"] / was["median"]
            apart = now["low"] > was["high"] or now["high"] < was["low"]
            if not apart or 1 / (1 + share) <= ratio <= 1 + share:
                continue
            is_worse = (ratio > 1) == (sign < 0)
            words = {"s": ("slower", "faster"), "ms": ("slower", "faster")}
            words["MB"] = ("larger", "smaller")
            verdict = words.get(now["unit"], ("worse", "better"))[0 if is_worse else 1]
            where = (name, now["table"], now["what"])
            factor = ratio if sign < 0 else 1 / ratio
            rows.append((factor, (verdict, *where, shown(was), shown(now), f"{ratio:.2f}")))
    return [row for _, row in sorted(rows, key=lambda one: -one[0])]


def print_comparison(paths: Sequence[Path], share: float) -> int:
    """Print what changed between two files; return 1 if anything got worse."""
    old, new = map(read_results, paths)
    for key in ("machine", "versions"):
        for name in sorted(set(old[key]) | set(new[key])):
            was, now = old[key].get(name), new[key].get(name)
            if was != now:
                print(f"{name}: {was} before, {now} now")
    other = [
        name
        for name, one in old["scripts"].items()
        if name not in new["scripts"] or new["scripts"][name]["arguments"] != one["arguments"]
    ]
    if other:
        print(f"not compared (not run again, or with other arguments): {', '.join(other)}")
    failed = [name for name, one in new["scripts"].items() if one["failed"]]
    if failed:
        print(f"failed now: {', '.join(failed)}")
    rows = compare(old, new, share)
    if not rows:
        print(f"Nothing changed by more than {share:.0%} and the spread of the runs.")
        return int(bool(failed))
    print("\n| | script | table | what | before | now | ratio |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return int(bool(failed) or any(row[0] in ("slower", "larger", "worse") for row in rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, nargs="?", help="new .json file with the numbers")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of {', '.join(names())}")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each script")
    parser.add_argument("--quick", action="store_true", help="small data, once: whether they run")
    parser.add_argument("--short", action="store_true", help="those of time, within half an hour")
    parser.add_argument("--truth", nargs="+", type=Path, default=[], metavar="FOLDER")
    parser.add_argument("--write", type=Path, metavar="FILE", help="tables of the README from it")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"))
    parser.add_argument("--share", type=float, default=0.1, help="changes that count, 0.1: 10 %%")
    options = parser.parse_args()
    if options.compare:
        return print_comparison(options.compare, options.share)
    if options.write:
        results = read_results(options.write)
        if results["quick"]:
            raise SystemExit(f"{options.write} is of --quick, whose numbers say nothing")
        README.write_text(with_tables(README.read_text("utf-8"), results), "utf-8", newline="\n")
        return 0
    if options.output is None or options.output.exists():
        raise SystemExit(f"output is {options.output}, expected the name of a new .json file")
    results = run_all(options)
    failed = [name for name, one in results["scripts"].items() if one["failed"]]
    print(f"\n# {options.output}: {len(results['scripts'])} scripts, failed: {failed or 'none'}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())

"""Growth of a batch with the number of sessions, on a Dask cluster of several worker processes.

    python benchmarks/bench_batch_scale.py [--sessions 100] [--workers 4] [--page 1000]

Prints markdown. The sessions are small simulated Kilosort 4 folders without features, so that the
cost of handing them out shows. "first half" and "second half" are sessions that ended in that half
of the batch. The scheduler and the client share one process: its processor time is theirs
together. The summary is made of copies of the tables of the sessions, with `--page-units` units
each.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import yaml

import si_curation as sic
from _common import record
from si_curation.batch.recipe import Recipe
from si_curation.batch.state import BatchFolder
from si_curation.batch.summary import write_summary


def memory_of_worker():
    """Return the resident memory of this process, in bytes."""
    return psutil.Process(os.getpid()).memory_info().rss


def run(folders, output, workers):
    """Run the packaged recipe on a cluster of `workers`; return what it took."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(workers, threads_per_worker=1, processes=True, dashboard_address=None) as own,
        Client(own) as client,
    ):
        recipe = yaml.safe_load(sic.example_recipe())
        # every worker compiles, and imports, before anything is measured
        first = folders[:workers]
        sic.run_batch(first, recipe, output / "warm", client=client, progress_bar=False)
        before = client.run(memory_of_worker)
        start, own_start = time.perf_counter(), time.process_time()
        result = sic.run_batch(folders, recipe, output / "out", client=client, progress_bar=False)
        seconds, own_seconds = time.perf_counter() - start, time.process_time() - own_start
        after = client.run(memory_of_worker)
    if len(result.failed):
        raise RuntimeError(result.failed["error"].iloc[0])
    return result, seconds, own_seconds, before, after


def summarize(batch_folder, folder, num_sessions, num_units):
    """Return the seconds and the bytes of a summary of many sessions, made of copies."""
    source = pd.read_csv(next((batch_folder / "sessions").iterdir()) / "units.csv")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(num_sessions):
        name = f"mouse{number // 10:03}_day{number % 10}"
        table = source.iloc[rng.integers(0, len(source), num_units)].copy()
        table["unit_id"] = np.arange(num_units)
        (folder / "sessions" / name).mkdir(parents=True)
        table.to_csv(folder / "sessions" / name / "units.csv", index=False)
        row = {"session": name, "folder": f"/data/{name}", "status": "done", "error": ""}
        row |= {"num_units": num_units, "num_spikes": 1000 * num_units, "warnings": []}
        rows.append(row | {"seconds": {"read": 1.0}, "versions": {"si_curation": "0"}})
    start = time.perf_counter()
    write_summary(BatchFolder(folder), Recipe(), rows)
    seconds = time.perf_counter() - start
    return seconds, (folder / "summary.html").stat().st_size, (folder / "units.csv").stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--spikes", type=int, default=20_000)
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--page", type=int, default=1000)
    parser.add_argument("--page-units", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = [folder / "in" / f"session{number:04}" for number in range(arguments.sessions)]
        for number, path in enumerate(folders):
            sic.simulate_kilosort_folder(
                path,
                num_templates=arguments.units,
                num_channels=32,
                num_spikes=arguments.spikes,
                write_features=False,
                seed=number,
            )
        counts = sorted({max(arguments.workers, arguments.sessions // 4), arguments.sessions})
        print(
            f"\n{arguments.workers} workers, {os.cpu_count()} cores; {arguments.spikes:,} spikes "
            f"and {arguments.units} units a session\n\n"
            "| sessions | whole call | seconds a session, first half | second half "
            "| scheduler and client, processor ms a session | a worker's memory before, after |\n"
            "| ---: | ---: | ---: | ---: | ---: | ---: |"
        )
        for count in counts:
            output = folder / f"of{count}"
            result, seconds, own, before, after = run(folders[:count], output, arguments.workers)
            records = [output / "out/records" / f"{path.name}.json" for path in folders[:count]]
            ended = np.argsort([path.stat().st_mtime_ns for path in records])
            times = result.table["seconds"].to_numpy()[ended]
            print(
                f"| {count} | {seconds:.1f} s | {times[: count // 2].mean():.3f} "
                f"| {times[count // 2 :].mean():.3f} | {1000 * own / count:.0f} "
                f"| {max(before.values()) / 1e6:.0f}, {max(after.values()) / 1e6:.0f} MB |",
                flush=True,
            )
            table = f"sessions, {arguments.workers} workers"
            record(table, f"{count} | whole call", seconds)
            record(table, f"{count} | a session, first half", times[: count // 2].mean())
            record(table, f"{count} | second half", times[count // 2 :].mean())
            busy = 1000 * own / count
            record(
                table, f"{count} | scheduler and client, of the processor, a session", busy, "ms"
            )
            record(table, f"{count} | a worker's memory", max(after.values()) / 1e6, "MB")
        seconds, page, units = summarize(
            folder / f"of{counts[-1]}" / "out",
            folder / "page",
            arguments.page,
            arguments.page_units,
        )
        record(f"summary of {arguments.page:,} sessions", "time", seconds)
        record(f"summary of {arguments.page:,} sessions", "page", page / 1e6, "MB")
        peak = psutil.Process().memory_info().rss
        print(
            f"\nSummary of {arguments.page:,} sessions with {arguments.page_units} units each: "
            f"{seconds:.1f} s; page {page / 1e6:.1f} MB, units.csv {units / 1e6:.0f} MB; memory of "
            f"the process afterwards {peak / 1e6:.0f} MB."
        )


if __name__ == "__main__":
    main()

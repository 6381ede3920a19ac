"""Steps of a curation session compared with one pass over the spikes, and with phy's Clustering.

    python benchmarks/bench_curation.py [--folder FOLDER] [--spikes 10000000] [--json FILE]

Medians of several runs after a warm-up. phy is timed where it can be imported, or by the Python
that the environment variable SI_CURATION_PHY_PYTHON names.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from _common import record_all

RUNS = 7

PHY_PROGRAM = """
import json, statistics, sys, time
import numpy as np
from phy.cluster.clustering import Clustering

path, merged, whole, runs = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
clusters = np.load(path).ravel().astype(np.int64)
start = time.perf_counter()
clustering = Clustering(clusters)
seconds = {"create": [time.perf_counter() - start], "merge": [], "split": [], "undo": []}

def timed(name, function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    seconds[name].append(time.perf_counter() - start)

for _ in range(runs + 1):
    timed("merge", clustering.merge, merged)
    timed("undo", clustering.undo)
    spikes = clustering.spikes_in_clusters([whole])
    timed("split", clustering.split, spikes[::2])
    clustering.undo()
print("SECONDS " + json.dumps({n: statistics.median(v[1:] or v) for n, v in seconds.items()}))
"""


def median(function, before=None, runs=RUNS):
    """Median seconds of a function; `before` is called each time, and not timed."""
    seconds = []
    for run in range(runs + 1):
        arguments = [] if before is None else [before()]
        start = time.perf_counter()
        function(*arguments)
        if run > 0:  # the first is the warm-up
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def choose(session):
    """Return two units of medium size to merge, and the largest unit to split."""
    sizes = session.table["num_spikes"].sort_values()
    middle = len(sizes) // 2
    return [int(i) for i in sorted(sizes.index[middle : middle + 2])], int(sizes.index[-1])


def bench_session(analyzer, scratch):
    from si_curation import CurationSession

    spikes = analyzer.sorting.to_spike_vector()
    session = CurationSession(analyzer)
    merged, whole = choose(session)
    table = session.table
    halves = np.arange(session.get_spikes(whole).size) % 2

    def undone(do):
        def begin():
            if session.history["in_effect"].any():
                session.undo()

        seconds = median(lambda _: do(), begin)
        session.undo()
        return seconds

    def after_merge():
        while session.history["in_effect"].any():
            session.undo()
        return session.merge(merged)

    with_journal = CurationSession(analyzer, journal=scratch / "journal.jsonl")
    times = {
        "one pass: sum of sample_index and unit_index": median(
            lambda: (spikes["sample_index"].sum(), spikes["unit_index"].sum())
        ),
        "new session": median(lambda: CurationSession(analyzer), runs=3),
        "table of all units": median(lambda: session.table),
        "merge": undone(lambda: session.merge(merged)),
        "split of the largest unit": undone(lambda: session.split(whole, halves)),
        "label": undone(lambda: session.label(merged, "good")),
        "undo of a merge": median(lambda _: session.undo(), after_merge),
        "table of the changed unit": median(
            lambda unit_id: session.get_table([unit_id]), after_merge
        ),
        "similarity of the changed unit": median(session.get_similarity, after_merge),
        "label, with a journal (fsync)": median(lambda: with_journal.label(merged, "good")),
    }
    after_merge()
    times["apply to memory, after a merge"] = median(session.apply, runs=3)
    session.split(whole, halves)
    session.remove([session.unit_ids[0]])
    times["apply to memory, after split and removal too"] = median(session.apply, runs=3)
    sizes = table["num_spikes"]
    return (
        times,
        merged,
        whole,
        {
            "spikes": int(spikes.size),
            "units": len(table),
            "spikes of the merged units": int(sizes[merged].sum()),
            "spikes of the unit that is split": int(sizes[whole]),
        },
    )


def bench_phy(folder, merged, whole):
    python = os.environ.get("SI_CURATION_PHY_PYTHON")
    if not python:
        if importlib.util.find_spec("phy") is None:
            return None
        python = sys.executable
    arguments = [str(folder / "spike_clusters.npy"), json.dumps(merged), str(whole), "3"]
    done = subprocess.run(
        [python, "-c", PHY_PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("SECONDS ")]
    return json.loads(lines[-1].removeprefix("SECONDS "))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, default=10_000_000)
    parser.add_argument("--templates", type=int, default=500)
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--folder", type=Path, help="an existing folder instead of a simulated one")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    from si_curation import read_kilosort_as_analyzer, simulate_kilosort_folder

    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder
        if folder is None:
            folder = Path(scratch) / "folder"
            simulate_kilosort_folder(
                folder,
                dialect="kilosort4",
                num_spikes=args.spikes,
                num_templates=args.templates,
                num_channels=args.channels,
                write_features=False,
                curation=200,
            )
        analyzer = read_kilosort_as_analyzer(folder)
        ours, merged, whole, sizes = bench_session(analyzer, Path(scratch))
        theirs = bench_phy(folder, merged, whole)
    print(", ".join(f"{number:,} {name}" for name, number in sizes.items()))
    table = f"{args.spikes:,} spikes"
    record_all(table, ours)
    record_all(f"phy's Clustering, {table}", theirs or {})
    (reference, one_pass), *steps = ours.items()
    print(f"\n  {reference:<48}{one_pass:>11.5f} s")
    for name, seconds in steps:
        print(f"  {name:<48}{seconds:>11.5f} s{seconds / one_pass:>11.3f} x one pass")
    if theirs is None:
        print("\nphy cannot be imported: not timed")
    else:
        names = {
            "create": "new session",
            "merge": "merge",
            "split": "split of the largest unit",
            "undo": "undo of a merge",
        }
        print("\nphy's Clustering")
        for name, seconds in theirs.items():
            ratio = seconds / ours[names[name]]
            print(f"  {name:<48}{seconds:>11.5f} s{ratio:>11.1f} x a session's {names[name]}")
    if args.json:
        args.json.write_text(json.dumps({"sizes": sizes, "ours": ours, "phy": theirs}, indent=2))
    print(
        f"\npeak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
    )


if __name__ == "__main__":
    main()

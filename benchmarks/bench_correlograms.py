"""Cross-correlograms of all units against SpikeInterface and phylib.

    python benchmarks/bench_correlograms.py [--spikes 1000000 10000000] [--units 100 500 1000]
        [--windows 50 200] [--bins 0.5 1] [--rate 6] [--runs 3] [--threads 1 2]
        [--other-runs 1] [--most-seconds 180] [--skip numpy phylib] [--lost-counts]

All contenders run in one process on the same spikes, after a warm-up on few spikes, in turn;
medians of several runs, and the smallest CPU time of all threads, which is more reliable when other
programs run. Programs that would take longer than `--most-seconds`, by their time per pair in the
case before, are left out. Memory is allocated before each case, so that no run waits for it; the
load is that of the last minute. The spikes are drawn uniformly over a
recording in which units fire at `--rate`. Results are compared: SpikeInterface's and phylib's must
equal ours, except those of SpikeInterface's ``fast_mode``, whose threads overwrite each
other's counts: the table says how many it lost, and ``--lost-counts`` shows it on few units, where
it loses most. ``--memory`` adds the peak memory of ours in a process of its own (Linux).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numba
import numpy as np

from _common import record

FS = 30_000.0
SPIKE_DTYPE = [("sample_index", "int64"), ("unit_index", "int64"), ("segment_index", "int64")]


def draw_spikes(num_spikes, num_units, rate_hz, seed=0):
    rng = np.random.default_rng(seed)
    num_samples = int(num_spikes / num_units / rate_hz * FS)
    spikes = np.zeros(num_spikes, dtype=SPIKE_DTYPE)
    spikes["sample_index"] = np.sort(rng.integers(0, num_samples, num_spikes))
    spikes["unit_index"] = rng.integers(0, num_units, num_spikes)
    return spikes


def seconds_of(function, runs):
    """Return median seconds, least CPU seconds of all threads, and the last result."""
    seconds, cpu, found = [], [], None
    for _ in range(runs):
        del found
        found = None
        gc.collect()
        start, cpu_start = time.perf_counter(), time.process_time()
        found = function()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    return statistics.median(seconds), min(cpu), found


def ours(spikes, num_units, window_ms, bin_ms, convention, threads):
    from si_curation.kernels.correlogram_bins import bins_of_convention, linear_cells
    from si_curation.kernels.correlograms import assemble, count_pairs, prepare_spikes

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    cells = linear_cells(round(FS * window_ms / 2 * 1e-3), round(FS * bin_ms * 1e-3), (convention,))
    prepared = prepare_spikes(
        spikes["sample_index"],
        spikes["unit_index"],
        spikes["segment_index"],
        num_units,
        cells.max_lag,
    )
    counts = count_pairs(prepared, num_units, cells)
    return assemble(counts, bins_of_convention(cells, convention))


def number_of_pairs(spikes, num_units, window_ms, bin_ms):
    from si_curation.kernels.correlogram_bins import linear_cells
    from si_curation.kernels.correlograms import prepare_spikes

    max_lag = linear_cells(round(FS * window_ms / 2 * 1e-3), round(FS * bin_ms * 1e-3)).max_lag
    return prepare_spikes(
        spikes["sample_index"], spikes["unit_index"], None, num_units, max_lag
    ).num_pairs


def contenders(spikes, num_units, window_ms, bin_ms, threads, skip):
    from phylib.stats.ccg import correlograms
    from spikeinterface.core import NumpySorting
    from spikeinterface.postprocessing import compute_correlograms

    sorting = NumpySorting(spikes, FS, np.arange(num_units))
    sizes = {"window_ms": window_ms, "bin_ms": bin_ms}

    def spikeinterface(method, fast_mode):
        return compute_correlograms(
            sorting, **sizes, method=method, fast_mode=fast_mode, n_jobs=threads
        )[0]

    def phylib():
        return correlograms(
            spikes["sample_index"],
            spikes["unit_index"],
            cluster_ids=np.arange(num_units),
            sample_rate=1.0,
            bin_size=round(FS * bin_ms * 1e-3),
            window_size=2 * round(FS * window_ms / 2 * 1e-3),
        )

    found = {
        "numba": ("SpikeInterface numba", lambda: spikeinterface("numba", "off")),
        "fast": (
            f"SpikeInterface fast_mode, {threads} threads",
            lambda: spikeinterface("numba", "on"),
        ),
        "numpy": ("SpikeInterface numpy", lambda: spikeinterface("numpy", "off")),
        "phylib": ("phylib", phylib),
    }
    return {key: value for key, value in found.items() if key not in skip}


def verdict(theirs, expected):
    lost = int(expected.sum()) - int(theirs.sum())
    if np.array_equal(theirs, expected):
        return "equal"
    return f"{lost:,} counts lost ({lost / expected.sum():.1%})"


def peak_memory_mb(arguments):
    """Peak of a process that draws the spikes and counts, less that of one that only draws."""
    if not Path("/proc/self/status").is_file():
        return None
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bench_correlograms as b\n"
        "n, units, window, width, rate, count = map(float, sys.argv[2:]); units = int(units)\n"
        "few = b.draw_spikes(1000, 40, rate); b.ours(few, 40, 50.0, 1.0, 'spikeinterface', 2)\n"
        "spikes = b.draw_spikes(int(n), units, rate)\n"
        "if count: b.ours(spikes, units, window, width, 'spikeinterface', 2)\n"
        "status = open('/proc/self/status').read()\n"
        "print(status.split('VmHWM:')[1].split()[0])"
    )
    peaks = []
    for count in (0, 1):
        command = [sys.executable, "-c", program, str(Path(__file__).parent)]
        command += [str(value) for value in (*arguments, count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) * 1024)
    return (peaks[1] - peaks[0]) / 1e6


def show_lost_counts(num_spikes=2_000_000, num_units=3, rate_hz=100.0, runs=5):
    """SpikeInterface's fast mode, again and again on the same spikes; true counts beside it."""
    spikes = draw_spikes(num_spikes, num_units, rate_hz)
    expected = ours(spikes, num_units, 50.0, 1.0, "spikeinterface", 2)
    functions = contenders(spikes, num_units, 50.0, 1.0, 2, ["numba", "phylib"])
    print(f"\n{num_spikes:,} spikes of {num_units} units, {int(expected.sum()):,} counts\n")
    print("| what | counts |\n| --- | --- |")
    print(f"| SpikeInterface numpy | {verdict(functions['numpy'][1](), expected)} |")
    for run in range(runs):
        name, function = functions["fast"]
        print(f"| {name}, run {run + 1} | {verdict(function(), expected)} |")
    for threads in (1, 2, 4, 8):
        found = ours(spikes, num_units, 50.0, 1.0, "spikeinterface", threads)
        print(f"| ours, {threads} threads | {verdict(found, expected)} |")


def bench_case(num_spikes, num_units, window_ms, bin_ms, ns_per_pair, args):
    spikes = draw_spikes(num_spikes, num_units, args.rate)
    case = f"{num_spikes:,} spikes, {num_units} units, {window_ms:g} ms, {bin_ms:g} ms bins"
    pairs = number_of_pairs(spikes, num_units, window_ms, bin_ms)
    np.zeros(int(num_units**2 * (window_ms / bin_ms + 1) * 3) + (1 << 25)).fill(1.0)
    rows, seconds, cpu, expected = [], {}, {}, {}
    for convention in ("spikeinterface", "phy"):
        for threads in args.threads:
            expected.pop(convention, None)
            seconds[convention], cpu[convention], expected[convention] = seconds_of(
                lambda c=convention, t=threads: ours(spikes, num_units, window_ms, bin_ms, c, t),
                args.runs,
            )
            name = f"ours, {convention}, {threads} threads"
            rows.append((name, seconds[convention], cpu[convention], "", "", "reference"))
    memory = None
    if args.memory:
        memory = peak_memory_mb((num_spikes, num_units, window_ms, bin_ms, args.rate))
    threads = max(args.threads)
    runs = args.runs if args.other_runs is None else args.other_runs
    for key, (name, function) in contenders(
        spikes, num_units, window_ms, bin_ms, threads, args.skip
    ).items():
        if ns_per_pair.get(key, 0.0) * pairs * 1e-9 > args.most_seconds:
            continue
        convention = "phy" if key == "phylib" else "spikeinterface"
        taken, cpu_taken, theirs = seconds_of(function, runs)
        ns_per_pair[key] = taken / pairs * 1e9
        ratio = f"{taken / seconds[convention]:.1f}"
        cpu_ratio = f"{cpu_taken / cpu[convention]:.1f}"
        counts = verdict(theirs, expected[convention])
        rows.append((name, taken, cpu_taken, ratio, cpu_ratio, counts))
        del theirs
    for name, taken, *_ in rows:
        record("all pairs of units", f"{case} | {name}", taken)
    if memory is not None:
        record("all pairs of units", f"{case} | memory beyond the spikes", memory, "MB")
    print(f"\n{case}: {pairs / 1e6:.0f} M pairs", end="")
    print("" if memory is None else f"; ours takes {memory:.0f} MB more than the spikes", end="")
    load = getattr(os, "getloadavg", lambda: [float("nan")])()[0]
    print(f"; load {load:.1f}")
    print("\n| what | s | CPU s | CPU ns per pair | times ours | CPU times ours | counts |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, taken, cpu_taken, ratio, cpu_ratio, counts in rows:
        per_pair = cpu_taken / pairs * 1e9
        print(
            f"| {name} | {taken:.3f} | {cpu_taken:.3f} | {per_pair:.2f} | {ratio} | {cpu_ratio} "
            f"| {counts} |"
        )
    sys.stdout.flush()
    return {"case": case, "pairs": pairs, "memory_mb": memory, "rows": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--units", type=int, nargs="+", default=[100, 500, 1000])
    parser.add_argument("--windows", type=float, nargs="+", default=[50.0])
    parser.add_argument("--bins", type=float, nargs="+", default=[1.0])
    parser.add_argument("--rate", type=float, default=6.0, help="spikes per second of each unit")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--other-runs", type=int, help="runs of the other programs")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--most-seconds", type=float, default=180.0)
    parser.add_argument("--memory", action="store_true", help="peak memory too")
    parser.add_argument("--skip", nargs="*", default=[], help="numba fast numpy phylib")
    parser.add_argument("--lost-counts", action="store_true", help="show those of fast_mode only")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.lost_counts:
        show_lost_counts()
        return
    few = draw_spikes(2000, 40, args.rate)
    for convention in ("spikeinterface", "phy"):
        ours(few, 40, 50.0, 1.0, convention, 2)
    for _, function in contenders(few, 40, 50.0, 1.0, max(args.threads), args.skip).values():
        function()
    ns_per_pair: dict[str, float] = {}
    results = [
        bench_case(num_spikes, num_units, window_ms, bin_ms, ns_per_pair, args)
        for num_spikes in args.spikes
        for num_units in args.units
        for window_ms in args.windows
        for bin_ms in args.bins
    ]
    if args.json:
        args.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

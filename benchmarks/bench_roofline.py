"""How near the kernels are to what the machine can do, and how they grow with the spikes.

    python benchmarks/bench_roofline.py [--spikes 100000 1000000 10000000 100000000] [--units 500]
    python benchmarks/bench_roofline.py --only growth --spikes 100000000 --runs 1

The peaks are measured first: a copy of a large array (bytes read and written; STREAM's "copy"), and
chains of multiply-adds on values that stay in the registers (two operations each). A kernel has to
move its inputs once from memory and its outputs back, and to do a number of operations that follows
from its definition; both are in the tables. The time that the machine would need at its peaks, the
larger of the two, over the time taken is the share. Random access, integers and branches have
lower roofs of their own, so that less than the rest can be gained; data that stay in the cache can
be above 100 %.

100 M spikes take 6 GB; what has no room is left out and named. The slope is that of log(time)
over log(spikes): 1 is linear. More threads than cores (1, 2 and 4 are tried) gain nothing.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

_CORES = os.cpu_count() or 1
os.environ.setdefault("NUMBA_NUM_THREADS", str(max(4, _CORES)))  # the most that can be asked for

import numba  # noqa: E402
import numpy as np  # noqa: E402

from _common import record  # noqa: E402

FS = 30_000.0
RATE_HZ = 6.0
WINDOW_MS, BIN_MS = 50.0, 1.0
_BYTES_PER_SPIKE = 60  # of memory, at most, with what the kernels need
_DRAWN_AT_ONCE = 1 << 20


@numba.njit(nogil=True)
def _copy(source, target):
    for i in range(source.size):
        target[i] = source[i]


@numba.njit(nogil=True, fastmath=True)
def _multiply_add(values, repeats, a, b):
    for _ in range(repeats):
        for i in range(values.size):
            x = values[i]
            # sixteen in a row: one load and one store of the cache for 32 operations
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            x = x * a + b
            values[i] = x


def least_seconds(function, runs=5):
    """Return the least time of several calls, after one that warms up."""
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def on_threads(pieces, function):
    from si_curation.kernels.parallel import run_blocks

    return run_blocks(function, pieces)


def peaks(threads, array_mb):
    """Return GB/s of a copy, and Gop/s of float32 and float64 multiply-adds, on so many threads."""
    size = int(array_mb * 1e6 / 8)
    source, target = np.ones(size), np.zeros(size)
    parts = np.array_split(np.arange(size), threads)
    slices = [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
    del parts
    seconds = least_seconds(lambda: on_threads(slices, lambda s: _copy(source[s], target[s])))
    found = {"copy": 2 * size * 8 / seconds / 1e9}
    repeats = 3000
    for dtype in (np.float32, np.float64):
        values = [np.ones(2048, dtype=dtype) for _ in range(threads)]
        work = functools.partial(_multiply_add, repeats=repeats, a=dtype(0.999), b=dtype(0.001))
        seconds = least_seconds(functools.partial(on_threads, values, work))
        found[np.dtype(dtype).name] = threads * 2048 * repeats * 32 / seconds / 1e9
    return found


class Spikes:
    """Uniform spikes, with what the kernels take."""

    def __init__(self, num_spikes, num_units):
        from bench_correlograms import SPIKE_DTYPE

        rng = np.random.default_rng(0)
        num_samples = int(num_spikes / num_units / RATE_HZ * FS)
        self.samples = rng.integers(0, num_samples, num_spikes)
        self.samples.sort()
        self.units = rng.integers(0, num_units, num_spikes, dtype=np.int32)
        # one in ten spikes is of another template than its unit's
        self.templates = self.units.copy()
        for start in range(0, num_spikes, _DRAWN_AT_ONCE):
            some = self.templates[start : start + _DRAWN_AT_ONCE]
            others = rng.random(some.size, dtype=np.float32) < 0.1
            some[others] = rng.integers(0, num_units, np.count_nonzero(others), dtype=np.int32)
        self.vector = np.zeros(num_spikes, dtype=SPIKE_DTYPE)
        self.vector["sample_index"] = self.samples
        self.vector["unit_index"] = self.units
        self.num_units = num_units


def kernels_of_spikes(spikes):
    """Return name -> (function of the threads, bytes, operations, dtype of the operations)."""
    from bench_correlograms import number_of_pairs, ours
    from si_curation.kernels.spike_files import value_range
    from si_curation.kernels.spikes_by_unit import spikes_by_unit
    from si_curation.kernels.template_counts import count_templates

    count, units = len(spikes.vector), spikes.num_units
    pairs = number_of_pairs(spikes.vector, units, WINDOW_MS, BIN_MS)
    num_bins = round(WINDOW_MS / BIN_MS)
    return {
        "smallest and largest sample": (
            lambda: value_range(spikes.samples), 8 * count, 2 * count, "int64",
        ),
        "templates of each unit, counted": (
            lambda: count_templates(spikes.units, spikes.templates, units, units),
            8 * count, 2 * count, "int64",
        ),
        "spikes of each unit": (
            lambda: spikes_by_unit(spikes.units, units), (4 + 8) * count, 2 * count, "int64",
        ),
        "correlograms of all pairs": (
            lambda: ours(spikes.vector, units, WINDOW_MS, BIN_MS, "spikeinterface",
                         numba.get_num_threads()),
            16 * count + 8 * units**2 * num_bins,
            4 * pairs,  # lag, its bin, place, plus one
            "int64",
        ),
    }  # fmt: skip


def kernels_of_templates(num_units, num_channels, num_samples=61):
    from si_curation.kernels.nearest_neighbours import nearest_neighbours
    from si_curation.kernels.templates import unwhiten_templates
    from si_curation.reading.unit_templates import cosine_similarity

    rng = np.random.default_rng(0)
    templates = rng.normal(size=(num_units, num_samples, num_channels)).astype(np.float32)
    matrix = rng.normal(size=(num_channels, num_channels))
    size = num_units * num_samples * num_channels
    per_unit, features = 100, 60
    rows = rng.normal(size=(num_units * per_unit, features)).astype(np.float32)
    rows += np.repeat(rng.normal(size=(num_units, features)), per_unit, axis=0).astype(np.float32)
    starts = np.arange(num_units + 1) * per_unit
    keys = np.arange(len(rows))
    return {
        "templates unwhitened": (
            lambda: unwhiten_templates(templates, matrix),
            8 * size, 2 * size * num_channels, "float64",
        ),
        "similarity of all templates": (
            lambda: cosine_similarity(templates),
            4 * size + 8 * num_units**2, 2 * num_units * size, "float32",
        ),
        "nearest neighbours (all pairs; most are skipped)": (
            lambda: nearest_neighbours(rows, starts, 4, keys),
            4 * rows.size, 2 * len(rows) ** 2 * features, "float32",
        ),
    }  # fmt: skip


def table_of(title, kernels, roofs, runs):
    """Print and record time, bytes, operations and share of each kernel, on 1 and more threads."""
    print(f"\n{title}\n")
    print("| kernel | threads | s | GB | Gop | GB/s | Gop/s | bound by | share of the roof |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |")
    for name, (function, num_bytes, operations, dtype) in kernels.items():
        for threads, roof in roofs.items():
            numba.set_num_threads(threads)
            seconds = least_seconds(function, runs)
            # of whole numbers as many are done at once as of floats of their size
            most = roof["float32" if dtype.endswith("32") else "float64"]
            moving, doing = num_bytes / roof["copy"] / 1e9, operations / most / 1e9
            share = max(moving, doing) / seconds
            bound = "memory" if moving > doing else "operations"
            print(
                f"| {name} | {threads} | {seconds:.4g} | {num_bytes / 1e9:.3g} "
                f"| {operations / 1e9:.3g} | {num_bytes / seconds / 1e9:.3g} "
                f"| {operations / seconds / 1e9:.3g} | {bound} | {share:.1%} |",
                flush=True,
            )
            row = f"{name}; {num_bytes / 1e9:.2g} GB, {operations / 1e9:.3g} Gop"
            record(title, f"{row} | threads: {threads}", seconds)
            record(title, f"{row} | share of the roof, {threads}", share, "share")


def peak_mb():
    status = Path("/proc/self/status")
    if not status.exists():
        return math.nan
    line = next(x for x in status.read_text("utf-8").splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def measure_here(num_spikes, num_units, runs):
    """Print, for the process that asked, times and memory of each kernel at one size."""
    numba.set_num_threads(_CORES)
    few = kernels_of_spikes(Spikes(2000, 10))
    for function, *_ in few.values():
        function()
    spikes = Spikes(num_spikes, num_units)
    found = {}
    for name, (function, *_) in kernels_of_spikes(spikes).items():
        numba.set_num_threads(_CORES)
        before = peak_mb()
        seconds = least_seconds(function, runs)
        found[name] = [seconds, peak_mb() - before]
    print(json.dumps([found, peak_mb()]))


def growth(sizes, num_units, runs):
    """Print and record the times and the memory at each size, and the slopes between them."""
    title = f"growth, {num_units} units, threads: {_CORES}"
    found = {}
    for size in sizes:
        if free_bytes() is not None and size * _BYTES_PER_SPIKE > free_bytes():
            print(f"\n{size:,} spikes are left out: there is no room for them in memory")
            continue
        command = [sys.executable, __file__, "--measure", str(size), "--units", str(num_units)]
        command += ["--runs", str(runs if size <= 10_000_000 else 1)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"\n{size:,} spikes failed: {(done.stderr.splitlines() or ['killed'])[-1]}")
            continue
        found[size] = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{title}\n\n| kernel | {' | '.join(f'{n:,} spikes' for n in found)} | slopes |")
    print(f"| --- |{' ---: |' * len(found)} --- |")
    for name in next(iter(found.values()))[0] if found else ():
        times = {size: its[0][name][0] for size, its in found.items()}
        pairs = list(zip(list(times), list(times)[1:], strict=False))
        slopes = [math.log(times[b] / times[a]) / math.log(b / a) for a, b in pairs]
        cells = [f"{times[n]:.4g} s, +{found[n][0][name][1]:.0f} MB" for n in times]
        print(f"| {name} | {' | '.join(cells)} | {', '.join(f'{s:.2f}' for s in slopes)} |")
        for size, seconds in times.items():
            record(title, f"{name} | {size:,} spikes", seconds)
            more = found[size][0][name][1]
            record(f"{title}: memory above the spikes", f"{name} | {size:,} spikes", more, "MB")
        for (a, b), slope in zip(pairs, slopes, strict=True):
            record(f"{title}: slopes", f"{name} | {a:,} to {b:,} spikes", slope, "slope")


@functools.cache
def free_bytes():
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    lines = dict(line.split(":") for line in path.read_text("utf-8").splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [100_000, 1_000_000, 10_000_000, 100_000_000]
    parser.add_argument("--spikes", type=int, nargs="+", default=sizes)
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--array-mb", type=float, default=400.0, help="copied for the peak")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--only", choices=["kernels", "growth"])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.measure:
        measure_here(args.measure, args.units, args.runs)
        return
    if args.only != "growth":
        measure_kernels(args)
    if args.only != "kernels":
        growth(sorted(args.spikes), args.units, args.runs)


def measure_kernels(args):
    """Print and record the peaks of the machine, and how near to them the kernels are."""
    roofs = {}
    print("| peak | threads | GB/s | Gop/s float32 | Gop/s float64 |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for threads in sorted({min(one, numba.config.NUMBA_NUM_THREADS) for one in args.threads}):
        numba.set_num_threads(threads)
        roofs[threads] = found = peaks(threads, args.array_mb)
        print(
            f"| copy, multiply-adds | {threads} | {found['copy']:.3g} | {found['float32']:.4g} "
            f"| {found['float64']:.4g} |"
        )
        record("peaks of the machine", f"copy | threads: {threads}", found["copy"], "GB/s")
        for dtype in ("float32", "float64"):
            what = f"multiply-adds of {dtype} | threads: {threads}"
            record("peaks of the machine", what, found[dtype], "Gop/s")
    size = sorted(args.spikes)[min(2, len(args.spikes) - 1)]
    spikes = Spikes(size, args.units)
    title = f"{size:,} spikes, {args.units} units"
    table_of(title, kernels_of_spikes(spikes), roofs, args.runs)
    del spikes
    channels = min(args.channels, 4 * args.units)
    title = f"{args.units} templates, {channels} channels"
    table_of(title, kernels_of_templates(args.units, channels), roofs, args.runs)


if __name__ == "__main__":
    main()

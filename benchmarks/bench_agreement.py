"""How long it takes to compare two curations, and one pass over both cluster arrays beside it.

    python benchmarks/bench_agreement.py [--spikes 10000000] [--units 500] [--bootstraps 500]

Two curated copies: every tenth unit is merged with another or split, and one spike in a thousand is
in another unit. Prints medians of five runs after a warm-up: reading each cluster array once, the
fused pass of both, the spikes of a re-sorting (a tenth missed, jitter of 3 samples, a total rate of
12 kHz: every spike has six others near) matched by units, and all of `compare_curations`, with
intervals, of two analyzers in memory; with --scikit-learn also its adjusted mutual information of
the same spikes (once: it takes long).
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import si_curation as sic
from _common import record
from si_curation.agreement.comparison import compare_curations
from si_curation.kernels.common_refinement import common_refinement
from si_curation.kernels.resorted_spikes import match_resorted_spikes


def curated(templates, rng, num_units):
    """Clusters after some merges and splits."""
    clusters = templates.copy()
    for unit in rng.choice(num_units, num_units // 10, replace=False):
        if rng.random() < 0.5:
            clusters[clusters == unit] = (unit + 1) % num_units
        else:
            its = np.flatnonzero(clusters == unit)
            clusters[its[rng.random(its.size) < 0.5]] = num_units + unit
    moved = rng.random(clusters.size) < 1e-3
    clusters[moved] = rng.integers(0, num_units, moved.sum())
    return clusters


def analyzer_of(clusters, samples, num_channels=4):
    """An analyzer of these units, without anything that is computed of them."""
    from spikeinterface.core import (
        NumpySorting,
        create_sorting_analyzer,
        generate_recording,
    )

    sorting = NumpySorting.from_samples_and_labels([samples], [clusters], 30_000.0)
    duration_s = samples[-1] / 30_000 + 1
    recording = generate_recording(num_channels, 30_000.0, [duration_s], seed=0)
    return create_sorting_analyzer(sorting, recording, sparse=False)


def median_times(function, runs=5):
    """Seconds by the clock, and of the processor, which do not depend on other programs."""
    function()
    times = []
    for _ in range(runs):
        start = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return np.median(times, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spikes", type=int, default=10_000_000)
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--bootstraps", type=int, default=500)
    parser.add_argument("--scikit-learn", action="store_true", help="Beside scikit-learn.")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    samples = np.cumsum(rng.integers(1, 5, args.spikes))
    templates = rng.integers(0, args.units, args.spikes).astype(np.int32)
    clusters = [curated(templates, rng, args.units) for _ in range(2)]
    sizes = [int(one.max()) + 1 for one in clusters]
    found = np.flatnonzero(rng.random(args.spikes) < 0.9)  # sorted again: a tenth is missed
    moved = samples[found] + rng.integers(-3, 4, found.size)
    order = np.argsort(moved, kind="stable")
    again = moved[order], clusters[0][found][order]
    analyzers = [analyzer_of(one, samples) for one in clusters]
    for one in analyzers:
        one.sorting.to_spike_vector()
    rows = {
        "one pass over each array (maximum)": lambda: [one.max() for one in clusters],
        "counts of the units of each": lambda: [np.bincount(one) for one in clusters],
        "parts in common, one fused pass": lambda: common_refinement(clusters, sizes),
        "spikes of a re-sorting matched": lambda: match_resorted_spikes(
            samples, clusters[0], sizes[0], *again, sizes[0], window=6, reach=30
        ),
        "compare_curations": lambda: compare_curations(*analyzers, num_bootstraps=args.bootstraps),
    }
    print(f"{args.spikes:,} spikes, {args.units} units\n\n| what | s | s of the processor |")
    print("| --- | --- | --- |")
    for name, function in rows.items():
        clock, processor = median_times(function)
        print(f"| {name} | {clock:.3f} | {processor:.3f} |", flush=True)
        record(f"{args.spikes:,} spikes, {args.units} units", name, clock)
    if args.scikit_learn:
        from sklearn.metrics import adjusted_mutual_info_score

        start = time.perf_counter()
        value = adjusted_mutual_info_score(*clusters)
        seconds = time.perf_counter() - start
        print(f"| scikit-learn, adjusted mutual information | {seconds:.3f} | |")
        found = compare_curations(*analyzers, num_bootstraps=0).agreement["value"][0]
        print(f"\n{value:.12f} (scikit-learn), {found:.12f} (here); si_curation {sic.__version__}")


if __name__ == "__main__":
    main()

"""Isolation metrics against SpikeInterface's on the same injected principal components.

    python benchmarks/bench_isolation.py [--spikes 1000000] [--units 300] [--separation 10]

Both run in one process on the same analyzer, without a recording. Ours are compiled first; then
both run in turn. Peak memory is measured in processes of its own. scikit-learn is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings

import numba
import numpy as np
import probeinterface
import spikeinterface.postprocessing  # noqa: F401
from spikeinterface.core import ChannelSparsity, NumpySorting
from spikeinterface.metrics import compute_quality_metrics

from _common import record
from si_curation._spikeinterface import inject_extension, make_memory_analyzer
from si_curation.quality.metrics.isolation import compute_isolation

GROUPS = {
    "mahalanobis": ["isolation_distance", "l_ratio"],
    "d_prime": ["d_prime"],
    "nearest_neighbor": ["nn_hit_rate", "nn_miss_rate"],
    "silhouette": ["silhouette"],
}
NUM_PCS, NUM_LOCAL = 6, 10


def make_analyzer(num_spikes, num_units, num_channels, separation, seed=0):
    """Units of Gaussian features with noise 1, whose amplitude falls off along the probe."""
    rng = np.random.default_rng(seed)
    half = num_channels // 2
    positions = np.column_stack([np.tile([0.0, 32.0], half), np.repeat(np.arange(half) * 20.0, 2)])
    probe = probeinterface.Probe(ndim=2)
    probe.set_contacts(positions, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(num_channels))
    group = probeinterface.ProbeGroup()
    group.add_probe(probe)
    main = rng.integers(num_channels, size=num_units)
    squared = ((positions[main][:, None] - positions) ** 2).sum(axis=2)
    near = np.sort(np.argsort(squared, axis=1, kind="stable")[:, :NUM_LOCAL], axis=1)
    mask = np.zeros((num_units, num_channels), dtype=bool)
    np.put_along_axis(mask, near, True, axis=1)
    rates = rng.gamma(2, size=num_units)
    units = rng.choice(num_units, num_spikes, p=rates / rates.sum())
    decay = np.exp(-np.sqrt(np.take_along_axis(squared, near, 1)) / 40)[:, None, :]
    shape = rng.normal(size=(num_units, NUM_PCS, NUM_LOCAL)) * 0.6 ** np.arange(NUM_PCS)[:, None]
    shape[:, 0] += 1
    amplitude = separation * rng.lognormal(0, 0.4, num_units)
    templates = (amplitude[:, None, None] * decay * shape).astype(np.float32)
    values = rng.normal(size=(num_spikes, NUM_PCS, NUM_LOCAL)).astype(np.float32)
    jitter = (1 + 0.1 * rng.normal(size=num_spikes)).astype(np.float32)
    for start in range(0, num_spikes, 1 << 16):
        some = slice(start, start + (1 << 16))
        values[some] += templates[units[some]] * jitter[some, None, None]
    samples = np.sort(rng.integers(0, 30_000 * 3600, num_spikes))
    sorting = NumpySorting.from_samples_and_labels(
        [samples], [units], 30_000.0, unit_ids=np.arange(num_units)
    )
    attributes = {
        "channel_ids": np.arange(num_channels),
        "sampling_frequency": 30_000.0,
        "num_channels": num_channels,
        "num_samples": [30_000 * 3600],
        "is_filtered": True,
        "properties": {},
        "dtype": "float32",
        "probegroup": group,
    }
    sparsity = ChannelSparsity(mask, np.arange(num_units), np.arange(num_channels))
    analyzer = make_memory_analyzer(sorting, None, attributes, sparsity, False, main)
    chosen = {"random_spikes_indices": np.arange(num_spikes)}
    params = {"method": "all", "max_spikes_per_unit": None, "margin_size": None, "seed": None}
    inject_extension(analyzer, "random_spikes", chosen, params)
    params = {
        "n_components": NUM_PCS,
        "mode": "by_channel_local",
        "whiten": False,
        "dtype": "float32",
    }
    inject_extension(analyzer, "principal_components", {"pca_projection": values}, params)
    return analyzer


def theirs(analyzer, names):
    return compute_quality_metrics(analyzer, metric_names=names, n_jobs=2, progress_bar=False)


def timed(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def compare(analyzer, runs, ours_only=False):
    num_spikes = analyzer.sorting.to_spike_vector().size
    table_name = f"{num_spikes:,} spikes, {len(analyzer.unit_ids)} units"
    seconds = {}
    compute_isolation(analyzer, analyzer.unit_ids[:2])  # compiled
    for name, columns in [*GROUPS.items(), ("all", None)]:
        ours = [timed(compute_isolation, analyzer, None, columns)[0] for _ in range(runs)]
        if ours_only:
            record(table_name, f"{name} | ours", statistics.median(ours))
            print(f"{name:18} ours {statistics.median(ours):8.2f} s")
            continue
        took, table = timed(theirs, analyzer, list(GROUPS) if columns is None else [name])
        seconds[name] = (statistics.median(ours), took)
        record(table_name, f"{name} | ours", seconds[name][0])
        record(table_name, f"{name} | SpikeInterface", took)
        print(
            f"{name:18} ours {seconds[name][0]:8.2f} s   SpikeInterface {took:8.1f} s   "
            f"{took / seconds[name][0]:6.1f} x   load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    if ours_only:
        return
    found = compute_isolation(analyzer).values
    for name, values in found.items():
        expected = table[name].to_numpy(dtype=float)
        told = np.isfinite(values) & np.isfinite(expected) & (np.abs(expected) > 1e-10)
        worst = np.max(np.abs(values[told] / expected[told] - 1), initial=0)
        print(f"{name:18} largest relative difference {worst:.1e} in {told.sum()} units")


def peak_memory(args, what):
    """Peak resident memory beyond that of making the data, in a process of its own."""
    command = [sys.executable, __file__, "--memory", what]
    for name in ("spikes", "units", "channels", "separation"):
        command += [f"--{name}", str(getattr(args, name))]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--spikes", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=300)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--separation", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", choices=["ours", "theirs"])
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--ours-only", action="store_true", help="without SpikeInterface's minutes")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
    analyzer = make_analyzer(args.spikes, args.units, args.channels, args.separation)
    scale = 1 if sys.platform == "darwin" else 1024
    if args.memory:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        compute_isolation(analyzer) if args.memory == "ours" else theirs(analyzer, list(GROUPS))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps([scale * before, scale * after]))
        return
    print(f"{args.spikes} spikes, {args.units} units, {args.channels} channels, {NUM_PCS} PCs x "
          f"{NUM_LOCAL} channels, separation {args.separation}")  # fmt: skip
    compare(analyzer, args.runs, ours_only=args.ours_only)
    del analyzer
    if not (args.no_memory or args.ours_only):
        for what in ("ours", "theirs"):
            before, after = peak_memory(args, what)
            record("memory beyond the data", what, (after - before) / 1e6, "MB")
            print(f"{what:8} peak {after / 1e9:.2f} GB, of which the data {before / 1e9:.2f} GB")


if __name__ == "__main__":
    main()

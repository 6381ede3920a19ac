"""The extension `curation_metrics`: time and memory compared with SpikeInterface, and accuracy.

    python benchmarks/bench_metrics.py [--spikes 10000000] [--units 500] [--runs 3] [--only NAME]

Prints markdown. Times are medians after a warm-up. Each contender runs in a process of its own, so
that its peak memory can be measured; the data (spikes, amplitudes, positions, templates, principal
components of 500 spikes of each unit on 12 of 384 channels) are the same. The second part takes
SpikeInterface's generators: true units are merged, lose their smallest spikes, fall silent, drift.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
from spikeinterface.core import (
    ChannelSparsity,
    NumpySorting,
    create_sorting_analyzer,
    set_global_job_kwargs,
)

import si_curation as sic  # noqa: F401  (registers the extensions)
from _common import record
from si_curation._spikeinterface import inject_extension, make_memory_analyzer
from si_curation.quality.metrics.extension import compute_metrics_in_windows
from si_curation.quality.metrics.registry import METRICS

FS = 30000.0
DURATION_S = 3600.0
NUM_CHANNELS, NEAR = 384, 12
SHARED = [
    "num_spikes",
    "firing_rate",
    "presence_ratio",
    "firing_range",
    "amplitude_median",
    "amplitude_cv",
    "amplitude_cutoff",
    "noise_cutoff",
    "drift",
    "mahalanobis",
    "d_prime",
    "nearest_neighbor",
    "silhouette",
    "isi_violation",
    "rp_violation",
    "sliding_rp_violation",
]


def make_analyzer(num_spikes, num_units, duration_s=DURATION_S):
    """Make an analyzer of spikes with amplitudes, positions, templates and components."""
    from probeinterface import generate_multi_columns_probe

    rng = np.random.default_rng(0)
    spikes = np.zeros(
        num_spikes, dtype=[("sample_index", "i8"), ("unit_index", "i8"), ("segment_index", "i8")]
    )
    spikes["sample_index"] = np.sort(rng.integers(0, int(duration_s * FS), num_spikes))
    spikes["unit_index"] = rng.integers(0, num_units, num_spikes)
    sorting = NumpySorting(spikes, FS, np.arange(num_units))
    probe = generate_multi_columns_probe(2, NUM_CHANNELS // 2, xpitch=20, ypitch=20)
    probe.set_device_channel_indices(np.arange(NUM_CHANNELS))
    positions = probe.contact_positions
    main = np.sort(rng.integers(0, NUM_CHANNELS, num_units))
    distance = ((positions[main][:, None] - positions[None]) ** 2).sum(axis=-1)
    mask = np.zeros((num_units, NUM_CHANNELS), dtype=bool)
    np.put_along_axis(mask, np.argsort(distance, axis=1)[:, :NEAR], True, axis=1)
    from probeinterface import ProbeGroup

    group = ProbeGroup()
    group.add_probe(probe)
    attributes = {
        "channel_ids": np.arange(NUM_CHANNELS),
        "sampling_frequency": FS,
        "num_channels": NUM_CHANNELS,
        "num_samples": [int(duration_s * FS)],
        "is_filtered": True,
        "properties": {},
        "dtype": "int16",
        "probegroup": group,
    }
    sparsity = ChannelSparsity(mask, sorting.unit_ids, attributes["channel_ids"])
    analyzer = make_memory_analyzer(sorting, None, attributes, sparsity, True, main)
    unit = spikes["unit_index"]
    amplitudes = (-80 - 0.1 * unit + rng.normal(0, 12, num_spikes)).astype(np.float32)
    locations = np.zeros(num_spikes, dtype=[("x", "f4"), ("y", "f4")])
    locations["y"] = positions[main[unit], 1] + rng.normal(0, 5, num_spikes)
    chosen = np.sort(
        np.concatenate([np.flatnonzero(unit == i)[:500] for i in range(num_units)])
        if num_spikes < 2_000_000
        else np.arange(min(num_spikes, 500 * num_units))
    )
    components = rng.normal(0, 1, (chosen.size, 3, NEAR)).astype(np.float32)
    components[:, 0, 0] += unit[chosen]
    templates = np.zeros((num_units, 60, NUM_CHANNELS), dtype=np.float32)
    templates[:, 20] = -100 * np.exp(-np.sqrt(distance) / 30) * mask
    inject_extension(analyzer, "random_spikes", {"random_spikes_indices": chosen}, {})
    inject_extension(
        analyzer,
        "principal_components",
        {"pca_projection": components},
        {"n_components": 3, "mode": "by_channel_local", "whiten": True, "dtype": "float32"},
    )
    params = {"operators": ["average"], "ms_before": 0.7, "ms_after": 1.3}
    inject_extension(analyzer, "templates", {"average": templates}, params)
    inject_extension(analyzer, "spike_amplitudes", {"amplitudes": amplitudes}, {})
    inject_extension(analyzer, "spike_locations", {"spike_locations": locations}, {})
    return analyzer


def compute(analyzer, contender):
    from spikeinterface.metrics import compute_quality_metrics

    if contender == "ours":
        return analyzer.compute("curation_metrics", delete_existing_metrics=True).get_data()
    if contender == "ours, SpikeInterface's without isolation":
        names = SHARED[:9] + SHARED[13:]
        return analyzer.compute(
            "curation_metrics", metric_names=names, delete_existing_metrics=True
        ).get_data()
    if contender.startswith("ours:"):
        names = [n for n, m in METRICS.items() if m.group == contender[5:]]
        return analyzer.compute(
            "curation_metrics", metric_names=names, delete_existing_metrics=True
        ).get_data()
    if contender == "windows":
        return compute_metrics_in_windows(analyzer, window_s=600)
    names = SHARED[:9] + SHARED[13:] if contender.endswith("without isolation") else SHARED
    return compute_quality_metrics(
        analyzer, metric_names=names, skip_pc_metrics=len(names) < len(SHARED)
    )


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1e6 if sys.platform == "darwin" else 1e3
    )


def measure(contender, num_spikes, num_units, runs):
    """Time one contender in this process."""
    warnings.simplefilter("ignore")
    compute(make_analyzer(20_000, 20, 200.0), contender)  # compile
    analyzer = make_analyzer(num_spikes, num_units)
    before = peak_mb()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        compute(analyzer, contender)
        seconds.append(time.perf_counter() - start)
    print(json.dumps([statistics.median(seconds), before, peak_mb()]))


def bench_speed(num_spikes, num_units, runs, left_out):
    rows = [("ours", num_spikes, runs)]
    groups = dict.fromkeys(m.group for m in METRICS.values())
    rows += [(f"ours:{group}", num_spikes, runs) for group in groups]
    rows += [("windows", num_spikes, 1), ("ours", num_spikes // 10, runs)]
    rows += [("SpikeInterface", num_spikes // 10, 1)]
    for count in (num_spikes // 10, num_spikes):
        rows += [("SpikeInterface without isolation", count, 1)]
        rows += [("ours, SpikeInterface's without isolation", count, runs)]
    rows += [("ours:isolation", num_spikes // 10, runs)]
    print(f"\n{num_units} units, {DURATION_S:g} s\n")
    print(
        "| contender | spikes | s | peak before, MB | peak, MB |\n| --- | --: | --: | --: | --: |"
    )
    for contender, count, times in [row for row in rows if row[0] not in left_out]:
        arguments = ["--measure", contender, "--spikes", count, "--units", num_units]
        done = subprocess.run(
            [sys.executable, __file__, *map(str, arguments), "--runs", str(times)],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, before, peak = json.loads(done.stdout.splitlines()[-1])
        if contender.endswith("without isolation"):
            who = "SpikeInterface" if contender.startswith("SpikeInterface") else "ours"
            table, row = f"{num_units} units, what both have but isolation", f"{count:,} spikes"
            columns = who, f"memory beyond the data, {who}"
        else:
            table, row = f"{num_units} units", f"{contender}, {count:,} spikes"
            columns = "time", "memory beyond the data"
        record(table, f"{row} | {columns[0]}", seconds)
        record(table, f"{row} | {columns[1]}", peak - before, "MB")
        print(f"| {contender} | {count:,} | {seconds:.2f} | {before:.0f} | {peak:.0f} |")


# -------------------------------------------------------------------------------------- the truth


def generate(drift_um, duration_s=150.0, num_units=6, seed=0):
    """Make a recording of true units, its sorting, and the displacement over time."""
    from spikeinterface.generation import generate_drifting_recording

    motion = {
        "drift_mode": "zigzag",
        "non_rigid_gradient": None,
        "t_start_drift": 0.0,
        "t_end_drift": None,
        "period_s": 2 * duration_s,
    }
    _, drifting, sorting, infos = generate_drifting_recording(
        num_units=num_units,
        duration=duration_s,
        generate_probe_kwargs={
            "num_columns": 2, "num_contact_per_column": [8, 8], "xpitch": 20, "ypitch": 20,
            "contact_shapes": "circle", "contact_shape_params": {"radius": 6},
        },
        generate_displacement_vector_kwargs={
            "displacement_sampling_frequency": 5.0,
            "drift_start_um": [0, max(drift_um, 1e-3) / 2],
            "drift_stop_um": [0, -max(drift_um, 1e-3) / 2],
            "drift_step_um": 1,
            "motion_list": [motion],
        },
        generate_sorting_kwargs={"firing_rates": (10.0, 20.0), "refractory_period_ms": 2.0},
        amplitude_std=0.12,
        extra_outputs=True,
        seed=seed,
    )  # fmt: skip
    displacement = np.squeeze(infos["displacement_vectors"])
    along = displacement[:, 1] if displacement.ndim > 1 else displacement
    return drifting, sorting, along * (drift_um > 0), infos["displacement_sampling_frequency"]


def analyze(recording, sorting, extensions):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyzer = create_sorting_analyzer(sorting, recording, sparse=True)
        analyzer.compute(["random_spikes", "waveforms", "templates", "noise_levels", *extensions])
    return analyzer


def bench_drift():
    print(
        "\n| true drift (range of interval medians), µm | drift_ptp | drift_std, true | drift_std |"
    )
    print("| --: | --: | --: | --: |")
    params = {"interval_s": 10, "min_spikes_per_interval": 50}
    for drift_um in (0, 10, 20, 40):
        recording, sorting, along, rate = generate(drift_um)
        analyzer = analyze(recording, sorting, [])
        analyzer.compute("spike_locations", method="grid_convolution")
        found = analyzer.compute(
            "curation_metrics", metric_names=["drift"], metric_params={"drift": params}
        ).get_data()
        step = int(10 * rate)
        true = np.array([np.median(along[i : i + step]) for i in range(0, len(along), step)])
        print(
            f"| {np.ptp(true):.1f} | {found['drift_ptp'].median():.1f} | {true.std():.1f} "
            f"| {found['drift_std'].median():.1f} |"
        )


def bench_losses():
    recording, sorting, _, _ = generate(0)
    analyzer = analyze(recording, sorting, ["spike_amplitudes", "principal_components"])
    amplitudes = analyzer.get_extension("spike_amplitudes").get_data()
    vector = analyzer.sorting.to_spike_vector()
    print("\n| share of the smallest spikes lost | amplitude_cutoff | noise_cutoff |")
    print("| --: | --: | --: |")
    for share in (0.0, 0.05, 0.1, 0.2, 0.3):
        keep = np.ones(vector.size, dtype=bool)
        for unit in range(len(analyzer.unit_ids)):
            rows = np.flatnonzero(vector["unit_index"] == unit)
            order = rows[np.argsort(np.abs(amplitudes[rows]))]
            keep[order[: int(share * rows.size)]] = False
        found = with_spikes(analyzer, keep, amplitudes)
        medians = found[["amplitude_cutoff", "noise_cutoff"]].median()
        print(f"| {share:.2f} | {medians.iloc[0]:.3f} | {medians.iloc[1]:.2f} |")
    print("\n| share of the recording after which a unit is silent | presence_ratio |")
    print("| --: | --: |")
    for share in (1.0, 0.8, 0.5, 0.2):
        keep = vector["sample_index"] < share * recording.get_num_samples()
        print(f"| {share} | {with_spikes(analyzer, keep, amplitudes)['presence_ratio'].median()} |")
    bench_merges(analyzer)


def with_spikes(analyzer, keep, amplitudes):
    """Metrics of some of the spikes."""
    spikes = analyzer.sorting.to_spike_vector()[keep]
    sorting = NumpySorting(spikes, analyzer.sampling_frequency, analyzer.unit_ids)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = create_sorting_analyzer(sorting, analyzer.recording, sparse=False)
    inject_extension(part, "spike_amplitudes", {"amplitudes": amplitudes[keep]}, {})
    names = ["amplitude_cutoff", "noise_cutoff", "presence_ratio"]
    params = {"presence_ratio": {"bin_duration_s": 15}}
    return part.compute("curation_metrics", metric_names=names, metric_params=params).get_data()


def bench_merges(analyzer):
    """Merge each true unit with the one next to it."""
    analyzer.compute("template_assignment")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = analyzer.compute("curation_metrics").get_data()
        similarity = analyzer.compute("template_similarity").get_data().copy()
    np.fill_diagonal(similarity, -1)
    rows = []
    for i, j in sorted({tuple(sorted((i, int(row.argmax())))) for i, row in enumerate(similarity)}):
        pair = analyzer.unit_ids[[i, j]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            merged = analyzer.merge_units([pair.tolist()], sparsity_overlap=0.0)
        new = np.setdiff1d(merged.unit_ids, analyzer.unit_ids)[0]
        of = merged.get_extension("curation_metrics").get_data().loc[new]
        counts = alone.loc[pair, "num_spikes"]
        rows.append(
            {
                "purity, true": counts.max() / counts.sum(),
                "template_purity": of["template_purity"],
                "contamination, true": counts.min() / counts.sum(),
                "rp_contamination_one_neuron": of["rp_contamination_one_neuron"],
                "upper": of["rp_contamination_one_neuron_upper"],
                "the same, alone": alone.loc[pair, "rp_contamination_one_neuron"].max(),
                "nn_hit_rate, alone": alone.loc[pair, "nn_hit_rate"].mean(),
                "nn_hit_rate": of["nn_hit_rate"],
                "amplitude_cv, alone": alone.loc[pair, "amplitude_cv_median"].max(),
                "amplitude_cv": of["amplitude_cv_median"],
            }
        )
    table = pd.DataFrame(rows)
    print("\n| " + " | ".join(table.columns) + " |\n|" + " --: |" * len(table.columns))
    for _, row in table.iterrows():
        print("| " + " | ".join(f"{value:.3f}" for value in row) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, default=10_000_000)
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=["speed", "truth"])
    parser.add_argument(
        "--leave-out", nargs="*", default=[], help="contenders, as they are printed"
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.spikes, arguments.units, arguments.runs)
        return
    if arguments.only != "truth":
        bench_speed(arguments.spikes, arguments.units, arguments.runs, arguments.leave_out)
    if arguments.only != "speed":
        warnings.simplefilter("ignore")
        set_global_job_kwargs(n_jobs=1, progress_bar=False)
        bench_losses()
        bench_drift()


if __name__ == "__main__":
    main()

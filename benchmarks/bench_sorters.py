"""Several sorters on one recording with ground truth, each through the whole package.

    python benchmarks/bench_sorters.py [OUTPUT] [--sorters ...] [--duration 120] [--units 20]

Prints markdown. Run -> analyzer -> every extension -> suggested merges -> session -> phy and NWB,
and how many simulated units are found before and after the suggested merges. "kilosort4" needs
kilosort and torch in the same environment and runs on the processor; the others need
``spikeinterface[spykingcircus2,tridesclous2]``. Amplitudes of the simulated units drift and fall
within bursts. "... unmerged" is a sorter whose own last merging is switched off, so that there is
something to correct. OUTPUT (a new folder) keeps everything, with the numbers in ``result.json``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import spikeinterface.core as sc
from spikeinterface.comparison import compare_sorter_to_ground_truth, compare_two_sorters
from spikeinterface.core.generate import (
    InjectTemplatesRecording,
    generate_templates,
    generate_unit_locations,
)
from spikeinterface.generation import NoiseGeneratorRecording
from spikeinterface.preprocessing import scale
from spikeinterface.sorters import run_sorter

import si_curation as sic
from _common import record

SORTERS = {  # name in the table: SpikeInterface's name, parameters
    "spykingcircus2": ("spykingcircus2", {}),
    "spykingcircus2 unmerged": ("spykingcircus2", {"merging": {"max_distance_um": 0.0}}),
    "tridesclous2": ("tridesclous2", {}),
    "kilosort4": ("kilosort4", {"nblocks": 0, "torch_device": "cpu"}),
    "kilosort4 unmerged": (
        "kilosort4",
        {"nblocks": 0, "torch_device": "cpu", "ccg_threshold": 0.0},
    ),
}
COMPUTED_FROM_TRACES = {
    "random_spikes": {"method": "uniform", "max_spikes_per_unit": 300, "seed": 0},
    "noise_levels": {},
    "waveforms": {},
    "templates": {},
    "spike_amplitudes": {},
    "spike_locations": {"method": "center_of_mass"},
    "unit_locations": {"method": "center_of_mass"},
    "principal_components": {"n_components": 3, "mode": "by_channel_local"},
}
OURS = (
    "template_assignment",
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
    "curation_metrics",
)
SAMPLING_FREQUENCY = 30_000.0
GAIN_UV = 0.2  # of the int16 recording
WELL_DETECTED = 0.8  # accuracy


def make_recording(folder, *, duration, num_units, num_channels=32, seed=0):
    """Save an int16 recording whose units drift in amplitude and burst; return both."""
    rng = np.random.default_rng(seed)
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[duration],
        sampling_frequency=SAMPLING_FREQUENCY,
        num_channels=num_channels,
        num_units=num_units,
        generate_sorting_kwargs={"firing_rates": (4.0, 12.0), "refractory_period_ms": 3.0},
        seed=seed,
    )
    probe = recording.get_probe()
    spikes = sorting.to_spike_vector()
    unit, seconds = spikes["unit_index"], spikes["sample_index"] / SAMPLING_FREQUENCY
    drift = rng.uniform(-0.9, 0.9, num_units)[unit]
    factor = 1.0 + drift * (seconds / duration - 0.5)
    for u in range(num_units):  # the sooner after the spike before, the smaller
        mine = np.flatnonzero(unit == u)
        factor[mine] *= 1.0 - 0.4 * np.exp(-np.diff(seconds[mine], prepend=-1.0) / 0.02)
    positions = probe.contact_positions
    locations = generate_unit_locations(
        num_units,
        positions,
        margin_um=5.0,
        minimum_z=10.0,
        maximum_z=35.0,
        minimum_distance=20.0,
        seed=seed,
    )
    templates = generate_templates(
        positions,
        locations,
        SAMPLING_FREQUENCY,
        ms_before=1.5,
        ms_after=3.0,
        seed=seed,
        unit_params={"alpha": (150.0, 500.0), "spatial_decay": (15.0, 40.0)},
    )
    noise = NoiseGeneratorRecording(
        num_channels=num_channels,
        sampling_frequency=SAMPLING_FREQUENCY,
        durations=[duration],
        noise_levels=8.0,
        dtype="float32",
        seed=seed,
        strategy="on_the_fly",
        noise_block_size=int(SAMPLING_FREQUENCY),
    )
    traces = InjectTemplatesRecording(
        sorting=sorting,
        templates=templates,
        nbefore=round(1.5e-3 * SAMPLING_FREQUENCY),
        amplitude_factor=factor,
        parent_recording=noise,
    )
    traces.set_probe(probe, in_place=True)
    counts = scale(traces, gain=1 / GAIN_UV, dtype="int16")
    counts.set_channel_gains(GAIN_UV)
    counts.set_channel_offsets(0.0)
    counts.annotate(is_filtered=True)
    return counts.save(folder=folder, chunk_duration="10s", n_jobs=1, progress_bar=False), sorting


def make_analyzer(name, recording, folder, sorting):
    """Return an analyzer with every extension; of Kilosort from the files that it wrote."""
    if name.startswith("kilosort4"):
        # SpikeInterface hands Kilosort a file of its own, which has the channels in order
        analyzer = sic.read_kilosort_as_analyzer(folder / "sorter_output", gain_to_uV=GAIN_UV)
    else:
        analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=True, verbose=False)
        analyzer.compute(COMPUTED_FROM_TRACES, n_jobs=1, progress_bar=False)
    analyzer.compute(list(OURS), progress_bar=False)
    return analyzer


def apply_suggestions(analyzer):
    """Merge what is suggested; the curated analyzer and the groups."""
    groups = sic.suggest_merges(analyzer).groups()
    session = sic.CurationSession(analyzer)
    for group in groups:
        session.merge(group, reason="suggested", decided_by="suggest_merges")
    return session.apply(), groups


def complete(curated):
    """Compute again what a session leaves out; phy shows template features beside components."""
    if curated.has_recording() and curated.get_extension("principal_components") is None:
        curated.compute(COMPUTED_FROM_TRACES, n_jobs=1, progress_bar=False)
    curated.compute([n for n in OURS if curated.get_extension(n) is None], progress_bar=False)


def agreement(truth, sorting):
    """Return the number of simulated units that are found, and of redundant ones."""
    found = compare_sorter_to_ground_truth(truth, sorting, exhaustive_gt=True, delta_time=0.4)
    accuracy = found.get_performance(output="dict")["accuracy"]
    return {
        "units": len(sorting.unit_ids),
        "well detected": int(found.count_well_detected_units(WELL_DETECTED)),
        "mean accuracy": float(np.mean(list(accuracy.values()))),
        "redundant": int(found.count_redundant_units()),
        "overmerged": int(found.count_overmerged_units()),
    }


def shared_best_channels(analyzer_a, analyzer_b):
    """Match the units of two sorters; the share of matches whose best channels are neighbours."""
    matched = compare_two_sorters(
        analyzer_a.sorting, analyzer_b.sorting, delta_time=0.4, match_score=0.5
    ).hungarian_match_12
    best = [a.get_extension("template_best_channels") for a in (analyzer_a, analyzer_b)]
    near = []
    for a, b in matched.items():
        if b == -1 or b == "":
            continue
        ranked = [ext.get_data(outputs="indices")[u] for ext, u in zip(best, (a, b), strict=True)]
        positions = [
            analyzer.get_channel_locations()[channels[0]]
            for analyzer, channels in zip((analyzer_a, analyzer_b), ranked, strict=True)
        ]
        near.append(np.linalg.norm(positions[0] - positions[1]) <= 30.0)
    return len(near), float(np.mean(near)) if near else np.nan


def run(name, recording, truth, root):
    """Do everything with one sorter; a row of the table, and the curated analyzer."""
    start = time.perf_counter()
    sorter, parameters = SORTERS[name]
    folder = root / name.replace(" ", "-")
    sorting = run_sorter(sorter, recording, folder=folder, verbose=False, **parameters)
    sorted_in = time.perf_counter() - start
    start = time.perf_counter()
    analyzer = make_analyzer(name, recording, folder, sorting)
    before = agreement(truth, analyzer.sorting)
    curated, groups = apply_suggestions(analyzer)
    complete(curated)
    missing = [n for n in OURS if curated.get_extension(n) is None]
    after = agreement(truth, curated.sorting)
    phy = sic.export_to_phy(curated, folder.with_name(f"{folder.name}-phy"))
    nwb = sic.export_to_nwb(
        curated, folder.with_name(f"{folder.name}.nwb"), t_start=0.0, metadata=METADATA
    )
    back = sic.read_phy_folder(phy)
    return {
        "sorter": name,
        "before": before,
        "after": after,
        "groups": [[str(unit_id) for unit_id in group] for group in groups],
        "missing": missing,
        "spikes_in_phy": back.num_spikes,
        "units_in_phy": int(back.cluster_ids.size),
        "spikes": int(curated.sorting.to_spike_vector().size),
        "phy": str(phy),
        "nwb": str(nwb),
        "sorted_in_s": sorted_in,
        "curated_in_s": time.perf_counter() - start,
        "analyzer": curated,
    }


METADATA = {
    "NWBFile": {
        "session_description": "simulated",
        "identifier": "simulated",
        "session_start_time": "2020-01-01T00:00:00+00:00",
    }
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path, nargs="?", help="new folder; a temporary one")
    parser.add_argument("--sorters", nargs="+", default=list(SORTERS), choices=SORTERS)
    parser.add_argument("--duration", type=float, default=120.0)
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.output or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        recording, truth = make_recording(
            root / "recording",
            duration=arguments.duration,
            num_units=arguments.units,
            seed=arguments.seed,
        )
        rows = [run(name, recording, truth, root) for name in arguments.sorters]
        print_tables(rows, arguments.units)
        analyzers = {row["sorter"]: row.pop("analyzer") for row in rows}
        result = {"rows": rows, "pairs": compare_all(analyzers)}
        print_pairs(result["pairs"])
        (root / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def print_tables(rows, num_units):
    columns = ("units", "well detected", "mean accuracy", "redundant", "overmerged")
    print(f"{num_units} simulated units; before -> after the suggested merges\n")
    print("| sorter | " + " | ".join(columns) + " | merged | sorting, s | the rest, s |")
    print("| --- " * (len(columns) + 4) + "|")
    for row in rows:
        record(f"{num_units} units", f"{row['sorter']}, sorting", row["sorted_in_s"])
        record(f"{num_units} units", f"{row['sorter']}, the rest", row["curated_in_s"])
        for when in ("before", "after"):
            what = f"{row['sorter']}, mean accuracy {when}"
            record(f"{num_units} units", what, row[when]["mean accuracy"], "share")
        cells = [f"{row['before'][c]:.3g} -> {row['after'][c]:.3g}" for c in columns]
        print(
            f"| {row['sorter']} | {' | '.join(cells)} | {len(row['groups'])} groups "
            f"| {row['sorted_in_s']:.0f} | {row['curated_in_s']:.0f} |"
        )


def compare_all(analyzers):
    """Match the units of every two sorters."""
    pairs = []
    for a, b in itertools.combinations(analyzers, 2):
        count, share = shared_best_channels(analyzers[a], analyzers[b])
        pairs.append({"sorters": [a, b], "matched": count, "near": share})
    return pairs


def print_pairs(pairs):
    print("\n| pair | matched units | best channels within 30 um |\n| --- | --- | --- |")
    for pair in pairs:
        print(f"| {', '.join(pair['sorters'])} | {pair['matched']} | {pair['near']:.0%} |")


if __name__ == "__main__":
    main()

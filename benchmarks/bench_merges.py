"""Precision, recall and time of `suggest_merges` compared with SpikeInterface's presets.

    python benchmarks/bench_merges.py [--seeds 3] [--units 50] [--duration 240] [--spikes 2000000]

Prints markdown. Units of a simulated ground truth (SpikeInterface's generator) are split at random:
into two or three parts that alternate in time, and into parts that follow each other. Some units
get a twin: a neighbour whose template is mostly theirs. A pair of parts of one unit is correct; all
other pairs are wrong. Every contender gets the same analyzer.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import spikeinterface.curation as si_curation_tools
from spikeinterface.core import (
    NumpySorting,
    create_sorting_analyzer,
    generate_ground_truth_recording,
    set_global_job_kwargs,
)

import si_curation as sic
from si_curation.evidence.bad_merges import find_bad_merges
from si_curation.evidence.merges import suggest_merges
from si_curation.extensions.unit_similarity import compute_unit_similarity

PRESETS = (
    "similarity_correlograms",
    "temporal_splits",
    "x_contaminations",
    "feature_neighbors",
    "slay",
)
WAYS = ("alternating", "following")
EXTENSIONS = {
    "random_spikes": {},
    "templates": {},
    "noise_levels": {},
    "unit_locations": {},
    "template_similarity": {"method": "l1"},
    "correlograms": {},
    "spike_amplitudes": {},
    "spike_locations": {},
}


def split_units(sorting, share, rng, ways=WAYS):
    """Split a share of the units; the new sorting and the true pairs of each way."""
    samples = {u: sorting.get_unit_spike_train(u, segment_index=0) for u in sorting.unit_ids}
    chosen = rng.choice(sorting.unit_ids, round(share * len(samples)), replace=False)
    trains, truth, next_id = {}, {way: set() for way in ways}, 0
    for unit in sorting.unit_ids:
        times = samples[unit]
        parts = [times]
        if unit in chosen:
            way = ways[rng.integers(len(ways))]
            num_parts = int(rng.integers(2, 4))
            if way == "alternating":
                label = rng.choice(num_parts, times.size, p=rng.dirichlet(np.full(num_parts, 5.0)))
            else:
                ends = np.sort(rng.uniform(0.15, 0.85, num_parts - 1)) * times[-1]
                label = np.searchsorted(ends, times)
            parts = [times[label == k] for k in range(num_parts)]
        ids = list(range(next_id, next_id + len(parts)))
        next_id += len(parts)
        trains |= dict(zip(ids, parts, strict=True))
        if len(parts) > 1:
            truth[way] |= {frozenset(pair) for pair in itertools.combinations(ids, 2)}
    return NumpySorting.from_unit_dict([trains], sorting.sampling_frequency), truth


def with_twins(templates, locations, share, rng):
    """Make some templates nine parts that of their nearest neighbour and one part their own."""
    templates = templates.copy()
    distance = np.linalg.norm(locations[:, None] - locations[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    for unit in rng.choice(len(templates), round(share * len(templates)), replace=False):
        templates[unit] = 0.9 * templates[distance[unit].argmin()] + 0.1 * templates[unit]
    return templates


def make_analyzer(seed, num_units, duration_s, share=0.3, twins=0.15):
    rng = np.random.default_rng(seed)
    what = {
        "durations": [duration_s],
        "num_channels": 64,
        "num_units": num_units,
        "generate_sorting_kwargs": {"firing_rates": (1.0, 15.0), "refractory_period_ms": 3.0},
        "seed": seed,
    }
    recording, sorting = generate_ground_truth_recording(**what)
    locations = sorting.get_property("gt_unit_locations")
    templates = with_twins(recording.templates, locations, twins, rng)
    recording, sorting = generate_ground_truth_recording(
        **what, sorting=sorting, templates=templates
    )
    split, truth = split_units(sorting, share, rng)
    analyzer = create_sorting_analyzer(split, recording, sparse=True, verbose=False)
    analyzer.compute(EXTENSIONS)
    return analyzer, truth


def timed(function):
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def contenders(analyzer):
    def ours():
        return suggest_merges(analyzer).pairs()

    def ours_groups():
        return [p for g in suggest_merges(analyzer).groups() for p in itertools.combinations(g, 2)]

    def theirs(preset):
        return si_curation_tools.compute_merge_unit_groups(
            analyzer, preset=preset, resolve_graph=False
        )

    yield "suggest_merges, pairs", ours
    yield "suggest_merges, pairs within groups", ours_groups
    for preset in PRESETS:
        yield f"SpikeInterface {preset}", lambda preset=preset: theirs(preset)


def report_truth(seeds, num_units, duration_s, first_seed=0):
    scores: dict[str, list[tuple]] = {}
    scores_of_pairs = []
    for seed in range(first_seed, first_seed + seeds):
        analyzer, truth = make_analyzer(seed, num_units, duration_s)
        right = set().union(*truth.values())
        suggest_merges(analyzer)  # compiles
        for name, function in contenders(analyzer):
            try:
                found, seconds = timed(function)
            except Exception as fault:
                print(f"{name} failed: {type(fault).__name__}: {fault}")
                continue
            found = {frozenset(int(i) for i in pair) for pair in found}
            recall = [
                len(found & own) / len(own) if own else np.nan for own in (right, *truth.values())
            ]
            precision = len(found & right) / len(found) if found else np.nan
            scores.setdefault(name, []).append((len(found), precision, *recall, seconds))
        table = suggest_merges(analyzer).table
        is_right = [
            frozenset(pair) in right
            for pair in zip(table["unit_id_a"], table["unit_id_b"], strict=True)
        ]
        scores_of_pairs.append((table["score"].to_numpy(), np.array(is_right), len(right)))
    total = sum(n for *_, n in scores_of_pairs)
    print(
        f"\n{seeds} seeds, {num_units} units before the splits, {duration_s:g} s; "
        f"{total} true pairs\n"
    )
    print("| method | pairs | precision | recall | of alternating | of following | seconds |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, rows in scores.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            mean = np.nanmean(np.array(rows, dtype=float), axis=0)
        cells = [f"{mean[0]:.1f}", *(f"{v:.2f}" for v in mean[1:])]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n| threshold | precision | recall |\n| ---: | ---: | ---: |")
    score = np.concatenate([s for s, *_ in scores_of_pairs])
    is_right = np.concatenate([r for _, r, _ in scores_of_pairs])
    for threshold in (0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9):
        good = score >= threshold
        precision = is_right[good].mean() if good.any() else float("nan")
        print(f"| {threshold} | {precision:.2f} | {is_right[good].sum() / total:.2f} |")


def median(function, runs=3):
    return statistics.median(timed(function)[1] for _ in range(runs))


def report_speed(num_units, num_spikes):
    with tempfile.TemporaryDirectory() as folder:
        sic.simulate_kilosort_folder(
            Path(folder) / "sorted",
            num_templates=num_units,
            num_channels=384,
            num_spikes=num_spikes,
            write_features=False,
            curation=num_units // 5,
        )
        analyzer = sic.read_kilosort_as_analyzer(Path(folder) / "sorted")
        jobs = {
            "unit_similarity, from the templates": lambda: compute_unit_similarity(
                analyzer, source="templates"
            ),
            "unit_similarity, from the file": lambda: compute_unit_similarity(analyzer),
            "suggest_merges": lambda: suggest_merges(analyzer),
            "find_bad_merges": lambda: find_bad_merges(analyzer),
        }
        print(f"\n{num_units} templates, {num_spikes:,} spikes, 384 channels\n")
        print("| what | seconds |\n| --- | ---: |")
        for name, function in jobs.items():
            function()
            print(f"| {name} | {median(function):.2f} |")
        print(f"\n{suggest_merges(analyzer)!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--units", type=int, default=50)
    parser.add_argument("--duration", type=float, default=240.0)
    parser.add_argument("--templates", type=int, default=500)
    parser.add_argument("--spikes", type=int, default=2_000_000)
    arguments = parser.parse_args()
    set_global_job_kwargs(n_jobs=1, progress_bar=False)
    if arguments.seeds:
        report_truth(arguments.seeds, arguments.units, arguments.duration, arguments.first_seed)
    if arguments.spikes:
        report_speed(arguments.templates, arguments.spikes)


if __name__ == "__main__":
    main()

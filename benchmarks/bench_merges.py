"""Precision, recall and time of `suggest_merges` compared with SpikeInterface's presets.

    python benchmarks/bench_merges.py [--seeds 3] [--units 50] [--duration 240] [--spikes 2000000]
    python benchmarks/bench_merges.py --truth FOLDER... [--cuts FOLDER...]

Prints markdown. Units of a simulated ground truth (SpikeInterface's generator) are split at random:
into two or three parts that alternate in time, and into parts that follow each other. Some units
get a twin: a neighbour whose template is mostly theirs. A pair of parts of one unit is correct; all
other pairs are wrong. Every contender gets the same analyzer.

`--truth`: folders that a sorter wrote of recordings with `ground_truth.npz` (see `truth.py`), such
as Kilosort 4 without its final merging. A true pair: both units are mostly (four fifths) the same
neuron of interest. A suggested pair is right if both units have their largest part from the same
neuron, whatever it is. `--cuts`: pure units of such folders (nine tenths, 100 spikes, no true pair)
are cut at an amplitude, by a soft threshold; half of them, so that there is as much to refuse. Half
widths of the threshold are 0 to 0.3 standard deviations, the shares 0.25 to 0.75.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import spikeinterface.curation as si_curation_tools
from spikeinterface.core import (
    NumpySorting,
    create_sorting_analyzer,
    generate_ground_truth_recording,
    set_global_job_kwargs,
)

import si_curation as sic
from _common import record
from si_curation._spikeinterface import spike_vector_of
from si_curation.evidence.bad_merges import find_bad_merges
from si_curation.evidence.merges import suggest_merges
from si_curation.extensions.unit_similarity import compute_unit_similarity
from truth import SortedTruth, as_proportion

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


def without_features(analyzer):
    with mock.patch("si_curation.evidence.border_waveforms.source_by_channel", return_value=None):
        return suggest_merges(analyzer).pairs()


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
    yield "suggest_merges, without features", lambda: without_features(analyzer)
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


THRESHOLDS = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
LEAST_PRECISION = 0.93


def report_sorters(folders):
    """Print precision and recall on the splits that sorters made themselves."""
    known = [SortedTruth(folder) for folder in folders]
    names, counts, scores = [], {}, {}
    for truth in known:
        for extension in ("correlograms", "template_similarity"):
            truth.analyzer.compute(extension)
        for name, function in contenders(truth.analyzer):
            try:
                found, seconds = timed(function)
            except Exception as fault:
                print(f"{truth.name}: {name} failed: {type(fault).__name__}: {fault}")
                continue
            found = {frozenset(pair) for pair in found}
            right = sum(truth.is_one_neuron(*pair) for pair in found)
            hits = len(found & truth.true_merges)
            names += [] if name in names else [name]
            row = (right, len(found), hits, len(truth.true_merges), seconds)
            counts.setdefault(name, {})[truth.name] = row
        table = suggest_merges(truth.analyzer).table
        pairs = list(zip(table["unit_id_a"], table["unit_id_b"], strict=True))
        scores[truth.name] = (
            table["score"].to_numpy(),
            np.array([truth.is_one_neuron(*pair) for pair in pairs], dtype=bool),
            np.array([frozenset(pair) in truth.true_merges for pair in pairs], dtype=bool),
            len(truth.true_merges),
        )
    in_drift = {truth.name for truth in known if truth.has_drift}
    print("\n| method | precision | recall | recall in drift | seconds |")
    print("| --- | --- | --- | --- | ---: |")
    for name in names:
        total = np.sum(list(counts[name].values()), axis=0)
        drift = np.sum([r for k, r in counts[name].items() if k in in_drift] or [[0] * 5], axis=0)
        cells = [
            as_proportion(int(right), int(of)) for right, of in (total[:2], total[2:4], drift[2:4])
        ]
        print(f"| {name} | {' | '.join(cells)} | {total[4]:.1f} |")
    print("\n| recording | right of suggested | found of true pairs |\n| --- | --- | --- |")
    for name, row in counts[names[0]].items():
        print(f"| {name} | {row[0]} of {row[1]} | {row[2]} of {row[3]} |")
    report_left_out(scores)


def report_left_out(scores):
    """Print the figures with the threshold that is best on the other recordings."""
    total = np.zeros(4, dtype=int)
    print("\n| left out | threshold | right of suggested | found of true pairs |")
    print("| --- | ---: | --- | --- |")
    for left in scores:
        others = [row for name, row in scores.items() if name.split("/")[0] != left.split("/")[0]]
        best = (-1, 0.55)
        for threshold in THRESHOLDS:
            right = sum((one[s >= threshold]).sum() for s, one, *_ in others)
            number = sum((s >= threshold).sum() for s, *_ in others)
            if number and right / number >= LEAST_PRECISION:
                best = max(best, (sum(t[s >= threshold].sum() for s, _, t, _ in others), threshold))
        score, one, true, number = scores[left]
        good = score >= best[1]
        row = (one[good].sum(), good.sum(), true[good].sum(), number)
        total += row
        print(f"| {left} | {best[1]} | {row[0]} of {row[1]} | {row[2]} of {row[3]} |")
    cells = [as_proportion(int(total[i]), int(total[i + 1])) for i in (0, 2)]
    print(f"| together | | {' | '.join(cells)} |")


def cut_units(truth, rng):
    """Cut half of the pure units; the new analyzer, the pairs of parts, the neuron of each unit."""
    analyzer = truth.analyzer
    amplitudes = np.abs(analyzer.get_extension("spike_amplitudes").get_data())
    units = spike_vector_of(analyzer.sorting)["unit_index"]
    paired = set().union(*truth.true_merges) if truth.true_merges else set()
    session, pairs = sic.CurationSession(analyzer), set()
    neurons = {unit_id: known.neuron for unit_id, known in truth.units.items()}
    for index, unit_id in enumerate(analyzer.unit_ids.tolist()):
        own = amplitudes[units == index]
        known = truth.units[unit_id]
        is_pure = known.is_of_interest and known.purity >= 0.9 and own.size >= 100
        if not is_pure or unit_id in paired or rng.random() < 0.5:
            continue
        border = np.quantile(own, rng.uniform(0.25, 0.75))
        softness = max(rng.uniform(0, 0.3), 1e-3) * own.std()
        is_high = rng.random(own.size) < 1 / (1 + np.exp(-(own - border) / softness))
        if 20 <= is_high.sum() <= own.size - 20:
            parts = session.split(unit_id, is_high.astype(int))
            pairs.add(frozenset(parts))
            neurons |= dict.fromkeys(parts, neurons[unit_id])
    return session.apply(), pairs, neurons


def report_cuts(folders, repeats=5):
    """Print precision and recall of units that were cut at an amplitude."""
    counts = {}
    for folder, seed in itertools.product(folders, range(repeats)):
        truth = SortedTruth(folder)
        analyzer, pairs, neurons = cut_units(truth, np.random.default_rng(seed))
        for name, found in (
            ("suggest_merges", suggest_merges(analyzer).pairs()),
            ("suggest_merges, without features", without_features(analyzer)),
        ):
            row = counts.setdefault(name, np.zeros(3, dtype=int))
            chosen = [frozenset(pair) for pair in found]
            # other pairs of one neuron, which the sorter split, are neither right nor wrong here
            new = [p for p in chosen if p in pairs or len({neurons[unit] for unit in p}) == 2]
            row += (len(pairs & set(new)), len(new), len(pairs))
    print("\n| units cut at an amplitude | precision | recall |\n| --- | --- | --- |")
    for name, (right, number, true) in counts.items():
        print(f"| {name} | {as_proportion(right, number)} | {as_proportion(right, true)} |")


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
            seconds = median(function)
            record(f"{num_units} templates, {num_spikes:,} spikes", name, seconds)
            print(f"| {name} | {seconds:.2f} |")
        print(f"\n{suggest_merges(analyzer)!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", nargs="+", default=[], metavar="FOLDER")
    parser.add_argument("--cuts", nargs="+", default=[], metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--units", type=int, default=50)
    parser.add_argument("--duration", type=float, default=240.0)
    parser.add_argument("--templates", type=int, default=500)
    parser.add_argument("--spikes", type=int, default=2_000_000)
    arguments = parser.parse_args()
    set_global_job_kwargs(n_jobs=1, progress_bar=False)
    if arguments.truth or arguments.cuts:
        if arguments.truth:
            report_sorters(arguments.truth)
        if arguments.cuts:
            report_cuts(arguments.cuts)
        return
    if arguments.seeds:
        report_truth(arguments.seeds, arguments.units, arguments.duration, arguments.first_seed)
    if arguments.spikes:
        report_speed(arguments.templates, arguments.spikes)


if __name__ == "__main__":
    main()

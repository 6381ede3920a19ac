"""Whether benchmarks of suggestions and calibrated probabilities tell what is right.

    python benchmarks/bench_suggestions.py FOLDER [FOLDER ...] [--speed FOLDER]

Each folder is a sorting of a simulated recording, with ``ground_truth.npz`` in it or above it: see
`truth.py`. Prints markdown: for each folder precision as predicted from its own good units and the
true one of the suggestions that are made; recall of artificial and of the sorter's own splits; then
the probabilities of all suggestions of a recording by a calibration of the other recordings'
benchmarks, beside the share that is right. A suggested merge is right if both units have most of
their spikes from the same neuron, a suggested split if a tenth of the unit's spikes are of
another neuron than most. ``--speed`` prints time and memory on another folder.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import time
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

import si_curation as sic
from _common import record
from si_curation.evidence.benchmark.setting import LEAST_SCORE
from truth import SortedTruth, as_proportion, interval

NUM_DRAWS = 2000
# share of a unit's spikes that is of another neuron: a split of it is right; it has to be found
LEAST_SHARE, OVER_MERGED = 0.1, 0.2


class Tried(NamedTuple):
    """A folder: its real suggestions, and what its benchmark says."""

    name: str
    recording: str
    real: pd.DataFrame  # kind, score, is_suggested, is_right
    benchmark: pd.DataFrame
    num_true: dict  # {kind: real faults that could be found}, and how many were found
    num_found: dict


def real_merges(truth):
    """The candidates for a merge, and how many of the true pairs are suggested."""
    found = sic.suggest_merges(truth.analyzer)
    pairs = found.table[["unit_id_a", "unit_id_b"]].itertuples(index=False, name=None)
    table = pd.DataFrame(
        {
            "kind": "merges",
            "score": found.table["score"],
            "is_suggested": found.table["score"] >= found.score_threshold,
            "is_right": [truth.is_one_neuron(a, b) for a, b in pairs],
        }
    )
    suggested = {frozenset(pair) for pair in found.pairs()}
    return table, len(truth.true_merges), len(suggested & truth.true_merges)


def real_splits(truth):
    """The units that could be split, and how many of those with two neurons are suggested."""
    found = sic.suggest_splits(truth.analyzer)
    table = found.table[["unit_id", "score"]]
    units = truth.units
    is_two = {i: one.second_share >= LEAST_SHARE for i, one in units.items()}
    over_merged = {i for i, one in units.items() if one.second_share >= OVER_MERGED}
    real = pd.DataFrame(
        {
            "kind": "splits",
            "score": table["score"],
            "is_suggested": table["score"] >= found.score_threshold,
            "is_right": [is_two[i] for i in table["unit_id"]],
        }
    )
    return real, len(over_merged), len(over_merged & set(found.units()))


REAL = {"merges": real_merges, "splits": real_splits}


def try_folder(folder):
    truth = SortedTruth(folder)
    parts, num_true, num_found = [], {}, {}
    for kind, function in REAL.items():
        table, num_true[kind], num_found[kind] = function(truth)
        parts.append(table)
    benchmark = sic.benchmark_suggestions(truth.analyzer)
    real = pd.concat(parts, ignore_index=True)
    return Tried(truth.name, truth.recording, real, benchmark, num_true, num_found)


def report_folders(tried):
    print("\n| folder | kind | predicted precision | true precision | recall, artificial | true |")
    print("| --- | --- | --- | --- | --- | --- |")
    for one in tried:
        for kind, row in one.benchmark.iterrows():
            if kind not in REAL:
                continue
            its = one.real[(one.real["kind"] == kind) & one.real["is_suggested"]]
            cells = [
                as_proportion(int(row["num_right"]), int(row["num_suggestions"])),
                as_proportion(int(its["is_right"].sum()), len(its)),
                f"{row['recall_upper_bound']:.2f}",
                as_proportion(one.num_found[kind], one.num_true[kind]),
            ]
            print(f"| {one.name} | {kind} | {' | '.join(cells)} |")


def report_pooled(tried):
    """Print precision as the folders' benchmarks predict it, weighted by their suggestions."""
    print("\n| kind | folders | suggestions | predicted precision | true precision |")
    print("| --- | ---: | ---: | ---: | --- |")
    for kind in REAL:
        predicted, right, total, folders = 0.0, 0, 0, 0
        for one in tried:
            its = one.real[(one.real["kind"] == kind) & one.real["is_suggested"]]
            precision = one.benchmark.loc[kind, "precision"]
            if len(its) and np.isfinite(precision):
                predicted += precision * len(its)
                right, total, folders = right + its["is_right"].sum(), total + len(its), folders + 1
        if total:
            true = as_proportion(int(right), total)
            print(f"| {kind} | {folders} | {total} | {predicted / total:.3f} | {true} |")


def probabilities(tried, kind):
    """Return the real suggestions with their probability by the other recordings' benchmarks."""
    parts = []
    for recording in dict.fromkeys(one.recording for one in tried):
        others = {one.name: one.benchmark for one in tried if one.recording != recording}
        calibration = sic.calibrate_suggestions(others, kind)
        for one in tried:
            if one.recording == recording:
                its = one.real[(one.real["kind"] == kind) & (one.real["score"] >= LEAST_SCORE)]
                parts.append(calibration.add_to(its).assign(folder=one.name, recording=recording))
    return pd.concat(parts, ignore_index=True)


def report_calibration(tried, kind):
    try:
        table = probabilities(tried, kind)
    except sic.MissingDataError as fault:
        print(f"\n{kind}: {fault}")
        return
    print(f"\n{kind}, each recording calibrated by the benchmarks of the others\n")
    print(
        "| suggestions | number | folders | mean probability | share that is right | difference |"
    )
    print("| --- | ---: | ---: | ---: | --- | --- |")
    known = table[table["probability"].notna()]
    edges = (LEAST_SCORE, 0.55, 0.7, 0.8, 0.9, 1.01)
    rows = {"suggested": known[known["is_suggested"]], "all candidates": known}
    for low, high in itertools.pairwise(edges):
        inside = (known["score"] >= low) & (known["score"] < high)
        rows[f"score {low:g} to {min(high, 1):g}"] = known[inside]
    for name, its in rows.items():
        if len(its):
            print(f"| {name} | {_cells(its)} |")
    print(f"\nwithout a probability: {len(table) - len(known)} of {len(table)}")
    print("\n| recording | suggested | mean probability | share that is right |")
    print("| --- | ---: | ---: | --- |")
    for recording, its in known[known["is_suggested"]].groupby("recording"):
        right = as_proportion(int(its["is_right"].sum()), len(its))
        print(f"| {recording} | {len(its)} | {its['probability'].mean():.2f} | {right} |")


def _cells(its):
    """Return number, folders, mean probability, share, and the difference with its interval."""
    right, mean = its["is_right"].mean(), its["probability"].mean()
    by_recording = [group for _, group in its.groupby("recording")]
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(NUM_DRAWS):
        drawn = [by_recording[i] for i in rng.integers(0, len(by_recording), len(by_recording))]
        number = sum(len(g) for g in drawn)
        draws.append(sum((g["probability"] - g["is_right"]).sum() for g in drawn) / number)
    low, high = np.quantile(draws, [0.025, 0.975])
    share_low, share_high = interval(int(its["is_right"].sum()), len(its))
    return (
        f"{len(its)} | {its['folder'].nunique()} | {mean:.3f} | {right:.3f} "
        f"({share_low:.2f}-{share_high:.2f}) | {mean - right:+.3f} ({low:+.2f} to {high:+.2f})"
    )


def report_speed(folder):
    analyzer = sic.read_kilosort_as_analyzer(folder)
    sic.benchmark_suggestions(analyzer)  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        found = sic.benchmark_suggestions(analyzer)
        seconds.append(time.perf_counter() - start)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    spikes = analyzer.sorting.to_spike_vector().size
    print(
        f"\n{len(analyzer.unit_ids)} units, {spikes:,} spikes, {len(found.unit_ids)} units changed:"
    )
    table = f"{len(analyzer.unit_ids)} units, {spikes:,} spikes"
    record(table, "benchmark_suggestions", statistics.median(seconds))
    print(f"{statistics.median(seconds):.2f} s; {more:.2f} GB more at its peak")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--speed")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.folders:
        tried = [try_folder(folder) for folder in arguments.folders]
        report_folders(tried)
        report_pooled(tried)
        for kind in REAL:
            report_calibration(tried, kind)
    if arguments.speed:
        report_speed(arguments.speed)


if __name__ == "__main__":
    main()

"""Recall, false alarms and accuracy of `suggest_splits` on sortings whose truth is known.

    python benchmarks/bench_splits.py FOLDER... [--units 500 --spikes 10000000]

A FOLDER is one recording: it, or a folder above it, has ``ground_truth.npz``, and ``ks``, ``mu``
and ``nomerge`` in it are sortings of the same recording (`make_kilosort4_truth.py` makes such).
Prints markdown, proportions with Wilson's 95 % interval.

- *pure units*: at least 95 % of the spikes are of one neuron, of all sortings; a suggested one
  is a false alarm. Also with 50 spikes in a row of each.
- *two neurons, equal numbers*, *minority of 13 %*: pure units of interest of ``ks``, not farther
  apart than 60 um and active together (their firing rates over time overlap by at least 60 %), are
  merged. Units whose spikes are mostly those of another unit too are left out.
- *real over-merges*: units of ``mu`` of which two neurons of interest have at least 20 % each.

The accuracy is balanced: the mean, over both neurons, of the share of spikes in their own part.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np

import si_curation as sic
from truth import SortedTruth, as_proportion, match

MAX_DISTANCE_UM, MIN_OVERLAP, MINORITY, FAIR_SHARE = 60.0, 0.6, 0.13, 0.2
KINDS = ("pure units", "pure units, 50 spikes", "two neurons, equal numbers", "minority of 13 %")
KINDS += ("real over-merges",)


class Outcome:
    """What was suggested for one unit."""

    def __init__(self, recording, name, is_found, accuracy=np.nan, score=0.0):
        self.recording, self.name, self.is_found = recording, name, is_found
        self.accuracy, self.score = accuracy, score


def accuracy_of(labels, neurons, first, second):
    """Balanced accuracy of the best assignment of the parts to two neurons."""
    one, other = labels[neurons == first], labels[neurons == second]
    size = int(labels.max()) + 1
    shares = (
        np.bincount(one, minlength=size) / one.size,
        np.bincount(other, minlength=size) / other.size,
    )
    is_first = shares[0] >= shares[1]  # each part is of the neuron with the larger share in it
    return 0.5 * (shares[0][is_first].sum() + shares[1][~is_first].sum())


def outcome(recording, name, found, unit_id, neurons=None, pair=None):
    score = dict(zip(found.table["unit_id"], found.table["score"], strict=True)).get(unit_id, 0.0)
    is_found = unit_id in found.units()
    accuracy = np.nan
    if is_found and pair is not None:
        accuracy = accuracy_of(found.labels(unit_id), neurons, *pair)
    return Outcome(recording, name, is_found, accuracy, score)


def pure_units(truth):
    return [i for i, unit in truth.units.items() if unit.purity >= 0.95]


def of_pure_units(truth, outcomes):
    found = sic.suggest_splits(truth.analyzer)
    session, short = sic.CurationSession(truth.analyzer), []
    for unit_id in pure_units(truth):
        size = truth.neurons_of_spikes[unit_id].size
        if size < 50:
            continue
        outcomes["pure units"].append(
            outcome(truth.recording, f"{truth.name} {unit_id}", found, unit_id)
        )
        if size >= 150:
            part = np.zeros(size, dtype=int)
            part[size // 2 : size // 2 + 50] = 1
            short.append((unit_id, session.split(unit_id, part)[1]))
    if short:
        found = sic.suggest_splits(session.apply(), unit_ids=[new for _, new in short])
        for old, new in short:
            name = f"{truth.name} {old}"
            outcomes["pure units, 50 spikes"].append(outcome(truth.recording, name, found, new))


def is_duplicate(unit_id, trains):
    """Whether at least half of the spikes of a unit were found in a larger one too."""
    own = trains[unit_id]
    return any(
        match(own, other, 12).mean() >= 0.5
        for i, other in trains.items()
        if i != unit_id and other.size > own.size
    )


def neighbours(truth):
    """Pairs of pure units of interest: each with its two nearest other neurons."""
    pure = [i for i in pure_units(truth) if truth.units[i].is_of_interest]
    trains = {i: truth.unit_train(i) for i in truth.units}
    pure = [i for i in pure if not is_duplicate(i, trains)]
    place = {i: truth.truth["loc"][truth.units[i].neuron, :2] for i in pure}
    duration = max(train[-1] for train in trains.values() if train.size) + 1
    rates = {i: np.histogram(trains[i], 20, (0, duration))[0] / trains[i].size for i in pure}
    pairs = set()
    for i in pure:
        others = [j for j in pure if truth.units[j].neuron != truth.units[i].neuron]
        others.sort(key=lambda j: np.linalg.norm(place[i] - place[j]))
        for j in others[:2]:
            is_near = np.linalg.norm(place[i] - place[j]) <= MAX_DISTANCE_UM
            if is_near and np.minimum(rates[i], rates[j]).sum() >= MIN_OVERLAP:
                pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def of_made_merges(truth, outcomes, share=None):
    kind = "two neurons, equal numbers" if share is None else "minority of 13 %"
    rng = np.random.default_rng(0)
    left = neighbours(truth)
    while left:
        used, now = set(), []
        for pair in left:
            if not used & set(pair):
                now.append(pair)
                used |= set(pair)
        left = [pair for pair in left if pair not in now]
        session, made = sic.CurationSession(truth.analyzer), []
        for pair in now:
            sizes = {i: truth.neurons_of_spikes[i].size for i in pair}
            large, small = sorted(pair, key=lambda i: -sizes[i])
            if share is None:
                cut, number = large, sizes[small]
            else:
                cut, number = small, min(sizes[small], round(sizes[large] * share / (1 - share)))
            if number < sizes[cut]:
                part = np.ones(sizes[cut], dtype=int)
                part[rng.choice(sizes[cut], number, replace=False)] = 0
                kept = session.split(cut, part)[0]
            else:
                kept = cut
            other = small if cut == large else large
            made.append((pair, session.merge([kept, other]), other))
        analyzer = session.apply()
        found = sic.suggest_splits(analyzer, unit_ids=[new for _, new, _ in made])
        for pair, new, whole in made:
            train = analyzer.sorting.get_unit_spike_train(new, segment_index=0)
            neurons = np.isin(train, truth.unit_train(whole)).astype(int)
            name = f"{truth.name} {pair[0]}+{pair[1]}"
            outcomes[kind].append(outcome(truth.recording, name, found, new, neurons, (0, 1)))


def of_real_merges(truth, outcomes):
    found = sic.suggest_splits(truth.analyzer)
    for unit_id, unit in truth.units.items():
        both = unit.is_of_interest and 0 <= unit.second < truth.num_of_interest
        if both and unit.second_share >= FAIR_SHARE:
            neurons = truth.neurons_of_spikes[unit_id]
            pair = (unit.neuron, unit.second)
            name = f"{truth.name} {unit_id}"
            outcomes["real over-merges"].append(
                outcome(truth.recording, name, found, unit_id, neurons, pair)
            )


def report(outcomes):
    print("\n| | suggested | accuracy >= 0.95 | mean accuracy |")
    print("| --- | ---: | ---: | ---: |")
    for kind in KINDS:
        rows = outcomes[kind]
        found = [one.accuracy for one in rows if one.is_found and np.isfinite(one.accuracy)]
        good = as_proportion(int(np.sum(np.array(found) >= 0.95)), len(found)) if found else ""
        mean = f"{np.mean(found):.3f}" if found else ""
        number = as_proportion(sum(one.is_found for one in rows), len(rows))
        print(f"| {kind} | {number} | {good} | {mean} |")
    recordings = list(dict.fromkeys(one.recording for rows in outcomes.values() for one in rows))
    print(f"\n| suggested, by recording | {' | '.join(recordings)} |")
    print("| --- |" + " ---: |" * len(recordings))
    for kind in KINDS:
        cells = []
        for recording in recordings:
            rows = [one for one in outcomes[kind] if one.recording == recording]
            cells.append(f"{sum(one.is_found for one in rows)} of {len(rows)}")
        print(f"| {kind} | {' | '.join(cells)} |")
    print("\nFailures:")
    for kind in KINDS:
        wrong = [one for one in outcomes[kind] if one.is_found == kind.startswith("pure")]
        names = ", ".join(f"{one.name} ({one.score:.2f})" for one in wrong)
        print(f"- {kind}: {names or 'none'}")


def report_speed(num_units, num_spikes):
    import resource

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sorted"
        sic.simulate_kilosort_folder(
            path, num_templates=num_units, num_channels=384, num_spikes=num_spikes
        )
        analyzer = sic.read_kilosort_as_analyzer(path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for run in ("first", "second"):
            start = time.perf_counter()
            found = sic.suggest_splits(analyzer)
            seconds = time.perf_counter() - start
            print(
                f"{num_units} units, {num_spikes:,} spikes, {run} run: {seconds:.1f} s; {found!r}"
            )
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"memory beyond that of the analyzer, features on disk included: {more / 1e6:.2f} GB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--spikes", type=int, default=0, help="0: no measurement of time")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    outcomes = defaultdict(list)
    for folder in arguments.folders:
        for name in ("ks", "nomerge", "mu"):
            of_pure_units(SortedTruth(folder / name), outcomes)
        of_made_merges(SortedTruth(folder / "ks"), outcomes)
        of_made_merges(SortedTruth(folder / "ks"), outcomes, MINORITY)
        of_real_merges(SortedTruth(folder / "mu"), outcomes)
    if arguments.folders:
        report(outcomes)
    if arguments.spikes:
        report_speed(arguments.units, arguments.spikes)


if __name__ == "__main__":
    main()

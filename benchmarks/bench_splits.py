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
- *one neuron after the other*: of the same pairs, the spikes of one in the first half of the
  recording and those of the other in the second half, at least 50 of each, are merged.
- *real over-merges*: units of ``mu`` of which two neurons of interest have at least 20 % each.

``--built`` counts false alarms of single neurons that are built of the mean and the noise of units
of ``ks`` (`pure_units.py`): bursting ones, whose spikes get smaller and wider, those of 50 and of
100,000 spikes, drifting ones.

Then the limits of the score's terms are chosen on all recordings but one, and tried on that one.

The accuracy is balanced: the mean, over both neurons, of the share of spikes in their own part.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np

import si_curation as sic
from _common import record
from pure_units import KINDS as BUILT_KINDS
from pure_units import false_alarms
from si_curation.evidence.split_evidence import (
    GAIN_ERRORS,
    HALF_ERROR,
    HALF_GAIN,
    HALF_JUMP_RATIO,
    HALF_MIXING,
)
from truth import SortedTruth, as_proportion, match

MAX_DISTANCE_UM, MIN_OVERLAP, MINORITY, FAIR_SHARE = 60.0, 0.6, 0.13, 0.2
KINDS = ("pure units", "pure units, 50 spikes", "two neurons, equal numbers", "minority of 13 %")
KINDS += ("real over-merges", "one neuron after the other")

# limits of the terms of a score that are tried, and those built in: gain, error, mixing, jump
GRID = ((0.02, 0.03, 0.05, 0.07, 0.1), (0.02, 0.035, 0.055, 0.08), (0.25, 0.4, 0.6))
LIMITS = list(itertools.product(*GRID, (2.0, 2.5, 3.0, 3.5, 4.0)))
THRESHOLDS = (HALF_GAIN, HALF_ERROR, HALF_MIXING, HALF_JUMP_RATIO)
MOST_FALSE = 0.015


class Outcome:
    """What was suggested for one unit."""

    def __init__(self, recording, name, is_found, accuracy=np.nan, row=None):
        self.recording, self.name, self.is_found = recording, name, is_found
        self.accuracy, self.row = accuracy, row

    @property
    def score(self):
        return 0.0 if self.row is None else self.row["score"]

    def is_found_with(self, thresholds):
        """Whether it would be with other limits of the terms."""
        gain, error, mixing, ratio = thresholds
        row = self.row
        if row is None or row["method"] == "templates":
            return self.is_found
        if row["expected_error"] > error:
            return False
        if row["method"] == "time":
            term = row["jump_term"]
            return HALF_JUMP_RATIO * term / (1 - term) >= ratio
        rest = np.nanmin([row["refractory_term"], row["duplicate_term"], 1.0])
        lowest = row["likelihood_gain"] - GAIN_ERRORS * row["likelihood_gain_error"]
        return lowest >= gain and row["mixing"] >= mixing and rest >= 0.5


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
    rows = found.table[found.table["unit_id"] == unit_id].to_dict("records")
    is_found = unit_id in found.units()
    accuracy = np.nan
    if is_found and pair is not None:
        accuracy = accuracy_of(found.labels(unit_id), neurons, *pair)
    return Outcome(recording, name, is_found, accuracy, rows[0] if rows else None)


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


def groups_of_pairs(truth):
    """Groups of neighbours, no unit twice in one."""
    left = neighbours(truth)
    while left:
        used, now = set(), []
        for pair in left:
            if not used & set(pair):
                now.append(pair)
                used |= set(pair)
        left = [pair for pair in left if pair not in now]
        yield now


def of_made_merges(truth, outcomes, share=None):
    kind = "two neurons, equal numbers" if share is None else "minority of 13 %"
    rng = np.random.default_rng(0)
    for now in groups_of_pairs(truth):
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


def of_turns(truth, outcomes):
    """Merge one neuron before the middle of the recording with another one after it."""
    middle = max(train[-1] for train in map(truth.unit_train, truth.units) if train.size) / 2
    for now in groups_of_pairs(truth):
        session, made = sic.CurationSession(truth.analyzer), []
        for one, other in now:
            is_late = [truth.unit_train(i) > middle for i in (one, other)]
            if np.count_nonzero(~is_late[0]) < 50 or np.count_nonzero(is_late[1]) < 50:
                continue
            if is_late[0].all() or is_late[1].all():
                continue
            early = session.split(one, is_late[0].astype(int))[0] if is_late[0].any() else one
            late = session.split(other, is_late[1].astype(int))[-1]
            made.append(((one, other), session.merge([early, late])))
        analyzer = session.apply()
        found = sic.suggest_splits(analyzer)  # the jumps of all units are compared
        for pair, new in made:
            neurons = (analyzer.sorting.get_unit_spike_train(new, segment_index=0) > middle).astype(
                int
            )
            name = f"{truth.name} {pair[0]}+{pair[1]}"
            kind = "one neuron after the other"
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


def chosen_on(outcomes, found, recordings):
    """Limits of the terms with the largest mean recall at few false alarms in some recordings."""
    of_kind = {}
    for kind in KINDS:
        rows = [found[one] for one in outcomes[kind] if one.recording in recordings]
        of_kind[kind] = np.mean(rows, axis=0) if rows else np.zeros(len(LIMITS))
    recall = np.mean([of_kind[kind] for kind in KINDS[2:]], axis=0).round(4)
    for kind in KINDS[:2]:
        recall[of_kind[kind] > MOST_FALSE] = -1.0
    # of equals those that are nearest to what is built in
    far = np.abs(np.log(np.array(LIMITS) / THRESHOLDS)).sum(axis=1)
    return LIMITS[np.lexsort((far, -recall))[0]]


def report_left_out(outcomes):
    """Print what is found in each recording with the limits that were chosen on the others."""
    recordings = list(dict.fromkeys(one.recording for rows in outcomes.values() for one in rows))
    if len(recordings) < 3:
        return
    found = {
        one: np.array([one.is_found_with(limits) for limits in LIMITS])
        for rows in outcomes.values()
        for one in rows
    }
    chosen = {one: chosen_on(outcomes, found, set(recordings) - {one}) for one in recordings}
    print("\nWith limits chosen on the other recordings, and in brackets those built in:\n")
    print("| recording | gain, error, mixing, jump | " + " | ".join(KINDS) + " |")
    print("| --- | ---: |" + " ---: |" * len(KINDS))
    total = {kind: np.zeros(3, dtype=int) for kind in KINDS}
    for name, limits in chosen.items():
        cells = []
        for kind in KINDS:
            rows = [one for one in outcomes[kind] if one.recording == name]
            left_out = sum(int(found[one][LIMITS.index(limits)]) for one in rows)
            total[kind] += (left_out, sum(one.is_found for one in rows), len(rows))
            cells.append(f"{left_out} ({sum(one.is_found for one in rows)}) of {len(rows)}")
        print(f"| {name} | {', '.join(map(str, limits))} | {' | '.join(cells)} |")
    cells = [f"{as_proportion(a, n)} [{as_proportion(b, n)}]" for a, b, n in total.values()]
    print(f"| all | | {' | '.join(cells)} |")


def report_built(folders):
    print("\n| built of single neurons | suggested | by jumps in time |")
    print("| --- | ---: | ---: |")
    for kind in BUILT_KINDS:
        bad, jumps, total = 0, 0, 0
        for folder in folders:
            with tempfile.TemporaryDirectory() as place:
                most = 8 if kind.startswith("100") else None
                truth = SortedTruth(folder / "ks")
                found, number = false_alarms(truth, kind, Path(place) / "built", most)
            bad, total = bad + len(found), total + number
            jumps += int((found["method"] == "time").sum())
        print(f"| {kind} | {as_proportion(bad, total)} | {jumps} |", flush=True)


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
            record(f"{num_units} units, {num_spikes:,} spikes", f"{run} run", seconds)
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
    parser.add_argument("--built", action="store_true", help="only neurons that are built")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.built:
        return report_built(arguments.folders)
    outcomes = defaultdict(list)
    for folder in arguments.folders:
        for name in ("ks", "nomerge", "mu"):
            of_pure_units(SortedTruth(folder / name), outcomes)
        of_made_merges(SortedTruth(folder / "ks"), outcomes)
        of_made_merges(SortedTruth(folder / "ks"), outcomes, MINORITY)
        of_turns(SortedTruth(folder / "ks"), outcomes)
        of_real_merges(SortedTruth(folder / "mu"), outcomes)
    if arguments.folders:
        report(outcomes)
        report_left_out(outcomes)
    if arguments.spikes:
        report_speed(arguments.units, arguments.spikes)


if __name__ == "__main__":
    main()

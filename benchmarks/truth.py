"""Which neuron each spike of a sorting is of, in simulated recordings.

A folder that Kilosort wrote has, in it or in a folder above it, the file `ground_truth.npz`:
``samples`` and ``units`` of every simulated spike, ``loc`` (x, y, z in um) of every neuron, and
``nmain``: the neurons below it are those of interest, the others are background.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

import si_curation as sic

MOST_APART_S = 0.4e-3
# spikes of a neuron farther than this from the unit's own coincide with it by chance
MOST_APART_UM = 100.0


class SortedTruth:
    """A sorting of a simulated recording, and the neuron of each of its spikes.

    Parameters
    ----------
    folder : path
        What the sorter wrote: ``ks``, ``nomerge``, ``mu``.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        above = [self.folder, *self.folder.resolve().parents]
        path = next(p / "ground_truth.npz" for p in above if (p / "ground_truth.npz").exists())
        self.recording = path.parent.name
        self.name = f"{self.recording}/{self.folder.name}"
        with np.load(path) as truth:
            self.truth = {name: truth[name] for name in truth.files}
        self.num_of_interest = int(self.truth["nmain"])

    @property
    def has_drift(self) -> bool:
        """Whether the neurons move along the probe."""
        return bool(np.ptp(self.truth["disp"]) > 0)

    @cached_property
    def analyzer(self):
        """The sorting as this package reads it."""
        return sic.read_kilosort_as_analyzer(self.folder)

    @cached_property
    def trains(self) -> list[np.ndarray]:
        """The samples of each neuron's spikes, ascending."""
        samples, units = self.truth["samples"].astype(np.int64), self.truth["units"]
        return [np.sort(samples[units == neuron]) for neuron in range(len(self.truth["loc"]))]

    def unit_train(self, unit_id) -> np.ndarray:
        """The samples of a unit's spikes, ascending."""
        return self.analyzer.sorting.get_unit_spike_train(unit_id, segment_index=0)

    @cached_property
    def neurons_of_spikes(self) -> dict:
        """{unit id: neuron of each spike in the order of time, -1 where there is none}.

        A spike is of a neuron that has one within 0.4 ms; each spike of a neuron is found once. The
        neuron with most spikes in the unit takes its spikes first, then the one with most of those
        left within 100 um of it, and so on.
        """
        apart = round(MOST_APART_S * self.analyzer.sampling_frequency)
        found = {}
        for unit_id in self.analyzer.unit_ids.tolist():
            found[unit_id] = neurons_of(
                self.unit_train(unit_id), self.trains, self.truth["loc"], apart
            )
        return found

    @cached_property
    def units(self) -> dict:
        """{unit id: `UnitTruth`}."""
        return {
            unit_id: UnitTruth.of(neurons, self.num_of_interest)
            for unit_id, neurons in self.neurons_of_spikes.items()
        }

    @cached_property
    def true_merges(self) -> set[frozenset]:
        """Pairs of units that are mostly (at least four fifths) one neuron of interest."""
        pairs = set()
        ids = list(self.units)
        for i, a in enumerate(ids):
            for b in ids[i + 1 :]:
                one, other = self.units[a], self.units[b]
                same = one.neuron == other.neuron and one.is_of_interest
                if same and min(one.purity, other.purity) >= 0.8:
                    pairs.add(frozenset((a, b)))
        return pairs

    def is_one_neuron(self, a, b) -> bool:
        """Whether both units have their largest part from the same neuron, background included."""
        return self.units[a].neuron == self.units[b].neuron >= 0

    def accuracy_of_neurons(self, trains: dict) -> np.ndarray:
        """The best accuracy of each neuron of interest with any of the spike trains."""
        apart = round(MOST_APART_S * self.analyzer.sampling_frequency)
        return np.array(
            [
                max((accuracy(own, train, apart) for own in trains.values()), default=0.0)
                for train in self.trains[: self.num_of_interest]
            ]
        )


class UnitTruth(NamedTuple):
    """What a unit is made of."""

    neuron: int  # with most of its spikes; -1 without any
    purity: float  # share of the unit's spikes that are this neuron's
    second: int  # the neuron with most of the other spikes; -1 without any
    second_share: float
    is_of_interest: bool

    @classmethod
    def of(cls, neurons: np.ndarray, num_of_interest: int) -> UnitTruth:
        """Count the neurons of a unit's spikes."""
        counts = np.bincount(neurons[neurons >= 0])
        order = np.argsort(-counts, kind="stable")[:2]
        first, second = ([int(i) for i in order if counts[i] > 0] + [-1, -1])[:2]
        total = max(neurons.size, 1)
        return cls(
            first,
            counts[first] / total if first >= 0 else 0.0,
            second,
            counts[second] / total if second >= 0 else 0.0,
            0 <= first < num_of_interest,
        )


def neurons_of(
    spikes: np.ndarray, trains: list[np.ndarray], places: np.ndarray, apart: int
) -> np.ndarray:
    """Return the neuron of each spike of an ascending spike train, -1 where there is none."""
    neuron = np.full(spikes.size, -1)
    left = np.arange(spikes.size)
    allowed = list(range(len(trains)))
    while left.size and allowed:
        hits = {i: match(spikes[left], trains[i], apart) for i in allowed}
        best = max(allowed, key=lambda i: np.count_nonzero(hits[i]))
        if not hits[best].any():
            break
        if len(allowed) == len(trains):  # the unit's own neuron: the others are near it
            distance = np.linalg.norm(places[:, :2] - places[best, :2], axis=1)
            allowed = [i for i in allowed if distance[i] <= MOST_APART_UM]
        allowed.remove(best)
        neuron[left[hits[best]]] = best
        left = left[~hits[best]]
    return neuron


def match(spikes: np.ndarray, others: np.ndarray, apart: int) -> np.ndarray:
    """Return which spikes have one of the others of their own, at most `apart` samples away.

    Both are ascending. Where several spikes are near the same one, the nearest has it.
    """
    if not others.size:
        return np.zeros(spikes.size, dtype=bool)
    place = np.searchsorted(others, spikes)
    before, after = np.maximum(place - 1, 0), np.minimum(place, others.size - 1)
    is_after = np.abs(others[after] - spikes) < np.abs(others[before] - spikes)
    nearest = np.where(is_after, after, before)
    distance = np.abs(others[nearest] - spikes)
    order = np.lexsort((distance, nearest))
    is_first = np.ones(spikes.size, dtype=bool)
    is_first[order[1:]] = nearest[order[1:]] != nearest[order[:-1]]
    return is_first & (distance <= apart)


def accuracy(spikes: np.ndarray, others: np.ndarray, apart: int) -> float:
    """Return hits / (spikes of either) of two ascending spike trains."""
    hits = np.count_nonzero(match(spikes, others, apart))
    return hits / max(spikes.size + others.size - hits, 1)


def interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion; NaN without trials."""
    if not trials:
        return np.nan, np.nan
    z = norm.ppf(0.5 + level / 2)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    return centre - half, centre + half


def as_proportion(successes: int, trials: int) -> str:
    """Return a proportion with its interval as text: ``0.90 (0.85-0.94; 90 of 100)``."""
    if not trials:
        return "- (0 of 0)"
    low, high = interval(successes, trials)
    return f"{successes / trials:.2f} ({low:.2f}-{high:.2f}; {successes} of {trials})"

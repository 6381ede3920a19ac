"""Two sortings of one simulated recording with known neurons, and a curation of the first."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

#: Files that a folder with other spikes is written with.
PER_SPIKE = {"spike_times.npy", "spike_templates.npy", "spike_clusters.npy", "amplitudes.npy"}


class Sorting:
    """Spikes of a sorting: sample, unit, and the neuron that each is of (-1: of none)."""

    def __init__(self, samples, units, neurons):
        order = np.argsort(samples, kind="stable")
        self.samples, self.units = samples[order], units[order]
        self.neurons = neurons[order]

    def write(self, base: Path, folder: Path) -> Path:
        """Write a folder of Kilosort of these spikes, with the templates of another one."""
        before = np.load(base / "spike_times.npy").size
        shutil.copytree(base, folder)
        for path in folder.glob("*.npy"):
            if path.name == "ops.npy":
                continue
            values = np.load(path)
            if path.name not in PER_SPIKE and values.ndim and values.shape[0] == before:
                path.unlink()
        np.save(folder / "spike_times.npy", self.samples)
        np.save(folder / "spike_templates.npy", self.units.astype(np.int32))
        np.save(folder / "spike_clusters.npy", self.units.astype(np.int32))
        np.save(folder / "amplitudes.npy", np.ones(self.samples.size, dtype=np.float32))
        for path in folder.glob("cluster_*"):
            path.unlink()
        return folder

    def main_neurons(self):
        """{unit: neurons that have at least 20 % of its spikes, most first}."""
        out = {}
        for unit in np.unique(self.units):
            its = self.neurons[self.units == unit]
            numbers, counts = np.unique(its[its >= 0], return_counts=True)
            order = np.argsort(-counts)
            keep = counts[order] >= 0.2 * max(1, counts.sum())
            out[int(unit)] = [int(i) for i in numbers[order][keep]]
        return out


def true_spikes(rng, num_neurons, duration_s, rates=(1.0, 30.0), fs=30_000):
    """Samples and neuron of every spike, with a refractory period."""
    samples, neurons = [], []
    for neuron, rate in enumerate(rng.uniform(*rates, num_neurons)):
        gaps = rng.exponential(1 / rate, int(2 * rate * duration_s) + 20) + 0.002
        times = np.cumsum(gaps)
        times = times[times < duration_s]
        samples.append((times * fs).astype(np.int64) + 100)
        neurons.append(np.full(times.size, neuron))
    return np.concatenate(samples), np.concatenate(neurons)


def sort_again(rng, samples, neurons, *, jitter=3, missed=0.1, false=0.05, errors=0.15, lag=0):
    """A sorting that misses spikes, finds false ones, and splits and merges neurons."""
    found = rng.random(samples.size) >= missed
    samples, neurons = samples[found].copy(), neurons[found]
    samples += rng.integers(-jitter, jitter + 1, samples.size) + lag
    num = int(neurons.max()) + 1
    units = rng.permutation(num)[neurons]
    chosen = rng.permutation(num)
    count = round(errors * num)
    for unit in chosen[:count]:
        its = np.flatnonzero(units == unit)
        units[its[rng.random(its.size) < rng.uniform(0.3, 0.7)]] = units.max() + 1
    for one, other in chosen[count : count + 2 * (count // 2)].reshape(-1, 2):
        units[units == one] = other
    extra = rng.random(samples.size) < false
    more = rng.integers(100, samples.max(), extra.sum())
    return Sorting(
        np.concatenate([samples, more]),
        np.concatenate([units, units[extra]]),
        np.concatenate([neurons, np.full(more.size, -1)]),
    )


def curate(session, sorting, labels):
    """Do what a curator does who knows the neurons: merge, split, label by neuron."""
    pieces = {}
    for unit in list(session.unit_ids):
        of_spike = sorting.neurons[session.get_spikes(unit)]
        known = [n for n in sorting.main_neurons()[unit]]
        if len(known) > 1:
            parts = np.where(np.isin(of_spike, known), of_spike, known[0])
            ids = session.split(unit, parts)
            for neuron, new in zip(sorted(known), ids, strict=True):
                pieces.setdefault(neuron, []).append(new)
        elif known:
            pieces.setdefault(known[0], []).append(unit)
    for neuron, ids in pieces.items():
        new = session.merge(ids) if len(ids) > 1 else ids[0]
        if labels[neuron] is not None:
            session.label([new], labels[neuron])

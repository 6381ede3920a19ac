"""Folders of single neurons of kinds that are hard to tell from two, made of real noise.

Each unit is the mean of a unit that a sorter found, which moves, bursts and shrinks as it should,
plus what single spikes of that unit, drawn at random, differ from their mean by.
"""

from __future__ import annotations

import shutil

import numpy as np

import si_curation as sic

MIN_PURITY, MIN_SPIKES, LENGTH_SCALE_UM = 0.97, 150, 25.0
#: Kind: spikes, duration in s, whether it bursts, drift in um.
KINDS = {
    "bursts": (1500, 300.0, True, 0.0),
    "50 spikes": (50, 60.0, False, 0.0),
    "50 spikes in bursts": (50, 60.0, True, 0.0),
    "100,000 spikes": (100_000, 3600.0, True, 10.0),
    "drift": (500, 80.0, False, 20.0),
    "drift and bursts": (800, 80.0, True, 20.0),
}
COPIED = ("params.py", "ops.npy", "whitening_mat.npy", "whitening_mat_inv.npy", "channel_map.npy")
COPIED += ("channel_positions.npy", "channel_shanks.npy")


def spike_times(number, duration, is_bursty, rng):
    """Times in s, and the place of each spike in its burst; epochs of activity, as neurons have."""
    num_epochs = 6
    edges = np.sort(rng.uniform(0, duration, 2 * num_epochs)).reshape(-1, 2)
    lengths = np.maximum(np.diff(edges, axis=1)[:, 0], 1e-3)
    starts = []
    for _ in range(number):
        k = rng.choice(num_epochs, p=lengths / lengths.sum())
        starts.append(rng.uniform(*edges[k]) if rng.uniform() < 0.7 else rng.uniform(0, duration))
        if len(starts) * (3 if is_bursty else 1) > 1.5 * number:
            break
    starts = np.sort(starts)
    sizes = rng.integers(1, 8, starts.size) if is_bursty else np.ones(starts.size, dtype=int)
    gaps = rng.uniform(0.003, 0.008, (starts.size, 8))
    inside = np.cumsum(gaps, axis=1) - gaps[:, :1]
    place = np.tile(np.arange(8), (starts.size, 1))
    used = place < sizes[:, None]
    times, place = (starts[:, None] + inside)[used], place[used]
    order = np.argsort(times)
    times, place = times[order], place[order]
    far = np.diff(times, prepend=-1.0) > 0.0025
    times, place = times[far], place[far]
    chosen = np.sort(rng.choice(times.size, min(number, times.size), replace=False))
    return times[chosen], place[chosen]


def drift_um(times, duration, size, rng):
    """Slow movement of a probe: two waves and a settling at the start."""
    waves = rng.uniform(0, 2 * np.pi, 2)
    slow = np.sin(2 * np.pi * 1.3 * times / duration + waves[0])
    fast = 0.4 * np.sin(2 * np.pi * 3.1 * times / duration + waves[1])
    return size / 2.6 * (slow + fast - 0.6 * np.exp(-times / (0.1 * duration)))


def stretched(mean, basis, factor):
    """Features of a mean spike whose waveform is longer by a factor."""
    waveform = np.linalg.pinv(basis) @ mean  # (n_samples, n_channels)
    at = np.arange(len(waveform))
    middle = float(np.abs(waveform).max(axis=1).argmax())
    wide = [np.interp(middle + (at - middle) / factor, at, one) for one in waveform.T]
    return basis @ np.stack(wide, axis=1)


def moved(mean, places, shift):
    """Features (n, n_pcs, n_channels) of a mean spike at other depths, in um."""
    offsets = places[:, None] - places[None]
    near = np.exp(-0.5 * (offsets**2).sum(axis=-1) / LENGTH_SCALE_UM**2)
    weights = np.linalg.solve(near + 0.01 * np.eye(len(places)), mean.T)  # (n_channels, n_pcs)
    grid = np.linspace(shift.min(), shift.max() + 1e-6, 41)
    at = []
    for one in grid:
        there = places + np.array([0.0, one])
        gap = there[:, None] - places[None]
        at.append(np.exp(-0.5 * (gap**2).sum(axis=-1) / LENGTH_SCALE_UM**2) @ weights)
    zero = np.exp(-0.5 * (offsets**2).sum(axis=-1) / LENGTH_SCALE_UM**2) @ weights
    table = np.array(at) - zero  # (n_grid, n_channels, n_pcs)
    place = (shift - grid[0]) / (grid[1] - grid[0])
    low = np.minimum(place.astype(int), len(grid) - 2)
    part = (place - low)[:, None, None]
    step = table[low] * (1 - part) + table[low + 1] * part
    return mean + step.transpose(0, 2, 1)


def sources(truth):
    """Yield the spikes of each pure unit of a sorting that one neuron made, and their template."""
    templates = np.load(truth.folder / "spike_templates.npy").ravel()
    clusters = np.load(truth.folder / "spike_clusters.npy").ravel()
    for unit_id, unit in truth.units.items():
        own = np.flatnonzero(clusters == unit_id)
        if unit.is_of_interest and unit.purity >= MIN_PURITY and own.size >= MIN_SPIKES:
            own = own[truth.neurons_of_spikes[unit_id] == unit.neuron]
            template = int(np.bincount(templates[own]).argmax())
            yield own[templates[own] == template], template


def build_unit(real, places, basis, kind, rng):
    """Return times in s and features (n, n_pcs, n_channels) of a unit, from those of a real one."""
    number, duration, is_bursty, drift = KINDS[kind]
    is_there = (real != 0).any(axis=1).mean(axis=0) > 0.5
    mean = np.where(is_there, np.median(real, axis=0), 0.0)
    size = np.einsum("npc,pc->n", real, mean) / (mean**2).sum()
    rest = real - size[:, None, None] * mean
    times, place = spike_times(number, duration, is_bursty, rng)
    at = np.broadcast_to(mean, (times.size, *mean.shape))
    if drift:
        at = moved(mean, places, drift_um(times, duration, drift, rng))
    if is_bursty:  # smaller and wider from spike to spike
        wide = np.array([stretched(mean, basis, 1 + 0.035 * k) - mean for k in range(8)])
        at = (at + wide[place]) * (1 - 0.07 * place)[:, None, None]
    noise = rest[rng.integers(0, len(rest), times.size)]
    if times.size > 3 * len(rest):  # two of them together: none is there twice
        noise = (noise + rest[rng.integers(0, len(rest), times.size)]) / np.sqrt(2)
    factor = rng.normal(1.0, 0.05, times.size)[:, None, None]
    return times, np.where(is_there, factor * at + noise, 0.0).astype(np.float32)


def make_folder(truth, kind, target, basis, most=None, seed=0):
    """Write a folder with a unit of a kind for each pure unit of a sorting; return its path."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    source = truth.folder
    features = np.load(source / "pc_features.npy", mmap_mode="r")
    listed = np.load(source / "pc_feature_ind.npy")
    places = np.load(source / "channel_positions.npy")
    built, used = [], []
    for own, template in list(sources(truth))[:most]:
        real = np.asarray(features[own], dtype=np.float64)
        built.append(build_unit(real, places[listed[template]], basis, kind, rng))
        used.append(template)
    target.mkdir(parents=True)
    for name in COPIED:
        if (source / name).exists():
            shutil.copy(source / name, target / name)
    times = np.concatenate([one[0] for one in built])
    order = np.argsort(times, kind="stable")
    unit = np.repeat(np.arange(len(built), dtype=np.int32), [one[0].size for one in built])[order]
    values = np.concatenate([one[1] for one in built])[order]
    similar = np.load(source / "similar_templates.npy")[np.ix_(used, used)]
    samples = np.round(times[order] * truth.analyzer.sampling_frequency).astype(np.int64)
    for name, array in {
        "spike_times": samples,
        "spike_templates": unit,
        "spike_clusters": unit,
        "amplitudes": np.linalg.norm(values.reshape(len(values), -1), axis=1),
        "templates": np.load(source / "templates.npy")[used],
        "similar_templates": similar,
        "pc_features": values,
        "pc_feature_ind": listed[used],
    }.items():
        np.save(target / f"{name}.npy", array)
    return target


def false_alarms(truth, kind, folder, most=None):
    """Return the rows of suggested splits of built units, and how many units were built."""
    ops = np.load(truth.folder / "ops.npy", allow_pickle=True).item()
    basis = np.asarray(ops["wPCA"], dtype=np.float64)
    analyzer = sic.read_kilosort_as_analyzer(make_folder(truth, kind, folder, basis, most=most))
    found = sic.suggest_splits(analyzer)
    table = found.table
    return table[table["unit_id"].isin(found.units())], len(analyzer.unit_ids)

"""Kilosort 4 on a simulated recording, and the true values of its template features.

    python benchmarks/make_kilosort4_truth.py OUTPUT [--duration 90] [--units 14] [--seed 0]

Needs kilosort, torch and SpikeInterface; runs on the processor. Writes into OUTPUT:

- ``recording.dat``: int16, 32 channels in two columns, 30 kHz; ``ground_truth.npz``: its spikes.
- ``kilosort4/``: the folder as Kilosort wrote it (no drift correction).
- ``whitened.f32``: float32 (n_samples, n_channels), the traces as Kilosort saw them, which is the
  space in which ``templates.npy`` lives.
- ``fixture/``: a small folder for the tests: some of the spikes, all templates, and ``truth.npz``.

``truth.npz``, with n_spikes those of the fixture and K the most similar templates, best first:

- ``projections`` (n_spikes, K): dot product of the whitened traces around the spike with each
  template of row ``template_index[spike_template]``, over all channels, from the recording.
- ``projections_stored_channels``: the same over the channels of which the spike has features.
- ``template_index`` (n_templates, K).
- ``spike_rows`` (n_spikes,): rows of the folder ``kilosort4``.
- ``feature_channels`` (n_spikes, n_loc): the channel that each column of ``pc_features.npy`` really
  holds, -1 where it holds zeros, found by comparing its values in the features before Kilosort
  reordered them (``tF.npy``). Kilosort 4.1.7 labels the channels of a template wrongly where a
  detection template found spikes of several templates.
- ``is_overlapped`` (n_spikes,): whether another spike of the folder lies in the same samples on the
  same channels; Kilosort takes such spikes away before it computes features.
- ``ground_truth_unit`` (n_spikes,): simulated unit that fired within 0.4 ms, -1 where none did.
- ``unit_accuracy``, ``unit_match``, ``is_well_isolated`` (n_templates,): hits / (hits + misses +
  false positives) with the simulated unit that matches best, that unit, and whether the accuracy
  is above 0.9 and the similarity to every other template below 0.5.
- ``num_spikes_all`` (n_templates,): spikes of the template in the whole folder.
- ``kilosort_version``.
"""

from __future__ import annotations

import argparse
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np

SAMPLING_FREQUENCY = 30_000.0
NUM_CHANNELS = 32
COUNTS_PER_UV = 5.0
SMALL_FILES = (
    "templates.npy",
    "templates_ind.npy",
    "similar_templates.npy",
    "pc_feature_ind.npy",
    "channel_map.npy",
    "channel_positions.npy",
    "channel_shanks.npy",
    "whitening_mat.npy",
    "whitening_mat_inv.npy",
    "whitening_mat_dat.npy",
    "cluster_KSLabel.tsv",
    "cluster_ContamPct.tsv",
    "cluster_Amplitude.tsv",
    "cluster_group.tsv",
)
SPIKE_FILES = (
    "spike_times.npy",
    "spike_templates.npy",
    "spike_clusters.npy",
    "spike_detection_templates.npy",
    "spike_positions.npy",
    "amplitudes.npy",
    "pc_features.npy",
)
OPS_KEYS = ("nt", "nt0min", "n_pcs", "fs", "wPCA", "n_chan", "nearest_chans", "iCC", "iU")


def make_probe(num_rows=NUM_CHANNELS // 2, column_um=32.0, row_um=20.0):
    """Two columns of contacts, in Kilosort's format."""
    rows, columns = np.divmod(np.arange(2 * num_rows), 2)
    return {
        "chanMap": np.arange(2 * num_rows),
        "xc": (columns * column_um).astype(np.float32),
        "yc": (rows * row_um).astype(np.float32),
        "kcoords": np.zeros(2 * num_rows, dtype=np.float32),
        "n_chan": 2 * num_rows,
    }


def simulate(path, probe, num_units, duration, rates, seed):
    """Write an int16 recording; return the simulated spikes (samples, units)."""
    from spikeinterface.core import write_binary_recording
    from spikeinterface.core.generate import (
        InjectTemplatesRecording,
        generate_sorting,
        generate_templates,
        generate_unit_locations,
    )
    from spikeinterface.generation import NoiseGeneratorRecording
    from spikeinterface.preprocessing import scale

    rng = np.random.default_rng(seed)
    positions = np.stack([probe["xc"], probe["yc"]], axis=1).astype(np.float64)
    sorting = generate_sorting(
        num_units=num_units,
        sampling_frequency=SAMPLING_FREQUENCY,
        durations=[duration],
        firing_rates=rates,
        refractory_period_ms=3.0,
        seed=seed,
    )
    unit_locations = generate_unit_locations(
        num_units,
        positions,
        margin_um=5.0,
        minimum_z=10.0,
        maximum_z=35.0,
        minimum_distance=25.0,
        seed=seed,
    )
    upsampling = 8  # spikes fall between samples
    templates = generate_templates(
        positions,
        unit_locations,
        SAMPLING_FREQUENCY,
        ms_before=1.5,
        ms_after=3.0,
        upsample_factor=upsampling,
        seed=seed,
        unit_params={"alpha": (150.0, 500.0), "spatial_decay": (15.0, 40.0)},
    )
    spikes = sorting.to_spike_vector()
    noise = NoiseGeneratorRecording(
        num_channels=len(positions),
        sampling_frequency=SAMPLING_FREQUENCY,
        durations=[duration],
        noise_levels=8.0,
        dtype="float32",
        seed=seed,
        strategy="on_the_fly",
        noise_block_size=int(SAMPLING_FREQUENCY),
    )
    recording = InjectTemplatesRecording(
        sorting=sorting,
        templates=templates,
        nbefore=int(1.5e-3 * SAMPLING_FREQUENCY),
        amplitude_factor=rng.lognormal(sigma=0.1, size=spikes.size),
        parent_recording=noise,
        upsample_vector=rng.integers(upsampling, size=spikes.size),
    )
    counts = scale(recording, gain=COUNTS_PER_UV, dtype="int16")
    write_binary_recording(counts, [path], dtype="int16", n_jobs=1, progress_bar=False)
    return spikes["sample_index"], spikes["unit_index"]


def sort(path, probe, folder, threads):
    """Run Kilosort 4 with its defaults, without drift correction."""
    import torch
    from kilosort import run_kilosort

    run_kilosort(
        settings={
            "n_chan_bin": probe["n_chan"],
            "fs": SAMPLING_FREQUENCY,
            "nblocks": 0,
        },
        probe=probe,
        filename=path,
        results_dir=folder,
        device=torch.device("cpu"),
        save_extra_vars=True,
        torch_thread_lim=threads,
    )


def write_whitened(folder, path):
    """Write the traces as Kilosort saw them, batch by batch, without the padding of the batches."""
    import torch
    from kilosort.io import bfile_from_ops, load_ops

    ops = load_ops(folder / "ops.npy", device=torch.device("cpu"))
    file = bfile_from_ops(ops, device=torch.device("cpu"))
    pad, size = int(file.nt), int(file.NT)
    left = int(file.imax - file.imin)
    with path.open("wb") as target:
        for batch in range(int(file.n_batches)):
            traces = file.padded_batch_to_torch(batch, ops).cpu().numpy()
            inner = traces[:, pad : pad + min(size, left)]
            left -= inner.shape[1]
            np.ascontiguousarray(inner.T, dtype=np.float32).tofile(target)


def open_whitened(path, num_channels=NUM_CHANNELS):
    """Map the traces of `write_whitened`: (n_samples, n_channels)."""
    return np.memmap(path, dtype=np.float32, mode="r").reshape(-1, num_channels)


def project(traces, starts, spike_templates, templates, template_index, channels=None):
    """Dot products of the traces from each start with the templates of the spike's row.

    `channels` (n_spikes, n_loc): count only those, -1 is none.
    """
    num_samples = templates.shape[1]
    values = np.zeros((starts.size, template_index.shape[1]))
    for row, (start, template) in enumerate(zip(starts, spike_templates, strict=True)):
        window = np.asarray(traces[start : start + num_samples], dtype=np.float64)
        kept = slice(None) if channels is None else channels[row][channels[row] >= 0]
        onto = templates[template_index[template]]
        values[row] = np.einsum("tc,ktc->k", window[:, kept], onto[:, :, kept])
    return values


def match_units(true_samples, true_units, samples, templates, num_templates, tolerance=12):
    """Return the simulated unit of each spike, and each template's best match and accuracy."""
    num_units = int(true_units.max()) + 1
    agreement = np.zeros((num_templates, num_units), dtype=np.int64)
    found = np.zeros((samples.size, num_units), dtype=bool)
    for unit in range(num_units):
        of_unit = true_samples[true_units == unit]
        nearest = np.searchsorted(of_unit, samples)
        before = of_unit[np.maximum(nearest - 1, 0)]
        after = of_unit[np.minimum(nearest, of_unit.size - 1)]
        found[:, unit] = np.minimum(abs(samples - before), abs(samples - after)) <= tolerance
        agreement[:, unit] = np.bincount(templates[found[:, unit]], minlength=num_templates)
    sizes = np.bincount(templates, minlength=num_templates)[:, None]
    true_sizes = np.bincount(true_units, minlength=num_units)[None, :]
    accuracies = agreement / np.maximum(sizes + true_sizes - agreement, 1)
    match, accuracy = accuracies.argmax(axis=1), accuracies.max(axis=1)
    own = found[np.arange(samples.size), match[templates]]
    spike_units = np.where(found.any(axis=1), found.argmax(axis=1), -1)
    return np.where(own, match[templates], spike_units), match, accuracy


def write_fixture(root, num_spikes, num_neighbours, seed):
    """Write the small folder and its ``truth.npz``."""
    source, target = root / "kilosort4", root / "fixture"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in SMALL_FILES:
        shutil.copyfile(source / name, target / name)
    ops = np.load(source / "ops.npy", allow_pickle=True).item()
    np.save(target / "ops.npy", np.array({key: ops[key] for key in OPS_KEYS}))
    (target / "params.py").write_text(
        f"n_channels_dat = {NUM_CHANNELS}\noffset = 0\nsample_rate = {SAMPLING_FREQUENCY}\n"
        "dtype = 'int16'\nhp_filtered = False\ndat_path = ['recording.dat']\n"
    )
    spikes = {name: np.load(source / name) for name in SPIKE_FILES}
    templates = np.load(source / "templates.npy")
    spike_templates = spikes["spike_templates.npy"]
    samples = spikes["spike_times.npy"]
    # which templates share a detection template must stay as it is: it decides on the channels
    groups = spike_templates * 100_000 + spikes["spike_detection_templates.npy"]
    rows = choose_rows(groups, samples > templates.shape[1], num_spikes, seed)
    for name, values in spikes.items():
        np.save(target / name, values[rows].astype(_smaller(values.dtype)))
    np.savez_compressed(
        target / "truth.npz",
        **make_truth(root, ops, templates, spike_templates, samples, rows, num_neighbours),
    )


def choose_rows(groups, may_be_chosen, num_spikes, seed):
    """Choose spikes at random, 30 of each group or all where it has fewer; rows in order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.flatnonzero(may_be_chosen))
    rank = np.empty(groups.size, dtype=np.int64)
    for group in np.unique(groups):
        of_group = order[groups[order] == group]
        rank[of_group] = np.arange(of_group.size)
    first = order[rank[order] < 30]
    rest = order[rank[order] >= 30]
    return np.sort(np.concatenate([first, rest])[:num_spikes])


def _smaller(dtype):
    return np.float32 if dtype == np.float64 else dtype


def find_channels(features, original, original_channels):
    """Return the channel of each column (spikes, pcs, columns) by comparing its values."""
    same = (features[:, :, :, None] == original[:, :, None, :]).all(axis=1)
    channels = np.take_along_axis(original_channels, same.argmax(axis=2), axis=1)
    return np.where(same.any(axis=2), channels, -1).astype(np.int32)


def find_overlaps(samples, spike_templates, templates, channels, least=0.01):
    """Whether another spike has more than 1 % of its energy on the channels of a spike."""
    energy = (templates**2).sum(axis=1)  # (n_templates, n_channels)
    energy = energy / np.maximum(energy.sum(axis=1, keepdims=True), 1e-12)
    touches = energy[:, channels].sum(axis=2) > least  # [other, own]
    overlapped = np.zeros(samples.size, dtype=bool)
    for step in range(1, samples.size):
        near = np.flatnonzero(samples[step:] - samples[:-step] < templates.shape[1])
        if near.size == 0:
            break
        first, second = spike_templates[near], spike_templates[near + step]
        overlapped[near] |= touches[second, first]
        overlapped[near + step] |= touches[first, second]
    return overlapped


def make_truth(root, ops, templates, spike_templates, samples, rows, num_neighbours):
    """Everything that ``truth.npz`` holds."""
    source = root / "kilosort4"
    similar = np.load(source / "similar_templates.npy").copy()
    channels = np.load(source / "pc_feature_ind.npy").astype(np.int64)
    features = np.load(source / "tF.npy", mmap_mode="r")
    kept = np.flatnonzero(np.load(source / "kept_spikes.npy"))
    detection = np.load(source / "spike_detection_templates.npy")
    np.fill_diagonal(similar, 2.0)  # the own template comes first
    template_index = np.argsort(-similar, axis=1, kind="stable")[:, :num_neighbours]
    np.fill_diagonal(similar, 0.0)
    true = np.load(root / "ground_truth.npz")
    spike_units, match, accuracy = match_units(
        true["samples"], true["units"], samples, spike_templates, len(templates)
    )
    traces = open_whitened(root / "whitened.f32", templates.shape[2])
    stored = find_channels(
        np.load(source / "pc_features.npy", mmap_mode="r")[rows],
        features[kept[rows]].transpose(0, 2, 1),
        ops["iCC"][:, ops["iU"][detection[rows]]].T,
    )
    starts = samples[rows] - ops["nt0min"]
    common = (traces, starts, spike_templates[rows], templates, template_index)
    return {
        "projections": project(*common).astype(np.float32),
        "projections_stored_channels": project(*common, channels=stored).astype(np.float32),
        "template_index": template_index.astype(np.int32),
        "spike_rows": rows,
        "feature_channels": stored,
        "is_overlapped": find_overlaps(samples, spike_templates, templates, channels)[rows],
        "ground_truth_unit": spike_units[rows].astype(np.int32),
        "unit_accuracy": accuracy,
        "unit_match": match.astype(np.int32),
        "is_well_isolated": (accuracy > 0.9) & (similar.max(axis=1) < 0.5),
        "num_spikes_all": np.bincount(spike_templates, minlength=len(templates)),
        "kilosort_version": np.array(version("kilosort")),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path, help="folder that everything is written into")
    parser.add_argument("--duration", type=float, default=90.0, help="of the recording, in s")
    parser.add_argument("--units", type=int, default=14, help="simulated units")
    parser.add_argument(
        "--rates", type=float, nargs=2, default=(5.0, 12.0), help="lowest and highest rate, in Hz"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="threads of Kilosort")
    parser.add_argument("--spikes", type=int, default=1500, help="spikes of the fixture")
    parser.add_argument("--neighbours", type=int, default=16, help="templates per row (K)")
    parser.add_argument("--only-fixture", action="store_true", help="the rest is there already")
    arguments = parser.parse_args()

    root = arguments.output
    if not arguments.only_fixture:
        root.mkdir(parents=True, exist_ok=True)
        probe = make_probe()
        samples, units = simulate(
            root / "recording.dat",
            probe,
            arguments.units,
            arguments.duration,
            tuple(arguments.rates),
            arguments.seed,
        )
        np.savez(root / "ground_truth.npz", samples=samples, units=units)
        sort(root / "recording.dat", probe, root / "kilosort4", arguments.threads)
        write_whitened(root / "kilosort4", root / "whitened.f32")
    write_fixture(root, arguments.spikes, arguments.neighbours, arguments.seed)


if __name__ == "__main__":
    main()

"""The files of a simulated folder, apart from features: probe, templates, tables, ``ops.npy``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from si_curation.simulation.curation import (
    Metadata,
    PhyCuration,
    write_cluster_info,
    write_phy_tables,
    write_table,
)
from si_curation.simulation.dialects import Dialect, FolderWriter
from si_curation.simulation.spikes import Spikes
from si_curation.simulation.templates import Probe, SimulatedTemplates


def write_params(writer: FolderWriter, *, num_raw_channels: int, sampling_frequency: float) -> None:
    """Write ``params.py`` as the dialect writes it; the raw file that it names does not exist."""
    dialect = writer.dialect
    if dialect.is_kilosort4:
        dat_path = repr([dialect.dat_path] if dialect.dat_path_is_list else dialect.dat_path)
        text = (
            f"n_channels_dat = {num_raw_channels}\noffset = 0\n"
            f"sample_rate = {float(sampling_frequency)!r}\ndtype = 'int16'\n"
            f"hp_filtered = {dialect.hp_filtered}\ndat_path = {dat_path}\n"
        )
    else:
        whole = float(sampling_frequency).is_integer()
        rate = f"{int(sampling_frequency)}." if whole else repr(float(sampling_frequency))
        text = (
            f"dat_path = '{dialect.dat_path}'\nn_channels_dat = {num_raw_channels}\n"
            f"dtype = 'int16'\noffset = 0\nsample_rate = {rate}\n"
            f"hp_filtered = {dialect.hp_filtered}"
        )
    (writer.folder / "params.py").write_text(text, encoding="utf-8", newline="\n")


def write_probe(writer: FolderWriter, probe: Probe) -> None:
    """Write ``channel_map.npy``, ``channel_positions.npy`` and, where due, the shanks."""
    writer.save("channel_map", probe.channel_map)
    writer.save("channel_positions", probe.positions)
    when = writer.dialect.shanks
    if when == "always" or (when == "if_many" and probe.shanks[-1] > 0):
        writer.save("channel_shanks", probe.shanks)


def write_whitening(writer: FolderWriter, stored: np.ndarray, applied: np.ndarray) -> np.ndarray:
    """Write the whitening matrix and its inverse; return the inverse as stored.

    Parameters
    ----------
    writer : FolderWriter
        Where to.
    stored, applied : np.ndarray
        (n_channels, n_channels): what the folder gives as whitening matrix, and what the data
        were whitened with (Kilosort 4 keeps both, in ``whitening_mat_dat.npy``).
    """
    matrix = writer.save("whitening_mat", stored)
    if writer.dialect.is_kilosort4:
        writer.save("whitening_mat_dat", applied)
    jitter = writer.dialect.inverse_jitter * np.eye(len(matrix))
    inverse = np.linalg.inv(matrix.astype(np.float64) + jitter)
    return writer.save("whitening_mat_inv", np.asfortranarray(inverse))


def write_templates(
    writer: FolderWriter, templates: SimulatedTemplates, similarity: np.ndarray
) -> np.ndarray:
    """Write the templates, dense or sparse, and their similarity.

    Returns
    -------
    np.ndarray
        (n_templates, n_samples, n_channels): what was stored, over all channels.
    """
    whitened = templates.whitened
    num_templates, _, num_channels = whitened.shape
    all_channels = np.tile(np.arange(num_channels), (num_templates, 1))
    writer.save("similar_templates", similarity)
    if writer.dialect.sparse == "padded":
        support = templates.support
        columns = np.take_along_axis(whitened, np.maximum(support, 0)[:, None, :], axis=2)
        is_nan = np.isnan(whitened).any(axis=(1, 2))[:, None, None]  # padding included
        used = (support[:, None, :] >= 0) | is_nan
        writer.save("templates", np.where(used, columns, np.float32(0)))
        writer.save("template_ind", support)
        return whitened.astype(writer.dtype("templates"))
    name = "template_ind" if writer.dialect.sparse else "templates_ind"
    writer.save(name, all_channels)
    return writer.save("templates", whitened)


def sorter_metadata(
    dialect: Dialect,
    templates_whitened: np.ndarray,
    templates_unwhitened: np.ndarray,
    spikes: Spikes,
    seed: int | np.random.SeedSequence,
) -> Metadata:
    """Return the sorter's values of each template: label, contamination, amplitude."""
    rng = np.random.default_rng(seed)
    ids = range(len(templates_whitened))
    good = rng.random(len(ids)) < 0.6
    contamination = np.where(good, rng.uniform(0, 10, len(ids)), rng.uniform(10, 100, len(ids)))
    if dialect.is_kilosort4:
        amplitude = np.linalg.norm(templates_whitened.reshape(len(ids), -1), axis=1)
    else:
        counts = np.bincount(spikes.templates, minlength=len(ids))
        total = np.bincount(spikes.templates, weights=spikes.factors, minlength=len(ids))
        amplitude = np.ptp(templates_unwhitened, axis=1).max(axis=1) * total / np.maximum(counts, 1)
    return {
        "KSLabel": {i: "good" if good[i] else "mua" for i in ids},
        "ContamPct": {i: round(float(contamination[i]), 1) for i in ids},
        "Amplitude": {i: round(float(amplitude[i]), 1) for i in ids},
    }


def write_sorter_tables(writer: FolderWriter, metadata: Metadata) -> None:
    """Write ``cluster_<field>.tsv``, and ``cluster_group.tsv`` whose column is ``KSLabel``."""
    for field, values in metadata.items():
        has_groups = field == "KSLabel" and writer.dialect.group_table
        files = [field, "group"] if has_groups else [field]
        for file in files:
            path = writer.folder / f"cluster_{file}.tsv"
            write_table(path, ["cluster_id", field], values.items(), writer.dialect.newline)


class SortedRecording(NamedTuple):
    """The part of a recording that was sorted, which is not written, and with what settings."""

    num_raw_channels: int
    sampling_frequency: float
    num_samples: int
    settings: Mapping[str, Any] = MappingProxyType({})


def write_kilosort4_files(
    writer: FolderWriter,
    probe: Probe,
    basis: np.ndarray,
    applied_whitening: np.ndarray,
    spike_templates: np.ndarray,
    num_templates: int,
    recording: SortedRecording,
    seed: int | np.random.SeedSequence,
) -> None:
    """Write what only Kilosort 4 writes: finer templates, kept spikes, ``ops.npy``."""
    rng = np.random.default_rng(seed)
    finer = spike_templates * np.int32(2)
    finer += rng.integers(2, size=len(finer), dtype=np.int32)
    as_templates = writer.dialect.detection_as_templates
    writer.save("spike_templates" if as_templates else "spike_detection_templates", finer)
    num_found = len(spike_templates) + max(1, len(spike_templates) // 1000)
    kept = np.ones(num_found, dtype=bool)
    kept[rng.choice(num_found, num_found - len(spike_templates), replace=False)] = False
    writer.save("kept_spikes", kept)
    ops = _ops(writer.dialect, probe, basis, applied_whitening.astype(np.float32))
    ops.update(
        n_chan_bin=recording.num_raw_channels,
        fs=recording.sampling_frequency,
        Nbatches=np.int64(math.ceil(recording.num_samples / ops["batch_size"])),
        n_units_total=num_templates,
        n_spikes=len(spike_templates),
    )
    ops["settings"].update(n_chan_bin=recording.num_raw_channels, fs=recording.sampling_frequency)
    ops.update(recording.settings)
    ops["settings"].update(
        {key: value for key, value in recording.settings.items() if key != "invert_sign"}
    )
    if ops["nblocks"]:
        ops.update(_drift_estimate(ops, probe, rng))
    np.save(writer.path("ops"), np.array(ops), allow_pickle=True)


def _drift_estimate(ops: dict, probe: Probe, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return a slow random walk for each block of depths, in steps of ``binning_depth``."""
    num_blocks = 2 * ops["nblocks"] - 1
    depths = probe.positions[:, 1]
    edges = np.linspace(depths.min(), depths.max(), num_blocks + 1)
    steps = rng.normal(0, 2, (int(ops["Nbatches"]), 1)) + rng.normal(
        0, 0.5, (int(ops["Nbatches"]), num_blocks)
    )
    shift = np.round((np.cumsum(steps, axis=0) - steps[0]) / 5) * 5
    return {"dshift": shift, "yblk": (edges[1:] + edges[:-1]) / 2}


def _ops(dialect: Dialect, probe: Probe, basis: np.ndarray, whitening: np.ndarray) -> dict:
    """Return the parameters and intermediate results that Kilosort 4 pickles."""
    settings = {
        "batch_size": 60000,
        "nblocks": 0,
        "Th_universal": 9,
        "Th_learned": 8,
        "tmin": 0,
        "tmax": math.inf,
        "nt": dialect.num_samples,
        "shift": None,
        "scale": None,
        "artifact_threshold": math.inf,
        "whitening_range": 32,
        "drift_smoothing": [0.5, 0.5, 0.5],
        "nt0min": dialect.num_samples_before,
        "nearest_chans": dialect.num_feature_channels,
        "n_pcs": dialect.num_pcs,
        "n_templates": dialect.num_pcs,
        "duplicate_spike_ms": 0.25,
        "filename": [dialect.dat_path],
        "data_dir": ".",
    }
    channels = {
        "chanMap": probe.channel_map.astype(np.int64),
        "xc": probe.positions[:, 0].astype(np.float32),
        "yc": probe.positions[:, 1].astype(np.float32),
        "kcoords": probe.shanks.astype(np.float64),
        "n_chan": probe.num_channels,
    }
    return {
        **settings,
        "settings": {**settings, "results_dir": "."},
        "probe": channels,
        "data_dtype": "int16",
        "do_CAR": True,
        "invert_sign": False,
        "Nchan": probe.num_channels,
        "torch_device": "cpu",
        **channels,
        "preprocessing": {"whiten_mat": whitening},
        "Wrot": whitening,
        "wPCA": basis,
        "wTEMP": basis,
        "is_tensor": ["Wrot", "wPCA", "wTEMP"],
    }


def write_phy_snapshot(
    writer: FolderWriter,
    curation: PhyCuration,
    spikes: Spikes,
    templates: SimulatedTemplates,
    inverse: np.ndarray,
    probe: Probe,
    sampling_frequency: float,
) -> None:
    """Write the tables that phy saves: one per field, and ``cluster_info.tsv``.

    The amplitudes and channels in ``cluster_info.tsv`` are phy's, which unwhitens the
    templates of every sorter with the inverse on the right.
    """
    metadata = curation.current_metadata()
    write_phy_tables(writer.folder, metadata)
    duration_s = max(1.0, float(spikes.samples.max()) / sampling_frequency)
    shanks = probe.shanks.astype(writer.dtype("channel_shanks"))
    peaks: dict[int, tuple[int, float]] = {}
    info: dict[int, dict[str, Any]] = {}
    for cluster_id, rows in curation.rows.items():
        template_id = int(np.bincount(spikes.templates[rows]).argmax())
        if template_id not in peaks:
            peaks[template_id] = _peak_as_phy(template_id, templates, inverse, writer.dialect)
        channel, amplitude = peaks[template_id]
        info[cluster_id] = {
            **{field: values.get(cluster_id) for field, values in metadata.items()},
            "amp": amplitude,
            "ch": int(probe.channel_map[channel]),
            "depth": float(probe.positions[channel, 1]),
            "fr": len(rows) / duration_s,
            "n_spikes": len(rows),
            "sh": shanks[channel],
        }
    write_cluster_info(writer.folder, info)


def _peak_as_phy(
    template_id: int, templates: SimulatedTemplates, inverse: np.ndarray, dialect: Dialect
) -> tuple[int, float]:
    """Channel and peak-to-peak amplitude of a template's largest channel, as phy shows them."""
    template = templates.whitened[template_id]
    channels = np.arange(template.shape[1])
    if dialect.sparse:
        channels = templates.support[template_id]
        channels = channels[channels >= 0]
    unwhitened = template[:, channels] @ inverse[np.ix_(channels, channels)]
    amplitude = np.ptp(unwhitened.astype(np.float32), axis=0)
    return int(channels[amplitude.argmax()]), float(amplitude.max())

"""phy's table of clusters, as its file ``cluster_info.tsv``, without opening phy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import local_path
from si_curation.errors import PhyFolderError
from si_curation.extensions.template_best_channels import phy_best_channels
from si_curation.phy.arrays import Findings, as_vector, open_array
from si_curation.phy.folder import PhyFolder, read_phy_folder
from si_curation.phy.tables import SNAPSHOT, ClusterTables
from si_curation.phy.writing import format_table
from si_curation.reading.reader import read_kilosort_as_analyzer

_DECIMALS = 8


def make_cluster_info(folder_path: str | Path, *, sampling_frequency: float | None = None) -> bytes:
    r"""Make phy's table of clusters, as phy writes it to ``cluster_info.tsv`` when it saves.

    Parameters
    ----------
    folder_path : str or Path
        A Kilosort/phy folder; nothing in it is changed.
    sampling_frequency : float, optional
        In Hz; needed where there is no ``params.py``.

    Returns
    -------
    bytes
        The file: clusters ascending; ``cluster_id`` and then, by name, ``amp``, ``ch``, ``depth``,
        ``fr``, ``n_spikes``, ``sh``, ``group`` and every column of the other tables; decimals as
        phy's, 8 digits. ``ch``, ``depth`` and ``sh`` are empty for a cluster whose template has no
        signal, on which phy fails. ``fr`` is over all of the raw data, as phy's, also where a part
        was sorted; ``firing_rate_hz`` of the unit table is over what was observed.

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        The folder cannot be read.

    Notes
    -----
    Source: phy 2.1.0, ``BaseController._save_cluster_info``; phylib 2.7.1, ``write_tsv``.

    Examples
    --------
    >>> import si_curation as sic
    >>> make_cluster_info(sic.example_folder()).decode().split("\r\n")[0].split("\t")[:5]
    ['cluster_id', 'Amplitude', 'ContamPct', 'KSLabel', 'amp']
    """
    return _make_cluster_info(folder_path, sampling_frequency, frozenset())


def make_new_cluster_info(
    folder_path: str | Path, *, sampling_frequency: float | None = None
) -> dict[str, bytes]:
    """Make what replaces ``cluster_info.tsv``: itself, and files of columns that only it has.

    Parameters
    ----------
    folder_path, sampling_frequency
        As for `make_cluster_info`.

    Returns
    -------
    dict of str to bytes
        ``cluster_info.tsv`` and a ``cluster_<column>.tsv`` for each column that no other file has
        and phy does not compute, by name; nothing is lost, and phy shows them.
    """
    tables = ClusterTables(local_path(folder_path, "folder_path"))
    known = set(tables.column_names)
    with read_phy_folder(folder_path, sampling_frequency=sampling_frequency) as folder:
        taken = tables.take_from_snapshot(folder.cluster_ids.tolist())
    new = frozenset(tables.column_names) - known
    content = _make_cluster_info(folder_path, sampling_frequency, new)
    return {f"{SNAPSHOT}.tsv": content, **taken}


def _make_cluster_info(
    folder_path: str | Path, sampling_frequency: float | None, of_snapshot: frozenset[str]
) -> bytes:
    """Make the table with some columns that only the snapshot has."""
    with read_phy_folder(folder_path, sampling_frequency=sampling_frequency) as folder:
        labels = {
            name: dict(column.values)
            for name, column in folder.columns.items()
            if Path(column.file).stem != SNAPSHOT or name in of_snapshot
        }
        labels.setdefault("group", {})
        ids = folder.cluster_ids
        num_spikes = np.unique(folder.spike_clusters, return_counts=True)[1]
        columns: dict[str, list[Any]] = {"n_spikes": num_spikes.tolist()}
        columns["fr"] = (num_spikes / max(1.0, _duration(folder))).tolist()
        one_shank = np.zeros(folder.num_channels, dtype=np.int32)  # phy does not read ops.npy
        shanks = _as_written(folder, "channel_shanks.npy", one_shank)
        positions = folder.channel_positions
        mapped = folder.params.get("show_mapped_channels", True)
        labels_of = folder.channel_map if mapped else np.arange(folder.num_channels)
    analyzer = read_kilosort_as_analyzer(
        folder_path,
        unwhiten="phy",
        sampling_frequency=sampling_frequency,
        max_spikes_per_unit=1,
        principal_components=False,
    )
    ranking = phy_best_channels(analyzer)
    ranked, amplitudes = ranking.by_template, ranking.amplitudes
    template_of_unit = ranking.template_of_unit.tolist()
    template_of = dict(zip(analyzer.unit_ids.tolist(), template_of_unit, strict=True))
    templates = [template_of.get(int(i), -1) for i in ids]
    # no column where no template has signal
    best = [int(ranked[t, 0]) if t >= 0 and ranked.shape[1] else -1 for t in templates]
    columns["amp"] = [float(amplitudes[t].max()) if t >= 0 else None for t in templates]
    columns["ch"] = [None if b < 0 else int(labels_of[b]) for b in best]
    columns["sh"] = [None if b < 0 else shanks[b] for b in best]
    columns["depth"] = [None if b < 0 else positions[b, 1] for b in best]
    # a table that has a column of that name overrides it
    columns |= {name: [of.get(int(i)) for i in ids] for name, of in labels.items()}
    names = sorted(columns)
    rows = [
        [str(int(i)), *(_text(columns[name][row]) for name in names)] for row, i in enumerate(ids)
    ]
    return format_table(["cluster_id", *names], rows)


def _duration(folder: PhyFolder) -> float:
    """Return the length of the raw data; without them the time of the last spike of the file."""
    if folder.raw_num_samples is not None:
        return folder.raw_num_samples / folder.sampling_frequency
    return float(folder.spike_samples[-1]) / folder.sampling_frequency if folder.num_spikes else 0.0


def _as_written(folder: PhyFolder, name: str, otherwise: NDArray) -> NDArray:
    """Return the values of a file in its own dtype, as phy writes them."""
    if not (folder.folder / name).exists():
        return otherwise
    findings = Findings()
    values = as_vector(open_array(folder.folder, name, findings), name, findings)
    if findings.with_severity("error") or values is None:
        raise PhyFolderError(folder.folder, findings.with_severity("error"))
    return np.array(values)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        return f"{value:.{_DECIMALS}f}"
    return str(value)

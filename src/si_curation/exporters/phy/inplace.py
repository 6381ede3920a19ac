"""`write_phy_columns`, `update_phy_folder`: a folder changed in place, with a way back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

import si_curation.extensions  # noqa: F401  (registers template_assignment)
from si_curation.checks import check_arguments, local_path
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    OutputExistsError,
    ParameterError,
    PhyFolderError,
)
from si_curation.exporters.phy.columns import texts_by_id
from si_curation.exporters.phy.curated import (
    CLUSTERS_FILE,
    CuratedFiles,
    plan_curation,
    source_folder_of,
)
from si_curation.kernels.spike_files import unique_ids
from si_curation.phy.arrays import Findings, as_integers, as_vector, open_array
from si_curation.phy.backup import only_writer, replace_files
from si_curation.phy.content import read_content, same_clusters
from si_curation.phy.tables import UNSORTED, ClusterTables, read_tables


def write_phy_columns(
    folder: str | Path,
    table: pd.DataFrame | Mapping[str, Mapping[int, Any]],
    *,
    overwrite: bool = True,
) -> Path | None:
    """Add columns to a folder of phy, in place: they are in its ClusterView the next time.

    Each column becomes ``cluster_<name>.tsv``. Clusters that are not in `table` keep the value that
    they have. If the column is in another table of the folder it is removed there, as phy would
    read both; nothing else is removed. ``cluster_info`` is left: phy does not read it, and writes
    it anew when it saves.

    Every file that is replaced is backed up before, see `restore_phy_folder`. Close phy first: it
    would write its own values when it saves.

    Parameters
    ----------
    folder : str or Path
        The Kilosort/phy folder.
    table : pandas.DataFrame or mapping
        Indexed by cluster id, or {name: {cluster_id: value}}. NaN, None and "" are no value (what
        was there is removed). The column ``group`` is phy's: "good", "mua", "noise"; "unsorted" is
        no value.
    overwrite : bool
        False: an error if a column is there already.

    Returns
    -------
    Path or None
        The backup; None where nothing had to be changed.

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        The folder cannot be read.
    UnknownIdError
        There are ids without spikes in the folder; all problems at once.
    ParameterError
        A name or a value cannot be written; all problems at once.
    OutputExistsError
        `overwrite` is False, and a column is there already.
    InUseError
        Another program writes to the folder at this moment.

    Examples
    --------
    >>> import shutil, tempfile
    >>> import si_curation as sic
    >>> folder = shutil.copytree(sic.example_folder(), tempfile.mkdtemp() + "/copy")
    >>> backup = write_phy_columns(folder, {"snr": {4: 7.5, 7: 3.25}})
    >>> sic.read_phy_folder(folder).columns["snr"].values
    {4: 7.5, 7: 3.25}
    """
    check_arguments(write_phy_columns, locals())
    path = _existing(folder)
    findings = Findings()
    clusters = _open_clusters(path, findings)
    read_tables(path, findings)
    if findings.with_severity("error") or clusters is None:
        raise PhyFolderError(path, findings.with_severity("error"))
    known = unique_ids(clusters, int(clusters.max(initial=0)))
    del clusters  # a map of the file
    texts = texts_by_id(table, known.tolist(), "cluster")
    with only_writer(path) as read:
        files = _with_columns(path, known.tolist(), texts, overwrite)
        return replace_files(path, files, "write_phy_columns", read)


def _with_columns(
    path: Path,
    cluster_ids: list[int],
    texts: Mapping[str, Mapping[int, str | None]],
    overwrite: bool,
) -> dict[str, bytes | None]:
    """Return the tables that change when columns are added."""
    tables = ClusterTables(path)
    tables.take_from_snapshot(
        cluster_ids
    )  # else a new file of such a column would hide its other values
    there = [name for name in texts if name in tables.column_names]
    if there and not overwrite:
        raise OutputExistsError(
            f"{path} has the columns {', '.join(map(repr, there))} already; overwrite=True "
            "replaces their values"
        )
    for name, column in texts.items():
        if name == "group":
            column = {i: None if text == UNSORTED else text for i, text in column.items()}
        tables.set_column(name, column)
    return tables.changed_files()


# what this process wrote into a folder, which it may replace again
_WRITTEN: dict[Path, list[dict[str, Any]]] = {}


def update_phy_folder(
    folder: str | Path, sorting_analyzer: SortingAnalyzer, *, overwrite: bool = False
) -> Path | None:
    """Write the clusters and labels of an analyzer into the folder that it was read from.

    The rules are those of `export_to_phy`. Labels that phy has changed since the analyzer was
    read stay, where the analyzer's are as they were read; what both have changed is an error.
    Every file that is replaced is backed up before, see `restore_phy_folder`. What phy has
    cached of the old clusters is moved into the backup too: it would show it. Close phy first.

    Parameters
    ----------
    folder : str or Path
        The Kilosort/phy folder; it may have been moved since, but must hold the same spikes.
    sorting_analyzer : SortingAnalyzer
        Read from it with `read_kilosort_as_analyzer`.
    overwrite : bool
        False: an error if another program (phy, say) has changed what would be replaced since the
        analyzer was read. True: it is replaced; the backup keeps it.

    Returns
    -------
    Path or None
        The backup; None where nothing had to be changed.

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        The folder cannot be read, or is not what the analyzer was read from.
    MissingDataError
        The analyzer was not read from a Kilosort folder.
    OutputExistsError
        Clusters or labels were changed since by another program, or by this package in another
        one, and `overwrite` is False. Analyzers that were saved by version 0.1.0 do not know what
        they were read from, and are not compared.
    InUseError
        Another program writes to the folder at this moment.

    Examples
    --------
    >>> import shutil, tempfile
    >>> import si_curation as sic
    >>> folder = shutil.copytree(sic.example_folder(), tempfile.mkdtemp() + "/copy")
    >>> analyzer = sic.read_kilosort_as_analyzer(folder)
    >>> merged = analyzer.merge_units([[8, 9]], sparsity_overlap=0.0)
    >>> backup = update_phy_folder(folder, merged)
    >>> sic.read_phy_folder(folder).cluster_ids
    array([ 4,  7, 10, 11, 12, 13, 14])
    """
    check_arguments(update_phy_folder, locals())
    path = _existing(folder)
    if not isinstance(sorting_analyzer, SortingAnalyzer):
        raise ParameterError(
            f"sorting_analyzer is a {type(sorting_analyzer).__name__}, expected a SortingAnalyzer"
        )
    if source_folder_of(sorting_analyzer) is None:
        raise MissingDataError(
            "the analyzer was not read from a Kilosort folder (or lost 'template_assignment'); "
            "export_to_phy writes a new folder of it"
        )
    with only_writer(path) as read:
        plan = plan_curation(sorting_analyzer, path)
        if not overwrite:
            _check_as_read(sorting_analyzer, path, plan)
        backup = replace_files(path, plan.files, "update_phy_folder", read)
        if backup is not None:
            _WRITTEN.setdefault(path, []).append(read_content(path))
    return backup


def _check_as_read(analyzer: SortingAnalyzer, path: Path, plan: CuratedFiles) -> None:
    """Raise where a value that would be replaced is not the one that was read."""
    read = analyzer.get_extension("template_assignment").info.get("read_content")
    if read is None:
        return
    now, known = plan.content_before, [read, *_WRITTEN.get(path, [])]
    changed = []
    if plan.clusters_changed and not any(same_clusters(path, now, one) for one in known):
        before, after = set(read["cluster_ids"]), set(now["cluster_ids"])
        new, gone = _some(after - before), _some(before - after)
        changed.append(f"{CLUSTERS_FILE} (new clusters: {new}; gone: {gone})")
    cells: dict[str, set[int]] = {}
    for name, i in plan.replaced_cells:
        value = now["cells"][name][i]
        if all(one["cells"].get(name, {}).get(i) != value for one in known):
            cells.setdefault(name, set()).add(int(i))
    changed += [f"the column {name!r} of clusters {_some(ids)}" for name, ids in cells.items()]
    if changed:
        raise OutputExistsError(
            f"{path}: another program changed what would be replaced since the analyzer was read: "
            f"{'; '.join(changed)}. Nothing was written. Read the folder again and repeat your "
            "steps on it (CurationSession.repeat), give overwrite=True (the backup keeps what is "
            "there), or export_to_phy to another folder"
        )


def _some(ids: set[int]) -> str:
    shown = [str(i) for i in sorted(ids)[:8]]
    return ", ".join(shown + ["..."] * (len(ids) > 8)) or "none"


def _existing(folder: str | Path) -> Path:
    path = local_path(folder, "folder")
    if not path.is_dir():
        fault = "is a file" if path.exists() else "does not exist"
        raise FolderNotFoundError(f"{path} {fault}, expected a Kilosort/phy folder")
    return path.resolve()


def _open_clusters(folder: Path, findings: Findings) -> NDArray[np.integer] | None:
    names = ["spike_clusters.npy", "spike_templates.npy"]  # phy copies the latter at first
    name = next((name for name in names if (folder / name).exists()), None)
    if name is None:
        findings.error(names[0], "is missing", "give the folder that the sorter wrote")
        return None
    return as_integers(
        as_vector(open_array(folder, name, findings), name, findings), name, findings
    )

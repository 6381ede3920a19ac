"""Which rows of the cluster tables another program keeps."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from si_curation.phy.tables import SNAPSHOT


def rows_of_read_phy(folder: Path) -> tuple[set[int] | None, list[str], bool]:
    """Give the ids that SpikeInterface's ``read_phy`` keeps.

    Returns
    -------
    set of int or None
        None: it keeps all, or it cannot be told (it would fail).
    list of str
        The tables that it joins.
    bool
        Whether that is one ``cluster_info`` file.
    """
    paths = [p for p in sorted(folder.iterdir()) if p.suffix in (".csv", ".tsv") and p.is_file()]
    snapshots = [p for p in paths if SNAPSHOT in p.name]
    if len(snapshots) == 1:
        ids = _ids_as_pandas(snapshots[0], ("cluster_id", "id"))
        return ids, [snapshots[0].name], True
    kept: set[int] | None = None
    files = []
    for path in paths:
        ids = _ids_as_pandas(path, ("cluster_id",))
        if ids is not None:
            kept = ids if kept is None else kept & ids
            files.append(path.name)
    return kept, files, False


def _ids_as_pandas(path: Path, id_columns: tuple[str, ...]) -> set[int] | None:
    delimiter = "\t" if path.suffix == ".tsv" else ","  # by the suffix, whatever the content
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = [r for r in csv.reader(io.StringIO(text), delimiter=delimiter) if r]
        column = next((name for name in id_columns if rows and name in rows[0]), None)
        if column is None:
            return None
        place = rows[0].index(column)
        return {int(float(row[place])) for row in rows[1:] if len(row) > place and row[place]}
    except (ValueError, OverflowError, csv.Error):
        return None

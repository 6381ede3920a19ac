"""Cluster tables against the clusters: rows that are missing, stale or blank."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, listed, plural
from si_curation.phy.arrays import Findings
from si_curation.phy.tables import SNAPSHOT, ClusterTable, Value, same_value

#: Columns that Kilosort writes for every template.
SORTER_COLUMNS = ("KSLabel", "ContamPct", "Amplitude")
_SAVE_IN_PHY = "open the folder in phy and save: it writes all columns anew"


def _spikes_of(facts: FolderFacts, ids: Iterable[int]) -> int:
    return sum(facts.cluster_sizes.get(i, 0) for i in ids)


def check_table_ids(facts: FolderFacts, findings: Findings) -> None:
    """Check that tables have rows for the clusters, not for templates that were merged."""
    if facts.cluster_ids is None or facts.template_sizes is None:
        return
    clusters = set(facts.cluster_sizes)
    # templates that never had a spike have rows in the sorter's tables: nothing is wrong with that
    with_spikes = set(facts.template_sizes.nonzero()[0].tolist())
    silent = set(range(facts.template_sizes.size)) - with_spikes
    for name, table in facts.tables.items():
        if name.startswith(SNAPSHOT) or not table.ids:
            continue
        ids = set(table.ids)
        gone = sorted(ids - clusters - silent)
        missing = sorted(clusters - ids)
        if gone:
            _report_stale(facts, findings, name, gone, missing)
        elif missing and set(table.header) & set(SORTER_COLUMNS):
            _report_missing(facts, findings, name, missing)


def _report_missing(facts: FolderFacts, findings: Findings, name: str, missing: list[int]) -> None:
    """Report clusters without a row in a table of the sorter; a fault where it sorted them."""
    num_templates = facts.parts.templates.count or 0
    sorted_ones = [i for i in missing if i < num_templates]
    shown = sorted_ones or missing
    report = findings.warning if sorted_ones else findings.info
    report(
        name,
        f"has no row for {plural(len(shown), 'cluster')}"
        f"{'' if sorted_ones else ' that came from a merge or split'} "
        f"({plural(_spikes_of(facts, shown), 'spike')}): {listed(shown)}",
        "the sorter writes a row for every template, and phy for every cluster; restore the file"
        if sorted_ones
        else "the sorter has no values of them; compute them anew, e.g. with curation_metrics",
        clusters=first_of(shown),
        num_clusters=len(shown),
        num_spikes=_spikes_of(facts, shown),
    )


def _report_stale(
    facts: FolderFacts, findings: Findings, name: str, gone: list[int], missing: list[int]
) -> None:
    num_templates = facts.parts.templates.count
    are_templates = [i for i in gone if num_templates is not None and i < num_templates]
    evidence = {
        "ids_without_spikes": first_of(gone),
        "num_ids_without_spikes": len(gone),
        "clusters_without_row": first_of(missing),
        "num_clusters_without_row": len(missing),
        "num_spikes_without_row": _spikes_of(facts, missing),
    }
    what = f"has rows for {plural(len(gone), 'id')} without spikes ({listed(gone)})"
    if missing:
        what += (
            f" and none for {plural(len(missing), 'cluster')} with "
            f"{plural(_spikes_of(facts, missing), 'spike')} ({listed(missing)})"
        )
    columns = facts.parts.columns
    in_use = [n for n in facts.tables[name].column_names if n in columns]
    in_use = [n for n in in_use if columns[n].values and columns[n].file == name]
    if not in_use:
        findings.info(
            name,
            f"is older than the clusters: {what}. Other tables have its columns, and are used",
            "nothing to do; do not join it to the clusters by number",
            **evidence,
        )
    elif facts.is_curated and len(are_templates) == len(gone) and missing:
        findings.warning(
            name,
            f"covers the sorter's templates, not the clusters: {what}",
            f"it is older than the curation; {_SAVE_IN_PHY}, or drop the rows. Do not join it to "
            "the clusters by number alone",
            **evidence,
        )
    else:
        findings.warning(
            name, what, f"stale rows: {_SAVE_IN_PHY}, or remove those rows", **evidence
        )


def check_other_readers(facts: FolderFacts, findings: Findings) -> None:
    """Check that SpikeInterface's ``read_phy`` keeps every cluster.

    Source: SpikeInterface 0.105.3, ``BasePhyKilosortSortingExtractor``: one ``cluster_info`` file,
    or else an inner join of all tables with a ``cluster_id`` column.
    """
    if facts.cluster_ids is None:
        return
    kept, files, is_snapshot = _rows_of_read_phy(facts.folder)
    if kept is None:
        return
    lost = sorted(set(facts.cluster_sizes) - kept)
    if not lost:
        return
    num_spikes, total = _spikes_of(facts, lost), sum(facts.cluster_sizes.values())
    how = (
        "reads clusters from this table alone"
        if is_snapshot
        else f"has no cluster_info table here and keeps only clusters that are in all of "
        f"{', '.join(files)}"
    )
    findings.warning(
        files[0] if is_snapshot else "cluster_*.tsv",
        f"SpikeInterface's read_phy {how}: it drops {len(lost)} of "
        f"{plural(len(facts.cluster_sizes), 'unit')} ({listed(lost)}), {num_spikes:,} of "
        f"{plural(total, 'spike')}, without a word",
        "save in phy, which writes cluster_info.tsv anew, or read the folder with "
        "read_kilosort_as_analyzer, which loses nothing",
        units_lost=first_of(lost),
        num_units_lost=len(lost),
        num_units=len(facts.cluster_sizes),
        num_spikes_lost=num_spikes,
        num_spikes=total,
        files=files,
    )


def _rows_of_read_phy(folder: Path) -> tuple[set[int] | None, list[str], bool]:
    """Return the ids that SpikeInterface's ``read_phy`` keeps.

    Returns
    -------
    set of int or None
        None: it keeps all, or it fails on a table.
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


def check_blank_columns(facts: FolderFacts, findings: Findings) -> None:
    """Check that columns have values."""
    by_file: dict[str, list[str]] = {}
    for name, column in facts.parts.columns.items():
        rows = facts.tables.get(column.file)
        if rows is None or column.file.startswith(SNAPSHOT):
            continue
        blank = sorted(set(rows.ids) - set(column.values))
        if not column.values and name == "group" and not rows.ids:
            findings.info(column.file, "has no label yet", "every cluster counts as unsorted")
        elif not column.values:
            by_file.setdefault(column.file, []).append(name)
        elif blank:
            report = findings.warning if name in SORTER_COLUMNS else findings.info
            report(
                column.file,
                f"column {name!r} is blank for {plural(len(blank), 'cluster')}: {listed(blank)}",
                "they have no value" + (", phy shows them as unsorted" if name == "group" else ""),
                column=name,
                clusters=first_of(blank),
                num_clusters=len(blank),
            )
    for file, names in by_file.items():
        _report_without_values(facts, findings, file, names)


def _report_without_values(
    facts: FolderFacts, findings: Findings, file: str, names: list[str]
) -> None:
    """Report the columns of one file that have no value: lost, or not computed."""
    table = facts.tables[file]
    has_others = any(table.cells(name) for name in table.column_names)
    is_needed = any(name in (*SORTER_COLUMNS, "group") for name in names)
    report = findings.info if has_others and not is_needed else findings.warning
    columns = f"column {names[0]!r} is" if len(names) == 1 else f"{len(names)} columns are"
    shown = "" if len(names) == 1 else f" ({listed(names)})"
    report(
        file,
        f"{columns} blank in all of {plural(len(table.ids), 'row')}{shown}"
        if table.ids
        else "has a header and no row",
        "restore the values if there were any" + ("" if has_others else ", or remove the file"),
        columns=first_of(names),
        num_rows=len(table.ids),
    )


def check_cluster_info(facts: FolderFacts, findings: Findings) -> None:
    """Check that phy's snapshot agrees with the files that phy reads."""
    for name, table in facts.tables.items():
        if Path(name).stem != SNAPSHOT or not facts.cluster_sizes:
            continue
        evidence = _differences(facts, name, table)
        reasons = [text for text, _ in evidence.values()]
        if reasons:
            findings.warning(
                name,
                "disagrees with the other files: " + "; ".join(reasons),
                "it is a snapshot that phy writes and never reads, and is not brought up to date; "
                + _SAVE_IN_PHY,
                **{key: first_of(ids) for key, (_, ids) in evidence.items()},
            )


def _differences(
    facts: FolderFacts, file: str, table: ClusterTable
) -> dict[str, tuple[str, list[int]]]:
    """Return the ids in which a snapshot is wrong, each kind with its text."""
    sizes, found = facts.cluster_sizes, {}
    counts = table.values("n_spikes")
    gone = sorted(set(table.ids) - set(sizes))
    missing = sorted(set(sizes) - set(table.ids))
    wrong = [i for i, n in counts.items() if i in sizes and n != sizes[i]]
    if gone:
        text = f"{plural(len(gone), 'row')} of clusters without spikes: {listed(gone)}"
        found["rows_without_spikes"] = (text, gone)
    if missing:
        text = f"no row for {plural(len(missing), 'cluster')}: {listed(missing)}"
        found["clusters_without_row"] = (text, missing)
    if wrong:
        shown = listed([f"{i} ({counts[i]} for {sizes[i]})" for i in wrong])
        found["other_n_spikes"] = (f"n_spikes wrong in {plural(len(wrong), 'row')}: {shown}", wrong)
    present = set(table.ids) & set(sizes)
    for name in table.column_names:
        values = table.values(name)
        column = facts.parts.columns.get(name)
        if column is None or column.file == file or name == "n_spikes":
            continue
        ids = [i for i in sorted(present) if not _same(values.get(i), column.values.get(i))]
        if ids:
            text = f"{name} differs from {column.file} in {plural(len(ids), 'cluster')}: "
            found[f"other_{name}"] = (text + listed(ids), ids)
    return found


def _same(shown: Value | None, value: Value | None) -> bool:
    """Compare a value of the snapshot, which has eight decimals, with the one of its own file."""
    if shown is None or value is None:
        # phy leaves unlabelled clusters blank, other programs write "unsorted"
        return (shown or "unsorted") == (value or "unsorted")
    return same_value(shown, value)


def check_columns_after_merges(facts: FolderFacts, findings: Findings) -> None:
    """Find columns that new clusters inherited from the sorter's templates."""
    counts, ids = facts.template_counts, facts.cluster_ids
    if counts is None or ids is None or not facts.is_curated:
        return
    num_templates = facts.parts.templates.count or 0
    new = [int(i) for i in ids if i >= num_templates]
    columns = [facts.parts.columns[n] for n in SORTER_COLUMNS if n in facts.parts.columns]
    columns = [column for column in columns if any(i in column.values for i in new)]
    if columns:
        names = ", ".join(column.name for column in columns)
        findings.info(
            columns[0].file,
            f"{names} of {plural(len(new), 'merged or split cluster')} ({listed(new)}) are "
            "inherited: the sorter computed them for its templates",
            "compute them anew where they matter, e.g. with curation_metrics",
            columns=[column.name for column in columns],
            clusters=first_of(new),
            num_clusters=len(new),
        )

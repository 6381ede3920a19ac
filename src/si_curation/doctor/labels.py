"""Labels: unknown ones, and ones that contradict each other or the number of spikes."""

from __future__ import annotations

import difflib

from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, listed, plural
from si_curation.phy.arrays import Findings, shortened
from si_curation.phy.tables import GROUPS

#: Of a train as good as random at a unit's rate, so many spikes are expected within 2 ms after
#: another one: with fewer expected, none at all is no evidence (3: 5 % by chance).
_MIN_EXPECTED = 3.0
_REFRACTORY_S = 0.002
_HANDFUL = 20


def check_groups(facts: FolderFacts, findings: Findings) -> None:
    """Check that groups are phy's, or at least not misspelt ones."""
    column = facts.parts.columns.get("group")
    if column is None:
        return
    by_label: dict[str, list[int]] = {}
    for cluster_id, value in column.values.items():
        if str(value) not in GROUPS:
            by_label.setdefault(str(value), []).append(cluster_id)
    for label, ids in by_label.items():
        near = difflib.get_close_matches(label.strip().lower(), GROUPS, n=1, cutoff=0.75)
        what = (
            f"group {shortened(label, 40)!r} of {plural(len(ids), 'cluster')} ({listed(ids)}) is "
            f"none of {', '.join(GROUPS)}"
        )
        evidence = {"label": shortened(label), "count": len(ids), "clusters": first_of(ids)}
        if near:
            findings.warning(
                column.file,
                what,
                f"programs that ask for {near[0]!r} miss them; write {near[0]!r} if that is meant",
                **evidence,
            )
        else:
            findings.info(
                column.file,
                what,
                "fine in phy; name it where units are chosen by label",
                **evidence,
            )


def check_against_sorter(facts: FolderFacts, findings: Findings) -> None:
    """Find clusters whose group differs from the sorter's label."""
    group, label = facts.parts.columns.get("group"), facts.parts.columns.get("KSLabel")
    if group is None or label is None or group.file == label.file:
        return
    pairs: dict[tuple[str, str], list[int]] = {}
    for cluster_id in facts.cluster_sizes:
        mine, its = group.values.get(cluster_id), label.values.get(cluster_id)
        if mine in ("good", "mua", "noise") and its is not None and mine != its:
            pairs.setdefault((str(mine), str(its)), []).append(cluster_id)
    if not pairs:
        return
    shown = [f"{len(ids)} {mine} ({its} for Kilosort)" for (mine, its), ids in pairs.items()]
    findings.info(
        group.file,
        f"the curator's group differs from KSLabel: {', '.join(shown)}",
        "the group is what counts; programs that filter by KSLabel choose other units",
        clusters={f"{mine}/{its}": first_of(ids) for (mine, its), ids in pairs.items()},
    )


def check_few_spikes(facts: FolderFacts, findings: Findings) -> None:
    """Check that no unit is called good on so few spikes that it could not fail.

    Kilosort compares the number of spikes shortly after another one with what it would be in a
    random train. Of n spikes in T seconds n² · 2 ms / T are expected there; where that is below 3,
    none is no evidence.
    """
    label, contamination = (facts.parts.columns.get(n) for n in ("KSLabel", "ContamPct"))
    duration_s = facts.duration_s
    if duration_s is None or (label is None and contamination is None):
        return
    few = []
    for cluster_id, count in facts.cluster_sizes.items():
        expected = count**2 * _REFRACTORY_S / duration_s
        is_good = label is not None and label.values.get(cluster_id) == "good"
        is_clean = contamination is not None and contamination.values.get(cluster_id) == 0
        if (is_good or is_clean) and expected < _MIN_EXPECTED:
            few.append((count, cluster_id))
    if not few:
        return
    few.sort()
    # a contamination of 0 alone is what Kilosort 4 writes for clusters of up to 10 spikes
    called_good = set() if label is None else {i for i, v in label.values.items() if v == "good"}
    handful = [(count, i) for count, i in few if count < _HANDFUL and i in called_good]
    shown = [f"{cluster_id} ({count})" for count, cluster_id in handful or few]
    column = contamination if label is None else label
    report = findings.warning if handful else findings.info
    others = f"; of {plural(len(few), 'unit')} called good or 0 % contaminated too few to tell"
    report(
        column.file,  # type: ignore[union-attr]
        f"{plural(len(handful), 'unit')} called good on fewer than {_HANDFUL} spikes: "
        f"{listed(shown)}{others if len(few) > len(handful) else ''}"
        if handful
        else f"{plural(len(few), 'unit')} called good or 0 % contaminated on too few spikes to "
        f"tell: {listed(shown)}",
        "their refractory period was never tested (fewer than 3 violations expected of a random "
        "train): do not choose units by this label alone; contamination_panel gives intervals",
        count=len(few),
        units=first_of(i for _, i in few),
        num_spikes=first_of(n for n, _ in few),
    )


def check_contamination(facts: FolderFacts, findings: Findings) -> None:
    """Check that percentages are numbers from 0 on, and not called good where they are large."""
    column, label = facts.parts.columns.get("ContamPct"), facts.parts.columns.get("KSLabel")
    if column is None:
        return
    ids = [i for i in facts.cluster_sizes if i in column.values]
    bad = [i for i in ids if isinstance(column.values[i], str) or not column.values[i] >= 0]  # type: ignore[operator]
    if bad:
        findings.warning(
            column.file,
            f"ContamPct of {plural(len(bad), 'cluster')} is no percentage: {listed(bad)}",
            "restore the file that the sorter wrote",
            clusters=first_of(bad),
        )
    if label is None:
        return
    doubtful = [i for i in ids if i not in bad and column.values[i] >= 50]  # type: ignore[operator]
    doubtful = [i for i in doubtful if label.values.get(i) == "good"]
    if facts.sorter.writes_100_for_unknown:
        unknown = [i for i in doubtful if column.values[i] == 100]
        doubtful = [i for i in doubtful if column.values[i] != 100]
        if unknown:
            findings.info(
                column.file,
                f"ContamPct of {plural(len(unknown), 'unit')} called good is 100, which "
                f"{facts.sorter.name} writes where it has no estimate: {listed(unknown)}",
                "do not select by it; contamination_panel estimates the contamination",
                units=first_of(unknown),
                num_units=len(unknown),
            )
    if doubtful:
        findings.warning(
            label.file,
            f"{plural(len(doubtful), 'unit')} good with ContamPct of 50 or more: "
            f"{listed(doubtful)}",
            "Kilosort calls units good below 10 to 20 %: the two files are of different runs, or "
            "one was edited",
            units=first_of(doubtful),
        )

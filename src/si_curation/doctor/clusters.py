"""Ids of clusters and templates: mixed up, out of proportion, reused."""

from __future__ import annotations

import numpy as np

from si_curation.checks import is_whole_number
from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, listed, plural
from si_curation.documents import read_document
from si_curation.phy.arrays import Findings, open_array
from si_curation.reading.unit_templates import MAX_UNITS

_CLUSTERS = "spike_clusters.npy"
_LARGE_ID = 1_000_000
_GAP = 10_000


def check_reused_ids(facts: FolderFacts, findings: Findings) -> None:
    """Check that a cluster whose id is that of a template holds spikes of that template.

    phy gives every new cluster an id above all that have spikes, so that this fails only where
    ids were changed by another program, or where the last templates have no spikes.
    """
    ids, main, counts = facts.cluster_ids, facts.main_templates, facts.template_counts
    sizes, num_templates = facts.template_sizes, facts.parts.templates.count
    if ids is None or main is None or counts is None or sizes is None or num_templates is None:
        return
    row_of_count = np.repeat(np.arange(ids.size), np.diff(counts.indptr))
    has_own = np.zeros(ids.size, dtype=bool)
    has_own[row_of_count[ids[row_of_count] == counts.indices]] = True
    reused = np.flatnonzero((ids < num_templates) & ~has_own)
    last_used = int(np.flatnonzero(sizes)[-1])
    by_phy = reused[ids[reused] > last_used]  # phy takes ids of templates without spikes at the end
    wrong = reused[ids[reused] <= last_used]
    if wrong.size:
        shown = [f"{ids[i]} (template {main[i]})" for i in wrong]
        findings.warning(
            _CLUSTERS,
            f"{plural(wrong.size, 'cluster')} without one spike of the template of the same "
            f"number: {listed(shown)}",
            "the clusters were renumbered by another program than phy, or the file is of another "
            "run; restore it, or never take a cluster id for a template id here",
            count=int(wrong.size),
            clusters=first_of(ids[wrong]),
            templates=first_of(main[wrong]),
        )
    if by_phy.size:
        findings.info(
            _CLUSTERS,
            f"{plural(by_phy.size, 'new cluster')} with the number of an unrelated template that "
            f"has no spikes: {listed(ids[by_phy])}",
            "phy does that; a cluster id is no template id",
            count=int(by_phy.size),
            clusters=first_of(ids[by_phy]),
        )


def check_many(facts: FolderFacts, findings: Findings) -> None:
    """Check that there are not more clusters than a probe can have."""
    ids = facts.cluster_ids
    if ids is not None and ids.size > MAX_UNITS:
        spikes = facts.parts.spikes.count or 0
        findings.warning(
            _CLUSTERS,
            f"{plural(ids.size, 'cluster')} for {plural(spikes, 'spike')}, more than any probe has",
            "look whether the file holds clusters: an analyzer of so many is refused",
            count=int(ids.size),
        )


def check_large_ids(facts: FolderFacts, findings: Findings) -> None:
    """Check that ids are not far above their number."""
    ids = facts.cluster_ids
    if ids is None:
        return
    if ids[-1] >= _LARGE_ID:
        large = ids[ids >= _LARGE_ID]
        findings.warning(
            _CLUSTERS,
            f"{plural(large.size, 'cluster')} with ids from {large[0]} to {large[-1]}, though "
            f"there are only {plural(ids.size, 'cluster')}",
            "phy and SpikeInterface make tables as long as the largest id; give small ids",
            count=int(large.size),
            clusters=first_of(large),
        )
        return
    gaps = np.flatnonzero(np.diff(ids) > _GAP)
    if gaps.size:
        findings.info(
            _CLUSTERS,
            f"no cluster has an id between {ids[gaps[0]]} and {ids[gaps[0] + 1]}: phy counts on "
            "from the largest id, without such gaps",
            "look whether ids were changed by another program",
            gaps=[[int(ids[i]), int(ids[i + 1])] for i in gaps[:10]],
        )


def check_clusters_missing(facts: FolderFacts, findings: Findings) -> None:
    """Check that ``spike_clusters.npy`` is there, or phy has never opened the folder."""
    if facts.has(_CLUSTERS) or facts.parts.spikes.count is None:
        return
    if "cluster_info.tsv" in facts.names or ".phy" in facts.names:
        trace = "cluster_info.tsv" if "cluster_info.tsv" in facts.names else ".phy"
        findings.warning(
            _CLUSTERS,
            f"is missing, though phy has been here ({trace}): merges and splits are lost",
            "copy it from where the folder was curated; without it the clusters are the templates",
        )
    else:
        findings.info(
            _CLUSTERS, "is missing", "phy will make it from spike_templates.npy when it opens it"
        )


def check_templates_overwritten(facts: FolderFacts, findings: Findings) -> None:
    """Check that ``spike_templates.npy`` still is what the sorter wrote."""
    templates, clusters = facts.parts.spikes.spike_templates, facts.parts.spikes.spike_clusters
    num_templates, name = facts.parts.templates.count, "spike_templates.npy"
    if templates is None or clusters is None or num_templates is None or not facts.has(_CLUSTERS):
        return
    # out of range is an error already; that it is a copy of the clusters explains it
    if facts.spike_templates is None and np.array_equal(templates, clusters):
        findings.info(
            name,
            "equals spike_clusters.npy: cluster ids were written over the template ids",
            "restore the sorter's file; without it no spike can be traced to its template",
        )


def check_phy_cache(facts: FolderFacts, findings: Findings) -> None:
    """Check that phy's cache, which it trusts blindly, does not make it give an id twice."""
    name, ids = ".phy/new_cluster_id.json", facts.cluster_ids
    path = facts.folder / ".phy" / "new_cluster_id.json"
    if ids is None or not path.is_file():
        return
    try:
        content = read_document(path, expected="JSON")
        next_id = content.get("new_cluster_id")
    except (ValueError, AttributeError):
        findings.warning(
            name, "cannot be read as JSON", "close phy and remove the folder .phy: it is a cache"
        )
        return
    if is_whole_number(next_id) and next_id <= ids[-1]:
        findings.warning(
            name,
            f"phy would give the next new cluster the id {next_id}, but there are ids up to "
            f"{ids[-1]}",
            "close phy and remove the folder .phy: it is a cache of other clusters",
            new_cluster_id=next_id,
            largest_cluster_id=int(ids[-1]),
        )


def check_detection_templates(facts: FolderFacts, findings: Findings) -> None:
    """Check that Kilosort 4's detection templates have ids."""
    name = "spike_detection_templates.npy"
    if not facts.has(name) or facts.is_faulty(name):
        return
    values = open_array(facts.folder, name, Findings())
    if values is not None and values.size and values.dtype.kind in "iu" and values.min() < 0:
        findings.warning(
            name,
            f"holds negative ids in {plural(int(np.count_nonzero(values < 0)), 'row')}",
            "restore the file that the sorter wrote",
        )

"""Clusters of the rows of a folder, spike by spike."""

from __future__ import annotations


def compare_with_files(table, template_ids, rows, cluster_of_unit, samples, templates, clusters):
    """Count spikes whose row does not exist, and those that differ in sample, template, cluster."""
    bad = [0, 0, 0, 0]
    for (sample, unit, _), template_id, row in zip(table, template_ids, rows, strict=True):
        if not 0 <= row < len(samples):
            bad[0] += 1
            continue
        bad[1] += samples[row] != sample
        bad[2] += templates[row] != template_id
        bad[3] += clusters[row] != cluster_of_unit[unit]
    return tuple(bad)


def assign_clusters(before, table, rows, cluster_of_unit):
    after = list(before)
    for (_, unit, _), row in zip(table, rows, strict=True):
        after[row] = cluster_of_unit[unit]
    return after, changed_clusters(before, after)


def changed_clusters(before, after):
    """Clusters that are not the same set of rows before and after."""

    def rows_of(clusters):
        return {c: {i for i, other in enumerate(clusters) if other == c} for c in set(clusters)}

    old, new = rows_of(before), rows_of(after)
    return sorted(c for c in {*old, *new} if old.get(c, set()) != new.get(c, set()))

"""Spikes matched to the rows of files, with dictionaries and every possibility tried."""

from __future__ import annotations

from collections import defaultdict
from itertools import permutations


def match_by_cluster(samples, units, cluster_of_unit, file_samples, file_clusters, offset=0):
    """The k-th spike of a sample and cluster is the k-th row of it."""
    waiting = defaultdict(list)
    for row, key in enumerate(zip(file_samples, file_clusters, strict=True)):
        waiting[tuple(map(int, key))].append(row)
    out = []
    for sample, unit in zip(samples, units, strict=True):
        cluster = int(cluster_of_unit[unit])
        rows = waiting[int(sample) + offset, cluster] if cluster >= 0 else []
        out.append(rows.pop(0) if rows else -1)
    return out


def possible_templates(units, fits, rows, templates):
    """The templates of the spikes of one sample under every assignment of rows that fits.

    `fits` (unit, row) -> bool; each assignment is a set of (unit, sorted templates).
    """
    found = set()
    for chosen in permutations(rows, len(units)):
        if all(fits(unit, row) for unit, row in zip(units, chosen, strict=True)):
            of_unit = defaultdict(list)
            for unit, row in zip(units, chosen, strict=True):
                of_unit[int(unit)].append(int(templates[row]))
            found.add(tuple(sorted((u, tuple(sorted(t))) for u, t in of_unit.items())))
    return found


def find_offsets(samples, file_samples):
    """Every positive offset that cuts off a spike and has the first 64 spikes in the files."""
    known = {int(one) for one in file_samples}
    if not len(samples) or not known:
        return []
    first = [int(one) for one in samples[:64]]
    tried = sorted({one - first[0] for one in known})
    return [
        offset
        for offset in tried
        if offset > 0 and min(known) < offset and all(one + offset in known for one in first)
    ]

"""Brute-force oracles: slow, a few lines each, right by inspection.

Nothing here is imported from the package.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

# ---------------------------------------------------------------------- templates of clusters


def template_counts(spike_templates, spike_clusters, num_templates):
    """Spikes of each template in each cluster: {cluster id: [count of template 0, 1, ...]}."""
    counts = {int(c): [0] * num_templates for c in sorted(set(np.ravel(spike_clusters).tolist()))}
    for template, cluster in zip(np.ravel(spike_templates), np.ravel(spike_clusters), strict=True):
        counts[int(cluster)][int(template)] += 1
    return counts


def template_counts_matrix(spike_templates, spike_clusters, cluster_ids, num_templates):
    """The same as an array (n_clusters, n_templates), rows in the order of ``cluster_ids``."""
    counts = template_counts(spike_templates, spike_clusters, num_templates)
    none = [0] * num_templates
    rows = [counts.get(int(c), none) for c in cluster_ids]
    return np.array(rows, dtype=np.int64).reshape(len(rows), num_templates)


def most_frequent_template(spike_templates, spike_clusters):
    """Per cluster id: its most frequent template (ties: the lowest id), counts, purity.

    Returns
    -------
    dict
        {cluster id: {"template_id", "template_spike_count", "num_spikes", "template_purity",
        "num_templates"}}
    """
    spikes = {}
    for template, cluster in zip(np.ravel(spike_templates), np.ravel(spike_clusters), strict=True):
        spikes.setdefault(int(cluster), []).append(int(template))
    out = {}
    for cluster, templates in sorted(spikes.items()):
        best = max(sorted(set(templates)), key=templates.count)  # max keeps the first of equals
        out[cluster] = {
            "template_id": best,
            "template_spike_count": templates.count(best),
            "num_spikes": len(templates),
            "template_purity": templates.count(best) / len(templates),
            "num_templates": len(set(templates)),
        }
    return out


def weighted_mean_template(counts, templates):
    """Mean of the templates of a cluster, weighted by its spikes: sum(n t) / sum(n).

    ``counts`` (n_templates,), ``templates`` (n_templates, n_samples, n_channels). Templates
    without spikes do not count, even if they are NaN.
    """
    total = np.zeros(np.shape(templates)[1:])
    for count, template in zip(counts, templates, strict=True):
        if count:
            total += float(count) * np.asarray(template, dtype=np.float64)
    return total / float(sum(counts))


# ---------------------------------------------------------------------------------- templates


def unwhiten_templates(templates, wmi, orientation="right"):
    """Unwhiten (n_templates, n_samples, n_channels) sum by sum, in float64.

    ``"right"``: t @ wmi (phy; Kilosort 1 to 3). ``"left"``: t @ wmi.T (Kilosort 4).
    """
    wmi = np.asarray(wmi, dtype=np.float64)
    if orientation not in ("right", "left"):
        raise ValueError(orientation)
    out = np.zeros(np.shape(templates), dtype=np.float64)
    num_templates, num_samples, num_channels = out.shape
    for i in range(num_templates):
        for sample in range(num_samples):
            for c in range(num_channels):
                weights = wmi[:, c] if orientation == "right" else wmi[c, :]
                values = np.asarray(templates[i][sample], dtype=np.float64)
                out[i, sample, c] = np.sum(values * weights)
    return out


def sparse_template(template, cols, wmi):
    """Unwhiten one sparse template with the sub-matrix of its channels with signal.

    ``template`` (n_samples, n_loc), ``cols`` (n_loc,) with -1 where unused. Returns the
    channels in the order of ``cols`` and the unwhitened (n_samples, n_channels of it).
    """
    template = np.asarray(template, dtype=np.float64)
    largest = np.abs(template).max()
    keep = [
        j
        for j, channel in enumerate(np.ravel(cols))
        if int(channel) != -1 and np.abs(template[:, j]).max() > 1e-6 * largest
    ]
    channels = [int(cols[j]) for j in keep]
    out = np.zeros((len(template), len(keep)))
    for a, channel in enumerate(channels):
        for b, j in enumerate(keep):
            out[:, a] += template[:, j] * float(wmi[channels[b]][channel])
    return channels, out


def peak_to_peak(template):
    """Largest minus smallest value on each channel of (n_samples, n_channels)."""
    template = np.asarray(template, dtype=np.float64)
    return np.array([max(column) - min(column) for column in template.T])


def rank_channels_dense(
    template, positions, shanks, num_channels=12, threshold=0.0, same_shank=True
):
    """Channels of an unwhitened template (n_samples, n_channels) as phy ranks them.

    The ``num_channels`` channels nearest to the one with the largest peak-to-peak amplitude;
    of those the ones on its shank with at least ``threshold`` times its amplitude; by
    decreasing amplitude. Returns (channels, their amplitudes).
    """
    amplitude = peak_to_peak(template)
    peak = int(np.argmax(amplitude))
    positions = np.asarray(positions)
    # the order of equal distances and of equal amplitudes is that of np.argsort, as in phylib
    squared = (positions[:, 0] - positions[peak, 0]) ** 2
    squared = squared + (positions[:, 1] - positions[peak, 1]) ** 2
    near = [int(c) for c in np.argsort(squared)[:num_channels]]
    shanks = np.ravel(shanks)
    kept = [
        c
        for c in sorted(near)
        if (not same_shank or shanks[c] == shanks[peak])
        and amplitude[c] >= threshold * amplitude[peak]
    ]
    order = np.argsort(amplitude[kept])[::-1]
    channels = [kept[i] for i in order]
    return channels, [float(amplitude[c]) for c in channels]


def rank_channels_sparse(template, cols, wmi):
    """Channels of a sparse whitened template as phy ranks them: all with signal, largest first.

    Returns (channels, their amplitudes).
    """
    channels, unwhitened = sparse_template(template, cols, wmi)
    amplitude = peak_to_peak(unwhitened)
    order = np.argsort(amplitude)[::-1]
    return [channels[i] for i in order], [float(amplitude[i]) for i in order]


# ----------------------------------------------------------------------------------- curation


class NaiveClustering:
    """Clusters under curation as phy does it, one spike at a time.

    New clusters get ids that were never used: the largest id with spikes plus one, and so on.
    They inherit each field of their ancestors: the one value that there is, or, where values
    differ, that of the ancestor with most spikes (the lowest id of equals).
    """

    def __init__(self, spike_clusters, fields=None):
        self.spike_clusters = [int(c) for c in np.ravel(spike_clusters)]
        self.fields = {name: dict(values) for name, values in (fields or {}).items()}
        self.fields.setdefault("group", {})
        self._next = max(self.spike_clusters) + 1

    @property
    def cluster_ids(self):
        return sorted(set(self.spike_clusters))

    def spikes(self, cluster_id):
        return [i for i, c in enumerate(self.spike_clusters) if c == cluster_id]

    def merge(self, cluster_ids):
        """Merge clusters; returns the new id."""
        old = sorted({int(c) for c in cluster_ids})
        assert set(old) <= set(self.cluster_ids)
        assert len(old) > 1
        new = self._next
        spikes = [i for c in old for i in self.spikes(c)]
        self._assign(old, dict.fromkeys(spikes, new))
        return new

    def split(self, cluster_id, how):
        """Split a cluster by a boolean mask over its spikes or lists of positions among them.

        Every part gets a new id, and so do, together, the spikes that are in no part. Returns
        the new ids.
        """
        spikes = self.spikes(cluster_id)
        how = list(how)
        if isinstance(how[0], (bool, np.bool_)):
            assert len(how) == len(spikes)
            how = [[i for i, chosen in enumerate(how) if chosen]]
        elif np.ndim(how[0]) == 0:
            how = [how]
        to = dict.fromkeys(spikes, self._next + len(how))
        for number, part in enumerate(how):
            for position in part:
                assert to[spikes[position]] == self._next + len(how), "a spike in two parts"
                to[spikes[position]] = self._next + number
        self._assign([cluster_id], to)
        return sorted(set(to.values()))

    def label(self, cluster_ids, value, field="group"):
        for cluster_id in cluster_ids:
            assert cluster_id in self.cluster_ids
            self.fields.setdefault(field, {})[int(cluster_id)] = value

    def labels(self, field="group"):
        """{cluster id: value} of the clusters that exist and have one."""
        values = self.fields.get(field, {})
        return {c: values[c] for c in self.cluster_ids if values.get(c) is not None}

    def apply(self, operations):
        """Do operations given as tuples (kind, arguments...)."""
        for kind, *arguments in operations:
            getattr(self, kind)(*arguments)

    def _assign(self, old, to):
        size = {c: len(self.spikes(c)) for c in old}
        largest = max(old, key=lambda c: (size[c], -c))
        for values in self.fields.values():
            known = []
            for c in old:
                if values.get(c) is not None and values[c] not in known:
                    known.append(values[c])
            if not known:
                continue
            inherited = known[0] if len(known) == 1 else values.get(largest)
            for c in set(to.values()):
                if values.get(c) is None:
                    values[c] = inherited
        for spike, c in to.items():
            self.spike_clusters[spike] = c
        self._next = max(self._next, max(to.values()) + 1)


# ------------------------------------------------------------------------------------- tables


def parse_value(text):
    """Give an int, else a float, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_table(path):
    """Read one tab- or comma-separated table: {column: {cluster id: value}}, blanks left out."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line.strip()]
    if not lines:
        return {}
    delimiter = "\t" if "\t" in lines[0] else ","
    header, *rows = csv.reader(lines, delimiter=delimiter)
    key = "cluster_id" if "cluster_id" in header else "id"
    columns = {name: {} for name in header if name != key}
    for row in rows:
        values = dict(zip(header, row, strict=False))
        for name in columns:
            if values.get(name, "") != "":
                columns[name][int(values[key])] = parse_value(values[name])
    return columns


def read_tables(folder):
    """Join all ``cluster_*`` tables of a folder, outer: {column: {cluster id: value}}.

    ``cluster_info`` is only asked for columns that no other table has.
    """
    paths = [*Path(folder).glob("cluster_*.tsv"), *Path(folder).glob("cluster_*.csv")]
    paths = sorted(paths, key=lambda path: (path.stem == "cluster_info", path.name))
    columns = {}
    for path in paths:
        for name, values in read_table(path).items():
            if path.stem != "cluster_info":
                columns.setdefault(name, {}).update(values)
            elif name not in columns:
                columns[name] = values
    return columns


def equal_values(a, b):
    """Whether two values are equal, NaN included."""
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or a == b

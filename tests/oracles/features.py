"""Brute-force oracles for features and projections, one spike at a time, in float64.

Written from what phylib 2.7.1 and phy 2.1.0 do with the files. Nothing here is imported from the
package.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.linalg import orthogonal_procrustes

# -------------------------------------------------------------------------- files of a folder


def load(folder, name):
    """Load ``name.npy`` without axes of length one, as phylib does; None where there is none."""
    path = Path(folder) / f"{name}.npy"
    return np.load(path).squeeze() if path.exists() else None


def integers(folder, name):
    values = load(folder, name)
    return None if values is None else np.atleast_1d(values).astype(np.int64)


def rows_by_spike(folder, name, num_spikes):
    """Row of each spike in a feature file: {spike: row}."""
    stored = integers(folder, f"{name}_spike_ids")
    spikes = range(num_spikes) if stored is None else stored.tolist()
    return {spike: row for row, spike in enumerate(spikes)}


def template_features(folder, num_templates):
    """Projections of the file, spread over all templates (n_spikes, n_templates).

    0 for templates that are not stored, NaN for spikes that the file does not hold.
    """
    templates = integers(folder, "spike_templates")
    values = np.load(Path(folder) / "template_features.npy")
    index = integers(folder, "template_feature_ind")
    rows = rows_by_spike(folder, "template_feature", templates.size)
    out = np.full((templates.size, num_templates), np.nan)
    for spike, row in rows.items():
        out[spike] = 0
        for k in range(values.shape[1]):
            onto = k if index is None else int(index[templates[spike], k])
            if 0 <= onto < num_templates:
                out[spike, onto] = values[row, k]
    return out


def features(folder, spikes, channels):
    """Features of some spikes (n, n_channels, n_pcs), as ``TemplateModel.get_features``."""
    templates = integers(folder, "spike_templates")
    values = np.load(Path(folder) / "pc_features.npy")
    index = integers(folder, "pc_feature_ind")
    rows = rows_by_spike(folder, "pc_feature", templates.size)
    out = np.zeros((len(spikes), len(channels), values.shape[1]))
    for i, spike in enumerate(spikes):
        for j in range(values.shape[2]):
            channel = j if index is None else int(index[templates[spike], j])
            for m, asked in enumerate(channels):
                if channel == asked:
                    out[i, m] = values[rows[spike], :, j] if spike in rows else np.nan
    return out


# ------------------------------------------------------------------------- phy's controllers


def counts_of_cluster(spike_templates, spike_clusters, cluster_id, num_templates):
    own = np.asarray(spike_templates)[np.asarray(spike_clusters) == cluster_id]
    return np.array([np.count_nonzero(own == template) for template in range(num_templates)])


def projections_onto(dense, spike_templates, spike_clusters, cluster_id, onto):
    """Spikes of a cluster onto the most frequent template of another (or the same)."""
    counts = counts_of_cluster(spike_templates, spike_clusters, onto, dense.shape[1])
    best = max(range(len(counts)), key=lambda t: (counts[t], -t))
    return dense[np.asarray(spike_clusters) == cluster_id, best]


def pair_projections(dense, spike_templates, spike_clusters, a, b):
    """Spikes of two clusters onto both: two arrays (n, 2), ``np.average`` over all templates."""
    weights = [
        counts_of_cluster(spike_templates, spike_clusters, cluster, dense.shape[1])
        for cluster in (a, b)
    ]
    out = []
    for cluster in (a, b):
        values = dense[np.asarray(spike_clusters) == cluster]
        out.append(np.stack([np.average(values, weights=w, axis=1) for w in weights], axis=1))
    return out


# -------------------------------------------------------------------------------- projections


def neighbours(similarity, has_signal, num_templates):
    """Per template the most similar ones with signal, itself first; ties by id."""
    count = len(similarity)
    out = []
    for t in range(count):
        others = [u for u in range(count) if u != t and has_signal[u]]
        score = {u: -np.inf if np.isnan(similarity[t][u]) else similarity[t][u] for u in others}
        row = [t, *sorted(others, key=lambda u: (-score[u], u))]
        row = row[: min(num_templates, count)]
        out.append(row + [-1] * (min(num_templates, count) - len(row)))
    return np.array(out, dtype=np.int64).reshape(count, -1)


def waveform_of_features(features, basis):
    """Smallest waveform (n_samples, n_loc) with these features (n_pcs, n_loc)."""
    return np.linalg.lstsq(np.asarray(basis, float), np.asarray(features, float), rcond=None)[0]


def project_from_features(folder, templates, basis, index):
    """Projections of all spikes (n_spikes, K) from ``pc_features.npy``; NaN where not stored.

    ``templates`` (n_templates, n_samples, n_channels) whitened, ``index`` (n_templates, K).
    """
    templates = np.nan_to_num(np.asarray(templates, dtype=np.float64))
    spike_templates = integers(folder, "spike_templates")
    values = np.load(Path(folder) / "pc_features.npy")
    channels = integers(folder, "pc_feature_ind")
    rows = rows_by_spike(folder, "pc_feature", spike_templates.size)
    out = np.full((spike_templates.size, index.shape[1]), np.nan)
    for spike, row in rows.items():
        own = channels[spike_templates[spike]]
        stored = own >= 0
        waveform = waveform_of_features(values[row][:, stored], basis)
        for k, onto in enumerate(index[spike_templates[spike]]):
            template = templates[onto][:, own[stored]]
            out[spike, k] = np.sum(waveform * template) if onto >= 0 else 0.0
    return out


def mean_features_of_templates(folder, num_templates):
    """Mean features (n_templates, n_pcs, n_loc) over the spikes that are stored; their number."""
    spike_templates = integers(folder, "spike_templates")
    values = np.load(Path(folder) / "pc_features.npy")
    rows = rows_by_spike(folder, "pc_feature", spike_templates.size)
    sums = np.zeros((num_templates, *values.shape[1:]))
    counts = np.zeros(num_templates, dtype=np.int64)
    for spike, row in rows.items():
        sums[spike_templates[spike]] += values[row]
        counts[spike_templates[spike]] += 1
    return sums / np.maximum(counts, 1)[:, None, None], counts


def recover_basis(mean_features, templates, counts):
    """Orthonormal (n_pcs, n_samples) that turns templates best into mean features (Procrustes).

    SciPy wants as many features as samples: the others are zero.
    """
    rows, targets = [], []
    num_pcs, num_samples = mean_features.shape[1], templates.shape[1]
    for k in range(len(templates)):
        for c in range(templates.shape[2]):
            weight = np.sqrt(counts[k])
            rows.append(weight * templates[k, :, c])
            targets.append(np.zeros(num_samples))
            targets[-1][:num_pcs] = weight * mean_features[k, :, c]
    rotation, _ = orthogonal_procrustes(np.array(rows), np.array(targets))
    return rotation[:, :num_pcs].T


def sort_features(values, templates, detections, feature_channels, detection_channels):
    """Sort features (n_spikes, n_loc) as Kilosort 4 does, in place, template by template.

    In the belief that the features of all spikes of a detection template are still on its channels
    in their first order. 0 where there is none.
    """
    values = np.array(values)
    for template in np.unique(templates):
        for detection in np.unique(detections[templates == template]):
            first = detection_channels[detection].tolist()
            for spike in np.flatnonzero(detections == detection):
                before = values[spike].copy()
                for j, channel in enumerate(feature_channels[template].tolist()):
                    values[spike, j] = before[first.index(channel)] if channel in first else 0
    return values


def templates_on(templates, channels):
    """Templates (n, n_samples, n_channels) on the channels (n, n_loc) of each; 0 for -1."""
    out = np.zeros((*templates.shape[:2], channels.shape[1]))
    for t, own in enumerate(channels):
        for j, channel in enumerate(own):
            if channel >= 0:
                out[t, :, j] = np.nan_to_num(templates[t, :, channel])
    return out


def snippet(traces, sample, before, num_samples):
    """Traces (n_samples, n_channels) around a spike; zeros beyond the ends."""
    out = np.zeros((num_samples, traces.shape[1]))
    for s in range(num_samples):
        if 0 <= sample - before + s < len(traces):
            out[s] = traces[sample - before + s]
    return out


def project_traces(traces, samples, template_ids, index, templates, before):
    """Dot products of snippets and templates (n_spikes, K); 0 where the index is -1."""
    out = np.zeros((len(samples), index.shape[1]))
    for i, (sample, template) in enumerate(zip(samples, template_ids, strict=True)):
        waveform = snippet(traces, sample, before, templates.shape[1])
        for k, onto in enumerate(index[template]):
            if onto >= 0:
                out[i, k] = np.sum(waveform * np.asarray(templates[onto], dtype=np.float64))
    return out

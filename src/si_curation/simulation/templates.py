"""Probe, whitening matrix and templates of a simulated sorting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from si_curation.errors import ParameterError
from si_curation.simulation.dialects import Dialect

COLUMN_X_UM = (16.0, 48.0, 0.0, 32.0)
ROW_PITCH_UM = 20.0
SHANK_PITCH_UM = 200.0
_MAX_ATTEMPTS = 30
_TEMPLATES_PER_BLOCK = 64


@dataclass(frozen=True)
class Probe:
    """Channels: position in um (n, 2), shank (n,), column of the raw file (n,)."""

    positions: np.ndarray
    shanks: np.ndarray
    channel_map: np.ndarray

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return len(self.positions)

    def nearest(self, channel: int, num_channels: int) -> np.ndarray:
        """Return the nearest channels, nearest first; the lower index first where equal."""
        squared = np.sum((self.positions - self.positions[channel]) ** 2, axis=1)
        return np.argsort(squared, kind="stable")[:num_channels]


def make_probe(
    num_channels: int,
    num_shanks: int,
    num_raw_channels: int,
    *,
    permuted: bool,
    seed: int | np.random.SeedSequence,
) -> Probe:
    """Staggered columns on each shank; the channels are a subset of the raw file's columns."""
    rng = np.random.default_rng(seed)
    shanks = np.arange(num_channels) * num_shanks // num_channels  # (n_channels,)
    on_shank = np.arange(num_channels) - np.searchsorted(shanks, shanks)
    x = np.asarray(COLUMN_X_UM)[on_shank % 4] + SHANK_PITCH_UM * shanks
    y = ROW_PITCH_UM * (on_shank // 2)
    channel_map = np.arange(num_channels)
    if num_raw_channels > num_channels:
        channel_map = np.sort(rng.choice(num_raw_channels, num_channels, replace=False))
        if permuted:
            channel_map = rng.permutation(channel_map)
    return Probe(np.stack([x, y], axis=1).astype(np.float64), shanks, channel_map)


def make_whitening(
    probe: Probe, kind: str, dialect: Dialect, seed: int | np.random.SeedSequence
) -> np.ndarray:
    """Whitening matrix (n_channels, n_channels), float64, as the dialect stores it.

    ``"symmetric"`` whitens over all channels; ``"local"`` whitens each channel with its
    neighbours only, so that the matrix is not symmetric; ``"diagonal"`` is a constant.
    """
    num_channels = probe.num_channels
    if kind == "diagonal":
        return np.eye(num_channels) / 200
    rng = np.random.default_rng(seed)
    # noise (channels) = mixing @ independent sources: falls off with distance, but irregularly
    distance = np.linalg.norm(probe.positions[:, None] - probe.positions[None], axis=2)
    irregular = 1 + 0.6 * rng.standard_normal((num_channels, num_channels))
    mixing = np.exp(-distance / 30.0) * irregular
    mixing *= (6.0 * rng.lognormal(0.0, 0.1, num_channels))[:, None]
    covariance = mixing @ mixing.T + 4.0 * np.eye(num_channels)
    if kind == "symmetric":
        whitening = _inverse_square_root(covariance)
        return (whitening + whitening.T) / 2 * dialect.whitening_scale
    num_neighbours = min(32, max(2, num_channels // 4), num_channels)
    whitening = np.zeros((num_channels, num_channels))
    for channel in range(num_channels):
        near = probe.nearest(channel, num_neighbours)
        whitening[channel, near] = _inverse_square_root(covariance[np.ix_(near, near)])[0]
    # row i makes whitened channel i of W @ X; for X @ W it is column i
    whitening = whitening if dialect.orientation == "left" else whitening.T
    return np.ascontiguousarray(whitening) * dialect.whitening_scale


def _inverse_square_root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric inverse square root of a covariance matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values)) @ vectors.T


def waveform_basis(dialect: Dialect, seed: int | np.random.SeedSequence) -> np.ndarray:
    """Principal components of spike shapes, (n_pcs, n_samples without padding), float32."""
    rng = np.random.default_rng(seed)
    shapes = _shapes(_draw_shapes(rng, 500), rng.uniform(-1, 3, (500, 1)), dialect)[:, :, 0]
    return np.linalg.svd(shapes, full_matrices=False)[2][: dialect.num_pcs].astype(np.float32)


@dataclass(frozen=True)
class SimulatedTemplates:
    """Templates as the sorter stores them.

    Attributes
    ----------
    whitened : np.ndarray
        (n_templates, n_samples, n_channels), float32; zero away from the peak channel.
    support : np.ndarray
        (n_templates, k), int64: the channels that may differ from zero, best first, -1 padded.
    feature_channels : np.ndarray
        (n_templates, n_loc), int64: the channels nearest to the peak channel.
    """

    whitened: np.ndarray
    support: np.ndarray
    feature_channels: np.ndarray


def make_templates(
    num_templates: int,
    probe: Probe,
    whitening: np.ndarray,
    basis: np.ndarray,
    dialect: Dialect,
    seed: int | np.random.SeedSequence,
) -> SimulatedTemplates:
    """Draw spike shapes on the probe, whiten them, keep the channels near the peak."""
    shape = (num_templates, dialect.num_samples, probe.num_channels)
    whitened = np.zeros(shape, dtype=np.float32)
    num_support = min(dialect.num_support_channels, probe.num_channels)
    num_features = min(dialect.num_feature_channels, probe.num_channels)
    support = np.full((num_templates, num_support), -1, dtype=np.int64)
    feature_channels = np.empty((num_templates, num_features), dtype=np.int64)
    projector = basis.T.astype(np.float64) @ basis if dialect.is_kilosort4 else None
    matrix = whitening if dialect.orientation == "right" else whitening.T
    rng = np.random.default_rng(seed)
    todo = np.arange(num_templates)
    for attempt in range(_MAX_ATTEMPTS):
        later = []
        for start in range(0, len(todo), _TEMPLATES_PER_BLOCK):
            ids = todo[start : start + _TEMPLATES_PER_BLOCK]
            same_time = attempt >= _MAX_ATTEMPTS // 2
            block = _draw_raw(rng, len(ids), probe, dialect, same_time=same_time) @ matrix
            if projector is not None:
                block = np.einsum("st,ntc->nsc", projector, block, optimize=True)
            flat_peak = np.abs(block).reshape(len(ids), -1).argmax(axis=1)
            sample, channel = np.divmod(flat_peak, probe.num_channels)
            good = sample == dialect.num_samples_before - dialect.num_leading_zeros
            later.append(ids[~good])
            for i in np.flatnonzero(good):
                near = probe.nearest(channel[i], num_support)
                if dialect.sparse:
                    near = near[: rng.integers(min(8, num_support), num_support + 1)]
                values = block[i][:, near]
                order = np.argsort(-np.ptp(values, axis=0), kind="stable")
                near, values = near[order], values[:, order]
                norm = rng.uniform(10, 50) if dialect.is_kilosort4 else 1.0
                values *= norm / np.linalg.norm(values)
                whitened[ids[i], dialect.num_leading_zeros :, near] = values.T
                support[ids[i], : len(near)] = near
                feature_channels[ids[i]] = probe.nearest(channel[i], num_features)
        todo = np.concatenate(later)
        if not len(todo):
            break
    else:
        raise ParameterError("no template with its peak in place could be drawn: try another seed")
    return SimulatedTemplates(whitened, support, feature_channels)


def _draw_raw(
    rng: np.random.Generator, num: int, probe: Probe, dialect: Dialect, *, same_time: bool
) -> np.ndarray:
    """Unwhitened spikes (num, n_samples without padding, n_channels) around random centres."""
    centres = probe.positions[rng.integers(probe.num_channels, size=num)]
    centres = centres + rng.normal(0, 10.0, (num, 2))
    distance = np.linalg.norm(centres[:, None] - probe.positions[None], axis=2)  # (num, channels)
    width = rng.uniform(25, 60, (num, 1))
    amplitude = (1 + (distance / width) ** 2) ** -1.5
    amplitude *= rng.lognormal(0.0, 0.1, amplitude.shape)
    delay = np.minimum(0.02 * (distance - distance.min(axis=1, keepdims=True)), 3.0)
    parameters = _draw_shapes(rng, num)
    return amplitude[:, None, :] * _shapes(parameters, 0 * delay if same_time else delay, dialect)


def _draw_shapes(rng: np.random.Generator, num: int) -> np.ndarray:
    """Trough width, delay of the positive phase, its width (samples), its amplitude: (4, num)."""
    low, high = np.array([[1.8, 3.5], [8, 14], [4, 8], [0.15, 0.45]]).T[:, :, None]
    return rng.uniform(low, high, (4, num))


def _shapes(parameters: np.ndarray, delay: np.ndarray, dialect: Dialect) -> np.ndarray:
    """Negative trough then positive phase: (num, n_samples without padding, n_channels)."""
    trough_width, lag, width, amplitude = parameters[:, :, None, None]
    num_samples = dialect.num_samples - dialect.num_leading_zeros
    peak = dialect.num_samples_before - dialect.num_leading_zeros
    t = np.arange(num_samples)[None, :, None] - peak - delay[:, None, :]
    positive = amplitude * np.exp(-(((t - lag) / width) ** 2) / 2)
    return positive - np.exp(-((t / trough_width) ** 2) / 2)


def unwhiten(
    whitened: np.ndarray, inverse: np.ndarray, dialect: Dialect, support: np.ndarray
) -> np.ndarray:
    """Unwhitened templates (n_templates, n_samples, n_channels), float64.

    Dense dialects use the whole inverse (transposed for Kilosort 4). Sparse dialects use the
    rows and columns of the template's own channels.
    """
    inverse = np.asarray(inverse, dtype=np.float64)
    inverse = inverse if dialect.orientation == "right" else inverse.T
    out = np.zeros(whitened.shape)
    for i, template in enumerate(whitened.astype(np.float64)):
        if np.isnan(template).any():
            out[i] = np.nan
        elif dialect.sparse:
            channels = support[i][support[i] >= 0]
            out[i][:, channels] = template[:, channels] @ inverse[np.ix_(channels, channels)]
        else:
            out[i] = template @ inverse
    return out


def cosine_similarity(whitened: np.ndarray) -> np.ndarray:
    """Cosine between templates (n_templates, n_templates); 0 where one is zero or NaN."""
    flat = np.nan_to_num(whitened.reshape(len(whitened), -1))
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = flat / np.where(norms > 0, norms, 1)
    return flat @ flat.T

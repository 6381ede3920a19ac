"""Spike trains, amplitudes and features of a simulated sorting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from si_curation.errors import ParameterError
from si_curation.simulation.dialects import FolderWriter

ROWS_PER_BLOCK = 65_536
MAX_TEMPLATE_FEATURES = 16


@dataclass(frozen=True)
class Spikes:
    """One row per spike, in the order of the files.

    Attributes
    ----------
    samples : np.ndarray
        (n_spikes,), int64.
    templates : np.ndarray
        (n_spikes,), int32.
    factors : np.ndarray
        (n_spikes,), float32: what scales the whitened template to the spike.
    """

    samples: np.ndarray
    templates: np.ndarray
    factors: np.ndarray

    def __len__(self) -> int:
        """Return the number of spikes."""
        return len(self.samples)

    def reordered(self, order: np.ndarray) -> Spikes:
        """Return the spikes in another row order."""
        return Spikes(self.samples[order], self.templates[order], self.factors[order])


def make_spikes(
    num_spikes: int,
    active_templates: np.ndarray,
    num_samples: int,
    shared_fraction: float,
    mean_factors: np.ndarray,
    seed: int | np.random.SeedSequence,
) -> Spikes:
    """Draw spikes at random over time, each active template with a rate of its own.

    No two spikes share a sample, except the ``shared_fraction`` that is made to: pairs of
    spikes of two templates on exactly the same sample.

    Parameters
    ----------
    num_spikes : int
        Number of spikes.
    active_templates : np.ndarray
        Templates that fire; each gets at least one spike where there are enough.
    num_samples : int
        Length of the recording in samples.
    shared_fraction : float
        Between 0 and 1.
    mean_factors : np.ndarray
        (n_templates,): median factor of each template's spikes.
    seed : int or np.random.SeedSequence
        Seed.
    """
    rng = np.random.default_rng(seed)
    samples = _distinct_sorted_samples(rng, num_spikes, num_samples)
    rates = rng.lognormal(0.0, 0.7, len(active_templates))
    upper = np.cumsum(rates / rates.sum())
    index = np.searchsorted(upper[:-1], rng.random(num_spikes), side="right")
    if num_spikes >= len(active_templates):  # nobody is left out
        rows = rng.choice(num_spikes, len(active_templates), replace=False)
        index[rows] = np.arange(len(active_templates))
    templates = active_templates[index].astype(np.int32)
    _share_samples(rng, samples, templates, shared_fraction)
    factors = rng.standard_normal(num_spikes, dtype=np.float32)
    factors *= np.float32(0.12)
    np.exp(factors, out=factors)
    factors *= mean_factors.astype(np.float32)[templates]
    return Spikes(samples, templates, factors)


def _distinct_sorted_samples(
    rng: np.random.Generator, num_spikes: int, num_samples: int
) -> np.ndarray:
    """Draw a random subset of the samples, sorted, each at most once (int64)."""
    if num_spikes >= num_samples:
        raise ParameterError("more spikes than samples: give a longer duration_s")
    # sums of exponential intervals, scaled to the end: the order statistics of uniform draws
    position = rng.standard_exponential(num_spikes + 1)
    np.cumsum(position, out=position)
    position *= (num_samples - num_spikes) / position[-1]
    samples = position[:-1].astype(np.int64)
    samples += np.arange(num_spikes)
    return np.minimum(samples, num_samples - num_spikes + np.arange(num_spikes) - 1, out=samples)


def _share_samples(
    rng: np.random.Generator, samples: np.ndarray, templates: np.ndarray, fraction: float
) -> None:
    """Move spikes 2i + 1 onto the sample of spikes 2i of another template, in place."""
    num_pairs = round(fraction * len(samples) / 2)
    if not num_pairs:
        return
    even = np.arange(0, len(samples) - 1, 2)
    even = even[templates[even] != templates[even + 1]]
    even = rng.choice(even, min(num_pairs, len(even)), replace=False)
    samples[even + 1] = samples[even]


def feature_projections(
    whitened: np.ndarray, basis: np.ndarray, feature_channels: np.ndarray, num_leading_zeros: int
) -> np.ndarray:
    """Project each template onto the basis: (n_templates, n_pcs, n_loc), float32."""
    out = np.empty((len(whitened), len(basis), feature_channels.shape[1]), dtype=np.float32)
    for i, channels in enumerate(feature_channels):
        out[i] = basis @ np.nan_to_num(whitened[i, num_leading_zeros:, channels].T)
    return out


def norm_amplitudes(
    spikes: Spikes, projections: np.ndarray, seed: int | np.random.SeedSequence
) -> np.ndarray:
    """Norm of each spike's features (n_spikes,), float32, noise of unit variance included.

    Drawn from the distribution of the norm of ``factor * projection + noise``: one component
    along the projection and a chi-square of all the others.
    """
    rng = np.random.default_rng(seed)
    norms = np.linalg.norm(projections.reshape(len(projections), -1), axis=1)
    along = spikes.factors * norms.astype(np.float32)[spikes.templates]
    along += rng.standard_normal(len(spikes), dtype=np.float32)
    along *= along
    num_others = projections[0].size - 1
    if num_others > 0:
        shape = np.float32(num_others / 2)
        along += 2 * rng.standard_gamma(shape, len(spikes), dtype=np.float32)
    return np.sqrt(along, out=along)


def template_projections(
    whitened: np.ndarray, similarity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Project each template onto its most similar templates, scaled to unit norm.

    Returns
    -------
    values : np.ndarray
        (n_templates, K), float32.
    template_index : np.ndarray
        (n_templates, K), int64: the templates projected onto, most similar first.
    """
    num = min(MAX_TEMPLATE_FEATURES, len(whitened))
    ranked = similarity.astype(np.float64).copy()
    np.fill_diagonal(ranked, 2.0)  # itself first
    template_index = np.argsort(-ranked, axis=1, kind="stable")[:, :num]
    norms = np.linalg.norm(np.nan_to_num(whitened).reshape(len(whitened), -1), axis=1)
    cosine = np.take_along_axis(similarity, template_index, axis=1)
    return (cosine * norms[:, None]).astype(np.float32), template_index


def write_projected(
    writer: FolderWriter,
    name: str,
    spikes: Spikes,
    rows: np.ndarray | None,
    projections: np.ndarray,
    seed: int | np.random.SeedSequence,
    *,
    norms: np.ndarray | None = None,
) -> Iterator[int]:
    """Write ``factor * projection + noise`` of each spike, a block of rows at a time.

    Parameters
    ----------
    writer : FolderWriter
        Where to.
    name : str
        File name without ``.npy``.
    spikes : Spikes
        All spikes.
    rows : np.ndarray or None
        The spikes that the file holds. None: all.
    projections : np.ndarray
        (n_templates, ...) float32: what a spike of each template gives without noise.
    seed : int or np.random.SeedSequence
        Seed.
    norms : np.ndarray or None, default: None
        (n_spikes,): the norm that each row must have.

    Yields
    ------
    int
        Number of rows just written.
    """
    rng = np.random.default_rng(seed)
    num_rows = len(spikes) if rows is None else len(rows)
    flat = projections.reshape(len(projections), -1)
    file = writer.create_rows(name, (num_rows, *projections.shape[1:]))
    dtype = writer.dtype(name)
    for start in range(0, num_rows, ROWS_PER_BLOCK):
        stop = min(start + ROWS_PER_BLOCK, num_rows)
        which = slice(start, stop) if rows is None else rows[start:stop]
        block = flat[spikes.templates[which]]  # (rows, values), a copy
        block *= spikes.factors[which, None]
        block += rng.standard_normal(block.shape, dtype=np.float32)
        if norms is not None:
            length = np.sqrt(np.einsum("ij,ij->i", block, block))
            block *= (norms[which] / length)[:, None]
        values = block.reshape(stop - start, *projections.shape[1:])
        file[start:stop] = values.astype(dtype, copy=False)
        yield stop - start


def write_positions(
    writer: FolderWriter,
    spikes: Spikes,
    projections: np.ndarray,
    feature_channels: np.ndarray,
    channel_positions: np.ndarray,
    seed: int | np.random.SeedSequence,
) -> Iterator[int]:
    """Write ``spike_positions.npy``: each spike near its template's centre of mass (um)."""
    rng = np.random.default_rng(seed)
    energy = np.sum(projections.astype(np.float64) ** 2, axis=1)  # (n_templates, n_loc)
    energy /= energy.sum(axis=1, keepdims=True)
    centres = np.einsum("tc,tcd->td", energy, channel_positions[feature_channels])
    file = writer.create_rows("spike_positions", (len(spikes), 2))
    for start in range(0, len(spikes), ROWS_PER_BLOCK):
        rows = slice(start, min(start + ROWS_PER_BLOCK, len(spikes)))
        block = centres.astype(np.float32)[spikes.templates[rows]]
        block += 3 * rng.standard_normal(block.shape, dtype=np.float32)
        file[rows] = block
        yield len(block)

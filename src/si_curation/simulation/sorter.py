"""What a simulated sorter knows before it looks for spikes, written as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from si_curation.errors import ParameterError
from si_curation.simulation.checks import check_choice
from si_curation.simulation.dialects import Dialect, FolderWriter
from si_curation.simulation.files import write_probe, write_templates, write_whitening
from si_curation.simulation.spikes import feature_projections
from si_curation.simulation.templates import (
    Probe,
    SimulatedTemplates,
    cosine_similarity,
    make_templates,
    make_whitening,
    unwhiten,
    waveform_basis,
)

WHITENINGS = ("symmetric", "local", "diagonal")


@dataclass(frozen=True)
class Sorter:
    """Probe, whitening and templates.

    Attributes
    ----------
    probe : Probe
        Channels.
    applied_whitening, inverse : np.ndarray
        (n_channels, n_channels): what shaped the templates; the inverse as it is stored.
    basis : np.ndarray
        (n_pcs, n_samples without padding), float32.
    templates : SimulatedTemplates
        As made, (n_templates, n_samples, n_channels).
    projections : np.ndarray
        (n_templates, n_pcs, n_loc), float32: features of each template.
    similarity : np.ndarray
        (n_templates, n_templates), float32.
    whitened, unwhitened : np.ndarray
        (n_templates, n_samples, n_channels), float64: as stored, and without the whitening.
    active : np.ndarray
        Templates that have spikes.
    median_factors : np.ndarray
        (n_templates,): what scales the templates to their spikes.
    """

    probe: Probe
    applied_whitening: np.ndarray
    inverse: np.ndarray
    basis: np.ndarray
    templates: SimulatedTemplates
    projections: np.ndarray
    similarity: np.ndarray
    whitened: np.ndarray
    unwhitened: np.ndarray
    active: np.ndarray
    median_factors: np.ndarray


def write_sorter(
    writer: FolderWriter,
    probe: Probe,
    whitening: tuple[np.ndarray, np.ndarray],
    num_templates: int,
    num_blank: tuple[int, int, int],
    seeds: Mapping[str, np.random.SeedSequence],
    sorted_scale: float = 1.0,
) -> Sorter:
    """Draw the templates; write them, the probe and the whitening.

    Parameters
    ----------
    writer : FolderWriter
        Where to.
    probe : Probe
        Channels.
    whitening : tuple of np.ndarray
        As :func:`whitening_matrices` returns it.
    num_templates : int
        Number of templates.
    num_blank : tuple of int
        How many of them are all zero, are all NaN, or have a waveform but no spikes.
    seeds : dict
        Seeds by name.
    sorted_scale : float
        What the raw data were multiplied by: the whitening takes out its size, not its sign.
    """
    spec = writer.dialect
    stored, applied = whitening
    write_probe(writer, probe)
    size = abs(sorted_scale)
    inverse = write_whitening(writer, stored / size, applied / size)
    basis = waveform_basis(spec, seeds["basis"])
    templates = make_templates(num_templates, probe, applied, basis, spec, seeds["templates"])
    if sorted_scale < 0:
        templates.whitened[:] *= -1
    projections = feature_projections(
        templates.whitened, basis, templates.feature_channels, spec.num_leading_zeros
    )
    num_zero, num_nan, _ = num_blank
    blank = np.random.default_rng(seeds["blank"]).permutation(num_templates)[: sum(num_blank)]
    templates.whitened[blank[:num_zero]] = 0
    templates.whitened[blank[num_zero : num_zero + num_nan]] = np.nan
    similarity = cosine_similarity(templates.whitened)
    whitened = write_templates(writer, templates, similarity).astype(np.float64)
    true_inverse = inverse
    if spec.is_kilosort4 and spec.whitening == "diagonal":  # only whitening_mat_dat.npy has it
        true_inverse = np.linalg.inv((applied / size).astype(writer.dtype("whitening_mat_dat")))
    return Sorter(
        probe,
        applied,
        inverse,
        basis,
        templates,
        projections,
        similarity,
        whitened,
        unwhiten(whitened, true_inverse, spec, templates.support),
        np.setdiff1d(np.arange(num_templates), blank),
        _median_factors(spec, num_templates, seeds["factors"]),
    )


def whitening_matrices(
    whitening: str | np.ndarray | None,
    probe: Probe,
    spec: Dialect,
    seed: int | np.random.SeedSequence,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix that the folder stores and the one that shapes the templates."""
    if whitening is None:
        whitening = spec.whitening
    if isinstance(whitening, str):
        check_choice("whitening", whitening, dict.fromkeys(WHITENINGS))
        stored = make_whitening(probe, whitening, spec, seed)
        diagonal = whitening == "diagonal"
        return stored, make_whitening(probe, "local", spec, seed) if diagonal else stored
    stored = np.asarray(whitening, dtype=np.float64)
    if stored.shape != (probe.num_channels, probe.num_channels):
        raise ParameterError(f"whitening must be a square matrix over channels, not {stored.shape}")
    return stored, stored


def _median_factors(
    spec: Dialect, num_templates: int, seed: int | np.random.SeedSequence
) -> np.ndarray:
    """Return 1 for Kilosort 4, and 10 to 50 where templates have unit norm."""
    if spec.is_kilosort4:
        return np.ones(num_templates)
    return np.random.default_rng(seed).uniform(10, 50, num_templates)

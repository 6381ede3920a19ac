"""Projections of spikes onto templates from what the sorter left in its folder.

Two sources: ``template_features.npy``, which Kilosort 1 to 2.5 wrote, and ``pc_features.npy``, from
which the projections are rebuilt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import MissingDataError, PhyFolderError
from si_curation.kernels.feature_basis import (
    FeatureBasis,
    condition_number,
    recover_basis,
    templates_in_basis,
)
from si_curation.kernels.feature_projections import (
    project_features,
    projection_weights,
    template_neighbours,
)
from si_curation.kernels.parallel import blocks
from si_curation.kernels.spike_vector import choose_random_spikes
from si_curation.kernels.template_counts import contingency_table
from si_curation.kernels.templates import densify_templates
from si_curation.phy.arrays import Findings, open_array
from si_curation.phy.feature_files import own_projections
from si_curation.phy.file_groups import read_templates
from si_curation.phy.ops import read_ops
from si_curation.reading.features import (
    FeatureChannels,
    FeatureFiles,
    FeatureRows,
    SorterFeatures,
    SpikesOfFolder,
    open_window,
    read_rows,
)

logger = logging.getLogger(__name__)

BASIS_SPIKES_PER_TEMPLATE = 300
MIN_TEMPLATES_FOR_BASIS = 3
MAX_CONDITION_NUMBER = 1e4
MIN_GAIN_OVER_CHANCE = 1.5


class ProjectionSource(NamedTuple):
    """Where projections come from, ready to be read block by block.

    Attributes
    ----------
    template_index : array (n_templates, K) int32
        The templates that the spikes of each template are projected onto, -1 padded.
    template_norms : array (n_templates,) float32
        Norm of each template in the space of the projections.
    details : mapping
        What else is to be known of it, as plain data; "source" is its name.
    fill : callable
        ``fill(piece, out)`` puts the projections of the spikes ``piece`` (a slice) into ``out``
        (n, K) float32; may be called from any thread.
    """

    template_index: NDArray[np.int32]
    template_norms: NDArray[np.float32]
    details: Mapping[str, Any]
    fill: Callable[[slice, NDArray[np.float32]], None]


# template_features.npy


def fault_of_file(files: FeatureFiles) -> str | None:
    """Return why ``template_features.npy`` says next to nothing; None where it does, or is none.

    Parameters
    ----------
    files : FeatureFiles

    Returns
    -------
    str or None
    """
    features = files.features
    if features.template_features is None:
        return None
    found = own_projections(
        features.template_features,
        features.template_feature_templates,
        features.template_feature_rows,
        files.spike_templates,
    )
    return None if found.are_usable else f"template_features.npy: {found}"


def projections_from_file(files: FeatureFiles, spikes: SpikesOfFolder) -> ProjectionSource:
    """Take the projections that the sorter wrote, as they are.

    Raises
    ------
    MissingDataError
        There is no ``template_features.npy``.
    PhyFolderError
        It, or a file that goes with it, cannot be used.
    """
    features = files.features
    if features.template_features is None:
        files.check_faults("template_feature")
        raise MissingDataError(f"{spikes.folder} has no template_features.npy")
    values = features.template_features
    index = features.template_feature_templates
    if index is None:  # as phylib: all templates in order
        index = np.tile(np.arange(values.shape[1]), (spikes.num_templates, 1))
    index = np.where(index < spikes.num_templates, index, -1)
    rows = FeatureRows(spikes.rows, features.template_feature_rows)

    def fill(piece: slice, out: NDArray[np.float32]) -> None:
        window, found = open_window(values, rows.rows_of_spikes(piece))
        if window.shape[0] and window.dtype == out.dtype:
            np.take(window, found, axis=0, out=out, mode="wrap")  # -1: any row
        elif window.shape[0]:
            out[:] = window[found]
        out[found < 0] = np.nan

    templates = open_array(spikes.folder, "templates.npy", Findings())
    norms = np.full(spikes.num_templates, np.nan, dtype=np.float32)
    if templates is not None and templates.ndim == 3 and len(templates) == norms.size:
        norms = np.nan_to_num(_norms(templates)).astype(np.float32)
    details = {"source": "file", "file": "template_features.npy"}
    return ProjectionSource(_without_repeats(index).astype(np.int32), norms, details, fill)


def _norms(templates: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.asarray(templates)  # in any memory order
    return np.sqrt(np.einsum("tsc,tsc->t", values, values)).astype(np.float64)


def _without_repeats(index: NDArray[np.integer]) -> NDArray[np.integer]:
    """Blank what is listed twice for a template but for the last, which phylib takes."""
    index = np.array(index)
    for k in range(index.shape[1] - 1):
        index[(index[:, k + 1 :] == index[:, k : k + 1]).any(axis=1), k] = -1
    return index


# pc_features.npy


@dataclass(frozen=True, eq=False)
class _Model:
    """The templates in the basis of the features."""

    coefficients: NDArray[np.float64]  # (n_templates, n_pcs, n_channels)
    norms: NDArray[np.float64]  # (n_templates,) of the templates as they are
    basis: FeatureBasis
    origin: str


def projections_from_pc_features(
    files: FeatureFiles,
    spikes: SpikesOfFolder,
    similarity: NDArray[np.floating],
    num_templates: int,
    feature_channels: FeatureChannels = "repaired",
) -> ProjectionSource:
    """Rebuild the projections from the principal-component features of the spikes.

    Parameters
    ----------
    files : FeatureFiles
    spikes : SpikesOfFolder
    similarity : array (n_templates, n_templates) floating
    num_templates : int
        Onto how many templates each spike is projected.
    feature_channels : {"repaired", "file"}

    Raises
    ------
    MissingDataError
        There is no ``pc_features.npy``, or its basis cannot be known.
    PhyFolderError
    """
    features = files.features_of_spikes(spikes, "file")
    sample = _sample_of_spikes(files, spikes)
    model = _model(files, sample)
    if feature_channels == "repaired" and _is_better_repaired(files, model, sample):
        features = files.features_of_spikes(spikes, "repaired")
    index = template_neighbours(similarity, model.norms > 0, num_templates)
    pair_of, pairs = _pairs(spikes.template_ids, features)
    weights = projection_weights(
        model.coefficients, index[pairs[:, 0]], features.channels[pairs[:, 1]]
    )
    values = features.values
    num_features = values.shape[1] * values.shape[2]

    def fill(piece: slice, out: NDArray[np.float32]) -> None:
        window, found = open_window(values, features.rows.rows_of_spikes(piece))
        flat = np.ascontiguousarray(window).reshape(-1, num_features)
        project_features(
            flat, found, spikes.template_ids[piece], features.groups[piece], pair_of, weights, out
        )

    details = {
        "source": "pc_features",
        "file": "pc_features.npy",
        "feature_channels": features.channels_from,
        "basis": model.origin,
        "basis_condition_number": model.basis.condition_number,
        "basis_explained": model.basis.explained,
    }
    return ProjectionSource(index, model.norms.astype(np.float32), details, fill)


def _pairs(
    template_ids: NDArray[np.integer], features: SorterFeatures
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return a number for each pair of template and group that can occur.

    Returns
    -------
    array (n_templates, n_groups or 1) int32
        Number of each pair; -1 for none. One column: a template is its own group.
    array (n_pairs, 2) int64
        Template and group of each pair.
    """
    num_groups = len(features.channels)
    if features.channels_from == "file":
        every = np.arange(num_groups)
        return every.astype(np.int32)[:, None], np.stack([every, every], axis=1)
    num_templates = int(template_ids.max(initial=-1)) + 1
    counts = contingency_table(template_ids, features.groups, num_templates, num_groups)
    numbers = np.full(counts.shape, -1, dtype=np.int32)
    pairs = np.stack(counts.nonzero(), axis=1).astype(np.int64)
    numbers[pairs[:, 0], pairs[:, 1]] = np.arange(len(pairs))
    return numbers, pairs


def _sample_of_spikes(files: FeatureFiles, spikes: SpikesOfFolder) -> SpikesOfFolder:
    """Choose some spikes of every template of the folder, in the analyzer or not, with features."""
    templates = files.spike_templates
    stored = files.features.pc_feature_rows
    template_ids = np.asarray(templates if stored is None else templates[stored])
    counts = np.zeros(spikes.num_templates, dtype=np.int64)
    for piece in blocks(template_ids.size):  # bincount takes a copy of what it counts
        counts += np.bincount(template_ids[piece], minlength=counts.size)
    chosen = choose_random_spikes(template_ids, counts, BASIS_SPIKES_PER_TEMPLATE)
    rows = chosen if stored is None else np.sort(stored[chosen])
    return spikes.replace_spikes(rows, templates[rows].astype(np.int32))


def _model(files: FeatureFiles, sample: SpikesOfFolder) -> _Model:
    findings = Findings()
    part = read_templates(files.folder, sample.num_channels, findings)
    with findings.optional("the basis is recovered from the features"):
        ops = read_ops(files.folder, findings)
    if findings.with_severity("error") or part.templates is None:
        raise PhyFolderError(files.folder, findings.with_severity("error"))
    templates = densify_templates(part.templates, part.template_channels, sample.num_channels)
    num_pcs, num_samples = files.components.shape[1], templates.shape[1]
    basis, origin = None, "ops.npy (wPCA)"
    if ops is not None and ops.get("wPCA") is not None:
        waveforms = np.asarray(ops["wPCA"], dtype=np.float64)
        if waveforms.shape == (num_pcs, num_samples) and np.isfinite(waveforms).all():
            singular = np.linalg.svd(waveforms, compute_uv=False)
            basis = FeatureBasis(waveforms, condition_number(singular), 1.0, 0.0)
        else:
            logger.info("%s: ops.npy: wPCA does not fit pc_features.npy", files.folder)
    if basis is None or not np.isfinite(basis.condition_number):
        features = files.features_of_spikes(sample, "file")
        basis, origin = _recover(templates, features, sample), "recovered"
    norms = _norms(templates)
    return _Model(templates_in_basis(templates, basis.waveforms), norms, basis, origin)


def _recover(
    templates: NDArray[np.floating], features: SorterFeatures, sample: SpikesOfFolder
) -> FeatureBasis:
    """Recover the basis from the mean features of the spikes of each template.

    Raises
    ------
    MissingDataError
        The templates do not determine it.
    """
    means, counts = _mean_features(features, sample, templates.shape[2])
    usable = (counts > 0) & templates.any(axis=(1, 2))
    on_channels = (means != 0).any(axis=1)  # the channels of the features, of each template
    local = np.where(on_channels[:, None, :], templates, 0)
    found = recover_basis(means, local, np.where(usable, counts, 0))
    num_used = int(usable.sum())
    problem = None
    if num_used < MIN_TEMPLATES_FOR_BASIS:
        problem = (
            f"{num_used} templates have spikes with features, at least {MIN_TEMPLATES_FOR_BASIS} "
            "are needed"
        )
    elif found.condition_number > MAX_CONDITION_NUMBER:
        problem = (
            f"they span too few independent waveforms for {means.shape[1]} components (condition "
            f"number at most {MAX_CONDITION_NUMBER:g})"
        )
    elif found.explained < MIN_GAIN_OVER_CHANCE * found.explained_by_chance:
        problem = (
            f"templates.npy explains {found.explained:.0%} of the variance of the mean features, "
            f"and {found.explained_by_chance:.0%} with the templates exchanged: these features "
            "are not of these templates"
        )
    if problem is not None:
        raise MissingDataError(
            f"the basis of {sample.folder / 'pc_features.npy'} is not in the folder and cannot be "
            f"recovered from the templates: {problem}. Condition number "
            f"{found.condition_number:.3g}. Use source='recording'"
        )
    return found


def _mean_features(
    features: SorterFeatures, sample: SpikesOfFolder, num_channels: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean features of the spikes of each template, on all channels, and their number."""
    num_templates, num_pcs = sample.num_templates, features.values.shape[1]
    sums = np.zeros((num_templates, num_pcs, num_channels + 1))  # the last channel is for -1
    values = read_rows(features.values, features.rows.rows_of_spikes(slice(None)))
    counts = np.bincount(sample.template_ids, minlength=num_templates)
    key = sample.template_ids.astype(np.int64) * len(features.channels) + features.groups
    for pair in np.unique(key):
        template, group = divmod(int(pair), len(features.channels))
        found = values[key == pair].sum(axis=0, dtype=np.float64)
        sums[template][:, features.channels[group]] += found
    means = sums[:, :, :-1] / np.maximum(counts, 1)[:, None, None]
    return means, counts


def _is_better_repaired(files: FeatureFiles, model: _Model, sample: SpikesOfFolder) -> bool:
    """Return whether the mean features are more like the templates on the repaired channels."""
    repaired = files.features_of_spikes(sample, "repaired")
    if model.origin == "recovered" or repaired.channels_from == "file":
        return False
    misfit: dict[FeatureChannels, float] = {}
    choices: tuple[FeatureChannels, ...] = ("file", "repaired")
    for name in choices:
        one = files.features_of_spikes(sample, name)
        means, counts = _mean_features(one, sample, model.coefficients.shape[2])
        expected = np.where(means != 0, model.coefficients, 0)
        misfit[name] = float((counts[:, None, None] * (means - expected) ** 2).sum())
    logger.info(
        "%s: mean features differ from the templates by %.3g on the channels of "
        "pc_feature_ind.npy, by %.3g on repaired ones",
        files.folder,
        misfit["file"],
        misfit["repaired"],
    )
    return misfit["repaired"] < misfit["file"]

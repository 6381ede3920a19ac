"""The templates of a folder in the basis that the features of its spikes were taken in.

In that basis a waveform is a few numbers on each channel, and a dot product of two waveforms is a
short sum. The basis is the one that Kilosort 4 writes (``wPCA`` in ``ops.npy``), or is recovered
from the mean features of each template and ``templates.npy``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import MissingDataError, PhyFolderError
from si_curation.kernels.feature_basis import (
    FeatureBasis,
    condition_number,
    recover_basis,
    templates_in_basis,
)
from si_curation.kernels.parallel import blocks
from si_curation.kernels.spike_vector import choose_random_spikes
from si_curation.kernels.templates import densify_templates
from si_curation.phy.arrays import Findings
from si_curation.phy.file_groups import read_templates
from si_curation.phy.folder import missing_templates
from si_curation.phy.ops import read_ops
from si_curation.reading.features import (
    FeatureChannels,
    FeatureFiles,
    SorterFeatures,
    SpikesOfFolder,
    read_rows,
)

logger = logging.getLogger(__name__)

BASIS_SPIKES_PER_TEMPLATE = 300
MIN_TEMPLATES_FOR_BASIS = 3
MAX_CONDITION_NUMBER = 1e4
MIN_GAIN_OVER_CHANCE = 1.5


@dataclass(frozen=True, eq=False)
class FeatureModel:
    """The templates in the basis of the features.

    Attributes
    ----------
    coefficients : array (n_templates, n_pcs, n_channels) float64
        Of the templates as the sorter stored them (whitened), on the channels of the folder.
    norms : array (n_templates,) float64
        Of the templates as they are.
    basis : FeatureBasis
    origin : str
        "recovered", or the file that the basis is from.
    channels_from : {"file", "repaired"}
        The channels on which the mean features are most like the templates.
    """

    coefficients: NDArray[np.float64]
    norms: NDArray[np.float64]
    basis: FeatureBasis
    origin: str
    channels_from: FeatureChannels


def feature_model(files: FeatureFiles, spikes: SpikesOfFolder) -> FeatureModel:
    """Return the templates of a folder in the basis of its features.

    Parameters
    ----------
    files : FeatureFiles
    spikes : SpikesOfFolder
        Of any spikes: the basis is recovered from spikes of all templates of the folder.

    Returns
    -------
    FeatureModel

    Raises
    ------
    MissingDataError
        There is no ``pc_features.npy``, or its basis cannot be known.
    PhyFolderError
        A file of the folder cannot be used.
    """
    num_pcs = files.components.shape[1]  # before spikes are chosen: there may be none
    sample = sample_of_spikes(files, spikes)
    listed = _model(files, sample, num_pcs)
    return replace(listed, channels_from=_better_channels(files, listed, sample))


def norms_of_templates(templates: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the norm of each template (n_templates, n_samples, n_channels)."""
    values = np.asarray(templates)  # in any memory order
    return np.sqrt(np.einsum("tsc,tsc->t", values, values)).astype(np.float64)


def sample_of_spikes(files: FeatureFiles, spikes: SpikesOfFolder) -> SpikesOfFolder:
    """Return some spikes of every template of the folder that have features.

    Parameters
    ----------
    files : FeatureFiles
    spikes : SpikesOfFolder
        Of any spikes; those that are chosen are spikes of the folder, in the analyzer or not.
    """
    templates = files.spike_templates
    stored = files.features.pc_feature_rows
    template_ids = np.asarray(templates if stored is None else templates[stored])
    counts = np.zeros(spikes.num_templates, dtype=np.int64)
    for piece in blocks(template_ids.size):  # bincount takes a copy of what it counts
        counts += np.bincount(template_ids[piece], minlength=counts.size)
    chosen = choose_random_spikes(template_ids, counts, BASIS_SPIKES_PER_TEMPLATE)
    rows = chosen if stored is None else np.sort(stored[chosen])
    return spikes.replace_spikes(rows, templates[rows].astype(np.int32))


def _model(files: FeatureFiles, sample: SpikesOfFolder, num_pcs: int) -> FeatureModel:
    findings = Findings()
    part = read_templates(files.folder, sample.num_channels, findings)
    with findings.optional("the basis is recovered from the features"):
        ops = read_ops(files.folder, findings)
    if part.are_missing:
        raise MissingDataError(missing_templates(files.folder))
    if findings.with_severity("error") or part.templates is None:
        raise PhyFolderError(files.folder, findings.with_severity("error"))
    templates = densify_templates(part.templates, part.template_channels, sample.num_channels)
    basis, origin = None, "ops.npy (wPCA)"
    if ops is not None and ops.get("wPCA") is not None:
        waveforms = np.asarray(ops["wPCA"], dtype=np.float64)
        if waveforms.shape == (num_pcs, templates.shape[1]) and np.isfinite(waveforms).all():
            singular = np.linalg.svd(waveforms, compute_uv=False)
            basis = FeatureBasis(waveforms, condition_number(singular), 1.0, 0.0)
        else:
            logger.info("%s: ops.npy: wPCA does not fit pc_features.npy", files.folder)
    if basis is None or not np.isfinite(basis.condition_number):
        features = files.features_of_spikes(sample, "file")
        basis, origin = _recover(templates, features, sample), "recovered"
    norms = norms_of_templates(templates)
    coefficients = templates_in_basis(templates, basis.waveforms)
    return FeatureModel(coefficients, norms, basis, origin, "file")


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


def _better_channels(
    files: FeatureFiles, model: FeatureModel, sample: SpikesOfFolder
) -> FeatureChannels:
    """Return the channels on which the mean features are most like the templates."""
    repaired = files.features_of_spikes(sample, "repaired")
    if model.origin == "recovered" or repaired.channels_from == "file":
        return "file"
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
    return "repaired" if misfit["repaired"] < misfit["file"] else "file"

"""Projections of spikes onto templates from what the sorter left in its folder.

Two sources: ``template_features.npy``, which Kilosort 1 to 2.5 wrote, and ``pc_features.npy``, from
which the projections are rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import MissingDataError
from si_curation.kernels.feature_projections import (
    project_features,
    projection_weights,
    template_neighbours,
)
from si_curation.kernels.template_counts import contingency_table
from si_curation.phy.arrays import Findings, open_array
from si_curation.phy.feature_files import own_projections
from si_curation.reading.feature_model import feature_model, norms_of_templates
from si_curation.reading.features import (
    FeatureChannels,
    FeatureFiles,
    FeatureRows,
    SorterFeatures,
    SpikesOfFolder,
    open_window,
)


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
        norms = np.nan_to_num(norms_of_templates(templates)).astype(np.float32)
    details = {"source": "file", "file": "template_features.npy"}
    return ProjectionSource(_without_repeats(index).astype(np.int32), norms, details, fill)


def _without_repeats(index: NDArray[np.integer]) -> NDArray[np.integer]:
    """Blank what is listed twice for a template but for the last, which phylib takes."""
    index = np.array(index)
    for k in range(index.shape[1] - 1):
        index[(index[:, k + 1 :] == index[:, k : k + 1]).any(axis=1), k] = -1
    return index


# pc_features.npy


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
    model = feature_model(files, spikes)
    if feature_channels == "repaired" and model.channels_from == "repaired":
        features = files.features_of_spikes(spikes, "repaired")
    index = template_neighbours(similarity, model.norms > 0, num_templates)
    pair_of, pairs = pairs_of_templates(spikes.template_ids, features)
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


def pairs_of_templates(
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

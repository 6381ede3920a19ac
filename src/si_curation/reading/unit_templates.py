"""Values per unit from the sorter's immutable templates and how often each unit used them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import inject_extension, inject_extension_for_later
from si_curation.errors import ParameterError
from si_curation.kernels.channels import centre_of_signal, neighbourhood
from si_curation.kernels.template_counts import most_frequent_templates
from si_curation.kernels.template_similarity import without_tiny_values

SIMILARITY_PARAMS = {"method": "cosine", "max_lag_ms": 0, "support": "dense"}
#: Of `locations_of_units`: the nearest that SpikeInterface has, by which it goes on without us.
LOCATION_PARAMS = {"method": "center_of_mass", "radius_um": 75.0}

#: More than a probe has; templates and tables of pairs of more would fill the memory.
MAX_UNITS = 20_000
#: Of more units, what grows with their square is made only where it is asked for.
MANY_UNITS = 5_000


def check_num_units(num_units: int, where: str) -> None:
    """Raise ParameterError where there are more units than can be analysed together."""
    if num_units > MAX_UNITS:
        raise ParameterError(
            f"{where} has {num_units:,} units, expected at most {MAX_UNITS:,}; look whether "
            "spike_clusters.npy holds clusters, or take a part of the units (exclude_groups=, "
            "select_units)"
        )


def weighted_mean_templates(
    counts: sparse.csr_array, templates: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return the mean template of each unit: sum of count times template over the sum of counts.

    Parameters
    ----------
    counts : CSR array (n_units, n_templates)
    templates : array (n_templates, n_samples, n_channels)

    Returns
    -------
    array (n_units, n_samples, n_channels) float32
        On the union of the channels of all templates of the unit; zero for a unit without spikes.

    Examples
    --------
    >>> counts = sparse.csr_array(np.array([[3, 1]]))
    >>> weighted_mean_templates(counts, np.array([[[4.0]], [[8.0]]]))
    array([[[5.]]], dtype=float32)
    """
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    entries = np.repeat(np.where(total > 0, total, 1.0), np.diff(counts.indptr))
    weights = sparse.csr_array(
        ((counts.data / entries).astype(np.float32), counts.indices, counts.indptr),
        shape=counts.shape,
    )
    flat = _flat(templates)
    return (weights @ flat).reshape(counts.shape[0], *templates.shape[1:])


def _flat(templates: NDArray[np.floating]) -> NDArray[np.float32]:
    num_templates, num_samples, num_channels = templates.shape
    return np.asarray(templates, dtype=np.float32).reshape(
        num_templates, num_samples * num_channels
    )


def union_of_channels(
    counts: sparse.csr_array, template_channels: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the channels of each unit: those of any template that it has spikes of.

    Parameters
    ----------
    counts : CSR array (n_units, n_templates)
    template_channels : array (n_templates, n_channels) bool

    Returns
    -------
    array (n_units, n_channels) bool

    Examples
    --------
    >>> counts = sparse.csr_array(np.array([[3, 1]]))
    >>> union_of_channels(counts, np.array([[True, False], [False, False]]))
    array([[ True, False]])
    """
    has_template = sparse.csr_array(
        (np.ones(counts.nnz, dtype=np.int32), counts.indices, counts.indptr), shape=counts.shape
    )
    return (has_template @ template_channels.astype(np.int32)) > 0


def sparsity_mask(
    counts: sparse.csr_array,
    support: NDArray[np.bool_],
    dense_amplitudes: NDArray[np.floating] | None,
    positions: NDArray[np.floating],
    shanks: NDArray,
) -> NDArray[np.bool_]:
    """Return the channels of each unit: with signal of its templates; near it if they are dense.

    Parameters
    ----------
    counts : CSR array (n_units, n_templates)
    support : array (n_templates, n_channels) bool
    dense_amplitudes : array (n_templates, n_channels), optional
        Of dense templates, whose signal spreads by unwhitening; None for sparse ones.
    positions : array (n_channels, 2) in µm
    shanks : array (n_channels,)

    Returns
    -------
    array (n_units, n_channels) bool
    """
    channels = support
    if dense_amplitudes is not None:
        channels = channels | neighbourhood(dense_amplitudes, positions, shanks)
    return union_of_channels(counts, channels)


def main_channels(counts: sparse.csr_array, amplitudes: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the channel of largest amplitude of each unit; 0 without spikes.

    Of the unit's most frequent template.

    Parameters
    ----------
    counts : CSR array (n_units, n_templates)
    amplitudes : array (n_templates, n_channels)

    Returns
    -------
    array (n_units,) int64
        Channel indices.

    Examples
    --------
    >>> main_channels(sparse.csr_array(np.array([[3, 1]])), np.array([[1.0, 2.0], [5.0, 0.0]]))
    array([1])
    """
    template_ids = most_frequent_templates(counts).template_ids
    peaks = np.append(amplitudes.argmax(axis=1), 0)  # the last one is for template -1
    return peaks[template_ids]


def cosine_similarity(templates: NDArray[np.floating]) -> NDArray[np.float32]:
    """Compute the cosine similarity of all pairs of templates over all samples and channels.

    SpikeInterface's ``template_similarity`` with ``method="cosine"``, ``max_lag_ms=0`` and
    ``support="dense"``. Templates without signal have similarity 0 with all.

    Parameters
    ----------
    templates : array (n_units, n_samples, n_channels)

    Returns
    -------
    array (n_units, n_units) float32

    Examples
    --------
    >>> cosine_similarity(np.array([[[1.0, 0.0]], [[1.0, 1.0]]]))[0, 1].round(3)
    np.float32(0.707)
    """
    flat = without_tiny_values(_flat(templates))
    dot = flat @ flat.T
    norm = np.sqrt(np.diag(dot).copy())
    norm[norm == 0] = 1
    return dot / norm[:, None] / norm[None, :]


def locations_of_units(
    counts: sparse.csr_array,
    amplitudes: NDArray[np.floating],
    positions: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return the location of each unit from the amplitudes of its templates.

    Parameters
    ----------
    counts : CSR array (n_units, n_templates)
    amplitudes : array (n_templates, n_channels)
    positions : array (n_channels, 2) in µm

    Returns
    -------
    array (n_units, 2) float64
        x and y in µm, by `centre_of_signal`; NaN without spikes or signal.
    """
    return centre_of_signal(counts @ np.asarray(amplitudes, dtype=np.float64), positions)


def set_unit_templates(
    analyzer: SortingAnalyzer,
    unit_templates: NDArray[np.float32],
    template_params: dict[str, Any],
    locations: NDArray[np.float64],
) -> None:
    """Set the unit templates of an analyzer, their similarity, and where the units are.

    The similarity is computed when it is first asked for, and that of more than `MANY_UNITS` units
    is left to ``compute("template_similarity")``.
    Standard deviations are NaN until `spike_waveforms` is computed.
    """
    unknown = np.broadcast_to(np.float32(np.nan), unit_templates.shape)  # of no size
    data = {"average": unit_templates, "std": unknown}
    inject_extension(analyzer, "templates", data, template_params)
    if len(unit_templates) <= MANY_UNITS:
        inject_extension_for_later(
            analyzer,
            "template_similarity",
            lambda: {"similarity": cosine_similarity(unit_templates)},
            SIMILARITY_PARAMS,
        )
    inject_extension(analyzer, "unit_locations", {"unit_locations": locations}, LOCATION_PARAMS)

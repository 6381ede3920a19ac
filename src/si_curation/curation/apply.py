"""A new analyzer with other units: every extension that can be right is right."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import ChannelSparsity, NumpySorting, SortingAnalyzer
from spikeinterface.core.analyzer_extension_core import BaseSpikeVectorExtension

from si_curation._spikeinterface import (
    as_array,
    copy_annotations,
    inject_extension,
    make_memory_analyzer,
    rec_attributes_of,
    recording_of,
)
from si_curation.curation.components import components_of_units
from si_curation.curation.history import append_history
from si_curation.curation.units import Unit, as_plain
from si_curation.errors import ParameterError, SiCurationWarning
from si_curation.kernels.spike_vector import SPIKE_DTYPE
from si_curation.phy.tables import UNSORTED
from si_curation.reading.probe import shanks_of
from si_curation.reading.saving import check_output, save_analyzer
from si_curation.reading.unit_templates import (
    LOCATION_PARAMS,
    SIMILARITY_PARAMS,
    cosine_similarity,
    main_channels,
    sparsity_mask,
    union_of_channels,
    weighted_mean_templates,
)

# made anew from the new analyzer alone, without a recording
_RECOMPUTED = (
    "template_best_channels",
    "isi_histograms",
    "unit_similarity",
    "cross_correlograms",
)
_REASONS = {
    "waveforms": "channels of merged units differ; compute them from the recording",
    "principal_components": "channels of merged units differ; compute them from the recording, or "
    "read the exported folder",
    "curation_metrics": "they are of the units before; compute them again",
    "quality_metrics": "they are of the units before; compute them again",
    "template_metrics": "they are of the units before; compute them again",
    "spiketrain_metrics": "they are of the units before; compute them again",
    "correlograms": "units were split; compute them again",
    "auto_correlograms": "they cannot be added up; compute them again",
    "valid_unit_periods": "they are of the units before; compute them again",
}


def apply_units(
    analyzer: SortingAnalyzer,
    units: Mapping[Any, Unit],
    fields: Sequence[str],
    format: str,
    folder: Any,
    history: Mapping[str, Any] | None = None,
) -> SortingAnalyzer:
    """Make the analyzer of a session's units.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    units : mapping of unit id to Unit
    fields : sequence of str
        Label fields that become properties.
    format, folder
        As of `CurationSession.apply`.
    history : mapping, optional
        Of the session, to be kept with the sorting.

    Returns
    -------
    SortingAnalyzer
    """
    check_output(format, folder)
    if not units:
        raise ParameterError("all units were removed: there is no analyzer without units")
    old_spikes = analyzer.sorting.to_spike_vector()
    new_unit_index = np.full(old_spikes.size, -1, dtype=np.int64)
    for index, unit in enumerate(units.values()):
        new_unit_index[unit.spikes] = index
    keep = None if np.all(new_unit_index >= 0) else np.flatnonzero(new_unit_index >= 0)
    spikes = np.empty(old_spikes.size if keep is None else keep.size, dtype=SPIKE_DTYPE)
    for name in ("sample_index", "segment_index"):
        spikes[name] = _rows(old_spikes[name], keep)
    spikes["unit_index"] = _rows(new_unit_index, keep)

    unit_ids = np.array(list(units))
    sorting = NumpySorting(spikes, analyzer.sampling_frequency, unit_ids)
    copy_annotations(analyzer.sorting, sorting)
    if history is not None:
        append_history(sorting, history)
    _set_properties(analyzer, sorting, units, fields)

    assignment = analyzer.get_extension("template_assignment")
    counts = _counts_of(units, len(assignment.template_ids))
    rows = _old_rows(analyzer, units)
    main = main_channels(counts, as_array(assignment.data["template_amplitudes"]))
    main[rows >= 0] = analyzer.get_main_channels()[rows[rows >= 0]]
    components = components_of_units(analyzer, counts, main, new_unit_index)
    mask = _channels(analyzer, assignment, counts)
    channel_sparsity = None
    if mask is not None:
        mask[np.arange(len(mask)), main] = True
        mask[rows >= 0] = analyzer.sparsity.mask[rows[rows >= 0]]
        if components is not None:
            mask = components.mask
        channel_sparsity = ChannelSparsity(mask, unit_ids, analyzer.channel_ids)
    new = make_memory_analyzer(
        sorting,
        recording_of(analyzer),
        rec_attributes_of(analyzer),
        channel_sparsity,
        analyzer.return_in_uV,
        main,
        analyzer.peak_sign,
        analyzer.peak_mode,
    )
    left_out = _carry_over(analyzer, new, units, counts, keep, components)
    if left_out:
        warnings.warn(
            "not in the new analyzer: "
            + "; ".join(f"{name} ({reason})" for name, reason in left_out.items()),
            SiCurationWarning,
            stacklevel=3,
        )
    return new if folder is None else save_analyzer(new, format, folder)


def _rows(values: Any, keep: NDArray | None) -> NDArray:
    array = as_array(values)
    return array.copy() if keep is None else array[keep]


def _counts_of(units: Mapping[Any, Unit], num_templates: int) -> sparse.csr_array:
    parts = list(units.values())
    start = np.concatenate([[0], np.cumsum([part.template_ids.size for part in parts])])
    columns = np.concatenate([np.zeros(0, dtype=np.int64), *(p.template_ids for p in parts)])
    data = np.concatenate([np.zeros(0, dtype=np.int64), *(p.template_counts for p in parts)])
    return sparse.csr_array(
        (data, columns.astype(np.int64), start.astype(np.int64)), shape=(len(parts), num_templates)
    )


def _channels(analyzer, assignment, counts) -> NDArray[np.bool_] | None:
    """Union of the channels of the templates of each unit; None on a dense analyzer."""
    if analyzer.sparsity is None:
        return None
    support = as_array(assignment.data["template_support"])
    if assignment.source == "identity":
        return union_of_channels(counts, support)
    amplitudes = as_array(assignment.data["template_amplitudes"])
    return sparsity_mask(
        counts,
        support,
        None if assignment.info["sparse"] else amplitudes,
        analyzer.get_channel_locations(),
        shanks_of(analyzer),
    )


def _old_rows(analyzer, units: Mapping[Any, Unit]) -> NDArray[np.int64]:
    """Row of each unit in the old analyzer; -1 for new units."""
    position = {as_plain(unit_id): i for i, unit_id in enumerate(analyzer.unit_ids)}
    return np.array([position.get(unit_id, -1) for unit_id in units], dtype=np.int64)


def _set_properties(analyzer, sorting, units: Mapping[Any, Unit], fields) -> None:
    """Keep the values of unchanged units; new units have only what the session knows of them."""
    rows = _old_rows(analyzer, units)
    for name in analyzer.sorting.get_property_keys():
        if name in ("quality", "main_channel_id", "original_cluster_id"):
            continue
        values = analyzer.sorting.get_property(name)
        if name == "phy_folder" and values.size:
            sorting.set_property(name, np.full(rows.size, values[0]))
        else:
            sorting.set_property(name, _with_missing(values, rows))
    if "original_cluster_id" in analyzer.sorting.get_property_keys():
        sorting.set_property("original_cluster_id", np.asarray(sorting.unit_ids))
    if "quality" in analyzer.sorting.get_property_keys() or any(
        unit.labels.get("group") for unit in units.values()
    ):
        groups = [str(unit.labels.get("group") or UNSORTED) for unit in units.values()]
        sorting.set_property("quality", np.array(groups, dtype="U32"))
    for field in fields:
        if field != "group":
            before = analyzer.sorting.get_property(field)
            is_column = before is not None and before.ndim == 1
            known = [_label_of(before[row]) if is_column and row >= 0 else None for row in rows]
            labels = [u.labels.get(field, k) for u, k in zip(units.values(), known, strict=True)]
            sorting.set_property(field, _label_column(labels))


def _with_missing(values: NDArray, rows: NDArray[np.int64]) -> NDArray:
    if rows.size and rows.min() >= 0:
        return values[rows]
    if values.dtype.kind in "iub":
        values = values.astype(np.float64)
    filler = {"f": np.nan, "c": np.nan, "U": "", "S": b""}.get(values.dtype.kind)
    out = np.full((rows.size, *values.shape[1:]), filler, dtype=values.dtype)
    out[rows >= 0] = values[rows[rows >= 0]]
    return out


def _label_of(value: Any) -> Any:
    """Give a property's value as a label: missing ones are None."""
    plain = as_plain(value)
    return None if plain == "" or plain != plain else plain


def _label_column(values: list[Any]) -> NDArray:
    present = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in present) or not present:
        texts = ["" if value is None else str(value) for value in values]
        return np.array(texts, dtype=f"U{max([32, *map(len, texts)])}")
    if len(present) == len(values):
        return np.array(values)
    return np.array([np.nan if value is None else float(value) for value in values])


def _carry_over(old, new, units, counts, keep, components) -> dict[str, str]:
    """Give the new analyzer what can be right; the names and reasons of what cannot."""
    if old.format != "memory":
        old.load_all_saved_extension()
    whole = _constituents(old, units) if "correlograms" in old.extensions else None
    left_out: dict[str, str] = {}
    assignment = old.get_extension("template_assignment")
    templates = assignment.get_templates()
    is_changed = list(units) != [as_plain(unit_id) for unit_id in old.unit_ids]
    for name, extension in list(old.extensions.items()):
        data: dict[str, Any] | None = None
        params = dict(extension.params)
        if not is_changed:
            data = {key: _copied(value) for key, value in extension.data.items()}
        elif name == "random_spikes":
            chosen = np.zeros(old.sorting.to_spike_vector().size, dtype=bool)
            chosen[as_array(extension.data["random_spikes_indices"])] = True
            data = {"random_spikes_indices": np.flatnonzero(_rows(chosen, keep))}
        elif isinstance(extension, BaseSpikeVectorExtension):
            per_spike = extension.nodepipeline_variables
            data = {
                key: _rows(value, keep) if key in per_spike else _copied(value)
                for key, value in extension.data.items()
            }
        elif name == "templates" and "average" in extension.data:
            data = {"average": weighted_mean_templates(counts, templates)}
            others = [key for key in extension.data if key != "average"]
            if others:
                params["operators"] = ["average"]
                left_out[f"templates: {', '.join(others)}"] = "compute them from the recording"
        elif name == "noise_levels":
            data = {key: _copied(value) for key, value in extension.data.items()}
        elif name == "correlograms" and whole is not None:
            data = _add_up(extension.data, whole)
        if data is not None:
            inject_extension(new, name, data, params)
    if is_changed:
        if components is not None:
            data = {"pca_projection": components.values}
            params = old.extensions["principal_components"].params
            inject_extension(new, "principal_components", data, params)
        _derive(old, new)
        for name in old.extensions:
            if name not in new.extensions and name not in left_out:
                reason = "this package does not know how it changes with units"
                left_out[name] = _REASONS.get(name, reason)
    return left_out


def _derive(old, new) -> None:
    """Make what follows from templates and spikes."""
    if "template_similarity" in old.extensions:
        params = old.extensions["template_similarity"].params
        if params == SIMILARITY_PARAMS:
            average = new.get_extension("templates").data["average"]
            data = {"similarity": cosine_similarity(average)}
            inject_extension(new, "template_similarity", data, params)
        else:
            new.compute("template_similarity", **params)
            similarity = new.get_extension("template_similarity").data["similarity"]
            np.nan_to_num(similarity, copy=False)  # of units without a template
    if "unit_locations" in old.extensions:
        new.compute(
            "unit_locations", **(old.extensions["unit_locations"].params or LOCATION_PARAMS)
        )
    for name in _RECOMPUTED:
        if name in old.extensions:
            new.compute(name, **old.extensions[name].params)


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.array(value)
    # scikit-learn's models have an attribute "copy" that is no method
    is_stored_array = hasattr(value, "shape") and not hasattr(value, "columns")
    return as_array(value) if is_stored_array else copy.deepcopy(value)


def _constituents(old, units: Mapping[Any, Unit]) -> list[NDArray[np.int64]] | None:
    """Old unit indices that make up each new unit; None if some old unit is in several."""
    unit_index = old.sorting.to_spike_vector()["unit_index"]
    num_spikes = np.bincount(unit_index, minlength=len(old.unit_ids))
    found = []
    for unit in units.values():
        members, counts = np.unique(unit_index[unit.spikes], return_counts=True)
        if np.any(counts != num_spikes[members]):
            return None
        found.append(members)
    return found


def _add_up(data: Mapping[str, Any], whole: list[NDArray[np.int64]]) -> dict[str, Any]:
    """Correlograms of merged units: the sum over all pairs of their parts, exactly."""
    counts = as_array(data["ccgs"])
    by_row = np.stack([counts[members].sum(axis=0, dtype=counts.dtype) for members in whole])
    merged = np.stack(
        [by_row[:, members].sum(axis=1, dtype=counts.dtype) for members in whole], axis=1
    )
    return {**{key: _copied(value) for key, value in data.items()}, "ccgs": merged}

"""What becomes of the extensions of an analyzer when a session's changes are applied.

Extensions of this package know it themselves (`UnitsExtension`). Those of SpikeInterface that hold
data per spike, per unit or per pair are made here for any mixture of merges, splits and removals.
All others are asked the way SpikeInterface asks them: one kind of change at a time. The values are
those of ``merge_units``, ``split_units`` and ``remove_units`` in each case.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer
from spikeinterface.core.analyzer_extension_core import (
    BaseMetricExtension,
    BaseSpikeVectorExtension,
)
from spikeinterface.core.sortinganalyzer import AnalyzerExtension

from si_curation._spikeinterface import (
    as_array,
    data_of,
    data_of_selected_units,
    data_with_new_units,
    extensions_in_order,
    loaded_extensions,
    merge_extension,
    put_extension,
    run_again,
    spike_vector_of,
    split_extension,
)
from si_curation.errors import MissingDataError
from si_curation.extensions.changes import UnitChange, UnitsExtension
from si_curation.extensions.cross_correlograms_counts import add_up, recount
from si_curation.extensions.cross_correlograms_tables import cells_of
from si_curation.extensions.units_from_templates import (
    COMPONENTS,
    IDENTITY,
    LOCATIONS,
    MADE_FROM_TEMPLATES,
    SIMILARITY,
    STD,
    TEMPLATES,
    WhatFollows,
    what_follows,
)
from si_curation.kernels.correlogram_bins import bins_of_convention
from si_curation.kernels.correlograms import assemble
from si_curation.kernels.spike_vector import choose_random_spikes
from si_curation.reading.components import components_on_channels
from si_curation.reading.features import SorterFeatures

# whose rows hang on one unit each
_BY_UNIT = ("isi_histograms", "auto_correlograms", "acgs_3d")
_ENOUGH_SHARED_CHANNELS = 0.75  # SpikeInterface's sparsity_overlap
_ASSIGNMENT = "template_assignment"


# which road


def takes_any_change(analyzer: SortingAnalyzer, left_out: Collection[str]) -> bool:
    """Return whether all extensions of an analyzer can take merges and splits in any mixture."""
    follows = what_follows(analyzer, analyzer.get_extension(_ASSIGNMENT), left_out)
    if not follows.channels:
        return False
    return all(
        _rule_of(extension) is not None or (name in MADE_FROM_TEMPLATES and _is_simple(extension))
        for name, extension in loaded_extensions(analyzer).items()
        if name not in left_out
    )


def order_matters(analyzer: SortingAnalyzer) -> bool:
    """Return whether it matters when units are removed: their neighbours' isolation hangs on them.

    A metric of a unit is computed when the unit or one of its neighbours is new, and kept when one
    is removed.
    """
    metrics = loaded_extensions(analyzer).get("curation_metrics")
    return metrics is not None and metrics.hangs_on_neighbours


def refused_channels(analyzer: SortingAnalyzer, merges: Sequence[Sequence[Any]]) -> dict[str, str]:
    """Return what merges make impossible to keep, because the units share too few channels.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    merges : sequence of sequence
        Ids of the units that each step merges; of units that earlier steps made too.

    Returns
    -------
    dict
        {extension: why}
    """
    there = [n for n in ("waveforms", COMPONENTS) if n in loaded_extensions(analyzer)]
    if analyzer.sparsity is None or not there:
        return {}
    follows = what_follows(analyzer, analyzer.get_extension(_ASSIGNMENT))
    if follows.channels:
        return {}
    mask_of = dict(zip(analyzer.unit_ids.tolist(), analyzer.sparsity.mask, strict=True))
    for ids in merges:
        known = np.stack([mask_of[i] for i in ids if i in mask_of] or [~np.zeros(1, dtype=bool)])
        if not _share_enough(known):
            units = ", ".join(map(str, ids))
            reason = (
                f"units {units} share too few channels to merge them; prepare_for_phy(analyzer) "
                "computes it from the recording and deletes nothing"
            )
            return dict.fromkeys(there, reason)
    return {}


def _share_enough(masks: NDArray[np.bool_]) -> bool:
    shared, of_any = masks.all(axis=0).sum(), masks.any(axis=0).sum()
    return bool(shared and shared / of_any >= _ENOUGH_SHARED_CHANNELS)


def channels_of_merged(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the channels of a merged unit: those that all share; of any, where these are few.

    Parameters
    ----------
    masks : array (n_parents, n_channels) bool

    Returns
    -------
    array (n_channels,) bool
    """
    shared = masks.all(axis=0) if _share_enough(masks) else masks.any(axis=0)
    return np.asarray(shared)


# carrying over


def copy_extensions(change: UnitChange) -> None:
    """Copy all extensions to an analyzer of the same units; what is per spike may be shared."""
    for extension in loaded_extensions(change.before).values():
        data = data_of(extension)
        if isinstance(extension, BaseSpikeVectorExtension):
            data = _spike_data(extension, change)
        else:
            data = {key: _copied(value) for key, value in data.items()}
        put_extension(change.after, extension, data)


def carry_over(
    change: UnitChange, kind: str, made_of: Mapping[Any, Sequence[Any]]
) -> dict[str, str]:
    """Carry every extension that can be kept over to the analyzer after a change.

    Parameters
    ----------
    change : UnitChange
        ``change.after`` has no extensions yet.
    kind : {"merge", "split", "remove", "change"}
        "change": merges, splits and removals in any mixture, or a part of the time.
    made_of : mapping
        {id of a new unit: units that it was made of, in the order that was given}.

    Returns
    -------
    dict
        {extension: why it could not be kept}
    """
    before = loaded_extensions(change.before)
    names = [name for name in extensions_in_order(change.before) if name not in change.left_out]
    if change.is_new.any() and _ASSIGNMENT in before:  # what that makes for itself
        follows = what_follows(change.before, before[_ASSIGNMENT], change.left_out)
        if change.span is not None:  # features of the same units are cut, not read again
            follows = follows._replace(features=None)
        names = [n for n in names if not (_is_made(n, follows) and _is_simple(before[n]))]
    if kind == "change":  # the templates of units first: others are computed from them
        names.sort(key=lambda name: name != _ASSIGNMENT)
    reasons: dict[str, str] = {}
    for name in names:
        try:
            _carry_one(before[name], change, kind, made_of)
        except Exception as fault:  # of any package's extension
            if isinstance(before[name], UnitsExtension):
                raise
            reasons[name] = f"{type(fault).__name__}: {fault}; compute it again"
    return reasons


def _is_made(name: str, follows: WhatFollows) -> bool:
    """Return whether `update_units` makes an extension."""
    if name == COMPONENTS:
        return follows.features is not None
    return name in MADE_FROM_TEMPLATES and follows.templates


def _is_simple(extension: AnalyzerExtension) -> bool:
    """Return whether `update_units` makes all of an extension: not other operators of templates."""
    if extension.extension_name != TEMPLATES:
        return True
    from_sorter = extension.sorting_analyzer.get_extension(_ASSIGNMENT).source != IDENTITY
    return set(data_of(extension)) <= ({"average", STD} if from_sorter else {"average"})


def _carry_one(
    extension: AnalyzerExtension,
    change: UnitChange,
    kind: str,
    made_of: Mapping[Any, Sequence[Any]],
) -> None:
    rule = _rule_of(extension)
    if rule is None and change.span is not None:
        rule = _rule_in_part(extension)
    if rule is not None:
        made = put_extension(change.after, extension, rule(extension, change))
        if isinstance(extension, UnitsExtension):
            made.params = extension.params_after(change)
    elif not change.is_new.any():
        data = data_of_selected_units(extension, change.after.unit_ids)
        put_extension(change.after, extension, {k: _copied(v) for k, v in data.items()})
    else:
        with warnings.catch_warnings():  # that templates of split units are copies, and the like
            warnings.simplefilter("ignore")
            if kind == "merge":
                groups = [list(made_of[i]) for i in change.new_unit_ids.tolist()]
                merge_extension(extension, change.after, groups, list(change.new_unit_ids))
            else:
                split_extension(extension, change.after, *_splits_of(change))


def _splits_of(change: UnitChange) -> tuple[dict[Any, list[NDArray]], list[list[Any]]]:
    """Return SpikeInterface's ``split_units`` and ``new_unit_ids`` of a change by splits alone."""
    unit_ids = change.before.unit_ids
    vectors = [spike_vector_of(a.sorting)["unit_index"] for a in (change.before, change.after)]
    indices: dict[Any, list[NDArray]] = {}
    new_ids: dict[Any, list[Any]] = {}
    for row in np.flatnonzero(change.is_new):
        (parent,) = change.parents[int(row)]
        of_parent = np.flatnonzero(vectors[0] == parent)
        spikes = np.flatnonzero(vectors[1] == row)
        unit_id = unit_ids[parent]
        indices.setdefault(unit_id, []).append(np.searchsorted(of_parent, spikes))
        new_ids.setdefault(unit_id, []).append(change.after.unit_ids[row])
    return indices, list(new_ids.values())


# the rules: what an extension holds after any mixture of merges, splits and removals

_Rule = Callable[[Any, UnitChange], dict[str, Any]]


def _rule_of(extension: AnalyzerExtension) -> _Rule | None:
    """Return how the data of an extension are made after any change; None: not known."""
    name = extension.extension_name
    if isinstance(extension, UnitsExtension):
        return lambda one, change: one.data_after(change)
    if isinstance(extension, BaseSpikeVectorExtension):
        return _spike_data
    if isinstance(extension, BaseMetricExtension) or name in _BY_UNIT:
        return _unit_data
    return {
        "random_spikes": _random_spikes,
        "noise_levels": _unchanged,
        "correlograms": _correlograms,
    }.get(name)


def _spike_data(extension: BaseSpikeVectorExtension, change: UnitChange) -> dict[str, Any]:
    per_spike = extension.nodepipeline_variables
    return {
        key: change.rows_after(value) if key in per_spike else _copied(value)
        for key, value in data_of(extension).items()
        if value is not None
    }


def _unit_data(extension: AnalyzerExtension, change: UnitChange) -> dict[str, Any]:
    """Take over the rows of units that did not change, compute those of the new units."""
    if change.is_new.any():
        with warnings.catch_warnings():  # of metrics that need a recording, which are NaN
            warnings.simplefilter("ignore")
            data = data_with_new_units(extension, change.new_unit_ids, change.after)
    else:
        data = data_of_selected_units(extension, change.after.unit_ids)
    return {key: _copied(value) for key, value in data.items()}


def _random_spikes(extension: AnalyzerExtension, change: UnitChange) -> dict[str, Any]:
    features = None if change.span is None else _sorter_features(change)
    if features is not None:
        return {"random_spikes_indices": _chosen_again(extension, change, features)}
    chosen = np.array(as_array(extension.get_data()), dtype=np.int64)
    if np.any(chosen[1:] <= chosen[:-1]):
        chosen = np.unique(chosen)
    if change.kept is not None:
        chosen = np.flatnonzero(np.isin(change.kept, chosen, assume_unique=True))
    return {"random_spikes_indices": chosen}


def _sorter_features(change: UnitChange) -> SorterFeatures | None:
    """Return the features that principal components are read from; None where they are others."""
    assignment = loaded_extensions(change.before).get(_ASSIGNMENT)
    if assignment is None:
        return None
    return what_follows(change.before, assignment, change.left_out).features


def _spikes_before(change: UnitChange, spikes: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the positions of spikes of after in the spike vector of before."""
    return spikes if change.kept is None else np.asarray(change.kept)[spikes]


def _chosen_again(
    extension: AnalyzerExtension, change: UnitChange, features: SorterFeatures
) -> NDArray[np.int64]:
    """Choose as many random spikes of a part of the time as of the whole, that have features."""
    unit_index = spike_vector_of(change.after.sorting)["unit_index"]
    everything = np.arange(unit_index.size)
    rows = features.rows.rows_of_spikes(_spikes_before(change, everything))
    candidates = np.flatnonzero(np.asarray(rows) >= 0)
    most = extension.params.get("max_spikes_per_unit")
    if most is None or extension.params.get("method") == "all":
        return candidates
    its_units = unit_index[candidates]
    counts = np.bincount(its_units, minlength=len(change.after.unit_ids))
    seed = extension.params.get("seed") or 0
    return candidates[choose_random_spikes(its_units, counts, int(most), int(seed))]


def _components_in_part(extension: AnalyzerExtension, change: UnitChange) -> dict[str, Any]:
    """Read the sorter's features of the random spikes of a part of the time."""
    features, sparsity = _sorter_features(change), change.after.sparsity
    if features is None or sparsity is None:
        return _rows_of_random_spikes(extension, change)
    chosen = as_array(loaded_extensions(change.after)["random_spikes"].get_data())
    unit_index = spike_vector_of(change.after.sorting)["unit_index"][chosen]
    before = _spikes_before(change, chosen)
    values = components_on_channels(features, before, unit_index, sparsity.mask)
    return {"pca_projection": values}


def _rule_in_part(extension: AnalyzerExtension) -> _Rule:
    """Return how the data of an extension of SpikeInterface are made in a part of the time.

    Raises
    ------
    MissingDataError
        It is not known how.
    """
    found = {
        "waveforms": _rows_of_random_spikes,
        COMPONENTS: _components_in_part,
        TEMPLATES: _templates_in_part,
        SIMILARITY: _from_templates_in_part,
        LOCATIONS: _from_templates_in_part,
    }.get(extension.extension_name)
    if found is None:
        raise MissingDataError("cannot be cut to a part of the time")
    return found


def _rows_of_random_spikes(extension: AnalyzerExtension, change: UnitChange) -> dict[str, Any]:
    """Keep what is held of each random spike; models stay those of the whole."""
    random_spikes = loaded_extensions(change.before)["random_spikes"]
    chosen = as_array(random_spikes.get_data())
    keep = change.units_after_of(chosen) >= 0
    sparsity = change.after.sparsity
    data = {}
    for key, value in data_of(extension).items():
        if key not in ("waveforms", "pca_projection"):
            data[key] = _copied(value)
            continue
        data[key] = as_array(value)[keep]
        if sparsity is not None and data[key].ndim == 3:  # as wide as the units need
            data[key] = data[key][:, :, : int(sparsity.mask.sum(axis=1).max(initial=0))]
    return data


def _templates_in_part(extension: AnalyzerExtension, change: UnitChange) -> dict[str, Any]:
    """Average the waveforms of a part of the time; without them templates stay as they are."""
    rows = [int(group[0]) for group in change.parents]
    kept = {key: np.array(as_array(of)[rows]) for key, of in data_of(extension).items()}
    after = loaded_extensions(change.after)
    if "waveforms" not in after:
        return kept
    with warnings.catch_warnings():  # of units without spikes
        warnings.simplefilter("ignore")
        made = put_extension(change.after, extension, {})
        run_again(made)
    chosen = as_array(after["random_spikes"].get_data())
    unit_index = spike_vector_of(change.after.sorting)["unit_index"][chosen]
    silent = np.bincount(unit_index, minlength=len(rows)) == 0
    data = {key: np.array(as_array(of)) for key, of in data_of(made).items()}
    for key, values in data.items():
        values[silent] = kept[key][silent]
    return data


def _from_templates_in_part(extension: AnalyzerExtension, change: UnitChange) -> dict[str, Any]:
    made = put_extension(change.after, extension, {})
    run_again(made)
    return dict(data_of(made))


def _unchanged(extension: AnalyzerExtension, change: UnitChange) -> dict[str, Any]:
    return {key: _copied(value) for key, value in data_of(extension).items()}


def _correlograms(extension: AnalyzerExtension, change: UnitChange) -> dict[str, Any]:
    """Add up the counts of units merged whole; count other new units again, exactly."""
    counts, bins = (as_array(values) for values in extension.get_data())
    added = add_up(counts, change.parents).astype(counts.dtype)
    changed = np.flatnonzero(change.is_new & ~change.is_whole)
    if changed.size:
        params = {**extension.params, "bins": "linear"}
        cells = cells_of(change.after.sampling_frequency, params)
        shape = (len(added), len(added), cells.num_cells)
        of_cells = recount(np.zeros(shape, dtype=np.uint32), changed, change.after, cells)
        again = assemble(of_cells, bins_of_convention(cells, "spikeinterface"))
        added[changed], added[:, changed] = again[changed], again[:, changed]
    return {"ccgs": added, "bins": bins.copy()}


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.array(value)
    # scikit-learn's models have an attribute "copy" that is no method
    is_stored_array = hasattr(value, "shape") and not hasattr(value, "columns")
    return as_array(value) if is_stored_array else copy.deepcopy(value)

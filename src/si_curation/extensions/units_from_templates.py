"""What follows for units from the templates of their spikes, when units were merged or split.

SpikeInterface makes the template of a merged unit from those of the old units on the channels that
all of them share, and gives the parts of a split unit a copy of its template. Where an analyzer
knows the template of every spike there is no need to: the templates of new units are means of the
immutable templates by counts, on the union of their channels; so are main channels, locations and
similarities, and the sorter's features are read again on the new channels.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import SortingAnalyzer
from spikeinterface.core.analyzer_extension_core import BaseMetricExtension

from si_curation._spikeinterface import (
    as_array,
    data_of,
    data_with_new_units,
    loaded_extensions,
    put_extension,
    run_again,
    set_channels_of_units,
    set_extension_data,
    set_main_channels,
    spike_vector_of,
)
from si_curation.errors import SiCurationError
from si_curation.extensions.changes import UnitChange, UnitsExtension
from si_curation.kernels.template_counts import contingency_table, most_frequent_templates
from si_curation.reading.components import (
    COMPONENTS_PARAMS,
    SorterComponents,
    feature_mask,
    sorter_components,
)
from si_curation.reading.features import SorterFeatures
from si_curation.reading.probe import planar_locations, shanks_of
from si_curation.reading.unit_templates import (
    LOCATION_PARAMS,
    SIMILARITY_PARAMS,
    cosine_similarity,
    locations_of_units,
    main_channels,
    sparsity_mask,
    union_of_channels,
    weighted_mean_templates,
)

logger = logging.getLogger(__name__)

IDENTITY = "identity"
TEMPLATES, SIMILARITY = "templates", "template_similarity"
STD = "std"
LOCATIONS, COMPONENTS = "unit_locations", "principal_components"
#: Extensions of SpikeInterface that are made by `update_units`.
MADE_FROM_TEMPLATES = (TEMPLATES, SIMILARITY, LOCATIONS, COMPONENTS)


class WhatFollows(NamedTuple):
    """What follows from the templates of spikes on an analyzer, and what SpikeInterface makes.

    Attributes
    ----------
    templates : bool
        Templates of units, their similarities and locations. Not where there are waveforms, which
        SpikeInterface makes the templates of units from, nor where the templates of units were
        averaged from traces before a folder was attached, or has no templates.
    channels : bool
        The channels of units, and the features on them. Not where principal components were
        computed, or cannot be read again: these are only there on the channels of before.
    features : SorterFeatures or None
        Where the principal components are read from.
    """

    templates: bool
    channels: bool
    features: SorterFeatures | None


def what_follows(
    analyzer: SortingAnalyzer, assignment: Any, left_out: Collection[str] = ()
) -> WhatFollows:
    """Return what follows from the templates of spikes on an analyzer.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    assignment : TemplateAssignment
        Of the analyzer.
    left_out : collection of str
        Extensions that are not taken into account.
    """
    names = set(loaded_extensions(analyzer)) - set(left_out)
    if "waveforms" in names or assignment.is_attached or not assignment.has_templates:
        return WhatFollows(False, False, None)
    if COMPONENTS not in names:
        return WhatFollows(True, True, None)
    features = _features_of_components(analyzer, assignment)
    from_folder = assignment.source != IDENTITY
    return WhatFollows(from_folder, features is not None, features)


def _features_of_components(analyzer: SortingAnalyzer, assignment: Any) -> SorterFeatures | None:
    """Return the features that the principal components were read from; None if not the sorter's.

    None too where the folder does not have them any more.
    """
    if analyzer.sparsity is None or not assignment.is_from_folder:
        return None
    params = loaded_extensions(analyzer)[COMPONENTS].params
    if any(params.get(key) != value for key, value in COMPONENTS_PARAMS.items()):
        return None
    channels = assignment.get_folder_channels()
    if not np.array_equal(channels, np.arange(analyzer.get_num_channels())):
        return None
    spikes = assignment.get_spikes_of_folder()
    try:
        files = assignment.get_feature_files()
        files.check(spikes.rows, spikes.template_ids)
        return files.features_of_spikes(spikes, "file")
    except SiCurationError as fault:
        logger.info("principal_components cannot be read again: %s", fault)
        return None


def update_units(change: UnitChange, assignment: Any, counts: sparse.csr_array) -> None:
    """Make what follows from templates for the analyzer after a change.

    Parameters
    ----------
    change : UnitChange
        Main channels and sparsity of ``change.after`` are set, and its extensions
        `MADE_FROM_TEMPLATES` made, where they follow; SpikeInterface's own stay where not. Units
        that did not change keep their channels.
    assignment : TemplateAssignment
        Of ``change.before``.
    counts : CSR array (n_units after, n_templates)
    """
    before, after = change.before, change.after
    follows = what_follows(before, assignment, change.left_out)
    if change.span is not None:  # the same units, on the channels that they have
        if follows.templates:
            _update_templates(change, counts, assignment)
            _update_locations(change, counts, assignment)
        return
    if assignment.has_templates:
        main = main_channels(counts, assignment.get_template_amplitudes())
    else:
        main = _inherited_main_channels(change)
    main[change.same_after] = before.get_main_channels()[change.same_before]
    components = None
    if follows.channels and before.sparsity is not None:
        components = _read_components(change, follows.features, counts, main)
        mask = _channels(before, assignment, counts) if components is None else components.mask
        mask[np.arange(len(mask)), main] = True
        if components is None:
            mask[change.same_after] = before.sparsity.mask[change.same_before]
        set_channels_of_units(after, mask)
    set_main_channels(after, main)
    if follows.templates:
        _update_templates(change, counts, assignment)
        _update_locations(change, counts, assignment)
    if components is not None:
        made = {"pca_projection": components.values}
        put_extension(after, loaded_extensions(before)[COMPONENTS], made)
    _update_metrics(change)


def _inherited_main_channels(change: UnitChange) -> NDArray[np.int64]:
    """Return for each unit the main channel of the unit of before that most spikes are from."""
    before = spike_vector_of(change.before.sorting)["unit_index"]
    after = change.units_after_of(np.arange(before.size))
    there = after >= 0
    shape = (len(change.after.unit_ids), len(change.before.unit_ids))
    counts = contingency_table(after[there], before[there].astype(np.int32), *shape)
    source = np.maximum(most_frequent_templates(counts).template_ids, 0)
    return np.asarray(change.before.get_main_channels(), dtype=np.int64)[source]


def _channels(
    analyzer: SortingAnalyzer, assignment: Any, counts: sparse.csr_array
) -> NDArray[np.bool_]:
    """Return the union of the channels of the templates of each unit."""
    support = assignment.get_template_support()
    if assignment.source == IDENTITY:
        return union_of_channels(counts, support)
    amplitudes = None if assignment.info["sparse"] else assignment.get_template_amplitudes()
    locations = planar_locations(analyzer)
    return sparsity_mask(counts, support, amplitudes, locations, shanks_of(analyzer))


def _read_components(
    change: UnitChange,
    features: SorterFeatures | None,
    counts: sparse.csr_array,
    main: NDArray[np.integer],
) -> SorterComponents | None:
    """Read the features of the random spikes on the channels of the units after a change."""
    random_spikes = loaded_extensions(change.before).get("random_spikes")
    if features is None or random_spikes is None:
        return None
    chosen = as_array(random_spikes.get_data())
    unit_index = change.units_after_of(chosen)
    chosen, unit_index = chosen[unit_index >= 0], unit_index[unit_index >= 0]
    mask = feature_mask(features, counts, main, change.before.get_num_channels())
    return sorter_components(features, chosen, unit_index, mask, main)


def _update_templates(change: UnitChange, counts: sparse.csr_array, assignment: Any) -> None:
    before, after = loaded_extensions(change.before), loaded_extensions(change.after)
    if TEMPLATES not in before:
        return
    average = weighted_mean_templates(counts, assignment.get_templates())
    if change.span is not None:
        _keep_of_silent(change, counts, average, before[TEMPLATES].get_data(operator="average"))
    made = {"average": average}
    known = data_of(before[TEMPLATES])
    if STD in known and assignment.source != IDENTITY:  # of new units: by `spike_waveforms`
        std = np.full_like(average, np.nan)
        std[change.same_after] = as_array(known[STD])[change.same_before]
        made[STD] = std
    if TEMPLATES in after:
        set_extension_data(after[TEMPLATES], made)
    else:
        put_extension(change.after, before[TEMPLATES], made)
    if SIMILARITY in before:
        made = {"similarity": cosine_similarity(average)}
        extension = put_extension(change.after, before[SIMILARITY], made)
        if extension.params != SIMILARITY_PARAMS:
            run_again(extension)
            np.nan_to_num(extension.get_data(), copy=False)  # of units without a template


def set_template_deviations(
    analyzer: SortingAnalyzer, assignment: Any, std: NDArray[np.float32]
) -> None:
    """Set the standard deviations of the templates of units, where these are the sorter's.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    assignment : TemplateAssignment
        Of the analyzer.
    std : array (n_units, n_samples, n_channels) float32
    """
    extension = loaded_extensions(analyzer).get(TEMPLATES)
    if extension is None or assignment.source == IDENTITY or assignment.is_attached:
        return
    if "waveforms" in loaded_extensions(analyzer):  # SpikeInterface makes them of these
        return
    operators = extension.params.get("operators", ["average"])
    extension.params["operators"] = [*operators, *([] if STD in operators else [STD])]
    set_extension_data(extension, {STD: std})


def _update_locations(change: UnitChange, counts: sparse.csr_array, assignment: Any) -> None:
    before = loaded_extensions(change.before)
    if TEMPLATES not in before or LOCATIONS not in before:
        return
    if before[LOCATIONS].params != LOCATION_PARAMS:
        extension = put_extension(change.after, before[LOCATIONS], {})
        if not _has_same_templates(change):
            run_again(extension)
        elif change.is_new.any():  # a fit for each unit takes long
            data = data_with_new_units(before[LOCATIONS], change.new_unit_ids, change.after)
            set_extension_data(extension, data)
        else:
            known = as_array(before[LOCATIONS].get_data())
            set_extension_data(extension, {"unit_locations": known[change.same_before]})
        return
    places = planar_locations(change.before)
    made = locations_of_units(counts, assignment.get_template_amplitudes(), places)
    if change.span is not None:
        _keep_of_silent(change, counts, made, before[LOCATIONS].get_data())
    put_extension(change.after, before[LOCATIONS], {"unit_locations": made})


def _has_same_templates(change: UnitChange) -> bool:
    """Return whether units that are not new have the templates that they had."""
    if change.span is not None:
        return False
    before, after = (
        as_array(loaded_extensions(one)[TEMPLATES].get_data(operator="average"))
        for one in (change.before, change.after)
    )
    return np.array_equal(before[change.same_before], after[change.same_after], equal_nan=True)


def _keep_of_silent(
    change: UnitChange, counts: sparse.csr_array, made: NDArray, known: Any
) -> None:
    """Keep what is known of units that have no spikes in a part of the time."""
    silent = np.flatnonzero(np.diff(counts.indptr) == 0)
    made[silent] = as_array(known)[[int(change.parents[int(i)][0]) for i in silent]]


def _update_metrics(change: UnitChange) -> None:
    """Compute SpikeInterface's metrics of new units again that are there already.

    They were computed before the main channels and templates of the new units were right.
    """
    before = loaded_extensions(change.before)
    for name, extension in list(loaded_extensions(change.after).items()):
        if isinstance(extension, BaseMetricExtension) and not isinstance(extension, UnitsExtension):
            data = data_with_new_units(before[name], change.new_unit_ids, change.after)
            set_extension_data(extension, data)

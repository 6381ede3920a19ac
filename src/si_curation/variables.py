"""Every value that leaves the package, declared once: name, unit, dtype, meaning, source.

Three parts:

- **Index types.** Four numbers count things from 0, and arrays of them look alike: templates of the
  sorter, units of an analyzer, rows of a folder's files, channels of a probe. A function that takes
  or returns arrays of two of them names them by these types. At run time they are plain integers
  and arrays.
- **Columns.** Each table of the package is a `Table` of `Variable`. Its documentation, the tooltips
  of the report and the descriptions in NWB files are made from them.
- **Reasons.** Why a value is missing, or what speaks for a result, is a code with values (an
  `Explanation`). Its text is made where a person reads it, and never read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

#: Id of a unit, as this package returns it; arguments may be numpy's too.
UnitId = int | str
#: Row of ``templates.npy``; -1 for none.
TemplateId = NewType("TemplateId", int)
TemplateIds = NewType("TemplateIds", NDArray[np.integer])

#: Position in ``analyzer.unit_ids``.
UnitIndex = NewType("UnitIndex", int)
UnitIndices = NewType("UnitIndices", NDArray[np.integer])

#: Row of a folder's per-spike files (``spike_times.npy`` and the like).
FileRow = NewType("FileRow", int)
FileRows = NewType("FileRows", NDArray[np.integer])

#: Column of ``templates.npy``; position in ``analyzer.channel_ids``. Not the column of the raw file
#: (``channel_map``), not a channel id.
ChannelIndex = NewType("ChannelIndex", int)
ChannelIndices = NewType("ChannelIndices", NDArray[np.integer])


# ------------------------------------------------------------------------------------- mechanism


@dataclass(frozen=True)
class Variable:
    """One column.

    Parameters
    ----------
    name : str
        Of the column.
    meaning : str
        What it is.
    unit : str
        "count", "Hz", "ms", "s", "um", "uV/s", "um/ms", "1/um", "percent"; "1" for ratios,
        probabilities and scores; "amplitude" for the unit of the analyzer's amplitudes; "" for
        names, ids and flags.
    dtype : str
        "float64", "int64", "bool", "str"; pandas' "Int64" and "boolean", which can be missing; "id"
        for what has the dtype of the ids of units or channels; "tuple".
    source : str
        Paper or program that defines it.
    values : str
        The range of a number, such as "0 to 1".
    codes : tuple of str
        All values of a column of codes.
    missing : str
        When a value is missing (NaN, NA or "").

    Examples
    --------
    >>> str(Variable("q", "probability of so few pairs", "1", values="0 to 1", source="Kilosort 4"))
    'probability of so few pairs, 0 to 1 (Kilosort 4)'
    """

    name: str
    meaning: str
    unit: str = ""
    dtype: str = "float64"
    source: str = ""
    values: str = ""
    codes: tuple[str, ...] = ()
    missing: str = ""

    @property
    def description(self) -> str:
        """Meaning, codes, range and what a missing value means, without unit and source."""
        return self.meaning + self._details()

    def __str__(self) -> str:
        unit = "" if self.unit in ("1", "amplitude") else _UNIT_TEXTS.get(self.unit, self.unit)
        unit = f", {unit}" if unit else ""
        source = f" ({self.source})" if self.source else ""
        return self.meaning + unit + self._details() + source

    def _details(self) -> str:
        text = ": " + ", ".join(self.codes[:-1]) + f" or {self.codes[-1]}" if self.codes else ""
        text += f", {self.values}" if self.values else ""
        if self.missing:
            text += f"; {_MISSING.get(self.dtype, 'empty')}: {self.missing}"
        return text


_UNIT_TEXTS = {"um": "µm", "uV/s": "µV/s", "um/ms": "µm/ms", "1/um": "1/µm"}
_MISSING = {"float64": "NaN", "Int64": "NA", "boolean": "NA"}


class Table(Mapping[str, Variable]):
    """The columns of one table, by name, in order.

    Parameters
    ----------
    name : str
    meaning : str
        What a row is.
    variables : iterable of Variable

    Examples
    --------
    >>> CONTAMINATION["rp_contamination"].unit
    '1'
    """

    def __init__(self, name: str, meaning: str, variables: Iterable[Variable]) -> None:
        self.name = name
        self.meaning = meaning
        self._variables: dict[str, Variable] = {}
        for variable in variables:
            if variable.name in self._variables:
                raise ValueError(f"table {name}: column {variable.name} is declared twice")
            self._variables[variable.name] = variable

    def __getitem__(self, name: str) -> Variable:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def descriptions(self) -> dict[str, str]:
        """Return the text of each column: meaning, unit or range, source."""
        return {name: str(variable) for name, variable in self._variables.items()}


@dataclass(frozen=True)
class Reason:
    """A declared reason: a code, and the text that is made from it.

    Parameters
    ----------
    code : str
        In snake_case, unique in the package. It never changes, while the text may.
    template : str
        With named fields, as `str.format` takes them.
    """

    code: str
    template: str
    fields: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = (name for _, name, _, _ in Formatter().parse(self.template) if name)
        object.__setattr__(self, "fields", frozenset(names))


class Explanation:
    """A reason with its values: what code carries, stores and compares; `str` makes the text.

    Parameters
    ----------
    code : str
        Of `REASONS`.
    **values : str or number
        The fields of the reason's template, all of them.

    Raises
    ------
    KeyError
        There is no such reason.
    TypeError
        A field is missing, or is not in the template.

    Notes
    -----
    To write reasons: declare each once (in this file), return an `Explanation` or a list of them
    from the function that finds the reason, and make text last. Code that needs to know a reason
    compares ``explanation.code``::

        found = [Explanation("merge_dip", observed=3, expected=41.5)]
        if share > 0.05:
            found.append(Explanation("merge_duplicates", share=share))
        table["reason"] = explanations_text(found)

    Examples
    --------
    >>> found = Explanation("shorter_than_bin", bin_s=60)
    >>> found.code, found.values, str(found)
    ('shorter_than_bin', {'bin_s': 60}, 'shorter than a bin of 60 s')
    >>> found == Explanation("shorter_than_bin", bin_s=60.0)
    True
    """

    __slots__ = ("code", "values")

    def __init__(self, code: str, /, **values: Any) -> None:
        fields = REASONS[code].fields
        if values.keys() != fields:
            raise TypeError(f"reason {code!r} has fields {sorted(fields)}, not {sorted(values)}")
        self.code = code
        self.values = values

    def __str__(self) -> str:
        return REASONS[self.code].template.format(**self.values)

    def __repr__(self) -> str:
        values = "".join(f", {name}={value!r}" for name, value in self.values.items())
        return f"Explanation({self.code!r}{values})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Explanation):
            return NotImplemented
        return self.code == other.code and self.values == other.values

    def __hash__(self) -> int:
        return hash((self.code, tuple(sorted(self.values.items()))))


def explanations_text(explanations: Iterable[Explanation]) -> str:
    """Return the texts of several explanations, separated by "; ".

    Examples
    --------
    >>> explanations_text([Explanation("no_spikes"), Explanation("no_signal")])
    'no spikes; the template has no signal'
    """
    return "; ".join(map(str, explanations))


# --------------------------------------------------------------------------------------- reasons


def _declare(*groups: Iterable[tuple[str, str]]) -> dict[str, Reason]:
    known: dict[str, Reason] = {}
    for group in groups:
        for code, template in group:
            if code in known:
                raise ValueError(f"reason {code} is declared twice")
            known[code] = Reason(code, template)
    return known


_METRIC_REASONS = (
    ("no_spikes", "no spikes"),
    ("one_spike", "one spike"),
    ("no_signal", "the template has no signal"),
    ("no_extension", "there is no extension {name}"),
    ("no_amplitudes", "there is no extension {names} (the folder has no amplitudes.npy)"),
    ("no_direction", "spike_locations have no direction {direction!r}"),
    ("only_depth", "there is no extension spike_locations, and features only tell the depth (y)"),
    ("no_positions", "there is no extension spike_locations, nor features: {error}"),
    ("missing_data", "{error}"),
    ("no_sorter_value", "the sorter's value is not known for this unit"),
    (
        "no_sorter_property",
        "there is no unit property {name} (the sorter wrote no cluster_{name}.tsv)",
    ),
    # stability
    ("outside_periods", "outside the periods of this unit"),
    ("no_spike_with_value", "no spike with a value"),
    ("shorter_than_bin", "shorter than a bin of {bin_s:g} s"),
    (
        "too_few_time_bins",
        "fewer than {num_bins} time bins of about {spikes_per_bin:g} spikes",
    ),
    ("fewer_spikes_than", "fewer than {num_spikes:g} spikes"),
    (
        "histogram_low_empty",
        "no bin of the histogram is below the low quantile of the amplitudes",
    ),
    (
        "histogram_high_flat",
        "less than two bins, or all equal, above the high quantile of the amplitudes",
    ),
    ("too_few_intervals", "fewer than {num_intervals} intervals of {interval_s:g} s"),
    (
        "too_few_spikes_in_intervals",
        "more than {share:.0%} of the intervals of {interval_s:g} s have fewer than {num_spikes} "
        "spikes",
    ),
    # isolation
    ("no_spikes_with_features", "no spikes with features"),
    (
        "no_neighbours",
        "no other unit with spikes has its main channel on the channels of this unit",
    ),
    ("two_spikes_needed", "fewer than 2 spikes of the unit or of its neighbours"),
    (
        "singular_covariance",
        "the covariance of its {num_spikes} spikes in {num_features} features is singular",
    ),
    ("two_spikes_only", "two spikes only"),
    ("no_variance", "neither the unit nor its neighbours vary where they are apart"),
    ("none_searched", "none of its {num_spikes} spikes is among max_spikes={max_spikes}"),
    (
        "too_few_searched",
        "{num_spikes} spikes in all, fewer than n_neighbors={n_neighbors} others",
    ),
    ("no_neighbour_searched", "no spike of its neighbours is among max_spikes={max_spikes}"),
    # shape of the template; `channel` etc. are of SpikeInterface's template_metrics
    ("shape_no_peak", "no peak {where} the trough"),
    ("shape_no_trough", "no trough of enough prominence"),
    ("shape_no_half", "the template does not reach half of its {extremum} on both sides"),
    ("shape_no_return", "the template does not come back to 0 after its trough"),
    ("shape_not_in_uv", "the template is not in µV: the gain is not known, or it is whitened"),
    (
        "shape_no_decay_fit",
        "amplitudes over distance have no fit: too few channels, or it explains too little",
    ),
    ("shape_no_velocity_fit", "too few channels above or below the main channel, or a poor fit"),
    (
        "shape_velocity_truncated",
        "the sorter's components and few channels make velocities wrong by 36 to 75 %; compute "
        "templates from a recording",
    ),
    ("shape_whitened", "the template is whitened, which changes its amplitudes over distance"),
    ("shape_padded", "the sorter filled the first {duration_ms:.2g} ms of the template with 0"),
    ("shape_failed", "the template or the places of its channels do not allow it"),
    ("no_channel_noise", "no template with {num_spikes} spikes has features on the main channel"),
    # in analyzers that version 0.1.0 saved, which had texts alone
    ("saved_text", "{text}"),
)
_CONTAMINATION_REASONS = (
    (
        "recording_too_short",
        "the recording is not longer than the censored periods of the spikes",
    ),
    (
        "too_few_expected",
        "no violation and only {expected:.2g} expected, any contamination is possible",
    ),
    ("model_refuted", "more violations than one other neuron can make"),
    (
        "nothing_ruled_out",
        "no contamination up to {most:.0%} is ruled out with {confidence:.0%} confidence",
    ),
    ("no_shoulders", "the autocorrelogram has no shoulders"),
    ("too_few_in_centre", "no pairs in the centre and too few expected"),
    ("no_estimate", "too few spikes to tell"),
)
_TEMPLATE_REASONS = (
    (
        "template_differs",
        "its spikes do not look like the sorter's template: correlation {correlation:.2f}, below "
        "{least:g}",
    ),
    (
        "template_other_channel",
        "its spikes are largest on another channel, {distance:.0f} µm from the sorter's",
    ),
)
_SPLIT_REASONS = (
    (
        "split_clusters",
        "two clusters {separation:.1f} sd apart, the smaller with {share:.0%} of the spikes "
        "({gain:.2f} nats a spike better than one)",
    ),
    (
        "split_no_clusters",
        "one cluster explains the features as well ({gain:.2f} nats a spike)",
    ),
    (
        "split_overlap",
        "the clusters overlap: {error:.0%} of the spikes are expected on the wrong side",
    ),
    (
        "split_not_mixed",
        "the clusters are not active together ({mixing:.2f}, 0.9 as a rule): one that drifts",
    ),
    (
        "split_jump",
        "the features jump by {jump:.1f} sd at one time, more than in the other units: neurons "
        "that fire at different times, or the probe moved",
    ),
    (
        "split_refractory",
        "the parts have a common refractory period, as one neuron ({observed:.0f} of "
        "{expected:.3g} coincidences)",
    ),
    (
        "split_not_refractory",
        "the parts have no common refractory period ({observed:.0f} of {expected:.3g} "
        "coincidences)",
    ),
    (
        "split_refractory_unknown",
        "too few coincidences are expected to tell ({observed:.0f} of {expected:.3g})",
    ),
    (
        "split_duplicates",
        "{share:.0%} of the spikes of one part were found in another unit too: remove duplicates "
        "first",
    ),
    ("split_parts", "{num_parts} parts"),
    ("split_some_features", "only {share:.0%} of the spikes have features"),
    (
        "split_templates",
        "features cannot tell; spikes of its templates coincide as those of different neurons "
        "({observed:.0f} of {expected:.3g} coincidences)",
    ),
    (
        "split_no_basis",
        "the basis of the features is not known: spikes that fall between two samples look like "
        "another neuron, and no score exceeds 0.45",
    ),
)
_MERGE_REASONS = (
    # the cross-correlogram: one of these for each pair
    (
        "merge_both_contaminated",
        "cross-correlogram inconclusive: both units are contaminated ({observed} of {expected:.3g} "
        "coincidences)",
    ),
    ("merge_dip", "the cross-correlogram has a dip ({observed} of {expected:.3g} coincidences)"),
    (
        "merge_no_dip",
        "the cross-correlogram has no dip deep enough for one neuron ({observed} of {expected:.3g} "
        "coincidences)",
    ),
    (
        "merge_shallow_dip",
        "cross-correlogram inconclusive: a shallow dip ({observed} of {expected:.3g} coincidences)",
    ),
    (
        "merge_too_few_coincidences",
        "cross-correlogram inconclusive: too few coincidences are expected ({observed} of "
        "{expected:.3g})",
    ),
    # more of each pair
    (
        "merge_shared_template",
        "they share a template of the sorter, so a curator may have split them",
    ),
    ("merge_different_times", "they fire at different times ({overlap:.0%} in common)"),
    # `value`: "amplitude" or "depth"
    ("merge_continuous", "{value} continues from one to the other"),
    ("merge_discontinuous", "{value} differs by {distance:.1f} sd"),
    ("merge_value_few_spikes", "{value} not compared: fewer than 10 spikes"),
    ("merge_value_missing", "{value} not compared: no values in extension {extension!r}"),
    # the spikes of both where they are closest in time: one of these for each pair
    (
        "merge_waveforms_join",
        "the waveforms of single spikes join ({distance:.1f} sd apart; halves of one neuron: 2.6)",
    ),
    (
        "merge_waveforms_separate",
        "the waveforms of single spikes are {distance:.1f} sd apart where the units are closest in "
        "time (halves of one neuron: 2.6)",
    ),
    (
        "merge_waveforms_changed",
        "the waveforms of single spikes are {distance:.1f} sd apart, about as far as those of "
        "other units between the same times ({of_others:.1f})",
    ),
    ("merge_waveforms_no_features", "waveforms of single spikes not compared: no features"),
    (
        "merge_waveforms_few_spikes",
        "waveforms of single spikes not compared: fewer than 20 spikes, or no channel "
        "with features of both",
    ),
    (
        "merge_waveforms_not_needed",
        "waveforms of single spikes not compared: the rest is against a merge",
    ),
    (
        "merge_cut",
        "the amplitudes are those of one population cut at a threshold, rather than two",
    ),
    (
        "merge_cut_or_two",
        "the amplitudes are those of one population cut at a threshold, or of two whose means are "
        "less than 2 sd apart, which look the same",
    ),
    ("merge_burst", "the smaller unit follows the larger one, as in bursts"),
    (
        "merge_duplicates",
        "{share:.0%} of the spikes of the smaller unit were found twice: remove the duplicates "
        "when merging",
    ),
    (
        "merge_same_spikes",
        "{share:.0%} of the spikes of the smaller unit are spikes of the other one, found twice, "
        "whatever else differs: remove the duplicates when merging, or the unit",
    ),
    # the verdict on a pair of templates of one unit
    (
        "bad_merge",
        "not one neuron: {observed} coincidences, {explained:.3g} explained by contamination, "
        "{independent:.3g} if independent",
    ),
    (
        "bad_merge_unknown",
        "inconclusive, too few are expected: {observed} coincidences, {explained:.3g} explained by "
        "contamination, {independent:.3g} if independent",
    ),
    (
        "good_merge",
        "refractory: {observed} coincidences, {explained:.3g} explained by contamination, "
        "{independent:.3g} if independent",
    ),
)
_COMMON = (
    "{share:.0%} of its spikes are those of unit {original}, of whose spikes they are "
    "{of_original:.0%} (lag {lag:.2g} ms); unit {original} is kept: "
)
_DUPLICATE_REASONS = (
    ("duplicate_more_spikes", _COMMON + "it has more spikes"),
    ("duplicate_less_contaminated", _COMMON + "it is less contaminated"),
    ("duplicate_larger_amplitude", _COMMON + "its spikes are larger"),
    ("duplicate_lower_id", _COMMON + "its id is lower, and nothing tells them apart"),
)
_CLEANING_REASONS = (
    (
        "cleaning_foreign",
        "{share:.1%} of its spikes fit another unit better; {own:.0%} of these may be its own",
    ),
    (
        "cleaning_cluster",
        "{share:.1%} of its spikes are a cluster of their own, {separation:.1f} sd apart; "
        "{own:.0%} of these may be its own",
    ),
    (
        "cleaning_probable_cluster",
        "{share:.1%} of its spikes may be a cluster of their own, {separation:.1f} sd apart; about "
        "{own:.0%} of these may be its own",
    ),
    ("cleaning_none", "no spikes that surely are of another unit"),
    ("cleaning_split_first", "contamination of {contamination:.0%}: split the unit first"),
    (
        "cleaning_few_spikes",
        "{count} spikes have features on the same channels, at least {least} are needed",
    ),
    ("cleaning_no_features", "not looked at: {fault}"),
)
_LABEL_REASONS = (
    # `rule` and `metric`: texts, such as "snr < 5" and "snr"
    ("label_rule", "{rule}"),
    ("label_rule_value", "{rule} (it is {value:.4g})"),
    ("label_rule_nan", "{rule} (it is not known, which this rule counts)"),
    ("label_no_rule", "no rule holds"),
    ("review_stale", "there are no clusters {ids} any more"),
    ("review_not_ids", "unit_ids is {found}, expected two different whole numbers or more"),
    ("review_twice", "the same units are proposed before"),
    ("review_not_listed", "units {ids} are not in unit_ids of the file"),
    ("review_orphaned", "no proposal in the file has this key"),
    ("label_metric_missing", "{metric} is not known, which {rule} needs"),
    ("label_amplitudes_not_in_uv", "amplitudes are not in µV, which {rule} needs"),
    ("model_probability", "the probability of {label} is {probability:.3g}"),
    ("learnt_columns", "{columns} spoke most for {label}"),
    ("learnt_unsure", "the probability of {label} is {probability:.3g}, below {threshold:.3g}"),
    (
        "learnt_no_threshold",
        "no probability of {label} is high enough for {accuracy:.0%} of the labels to be right",
    ),
    (
        "learnt_unit_outside",
        "{count} columns of the unit are outside of what the model saw: {columns}",
    ),
    (
        "learnt_session_outside",
        "{count} columns of the session are unlike what the model saw: {columns}",
    ),
    ("learnt_recording_outside", "the recording is unlike those that the model saw: {what}"),
)
_CLASS_REASONS = (
    ("class_threshold", "{metric} is {value:.4g}, beyond the threshold of {label}"),
    ("class_metric_missing", "{metric} is not known, which counts as {label}"),
    ("class_non_somatic", "peaks and widths as of an axon"),
    (
        "class_width_near",
        "its duration of {duration_ms:.2f} ms is as near to the border of narrow and wide as the "
        "error of durations",
    ),
    (
        "class_residual",
        "{share:.0%} of its spikes coincide with those of larger units nearby, most with "
        "{unit_id}: it is what the sorter left when it subtracted these",
    ),
)
_CONNECTION_REASONS = (
    ("connection_excitatory", "excitatory"),
    ("connection_inhibitory", "inhibitory"),
    ("connection_not_tested", "not tested: a unit has no spikes"),
    ("connection_not_fast", "no connection: no lag stands out (p_fast)"),
    (
        "connection_not_causal",
        "no connection: not beyond the lags of the other sign (p_causal)",
    ),
    # flags of what was found
    ("flag_shares_channels", "the units share channels (overlapping spikes)"),
    ("flag_contaminated", "a unit is contaminated"),
    ("flag_zero_lag_peak", "peak at lag 0 (common input, or the same spikes in both units)"),
    (
        "flag_both_directions",
        "the reverse direction stands out as well (common input, or one neuron)",
    ),
    ("flag_too_few_spikes", "few pairs of spikes"),
    ("flag_channels_unknown", "not known whether the units share channels"),
    ("flag_contamination_unknown", "contamination is not known"),
    ("flag_not_causal", "not beyond the lags of the other sign (p_causal)"),
)
# what became of a step of a curation that was carried over to another sorting
_REPLAY_REASONS = (
    ("replay_carried", "of their spikes {share:.0%} are spikes that it was decided about"),
    ("replay_already_one", "the sorting has them in one unit, {units}"),
    ("replay_already_apart", "the sorting has the parts in units of their own, {units}"),
    (
        "replay_not_found",
        "no unit has their spikes: the sorting did not find them, or has them in units of others",
    ),
    ("replay_part_not_found", "no unit is a counterpart of {units}"),
    (
        "replay_with_others",
        "their spikes are in unit {units} together with those of others, for {share:.0%} of it",
    ),
    ("replay_guessed_spikes", "{count} spikes that the old sorting does not have stay with most"),
)
_EFFECT_REASONS = (
    ("effect_too_few_units", "{num_units} units have the metric, expected {min_units} or more"),
    ("effect_constant_metric", "it is {value:g} for all units"),
    ("effect_no_threshold", "no threshold leaves {min_units} units and removes some"),
    (
        "effect_at_strictest",
        "{whole:.3g} with all {num_units} units, {strictest:.3g} [{lower:.3g}, {upper:.3g}] with "
        "the best {num_left}",
    ),
    ("effect_no_more_than_random", "no more than random removal (p = {p:.2g})"),
    ("effect_beyond_random", "beyond random removal (p = {p:.2g})"),
    (
        "effect_unclear_to_begin_with",
        "there is no clear effect to begin with, {null_value:g} is in its interval",
    ),
    (
        "effect_too_few_left",
        "the units left at the strictest threshold are too few to exclude that nothing is left",
    ),
    ("effect_down_to_null", "down to what is not distinguishable from {null_value:g}"),
    (
        "effect_may_vanish",
        "it may vanish: {null_value:g} and the effect of all units are both in the interval",
    ),
    (
        "effect_constant",
        "the effect is the same for all units, which gives no correlation",
    ),
    (
        "effect_no_partial",
        "no correlation given covariates: {covariates} determine the metric, or too few units have "
        "them",
    ),
    ("effect_no_covariates", "no correlation given covariates: none is there"),
    (
        "effect_explained",
        "its rank correlation with the metric, {rho:.2g}, is {partial:.2g} (p = {p:.2g}) given "
        "{covariates}",
    ),
)

#: Every reason, by code.
REASONS: dict[str, Reason] = _declare(
    _METRIC_REASONS,
    _CONTAMINATION_REASONS,
    _TEMPLATE_REASONS,
    _MERGE_REASONS,
    _SPLIT_REASONS,
    _DUPLICATE_REASONS,
    _CLEANING_REASONS,
    _LABEL_REASONS,
    _CLASS_REASONS,
    _CONNECTION_REASONS,
    _REPLAY_REASONS,
    _EFFECT_REASONS,
)


# ---------------------------------------------------------------------------- columns: of metrics

_SI = "SpikeInterface 0.105.3"
_PHY = "phy 2.1.0, ClusterView"
_SCHMITZER = "Schmitzer-Torbert et al. 2005, Neuroscience 131:1"
_CHUNG = "Chung et al. 2017, Neuron 95:1381"
_HILL = "Hill et al. 2011, J. Neurosci. 31:8699"
_LLOBET = "Llobet et al. 2022, bioRxiv 2022.02.08.479192"
_GARWOOD = "Garwood 1936"
_UMS = "UltraMegaSort2000, rpv_contamination; SpikeInterface, isi_violation"
_SLIDING = "SpikeInterface, sliding_rp_violation: a stricter variant of IBL's"
_SLIDING_IBL = "Steinmetz lab and IBL, slidingRefractory (slidingRP/metrics.py)"
_KILOSORT = "Kilosort 4, CCG.py; the names are the other way round in Kilosort 2 and 3"
_OURS = "si_curation"

_MAIN_TEMPLATE = (
    Variable(
        "template_id",
        "template that most spikes of the unit came from; -1 for a unit without spikes",
        dtype="int64",
        source="phy 2.1.0, get_template_for_cluster",
    ),
    Variable(
        "template_purity",
        "share of the unit's spikes that came from its most frequent template",
        "1",
        source=_OURS,
    ),
    Variable(
        "num_templates",
        "templates that the unit has spikes of",
        "count",
        "int64",
        source=_OURS,
    ),
)

IDENTITY = Table(
    "identity",
    "a unit: place, size, template, the sorter's label",
    [
        Variable(
            "best_channel_id",
            "id of the channel on which the most frequent template is largest, peak to peak",
            dtype="Int64",
            source=f"{_PHY}, ch",
        ),
        Variable("depth_um", "y of the best channel", "um", source=f"{_PHY}, depth"),
        Variable("shank", "shank of the best channel", dtype="Int64", source=f"{_PHY}, sh"),
        Variable(
            "amp",
            "largest peak-to-peak amplitude of the most frequent template, which is the scale of "
            "spikes in figures and the report (get_amplitude_scale), in the units of the "
            "templates (µV where a gain is known, else the sorter's, of Kilosort 1 to 3 before "
            "they are scaled to spikes); phy's with unwhiten='phy'",
            "amplitude",
            source=f"{_PHY}, amp",
        ),
        *(replace(one, dtype="Int64") if one.dtype == "int64" else one for one in _MAIN_TEMPLATE),
        Variable(
            "KSLabel",
            "label that the sorter gave the unit before curation",
            dtype="str",
            source="Kilosort, cluster_KSLabel.tsv",
        ),
        Variable(
            "ContamPct",
            "contamination that the sorter estimated for the unit before curation",
            "percent",
            source="Kilosort, cluster_ContamPct.tsv",
        ),
    ],
)

STABILITY = Table(
    "stability",
    "a unit, or a unit in a window: presence, firing rate, amplitudes, position",
    [
        Variable("num_spikes", "number of spikes", "count", "int64", f"{_SI}, num_spikes"),
        Variable(
            "firing_rate",
            "spikes per observed duration of the recording (or of the periods)",
            "Hz",
            source=f"{_SI}, firing_rate",
        ),
        Variable(
            "presence_ratio",
            "share of the bins (60 s) in which the unit fires",
            "1",
            source=f"{_SI}, presence_ratio",
        ),
        Variable(
            "firing_range",
            "5th to 95th percentile of the firing rate in bins of 5 s",
            "Hz",
            source=f"{_SI}, firing_range",
        ),
        Variable(
            "amplitude_median",
            "median of the spike amplitudes at the extremum (extension spike_amplitudes), and not "
            "peak-to-peak as amp; in its units (µV where a gain is known, else the sorter's)",
            "amplitude",
            source=f"IBL, brainbox single_units; {_SI}, amplitude_median",
        ),
        Variable(
            "amplitude_cv_median",
            "median over time bins (50 spikes on average) of the deviation of the amplitudes over "
            "their mean",
            "1",
            source=f"{_SI}, amplitude_cv",
        ),
        Variable(
            "amplitude_cv_range",
            "5th to 95th percentile over time bins of the deviation of the amplitudes over their "
            "mean",
            "1",
            source=f"{_SI}, amplitude_cv",
        ),
        Variable(
            "amplitude_cutoff",
            "estimated share of spikes that are missing because they were too small",
            "1",
            values="0 to 0.5",
            source=f"{_HILL}; {_SI}, amplitude_cutoff",
        ),
        Variable(
            "noise_cutoff",
            "how far the histogram of amplitudes is above its upper tail at the smallest "
            "amplitudes, in standard deviations of that tail",
            "1",
            source=f"IBL 2024; {_SI}, noise_cutoff",
        ),
        Variable(
            "noise_ratio",
            "height of the histogram of amplitudes at the smallest amplitudes over its peak",
            "1",
            source=f"IBL 2024; {_SI}, noise_cutoff",
        ),
        Variable(
            "drift_ptp",
            "range of the median position in intervals of 60 s",
            "um",
            source=f"{_SI}, drift",
        ),
        Variable(
            "drift_std",
            "standard deviation of the median position in intervals of 60 s",
            "um",
            source=f"{_SI}, drift",
        ),
        Variable(
            "drift_mad",
            "median absolute deviation of the median position in intervals of 60 s",
            "um",
            source=f"{_SI}, drift",
        ),
    ],
)

ISOLATION = Table(
    "isolation",
    "a unit among its neighbours, in the space of principal components",
    [
        Variable(
            "isolation_distance",
            "squared Mahalanobis distance from the unit within which there are as many spikes of "
            "neighbouring units as the unit has",
            source=f"{_SCHMITZER}; {_SI}, mahalanobis",
        ),
        Variable(
            "l_ratio",
            "spikes of neighbouring units that the unit's Gaussian would claim, per spike of the "
            "unit",
            source=f"{_SCHMITZER}; {_SI}, mahalanobis",
        ),
        Variable(
            "d_prime",
            "distance of the unit from the spikes of neighbouring units along the linear "
            "discriminant, in standard deviations",
            source=f"{_HILL}; {_SI}, d_prime",
        ),
        Variable(
            "nn_hit_rate",
            "share of the nearest neighbours of the unit's spikes that are the unit's own",
            source=f"{_CHUNG}; {_SI}, nearest_neighbor",
        ),
        Variable(
            "nn_miss_rate",
            "share of the nearest neighbours of spikes of neighbouring units that are the unit's",
            source=f"{_CHUNG}; {_SI}, nearest_neighbor",
        ),
        Variable(
            "silhouette",
            "how much nearer the unit's spikes are to its center than to that of the next unit "
            "(simplified silhouette)",
            values="-1 to 1",
            source=f"Hruschka et al. 2004; {_SI}, silhouette",
        ),
    ],
)

_SI_SHAPE = f"{_SI}, template_metrics"


def _shape(name: str, meaning: str, unit: str, bias: str) -> Variable:
    text = f"{meaning}; {bias}" if bias else meaning
    return Variable(name, text, unit, source=_SI_SHAPE)


#: Bias: the sorter's templates beside means of filtered traces (docs/howto/waveform_shapes.md).
SHAPE = Table(
    "shape",
    "a unit: shape of its template on the main channel, and over the channels",
    [
        _shape(
            "peak_to_trough_duration",
            "from the trough to the largest peak after it",
            "s",
            "from the sorter's templates within 27 µs (median)",
        ),
        _shape(
            "trough_half_width",
            "width of the trough at half its depth",
            "s",
            "from the sorter's templates 13 µs too narrow",
        ),
        _shape(
            "peak_half_width",
            "width of the largest peak at half its height",
            "s",
            "from the sorter's templates 30 µs too wide",
        ),
        _shape(
            "repolarization_slope",
            "slope from the trough to 0",
            "uV/s",
            "from the sorter's templates 4 % too steep",
        ),
        _shape(
            "recovery_slope",
            "slope in the 0.7 ms after the peak that follows the trough",
            "uV/s",
            "from the sorter's templates within 5 % (median)",
        ),
        _shape("num_positive_peaks", "number of peaks", "count", ""),
        _shape("num_negative_peaks", "number of troughs", "count", ""),
        _shape(
            "main_to_next_extremum_duration",
            "from the largest extremum to the next one",
            "s",
            "from the sorter's templates within 27 µs (median)",
        ),
        _shape(
            "peak_before_to_trough_ratio",
            "height of the peak before the trough over the depth of the trough",
            "1",
            "from the sorter's templates 0.012 too large",
        ),
        _shape(
            "peak_after_to_trough_ratio",
            "height of the peak after the trough over the depth of the trough",
            "1",
            "from the sorter's templates 6 % too small",
        ),
        _shape(
            "peak_before_to_peak_after_ratio",
            "height of the peak before the trough over that of the one after it",
            "1",
            "from the sorter's templates 25 % too large",
        ),
        _shape(
            "main_peak_to_trough_ratio",
            "height of the larger of both peaks over the depth of the trough",
            "1",
            "from the sorter's templates 6 % too small",
        ),
        _shape(
            "trough_width",
            "width of the trough at half its prominence",
            "s",
            "from the sorter's templates 10 µs too narrow",
        ),
        _shape(
            "peak_before_width",
            "width of the peak before the trough at half its prominence",
            "s",
            "",
        ),
        _shape(
            "peak_after_width",
            "width of the peak after the trough at half its prominence",
            "s",
            "from the sorter's templates unreliable (rank correlation 0.58)",
        ),
        _shape(
            "waveform_baseline_flatness",
            "largest deviation in the first 0.5 ms over that of the whole template",
            "1",
            "the sorter's templates begin so late that the spike is in it: larger by 0.04 and not "
            "comparable",
        ),
        _shape(
            "velocity_above",
            "velocity of the trough along the channels above the main channel",
            "um/ms",
            "means of traces only",
        ),
        _shape(
            "velocity_below",
            "velocity of the trough along the channels below the main channel",
            "um/ms",
            "means of traces only",
        ),
        _shape(
            "exp_decay",
            "rate of the exponential decay of the amplitude over distance",
            "1/um",
            "from the sorter's templates within 5 % on the same channels; on more channels it is "
            "larger",
        ),
        _shape(
            "spread",
            "extent along the probe of the channels with at least 20 % of the amplitude",
            "um",
            "at most the extent of the channels of the unit",
        ),
    ],
)

NOISE = Table(
    "noise",
    "a unit: noise as the sorter's features have it",
    [
        Variable(
            "noise_from_features",
            "noise of the main channel, from what the template leaves of the features of spikes; "
            "in the unit of the templates. 5 to 10 % higher than noise_levels of the filtered "
            "traces, more on channels of drifting units: do not mix it with these",
            "amplitude",
            source=_OURS,
        ),
        Variable(
            "snr_from_features",
            "largest deflection of the mean rebuilt waveform on the main channel over "
            "noise_from_features. Not SpikeInterface's snr, which needs traces",
            "1",
            source=_OURS,
        ),
    ],
)

# --------------------------------------------------------------------- columns: of contamination

#: The formulas that have an interval, `<name>_lower` to `<name>_upper`.
CONTAMINATION_FORMULAS = (
    Variable(
        "isi_violations_ratio", "rate of adjacent violations over firing rate", "1", source=_UMS
    ),
    Variable(
        "hill_contamination",
        "share of the spikes that are one other neuron's, from adjacent violations",
        "1",
        values="0 to 0.5",
        source=_HILL,
    ),
    Variable(
        "rp_contamination",
        "share of the spikes that are many other neurons', from all pairs",
        "1",
        values="0 to 1",
        source=f"{_LLOBET}; SpikeInterface, rp_violation",
    ),
    Variable(
        "rp_contamination_one_neuron",
        "share of the spikes that are one other neuron's, from all pairs",
        "1",
        values="0 to 0.5",
        source=_LLOBET,
    ),
)


def _with_interval(formula: Variable) -> tuple[Variable, ...]:
    ends = (
        Variable(
            f"{formula.name}_{end}",
            f"{end} end of the Poisson confidence interval of {formula.name}",
            formula.unit,
            source=_GARWOOD,
        )
        for end in ("lower", "upper")
    )
    return (formula, *ends)


CONTAMINATION = Table(
    "contamination",
    "a unit",
    [
        Variable("num_spikes", "number of spikes", "count", "int64"),
        Variable("firing_rate_hz", "spikes per duration of the recording", "Hz"),
        Variable(
            "refractory_period_ms",
            "refractory period of all columns but sliding_* and kilosort_*",
            "ms",
        ),
        Variable(
            "refractory_period_source",
            "where it came from",
            dtype="str",
            codes=("given", "autocorrelogram", "default"),
        ),
        Variable(
            "isi_violations_count",
            "adjacent violations: intervals of consecutive spikes shorter than the refractory "
            "period",
            "count",
            "int64",
            "SpikeInterface, isi_violation",
        ),
        Variable(
            "rp_violations",
            "violations of all pairs: pairs of any two spikes not further apart than the "
            "refractory period",
            "count",
            "int64",
            "SpikeInterface, rp_violation",
        ),
        Variable(
            "censored_pairs",
            "pairs of spikes closer than the censored period",
            "count",
            "int64",
        ),
        Variable(
            "expected_pairs",
            "pairs within the refractory period, were all spikes independent",
            "count",
            source="N^2 (t_r - t_c) / (T - 2 N t_c)",
        ),
        *(one for formula in CONTAMINATION_FORMULAS for one in _with_interval(formula)),
        Variable(
            "sliding_rp_violation",
            "smallest contamination that a refractory period rules out with 90% confidence, itself "
            "an upper bound",
            "1",
            values="0.005 to 0.35",
            source=_SLIDING,
        ),
        Variable(
            "sliding_rp_period_ms",
            "refractory period that rules it out best",
            "ms",
            source=_SLIDING,
        ),
        Variable(
            "sliding_rp_confidence",
            "largest confidence that contamination is below 10%",
            "1",
            values="0 to 1",
            source=_SLIDING,
        ),
        Variable(
            "sliding_rp_ibl",
            "smallest contamination that a refractory period rules out with 90% confidence, with "
            "the rate of the autocorrelogram at lags of 1 to 2 s; as the IBL computes it",
            "1",
            values="0.005 to 0.345",
            source=_SLIDING_IBL,
        ),
        Variable(
            "kilosort_r12",
            "smallest ratio of the centre of the autocorrelogram (1 to 10 ms) to its shoulders; "
            "100 times it is ContamPct",
            "1",
            source=_KILOSORT,
        ),
        Variable(
            "kilosort_q12",
            "smallest probability of so few pairs in the centre by chance",
            "1",
            values="0 to 1",
            source=_KILOSORT,
        ),
        Variable(
            "reason",
            "which of the columns above are NaN and why; empty where none is",
            dtype="str",
        ),
    ],
)

#: Columns of the contamination panel whose values can be compared across sessions.
COMPARABLE_CONTAMINATION_COLUMNS: tuple[str, ...] = (
    "firing_rate_hz",
    *(one.name for formula in CONTAMINATION_FORMULAS for one in _with_interval(formula)),
    "sliding_rp_violation",
    "sliding_rp_confidence",
    "sliding_rp_ibl",
    "kilosort_r12",
    "kilosort_q12",
)

METRICS = Table(
    "curation_metrics",
    "a unit",
    [
        STABILITY["num_spikes"],
        STABILITY["firing_rate"],
        *IDENTITY.values(),
        *(one for one in STABILITY.values() if one.name not in ("num_spikes", "firing_rate")),
        *ISOLATION.values(),
        *(
            CONTAMINATION[name]
            for name in (
                *(
                    f"{formula}{end}"
                    for formula in ("isi_violations_ratio", "rp_contamination")
                    for end in ("", "_lower", "_upper")
                ),
                "sliding_rp_violation",
                "sliding_rp_confidence",
                "sliding_rp_ibl",
                *(
                    f"{formula}{end}"
                    for formula in ("hill_contamination", "rp_contamination_one_neuron")
                    for end in ("", "_lower", "_upper")
                ),
                "kilosort_r12",
                "kilosort_q12",
            )
        ),
        *SHAPE.values(),
        *NOISE.values(),
    ],
)

METRIC_WINDOWS = Table(
    "metrics in windows",
    "a unit in a window; besides these the columns of stability",
    [
        Variable("unit_id", "the unit", dtype="id"),
        Variable("segment_index", "segment of the window", dtype="int64"),
        Variable("window_start_s", "start of the window within its segment", "s"),
        Variable("window_stop_s", "end of the window within its segment", "s"),
    ],
)

# --------------------------------------------------------------- columns: of pairs of units

CALIBRATION = Table(
    "Calibration",
    "a suggestion whose score is calibrated",
    [
        Variable(
            "probability",
            "probability that the suggestion is right",
            "1",
            values="0 to 1",
            missing="the score is outside of those that the calibration was made from, or of a "
            "kind that it tells nothing of",
        ),
        Variable(
            "probability_low",
            "lower end of its 95 % interval",
            "1",
            values="0 to 1",
            missing="as above",
        ),
        Variable("probability_high", "upper end", "1", values="0 to 1", missing="as above"),
    ],
)

MERGES = Table(
    "suggest_merges",
    "a pair of units that may be one neuron",
    [
        Variable("unit_id_a", "the unit with more spikes", dtype="id"),
        Variable("unit_id_b", "the other unit", dtype="id"),
        Variable(
            "score",
            "similarity_term x one_neuron_probability x waveform_term x amplitude_term x "
            "depth_term, those that are NaN left out; duplicate_term where that is larger",
            "1",
            values="0 to 1",
        ),
        Variable(
            "reason",
            "what speaks for and against a merge, and what is not known",
            dtype="str",
        ),
        Variable(
            "similarity",
            "similarity of the units (extension unit_similarity)",
            "1",
            values="-1 to 1",
        ),
        Variable(
            "one_neuron_probability",
            "probability of one neuron rather than two independent ones, given the coincidences "
            "and when the units fire, 0.5 where nothing is known",
            "1",
            values="0 to 1",
        ),
        Variable(
            "similarity_term",
            "similarity from 0 to 1, its square root where waveforms were compared",
            "1",
            values="0 to 1",
        ),
        Variable(
            "waveform_term",
            "exp(-(waveform_separation - s)^2 / 8), 1 up to s: 2.6, or "
            "waveform_separation_of_others where that is larger",
            "1",
            values="0 to 1",
            missing="not compared (waveform_evidence)",
        ),
        Variable(
            "amplitude_term",
            "exp(-amplitude_distance^2 / 8), less 2.6 where waveforms were compared; raised by "
            "burst_asymmetry; at least amplitude_cut_probability",
            "1",
            values="0 to 1",
            missing="no extension spike_amplitudes, or fewer than 10 spikes",
        ),
        Variable(
            "depth_term",
            "exp(-depth_distance^2 / 8), less 2.6 where waveforms were compared",
            "1",
            values="0 to 1",
            missing="no extension spike_locations, or fewer than 10 spikes",
        ),
        Variable(
            "duplicate_term",
            "duplicate_fraction beyond chance where that is above a half, of at least 20 spikes; "
            "else 0",
            "1",
            values="0 to 1",
        ),
        Variable("num_spikes_a", "spikes of unit a", "count", "int64"),
        Variable("num_spikes_b", "spikes of unit b", "count", "int64"),
        Variable("distance_um", "distance of the units", "um", missing="a unit has no location"),
        Variable("refractory_period_ms", "refractory period of the pair", "ms"),
        Variable(
            "refractory_period_source",
            "where it came from",
            dtype="str",
            codes=("given", "autocorrelograms", "default"),
        ),
        Variable(
            "refractory_observed",
            "pairs of a spike of each at lags above the duplicate window and up to the refractory "
            "period",
            "count",
            "int64",
        ),
        Variable(
            "refractory_expected",
            "as many as there would be at the rate of lags of 10 to 50 ms",
            "count",
        ),
        Variable("refractory_ratio", "observed over expected", "1", missing="none is expected"),
        Variable(
            "refractory_ratio_lower",
            "lower end of its 95 % confidence interval",
            "1",
            source=f"Poisson; {_GARWOOD}",
        ),
        Variable("refractory_ratio_upper", "upper end of its 95 % confidence interval", "1"),
        Variable(
            "refractory_ratio_if_one",
            "the ratio that one neuron would have, contaminated as the two units are",
            "1",
            values="0 to 1",
        ),
        Variable(
            "refractory_chance",
            "probability of so few coincidences if the units were independent",
            "1",
            values="0 to 1",
        ),
        Variable(
            "refractory_power",
            "probability that a dip would be seen (refractory_chance of at most 0.05) if they were "
            "one neuron",
            "1",
            values="0 to 1",
        ),
        Variable(
            "time_overlap",
            "share of the spikes of one unit at times when the other is active (40 time bins), the "
            "larger of both",
            "1",
            values="0 to 1",
        ),
        Variable(
            "shared_templates",
            "templates of the sorter that both have spikes of: they were one unit before a split",
            "count",
            "int64",
        ),
        Variable(
            "waveform_separation",
            "distance of the means of the features of 100 spikes of each, where the units are "
            "closest in time, in standard deviations on the axis that separates them best",
            "1",
            missing="not compared (waveform_evidence)",
        ),
        Variable(
            "waveform_separation_of_others",
            "the same of other units between the times of a and b, at the size of this pair: what "
            "drift makes of one neuron",
            "1",
            missing="waveform_separation of 2.6 or less, time_overlap of 0.5 or more, or fewer "
            "than 3 other units with 40 spikes at both times",
        ),
        Variable(
            "waveform_evidence",
            "whether features were compared",
            dtype="str",
            codes=("compared", "few_spikes", "not_needed", "no_features"),
        ),
        Variable(
            "amplitude_difference",
            "mean amplitude of b less that of a where they are closest in time, in the unit of "
            "spike_amplitudes",
            "amplitude",
            missing="as amplitude_term",
        ),
        Variable(
            "amplitude_distance",
            "its size beyond sampling error, in standard deviations of the spikes; of those that "
            "waveform_separation is of, where there is one",
            "1",
            missing="as amplitude_term",
        ),
        Variable(
            "amplitude_cut_probability",
            "probability that the amplitudes are one population cut at a threshold rather than two",
            "1",
            values="0 to 1",
            missing="similarity below 0.9, fewer than 20 spikes at the same times, no amplitudes",
        ),
        Variable(
            "depth_difference_um",
            "mean depth (y) of b less that of a where they are closest in time",
            "um",
            missing="as depth_term",
        ),
        Variable(
            "depth_distance",
            "its size beyond sampling error, in standard deviations of the spikes",
            "1",
            missing="as depth_term",
        ),
        Variable(
            "time_gap_s",
            "time between the spikes whose amplitudes and depths were compared",
            "s",
            missing="neither was compared",
        ),
        Variable(
            "burst_asymmetry",
            "how much more often spikes of the smaller unit follow those of the larger one within "
            "15 ms than the other way round, less two standard errors",
            "1",
            values="0 to 1",
            missing="no amplitudes",
        ),
        Variable(
            "duplicate_fraction",
            "share of the spikes of the unit with fewer spikes that have one of the other within "
            "the duplicate window",
            "1",
            values="0 to 1",
        ),
        Variable(
            "duplicate_fraction_by_chance",
            "as many as there would be at the rate of 10 to 50 ms",
            "1",
            values="0 to 1",
        ),
        Variable(
            "contamination_a",
            "contamination of a (many neurons)",
            "1",
            values="0 to 1",
            missing="not enough spikes to estimate",
            source="Llobet et al. 2022",
        ),
        Variable("contamination_b", "that of b", "1", values="0 to 1", missing="as above"),
        Variable(
            "contamination_merged",
            "that of both together, duplicates removed",
            "1",
            values="0 to 1",
            missing="as above",
        ),
    ],
)

CLEANING = Table(
    "suggest_cleaning",
    "a unit whose spikes were looked at",
    [
        Variable("unit_id", "the unit", dtype="id"),
        Variable(
            "score",
            "expected share of foreign spikes among those that surely are, 0 where there are none",
            "1",
            values="0 to 1",
        ),
        Variable("reason", "what was found, or why nothing could be", dtype="str"),
        Variable("num_spikes", "spikes of the unit", "count", "int64"),
        Variable("num_looked_at", "spikes that the choice was made on", "count", "int64"),
        Variable(
            "share_set_aside",
            "share of the spikes looked at that foreign_spikes() returns",
            "1",
            values="0 to 1",
            missing="the unit was not judged: see reason",
        ),
        Variable("share_sure", "share of them that surely are foreign", "1", values="0 to 1"),
        Variable(
            "expected_foreign",
            "share of them that surely are foreign, less as many as look so by chance",
            "1",
            values="0 to 1",
            missing="as share_set_aside",
        ),
        Variable(
            "expected_loss",
            "largest share of the unit's own spikes that is expected to be set aside",
            "1",
            values="0 to 1",
            missing="as share_set_aside",
        ),
        Variable(
            "contamination",
            "contamination of the unit (many neurons)",
            "1",
            values="0 to 1",
            missing="not enough spikes to estimate",
            source="Llobet et al. 2022",
        ),
        Variable(
            "contamination_after",
            "that of the spikes that stay",
            "1",
            values="0 to 1",
            missing="not enough spikes to estimate, or no spikes that surely are foreign",
            source="Llobet et al. 2022",
        ),
    ],
)

BAD_MERGES = Table(
    "find_bad_merges",
    "a pair of templates of one unit",
    [
        Variable("unit_id", "the unit", dtype="id"),
        Variable("template_id_a", "the template that more of its spikes came from", dtype="int64"),
        Variable("template_id_b", "the other template", dtype="int64"),
        Variable("num_spikes_a", "spikes of the unit from template a", "count", "int64"),
        Variable("num_spikes_b", "spikes of the unit from template b", "count", "int64"),
        Variable("refractory_period_ms", "refractory period", "ms"),
        Variable(
            "observed",
            "pairs of a spike of each at lags above the duplicate window and up to the refractory "
            "period",
            "count",
            "int64",
        ),
        Variable(
            "expected", "as many as there would be at the rate of lags of 10 to 50 ms", "count"
        ),
        Variable("ratio", "observed over expected", "1", missing="none is expected"),
        Variable(
            "ratio_lower",
            "lower end of its confidence interval",
            "1",
            source=f"Poisson; {_GARWOOD}",
        ),
        Variable("ratio_upper", "upper end of its confidence interval", "1"),
        Variable(
            "ratio_allowed", "largest ratio that contamination explains", "1", values="0 to 1"
        ),
        Variable(
            "p_value",
            "probability of so many coincidences if contamination explained them",
            "1",
            values="0 to 1",
        ),
        Variable(
            "power",
            "probability that independent neurons with these rates would be found so: where it is "
            "small, a pair that is not bad is not known to be good",
            "1",
            values="0 to 1",
        ),
        Variable(
            "is_bad",
            "whether ratio_lower exceeds ratio_allowed and p_value is at most the significance",
            dtype="bool",
        ),
        Variable("reason", "the verdict in words", dtype="str"),
    ],
)

BENCHMARK = Table(
    "benchmark_suggestions",
    "a kind of suggestion",
    [
        Variable(
            "precision",
            "share of the suggestions that are right, among those of which it is known",
            "1",
            values="0 to 1",
            missing="there are none",
        ),
        Variable(
            "precision_low",
            "lower end of its 95 % interval; suggestions about the same units count once",
            "1",
            source="Wilson, 1927",
        ),
        Variable("precision_high", "upper end of its 95 % interval", "1"),
        Variable(
            "recall_upper_bound",
            "share of the changes that were found: that of real ones is lower",
            "1",
            values="0 to 1",
            missing="no change could be made",
        ),
        Variable("recall_low", "lower end of its 95 % interval", "1", source="Wilson, 1927"),
        Variable("recall_high", "upper end of its 95 % interval", "1"),
        Variable(
            "num_suggestions",
            "suggestions on the copies of which it is known whether they are right",
            "count",
            "int64",
        ),
        Variable("num_right", "those that are right", "count", "int64"),
        Variable(
            "num_unknown",
            "suggestions on the copies of which it is not known whether they are right",
            "count",
            "int64",
        ),
        Variable("num_changes", "changes that were made", "count", "int64"),
    ],
)

BENCHMARK_CHANGES = Table(
    "benchmark_suggestions by change",
    "a kind of suggestion and a kind of change, which are the index",
    [
        Variable("num_changes", "changes that were made", "count", "int64"),
        Variable("num_found", "those that a suggestion undoes", "count", "int64"),
        Variable(
            "recall_upper_bound",
            "their share: that of real ones is lower",
            "1",
            values="0 to 1",
            missing="no change could be made",
        ),
        Variable("recall_low", "lower end of its 95 % interval", "1", source="Wilson, 1927"),
        Variable("recall_high", "upper end of its 95 % interval", "1"),
    ],
)

BENCHMARK_OUTCOMES = Table(
    "outcomes of suggestions",
    "a suggestion of which it is known whether it is right",
    [
        Variable("suggestion", "what was suggested", dtype="str"),
        Variable("change", "the change that it undoes, empty where it is wrong", dtype="str"),
        Variable("score", "its score", "1", values="0 to 1"),
        Variable("is_suggested", "whether the score reaches the default threshold", dtype="bool"),
        Variable("is_right", "whether it is right", dtype="bool"),
    ],
)

PHY_REVIEWS = Table(
    "reviews of phy",
    "a merge that was proposed to phy, in the order of the file; then decisions on others",
    [
        Variable("key", "phy's key of the proposal", dtype="str", missing="it is invalid"),
        Variable("unit_ids", "the units to merge, phy's reference first", dtype="tuple"),
        Variable(
            "status",
            "what became of it",
            dtype="str",
            codes=(
                "pending",
                "accepted",
                "accepted with changes",
                "rejected",
                "stale",
                "invalid",
                "orphaned",
            ),
        ),
        Variable(
            "applied_unit_ids",
            "the units that were merged",
            dtype="tuple",
            missing="it was not accepted",
        ),
        Variable(
            "result_unit_id",
            "the unit that phy made of them",
            dtype="Int64",
            missing="it was not accepted",
        ),
        Variable(
            "score",
            "of the suggestion; of more than two units, that of their best pair",
            "1",
            values="0 to 1",
            missing="neither the suggestions nor the file tell",
        ),
        Variable(
            "reason",
            "what speaks for it and against it",
            dtype="str",
            missing="no suggestions were given",
        ),
        Variable(
            "problem", "why it is stale, invalid or orphaned", dtype="str", missing="it is not"
        ),
    ],
)

DUPLICATES = Table(
    "find_duplicate_units",
    "a unit with most of its spikes in common with another, or the other's with it",
    [
        Variable("unit_id", "the unit to remove", dtype="id"),
        Variable("duplicate_of", "the unit to keep", dtype="id"),
        Variable(
            "share",
            "share of the spikes of unit_id, beyond chance, that are spikes of duplicate_of",
            "1",
            values="0 to 1",
        ),
        Variable(
            "share_of_original",
            "share of the spikes of duplicate_of, beyond chance, that are spikes of unit_id",
            "1",
            values="0 to 1",
        ),
        Variable(
            "share_by_chance",
            "share of the spikes of unit_id that are so by chance: at lags 10 and 20 ms away",
            "1",
            values="0 to 1",
        ),
        Variable(
            "num_common_spikes",
            "spikes of the one with fewer spikes that are spikes of the other",
            "count",
            "int64",
        ),
        Variable("num_spikes", "spikes of unit_id", "count", "int64"),
        Variable("num_spikes_of_original", "spikes of duplicate_of", "count", "int64"),
        Variable("lag_ms", "how much later the spikes of unit_id are", "ms"),
        Variable(
            "kept_for",
            "what decided which unit to keep",
            dtype="str",
            codes=("more_spikes", "less_contaminated", "larger_amplitude", "lower_id"),
        ),
        Variable(
            "contamination",
            "contamination of unit_id (many neurons)",
            "1",
            values="0 to 1",
            missing="not enough spikes to estimate",
            source="Llobet et al. 2022",
        ),
        Variable(
            "contamination_of_original",
            "that of duplicate_of",
            "1",
            values="0 to 1",
            missing="as above",
        ),
        Variable(
            "amplitude",
            "mean size of the spike_amplitudes of unit_id",
            "amplitude",
            missing="no extension spike_amplitudes",
        ),
        Variable("amplitude_of_original", "that of duplicate_of", "amplitude", missing="as above"),
        Variable("reason", "the verdict in words", dtype="str"),
    ],
)

PLAN = Table(
    "plan_curation",
    "a step, best first",
    [
        Variable("step", "number of the step", dtype="int64", values="1 and above"),
        Variable(
            "kind",
            "what is done: a duplicate unit is removed, a unit is split, units are merged, or "
            "spikes are taken out of a unit",
            dtype="str",
            codes=("remove", "split", "merge", "clean"),
        ),
        Variable("unit_ids", "the units that are changed, with commas between them", dtype="str"),
        Variable(
            "expected_gain",
            "gain_if_right and loss_if_wrong, weighted by the probability, or 0.9 without one",
            "neurons",
        ),
        Variable("reason", "what speaks for it, and against it", dtype="str"),
        Variable(
            "contamination_before",
            "contamination of the units before it (many neurons); their mean, by number of spikes",
            "1",
            values="0 to 1",
            missing="not enough spikes to estimate",
            source="Llobet et al. 2022",
        ),
        Variable(
            "contamination_after",
            "that of the units that it leaves; spikes taken out do not count",
            "1",
            values="0 to 1",
            missing="not enough spikes to estimate, or the unit is removed",
            source="Llobet et al. 2022",
        ),
        Variable(
            "completeness_before",
            "share of a neuron's spikes that are in the unit, by its smallest amplitudes; mean as "
            "above",
            "1",
            values="0.5 to 1",
            missing="fewer than 500 amplitudes, or no extension spike_amplitudes",
            source="Hill et al. 2011",
        ),
        Variable(
            "completeness_after",
            "that of the units that it leaves",
            "1",
            values="0.5 to 1",
            missing="as completeness_before, or the unit is removed",
            source="Hill et al. 2011",
        ),
        Variable("score", "of the suggestion", "1", values="0 to 1"),
        Variable(
            "probability",
            "probability that it is right",
            "1",
            values="0 to 1",
            missing="no calibration was given, or it tells nothing of this score",
        ),
        Variable("gain_if_right", "change of the sum of the neurons' accuracies", "neurons"),
        Variable("loss_if_wrong", "what is lost of it where the step is wrong", "neurons"),
        Variable("num_spikes", "spikes of the units", "count", "int64"),
    ],
)

SPLITS = Table(
    "suggest_splits",
    "a unit that could be split",
    [
        Variable("unit_id", "the unit", dtype="id"),
        Variable("score", "the smallest of the terms", "1", values="0 to 1"),
        Variable("reason", "what speaks for and against a split", dtype="str"),
        Variable("num_spikes", "spikes of the unit", "count", "int64"),
        Variable("num_parts", "parts that it would be split into", "count", "int64"),
        Variable(
            "smaller_share",
            "share of the spikes that are not of the larger of the first two parts",
            "1",
            values="0 to 0.5",
        ),
        Variable(
            "method",
            "what the parts are: clusters of the features; the spikes before and after a jump of "
            "the features; or the sorter's templates, where there are no features, or not on "
            "channels that all have",
            dtype="str",
            codes=("features", "time", "templates"),
        ),
        Variable(
            "likelihood_term",
            "from the likelihood_gain less two standard errors: 0.5 at 0.05",
            "1",
            values="0 to 1",
            missing="by another method",
        ),
        Variable(
            "accuracy_term",
            "from the expected_error: 0.5 at 0.055",
            "1",
            values="0 to 1",
            missing="by templates",
        ),
        Variable(
            "mixing_term",
            "from the mixing: 0.5 at 0.4, 1 from 0.8",
            "1",
            values="0 to 1",
            missing="by another method",
        ),
        Variable(
            "refractory_term",
            "2 (1 - one_neuron_probability), at most 1",
            "1",
            values="0 to 1",
            missing="the other terms are too small, or another method",
        ),
        Variable(
            "duplicate_term",
            "1 less the difference of the duplicate fractions",
            "1",
            values="0 to 1",
            missing="the other terms are too small, or another method",
        ),
        Variable(
            "jump_term",
            "from the jump and those of the other units, if they were as large: 0.5 at 3 times "
            "their median",
            "1",
            values="0 to 1",
            missing="by another method",
        ),
        Variable(
            "likelihood_gain",
            "how much larger the log likelihood of a spike is with two clusters than with one "
            "skewed one, on spikes that were not used in the fit",
            "1",
            missing="by another method",
        ),
        Variable("likelihood_gain_error", "its standard error", "1", missing="by another method"),
        Variable(
            "separation",
            "distance of the two parts in standard deviations (d')",
            "1",
            missing="by templates",
        ),
        Variable(
            "mixing",
            "how much the two parts are mixed in time: 1 less the variance of their share in runs "
            "of spikes over its largest possible one",
            "1",
            values="at most 1; 0 where one follows the other",
            missing="by another method",
        ),
        Variable(
            "expected_error",
            "share of the spikes of a part that are expected in the other one",
            "1",
            values="0 to 1",
            missing="by templates",
        ),
        Variable(
            "one_neuron_probability",
            "probability that the parts are one neuron rather than two independent ones, given "
            "the coincidences",
            "1",
            values="0 to 1",
            missing="the other terms are too small, or another method",
        ),
        Variable(
            "refractory_period_ms",
            "refractory period",
            "ms",
            missing="the coincidences were not counted",
        ),
        Variable(
            "refractory_observed",
            "pairs of a spike of each part at lags above the duplicate window and up to the "
            "refractory period",
            "count",
            "float64",
            missing="the coincidences were not counted",
        ),
        Variable(
            "refractory_expected",
            "as many as there would be at the rate of lags of 10 to 50 ms",
            "count",
            missing="the coincidences were not counted",
        ),
        Variable(
            "duplicate_fraction",
            "largest share of the spikes of a part that one other unit was found for too, of the "
            "unit with the largest difference between the parts",
            "1",
            values="0 to 1",
            missing="the other terms are too small, or another method",
        ),
        Variable(
            "duplicate_fraction_of_other_part",
            "the share of the other part with the same unit",
            "1",
            values="0 to 1",
            missing="the other terms are too small, or another method",
        ),
        Variable(
            "jump",
            "largest step of the mean features from 40 spikes to the next 40, less what steady "
            "drift adds, in standard deviations",
            "1",
            missing="fewer than 80 spikes, or no features",
        ),
        Variable(
            "num_channels", "channels on which nearly all spikes have features", "count", "int64"
        ),
        Variable("num_spikes_with_features", "spikes that have features", "count", "int64"),
        Variable("num_spikes_looked_at", "spikes that the decision is from", "count", "int64"),
    ],
)

CONNECTIONS = Table(
    "find_monosynaptic_connections",
    "an ordered pair of units",
    [
        Variable("pre_unit_id", "presynaptic unit", dtype="id"),
        Variable("post_unit_id", "postsynaptic unit", dtype="id"),
        Variable(
            "connection_type",
            "excitatory, inhibitory, or empty where the pair does not pass",
            dtype="str",
        ),
        Variable(
            "lag_ms",
            "lag of the postsynaptic spikes at the bin of the synaptic window with the largest "
            "excess (inhibitory: deficit), centre of the bin",
            "ms",
        ),
        Variable("observed_count", "pairs of spikes in that bin", "count", "int64"),
        Variable(
            "expected_count",
            "pairs of spikes in that bin by the correlogram convolved with a hollow Gaussian",
            "count",
            source="Stark & Abeles 2009",
        ),
        Variable(
            "p_fast",
            "probability of so large an excess (deficit) over expected_count by chance, not "
            "corrected",
            "1",
            values="0 to 1",
            source="Stark & Abeles 2009; P_fast of English et al. 2017",
        ),
        Variable(
            "p_causal",
            "probability of so many spikes (so few) by chance where as many are expected as in the "
            "fullest (emptiest) bin of the anticausal window",
            "1",
            values="0 to 1",
            source="P_causal of English et al. 2017; for deficits by analogy",
        ),
        Variable(
            "transmission_probability",
            "postsynaptic spikes in the synaptic window beyond those expected, per presynaptic "
            "spike; negative for a deficit",
            "1",
            source="English et al. 2017",
        ),
        Variable(
            "transmission_probability_lower",
            "lower end of its confidence interval",
            "1",
            source=_GARWOOD,
        ),
        Variable(
            "transmission_probability_upper",
            "upper end of its confidence interval",
            "1",
            source=_GARWOOD,
        ),
        Variable("num_spikes_pre", "spikes of the presynaptic unit", "count", "int64"),
        Variable("num_spikes_post", "spikes of the postsynaptic unit", "count", "int64"),
        Variable("passes_stark2009", "p_fast is below the corrected alpha", dtype="bool"),
        Variable(
            "passes_english2017",
            "p_fast is below the corrected alpha and p_causal below alpha_causal",
            dtype="bool",
        ),
        Variable(
            "zero_lag_peak",
            "the bin at lag 0 has more pairs than expected (alpha): common input, or the same "
            "spikes in both units",
            dtype="bool",
        ),
        Variable(
            "both_directions",
            "the reverse pair has p_fast below the corrected alpha too: common input, or one "
            "neuron in two units",
            dtype="bool",
        ),
        Variable(
            "too_few_spikes",
            "fewer pairs per bin of the synaptic window are expected than min_expected_count",
            dtype="bool",
        ),
        Variable(
            "num_shared_channels",
            "channels that are best channels of both units",
            "count",
            "Int64",
            missing="unknown",
        ),
        Variable("shares_channels", "there are such channels", dtype="boolean", missing="unknown"),
        Variable(
            "same_shank",
            "the best channels of the two are on one shank",
            dtype="boolean",
            missing="unknown",
        ),
        Variable(
            "distance_um", "distance of the best channels of the two", "um", missing="unknown"
        ),
        Variable(
            "contamination_pre",
            "rp_contamination of the presynaptic unit",
            "1",
            values="0 to 1",
        ),
        Variable(
            "contamination_post",
            "rp_contamination of the postsynaptic unit",
            "1",
            values="0 to 1",
        ),
        Variable(
            "contaminated",
            "either is above max_contamination",
            dtype="boolean",
            missing="it depends on one that is not known",
        ),
        Variable("verdict", "what was found and what speaks against it, in words", dtype="str"),
    ],
)

# ------------------------------------------------------------- columns: of units and templates

_GROUP = Variable("group", "label that the curator gave (phy's group)", dtype="str")
_NUM_SPIKES = Variable("num_spikes", "number of spikes", "count", "int64")

UNITS = Table(
    "units",
    "a unit, as phy's ClusterView shows it",
    [
        _GROUP,
        _NUM_SPIKES,
        Variable("firing_rate_hz", "spikes per duration of the recording", "Hz"),
        *_MAIN_TEMPLATE,
        Variable(
            "best_channel",
            "id of the channel on which its template is largest, peak to peak",
            dtype="id",
            missing="a unit without spikes",
        ),
        Variable("depth_um", "y of the best channel", "um", missing="a unit without spikes"),
        Variable("shank", "shank of the best channel", dtype="id", missing="a unit without spikes"),
        Variable(
            "amplitude",
            "largest peak-to-peak of its most frequent template",
            "amplitude",
            missing="a unit without spikes",
        ),
    ],
)

TEMPLATE_ASSIGNMENT = Table(
    "template_assignment",
    "a unit",
    [
        _MAIN_TEMPLATE[0],
        Variable("template_spike_count", "spikes of the unit from that template", "count", "int64"),
        _NUM_SPIKES,
        replace(_MAIN_TEMPLATE[1], missing="a unit without spikes"),
        _MAIN_TEMPLATE[2],
    ],
)

BEST_CHANNELS = Table(
    "template_best_channels",
    "a channel of a unit, best first",
    [
        Variable("unit_id", "the unit", dtype="id"),
        Variable("rank", "0 for the best channel", dtype="int64"),
        Variable("channel_id", "id of the channel", dtype="id"),
        Variable("channel_index", "index of the channel", dtype="int64"),
        Variable("amplitude", "peak-to-peak amplitude of the template on the channel", "amplitude"),
        Variable("x_um", "x of the channel", "um"),
        Variable("y_um", "y of the channel", "um"),
        Variable("shank", "shank of the channel", dtype="id"),
    ],
)

COMPARED_TEMPLATES = Table(
    "compare_templates",
    "a unit: the sorter's template beside the mean of the traces at its spikes",
    [
        _MAIN_TEMPLATE[0],
        _NUM_SPIKES,
        Variable(
            "correlation",
            "Pearson correlation of the two on the best channels of either, at the best lag",
            "1",
            values="-1 to 1",
            missing="no spikes, or no signal",
        ),
        Variable("lag_ms", "time by which the traces are later", "ms", missing="no correlation"),
        Variable(
            "amplitude_ratio",
            "least-squares factor from the sorter's template to the traces",
            "1",
            missing="no correlation, or not in the same unit of measurement",
        ),
        Variable("best_channel_sorter", "best channel of the sorter's template", dtype="id"),
        Variable("best_channel_analyzer", "best channel of the mean of the traces", dtype="id"),
        Variable(
            "same_best_channel",
            "whether the two are one channel",
            dtype="boolean",
            missing="one of them is missing",
        ),
        Variable(
            "best_channel_distance_um",
            "distance of the two",
            "um",
            missing="one of them is missing",
        ),
        Variable(
            "differs",
            "whether the correlation is below the limit that was asked for",
            dtype="boolean",
            missing="no correlation",
        ),
        Variable("reason", "why a value is missing, or what differs", dtype="str"),
    ],
)

SIMILARITY = Table(
    "unit_similarity",
    "another unit, most similar first",
    [
        Variable(
            "similarity",
            "similarity of the templates",
            "1",
            "float32",
            values="-1 to 1",
            source="phy 2.1.0, SimilarityView",
        )
    ],
)

SPIKE_AMPLITUDES = Table(
    "get_spike_amplitudes",
    "a spike",
    [
        Variable("spike_indices", "position in the spike vector, ascending", dtype="int64"),
        Variable(
            "amplitudes",
            "amplitude by the definition asked for",
            "amplitude",
            missing='kind="projection": the template of the spike is 0 everywhere',
        ),
    ],
)

LINEAGE = Table(
    "lineage",
    "a unit: what was done to the sorter's templates",
    [
        Variable(
            "event",
            "what was done to the sorter's templates",
            dtype="str",
            codes=("unchanged", "merged", "split", "merged and split", "empty"),
        ),
        _NUM_SPIKES,
        _MAIN_TEMPLATE[0],
        Variable(
            "templates",
            "(template id, spikes of the unit from it) for each, most spikes first",
            dtype="tuple",
        ),
        Variable(
            "shares_templates_with",
            "the other units that have spikes of its templates",
            dtype="tuple",
        ),
    ],
)

HISTORY = Table(
    "history",
    "a step of curation",
    [
        Variable("when", "when, in UTC (ISO 8601)", dtype="str"),
        Variable("operation", "what was done; a review was only noted", dtype="str"),
        Variable("inputs", "ids of the units that it was done to", dtype="tuple"),
        Variable("outputs", "ids of the units that came out", dtype="tuple"),
        Variable("field", "which label was given", dtype="str", missing="the step gave none"),
        Variable(
            "value", "the label, or the decision noted", dtype="str", missing="the step gave none"
        ),
        Variable("reason", "why, as the curator wrote", dtype="str"),
        Variable("decided_by", "who or what decided", dtype="str"),
        Variable("in_effect", "whether the step counts now", dtype="bool"),
    ],
)

RECONSTRUCTED = Table(
    "reconstruct_journal",
    "what the log of phy may explain",
    [
        Variable(
            "what",
            "spikes; those whose cluster is not their template; labels of clusters",
            dtype="str",
            codes=("spikes", "changed spikes", "labels"),
        ),
        Variable("total", "how many there are", "count", "int64"),
        Variable("explained", "how many the steps of the log lead to", "count", "int64"),
        Variable("share", "explained / total", "1", values="0 to 1", missing="there are none"),
    ],
)

LABEL_SOURCES = Table(
    "label sources",
    "a label of a unit",
    [
        Variable("unit_id", "the unit", dtype="id"),
        Variable("field", "which label it is: group, or another one", dtype="str"),
        Variable("value", "the label", dtype="str"),
        Variable("decided_by", "who or what gave it", dtype="str", missing="not known"),
        Variable("when", "when, in UTC (ISO 8601)", dtype="str", missing="not known"),
        Variable("reason", "why, as the curator wrote", dtype="str", missing="not known"),
    ],
)

LABELS = Table(
    "label_units",
    "a unit",
    [
        Variable("label", "the label, or unsorted", dtype="str"),
        Variable("decided", "whether the rules decided", dtype="bool"),
        Variable(
            "rule",
            "number of the rule that decided, from 1; 0 where none holds; -1 where a metric is "
            "missing",
            dtype="int64",
        ),
        Variable("reason", "the rule in words, with the value", dtype="str"),
    ],
)

_KIND_OF_DISPUTE = (
    "what another curation has otherwise, most of all: regrouped, units that share some of their "
    "spikes; merged, they are several units there; split, a part of a unit there; not_merged and "
    "not_split, the other one merged or split it; not_removed, the other one removed it; noise, "
    "label and label_missing, the same spikes have another label, of which one is noise, or one "
    "is none"
)
_DISPUTES = (
    "regrouped",
    "merged",
    "split",
    "not_merged",
    "not_split",
    "not_removed",
    "noise",
    "label",
    "label_missing",
)
_COMPARED = (
    Variable("curation", "name of the curation", dtype="str"),
    Variable("unit_id", "the unit", dtype="id"),
    Variable("group", "its label; unsorted where it has none", dtype="str"),
    _NUM_SPIKES,
    Variable(
        "num_disputed_spikes",
        "its spikes that have another label in another curation, or that would have to change "
        "their unit for the units to be the same",
        "count",
        "int64",
    ),
    Variable(
        "num_same",
        "other curations in which the same spikes are a unit with the same label",
        "count",
        "int64",
    ),
    Variable(
        "num_votes",
        "curations that have all spikes of the decision as this one has them, itself too",
        "count",
        "int64",
    ),
    Variable(
        "counterparts",
        "(curation, unit, spikes in common) of each unit that it shares spikes with, most spikes "
        "first, at most 20 of each curation",
        dtype="tuple",
    ),
)

COMPARED_UNITS = Table(
    "compare_curations",
    "a unit of one of the curations",
    [
        *_COMPARED[:2],
        Variable(
            "kind",
            "same: all have these spikes as a unit with this label; empty: it has no spikes; else "
            + _KIND_OF_DISPUTE,
            dtype="str",
            codes=("same", "empty", *_DISPUTES),
        ),
        *_COMPARED[2:7],
        Variable(
            "decision",
            "number of the decision that the unit is part of, the hardest is 1",
            dtype="Int64",
            missing="all agree",
        ),
        _COMPARED[7],
    ],
)

DISPUTED_UNITS = Table(
    "disputed units",
    "a unit that not all curations have, those of one decision together, the hardest first",
    [
        Variable(
            "decision",
            "number of the decision: units of all curations that share spikes. The fewer curations "
            "have what most have, the harder; of equal ones, that of more disputed spikes",
            dtype="int64",
        ),
        *_COMPARED[:2],
        Variable("kind", _KIND_OF_DISPUTE, dtype="str", codes=_DISPUTES),
        *_COMPARED[2:],
    ],
)

AGREEMENT = Table(
    "agreement of curations",
    "a measure of a pair of curations, or of all of them",
    [
        Variable("curations", "names of those that are compared", dtype="tuple"),
        Variable(
            "quantity",
            "units: which spikes are in one unit; labels: of the spikes, none and removed are "
            "labels too; decided_labels: without spikes that one has not labelled; "
            "labels_of_same_units: of units that all have, each counts once",
            dtype="str",
            codes=("units", "labels", "decided_labels", "labels_of_same_units"),
        ),
        Variable(
            "measure",
            "what it is measured by",
            dtype="str",
            codes=(
                "adjusted_mutual_information",
                "mean_adjusted_mutual_information",
                "cohen_kappa",
                "fleiss_kappa",
                "krippendorff_alpha",
            ),
            source="Vinh et al. 2010, Cohen 1960, Fleiss 1971, Krippendorff 2011",
        ),
        Variable(
            "value",
            "agreement beyond chance: 1 full, 0 that of chance, below it is less",
            "1",
            missing="there is nothing to compare",
        ),
        Variable(
            "low",
            "2.5 % quantile over resamples of the units",
            "1",
            missing="no resamples, or all units are connected by shared spikes",
        ),
        Variable("high", "97.5 % quantile", "1", missing="as low"),
        Variable(
            "observed",
            "agreement with chance in it: share of the spikes in units that all have, or of the "
            "labels (of several: of the pairs of labels) that are the same",
            "1",
            values="0 to 1",
            missing="there is nothing to compare",
        ),
        Variable("counted", "what is counted", dtype="str", codes=("spikes", "units")),
        Variable("num_compared", "how many of them", "count", "int64"),
    ],
)

REPLAYED_STEPS = Table(
    "replay_curation",
    "a step of the old curation",
    [
        Variable(
            "kind",
            "what was done",
            dtype="str",
            codes=("split", "merge", "label", "remove"),
        ),
        Variable(
            "old_units",
            "units that it was done to: as the old curation began, of labels as it ended",
            dtype="tuple",
        ),
        Variable("label", "the label", dtype="str", missing="the step gave none"),
        Variable(
            "outcome",
            "carried: it is a step of the session; not_needed: the new sorting has it so; left: "
            "it has no counterpart, or none that is sure",
            dtype="str",
            codes=("carried", "not_needed", "left"),
        ),
        Variable("new_units", "units of the new sorting that it was done to", dtype="tuple"),
        Variable("results", "units of the session that it led to", dtype="tuple"),
        Variable(
            "confidence",
            "share of the spikes of the new units that are spikes which it was decided about, of "
            "the unit of which it is least",
            "1",
            values="0 to 1",
            missing="it has no counterpart",
        ),
        Variable("reason", "why", dtype="str"),
    ],
)

REPLAYED_UNITS = Table(
    "units of a replay",
    "a unit of the new sorting, before the steps",
    [
        Variable("unit_id", "the unit", dtype="id"),
        _NUM_SPIKES,
        Variable(
            "num_matched", "its spikes that are spikes of the old sorting, too", "count", "int64"
        ),
        Variable(
            "old_unit",
            "unit of the curated old sorting that most of these are of",
            dtype="id",
            missing="none of its spikes are",
        ),
        Variable(
            "purity",
            "share of these that are of it",
            "1",
            values="0 to 1",
            missing="none of its spikes are",
        ),
        Variable(
            "coverage",
            "share of the spikes of that unit that this one has",
            "1",
            values="0 to 1",
            missing="none of its spikes are",
        ),
    ],
)

LEARNT_LABELS = Table(
    "learnt labels",
    "a unit",
    [
        Variable("label", "the label, or unsorted", dtype="str"),
        Variable("decided", "whether the model decided", dtype="bool"),
        Variable("likeliest", "the label of the highest probability", dtype="str"),
        Variable("probability", "of the likeliest label", "1", values="0 to 1"),
        Variable(
            "doubt",
            "why the model did not decide",
            dtype="str",
            codes=("", "unsure", "unit_outside", "session_outside"),
        ),
        Variable(
            "num_outside",
            "columns in which the unit is outside of what the model saw",
            "count",
            dtype="int64",
        ),
        *(
            Variable(
                f"column_{place}",
                f"the column that spoke {how} for the likeliest label",
                dtype="str",
                missing="no further column spoke for it",
            )
            for place, how in ((1, "most"), (2, "second most"), (3, "third most"))
        ),
        Variable(
            "order_of_work",
            "1: the unit to look at first; of those that the model is least sure of, unlike ones "
            "first. That a model learns more from these was not shown",
            "count",
            dtype="int64",
            values="1 or more",
        ),
        Variable("reason", "the columns with their values, or why it did not decide", dtype="str"),
    ],
)

SPIKEINTERFACE_LABELS = Table(
    "labels of a model of SpikeInterface",
    "a unit",
    [
        Variable("label", "the label, or unsorted", dtype="str"),
        Variable("decided", "whether the probability is high enough", dtype="bool"),
        Variable("likeliest", "the label of the highest probability", dtype="str"),
        Variable("probability", "of the likeliest label, by the model", "1", values="0 to 1"),
        Variable("reason", "the label and its probability", dtype="str"),
    ],
)

_OF_UNSEEN = "of sessions that the model had not seen"
LEARNT_SUMMARY = Table(
    "learnt labels summary",
    "a measure",
    [
        Variable("measure", f"what is measured, {_OF_UNSEEN}", dtype="str"),
        Variable("value", "of all units", "1", values="0 to 1", missing="nothing to measure"),
        Variable("low", "2.5th percentile of sessions drawn again", "1", values="0 to 1"),
        Variable("high", "97.5th percentile of sessions drawn again", "1", values="0 to 1"),
    ],
)
LEARNT_SESSIONS = Table(
    "learnt labels sessions",
    "a session",
    [
        Variable("session", "its name", dtype="str"),
        Variable("num_units", "labelled units", "count", dtype="int64"),
        Variable("accuracy", f"share of all labels that are right, {_OF_UNSEEN}", "1"),
        Variable("balanced_accuracy", "mean over the labels that the session has", "1"),
        Variable("coverage", "share of the units that the model decides", "1"),
        Variable(
            "accuracy_decided", "share of these that are right", "1", missing="it decides none"
        ),
    ],
)
LEARNT_RELIABILITY = Table(
    "learnt labels reliability",
    "a range of probabilities",
    [
        Variable("from", "lowest probability", "1"),
        Variable("to", "highest probability", "1"),
        Variable("num_units", "units in the range", "count", dtype="int64"),
        Variable("probability", "mean of the range", "1", missing="no units"),
        Variable("share_right", "share whose likeliest label is right", "1", missing="no units"),
    ],
)
LEARNT_COVERAGE = Table(
    "learnt labels coverage",
    "an accuracy that is asked for",
    [
        Variable("accuracy", "share of the labels that are to be right", "1"),
        Variable("coverage", "share of the units that are decided", "1"),
        Variable("accuracy_decided", "share of these that are right", "1", missing="none decided"),
    ],
)
LEARNT_DISAGREEMENTS = Table(
    "learnt labels disagreements",
    "a unit whose likeliest label is not the curator's, the surest first",
    [
        Variable("session", "name of the session", dtype="str"),
        Variable("unit_id", "the unit", dtype="id"),
        Variable("curator", "label of the curator", dtype="str"),
        Variable("likeliest", "label of the model, which had not seen the session", dtype="str"),
        Variable("probability", "of that label", "1", values="0 to 1"),
        Variable("decided", "whether the model would have decided", dtype="bool"),
    ],
)
LEARNT_CURVE = Table(
    "learnt labels curve",
    "a number of labels",
    [
        Variable("num_labels", "labelled units learnt from", "count", dtype="int64"),
        Variable("balanced_accuracy", f"of all units, {_OF_UNSEEN}", "1"),
    ],
)

SUGGESTED_THRESHOLDS = Table(
    "suggest_thresholds",
    "a number of rules",
    [
        Variable("num_rules", "rules so far", "count", dtype="int64"),
        Variable("rule", "the rule that is added, or the label without rules", dtype="str"),
        Variable("balanced_accuracy", "of the units that the rules are from", "1"),
        Variable("balanced_accuracy_unseen", "of sessions that were left out", "1"),
        Variable("price", "by how much that of a model is higher", "1"),
    ],
)

# ------------------------------------------------------------------- columns: effect and quality

UNIT_CLASSES = Table(
    "classify_units",
    "a unit",
    [
        Variable(
            "bombcell_label",
            "label of SpikeInterface's bombcell_label_units",
            dtype="str",
            codes=("good", "mua", "noise", "non_soma", "non_soma_good", "non_soma_mua"),
            source="SpikeInterface 0.105.3, bombcell_label_units; bombcell",
        ),
        Variable(
            "width_class",
            "by peak_to_trough_duration",
            dtype="str",
            codes=("narrow", "wide"),
            source="CellExplorer: at most 0.425 ms is narrow",
            missing="noise, an axon, or no duration",
        ),
        Variable(
            "residual_of",
            "the larger unit nearby with which most of its spikes coincide",
            dtype="id",
            missing="fewer than half of its spikes coincide",
        ),
        Variable(
            "residual_share",
            "share of its spikes that coincide with those of larger units nearby, beyond chance",
            "1",
            values="0 to 1",
            source=_OURS,
            missing="no spikes, or their size is not known",
        ),
        Variable(
            "reason",
            "thresholds that the unit does not meet, and what speaks against its class",
            dtype="str",
        ),
    ],
)

EFFECT_THRESHOLDS = Table(
    "effect_vs_quality thresholds",
    "a threshold of a metric, strictest last",
    [
        Variable("metric", "column of the metrics", dtype="str"),
        Variable("comparison", "how units that are kept compare", dtype="str", codes=(">=", "<=")),
        Variable("threshold", "with what; of absolute values where the direction says so"),
        Variable("n_units", "units that are left", "count", "int64"),
        Variable("effect", "effect of these"),
        Variable("lower", "lower end of its confidence interval"),
        Variable("upper", "upper end of its confidence interval"),
        Variable("removed_lower", "lower end of what random removal of as many units gives"),
        Variable("removed_upper", "upper end of what random removal of as many units gives"),
        Variable(
            "p_random_removal",
            "probability of such a change by random removal, of this threshold alone",
            "1",
            values="0 to 1",
        ),
        Variable(
            "p_adjusted",
            "the same for all thresholds of the metric",
            "1",
            values="0 to 1",
        ),
    ],
)

EFFECT_SUMMARY = Table(
    "effect_vs_quality summary",
    "a metric",
    [
        Variable(
            "verdict",
            "what stricter thresholds do to the effect",
            dtype="str",
            codes=("stable", "shrinks", "grows", "vanishes", "too few units", "untested"),
        ),
        Variable("reason", "why, with the numbers", dtype="str"),
        Variable("n_units", "units that have the metric", "count", "int64"),
        Variable(
            "rho",
            "rank correlation of the effect with the quality; positive: larger in better units",
            "1",
            values="-1 to 1",
            source="Spearman",
        ),
        Variable("p_rho", "its permutation P value", "1", values="0 to 1"),
        Variable(
            "partial_rho",
            "the same given the covariates",
            "1",
            values="-1 to 1",
            source="Freedman & Lane 1983",
        ),
        Variable("p_partial", "its permutation P value", "1", values="0 to 1"),
        Variable("covariates", "names of the covariates", dtype="str"),
        Variable(
            "explained",
            "the rank correlation is significant, the partial one is not, and is less than half as "
            "large",
            dtype="bool",
        ),
        Variable("p_removal", "smallest adjusted P value", "1", values="0 to 1"),
        Variable(
            "p_removal_holm",
            "the same, adjusted for all metrics",
            "1",
            values="0 to 1",
            source="Holm 1979",
        ),
    ],
)

# ----------------------------------------------------------------------------- columns: of batches

BATCH_SESSIONS = Table(
    "sessions",
    "a session; besides these seconds_<step> of each step",
    [
        Variable("session", "name of the session", dtype="str"),
        Variable("folder", "folder that was read", dtype="str"),
        Variable(
            "status",
            "what became of it",
            dtype="str",
            codes=("done", "skipped: already done", "failed"),
        ),
        Variable("num_units", "units", "count", "Int64", missing="it failed"),
        Variable("num_spikes", "spikes", "count", "Int64", missing="it failed"),
        Variable("seconds", "time of all steps", "s"),
        Variable("versions", "names and versions of the programs", dtype="str"),
        Variable("warnings", 'warnings, separated by "; "', dtype="str"),
        Variable("error", "the error; empty unless it failed", dtype="str"),
    ],
)

BATCH_CHECK = Table(
    "check of a batch",
    "a session",
    [
        Variable("session", "name of the session", dtype="str"),
        Variable("folder", "folder that would be read", dtype="str"),
        Variable("num_units", "units", "count", "Int64", missing="it cannot be read"),
        Variable("num_spikes", "spikes", "count", "Int64", missing="it cannot be read"),
        Variable("warnings", 'warnings, separated by "; "', dtype="str"),
        Variable("problems", 'what would fail, separated by "; "', dtype="str"),
    ],
)

BATCH_UNITS = Table(
    "units of all sessions",
    "a unit; besides these the metrics",
    [
        Variable("session", "name of the session", dtype="str"),
        Variable("unit_id", "the unit, as text", dtype="str"),
        _GROUP,
        _NUM_SPIKES,
    ],
)

BATCH_METRICS = Table(
    "metrics by session",
    "a metric in a session",
    [
        Variable("session", "name of the session", dtype="str"),
        Variable("metric", "column of the metrics", dtype="str"),
        Variable("num_units", "units that have it", "count", "int64"),
        Variable("q10", "10 % quantile over the units"),
        Variable("q25", "25 % quantile over the units"),
        Variable("median", "median over the units"),
        Variable("q75", "75 % quantile over the units"),
        Variable("q90", "90 % quantile over the units"),
    ],
)

BATCH_BENCHMARKS = Table(
    "benchmarks by session",
    "a kind of suggestion in a session",
    [
        Variable("session", "name of the session", dtype="str"),
        Variable("suggestion", "what is suggested", dtype="str"),
        *BENCHMARK.values(),
    ],
)

# ------------------------------------------------------------------------------- columns: of NWB

NWB_UNITS = Table(
    "NWB units",
    "a unit; besides these the labels, metrics and properties of the units",
    [
        Variable("unit_name", "id of the unit in the sorting", dtype="str"),
        Variable("spike_times", "the spike times for each unit in seconds", "s"),
        Variable(
            "obs_intervals",
            "the intervals in which the unit could be observed: the segments of the sorting, "
            "or the parts of them that were sorted",
            "s",
        ),
        Variable(
            "electrodes",
            "the electrodes on which the unit is largest, by decreasing peak-to-peak amplitude of "
            "the template that most of its spikes came from",
            dtype="int64",
        ),
        Variable("electrode_group", "the electrode group of the best electrode of the unit"),
        Variable(
            "waveform_mean",
            "the mean waveform of the unit, in volts, on its electrodes in their order; NaN where "
            "it has fewer electrodes than others",
            "V",
            "float32",
        ),
        Variable(
            "quality", "label of the unit by curation (phy's group), or unsorted", dtype="str"
        ),
        Variable("KSLabel", "label that Kilosort gave the unit before curation", dtype="str"),
        Variable(
            "ContamPct",
            "contamination in percent that Kilosort estimated before curation",
            "percent",
        ),
        Variable(
            "Amplitude",
            "mean amplitude that Kilosort wrote before curation, in its own units",
            "amplitude",
        ),
        Variable(
            "original_cluster_ids",
            "clusters, or units of the sorting, that the unit's spikes were in when the sorting "
            "was read, before it was curated here",
            dtype="id",
        ),
        Variable(
            "main_template_id",
            "template that most spikes of the unit came from; -1 for a unit without spikes",
            dtype="int64",
        ),
        Variable(
            "template_ids", "templates of the sorter that the unit has spikes of", dtype="int64"
        ),
        Variable(
            "template_spike_counts",
            "spikes of the unit from each of its template_ids",
            "count",
            "int64",
        ),
        Variable(
            "spike_amplitudes_uV",
            "amplitude of each spike at the extremum of its template on its main channel, in "
            "microvolts",
            "uV",
        ),
        Variable(
            "ks_amplitudes",
            "amplitude that the sorter wrote for each spike, in its own arbitrary units "
            "(amplitudes.npy)",
            "amplitude",
        ),
        Variable("spike_depths_um", "y of each spike on the probe, in micrometres", "um"),
        Variable(
            "spike_template_ids", "template of the sorter that found each spike", dtype="int32"
        ),
    ],
)

NWB_ELECTRODES = Table(
    "NWB electrodes",
    "a channel",
    [
        Variable("location", "the location of the electrode in the subject", dtype="str"),
        Variable("group", "the group that the electrode is in"),
        Variable("group_name", "the name of that group", dtype="str"),
        Variable("rel_x", "x of the electrode within its group, in micrometres", "um"),
        Variable("rel_y", "y of the electrode within its group, in micrometres", "um"),
        Variable("rel_z", "z of the electrode within its group, of a probe in 3D", "um"),
        Variable("channel_name", "id of the channel in the sorting", dtype="str"),
        Variable("shank_id", "shank of the probe that the electrode is on", dtype="str"),
    ],
)

NWB_LOG = Table(
    "NWB curation log",
    "a step, from the sorter to the file",
    [
        Variable("operation", "what was done", dtype="str"),
        Variable("inputs", "ids of the units that it was done to", dtype="id"),
        Variable("outputs", "ids of the units that came out", dtype="id"),
        Variable(
            "templates",
            "templates of the sorter that the unit has spikes of, where it is told from these",
            dtype="int64",
        ),
        Variable("field", "which label was given, where it is one", dtype="str"),
        Variable("value", "the label", dtype="str"),
        Variable("reason", "why, where it was said", dtype="str"),
        Variable("decided_by", "who or what decided", dtype="str"),
        Variable("time", "when, in UTC, where it is known", dtype="str"),
    ],
)

#: Metrics that are better after spikes were taken out by their features.
BIASED_BY_CLEANING = (
    "amplitude_cv_median",
    "amplitude_cv_range",
    "amplitude_cutoff",
    "noise_cutoff",
    "noise_ratio",
    "isolation_distance",
    "l_ratio",
    "d_prime",
    "nn_hit_rate",
    "nn_miss_rate",
    "silhouette",
)

#: Every table of the package, by name.
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        METRICS,
        METRIC_WINDOWS,
        CONTAMINATION,
        CALIBRATION,
        MERGES,
        BAD_MERGES,
        SPLITS,
        DUPLICATES,
        PLAN,
        BENCHMARK,
        BENCHMARK_CHANGES,
        BENCHMARK_OUTCOMES,
        PHY_REVIEWS,
        CLEANING,
        CONNECTIONS,
        UNITS,
        TEMPLATE_ASSIGNMENT,
        BEST_CHANNELS,
        COMPARED_TEMPLATES,
        SIMILARITY,
        SPIKE_AMPLITUDES,
        LINEAGE,
        HISTORY,
        LABEL_SOURCES,
        RECONSTRUCTED,
        LABELS,
        COMPARED_UNITS,
        DISPUTED_UNITS,
        AGREEMENT,
        REPLAYED_STEPS,
        REPLAYED_UNITS,
        LEARNT_LABELS,
        SPIKEINTERFACE_LABELS,
        LEARNT_SUMMARY,
        LEARNT_SESSIONS,
        LEARNT_RELIABILITY,
        LEARNT_COVERAGE,
        LEARNT_DISAGREEMENTS,
        LEARNT_CURVE,
        SUGGESTED_THRESHOLDS,
        UNIT_CLASSES,
        EFFECT_THRESHOLDS,
        EFFECT_SUMMARY,
        BATCH_SESSIONS,
        BATCH_CHECK,
        BATCH_UNITS,
        BATCH_METRICS,
        BATCH_BENCHMARKS,
        NWB_UNITS,
        NWB_ELECTRODES,
        NWB_LOG,
    )
}

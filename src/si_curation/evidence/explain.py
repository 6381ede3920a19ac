"""The reasons of merge evidence: codes with values, made from the columns of the tables.

The codes and their texts are declared in `si_curation.variables`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from si_curation.evidence.continuity import MIN_SPIKES
from si_curation.evidence.cross_refractoriness import SIGNIFICANCE
from si_curation.kernels.amplitude_cut import CUT_SEPARATION, SURE_SEPARATION
from si_curation.variables import Explanation

# thresholds of the statements in the texts
ENOUGH_POWER = 0.8
MAX_RATIO_IF_ONE = 0.7
LIKELY, UNLIKELY = 0.5, 0.2
LOW_OVERLAP = 0.25
MIN_BURST_ASYMMETRY = 0.1
MIN_EXTRA_DUPLICATES = 0.05
MIN_CUT_PROBABILITY = 0.5
CONTINUOUS_DISTANCE = 1.0
CONTINUOUS_SEPARATION = CUT_SEPARATION + CONTINUOUS_DISTANCE


def explain_merges(table: pd.DataFrame) -> Iterator[list[Explanation]]:
    """Yield the evidence for and against a merge of each pair, and what is unknown.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns of `si_curation.variables.MERGES`, "reason" excepted.

    Yields
    ------
    list of Explanation
        One list for each row: the cross-correlogram, waveforms, amplitude and depth always; a
        shared template, different times, a cut, bursts and duplicates where there are any.
    """
    return map(_explain_merge, _rows(table))


def _rows(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows without "reason"; pandas takes several times as long."""
    names = [name for name in table.columns if name != "reason"]
    columns = [table[name].tolist() for name in names]
    for row in zip(*columns, strict=True):
        yield dict(zip(names, row, strict=True))


def explain_bad_merges(table: pd.DataFrame) -> list[Explanation]:
    """Return the verdict on each pair of templates of one unit.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns of `si_curation.variables.BAD_MERGES`, "reason" excepted.

    Returns
    -------
    list of Explanation
        "bad_merge", "good_merge", or "bad_merge_unknown" where too few coincidences are expected.
    """
    return [_explain_bad_merge(row) for row in _rows(table)]


def explain_splits(table: pd.DataFrame) -> Iterator[list[Explanation]]:
    """Yield what speaks for and against a split of each unit.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns of `si_curation.variables.SPLITS`, "reason" excepted.

    Yields
    ------
    list of Explanation
        One list for each row.
    """
    return map(_explain_split, _rows(table))


def _explain_split(row: dict[str, Any]) -> list[Explanation]:
    coincidences = {"observed": row["refractory_observed"], "expected": row["refractory_expected"]}
    if row["method"] == "templates":
        return [Explanation("split_templates", **coincidences)]
    found = []
    if row["method"] == "time":
        found.append(Explanation("split_jump", jump=row["jump"]))
    elif row["likelihood_term"] < LIKELY:
        found.append(Explanation("split_no_clusters", gain=row["likelihood_gain"]))
    else:
        found.append(
            Explanation(
                "split_clusters",
                separation=row["separation"],
                share=row["smaller_share"],
                gain=row["likelihood_gain"],
            )
        )
    if row["mixing_term"] < LIKELY:
        found.append(Explanation("split_not_mixed", mixing=row["mixing"]))
    if row["accuracy_term"] < LIKELY:
        found.append(Explanation("split_overlap", error=row["expected_error"]))
    one_neuron = row["one_neuron_probability"]
    if np.isfinite(one_neuron):
        if one_neuron > 1 - UNLIKELY:
            code = "split_refractory"
        else:
            is_two = one_neuron < UNLIKELY
            code = "split_not_refractory" if is_two else "split_refractory_unknown"
        found.append(Explanation(code, **coincidences))
    if row["duplicate_term"] < LIKELY:
        found.append(Explanation("split_duplicates", share=row["duplicate_fraction"]))
    if row["num_parts"] > 2:
        found.append(Explanation("split_parts", num_parts=row["num_parts"]))
    share = row["num_spikes_with_features"] / max(row["num_spikes"], 1)
    if share < 1:
        found.append(Explanation("split_some_features", share=share))
    return found


def _explain_bad_merge(row: dict[str, Any]) -> Explanation:
    if row["is_bad"]:
        code = "bad_merge"
    else:
        code = "bad_merge_unknown" if row["power"] < ENOUGH_POWER else "good_merge"
    explained = row["expected"] * row["ratio_allowed"]
    return Explanation(
        code, observed=row["observed"], explained=explained, independent=row["expected"]
    )


def _explain_merge(row: dict[str, Any]) -> list[Explanation]:
    found = [_explain_coincidences(row)]
    if row["shared_templates"]:
        found.append(Explanation("merge_shared_template"))
    if row["time_overlap"] < LOW_OVERLAP:
        found.append(Explanation("merge_different_times", overlap=row["time_overlap"]))
    found.append(_explain_waveforms(row))
    found.append(_explain_continuity(row, "amplitude", "spike_amplitudes"))
    if row["amplitude_cut_probability"] >= MIN_CUT_PROBABILITY:
        is_sure = row["amplitude_distance"] >= SURE_SEPARATION
        found.append(Explanation("merge_cut" if is_sure else "merge_cut_or_two"))
    if row["burst_asymmetry"] > MIN_BURST_ASYMMETRY:
        found.append(Explanation("merge_burst"))
    found.append(_explain_continuity(row, "depth", "spike_locations"))
    share = row["duplicate_fraction"]
    if row["duplicate_term"] > 0:
        found.append(Explanation("merge_same_spikes", share=share))
    elif share - row["duplicate_fraction_by_chance"] > MIN_EXTRA_DUPLICATES:
        found.append(Explanation("merge_duplicates", share=share))
    return found


def _explain_coincidences(row: dict[str, Any]) -> Explanation:
    probability = row["one_neuron_probability"]
    if row["refractory_ratio_if_one"] > MAX_RATIO_IF_ONE:
        code = "merge_both_contaminated"
    elif row["refractory_chance"] <= SIGNIFICANCE and probability >= LIKELY:
        code = "merge_dip"
    elif probability < UNLIKELY:
        code = "merge_no_dip"
    elif row["refractory_power"] >= ENOUGH_POWER:
        code = "merge_shallow_dip"
    else:
        code = "merge_too_few_coincidences"
    return Explanation(
        code, observed=row["refractory_observed"], expected=row["refractory_expected"]
    )


def _explain_waveforms(row: dict[str, Any]) -> Explanation:
    state, distance = row["waveform_evidence"], row["waveform_separation"]
    if state != "compared":
        return Explanation(f"merge_waveforms_{state}")
    if distance <= CONTINUOUS_SEPARATION:
        return Explanation("merge_waveforms_join", distance=distance)
    of_others = row["waveform_separation_of_others"]
    if distance <= of_others + CONTINUOUS_DISTANCE:
        return Explanation("merge_waveforms_changed", distance=distance, of_others=of_others)
    return Explanation("merge_waveforms_separate", distance=distance)


def _explain_continuity(row: dict[str, Any], value: str, extension: str) -> Explanation:
    distance = row[f"{value}_distance"]
    if np.isfinite(distance):
        if distance < CONTINUOUS_DISTANCE:
            return Explanation("merge_continuous", value=value)
        return Explanation("merge_discontinuous", value=value, distance=distance)
    if min(row["num_spikes_a"], row["num_spikes_b"]) < MIN_SPIKES:
        return Explanation("merge_value_few_spikes", value=value)
    return Explanation("merge_value_missing", value=value, extension=extension)

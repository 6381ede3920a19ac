"""The evidence of a pair of units in plain words."""

from __future__ import annotations

import numpy as np
import pandas as pd

# power that is called enough
ENOUGH_POWER = 0.8


def reasons(table: pd.DataFrame) -> list[str]:
    """Say of each pair what speaks for and against a merge, and what cannot be told.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns of `si_curation.evidence.merge_score.MERGE_DESCRIPTIONS`.

    Returns
    -------
    list of str
    """
    names = [name for name in table.columns if name != "reason"]
    columns = [table[name].tolist() for name in names]
    return [_reason(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _reason(row: dict) -> str:
    parts = [_coincidences(row)]
    if row["shared_templates"]:
        parts.append("they share a template of the sorter, so a curator may have split them")
    if row["time_overlap"] < 0.25:
        parts.append(f"they fire at different times ({row['time_overlap']:.0%} in common)")
    parts.append(_continuity(row, "amplitude", "spike_amplitudes"))
    if np.isfinite(row["burst_asymmetry"]) and row["burst_asymmetry"] > 0.1:
        parts.append("the smaller unit follows the larger one, as in bursts")
    parts.append(_continuity(row, "depth", "spike_locations"))
    extra = row["duplicate_fraction"] - row["duplicate_fraction_by_chance"]
    if extra > 0.05:
        parts.append(
            f"{row['duplicate_fraction']:.0%} of the spikes of the smaller unit were found twice: "
            "remove the duplicates when merging"
        )
    return "; ".join(parts)


def _coincidences(row: dict) -> str:
    counts = f"{row['refractory_observed']} of {row['refractory_expected']:.3g} coincidences"
    if row["refractory_ratio_if_one"] > 0.7:
        return f"cross-correlogram cannot be told: both units are contaminated ({counts})"
    probability = row["one_neuron_probability"]
    if row["refractory_chance"] <= 0.05 and probability >= 0.5:
        return f"the cross-correlogram has a dip ({counts})"
    if probability < 0.2:
        return f"the cross-correlogram has no dip deep enough for one neuron ({counts})"
    if row["refractory_power"] >= ENOUGH_POWER:
        return f"cross-correlogram cannot be told: a shallow dip ({counts})"
    return f"cross-correlogram cannot be told: too few coincidences are expected ({counts})"


def _continuity(row: dict, name: str, extension: str) -> str:
    distance = row[f"{name}_distance"]
    if np.isnan(distance):
        too_few = min(row["num_spikes_a"], row["num_spikes_b"]) < 10
        why = "fewer than 10 spikes" if too_few else f"no values in extension {extension!r}"
        return f"{name} cannot be told: {why}"
    return f"{name} {'goes on' if distance < 1.0 else f'differs by {distance:.1f} sd'}"

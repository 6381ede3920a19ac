"""Which way each quality metric points: whether more of it is a better unit, or less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.errors import ParameterError


class Direction(NamedTuple):
    """How a metric is compared.

    Attributes
    ----------
    better : {"higher", "lower"}
    absolute : bool
        Its absolute value is what counts.
    """

    better: str
    absolute: bool = False

    @property
    def comparison(self) -> str:
        """The comparison that the units pass that are kept."""
        return ">=" if self.better == "higher" else "<="

    def values(self, column: pd.Series) -> NDArray[np.float64]:
        """Return a column as float64, as absolute values where these count; NaN where missing."""
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.abs(values) if self.absolute else values

    def quality(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn values so that larger is better; its own inverse."""
        return values if self.better == "higher" else -values


_HIGHER, _LOWER = Direction("higher"), Direction("lower")

# Names are SpikeInterface's. Why, where it is not plain: few spikes and low rates make every other
# metric less certain; synchrony of spikes with many units at once is an artefact; a ratio of
# standard deviations of 1 is ideal, and contamination or drift raise it.
QUALITY_DIRECTIONS: dict[str, Direction] = {
    # how many spikes, and when
    "num_spikes": _HIGHER,
    "firing_rate": _HIGHER,
    "presence_ratio": _HIGHER,
    # size
    "snr": _HIGHER,
    "amplitude_median": Direction("higher", absolute=True),
    "amp": _HIGHER,
    # spikes that are missing
    "amplitude_cutoff": _LOWER,
    "noise_cutoff": _LOWER,
    "noise_ratio": _LOWER,
    # spikes that are another neuron's
    "isi_violations_ratio": _LOWER,
    "isi_violations_count": _LOWER,
    "hill_contamination": _LOWER,
    "rp_contamination": _LOWER,
    "rp_contamination_one_neuron": _LOWER,
    "rp_violations": _LOWER,
    "sliding_rp_violation": _LOWER,
    "sliding_rp_confidence": _HIGHER,
    "sliding_rp_ibl": _LOWER,
    "kilosort_r12": _LOWER,
    "kilosort_q12": _LOWER,
    "ContamPct": _LOWER,
    "sync_spike_2": _LOWER,
    "sync_spike_4": _LOWER,
    "sync_spike_8": _LOWER,
    # isolation from other units
    "isolation_distance": _HIGHER,
    "l_ratio": _LOWER,
    "d_prime": _HIGHER,
    "nn_hit_rate": _HIGHER,
    "nn_miss_rate": _LOWER,
    "nn_isolation": _HIGHER,
    "nn_noise_overlap": _LOWER,
    "silhouette": _HIGHER,
    # stability
    "amplitude_cv_median": _LOWER,
    "amplitude_cv_range": _LOWER,
    "drift_ptp": _LOWER,
    "drift_std": _LOWER,
    "drift_mad": _LOWER,
    "sd_ratio": _LOWER,
}


def resolve_directions(
    override: Mapping[str, str | Direction] | None,
) -> dict[str, Direction]:
    """Return the table of directions, with those that a user overrides.

    Parameters
    ----------
    override : mapping, optional
        Metric to "higher" or "lower" (which is better), or a `Direction`.

    Returns
    -------
    dict

    Raises
    ------
    ParameterError
        All directions that are neither.

    Examples
    --------
    >>> resolve_directions({"firing_rate": "lower"})["firing_rate"].comparison
    '<='
    """
    table, problems = dict(QUALITY_DIRECTIONS), []
    for name, given in dict(override or {}).items():
        better, absolute = given if isinstance(given, tuple) else (given, None)
        if better not in ("higher", "lower"):
            problems.append(f"directions[{name!r}] is {given!r}, expected 'higher' or 'lower'")
            continue
        if absolute is None:
            absolute = table[name].absolute if name in table else False
        table[name] = Direction(better, bool(absolute))
    if problems:
        raise ParameterError("; ".join(problems))
    return table

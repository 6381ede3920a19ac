"""What speaks against a monosynaptic connection: places and contamination of the two units."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.errors import MissingDataError
from si_curation.extensions.template_best_channels import PHY_NUM_CHANNELS, rank_template_channels
from si_curation.kernels.monosynaptic import PairTests
from si_curation.reading.probe import shanks_of

logger = logging.getLogger(__name__)


class Places(NamedTuple):
    """Where units are on the probe.

    Attributes
    ----------
    channels : array (n_units, n_channels) bool
        Best channels.
    best : array (n_units,) int64
        Index of the best one; -1 for a unit without.
    locations : array (n_channels, 2) in µm
    shanks : array (n_channels,)
    """

    channels: NDArray[np.bool_]
    best: NDArray[np.int64]
    locations: NDArray[np.floating]
    shanks: NDArray


def places_of(analyzer: SortingAnalyzer, units: NDArray[np.int64]) -> Places | None:
    """Give the best channels of the units; None where nothing tells."""
    extension = analyzer.get_extension("template_best_channels")
    if extension is not None:
        ranked = as_array(extension.data["channel_indices"]).astype(np.int64)
    else:
        try:
            rows, _, template_of_unit = rank_template_channels(
                analyzer, PHY_NUM_CHANNELS, 0.0, True
            )
        except MissingDataError as error:
            logger.info("shared channels are unknown: %s", error)
            return None
        rows = np.vstack([rows, np.full((1, rows.shape[1]), -1, dtype=rows.dtype)])
        ranked = rows[template_of_unit]
    ranked = ranked[units]
    num_channels = len(analyzer.channel_ids)
    # a last column for what is padded
    channels = np.zeros((units.size, num_channels + 1), dtype=bool)
    channels[np.arange(units.size)[:, None], ranked] = True
    best = ranked[:, 0] if ranked.shape[1] else np.full(units.size, -1)
    locations = analyzer.get_channel_locations()[:, :2]
    return Places(channels[:, :num_channels], best, locations, shanks_of(analyzer))


def shared_channels(places: Places | None, num_units: int) -> NDArray[np.int64]:
    """Count the channels that each two units share (n_units, n_units); 0 where unknown."""
    if places is None:
        return np.zeros((num_units, num_units), dtype=np.int64)
    channels = places.channels.astype(np.float32)
    return np.rint(channels @ channels.T).astype(np.int64)


def add_places(table: pd.DataFrame, tests: PairTests, places: Places | None) -> None:
    """Add columns about channels, shank and distance."""
    pre, post = tests.pre, tests.post
    if places is None:
        unknown = np.full(pre.size, True)
        shared, same = np.zeros(pre.size, dtype=np.int64), np.zeros(pre.size, dtype=bool)
        distance = np.full(pre.size, np.nan)
    else:
        a, b = places.best[pre], places.best[post]
        unknown = (a < 0) | (b < 0)
        shared = shared_channels(places, len(places.best))[pre, post]
        same = places.shanks[a] == places.shanks[b]
        distance = np.linalg.norm(places.locations[a] - places.locations[b], axis=1)
        distance[unknown] = np.nan
    table["num_shared_channels"] = pd.arrays.IntegerArray(shared, unknown)
    table["shares_channels"] = pd.arrays.BooleanArray(shared > 0, unknown)
    table["same_shank"] = pd.arrays.BooleanArray(same, unknown.copy())
    table["distance_um"] = distance


def add_contamination(
    table: pd.DataFrame, tests: PairTests, contamination: NDArray[np.float64], most: float
) -> None:
    """Add columns about the contamination (n_units,) of the two units."""
    sides = [contamination[tests.pre], contamination[tests.post]]
    table["contamination_pre"], table["contamination_post"] = sides
    pre, post = (pd.arrays.BooleanArray(side > most, np.isnan(side)) for side in sides)
    table["contaminated"] = pre | post  # true where one is, whatever the other


_FLAGS = {
    "shares_channels": "the units share channels (overlapping spikes)",
    "contaminated": "a unit is contaminated",
    "zero_lag_peak": "peak at lag 0 (common input, or the same spikes in both units)",
    "both_directions": "the reverse direction stands out as well (common input, or one neuron)",
    "too_few_spikes": "few pairs of spikes",
}
_UNKNOWN = {
    "shares_channels": "not known whether the units share channels",
    "contaminated": "contamination is not known",
}


def verdicts(table: pd.DataFrame) -> NDArray[np.object_]:
    """Put each row into words; rows with the same flags have the same words."""
    code = np.zeros(len(table), dtype=np.int64)
    phrases: list[str] = []
    for name, text in _FLAGS.items():
        code |= table[name].fillna(False).to_numpy(dtype=bool) << len(phrases)
        phrases.append(text)
    for name, text in _UNKNOWN.items():
        code |= table[name].isna().to_numpy() << len(phrases)
        phrases.append(text)
    code |= (~table["passes_english2017"].to_numpy()).astype(np.int64) << len(phrases)
    phrases.append("not beyond the lags of the other sign (p_causal)")
    different, which = np.unique(code, return_inverse=True)
    words = [
        "; ".join(text for bit, text in enumerate(phrases) if value >> bit & 1)
        for value in different.tolist()
    ]
    verdict = np.where(
        table["passes_stark2009"].to_numpy(),
        "no connection: not beyond the lags of the other sign (p_causal)",
        "no connection: no lag stands out (p_fast)",
    ).astype(object)
    verdict[table["p_fast"].isna().to_numpy()] = "not tested: a unit has no spikes"
    kind = table["connection_type"].to_numpy(dtype=object)
    for row in np.flatnonzero(kind != "").tolist():
        flags = words[which[row]]
        verdict[row] = f"{kind[row]}, but: {flags}" if flags else f"{kind[row]}, no flag"
    return verdict

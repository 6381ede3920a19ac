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
from si_curation.variables import Explanation, explanations_text

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
    """Return the best channels of the units; None where there are no templates."""
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


_FLAGS = ("shares_channels", "contaminated", "zero_lag_peak", "both_directions", "too_few_spikes")


def explain(table: pd.DataFrame) -> tuple[list[list[Explanation]], NDArray[np.intp]]:
    """Explain each row: what was found, and for a connection what speaks against it.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns of `si_curation.variables.CONNECTIONS`, but for the verdict.

    Returns
    -------
    explanations : list of list of Explanation
        The different ones: what was found, and then the flags.
    which : array (n_rows,) int
        The one of each row.
    """
    flags = {f"flag_{name}": table[name].fillna(False).to_numpy(dtype=bool) for name in _FLAGS}
    flags |= {
        "flag_channels_unknown": table["shares_channels"].isna().to_numpy(),
        "flag_contamination_unknown": table["contaminated"].isna().to_numpy(),
        "flag_not_causal": ~table["passes_english2017"].to_numpy(dtype=bool),
    }
    kind = table["connection_type"].to_numpy(dtype=object)
    found = np.select(
        [kind == "excitatory", kind == "inhibitory", table["p_fast"].isna().to_numpy(),
         table["passes_stark2009"].to_numpy(dtype=bool)],
        range(4),
        default=4,
    )  # fmt: skip
    code = found.astype(np.int64) << len(flags)
    for bit, is_set in enumerate(flags.values()):
        code |= (is_set & (kind != "")).astype(np.int64) << bit
    different, which = np.unique(code, return_inverse=True)
    explanations = [
        [
            Explanation(_FOUND[value >> len(flags)]),
            *(Explanation(flag) for bit, flag in enumerate(flags) if value >> bit & 1),
        ]
        for value in different.tolist()
    ]
    return explanations, which


_FOUND = (
    "connection_excitatory",
    "connection_inhibitory",
    "connection_not_tested",
    "connection_not_causal",
    "connection_not_fast",
)


def verdict_texts(table: pd.DataFrame) -> NDArray[np.object_]:
    """Write each row in words: what was found, and what speaks against a connection."""
    explanations, which = explain(table)
    texts = np.array([_verdict_text(*one) for one in explanations], dtype=object)
    return texts[which] if len(table) else np.zeros(0, dtype=object)


def _verdict_text(found: Explanation, *flags: Explanation) -> str:
    if found.code not in _FOUND[:2]:
        return str(found)
    return f"{found}, but: {explanations_text(flags)}" if flags else f"{found}, no flag"

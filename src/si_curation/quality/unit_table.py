"""One row per unit: what phy's ClusterView shows, from the extensions that exist."""

from __future__ import annotations

import numpy as np
import pandas as pd
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import MissingDataError
from si_curation.reading.observed import observed_periods


def make_unit_table(sorting_analyzer: SortingAnalyzer) -> pd.DataFrame:
    """Tabulate the units of an analyzer.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With the extensions "template_assignment" and "template_best_channels".

    Returns
    -------
    pandas.DataFrame
        Indexed by unit id: ``group`` (phy's, where known), ``num_spikes``, ``firing_rate_hz``
        (spikes / observed duration), ``template_id``, ``template_purity``, ``num_templates``,
        ``best_channel`` (channel id), ``depth_um`` (y of the best channel), ``shank``,
        ``amplitude`` (largest peak-to-peak of the most frequent template, in the units of the
        templates). Values of the best channel are missing for units without spikes.

    Raises
    ------
    MissingDataError
        An extension is missing.
    """
    needed = ("template_assignment", "template_best_channels")
    missing = [name for name in needed if sorting_analyzer.get_extension(name) is None]
    if missing:
        raise MissingDataError(f"compute {' and '.join(missing)} first")
    table = sorting_analyzer.get_extension(needed[0]).get_data()
    channels = sorting_analyzer.get_extension(needed[1]).get_data(outputs="dataframe")
    best = channels[channels["rank"] == 0].set_index("unit_id").reindex(table.index)
    group = sorting_analyzer.sorting.get_property("quality")
    duration = observed_periods(sorting_analyzer).duration_s
    return pd.DataFrame(
        {
            "group": np.full(len(table), "") if group is None else group,
            "num_spikes": table["num_spikes"],
            "firing_rate_hz": table["num_spikes"] / duration,
            "template_id": table["template_id"],
            "template_purity": table["template_purity"],
            "num_templates": table["num_templates"],
            "best_channel": best["channel_id"],
            "depth_um": best["y_um"],
            "shank": best["shank"],
            "amplitude": best["amplitude"],
        },
        index=pd.Index(table.index, name="unit_id"),
    )

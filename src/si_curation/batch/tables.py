"""Tables of a session, by the name that a recipe gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.curation.lineage import reconstruct_lineage
from si_curation.extensions.template_best_channels import compute_template_best_channels
from si_curation.kernels.spikes_by_unit import count_spikes
from si_curation.quality.connections import find_monosynaptic_connections
from si_curation.quality.contamination import contamination_panel

_METRICS = ("curation_metrics", "quality_metrics", "template_metrics")


def make_units(analyzer: SortingAnalyzer) -> pd.DataFrame:
    """Return the table of units: label, number of spikes, and every metric that was computed.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``unit_id``: ``group`` ("unsorted" where there is none), ``num_spikes``, and the
        columns of our and SpikeInterface's metrics, ours where both have one.
    """
    sorting = analyzer.sorting
    quality = sorting.get_property("quality")
    groups = ["unsorted"] * len(analyzer.unit_ids) if quality is None else quality.tolist()
    counts = count_spikes(spike_vector_of(sorting)["unit_index"], len(analyzer.unit_ids))
    table = pd.DataFrame(
        {"group": [str(g) or "unsorted" for g in groups], "num_spikes": counts},
        index=pd.Index(analyzer.unit_ids, name="unit_id"),
    )
    for name in _METRICS:
        if analyzer.has_extension(name):
            found = analyzer.get_extension(name).get_data()
            table = table.join(found[[c for c in found.columns if c not in table.columns]])
    return table


def _best_channels(analyzer: SortingAnalyzer) -> pd.DataFrame:
    name = "template_best_channels"
    if not analyzer.has_extension(name):
        compute_template_best_channels(analyzer)
    return analyzer.get_extension(name).get_data(outputs="dataframe")


def _contamination(analyzer: SortingAnalyzer) -> pd.DataFrame:
    return contamination_panel(analyzer).rename_axis("unit_id").reset_index()


def _lineage(analyzer: SortingAnalyzer) -> pd.DataFrame:
    return reconstruct_lineage(analyzer).rename_axis("unit_id").reset_index()


#: {name: function of the analyzer that gives the table}
TABLES: dict[str, Callable[[Any], pd.DataFrame]] = {
    "best_channels": _best_channels,
    "contamination": _contamination,
    "connections": find_monosynaptic_connections,
    "lineage": _lineage,
}

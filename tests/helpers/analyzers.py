"""Analyzers made from others."""

from __future__ import annotations

import numpy as np


def create_like(analyzer, sorting):
    from si_curation._spikeinterface import make_memory_analyzer, rec_attributes_of

    return make_memory_analyzer(
        sorting,
        None,
        rec_attributes_of(analyzer),
        None,
        analyzer.return_in_uV,
        np.zeros(len(sorting.unit_ids), dtype=np.int64),
    )

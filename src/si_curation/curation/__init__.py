"""Curation in code: sessions with phy's rules, lineage, merges, exchange with SpikeInterface."""

from si_curation.curation.bad_merges import find_bad_merges
from si_curation.curation.lineage import reconstruct_lineage
from si_curation.curation.merge_groups import MergeSuggestions
from si_curation.curation.merge_suggestions import suggest_merges
from si_curation.curation.session import CurationSession

__all__ = [
    "CurationSession",
    "MergeSuggestions",
    "find_bad_merges",
    "reconstruct_lineage",
    "suggest_merges",
]

"""Curation in code: sessions with phy's rules, lineage, merges, exchange with SpikeInterface."""

from si_curation.curation.bad_merges import find_bad_merges
from si_curation.curation.label_rules import (
    LABEL_PRESETS,
    LabelRule,
    RuleSet,
    read_label_rules,
)
from si_curation.curation.labelling import UnitLabels, label_units
from si_curation.curation.lineage import reconstruct_lineage
from si_curation.curation.merge_groups import MergeSuggestions
from si_curation.curation.merge_suggestions import suggest_merges
from si_curation.curation.session import CurationSession

__all__ = [
    "LABEL_PRESETS",
    "CurationSession",
    "LabelRule",
    "MergeSuggestions",
    "RuleSet",
    "UnitLabels",
    "find_bad_merges",
    "label_units",
    "read_label_rules",
    "reconstruct_lineage",
    "suggest_merges",
]

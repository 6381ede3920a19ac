"""Curation in code: sessions with phy's rules, lineage, and the exchange with SpikeInterface."""

from si_curation.curation.lineage import reconstruct_lineage
from si_curation.curation.session import CurationSession

__all__ = ["CurationSession", "reconstruct_lineage"]

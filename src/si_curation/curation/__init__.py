"""Curation: sessions with phy's rules, journal, lineage, labels, exchange formats."""

"""Analyzers written for other programs: folders that phy opens, and NWB files."""

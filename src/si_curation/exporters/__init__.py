"""Analyzers written for other programs: folders that phy opens, and back in place."""

from si_curation.exporters.phy_backup import restore_phy_folder
from si_curation.exporters.phy_export import export_to_phy
from si_curation.exporters.phy_inplace import update_phy_folder, write_phy_columns

__all__ = ["export_to_phy", "restore_phy_folder", "update_phy_folder", "write_phy_columns"]

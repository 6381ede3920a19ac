"""Analyzers written for other programs: folders that phy opens, and back in place; NWB files."""

from si_curation.exporters.nwb.export import export_to_nwb
from si_curation.exporters.nwb.units import add_units_to_nwbfile
from si_curation.exporters.phy_backup import restore_phy_folder
from si_curation.exporters.phy_export import export_to_phy
from si_curation.exporters.phy_inplace import update_phy_folder, write_phy_columns

__all__ = [
    "add_units_to_nwbfile",
    "export_to_nwb",
    "export_to_phy",
    "restore_phy_folder",
    "update_phy_folder",
    "write_phy_columns",
]

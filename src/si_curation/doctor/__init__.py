"""`check_phy_folder`: what is wrong with a Kilosort/phy folder, and what to do about it."""

from si_curation.doctor.check import check_phy_folder

__all__ = ["check_phy_folder"]

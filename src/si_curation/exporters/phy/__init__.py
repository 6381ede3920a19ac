"""Folders that phy opens, new ones and in place."""

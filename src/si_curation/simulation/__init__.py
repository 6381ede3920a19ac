"""Folders with known truth: simulated ones of every Kilosort, and the packaged example."""

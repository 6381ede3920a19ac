"""Sample folders: a real one that is packaged, and simulated ones with known truth."""

from si_curation.datasets.example import EXAMPLE_FILES, example_folder
from si_curation.datasets.simulate import SimulatedFolder, simulate_kilosort_folder

__all__ = ["EXAMPLE_FILES", "SimulatedFolder", "example_folder", "simulate_kilosort_folder"]

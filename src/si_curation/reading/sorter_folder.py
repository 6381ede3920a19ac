"""The folder that the sorter wrote, of an analyzer; only for what is shown of the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spikeinterface.core import SortingAnalyzer

from si_curation.phy.session import drift_within
from si_curation.phy.sorter_run import SorterRun, read_sorter_run


def sorter_folder_of(sorting_analyzer: SortingAnalyzer) -> Path | None:
    """Return the folder that the units say they are from; None where none is named."""
    sorting = sorting_analyzer.sorting
    values = sorting.get_property("phy_folder")
    named = [] if values is None else sorted({str(value) for value in values if str(value)})
    if len(named) > 1:  # units of several folders have no settings in common
        return None
    name = named[0] if named else sorting.get_annotation("phy_folder")
    return Path(str(name)) if name else None


def sorter_run_of(sorting_analyzer: SortingAnalyzer) -> SorterRun | None:
    """Return how an analyzer's units were sorted; None where its folder is not known or gone.

    Drift is of the time of the analyzer.
    """
    folder = sorter_folder_of(sorting_analyzer)
    if folder is None or not folder.is_dir():
        return None
    run = read_sorter_run(folder)
    assignment = sorting_analyzer.get_extension("template_assignment")
    if run.drift is None or assignment is None or not assignment.frame_offset:
        return run
    # of a session or a slice, whose times begin at 0
    start = assignment.frame_offset / sorting_analyzer.sampling_frequency
    stop = start + sorting_analyzer.get_total_duration()
    return replace(run, drift=drift_within(run.drift, start, stop))

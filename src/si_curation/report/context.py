"""What the sections of a report need of the analyzer, looked up once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.curation.lineage import reconstruct_lineage
from si_curation.evidence.unit_spikes import UnitSpikes
from si_curation.kernels.isi import isi_histogram
from si_curation.kernels.parallel import run_blocks
from si_curation.kernels.spikes_over_time import count_over_time
from si_curation.phy.sorter_run import SorterRun
from si_curation.reading.observed import ObservedPeriods, observed_periods
from si_curation.reading.probe import planar_locations
from si_curation.reading.sessions import SessionBorders
from si_curation.reading.sorter_folder import sorter_run_of
from si_curation.report.density import TimeBins, time_bins
from si_curation.spikes.amplitude_scale import UNIT_NAMES, AmplitudeScale, scale_and_amplitudes

GROUP_PROPERTY = "quality"
_ISI_WINDOW_MS, _ISI_BIN_MS = 50.0, 0.5
_UNITS = {
    "uV": "µV",
    "raw": "units of the raw data",
    "sorted": "units of the data as they were sorted, scaled",
    "sorter": "units of the sorter's templates",
    "whitened": "units of the whitened templates",
    "": "",  # a folder without templates
}


class ReportContext:
    """An analyzer, the units that are shown, and the spikes of each unit.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    rows : array (n,) integer
        Positions of the units in the report.
    borders : SessionBorders, optional
        Where sessions begin, which charts over time show.

    Attributes
    ----------
    unit_ids : list
        Of the report, as plain numbers or strings.
    row_of : dict
        {unit id: position in the report}
    of_units : UnitSpikes
        The spikes of all units, unit by unit.
    num_spikes : array (n_units,) int64
        Of each unit of the analyzer.
    """

    def __init__(
        self,
        analyzer: SortingAnalyzer,
        rows: NDArray[np.integer],
        borders: SessionBorders | None = None,
    ):
        self.analyzer = analyzer
        self.borders = borders
        self.rows = rows
        self.fs = float(analyzer.sampling_frequency)
        self.unit_ids = analyzer.unit_ids[rows].tolist()
        self.row_of = {unit_id: row for row, unit_id in enumerate(self.unit_ids)}
        self.of_units = UnitSpikes(analyzer)
        self.num_spikes = self.of_units.num_spikes

    def extension(self, name: str) -> Any:
        """Return an extension, loaded if it is saved; None if it was not computed."""
        return self.analyzer.get_extension(name)

    @property
    def spikes(self) -> NDArray:
        """The spike vector."""
        return spike_vector_of(self.analyzer.sorting)

    @cached_property
    def segment_durations_s(self) -> NDArray[np.float64]:
        """Duration of each segment (n_segments,)."""
        analyzer = self.analyzer
        samples = [analyzer.get_num_samples(i) for i in range(analyzer.get_num_segments())]
        return np.array(samples, dtype=np.float64) / self.fs

    @cached_property
    def segment_starts_s(self) -> NDArray[np.float64]:
        """Start of each segment when they are put end to end (n_segments,)."""
        return np.concatenate([[0.0], np.cumsum(self.segment_durations_s)[:-1]])

    @property
    def session_starts_s(self) -> list[float]:
        """Where each session but the first begins, in s; [] where there is one."""
        return [] if self.borders is None else self.borders.times_s.tolist()

    @cached_property
    def observed(self) -> ObservedPeriods:
        """The parts of the recording in which spikes were looked for."""
        return observed_periods(self.analyzer)

    @cached_property
    def observed_s(self) -> NDArray[np.float64] | None:
        """The same in s, segments put end to end (n_periods, 2); None: the whole recording."""
        return None if self.observed.is_whole else self.observed.end_to_end / self.fs

    @cached_property
    def sorter_run(self) -> SorterRun | None:
        """How the units were sorted; None where the sorter's folder is not known or gone."""
        return sorter_run_of(self.analyzer)

    @property
    def duration_s(self) -> float:
        """Duration of all segments together."""
        return float(self.segment_durations_s.sum())

    def spikes_of(self, index: int) -> NDArray[np.integer]:
        """Return the positions in the spike vector of the spikes of a unit, by its unit index."""
        return self.of_units.positions[index]

    def times_s(self, which: NDArray[np.integer] | slice) -> NDArray[np.float64]:
        """Return the times of some spikes in s, segments put end to end."""
        times: NDArray[np.float64] = self.spikes["sample_index"][which] / self.fs
        if self.segment_starts_s.size > 1:
            times += self.segment_starts_s[self.spikes["segment_index"][which]]
        return times

    def times_of(self, index: int) -> NDArray[np.float64]:
        """Return the times of the spikes of a unit as `times_s` does, by its unit index."""
        if self.segment_starts_s.size > 1:
            return self.times_s(self.spikes_of(index))
        return self.of_units.trains[index] / self.fs

    def span_s(self, which: NDArray[np.integer]) -> tuple[float, float]:
        """Return from when to when the recording and some spikes, in their order, are in s."""
        # of one segment the spikes are in order
        times = self.times_s(which if self.segment_starts_s.size > 1 else which[[0, -1]])
        return min(0.0, float(times.min())), max(self.duration_s, float(times.max()))

    @cached_property
    def time_bins(self) -> TimeBins:
        """The bins of firing rates over time."""
        return time_bins(self.duration_s, self.observed_s)

    @cached_property
    def isi_bins(self) -> tuple[int, int]:
        """Width of a bin of intervals in samples, and how many there are."""
        width = max(round(self.fs * _ISI_BIN_MS * 1e-3), 1)
        window = max(round(self.fs * _ISI_WINDOW_MS * 1e-3), width)
        return width, isi_histogram([], window, width).size

    @cached_property
    def counts_over_time(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Spikes of each unit of the analyzer in `time_bins`, and its intervals in `isi_bins`."""
        time_bins = self.time_bins.bin_s, self.time_bins.seen_s.size
        trains, times_of = self.of_units.trains, self.times_of
        found = run_blocks(
            lambda unit: count_over_time(trains[unit], times_of(unit), time_bins, self.isi_bins),
            list(range(len(trains))),
        )
        in_time, intervals = map(np.stack, zip(*found, strict=True))
        return in_time, intervals

    @cached_property
    def channel_places(self) -> NDArray[np.float64]:
        """Places of the channels (n_channels, 2) in µm."""
        return planar_locations(self.analyzer)

    @cached_property
    def lineage(self) -> pd.DataFrame:
        """What each unit of the analyzer came from."""
        return reconstruct_lineage(self.analyzer)

    @cached_property
    def groups(self) -> list[str]:
        """Label of every unit of the analyzer; "" where there is none."""
        groups = self.analyzer.sorting.get_property(GROUP_PROPERTY)
        if groups is None:
            return [""] * len(self.analyzer.unit_ids)
        return ["" if value != value else str(value) for value in groups]

    @cached_property
    def amplitude_unit(self) -> str:
        """Unit of measurement of templates and amplitudes: µV only where a gain is known."""
        assignment = self.extension("template_assignment")
        if assignment is not None:
            return _UNITS[assignment.info["units"]]
        return _UNITS["uV" if self.analyzer.return_in_uV else "raw"]

    @cached_property
    def spike_amplitudes(self) -> tuple[AmplitudeScale, NDArray[np.floating]] | None:
        """What the amplitudes of spikes are, and those of all spikes; None where not known."""
        return scale_and_amplitudes(self.analyzer)

    @property
    def amplitude_unit_short(self) -> str:
        """The same for the axis of a chart."""
        assignment = self.extension("template_assignment")
        if assignment is not None:
            return UNIT_NAMES[assignment.info["units"]]
        return UNIT_NAMES["uV" if self.analyzer.return_in_uV else "raw"]

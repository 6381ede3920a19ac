"""`add_units_to_nwbfile`: the units of an analyzer as a table, built in bulk."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import analyzer_advice, check_arguments, short_repr
from si_curation.errors import (
    OutputExistsError,
    ParameterError,
    SiCurationError,
    SiCurationWarning,
)
from si_curation.exporters.nwb.added_electrodes import (
    AddedElectrodes,
    append_in_memory,
    check_in_memory,
    plan_added,
)
from si_curation.exporters.nwb.clock import Clock
from si_curation.exporters.nwb.compressed import LargeColumn
from si_curation.exporters.nwb.electrodes import match_electrodes
from si_curation.exporters.nwb.file_electrodes import file_electrodes, in_coordinates_of
from si_curation.exporters.nwb.given_times import check_spike_times
from si_curation.exporters.nwb.identity import place_channels, series_of_probe
from si_curation.exporters.nwb.metadata import read_metadata
from si_curation.exporters.nwb.new_electrodes import (
    add_electrodes,
    check_groups,
    plan_electrodes,
)
from si_curation.exporters.nwb.optional import MODULE, ecephys_module, import_pynwb
from si_curation.exporters.nwb.provenance import LOG, add_provenance
from si_curation.exporters.nwb.series import Series, electrical_series_of
from si_curation.exporters.nwb.spikes import (
    TimedSpikes,
    check_per_spike,
    per_spike_columns,
    timed_as_given,
    timed_by_clocks,
)
from si_curation.exporters.nwb.table import UnitContent, make_table
from si_curation.exporters.nwb.time import check_times, choose_series, resolve_clocks
from si_curation.exporters.nwb.values import lineage_columns, unit_columns
from si_curation.exporters.nwb.waveforms import best_channels, waveforms_in_volts

P = ParamSpec("P")
T = TypeVar("T")


def add_units_to_nwbfile(
    sorting_analyzer: SortingAnalyzer,
    nwbfile: Any,
    *,
    t_start: float | Sequence[float] | None = None,
    timestamps: ArrayLike | Sequence[ArrayLike] | None = None,
    spike_times: ArrayLike | None = None,
    electrical_series_path: str | None = None,
    electrode_map: Mapping[Any, int] | None = None,
    write_waveforms: bool = True,
    per_spike: Sequence[str] = ("amplitudes",),
    units_name: str = "units",
    metadata: Mapping[str, Any] | str | Path | None = None,
) -> Any:
    """Add the units of an analyzer to an NWB file in memory, such as neuroconv makes.

    Nothing is added unless all can be. The table is the one that `export_to_nwb` writes.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    nwbfile : pynwb.NWBFile
        Its electrodes are used, and never changed; electrodes are added if it has none, or if the
        metadata name a group that it does not have. Must not have a units table of that name yet.
    t_start, timestamps, spike_times, electrical_series_path, electrode_map
        As of `export_to_nwb`; an ElectricalSeries is one of `nwbfile`.
    write_waveforms, per_spike
        As of `export_to_nwb`.
    units_name : str
        "units", or the name of a table in ``processing/ecephys``.
    metadata : mapping, str or Path, optional
        As of `export_to_nwb`; its part "Ecephys" is used.

    Returns
    -------
    pynwb.misc.Units
        The table that was added.

    Raises
    ------
    MissingDataError, OutputExistsError, ParameterError
        As of `export_to_nwb`.

    Examples
    --------
    >>> from datetime import datetime, timezone
    >>> import pynwb
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> start = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
    >>> nwbfile = pynwb.NWBFile("a session", "0123", start)
    >>> units = add_units_to_nwbfile(analyzer, nwbfile, t_start=2.5)
    >>> units["unit_name"][-1], units["template_ids"][-1].tolist(), len(units["spike_times"][-1])
    ('13', [0, 1, 2], 1330)
    """
    check_arguments(add_units_to_nwbfile, locals())
    check_analyzer(sorting_analyzer)
    options = UnitOptions(
        t_start,
        timestamps,
        spike_times,
        electrical_series_path,
        electrode_map,
        write_waveforms,
        per_spike,
        units_name,
        read_metadata(metadata),
    )
    added = add_units(sorting_analyzer, nwbfile, options)
    warn_of_missing_waveforms(added)
    return added.table


def warn_of_missing_waveforms(added: AddedUnits) -> None:
    """Warn that waveforms were asked for, and why there are none."""
    if added.no_waveforms:
        warnings.warn(
            f"waveform_mean is left out: {added.no_waveforms}, or write_waveforms=False (on the "
            "command line --no-waveforms), which says that none are wanted",
            SiCurationWarning,
            stacklevel=3,
        )


@dataclass(frozen=True, eq=False)
class UnitOptions:
    """The arguments of `add_units_to_nwbfile`, with the metadata that were read."""

    t_start: float | Sequence[float] | None
    timestamps: ArrayLike | Sequence[ArrayLike] | None
    spike_times: ArrayLike | None
    electrical_series_path: str | None
    electrode_map: Mapping[Any, int] | None
    write_waveforms: bool
    per_spike: Sequence[str]
    units_name: str
    metadata: dict[str, dict[str, Any]]
    session_id: str | None = None


@dataclass(frozen=True, eq=False)
class AddedUnits:
    """A table that was added, and what it is checked against when it is read back.

    Attributes
    ----------
    table : pynwb.misc.Units
    timed : TimedSpikes
    electrode_rows : array (n,) int64 or None
        Rows of the electrodes table, units one after the other.
    log_name : str
        Name of its curation log.
    no_waveforms : str
        Why there are no waveforms that were asked for, and what to do; "" where there are.
    large : sequence of LargeColumn
        Columns that were written apart from the table.
    """

    table: Any
    timed: TimedSpikes
    electrode_rows: NDArray[np.int64] | None
    log_name: str
    no_waveforms: str
    large: Sequence[LargeColumn] = ()


def add_units(
    analyzer: SortingAnalyzer,
    nwbfile: Any,
    options: UnitOptions,
    series: Sequence[Series] | None = None,
    generated_by: bool = True,
) -> AddedUnits:
    """Do the work of `add_units_to_nwbfile`.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    nwbfile : pynwb.NWBFile
    options : UnitOptions
    series : sequence of Series, optional
        Of another file whose clock it is; those of `nwbfile` by default.
    generated_by : bool
        Write into the file that it was generated by this package, too.

    Returns
    -------
    AddedUnits
    """
    pynwb = import_pynwb()
    if not isinstance(nwbfile, pynwb.NWBFile):
        raise ParameterError(f"nwbfile is a {type(nwbfile).__name__}, expected a pynwb.NWBFile")
    faults = Faults()
    check_options(analyzer, options, faults)
    faults.finish()
    check_name_is_free(nwbfile, options.units_name)
    series = electrical_series_of(nwbfile) if series is None else series
    channels = best_channels(analyzer)
    placed = place_on_electrodes(analyzer, nwbfile, options, series)
    timed = _timed_spikes(analyzer, options, placed.series)
    if placed.added is not None:
        check_in_memory(nwbfile)
    ecephys = options.metadata["Ecephys"]
    columns = unit_columns(analyzer, ecephys.get("UnitProperties", ()))
    lineage = lineage_columns(analyzer)
    values = per_spike_columns(analyzer, timed.spikes, options.per_spike)
    waveforms, no_waveforms = None, ""
    if options.write_waveforms:
        waveforms, no_waveforms = waveforms_in_volts(analyzer, channels)
    if placed.added is not None:
        append_in_memory(nwbfile, placed.added)
    rows = add_electrodes(analyzer, nwbfile, ecephys) if placed.rows is None else placed.rows
    content = UnitContent(timed, channels, rows, waveforms, [*columns, *lineage], values)
    table, region = make_table(analyzer, nwbfile, options.units_name, content)
    _attach(nwbfile, table, options.units_name)
    log_name = add_provenance(analyzer, nwbfile, options.units_name, generated_by)
    return AddedUnits(table, timed, region, log_name, no_waveforms)


class Placed(NamedTuple):
    """Electrodes of the channels of an analyzer in a file.

    Attributes
    ----------
    rows : array (n_channels,) int64 or None
        None where the file has no electrodes.
    added : AddedElectrodes or None
        Those that have to be added to the ones that are there.
    series : sequence of Series
        That can be of the probes.
    """

    rows: NDArray[np.int64] | None
    added: AddedElectrodes | None
    series: Sequence[Series]


def place_on_electrodes(
    analyzer: SortingAnalyzer, nwbfile: Any, options: UnitOptions, series: Sequence[Series]
) -> Placed:
    """Find the electrodes of an analyzer in a file, and plan those that it does not have."""
    ecephys, path = options.metadata["Ecephys"], options.electrical_series_path
    there = file_electrodes(nwbfile)
    if there is None:
        if options.electrode_map is not None:
            raise ParameterError("electrode_map is given, and the file has no electrodes")
        check_groups(nwbfile, list(plan_electrodes(analyzer, ecephys).values()))
        return Placed(None, None, series)
    there = in_coordinates_of(analyzer, there)
    placement = place_channels(analyzer, there, series, path, ecephys)
    series = series_of_probe(series, placement, path)
    sorted_one = choose_series(analyzer, series, path)
    rows = match_electrodes(analyzer, there, placement, sorted_one, options.electrode_map)
    if (rows >= 0).all():
        return Placed(rows, None, series)
    added = plan_added(analyzer, nwbfile, there, placement, rows)
    return Placed(added.rows, added, series)


def _timed_spikes(
    analyzer: SortingAnalyzer, options: UnitOptions, series: Sequence[Series]
) -> TimedSpikes:
    """Return the spikes with their times: those that were given, or those of their samples."""
    if options.spike_times is not None:
        return timed_as_given(analyzer, check_spike_times(analyzer, options.spike_times))
    return timed_by_clocks(analyzer, check_clock(analyzer, options, series))


def check_clock(
    analyzer: SortingAnalyzer, options: UnitOptions, series: Sequence[Series]
) -> list[Clock]:
    """Return the clock of each segment; raise where the time of the samples is not known."""
    return resolve_clocks(
        analyzer,
        t_start=options.t_start,
        timestamps=options.timestamps,
        series=series,
        electrical_series_path=options.electrical_series_path,
    )


class Faults:
    """Collects the errors of several checks, so that users see all of them at once."""

    def __init__(self) -> None:
        self.found: list[SiCurationError] = []

    def call(self, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a check; None where it raised, and `finish` will raise."""
        try:
            return check(*args, **kwargs)
        except SiCurationError as fault:
            self.found.append(fault)
            return cast(T, None)

    def finish(self) -> None:
        """Raise the error that was found; of several, `ParameterError` with all of them."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            raise ParameterError("; ".join(map(str, self.found)))


def check_analyzer(analyzer: Any) -> None:
    """Raise ParameterError unless it is an analyzer with units."""
    if not isinstance(analyzer, SortingAnalyzer):
        advice = analyzer_advice(analyzer)
        raise ParameterError(
            f"sorting_analyzer is {short_repr(analyzer)}, expected a SortingAnalyzer"
            + (f": {advice}" if advice else "")
        )
    if len(analyzer.unit_ids) == 0:
        raise ParameterError("the analyzer has no units")


def check_options(analyzer: SortingAnalyzer, options: UnitOptions, faults: Faults) -> None:
    """Check times, values of spikes and the name of the table."""
    faults.call(check_times, analyzer, options.t_start, options.timestamps, options.spike_times)
    if options.spike_times is not None:
        faults.call(check_spike_times, analyzer, options.spike_times)
    faults.call(check_per_spike, options.per_spike)
    faults.call(check_units_name, options.units_name)


def check_units_name(units_name: Any) -> None:
    """Raise ParameterError unless a table can have this name."""
    if (
        not isinstance(units_name, str)
        or not units_name.strip(" .")
        or set(units_name) & set("/:\\\x00")
        or units_name.startswith(LOG)
    ):
        raise ParameterError(
            f"units_name is {units_name!r}, expected a name without slashes and colons, and not "
            f"{LOG}"
        )


def check_name_is_free(nwbfile: Any, units_name: str) -> None:
    """Raise OutputExistsError where the name is taken: units are never overwritten."""
    if units_name == "units":
        if nwbfile.units is not None:
            raise OutputExistsError(
                f"the file has {len(nwbfile.units)} units already, which are never overwritten: "
                "give units_name= for a table beside them (in processing/ecephys)"
            )
    elif MODULE in nwbfile.processing and units_name in nwbfile.processing[MODULE].data_interfaces:
        raise OutputExistsError(
            f"processing/{MODULE}/{units_name} exists already: give another units_name="
        )


def _attach(nwbfile: Any, table: Any, units_name: str) -> None:
    if units_name == "units":
        nwbfile.units = table
        return
    ecephys_module(nwbfile).add(table)

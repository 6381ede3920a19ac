"""`export_to_nwb`: curated units in a file of Neurodata Without Borders, written safely."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from numpy.typing import ArrayLike
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import check_arguments, local_path
from si_curation.errors import (
    FolderNotFoundError,
    NwbExportError,
    ParameterError,
    SiCurationError,
    SiCurationWarning,
)
from si_curation.exporters.nwb.added_electrodes import AddedElectrodes, append_in_file
from si_curation.exporters.nwb.checks import check_written
from si_curation.exporters.nwb.compressed import LargeColumn, fill, packed, set_large_columns_aside
from si_curation.exporters.nwb.copy import check_offsets, sidecar_of
from si_curation.exporters.nwb.file import (
    check_not_open,
    fields_without_offset,
    opened,
    read_nwbfile,
    replaced,
    resolve_target,
    written,
)
from si_curation.exporters.nwb.metadata import add_start, check_start, make_nwbfile, read_metadata
from si_curation.exporters.nwb.optional import import_pynwb
from si_curation.exporters.nwb.provenance import add_programs, programs, sorter_of
from si_curation.exporters.nwb.series import Series, electrical_series_of
from si_curation.exporters.nwb.units import (
    AddedUnits,
    Faults,
    UnitOptions,
    add_units,
    check_analyzer,
    check_clock,
    check_name_is_free,
    check_options,
    place_on_electrodes,
    warn_of_missing_waveforms,
)
from si_curation.progress import counted

logger = logging.getLogger(__name__)

Mode = Literal["new", "sidecar", "export", "append"]
_MODES = ("new", "sidecar", "export", "append")
_LONG_FROM = 1_000_000  # spikes, for a progress bar


def export_to_nwb(
    sorting_analyzer: SortingAnalyzer,
    path: str | Path,
    *,
    metadata: Mapping[str, Any] | str | Path | None = None,
    session_start_time: str | datetime | None = None,
    session_id: str | None = None,
    source_nwb: str | Path | None = None,
    mode: Mode | None = None,
    t_start: float | Sequence[float] | None = None,
    timestamps: ArrayLike | Sequence[ArrayLike] | None = None,
    spike_times: ArrayLike | None = None,
    electrical_series_path: str | None = None,
    electrode_map: Mapping[Any, int] | None = None,
    write_waveforms: bool = True,
    per_spike: Sequence[str] = ("amplitudes",),
    units_name: str = "units",
    overwrite: bool = False,
    progress_bar: bool = True,
) -> Path:
    """Write the units of an analyzer to an NWB file (HDF5).

    The file is written under a temporary name, read back, compared spike by spike and bit for bit,
    and only then given its name: it appears as a whole or not at all.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Of any sorter; no recording is needed if the time is known otherwise.
    path : str or Path
        The file. Must not exist unless `overwrite`. With ``mode="append"`` the file that is added
        to.
    metadata : mapping, str or Path, optional
        ``{"NWBFile": {...}, "Subject": {...}, "Ecephys": {...}}``, as neuroconv has it, or the path
        of a YAML or JSON file of it. A new file needs at least ``NWBFile.session_start_time``
        (a datetime, or text in ISO 8601, with its offset from UTC). ``Ecephys`` may have
        ``Device`` and ``ElectrodeGroup`` (lists of mappings with ``name``, ``description``,
        ``location``, ``device``, ``serial_number``...) and ``UnitProperties`` (mappings with
        ``name`` and ``description``). In a file that has electrodes they say which probe it is.
    session_start_time : str or datetime, optional
        When the session began, such as ``"2024-05-01T12:00:00+02:00"``; the same as
        ``NWBFile.session_start_time`` of the metadata. A time without an offset from UTC is an
        error: which time zone it is in is never assumed.
    session_id : str, optional
        Name of the session, for a file whose metadata, or whose `source_nwb`, have none.
    source_nwb : str or Path, optional
        The file of the recording that was sorted: its electrodes, clock and metadata are used.
    mode : {"new", "sidecar", "export", "append"}, optional
        "new": a file made from the analyzer and `metadata` alone. "sidecar": a new file with the
        metadata, subject and electrodes of `source_nwb`, without its data. "export": a copy of all
        of `source_nwb` with the units added. "append": the units are added to `path` itself (or
        to `source_nwb`, if it is the same file); a file of an older schema is upgraded by that,
        which cannot be undone. By default "sidecar" with `source_nwb`, else "new".
    t_start : float or sequence of float, optional
        Time of the first sample of each segment, in seconds from the session's reference time.
    timestamps : array (n_samples,) or one per segment, optional
        Time of every sample, in seconds from the session's reference time.
    spike_times : array (n_spikes,), optional
        Time of every spike, in seconds from the session's reference time, such as TPrime's. For an
        analyzer of a Kilosort folder one for each row of its ``spike_times.npy``, in that order,
        spikes of removed units included; else one for each of ``spike_vector_of(sorting)``. Only
        one of `t_start`, `timestamps` and `spike_times` can be given.
    electrical_series_path : str, optional
        Of the ElectricalSeries in `source_nwb` whose clock it is, such as
        ``"acquisition/ElectricalSeries"``; needed where there are several.
    electrode_map : mapping of channel id to int, optional
        Id of the row of the file's electrodes table for each channel, where names do not match.
    write_waveforms : bool
        Write ``waveform_mean``. Where the templates are not in µV, or there are none, it is left
        out with a warning.
    per_spike : sequence of str
        What is written of each spike: "amplitudes" (``spike_amplitudes_uV`` where they are in µV,
        else ``ks_amplitudes``), "ks_amplitudes", "depths" (``spike_depths_um``), "template_ids"
        (``spike_template_ids``).
    units_name : str
        "units" is the units table of the file. Any other name is a table of that name in
        ``processing/ecephys``.
    overwrite : bool
        Replace an existing file, once the new one is complete.
    progress_bar : bool
        Show one on long exports.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    MissingDataError
        pynwb is not installed (``pip install "si_curation[nwb]"``), or the time of the samples is
        not known, or what `per_spike` asks for is not there.
    OutputExistsError
        `path` exists, or has units of that name already.
    FolderNotFoundError
        A file does not exist.
    ParameterError
        Arguments are impossible or contradict each other: all problems at once.
    NwbExportError
        The file could not be written, or does not read back as it was written. A file that was
        there before is unchanged.

    See Also
    --------
    add_units_to_nwbfile : the same for a file in memory.

    Notes
    -----
    *Time.* ``timestamps[frame]``, else ``t_start + frame / rate``, from the first of: `timestamps`;
    `t_start`; `electrical_series_path`; the recording's times (a time vector or a start that is
    set); the ElectricalSeries of `source_nwb`, where it has one. A recording without times, or
    none, is an error, never 0. The times of a recording and of the file have to agree, and rates
    that differ by more than half a sample over the session are refused. Segments have to be
    ascending and apart; each is one of the ``obs_intervals``, or its observed parts are
    (`observed_periods`).

    *Times of spikes.* `spike_times` are written as they are, and nothing else is asked for the
    time. They have to be finite and to rise with the samples of the spikes. A time may be less than
    one sample before that of an earlier spike, as happens where TPrime passes from one edge to
    the next. The spikes of a unit are then written in the order of their times, and what
    `per_spike` asks for in the same order. The ``obs_intervals`` go from the first sample of a
    segment to the end of its last one, from its first and last spike at the nominal rate; a
    segment without spikes has none.

    *Units.* ``id`` (the unit ids, where they are whole numbers), ``unit_name``, ``spike_times``,
    ``obs_intervals``, ``electrodes`` (best first, as `template_best_channels`),
    ``electrode_group`` (of the best), ``waveform_mean`` (volts), ``quality``, ``KSLabel``, the
    metrics that are computed, other properties of the sorting, ``original_cluster_ids``,
    ``main_template_id``, ``template_ids``, ``template_spike_counts``, and what `per_spike` asks
    for. Columns without values are left out, which is logged; 0 and 1, or yes and no, are stored as
    booleans; a name that the table or pynapple has for something else, such as ``rate``, gets
    ``_property`` behind it.

    *Electrodes.* Those of `source_nwb` are used and never changed. Two probes of one kind have the
    same channel names and places, so these alone never decide between several. What decides is
    what is known of the probe: ``ElectrodeGroup`` and ``Device`` of the metadata; name and serial
    number of the analyzer's probe; the channel property ``group_name`` or ``group``;
    `electrical_series_path`, or the ElectricalSeries that the recording was read from;
    `electrode_map`. Where two of these disagree, or none is there and several groups fit, the error
    shows both. Within the probe, channels are matched by the columns of the raw data through the
    ElectricalSeries, by the names of channels or contacts, or by their places, and verified by
    geometry. A group that the metadata name on a device, and that is not in the file, is added with
    its electrodes, below those that are there. The clock of another probe is not used.

    *Where it came from.* ``processing/ecephys/curation_log`` has each step;
    ``scratch/curation_json`` the steps of `CurationSession` in SpikeInterface's format;
    ``was_generated_by`` the programs and versions.

    *Storage.* Columns of 2,048 numbers or more are compressed on all cores, in chunks of 1 MiB,
    with HDF5's filter "gzip" and, where that is smaller, "shuffle": every reader has both. The
    extra "nwb" brings a faster library for it (zlib-ng). Without it, the standard one does the
    same.

    *Appending* works on a whole copy beside the file, which takes its place when it is right: it
    needs room for that copy.

    Examples
    --------
    >>> import tempfile
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> metadata = {"NWBFile": {"session_start_time": "2024-05-01T12:00:00+02:00"}}
    >>> path = export_to_nwb(
    ...     analyzer, tempfile.mkdtemp() + "/session.nwb", metadata=metadata, t_start=0.0
    ... )
    >>> from spikeinterface.extractors import read_nwb_sorting
    >>> read_nwb_sorting(path).get_unit_ids()
    array(['4', '7', '8', '9', '10', '11', '12', '13'], dtype='<U2')
    """
    check_arguments(export_to_nwb, locals())
    import_pynwb()
    mode = check_mode(mode, source_nwb)
    check_analyzer(sorting_analyzer)
    faults = Faults()
    options = UnitOptions(
        t_start,
        timestamps,
        spike_times,
        electrical_series_path,
        electrode_map,
        write_waveforms,
        per_spike,
        units_name,
        faults.call(metadata_for, metadata, mode, session_start_time),
        session_id,
    )
    check_options(sorting_analyzer, options, faults)
    faults.call(_check_series_path, electrical_series_path, mode)
    places = faults.call(_places, path, source_nwb, mode, overwrite)
    faults.finish()
    target, source = places
    if mode == "append" or target.exists():
        check_not_open(target)
    num_spikes = spike_vector_of(sorting_analyzer.sorting).size
    hidden = not progress_bar or num_spikes < _LONG_FROM
    with counted(3, f"NWB, {mode}", hidden=hidden, leave=False) as bar:
        with (
            replaced(target, overwrite=overwrite or mode == "append") as part,
            _WRITERS[mode](sorting_analyzer, part, source, options) as added,
        ):
            bar.update(2)
            check_written(part, target, sorting_analyzer, added, units_name)
        bar.update()
    warn_of_missing_waveforms(added)
    logger.info(
        "wrote %d units, %d spikes to %s", len(sorting_analyzer.unit_ids), num_spikes, target
    )
    return target


def problems_of_export(
    sorting_analyzer: SortingAnalyzer,
    metadata: Any,
    session_start_time: str | datetime | None,
    source_nwb: str | Path | None,
    t_start: Any,
) -> list[SiCurationError]:
    """Return the errors that `export_to_nwb` would raise in its default mode, nothing written."""
    import_pynwb()
    faults = Faults()
    mode = check_mode(None, source_nwb)
    known = faults.call(metadata_for, metadata, mode, session_start_time)
    known = known or _NO_METADATA
    faults.call(check_analyzer, sorting_analyzer)
    options = UnitOptions(t_start, None, None, None, None, True, ("amplitudes",), "units", known)
    faults.call(check_options, sorting_analyzer, options, faults)
    faults.call(_check_source, sorting_analyzer, source_nwb, options)
    return faults.found


def _check_source(
    analyzer: SortingAnalyzer, source_nwb: str | Path | None, options: UnitOptions
) -> None:
    """Check clock and electrodes, with those of the source if there is one."""
    if source_nwb is None:
        check_clock(analyzer, options, ())
        return
    source = local_path(source_nwb, "source_nwb").resolve()
    with opened(source) as io:
        original = read_nwbfile(io, source)
        series = electrical_series_of(original)
        check_offsets(options.metadata, fields_without_offset(source))
        placed = place_on_electrodes(analyzer, original, options, series)
        check_clock(analyzer, options, placed.series)


def check_mode(mode: Any, source_nwb: Any) -> Mode:
    """Return the mode; raise if there is no such mode, or it does not go with the source."""
    if mode is None:
        mode = "new" if source_nwb is None else "sidecar"
    if not isinstance(mode, str) or mode not in _MODES:
        raise ParameterError(f"mode is {mode!r}, expected one of {_MODES}")
    if mode == "new" and source_nwb is not None:
        raise ParameterError(
            "mode 'new' takes no source_nwb: leave it out, or use 'sidecar', 'export' or 'append'"
        )
    if mode in ("sidecar", "export") and source_nwb is None:
        raise ParameterError(f"mode {mode!r} needs source_nwb")
    return mode  # type: ignore[return-value]


def _places(
    path: str | Path, source_nwb: str | Path | None, mode: Mode, overwrite: bool
) -> tuple[Path, Path | None]:
    try:
        return _check_places(path, source_nwb, mode, overwrite)
    except PermissionError as fault:
        raise NwbExportError(f"{fault.filename} cannot be reached: {fault.strerror}") from None


def _check_places(
    path: str | Path, source_nwb: str | Path | None, mode: Mode, overwrite: bool
) -> tuple[Path, Path | None]:
    target = resolve_target(path, must_be_there=mode == "append", overwrite=overwrite)
    source = target if mode == "append" else None
    if source_nwb is not None:
        source = local_path(source_nwb, "source_nwb").resolve()
        if not source.is_file():
            raise FolderNotFoundError(f"{source} does not exist, expected the NWB file to read")
        same = source == target or (target.exists() and source.samefile(target))
        if mode == "append" and not same:
            raise ParameterError(
                f"mode 'append' adds to {target}, and source_nwb is another file, {source}"
            )
        if mode != "append" and same:
            raise ParameterError(
                f"path and source_nwb are the same file, {source}: give another path, or "
                "mode='append'"
            )
    return target, source


def _check_series_path(path: Any, mode: Mode) -> None:
    if path is not None and mode == "new":
        raise ParameterError("electrical_series_path is of a file: give source_nwb= too")
    if path is not None and not isinstance(path, str):
        raise ParameterError(f"electrical_series_path is {path!r}, expected text")


def metadata_for(
    metadata: Any, mode: Mode, session_start_time: str | datetime | None
) -> dict[str, dict[str, Any]]:
    """Return the metadata of a file that is written in a mode, checked for it."""
    known = read_metadata(metadata)
    add_start(known, session_start_time)
    if mode == "new":
        check_start(known["NWBFile"])
    given = [name for name in ("NWBFile", "Subject") if known[name]]
    if mode in ("export", "append") and given:
        raise ParameterError(
            f"mode {mode!r} keeps the metadata of the file as they are: leave out {given}, or use "
            "mode='sidecar'"
        )
    return known


# One function per mode: each writes `part` and yields what was added, while the source, which may
# hold the times of the samples, is open.


@contextmanager
def _new(
    analyzer: SortingAnalyzer, part: Path, source: None, options: UnitOptions
) -> Iterator[AddedUnits]:
    sorter = " ".join(filter(None, sorter_of(analyzer)))
    defaults = {
        "session_description": f"spike sorting by {sorter}" if sorter else "spike sorting",
        "identifier": str(uuid4()),
        **({} if options.session_id is None else {"session_id": options.session_id}),
    }
    nwbfile = make_nwbfile(options.metadata, defaults)
    added = add_units(analyzer, nwbfile, options)
    yield _write(nwbfile, added, part)


def _write(nwbfile: Any, added: AddedUnits, part: Path) -> AddedUnits:
    large = set_large_columns_aside(added.table)
    with packed(large) as chunks, written(part, "w") as io:
        io.write(nwbfile)
        fill(chunks)
    return replace(added, large=large)


@contextmanager
def _sidecar(
    analyzer: SortingAnalyzer, part: Path, source: Path, options: UnitOptions
) -> Iterator[AddedUnits]:
    with opened(source) as io:
        original = read_nwbfile(io, source)
        known = fields_without_offset(source)
        nwbfile = sidecar_of(original, options.metadata, options.session_id, known)
        added = add_units(analyzer, nwbfile, options, electrical_series_of(original))
        yield _write(nwbfile, added, part)


@contextmanager
def _export(
    analyzer: SortingAnalyzer, part: Path, source: Path, options: UnitOptions
) -> Iterator[AddedUnits]:
    with opened(source) as io:
        nwbfile = read_nwbfile(io, source)
        _check_offsets(source)
        check_name_is_free(nwbfile, options.units_name)
        series = electrical_series_of(nwbfile)
        placed = place_on_electrodes(analyzer, nwbfile, options, series)
        has_all = placed.added is None and placed.rows is not None
        large: list[LargeColumn] = []
        if has_all:
            added = add_units(analyzer, nwbfile, options)
            large = set_large_columns_aside(added.table)
            added = replace(added, large=large)
        else:  # electrodes and devices can be added to a file that is written
            add_units(analyzer, sidecar_of(nwbfile, _NO_METADATA), options, series)
            add_programs(nwbfile, programs(analyzer))
        nwbfile.set_modified()
        with packed(large) as chunks, written(part, "w") as out:
            out.export(src_io=io, nwbfile=nwbfile)
            fill(chunks)
        if not has_all:
            added = _add_to_copy(analyzer, part, options, series, placed.added)
        yield added


def _check_offsets(source: Path) -> None:
    """Refuse times without an offset, which the copy would have with that of this computer."""
    known = fields_without_offset(source)
    if known:
        shown = " and ".join(f"{name} ({value})" for name, value in known.items())
        raise ParameterError(
            f"{source} has {shown} without an offset from UTC, which the copy would have in the "
            "time zone of this computer: use mode='sidecar' with the times in the metadata, or "
            "'append', which leaves them as they are"
        )


@contextmanager
def _append(
    analyzer: SortingAnalyzer, part: Path, source: Path, options: UnitOptions
) -> Iterator[AddedUnits]:
    with opened(source) as io:
        original = read_nwbfile(io, source)
        check_name_is_free(original, options.units_name)
        series = electrical_series_of(original)
        placed = place_on_electrodes(analyzer, original, options, series)
        # in memory alone: problems show up here
        trial = original if placed.added is None else sidecar_of(original, _NO_METADATA)
        add_units(analyzer, trial, options, series)
        _warn_of_upgrade(source)
        free, needed = shutil.disk_usage(source.parent).free, source.stat().st_size
        if free < needed:
            raise NwbExportError(
                f"{source} has {needed} bytes, and {free} are free beside it: appending needs room "
                "for a copy; use mode='sidecar'"
            )
        shutil.copyfile(source, part)
        yield _add_to_copy(analyzer, part, options, series, placed.added)


_NO_METADATA: dict[str, dict[str, Any]] = {"NWBFile": {}, "Subject": {}, "Ecephys": {}}


def _add_to_copy(
    analyzer: SortingAnalyzer,
    part: Path,
    options: UnitOptions,
    series: Sequence[Series],
    electrodes: AddedElectrodes | None,
) -> AddedUnits:
    """Add the units, and before them the electrodes that are missing, to a copy of a file."""
    if electrodes is not None:
        append_in_file(part, electrodes)
        ids = dict(zip(analyzer.channel_ids.tolist(), electrodes.all_ids.tolist(), strict=True))
        options = replace(options, electrode_map=ids, electrical_series_path=None)
    with written(part, "r+") as out:
        nwbfile = read_nwbfile(out, part)
        added = add_units(analyzer, nwbfile, options, series, generated_by=False)
        large = set_large_columns_aside(added.table)
        with packed(large) as chunks:
            out.write(nwbfile)
            fill(chunks)
    return replace(added, large=large)


def _warn_of_upgrade(source: Path) -> None:
    """Warn where the file is of an older schema."""
    import h5py
    from pynwb import get_manager

    with h5py.File(source, "r") as file:
        there = str(file.attrs.get("nwb_version", ""))
    current = get_manager().namespace_catalog.get_namespace("core").version
    if there != current:
        warnings.warn(
            f"{source} is of NWB schema {there or 'unknown'}: appending upgrades it to {current}, "
            "which cannot be undone; mode='export' or 'sidecar' leaves it as it is",
            SiCurationWarning,
            stacklevel=6,
        )


_WRITERS: dict[str, Any] = {
    "new": _new,
    "sidecar": _sidecar,
    "export": _export,
    "append": _append,
}

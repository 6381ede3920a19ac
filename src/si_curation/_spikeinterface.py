"""The only file that touches private names of SpikeInterface and of spikeinterface-gui."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import spikeinterface.core.sortinganalyzer as _si_sortinganalyzer
import zarr
from numpy.typing import NDArray
from probeinterface import ProbeGroup, write_probeinterface
from spikeinterface.core import (
    BaseRecording,
    BaseSorting,
    ChannelSliceRecording,
    ChannelSparsity,
    NumpySorting,
    SortingAnalyzer,
    append_recordings,
    concatenate_recordings,
    load_sorting_analyzer,
)
from spikeinterface.core.base import minimum_spike_dtype
from spikeinterface.core.core_tools import check_json, save_annotations_to_folder
from spikeinterface.core.node_pipeline import PipelineNode
from spikeinterface.core.numpyextractors import SpikeVectorSortingSegment
from spikeinterface.core.segmentutils import ConcatenateSegmentRecording
from spikeinterface.core.sortinganalyzer import (
    AnalyzerExtension,
    get_extension_class,
    register_result_extension,
)

from si_curation.checks import check_arguments
from si_curation.files import arrays_beside, replace_file, scratch_array, temporary_name

_BYTES_AT_ONCE = 64_000_000
#: Arrays of more bytes are written by this package, side by side, and not by SpikeInterface.
_LARGE = 1_000_000
INJECTED_RUN_INFO = {"run_completed": True, "runtime_s": 0.0}


def announce_extension(name: str, module: str, deleted_with: Sequence[str] = ()) -> None:
    """Register an extension by its name; its module is imported when SpikeInterface meets that.

    SpikeInterface has no plug-in hook: its list of built-in extensions is what makes
    ``compute(name)``, ``get_computable_extensions`` and the loading of saved extensions work.

    Parameters
    ----------
    name : str
    module : str
        It calls `register_extension`.
    deleted_with : sequence of str
        Extensions of SpikeInterface's core. This one is deleted when one of them is computed,
        which it may use and does not need.
    """
    _si_sortinganalyzer._extension_children.setdefault(name, [])
    for parent in deleted_with:
        children = _si_sortinganalyzer._extension_children[parent]
        if name not in children:
            children.append(name)
    if hasattr(_si_sortinganalyzer, "_builtin_extensions"):
        _si_sortinganalyzer._builtin_extensions[name] = module
    else:
        importlib.import_module(module)


def register_extension(extension_class: type[AnalyzerExtension]) -> None:
    """Register an extension; see `announce_extension`."""
    register_result_extension(extension_class)


def _check_analyzer(sorting_analyzer: SortingAnalyzer) -> None:
    """Raise what is wrong where something else is given."""
    check_arguments(_check_analyzer, locals())


def extension_function(extension_class: type[AnalyzerExtension]) -> Callable[..., Any]:
    """Return the function that computes an extension and returns its data.

    As those that SpikeInterface makes of its extensions, with a signature, and with a clear error
    where no analyzer is given.
    """
    name = extension_class.extension_name

    def compute(sorting_analyzer: SortingAnalyzer, **job_kwargs: Any) -> Any:
        _check_analyzer(sorting_analyzer)
        return sorting_analyzer.compute(name, **job_kwargs).get_data()

    function: Any = compute
    function.__name__ = function.__qualname__ = f"compute_{name}"
    function.__module__ = extension_class.__module__
    function.__doc__ = extension_class.__doc__
    of_extension = inspect.signature(extension_class._set_params).parameters.values()
    own = [
        one.replace(kind=one.KEYWORD_ONLY)
        for one in of_extension
        if one.name != "self" and one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    first, others = inspect.signature(compute).parameters.values()
    function.__signature__ = inspect.Signature([first, *own, others])
    return function


def make_memory_analyzer(
    sorting: NumpySorting,
    recording: BaseRecording | None,
    rec_attributes: dict[str, Any],
    sparsity: Any,
    return_in_uV: bool,
    main_channel_indices: NDArray[np.integer],
    peak_sign: str = "both",
    peak_mode: str = "peak_to_peak",
) -> SortingAnalyzer:
    """Make an in-memory analyzer without a second copy of the spikes.

    By default the main channel of a unit is phy's best channel, which has the largest peak-to-peak
    amplitude.
    """
    analyzer = SortingAnalyzer.create_memory(
        sorting,
        recording,
        sparsity,
        return_in_uV,
        peak_sign=peak_sign,
        peak_mode=peak_mode,
        rec_attributes=rec_attributes,
        copy_sorting=False,
    )
    set_main_channels(analyzer, main_channel_indices)
    return analyzer


def make_numpy_sorting(
    spikes: NDArray[np.void], sampling_frequency: float, unit_ids: NDArray, num_segments: int
) -> NumpySorting:
    """Return a sorting of a spike vector, also of segments at whose end there are no spikes."""
    sorting = NumpySorting(spikes, sampling_frequency, unit_ids)
    for segment in range(sorting.get_num_segments(), num_segments):
        sorting.add_sorting_segment(SpikeVectorSortingSegment(spikes, segment, unit_ids))
    return sorting


def set_main_channels(analyzer: SortingAnalyzer, main_channel_indices: NDArray) -> None:
    """Set the main channel of every unit, on disk too."""
    main_channel_ids = analyzer.channel_ids[main_channel_indices]
    analyzer.set_sorting_property("main_channel_id", main_channel_ids)
    analyzer._main_channel_indices = None
    use_stored_main_channels(analyzer)


def use_stored_main_channels(analyzer: SortingAnalyzer) -> None:
    """Make an analyzer without recording use the main channels that it stores.

    SpikeInterface 0.105 looks at the stored ``main_channel_id`` only where there is a recording;
    otherwise it treats the analyzer as one of an older version, warns and estimates them.
    """
    if getattr(analyzer, "_main_channel_indices", 0) is not None or analyzer.has_recording():
        return
    stored = analyzer.sorting.get_property("main_channel_id")
    if stored is not None and np.isin(stored, analyzer.channel_ids).all():
        analyzer._main_channel_indices = analyzer.channel_ids_to_indices(stored)


def spike_vector_of(sorting: BaseSorting) -> Any:
    """Return the spikes of a sorting as a structured array, one row each.

    A zarr folder that was loaded with ``lazy=True`` has an object of zarr arrays instead, which
    neither numpy's functions nor kernels take. It is read once and kept.
    """
    spikes = sorting.to_spike_vector()
    if isinstance(spikes, np.ndarray):
        return spikes
    array = getattr(spikes, "_si_curation_array", None)
    if array is None:
        array = copied(spikes, scratch_array)
        spikes._si_curation_array = array
    return array


def copied(values: Any, empty: Callable[[Any, Any], NDArray]) -> NDArray:
    """Return a copy of an array of any kind, zarr's too, that is made piece by piece.

    Parameters
    ----------
    values : array, zarr array or SpikeInterface's spike vector of a zarr folder
    empty : callable
        Makes the array: `numpy.empty`, `scratch_array`.
    """
    shape = getattr(values, "shape", None) or (values.size,)
    out = empty(shape, values.dtype)
    rows = max(1, _BYTES_AT_ONCE * shape[0] // max(out.nbytes, 1))
    for start in range(0, shape[0], rows):
        out[start : start + rows] = values[start : start + rows]
    return out


def write_analyzer(analyzer: SortingAnalyzer, format: str, folder: Path) -> None:
    """Save an analyzer as ``save_as`` does, without reading it back.

    SpikeInterface takes arrays that were loaded lazily from zarr for written already, and leaves
    them out of another zarr folder: they are read here, those of one extension at a time.
    """
    if analyzer.format != "memory":
        analyzer.load_all_saved_extension()
    sorting = analyzer.sorting.select_units(None)
    spikes = sorting.to_spike_vector()
    # a vector of a zarr folder that was loaded lazily is no array
    apart = format == "binary_folder" and isinstance(spikes, np.ndarray)
    if apart:
        sorting._cached_spike_vector = spikes[:0]  # SpikeInterface would read it back twice
    arguments = (
        folder,
        sorting,
        recording_of(analyzer),
        analyzer.sparsity,
        analyzer.return_in_uV,
        analyzer.peak_sign,
        analyzer.peak_mode,
        analyzer.rec_attributes,
    )
    create = (
        SortingAnalyzer.create_zarr if format == "zarr" else SortingAnalyzer.create_binary_folder
    )
    # lazy: what was written is not read back; of a folder, SpikeInterface would write that down
    made = create(*arguments, backend_options={}, lazy=format == "zarr")
    with arrays_beside() as write:
        if apart:
            spikes_file = folder / "sorting" / "spikes.npy"
            spikes_file.unlink()  # the one without spikes
            write(spikes_file, spikes)
        params = {name: one.params for name, one in analyzer.extensions.items()}
        for name in _si_sortinganalyzer._sort_extensions_by_dependency(params):
            extension = analyzer.extensions[name]
            held = extension.data
            extension.data, large = _without_large(held, format)
            try:
                extension.copy(made)
            finally:
                extension.data = held
            for key, array in large.items():
                write(folder / "extensions" / name / f"{key}.npy", array)


def _without_large(
    data: Mapping[str, Any], format: str
) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Return what SpikeInterface writes of the data of an extension, and what it does not."""
    read = {key: _read_lazy(value) for key, value in data.items()}
    if format != "binary_folder":
        return read, {}
    large = {
        key: one
        for key, one in read.items()
        if isinstance(one, np.ndarray) and one.nbytes > _LARGE and not one.dtype.hasobject
    }
    return {key: one for key, one in read.items() if key not in large}, large


def _read_lazy(value: Any) -> Any:
    return np.asarray(value[:]) if isinstance(value, zarr.Array) else value


def load_written(folder: Path, written: SortingAnalyzer) -> SortingAnalyzer | None:
    """Load an analyzer that `write_analyzer` has just written, with the arrays that it had.

    As ``load_sorting_analyzer``; but the arrays of spikes, and others that are large, are not read
    into memory a second time: they are those of the analyzer that was written. None for spike
    vectors of another kind than SpikeInterface reads.
    """
    spikes = written.sorting.to_spike_vector()
    if not isinstance(spikes, np.ndarray) or spikes.dtype != np.dtype(minimum_spike_dtype):
        return None
    analyzer = load_sorting_analyzer(folder, lazy=True)
    stored = analyzer.sorting
    sorting = NumpySorting(spikes, stored.sampling_frequency, stored.unit_ids.copy())
    stored.copy_metadata(sorting)
    analyzer.sorting, analyzer._lazy = sorting, False
    for name in analyzer.get_saved_extension_names():
        analyzer.extensions[name] = _load_shared(analyzer, name, written.extensions[name])
    return analyzer


def _load_shared(
    analyzer: SortingAnalyzer, name: str, like: AnalyzerExtension
) -> AnalyzerExtension | None:
    """Load an extension, and take the large arrays and those of spikes from one that has them."""
    extension_class = get_extension_class(name)
    extension = extension_class.load(analyzer, lazy=True)
    if extension is None or extension.data.keys() != like.data.keys():  # some are not read lazily
        return extension_class.load(analyzer, lazy=False)
    of_spikes = like.nodepipeline_variables or ()
    for key, values in extension.data.items():
        known = like.data[key]
        if (
            isinstance(known, np.ndarray)
            and (key in of_spikes or _is_large_and_whole(known))
            and (known.shape, known.dtype) == (values.shape, values.dtype)
        ):
            extension.data[key] = known
        elif isinstance(values, np.memmap | zarr.Array):
            extension.data[key] = np.array(values)
    return extension


def _is_large_and_whole(array: NDArray) -> bool:
    """Return whether an array is large, in memory, and not a part of a larger one."""
    owner = array if array.base is None else array.base
    is_whole = isinstance(owner, np.ndarray) and owner.base is None and owner.nbytes == array.nbytes
    return array.nbytes > _LARGE and array.flags.c_contiguous and array.flags.writeable and is_whole


def segment_samples_of(analyzer: SortingAnalyzer) -> NDArray[np.int64]:
    """Return the length of each segment in samples."""
    segments = range(analyzer.get_num_segments())
    return np.array([analyzer.get_num_samples(i) for i in segments], dtype=np.int64)


def samples_end_to_end(
    analyzer: SortingAnalyzer, spikes: NDArray[np.integer] | slice = slice(None)
) -> NDArray[np.int64]:
    """Return the samples of spikes as if each segment began where the one before it ends.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    spikes : array (n,) integer or slice
        Positions in the spike vector; all by default.

    Returns
    -------
    array (n,) int64
    """
    vector = spike_vector_of(analyzer.sorting)
    lengths = segment_samples_of(analyzer)
    starts = np.cumsum(lengths) - lengths
    samples = vector["sample_index"][spikes] + starts[vector["segment_index"][spikes]]
    return np.asarray(samples, dtype=np.int64)


def recording_of(analyzer: SortingAnalyzer) -> BaseRecording | None:
    """Return the recording of an analyzer, a temporary one too, or None."""
    has_one = analyzer.has_recording() or analyzer.has_temporary_recording()
    return analyzer.recording if has_one else None


def arguments_of(extractor: BaseRecording | BaseSorting) -> dict[str, Any]:
    """Return what a recording or a sorting was made with; {} where it does not know."""
    return dict(getattr(extractor, "_kwargs", None) or {})


def rec_attributes_of(analyzer: SortingAnalyzer) -> dict[str, Any]:
    """Return a copy of the attributes that an analyzer keeps of its recording."""
    return dict(analyzer.rec_attributes)


def set_probegroup(analyzer: SortingAnalyzer, group: ProbeGroup) -> None:
    """Replace the probes of an analyzer by the same with more known of them, on disk too."""
    analyzer.rec_attributes["probegroup"] = group
    if analyzer.format == "memory" or analyzer.is_read_only():
        return
    if analyzer.format == "zarr":
        information = analyzer._get_zarr_root()["recording_info"]
        information.attrs["probegroup"] = check_json(group.to_dict(array_as_list=True))
    else:
        write_probeinterface(analyzer.folder / "recording_info" / "probegroup.json", group)


def start_frames_of(analyzer: SortingAnalyzer) -> list[int]:
    """Return where slices of the sorting and of the recording of an analyzer begin, in samples.

    SpikeInterface moves the times of a slice to its beginning. The recording knows where that is;
    of the sorting only the start time of its segment is left in an analyzer.
    """
    frames = []
    recording = recording_of(analyzer)
    total = 0
    while recording is not None:
        start = recording._kwargs.get("start_frame")
        if start:
            total += int(start)
        recording = _recording_behind(recording)
    if total:
        frames.append(total)
    segment = analyzer.sorting.segments[0]
    start_s = getattr(segment, "_t_start", None)
    if start_s:
        frames.append(round(float(start_s) * analyzer.sampling_frequency))
    return frames


def is_joined(analyzer: SortingAnalyzer) -> bool:
    """Return whether an analyzer has several segments, or a recording put together from several."""
    recording = recording_of(analyzer)
    while recording is not None:
        if len(recording._kwargs.get("recording_list") or ()) > 1:
            return True
        recording = _recording_behind(recording)
    return analyzer.get_num_segments() > 1


def lengths_of_parts(analyzer: SortingAnalyzer) -> list[int]:
    """Return the lengths of the segments, else of the recordings that were concatenated."""
    num_segments = analyzer.get_num_segments()
    if num_segments > 1:
        return [int(analyzer.get_num_samples(i)) for i in range(num_segments)]
    recording = recording_of(analyzer)
    while recording is not None:
        arguments = recording._kwargs
        if len(arguments.get("recording_list") or ()) > 1:
            return [int(one.get_total_samples()) for one in arguments["recording_list"]]
        if arguments.get("start_frame"):
            return []
        recording = _recording_behind(recording)
    return []


def _recording_behind(recording: BaseRecording) -> BaseRecording | None:
    """Return the recording that another one was made from; None where there is none, or several."""
    arguments = recording._kwargs
    alone: Sequence[BaseRecording] = arguments.get("recording_list") or ()
    behind = arguments.get("recording") or arguments.get("parent_recording")
    return alone[0] if len(alone) == 1 else behind


def recording_of_parts(
    recording: BaseRecording, parts: Sequence[tuple[int, int, int]]
) -> BaseRecording:
    """Return parts of the segments of a recording, each as a segment.

    Parameters
    ----------
    recording : BaseRecording
    parts : sequence of (int, int, int)
        Segment, first sample, sample after the last.

    Returns
    -------
    BaseRecording
        With the times that are known: of the recording, or of the one that was concatenated. A part
        of a recording without times begins at 0.
    """
    pieces = []
    for segment, start, stop in parts:
        one = recording
        if recording.get_num_segments() > 1:
            one = recording.select_segments([segment])
        pieces.append(_slice_of(one, start, stop))
    return pieces[0] if len(pieces) == 1 else append_recordings(pieces)


def _slice_of(recording: BaseRecording, start: int, stop: int) -> BaseRecording:
    if start == 0 and stop == recording.get_num_samples():
        return recording
    original = _concatenated_one(recording, start, stop)
    if original is not None:
        return original
    times = recording.segments[0].get_times_kwargs()
    has_times = times["time_vector"] is not None or times["t_start"] is not None
    part = recording.frame_slice(start, stop)
    # SpikeInterface gives a slice the start time of its place in the whole; this takes it away
    return part if has_times else concatenate_recordings([part])


def _concatenated_one(recording: BaseRecording, start: int, stop: int) -> BaseRecording | None:
    """Return the recording that was concatenated at a place, with its own times; None: no such."""
    arguments, whole = arguments_of(recording), recording
    while isinstance(whole, ChannelSliceRecording):
        renamed = arguments.get("renamed_channel_ids")
        if renamed is not None and list(renamed) != list(arguments["channel_ids"]):
            return None
        whole = whole.get_parent()
        arguments = arguments_of(whole)
    if not isinstance(whole, ConcatenateSegmentRecording):
        return None
    first = 0
    for one in arguments["recording_list"]:
        for segment in range(one.get_num_segments()):
            length = int(one.get_num_samples(segment))
            if (first, first + length) == (start, stop):
                if one.get_num_segments() > 1:
                    one = one.select_segments([segment])
                found = one.select_channels(recording.channel_ids)
                recording.copy_metadata(found)
                return found
            first += length
    return None


def replace_extension(
    analyzer: SortingAnalyzer, name: str, data: dict[str, Any], params: Mapping[str, Any]
) -> AnalyzerExtension:
    """Put an extension whose data are ready in the place of the one that is there.

    As ``compute``, what depends on it is deleted, but only after its data are there.
    """
    for child in _si_sortinganalyzer._get_children_dependencies(name):
        if analyzer.has_extension(child):
            analyzer.delete_extension(child)
    extension = get_extension_class(name)(analyzer)
    if isinstance(extension, KeptOnFailure):
        extension.delete_what_was_made_of_it()
    extension.params = dict(params)
    extension.run_info = dict(INJECTED_RUN_INFO)
    extension.data = data
    if analyzer.format != "memory" and not analyzer.is_read_only():
        extension.save()
    analyzer.extensions[name] = extension
    return extension


def copy_annotations(source: BaseSorting, target: BaseSorting) -> None:
    """Copy all annotations of a sorting."""
    target._annotations = copy.deepcopy(source._annotations)


def keep_annotations(before: SortingAnalyzer, after: SortingAnalyzer) -> None:
    """Annotate the sorting of an analyzer as the one that it was made from, on disk too.

    SpikeInterface leaves annotations out where units are merged or split, and where an analyzer on
    disk is made anew from what its sorting was made from. What is annotated already stays.
    """
    known = after.sorting._annotations
    missing = {key: one for key, one in before.sorting._annotations.items() if key not in known}
    if not missing:
        return
    known.update(copy.deepcopy(missing) if after.format == "memory" else check_json(missing))
    _save_annotations(after)


def set_annotation(analyzer: SortingAnalyzer, name: str, value: str | None, save: bool) -> None:
    """Annotate the sorting of an analyzer, on disk too; None takes the annotation away."""
    known = analyzer.sorting._annotations
    if value is None:
        known.pop(name, None)
    else:
        known[name] = value
    if save and not analyzer.is_read_only():
        _save_annotations(analyzer)
        if analyzer.format == "zarr":
            zarr.consolidate_metadata(analyzer._get_zarr_root(mode="r+").store)


def _save_annotations(analyzer: SortingAnalyzer) -> None:
    """Write the annotations of the sorting of an analyzer that is on disk."""
    if analyzer.format == "binary_folder":
        save_annotations_to_folder(analyzer.folder / "sorting", analyzer.sorting)
    elif analyzer.format == "zarr":
        annotations = check_json(analyzer.sorting._annotations)
        analyzer._get_zarr_root()["sorting"].attrs["annotations"] = annotations


def inject_extension(
    analyzer: SortingAnalyzer, name: str, data: dict[str, Any], params: Mapping[str, Any]
) -> None:
    """Add an extension whose data are ready to an in-memory analyzer."""
    extension = get_extension_class(name)(analyzer)
    extension.params = dict(params)
    extension.run_info = dict(INJECTED_RUN_INFO)
    extension.data = data
    analyzer.extensions[name] = extension


class _MadeLater:
    """An extension whose data are made when something first asks for them."""

    _made: dict[str, Any] | None
    _make: Callable[[], dict[str, Any]]

    @property
    def data(self) -> dict[str, Any]:
        """What the extension holds."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @data.setter
    def data(self, data: dict[str, Any]) -> None:
        self._made = data


@functools.cache
def _made_later(extension_class: type[AnalyzerExtension]) -> Any:
    """Return a class of the same name, under which it is saved, whose data are made later."""
    same = {key: getattr(extension_class, key) for key in ("__module__", "__qualname__", "__doc__")}
    return type(extension_class.__name__, (_MadeLater, extension_class), same)


def inject_extension_for_later(
    analyzer: SortingAnalyzer,
    name: str,
    make: Callable[[], dict[str, Any]],
    params: Mapping[str, Any],
) -> None:
    """Add an extension to an in-memory analyzer whose data are made when they are asked for."""
    extension = _made_later(get_extension_class(name))(analyzer)
    extension.params = dict(params)
    extension.run_info = dict(INJECTED_RUN_INFO)
    extension._made, extension._make = None, make
    analyzer.extensions[name] = extension


def compute_in_memory(analyzer: SortingAnalyzer, name: str, **params: Any) -> AnalyzerExtension:
    """Compute an extension that is not there; nothing on disk changes, nothing is deleted.

    ``compute(name, save=False)`` deletes the extensions that depend on it, from the disk too.
    """
    extension = get_extension_class(name)(analyzer)
    extension.set_params(save=False, **params)
    extension._run()
    if isinstance(extension, KeptOnFailure):
        extension._attempt = None
    extension.run_info = dict(INJECTED_RUN_INFO)
    analyzer.extensions[name] = extension
    return extension


def copy_extension(
    extension: AnalyzerExtension, analyzer: SortingAnalyzer, data: dict[str, Any]
) -> AnalyzerExtension:
    """Make the same extension of another analyzer, with other data, and save it."""
    new = type(extension)(analyzer)
    new.params = dict(extension.params)
    new.run_info = copy.copy(extension.run_info)
    new.data = data
    new.save()
    return new


def put_extension(
    analyzer: SortingAnalyzer, like: AnalyzerExtension, data: dict[str, Any]
) -> AnalyzerExtension:
    """Add an extension to an analyzer, with the parameters of one of another analyzer."""
    extension = copy_extension(like, analyzer, data)
    analyzer.extensions[extension.extension_name] = extension
    return extension


def data_of(extension: AnalyzerExtension) -> dict[str, Any]:
    """Return the data of an extension of SpikeInterface or of another package, not a copy."""
    return extension.data


def borrowed_data_of(extension: AnalyzerExtension) -> dict[str, Any]:
    """Return the data of an extension for another analyzer that does not live as long.

    SpikeInterface closes the maps of files that an analyzer has when it is deleted, whoever else
    reads them: these are given as plain arrays.
    """
    return {
        name: value.view(np.ndarray) if isinstance(value, np.memmap) else value
        for name, value in extension.data.items()
    }


def set_node_arguments(node: PipelineNode, **arguments: Any) -> None:
    """Set with what arguments SpikeInterface makes a node anew in other processes."""
    node._kwargs.update(arguments)


def set_extension_data(extension: AnalyzerExtension, data: Mapping[str, Any]) -> None:
    """Replace data of an extension, on disk too."""
    extension.data.update(data)
    if extension.format != "memory":
        extension.save()


def run_again(extension: AnalyzerExtension) -> None:
    """Compute an extension again with its parameters, nothing that depends on it is deleted."""
    with np.errstate(invalid="ignore", divide="ignore"):  # units without a template: NaN
        extension._run()
    if extension.format != "memory":
        extension.save()


def extensions_in_order(analyzer: SortingAnalyzer) -> list[str]:
    """Return the names of the loaded extensions, each after those that it depends on."""
    registered = {one.extension_name for one in _si_sortinganalyzer._possible_extensions}
    params = {n: one.params for n, one in analyzer.extensions.items() if n in registered}
    in_order = list(_si_sortinganalyzer._sort_extensions_by_dependency(params))
    return in_order + [name for name in analyzer.extensions if name not in params]


def merge_extension(
    extension: AnalyzerExtension,
    after: SortingAnalyzer,
    merge_unit_groups: list[list[Any]],
    new_unit_ids: list[Any],
) -> None:
    """Carry an extension over to an analyzer after merges, as ``merge_units`` does."""
    name = extension.extension_name
    after.extensions[name] = extension.merge(
        after, merge_unit_groups=merge_unit_groups, new_unit_ids=new_unit_ids
    )


def split_extension(
    extension: AnalyzerExtension,
    after: SortingAnalyzer,
    split_units: dict[Any, list[NDArray]],
    new_unit_ids: list[list[Any]],
) -> None:
    """Carry an extension over to an analyzer after splits, as ``split_units`` does."""
    name = extension.extension_name
    after.extensions[name] = extension.split(
        after, split_units=split_units, new_unit_ids=new_unit_ids
    )


def data_of_selected_units(extension: AnalyzerExtension, unit_ids: NDArray) -> dict[str, Any]:
    """Return the data of an extension of SpikeInterface for some of its units."""
    return extension._select_units_extension_data(unit_ids)


def data_with_new_units(
    extension: AnalyzerExtension, new_unit_ids: NDArray, after: SortingAnalyzer
) -> dict[str, Any]:
    """Return the data of an extension of SpikeInterface whose rows hang on one unit each.

    Its method for merges takes over the rows of units that are not new, and computes those of the
    new units from the new analyzer, whatever they were made of.
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # units without a template: NaN
        return extension._merge_extension_data([], list(new_unit_ids), after)


def set_channels_of_units(analyzer: SortingAnalyzer, mask: NDArray[np.bool_]) -> None:
    """Set on which channels the units of a sparse analyzer are, on disk too."""
    analyzer.sparsity = ChannelSparsity(mask, analyzer.unit_ids, analyzer.channel_ids)
    if analyzer.format == "binary_folder":
        replace_file(analyzer.folder / "sparsity_mask.npy", mask)
    elif analyzer.format == "zarr":
        analyzer._get_zarr_root()["sparsity_mask"][...] = mask


def loaded_extensions(analyzer: SortingAnalyzer) -> dict[str, AnalyzerExtension]:
    """Return the extensions that an analyzer has in memory, without loading others."""
    return analyzer.extensions


def forget_run_times(analyzer: SortingAnalyzer) -> None:
    """Set the run times of the loaded extensions to 0, so that equal results are saved as equal."""
    for extension in analyzer.extensions.values():
        if extension.run_info is not None:
            extension.run_info["runtime_s"] = 0.0


def extension_parameters(name: str) -> dict[str, inspect.Parameter]:
    """Return the parameters that ``analyzer.compute(name, ...)`` takes, by name."""
    signature = inspect.signature(get_extension_class(name)._set_params)
    return {key: value for key, value in signature.parameters.items() if key != "self"}


def set_parameters(
    sorting_analyzer: SortingAnalyzer, name: str, params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters with which an extension would be computed; raise what it would."""
    return get_extension_class(name)(sorting_analyzer)._set_params(**params)


def gui_background_color() -> str:
    """Return the background colour of spikeinterface-gui's pages in the browser."""
    from spikeinterface_gui.utils_panel import _bg_color

    return _bg_color


def result_destination(extension: AnalyzerExtension, name: str) -> dict[str, Any]:
    """Return where the result of an extension that is being computed is written.

    Returns
    -------
    dict
        Arguments of SpikeInterface's ``run_node_pipeline``: the final file or zarr array of an
        analyzer on disk, else memory.
    """
    analyzer = extension.sorting_analyzer
    to_disk = getattr(extension, "_save_to_disk", False)
    if not to_disk or analyzer.format not in ("binary_folder", "zarr"):
        return {"gather_mode": "memory"}
    folder = analyzer.folder / "extensions" / extension.extension_name
    if analyzer.format == "zarr":
        return {"gather_mode": "zarr", "dest": [folder / name], "names": [name]}
    return {"gather_mode": "npy", "dest": [folder / f"{name}.npy"], "names": [name]}


def as_array(values: Any) -> NDArray:
    """Return extension data (an array, a memory map or a zarr array) as an array."""
    return values if isinstance(values, np.ndarray) else np.asarray(values[:])


@contextmanager
def without_provenance_warnings() -> Iterator[None]:
    """Silence SpikeInterface's warnings about a missing recording, where none is intended."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The extractor is not serializable")
        warnings.filterwarnings("ignore", message="Recording not provided")
        yield


class KeptOnFailure(AnalyzerExtension):
    """An extension that is not lost where computing it anew fails.

    SpikeInterface deletes what is there before it looks at the parameters, and again when anything
    fails. Here the parameters are checked first, and what is on the disk is put aside until the
    new data are there.
    """

    #: Extensions that are deleted when this one has been computed anew. SpikeInterface deletes
    #: those that name it in `depend_on` before that, and so where it fails, too.
    used_by: tuple[str, ...] = ()
    _attempt: str | None = None  # of a new instance: "checking", "running"
    _aside: Path | None = None

    def set_params(self, save: bool = True, **params: Any) -> None:
        """Set the parameters; what was saved with others is kept until `run` has ended."""
        self._attempt = "checking"
        self._set_params(**params)  # raises where they cannot be used
        self._attempt = "running"
        if save and not self.sorting_analyzer.is_read_only():
            self._put_aside()
        super().set_params(save=save, **params)

    def run(self, save: bool = True, **kwargs: Any) -> None:
        """Compute the data and save them; then forget those that were there."""
        super().run(save=save, **kwargs)
        if not self.sorting_analyzer._lazy:  # else SpikeInterface reads it into memory
            for key, values in self.data.items():
                if isinstance(values, zarr.Array | np.memmap) and values.ndim:
                    self.data[key] = copied(values, scratch_array)
        self._attempt = None
        self.delete_what_was_made_of_it()
        if self._aside is not None:
            shutil.rmtree(self._aside, ignore_errors=True)
            self._aside = None

    def delete_what_was_made_of_it(self) -> None:
        """Delete the extensions that were computed from other data of this one."""
        for name in self.used_by:
            if self.sorting_analyzer.has_extension(name):
                self.sorting_analyzer.delete_extension(name)

    def _saved_folder(self) -> Path | None:
        analyzer = self.sorting_analyzer
        if analyzer.format == "memory" or not Path(str(analyzer.folder)).is_dir():
            return None
        return Path(str(analyzer.folder)) / "extensions" / self.extension_name

    def _put_aside(self) -> None:
        saved = self._saved_folder()
        if saved is None or not saved.is_dir():
            return
        old = self.sorting_analyzer.extensions.get(self.extension_name)
        if old is not None and old is not self:
            old._close_memmaps()  # Windows renames no file that is open
        aside = temporary_name(saved.parent.parent / self.extension_name)
        os.rename(saved, aside)
        self._aside = aside

    def _delete_extension_folder(self) -> None:
        """Delete it on the disk; called by SpikeInterface where computing failed, put it back."""
        fault, attempt = sys.exc_info()[1], self._attempt
        self._attempt = None
        if fault is None or attempt is None:
            super()._delete_extension_folder()
            return
        if attempt == "checking":  # SpikeInterface would forget the one that is there
            raise fault
        super()._delete_extension_folder()
        saved = self._saved_folder()
        if self._aside is not None and saved is not None:
            os.rename(self._aside, saved)
            self._aside = None
            if self.format == "zarr":
                zarr.consolidate_metadata(self.sorting_analyzer._get_zarr_root(mode="r+").store)
        elif self.format == "memory":
            raise fault


def mend_old_imputers(pipeline: Any) -> None:
    """Make imputers of another scikit-learn usable, as SpikeInterface does for its models."""
    try:
        from spikeinterface.curation.model_based_curation import (
            _patch_sklearn_imputer_compatibility,
        )
    except ImportError:  # SpikeInterface no longer needs it
        return
    _patch_sklearn_imputer_compatibility(pipeline)

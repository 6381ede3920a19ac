"""Extension `template_assignment`: which of the sorter's templates each unit is made of."""

from __future__ import annotations

import itertools
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import spikeinterface.metrics
import spikeinterface.postprocessing  # noqa: F401  (before registering; see _spikeinterface.py)
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import SortingAnalyzer
from spikeinterface.core.analyzer_extension_core import BaseSpikeVectorExtension
from spikeinterface.core.core_tools import materialize_array, slice_rows

from si_curation._spikeinterface import (
    as_array,
    extension_function,
    register_extension,
    replace_extension,
    spike_vector_of,
    use_stored_main_channels,
)
from si_curation.checks import Checks, check_arguments, is_boolean, short_repr, unit_index_of
from si_curation.errors import (
    MissingDataError,
    ParameterError,
    SiCurationError,
    SiCurationWarning,
)
from si_curation.extensions.changes import UnitChange, UnitsExtension
from si_curation.extensions.units_from_templates import (
    IDENTITY,
    MADE_FROM_TEMPLATES,
    update_units,
)
from si_curation.kernels.template_counts import count_templates, most_frequent_templates
from si_curation.kernels.templates import peak_to_peak, signal_channels
from si_curation.phy.folder import missing_templates, read_phy_folder
from si_curation.phy.tables import UNSORTED
from si_curation.reading.attaching import attach_folder, gains_of
from si_curation.reading.feature_model import feature_model
from si_curation.reading.feature_waveforms import WaveformSource
from si_curation.reading.features import (
    FILES,
    FILES_OF_SPIKES,
    FeatureChannels,
    FeatureFiles,
    SpikesOfFolder,
)
from si_curation.reading.named_folders import (
    describe_trace,
    folders_named_by,
    folders_to_attach,
    trace_of_unnamed_folder,
)
from si_curation.reading.observed import note_observed
from si_curation.reading.probe import note_shanks, planar_locations
from si_curation.reading.several_folders import attach_folders
from si_curation.reading.templates import (
    TemplateFactors,
    Unwhiten,
    template_factors,
    unwhitening_of,
)
from si_curation.reading.unit_templates import (
    cosine_similarity,
    weighted_mean_templates,
)
from si_curation.variables import FileRows, TemplateIds

# analyzers of which was said that the folder that they name does not fit
_SAID: weakref.WeakSet[Any] = weakref.WeakSet()
#: How templates are unwhitened anew, by what was done to them.
_MODES: dict[str, Unwhiten | Literal[False]] = {
    "left": "auto",
    "right": "auto",
    "phy": "phy",
    "none": False,
}
_TEMPLATE_DATA = (
    "templates",
    "template_amplitudes",
    "template_support",
    "similar_templates",
    "channel_positions",
    "template_channels",
    "folder_channels",
    "channels_in_folders",
    "positions_in_folders",
)


_AXIS_OF_CHANNELS = {
    "templates": 2,
    "template_amplitudes": 1,
    "template_support": 1,
    "channel_positions": 0,
    "folder_channels": 0,
    "channels_in_folders": 1,
    "positions_in_folders": 1,
}


class TemplatesOfFolder(NamedTuple):
    """The templates of one of several folders.

    Attributes
    ----------
    template_ids : slice
    channels : array (n_channels,) int32
        Channel of the folder of each channel of the analyzer; -1 for none.
    positions : array (n_channels, 2)
        In µm, in the precision of the file; NaN where the folder has no channel.
    """

    template_ids: slice
    channels: NDArray[np.integer]
    positions: NDArray[np.floating]


class TemplateAssignment(UnitsExtension, BaseSpikeVectorExtension):
    """Which of the sorter's templates each spike and each unit came from.

    The sorter's templates never change; units do, by merges and splits. For a folder read with
    `read_kilosort_as_analyzer` the templates are Kilosort's. So they are for an analyzer of a
    sorting that names its folder, as those of SpikeInterface's `read_kilosort`, `read_phy` and
    `run_sorter` do: each spike is matched to its row of the folder. On any other analyzer the units
    at the time of the first call are the templates, and their lineage is kept from there.

    Needs nothing where there is a Kilosort folder (after reading the data are there, and computing
    again keeps them); the extension "templates" for any other analyzer.

    Parameters
    ----------
    kilosort_folder : "auto", path, sequence of paths or None, default: "auto"
        "auto": the folder that the sorting names in its annotation or unit property
        ``phy_folder``, or that a sorting names from which it was made, where the analyzer or the
        sorting was saved. A path: that folder. Several paths: the spikes are of all of them, in
        their order where they were appended or concatenated; template ids of a folder then begin
        where those of the folder before it end. None: the units are the templates.
    frame_offset : int or None, default: None
        Sample of the folder that is sample 0 of the analyzer. None: 0, or the beginning of the
        slice that the sorting or the recording was cut to, as far as it is known, or as every spike
        proves it.
    unwhiten : {"auto", "phy"} or bool, default: "auto"
        As of `read_kilosort_as_analyzer`.

    Returns
    -------
    pandas.DataFrame
        Indexed by unit id: ``template_id`` (int64, most frequent template; ties go to the lowest,
        as in phy; -1 for a unit without spikes), ``template_spike_count`` (int64, spikes of the
        unit from that template), ``num_spikes`` (int64), ``template_purity`` (float64,
        template_spike_count / num_spikes; NaN for a unit without spikes), ``num_templates``
        (int64, templates that the unit has spikes of).

    Raises
    ------
    MissingDataError
        There are no templates; or the spikes are from a folder that nothing names any more (the
        units have an ``original_cluster_id``).
    ParameterError
        Spikes or channels are not those of the folder; with how many are not.
    FolderNotFoundError, PhyFolderError
        The folder is gone, or cannot be read.

    Warns
    -----
    SiCurationWarning
        If the folder has newer clusters than the sorting, as after phy has saved; or if units have
        columns of Kilosort's tables, but nothing names a folder.

    Notes
    -----
    A spike is the row at the same sample whose cluster is its unit (by ``original_cluster_id``,
    else by the unit's id); the k-th of several is the k-th. Units of which a spike has no such row
    were merged, split or renamed elsewhere: their spikes are the row at their sample where there is
    one, which tells the clusters that the unit has spikes of; where there are more rows, those of
    these clusters. If any spike has no row, or could be more than one, nothing is matched.

    Of several folders each spike is a row of one: of the folder of its unit where sortings were
    aggregated, of the folder of its time where they were appended or concatenated. Similarities of
    templates of two folders are their cosine.

    Source: phy 2.1.0, ``TemplateController.get_template_for_cluster``.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> table = sic.compute_template_assignment(analyzer)
    >>> table.loc[13, ["template_id", "template_spike_count", "num_spikes"]].astype(int).tolist()
    [1, 625, 1330]
    >>> analyzer.get_extension("template_assignment").get_template_counts()[[7]].indices.tolist()
    [0, 1, 2]
    """

    extension_name = "template_assignment"
    outputs = ("dataframe",)
    # not "templates": SpikeInterface would delete this data, which cannot be computed again,
    # whenever templates are
    depend_on: list[str] = []
    used_by = ("template_best_channels", "unit_similarity")
    need_recording = False
    use_nodepipeline = False
    need_job_kwargs = False
    nodepipeline_variables = ["spike_template_ids", "spike_rows", "spike_rows_in_folders"]

    @classmethod
    def get_optional_dependencies(cls, **params: Any) -> list[str]:
        """Come after what is derived from the templates when an analyzer is merged or split."""
        return ["random_spikes", "waveforms", *MADE_FROM_TEMPLATES]

    def __init__(self, sorting_analyzer: Any):
        super().__init__(sorting_analyzer)
        # called on load, copy, select, merge and split too: each makes a new analyzer
        use_stored_main_channels(sorting_analyzer)

    def set_params(self, save: bool = True, **params: Any) -> None:
        """Set where the templates are from; data that are there are kept where nothing changes."""
        known = self.sorting_analyzer.get_extension(self.extension_name)
        self._kept = {}
        if known is not None:
            self._kept = known.copy_data()
        super().set_params(save=save, **params)

    def copy_data(self) -> dict[str, Any]:
        """Return a copy of all data; empty before they are computed."""
        return {
            name: dict(value) if isinstance(value, dict) else np.array(as_array(value))
            for name, value in self.data.items()
        }

    def _set_params(
        self,
        kilosort_folder: str | Path | Sequence[str | Path] | None = "auto",
        frame_offset: int | None = None,
        unwhiten: str | bool = "auto",
        **params: Any,
    ) -> dict[str, Any]:
        checks = Checks.of_call(TemplateAssignment._set_params, locals())
        checks.require(not params, f"template_assignment has no parameters {', '.join(params)}")
        folders = _checked_folders(checks, kilosort_folder)
        checks.require(
            not isinstance(folders, list) or frame_offset is None,
            "frame_offset is of one folder, and kilosort_folder names several",
        )
        limits = {"at_least": -(2**62), "at_most": 2**62}
        checks.whole_number("frame_offset", frame_offset, **limits, optional=True)
        if not is_boolean(unwhiten):
            checks.choice("unwhiten", unwhiten, ("auto", "phy"))
        checks.finish()
        return {
            "kilosort_folder": folders,
            "frame_offset": None if frame_offset is None else int(frame_offset),
            "unwhiten": unwhiten if isinstance(unwhiten, str) else bool(unwhiten),
        }

    def _run(self, verbose: bool = False) -> None:
        wanted = self.params.get("kilosort_folder", "auto")
        is_from_folder = "spike_rows" in self._kept or "channels_in_folders" in self._kept
        if wanted == "auto":
            if is_from_folder:
                self.data = self._kept
                return
            wanted = folders_to_attach(self.sorting_analyzer)
        if wanted is None:
            # what is there is lineage too, of the units at the time of the first call
            self.data = {} if is_from_folder else self._kept
            self.data = self.data or self._identity()
            return
        self.data = _matched(self.sorting_analyzer, wanted, self.params)

    def _identity(self) -> dict[str, Any]:
        analyzer = self.sorting_analyzer
        extension = analyzer.get_extension("templates")
        if extension is None:
            raise MissingDataError(
                "template_assignment needs the extension 'templates'; compute it first "
                "(analyzer.compute(['random_spikes', 'templates'])), or read a Kilosort folder "
                "with read_kilosort_as_analyzer"
            )
        templates = np.array(as_array(extension.get_data(operator="average")), dtype=np.float32)
        np.nan_to_num(templates, copy=False)
        support = signal_channels(templates)
        if analyzer.sparsity is not None:
            support &= analyzer.sparsity.mask
        unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
        return {
            "spike_template_ids": unit_index.astype(np.int32),
            "templates": templates,
            "template_amplitudes": peak_to_peak(templates) * support,
            "template_support": support,
            "template_info": {
                "source": IDENTITY,
                "unwhitening": "none",
                "units": "uV" if analyzer.return_in_uV else "raw",
                "sparse": False,
                "num_samples_before": int(extension.nbefore),
                "num_samples_before_evidence": "extension 'templates'",
                "template_unit_ids": [str(unit_id) for unit_id in analyzer.unit_ids],
            },
        }

    # what does not hang on spikes stays as it is when units change

    def _template_data(self) -> dict[str, Any]:
        kept = {
            name: materialize_array(self.data[name]) for name in _TEMPLATE_DATA if name in self.data
        }
        return {**kept, "template_info": dict(self.data["template_info"])}

    def data_after(self, change: UnitChange) -> dict[str, Any]:
        """Keep the template of every spike, and make what follows for new units from templates."""
        data = {**self.spike_data_after(change), **self._template_data()}
        if change.span is not None:
            data["template_info"] = self._info_in(change.span)
        if change.is_new.any():
            counts = _count(change.after, data["spike_template_ids"], self.num_templates)
            update_units(change, self, counts)
        return data if change.span is None else self._of_one_folder(data, change.span)

    def _of_one_folder(self, data: dict[str, Any], span: tuple[int, int]) -> dict[str, Any]:
        """Return the data of the one folder that a part of the time is of, where several follow.

        As they are where the spikes are of one folder, of several, or of folders on one clock.
        """
        info, ids = data["template_info"], data["spike_template_ids"]
        offsets = info.get("frame_offsets", [])
        follow = self.num_folders > 1 and len(set(offsets)) == len(offsets) and "infos" in info
        if not follow or ids.size == 0:
            return data
        firsts = np.array(info["first_template_ids"], dtype=np.int64)
        folders = np.unique(np.searchsorted(firsts, [ids.min(), ids.max()], side="right") - 1)
        if folders.size > 1:
            return data
        one = int(folders[0])
        part = self.get_parts()[one]
        kept = part.template_ids
        its_info = {
            **info["infos"][one],
            "num_samples_before": info["num_samples_before"],
            "attached": True,
            "frame_offset": int(offsets[one]),
            "session_samples": [int(offsets[one]), int(offsets[one]) + span[1] - span[0]],
        }
        found = {
            "spike_template_ids": (ids - kept.start).astype(np.int32),
            "spike_rows": data["spike_rows_in_folders"],
            "channel_positions": np.array(part.positions),
            "folder_channels": np.array(part.channels, dtype=np.int32),
            "template_info": its_info,
        }
        for name in ("templates", "template_amplitudes", "template_support", "template_channels"):
            if name in data:
                found[name] = data[name][kept].copy()
        if "similar_templates" in data:
            found["similar_templates"] = data["similar_templates"][kept, kept].copy()
        return found

    def params_after(self, change: UnitChange) -> dict[str, Any]:
        """Move the sample of the folder at which the analyzer begins, in a part of the time."""
        params = super().params_after(change)
        if change.span is not None and params.get("frame_offset") is not None:
            params["frame_offset"] += change.span[0]
        return params

    def _info_in(self, span: tuple[int, int]) -> dict[str, Any]:
        """Return what is known of the templates for a part of the time."""
        info = self.info
        start, stop = span
        if "frame_offsets" in info:
            info["frame_offsets"] = [int(one) + start for one in info["frame_offsets"]]
        elif self.is_from_folder:
            info["frame_offset"] = self.frame_offset + start
            info["session_samples"] = [info["frame_offset"], info["frame_offset"] + stop - start]
        return info

    def _select_channels_extension_data(self, channel_ids: Any) -> dict[str, Any]:
        indices = self.sorting_analyzer.channel_ids_to_indices(channel_ids)
        unchanged = (*self.nodepipeline_variables, "similar_templates")
        data = {name: self.data[name] for name in unchanged if name in self.data}
        return {
            **{name: materialize_array(values) for name, values in data.items()},
            **{
                name: slice_rows(self.data[name], indices, axis=axis)
                for name, axis in _AXIS_OF_CHANNELS.items()
                if name in self.data
            },
            **self._renumbered(indices),
            "template_info": dict(self.data["template_info"]),
        }

    def _renumbered(self, indices: NDArray[np.integer]) -> dict[str, Any]:
        if "template_channels" not in self.data:
            return {}
        table = np.full(self.sorting_analyzer.get_num_channels() + 1, -1, dtype=np.int32)
        table[indices] = np.arange(len(indices), dtype=np.int32)
        return {"template_channels": table[as_array(self.data["template_channels"])]}

    # what users ask for

    def _get_data(self, outputs: Literal["dataframe"] = "dataframe") -> pd.DataFrame:
        self.check_outputs(outputs)
        found = most_frequent_templates(self.get_template_counts())
        with np.errstate(invalid="ignore"):
            purity = found.template_spike_counts / found.num_spikes
        return pd.DataFrame(
            {
                "template_id": found.template_ids,
                "template_spike_count": found.template_spike_counts,
                "num_spikes": found.num_spikes,
                "template_purity": purity,
                "num_templates": found.num_templates,
            },
            index=self.sorting_analyzer.unit_ids,
        )

    @property
    def template_ids(self) -> NDArray[np.int64]:
        """Ids of all templates, with and without spikes: 0 to n_templates - 1."""
        return np.arange(self.num_templates, dtype=np.int64)

    @property
    def num_templates(self) -> int:
        """Number of templates, with and without spikes."""
        known = self.data.get("templates")
        return int(self.info["num_templates"]) if known is None else len(known)

    @property
    def has_templates(self) -> bool:
        """Whether the templates are there; False of a folder without ``templates.npy``."""
        return "templates" in self.data

    def refuse_without_templates(self) -> None:
        """Raise `MissingDataError` where the folder has no ``templates.npy``."""
        if not self.has_templates:
            raise MissingDataError(missing_templates(self.info["phy_folder"]))

    @property
    def source(self) -> str:
        """Where the templates come from: the sorter's name, or "identity"."""
        return str(self.info["source"])

    @property
    def info(self) -> dict[str, Any]:
        """What is known of the templates: source, unwhitening, units, samples before the peak."""
        return dict(self.data["template_info"])

    @property
    def is_from_folder(self) -> bool:
        """Whether each spike has its row in one Kilosort folder, that was read or attached."""
        return "spike_rows" in self.data

    @property
    def is_from_sorter(self) -> bool:
        """Whether the templates are the sorter's, of one folder or of several."""
        return self.is_from_folder or self.num_folders > 1

    @property
    def num_folders(self) -> int:
        """Number of Kilosort folders that the spikes are from; 0 where the units are templates."""
        if "channels_in_folders" in self.data:
            return len(self.data["channels_in_folders"])
        return int(self.is_from_folder)

    def get_spike_folders(self) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
        """Return the folder and the row in its files of each spike.

        Returns
        -------
        folders : array (n_spikes,) int64
            Place in ``info["folders"]``; 0 where there is one folder.
        rows : array (n_spikes,) integer

        Raises
        ------
        MissingDataError
            The units are the templates.
        """
        ids = self.get_spike_template_ids()
        if self.num_folders < 2:
            return np.zeros(ids.size, dtype=np.int64), self.get_spike_rows()
        first = np.array(self.info["first_template_ids"], dtype=np.int64)
        folders = np.searchsorted(first, ids, side="right") - 1
        return folders, as_array(self.data["spike_rows_in_folders"])

    def get_parts(self) -> list[TemplatesOfFolder]:
        """Return which templates are of which folder, on what channels; [] of one folder."""
        if self.num_folders < 2:
            return []
        ends = [*self.info["first_template_ids"], self.template_ids.size]
        channels = as_array(self.data["channels_in_folders"])
        positions = as_array(self.data["positions_in_folders"])
        return [
            TemplatesOfFolder(slice(int(a), int(b)), channels[i], positions[i])
            for i, (a, b) in enumerate(itertools.pairwise(ends))
        ]

    @property
    def is_attached(self) -> bool:
        """Whether a folder was attached to an analyzer that was not read from it."""
        return bool(self.info.get("attached", False))

    @property
    def frame_offset(self) -> int:
        """Sample of the folder that is sample 0 of the analyzer."""
        return int(self.info.get("frame_offset", 0))

    @property
    def session_samples(self) -> tuple[int, int] | None:
        """The part of the folder's time that the analyzer is, of `split_by_session`.

        First sample of the folder, and the one after the last; None: the folder is that of the
        whole analyzer.
        """
        known = self.info.get("session_samples")
        return None if known is None else (int(known[0]), int(known[1]))

    @property
    def has_sorter_similarity(self) -> bool:
        """Whether the folder has the sorter's similarities (``similar_templates.npy``)."""
        return "similar_templates" in self.data

    def get_template_amplitudes(self) -> NDArray[np.floating]:
        """Peak-to-peak amplitude of every template on every channel (n_templates, n_channels)."""
        self.refuse_without_templates()
        return as_array(self.data["template_amplitudes"])

    def get_template_support(self) -> NDArray[np.bool_]:
        """Whether a template has signal on a channel (n_templates, n_channels)."""
        self.refuse_without_templates()
        return as_array(self.data["template_support"])

    def get_template_channels(self) -> NDArray[np.integer] | None:
        """Channel index of each column of sparse templates in the file (n_templates, n_loc).

        -1 where there is none; None: the templates are dense.
        """
        if "template_channels" not in self.data:
            return None
        return as_array(self.data["template_channels"])

    def get_channel_positions(self) -> NDArray[np.floating]:
        """Positions of the channels in µm (n_channels, 2), in the precision of the file."""
        if "channel_positions" not in self.data:  # also of several folders
            return planar_locations(self.sorting_analyzer)
        return as_array(self.data["channel_positions"])

    def get_folder_channels(self) -> NDArray[np.integer]:
        """Channel index in the folder of each channel of the analyzer (n_channels,); -1 for none.

        Raises
        ------
        MissingDataError
            The analyzer was not read from a Kilosort folder.
        """
        self._refuse_without_folder()
        return as_array(self.data["folder_channels"])

    def _refuse_without_folder(self) -> None:
        if self.num_folders > 1:
            raise MissingDataError(
                f"the spikes are from {self.num_folders} Kilosort folders "
                f"({', '.join(self.info['folders'])}), and rows of one are asked for; "
                "get_spike_folders() gives the folder and the row of each"
            )
        if not self.is_from_folder:
            raise MissingDataError(
                "this analyzer was not read from a Kilosort folder: no file rows"
            )

    def get_spikes_of_folder(self) -> SpikesOfFolder:
        """Return where the spikes of the analyzer are in the folder that it was read from.

        Raises
        ------
        MissingDataError
            The analyzer was not read from a Kilosort folder.
        """
        rows = self.get_spike_rows()
        return SpikesOfFolder(
            Path(self.info["phy_folder"]),
            FileRows(rows),
            TemplateIds(self.get_spike_template_ids()),
            self.num_templates,
            int(self.info["num_channels"]),
        )

    def get_feature_files(self, feature_channels: FeatureChannels | None = None) -> FeatureFiles:
        """Open the feature files of the folder; again where they have changed since.

        Parameters
        ----------
        feature_channels : {"repaired", "file"}, optional
            For features of spikes alone, on these channels: only the files that they come from are
            looked at. All by default.

        Raises
        ------
        MissingDataError
            The analyzer was not read from a Kilosort folder.
        FolderNotFoundError, PhyFolderError
            The folder is gone, or its files cannot be used.
        """
        check_arguments(TemplateAssignment.get_feature_files, locals())
        self._refuse_without_folder()
        folder = self.info["phy_folder"]
        looked_at = FILES if feature_channels is None else FILES_OF_SPIKES[feature_channels]
        known: tuple[FeatureFiles, dict[str, tuple[int, ...]]] | None
        known = getattr(self, "_feature_files", None)
        if known is not None:
            files, state = known
            now = FeatureFiles.state_of(folder, looked_at)
            if all(state[name] == found for name, found in now.items()):
                return files
        state = FeatureFiles.state_of(folder)
        files = FeatureFiles(Path(folder), self.num_templates, int(self.info["num_channels"]))
        self._feature_files = (files, state)
        return files

    def use_files_of(self, other: TemplateAssignment) -> None:
        """Use the feature files that the one of another analyzer of the same folder has open."""
        known = getattr(other, "_feature_files", None)
        if known is not None:
            self._feature_files = known

    def get_waveform_source(self, feature_channels: FeatureChannels = "repaired") -> WaveformSource:
        """Return what the waveforms of the spikes are rebuilt from: ``pc_features.npy``.

        Parameters
        ----------
        feature_channels : {"repaired", "file"}
            As of `template_features`.

        Returns
        -------
        WaveformSource

        Raises
        ------
        MissingDataError
            The analyzer was not read from a Kilosort folder, that has no ``pc_features.npy``, or
            its basis cannot be known.
        FolderNotFoundError, PhyFolderError
            The folder is gone, or is not what it was.
        """
        check_arguments(TemplateAssignment.get_waveform_source, locals())
        files = self.get_feature_files()
        sources: dict[str, WaveformSource]
        of_files, sources = getattr(self, "_waveform_sources", (None, {}))
        if of_files is not files:
            sources = {}
            self._waveform_sources = (files, sources)
        if feature_channels not in sources:
            sources[feature_channels] = self._open_waveforms(files, feature_channels)
        return sources[feature_channels]

    def _open_waveforms(
        self, files: FeatureFiles, feature_channels: FeatureChannels
    ) -> WaveformSource:
        self.refuse_without_templates()
        analyzer = self.sorting_analyzer
        spikes = self.get_spikes_of_folder()
        files.check(spikes.rows, spikes.template_ids)
        model = feature_model(files, spikes)
        if feature_channels == "repaired":
            feature_channels = model.channels_from
        channels = self.get_folder_channels()
        mode = _MODES[self.info["unwhitening"]]
        with read_phy_folder(
            spikes.folder, sampling_frequency=float(analyzer.sampling_frequency)
        ) as folder:
            how = unwhitening_of(folder, mode, gains_of(analyzer, channels, folder))
        matrix = how.matrix(spikes.num_channels)[:, channels]
        matrix[:, channels < 0] = np.nan
        return WaveformSource(
            model,
            files.features_of_spikes(spikes, feature_channels),
            spikes.template_ids,
            matrix,
            channels,
            how.units,
        )

    def get_template_factors(self) -> TemplateFactors:
        """Return what makes amplitudes and projections the factors of the templates held here.

        Returns
        -------
        TemplateFactors

        Raises
        ------
        MissingDataError
            The analyzer was not read from a Kilosort folder.
        FolderNotFoundError, PhyFolderError
            The folder is gone, or is not what it was.
        """
        files = self.get_feature_files()
        of_files, factors = getattr(self, "_template_factors", (None, None))
        if factors is None or of_files is not files:
            spikes, analyzer = self.get_spikes_of_folder(), self.sorting_analyzer
            files.check(spikes.rows, spikes.template_ids)
            self.refuse_without_templates()
            fs = float(analyzer.sampling_frequency)
            with read_phy_folder(spikes.folder, sampling_frequency=fs) as folder:
                gains = gains_of(analyzer, self.get_folder_channels(), folder)
                factors = template_factors(folder, _MODES[self.info["unwhitening"]], gains)
            self._template_factors = (files, factors)
        return factors

    def get_spike_template_ids(self) -> NDArray[np.int32]:
        """Template of each spike.

        Returns
        -------
        array (n_spikes,) int32
            Aligned with ``spike_vector_of(sorting)``.
        """
        return as_array(self.data["spike_template_ids"])

    def get_spike_rows(self) -> NDArray[np.integer]:
        """Row of each spike in the files of the folder that was read.

        Returns
        -------
        array (n_spikes,) int32 or int64
            Aligned with ``spike_vector_of(sorting)``.

        Raises
        ------
        MissingDataError
            The analyzer was not read from a Kilosort folder.
        """
        self._refuse_without_folder()
        return as_array(self.data["spike_rows"])

    def get_template_counts(self) -> sparse.csr_array:
        """Count the spikes of each unit by template.

        Returns
        -------
        scipy CSR array (n_units, n_templates) int64
        """
        if getattr(self, "_counts", None) is None:
            self._counts = _count(
                self.sorting_analyzer, self.get_spike_template_ids(), self.num_templates
            )
        return self._counts

    @property
    def unit_template_ids(self) -> NDArray[np.int64]:
        """Most frequent template of each unit (n_units,); -1 for a unit without spikes."""
        if getattr(self, "_unit_template_ids", None) is None:
            counts = self.get_template_counts()
            self._unit_template_ids = most_frequent_templates(counts).template_ids
        return self._unit_template_ids

    def get_templates(self) -> NDArray[np.float32]:
        """All templates of the sorter.

        Returns
        -------
        array (n_templates, n_samples, n_channels) float32
            In the units of ``info["units"]``; zero where the sorter has no (or a NaN) template.
        """
        self.refuse_without_templates()
        return as_array(self.data["templates"])

    def get_template_similarity(self) -> NDArray[np.float32]:
        """Similarity of all pairs of templates.

        Returns
        -------
        array (n_templates, n_templates) float32
            The sorter's ``similar_templates.npy`` where the folder has it, else the cosine of the
            templates over all samples and channels.
        """
        if "similar_templates" in self.data:
            return as_array(self.data["similar_templates"])
        return cosine_similarity(self.get_templates())

    def get_unit_template(
        self, unit_id: Any, kind: Literal["most_frequent", "weighted_mean"] = "most_frequent"
    ) -> NDArray[np.float32]:
        """Template of one unit.

        Parameters
        ----------
        unit_id : int or str
        kind : {"most_frequent", "weighted_mean"}
            The template that most of its spikes came from, or the mean of all its templates
            weighted by their numbers of spikes, on the union of their channels.

        Returns
        -------
        array (n_samples, n_channels) float32
            Zeros for a unit without spikes.

        Raises
        ------
        UnknownIdError
            There is no such unit.
        ParameterError
            There is no such kind.
        """
        check_arguments(TemplateAssignment.get_unit_template, locals())
        if kind not in ("most_frequent", "weighted_mean"):
            raise ParameterError(f"kind is {kind!r}, expected 'most_frequent' or 'weighted_mean'")
        position = unit_index_of(self.sorting_analyzer, unit_id)
        counts = self.get_template_counts()[[position]]
        templates = self.get_templates()
        if kind == "weighted_mean":
            return weighted_mean_templates(counts, templates)[0]
        template_id = most_frequent_templates(counts).template_ids[0]
        return np.zeros_like(templates[0]) if template_id < 0 else templates[template_id].copy()


def _checked_folders(checks: Checks, given: Any) -> str | list[str] | None:
    """Return a folder, several, "auto" or None; a problem is noted."""
    if given is None or isinstance(given, str | Path):
        return None if given is None else str(given)
    is_list = isinstance(given, list | tuple) and len(given) > 0
    ok = is_list and all(isinstance(one, str | Path) and one != "auto" for one in given)
    checks.require(
        ok,
        f"kilosort_folder is {short_repr(given)}, expected 'auto', a path, a list of paths, "
        "or None",
    )
    if not ok:
        return None
    paths = [str(one) for one in given]
    checks.require(len(set(paths)) == len(paths), f"kilosort_folder names a folder twice: {paths}")
    return paths if len(paths) > 1 else paths[0]


def refuse_if_lost(analyzer: Any, fault: Exception | None = None) -> None:
    """Raise where the units are not the templates, but what tells their templates was lost."""
    folders = analyzer.sorting.get_property("phy_folder")
    if folders is not None and any(folders):
        folder = next(str(folder) for folder in folders if folder)
        raise MissingDataError(
            "template_assignment was lost from this analyzer (by a hard merge or split, or in a "
            "process without `import si_curation`), and its units are not the sorter's templates; "
            f"read the folder again: read_kilosort_as_analyzer({folder!r})"
            + ("" if fault is None else f" ({fault})")
        )


def _count(analyzer: Any, spike_template_ids: Any, num_templates: int) -> sparse.csr_array:
    unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
    return count_templates(
        unit_index, as_array(spike_template_ids), len(analyzer.unit_ids), num_templates
    )


def _matched(
    analyzer: SortingAnalyzer, folder: str | Path | list[str], params: dict[str, Any]
) -> dict[str, Any]:
    """Return the data of an analyzer whose spikes are those of a folder; note what it says else."""
    unwhiten = params.get("unwhiten", "auto")
    if isinstance(unwhiten, bool):
        unwhiten = "auto" if unwhiten else False
    if isinstance(folder, list):
        found = attach_folders(analyzer, folder, unwhiten)
    else:
        found = attach_folder(analyzer, folder, params.get("frame_offset"), unwhiten)
    if found.changed:
        shown = "; ".join(found.changed[:10]) + ("; ..." if len(found.changed) > 10 else "")
        warnings.warn(
            f"{folder} has changed since the sorting was read from it (phy has saved newer "
            f"clusters), {len(found.changed)} units differ: {shown}; their templates are known by "
            "spike, their labels stay as they were",
            SiCurationWarning,
            stacklevel=4,
        )
    if "templates" not in found.assignment:
        warnings.warn(
            f"{folder}: attached without templates: templates.npy: is missing (what needs the "
            "sorter's templates says so; copy it from the sorter's output and attach it again)",
            SiCurationWarning,
            stacklevel=4,
        )
    _set_labels(analyzer, found.groups)
    note_observed(analyzer, found.observed)
    if found.shanks.size:
        note_shanks(analyzer, found.shanks, found.assignment["folder_channels"])
    if isinstance(folder, list):
        del found.assignment["folder_channels"]
    analyzer.set_sorting_property("phy_folder", _folder_of_units(analyzer, found.assignment))
    return found.assignment


def _folder_of_units(analyzer: SortingAnalyzer, data: dict[str, Any]) -> NDArray[np.str_]:
    """Return the folder of each unit; "" of a unit that is of several."""
    info = data["template_info"]
    if "folders" not in info:
        # the same for all units: SpikeInterface keeps it through merges, unlike annotations
        return np.full(len(analyzer.unit_ids), info["phy_folder"])
    folders = np.searchsorted(info["first_template_ids"], data["spike_template_ids"], side="right")
    unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
    num_folders, num_units = len(info["folders"]), len(analyzer.unit_ids)
    counts = np.bincount(
        unit_index * num_folders + folders - 1, minlength=num_units * num_folders
    ).reshape(num_units, num_folders)
    single = (counts > 0).sum(axis=1) == 1
    return np.where(single, np.array(info["folders"])[counts.argmax(axis=1)], "")


def _set_labels(analyzer: Any, groups: dict[Any, str]) -> None:
    """Set the group of units that have none, or "nan", to that of their cluster."""
    known = analyzer.sorting.get_property("quality")
    labels = []
    for i, unit_id in enumerate(analyzer.unit_ids.tolist()):
        label = "" if known is None else str(known[i])
        missing = label in ("", "nan", "None")
        labels.append(groups.get(unit_id, UNSORTED) if missing else label)
    if known is None or [str(one) for one in known] != labels:
        width = max([32, *map(len, labels)])
        analyzer.set_sorting_property("quality", np.array(labels, dtype=f"U{width}"))


def attach_kilosort_folder(
    sorting_analyzer: SortingAnalyzer,
    folder_path: str | Path | Sequence[str | Path],
    *,
    frame_offset: int | None = None,
    unwhiten: Unwhiten | bool = "auto",
) -> TemplateAssignment:
    """Attach a Kilosort folder to an analyzer that is there: each spike gets its row of the folder.

    From then on everything is as after `read_kilosort_as_analyzer`: the sorter's templates and
    lineage, best channels, features and amplitudes from the files, exports with nothing lost. The
    units may have been merged, split, renamed or curated elsewhere. The extension "templates"
    stays what it is.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Gets the extension `template_assignment`, on disk too. `template_best_channels` and
        `unit_similarity` are computed again where they are there; what else depends on the
        assignment is deleted, as SpikeInterface does.
    folder_path : str or Path, or sequence of them
        The folder; several as of `TemplateAssignment`. Nothing in it is changed.
    frame_offset, unwhiten
        As of `TemplateAssignment`.

    Returns
    -------
    TemplateAssignment
        The extension.

    Raises
    ------
    ParameterError, FolderNotFoundError, PhyFolderError
        As of `TemplateAssignment`; nothing has changed then.

    Examples
    --------
    >>> import si_curation as sic
    >>> from spikeinterface.core import create_sorting_analyzer, generate_recording
    >>> from spikeinterface.extractors import read_phy
    >>> sorting = read_phy(sic.example_folder())
    >>> recording = generate_recording(num_channels=32, durations=[80.0])
    >>> recording.set_dummy_probe_from_locations(
    ...     sic.read_phy_folder(sic.example_folder()).channel_positions
    ... )
    >>> analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    >>> assignment = sic.attach_kilosort_folder(analyzer, sic.example_folder())
    >>> assignment.source, assignment.get_data().loc[13, "template_id"].item()
    ('kilosort4', 1)
    """
    check_arguments(attach_kilosort_folder, locals())
    params = TemplateAssignment(sorting_analyzer)
    params._kept = {}
    checked = params._set_params(folder_path, frame_offset, unwhiten)
    data = _matched(sorting_analyzer, checked["kilosort_folder"], checked)
    again = _params_of_children(sorting_analyzer)
    found = replace_extension(sorting_analyzer, "template_assignment", data, checked)
    for name, its in again.items():
        sorting_analyzer.compute(name, **its)
    return found


def check_templates(analyzer: Any, name: str) -> None:
    """Raise `MissingDataError` where an analyzer has no templates for an extension."""
    if not any(analyzer.has_extension(one) for one in ("templates", "template_assignment")):
        raise MissingDataError(
            f"{name} needs the extension 'templates'; compute it first "
            "(analyzer.compute(['random_spikes', 'templates'])), or read a Kilosort folder with "
            "read_kilosort_as_analyzer"
        )


def _params_of_children(analyzer: Any) -> dict[str, dict[str, Any]]:
    """Return the parameters of what is made again at once when the assignment changes."""
    there = {name: analyzer.get_extension(name) for name in TemplateAssignment.used_by}
    return {name: dict(one.params) for name, one in there.items() if one is not None}


def ensure_template_assignment(analyzer: Any) -> TemplateAssignment:
    """Return the extension, computed if it is not there; what SpikeInterface deletes is made again.

    Before SpikeInterface computes an extension it deletes those that depend on it; ours are the
    same with and without it. Where the folder that the sorting names does not fit, one warning says
    so, and the units are the templates.

    Raises
    ------
    MissingDataError
    """
    known = analyzer.get_extension("template_assignment")
    if known is not None:
        return known
    again = _params_of_children(analyzer)
    found = assignment_of_named_folder(analyzer)
    if found is None:
        found = analyzer.compute("template_assignment", kilosort_folder=None)
    for name, params in again.items():
        analyzer.compute(name, **params)
    return found


def assignment_of_named_folder(analyzer: Any) -> TemplateAssignment | None:
    """Return the extension, computed where the sorting names a folder; None where it cannot be.

    That the folder does not fit is said once.

    Raises
    ------
    MissingDataError
        The units are known not to be the templates, and the folder does not fit.
    """
    known = analyzer.get_extension("template_assignment")
    if known is not None or analyzer in _SAID:
        return known
    trace = trace_of_unnamed_folder(analyzer)
    if trace is not None:
        message = describe_trace(trace)
    elif not folders_named_by(analyzer):
        return None
    else:
        try:
            return analyzer.compute("template_assignment")
        except SiCurationError as fault:
            refuse_if_lost(analyzer, fault)
            message = str(fault)
    _SAID.add(analyzer)
    warnings.warn(
        f"{message}. Used instead: the extension 'templates' of this analyzer, as if each unit "
        "were one template",
        SiCurationWarning,
        stacklevel=3,
    )
    return None


register_extension(TemplateAssignment)
compute_template_assignment = extension_function(TemplateAssignment)

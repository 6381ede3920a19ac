"""Extension `spike_waveforms`: waveforms of spikes without the recording, from their features."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import spikeinterface.metrics
import spikeinterface.postprocessing  # noqa: F401  (before registering; see _spikeinterface.py)
from numpy.typing import NDArray
from spikeinterface.core.sortinganalyzer import AnalyzerExtension

from si_curation._spikeinterface import (
    as_array,
    extension_function,
    register_extension,
    spike_vector_of,
)
from si_curation.checks import Checks, check_arguments, short_repr, unit_index_of, unit_indices_of
from si_curation.errors import SiCurationError
from si_curation.extensions.changes import UnitChange, UnitsExtension
from si_curation.extensions.spikes_of_units import assignment_of, spikes_of_unit
from si_curation.extensions.units_from_templates import set_template_deviations
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.reading.feature_waveforms import ChannelLists, WaveformSource

logger = logging.getLogger(__name__)

MAX_SPIKES_PER_UNIT = 500
#: Of a unit, for what needs all its waveforms at once.
MAX_SPIKES_AT_ONCE = 5_000
OPERATORS = ("average", "std", "median", "percentile")


class SpikeWaveforms(UnitsExtension, AnalyzerExtension):
    """Waveforms of spikes, rebuilt from the sorter's features, without the recording.

    ``pc_features.npy`` holds each spike's waveform on the channels next to its template, in a basis
    of a few waveforms. They are read from the folder where they are asked for, and unwhitened as
    the templates are. Means and standard deviations of all units are held here.

    What such a waveform is: that of the traces as the sorter filtered and whitened them, passed
    through its components; for Kilosort 4 after all other spikes were subtracted. Channels on which
    the sorter stored no features are filled with the spike's own template, scaled to the spike;
    `get_stored_fraction` and `get_spike_waveforms` tell which.

    Needs a Kilosort folder with ``pc_features.npy``, read or attached (`template_assignment`).

    Parameters
    ----------
    max_spikes_per_unit : int or None, default: 500
        Spikes of a unit that are averaged, evenly spaced among its spikes. None: all.
    feature_channels : {"repaired", "file"}, default: "repaired"
        As of `template_features`.

    Returns
    -------
    array (n_units, n_samples, n_channels) float32
        The mean waveforms, 0 on channels that are not of the unit (``analyzer.sparsity``). In the
        units of the sorter's templates (``info["units"]``): µV where the gain is known; templates
        of Kilosort 2.5 and 3 stay whitened. Samples are those of a template. NaN for a unit none of
        whose spikes has features.

    Raises
    ------
    MissingDataError
        The analyzer was not read from a Kilosort folder, that has no ``pc_features.npy``, or its
        basis cannot be known.
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is not what it was.
    ParameterError
        A parameter cannot be used.

    Notes
    -----
    On simulated recordings sorted by Kilosort 4.1.7 the mean waveforms of isolated spikes and those
    of the traces correlate 0.996 on the best channel, and 0.9999 where the traces are passed
    through the same components.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> waveforms = analyzer.compute("spike_waveforms")
    >>> waveforms.get_data().shape, waveforms.info["units"]
    ((8, 61, 32), 'raw')
    >>> waveforms.get_waveforms_one_unit(13, force_dense=True).shape
    (500, 61, 32)
    >>> waveforms.get_unit_template(13, "median").shape
    (61, 32)
    """

    extension_name = "spike_waveforms"
    outputs = ("numpy", "dataframe")
    depend_on: list[str] = []
    need_recording = False
    use_nodepipeline = False
    need_job_kwargs = False

    @classmethod
    def get_optional_dependencies(cls, **params: Any) -> list[str]:
        """Come after what tells the template of every spike."""
        return ["templates", "template_assignment"]

    def _set_params(
        self,
        max_spikes_per_unit: int | None = MAX_SPIKES_PER_UNIT,
        feature_channels: Literal["repaired", "file"] = "repaired",
    ) -> dict[str, Any]:
        checks = Checks.of_call(SpikeWaveforms._set_params, locals())
        checks.whole_number("max_spikes_per_unit", max_spikes_per_unit, at_least=1, optional=True)
        checks.choice("feature_channels", feature_channels, ("repaired", "file"))
        checks.finish()
        return {
            "max_spikes_per_unit": max_spikes_per_unit,
            "feature_channels": feature_channels,
        }

    def _run(self, verbose: bool = False) -> None:
        assignment_of(self.sorting_analyzer, compute=True)
        source = self._source()
        units = np.arange(len(self.sorting_analyzer.unit_ids))
        info = {
            "units": source.units,
            "num_samples_before": self._assignment().info["num_samples_before"],
            "basis": source.model.origin,
            "feature_channels": source.features.channels_from,
            "source": "pc_features",
        }
        data: dict[str, Any] = {**self._of_units(source, units), "waveform_info": info}
        self.data = data
        std = self.get_templates(operator="std")
        set_template_deviations(self.sorting_analyzer, self._assignment(), std)

    def _assignment(self) -> Any:
        return assignment_of(self.sorting_analyzer)

    def _source(self) -> WaveformSource:
        return self._assignment().get_waveform_source(self.params["feature_channels"])

    def _mask(self) -> NDArray[np.bool_]:
        analyzer = self.sorting_analyzer
        if analyzer.sparsity is None:
            return np.ones((len(analyzer.unit_ids), len(analyzer.channel_ids)), dtype=bool)
        return np.asarray(analyzer.sparsity.mask)

    def _chosen(self, units: Iterable[int], at_most: int | None) -> list[NDArray[np.int64]]:
        """Return some spikes of each unit, evenly spaced."""
        ids = self.sorting_analyzer.unit_ids
        spikes = [spikes_of_unit(self.sorting_analyzer, ids[unit]) for unit in units]
        return [of_unit[evenly_spaced(of_unit.size, at_most)] for of_unit in spikes]

    def _of_units(self, source: WaveformSource, units: NDArray[np.integer]) -> dict[str, NDArray]:
        """Return what is held of some units."""
        unit_index = spike_vector_of(self.sorting_analyzer.sorting)["unit_index"]
        taken = np.zeros(unit_index.size, dtype=bool)
        for chosen in self._chosen(units, self.params["max_spikes_per_unit"]):
            taken[chosen] = True
        spikes = np.flatnonzero(taken)  # in the order of the file, which is read once
        place = np.full(len(self.sorting_analyzer.unit_ids), -1, dtype=np.int32)
        place[units] = np.arange(units.size)
        sets = place[unit_index[spikes]]
        channels = ChannelLists.of_mask(self._mask()[units], sets)
        mean, std, counts = source.mean_and_std(spikes, channels, sets, units.size)
        stored = source.stored_fraction(spikes, sets, units.size)
        own = np.take_along_axis(stored, np.maximum(channels.lists, 0), axis=1)
        return {
            "average": mean,
            "std": std,
            "waveform_channels": channels.lists.astype(np.int32),
            "stored_fraction": np.where(channels.lists < 0, 0, own).astype(np.float32),
            "num_spikes": counts,
        }

    # what happens when units change

    def data_after(self, change: UnitChange) -> dict[str, Any]:
        """Keep what is held of units that stay; read the features of the spikes of new units."""
        new = SpikeWaveforms(change.after)
        new.params = dict(self.params)
        units = np.flatnonzero(change.is_new)
        made: dict[str, NDArray] = {}
        if units.size:
            try:
                made = new._of_units(new._source(), units)
            except SiCurationError as fault:
                logger.warning("waveforms of new units are not known: %s", fault)
        data: dict[str, Any] = {"waveform_info": dict(self.data["waveform_info"])}
        width = max(
            self.data["waveform_channels"].shape[1],
            made["waveform_channels"].shape[1] if made else 0,
        )
        for name, empty in _EMPTY.items():
            kept = as_array(self.data[name])
            shape = list(kept.shape)
            shape[0] = len(change.parents)
            if name != "num_spikes":
                shape[-1] = width
            values = np.full(shape, empty, dtype=kept.dtype)
            self._place(values, change.same_after, kept[change.same_before])
            if made:
                self._place(values, units, made[name])
            data[name] = values
        counts, channels = data["num_spikes"], data["waveform_channels"]
        num_channels = len(change.after.channel_ids)
        std = _on_all_channels(data["std"], channels, counts, num_channels, 0)
        set_template_deviations(change.after, new._assignment(), std)
        return data

    @staticmethod
    def _place(values: NDArray, units: NDArray[np.integer], rows: NDArray) -> None:
        """Put the rows of some units into an array that may have more channels for each."""
        if values.ndim == 1:
            values[units] = rows
            return
        values[units, ..., : rows.shape[-1]] = rows
        if np.issubdtype(values.dtype, np.floating):  # padding of units that are known is 0
            values[units, ..., rows.shape[-1] :] = 0

    def _select_channels_extension_data(self, channel_ids: Any) -> dict[str, Any]:
        indices = self.sorting_analyzer.channel_ids_to_indices(channel_ids)
        table = np.full(len(self.sorting_analyzer.channel_ids) + 1, -1, dtype=np.int32)
        table[indices] = np.arange(len(indices), dtype=np.int32)
        channels = table[as_array(self.data["waveform_channels"])]
        order = np.argsort(channels < 0, axis=1, kind="stable")  # padding at the end
        data: dict[str, Any] = {"waveform_info": dict(self.data["waveform_info"])}
        for name in _EMPTY:
            values = channels if name == "waveform_channels" else as_array(self.data[name])
            where = order if values.ndim < 3 else order[:, None]
            data[name] = values.copy() if values.ndim == 1 else _take(values, where)
        return data

    # what users ask for

    @property
    def info(self) -> dict[str, Any]:
        """What is known of the waveforms: units, samples before the spike, basis, channels."""
        return dict(self.data["waveform_info"])

    @property
    def nbefore(self) -> int:
        """Samples of a waveform before the spike."""
        return int(self.data["waveform_info"]["num_samples_before"])

    def _get_data(
        self,
        operator: Literal["average", "std", "median"] = "average",
        outputs: Literal["numpy", "dataframe"] = "numpy",
    ) -> NDArray[np.float32] | pd.DataFrame:
        self.check_outputs(outputs)
        templates = self.get_templates(operator=operator)
        if outputs == "numpy":
            return templates
        units, channels = np.nonzero(self.get_stored_fraction() > 0)
        analyzer = self.sorting_analyzer
        rows = pd.MultiIndex.from_arrays(
            [analyzer.unit_ids[units], analyzer.channel_ids[channels]],
            names=["unit_id", "channel_id"],
        )
        samples = np.arange(templates.shape[1]) - self.nbefore
        times = pd.Index(samples * (1000.0 / analyzer.sampling_frequency), name="time_ms")
        return pd.DataFrame(templates[units, :, channels], index=rows, columns=times)

    def get_num_spikes(self) -> NDArray[np.int64]:
        """Return the number of spikes that the mean of each unit is of (n_units,)."""
        return as_array(self.data["num_spikes"])

    def get_stored_fraction(self) -> NDArray[np.float32]:
        """Return the fraction of these spikes whose features are stored on each channel.

        Returns
        -------
        array (n_units, n_channels) float32
            The rest is filled with the template. NaN on channels that are not of the unit.
        """
        return self._dense(as_array(self.data["stored_fraction"])[:, None], None, np.nan)[:, 0]

    def get_templates(
        self,
        unit_ids: Sequence[Any] | None = None,
        operator: Literal["average", "std", "median", "percentile"] = "average",
        percentile: float | None = None,
    ) -> NDArray[np.float32]:
        """Return a statistic of the waveforms of each unit.

        Parameters
        ----------
        unit_ids : sequence, optional
            All units by default.
        operator : {"average", "std", "median", "percentile"}
            The last two are computed when they are asked for, from at most 5,000 spikes of a unit.
        percentile : float, optional
            From 0 to 100, for "percentile".

        Returns
        -------
        array (n_units, n_samples, n_channels) float32
            0 on channels that are not of the unit; NaN for units without features.

        Raises
        ------
        UnknownIdError, ParameterError
        MissingDataError, FolderNotFoundError, PhyFolderError
            For the median and percentiles, which read the folder.
        """
        checks = Checks.of_call(SpikeWaveforms.get_templates, locals())
        checks.choice("operator", operator, OPERATORS)
        wants = isinstance(operator, str) and operator == "percentile"
        checks.require(
            wants == (percentile is not None),
            f"percentile is {short_repr(percentile)} and operator {operator!r}: a percentile is "
            "given for operator='percentile', and only for it",
        )
        checks.number("percentile", percentile, at_least=0, at_most=100, optional=True)
        checks.finish()
        units = unit_indices_of(self.sorting_analyzer, unit_ids)
        if operator in ("average", "std"):
            return self._dense(as_array(self.data[operator])[units], units, 0)
        quantile = 50.0 if percentile is None else float(percentile)
        out = np.full_like(as_array(self.data["average"])[units], np.nan)
        source = self._source()
        for row, unit in enumerate(units):
            found = self._waveforms(source, int(unit), MAX_SPIKES_AT_ONCE)
            found = found[~np.isnan(found[:, 0]).all(axis=1)]
            if found.size:
                out[row, :, : found.shape[2]] = np.percentile(found, quantile, axis=0)
                out[row, :, found.shape[2] :] = 0
        return self._dense(out, units, 0)

    def get_unit_template(
        self,
        unit_id: Any,
        operator: Literal["average", "std", "median", "percentile"] = "average",
        percentile: float | None = None,
    ) -> NDArray[np.float32]:
        """Return a statistic of the waveforms of one unit (n_samples, n_channels).

        Parameters
        ----------
        unit_id : int or str
        operator, percentile
            As of `get_templates`.

        Raises
        ------
        UnknownIdError, ParameterError
        """
        check_arguments(SpikeWaveforms.get_unit_template, locals())
        return self.get_templates([unit_id], operator, percentile)[0]

    def get_spike_indices_one_unit(self, unit_id: Any) -> NDArray[np.int64]:
        """Return the spikes of a unit whose waveforms are given: positions in the spike vector.

        Parameters
        ----------
        unit_id : int or str

        Raises
        ------
        UnknownIdError
        """
        unit = unit_index_of(self.sorting_analyzer, unit_id)
        return self._chosen([unit], self.params["max_spikes_per_unit"])[0]

    def get_waveforms_one_unit(
        self, unit_id: Any, force_dense: bool = False
    ) -> NDArray[np.float32]:
        """Return the waveforms of a unit's spikes, read from the folder.

        Parameters
        ----------
        unit_id : int or str
        force_dense : bool
            On all channels, 0 on those that are not of the unit.

        Returns
        -------
        array (n, n_samples, n_channels) float32
            Of the spikes of `get_spike_indices_one_unit`; NaN for spikes without features.

        Raises
        ------
        UnknownIdError, MissingDataError, FolderNotFoundError, PhyFolderError
        """
        check_arguments(SpikeWaveforms.get_waveforms_one_unit, locals())
        unit = unit_index_of(self.sorting_analyzer, unit_id)
        found = self._waveforms(self._source(), unit, self.params["max_spikes_per_unit"])
        if not force_dense:
            return found
        dense = np.zeros(
            (*found.shape[:2], len(self.sorting_analyzer.channel_ids)), dtype=np.float32
        )
        dense[:, :, np.flatnonzero(self._mask()[unit])] = found
        return dense

    def _waveforms(
        self, source: WaveformSource, unit: int, at_most: int | None
    ) -> NDArray[np.float32]:
        """Return waveforms (n, n_samples, n_channels of the unit) of some spikes of a unit."""
        spikes = self._chosen([unit], at_most)[0]
        channels = np.flatnonzero(self._mask()[unit])
        return source.waveforms(spikes, ChannelLists.one(channels, spikes.size))

    def _dense(
        self, values: NDArray[np.float32], units: NDArray[np.integer] | None, fill: float
    ) -> NDArray[np.float32]:
        """Put (n, ..., n_local) on all channels."""
        rows: Any = slice(None) if units is None else units
        return _on_all_channels(
            values,
            as_array(self.data["waveform_channels"])[rows],
            as_array(self.data["num_spikes"])[rows],
            len(self.sorting_analyzer.channel_ids),
            fill,
        )


def _on_all_channels(
    values: NDArray[np.float32],
    channels: NDArray[np.integer],
    num_spikes: NDArray[np.integer],
    num_channels: int,
    fill: float,
) -> NDArray[np.float32]:
    """Put (n_units, ..., n_local) on all channels; NaN of units without spikes."""
    dense = np.full((*values.shape[:-1], num_channels + 1), fill, dtype=values.dtype)
    columns = np.where(channels < 0, num_channels, channels).astype(np.int64)
    np.put_along_axis(dense, np.broadcast_to(columns[:, None], values.shape), values, axis=-1)
    dense[num_spikes == 0] = np.nan
    return np.ascontiguousarray(dense[..., :-1])


def _take(values: NDArray, order: NDArray[np.integer]) -> NDArray:
    shape = (*values.shape[:-1], order.shape[-1])
    return np.take_along_axis(values, np.broadcast_to(order, shape), axis=-1)


#: What is held per unit, and what stands where it is not known.
_EMPTY: dict[str, Any] = {
    "average": np.nan,
    "std": np.nan,
    "waveform_channels": -1,
    "stored_fraction": 0,
    "num_spikes": 0,
}

register_extension(SpikeWaveforms)
compute_spike_waveforms = extension_function(SpikeWaveforms)

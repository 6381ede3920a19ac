"""The one scale of amplitudes that figures and the report show, and what it is of an analyzer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.checks import check_arguments
from si_curation.errors import Finding, MissingDataError, PhyFolderError, SiCurationError
from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    assignment_of_named_folder,
)
from si_curation.kernels.spike_vector import is_every_row, scale_by_template
from si_curation.phy.arrays import Findings, as_vector, open_array
from si_curation.phy.file_groups import is_placeholder
from si_curation.variables import TemplateIds

#: Of templates and amplitudes, as figures and the report show them.
UNIT_NAMES = {
    "uV": "µV",
    "raw": "raw units",
    "sorted": "raw units, scaled",
    "sorter": "sorter's units",
    "whitened": "whitened units",
    "": "",  # of a folder without templates
}
# what SpikeInterface's export_to_phy wrote
_EXPORTED = "spikeinterface"
# of some spikes, or of all
_Amplitudes = Callable[[NDArray[np.int64] | None], NDArray[np.floating]]


@dataclass(frozen=True)
class AmplitudeScale:
    """What the amplitudes of the spikes of an analyzer are, and where they are from.

    Attributes
    ----------
    measure : {"peak_to_peak", "extremum"}
        "peak_to_peak": of the spike's own template on its best channel, times how much larger than
        the template the spike is. "extremum": the absolute value at the extremum of the unit's
        template on its main channel, as SpikeInterface has it.
    source : {"pc_features", "amplitudes", "spike_amplitudes"}
        What tells how large a spike is. "pc_features": the projection of its features onto its own
        template; "amplitudes": ``amplitudes.npy``; "spike_amplitudes": that extension.
    units : {"uV", "raw", "sorted", "sorter", "whitened"}
        As those of `Waveforms`.
    """

    measure: Literal["peak_to_peak", "extremum"]
    source: Literal["pc_features", "amplitudes", "spike_amplitudes"]
    units: str

    @property
    def label(self) -> str:
        """For an axis, such as "peak to peak (µV)"."""
        if self.measure == "extremum":
            return f"at the extremum ({UNIT_NAMES[self.units]})"
        return f"peak to peak ({UNIT_NAMES[self.units]})"

    @property
    def description(self) -> str:
        """In a sentence."""
        if self.measure == "extremum":
            return (
                "absolute value at the extremum of the unit's template on its main channel "
                "(extension spike_amplitudes)"
            )
        how = {
            "pc_features": "by the projection of its features onto its own template",
            "amplitudes": "by amplitudes.npy, as there are no features of all spikes",
        }[self.source]
        return f"peak to peak on the best channel of the spike's template, {how}"


def get_amplitude_scale(sorting_analyzer: SortingAnalyzer) -> AmplitudeScale:
    """Return what ``get_spike_amplitudes(kind="projection")`` gives for an analyzer.

    It is the same for all its spikes. With a Kilosort folder it is the scale of the columns ``amp``
    and ``amplitude``, which are the peak-to-peak of the template.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer

    Returns
    -------
    AmplitudeScale

    Raises
    ------
    MissingDataError
        There is neither a Kilosort folder with ``pc_features.npy`` or ``amplitudes.npy``, nor the
        extension "spike_amplitudes".
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is not what it was.

    Notes
    -----
    On three simulated recordings sorted by Kilosort 4.1.7 the correlation with the simulated
    amplitude is, as the median over units, 0.86 to 0.92 for the projection, 0.86 to 0.94 for
    ``amplitudes.npy``, and 0.49 to 0.74 for the trough of the trace.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> scale = sic.get_amplitude_scale(analyzer)
    >>> scale.label, scale.source
    ('peak to peak (raw units)', 'pc_features')
    """
    check_arguments(get_amplitude_scale, locals())
    return _scale_and_amplitudes(sorting_analyzer)[0]


def projected_amplitudes(
    sorting_analyzer: SortingAnalyzer, spike_indices: NDArray[np.int64]
) -> NDArray[np.floating]:
    """Return the amplitudes of any spikes on the scale of `get_amplitude_scale`.

    The features are read block by block.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    spike_indices : array (n,) int64
        Positions in the spike vector.

    Returns
    -------
    array (n,) float32
        NaN for spikes whose template is 0 everywhere.

    Raises
    ------
    MissingDataError, FolderNotFoundError, PhyFolderError
        As `get_amplitude_scale`.
    """
    return _scale_and_amplitudes(sorting_analyzer)[1](spike_indices)


def scale_and_amplitudes(
    sorting_analyzer: SortingAnalyzer, spike_indices: NDArray[np.int64] | None = None
) -> tuple[AmplitudeScale, NDArray[np.floating]] | None:
    """Return the scale, and the amplitudes of any spikes, or of all; None where nothing is known.

    Where the folder cannot be read any more, the extension "spike_amplitudes" is taken.
    """
    try:
        scale, amplitudes = _scale_and_amplitudes(sorting_analyzer)
        return scale, amplitudes(spike_indices)
    except SiCurationError:
        if sorting_analyzer.get_extension("spike_amplitudes") is None:
            return None
        scale, amplitudes = _of_extension(sorting_analyzer)
        return scale, amplitudes(spike_indices)


def _scale_and_amplitudes(analyzer: SortingAnalyzer) -> tuple[AmplitudeScale, _Amplitudes]:
    """Return the scale, and the function that gives amplitudes on it."""
    assignment = assignment_of_named_folder(analyzer)
    # those that SpikeInterface's export_to_phy wrote are of the unit, and no factors
    if assignment is not None and assignment.is_from_folder and assignment.source != _EXPORTED:
        for way in (_of_features, _of_sorter):
            found = way(analyzer, assignment)
            if found is not None:
                return found
    return _of_extension(analyzer)


def _of_features(
    analyzer: SortingAnalyzer, assignment: TemplateAssignment
) -> tuple[AmplitudeScale, _Amplitudes] | None:
    try:
        source = assignment.get_waveform_source()
    except MissingDataError:
        return None
    if not source.features.rows.has_all():  # one scale for all spikes
        return None
    scale = AmplitudeScale("peak_to_peak", "pc_features", source.units)
    per_factor = _largest(assignment) * assignment.get_template_factors().of_projections

    def amplitudes(spikes: NDArray[np.int64] | None) -> NDArray[np.floating]:
        spikes = np.arange(source.template_ids.size) if spikes is None else spikes
        values = source.factors(spikes)
        values *= per_factor[source.template_ids[spikes]].astype(np.float32)
        return values

    return scale, amplitudes


def _of_sorter(
    analyzer: SortingAnalyzer, assignment: TemplateAssignment
) -> tuple[AmplitudeScale, _Amplitudes] | None:
    try:
        sorter_amplitudes(analyzer, np.zeros(0, dtype=np.int64))
    except MissingDataError:
        return None
    scale = AmplitudeScale("peak_to_peak", "amplitudes", assignment.info["units"])
    per_amplitude = _largest(assignment) * assignment.get_template_factors().of_amplitudes
    template_ids = assignment.get_spike_template_ids()

    def amplitudes(spikes: NDArray[np.int64] | None) -> NDArray[np.floating]:
        ids = TemplateIds(template_ids if spikes is None else template_ids[spikes])
        values, rows = _sorters_file(analyzer, spikes)
        if is_every_row(rows, values.size):
            return scale_by_template(values, None, ids, per_amplitude)
        return (values[rows] * per_amplitude[ids]).astype(np.float32)

    return scale, amplitudes


def _of_extension(analyzer: SortingAnalyzer) -> tuple[AmplitudeScale, _Amplitudes]:
    extension = analyzer.get_extension("spike_amplitudes")
    if extension is None:
        raise MissingDataError(
            "amplitudes of spikes need the extension 'spike_amplitudes'; compute it first"
        )
    values = as_array(extension.get_data(copy=False))
    return scale_of_extension(analyzer), lambda spikes: np.abs(
        values if spikes is None else values[spikes]
    )


def scale_of_extension(analyzer: SortingAnalyzer) -> AmplitudeScale:
    """Return what the magnitudes of the extension "spike_amplitudes" are."""
    assignment = analyzer.get_extension("template_assignment")
    units = "uV" if analyzer.return_in_uV else "raw"
    # what the reader put in is in the units of the templates
    if assignment is not None and assignment.is_from_folder and not assignment.is_attached:
        units = assignment.info["units"]
    return AmplitudeScale("extremum", "spike_amplitudes", units)


def _largest(assignment: TemplateAssignment) -> NDArray[np.floating]:
    """Return the largest peak-to-peak of each template; NaN for those that are 0."""
    largest = assignment.get_template_amplitudes().max(axis=1)
    return np.where(largest > 0, largest, np.nan)


def sorter_amplitudes(
    analyzer: SortingAnalyzer, spikes: NDArray[np.int64] | None
) -> NDArray[np.floating]:
    """Read ``amplitudes.npy`` of some spikes, in the sorter's units.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    spikes : array (n,) int64 or None
        Positions in the spike vector; None: all.

    Returns
    -------
    array (n,)

    Raises
    ------
    MissingDataError
        The analyzer was not read from a Kilosort folder, or that has no amplitudes.
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is another one now.
    """
    values, rows = _sorters_file(analyzer, spikes)
    return np.asarray(values[rows])


def _sorters_file(
    analyzer: SortingAnalyzer, spikes: NDArray[np.int64] | None
) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    """Return ``amplitudes.npy``, and the rows of some spikes in it, or of all."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None or not assignment.is_from_folder:
        raise MissingDataError("the analyzer was not read from a Kilosort folder")
    whole = assignment.get_spikes_of_folder()
    chosen = whole if spikes is None else whole.select(spikes)
    rows = chosen.rows
    assignment.get_feature_files().check(rows, chosen.template_ids)
    findings = Findings()
    name = "amplitudes.npy"
    values = as_vector(open_array(whole.folder, name, findings), name, findings)
    if findings.with_severity("error"):
        raise PhyFolderError(whole.folder, findings.with_severity("error"))
    if values is None:
        raise MissingDataError(f"{whole.folder} has no {name}")
    if is_placeholder(values):
        raise MissingDataError(f"{name} of {whole.folder} is 1 for all spikes, a placeholder")
    if rows.size and int(rows.max()) >= values.size:
        finding = Finding("error", f"has {values.size} rows only", name, "copy it again")
        raise PhyFolderError(whole.folder, [finding])
    return values, rows

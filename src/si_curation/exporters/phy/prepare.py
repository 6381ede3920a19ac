"""`prepare_for_phy`: what a complete phy folder needs, computed so that nothing is deleted."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer, get_template_peak_shift_on_main_channel

import si_curation.extensions  # noqa: F401  (registers template_assignment)
from si_curation._spikeinterface import (
    as_array,
    borrowed_data_of,
    data_of,
    make_memory_analyzer,
    put_extension,
    rec_attributes_of,
    recording_of,
    spike_vector_of,
)
from si_curation.checks import check_arguments
from si_curation.errors import ParameterError, SiCurationWarning
from si_curation.exporters.phy.curated import source_folder_of

# each after those that it is computed from
_OF_ANY_SORTER = (
    "random_spikes",
    "waveforms",
    "templates",
    "spike_amplitudes",
    "spike_locations",
    "principal_components",
    "template_assignment",
    "template_features",
)
_FROM_RECORDING = ("waveforms", "spike_amplitudes", "spike_locations")
_OF_RANDOM_SPIKES = ("waveforms", "principal_components")
_IN_THE_FOLDER = (  # of each extension, what phy shows of it
    ("spike_amplitudes", "amplitudes"),
    ("principal_components", "features"),
    ("template_features", "template features"),
    ("spike_locations", "spike positions"),
)


def prepare_for_phy(sorting_analyzer: SortingAnalyzer, **job_kwargs: Any) -> list[str]:
    """Compute what a complete phy folder needs and the analyzer does not have.

    SpikeInterface deletes every extension that depends on one that it computes: after
    ``analyzer.compute("waveforms")`` there are no templates and no amplitudes any more. Here
    nothing is deleted, and nothing that is there is computed again: what is missing is computed
    beside the analyzer, from its extensions and its recording, and then added to it.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        In memory or on disk; what is missing is added to it. Waveforms, templates, amplitudes,
        locations and components of spikes need a recording (a temporary one will do). For an
        analyzer that was read from a Kilosort folder, which has all of these, the extension
        "template_features" alone.
    **job_kwargs
        SpikeInterface's, such as ``n_jobs=2`` and ``progress_bar=False``.

    Returns
    -------
    list of str
        Names of the extensions that were computed, in their order; empty where none was missing.

    Raises
    ------
    ParameterError
        It is no SortingAnalyzer, or a loaded one that cannot be written to.

    Warns
    -----
    SiCurationWarning
        Something cannot be had: what phy will not show, and why.

    See Also
    --------
    export_to_phy : ``complete=True`` calls it first.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> prepare_for_phy(analyzer)
    ['template_features']
    """
    check_arguments(prepare_for_phy, locals())
    if not isinstance(sorting_analyzer, SortingAnalyzer):
        raise ParameterError(
            f"sorting_analyzer is a {type(sorting_analyzer).__name__}, expected a SortingAnalyzer"
        )
    if sorting_analyzer.format != "memory" and sorting_analyzer.is_read_only():
        raise ParameterError(
            f"the analyzer {sorting_analyzer.folder} is read-only; make a copy in memory that can "
            'be added to: analyzer.save_as(format="memory")'
        )
    is_sorters = source_folder_of(sorting_analyzer) is not None
    names = ("template_assignment", "template_features") if is_sorters else _OF_ANY_SORTER
    computed, why_not = _compute_beside(sorting_analyzer, names, job_kwargs)
    if "spike_amplitudes" in why_not and amplitudes_of_spikes(sorting_analyzer) is not None:
        del why_not["spike_amplitudes"]  # the waveforms have them
    missing = [f"{shown} ({why_not[name]})" for name, shown in _IN_THE_FOLDER if name in why_not]
    if missing:
        warnings.warn(f"phy will not show {', '.join(missing)}", SiCurationWarning, stacklevel=2)
    return computed


def _compute_beside(
    analyzer: SortingAnalyzer, names: tuple[str, ...], job_kwargs: dict[str, Any]
) -> tuple[list[str], dict[str, str]]:
    """Compute what is missing in an analyzer of its own, then add it; what was there stays.

    Returns
    -------
    list of str
        What was computed.
    dict of str to str
        Why the others could not be.
    """
    if all(analyzer.has_extension(name) for name in names):
        return [], {}
    beside = _analyzer_beside(analyzer)
    computed: list[str] = []
    why_not: dict[str, str] = {}
    for name in names:  # ascending: nothing in `beside` depends on what is computed next
        known = analyzer.get_extension(name)
        if known is not None:
            put_extension(beside, known, borrowed_data_of(known))
            continue
        fault = _why_not(analyzer, name)
        if fault is None and name in _OF_RANDOM_SPIKES:
            fault = why_not.get("random_spikes")
        if fault is None:
            fault = _compute(beside, name, job_kwargs)
        if fault is None:
            computed.append(name)
        else:
            why_not[name] = fault
    for name in computed:
        made = beside.get_extension(name)
        data = data_of(made)
        if analyzer.format == "zarr":  # the models of components, pickled there, do not load again
            data = {key: value for key, value in data.items() if not key.startswith("pca_model")}
        put_extension(analyzer, made, data)
    return computed, why_not


def _analyzer_beside(analyzer: SortingAnalyzer) -> SortingAnalyzer:
    """Make an analyzer of the same units in memory, without extensions."""
    return make_memory_analyzer(
        analyzer.sorting,
        recording_of(analyzer),
        rec_attributes_of(analyzer),
        analyzer.sparsity,
        analyzer.return_in_uV,
        analyzer.get_main_channels(),
        analyzer.peak_sign,
        analyzer.peak_mode,
    )


def _why_not(analyzer: SortingAnalyzer, name: str) -> str | None:
    """Return why an extension cannot be computed; None where it may be tried."""
    if name == "random_spikes":
        held = [other for other in _OF_RANDOM_SPIKES if analyzer.has_extension(other)]
        return f"'random_spikes', which tell the spikes of {held[0]!r}, are gone" if held else None
    if name in _FROM_RECORDING and recording_of(analyzer) is None:
        return "the analyzer has no recording: analyzer.set_temporary_recording(recording)"
    if name == "principal_components" and not analyzer.has_extension("waveforms"):
        return _why_not(analyzer, "waveforms")
    return None


def _compute(beside: SortingAnalyzer, name: str, job_kwargs: dict[str, Any]) -> str | None:
    """Compute one extension with the windows of the templates; return why it failed, or None."""
    params: dict[str, Any] = {}
    templates = beside.get_extension("templates")
    if name == "waveforms" and templates is not None:
        params = {key: templates.params[key] for key in ("ms_before", "ms_after")}
    try:
        beside.compute(name, **params, **job_kwargs)
    except Exception as fault:  # of any package's extension
        return " ".join(str(fault).split()) or type(fault).__name__
    return None


def amplitudes_of_spikes(sorting_analyzer: SortingAnalyzer) -> NDArray[np.float64] | None:
    """Return the absolute amplitude of every spike on the main channel of its unit.

    Those of the extension "spike_amplitudes"; where that is not there, the same values from the
    waveforms, if there are waveforms of all spikes.

    Returns
    -------
    array (n_spikes,) float64, or None
        None where they are not known.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> amplitudes_of_spikes(analyzer).shape
    (5299,)
    >>> _ = analyzer.delete_extension("spike_amplitudes")
    >>> amplitudes_of_spikes(analyzer) is None
    True
    """
    extension = sorting_analyzer.get_extension("spike_amplitudes")
    if extension is not None:
        return np.abs(np.asarray(as_array(extension.get_data(copy=False)), dtype=np.float64))
    unit_index = spike_vector_of(sorting_analyzer.sorting)["unit_index"]
    chosen = sorting_analyzer.get_extension("random_spikes")
    waveforms = sorting_analyzer.get_extension("waveforms")
    if chosen is None or waveforms is None:
        return None
    values = waveforms.get_data()  # (n_chosen, n_samples, n_channels of the sparsity)
    if as_array(chosen.get_data()).size != unit_index.size or len(values) != unit_index.size:
        return None
    beside = _analyzer_beside(sorting_analyzer)
    for extension in (chosen, waveforms):
        put_extension(beside, extension, borrowed_data_of(extension))
    beside.compute("templates", operators=["average"], progress_bar=False)
    shifts = get_template_peak_shift_on_main_channel(beside, with_dict=True)
    samples = waveforms.nbefore + np.array([shifts[i] for i in sorting_analyzer.unit_ids])
    main = sorting_analyzer.get_main_channels()  # (n_units,) channel indices
    columns = main
    if sorting_analyzer.sparsity is not None:
        mask = sorting_analyzer.sparsity.mask
        if not mask[np.arange(len(main)), main].all():
            return None
        columns = np.cumsum(mask, axis=1)[np.arange(len(main)), main] - 1
    if samples.min() < 0 or samples.max() >= values.shape[1]:
        return None
    spikes = np.arange(unit_index.size)
    return np.abs(values[spikes, samples[unit_index], columns[unit_index]].astype(np.float64))

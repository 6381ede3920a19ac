"""`split_by_session`: an analyzer for each session of recordings that were sorted as one."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import ChannelSparsity, SortingAnalyzer

from si_curation._spikeinterface import (
    make_memory_analyzer,
    make_numpy_sorting,
    rec_attributes_of,
    recording_of,
    recording_of_parts,
    samples_end_to_end,
    segment_samples_of,
    spike_vector_of,
)
from si_curation.checks import Checks, check_arguments, local_path
from si_curation.curation.carry_over import carry_over
from si_curation.errors import ParameterError, SiCurationWarning
from si_curation.extensions.changes import change_of_time
from si_curation.files import check_output_folder
from si_curation.kernels.spike_vector import SPIKE_DTYPE
from si_curation.reading.observed import (
    OBSERVED_PROPERTY,
    observed_periods,
    observed_text_of_part,
)
from si_curation.reading.saving import save_analyzers
from si_curation.reading.sessions import (
    SessionBorders,
    borders_within,
    keep_borders,
    known_borders,
    note_session,
    segments_in_span,
    session_borders,
)

Span = tuple[int, int]


def split_by_session(
    sorting_analyzer: SortingAnalyzer,
    borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
    *,
    unit: Literal["samples", "s"] | None = None,
    names: Sequence[str] | None = None,
    empty_units: Literal["keep", "drop"] = "keep",
    format: Literal["memory", "binary_folder", "zarr"] = "memory",
    folder: str | Path | None = None,
) -> dict[str, SortingAnalyzer]:
    """Split an analyzer of several sessions that were sorted as one into one for each session.

    Recordings are concatenated, sorted and curated as one, so that a unit is the same in all of
    them. Afterwards each session has its own spikes, with times from its own start, and the same
    unit ids. Every spike is in one session; one at a border is in the session that begins there.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Of any sorter; is not changed.
    borders : "auto", SessionBorders or sequence of numbers, default: "auto"
        Where each session but the first begins: whole numbers are samples, numbers with a decimal
        point seconds, both from the start of the whole (of all segments, end to end). "auto" (or
        None): as they are known; see `session_borders`.
    unit, names
        As of `session_borders`.
    empty_units : {"keep", "drop"}
        Whether a session has the units that have no spikes in it.
    format : {"memory", "binary_folder", "zarr"}
        Where the analyzers live.
    folder : str or Path, optional
        For the two formats on disk: a new folder, with one for each session by its name. It appears
        as a whole or not at all.

    Returns
    -------
    dict of str to SortingAnalyzer
        By the names of the sessions, in their order.

    Raises
    ------
    ParameterError
        Borders, names or formats cannot be used; or a session has no spikes, and `empty_units` is
        "drop", which would leave it without units.
    MissingDataError
        `borders` is "auto", and they are not known.
    OutputExistsError
        `folder` exists.

    Warns
    -----
    SiCurationWarning
        An extension cannot be cut, and is left out; or nothing was looked for in a session, because
        the sorter sorted another part.

    See Also
    --------
    export_to_phy : the folder of one session, for phy.

    Notes
    -----
    *What is held of each spike* (amplitudes, locations, templates and rows in the files of the
    Kilosort folder, template features, waveforms, principal components) is cut. Features are still
    read from the Kilosort folder of the whole; where sortings of several folders follow each other,
    a session of one of them has that folder alone.

    *What is held of each unit* is of the session: templates (means of the sorter's templates by the
    spikes of the session, or of its waveforms), best channels, similarities, correlograms, and all
    metrics, whose rates and presence are over the session. Units without spikes in a session keep
    template and location of the whole. Where templates were averaged from traces, and there are no
    waveforms, they stay those of the whole, as do noise levels, sparsity, main channels and the
    models of principal components. Random spikes are chosen anew where their principal components
    are the sorter's features, as many of a session as of the whole; else they are those of the
    whole that lie in the session.

    *What is kept*: unit ids, labels and all other properties, the history of curation, the part of
    the time that was observed. Numbers that the sorter wrote into tables (``Amplitude``,
    ``ContamPct``) are of the whole.

    *The recording* of a session is a slice. Where sessions are the recordings that SpikeInterface
    concatenated, it is that recording, with its own times. Else times are those of the whole where
    it has times, and begin at 0 where it has none.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> sessions = sic.split_by_session(analyzer, [30.0, 50.5], names=["base", "drug", "wash"])
    >>> {name: one.sorting.get_unit_spike_train(13).size for name, one in sessions.items()}
    {'base': 495, 'drug': 358, 'wash': 477}
    >>> sessions["drug"].get_num_samples()
    615000
    """
    check_arguments(split_by_session, locals())
    analyzer = sorting_analyzer
    found = session_borders(
        analyzer, "auto" if borders is None else borders, unit=unit, names=names
    )
    target = _checked_target(format, folder)
    if empty_units == "drop":
        _refuse_silent_sessions(analyzer, found)
    if analyzer.format != "memory":
        analyzer.load_all_saved_extension()
    cut = _Cutter(analyzer, found, empty_units == "drop")
    if target is None:
        sessions = dict(cut.sessions())
    else:
        sessions = save_analyzers(cut.sessions(), format, target)
    cut.warn()
    return sessions


def _name_folder(session: SortingAnalyzer) -> None:
    """Name the Kilosort folder of a session of which the whole was of several."""
    assignment = session.get_extension("template_assignment")
    if assignment is not None and assignment.is_from_folder:
        folder = str(assignment.info["phy_folder"])
        named = session.sorting.get_property("phy_folder")
        if named is None or any(str(one) != folder for one in named):
            session.set_sorting_property("phy_folder", np.full(len(session.unit_ids), folder))


def _checked_target(format: str, folder: str | Path | None) -> Path | None:
    checks = Checks()
    if format == "memory":
        checks.require(
            folder is None, "folder is given with format='memory'; use 'binary_folder' or 'zarr'"
        )
    else:
        checks.require(folder is not None, f"format={format!r} needs folder=")
    checks.finish()
    if folder is None:
        return None
    return check_output_folder(local_path(folder, "folder").resolve(), False)


def _refuse_silent_sessions(analyzer: SortingAnalyzer, borders: SessionBorders) -> None:
    samples = samples_end_to_end(analyzer)
    counts = np.histogram(samples, borders.edges)[0]
    silent = [name for name, count in zip(borders.names, counts, strict=True) if count == 0]
    if silent:
        raise ParameterError(
            f"there are no spikes in {', '.join(silent)}: empty_units='drop' would leave no units "
            "there; keep them (empty_units='keep')"
        )


class _Cutter:
    """Cuts one session after the other out of an analyzer, and collects what is to be said."""

    def __init__(self, analyzer: SortingAnalyzer, borders: SessionBorders, drop: bool):
        self._analyzer = analyzer
        self._borders = borders
        self._drop = drop
        self._samples = samples_end_to_end(analyzer)
        self._lengths = segment_samples_of(analyzer)
        self._observed = observed_periods(analyzer)
        self._inner = known_borders(analyzer)
        self._left_out: dict[str, str] = {}
        self._not_sorted: list[str] = []

    def sessions(self) -> Iterator[tuple[str, SortingAnalyzer]]:
        """Yield name and analyzer of each session."""
        edges = self._borders.edges.tolist()
        for index, span in enumerate(itertools.pairwise(edges)):
            yield self._borders.names[index], self._session(index, span)

    def warn(self) -> None:
        """Say once what is not in the sessions."""
        said = [f"{name} ({reason})" for name, reason in self._left_out.items()]
        texts = [f"not in the sessions: {'; '.join(said)}"] if said else []
        if self._not_sorted:
            texts.append(
                f"the sorter sorted nothing of {', '.join(self._not_sorted)} (see "
                "observed_periods): rates there are over the whole session"
            )
        if texts:
            warnings.warn("; ".join(texts), SiCurationWarning, stacklevel=3)

    def _session(self, index: int, span: Span) -> SortingAnalyzer:
        before = self._analyzer
        kept = np.flatnonzero((self._samples >= span[0]) & (self._samples < span[1]))
        after = self._bare(index, span, kept)
        change = change_of_time(before, after, kept, span)
        made_of = {unit_id: [unit_id] for unit_id in after.unit_ids.tolist()}
        self._left_out |= carry_over(change, "change", made_of)
        _name_folder(after)
        return after

    def _bare(self, index: int, span: Span, kept: NDArray[np.int64]) -> SortingAnalyzer:
        """Return the analyzer of a session without extensions."""
        before = self._analyzer
        parts = segments_in_span(self._lengths, span)
        spikes = self._spikes(kept, parts)
        rows = np.arange(len(before.unit_ids))
        if self._drop:
            rows = np.unique(spikes["unit_index"])
            spikes["unit_index"] = np.searchsorted(rows, spikes["unit_index"])
        unit_ids = before.unit_ids[rows]
        sorting = make_numpy_sorting(spikes, before.sampling_frequency, unit_ids, len(parts))
        before.sorting.copy_metadata(sorting, ids=unit_ids)
        note_session(sorting, self._borders, index)
        observed = self._observed_text(index, span)
        if observed is not None:
            sorting.set_property(OBSERVED_PROPERTY, np.full(len(unit_ids), observed))
        recording = recording_of(before)
        attributes = rec_attributes_of(before)
        attributes["num_samples"] = [stop - start for _, start, stop in parts]
        mask = None if before.sparsity is None else before.sparsity.mask[rows]
        after = make_memory_analyzer(
            sorting,
            None if recording is None else recording_of_parts(recording, parts),
            attributes,
            None if mask is None else ChannelSparsity(mask, unit_ids, before.channel_ids),
            before.return_in_uV,
            before.get_main_channels()[rows],
            before.peak_sign,
            before.peak_mode,
        )
        self._keep_inner_borders(after, span)
        return after

    def _spikes(
        self, kept: NDArray[np.int64], parts: Sequence[tuple[int, int, int]]
    ) -> NDArray[np.void]:
        """Return the spikes of a session, with samples from the start of each of its segments."""
        whole = spike_vector_of(self._analyzer.sorting)
        spikes = np.empty(kept.size, dtype=SPIKE_DTYPE)
        for name in SPIKE_DTYPE.names or ():
            spikes[name] = whole[name][kept]
        first = parts[0][0]
        begins = np.array([start for _, start, _ in parts], dtype=np.int64)
        spikes["segment_index"] -= first
        spikes["sample_index"] -= begins[spikes["segment_index"]]
        return spikes

    def _observed_text(self, index: int, span: Span) -> str | None:
        """Return what was observed of a session as its units keep it; None: as they have it."""
        if self._observed.is_whole:
            return None
        text = observed_text_of_part(self._observed, span)
        if text is None:
            self._not_sorted.append(self._borders.names[index])
        return text or ""

    def _keep_inner_borders(self, after: SortingAnalyzer, span: Span) -> None:
        """Keep the borders that are known inside a session, as where two files are one session."""
        inner = None if self._inner is None else borders_within(self._inner, *span)
        keep_borders(after, None if inner is None or inner.source == "segments" else inner)

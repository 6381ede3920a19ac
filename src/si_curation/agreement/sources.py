"""What a curation is given as, read as the unit and the label of each spike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import samples_end_to_end, spike_vector_of
from si_curation.checks import Checks, local_path, plain_id, short_repr
from si_curation.curation.session import CurationSession, session_of_journal
from si_curation.errors import FolderNotFoundError, ParameterError
from si_curation.kernels.spike_files import positions_of_ids, with_small_ids
from si_curation.phy.folder import read_phy_folder
from si_curation.phy.tables import UNSORTED
from si_curation.reading.loading import is_saved_analyzer, load_with_warning
from si_curation.reading.reader import read_kilosort_as_analyzer

_JSON_NAMES = (".json",)


@dataclass(frozen=True, eq=False)
class Source:
    """A curation of some spikes.

    Attributes
    ----------
    name : str
        That it is called by in the comparison.
    text : str
        What it was given as, for errors and the page.
    sampling_frequency : float
        In Hz.
    samples : array (n_spikes,) int64
        Ascending; segments end to end.
    unit_index : array (n_spikes,) integer
        Position in `unit_ids` of the unit of each spike, -1 where it was removed.
    unit_ids : list
    labels : list of str
        Group of each unit; "unsorted" where it has none.
    templates : array (n_spikes,) integer or None
        Template that found each spike.
    rows : array (n_spikes,) integer or None
        Row of each spike in the files of its folder.
    first_units : tuple of (array (n_spikes,), list) or None
        Unit of each spike, and ids of the units, that the session began with.
    open : callable
        Returns an analyzer of its units, or of those that the session began with.
    is_folder : bool
        Read from a folder, of which phy removes no spike.
    """

    name: str
    text: str
    sampling_frequency: float
    samples: NDArray[np.int64]
    unit_index: NDArray[np.integer]
    unit_ids: list[Any]
    labels: list[str]
    templates: NDArray[np.integer] | None
    rows: NDArray[np.integer] | None
    first_units: tuple[NDArray[np.integer], list[Any]] | None
    open: Callable[[], SortingAnalyzer]
    is_folder: bool = False

    @property
    def called(self) -> str:
        """Name and what it was given as."""
        return f"{self.name} ({self.text})"


@dataclass(frozen=True)
class Reading:
    """How curations are read.

    Attributes
    ----------
    start : object or None
        What journals and curation files are steps from.
    sampling_frequency : float or None
    trust_analyzers : bool
    """

    start: Any = None
    sampling_frequency: float | None = None
    trust_analyzers: bool = False

    def analyzer_of(self, given: Any, name: str) -> SortingAnalyzer:
        """Return the analyzer that is given, or of a folder."""
        if isinstance(given, CurationSession):
            return given.sorting_analyzer
        if _is_analyzer(given):
            return given
        path = _existing(given, name)
        if path.is_file():
            raise ParameterError(f"{name} is {path}, a file; expected a folder or an analyzer")
        if is_saved_analyzer(path):
            return load_with_warning(path, self.trust_analyzers)
        return read_kilosort_as_analyzer(path, sampling_frequency=self.sampling_frequency)

    def start_analyzer(self, path: str) -> SortingAnalyzer:
        """Return the analyzer that a journal or a curation file begins with.

        Raises
        ------
        ParameterError
            None is given.
        """
        if self.start is None:
            raise ParameterError(
                f"{path} has steps and no spikes: give start=, the folder or analyzer that they "
                "begin with"
            )
        return self.analyzer_of(self.start, "start")


def read_source(given: Any, name: str, reading: Reading) -> Source:
    """Read a curation, whatever it is given as.

    Parameters
    ----------
    given : str, Path, SortingAnalyzer, CurationSession or mapping
        A folder of phy, a saved analyzer, a journal, or a curation file of SpikeInterface; an
        analyzer, a session, or a curation of SpikeInterface as a dict or model.
    name : str
    reading : Reading

    Raises
    ------
    FolderNotFoundError, ParameterError, PhyFolderError, MissingDataError
        It is none of these, or cannot be read.
    """
    if isinstance(given, CurationSession):
        return _of_session(given, name, "session")
    if _is_analyzer(given):
        folder = getattr(given, "folder", None)
        return _of_analyzer(given, name, "analyzer" if folder is None else str(folder))
    if isinstance(given, Mapping) or hasattr(given, "model_dump"):
        return _of_steps(given, name, "curation", reading, is_journal=False)
    path = _existing(given, name)
    if path.is_file():
        is_journal = path.suffix.lower() not in _JSON_NAMES
        return _of_steps(path, name, str(path), reading, is_journal=is_journal)
    if is_saved_analyzer(path):
        analyzer = load_with_warning(path, reading.trust_analyzers)
        return _of_analyzer(analyzer, name, str(path))
    return _of_folder(path, name, reading)


_EXPECTED = "a folder, an analyzer, a session, a journal or a curation file"


def check_kinds(
    checks: Checks, given: Sequence[Any], names: Sequence[str], start: Any = None
) -> None:
    """Note what is given as a curation, or as a start, and can be none."""
    for one, name in zip(given, names, strict=True):
        checks.require(_is_curation(one), f"{name} is {short_repr(one)}, expected {_EXPECTED}")
    if start is not None:
        check_sorting(checks, "start", start)


def check_sorting(checks: Checks, name: str, given: Any) -> None:
    """Note what can be neither a folder nor an analyzer."""
    is_one = isinstance(given, str | Path) or _is_analyzer(given)
    checks.require(is_one, f"{name} is {short_repr(given)}, expected a folder or an analyzer")


def _is_analyzer(given: Any) -> bool:
    return hasattr(given, "sorting") and hasattr(given, "get_extension")


def _is_curation(given: Any) -> bool:
    if isinstance(given, str | Path | CurationSession | Mapping) or _is_analyzer(given):
        return True
    return hasattr(given, "model_dump") and not isinstance(given, type)


def _existing(given: Any, name: str) -> Path:
    if not isinstance(given, str | Path):
        raise ParameterError(f"{name} is {short_repr(given)}, expected {_EXPECTED}")
    path = local_path(given, name)
    if not path.exists():
        raise FolderNotFoundError(
            f"{name} is {path}, which does not exist; expected a folder of phy, a saved analyzer, "
            "a journal or a curation file"
        )
    return path


def _of_folder(path: Path, name: str, reading: Reading) -> Source:
    folder = read_phy_folder(path, sampling_frequency=reading.sampling_frequency)
    clusters, small_ids = with_small_ids(np.asarray(folder.spike_clusters), folder.cluster_ids)
    table = positions_of_ids(small_ids, int(small_ids.max(initial=-1)))
    unit_index = table[clusters]
    samples = np.asarray(folder.spike_samples)
    templates = np.asarray(folder.spike_templates, dtype=np.int32)  # files have unsigned ones
    rows = np.arange(samples.size)
    if not folder.spikes_are_sorted:
        rows = np.argsort(samples, kind="stable")
        samples, templates, unit_index = samples[rows], templates[rows], unit_index[rows]
    groups = folder.groups
    ids = [int(i) for i in folder.cluster_ids]
    return Source(
        name,
        str(path),
        folder.sampling_frequency,
        samples,
        unit_index,
        ids,
        [groups[i] for i in ids],
        templates,
        rows,
        None,
        lambda: read_kilosort_as_analyzer(path, sampling_frequency=reading.sampling_frequency),
        is_folder=True,
    )


def _of_analyzer(analyzer: SortingAnalyzer, name: str, text: str) -> Source:
    templates, rows = _known_of_spikes(analyzer)
    quality = analyzer.sorting.get_property("quality")
    vector = spike_vector_of(analyzer.sorting)
    is_one = analyzer.get_num_segments() == 1
    ids = [plain_id(i) for i in analyzer.unit_ids]
    labels = [""] * len(ids) if quality is None else [str(one) for one in quality]
    return Source(
        name,
        text,
        float(analyzer.sampling_frequency),
        np.ascontiguousarray(vector["sample_index"]) if is_one else samples_end_to_end(analyzer),
        vector["unit_index"],
        ids,
        [UNSORTED if label in ("", "nan") else label for label in labels],
        templates,
        rows,
        None,
        lambda: analyzer,
    )


def _known_of_spikes(
    analyzer: SortingAnalyzer,
) -> tuple[NDArray[np.integer] | None, NDArray[np.integer] | None]:
    """Return template and row of each spike, where they are known."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None:
        return None, None
    rows = assignment.get_spike_rows() if assignment.is_from_folder else None
    return assignment.get_spike_template_ids(), rows


def _of_session(session: CurationSession, name: str, text: str) -> Source:
    analyzer = session.sorting_analyzer
    before = _of_analyzer(analyzer, name, text)
    unit_index = np.full(before.samples.size, -1, dtype=np.int32)
    labels = session.get_labels()
    for number, unit_id in enumerate(labels):
        unit_index[session.get_spikes(unit_id)] = number
    return Source(
        name,
        text,
        before.sampling_frequency,
        before.samples,
        unit_index,
        list(labels),
        [str(label) for label in labels.values()],
        before.templates,
        before.rows,
        (before.unit_index, before.unit_ids),
        before.open,
    )


def _of_steps(given: Any, name: str, text: str, reading: Reading, *, is_journal: bool) -> Source:
    analyzer = reading.start_analyzer(f"{name} ({text})")
    if is_journal:
        return _of_session(session_of_journal(analyzer, given), name, text)
    session = CurationSession(analyzer)
    try:
        session.apply_spikeinterface_curation(given)
    except ParameterError as fault:
        raise ParameterError(f"{name} ({text}): {fault}") from None
    return _of_session(session, name, text)

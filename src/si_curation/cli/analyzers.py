"""The analyzers of commands: read or loaded, computed, saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spikeinterface.core import SortingAnalyzer

from si_curation.cli.output import echo
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    SiCurationError,
)
from si_curation.progress import stage

# correlograms of all pairs of 3,000 units take 2 GB
MANY_UNITS = 1_000
#: What ``demo`` and ``compute`` compute.
DEFAULT_EXTENSIONS = (
    "template_assignment",
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
)


class Reading(NamedTuple):
    """How a source is read, as `si_curation.cli.options.source_options` say."""

    sampling_frequency: float | None = None
    gain_to_uv: float | None = None
    exclude_groups: Sequence[str] = ()
    periods: Sequence[tuple[float, float]] = ()
    trust: bool = False


def open_source(source: Path, reading: Reading) -> SortingAnalyzer:
    """Read a Kilosort/phy folder, or load a saved analyzer; set the periods that are given.

    Raises
    ------
    FolderNotFoundError
        There is no such folder.
    ParameterError
        An analyzer is to be read with options that are of folders.
    """
    with stage(f"reading {source}"):
        analyzer = _open(source, reading)
    if reading.periods:
        from si_curation.reading.observed import set_observed_periods

        set_observed_periods(analyzer, reading.periods, save=False)
    return analyzer


def _open(source: Path, reading: Reading) -> SortingAnalyzer:
    if not source.is_dir():
        raise FolderNotFoundError(f"{source} does not exist, expected an analyzer or a folder")
    from si_curation.reading.loading import is_saved_analyzer

    if is_saved_analyzer(source):
        given = {
            "--gain-to-uv": reading.gain_to_uv,
            "--exclude-group": reading.exclude_groups or None,
        }
        of_folders = [option for option, value in given.items() if value is not None]
        if of_folders:
            raise ParameterError(
                f"{source} is a saved analyzer, which has its gain and units: leave out "
                f"{' and '.join(of_folders)}"
            )
        return load_analyzer(source, reading.trust)
    from si_curation.reading.reader import read_kilosort_as_analyzer

    return read_kilosort_as_analyzer(
        source,
        sampling_frequency=reading.sampling_frequency,
        gain_to_uV=reading.gain_to_uv,
        exclude_groups=list(reading.exclude_groups) or None,
    )


def open_curation(source: Path, trust: bool) -> SortingAnalyzer | Path:
    """Load a saved analyzer, as `load_analyzer`; return any other path as it is."""
    from si_curation.reading.loading import is_saved_analyzer

    is_saved = source.is_dir() and is_saved_analyzer(source)
    return load_analyzer(source, trust) if is_saved else source


def load_analyzer(folder: Path, trust: bool) -> SortingAnalyzer:
    """Load a saved analyzer; note on standard error what was left out."""
    from si_curation.reading.loading import load_saved_analyzer

    loaded = load_saved_analyzer(folder, trust=trust, advice="--trust")
    if loaded.message:
        echo(f"Note: {loaded.message}", err=True)
    return loaded.analyzer


def read_folder(
    folder: Path,
    unwhiten: Literal["auto", "phy", "none"],
    sampling_frequency: float | None,
    gain_to_uv: float | None,
    exclude_groups: Iterable[str],
) -> SortingAnalyzer:
    """Read a Kilosort/phy folder as `si_curation.cli.options.reading_options` say."""
    from si_curation.reading.reader import read_kilosort_as_analyzer

    with stage(f"reading {folder}"):
        return read_kilosort_as_analyzer(
            folder,
            unwhiten=False if unwhiten == "none" else unwhiten,
            sampling_frequency=sampling_frequency,
            gain_to_uV=gain_to_uv,
            exclude_groups=list(exclude_groups) or None,
        )


def compute_available(
    analyzer: SortingAnalyzer,
    names: Iterable[str] = DEFAULT_EXTENSIONS,
    unavailable: type[SiCurationError] = MissingDataError,
    *,
    all_pairs: bool = True,
    **compute_kwargs: Any,
) -> None:
    """Compute extensions; note on standard error those that raise `unavailable`.

    all_pairs: False: of more than `MANY_UNITS` units correlograms are counted of those that share
    best channels, not of all pairs.
    """
    of_neighbours = not all_pairs and len(analyzer.unit_ids) > MANY_UNITS
    for name in names:
        pairs = {"pairs": "neighbours"} if of_neighbours and name == "cross_correlograms" else {}
        try:
            with stage(f"computing {name}"):
                analyzer.compute(name, **compute_kwargs, **pairs)
        except unavailable as fault:
            echo(f"No {name}: {fault}", err=True)


def save(analyzer: SortingAnalyzer, target: Path, overwrite: bool = False) -> SortingAnalyzer:
    """Save an analyzer as zarr where the target ends in .zarr, else as a folder."""
    from si_curation.reading.saving import save_analyzer

    format = "zarr" if target.suffix == ".zarr" else "binary_folder"
    with stage(f"saving {target}"):
        return save_analyzer(analyzer, format, target, overwrite)

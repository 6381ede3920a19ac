"""The analyzers of commands: read or loaded, computed, saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from spikeinterface.core import SortingAnalyzer

from si_curation.cli.output import echo
from si_curation.errors import FolderNotFoundError, MissingDataError, SiCurationError

#: What ``demo`` and ``compute`` compute.
DEFAULT_EXTENSIONS = (
    "template_assignment",
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
)


def open_source(
    source: Path,
    sampling_frequency: float | None = None,
    gain_to_uv: float | None = None,
    periods: Sequence[tuple[float, float]] = (),
    *,
    trust: bool,
) -> SortingAnalyzer:
    """Read a Kilosort/phy folder, or load a saved analyzer; set the periods that are given."""
    analyzer = _open(source, sampling_frequency, gain_to_uv, trust)
    if periods:
        from si_curation.reading.observed import set_observed_periods

        set_observed_periods(analyzer, periods, save=False)
    return analyzer


def _open(
    source: Path, sampling_frequency: float | None, gain_to_uv: float | None, trust: bool
) -> SortingAnalyzer:
    if not source.is_dir():
        raise FolderNotFoundError(f"{source} does not exist, expected an analyzer or a folder")
    from si_curation.reading.loading import is_saved_analyzer

    if is_saved_analyzer(source):
        return load_analyzer(source, trust)
    from si_curation.reading.reader import read_kilosort_as_analyzer

    return read_kilosort_as_analyzer(
        source, sampling_frequency=sampling_frequency, gain_to_uV=gain_to_uv
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
    **compute_kwargs: Any,
) -> None:
    """Compute extensions; note on standard error those that raise `unavailable`."""
    for name in names:
        try:
            analyzer.compute(name, **compute_kwargs)
        except unavailable as fault:
            echo(f"No {name}: {fault}", err=True)


def save(analyzer: SortingAnalyzer, target: Path) -> SortingAnalyzer:
    """Save an analyzer as zarr where the target ends in .zarr, else as a folder."""
    from si_curation.reading.saving import save_analyzer

    return save_analyzer(analyzer, "zarr" if target.suffix == ".zarr" else "binary_folder", target)

"""The kernels compiled before they are needed, by calls of everything on small folders."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation import kernels
from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks
from si_curation.curation.lineage import reconstruct_lineage
from si_curation.curation.reconstruct import reconstruct_journal
from si_curation.curation.session import CurationSession
from si_curation.curation.split_sessions import split_by_session
from si_curation.doctor.check import check_phy_folder
from si_curation.errors import ParameterError, SiCurationError
from si_curation.evidence.bad_merges import find_bad_merges
from si_curation.evidence.benchmark.benchmark import benchmark_suggestions
from si_curation.evidence.cleaning import suggest_cleaning
from si_curation.evidence.merges import suggest_merges
from si_curation.evidence.plan import plan_curation
from si_curation.evidence.splits import suggest_splits
from si_curation.exporters.nwb.spikes import order_spikes, per_spike_columns
from si_curation.exporters.phy.export import export_to_phy
from si_curation.extensions.template_assignment import attach_kilosort_folder
from si_curation.kernels import parallel
from si_curation.kernels.chance_agreement import adjusted_mutual_information
from si_curation.kernels.common_refinement import common_refinement
from si_curation.kernels.resorted_spikes import match_resorted_spikes
from si_curation.kernels.sample_times import (
    count_elsewhere_by_unit,
    times_by_unit,
)
from si_curation.kernels.spike_matching import match_by_cluster, match_by_sample
from si_curation.kernels.spikes_by_unit import order_of_units
from si_curation.kernels.spikes_over_time import count_over_time, image_over_time
from si_curation.kernels.trees import Trees, contributions
from si_curation.progress import track
from si_curation.quality.connections import find_monosynaptic_connections
from si_curation.quality.contamination import contamination_panel
from si_curation.quality.metrics.cluster_info import make_cluster_info
from si_curation.quality.metrics.extension import compute_metrics_in_windows
from si_curation.quality.unit_classes import classify_units
from si_curation.reading.reader import read_kilosort_as_analyzer
from si_curation.simulation.example import example_folder
from si_curation.simulation.simulate import simulate_kilosort_folder
from si_curation.spikes.amplitudes import get_spike_amplitudes
from si_curation.spikes.features import get_spike_features
from si_curation.spikes.waveform_sets import get_waveform_sets
from si_curation.spikes.waveforms import get_spike_waveforms

_EXTENSIONS = (
    "template_best_channels",
    "unit_similarity",
    "cross_correlograms",
    "template_features",
    "spike_waveforms",
)


@dataclass(frozen=True)
class Warmup:
    """What `warmup` has done.

    Attributes
    ----------
    cache_folder : Path
        Where the compiled kernels are kept.
    num_kernels : int
        Kernels that the package has.
    num_compiled : int
        Times that a kernel was compiled now: once for each combination of types, 0 where all were
        there.
    seconds : float
    """

    cache_folder: Path
    num_kernels: int
    num_compiled: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.num_kernels} kernels are compiled ({self.num_compiled} variants of them now, "
            f"in {self.seconds:.1f} s) and kept in {self.cache_folder}"
        )


def warmup(*, progress_bar: bool = True) -> Warmup:
    """Compile all kernels now, so that nobody waits for them later.

    For a new environment, an image of a container, or a folder that the nodes of a cluster share:
    set ``NUMBA_CACHE_DIR`` before Python starts, both for this call and for those that are to find
    the kernels. They are compiled by calls of all that uses them, on the packaged example and on
    small folders of other sorters. Arrays of rare types can still be compiled when they are met.

    Parameters
    ----------
    progress_bar : bool, default: True

    Returns
    -------
    Warmup
        The folder of the cache, the number of kernels compiled, and the time.

    Raises
    ------
    ParameterError
        There is no folder to keep kernels in, or that of ``NUMBA_CACHE_DIR`` cannot be written.

    Examples
    --------
    >>> import si_curation as sic
    >>> sic.warmup(progress_bar=False).cache_folder.is_dir()  # doctest: +SKIP
    True
    """
    checks = Checks.of_call(warmup, locals())
    checks.boolean("progress_bar", progress_bar)
    checks.finish()
    for module in pkgutil.iter_modules(kernels.__path__):
        importlib.import_module(f"{kernels.__name__}.{module.name}")
    folder = _checked_cache_folder()
    start, before = time.perf_counter(), parallel.compilations.number
    with tempfile.TemporaryDirectory() as temporary, _quiet(), parallel.kernels_for_few():
        calls = _Calls(Path(temporary)).all()
        for call in track(calls, len(calls), "compiling", hidden=not progress_bar, unit="step"):
            call()
    return Warmup(
        cache_folder=folder,
        num_kernels=len(parallel.KERNELS),
        num_compiled=parallel.compilations.number - before,
        seconds=time.perf_counter() - start,
    )


def _checked_cache_folder() -> Path:
    """Return where all kernels are kept; raise where that is nowhere, or not where it was asked."""
    asked = parallel.CACHE_FOLDER_ASKED_FOR
    folders = {parallel.cache_folder(kernel) for kernel in parallel.KERNELS}
    folder = next(iter(folders))
    if asked and not (folder and folder.is_relative_to(asked)):
        raise ParameterError(
            f"NUMBA_CACHE_DIR is {asked}, which cannot be written (or was set after Python had "
            f"started); kernels are kept {'nowhere' if folder is None else f'in {folder}'}; "
            "expected a folder that this user can write to and that is kept"
        )
    if folder is None:
        raise ParameterError(
            "there is no folder to keep compiled kernels in: neither the package's nor the user's "
            "cache folder can be written; set NUMBA_CACHE_DIR to one that can, before Python starts"
        )
    return folder


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the calls say about the small folders from the user."""
    parallel.compilations.is_told = True
    logger = logging.getLogger("si_curation")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class _Calls:
    """Calls of all that uses kernels, with arrays of the types that folders have."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        self.folders: list[Path] = []
        self.analyzers: list[SortingAnalyzer] = []

    def all(self) -> list[Callable[[], None]]:
        return [
            self.read,
            self.compute_extensions,
            self.compute_metrics,
            self.take_spikes,
            self.estimate_quality,
            self.suggest,
            self.draw,
            self.export,
            self.attach,
            self.compare,
            self.label,
        ]

    def read(self) -> None:
        self.folders = [
            example_folder(),
            *(
                simulate_kilosort_folder(
                    self.temporary / dialect,
                    dialect=dialect,
                    num_templates=8,
                    num_channels=16,
                    num_spikes=3_000,
                    shuffled=dialect == "kilosort2",
                    curation=4,
                    labels={0: "good"},
                ).folder
                for dialect in ("kilosort1", "kilosort2", "kilosort2.5")
            ),
        ]
        for folder in self.folders:
            check_phy_folder(folder)
            analyzer = read_kilosort_as_analyzer(folder)
            analyzer.get_extension("template_similarity").get_data()  # made when asked for
            self.analyzers.append(analyzer)
            make_cluster_info(folder)
            reconstruct_lineage(folder)
            with suppress(SiCurationError):  # there is a log of phy in the first only
                reconstruct_journal(folder)

    def compute_extensions(self) -> None:
        for analyzer in self.analyzers:
            analyzer.compute(list(_EXTENSIONS), progress_bar=False)

    def compute_metrics(self) -> None:
        for analyzer in self.analyzers:
            analyzer.compute("curation_metrics")
            compute_metrics_in_windows(analyzer, window_s=10.0)

    def take_spikes(self) -> None:
        for analyzer in self.analyzers:
            unit_id = analyzer.unit_ids[0]
            for kind in ("template", "projection"):
                with suppress(SiCurationError):  # what the folder of this sorter does not have
                    get_spike_amplitudes(analyzer, unit_id, kind=kind)
            get_spike_features(analyzer, unit_id, [analyzer.channel_ids[0]])
            get_spike_waveforms(analyzer, unit_id=unit_id, max_spikes=20)
            get_waveform_sets(analyzer, {"all": np.arange(20)})

    def estimate_quality(self) -> None:
        for analyzer in self.analyzers:
            contamination_panel(analyzer)
            find_monosynaptic_connections(analyzer)
            classify_units(analyzer)

    def suggest(self) -> None:
        for analyzer in self.analyzers:
            plan_curation(analyzer)
            suggest_merges(analyzer)
            suggest_splits(analyzer)
            units_to_clean = suggest_cleaning(analyzer, score_threshold=0.0)
            for unit_id in units_to_clean.units()[:1]:
                units_to_clean.mask(unit_id)
            find_bad_merges(analyzer)
            benchmark_suggestions(analyzer, max_units=2)

    def draw(self) -> None:
        train, times_s = np.arange(2), np.zeros(2)
        count_over_time(train, times_s, (1.0, 2), (15, 100))
        ranges = np.array([[0.0, 1.0], [0.0, 1.0]])
        image_over_time(times_s, np.ones(2, dtype=np.float32), ranges, (2, 2))

    def export(self) -> None:
        for number, analyzer in enumerate(self.analyzers):
            session = CurationSession(analyzer)
            session.merge(session.unit_ids[:2])
            export_to_phy(session.apply(), self.temporary / f"curated{number}")
            export_to_phy(analyzer, self.temporary / f"same{number}")
            split_by_session(analyzer, [1.0], unit="s")
            self._give_times(analyzer)

    def _give_times(self, analyzer: SortingAnalyzer) -> None:
        """Do what an NWB file needs of kernels, which is also there without pynwb."""
        vector, spikes = spike_vector_of(analyzer.sorting), order_spikes(analyzer)
        clocks = np.zeros(1), np.array([analyzer.sampling_frequency])
        order = order_of_units(vector["unit_index"], len(analyzer.unit_ids))
        count_elsewhere_by_unit(vector, order, times_by_unit(vector, order, *clocks), *clocks)
        per_spike_columns(analyzer, spikes, ("amplitudes",))

    def attach(self) -> None:
        for folder, analyzer in zip(self.folders, self.analyzers, strict=True):
            other = analyzer.copy()
            other.delete_extension("template_assignment")
            attach_kilosort_folder(other, folder)

    def compare(self) -> None:
        vector = spike_vector_of(self.analyzers[0].sorting)
        samples = np.array(vector["sample_index"])
        units = vector["unit_index"].astype(np.int32)
        own_samples, own_units = _fixed(samples), _fixed(units)
        size = int(units.max()) + 1
        parts = common_refinement([own_units, units, units], [size] * 3).part_of_spike
        pairs, counts = np.unique(parts, return_counts=True)
        adjusted_mutual_information(pairs, pairs, counts, pairs, np.zeros((0, pairs.size)))
        match_resorted_spikes(own_samples, parts, size, samples, units, size, 6, 3_000)
        match_by_cluster(
            own_samples, own_units, np.arange(size, dtype=np.int64), own_samples, own_units
        )
        rows = np.full(samples.size, -1, dtype=np.int64)
        match_by_sample(rows, samples, units.astype(np.int64), samples, units, units)

    def label(self) -> None:
        leaf, value = np.full((1, 1), -1, dtype=np.int32), np.zeros((1, 1))
        trees = Trees(leaf, value, np.zeros((1, 1), dtype=np.uint8), leaf, leaf, value, 0.0)
        contributions(trees, np.zeros((2, 1)))


def _fixed(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array that cannot be written to, as those of files."""
    fixed = values.copy()
    fixed.setflags(write=False)
    return fixed

"""Metrics of how well units are apart, from the principal components that the sorter stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, is_whole_number, unit_indices_of
from si_curation.kernels.parallel import run_blocks
from si_curation.quality.metrics.isolation_features import (
    UnitFeatures,
    folder_features,
    injected_features,
)
from si_curation.quality.metrics.isolation_units import (
    d_prime,
    mahalanobis,
    nearest_neighbour,
    silhouette,
)
from si_curation.quality.metrics.result import MetricResult, MetricValues, no_reasons
from si_curation.variables import ISOLATION


class _Parameters(NamedTuple):
    spikes: str | int
    feature_channels: str
    max_spikes: int | None
    n_neighbors: int


def compute_isolation(
    sorting_analyzer: SortingAnalyzer,
    unit_ids: Sequence[Any] | NDArray | None = None,
    metric_names: Sequence[str] | None = None,
    *,
    spikes: str | int = "principal_components",
    feature_channels: str = "file",
    max_spikes: int | None = 10_000,
    n_neighbors: int = 5,
) -> MetricValues:
    """Measure how well units are apart in the space of principal components.

    A unit is compared with its neighbours, on its own channels: of a sparse analyzer, the units
    whose main channel is in the unit's sparsity; of a dense one, all units. Definitions and
    spikes are SpikeInterface's, and so are the values (relative difference below 1e-5), except:

    - ``isolation_distance``, ``l_ratio``: NaN where the covariance of the unit is singular, also
      where rounding hides it from SpikeInterface, which then inverts noise; ``l_ratio`` below
      1e-10 is right here and 0 or a multiple of 1e-16 there (it takes 1 - cdf). SpikeInterface
      averages float32 features in float32, which moves ``l_ratio`` by up to some 1e-5.
    - ``d_prime`` of a single unit has a value; SpikeInterface gives NaN when one is asked for.
    - ``nn_hit_rate``, ``nn_miss_rate``: of neighbours at the same distance (copies of a spike),
      the unit's own come first; SpikeInterface's are in any order. NaN where no spike of the unit
      is left among `max_spikes`; SpikeInterface has a miss rate of 0 then.
    - ``silhouette``: a spike that is on both centers counts 0; SpikeInterface gives NaN.
    - A unit whose own main channel is not in its sparsity is compared like others; SpikeInterface
      leaves out its spikes and gives NaN.
    - Spikes whose features are not finite are left out; SpikeInterface gives NaN.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_ids : sequence, optional
        Units to compute for; all others are their context. All by default.
    metric_names : sequence of str, optional
        Names of `si_curation.variables.ISOLATION`; all by default.
    spikes : {"principal_components", "all"} or int, default: "principal_components"
        Which spikes are used: those of the extension `principal_components`; or, from the
        ``pc_features.npy`` of the folder that the analyzer was read from, all, or at most so many
        of each unit, evenly spaced in time. Features belong to spikes, so they follow them through
        merges and splits.
    feature_channels : {"file", "repaired"}, default: "file"
        "repaired": features are read from the folder and put on the channels that Kilosort 4 took
        them on, where its list is wrong (see `template_features`).
    max_spikes : int or None, default: 10000
        At most so many spikes of a unit and its neighbours together are searched for nearest
        neighbours: every n-th, as SpikeInterface. None: all.
    n_neighbors : int, default: 5

    Returns
    -------
    MetricValues
        ``values``: column -> array (n_units,) float64; ``reasons``: why a value is NaN, else "".

    Raises
    ------
    ParameterError, UnknownIdError
        A parameter or unit cannot be used.
    MissingDataError
        There are no principal components, or no folder with features.
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is not what it was.

    Notes
    -----
    One part of memory holds the features in use (above 1 GB a temporary file does). The threads
    are numba's; values are the same bits on any number of them.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> found = compute_isolation(analyzer, [4, 13], ["d_prime", "silhouette"])
    >>> sorted(found.values), found.values["d_prime"].shape
    (['d_prime', 'silhouette'], (2,))
    """
    names = list(ISOLATION) if metric_names is None else list(metric_names)
    parameters = _Parameters(spikes, feature_channels, max_spikes, n_neighbors)
    _check(names, parameters)
    units = [int(i) for i in unit_indices_of(sorting_analyzer, unit_ids, may_repeat=True)]
    if parameters.spikes == "principal_components" and feature_channels == "file":
        features = injected_features(sorting_analyzer)
    else:
        features = folder_features(sorting_analyzer, spikes, feature_channels)  # type: ignore[arg-type]
    found = run_blocks(lambda unit: _measure(features, unit, names, parameters), units)
    values = {name: np.array([of[name].value for of in found], dtype=np.float64) for name in names}
    reasons = {name: no_reasons(len(units)) for name in names}
    for name in names:
        reasons[name][:] = [of[name].reason for of in found]
    return MetricValues(values, reasons)


def _check(names: list[str], parameters: _Parameters) -> None:
    spikes, channels, max_spikes, n_neighbors = parameters
    checks = Checks()
    for name in names:
        checks.require(
            name in ISOLATION,
            f"metric_names has {name!r}, expected some of {', '.join(ISOLATION)}",
        )
    checks.require(
        spikes in ("principal_components", "all") or (is_whole_number(spikes) and int(spikes) >= 1),
        f"spikes is {spikes!r}, expected 'principal_components', 'all' or a number of spikes per "
        "unit",
    )
    checks.choice("feature_channels", channels, ("file", "repaired"))
    checks.whole_number("max_spikes", max_spikes, at_least=1, optional=True)
    checks.whole_number("n_neighbors", n_neighbors, at_least=1)
    checks.finish()


def _measure(
    features: UnitFeatures, unit: int, names: list[str], parameters: _Parameters
) -> dict[str, MetricResult]:
    neighbours = features.neighbours(unit)
    found: dict[str, MetricResult] = {}
    if "isolation_distance" in names or "l_ratio" in names:
        found["isolation_distance"], found["l_ratio"] = mahalanobis(features, unit, neighbours)
    if "d_prime" in names:
        found["d_prime"] = d_prime(features, unit, neighbours)
    if "nn_hit_rate" in names or "nn_miss_rate" in names:
        found["nn_hit_rate"], found["nn_miss_rate"] = nearest_neighbour(
            features, unit, neighbours, parameters.max_spikes, parameters.n_neighbors
        )
    if "silhouette" in names:
        found["silhouette"] = silhouette(features, unit, neighbours)
    return found

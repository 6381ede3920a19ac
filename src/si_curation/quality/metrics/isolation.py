"""Metrics of how well units are apart, from the principal components that the sorter stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammainccinv
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, is_whole_number, unit_indices_of
from si_curation.kernels.isolation import (
    discriminability,
    gather_columns,
    join_moments,
    mahalanobis_squared,
    silhouettes,
    whitening,
)
from si_curation.kernels.nearest_neighbours import nearest_neighbours
from si_curation.kernels.parallel import run_blocks
from si_curation.quality.metrics.isolation_features import (
    UnitFeatures,
    folder_features,
    injected_features,
)
from si_curation.quality.metrics.result import MetricResult, MetricValues, no_reasons
from si_curation.variables import ISOLATION, Explanation


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


# ---------------------------------------------------------------------------------------- one unit


# what all spikes that are left out may add to an L-ratio, relative to it
_NEGLIGIBLE = 1e-13
_SMALLEST = 1e-300
_ROUNDING = 1e-9  # of a distance, more than there is


def mahalanobis(
    features: UnitFeatures, unit: int, neighbours: NDArray[np.int64]
) -> tuple[MetricResult, MetricResult]:
    """Return the isolation distance and the L-ratio.

    Spikes of neighbours are taken in the order of how far away their units are. Those that are
    surely farther than the isolation distance and add nothing to the L-ratio (less than 1e-13 of it
    all together) are left as soon as that is seen.
    """
    count = features.count(unit)
    if count == 0:
        return _both("no_spikes_with_features")
    if neighbours.size == 0:
        return _both("no_neighbours")
    num_others = sum(features.count(other) for other in neighbours)
    num_features = features.channels[unit].size * features.values.shape[1]
    if min(count, num_others) < 2:
        return _both("two_spikes_needed")
    singular = {"num_spikes": count, "num_features": num_features}
    if count <= num_features:
        return _both("singular_covariance", **singular)
    channels, own = features.channels[unit], features.own_moments(unit)
    means = features.means_on(neighbours, channels)
    variances = np.diag(own.scatter)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.nan_to_num(((means - own.mean) ** 2).sum(axis=0) / variances)
    # features on which the neighbours differ come first: then their sums soon are large
    transform, order = whitening(own, np.argsort(-apart, kind="stable"))
    if transform is None:
        return _both("singular_covariance", **singular)
    center = own.mean[order]
    away = (((means[:, order] - center) @ transform.T) ** 2).sum(axis=1)
    neighbours = neighbours[np.argsort(away, kind="stable")]
    columns = np.take(features.columns_on(neighbours, channels), order, axis=1)
    # at least as far away as in the first feature
    gaps = features.gaps_from(neighbours, columns[:, 0], center[0])
    at_least = (transform[0, 0] * gaps) ** 2 * (1 - _ROUNDING)
    distance, survival = _nearest_and_survival(
        features,
        list(zip(neighbours, columns, at_least, strict=True)),
        center,
        transform,
        min(count, num_others),
        num_others,
    )
    return MetricResult(distance), MetricResult(survival / count)


def _missing(code: str, **values: Any) -> MetricResult:
    return MetricResult(np.nan, Explanation(code, **values))


def _both(code: str, **values: Any) -> tuple[MetricResult, MetricResult]:
    nothing = _missing(code, **values)
    return nothing, nothing


def _nearest_and_survival(
    features: UnitFeatures,
    neighbours: list[tuple[int, NDArray[np.int64], float]],
    center: NDArray[np.float64],
    transform: NDArray[np.float64],
    rank: int,
    num_left: int,
) -> tuple[float, float]:
    """Return the squared distance at a rank, and the sum of the chi-squared survivals.

    Of each neighbour: the unit, the columns of its features, and a distance that no spike of it is
    below, squared.
    """
    half = center.size / 2
    survival = 0.0
    kept = np.zeros(0)
    farthest, most = np.inf, 2 * gammainccinv(half, _SMALLEST)
    for other, columns, at_least in neighbours:
        count = features.count(other)
        if at_least <= max(farthest, most):
            smallest = max(_NEGLIGIBLE * survival / num_left, _SMALLEST)
            cutoff = max(farthest, 2 * gammainccinv(half, smallest))
            if at_least <= cutoff:
                squared = mahalanobis_squared(
                    features.features_of(other), columns, center, transform, cutoff
                )
                near = squared[squared < np.inf]
                if near.size:
                    survival += float(gammaincc(half, near / 2).sum())
                    kept = np.concatenate([kept, near])
                    if kept.size > rank:
                        kept = np.partition(kept, rank - 1)[:rank]
                    farthest = kept.max() if kept.size == rank else np.inf
        num_left -= count
    return float(kept.max()), survival


def d_prime(features: UnitFeatures, unit: int, neighbours: NDArray[np.int64]) -> MetricResult:
    """Return the discriminability d', from the moments of the units alone."""
    if features.count(unit) == 0:
        return _missing("no_spikes_with_features")
    if neighbours.size == 0:
        return _missing("no_neighbours")
    channels, own = features.channels[unit], features.own_moments(unit)
    counts = np.array([features.count(other) for other in neighbours])
    if own.num_spikes + counts.sum() <= 2:
        return _missing("two_spikes_only")
    means = features.means_on(neighbours, channels)
    scatter = features.scatter_of_others(unit, neighbours, own)
    value = discriminability(own, join_moments(counts, means, scatter))
    if np.isnan(value):
        return _missing("no_variance")
    return MetricResult(value)


def silhouette(features: UnitFeatures, unit: int, neighbours: NDArray[np.int64]) -> MetricResult:
    """Return the mean simplified silhouette of the spikes of a unit."""
    if features.count(unit) == 0:
        return _missing("no_spikes_with_features")
    if neighbours.size == 0:
        return _missing("no_neighbours")
    channels = features.channels[unit]
    others = features.means_on(neighbours, channels)
    values = features.features_of(unit)
    columns = features.columns_on(np.array([unit]), channels)[0]
    if not np.array_equal(columns, np.arange(values.shape[1])):
        values = values[:, columns]
    own = features.own_moments(unit).mean
    return MetricResult(float(silhouettes(values, own, others).mean()))


def nearest_neighbour(
    features: UnitFeatures,
    unit: int,
    neighbours: NDArray[np.int64],
    max_spikes: int | None,
    n_neighbors: int,
) -> tuple[MetricResult, MetricResult]:
    """Return the hit and miss rate of nearest neighbours."""
    count = features.count(unit)
    if count == 0:
        return _both("no_spikes_with_features")
    if neighbours.size == 0:
        return MetricResult(1.0), MetricResult(0.0)  # the best, as SpikeInterface
    rows, keys, num_own = _rows_searched(features, unit, neighbours, max_spikes)
    if num_own == 0:
        return _both("none_searched", num_spikes=count, max_spikes=max_spikes)
    if rows.size <= n_neighbors:
        return _both("too_few_searched", num_spikes=rows.size, n_neighbors=n_neighbors)
    values, starts = _matrix(features, unit, np.append(neighbours, unit), rows)
    own = keys < num_own  # the unit's own keys are lowest
    group = int(np.searchsorted(starts, np.flatnonzero(own)[0], side="right")) - 1
    found = nearest_neighbours(values, starts, n_neighbors, keys, only=group)
    searched = found[:, 0] >= 0  # all of the unit; the others have none of it
    is_own, of_unit = own[found[searched]], own[searched]
    hit_rate = MetricResult(float(is_own[of_unit].mean()))
    if own.all():
        return hit_rate, _missing("no_neighbour_searched", max_spikes=max_spikes)
    num_pairs = np.count_nonzero(~own) * n_neighbors
    return hit_rate, MetricResult(float(is_own[~of_unit].sum() / num_pairs))


def _rows_searched(
    features: UnitFeatures, unit: int, neighbours: NDArray[np.int64], max_spikes: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return the rows of the spikes that are searched, their keys, and how many count as own.

    Every n-th of the unit's spikes followed by those of all neighbours in order of time, without
    the last spike, and the number of own ones rounded down, all as SpikeInterface. Rows ascend;
    keys are places in that order, so that the unit's own are lowest.
    """
    own = np.arange(features.starts[unit], features.stops[unit])
    others = np.concatenate(
        [np.arange(features.starts[other], features.stops[other]) for other in neighbours]
    )
    total, num_own = own.size + others.size, own.size
    keys = np.arange(own.size, total)
    if max_spikes is not None and max_spikes < total:
        ratio = max_spikes / total
        picked = np.arange(0, total - 1, 1 / ratio).astype(np.int64)
        own = own[picked[: np.searchsorted(picked, own.size)]]
        place = np.full(others.size, -1)
        place[picked[own.size :] - num_own] = np.arange(own.size, picked.size)
        keys = np.empty_like(place)
        keys[np.argsort(features.order[others], kind="stable")] = place
        others, keys = others[keys >= 0], keys[keys >= 0]
        num_own = int(num_own * ratio)
    before = np.searchsorted(others, features.starts[unit])
    rows = np.concatenate([others[:before], own, others[before:]])
    return rows, np.concatenate([keys[:before], np.arange(own.size), keys[before:]]), num_own


def _matrix(
    features: UnitFeatures, unit: int, units: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Return the features of ascending rows, and where the rows of each unit start.

    On the channels of a unit; the features in which the units differ most come first.
    """
    channels, flat = features.channels[unit], features.flat
    units = np.sort(units)
    order = np.argsort(-features.means_on(units, channels).var(axis=0), kind="stable")
    bounds = np.append(np.searchsorted(rows, features.starts[units]), rows.size)
    values = np.empty((rows.size, order.size), dtype=flat.dtype)
    columns = np.take(features.columns_on(units, channels), order, axis=1)
    gather_columns(flat, rows, bounds, columns, values)
    return values, np.unique(bounds)

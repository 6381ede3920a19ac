"""The sorter's templates beside the means of the traces at each unit's spikes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.checks import Checks
from si_curation.errors import MissingDataError
from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    assignment_of_named_folder,
)
from si_curation.extensions.template_best_channels import ChannelRanking, phy_best_channels
from si_curation.kernels.template_agreement import Agreement, best_agreement
from si_curation.reading.probe import planar_locations
from si_curation.reading.unit_templates import weighted_mean_templates
from si_curation.variables import Explanation, explanations_text

_MAX_LAG_MS = 0.5
_SAME = 1e-4
_BLOCK = 64


def compare_templates(
    sorting_analyzer: SortingAnalyzer, *, min_correlation: float = 0.8
) -> pd.DataFrame:
    """Compare the sorter's template of each unit with the mean of the traces at its spikes.

    A unit whose own spikes do not look like the template that the sorter found them with deserves a
    look: a failed match of a drifting neuron, spikes of a larger neighbour's residual, a merge of
    two, noise, or a recording that was preprocessed in another way.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With a Kilosort folder behind it ("template_assignment") and the extension "templates" of a
        recording.
    min_correlation : float, default: 0.8
        A unit below it differs.

    Returns
    -------
    pandas.DataFrame
        Indexed by unit id, one row per unit:

        - ``template_id`` (int64): the most frequent template; -1 for a unit without spikes.
        - ``num_spikes`` (int64).
        - ``correlation`` (float64): Pearson correlation of the mean of the unit's templates,
          weighted by their numbers of spikes, and the mean of the traces, over the channels that
          either has among its best 12, after the mean over time of each channel was taken off, at
          the best lag within 0.5 ms. NaN without spikes or signal.
        - ``lag_ms`` (float64): that lag; above 0: the traces are later.
        - ``amplitude_ratio`` (float64): least-squares factor from the sorter's template to the
          traces. NaN where they are not in the same unit of measurement.
        - ``best_channel_sorter``, ``best_channel_analyzer``: channel ids; None where there is none.
        - ``same_best_channel`` (boolean): NA where one of them is missing.
        - ``best_channel_distance_um`` (float64): between the two. NaN where one is missing.
        - ``differs`` (boolean): ``correlation < min_correlation``; NA without a correlation.
        - ``reason`` (str): why a value is missing, or what differs.

    Raises
    ------
    MissingDataError
        There is no Kilosort folder, or no extension "templates", or its templates are the sorter's
        and not means of traces.
    ParameterError

    Notes
    -----
    On two simulated recordings without drift that Kilosort 4.1.7 sorted, the correlation of 55
    units was 0.92 or more, its median 0.98; with drift (23 units) 0.85 or more, median 0.97.
    ``benchmarks/compare_with_truth.py`` repeats it.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> sic.compare_templates(analyzer)
    Traceback (most recent call last):
        ...
    si_curation.errors.MissingDataError: the extension 'templates' of this analyzer holds the ...
    """
    checks = Checks.of_call(compare_templates, locals())
    checks.number("min_correlation", min_correlation, at_least=-1, at_most=1)
    checks.finish()
    kinds = _both_kinds(sorting_analyzer)
    index = pd.Index(sorting_analyzer.unit_ids, name="unit_id")
    rows = [
        _row(sorting_analyzer, kinds, unit, float(min_correlation)) for unit in range(len(index))
    ]
    table = pd.DataFrame(rows, index=index, columns=list(_DTYPES))
    return table.astype(_DTYPES)


_DTYPES = {
    "template_id": "int64",
    "num_spikes": "int64",
    "correlation": "float64",
    "lag_ms": "float64",
    "amplitude_ratio": "float64",
    "best_channel_sorter": "object",
    "best_channel_analyzer": "object",
    "same_best_channel": "boolean",
    "best_channel_distance_um": "float64",
    "differs": "boolean",
    "reason": "str",
}


class _BothKinds(NamedTuple):
    assignment: TemplateAssignment
    of_analyzer: NDArray[np.floating]  # (n_units, n_samples of the analyzer, n_channels)
    shift: int  # peak sample of the analyzer's minus that of the sorter's
    ranking_sorter: ChannelRanking
    ranking_analyzer: ChannelRanking
    same_unit: bool
    positions: NDArray[np.floating]


def has_both_kinds(sorting_analyzer: SortingAnalyzer) -> bool:
    """Return whether an analyzer has the sorter's templates and means of traces."""
    try:
        _both_kinds(sorting_analyzer)
    except MissingDataError:
        return False
    return True


def _both_kinds(analyzer: SortingAnalyzer) -> _BothKinds:
    assignment = assignment_of_named_folder(analyzer)
    if assignment is None or not assignment.is_from_sorter:
        raise MissingDataError(
            "compare_templates needs the sorter's templates, and no Kilosort folder of this "
            "analyzer is known; attach one with attach_kilosort_folder(analyzer, folder)"
        )
    extension = analyzer.get_extension("templates")
    if extension is None:
        raise MissingDataError(
            "compare_templates needs the extension 'templates'; compute it first "
            "(analyzer.compute(['random_spikes', 'templates']))"
        )
    averages = as_array(extension.get_data(operator="average"))
    if _are_of_sorter(assignment, averages):
        raise MissingDataError(
            "the extension 'templates' of this analyzer holds the sorter's templates, not means of "
            "traces; compute it from a recording "
            "(analyzer.compute(['random_spikes', 'templates']), after set_temporary_recording)"
        )
    info = assignment.info
    return _BothKinds(
        assignment,
        averages,
        int(extension.nbefore) - int(info["num_samples_before"]),
        phy_best_channels(analyzer, source="sorter"),
        phy_best_channels(analyzer, source="analyzer"),
        info["units"] == ("uV" if analyzer.return_in_uV else "raw"),
        planar_locations(analyzer),
    )


def _are_of_sorter(assignment: TemplateAssignment, averages: NDArray[np.floating]) -> bool:
    """Return whether averages are the means of the sorter's templates; ends at the first other."""
    counts, templates = assignment.get_template_counts(), assignment.get_templates()
    if averages.shape != (counts.shape[0], *templates.shape[1:]):
        return False
    other = np.flatnonzero(~_are_templates(counts, templates, averages))
    if other.size == 0:
        return True
    blocks = [slice(i, i + _BLOCK) for i in range(0, len(averages), _BLOCK)]
    largest = max((_largest(averages[one]) for one in blocks), default=0.0)
    tolerance = _SAME * max(largest, 1e-30)
    return all(
        _are_close(weighted_mean_templates(counts[rows], templates), averages[rows], tolerance)
        for rows in (other[one] for one in blocks if one.start < other.size)
    )


def _are_templates(
    counts: sparse.csr_array, templates: NDArray[np.floating], averages: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return which averages are the very template of a unit that has spikes of one alone."""
    same = np.zeros(len(averages), dtype=bool)
    for unit in np.flatnonzero(np.diff(counts.indptr) == 1):
        first = counts.indptr[unit]
        template = templates[counts.indices[first]]
        same[unit] = counts.data[first] > 0 and np.array_equal(averages[unit], template)
    return same


def _largest(values: NDArray[np.floating]) -> float:
    """Return the largest magnitude; what is not finite as of `numpy.nan_to_num`."""
    found = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    if not np.isfinite(found):
        return float(np.abs(np.nan_to_num(values)).max(initial=0.0))
    return found


def _are_close(
    values: NDArray[np.floating], others: NDArray[np.floating], tolerance: float
) -> bool:
    """Return what `numpy.allclose` does of finite values, without its copies."""
    difference = np.subtract(values, others)
    np.abs(difference, out=difference)
    if not np.isfinite(difference).all():
        return np.allclose(values, np.nan_to_num(others), rtol=_SAME, atol=tolerance)
    limits = np.abs(others)
    limits *= _SAME
    limits += tolerance
    return bool((difference <= limits).all())


def _row(
    analyzer: SortingAnalyzer, kinds: _BothKinds, unit: int, least: float
) -> tuple[object, ...]:
    counts = kinds.assignment.get_template_counts()
    num_spikes = int(counts[[unit]].sum())
    template_id = int(kinds.ranking_sorter.template_of_unit[unit])
    sorter = kinds.ranking_sorter.of_unit(unit)
    ours = kinds.ranking_analyzer.of_unit(unit) if num_spikes else sorter[:0]
    channels = np.union1d(sorter, ours)
    found = Agreement(np.nan, 0, np.nan)
    if sorter.size and ours.size:
        fs = analyzer.sampling_frequency
        of_sorter = weighted_mean_templates(counts[[unit]], kinds.assignment.get_templates())
        found = best_agreement(
            of_sorter[0][:, channels],
            np.nan_to_num(kinds.of_analyzer[unit][:, channels]),
            kinds.shift,
            round(_MAX_LAG_MS * 1e-3 * fs),
        )
    known = bool(np.isfinite(found.correlation))
    best = [ranked[:1] for ranked in (sorter, ours)]
    ids = [analyzer.channel_ids[one[0]] if one.size else None for one in best]
    both = bool(sorter.size and ours.size)
    places = [kinds.positions[one] for one in best]
    distance = float(np.linalg.norm(places[0] - places[1])) if both else np.nan
    same = bool(best[0] == best[1]) if both else pd.NA
    differs = found.correlation < least if known else pd.NA
    why = []
    if not num_spikes:
        why.append(Explanation("no_spikes"))
    elif not known:
        why.append(Explanation("no_signal"))
    elif differs:
        why.append(Explanation("template_differs", correlation=found.correlation, least=least))
    if both and not same:
        why.append(Explanation("template_other_channel", distance=distance))
    return (
        template_id,
        num_spikes,
        found.correlation,
        found.lag / analyzer.sampling_frequency * 1e3 if known else np.nan,
        found.ratio if kinds.same_unit else np.nan,
        *ids,
        same,
        distance,
        differs,
        explanations_text(why),
    )

"""`suggest_cleaning`: spikes that do not belong to their unit, by their features.

`suggest_cleaning` looks at some spikes of each unit and chooses thresholds. `CleaningSuggestions`
puts all spikes of a unit to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, check_arguments, unit_index_of, unit_indices_of
from si_curation.errors import FolderNotFoundError, MissingDataError, PhyFolderError
from si_curation.evidence.calibration import Calibration, read_calibration, with_probability
from si_curation.evidence.split_features import UnitFeatureReader
from si_curation.evidence.suggestions import ScoredSuggestions, with_groups, write_text
from si_curation.extensions.spikes_of_units import spikes_of_units
from si_curation.files import check_output_file
from si_curation.kernels.feature_projections import mean_features
from si_curation.kernels.foreign_spikes import (
    MIN_SPIKES,
    OWN_OF_PROBABLE,
    Choice,
    SpikeModel,
    SpikeScores,
    choose_foreign,
    fit_spike_model,
    ranks_among,
    score_spikes,
)
from si_curation.kernels.minority_cluster import MAX_SHARE, Minority, find_minority
from si_curation.kernels.parallel import blocks, one_thread_for_matrices, run_blocks
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.quality.contamination import contamination_of_spikes, contamination_panel
from si_curation.spikes.features import (
    FeatureSource,
    StoredFeatures,
    feature_source,
    get_spike_features,
    read_stored_features,
)
from si_curation.variables import CLEANING, Explanation, explanations_text

if TYPE_CHECKING:
    from spikeinterface.curation.curation_model import Curation

DEFAULT_MAX_LOSS = 0.03
DEFAULT_SCORE_THRESHOLD = 0.5
# units of a larger contamination are more than one neuron: to be split before they are cleaned
MAX_CONTAMINATION = 0.15
# its lower end must be above this: a few violations are no evidence of another neuron
_MIN_LOWER = 0.05
_SPIKES_LOOKED_AT = 4000
_SPIKES_OF_MEAN = 500
_SPIKES_PER_BLOCK = 1 << 15
# of which features are read together
SPIKES_AT_ONCE = 1 << 18
_MAX_CHANNELS = 12
# share of the spikes that have features on a channel that is used: all but those of others
_MIN_PRESENCE = 0.85
# others are compared whose mean is at least this share of the unit's, on its channels
_MIN_SIZE = 0.3
# spikes in which a small cluster is looked for
_SPIKES_OF_CLUSTER = 1200
# share of its spikes that have features on a channel on which a cluster is looked for
_MIN_PRESENCE_OF_CLUSTER = 0.95
# share of the spikes of a sure cluster that are expected to be the unit's own
_OWN_OF_SURE = 0.1
T = TypeVar("T")
#: The version of SpikeInterface's curation format that has ``discard_spikes``.
DISCARD_VERSION = "3"


@one_thread_for_matrices()
def suggest_cleaning(
    sorting_analyzer: SortingAnalyzer,
    *,
    unit_ids: Sequence[Any] | None = None,
    max_loss: float = DEFAULT_MAX_LOSS,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    calibration: Calibration | str | Path | None = None,
) -> CleaningSuggestions:
    """Find spikes that do not belong to their unit: those that fit another unit or none.

    A curator does the same in phy's FeatureView and AmplitudeView: cut off what lies apart. Spikes
    are chosen by their features alone, never because they violate the refractory period, so that
    the contamination of the cleaned unit can be estimated as before.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Of a Kilosort folder with ``pc_features.npy``, or with the extension
        "principal_components".
    unit_ids : sequence of unit ids, optional
        Units to look at; all by default. All units are compared with in any case.
    max_loss : float, default: 0.03
        Largest share of a unit's own spikes that is expected to be set aside with those of others.
    score_threshold : float, default: 0.5
        Default threshold of the methods of the result.
    calibration : Calibration, str or Path, optional
        Of cleaning, or its JSON file (`calibrate_suggestions`). The table then has the columns
        ``probability``, ``probability_low`` and ``probability_high``, NaN where the score is not
        calibrated.

    Returns
    -------
    CleaningSuggestions
        ``.table`` has a row for each unit, best first; its columns are described in
        `si_curation.variables.CLEANING`. ``.foreign_spikes(unit_id)`` is what
        ``CurationSession.clean`` takes.

    Raises
    ------
    ParameterError
        A parameter is out of range; all problems at once.
    UnknownIdError
        A unit id does not exist.

    Notes
    -----
    **Evidence.** On up to 12 channels on which at least 85 % of the spikes have features: the
    robust Mahalanobis distance of a spike from its unit, and how much better the mean of another
    unit, or none at all (noise), fits it. Spikes without features on half of these channels were
    found elsewhere, and are foreign. Amplitudes alone tell nothing (their z-score has an area under
    the curve of 0.6).

    **A cluster of their own** are most spikes of a neuron that makes up 3 to 17 % of a unit. It is
    found as in `suggest_splits` (`si_curation.kernels.minority_cluster`), and looked for in the
    directions in which many more spikes are far from the unit than on the other side. It surely is
    another neuron's where spikes that were not used in the fit gain at least 0.2 nats, the
    separation is at least 6 standard deviations, and the unit has 250 spikes; probably, from 0.05
    nats and 4 standard deviations on. Neither where it is far from all other units, or within one
    window of time.

    **Surely foreign** are the spikes of such a cluster, and spikes that are far and fit another
    unit better, where they are many more than as many spikes on the other side of the unit
    (`si_curation.kernels.foreign_spikes`). They make the score. A probable cluster and then the
    farthest of the others are set aside too, up to `max_loss`.

    **Expected loss** counts a tenth of a sure cluster and half of a probable one as the unit's own,
    and all of the farthest: it is mostly above what `benchmarks/bench_cleaning.py` finds.

    **Contamination above 15 %** (``rp_contamination``, its lower end above 5 %) is mostly one other
    neuron, which is in the middle of the features: split the unit first. Only a sure cluster is
    suggested.

    See Also
    --------
    CurationSession.clean : make the step

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> cleaning = suggest_cleaning(analyzer)
    >>> cleaning.units()
    [4, 9]
    >>> int(cleaning.foreign_spikes(4, only_sure=True).sum())
    58
    """
    checks = Checks.of_call(suggest_cleaning, locals())
    checks.number("max_loss", max_loss, at_least=0, below=0.5)
    checks.number("score_threshold", score_threshold, at_least=0, at_most=1)
    checks.finish()
    calibrated = read_calibration(calibration, "cleaning")
    analyzer = sorting_analyzer
    units = unit_indices_of(analyzer, unit_ids)
    spikes = [s.astype(np.int64) for s in spikes_of_units(analyzer)]
    panel = contamination_panel(analyzer)
    contamination = panel[["rp_contamination", "rp_contamination_lower"]].to_numpy(np.float64)
    fault = ""
    features: _Features | None = None
    try:
        features = _Features(analyzer, spikes)
    except (MissingDataError, FolderNotFoundError, PhyFolderError) as found:
        fault = str(found)
    if features is None:
        no_features = _Judged([Explanation("cleaning_no_features", fault=fault)])
        judged = dict.fromkeys(units.tolist(), no_features)
    else:
        judged = _judge_all(features, units.tolist(), max_loss, contamination)
    suggestions = CleaningSuggestions(
        analyzer, features, spikes, judged, contamination, float(max_loss), float(score_threshold)
    )
    suggestions.table = with_probability(suggestions.table, calibrated)
    return suggestions


class _Features:
    """The features of all spikes, and the mean of each unit on all channels."""

    def __init__(self, analyzer: SortingAnalyzer, spikes: list[NDArray[np.int64]]) -> None:
        self.analyzer = analyzer
        self.source: FeatureSource = feature_source(analyzer)
        if not self.source.is_by_channel:
            raise MissingDataError(
                "the extension 'principal_components' is of all channels together; compute it with "
                "mode='by_channel_local'"
            )
        num_channels = analyzer.get_num_channels()
        self.held = [self.source.held(analyzer, own) for own in spikes]

        def mean(stored: StoredFeatures, rows: NDArray[np.int64], _: int) -> Any:
            some = stored.values[rows], stored.groups[rows]
            return mean_features(*some, stored.channels, num_channels)

        self.basis = UnitFeatureReader.of(analyzer).basis
        found = self.of_units(list(range(len(spikes))), _SPIKES_OF_MEAN, mean)
        num_pcs = found[0][0].shape[1] if found else 1
        # (n_units, n_channels, n_pcs), (n_units, n_channels)
        self.means = np.array([m for m, _ in found]).reshape(len(spikes), num_channels, num_pcs)
        self.presence = np.array([p for _, p in found]).reshape(len(spikes), num_channels)

    def of_units(
        self,
        units: list[int],
        num_spikes: int,
        function: Callable[[StoredFeatures, NDArray[np.int64], int], T],
    ) -> list[T]:
        """Call a function with some spikes of each unit; those of many units are read together.

        It gets the features of spikes of several units, the rows of them that are of the unit, and
        the unit.
        """
        out: list[T] = []
        for piece in blocks(len(units), max(SPIKES_AT_ONCE // num_spikes, 1)):
            chosen = [_evenly(self.held[unit], num_spikes) for unit in units[piece]]
            together = np.concatenate(chosen)
            order = np.argsort(together, kind="stable")
            stored = read_stored_features(self.analyzer, self.source, together[order])
            row_of = np.empty(order.size, dtype=np.int64)
            row_of[order] = np.arange(order.size)
            rows = np.split(row_of, np.cumsum([own.size for own in chosen])[:-1])
            asked = [(stored, *one) for one in zip(rows, units[piece], strict=True)]
            out += run_blocks(lambda one: function(*one), asked)
        return out

    def channels_of(self, unit: int) -> NDArray[np.int64]:
        """Return the channels that a unit is looked at on, the largest first."""
        usual = np.flatnonzero(self.presence[unit] >= _MIN_PRESENCE)
        size = (self.means[unit, usual] ** 2).sum(axis=1)
        return usual[np.argsort(-size, kind="stable")][:_MAX_CHANNELS]

    def others_of(self, unit: int, channels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the means of other units on some channels (n_others, n_channels, n_pcs)."""
        means = self.means[:, channels]
        size = np.linalg.norm(means.reshape(len(means), -1), axis=1)
        chosen = size >= _MIN_SIZE * size[unit]
        chosen[unit] = False
        return means[chosen]


class _Judged(NamedTuple):
    """What was found in the spikes of a unit that were looked at."""

    explanations: list[Explanation]
    num_looked_at: int = 0
    channels: NDArray[np.int64] | None = None
    model: SpikeModel | None = None
    scores: SpikeScores | None = None
    choice: Choice | None = None
    cluster: _Cluster | None = None

    @property
    def _of_sure_cluster(self) -> int:
        return self.cluster.size if self.cluster is not None and self.cluster.found.is_sure else 0

    @property
    def num_sure(self) -> int:
        """How many of the spikes looked at surely are foreign."""
        return self._of_sure_cluster + (0 if self.choice is None else self.choice.num_sure)

    @property
    def own_of_sure(self) -> float:
        """How many of those are expected to be the unit's own."""
        found = 0.0 if self.choice is None else self.choice.expected_own
        return found + _OWN_OF_SURE * self._of_sure_cluster

    @property
    def score(self) -> float:
        """The expected share of foreign spikes among the sure ones; 0 where there are none."""
        return 1.0 - self.own_of_sure / self.num_sure if self.num_sure else 0.0


class _Cluster(NamedTuple):
    """A cluster that is set aside, and where it begins and ends in time."""

    found: Minority
    columns: NDArray[np.int64]  # of the channels that the unit is looked at on
    borders: NDArray[np.int64]  # the first spike of each window but the first
    size: int  # of the spikes looked at

    def contains(
        self, values: NDArray[np.floating], spikes: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which spikes, with features (n, n_channels, n_pcs), are of it."""
        windows = np.searchsorted(self.borders, spikes, side="right")
        some = values[:, self.columns]
        return self.found.contains(some.transpose(0, 2, 1), windows) & _is_complete(some)


def _judge_all(
    features: _Features, units: list[int], max_loss: float, contamination: NDArray[np.float64]
) -> dict[int, _Judged]:
    """Judge units by the features of their spikes; contamination is (n_units, 2)."""
    value, lower = contamination.T
    is_bad = (value > MAX_CONTAMINATION) & (lower > _MIN_LOWER)

    def judge(stored: StoredFeatures, rows: NDArray[np.int64], unit: int) -> _Judged:
        judged = _judge(features, unit, max_loss, stored, rows)
        return _only_sure_cluster(judged, float(value[unit])) if is_bad[unit] else judged

    return dict(zip(units, features.of_units(units, _SPIKES_LOOKED_AT, judge), strict=True))


def _only_sure_cluster(judged: _Judged, contamination: float) -> _Judged:
    """Leave nothing but a sure cluster of a unit that is contaminated by much."""
    cluster = judged.cluster
    if cluster is None or not cluster.found.is_sure:
        return _Judged([Explanation("cleaning_split_first", contamination=contamination)])
    return judged._replace(
        explanations=[_explain_cluster(cluster, judged.num_looked_at)],
        choice=Choice(np.inf, np.inf, 0, 0.0, np.inf, 0),
    )


def _judge(
    features: _Features,
    unit: int,
    max_loss: float,
    stored: StoredFeatures,
    rows: NDArray[np.int64],
) -> _Judged:
    channels = features.channels_of(unit)
    spikes = _evenly(features.held[unit], _SPIKES_LOOKED_AT)
    values = stored.on_any_channels(rows, channels)
    known = np.isfinite(values).all(axis=(1, 2))
    values, spikes = (values, spikes) if known.all() else (values[known], spikes[known])
    is_here = _is_here(values)
    if np.count_nonzero(is_here) < MIN_SPIKES or channels.size == 0:
        count = int(np.count_nonzero(is_here))
        return _Judged([Explanation("cleaning_few_spikes", count=count, least=MIN_SPIKES)])
    others = features.others_of(unit, channels)
    usual = features.presence[unit, channels] >= _MIN_PRESENCE_OF_CLUSTER
    cluster = _look_for_cluster(values, spikes, np.flatnonzero(usual), others, features.basis)
    is_in = (
        np.zeros(len(values), dtype=bool) if cluster is None else cluster.contains(values, spikes)
    )
    is_sure = cluster is not None and cluster.found.is_sure
    rest = ~is_in if is_sure else np.ones(len(values), dtype=bool)
    flat = values.reshape(len(values), -1)
    and_noise = np.concatenate([others.reshape(-1, flat.shape[1]), np.zeros((1, flat.shape[1]))])
    model = fit_spike_model(flat[is_here & rest], and_noise)
    scores = score_spikes(model, flat[rest], is_here[rest])
    left = max(max_loss * len(flat) - _OWN_OF_SURE * np.count_nonzero(~rest), 0.0)
    choice = choose_foreign(scores, left / np.count_nonzero(rest), is_in[rest])
    if cluster is not None and not is_sure and choice.num_probable == 0:
        cluster = None
    explanations = [] if cluster is None else [_explain_cluster(cluster, len(flat))]
    if choice.num_sure:
        share = choice.num_sure / len(flat)
        own = choice.expected_own / choice.num_sure
        explanations.append(Explanation("cleaning_foreign", share=share, own=own))
    elif not is_sure:
        explanations.append(Explanation("cleaning_none"))
    return _Judged(explanations, len(flat), channels, model, scores, choice, cluster)


def _look_for_cluster(
    values: NDArray[np.float32],
    spikes: NDArray[np.int64],
    columns: NDArray[np.int64],
    others: NDArray[np.float64],
    basis: NDArray[np.float64] | None,
) -> _Cluster | None:
    """Return a cluster that is probably foreign, in some columns of (n, n_channels, n_pcs)."""
    complete = np.flatnonzero(_is_complete(values[:, columns]))
    complete = complete[evenly_spaced(complete.size, _SPIKES_OF_CLUSTER)]
    looked_at = values[complete][:, columns].transpose(0, 2, 1)
    found = find_minority(looked_at, others[:, columns].transpose(0, 2, 1), basis)
    if found is None or not found.is_probable:
        return None
    cluster = _Cluster(found, columns, spikes[complete][found.starts[1:]], 0)
    size = int(np.count_nonzero(cluster.contains(values, spikes)))
    is_small = 0 < size <= min(MAX_SHARE * len(values), len(values) - MIN_SPIKES)
    return cluster._replace(size=size) if is_small else None


def _explain_cluster(cluster: _Cluster, num_spikes: int) -> Explanation:
    return Explanation(
        "cleaning_cluster" if cluster.found.is_sure else "cleaning_probable_cluster",
        share=cluster.size / num_spikes,
        separation=cluster.found.separation,
        own=_OWN_OF_SURE if cluster.found.is_sure else OWN_OF_PROBABLE,
    )


def _is_complete(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether each spike has features on all channels."""
    return (values != 0).any(axis=2).all(axis=1)


def _evenly(spikes: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most so many spikes, evenly spaced."""
    num = min(most, spikes.size)
    return spikes[np.arange(num) * spikes.size // max(num, 1)]


def _is_here(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each spike has features on half of the channels: others were found elsewhere."""
    return 2 * np.count_nonzero((values != 0).any(axis=2), axis=1) >= values.shape[1]


class CleaningSuggestions(ScoredSuggestions):
    """Spikes that do not belong to their unit; made by `suggest_cleaning`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per unit that was looked at, best first; the columns are described in
        `si_curation.variables.CLEANING`.
    unit_ids : array
        All units of the analyzer.
    score_threshold : float
        Default threshold of the methods.
    max_loss : float
    """

    main_columns = (
        "unit_id",
        "score",
        "share_set_aside",
        "expected_loss",
        "contamination",
        "contamination_after",
        "reason",
    )

    def __init__(
        self,
        analyzer: SortingAnalyzer,
        features: _Features | None,
        spikes: list[NDArray[np.int64]],
        judged: dict[int, _Judged],
        contamination: NDArray[np.float64],
        max_loss: float,
        score_threshold: float,
    ) -> None:
        self.unit_ids = analyzer.unit_ids
        with_groups(self, analyzer)
        self.score_threshold = score_threshold
        self.max_loss = max_loss
        self._analyzer, self._features, self._spikes = analyzer, features, spikes
        self._judged = judged
        self.table = self._tabulate(contamination)

    def __repr__(self) -> str:
        return (
            f"CleaningSuggestions: {len(self.units())} of {len(self.table)} units have spikes of "
            f"others, at a loss of at most {self.max_loss:.0%}"
        )

    @property
    def explanations(self) -> list[list[Explanation]]:
        """The reason of each row of the table, as a code with values."""
        indices = [unit_index_of(self._analyzer, i) for i in self.table["unit_id"].tolist()]
        return [list(self._judged[i].explanations) for i in indices]

    def units(self, threshold: float | None = None) -> list[Any]:
        """Return the units with surely foreign spikes, of at least this score, best first."""
        good = self._good(threshold)
        return list(good.loc[good["share_sure"] > 0, "unit_id"].tolist())

    def foreign_spikes(self, unit_id: Any, *, only_sure: bool = False) -> NDArray[np.bool_]:
        """Return which spikes of a unit do not belong to it.

        Parameters
        ----------
        unit_id : int or str
            Any unit that was looked at. In one that is not among `units` most of these spikes are
            its own: no more than `max_loss` of them.
        only_sure : bool, default: False
            Only the spikes that are surely foreign, at a smaller loss.

        Returns
        -------
        array (n_spikes of the unit,) bool
            In the order of time. False for spikes without features, and for all spikes of a unit
            that must be split first or cannot be judged (see ``reason``).

        Raises
        ------
        UnknownIdError, ParameterError
            There is no such unit, or it was not looked at.
        FolderNotFoundError, PhyFolderError
            The folder of the features is gone, or is not what it was.

        Examples
        --------
        >>> import si_curation as sic
        >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
        >>> mask = sic.suggest_cleaning(analyzer).foreign_spikes(4)
        >>> mask.dtype, mask.size == sic.CurationSession(analyzer).get_spikes(4).size
        (dtype('bool'), True)
        """
        check_arguments(CleaningSuggestions.foreign_spikes, locals())
        unit = unit_index_of(self._analyzer, unit_id)
        checks = Checks()
        checks.require(unit in self._judged, f"unit {unit_id} was not among unit_ids")
        checks.finish()
        judged = self._judged[unit]
        own = self._spikes[unit]
        foreign = np.zeros(own.size, dtype=bool)
        choice, channels = judged.choice, judged.channels
        if choice is None or judged.model is None or judged.scores is None or channels is None:
            return foreign
        for piece in blocks(own.size, _SPIKES_PER_BLOCK):
            values = get_spike_features(self._analyzer, own[piece], channels, "repaired")
            known = np.flatnonzero(np.isfinite(values).all(axis=(1, 2)))
            values = values[known]
            scores = score_spikes(judged.model, values.reshape(known.size, -1), _is_here(values))
            found = (scores.distance >= choice.far) & (scores.other_fits >= choice.sure)
            if not only_sure:
                found |= ranks_among(scores, judged.scores) >= choice.farthest
            if judged.cluster is not None:
                is_in = judged.cluster.contains(values, own[piece][known])
                found |= is_in & (judged.cluster.found.is_sure or not only_sure)
            foreign[piece.start + known] = found
        return foreign

    def mask(self, unit_id: Any) -> NDArray[np.bool_]:
        """Return `foreign_spikes` of a unit, True for spikes that do not belong to it."""
        return self.foreign_spikes(unit_id)

    def to_curation_model(self, threshold: float | None = None) -> Curation:
        """Return the splits of the units as SpikeInterface's curation model (format version 2).

        The first part of each is what does not belong to the unit.

        Returns
        -------
        spikeinterface.curation.curation_model.Curation
            For SpikeInterface's ``apply_curation``, or ``CurationSession``'s
            ``apply_spikeinterface_curation``. It cannot label the units that it makes: see
            ``CurationSession.clean``.
        """
        return self._curation(
            splits=[
                {"unit_id": unit_id, "mode": "indices", "indices": [indices]}
                for unit_id, indices in self._indices(threshold).items()
            ]
        )

    def to_curation_json(
        self,
        path: str | Path,
        threshold: float | None = None,
        overwrite: bool = False,
        *,
        discard: bool = False,
    ) -> Path:
        """Write the spikes as SpikeInterface's curation JSON.

        Parameters
        ----------
        path : str or Path
        threshold : float, optional
        overwrite : bool, default: False
        discard : bool, default: False
            Write format version 3, as it is proposed, in which ``discard_spikes`` are deleted. By
            default version 2, in which they are split off (``splits``).

        Returns
        -------
        pathlib.Path

        Raises
        ------
        OutputExistsError
            The file exists, and `overwrite` is not True.
        """
        check_arguments(CleaningSuggestions.to_curation_json, locals())
        if not discard:
            return super().to_curation_json(path, threshold, overwrite)
        target = check_output_file(path, overwrite)
        found = self._indices(threshold)
        content = {
            "format_version": DISCARD_VERSION,
            "unit_ids": self.unit_ids.tolist(),
            "label_definitions": {},
            "discard_spikes": [{"unit_id": i, "indices": own} for i, own in found.items()],
        }
        return write_text(target, self._curation_text(content))

    def _indices(self, threshold: float | None) -> dict[Any, list[int]]:
        masks = {i: self.foreign_spikes(i) for i in self.units(threshold)}
        return {i: np.flatnonzero(mask).tolist() for i, mask in masks.items() if mask.any()}

    def _tabulate(self, contamination: NDArray[np.float64]) -> pd.DataFrame:
        rows = []
        for unit, judged in self._judged.items():
            known, num = judged.choice, max(judged.num_looked_at, 1)
            sure, probable = judged.num_sure, 0 if known is None else known.num_probable
            more = probable + (0 if known is None else known.num_farthest)
            own = judged.own_of_sure + more - (1 - OWN_OF_PROBABLE) * probable
            foreign = np.nan if known is None else sure - judged.own_of_sure
            rows.append(
                {
                    "unit_id": self.unit_ids[unit],
                    "score": judged.score,
                    "reason": explanations_text(judged.explanations),
                    "num_spikes": self._spikes[unit].size,
                    "num_looked_at": judged.num_looked_at,
                    "share_set_aside": np.nan if known is None else (sure + more) / num,
                    "share_sure": sure / num,
                    "expected_foreign": foreign / num,
                    "expected_loss": own / max(num - (sure + more - own), 1.0)
                    if known is not None
                    else np.nan,
                    "contamination": contamination[unit, 0],
                    "contamination_after": np.nan,
                }
            )
        table = pd.DataFrame(rows, columns=list(CLEANING))
        order = np.lexsort((-table["expected_foreign"].fillna(-1.0), -table["score"]))
        table = table.iloc[order].reset_index(drop=True)
        return self._with_contamination_after(table)

    def _with_contamination_after(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = np.flatnonzero(table["share_sure"] > 0)
        kept = []
        for unit_id in table["unit_id"].iloc[rows].tolist():
            unit = unit_index_of(self._analyzer, unit_id)
            kept.append(self._spikes[unit][~self.foreign_spikes(unit_id)])
        if kept:
            after = contamination_of_spikes(self._analyzer, kept)["rp_contamination"]
            table.loc[rows, "contamination_after"] = after.to_numpy(dtype=np.float64)
        return table

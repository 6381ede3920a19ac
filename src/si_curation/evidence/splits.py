"""`suggest_splits`: units that are more than one neuron, with the evidence and a label per spike.

`suggest_splits` looks at the features of each unit, `split_evidence` weighs what it finds, and
`SplitSuggestions` turns it into labels, steps and SpikeInterface's curation format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, unit_index_of, unit_indices_of
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    PhyFolderError,
)
from si_curation.evidence.bad_merges import find_bad_merges
from si_curation.evidence.calibration import Calibration, read_calibration, with_probability
from si_curation.evidence.explain import explain_splits
from si_curation.evidence.split_evidence import (
    PartsEvidence,
    accuracy_term,
    evidence_of_parts,
    jump_term,
    jumps_at_size,
    likelihood_term,
    mixing_term,
    weakest_term,
)
from si_curation.evidence.split_features import UnitFeatureReader
from si_curation.evidence.split_parts import (
    MIN_SPIKES,
    Cut,
    PossibleSplit,
    look_for_split,
    spikes_to_look_at,
)
from si_curation.evidence.suggestions import ScoredSuggestions, with_groups
from si_curation.extensions.spikes_of_units import spikes_of_units
from si_curation.kernels.parallel import one_thread_for_matrices, run_blocks
from si_curation.variables import CALIBRATION, SPLITS, Explanation, explanations_text

if TYPE_CHECKING:
    from spikeinterface.curation.curation_model import Curation

DEFAULT_SCORE_THRESHOLD = 0.5
# units that score less from the features alone are not looked at further
WORTH_A_LOOK = 0.25
MAX_ROUNDS = 3
# of features that are read together
BYTES_AT_ONCE = 1 << 26
T = TypeVar("T")
R = TypeVar("R")
# without the basis of the features spikes between two samples look like another neuron
SCORE_WITHOUT_BASIS = 0.45


def suggest_splits(
    sorting_analyzer: SortingAnalyzer,
    *,
    unit_ids: Sequence[Any] | None = None,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    duplicate_window_ms: float = 0.4,
    calibration: Calibration | str | Path | None = None,
) -> SplitSuggestions:
    """Find units that are more than one neuron, from the features of their spikes.

    A curator does the same with phy's FeatureView and lassos the second cloud. The spikes of two
    neurons are two clusters in the features, also where their refractory periods are clean because
    they seldom fire together. No recording is needed.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Read from a Kilosort folder with ``pc_features.npy`` or attached to one; or with
        "principal_components". With neither, units that were merged of several templates are
        judged by their refractory period (`find_bad_merges`).
    unit_ids : sequence of unit ids, optional
        Units to look at; all by default.
    score_threshold : float
        Default threshold of the methods of the result, and of the further cuts of a unit of more
        than two neurons.
    duplicate_window_ms : float
        Lags up to this do not count as coincidences within the refractory period; spikes of
        another unit so close are the same spike found twice.
    calibration : Calibration, str or Path, optional
        Of splits, or its JSON file (`calibrate_suggestions`). The table then has the columns
        ``probability``, ``probability_low`` and ``probability_high``, NaN where the score is not
        calibrated: outside of its scores, for methods other than "features", and for features whose
        basis is not known.

    Returns
    -------
    SplitSuggestions
        ``.table`` has a row for each unit that could be split, best first; its columns are
        described in `si_curation.variables.SPLITS`. ``.labels(unit_id)`` has the part of every
        spike.

    Raises
    ------
    ParameterError
        A parameter is out of range; all problems at once.
    UnknownIdError
        A unit id does not exist.

    Notes
    -----
    **Features**: of at most 2,000 spikes of a unit, evenly spaced, on the channels that at least
    95 % of them have. The mean and its first two derivatives in time are projected out: amplitude,
    bursts, and when a spike falls between two samples. Six components of what is left are used.

    **Two clusters** of the same covariance are fitted to half of the spikes
    (expectation-maximization, from several starts). Both follow the same drift, window by window,
    so that only spikes of the same time tell how far apart the clusters are. On the other half, the
    likelihood is compared with that of one skewed normal distribution that drifts. Clusters of less
    than 10 % of the spikes are left to `suggest_cleaning`.

    **Score**: the smallest of five terms, each 0.5 at its limit.

    - ``likelihood_term``: the gain of log likelihood per spike, less two standard errors; 0.5 at
      0.05 nats.
    - ``accuracy_term``: the share of the spikes that are expected on the wrong side; 0.5 at 5.5 %,
      a separation of 3.2 standard deviations.
    - ``mixing_term``: 1 unless one cluster follows the other in time, as where a neuron drifts
      faster than the windows follow. Both have to be active together.
    - ``refractory_term``: 1 unless the parts have so few coincidences that they are rather one
      neuron (`one_neuron_probability` above 0.5). The refractory period never suggests a split.
    - ``duplicate_term``: 1 unless one part is what was left of spikes that another unit was found
      for at the same time.

    Neurons that fire at different times show as a jump of the mean features between 40 spikes and
    the next 40, beyond what steady drift makes of as many; it has to exceed that of most other
    units of the folder by far, if they were as large (``jump_term``).

    See Also
    --------
    find_bad_merges : merges that the refractory period contradicts
    CurationSession.split : makes a suggestion a step

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> suggestions = sic.suggest_splits(analyzer)
    >>> suggestions.units()
    [13, 10]
    >>> suggestions.labels(10)[:8]
    array([0, 0, 0, 0, 0, 0, 1, 0])
    """
    checks = Checks.of_call(suggest_splits, locals())
    checks.number("score_threshold", score_threshold, at_least=0, at_most=1)
    checks.number("duplicate_window_ms", duplicate_window_ms, at_least=0, at_most=1)
    checks.finish()
    return splits_of_units(
        sorting_analyzer,
        unit_indices_of(sorting_analyzer, unit_ids, may_repeat=True),
        score_threshold,
        duplicate_window_ms,
        read_calibration(calibration, "splits"),
    )


@one_thread_for_matrices()
def splits_of_units(
    analyzer: SortingAnalyzer,
    unit_indices: NDArray[np.integer],
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    duplicate_window_ms: float = 0.4,
    calibration: Calibration | None = None,
    bad_merges: pd.DataFrame | None = None,
) -> SplitSuggestions:
    """Return what `suggest_splits` does, of some units.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    unit_indices : array (n,) integer
    score_threshold, duplicate_window_ms, calibration
        As of `suggest_splits`, checked and read.
    bad_merges : pandas.DataFrame, optional
        What `find_bad_merges` returns for these units, where it is known.
    """
    units: NDArray[np.int64] = np.unique(unit_indices.astype(np.int64))
    window = round(duplicate_window_ms * analyzer.sampling_frequency * 1e-3)
    try:
        reader = UnitFeatureReader.of(analyzer)
    except (MissingDataError, FolderNotFoundError, PhyFolderError) as fault:
        rows = _by_templates(analyzer, units, bad_merges)
        missing = [Explanation("missing_data", error=str(fault))]
    else:
        search = _Search(analyzer, reader, window, float(score_threshold))
        rows, missing = search.rows(units), []
        seen = {row.values["unit_index"] for row in rows}
        apart = [unit for unit in search.without_channels if unit not in seen]
        rows += _by_templates(analyzer, np.array(apart, dtype=np.int64), bad_merges)
        if reader.basis is None:
            missing = [Explanation("split_no_basis")]
    table = with_probability(_table(analyzer, rows), calibration)
    if calibration is not None and missing:  # scores without the basis are others
        table[list(CALIBRATION)] = np.nan
    return SplitSuggestions(table, analyzer, float(score_threshold), rows, missing)


class _Row(NamedTuple):
    """A unit that could be split."""

    values: dict[str, Any]
    cutter: Any  # gives the labels of its spikes


@dataclass
class _Node:
    """A cut of a unit, and those of its two parts.

    Attributes
    ----------
    cut : Cut
    sides : tuple of two array (n,) bool, or None
        What `Cut.sides` returns of the spikes that are cut, once it is known.
    children : list of two _Node or None
    """

    cut: Cut
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
    children: list[_Node | None] = field(default_factory=lambda: [None, None])

    def labels(
        self, reader: UnitFeatureReader, spikes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the leaf of each spike, and whether it has features."""
        if self.sides is None:
            self.sides = self.cut.sides(reader, spikes)
        beyond, known = self.sides
        out = np.zeros(spikes.size, dtype=np.int64)
        first = 0
        for side, child in enumerate(self.children):
            here = beyond == bool(side)
            leaves = np.zeros(int(here.sum()), dtype=np.int64)
            if child is not None:
                leaves, _ = child.labels(reader, spikes[here])
            out[here] = leaves + first
            first += 1 if child is None else child.num_leaves
        return out, known

    @property
    def num_leaves(self) -> int:
        return sum(1 if child is None else child.num_leaves for child in self.children)


class _Search:
    """Looks for splits in the features of an analyzer's units."""

    def __init__(
        self,
        analyzer: SortingAnalyzer,
        reader: UnitFeatureReader,
        duplicate_window: int,
        threshold: float,
    ) -> None:
        self.analyzer = analyzer
        self.reader = reader
        self.duplicate_window = duplicate_window
        self.threshold = threshold
        #: Units whose spikes have no channel in common.
        self.without_channels: list[int] = []

    def rows(self, units: NDArray[np.int64]) -> list[_Row]:
        """Return the units that could be split."""
        spikes = spikes_of_units(self.analyzer)
        own = {int(unit): spikes[unit].astype(np.int64) for unit in units}
        looks = dict(zip(own, self._look_at([(own[unit], unit) for unit in own]), strict=True))
        self.without_channels = [
            unit
            for unit, look in looks.items()
            if look.num_with_features >= MIN_SPIKES and look.num_channels == 0
        ]
        asked = {unit: (look, own[unit], unit) for unit, look in looks.items()}
        found = self._cuts(asked, of_units=True)
        self._cut_further([(node, own[unit], values) for unit, (values, node) in found.items()])
        rows = [
            _Row({**values, "num_parts": node.num_leaves}, (self.reader, node, own[unit]))
            for unit, (values, node) in found.items()
        ]
        jumps = self._jumps(looks, own)
        better = {
            row.values["unit_index"]: row
            for row in sorted(rows + jumps, key=lambda row: row.values["score"])
        }
        return list(better.values())

    def _look_at(self, asked: list[tuple[NDArray[np.int64], int]]) -> list[PossibleSplit]:
        """Look at (spikes, their unit)."""
        return self._in_memory(
            [spikes_to_look_at(self.reader, spikes) for spikes, _ in asked],
            [unit for _, unit in asked],
            look_for_split,
        )

    def _in_memory(
        self,
        spikes: list[NDArray[np.int64]],
        others: list[T],
        function: Callable[[UnitFeatureReader, NDArray[np.int64], T], R],
    ) -> list[R]:
        """Call a function with a reader, spikes and what else it takes, each in turn.

        The features of the spikes of many units are read together; those of large ones are not, as
        the function reads them piece by piece.
        """
        num_bytes = [own.size * self.reader.bytes_of_spike for own in spikes]
        found: list[R] = []
        first = 0
        while first < len(spikes):
            last, total = first + 1, num_bytes[first]
            while last < len(spikes) and total + num_bytes[last] <= BYTES_AT_ONCE:
                total += num_bytes[last]
                last += 1
            reader = self.reader
            if total <= BYTES_AT_ONCE:
                together = np.sort(np.concatenate(spikes[first:last]))
                reader = reader.holding(reader.with_features(together))
            asked = [
                (reader, *one) for one in zip(spikes[first:last], others[first:last], strict=True)
            ]
            found += run_blocks(lambda one: function(*one), asked)
            first = last
        return found

    def _cuts(
        self, looks: dict[Any, tuple[PossibleSplit, NDArray[np.int64], int]], *, of_units: bool
    ) -> dict[Any, tuple[dict[str, Any], _Node]]:
        """Return the evidence for each cut of (look, spikes, unit), by its key.

        of_units: what is cut are units, and not parts of units that were cut.
        """
        cuts = {
            key: (look.cut, look, spikes, unit)
            for key, (look, spikes, unit) in looks.items()
            if look.cut is not None
        }
        worth = [key for key, (_, look, *_) in cuts.items() if _first_score(look) >= WORTH_A_LOOK]
        known = dict(
            zip(
                worth,
                self._in_memory(
                    [cuts[key][2] for key in worth],
                    [cuts[key][0] for key in worth],
                    lambda reader, spikes, cut: cut.sides(reader, spikes),
                ),
                strict=True,
            )
        )
        sides = {key: one for key, (one, _) in known.items() if 0 < one.sum() < one.size}
        evidence = dict(
            zip(
                sides,
                evidence_of_parts(
                    self.analyzer,
                    [cuts[key][2] for key in sides],
                    list(sides.values()),
                    self.duplicate_window,
                    [cuts[key][3] for key in sides] if of_units else [],
                ),
                strict=True,
            )
        )
        return {
            key: (
                self._values(unit, look, spikes, evidence.get(key)),
                _Node(cut, known.get(key)),
            )
            for key, (cut, look, spikes, unit) in cuts.items()
        }

    def _values(
        self,
        unit: int,
        look: PossibleSplit,
        spikes: NDArray[np.int64],
        evidence: PartsEvidence | None,
    ) -> dict[str, Any]:
        clusters = look.clusters
        assert clusters is not None
        terms = {
            "likelihood_term": likelihood_term(clusters),
            "accuracy_term": accuracy_term(clusters.expected_error),
            "mixing_term": mixing_term(look.mixing),
            "refractory_term": np.nan if evidence is None else evidence.refractory_term,
            "duplicate_term": np.nan if evidence is None else evidence.duplicate_term,
        }
        score = weakest_term(*terms.values())
        if self.reader.basis is None:
            score = min(score, SCORE_WITHOUT_BASIS)
        known = self.reader.with_features(spikes).size
        values = {
            "unit_index": unit,
            "score": score * known / max(spikes.size, 1),
            "method": "features",
            **terms,
            "num_spikes": spikes.size,
            "num_spikes_with_features": known,
            "num_spikes_looked_at": look.num_looked_at,
            "num_channels": look.num_channels,
            "smaller_share": clusters.smaller_share,
            "likelihood_gain": clusters.gain,
            "likelihood_gain_error": clusters.gain_error,
            "separation": clusters.separation,
            "expected_error": clusters.expected_error,
            "mixing": look.mixing,
            "jump": look.jump,
        }
        if evidence is not None:
            values |= {
                "one_neuron_probability": evidence.one_neuron_probability,
                "refractory_period_ms": evidence.refractory_period_ms,
                "refractory_observed": evidence.observed,
                "refractory_expected": evidence.expected,
                "duplicate_fraction": evidence.duplicate_fractions[0],
                "duplicate_fraction_of_other_part": evidence.duplicate_fractions[1],
            }
        return values

    def _cut_further(self, cuts: list[tuple[_Node, NDArray[np.int64], dict[str, Any]]]) -> None:
        """Cut the parts of good cuts where they are two neurons themselves, of all units at once.

        Each cut is (node, the spikes that it cuts, values of its row).
        """
        for _ in range(MAX_ROUNDS - 1):
            parts: dict[tuple[int, int], tuple[NDArray[np.int64], int]] = {}
            for place, (node, spikes, values) in enumerate(cuts):
                if values["score"] >= self.threshold:
                    if node.sides is None:
                        node.sides = node.cut.sides(self.reader, spikes)
                    for side in (0, 1):
                        own = spikes[node.sides[0] == bool(side)]
                        parts[place, side] = own, values["unit_index"]
            looks = self._look_at(list(parts.values()))
            asked = {key: (look, *parts[key]) for key, look in zip(parts, looks, strict=True)}
            found = self._cuts(asked, of_units=False)
            below = []
            for (place, side), (values, child) in found.items():
                if values["score"] >= self.threshold:
                    cuts[place][0].children[side] = child
                    below.append((child, parts[place, side][0], values))
            cuts = below

    def _jumps(
        self, looks: dict[int, PossibleSplit], own: dict[int, NDArray[np.int64]]
    ) -> list[_Row]:
        """Return the units whose features jump far more than those of the others."""
        jumps = np.array([look.jump for look in looks.values()])
        sizes = np.array([look.size for look in looks.values()])
        rows = []
        for place, (unit, look) in enumerate(looks.items()):
            if look.jump_cut is None:
                continue
            error = float(special.ndtr(-look.jump / 2))
            others = np.delete(jumps_at_size(jumps, sizes, look.size), place)
            terms = {
                "accuracy_term": accuracy_term(error),
                "jump_term": jump_term(look.jump, others),
            }
            if np.isnan(terms["jump_term"]) or weakest_term(*terms.values()) < WORTH_A_LOOK:
                continue
            beyond, _ = look.jump_cut.sides(self.reader, own[unit])
            values = {
                "unit_index": unit,
                "score": weakest_term(*terms.values()),
                "method": "time",
                **terms,
                "num_spikes": own[unit].size,
                "num_spikes_with_features": self.reader.with_features(own[unit]).size,
                "num_spikes_looked_at": look.num_looked_at,
                "num_channels": look.num_channels,
                "smaller_share": min(beyond.mean(), 1 - beyond.mean()),
                "separation": look.jump,
                "expected_error": error,
                "jump": look.jump,
                "num_parts": 2,
            }
            node = _Node(look.jump_cut)
            rows.append(_Row(values, (self.reader, node, own[unit])))
        return rows


def _first_score(look: PossibleSplit) -> float:
    """Return the score of a cut as far as the features that were looked at tell it."""
    assert look.clusters is not None
    return weakest_term(
        likelihood_term(look.clusters),
        accuracy_term(look.clusters.expected_error),
        mixing_term(look.mixing),
    )


def _by_templates(
    analyzer: SortingAnalyzer, units: NDArray[np.int64], bad: pd.DataFrame | None
) -> list[_Row]:
    """Return the units of several templates that their refractory period contradicts."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None or units.size == 0:
        return []
    unit_ids = analyzer.unit_ids[units].tolist()
    if bad is None:
        bad = find_bad_merges(analyzer, unit_ids=unit_ids)
    bad = bad[bad["unit_id"].isin(unit_ids)]
    if bad.empty:
        return []
    spikes = spikes_of_units(analyzer)
    rows = []
    for unit_id in pd.unique(bad["unit_id"]):
        worst = bad[bad["unit_id"] == unit_id].iloc[0]
        unit = int(unit_index_of(analyzer, unit_id))
        own = spikes[unit]
        templates = np.asarray(assignment.get_spike_template_ids())[own]
        counts = assignment.get_template_counts()[[unit]].data
        values = {
            "unit_index": unit,
            "score": 1.0 - float(worst["p_value"]),
            "method": "templates",
            "num_spikes": own.size,
            "num_spikes_with_features": 0,
            "num_spikes_looked_at": own.size,
            "num_channels": 0,
            "smaller_share": (counts.sum() - counts.max()) / counts.sum(),
            "refractory_period_ms": worst["refractory_period_ms"],
            "refractory_observed": worst["observed"],
            "refractory_expected": worst["expected"],
            "num_parts": counts.size,
        }
        rows.append(_Row(values, templates))
    return rows


def _table(analyzer: SortingAnalyzer, rows: list[_Row]) -> pd.DataFrame:
    values: dict[str, Any] = {}
    for name, variable in SPLITS.items():
        if name == "unit_id":
            places = np.array([row.values["unit_index"] for row in rows], dtype=np.int64)
            values[name] = analyzer.unit_ids[places]
        elif name == "reason":
            values[name] = [""] * len(rows)
        else:
            found = [row.values.get(name, np.nan) for row in rows]
            dtype = object if variable.dtype == "str" else variable.dtype
            values[name] = pd.array(found, dtype=dtype) if dtype == "Int64" else np.array(found)
            if dtype in ("float64", "int64"):
                values[name] = np.asarray(found, dtype=dtype)
    table = pd.DataFrame(values)
    table["reason"] = list(map(explanations_text, explain_splits(table)))
    order = np.lexsort((np.arange(len(table)), -table["score"].to_numpy(dtype=np.float64)))
    return table.iloc[order].reset_index(drop=True)[list(SPLITS)]


class SplitSuggestions(ScoredSuggestions):
    """Units that may be more than one neuron, best first; made by `suggest_splits`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per unit that could be split; the columns are described in
        `si_curation.variables.SPLITS`.
    unit_ids : array
        All units of the analyzer.
    score_threshold : float
        Default threshold of the methods.
    missing : list of Explanation
        Evidence that there is none of, and why: the features, or their basis.
    """

    main_columns = (
        "unit_id",
        "score",
        "num_parts",
        "smaller_share",
        "separation",
        "method",
        "reason",
    )

    def __init__(
        self,
        table: pd.DataFrame,
        analyzer: SortingAnalyzer,
        score_threshold: float,
        rows: list[_Row],
        missing: list[Explanation],
    ) -> None:
        self.table = table
        self.unit_ids = analyzer.unit_ids
        with_groups(self, analyzer)
        self.score_threshold = score_threshold
        self.missing = missing
        self._analyzer = analyzer
        self._cutters = {analyzer.unit_ids[row.values["unit_index"]]: row.cutter for row in rows}
        self._labels: dict[Any, NDArray[np.int64]] = {}

    def __repr__(self) -> str:
        good = len(self.units())
        return (
            f"SplitSuggestions: {len(self.table)} of {len(self.unit_ids)} units could be split, "
            f"{good} with a score of {self.score_threshold:g} or more"
        )

    @property
    def explanations(self) -> list[list[Explanation]]:
        """The reasons of each row of the table, as codes with values."""
        return list(explain_splits(self.table))

    def units(self, threshold: float | None = None) -> list[Any]:
        """Return the ids of the units with a score of at least the threshold, best first."""
        return self._good(threshold)["unit_id"].tolist()

    def labels(self, unit_id: Any) -> NDArray[np.int64]:
        """Return the part of each spike of a unit.

        Parameters
        ----------
        unit_id : int or str
            Of the table.

        Returns
        -------
        array (n_spikes of the unit,) int64
            In the order of time. Part 0 has most spikes. A spike without features is in the part
            with most spikes of its template: a guess (``num_spikes_with_features``).

        Raises
        ------
        UnknownIdError, ParameterError
            The unit does not exist, or is not in the table.
        FolderNotFoundError, PhyFolderError
            The folder of the features is gone, or is not what it was.
        """
        unit_id = self.unit_ids[unit_index_of(self._analyzer, unit_id)]
        if unit_id not in self._cutters:
            raise ParameterError(
                f"unit {unit_id} is not in the table of suggested splits; take one of "
                f"{self.table['unit_id'].tolist()}"
            )
        if unit_id not in self._labels:
            self._labels[unit_id] = _ordered_by_size(self._cut(self._cutters[unit_id]))
        return self._labels[unit_id].copy()

    def _cut(self, cutter: Any) -> NDArray[np.int64]:
        if isinstance(cutter, np.ndarray):  # the templates of the spikes
            return np.unique(cutter, return_inverse=True)[1].astype(np.int64)
        reader, node, spikes = cutter
        labels, known = node.labels(reader, spikes)
        if not known.all():
            templates = np.zeros(spikes.size, dtype=np.int64)
            assignment = self._analyzer.get_extension("template_assignment")
            if assignment is not None:
                templates = np.asarray(assignment.get_spike_template_ids())[spikes]
            labels = _guess(labels, known, templates)
        return labels

    def to_curation_model(self, threshold: float | None = None) -> Curation:
        """Return the splits as SpikeInterface's curation model (format version 2).

        Returns
        -------
        spikeinterface.curation.curation_model.Curation
            With ``splits`` by the indices of the spikes of each part, for SpikeInterface's
            ``apply_curation``, or ``CurationSession``'s ``apply_spikeinterface_curation``.
        """
        splits = []
        for unit_id in self.units(threshold):
            labels = self.labels(unit_id)
            parts = [np.flatnonzero(labels == k).tolist() for k in range(int(labels.max()) + 1)]
            splits.append({"unit_id": unit_id, "mode": "indices", "indices": parts})
        return self._curation(splits=splits)


def _ordered_by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return labels 0, 1, ... by decreasing number; those that are not used are left out."""
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(counts.size, dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(counts.size)
    return rank[labels]


def _guess(
    labels: NDArray[np.int64], known: NDArray[np.bool_], templates: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return labels, those not known as of most known spikes of the same template."""
    labels = labels.copy()
    most = int(np.bincount(labels[known]).argmax()) if known.any() else 0
    for template in np.unique(templates[~known]):
        here = templates == template
        same = labels[here & known]
        labels[here & ~known] = np.bincount(same).argmax() if same.size else most
    return labels

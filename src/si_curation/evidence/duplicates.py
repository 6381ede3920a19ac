"""`find_duplicate_units`: units whose spikes are those of another unit, and which to keep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, unit_indices_of
from si_curation.evidence.calibration import Calibration, read_calibration, with_probability
from si_curation.evidence.common_spikes import (
    CommonSpikes,
    common_spikes,
    may_share_spikes,
)
from si_curation.evidence.suggestions import DecidedSuggestions, with_groups
from si_curation.evidence.unit_spikes import UnitSpikes
from si_curation.kernels.parallel import run_blocks
from si_curation.kernels.refractory import Trains
from si_curation.quality.contamination import rp_contamination_of_trains
from si_curation.reading.observed import observed_periods
from si_curation.variables import DUPLICATES, Explanation

if TYPE_CHECKING:
    from spikeinterface.curation.curation_model import Curation

DEFAULT_MIN_SHARE = 0.5
DEFAULT_WINDOW_MS = 0.4
DEFAULT_MAX_LAG_MS = 1.0
# lags at which coincidences are by chance: beyond refractory periods, within slow changes of rate
CHANCE_SHIFT_MS = 10.0
# differences of the expected accuracy and of the amplitude that decide which unit to keep
DECISIVE_ACCURACY, DECISIVE_AMPLITUDE = 0.05, 0.05


def find_duplicate_units(
    sorting_analyzer: SortingAnalyzer,
    *,
    min_share: float = DEFAULT_MIN_SHARE,
    window_ms: float = DEFAULT_WINDOW_MS,
    max_lag_ms: float = DEFAULT_MAX_LAG_MS,
    unit_ids: Sequence[Any] | None = None,
    calibration: Calibration | str | Path | None = None,
) -> DuplicateUnits:
    """Find units that have most of their spikes in common with another unit, and which to keep.

    Sorters find the spikes of one neuron twice with two templates, on other channels or at another
    phase of the waveform. Only spike times are compared, all pairs of units in one pass, whatever
    their templates and places are.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Any analyzer; no extension is needed. "spike_amplitudes" is used where it is computed.
    min_share : float
        Share of the spikes of the smaller unit, beyond chance, that it must have in common.
    window_ms : float
        Largest distance in time of the same spike, from the lag of the pair.
    max_lag_ms : float
        Largest lag: templates that begin at another phase find the same spike earlier or later.
    unit_ids : sequence of unit ids, optional
        Only pairs of these units; all units by default.
    calibration : Calibration, str or Path, optional
        Of duplicates, or its JSON file (`calibrate_suggestions`). The table then has the columns
        ``probability``, ``probability_low`` and ``probability_high``, NaN where the share is not
        calibrated.

    Returns
    -------
    DuplicateUnits
        ``.table`` has a row for each pair; its columns are described in
        `si_curation.variables.DUPLICATES`. ``.units_to_remove()`` leaves one unit of each group.

    Raises
    ------
    ParameterError
        A parameter is out of range; all problems at once.
    UnknownIdError
        A unit id does not exist.

    Notes
    -----
    **Share** = ``(share - chance) / (1 - chance)``, where chance is the share at lags 10 and 20 ms
    away. Units with fewer than 20 spikes are left out.

    **Which to keep.** If the neuron fired as many spikes as the better unit has good ones,
    ``g = n (1 - contamination)``, the accuracy of a unit would be ``g / (largest g + n - g)``. The
    unit with the higher one is kept, if that is higher by 0.05 or more; else the one with the
    larger mean amplitude (by 5 % or more); else the one with more spikes, and of equals the one
    with the lower id. Contamination is that of `contamination_panel` (Llobet et al. 2022); where it
    is unknown for either unit it does not count. ``kept_for`` says which of these decided.

    SpikeInterface's ``find_redundant_units`` looks at pairs with an agreement of 0.2 or more, and
    so misses a unit that has a few of the spikes of a large one; it has no lag, does not subtract
    chance, and has no evidence for which unit to keep.

    See Also
    --------
    suggest_merges : units that are one neuron; those found twice are among them

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> find_duplicate_units(analyzer)
    DuplicateUnits: 0 pairs of 8 units, 0 units to remove
    """
    checks = Checks.of_call(find_duplicate_units, locals())
    checks.number("min_share", min_share, above=0, below=1)
    checks.number("window_ms", window_ms, at_least=0, at_most=1)
    checks.number("max_lag_ms", max_lag_ms, at_least=0, at_most=2)
    checks.finish()
    calibrated = read_calibration(calibration, "duplicates")
    analyzer = sorting_analyzer
    allowed = np.zeros(len(analyzer.unit_ids), dtype=bool)
    allowed[unit_indices_of(analyzer, unit_ids, may_repeat=True)] = True
    spikes = UnitSpikes(analyzer)
    table = _table_of(spikes, allowed[:, None] & allowed, min_share, (window_ms, max_lag_ms))
    table = with_probability(table, calibrated)
    return with_groups(DuplicateUnits(table, analyzer.unit_ids), analyzer)


def duplicates_of_units(
    spikes: UnitSpikes,
    unit_ids: Sequence[Any],
    min_share: float,
    pairs: Sequence[tuple[Any, Any]] = (),
) -> pd.DataFrame:
    """Return the pairs with one of some units that `find_duplicate_units` finds by default.

    Parameters
    ----------
    spikes : UnitSpikes
        Of an analyzer.
    unit_ids : sequence of unit ids
        The other unit of a pair may be any.
    min_share : float
    pairs : sequence of (unit id, unit id)
        Of other units, to be looked at too.

    Returns
    -------
    pandas.DataFrame
        As ``.table`` of `DuplicateUnits`.
    """
    analyzer = spikes.analyzer
    is_asked = np.zeros(spikes.num_units, dtype=bool)
    is_asked[unit_indices_of(analyzer, unit_ids, may_repeat=True)] = True
    allowed = is_asked[:, None] | is_asked
    for pair in pairs:
        rows = unit_indices_of(analyzer, pair)
        allowed[np.ix_(rows, rows)] = True
    limits = DEFAULT_WINDOW_MS, DEFAULT_MAX_LAG_MS
    return _table_of(spikes, allowed, min_share, limits)


def _table_of(
    spikes: UnitSpikes,
    allowed: NDArray[np.bool_],
    min_share: float,
    limits_ms: tuple[float, float],
) -> pd.DataFrame:
    """Return the table of the pairs of units (n_units, n_units) that are allowed."""
    analyzer, num_spikes, trains = spikes.analyzer, spikes.num_spikes, spikes.trains
    fs = float(analyzer.sampling_frequency)
    window, max_lag = (round(value * fs * 1e-3) for value in limits_ms)
    apart = round(CHANCE_SHIFT_MS * 1e-3 * fs)
    candidates = may_share_spikes(analyzer, num_spikes, window + max_lag, min_share)

    def count(pair: list[int]) -> CommonSpikes:
        a, b = pair
        return common_spikes(trains[a], trains[b], window, max_lag, apart)

    pairs = np.argwhere(candidates & allowed).tolist()
    found: dict[tuple[int, int], CommonSpikes] = {}
    for (a, b), common in zip(pairs, run_blocks(count, pairs), strict=True):
        smaller = int(num_spikes[b] < num_spikes[a])
        if _beyond_chance(common)[smaller] > min_share:
            found[a, b] = common
    return _tabulate(spikes, found)


class DuplicateUnits(DecidedSuggestions):
    """Units that have most of their spikes in common with another; of `find_duplicate_units`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per pair, the largest share first; the columns are described in
        `si_curation.variables.DUPLICATES`.
    unit_ids : array
        All units of the analyzer.
    """

    main_columns = ("unit_id", "duplicate_of", "share", "share_of_original", "lag_ms", "reason")

    def __init__(self, table: pd.DataFrame, unit_ids: NDArray[Any]) -> None:
        self.table = table
        self.unit_ids = unit_ids

    def __repr__(self) -> str:
        return (
            f"DuplicateUnits: {len(self.table)} pairs of {len(self.unit_ids)} units, "
            f"{len(self.units_to_remove())} units to remove"
        )

    @property
    def explanations(self) -> list[Explanation]:
        """The reason of each row of the table, as a code with values."""
        return [_explain(row) for row in self.table.to_dict("records")]

    def pairs(self) -> list[tuple[Any, Any]]:
        """Return the pairs (unit, unit that it is a duplicate of), the largest share first."""
        return list(zip(self.table["unit_id"], self.table["duplicate_of"], strict=True))

    def groups(self) -> list[list[Any]]:
        """Return groups of units that share spikes, directly or through another unit.

        Returns
        -------
        list of list of unit ids
            Units in the order of the analyzer, groups in the order of their best pair.
        """
        group_of: dict[Any, list[Any]] = {}
        for a, b in self.pairs():
            one, other = group_of.get(a, [a]), group_of.get(b, [b])
            if one is not other:
                both = one + other
                group_of.update(dict.fromkeys(both, both))
        position = {unit_id: i for i, unit_id in enumerate(self.unit_ids.tolist())}
        groups = {id(group): group for group in group_of.values()}
        return [sorted(group, key=position.__getitem__) for group in groups.values()]

    def units_to_remove(self) -> list[Any]:
        """Return the units to remove, in the order of the analyzer.

        Every one of them is a duplicate of a unit that stays. So of a chain (a has the spikes of b,
        b those of c) a unit stays that has no common spikes with those that stay.
        """
        removed: set[Any] = set()
        kept: set[Any] = set()
        for unit, original in self.pairs():
            if not {unit, original} & removed and unit not in kept:
                removed.add(unit)
                kept.add(original)
        return [unit_id for unit_id in self.unit_ids.tolist() if unit_id in removed]

    def to_curation_model(self) -> Curation:
        """Return the units to remove as SpikeInterface's curation model (format version 2).

        Returns
        -------
        spikeinterface.curation.curation_model.Curation
            For SpikeInterface's ``apply_curation``, or ``CurationSession``'s
            ``apply_spikeinterface_curation``.
        """
        return self._curation(removed=self.units_to_remove())


def _beyond_chance(common: CommonSpikes) -> list[float]:
    return [
        max(share - chance, 0.0) / max(1.0 - chance, 1e-9)
        for share, chance in zip(common.shares, common.by_chance, strict=True)
    ]


class _Worth(NamedTuple):
    """What decides which of the units to keep; arrays (n_units,), NaN where unknown."""

    num_spikes: NDArray[np.int64]
    contamination: NDArray[np.float64]
    amplitude: NDArray[np.float64]


def _worth_of(spikes: UnitSpikes, units: NDArray[np.int64]) -> _Worth:
    contamination, amplitude = np.full((2, spikes.num_units), np.nan)
    if units.size == 0:
        return _Worth(spikes.num_spikes, contamination, amplitude)
    own = [spikes.trains[unit] for unit in units.tolist()]
    trains = Trains(np.concatenate(own), np.cumsum([0, *(train.size for train in own)]))
    duration = float(observed_periods(spikes.analyzer).num_samples)
    fs = spikes.analyzer.sampling_frequency
    contamination[units] = rp_contamination_of_trains(trains, duration, fs)
    values = spikes.amplitudes
    if values is not None:
        for unit in units.tolist():
            sizes = np.abs(np.asarray(values[spikes.positions[unit]]).astype(np.float64))
            sizes = sizes[np.isfinite(sizes)]
            if sizes.size:
                amplitude[unit] = sizes.mean()
    return _Worth(spikes.num_spikes, contamination, amplitude)


def _accuracies(
    num_spikes: tuple[int, int], contamination: tuple[float, float]
) -> tuple[float, float]:
    """Return the accuracy of either unit, if the neuron has the good spikes of the better one."""
    wrong = contamination if np.isfinite(contamination).all() else (0.0, 0.0)
    good = [n * (1.0 - c) for n, c in zip(num_spikes, wrong, strict=True)]
    total = max(good)
    one, other = (g / max(total + n - g, 1e-9) for g, n in zip(good, num_spikes, strict=True))
    return one, other


def _choose(a: int, b: int, worth: _Worth, unit_ids: NDArray[Any]) -> tuple[bool, str]:
    """Return whether the first of two units is kept, and what for."""
    n = int(worth.num_spikes[a]), int(worth.num_spikes[b])
    wrong = float(worth.contamination[a]), float(worth.contamination[b])
    one, other = _accuracies(n, wrong)
    if abs(one - other) >= DECISIVE_ACCURACY:
        keeps_first = one > other
        has_more = n[0] > n[1] if keeps_first else n[1] > n[0]
        return keeps_first, "more_spikes" if has_more else "less_contaminated"
    sizes = float(worth.amplitude[a]), float(worth.amplitude[b])
    if np.isfinite(sizes).all() and abs(sizes[0] - sizes[1]) >= DECISIVE_AMPLITUDE * max(sizes):
        return sizes[0] > sizes[1], "larger_amplitude"
    if n[0] != n[1]:
        return n[0] > n[1], "more_spikes"
    return bool(unit_ids[a] < unit_ids[b]), "lower_id"


def _tabulate(spikes: UnitSpikes, found: dict[tuple[int, int], CommonSpikes]) -> pd.DataFrame:
    units = np.unique(np.array(list(found), dtype=np.int64))
    worth = _worth_of(spikes, units)
    analyzer, num_spikes = spikes.analyzer, spikes.num_spikes
    ids, per_ms = analyzer.unit_ids, 1e3 / float(analyzer.sampling_frequency)
    rows = []
    for (a, b), common in found.items():
        keeps_first, kept_for = _choose(a, b, worth, ids)
        # the unit to remove first
        order = (1, 0) if keeps_first else (0, 1)
        unit, original = ((a, b)[i] for i in order)
        shares = _beyond_chance(common)
        rows.append(
            {
                "unit_id": ids[unit],
                "duplicate_of": ids[original],
                "share": shares[order[0]],
                "share_of_original": shares[order[1]],
                "share_by_chance": common.by_chance[order[0]],
                "num_common_spikes": common.num_common,
                "num_spikes": num_spikes[unit],
                "num_spikes_of_original": num_spikes[original],
                "lag_ms": (common.lag if keeps_first else -common.lag) * per_ms,
                "kept_for": kept_for,
                "contamination": worth.contamination[unit],
                "contamination_of_original": worth.contamination[original],
                "amplitude": worth.amplitude[unit],
                "amplitude_of_original": worth.amplitude[original],
            }
        )
    names = [name for name in DUPLICATES if name != "reason"]
    table = pd.DataFrame(rows, columns=names)
    if not rows:
        table = table.astype({n: v.dtype for n, v in DUPLICATES.items() if v.dtype in _PLAIN})
        table[["unit_id", "duplicate_of"]] = ids[[]][:, None].repeat(2, axis=1)
    most = np.maximum(table["share"], table["share_of_original"]).to_numpy(dtype=np.float64)
    table = table.iloc[np.argsort(-most, kind="stable")].reset_index(drop=True)
    table["reason"] = [str(_explain(row)) for row in table.to_dict("records")]
    table["reason"] = table["reason"].astype(object)
    return table[list(DUPLICATES)]


_PLAIN = ("float64", "int64")


def _explain(row: dict[str, Any]) -> Explanation:
    return Explanation(
        f"duplicate_{row['kept_for']}",
        share=row["share"],
        of_original=row["share_of_original"],
        original=str(row["duplicate_of"]),
        lag=row["lag_ms"],
    )

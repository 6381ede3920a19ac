"""Extension `cross_correlograms`: exact auto- and cross-correlograms of all units."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import spikeinterface.metrics
import spikeinterface.postprocessing  # noqa: F401  (before registering; see _spikeinterface.py)
from numpy.typing import NDArray
from spikeinterface.core.core_tools import materialize_array

from si_curation._spikeinterface import (
    as_array,
    extension_function,
    register_extension,
)
from si_curation.checks import Checks, check_arguments, indices_of, short_repr, unit_index_of
from si_curation.errors import ParameterError
from si_curation.extensions.changes import UnitChange, UnitsExtension
from si_curation.extensions.cross_correlograms_counts import (
    add_up,
    autos,
    count_all,
    count_some,
    inherited_pairs,
    neighbours,
    pairs_after_change,
    recount,
    recount_pairs,
    refuse_if_too_large,
)
from si_curation.extensions.cross_correlograms_tables import (
    GroupCorrelograms,
    baseline_of_groups,
    cells_of,
    check_normalization,
    check_parameters,
    make_table,
    normalize,
    sum_groups,
)
from si_curation.extensions.spikes_of_units import num_spikes_of_units
from si_curation.files import check_output_file, format_csv, replace_file
from si_curation.kernels.correlogram_bins import BinCells, LagCells, bins_of_convention
from si_curation.kernels.correlograms import assemble, assemble_pairs
from si_curation.kernels.isi import isi_histogram
from si_curation.reading.observed import observed_periods

Convention = Literal["spikeinterface", "phy", "centered"]
Normalization = Literal["counts", "hz", "probability"]
_MAX_ISI_MS = 3.6e6


def _pairs_of_units(values: Any, num_units: int) -> NDArray[np.int64]:
    """Return pairs of unit indices, or raise."""
    try:
        pairs = np.asarray(values)
    except ValueError:  # lists of different lengths
        pairs = np.zeros(0)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ParameterError(f"pairs is {short_repr(values)}, expected two columns of unit indices")
    return indices_of(pairs.ravel(), num_units, "pairs").reshape(-1, 2)


class CrossCorrelograms(UnitsExtension):
    """Exact auto- and cross-correlograms: every pair of spikes counts, at its exact lag.

    Counts are whole numbers, the same for any number of threads, and added up over segments. They
    are stored in cells of lags of which the bins of all three conventions are sums, so that
    `get_data` returns any of them, whichever was computed.

    Parameters
    ----------
    window_ms : float, default: 50.0
        The full window: lags from minus half of it to half of it. What is left over from whole
        bins on each side is cut off, as in SpikeInterface.
    bin_ms : float, default: 1.0
        Width of a bin, rounded to whole samples; with log-spaced bins the first edge.
    convention : {"spikeinterface", "phy", "centered"}
        The bins that `get_data` returns by default, with h whole bins w in half a window:

        - "spikeinterface": 2 h bins [k w, (k + 1) w) of the lag t_a - t_b. Simultaneous spikes of
          two units count in the bin from 0 to w of both orders, those of one unit twice. Equal to
          SpikeInterface's ``method="numpy"``.
        - "phy": 2 h + 1 bins of the lag t_b - t_a: [d w, (d + 1) w) and their mirror images; the
          centre bin is the larger of the two one-sided counts of lags below w. Simultaneous
          spikes count once, for the unit that comes first in the spike vector. Equal to phylib's
          correlograms of the exact samples. (phy turns samples into seconds and back, with
          truncation, which moves some spikes by a sample; this extension never does.)
        - "centered": 2 h + 1 bins of the lag t_a - t_b, centred on multiples of w: [(k - 1/2) w,
          (k + 1/2) w) and their mirror images, lags below w/2 in the centre bin. Simultaneous
          spikes count in the centre bin of both orders, those of one unit twice.
          ``C[a, b, k] == C[b, a, -1 - k]`` everywhere.
    pairs : {"all", "neighbours", "auto"}
        Pairs of units that are counted: all; those that share any of their best channels
        (needs the extension "template_best_channels") and each unit with itself; each unit with
        itself only.
    bins : {"linear", "log"}
        "log": `bins_per_decade` bins per factor of ten from `bin_ms` to half of `window_ms` (edges
        rounded to whole samples), mirrored, and a centre bin of lags below `bin_ms`; in place of
        the conventions. The lag is t_a - t_b.
    bins_per_decade : int, default: 10
        For ``bins="log"``.

    Returns
    -------
    counts : array (n_units, n_units, n_bins) int64
        ``counts[a, b]`` of units a and b; (n_pairs, n_bins) for the pairs of `get_pairs` with
        ``pairs="neighbours"`` or ``"auto"``.
    bins : array (n_bins + 1,) float64
        Edges of the bins in ms. The centre bin of "phy" is drawn from -w to w: it holds one side.

    Raises
    ------
    ParameterError
        A parameter cannot be used, or counts of all pairs would not fit into memory.
    MissingDataError
        ``pairs="neighbours"`` without "template_best_channels".

    Notes
    -----
    A merge adds counts up, exactly; a split, or a merge that removes spikes, counts the units that
    changed again and no others. Sources: SpikeInterface 0.105.3 ``correlogram_for_one_segment``;
    phylib 2.7.1 ``correlograms``.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> correlograms = analyzer.compute("cross_correlograms")
    >>> counts, bins = correlograms.get_data()
    >>> counts.shape, float(bins[0]), float(bins[-1])
    ((8, 8, 50), -25.0, 25.0)
    >>> counts, bins = correlograms.get_data(convention="phy")
    >>> counts.shape
    (8, 8, 51)
    """

    extension_name = "cross_correlograms"
    outputs = ("numpy", "dataframe")
    depend_on: list[str] = []
    need_recording = False
    use_nodepipeline = False
    need_job_kwargs = False

    @classmethod
    def get_optional_dependencies(cls, **params: Any) -> list[str]:
        """Come after the best channels when an analyzer is merged or split."""
        return ["template_best_channels"]

    def _set_params(
        self,
        window_ms: float = 50.0,
        bin_ms: float = 1.0,
        convention: Convention = "spikeinterface",
        pairs: Literal["all", "neighbours", "auto"] = "all",
        bins: Literal["linear", "log"] = "linear",
        bins_per_decade: int = 10,
    ) -> dict[str, Any]:
        params = check_parameters(
            window_ms=window_ms,
            bin_ms=bin_ms,
            convention=convention,
            pairs=pairs,
            bins=bins,
            bins_per_decade=bins_per_decade,
        )
        cells = cells_of(self.sorting_analyzer.sampling_frequency, params)
        if pairs == "all":
            num_bins = bins_of_convention(cells, convention).num_bins
            refuse_if_too_large(len(self.sorting_analyzer.unit_ids), cells, num_bins)
        elif pairs == "neighbours":
            neighbours(self.sorting_analyzer)
        return params

    def _run(self, verbose: bool = False) -> None:
        analyzer, cells = self.sorting_analyzer, self.cells
        if self.params["pairs"] == "all":
            self.data = {"cell_counts": count_all(analyzer, cells)}
            return
        is_auto = self.params["pairs"] == "auto"
        pairs = autos(len(analyzer.unit_ids)) if is_auto else neighbours(analyzer)
        self.data = {"unit_pairs": pairs, "cell_counts": count_some(analyzer, pairs, cells)}

    @property
    def cells(self) -> LagCells:
        """Return the cells of lags that the stored counts belong to."""
        return cells_of(self.sorting_analyzer.sampling_frequency, self.params)

    def data_after(self, change: UnitChange) -> dict[str, Any]:
        """Add up the counts of units merged whole; count other new units again."""
        if self.params["pairs"] != "all":
            return self._pairs_after(change)
        # those of a unit that is not whole are replaced
        counts = add_up(as_array(self.data["cell_counts"]), change.parents)
        changed = np.flatnonzero(change.is_new & ~change.is_whole)
        if changed.size:
            counts = recount(counts, changed, change.after, self.cells)
        return {"cell_counts": counts}

    def _pairs_after(self, change: UnitChange) -> dict[str, Any]:
        old_pairs = materialize_array(self.data["unit_pairs"])
        old_counts = materialize_array(self.data["cell_counts"])
        if change.is_new.any():
            kind = self.params["pairs"]
            pairs = pairs_after_change(kind, old_pairs, change.parents, change.after)
        else:
            pairs = inherited_pairs(old_pairs, change.parents)
        old_index = np.where(change.is_new, -1, [group[0] for group in change.parents])
        counts = recount_pairs(pairs, old_pairs, old_counts, old_index, change.after, self.cells)
        return {"unit_pairs": pairs, "cell_counts": counts}

    # what users ask for

    def _bins(self, convention: str | None) -> BinCells:
        """Return the bins of a convention, made once for the parameters that there are."""
        name = convention or self.params["convention"]
        known: dict[str, tuple[dict[str, Any], BinCells]] = self.__dict__.setdefault("_made", {})
        if name not in known or known[name][0] != self.params:
            known[name] = dict(self.params), bins_of_convention(self.cells, name)
        return known[name][1]

    def _bins_ms(self, bins: BinCells) -> NDArray[np.float64]:
        return bins.edges_samples * 1e3 / self.sorting_analyzer.sampling_frequency

    def _get_data(
        self,
        convention: Convention | None = None,
        normalization: Normalization = "counts",
        outputs: Literal["numpy", "dataframe"] = "numpy",
    ) -> tuple[NDArray, NDArray[np.float64]] | pd.DataFrame:
        self.check_outputs(outputs)
        check_normalization(normalization)
        bins = self._bins(convention)
        cell_counts = as_array(self.data["cell_counts"])
        if self.params["pairs"] == "all":
            first = np.arange(len(cell_counts))[:, None]
            counts = assemble(cell_counts, bins)
        else:
            first = as_array(self.data["unit_pairs"])[:, 0]
            counts = assemble_pairs(cell_counts[:, 0], cell_counts[:, 1], bins)
        values = self._normalized(counts, first, bins, normalization)
        edges_ms = self._bins_ms(bins)
        if outputs == "numpy":
            return values, edges_ms
        pairs = pd.MultiIndex.from_arrays(self.get_pairs().T, names=["unit_id_a", "unit_id_b"])
        lags = pd.Index(edges_ms[:-1], name="lag_ms")
        return pd.DataFrame(values.reshape(-1, lags.size), index=pairs, columns=lags)

    def _normalized(
        self,
        counts: NDArray[np.int64],
        first: NDArray[np.integer],
        bins: BinCells,
        normalization: Normalization,
    ) -> NDArray:
        fs = self.sorting_analyzer.sampling_frequency
        num_spikes = np.zeros(0) if normalization == "counts" else self._num_spikes()[first]
        return normalize(counts, num_spikes, bins, fs, normalization)

    def _num_spikes(self) -> NDArray[np.int64]:
        return num_spikes_of_units(self.sorting_analyzer)

    def _index(self, unit_id: Any) -> int:
        return unit_index_of(self.sorting_analyzer, unit_id)

    def get_pair_indices(self) -> NDArray[np.int64]:
        """Return unit indices (n_pairs, 2) of the pairs that are stored: with ``pairs`` not all."""
        return as_array(self.data["unit_pairs"])

    def get_pairs(self) -> NDArray:
        """Return the pairs of units of the rows of ``get_data``.

        Returns
        -------
        array (n_pairs, 2)
            Unit ids; all pairs in the order of the flattened counts with ``pairs="all"``.
        """
        unit_ids = self.sorting_analyzer.unit_ids
        if self.params["pairs"] != "all":
            return unit_ids[as_array(self.data["unit_pairs"])]
        n = len(unit_ids)
        return np.stack([np.repeat(unit_ids, n), np.tile(unit_ids, n)], axis=1)

    def get_ccg(
        self,
        unit_a: Any,
        unit_b: Any,
        convention: Convention | None = None,
        normalization: Normalization = "counts",
    ) -> tuple[NDArray, NDArray[np.float64]]:
        """Return the cross-correlogram of two units.

        Parameters
        ----------
        unit_a, unit_b : int or str
            Ids. A pair that is not stored (``pairs="neighbours"`` or ``"auto"``) is counted now.
        convention : {"spikeinterface", "phy", "centered"}, optional
            That of the parameters by default.
        normalization : {"counts", "hz", "probability"}
            Numbers of pairs of spikes; the rate of `unit_b` at each lag from a spike of `unit_a`
            (counts / spikes of a / width of the bin); spikes of `unit_b` in each bin per spike of
            `unit_a` (counts / spikes of a). The last two are NaN where `unit_a` has no spikes.

        Returns
        -------
        values : array (n_bins,) int64 ("counts") or float64
        bins : array (n_bins + 1,) float64
            Edges in ms.

        Raises
        ------
        UnknownIdError
            There is no such unit.
        ParameterError
            There is no such convention or normalization.
        """
        check_arguments(CrossCorrelograms.get_ccg, locals())
        check_normalization(normalization)
        bins = self._bins(convention)
        a, b = self._index(unit_a), self._index(unit_b)
        ab, ba = self._cells_of_pair(a, b)
        counts = assemble_pairs(ab[None], ba[None], bins)
        return self._normalized(counts, np.array([a]), bins, normalization)[0], self._bins_ms(bins)

    def get_counts_of_pairs(
        self, pairs: NDArray[np.integer], convention: Convention | None = None
    ) -> NDArray[np.int64]:
        """Return the counts of several pairs of units, which are those of `get_ccg`.

        Parameters
        ----------
        pairs : array (n_pairs, 2) integer
            Unit indices, in any order. A pair that is not stored is counted now.
        convention : {"spikeinterface", "phy", "centered"}, optional
            That of the parameters by default.

        Returns
        -------
        array (n_pairs, n_bins) int64

        Raises
        ------
        ParameterError
            There is no such convention, or pairs are no indices of units in two columns.

        Examples
        --------
        >>> import si_curation as sic
        >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
        >>> extension = analyzer.compute("cross_correlograms")
        >>> extension.get_counts_of_pairs(np.array([[5, 6], [6, 5], [5, 5]])).shape
        (3, 50)
        """
        check_arguments(CrossCorrelograms.get_counts_of_pairs, locals())
        bins = self._bins(convention)
        num_units = len(self.sorting_analyzer.unit_ids)
        pairs = _pairs_of_units(pairs, num_units)
        stored = as_array(self.data["cell_counts"])
        a, b = pairs.T
        if self.params["pairs"] == "all":
            return assemble_pairs(stored[a, b], stored[b, a], bins)
        known = as_array(self.data["unit_pairs"]) @ np.array([num_units, 1])  # ascending
        wanted = np.minimum(a, b) * num_units + np.maximum(a, b)
        row = np.searchsorted(known, wanted)
        is_known = np.zeros(len(pairs), dtype=bool)
        inside = row < known.size
        is_known[inside] = known[row[inside]] == wanted[inside]
        counted = count_some(self.sorting_analyzer, pairs[~is_known], self.cells)
        dtype = np.result_type(stored, counted) if len(counted) else stored.dtype
        cells = np.empty((2, len(pairs), stored.shape[-1]), dtype=dtype)
        cells[:, is_known] = np.swapaxes(stored[row[is_known]], 0, 1)
        cells[:, a > b] = cells[::-1, a > b]
        cells[:, ~is_known] = np.swapaxes(counted, 0, 1)
        return assemble_pairs(cells[0], cells[1], bins)

    def _cells_of_pair(self, a: int, b: int) -> tuple[NDArray, NDArray]:
        stored = self.data["cell_counts"]
        if self.params["pairs"] == "all":
            return np.asarray(stored[a, b]), np.asarray(stored[b, a])
        pairs = as_array(self.data["unit_pairs"])
        wanted = (min(a, b), max(a, b))  # the pairs are sorted
        row = bisect_left(range(len(pairs)), wanted, key=lambda i: tuple(pairs[i]))
        if row < len(pairs) and tuple(pairs[row]) == wanted:
            ab, ba = np.asarray(stored[row])
            return (ab, ba) if a <= b else (ba, ab)
        ab, ba = count_some(self.sorting_analyzer, np.array([[a, b]]), self.cells)[0]
        return ab, ba

    def get_acg(
        self,
        unit_id: Any,
        convention: Convention | None = None,
        normalization: Normalization = "counts",
    ) -> tuple[NDArray, NDArray[np.float64]]:
        """Return the auto-correlogram of one unit; see `get_ccg`."""
        check_arguments(CrossCorrelograms.get_acg, locals())
        return self.get_ccg(unit_id, unit_id, convention, normalization)

    def get_group_correlograms(
        self,
        groups: Sequence[Sequence[int]],
        convention: Convention | None = None,
        normalization: Normalization = "counts",
    ) -> GroupCorrelograms:
        """Return the correlograms of groups of units, each group as if it were merged.

        The stored counts add up exactly, bins do not: phy's centre bin is the larger of two counts,
        and the auto-correlogram of a merged unit contains the cross-correlograms of its parts.

        Parameters
        ----------
        groups : sequence of sequences of int
            Unit indices; a unit may be in several groups. Pairs that are not stored are counted
            now.
        convention : {"spikeinterface", "phy", "centered"}, optional
            That of the extension by default.
        normalization : {"counts", "hz", "probability"}
            As of `get_ccg`.

        Returns
        -------
        GroupCorrelograms

        Raises
        ------
        ParameterError
            There is no such convention or normalization.

        Examples
        --------
        >>> import si_curation as sic
        >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
        >>> extension = analyzer.compute("cross_correlograms")
        >>> parts = extension.get_group_correlograms([[5], [6]])
        >>> merged = extension.get_group_correlograms([[5, 6]])
        >>> int(merged.values.sum()) == int(parts.values.sum())
        True
        """
        check_arguments(CrossCorrelograms.get_group_correlograms, locals())
        check_normalization(normalization)
        bins, cells, analyzer = self._bins(convention), self.cells, self.sorting_analyzer
        members = np.unique([index for group in groups for index in group]).astype(np.int64)
        belongs = np.array([np.isin(members, group) for group in groups], dtype=bool)
        belongs = belongs.reshape(len(groups), members.size)
        counts = assemble(sum_groups(self._cells_of_units(members), belongs), bins)
        num_spikes = belongs @ self._num_spikes()[members]
        is_log = self.params["bins"] == "log"
        widths = bins.widths_samples if is_log else np.full(bins.num_bins, cells.bin_samples)
        fs = analyzer.sampling_frequency
        baseline = baseline_of_groups(
            num_spikes, widths / fs, observed_periods(analyzer).duration_s, normalization
        )
        values = normalize(counts, num_spikes[:, None], bins, fs, normalization)
        return GroupCorrelograms(values, self._bins_ms(bins), baseline, num_spikes)

    def _cells_of_units(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cells of all ordered pairs of some units: (k, k, n_cells)."""
        stored, num_cells = self.data["cell_counts"], self.cells.num_cells
        if self.params["pairs"] == "all":
            rows = [np.asarray(stored[int(a)])[members] for a in members]
            return np.array(rows, dtype=np.int64).reshape(members.size, members.size, num_cells)
        pairs = as_array(self.data["unit_pairs"])
        row_of = {(int(a), int(b)): row for row, (a, b) in enumerate(pairs)}
        out = np.zeros((members.size, members.size, num_cells), dtype=np.int64)
        missing: list[tuple[int, int]] = []
        for i, j in combinations_with_replacement(range(members.size), 2):
            row = row_of.get((int(members[i]), int(members[j])))
            if row is None:
                missing.append((i, j))
            else:
                out[i, j], out[j, i] = np.asarray(stored[row])
        if missing:
            places = np.array(missing, dtype=np.int64)
            found = count_some(self.sorting_analyzer, members[places], self.cells)
            out[places[:, 0], places[:, 1]] = found[:, 0]
            out[places[:, 1], places[:, 0]] = found[:, 1]
        return out

    def get_baseline(self, duration_s: float | None = None) -> NDArray[np.float64]:
        """Return the counts per bin that independent units of constant rates would have.

        Parameters
        ----------
        duration_s : float, optional
            Duration of the recording; that of the analyzer by default.

        Returns
        -------
        array (n_units, n_units) float64
            spikes of a * spikes of b * bin / duration, for a bin of ``bin_ms``, as phy draws it.

        Raises
        ------
        ParameterError
            The duration is not above 0.

        Notes
        -----
        Source: phylib 2.7.1, ``phylib.stats.ccg.firing_rate``.
        """
        check_arguments(CrossCorrelograms.get_baseline, locals())
        num_spikes = self._num_spikes()
        return np.multiply.outer(num_spikes, num_spikes) * self._share_of_bin(duration_s)

    def get_baseline_of_pairs(
        self, pairs: NDArray[np.integer], duration_s: float | None = None
    ) -> NDArray[np.float64]:
        """Return the counts per bin of several pairs of units, which are those of `get_baseline`.

        Parameters
        ----------
        pairs : array (n_pairs, 2) integer
            Unit indices, in any order.
        duration_s : float, optional
            As of `get_baseline`.

        Returns
        -------
        array (n_pairs,) float64

        Raises
        ------
        ParameterError
            The duration is not above 0, or pairs are no indices of units in two columns.

        Examples
        --------
        >>> import si_curation as sic
        >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
        >>> extension = analyzer.compute("cross_correlograms")
        >>> extension.get_baseline_of_pairs(np.array([[5, 6], [5, 5]])).shape
        (2,)
        """
        check_arguments(CrossCorrelograms.get_baseline_of_pairs, locals())
        num_spikes = self._num_spikes()
        a, b = num_spikes[_pairs_of_units(pairs, num_spikes.size)].T
        return a * b * self._share_of_bin(duration_s)

    def _share_of_bin(self, duration_s: float | None) -> float:
        """Return the width of a bin as a share of the recording, or of another duration."""
        checks = Checks()
        analyzer = self.sorting_analyzer
        duration = observed_periods(analyzer).duration_s if duration_s is None else duration_s
        checks.number("duration_s", duration, above=0)
        checks.finish()
        fs = analyzer.sampling_frequency
        return float(round(fs * self.params["bin_ms"] * 1e-3) / fs / duration)

    def get_isi_histogram(
        self, unit_id: Any, window_ms: float = 50.0, bin_ms: float = 1.0
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the histogram of the intervals between successive spikes of one unit.

        Parameters
        ----------
        unit_id : int or str
        window_ms, bin_ms : float
            Intervals from 0 to `window_ms`, in half-open bins; both rounded to whole samples, and
            what is left over from whole bins is cut off. Intervals across segments do not count.

        Returns
        -------
        counts : array (n_bins,) int64
        bins : array (n_bins + 1,) float64
            Edges in ms.

        Raises
        ------
        UnknownIdError
            There is no such unit.
        ParameterError
            The bin is smaller than a sample, or no whole bin fits into the window.
        """
        checks = Checks.of_call(CrossCorrelograms.get_isi_histogram, locals())
        checks.number("window_ms", window_ms, above=0, at_most=_MAX_ISI_MS)
        checks.number("bin_ms", bin_ms, above=0, at_most=_MAX_ISI_MS)
        checks.finish()
        analyzer = self.sorting_analyzer
        self._index(unit_id)
        fs = analyzer.sampling_frequency
        trains = [
            analyzer.sorting.get_unit_spike_train(unit_id, segment_index=segment)
            for segment in range(analyzer.get_num_segments())
        ]
        width = round(fs * bin_ms * 1e-3)
        counts = isi_histogram(trains, round(fs * window_ms * 1e-3), width)
        return counts, np.arange(counts.size + 1) * width * 1e3 / fs

    def export_to_csv(
        self,
        path: str | Path,
        convention: Convention | None = None,
        normalization: Normalization = "counts",
        overwrite: bool = False,
    ) -> Path:
        """Write a table with a row for each pair of units to a CSV file.

        Columns are ``unit_a``, ``unit_b`` and one for each bin, named by its first edge in ms.

        Raises
        ------
        OutputExistsError
            The file exists, and `overwrite` is not True.
        """
        target = check_output_file(path, overwrite)
        values, bins = self.get_data(convention=convention, normalization=normalization)
        table = make_table(values, bins, self.get_pairs())
        replace_file(target, format_csv(table), make_folders=True)
        return target

    def export_to_npz(
        self,
        path: str | Path,
        convention: Convention | None = None,
        normalization: Normalization = "counts",
        overwrite: bool = False,
    ) -> Path:
        """Write ``values``, ``bins_ms``, ``unit_ids`` and ``pairs`` to a compressed npz file.

        Raises
        ------
        OutputExistsError
            The file exists, and `overwrite` is not True.
        """
        target = check_output_file(path, overwrite)
        values, bins = self.get_data(convention=convention, normalization=normalization)
        file = io.BytesIO()
        np.savez_compressed(
            file,
            values=values,
            bins_ms=bins,
            unit_ids=self.sorting_analyzer.unit_ids,
            pairs=self.get_pairs(),
        )
        replace_file(target, file.getvalue(), make_folders=True)
        return target


register_extension(CrossCorrelograms)
compute_cross_correlograms = extension_function(CrossCorrelograms)

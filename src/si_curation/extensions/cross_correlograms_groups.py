"""Correlograms of units as if some of them were merged: exact sums of the stored cells."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation._spikeinterface import as_array
from si_curation.extensions.cross_correlograms_store import count_some
from si_curation.extensions.cross_correlograms_tables import normalize, refuse_unknown
from si_curation.kernels.correlogram_bins import bins_of_convention
from si_curation.kernels.correlograms import assemble_pairs

if TYPE_CHECKING:
    from si_curation.extensions.cross_correlograms import CrossCorrelograms


class GroupCorrelograms(NamedTuple):
    """Correlograms of n groups of units.

    Attributes
    ----------
    values : array (n, n, n_bins) int64 ("counts") or float64
    bins : array (n_bins + 1,) float64
        Edges in ms.
    baseline : array (n, n, n_bins) float64
        What independent groups of constant rates would have.
    num_spikes : array (n,) int64
    """

    values: NDArray
    bins: NDArray[np.float64]
    baseline: NDArray[np.float64]
    num_spikes: NDArray[np.int64]


def correlograms_of_groups(
    correlograms: CrossCorrelograms,
    groups: Sequence[Sequence[int]],
    convention: str | None = None,
    normalization: str = "counts",
) -> GroupCorrelograms:
    """Give the correlograms of groups of units, each group as if it were merged.

    Cells of lags add up exactly, bins do not: phy's centre bin is the larger of two counts, and the
    autocorrelogram of a merged unit has the cross-correlograms of its parts in it.

    Parameters
    ----------
    correlograms : CrossCorrelograms
        Pairs that it does not store are counted now.
    groups : sequence of sequences of int
        Unit indices; a unit may be in several groups.
    convention : {"spikeinterface", "phy", "centered"}, optional
        That of the extension by default.
    normalization : {"counts", "hz", "probability"}
        As of `CrossCorrelograms.get_ccg`.

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
    >>> parts = correlograms_of_groups(extension, [[5], [6]])
    >>> merged = correlograms_of_groups(extension, [[5, 6]])
    >>> int(merged.values.sum()) == int(parts.values.sum())
    True
    """
    refuse_unknown(normalization=normalization)
    params, analyzer = correlograms.params, correlograms.sorting_analyzer
    cells = correlograms.cells
    bins = bins_of_convention(cells, convention or params["convention"])
    members = np.unique([index for group in groups for index in group]).astype(np.int64)
    known = _cells_of(correlograms, members)  # (k, k, n_cells)
    # (n, k): which members are in each group
    belongs = np.array([np.isin(members, group) for group in groups]).reshape(-1, members.size)
    by_first = np.einsum("ga,abc->gbc", belongs.astype(np.int64), known)
    sums = np.einsum("hb,gbc->ghc", belongs.astype(np.int64), by_first)
    n, fs = len(groups), analyzer.sampling_frequency
    first, second = np.divmod(np.arange(n * n), n) if n else np.zeros((2, 0), dtype=np.int64)
    counts = assemble_pairs(sums[first, second], sums[second, first], bins)
    counts = counts.reshape(n, n, bins.num_bins)

    unit_index = analyzer.sorting.to_spike_vector()["unit_index"]
    num_spikes = belongs @ np.bincount(unit_index, minlength=len(analyzer.unit_ids))[members]
    is_log = params["bins"] == "log"
    widths = bins.widths_samples if is_log else np.full(bins.num_bins, cells.bin_samples)
    duration = analyzer.get_total_duration()
    rate = num_spikes[:, None] * (num_spikes / duration if duration > 0 else np.nan)
    baseline = rate[:, :, None] * (widths / fs)
    if normalization != "counts":
        with np.errstate(invalid="ignore", divide="ignore"):
            baseline = baseline / num_spikes[:, None, None]
        if normalization == "hz":
            baseline = baseline / (widths / fs)
    values = normalize(counts, num_spikes[:, None], bins, fs, normalization)
    return GroupCorrelograms(values, bins.edges_samples * 1e3 / fs, baseline, num_spikes)


def _cells_of(correlograms: CrossCorrelograms, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cells of all ordered pairs of some units: (k, k, n_cells) int64."""
    stored = correlograms.data["cell_counts"]
    if correlograms.params["pairs"] == "all":
        rows = [np.asarray(stored[int(a)])[members] for a in members]
        num_cells = correlograms.cells.num_cells
        return np.array(rows, dtype=np.int64).reshape(members.size, members.size, num_cells)
    pairs = as_array(correlograms.data["unit_pairs"])
    row_of = {(int(a), int(b)): row for row, (a, b) in enumerate(pairs)}
    out = np.zeros((members.size, members.size, correlograms.cells.num_cells), dtype=np.int64)
    missing: list[tuple[int, int]] = []
    for i, j in combinations_with_replacement(range(members.size), 2):
        row = row_of.get((int(members[i]), int(members[j])))
        if row is None:
            missing.append((i, j))
        else:
            out[i, j], out[j, i] = np.asarray(stored[row])
    if missing:
        places = np.array(missing, dtype=np.int64)
        found = count_some(correlograms.sorting_analyzer, members[places], correlograms.cells)
        out[places[:, 0], places[:, 1]] = found[:, 0]
        out[places[:, 1], places[:, 0]] = found[:, 1]
    return out

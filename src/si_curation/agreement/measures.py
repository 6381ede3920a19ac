"""The table of agreement: what chance does not explain, with intervals over units."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.agreement.parts import Parts
from si_curation.kernels.chance_agreement import (
    Estimate,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    mean_adjusted_mutual_information,
    resample,
)
from si_curation.variables import AGREEMENT


def measure_agreement(
    parts: Parts, names: Sequence[str], num_bootstraps: int, seed: int, no_label: str
) -> pd.DataFrame:
    """Return the agreement of each pair of curations, and of all where there are more than two.

    Parameters
    ----------
    parts : Parts
    names : sequence of str
        Of the curations.
    num_bootstraps : int
    seed : int
    no_label : str
        The label of units that have none.

    Returns
    -------
    pandas.DataFrame
        Columns of `si_curation.variables.AGREEMENT`.
    """
    rows: list[dict[str, Any]] = []
    pairs = [_Some(parts, pair, num_bootstraps, seed, no_label) for pair in _pairs(parts)]
    of_pairs = [list(pair.rows()) for pair in pairs]
    for pair, found in zip(pairs, of_pairs, strict=True):
        called = tuple(names[i] for i in pair.which)
        rows += [{"curations": called, **row} for row in found]
    if len(pairs) > 1:
        everything = tuple(range(parts.num_curations))
        whole = _Some(parts, everything, num_bootstraps, seed, no_label)
        rows += [{"curations": tuple(names), **row} for row in whole.rows()]
    return pd.DataFrame(rows, columns=list(AGREEMENT))


def _pairs(parts: Parts) -> list[tuple[int, ...]]:
    return list(itertools.combinations(range(parts.num_curations), 2))


class _Some:
    """Some of the curations: their parts, families and resamples of these."""

    def __init__(
        self, parts: Parts, which: tuple[int, ...], num_bootstraps: int, seed: int, no_label: str
    ) -> None:
        self.which = which
        columns = list(which)
        members, row = np.unique(parts.units[:, columns], axis=0, return_inverse=True)
        self.parts = Parts(
            start=np.zeros(len(members), dtype=np.int64),
            units=members,
            counts=np.bincount(row.reshape(-1), parts.counts, len(members)).astype(np.int64),
            num_units=tuple(parts.num_units[i] for i in which),
            labels=tuple(parts.labels[i] for i in which),
            label_names=parts.label_names,
        )
        self.labels = self.parts.labels_of_parts
        self.draws = resample(self.parts.num_families, num_bootstraps, seed)
        known = [i for i, name in enumerate(parts.label_names) if name == no_label]
        self.no_label = known[0] if known else -1
        size = np.bincount(self.parts.family, minlength=self.parts.num_families)
        kept = np.all(self.parts.units >= 0, axis=1)
        #: Parts that are a whole unit in each curation.
        self.is_same = (size[self.parts.family] == 1) & kept

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one row for each quantity."""
        yield self._units()
        counts, family = self.parts.counts, self.parts.family
        num = int(counts.sum())
        measure, (value, share) = self._of_labels(self.labels, counts, family)
        yield _row("labels", measure, value, share, "spikes", num)
        yield self._decided()
        same = self.is_same
        ones = np.ones(int(same.sum()), dtype=np.int64)
        measure, (value, share) = self._of_labels(self.labels[same], ones, family[same])
        yield _row("labels_of_same_units", measure, value, share, "units", ones.size)

    def _of_labels(
        self, labels: NDArray[np.int64], counts: NDArray[np.int64], family: NDArray[np.int64]
    ) -> tuple[str, tuple[Estimate, float]]:
        if len(counts) == 0:
            return self._kappa, (Estimate(np.nan, np.nan, np.nan), np.nan)
        if len(self.which) == 2:
            return self._kappa, cohen_kappa(labels[:, 0], labels[:, 1], counts, family, self.draws)
        return self._kappa, fleiss_kappa(labels, counts, family, self.draws)

    @property
    def _kappa(self) -> str:
        return "cohen_kappa" if len(self.which) == 2 else "fleiss_kappa"

    def _decided(self) -> dict[str, Any]:
        """Return the row of the labels without those that are missing."""
        is_decided = self.labels != self.no_label
        counts, family = self.parts.counts, self.parts.family
        if len(self.which) > 2:
            labels = np.where(is_decided, self.labels, -1)
            alpha, share, num = krippendorff_alpha(labels, counts, family, self.draws)
            return _row("decided_labels", "krippendorff_alpha", alpha, share, "spikes", num)
        use = is_decided.all(axis=1)
        measure, (value, share) = self._of_labels(self.labels[use], counts[use], family[use])
        return _row("decided_labels", measure, value, share, "spikes", int(counts[use].sum()))

    def _units(self) -> dict[str, Any]:
        """Return the row of the units that spikes are in; of several, the mean over pairs."""
        pairs = [self._pair(*pair) for pair in _pairs(self.parts)]
        value = mean_adjusted_mutual_information(pairs, self.draws)
        num = int(np.all(self.parts.units >= 0, axis=1) @ self.parts.counts)
        measure = "adjusted_mutual_information"
        measure = measure if len(self.which) == 2 else f"mean_{measure}"
        return _row("units", measure, value, self._share_same(), "spikes", num)

    def _pair(
        self, one: int, other: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the parts of the units of two curations: both units, spikes and family."""
        units = self.parts.units[:, [one, other]]
        kept = np.all(units >= 0, axis=1)
        pairs, first, row = np.unique(units[kept], axis=0, return_index=True, return_inverse=True)
        counts = np.bincount(row.reshape(-1), self.parts.counts[kept], len(pairs))
        family = self.parts.family[kept][first]
        return pairs[:, 0], pairs[:, 1], counts.astype(np.int64), family

    def _share_same(self) -> float:
        """Return the share of the spikes that are in units which are the same in all."""
        num = self.parts.counts.sum()
        return float(self.parts.counts[self.is_same].sum() / num) if num else np.nan


def _row(
    quantity: str, measure: str, value: Estimate, share: float, counted: str, num: int
) -> dict[str, Any]:
    return {
        "quantity": quantity,
        "measure": measure,
        "value": value.value,
        "low": value.low,
        "high": value.high,
        "observed": share,
        "counted": counted,
        "num_compared": num,
    }

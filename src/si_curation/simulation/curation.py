"""Merge, split and label as phy 2.1.0 does, and the tables that it writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from si_curation.checks import is_whole_number
from si_curation.errors import ParameterError

GROUPS = ("good", "mua", "noise")
Metadata = dict[str, dict[int, Any]]


@dataclass(frozen=True)
class CurationOperation:
    """One operation as it was done.

    Attributes
    ----------
    kind : str
        ``"merge"``, ``"split"`` or ``"label"``.
    cluster_ids : tuple of int
        The clusters that it took (merge, split: they no longer exist afterwards).
    new_cluster_ids : tuple of int
        The clusters that it made.
    parts : tuple of np.ndarray
        For a split: the rows of each part, counted within the cluster (ascending file rows),
        in the order of ``new_cluster_ids`` (a last part with all other rows is not listed).
    field, value : str
        For a label: its name and value.
    """

    kind: str
    cluster_ids: tuple[int, ...]
    new_cluster_ids: tuple[int, ...] = ()
    parts: tuple[np.ndarray, ...] = ()
    field: str = ""
    value: str = ""

    def as_tuple(self) -> tuple:
        """Return the operation in the form that ``curation`` takes."""
        if self.kind == "merge":
            return ("merge", list(self.cluster_ids))
        if self.kind == "split":
            return ("split", self.cluster_ids[0], [part.tolist() for part in self.parts])
        return ("label", list(self.cluster_ids), self.value, self.field)


class PhyCuration:
    """Clusters of the spikes, and what is known of each cluster, under curation.

    Cluster ids are never reused: a merge or split gives new ids, from the largest id that ever
    had spikes plus one. New clusters inherit every field of their ancestors where these agree,
    and else the value of the ancestor with the most spikes.

    Parameters
    ----------
    spike_clusters : np.ndarray
        (n_spikes,) integers.
    metadata : dict
        ``{field: {cluster id: value}}``.
    """

    def __init__(self, spike_clusters: np.ndarray, metadata: Metadata):
        order = np.argsort(spike_clusters, kind="stable")
        sizes = np.bincount(spike_clusters)
        ends = np.cumsum(sizes)
        self.rows: dict[int, np.ndarray] = {
            int(i): order[ends[i] - sizes[i] : ends[i]] for i in np.flatnonzero(sizes)
        }
        self.metadata: Metadata = {field: dict(values) for field, values in metadata.items()}
        self.metadata.setdefault("group", {})
        self.next_id = len(sizes)
        self.operations: list[CurationOperation] = []

    def merge(self, cluster_ids: Iterable[int]) -> int:
        """Merge clusters; return the new id."""
        old = tuple(sorted(int(i) for i in set(cluster_ids)))
        self.check_exist(old)
        if len(old) < 2:
            raise ParameterError(f"a merge takes at least two clusters, not {list(old)}")
        largest = max(old, key=lambda i: (len(self.rows[i]), -i))
        (new,) = self._new_ids(1)
        rows = np.sort(np.concatenate([self.rows[i] for i in old]))
        self._replace(old, {new: rows}, largest)
        self.operations.append(CurationOperation("merge", old, (new,)))
        return new

    def split(self, cluster_id: int, parts: Sequence[np.ndarray]) -> tuple[int, ...]:
        """Split a cluster into parts and a rest, if any is left; return the new ids.

        Each part holds rows of the cluster, counted within the cluster.
        """
        cluster_id = int(cluster_id)
        self.check_exist([cluster_id])
        rows = self.rows[cluster_id]
        if not parts:
            raise ParameterError(f"split of cluster {cluster_id}: no parts")
        part_of = np.full(len(rows), len(parts))
        for i, part in enumerate(parts):
            if len(part) == 0:
                raise ParameterError(f"split of cluster {cluster_id}: part {i} is empty")
            if min(part) < 0 or max(part) >= len(rows):
                raise ParameterError(
                    f"split of cluster {cluster_id}: rows must be between 0 and {len(rows) - 1}"
                )
            if np.any(part_of[part] != len(parts)) or len(np.unique(part)) < len(part):
                raise ParameterError(f"split of cluster {cluster_id}: a spike is in two parts")
            part_of[part] = i
        new = self._new_ids(int(part_of.max()) + 1)
        self._replace((cluster_id,), {n: rows[part_of == i] for i, n in enumerate(new)}, cluster_id)
        self.operations.append(
            CurationOperation("split", (cluster_id,), new, tuple(np.sort(p) for p in parts))
        )
        return new

    def label(self, cluster_ids: Iterable[int], value: str, field: str = "group") -> None:
        """Label clusters."""
        ids = tuple(int(i) for i in cluster_ids)
        self.check_exist(ids)
        self.metadata.setdefault(field, {}).update(dict.fromkeys(ids, value))
        self.operations.append(CurationOperation("label", ids, field=field, value=value))

    def current_metadata(self) -> Metadata:
        """Return the fields of the clusters that exist, where they have a value."""
        return {
            field: {i: values[i] for i in sorted(self.rows) if values.get(i) is not None}
            for field, values in sorted(self.metadata.items())
        }

    def spike_clusters(self, dtype: np.dtype | type = np.int32) -> np.ndarray:
        """Return the cluster of each spike (n_spikes,)."""
        out = np.empty(sum(map(len, self.rows.values())), dtype=dtype)
        for cluster_id, rows in self.rows.items():
            out[rows] = cluster_id
        return out

    def check_exist(self, cluster_ids: Iterable[int]) -> None:
        """Refuse clusters that have no spikes now."""
        missing = [i for i in cluster_ids if i not in self.rows]
        if missing:
            raise ParameterError(f"no such cluster: {missing}")

    def _new_ids(self, num: int) -> tuple[int, ...]:
        ids = tuple(range(self.next_id, self.next_id + num))
        self.next_id += num
        return ids

    def _replace(self, old: tuple[int, ...], new: dict[int, np.ndarray], largest: int) -> None:
        """Put new clusters in the place of old ones, and let them inherit."""
        for values in self.metadata.values():
            known = {values.get(i) for i in old} - {None}
            if not known:
                continue
            value = known.pop() if len(known) == 1 else values.get(largest)
            for i in new:
                if values.get(i) is None:
                    values[i] = value
        for i in old:
            del self.rows[i]
        self.rows.update(new)


def curate(
    curation: PhyCuration,
    operations: Sequence[Sequence[Any]] | int,
    spike_templates: np.ndarray,
    similarity: np.ndarray,
    seed: int | np.random.SeedSequence,
) -> None:
    """Do a list of operations, or a number of random ones.

    Parameters
    ----------
    curation : PhyCuration
        Changed in place.
    operations : list of tuple or int
        As ``simulate_kilosort_folder`` takes them.
    spike_templates : np.ndarray
        (n_spikes,), to merge what looks alike.
    similarity : np.ndarray
        (n_templates, n_templates).
    seed : int or np.random.SeedSequence
        Seed.
    """
    rng = np.random.default_rng(seed)
    if not isinstance(operations, Sequence):
        _curate_at_random(curation, int(operations), spike_templates, similarity, rng)
        return
    for operation in operations:
        kind, *arguments = operation
        if kind == "merge" and len(arguments) == 1:
            curation.merge(arguments[0])
        elif kind == "split" and len(arguments) == 2:
            cluster_id, how = arguments
            curation.check_exist([cluster_id])
            curation.split(cluster_id, _resolve_parts(how, len(curation.rows[cluster_id]), rng))
        elif kind == "label" and len(arguments) in (2, 3):
            curation.label(*arguments)
        else:
            raise ParameterError(
                f"not an operation: {operation!r}; choose from ('merge', ids), "
                "('split', id, mask or parts or number of parts), ('label', ids, value[, field])"
            )


def _resolve_parts(how: Any, num_spikes: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the rows of each part for a mask, a list of rows, a list of lists or a number."""
    if is_whole_number(how):
        if not 1 <= how <= num_spikes:
            raise ParameterError(f"cannot split {num_spikes} spikes into {how} parts")
        part_of = rng.integers(how, size=num_spikes)
        part_of[rng.choice(num_spikes, how, replace=False)] = np.arange(how)
        return [np.flatnonzero(part_of == i) for i in range(how)]
    if len(how) and np.ndim(how[0]) == 0:
        rows = np.asarray(how)
        if rows.dtype != bool:
            return [rows.astype(np.int64)]
        if rows.shape != (num_spikes,):
            raise ParameterError(f"a mask of {num_spikes} values is needed, not {rows.shape}")
        return [np.flatnonzero(rows)]
    return [np.asarray(part, dtype=np.int64) for part in how]


def _curate_at_random(
    curation: PhyCuration,
    num: int,
    spike_templates: np.ndarray,
    similarity: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Merge similar clusters, split some, label some."""

    def main_template(cluster_id: int) -> int:
        return int(np.bincount(spike_templates[curation.rows[cluster_id]]).argmax())

    main = {i: main_template(i) for i in curation.rows}
    for kind in rng.choice(["merge", "split", "label"], num, p=[0.4, 0.3, 0.3]):
        ids = np.array(sorted(curation.rows))
        cluster_id = int(rng.choice(ids))
        new: tuple[int, ...] = ()
        if kind == "merge" and len(ids) > 1:
            others = ids[ids != cluster_id]
            score = similarity[main[cluster_id]][[main[int(i)] for i in others]]
            near = others[np.argsort(-score, kind="stable")[:3]]
            count = min(len(near), int(rng.integers(1, 3)))
            partners = rng.choice(near, count, replace=False)
            new = (curation.merge([cluster_id, *partners.tolist()]),)
        elif kind == "split" and len(curation.rows[cluster_id]) > 2:
            size = len(curation.rows[cluster_id])
            if rng.random() < 0.5:
                parts = _resolve_parts(int(rng.integers(2, 4)), size, rng)
            else:  # a lasso: part of the cluster, the rest becomes a cluster too
                parts = [np.sort(rng.choice(size, max(1, size // 3), replace=False))]
            new = curation.split(cluster_id, parts)
        else:
            some = rng.choice(ids, min(len(ids), int(rng.integers(1, 4))), replace=False)
            curation.label(some.tolist(), str(rng.choice(GROUPS)))
        main.update({i: main_template(i) for i in new})


def write_table(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], newline: str = "\r\n"
) -> None:
    """Write a tab-separated table with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter="\t", lineterminator=newline)
        table.writerow(columns)
        table.writerows(rows)


def write_phy_tables(folder: Path, metadata: Metadata) -> None:
    """Write one ``cluster_<field>.tsv`` per field, as phy does when it saves."""
    for field, values in metadata.items():
        write_table(folder / f"cluster_{field}.tsv", ["cluster_id", field], sorted(values.items()))


def write_cluster_info(folder: Path, info: Mapping[int, Mapping[str, Any]]) -> None:
    """Write ``cluster_info.tsv``, phy's snapshot of its cluster view."""
    fields = sorted(set().union(*info.values()))
    rows = (
        [cluster_id, *(_in_phys_digits(values.get(field)) for field in fields)]
        for cluster_id, values in sorted(info.items())
    )
    write_table(folder / "cluster_info.tsv", ["cluster_id", *fields], rows)


def _in_phys_digits(value: Any) -> Any:
    """Eight decimals for floats, as in the tables that phy saves."""
    return f"{value:.8f}" if isinstance(value, (float, np.floating)) else value

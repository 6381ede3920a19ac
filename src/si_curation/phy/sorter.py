"""Which sorter wrote a folder, how that is known, and what follows from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import is_number, is_whole_number

Sorter = Literal[
    "kilosort1", "kilosort2", "kilosort2.5", "kilosort3", "kilosort4", "spikeinterface", "unknown"
]
_KS4_ONLY = ("spike_detection_templates.npy", "kept_spikes.npy", "whitening_mat_dat.npy")
_KS4_OPS = ("nt0min", "wPCA", "n_pcs")


@dataclass(frozen=True)
class SorterIdentity:
    """The program that wrote a folder.

    Attributes
    ----------
    name : {"kilosort1", "kilosort2", "kilosort2.5", "kilosort3", "kilosort4", "spikeinterface", \
"unknown"}
    version : str or None
        The exact version where the folder tells it.
    evidence : str
        How it is known.
    """

    name: Sorter
    version: str | None
    evidence: str

    @property
    def whitens_channels_first(self) -> bool:
        """Whether it whitens as ``W @ X`` (unwhiten by ``W⁻¹ᵀ``), as Kilosort 4 does."""
        return self.name == "kilosort4"

    @property
    def always_whitens(self) -> bool:
        """Whether its templates are of whitened data, whatever the folder has of the whitening."""
        return self.name.startswith("kilosort")

    @property
    def writes_100_for_unknown(self) -> bool:
        """Whether a ``ContamPct`` of 100 means that there is no estimate: so until Kilosort 3."""
        return self.always_whitens and self.name != "kilosort4"

    @property
    def amplitudes_are_norms(self) -> bool:
        """Whether ``amplitudes.npy`` holds the norm of the spike's features, not a factor.

        So for Kilosort 3 (whose templates are of norm 1, if they are not scaled) and 4.
        """
        return self.name in ("kilosort3", "kilosort4")


def identify_sorter(
    folder: Path,
    ops: Mapping[str, Any] | None,
    whitening_is_diagonal: bool | None,
    templates_are_sparse: bool,
    whitening_is_identity: bool = True,
) -> SorterIdentity:
    """Return which sorter wrote a folder, by its files.

    Parameters
    ----------
    folder : Path
    ops : mapping or None
        Content of ``ops.npy``.
    whitening_is_diagonal : bool or None
        None where there is no whitening matrix.
    templates_are_sparse : bool
        Whether there is a ``template_ind.npy`` (no s).
    whitening_is_identity : bool
        Whether there is no whitening, or one that changes nothing.

    Returns
    -------
    SorterIdentity
    """

    def has(name: str) -> bool:
        return (folder / name).is_file()

    present = [name for name in _KS4_ONLY if has(name)]
    in_ops = [key for key in _KS4_OPS if ops is not None and key in ops]
    if present or len(in_ops) == len(_KS4_OPS):
        if whitening_is_diagonal and "whitening_mat_dat.npy" in present:
            present.append("diagonal whitening_mat.npy (4.0.0 to 4.0.6)")
        evidence = ", ".join(present + [f"ops.npy with {', '.join(in_ops)}"] * bool(in_ops))
        return SorterIdentity("kilosort4", _kilosort4_version(folder, ops), evidence)
    named = has("cluster_si_unit_ids.tsv") or has("cluster_si_unit_id.tsv")
    if named and whitening_is_identity:  # else it is a Kilosort folder with other unit ids
        return SorterIdentity("spikeinterface", None, "a cluster_si_unit_id table (export_to_phy)")
    if templates_are_sparse:
        return SorterIdentity("kilosort1", None, "template_ind.npy (sparse templates)")
    labelled = has("cluster_KSLabel.tsv") or has("cluster_ContamPct.tsv")
    if whitening_is_diagonal:
        if has("template_features.npy"):
            return SorterIdentity(
                "kilosort2.5", "2.5", "diagonal whitening matrix and template_features.npy"
            )
        return SorterIdentity(
            "kilosort3", "3", "diagonal whitening matrix and no template_features.npy"
        )
    if labelled and whitening_is_diagonal is None:
        return SorterIdentity(
            "kilosort2", None, "Kilosort 2, 2.5 or 3: cluster_KSLabel.tsv or cluster_ContamPct.tsv"
        )
    if labelled:
        return SorterIdentity(
            "kilosort2", "2", "cluster_KSLabel.tsv or cluster_ContamPct.tsv, full whitening matrix"
        )
    if has("templates_ind.npy") or has("pc_feature_ind.npy"):
        # the same files and the same conventions: 1 and 2 differ in nothing but labels
        return SorterIdentity(
            "kilosort2", None, "Kilosort 1 or 2: dense templates with feature index files"
        )
    return SorterIdentity("unknown", None, "no file that only one sorter writes")


def _kilosort4_version(folder: Path, ops: Mapping[str, Any] | None) -> str | None:
    for key in ("kilosort_version", "version"):
        if ops is not None and isinstance(ops.get(key), str):
            return ops[key]
    log = folder / "kilosort4.log"
    if log.is_file():
        with log.open(encoding="utf-8", errors="replace") as file:
            match = re.search(r"Kilosort version (\d[\w.]*)", file.read(10_000))
        if match:
            return match[1]
    return None


def samples_before_peak(
    sorter: SorterIdentity, ops: Mapping[str, Any] | None, templates: NDArray[np.floating]
) -> tuple[int, str]:
    """Return which sample of the templates is the spike time, and how that is known.

    Kilosort 4 writes it (``nt0min``). Kilosort 1 to 3 pad 61 samples to 82 with 21 zeros in front,
    which puts the peak at sample 40. For anything else it is measured: the sample at which most
    templates have their largest value.

    Parameters
    ----------
    sorter : SorterIdentity
    ops : mapping or None
    templates : array (n_templates, n_samples, n_loc)

    Returns
    -------
    int
        Number of samples before the peak.
    str
        How it is known.
    """
    num_samples = templates.shape[1]
    if ops is not None and _whole(ops.get("nt")) == num_samples:
        before = _whole(ops.get("nt0min"))
        if before is not None and 0 <= before < num_samples:
            return before, "ops.npy (nt0min)"
    if sorter.name == "kilosort4":
        return int(20 * num_samples / 61), "Kilosort 4's default (nt0min = 20 nt / 61)"
    if sorter.name in ("kilosort1", "kilosort2", "kilosort2.5", "kilosort3") and num_samples == 82:
        return 40, "Kilosort 1 to 3 (61 samples padded to 82)"
    magnitude = np.abs(np.nan_to_num(templates)).max(axis=2, initial=0)  # (n_templates, n_samples)
    peaks = magnitude.argmax(axis=1)[magnitude.max(axis=1, initial=0) > 0]
    if peaks.size == 0:
        return num_samples // 2, "no template has signal: the middle"
    return int(np.bincount(peaks).argmax()), "measured: where most templates peak"


def _whole(value: Any) -> int | None:
    if is_whole_number(value):
        return int(value)
    return int(value) if is_number(value) and float(value).is_integer() else None

"""The sorter's templates of a folder in the units and orientation that were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import Finding, PhyFolderError
from si_curation.kernels.templates import (
    densify_templates,
    unwhiten_templates,
    unwhiten_templates_as_phy,
)
from si_curation.phy.folder import PhyFolder

Unwhiten = Literal["auto", "phy"]


@dataclass(frozen=True, eq=False)
class SorterTemplates:
    """All templates of a sorter, dense.

    Attributes
    ----------
    templates : array (n_templates, n_samples, n_channels) float32
    amplitudes : array (n_templates, n_channels) floating
        Peak-to-peak.
    support : array (n_templates, n_channels) bool
        Channels on which the sorter's template has signal.
    are_sparse : bool
        Whether the sorter wrote sparse templates: then only those channels count.
    amplitude_to_factor : array (n_templates,) float64
        What ``amplitudes.npy`` has to be multiplied by so that spike = factor times template.
    unwhitening : {"left", "right", "phy", "none"}
        "left": ``template @ W⁻¹ᵀ``; "right": ``template @ W⁻¹``; "phy": that, as phylib rounds;
        "none": as stored.
    units : {"uV", "raw", "sorter", "whitened"}
        "raw": those of the raw data file; "sorter": templates of norm 1 times W⁻¹.
    """

    templates: NDArray[np.float32]
    amplitudes: NDArray[np.floating]
    support: NDArray[np.bool_]
    are_sparse: bool
    amplitude_to_factor: NDArray[np.float64]
    unwhitening: str
    units: str

    def info(self, folder: PhyFolder) -> dict[str, Any]:
        """Return what is kept beside the templates, as plain data."""
        return {
            "source": folder.sorter.name,
            "unwhitening": self.unwhitening,
            "units": self.units,
            "sparse": self.are_sparse,
            "num_samples_before": int(folder.num_samples_before),
            "num_samples_before_evidence": folder.num_samples_before_evidence,
            "phy_folder": str(folder.folder),
            "num_channels": folder.num_channels,
        }


def make_sorter_templates(
    folder: PhyFolder, mode: Unwhiten | Literal[False], gains: NDArray[np.float64] | None
) -> SorterTemplates:
    """Unwhiten the templates of a folder and put them into µV where the gain is known.

    Parameters
    ----------
    folder : PhyFolder
    mode : {"auto", "phy", False}
    gains : array (n_channels,) float64, optional

    Returns
    -------
    SorterTemplates
    """
    whitened = densify_templates(folder.templates, folder.template_channels, folder.num_channels)
    are_sparse = folder.template_channels is not None
    inverse = _inverse(folder) if mode else None
    if inverse is None:
        found = unwhiten_templates(whitened, None, are_sparse)
        unwhitening = "none"
    elif mode == "phy":
        found = unwhiten_templates_as_phy(whitened, inverse, folder.template_channels)
        unwhitening = "phy"
    else:
        left = folder.sorter.whitens_channels_first
        found = unwhiten_templates(whitened, inverse.T if left else inverse, are_sparse)
        unwhitening = "left" if left else "right"
    templates, amplitudes = found.templates, found.amplitudes
    factor = np.ones(len(whitened))
    norms = folder.sorter.amplitudes_are_norms
    if norms:
        norm = np.linalg.norm(whitened, axis=(1, 2)).astype(np.float64)
        factor = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    units = (
        "whitened"
        if mode is False and folder.whitening is not None
        else "raw"
        if norms
        else "sorter"
    )
    if folder.sorter.name == "spikeinterface":
        units = "raw"
    if gains is not None and units != "whitened":
        templates *= gains.astype(np.float32)
        amplitudes = amplitudes * np.abs(gains).astype(amplitudes.dtype)
        units = "uV"
        if not norms and folder.sorter.name != "spikeinterface" and folder.amplitudes is not None:
            scale = _mean_amplitudes(folder)
            templates *= scale[:, None, None].astype(np.float32)
            amplitudes = amplitudes * np.abs(scale)[:, None].astype(amplitudes.dtype)
            factor = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale != 0)
    return SorterTemplates(
        templates, amplitudes, found.support, are_sparse, factor, unwhitening, units
    )


def _inverse(folder: PhyFolder) -> NDArray[np.floating] | None:
    if folder.whitening_inv is not None:
        return folder.whitening_inv
    if folder.whitening is None:
        return None
    try:
        return np.linalg.inv(folder.whitening)
    except np.linalg.LinAlgError:
        finding = Finding(
            "error",
            "cannot be inverted (it is singular)",
            "whitening_mat.npy",
            "put whitening_mat_inv.npy back, or pass unwhiten=False",
        )
        raise PhyFolderError(folder.folder, [finding]) from None


def _mean_amplitudes(folder: PhyFolder) -> NDArray[np.float64]:
    """Mean of ``amplitudes.npy`` over the spikes of each template; 0 for templates without any."""
    total = np.bincount(folder.spike_templates, folder.amplitudes, minlength=folder.num_templates)
    count = np.bincount(folder.spike_templates, minlength=folder.num_templates)
    return total / np.maximum(count, 1)

"""The sorter's templates of a folder in the units and orientation that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import Finding, PhyFolderError
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.templates import (
    densify_templates,
    unwhiten_templates,
    unwhiten_templates_as_phy,
)
from si_curation.phy.file_groups import Whitening
from si_curation.phy.folder import PhyFolder
from si_curation.phy.raw import raw_file_lengths

Unwhiten = Literal["auto", "phy"]
_WHITENING = ("whitening_mat.npy", "whitening_mat_inv.npy")


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
        "none": as stored. Where ``W`` only scales channels the templates are still whitened:
        `units` tells.
    units : {"uV", "raw", "sorted", "sorter", "whitened"}
        "raw": those of the raw data file; "sorted": those of the data as Kilosort 4 sorted them,
        ``±(scale·raw + shift)``; "sorter": templates of norm 1 times W⁻¹; "whitened": those of
        the whitened data, which are never raw or µV.
    sorted_scale : float or None
        What the raw data were multiplied by before they were sorted; None: not known.
    """

    templates: NDArray[np.float32]
    amplitudes: NDArray[np.floating]
    support: NDArray[np.bool_]
    are_sparse: bool
    amplitude_to_factor: NDArray[np.float64]
    unwhitening: str
    units: str
    sorted_scale: float | None = 1.0

    def info(self, folder: PhyFolder) -> dict[str, Any]:
        """Return what is kept beside the templates, as plain data."""
        return {
            "unwhitening": self.unwhitening,
            "units": self.units,
            **({} if self.sorted_scale == 1 else {"sorted_scale": self.sorted_scale}),
            "sparse": self.are_sparse,
            "num_samples_before": int(folder.num_samples_before),
            "num_samples_before_evidence": folder.num_samples_before_evidence,
            **_info_of(folder),
        }


def info_without_templates(folder: PhyFolder) -> dict[str, Any]:
    """Return what is kept of a folder without templates, as of `SorterTemplates.info`."""
    nothing = {"unwhitening": "none", "units": "", "sparse": False, "num_samples_before": 0}
    return {**nothing, "num_templates": folder.num_templates, **_info_of(folder)}


def _info_of(folder: PhyFolder) -> dict[str, Any]:
    return {
        "source": folder.sorter.name,
        "phy_folder": str(folder.folder),
        "num_channels": folder.num_channels,
        **_raw_files(folder),
    }


def _raw_files(folder: PhyFolder) -> dict[str, Any]:
    """Return the raw files and their lengths in samples, where there are several, all of them."""
    lengths = raw_file_lengths(folder.data_paths, folder.params)
    if lengths is None or len(lengths) < 2:
        return {}
    paths = map(str, folder.data_paths)
    return {"raw_files": [list(pair) for pair in zip(paths, lengths, strict=True)]}


@dataclass(frozen=True, eq=False)
class Unwhitening:
    """How waveforms in the space of the sorter's templates become those of the analyzer.

    Attributes
    ----------
    inverse : array (n_channels, n_channels) floating, or None
        W⁻¹; None: nothing is undone.
    name : {"left", "right", "phy", "none"}
        As of `SorterTemplates`.
    units : {"uV", "raw", "sorted", "sorter", "whitened"}
        Of the result, as of `SorterTemplates`.
    scale : float or None
        What the raw data were multiplied by before they were sorted; None: not known.
    divides : bool
        Whether the result is divided by the scale.
    gains : array (n_channels,) float64, or None
        What the result is multiplied by to be in µV.
    times_amplitudes : bool
        Whether templates are multiplied by the mean of ``amplitudes.npy``, too, to be in µV.
    """

    inverse: NDArray[np.floating] | None
    name: str
    units: str
    scale: float | None
    divides: bool
    gains: NDArray[np.float64] | None
    times_amplitudes: bool

    def matrix(self, num_channels: int) -> NDArray[np.float64]:
        """Return the matrix: ``waveform (n_samples, n_channels) @ matrix`` is in `units`."""
        if self.inverse is None:
            matrix = np.eye(num_channels)
        else:
            inverse = self.inverse.astype(np.float64)
            matrix = inverse.T.copy() if self.name == "left" else inverse
        if self.divides and self.scale is not None:
            matrix = matrix / self.scale
        return matrix if self.gains is None else matrix * self.gains


def unwhitening_of(
    folder: PhyFolder, mode: Unwhiten | Literal[False], gains: NDArray[np.float64] | None
) -> Unwhitening:
    """Return how waveforms in the space of a folder's templates are unwhitened.

    Parameters
    ----------
    folder, mode, gains
        As of `make_sorter_templates`.

    Returns
    -------
    Unwhitening

    Raises
    ------
    PhyFolderError
        The whitening is there and cannot be used.
    """
    inverse = _inverse(folder, mode) if mode else None
    is_unwhitened = inverse is not None and not _only_scales(folder, inverse)
    if inverse is None:
        name = "none"
    elif mode == "phy":
        name = "phy"
    else:
        name = "left" if folder.sorter.whitens_channels_first else "right"
    units = _units(folder, mode, is_unwhitened)
    settings = folder.settings if folder.sorter.amplitudes_are_norms else None
    scale = 1.0 if settings is None else settings.sorted_scale
    divides = False
    if units == "raw" and (scale is None or (scale != 1 and mode == "phy" and gains is None)):
        units = "sorted"
    elif units == "raw" and scale != 1:
        divides = True
    if units in ("whitened", "sorted"):
        gains = None
    times_amplitudes = units == "sorter" and gains is not None
    if gains is not None:
        units = "uV"
    return Unwhitening(inverse, name, units, scale, divides, gains, times_amplitudes)


def templates_if_there(
    folder: PhyFolder, mode: Unwhiten | Literal[False], gains: NDArray[np.float64] | None
) -> SorterTemplates | None:
    """Return what `make_sorter_templates` does; None where the folder has no templates."""
    return None if folder.templates is None else make_sorter_templates(folder, mode, gains)


def make_sorter_templates(
    folder: PhyFolder, mode: Unwhiten | Literal[False], gains: NDArray[np.float64] | None
) -> SorterTemplates:
    """Unwhiten the templates of a folder and put them into µV where the gain is known.

    Templates whose whitening is not in the folder, such as those of Kilosort 2.5 and 3, which write
    a diagonal in its place, stay whitened, whatever the gain.

    Kilosort 4 sorts ``±(scale·raw + shift)`` and takes the mean off: its templates, unwhitened, are
    divided by the scale with its sign. ``mode="phy"`` without gains leaves that out, as phy does.

    Parameters
    ----------
    folder : PhyFolder
    mode : {"auto", "phy", False}
    gains : array (n_channels,) float64, optional

    Returns
    -------
    SorterTemplates

    Raises
    ------
    PhyFolderError
        What is needed for it is there and cannot be used: the whitening, and amplitudes where
        templates of Kilosort 1 to 3 are put into µV.
    """
    whitened = densify_templates(
        folder.needed_templates(), folder.template_channels, folder.num_channels
    )
    are_sparse = folder.template_channels is not None
    how = unwhitening_of(folder, mode, gains)
    inverse = how.inverse
    if inverse is None:
        found = unwhiten_templates(whitened, None, are_sparse)
    elif how.name == "phy":
        found = unwhiten_templates_as_phy(whitened, inverse, folder.template_channels)
    else:
        oriented = inverse.T if how.name == "left" else inverse
        found = unwhiten_templates(whitened, oriented, are_sparse)
    templates, amplitudes = found.templates, found.amplitudes
    factors, mean = _factors_and_means(folder, how, whitened)
    if how.divides and how.scale is not None:
        templates /= np.float32(how.scale)  # made here, as all of them are
        amplitudes = amplitudes / np.abs(np.asarray(how.scale, dtype=amplitudes.dtype))
    if how.gains is not None:
        templates *= how.gains.astype(np.float32)
        amplitudes = amplitudes * np.abs(how.gains).astype(amplitudes.dtype)
    if mean is not None:
        templates *= mean[:, None, None].astype(np.float32)
        amplitudes = amplitudes * np.abs(mean)[:, None].astype(amplitudes.dtype)
    return SorterTemplates(
        templates,
        amplitudes,
        found.support,
        are_sparse,
        factors.of_amplitudes,
        how.name,
        how.units,
        how.scale,
    )


class TemplateFactors(NamedTuple):
    """What makes factors, by which the analyzer's templates are scaled to a spike.

    Attributes
    ----------
    of_amplitudes : array (n_templates,) float64
        Multiplies ``amplitudes.npy``.
    of_projections : array (n_templates,) float64
        Multiplies the projection onto the stored template over its squared norm.
    """

    of_amplitudes: NDArray[np.float64]
    of_projections: NDArray[np.float64]


def template_factors(
    folder: PhyFolder, mode: Unwhiten | Literal[False], gains: NDArray[np.float64] | None
) -> TemplateFactors:
    """Return what makes factors of the analyzer's templates of amplitudes and projections.

    Parameters
    ----------
    folder, mode, gains
        As of `make_sorter_templates`.

    Returns
    -------
    TemplateFactors

    Raises
    ------
    PhyFolderError
    """
    whitened = densify_templates(
        folder.needed_templates(), folder.template_channels, folder.num_channels
    )
    return _factors_and_means(folder, unwhitening_of(folder, mode, gains), whitened)[0]


def _factors_and_means(
    folder: PhyFolder, how: Unwhitening, whitened: NDArray[np.floating]
) -> tuple[TemplateFactors, NDArray[np.float64] | None]:
    """Return also what the templates are multiplied by to be in µV; None where by nothing."""
    ones = np.ones(len(whitened))
    if how.times_amplitudes:
        folder.require("amplitudes.npy")
        if folder.amplitudes is not None:
            mean = _mean_amplitudes(folder)
            factor = np.divide(1.0, mean, out=np.zeros_like(mean), where=mean != 0)
            return TemplateFactors(factor, factor), mean
    if folder.sorter.amplitudes_are_norms:
        norms = run_blocks(
            lambda piece: np.linalg.norm(whitened[piece], axis=(1, 2)), blocks(len(whitened), 16)
        )
        norm = np.concatenate([np.zeros(0), *norms]).astype(np.float64)
        factor = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
        return TemplateFactors(factor, ones), None
    return TemplateFactors(ones, ones), None


def _units(folder: PhyFolder, mode: Unwhiten | Literal[False], is_unwhitened: bool) -> str:
    """Return the units of templates as they were read, before scales and gains."""
    if folder.sorter.name == "spikeinterface":
        return "raw"
    if folder.sorter.always_whitens:  # without its matrix the templates stay whitened
        raw = "raw" if folder.sorter.name == "kilosort4" else "sorter"
        return raw if is_unwhitened else "whitened"
    return (
        "whitened"
        if mode is False and (folder.whitening is not None or folder.left_out(*_WHITENING))
        else "sorter"
    )


def _only_scales(folder: PhyFolder, inverse: NDArray[np.floating]) -> bool:
    """Return whether the stored inverse stands for a whitening that the folder does not have."""
    matrix = Whitening(whitening_inv=inverse)
    return folder.sorter.always_whitens and not matrix.has_more_than_a_scale


#: What was done to the templates, where that took the whitening out and where it did not.
_UNWHITENED = {
    "left": "unwhitened (the sorter whitens as W @ X)",
    "right": "unwhitened (the sorter whitens as X @ W)",
    "phy": "unwhitened as phy does",
    "none": "as the sorter stored them",
}
_STILL_WHITENED = {
    "left": "whitened: the folder has a scale in place of the whitening",
    "right": "whitened: the folder has a scale in place of the whitening",
    "phy": "whitened, scaled as phy does: the folder has a scale in place of the whitening",
    "none": "whitened, as the sorter stored them",
}


def describe_unwhitening(unwhitening: str, units: str) -> str:
    """Return in words what was done to the templates; "" where it is not known.

    Parameters
    ----------
    unwhitening, units : str
        As in `SorterTemplates`.

    Examples
    --------
    >>> describe_unwhitening("left", "raw")
    'unwhitened (the sorter whitens as W @ X)'
    >>> describe_unwhitening("none", "whitened")
    'whitened, as the sorter stored them'
    """
    texts = _STILL_WHITENED if units == "whitened" else _UNWHITENED
    return texts.get(unwhitening, "")


def _inverse(folder: PhyFolder, mode: Unwhiten) -> NDArray[np.floating] | None:
    if mode == "auto" and folder.whitening_applied is not None:
        return _inverted(folder, folder.whitening_applied, "whitening_mat_dat.npy")
    if folder.whitening_inv is not None:
        return folder.whitening_inv
    if folder.whitening is None:
        faults = folder.left_out(*_WHITENING)
        if faults:
            advice = "or read with unwhiten=False, which leaves the templates whitened"
            raise PhyFolderError(
                folder.folder, [replace(f, advice=f"{f.advice}, {advice}") for f in faults]
            )
        return None
    return _inverted(folder, folder.whitening, "whitening_mat.npy")


def _inverted(folder: PhyFolder, matrix: NDArray[np.floating], name: str) -> NDArray[np.floating]:
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        finding = Finding(
            "error",
            "cannot be inverted (it is singular)",
            name,
            "put whitening_mat_inv.npy back, or pass unwhiten=False",
        )
        raise PhyFolderError(folder.folder, [finding]) from None


def _mean_amplitudes(folder: PhyFolder) -> NDArray[np.float64]:
    """Mean of ``amplitudes.npy`` over the spikes of each template; 0 for templates without any."""
    total = np.bincount(folder.spike_templates, folder.amplitudes, minlength=folder.num_templates)
    count = np.bincount(folder.spike_templates, minlength=folder.num_templates)
    return total / np.maximum(count, 1)

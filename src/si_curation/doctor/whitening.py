"""Whitening: what the matrices are, and what they do to amplitudes and best channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import is_whole_number
from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, listed, plural
from si_curation.kernels.templates import peak_to_peak, unwhiten_templates
from si_curation.phy.arrays import Findings

_MATRIX, _INVERSE = "whitening_mat.npy", "whitening_mat_inv.npy"
_APPLIED = "whitening_mat_dat.npy"
_SCALE_OF_KILOSORT4 = 0.005  # of the diagonal of 4.0.0 to 4.0.6
_TOLERANCE = 0.01  # of W W⁻¹ = 1; float32 files of real folders: 1e-4
_RANK_TOLERANCE = 0.01  # of the largest singular value
_SYMMETRIC = 1e-4  # of the largest entry; real ones that are meant to be symmetric: 2e-6


def check_inverse(facts: FolderFacts, findings: Findings) -> None:
    """Check that the inverse is the inverse."""
    matrix, inverse = facts.parts.whitening.whitening, facts.parts.whitening.whitening_inv
    if matrix is None:
        if inverse is None and not facts.is_faulty(_MATRIX) and not facts.is_faulty(_INVERSE):
            findings.info(
                _MATRIX,
                "is missing, and whitening_mat_inv.npy too: templates are taken as they are",
                "amplitudes and best channels are then those of whitened data, if the sorter "
                "whitened",
            )
        return
    whitening = np.asarray(matrix, dtype=np.float64)
    if inverse is None:
        if np.linalg.matrix_rank(whitening) < len(whitening):
            findings.warning(
                _MATRIX,
                "cannot be inverted (it is singular), and there is no whitening_mat_inv.npy",
                "put whitening_mat_inv.npy back, or read with unwhiten=False",
            )
        return
    product = whitening @ np.asarray(inverse, dtype=np.float64)
    error = float(np.abs(product - np.eye(len(product))).max())
    if error <= _TOLERANCE:
        return
    transposed = whitening @ np.asarray(inverse, dtype=np.float64).T
    scale, why = float(np.median(np.diagonal(product))), ""
    if _is_one(transposed):
        why = "; its transpose is"
    elif scale > 0 and _is_one(product / scale):
        why = f"; it is the inverse times {scale:.4g}"
    num_left_out = _num_left_out(facts, len(product))
    if not why and _is_block_of_inverse(product, num_left_out):
        findings.info(
            _INVERSE,
            f"is not the inverse of whitening_mat.npy (W·W⁻¹ is off by up to {error:.3g}), but can "
            "be a part of the inverse of a larger matrix: channels were cut out after sorting",
            "leave both files as they are: that part is right for the channels that are left",
            largest_error=error,
        )
        return
    is_cut = num_left_out > 0 and not why
    findings.warning(
        _INVERSE,
        f"is not the inverse of whitening_mat.npy: W·W⁻¹ is off by up to {error:.3g}{why}",
        "unwhitened templates, amplitudes, depths and best channels are wrong, in phy too, if it "
        "is of another run: restore it"
        + (
            f". If channels were cut out after sorting ({num_left_out} of the raw file are not "
            "here), leave it: it is then a part of the inverse of the whole, and right"
            if is_cut
            else ", or remove the file (it is then computed from whitening_mat.npy)"
        ),
        largest_error=error,
    )


def _num_left_out(facts: FolderFacts, num_channels: int) -> int:
    """Return how many channels of the raw file are not in the folder; 0 where that is not known."""
    count = facts.parts.params.get("n_channels_dat")
    return max(0, int(count) - num_channels) if is_whole_number(count) else 0


def _is_block_of_inverse(product: np.ndarray, num_left_out: int) -> bool:
    """Return whether ``A B`` is as of blocks A of a matrix and B of its inverse.

    Then ``1 - A B`` is the product of the two blocks between the channels that are there and those
    that were left out: its rank is at most their number.
    """
    values = np.linalg.svd(np.eye(len(product)) - product, compute_uv=False)
    rank = int(np.count_nonzero(values > _RANK_TOLERANCE * values[0]))
    return 0 < rank <= min(num_left_out, len(product) // 2)


def _is_one(matrix: np.ndarray) -> bool:
    return bool(np.abs(matrix - np.eye(len(matrix))).max() <= _TOLERANCE)


def check_shape(facts: FolderFacts, findings: Findings) -> None:
    """Find diagonal and asymmetric matrices, and their effect on amplitudes and best channels."""
    part, templates = facts.parts.whitening, facts.dense_templates
    inverse = part.whitening_inv
    matrix = part.whitening if inverse is None else inverse
    if templates is None or matrix is None or part.is_identity:
        return
    if part.applied is not None:
        _report_applied(facts, findings, templates, np.asarray(part.applied, dtype=np.float64))
        return
    if part.is_diagonal:
        _report_diagonal(facts, findings, templates, matrix, inverse is not None)
        return
    if inverse is None:
        try:
            inverse = np.linalg.inv(np.asarray(part.whitening, dtype=np.float64))
        except np.linalg.LinAlgError:
            return
    largest = float(np.abs(inverse).max())
    asymmetry = float(np.abs(inverse - inverse.T).max()) / largest if largest else 0.0
    if asymmetry > _SYMMETRIC:
        _report_asymmetric(facts, findings, templates, np.asarray(inverse), asymmetry)


def _report_applied(
    facts: FolderFacts,
    findings: Findings,
    templates: NDArray[np.floating],
    applied: NDArray[np.floating],
) -> None:
    """Report Kilosort 4.0.0 to 4.0.6, which wrote a scale where phy looks for the matrix."""
    sparse = facts.parts.templates.template_channels is not None
    try:
        right = unwhiten_templates(templates, np.linalg.inv(applied).T, sparse).amplitudes
    except np.linalg.LinAlgError:
        findings.warning(
            _APPLIED, "cannot be inverted (it is singular)", "read with unwhiten=False"
        )
        return
    shown = peak_to_peak(templates)  # what a scale makes of them has the same best channels
    units = [(unit, row) for unit, row in _units(facts) if right[row].max(initial=0) > 0]
    moved = [unit for unit, row in units if right[row].argmax() != shown[row].argmax()]
    others = f"{len(moved)} of {plural(len(units), 'unit')}"
    matrix = facts.parts.whitening.whitening
    is_theirs = matrix is None or np.allclose(np.diagonal(matrix), _SCALE_OF_KILOSORT4)
    report = findings.info if is_theirs else findings.warning
    report(
        _MATRIX,
        f"is diagonal{', as Kilosort 4.0.0 to 4.0.6 wrote it' if is_theirs else ''}: the whitening "
        f"is taken from {_APPLIED}. phy shows whitened templates, with another best channel for "
        f"{others}{' (' + listed(moved) + ')' if moved else ''}",
        'nothing to do; unwhiten="phy" gives what phy shows'
        if is_theirs
        else f"no version wrote it so: put a copy of {_APPLIED} in its place, which is the same",
        num_units=len(units),
        num_units_with_other_channel=len(moved),
        units_with_other_channel=first_of(moved),
    )


def _report_asymmetric(
    facts: FolderFacts,
    findings: Findings,
    templates: NDArray[np.floating],
    inverse: NDArray[np.floating],
    asymmetry: float,
) -> None:
    sparse = facts.parts.templates.template_channels is not None
    left = unwhiten_templates(templates, inverse.T, sparse).amplitudes
    right = unwhiten_templates(templates, inverse, sparse).amplitudes
    as_phy_does = not facts.sorter.whitens_channels_first
    sorters = right if as_phy_does else left
    other = left if as_phy_does else right
    units = [(unit, row) for unit, row in _units(facts) if sorters[row].max(initial=0) > 0]
    if not units:
        return
    moved = [unit for unit, row in units if sorters[row].argmax() != other[row].argmax()]
    ratio = np.median([other[row].max() / sorters[row].max() for _, row in units])
    where = _INVERSE if facts.parts.whitening.whitening_inv is not None else _MATRIX
    share = f"{len(moved)} of {plural(len(units), 'unit')}"
    evidence = {
        "asymmetry": round(asymmetry, 6),
        "num_units": len(units),
        "num_units_with_other_channel": len(moved),
        "units_with_other_channel": first_of(moved),
        "median_amplitude_ratio": round(float(ratio), 4),
    }
    if as_phy_does:
        findings.info(
            where,
            f"is not symmetric; read the other way round {share} would have another best channel. "
            f"It is taken as {facts.sorter.name}'s: phy's way",
            "nothing to do; with unwhiten= the way is chosen",
            **evidence,
        )
    else:
        findings.info(
            where,
            f"is not symmetric: phy unwhitens Kilosort 4's templates transposed, which gives "
            f"another best channel to {share}{' (' + listed(moved) + ')' if moved else ''} and "
            f"amplitudes that are {ratio:.3g} times the right ones in the median",
            'this package takes the sorter\'s way; unwhiten="phy" gives what phy shows',
            **evidence,
        )


def _report_diagonal(
    facts: FolderFacts,
    findings: Findings,
    templates: NDArray[np.floating],
    matrix: NDArray[np.floating],
    is_inverse: bool,
) -> None:
    part = facts.parts.whitening
    with np.errstate(divide="ignore"):
        scale = np.diagonal(matrix if is_inverse else 1 / matrix)
    amplitudes = peak_to_peak(templates)
    scaled, units = amplitudes * np.abs(scale), _units(facts)
    moved = [unit for unit, row in units if amplitudes[row].argmax() != scaled[row].argmax()]
    low, high = float(np.abs(scale).min()), float(np.abs(scale).max())
    text = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    evidence = {"smallest_scale": low, "largest_scale": high, "num_units": len(units)}
    where = _MATRIX if part.whitening is not None else _INVERSE
    effect = (
        f"templates are only scaled by it ({text}), which moves the best channel of {len(moved)} "
        f"of {plural(len(units), 'unit')}; amplitudes, best channels and depths are those of "
        "whitened data"
    )
    if facts.sorter.name == "kilosort4":
        findings.warning(
            where,
            f"is diagonal, and there is no {_APPLIED}, where Kilosort 4 wrote the full matrix: "
            f"{effect}",
            f"put {_APPLIED} back, or whitening_mat.npy as a version from 4.0.7 on writes it",
            **evidence,
        )
    else:
        findings.info(
            where,
            f"is diagonal, as Kilosort 2.5 and 3 write it: {effect}",
            "do not compare amplitudes between channels or sessions; compute templates from the "
            "recording where µV are needed",
            **evidence,
        )


def _units(facts: FolderFacts) -> list[tuple[int, int]]:
    """Pairs of unit and template; the templates themselves where the clusters are unknown."""
    main, ids, num_templates = facts.main_templates, facts.cluster_ids, facts.parts.templates.count
    if main is None or ids is None:
        return [(i, i) for i in range(num_templates or 0)]
    return list(zip(ids.tolist(), main.tolist(), strict=True))

"""Templates of the sorter: dense, unwhitened, and their peak-to-peak amplitude on each channel.

All templates are done in one sweep. Whitened templates are zero on most channels of a large probe,
so the float64 kernel multiplies only the channels that hold something.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, read_only, run_blocks

_SIGNAL_FRACTION = 1e-6  # phylib: a channel has signal above this fraction of the largest value
_TEMPLATES_PER_BLOCK = 16


class UnwhitenedTemplates(NamedTuple):
    """Templates as dense arrays.

    Attributes
    ----------
    templates : array (n_templates, n_samples, n_channels) float32
    amplitudes : array (n_templates, n_channels) float32 or float64
        Peak-to-peak amplitude, in the precision in which the templates were computed.
    support : array (n_templates, n_channels) bool
        Channels on which the sorter's (whitened) template has signal.
    """

    templates: NDArray[np.float32]
    amplitudes: NDArray[np.floating]
    support: NDArray[np.bool_]


@njit
def _mark_signal(
    template: NDArray[np.floating], largest: NDArray[np.floating], has_signal: NDArray[np.bool_]
) -> None:  # template (t, c); largest magnitude (c,), has_signal (c,)
    num_samples, num_channels = template.shape
    largest[:] = 0
    for t in range(num_samples):
        for c in range(num_channels):
            largest[c] = max(largest[c], abs(template[t, c]))
    top = 0.0
    for c in range(num_channels):
        top = max(top, largest[c])
    limit = top * _SIGNAL_FRACTION
    for c in range(num_channels):
        has_signal[c] = largest[c] > limit


@njit
def _support(
    templates: NDArray[np.floating], support: NDArray[np.bool_]
) -> None:  # templates (k, t, c), support (k, c)
    largest = np.zeros(templates.shape[2], dtype=templates.dtype)
    for k in range(templates.shape[0]):
        _mark_signal(templates[k], largest, support[k])


@njit
def _unwhiten_block(
    templates: NDArray[np.floating],
    matrix: NDArray[np.float64],
    restrict: bool,
    out: NDArray[np.float32],
    amplitudes: NDArray[np.float64],
    support: NDArray[np.bool_],
) -> None:
    # templates, out (k, t, c), matrix (c, c), amplitudes, support (k, c)
    num_templates, num_samples, num_channels = templates.shape
    largest = np.zeros(num_channels, dtype=templates.dtype)
    filled = np.empty(num_channels, dtype=np.int64)
    row = np.empty(num_channels, dtype=np.float64)
    low = np.empty(num_channels, dtype=np.float64)
    high = np.empty(num_channels, dtype=np.float64)
    for k in range(num_templates):
        _mark_signal(templates[k], largest, support[k])
        num_filled = 0  # the only channels that contribute
        for c in range(num_channels):
            if support[k, c] if restrict else largest[c] != 0:
                filled[num_filled] = c
                num_filled += 1
        low[:] = np.inf
        high[:] = -np.inf
        for t in range(num_samples):
            row[:] = 0
            # four channels at a time: the row is read and written a quarter as often
            num_fours = num_filled // 4 * 4
            for j in range(0, num_fours, 4):
                c0, c1, c2, c3 = filled[j], filled[j + 1], filled[j + 2], filled[j + 3]
                v0, v1 = np.float64(templates[k, t, c0]), np.float64(templates[k, t, c1])
                v2, v3 = np.float64(templates[k, t, c2]), np.float64(templates[k, t, c3])
                w0, w1, w2, w3 = matrix[c0], matrix[c1], matrix[c2], matrix[c3]
                for c in range(num_channels):
                    row[c] += (v0 * w0[c] + v1 * w1[c]) + (v2 * w2[c] + v3 * w3[c])
            for j in range(num_fours, num_filled):
                value = np.float64(templates[k, t, filled[j]])
                weights = matrix[filled[j]]
                for c in range(num_channels):
                    row[c] += value * weights[c]
            for c in range(num_channels):
                low[c] = min(low[c], row[c])
                high[c] = max(high[c], row[c])
                out[k, t, c] = row[c]
        for c in range(num_channels):
            amplitudes[k, c] = high[c] - low[c]
        if restrict:
            for c in range(num_channels):
                if not support[k, c]:
                    amplitudes[k, c] = 0
                    out[k, :, c] = 0


@njit
def _peak_to_peak(
    templates: NDArray[np.floating], amplitudes: NDArray[np.floating]
) -> None:  # templates (k, t, c), amplitudes (k, c)
    num_templates, num_samples, num_channels = templates.shape
    for k in range(num_templates):
        low = templates[k, 0].copy()
        high = templates[k, 0].copy()
        for t in range(1, num_samples):
            for c in range(num_channels):
                low[c] = min(low[c], templates[k, t, c])
                high[c] = max(high[c], templates[k, t, c])
        for c in range(num_channels):
            amplitudes[k, c] = high[c] - low[c]


def peak_to_peak(templates: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the peak-to-peak amplitude of each template on each channel.

    Parameters
    ----------
    templates : array (n_templates, n_samples, n_channels) floating

    Returns
    -------
    array (n_templates, n_channels), dtype of the input

    Examples
    --------
    >>> peak_to_peak(np.array([[[0.0, 1.0], [2.0, -1.0]]]))
    array([[2., 2.]])
    """
    amplitudes = np.zeros((templates.shape[0], templates.shape[2]), dtype=templates.dtype)
    if templates.size:
        run_blocks(
            lambda b: _peak_to_peak(templates[b], amplitudes[b]),
            blocks(len(templates), _TEMPLATES_PER_BLOCK),
        )
    return amplitudes


def signal_channels(templates: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the channels on which each template has signal (> 1e-6 of its largest value; phylib).

    Parameters
    ----------
    templates : array (n_templates, n_samples, n_channels) floating

    Returns
    -------
    array (n_templates, n_channels) bool
        All False for a template that is zero everywhere.

    Examples
    --------
    >>> signal_channels(np.array([[[0.0, 1.0], [0.0, -1.0]]]))
    array([[False,  True]])
    """
    values = read_only(templates)
    support = np.zeros((templates.shape[0], templates.shape[2]), dtype=bool)
    run_blocks(lambda b: _support(values[b], support[b]), blocks(len(values), _TEMPLATES_PER_BLOCK))
    return support


def _sum_is_finite(values: NDArray[np.floating]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):  # set for each thread
        return bool(np.isfinite(values.sum()))


def densify_templates(
    templates: NDArray[np.floating],
    template_channels: NDArray[np.integer] | None,
    num_channels: int,
) -> NDArray[np.floating]:
    """Put templates onto all channels, in C order, with NaN (no template) as zero.

    Parameters
    ----------
    templates : array (n_templates, n_samples, n_loc) floating
    template_channels : array (n_templates, n_loc) integer, optional
        Channel index of each column, -1 where there is none; None: columns are the channels.
    num_channels : int

    Returns
    -------
    array (n_templates, n_samples, num_channels), dtype of the input
        The input itself where nothing had to be changed.

    Examples
    --------
    >>> densify_templates(np.ones((1, 1, 2), "float32"), np.array([[2, -1]]), 3)
    array([[[0., 0., 1.]]], dtype=float32)
    """
    if template_channels is None:
        dense = np.ascontiguousarray(templates)
        if all(
            run_blocks(lambda b: _sum_is_finite(dense[b]), blocks(len(dense), _TEMPLATES_PER_BLOCK))
        ):
            return dense  # no NaN, no infinity
        dense = dense.copy()
    else:
        num_templates, num_samples, _ = templates.shape
        # one column more than there are channels: it swallows the -1 columns
        dense = np.zeros((num_templates, num_samples, num_channels + 1), dtype=templates.dtype)
        columns = np.where(template_channels < 0, num_channels, template_channels)
        np.put_along_axis(dense, columns[:, None, :].astype(np.int64), templates, axis=2)
        dense = np.ascontiguousarray(dense[:, :, :num_channels])
    np.nan_to_num(dense, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return dense


def unwhiten_templates(
    templates: NDArray[np.floating],
    matrix: NDArray[np.floating] | None,
    restrict_to_support: bool = False,
) -> UnwhitenedTemplates:
    """Unwhiten all templates in float64: ``template @ matrix``.

    Parameters
    ----------
    templates : array (n_templates, n_samples, n_channels) floating, C order
    matrix : array (n_channels, n_channels) floating, optional
        None: the templates stay as they are. For Kilosort 4, which whitens as ``W @ X``, pass the
        transpose of W⁻¹; for Kilosort 1 to 3 pass W⁻¹.
    restrict_to_support : bool
        Only the channels on which the template has signal count, and the result is zero outside
        them (sparse templates: phylib multiplies by the sub-matrix of those channels).

    Returns
    -------
    UnwhitenedTemplates
        Amplitudes in float64.

    Examples
    --------
    >>> whitened = np.array([[[1.0, 0.0], [-1.0, 0.0]]])
    >>> unwhiten_templates(whitened, np.array([[2.0, 1.0], [0.0, 2.0]])).amplitudes
    array([[4., 2.]])
    """
    if matrix is None:
        support = signal_channels(templates)
        if restrict_to_support:
            templates = templates * support[:, None, :]
        in_float64 = templates.astype(np.float64)
        return UnwhitenedTemplates(templates.astype(np.float32), peak_to_peak(in_float64), support)
    values, weights = read_only(templates), read_only(np.ascontiguousarray(matrix, np.float64))
    out = np.empty(templates.shape, dtype=np.float32)
    num_templates, _, num_channels = templates.shape
    amplitudes = np.zeros((num_templates, num_channels), dtype=np.float64)
    support = np.zeros((num_templates, num_channels), dtype=bool)
    run_blocks(
        lambda b: _unwhiten_block(
            values[b], weights, restrict_to_support, out[b], amplitudes[b], support[b]
        ),
        blocks(num_templates, _TEMPLATES_PER_BLOCK),
    )
    return UnwhitenedTemplates(out, amplitudes, support)


def unwhiten_templates_as_phy(
    templates: NDArray[np.floating],
    matrix: NDArray[np.floating],
    template_channels: NDArray[np.integer] | None = None,
) -> UnwhitenedTemplates:
    """Unwhiten as phylib does, to the last bit: ``template @ W⁻¹`` in the files' precision.

    phylib multiplies one template at a time and casts the product to float32; sparse templates
    are multiplied by the sub-matrix of their own channels, in the order of the file.

    Parameters
    ----------
    templates : array (n_templates, n_samples, n_channels) floating, C order
        Dense.
    matrix : array (n_channels, n_channels) floating
        ``whitening_mat_inv.npy`` as it is in the file.
    template_channels : array (n_templates, n_loc) integer, optional
        Channels that the sorter's sparse templates are stored on, -1 where there is none.

    Returns
    -------
    UnwhitenedTemplates
        Amplitudes in float32, as phylib's.
    """
    support = signal_channels(templates)
    out = np.zeros(templates.shape, dtype=np.float32)
    if template_channels is None:
        for piece in blocks(len(templates), _TEMPLATES_PER_BLOCK):
            out[piece] = np.matmul(templates[piece], matrix)
        return UnwhitenedTemplates(out, peak_to_peak(out), support)
    has_signal = np.take_along_axis(support, np.maximum(template_channels, 0), axis=1)
    used = np.where(has_signal & (template_channels >= 0), template_channels, -1)
    # templates that share their channels share a sub-matrix
    channel_lists, which = np.unique(used, axis=0, return_inverse=True)
    for i, channel_list in enumerate(channel_lists):
        channels = channel_list[channel_list >= 0]
        members = np.flatnonzero(which.ravel() == i)
        # phylib's selection of columns is in Fortran order, which BLAS may round differently
        columns = np.ascontiguousarray(templates[members][:, :, channels].transpose(0, 2, 1))
        product = np.matmul(columns.transpose(0, 2, 1), matrix[np.ix_(channels, channels)])
        out[members[:, None], :, channels] = product.transpose(0, 2, 1)
    return UnwhitenedTemplates(out, peak_to_peak(out), support)


def extremum_on_channel(
    templates: NDArray[np.floating], channels: NDArray[np.integer]
) -> NDArray[np.floating]:
    """Return the signed value of largest magnitude of each template on one channel of its own.

    Parameters
    ----------
    templates : array (n_templates, n_samples, n_channels)
    channels : array (n_templates,) integer

    Returns
    -------
    array (n_templates,)

    Examples
    --------
    >>> extremum_on_channel(np.array([[[1.0], [-3.0]]]), np.array([0]))
    array([-3.])
    """
    trace = np.take_along_axis(templates, np.asarray(channels)[:, None, None], axis=2)[:, :, 0]
    peak = np.abs(trace).argmax(axis=1)
    return np.take_along_axis(trace, peak[:, None], axis=1)[:, 0]

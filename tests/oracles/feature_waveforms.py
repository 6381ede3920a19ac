"""Brute-force waveforms from features, one spike at a time, in float64.

Nothing here is imported from the package.
"""

from __future__ import annotations


def waveform(features, channels, basis, template, matrix):
    """Unwhitened waveform of one spike on all channels, and how much larger it is.

    Parameters
    ----------
    features : array (n_pcs, n_loc)
    channels : array (n_loc,), -1 for none
    basis : array (n_pcs, n_samples), orthonormal
    template : array (n_samples, n_channels), whitened
    matrix : array (n_channels, n_out)
        Unwhitens.
    """
    in_basis = basis.T @ (basis @ template)  # what the components leave of the template
    dot = power = 0.0
    for j, channel in enumerate(channels):
        if channel >= 0:
            own = basis @ template[:, channel]
            dot += float(features[:, j] @ own)
            power += float(own @ own)
    factor = dot / power if power > 0 else 0.0
    whitened = factor * in_basis
    for j, channel in enumerate(channels):
        if channel >= 0:
            whitened[:, channel] = basis.T @ features[:, j]
    return whitened @ matrix, factor

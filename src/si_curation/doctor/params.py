"""``params.py``: the sampling rate, and entries that no longer mean anything here; settings."""

from __future__ import annotations

import math

from si_curation.doctor.facts import FolderFacts
from si_curation.phy.arrays import Findings

_NAME = "params.py"
_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 2_000.0, 200_000.0


def check_rate(facts: FolderFacts, findings: Findings) -> None:
    """Check that the rate is plausible, and find rates that are not whole numbers."""
    rate = facts.parts.sampling_frequency
    if rate is None:
        return
    if not _LOWEST_RATE_HZ <= rate <= _HIGHEST_RATE_HZ:
        findings.warning(
            _NAME,
            f"sample_rate is {rate:g} Hz, expected some 10,000 to 50,000",
            "look whether it is in kHz or is that of another file: all times depend on it",
            sample_rate=rate,
        )
    whole = round(rate)
    if rate == whole or facts.duration_s is None or not whole:
        return
    drift_ms = abs(rate - whole) / whole * facts.duration_s * 1000
    findings.info(
        _NAME,
        f"sample_rate is {rate!r} Hz, no whole number: programs that round it are off by "
        f"{drift_ms:.3g} ms at the last spike, and bins of 1 ms are {round(rate / 1000)} samples, "
        f"not {rate / 1000:.6g}",
        "give the full number to other programs, and align events with the same clock",
        sample_rate=rate,
        drift_ms_at_last_spike=drift_ms,
    )


def check_settings(facts: FolderFacts, findings: Findings) -> None:
    """Find settings of the sorter that change what the numbers of the folder mean."""
    settings, name = facts.parts.settings, "ops.npy"
    if settings is None:
        return
    scale = settings.sorted_scale
    if scale is not None and scale != 1:
        turned = ", so that spikes are upside down" if scale < 0 else ""
        findings.info(
            name,
            f"the raw data were multiplied by {scale:g} before they were sorted (scale, "
            f"invert_sign){turned}: templates and amplitudes in phy are of those data",
            "this package takes it out again; unwhiten='phy' without a gain does not",
            sorted_scale=scale,
        )
    if settings.is_part:
        last = f"{settings.last_s:g} s" if math.isfinite(settings.last_s) else "the end"
        findings.info(
            name,
            f"a part of the recording was sorted: {settings.first_s:g} s to {last} (tmin, tmax). "
            "phy divides by the time from the start to the last spike, so that rates are too low"
            if settings.first_s
            else f"a part of the recording was sorted: from the start to {last} (tmax)",
            "rates and presence of this package are of that part: observed_periods",
            first_s=settings.first_s,
            last_s=settings.last_s if math.isfinite(settings.last_s) else None,
        )


def check_params_missing(facts: FolderFacts, findings: Findings) -> None:
    """Check that there is a ``params.py``, which phy needs also where the rate is given."""
    if facts.has(_NAME) or facts.is_faulty(_NAME) or facts.parts.sampling_frequency is None:
        return
    findings.warning(
        _NAME,
        "is missing: phy and SpikeInterface cannot open the folder",
        "write it: dat_path, n_channels_dat, dtype, offset, sample_rate, hp_filtered",
    )

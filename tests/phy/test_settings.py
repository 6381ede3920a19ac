"""`read_settings`: what ops.npy says of how a recording was sorted."""

from __future__ import annotations

import math

import numpy as np
import pytest

import si_curation as sic
from si_curation.phy.arrays import Findings
from si_curation.phy.settings import SETTING_KEYS, read_settings


def _read(**ops):
    findings = Findings()
    return read_settings(ops, findings), findings


def test_no_file_no_settings():
    assert read_settings(None, Findings()) is None


@pytest.mark.parametrize(
    ("ops", "scale"),
    [
        ({}, 1.0),
        ({"scale": None, "invert_sign": False}, 1.0),
        ({"settings": {"scale": 2}}, 2.0),
        ({"scale": np.float32(0.5), "invert_sign": np.bool_(True)}, -0.5),
        ({"scale": np.array([4.0])}, 4.0),
        ({"scale": math.inf}, None),
        ({"scale": "2"}, None),
    ],
)
def test_scale(ops, scale):
    settings, findings = _read(**ops)
    assert settings.sorted_scale == scale
    assert len(findings) == (scale is None)


@pytest.mark.parametrize(
    ("ops", "part", "num_findings"),
    [
        ({}, (0.0, math.inf), 0),
        ({"tmin": 2, "tmax": math.inf}, (2.0, math.inf), 0),
        ({"settings": {"tmin": 2, "tmax": 5.5}}, (2.0, 5.5), 0),
        ({"tmin": 5, "tmax": 2}, (0.0, math.inf), 1),
        ({"tmin": -1}, (0.0, math.inf), 1),
        ({"tmin": "2", "tmax": 5}, (0.0, math.inf), 1),
        ({"tmin": math.nan}, (0.0, math.inf), 1),
        ({"tmax": math.nan}, (0.0, math.inf), 1),
    ],
)
def test_sorted_part(ops, part, num_findings):
    settings, findings = _read(**ops)
    assert (settings.first_s, settings.last_s) == part
    assert len(findings) == num_findings
    assert settings.is_part == (part != (0.0, math.inf))


def test_drift():
    shift = np.array([[0, 1], [2, 3], [4, 5]], dtype=np.float32)
    ops = {"dshift": shift, "yblk": np.array([10, 30]), "batch_size": 60_000, "fs": 30_000.0}
    drift = _read(tmin=10.0, **ops)[0].drift
    np.testing.assert_array_equal(drift.shift_um, shift)
    np.testing.assert_array_equal(drift.starts_s, [10, 12, 14])
    assert drift.batch_s == 2.0


@pytest.mark.parametrize(
    "changes",
    [{"yblk": None}, {"yblk": np.arange(3)}, {"fs": 0}, {"dshift": "x"}, {"batch_size": "y"}],
)
def test_drift_that_does_not_fit_is_a_finding(changes):
    ops = {"dshift": np.zeros((3, 2)), "yblk": np.zeros(2), "batch_size": 6, "fs": 3.0}
    settings, findings = _read(**{**ops, **changes})
    assert settings.drift is None
    assert findings


def test_values_are_settings_and_plain():
    ops = sic.read_phy_folder(sic.example_folder())
    values = ops.settings.values
    assert values["Th_universal"] == 9
    assert values["duplicate_spike_ms"] == 0.25
    assert set(values) <= set(SETTING_KEYS)
    assert all(isinstance(v, bool | int | float | str | list) for v in values.values())
    assert ops.settings.drift is None


def test_results_are_no_settings():
    settings, findings = _read(
        bad_channels=np.arange(10_001), shank_idx=[0, np.int64(1)], scale=None
    )
    assert settings.values == {"shank_idx": [0, 1]}
    assert not findings

"""Noise and signal to noise from features: units, curation, and what is missing."""

import numpy as np
import pytest

import si_curation as sic
from si_curation.quality.metrics.noise import compute_noise

OPTIONS = {"num_templates": 10, "num_channels": 16, "num_spikes": 3000, "seed": 5}


@pytest.fixture(scope="module")
def truth(simulate):
    return simulate("kilosort4", **OPTIONS)


def test_noise_is_in_the_unit_of_the_waveforms(truth):
    raw = compute_noise(sic.read_kilosort_as_analyzer(truth.folder))
    in_uv = compute_noise(sic.read_kilosort_as_analyzer(truth.folder, gain_to_uV=0.5))
    known = np.isfinite(raw.values["noise_from_features"])
    assert known.sum() > 5
    np.testing.assert_allclose(
        in_uv.values["noise_from_features"], 0.5 * raw.values["noise_from_features"], rtol=1e-5
    )
    np.testing.assert_allclose(
        in_uv.values["snr_from_features"], raw.values["snr_from_features"], rtol=1e-5
    )
    for name, values in raw.values.items():
        has_none = np.array([one is None for one in raw.reasons[name]])
        np.testing.assert_array_equal(has_none, np.isfinite(values))


def test_noise_does_not_hang_on_the_curation(truth):
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    session = sic.CurationSession(analyzer)
    session.merge(analyzer.unit_ids[:2].tolist())
    merged = session.apply()
    before, after = (
        dict(zip(one.unit_ids, compute_noise(one).values["noise_from_features"], strict=True))
        for one in (analyzer, merged)
    )
    for unit_id in set(before) & set(after):
        np.testing.assert_equal(after[unit_id], before[unit_id])


def test_snr_is_amplitude_over_noise(truth):
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    found = compute_noise(analyzer)
    waveforms = analyzer.compute("spike_waveforms").get_templates()
    main = analyzer.get_main_channels(outputs="index")
    amplitude = np.abs(waveforms[np.arange(len(main)), :, main]).max(axis=1)
    expected = amplitude / found.values["noise_from_features"]
    np.testing.assert_allclose(found.values["snr_from_features"], expected, rtol=1e-3)


def test_without_features_there_is_none(shared_data):
    folder = shared_data / "np1_without_params"
    found = compute_noise(sic.read_kilosort_as_analyzer(folder, sampling_frequency=30000.0))
    assert np.isnan(found.values["snr_from_features"]).all()
    assert "has no pc_features.npy" in str(found.reasons["snr_from_features"][0])


def test_few_spikes_have_a_reason(shared_data):
    found = compute_noise(sic.read_kilosort_as_analyzer(shared_data / "ks1_phy_curated"))
    codes = {one.code for one in found.reasons["noise_from_features"] if one is not None}
    assert codes == {"no_channel_noise", "no_spikes"} or codes == {"no_channel_noise"}

"""What recordings a model knows, and which are unlike them."""

import numpy as np
import pytest
from spikeinterface.core import NumpySorting, create_sorting_analyzer, generate_recording

import si_curation as sic
from si_curation.learning.domain import domain_of, probe_sizes, recording_facts, unlike


def test_facts_of_a_folder_and_without_a_probe():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    found = recording_facts(analyzer)
    places = analyzer.get_channel_locations()
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    nearest = np.sort(apart, axis=1)[:, 1]
    assert found == {
        "sampling_rate_hz": analyzer.sampling_frequency,
        "num_channels": len(places),
        "pitch_um": np.median(nearest),
        "extent_um": np.linalg.norm(np.ptp(places, axis=0)),
    }
    recording = generate_recording(num_channels=4, durations=[1.0], set_probe=True)
    sorting = NumpySorting.from_unit_dict([{"a": np.array([100, 5000])}], 30_000.0)
    bare = create_sorting_analyzer(sorting, recording, sparse=False)
    assert set(recording_facts(bare)) >= {"sampling_rate_hz", "num_channels"}
    assert probe_sizes(np.zeros((1, 2))) == {}
    assert probe_sizes(np.zeros((5, 2))) == {}
    assert probe_sizes(np.array([[0.0, np.nan], [0.0, 1.0]])) == {}


@pytest.mark.parametrize(
    ("fact", "value", "is_unlike"),
    [
        ("sampling_rate_hz", 32_000.0, False),
        ("sampling_rate_hz", 25_000.0, True),
        ("pitch_um", 25.0, False),
        ("pitch_um", 31.0, True),
        ("pitch_um", 9.0, True),
        ("num_channels", 900.0, False),
        ("num_channels", 32.0, True),
        ("extent_um", 500.0, True),
    ],
)
def test_what_is_unlike(fact, value, is_unlike):
    one = {"sampling_rate_hz": 3e4, "pitch_um": 20.0, "extent_um": 3840.0, "num_channels": 384.0}
    domain = domain_of([one, one | {"pitch_um": 15.0}])
    assert domain["pitch_um"] == (15.0, 20.0)
    text = unlike(domain, one | {fact: value})
    assert bool(text) == is_unlike
    if is_unlike:
        assert f"{value:,.6g}" in text
    assert unlike(domain, {}) == ""
    assert unlike({}, one) == ""
    assert "pitch_um" not in domain_of([one, {"sampling_rate_hz": 3e4}])

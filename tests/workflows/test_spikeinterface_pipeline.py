"""A pipeline of SpikeInterface, and processes that import the package late or not at all.

What SpikeInterface prints there is told in docs/pipelines.md, word for word.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numcodecs.pickles
import numpy as np
import pytest
import spikeinterface.core as sc
from spikeinterface.sorters import run_sorter

import si_curation as sic

pytestmark = pytest.mark.slow

OURS = {
    "template_assignment",
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
    "curation_metrics",
}
UNKNOWN = (
    "Extension '{}' is unknown. Maybe this is an external extension, a typo or was computed by a "
    "different version of SpikeInterface."
)
PAGE = Path(__file__).parents[2] / "docs" / "pipelines.md"
FORMATS = {"binary_folder": "analyzer", "zarr": "analyzer.zarr"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    made, _ = sc.generate_ground_truth_recording(
        durations=[15.0], num_channels=12, num_units=5, seed=1
    )
    return made.save(folder=tmp_path_factory.mktemp("pipeline") / "recording", progress_bar=False)


@pytest.fixture(scope="module")
def sorting(recording, tmp_path_factory):
    clusterer = {"clusterer": "kmeans", "clusterer_kwargs": {"n_clusters": 6}}
    folder = tmp_path_factory.mktemp("pipeline") / "sorter"
    return run_sorter("simple", recording, folder=folder, verbose=False, **clusterer)


@pytest.fixture(scope="module")
def computed(recording, sorting, tmp_path_factory):
    """By format: a saved analyzer on which everything was computed as a pipeline does it."""
    folder = tmp_path_factory.mktemp("analyzers")
    made = {}
    for format, name in FORMATS.items():
        analyzer = sc.create_sorting_analyzer(
            sorting, recording, sparse=True, format=format, folder=folder / name, overwrite=False
        )
        analyzer.compute(
            ["random_spikes", "noise_levels", "waveforms", "templates"],
            extension_params={"random_spikes": {"max_spikes_per_unit": 100, "seed": 0}},
            n_jobs=2,
            progress_bar=False,
        )
        analyzer.compute(
            {
                "spike_amplitudes": {},
                "template_best_channels": {"num_channels": 4},
                "cross_correlograms": {"window_ms": 20.0},
                "unit_similarity": {},
                "template_features": {},
                "curation_metrics": {"metric_names": ["num_spikes", "presence_ratio"]},
            },
            n_jobs=2,
            chunk_duration="1s",
            progress_bar=False,
        )
        made[format] = analyzer.folder
    return made


def run(code, *arguments):
    """Run Python in a process of its own; give what it prints as JSON, and its warnings."""
    source = str(Path(sic.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "always::UserWarning", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("format", FORMATS)
def test_lists_and_dicts_with_job_kwargs(computed, format):
    analyzer = sc.load_sorting_analyzer(computed[format])
    assert set(analyzer.extensions) >= OURS
    ranked = analyzer.get_extension("template_best_channels")
    assert ranked.params["num_channels"] == 4
    assert all(len(channels) <= 4 for channels in ranked.get_data().values())
    counts, bins = analyzer.get_extension("cross_correlograms").get_data()
    assert len(bins) == 21
    assert counts.shape == (len(analyzer.unit_ids), len(analyzer.unit_ids), 20)
    table = analyzer.get_extension("curation_metrics").get_data()
    expected = analyzer.sorting.count_num_spikes_per_unit()
    assert table.num_spikes.to_dict() == expected


def test_formats_hold_the_same(computed):
    one, two = (sc.load_sorting_analyzer(folder) for folder in computed.values())
    for name in sorted(OURS - {"curation_metrics"}):
        mine, other = (analyzer.get_extension(name).data for analyzer in (one, two))
        assert mine.keys() == other.keys()
        for key, values in mine.items():
            if not isinstance(values, dict):
                np.testing.assert_array_equal(values[:], other[key][:], err_msg=f"{name} {key}")
    tables = [analyzer.get_extension("curation_metrics").get_data() for analyzer in (one, two)]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("format", FORMATS)
def test_a_process_that_never_imports_us(computed, tmp_path, format):
    code = """
import json, sys
import spikeinterface as si
analyzer = si.load_sorting_analyzer(sys.argv[1])
errors = []
for call in (analyzer.get_extension, analyzer.compute):
    try:
        call("template_best_channels")
    except KeyError as fault:
        errors.append(str(fault))
saved = analyzer.save_as(format="binary_folder", folder=sys.argv[2])
assert "si_curation" not in sys.modules
print(json.dumps([sorted(analyzer.extensions), errors, sorted(saved.extensions)]))
"""
    (loaded, errors, saved), printed = run(code, computed[format], tmp_path / "copy")
    assert not OURS & set(loaded), "SpikeInterface has a plug-in hook now: tell it in the docs"
    assert {"templates", "spike_amplitudes"} <= set(loaded)
    for name in OURS:
        assert UNKNOWN.format(name) in printed
    assert errors == ["'template_best_channels'"] * 2
    assert not OURS & set(saved)
    # the copy has lost them, the original has not
    assert set(sc.load_sorting_analyzer(computed[format]).extensions) >= OURS
    assert not OURS & set(sc.load_sorting_analyzer(tmp_path / "copy").extensions)
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert UNKNOWN.format("cross_correlograms") in page
    assert "KeyError: 'template_best_channels'" in page


@pytest.mark.parametrize("format", FORMATS)
def test_a_process_that_imports_us_after_loading(computed, tmp_path, format):
    code = """
import json, sys
import spikeinterface as si
analyzer = si.load_sorting_analyzer(sys.argv[1])
before = sorted(analyzer.extensions)
import si_curation
asked = analyzer.get_extension("template_best_channels").get_data()
after = sorted(analyzer.extensions)
saved = analyzer.save_as(format="binary_folder", folder=sys.argv[2])
again = si.load_sorting_analyzer(sys.argv[1])
print(json.dumps([before, len(asked), after, sorted(saved.extensions), sorted(again.extensions)]))
"""
    (before, asked, after, saved, again), printed = run(code, computed[format], tmp_path / "copy")
    assert UNKNOWN.format("template_best_channels") in printed
    assert not OURS & set(before)
    assert asked == len(sc.load_sorting_analyzer(computed[format]).unit_ids)
    assert OURS & set(after) == {"template_best_channels"}, "what was asked for is loaded"
    assert OURS & set(saved) == {"template_best_channels"}, "and only that is saved"
    assert set(again) >= OURS, "load it again, and everything is there"


@pytest.mark.parametrize("format", FORMATS)
def test_a_process_that_loads_without_extensions(computed, format):
    code = """
import json, sys
import spikeinterface as si
analyzer = si.load_sorting_analyzer(sys.argv[1], load_extensions=False)
import si_curation
print(json.dumps([n for n in sys.argv[2:] if analyzer.get_extension(n) is not None]))
"""
    found, printed = run(code, computed[format], *sorted(OURS))
    assert set(found) == OURS
    assert "is unknown" not in printed


def test_asked_before_us_is_computable_after(recording, sorting):
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=True)
    analyzer.compute(["random_spikes", "templates"], progress_bar=False)
    assert set(analyzer.get_computable_extensions()) >= OURS
    analyzer.compute(sorted(OURS - {"template_features"}), progress_bar=False)
    metrics = analyzer.get_metrics_extension_data()
    assert "presence_ratio" in metrics.columns


def test_workers_do_not_change_results(recording, sorting):
    found = []
    for jobs in (1, 2):
        analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=True)
        names = ["random_spikes", "waveforms", "templates", "principal_components"]
        analyzer.compute(names, n_jobs=jobs, progress_bar=False)
        analyzer.compute("template_features", n_jobs=jobs, progress_bar=False)
        found.append(np.asarray(analyzer.get_extension("template_features").get_data()[0]))
    np.testing.assert_array_equal(*found)


def test_components_that_spikeinterface_computes_in_zarr(recording, sorting, tmp_path):
    """Its models are pickles, which newer versions of numcodecs refuse: told in the docs."""
    analyzer = sc.create_sorting_analyzer(
        sorting, recording, sparse=True, format="zarr", folder=tmp_path / "analyzer.zarr"
    )
    names = ["random_spikes", "waveforms", "templates", "principal_components"]
    analyzer.compute(names, progress_bar=False)
    if not hasattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE"):
        assert sc.load_sorting_analyzer(analyzer.folder).has_extension("principal_components")
        return
    with pytest.raises(RuntimeError, match=r"Pickle\.decode is disabled") as caught:
        sc.load_sorting_analyzer(analyzer.folder)
    assert type(caught.value).__name__ == "UnsafeDecodeError"
    ours = sic.read_kilosort_as_analyzer(
        sic.example_folder(), format="zarr", folder=tmp_path / "ours.zarr"
    )
    assert sc.load_sorting_analyzer(ours.folder).has_extension("principal_components")

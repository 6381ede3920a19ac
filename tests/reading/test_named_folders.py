"""The folders that spikes are from are found where anything names them, or it is said."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import spikeinterface.core as sc
from spikeinterface.core import NpzSortingExtractor
from spikeinterface.curation import MergeUnitsSorting
from spikeinterface.extractors import read_phy

import si_curation as sic
from helpers.analyzers import recording_of_folder
from helpers.assignments import ASSIGNMENT, BEST, extension
from si_curation.reading.named_folders import folders_named_by

pytestmark = pytest.mark.filterwarnings("ignore:create_sorting_analyzer")
FORMATS = ["memory", "binary_folder", "zarr"]


@pytest.fixture(scope="module")
def two(simulate, tmp_path_factory):
    """Two folders of one probe."""
    root = tmp_path_factory.mktemp("two")
    for name, seed in (("a", 3), ("b", 4)):
        made = simulate(num_templates=6, num_channels=8, num_spikes=400, curation=2, seed=seed)
        shutil.copytree(made.folder, root / name)
    return root / "a", root / "b"


def analyzer_of(sorting, recording, format="memory", path=None):
    kwargs = {} if format == "memory" else {"folder": path / f"analyzer_{format}", "format": format}
    return sc.create_sorting_analyzer(sorting, recording, sparse=False, **kwargs)


def saved(sorting, path, kind):
    if kind == "npz":
        NpzSortingExtractor.write_sorting(sorting, path / "sorting.npz")
        return NpzSortingExtractor(path / "sorting.npz")
    sorting.save(folder=path / f"sorting_{kind}", format=kind)
    name = "sorting_zarr.zarr" if kind == "zarr" else f"sorting_{kind}"
    return sc.load(path / name)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["numpy_folder", "zarr"])
def test_of_one_folder(two, tmp_path, kind, format):
    sorting = saved(read_phy(two[0]), tmp_path, kind)
    analyzer = analyzer_of(sorting, recording_of_folder(two[0]), format, tmp_path)
    assert folders_named_by(analyzer) == [str(two[0])]
    assert analyzer.compute(ASSIGNMENT).source == "kilosort4"


@pytest.mark.parametrize("format", FORMATS)
def test_best_channels_alone_attach_the_folder(two, tmp_path, format):
    analyzer = analyzer_of(read_phy(two[0]), recording_of_folder(two[0]), format, tmp_path)
    analyzer.compute(["random_spikes", "templates"])
    analyzer.compute(BEST)
    if format != "memory":
        analyzer = sc.load_sorting_analyzer(analyzer.folder)
    assert extension(analyzer).source == "kilosort4"
    assert analyzer.has_extension(BEST)


def joined(two, recordings):
    a, b = (read_phy(folder) for folder in two)
    ids = [a.unit_ids[:3].tolist(), b.unit_ids[:3].tolist()]
    parts = [one.select_units(i, [1, 2, 3]) for one, i in zip((a, b), ids, strict=True)]
    lengths = [one.get_num_samples() for one in recordings]
    return {
        "aggregated": (
            sc.aggregate_units([a, b]),
            max(recordings, key=lambda one: one.get_num_samples()),
        ),
        "concatenated": (
            sc.concatenate_sortings(parts, total_samples_list=lengths),
            sc.concatenate_recordings(recordings),
        ),
        "appended": (sc.append_sortings(parts), sc.append_recordings(recordings)),
    }


@pytest.mark.parametrize("how", ["aggregated", "concatenated", "appended"])
@pytest.mark.parametrize(
    "saves",
    [None, *(pytest.param(one, marks=pytest.mark.slow) for one in ("numpy_folder", "zarr"))],
)
@pytest.mark.parametrize(
    "format",
    [pytest.param(one, marks=pytest.mark.slow) if one == "zarr" else one for one in FORMATS],
)
def test_of_two_folders(two, tmp_path, how, saves, format):
    recordings = [recording_of_folder(folder, 5000) for folder in two]
    sorting, recording = joined(two, recordings)[how]
    if saves is not None:
        sorting = saved(sorting, tmp_path, saves)
    analyzer = analyzer_of(sorting, recording, format, tmp_path)
    analyzer.compute(["random_spikes", "templates"])
    if format != "memory":
        assert folders_named_by(analyzer) == [str(folder) for folder in two]
    if format == "memory":
        with pytest.raises(sic.SiCurationError, match=r"kilosort_folder|phy_folder"):
            analyzer.compute(ASSIGNMENT)
        with pytest.warns(sic.SiCurationWarning, match="Used instead: the extension 'templates'"):
            analyzer.compute(BEST)
        assert analyzer.compute(ASSIGNMENT, kilosort_folder=None).source == "identity"
    else:
        analyzer.compute(BEST)
        assert extension(analyzer).num_folders == 2


def test_of_units_that_name_several(two):
    sortings = [read_phy(folder) for folder in two]
    for folder, sorting in zip(two, sortings, strict=True):
        sorting.set_property("phy_folder", np.full(len(sorting.unit_ids), str(folder)))
    analyzer = analyzer_of(sc.aggregate_units(sortings), recording_of_folder(two[0], 20_000))
    assert folders_named_by(analyzer) == [str(folder) for folder in two]
    assert analyzer.compute(ASSIGNMENT).num_folders == 2


@pytest.mark.parametrize("column", ["KSLabel", "ContamPct"])
def test_merged_before_anything_was_computed(two, column):
    sorting = read_phy(two[0])
    sorting.set_property(column, np.zeros(len(sorting.unit_ids)))
    analyzer = analyzer_of(sorting, recording_of_folder(two[0]))
    analyzer.compute(["random_spikes", "templates"])
    merged = analyzer.merge_units([analyzer.unit_ids[:2].tolist()], sparsity_overlap=0.0)
    with pytest.warns(sic.SiCurationWarning, match="(KSLabel|ContamPct).* attach_kilosort_folder"):
        merged.compute("unit_similarity")
    with pytest.warns(sic.SiCurationWarning, match="The units are taken as the templates"):
        merged.compute(ASSIGNMENT)
    assert sic.attach_kilosort_folder(merged, two[0]).source == "kilosort4"


@pytest.mark.parametrize("content", ["{", "[1]", '{"kwargs": {"folder_path": "."}}', "null"])
def test_what_was_saved_cannot_mislead(two, tmp_path, content):
    analyzer = analyzer_of(read_phy(two[0]), recording_of_folder(two[0]), "binary_folder", tmp_path)
    (analyzer.folder / "sorting" / "provenance.json").write_text(content)
    assert folders_named_by(sc.load_sorting_analyzer(analyzer.folder)) == [str(two[0])]


def test_of_a_sorting_that_was_merged_and_saved(two, tmp_path):
    sorting = read_phy(two[0])
    merged = MergeUnitsSorting(sorting, [sorting.unit_ids[:2].tolist()], delta_time_ms=None)
    analyzer = analyzer_of(saved(merged, tmp_path, "numpy_folder"), recording_of_folder(two[0]))
    assert analyzer.compute(ASSIGNMENT).source == "kilosort4"
    provenance = json.loads((tmp_path / "sorting_numpy_folder" / "provenance.json").read_text())
    assert provenance["class"].endswith("MergeUnitsSorting")


def test_npz_holds_spikes_alone(two, tmp_path):
    sorting = saved(read_phy(two[0]), tmp_path, "npz")
    analyzer = analyzer_of(sorting, recording_of_folder(two[0]))
    assert folders_named_by(analyzer) == []
    assert sic.attach_kilosort_folder(analyzer, two[0]).source == "kilosort4"

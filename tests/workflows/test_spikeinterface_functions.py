"""Every public function of SpikeInterface without traces: it works, or the docs say why.

The table is in docs/spikeinterface.md. A name that it does not have is a failure with the
SpikeInterface that it was written for, and expected to fail with a newer one.
"""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version

import numpy as np
import pytest
import spikeinterface.comparison as comparison
import spikeinterface.curation as curation
import spikeinterface.exporters as exporters
import spikeinterface.metrics as metrics
import spikeinterface.postprocessing as postprocessing
import spikeinterface.widgets as widgets
from spikeinterface.core.sortinganalyzer import (
    get_available_analyzer_extensions,
    get_extension_class,
)

import si_curation as sic
from helpers.spikeinterface_table import table, works, written_for

COMPUTED = {
    "template_metrics": {},
    "quality_metrics": {
        "metric_names": [
            "num_spikes",
            "presence_ratio",
            "firing_rate",
            "amplitude_median",
            "isi_violation",
            "amplitude_cutoff",
        ]
    },
}


def functions_of(module):
    return {
        name
        for name in dir(module)
        if not name.startswith("_")
        and callable(getattr(module, name))
        # classes of extensions are tried as extensions
        and not name.startswith("Compute")
    }


def public_names() -> dict[str, set[str]]:
    """What SpikeInterface has, by area."""
    names = get_available_analyzer_extensions()
    its = {name for name in names if get_extension_class(name).__module__.startswith("spikeint")}
    quality = {*metrics.get_quality_metric_list(), *metrics.get_quality_pca_metric_list()}
    return {
        "figures": {name for name in dir(widgets) if name.startswith("plot_")},
        "extensions": its,
        "quality metrics": quality,
        "template metrics": set(metrics.get_template_metric_list()),
        "spike train metrics": set(metrics.get_spiketrain_metric_list()),
        "curation": functions_of(curation),
        "comparison": functions_of(comparison),
        "exporters": functions_of(exporters),
        "postprocessing": {
            name
            for name in functions_of(postprocessing)
            if name.removeprefix("compute_") not in names
        },
    }


def test_every_name_is_in_the_table():
    found, listed = public_names(), table()
    assert set(found) == set(listed)
    new = {area: sorted(names - set(listed[area])) for area, names in found.items()}
    gone = {area: sorted(set(names) - found[area]) for area, names in listed.items()}
    wrong = {
        text: {area: names for area, names in of.items() if names}
        for text, of in (("new", new), ("gone", gone))
    }
    if not any(wrong.values()):
        return
    if version("spikeinterface") != written_for():
        pytest.xfail(f"SpikeInterface {version('spikeinterface')}: {wrong}")
    pytest.fail(f"docs/spikeinterface.md: {wrong}")


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.195)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyzer.compute(COMPUTED)
    return analyzer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_extensions():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.195)
    for name, outcome in table()["extensions"].items():
        if outcome.startswith("works"):
            assert analyzer.has_extension(name) or analyzer.compute(name) is not None
        else:
            with pytest.raises(AssertionError, match="requires"):
                analyzer.copy().compute(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("area", ["quality metrics", "template metrics", "spike train metrics"])
def test_metrics(analyzer, area):
    extension = area.replace("spike train", "spiketrain").replace(" ", "_")
    analyzer = analyzer.copy()
    for name, outcome in table()[area].items():
        computed = analyzer.compute(extension, metric_names=[name], delete_existing_metrics=True)
        assert bool(computed.get_data().shape[1]) == (outcome.startswith("works")), name


def metrics_of(analyzer):
    return analyzer.get_extension("quality_metrics").get_data()


def twice(analyzer):
    return sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.195)


def spaced(sorting):
    """Leave out spikes near another of their unit: SpikeInterface sorts them as processors do."""
    return curation.remove_duplicated_spikes(sorting, censored_period_ms=1.0)


def curation_of(analyzer):
    return {
        "format_version": "2",
        "unit_ids": analyzer.unit_ids.tolist(),
        "label_definitions": {
            "quality": {"label_options": ["good", "mua"], "exclusive": True},
        },
        "manual_labels": [{"unit_id": 4, "labels": {"quality": ["good"]}}],
        "merges": [{"unit_ids": [11, 12]}],
    }


def saved_curation(analyzer, folder):
    path = folder / "curation.json"
    path.write_text(json.dumps(curation_of(analyzer)), encoding="utf-8")
    return path


ELSEWHERE = {  # called in other tests
    "train_model": "tests/learning/test_spikeinterface_models.py",
    "model_based_label_units": "tests/learning/test_spikeinterface_models.py",
    "export_report": "tests/workflows/test_spikeinterface_widgets.py",
}
HALVES = [np.arange(909) % 2]  # of the spikes of unit 4
CALLS = {
    "curation": {
        "apply_curation": lambda a, f: curation.apply_curation(a, curation_of(a)),
        "auto_merge_units": lambda a, f: curation.auto_merge_units(
            a, presets=None, steps=["num_spikes", "unit_locations"]
        ),
        "bombcell_label_units": lambda a, f: curation.bombcell_label_units(a),
        "compute_merge_unit_groups": lambda a, f: curation.compute_merge_unit_groups(
            a, preset=None, steps=["num_spikes", "unit_locations", "template_similarity"]
        ),
        "curation_label_to_dataframe": lambda a, f: curation.curation_label_to_dataframe(
            curation_of(a)
        ),
        "validate_curation_dict": lambda a, f: curation.validate_curation_dict(curation_of(a)),
        "load_curation": lambda a, f: curation.load_curation(saved_curation(a, f)),
        "threshold_metrics_label_units": lambda a, f: curation.threshold_metrics_label_units(
            metrics_of(a), {"presence_ratio": {"greater": 0.9, "less": None}}
        ),
        "find_redundant_units": lambda a, f: curation.find_redundant_units(a.sorting),
        "remove_redundant_units": lambda a, f: curation.remove_redundant_units(a),
        "remove_duplicated_spikes": lambda a, f: curation.remove_duplicated_spikes(a.sorting),
        "find_duplicated_spikes": lambda a, f: curation.find_duplicated_spikes(
            a.sorting.get_unit_spike_train(4), 10, method="keep_first"
        ),
        "CurationSorting": lambda a, f: curation.CurationSorting(a.sorting),
        "curation_sorting": lambda a, f: curation.curation_sorting(a.sorting),
        "MergeUnitsSorting": lambda a, f: curation.MergeUnitsSorting(a.sorting, [[11, 12]]),
        "merge_units_sorting": lambda a, f: curation.merge_units_sorting(a.sorting, [[11, 12]]),
        "SplitUnitSorting": lambda a, f: curation.SplitUnitSorting(a.sorting, 4, HALVES),
        "split_unit_sorting": lambda a, f: curation.split_unit_sorting(a.sorting, 4, HALVES),
    },
    "comparison": {
        "compare_two_sorters": lambda a, f: comparison.compare_two_sorters(a.sorting, a.sorting),
        "SymmetricSortingComparison": lambda a, f: comparison.SymmetricSortingComparison(
            a.sorting, a.sorting
        ),
        "compare_multiple_sorters": lambda a, f: comparison.compare_multiple_sorters(
            [a.sorting, a.sorting], n_jobs=1
        ),
        "MultiSortingComparison": lambda a, f: comparison.MultiSortingComparison(
            [a.sorting, a.sorting], n_jobs=1
        ),
        "compare_sorter_to_ground_truth": lambda a, f: comparison.compare_sorter_to_ground_truth(
            a.sorting, a.sorting
        ),
        "GroundTruthComparison": lambda a, f: comparison.GroundTruthComparison(
            a.sorting, a.sorting
        ),
        "CollisionGTComparison": lambda a, f: comparison.CollisionGTComparison(
            spaced(a.sorting), spaced(a.sorting), progress_bar=False
        ),
        "CorrelogramGTComparison": lambda a, f: comparison.CorrelogramGTComparison(
            spaced(a.sorting), spaced(a.sorting)
        ),
        "make_agreement_scores": lambda a, f: comparison.make_agreement_scores(
            a.sorting, a.sorting, 10
        ),
        "do_count_event": lambda a, f: comparison.do_count_event(a.sorting),
    },
    "exporters": {
        "export_to_phy": lambda a, f: exporters.export_to_phy(
            a, f / "phy", copy_binary=False, compute_pc_features=False, verbose=False
        ),
        "export_to_ibl_gui": lambda a, f: exporters.export_to_ibl_gui(a, f / "ibl"),
        "to_pynapple_tsgroup": lambda a, f: exporters.to_pynapple_tsgroup(a),
    },
    "postprocessing": {
        "compute_acgs_3d": lambda a, f: postprocessing.compute_acgs_3d(a),
        "align_sorting": lambda a, f: postprocessing.align_sorting(
            a.sorting, dict.fromkeys(a.unit_ids, 1)
        ),
        "AlignSortingExtractor": lambda a, f: postprocessing.AlignSortingExtractor(
            a.sorting, dict.fromkeys(a.unit_ids, 1)
        ),
        "compute_template_similarity_by_pair": (
            lambda a, f: postprocessing.compute_template_similarity_by_pair(a, twice(a))
        ),
    },
}


@pytest.mark.parametrize("area", CALLS)
def test_what_works_is_called(area):
    assert set(CALLS[area]) == works(area) - set(ELSEWHERE)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("area", CALLS)
def test_functions(analyzer, area, tmp_path):
    faults = {}
    for name, call in CALLS[area].items():
        try:
            call(analyzer.copy(), tmp_path)
        except Exception as error:
            faults[name] = f"{type(error).__name__}: {error}"[:300]
    assert not faults

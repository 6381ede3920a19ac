"""The extension `curation_metrics`: real folders, phy's columns, merges, formats, parameters."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import spikeinterface.metrics as sm
from spikeinterface.core import load_sorting_analyzer

import si_curation as sic
from si_curation.errors import MissingDataError, ParameterError, SiCurationError
from si_curation.quality.metrics import contamination, registry, stability
from si_curation.quality.metrics.extension import CurationMetrics, compute_curation_metrics
from si_curation.quality.metrics.registry import METRIC_DESCRIPTIONS, METRICS
from si_curation.variables import REASONS

FOLDERS = ("ks4_fresh", "ks4_phy_curated", "ks1_phy_curated", "np1_without_params")
GROUPS = ("identity", "stability", "isolation", "contamination", "shape")


def read(folder, **kwargs):
    rate = 30000.0 if folder.name == "np1_without_params" else None
    return sic.read_kilosort_as_analyzer(folder, sampling_frequency=rate, **kwargs)


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.fixture(scope="module")
def computed(analyzer):
    copy = analyzer.copy()
    copy.compute("curation_metrics", window_s=30)
    return copy


def tables(analyzer):
    extension = analyzer.get_extension("curation_metrics")
    return [
        extension.get_data(),
        extension.get_data(reasons=True),
        extension.get_data(windows=True),
        extension.get_data(windows=True, reasons=True),
    ]


def assert_same(first, second):
    for one, other in zip(tables(first), tables(second), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


# ------------------------------------------------------------------------------------ real folders


@pytest.mark.parametrize("name", FOLDERS)
def test_every_value_is_there_or_has_a_reason(shared_data, name):
    analyzer = read(shared_data / name)
    extension = analyzer.compute("curation_metrics")
    values, reasons = extension.get_data(), extension.get_data(reasons=True)
    assert values.columns.tolist() == list(METRIC_DESCRIPTIONS) == reasons.columns.tolist()
    assert values.index.equals(reasons.index)
    assert ((reasons != "") == values.isna()).all(axis=None)
    assert values.notna().to_numpy().mean() > 0.3
    for group in GROUPS:  # of each group there is something, but isolation without features
        columns = registry.columns_of([n for n, m in METRICS.items() if m.group == group])
        has_features = (shared_data / name / "pc_features.npy").exists()
        assert values[columns].notna().any(axis=None) == (group != "isolation" or has_features)
    told = [c for c, source in extension.sources.items() if source]
    assert {c for c in values if values[c].notna().any()} <= set(told)


@pytest.mark.parametrize("name", ["ks4_phy_curated", "ks1_phy_curated"])
def test_phys_columns(shared_data, name):
    folder = shared_data / name
    oracle = json.loads((folder / "phy_oracle.json").read_text())
    table = compute_curation_metrics(
        read(folder, unwhiten="phy"),
        metric_names=["num_spikes", "firing_rate", "best_channel", "amp", "template"],
    )
    phy = pd.DataFrame.from_dict(oracle, orient="index")
    phy.index = phy.index.astype(int)
    phy = phy.loc[table.index]
    channel_map = np.load(folder / "channel_map.npy").reshape(-1)
    assert table["template_id"].tolist() == phy["template"].tolist()
    assert table["best_channel_id"].tolist() == channel_map[phy["best"]].tolist()
    assert table["depth_um"].tolist() == phy["depth"].tolist()
    assert table["shank"].tolist() == phy["sh"].astype(int).tolist()
    np.testing.assert_allclose(table["amp"], phy["amp"], rtol=1e-7)
    # phy takes the time of the last spike for the duration, an analyzer one sample more
    np.testing.assert_allclose(table["firing_rate"], phy["fr"], rtol=1e-4)


def test_sorters_label_and_contamination(shared_data):
    analyzer = read(shared_data / "ks4_phy_curated")
    table = compute_curation_metrics(analyzer, metric_names=["sorter"])
    expected = pd.read_csv(
        shared_data / "ks4_phy_curated" / "cluster_ContamPct.tsv", sep="\t", index_col=0
    )["ContamPct"]
    assert table["ContamPct"].to_dict() == expected.reindex(table.index).to_dict()
    assert set(table["KSLabel"]) <= {"good", "mua"}


def test_contamination_is_spikeinterfaces_and_the_panels(shared_data):
    analyzer = read(shared_data / "np1_without_params")
    table = compute_curation_metrics(analyzer, metric_names=list(contamination.METRICS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sm.compute_quality_metrics(
            analyzer.copy(),
            metric_names=["isi_violation", "rp_violation", "sliding_rp_violation"],
            skip_pc_metrics=True,
        )
    for column in ("isi_violations_ratio", "rp_contamination", "sliding_rp_violation"):
        told = table[column].notna()
        # SpikeInterface compares 1.5 ms in floating-point seconds: pairs of just 45 samples differ
        rtol = 0.03 if column == "isi_violations_ratio" else 1e-6
        expected = theirs[column][told].astype(float)
        np.testing.assert_allclose(table[column][told], expected, rtol=rtol)
        if column != "sliding_rp_violation":
            assert told.sum() > 5
    panel = sic.contamination_panel(analyzer)
    for column in ("hill_contamination", "kilosort_r12", "rp_contamination_one_neuron_upper"):
        pd.testing.assert_series_equal(table[column], panel[column], check_names=False)


@pytest.mark.slow
def test_isolation_is_spikeinterfaces(analyzer, computed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sm.compute_quality_metrics(
            analyzer.copy(), metric_names=["mahalanobis", "d_prime", "nearest_neighbor"]
        )
    ours = computed.get_extension("curation_metrics").get_data()
    for column in ("d_prime", "nn_hit_rate", "nn_miss_rate"):
        np.testing.assert_allclose(ours[column], theirs[column].astype(float), rtol=1e-4)


# ------------------------------------------------------------------------- merge, split and select


def merge(analyzer, groups, **kwargs):
    return analyzer.merge_units(groups, sparsity_overlap=0.0, **kwargs)


def again(analyzer):
    """Compute all metrics anew."""
    fresh = analyzer.copy()
    fresh.delete_extension("curation_metrics")
    fresh.compute("curation_metrics", window_s=30)
    return fresh


@pytest.mark.slow
@pytest.mark.parametrize("groups", [[[4, 7]], [[8, 9], [11, 12]], [[4, 9, 13]]])
def test_merged_is_as_computed_anew(computed, groups):
    merged = merge(computed, groups)
    assert_same(merged, again(merged))


@pytest.mark.slow
def test_split_is_as_computed_anew(computed):
    half = np.arange(0, 1330, 2)
    split = computed.split_units({13: [half, np.setdiff1d(np.arange(1330), half)]})
    assert len(split.unit_ids) == len(computed.unit_ids) + 1
    assert_same(split, again(split))


def test_only_units_whose_inputs_changed_are_computed(computed, monkeypatch):
    asked = []
    compute = registry.compute_metrics

    def record(analyzer, unit_ids, metric_params, periods=None):
        asked.append((sorted(unit_ids.tolist()), {METRICS[n].group for n in metric_params}))
        return compute(analyzer, unit_ids, metric_params, periods)

    monkeypatch.setattr("si_curation.quality.metrics.extension.compute_metrics", record)
    merged = merge(computed, [[11, 12]])
    new = merged.unit_ids.max()
    of_units, of_neighbours = asked
    by_unit = {"identity", "stability", "contamination", "shape", "noise"}
    assert of_units == ([new], by_unit)
    assert of_neighbours[1] == {"isolation"}
    assert new in of_neighbours[0]
    main = merged.get_main_channels(outputs="index")[merged.unit_ids == new][0]
    near = merged.unit_ids[merged.sparsity.mask[:, main]].tolist()
    assert sorted({*near, new}) == of_neighbours[0]
    assert len(near) < len(merged.unit_ids)


def test_kept_rows_are_the_old_ones(computed):
    changed = computed.copy()
    extension = changed.get_extension("curation_metrics")
    extension.data = {**extension.data, "numbers": extension.data["numbers"] + 1.0}
    after = merge(changed, [[11, 12]])
    merged = after.get_extension("curation_metrics").get_data()
    expected = computed.get_extension("curation_metrics").get_data()
    assert merged.loc[4, "num_spikes"] == expected.loc[4, "num_spikes"] + 1
    assert merged.loc[14, "num_spikes"] == expected.loc[[11, 12], "num_spikes"].sum()


def test_select_units_and_copy(computed):
    selected = computed.select_units([13, 7])
    for one, whole in zip(tables(selected)[:2], tables(computed)[:2], strict=True):
        pd.testing.assert_frame_equal(one, whole.loc[[13, 7]])
    long = tables(computed)[2]
    of_unit = tables(selected)[2]
    pd.testing.assert_frame_equal(
        of_unit[of_unit["unit_id"] == 7].reset_index(drop=True),
        long[long["unit_id"] == 7].reset_index(drop=True),
    )
    assert_same(computed.copy(), computed)


def test_hard_merge_computes_with_the_same_parameters(analyzer):
    other = analyzer.copy()
    other.compute(
        "curation_metrics",
        metric_names=["presence_ratio", "firing_range"],
        metric_params={"firing_range": {"bin_size_s": 2}},
    )
    params = other.get_extension("curation_metrics").params
    other.compute("curation_metrics", **params)
    assert other.get_extension("curation_metrics").params == params


def test_periods_follow_units(analyzer):
    other = analyzer.copy()
    index = {unit_id: i for i, unit_id in enumerate(analyzer.unit_ids.tolist())}
    rows = [(0, 0, 600_000, index[11]), (0, 1_200_000, 1_800_000, index[12])]
    names = ["num_spikes", "presence_ratio"]
    other.compute("curation_metrics", metric_names=names, periods=np.array(rows), window_s=30)
    table = other.get_extension("curation_metrics").get_data()
    merged = merge(other, [[11, 12]])
    found = merged.get_extension("curation_metrics")
    samples = analyzer.sorting.get_unit_spike_train(11)
    others = analyzer.sorting.get_unit_spike_train(12)
    both = sum(
        np.sum((s < 600_000) | ((s >= 1_200_000) & (s < 1_800_000))) for s in (samples, others)
    )
    assert table.loc[11, "num_spikes"] == np.sum(samples < 600_000)
    assert found.get_data().loc[14, "num_spikes"] == both
    reasons = found.get_data(reasons=True)
    assert reasons.loc[4, "presence_ratio"] == "outside the periods of this unit"


# ------------------------------------------------------------------------------ formats and params


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_formats_are_the_same(computed, tmp_path, format):
    saved = computed.save_as(format=format, folder=tmp_path / "saved")
    loaded = load_sorting_analyzer(saved.folder)
    assert_same(loaded, computed)
    assert (
        loaded.get_extension("curation_metrics").sources
        == computed.get_extension("curation_metrics").sources
    )
    merged = merge(loaded, [[11, 12]])
    assert_same(merged, merge(computed, [[11, 12]]))
    assert not list(saved.folder.rglob("curation_metrics/*.pkl"))
    loaded.compute("curation_metrics", metric_names=["drift"])
    kept = load_sorting_analyzer(saved.folder)
    table = kept.get_extension("curation_metrics").get_data()
    assert table.columns.tolist() == list(METRIC_DESCRIPTIONS)


def test_metrics_that_are_there_are_kept(analyzer):
    other = analyzer.copy()
    other.compute("curation_metrics", metric_names=["template"])
    other.compute("curation_metrics", metric_names=["num_spikes"])
    extension = other.get_extension("curation_metrics")
    assert extension.get_computed_metric_names() == ["num_spikes", "template"]
    other.compute("curation_metrics", metric_names=["amp"], delete_existing_metrics=True)
    assert other.get_extension("curation_metrics").get_data().columns.tolist() == ["amp"]


def test_spikeinterface_finds_the_metrics(computed):
    assert set(METRIC_DESCRIPTIONS) <= set(computed.get_metrics_extension_data().columns)
    defaults = CurationMetrics.get_default_metric_params()
    theirs = sm.get_default_quality_metrics_params()
    for name in stability.METRICS:
        for key, value in theirs.get(name, {}).items():
            assert defaults[name][key] == value, (name, key)
    assert CurationMetrics.get_metric_columns() == list(METRIC_DESCRIPTIONS)


def test_every_column_is_described(computed):
    descriptions = computed.get_extension("curation_metrics").metric_descriptions
    assert list(descriptions) == list(METRIC_DESCRIPTIONS)
    for column, (description, unit, source) in descriptions.items():
        assert all([description, source, isinstance(unit, str)]), column
        assert column in CurationMetrics.get_metric_column_descriptions()


def test_another_sorters_analyzer_without_any_extension():
    from spikeinterface.core import generate_ground_truth_recording

    recording, sorting = generate_ground_truth_recording(
        num_units=3, num_channels=4, durations=[20.0], seed=0
    )
    from spikeinterface.core import create_sorting_analyzer

    analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    table = compute_curation_metrics(analyzer)
    reasons = analyzer.get_extension("curation_metrics").get_data(reasons=True)
    assert table["num_spikes"].tolist() == [
        sorting.count_num_spikes_per_unit()[i] for i in sorting.unit_ids
    ]
    assert (reasons["best_channel_id"].str.contains("templates")).all()
    assert (reasons["template_id"] == "there is no extension template_assignment").all()
    analyzer.compute(["random_spikes", "templates"])
    table = compute_curation_metrics(analyzer, metric_names=["best_channel", "amp"])
    assert set(table["best_channel_id"]) <= set(analyzer.channel_ids)
    assert table["amp"].notna().all()


def test_errors(analyzer, computed):
    other = analyzer.copy()
    with pytest.raises(ParameterError, match=r"no metric 'snr'.*no parameter 'bins'"):
        other.compute(
            "curation_metrics",
            metric_names=["snr"],
            metric_params={"drift": {"bins": 3}},
        )
    with pytest.raises(ParameterError, match="window_s"):
        other.compute("curation_metrics", window_s=-3)
    with pytest.raises(ParameterError, match="presence_ratio: bin_duration_s"):
        other.compute(
            "curation_metrics", metric_params={"presence_ratio": {"bin_duration_s": "long"}}
        )
    other.compute("curation_metrics", metric_names=["amp"])
    with pytest.raises(MissingDataError, match="window_s="):
        other.get_extension("curation_metrics").get_data(windows=True)
    from si_curation.quality.metrics.extension import compute_metrics_in_windows

    with pytest.raises(SiCurationError, match="amp cannot be computed in windows"):
        compute_metrics_in_windows(analyzer, window_s=10, metric_names=["amp"])


def test_reasons_of_analyzers_that_version_0_1_0_saved(shared_data):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks1_phy_curated")
    extension = analyzer.compute("curation_metrics", window_s=60)
    before = [extension.get_data(reasons=True, windows=windows) for windows in (False, True)]
    codes = extension.data["table"].pop("reason_codes")  # it stored the texts alone
    assert len(codes) == len(extension.data["table"]["reasons"]) > 3
    assert {code for code, _ in codes[1:]} <= set(REASONS)
    for windows, expected in zip((False, True), before, strict=True):
        pd.testing.assert_frame_equal(extension.get_data(reasons=True, windows=windows), expected)

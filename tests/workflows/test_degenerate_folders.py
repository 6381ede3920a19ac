"""Folders without spikes, units or signal, and ids and labels at their limits."""

import contextlib
import shutil
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as sc
from click.testing import CliRunner

import si_curation as sic
from helpers.analyzers import recording_of_folder
from si_curation.cli.main import cli


def cut(folder, num_spikes):
    """Keep the first spikes of a folder."""
    before = np.load(folder / "spike_times.npy").shape[0]
    for path in folder.glob("*.npy"):
        if path.name == "ops.npy":
            continue
        values = np.load(path)
        if path.name == "kept_spikes.npy" or (values.ndim and values.shape[0] == before):
            np.save(path, values[:num_spikes])


def change_templates(folder, function):
    np.save(folder / "templates.npy", function(np.load(folder / "templates.npy")))


def one_sample(folder):
    change_templates(folder, lambda templates: templates[:, 20:21])
    (folder / "ops.npy").unlink()


KINDS = {
    "no spikes": lambda folder: cut(folder, 0),
    "one spike": lambda folder: cut(folder, 1),
    "one sample": one_sample,
    "no signal": lambda folder: change_templates(folder, np.zeros_like),
    "only NaN": lambda folder: change_templates(folder, lambda t: t * np.nan),
}
EXTENSIONS = (
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
    "curation_metrics",
)


def read(tmp_path, kind):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "folder")
    if kind == "all excluded":
        return sic.read_kilosort_as_analyzer(
            folder, exclude_groups=["good", "mua", "noise", "unsorted"]
        )
    KINDS[kind](folder)
    return sic.read_kilosort_as_analyzer(folder)


@pytest.mark.parametrize("kind", [*KINDS, "all excluded"])
@pytest.mark.slow
def test_everything_is_computed_or_one_error(tmp_path, kind):
    analyzer = read(tmp_path, kind)
    for name in EXTENSIONS:
        analyzer.compute(name)
    metrics = analyzer.get_extension("curation_metrics").get_data()
    assert list(metrics.index) == list(analyzer.unit_ids)
    if kind in ("no signal", "only NaN"):
        assert metrics["depth_um"].isna().all()
    assert len(sic.contamination_panel(analyzer)) == len(analyzer.unit_ids)
    assert len(sic.suggest_merges(analyzer).pairs()) == 0 or len(analyzer.unit_ids) > 1
    assert set(sic.suggest_splits(analyzer).units()) <= set(analyzer.unit_ids)
    plan = sic.plan_curation(analyzer)
    plan.apply_to(sic.CurationSession(analyzer))
    assert set(sic.benchmark_suggestions(analyzer).index) >= {"merges"}
    with pytest.raises(sic.MissingDataError):
        sic.compare_templates(analyzer)
    session = sic.CurationSession(analyzer)
    compared = sic.compare_curations(session, tmp_path / "folder", num_bootstraps=10)
    assert compared.disputed.empty or kind == "all excluded"
    if kind == "one spike":  # by chance, or not
        with pytest.raises(sic.ParameterError, match="0 of the 1 spikes"):
            sic.replay_curation(session, analyzer)
    else:
        assert sic.replay_curation(session, analyzer).left.empty
    assert len(session.table) == len(analyzer.unit_ids)
    if len(analyzer.unit_ids) == 0:
        with pytest.raises(sic.ParameterError, match="no units left"):
            session.apply()
        return
    session.label(session.unit_ids[:1], "good")
    if len(analyzer.unit_ids) > 1:
        session.merge(session.unit_ids[:2])
    sic.export_to_phy(session.apply(), tmp_path / "phy")
    exported = sic.read_phy_folder(tmp_path / "phy")
    assert exported.num_spikes == np.load(tmp_path / "folder" / "spike_times.npy").size


@pytest.mark.slow
@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_traces_without_signal(simulate, attached, sparse):
    """SpikeInterface's analyzer of traces of zeros; its units are the templates of a folder."""
    folder = simulate(
        num_templates=6, num_channels=12, num_spikes=600, num_zero_templates=1, seed=3
    ).folder
    found = sic.read_phy_folder(folder)
    sorting = sc.NumpySorting.from_samples_and_labels(
        [found.spike_samples], [found.spike_templates], found.sampling_frequency
    )
    analyzer = sc.create_sorting_analyzer(
        sorting, recording_of_folder(folder), sparse=sparse, return_in_uV=False
    )
    analyzer.compute(["random_spikes", "waveforms", "templates", "spike_amplitudes"])
    if attached:
        sic.attach_kilosort_folder(analyzer, folder)
    for name in EXTENSIONS:
        if name != "template_features":
            analyzer.compute(name)
    metrics = analyzer.get_extension("curation_metrics").get_data()
    assert metrics["depth_um"].notna().any() == attached
    assert list(metrics.index) == list(analyzer.unit_ids)
    assert len(sic.CurationSession(analyzer).table) == len(analyzer.unit_ids)
    sic.suggest_merges(analyzer)
    assert sic.find_duplicate_units(analyzer).units_to_remove() == []
    sic.suggest_splits(analyzer)
    sic.plan_curation(analyzer)


NOT_OF_UNITS = ("plot_drift", "plot_effect_vs_quality", "plot_split")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, "all excluded"])
def test_figures_are_drawn_or_one_error(tmp_path, kind):
    analyzer = read(tmp_path, kind)
    ids = [*analyzer.unit_ids, 0, 1][:2]
    of_one = {"plot_similarity", "plot_unit_overview"}
    of_pairs = {"plot_pair_overview", "plot_template_features"}
    for name in sic.__all__:
        if not name.startswith("plot_") or name in NOT_OF_UNITS:
            continue
        given = ids[:1] if name in of_one else ids if name in of_pairs else [ids]
        with contextlib.suppress(sic.SiCurationError):
            getattr(sic, name)(analyzer, *given)
        plt.close("all")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(c, marks=pytest.mark.slow)
        for c in ("metrics", "merges", "splits", "demo", "report")
    ]
    + ["info", "cluster-info", "check"],
)
def test_commands_end_with_a_result_or_one_line(tmp_path, kind, command):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "folder")
    KINDS[kind](folder)
    arguments = {
        "demo": ["demo", "--folder", folder, "--output", tmp_path / "demo"],
        "report": ["report", folder, tmp_path / "page.html"],
        "cluster-info": ["cluster-info", folder, "--output", tmp_path / "info.tsv"],
    }
    done = CliRunner().invoke(cli, [str(a) for a in arguments.get(command, [command, folder])])
    fault = done.exception
    assert fault is None or isinstance(fault, SystemExit | sic.SiCurationError), repr(fault)
    assert command != "check" or "' failed:" not in done.output


OPTIONAL = {
    "templates": ["templates.npy"],
    "features": ["pc_feature*"],
    "amplitudes": ["amplitudes.npy"],
    "similarities": ["similar_templates.npy"],
    "settings and whitening": ["ops.npy", "whitening*"],
    "all that can be": [
        "templates*", "pc_feature*", "amplitudes.npy", "similar_templates.npy", "ops.npy",
        "whitening*", "spike_positions.npy", "cluster_*", "channel_shanks.npy", "kept_spikes.npy",
        "spike_detection_templates.npy",
    ],
}  # fmt: skip
OF_TIMES = (
    "info {folder}", "metrics {folder}", "contamination {folder}", "connections {folder}",
    "lineage {folder}", "splits {folder}", "cleaning {folder}", "duplicates {folder}",
    "journal {folder} --output {out}/journal.jsonl", "compare {folder} {whole}",
    "compute {folder} --output {out}/a.zarr", "attach {out}/a.zarr {folder}",
    "export-nwb {folder} {out}/a.nwb --session-start-time 2024-05-01T12:00:00Z --t-start 0",
    "export-phy {folder} {out}/phy", "report {folder} {out}/page.html",
    "replay {whole} {folder} {out}/replayed", "split-sessions {folder} {out}/s --borders 40s",
)  # fmt: skip
OF_TEMPLATES = (
    "merges {folder}", "cluster-info {folder} --output {out}/i.tsv", "demo --folder {folder}",
)  # fmt: skip


def without(folder, files):
    for pattern in files:
        for path in folder.glob(pattern):
            path.unlink()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["templates", "all that can be"])
def test_commands_without_files_that_they_can_do_without(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = without(shutil.copytree(sic.example_folder(), tmp_path / "folder"), OPTIONAL[kind])
    names, told = {"folder": folder, "whole": sic.example_folder(), "out": tmp_path}, set()
    for command in OF_TIMES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            done = CliRunner().invoke(cli, command.format(**names).split())
        assert done.exit_code == 0, (command, done.output, done.exception)
        said = [one for one in caught if "templates.npy: is missing" in str(one.message)]
        assert len(said) <= 1, command  # none where nothing is missed
        told |= {command.split()[0] for _ in said}
    assert told >= {"metrics", "contamination", "compute", "attach", "export-nwb", "report"}
    for command in OF_TEMPLATES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = CliRunner().invoke(cli, command.format(**names).split())
        assert done.exit_code != 0, command
        text = f"{done.output} {done.exception}"
        assert "no templates.npy, which this needs: copy it" in text, command
    assert not (tmp_path / "si_curation_demo").exists()


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[] if k == "templates" else pytest.mark.slow) for k in OPTIONAL]
)
def test_functions_without_files_that_they_can_do_without(tmp_path, kind):
    whole = sic.read_kilosort_as_analyzer(sic.example_folder())
    folder = without(shutil.copytree(sic.example_folder(), tmp_path / "folder"), OPTIONAL[kind])
    has_templates = (folder / "templates.npy").exists()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", sic.SiCurationWarning)
        analyzer = sic.read_kilosort_as_analyzer(folder)
    said = [str(one.message) for one in caught if "read without" in str(one.message)]
    assert len(said) == (0 if has_templates else 1)
    panel = ["contamination", "contamination_low"]
    panel = [name for name in panel if name in sic.contamination_panel(whole)]
    pd.testing.assert_frame_equal(
        sic.contamination_panel(analyzer)[panel], sic.contamination_panel(whole)[panel]
    )
    pd.testing.assert_frame_equal(sic.reconstruct_lineage(analyzer), sic.reconstruct_lineage(whole))
    counts = [one.compute("cross_correlograms").get_data()[0] for one in (analyzer, whole)]
    np.testing.assert_array_equal(*counts)
    names = ["presence_ratio", "isi_violation", "rp_violation"]
    own, its = (
        one.compute("curation_metrics", metric_names=names).get_data() for one in (analyzer, whole)
    )
    pd.testing.assert_frame_equal(own, its)
    session = sic.CurationSession(analyzer)
    merged = session.merge([4, 7])
    session.split(merged, np.arange(session.get_spikes(merged).size) % 2)
    session.label([8], "good")
    changed = session.apply()
    sic.reconstruct_lineage(changed)
    assert set(session.table.index) == set(changed.unit_ids)
    if not has_templates:
        assert sic.read_phy_folder(folder).templates is None
        assert not analyzer.has_extension("templates")
        assignment = analyzer.get_extension("template_assignment")
        assert assignment.num_templates == 10
        for ask in (
            assignment.get_templates,
            lambda: assignment.get_unit_template(4),
            lambda: analyzer.compute("template_best_channels"),
            lambda: sic.suggest_merges(analyzer),
        ):
            with pytest.raises(sic.MissingDataError, match=r"no templates\.npy"):
                ask()


def test_ids_at_phys_limit_are_merged(tmp_path):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "folder")
    clusters = np.load(folder / "spike_clusters.npy")
    clusters[clusters == 13] = 2**31 - 2
    np.save(folder / "spike_clusters.npy", clusters)
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    merged = session.merge([4, 2**31 - 2])
    assert merged == 13
    session.split(merged, [i % 2 for i in range(session.get_spikes(merged).size)])
    sic.export_to_phy(session.apply(), tmp_path / "phy")
    ids = sic.read_phy_folder(tmp_path / "phy").cluster_ids.tolist()
    assert ids == [7, 8, 9, 10, 11, 12, 14, 15]


@pytest.mark.parametrize("label", [10**400, -(10**400), 2**63])
def test_labels_that_no_program_can_hold(label):
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
    with pytest.raises(sic.ParameterError, match="64 bits"):
        session.label([4], label, field="layer")
    assert len(session.history) == 0
    session.label([4], 2**63 - 1, field="layer")
    session.apply()


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
@pytest.mark.slow
def test_ids_that_are_stored_unsigned(tmp_path, dtype):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "folder")
    before = sic.read_kilosort_as_analyzer(folder)
    expected = before.compute("template_features").get_data()
    for name in ("spike_clusters", "spike_templates", "spike_detection_templates"):
        np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy").astype(dtype))
    analyzer = sic.read_kilosort_as_analyzer(folder)
    for found, one in zip(analyzer.compute("template_features").get_data(), expected, strict=True):
        np.testing.assert_array_equal(found, one)
    assert not [f for f in sic.check_phy_folder(folder) if "failed" in f.evidence]

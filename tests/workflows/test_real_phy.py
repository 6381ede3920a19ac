"""What the real phy does and shows, beside ours.

Needs an interpreter with phy 2.1.0, named by the environment variable SI_CURATION_PHY_PYTHON.
"""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as sc

import si_curation as sic
from helpers import needs, read_figures

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).parents[1] / "helpers" / "drive_phy.py"


@pytest.fixture(scope="module")
def phy():
    python = needs.python_with("phy")

    def run(folder, operations=()):
        arguments = [python, str(DRIVER), str(folder)]
        if operations:
            # beside the folder: phy reads what is in it
            path = Path(folder).with_suffix(".operations.json")
            path.write_text(json.dumps(list(operations)))
            arguments.append(str(path))
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            arguments, capture_output=True, text=True, timeout=300, env=environment
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
        assert lines, done.stdout[-2000:] + done.stderr[-2000:]
        answers = json.loads(lines[-1].removeprefix("ANSWERS "))
        answers["clusters"] = {int(k): v for k, v in answers["clusters"].items()}
        return answers

    return run


def copy_of(source, target):
    names = shutil.ignore_patterns("phy_*", "PROVENANCE.md", "__pycache__")
    shutil.copytree(source, target, ignore=names)
    for path in target.iterdir():
        path.chmod(0o644)
    return target


def random_operations(session, rng, count):
    """Do random operations in a session, and tell how phy would do them."""
    operations = []
    while len(operations) < count:
        ids = [i for i in session.unit_ids if session.get_spikes(i).size > 3]
        kind = rng.choice(["merge", "split", "parts", "label"])
        if kind == "merge":
            chosen = sorted(rng.choice(ids, rng.integers(2, 4), replace=False).tolist())
            session.merge(chosen)
            operations.append(["merge", chosen])
        elif kind == "label":
            chosen, group = [int(rng.choice(ids))], str(rng.choice(["good", "mua", "noise"]))
            session.label(chosen, group)
            operations.append(["label", chosen, group])
        else:
            unit_id = int(rng.choice(ids))
            spikes = session.get_spikes(unit_id)
            num_parts = 2 if kind == "split" else 3
            parts = rng.integers(0, num_parts, spikes.size)
            parts[:num_parts] = np.arange(num_parts)
            if kind == "split":  # phy's lasso: some spikes, the rest follows
                session.split(unit_id, [np.flatnonzero(parts == 0)])
                operations.append(
                    ["split", spikes[parts == 0].tolist(), [0] * int((parts == 0).sum())]
                )
            else:
                session.split(unit_id, parts)
                operations.append(["split", spikes.tolist(), parts.tolist()])
    return operations


def groups_of(folder):
    with (folder / "cluster_group.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {int(r["cluster_id"]): r["group"] for r in rows if r["group"] != "unsorted"}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_operations_in_phy_and_in_a_session(phy, tmp_path, seed):
    folder = copy_of(sic.example_folder(), tmp_path / "folder")
    analyzer = sic.read_kilosort_as_analyzer(folder, unwhiten="phy")
    session = sic.CurationSession(analyzer)
    operations = random_operations(session, np.random.default_rng(seed), 12)
    answers = phy(folder, operations)["clusters"]

    clusters = np.load(folder / "spike_clusters.npy").ravel()
    applied = session.apply()
    spikes = applied.sorting.to_spike_vector()
    np.testing.assert_array_equal(applied.unit_ids[spikes["unit_index"]], clusters)
    table = session.table
    assert {i: g for i, g in table["group"].items() if g != "unsorted"} == groups_of(folder)
    channels = applied.compute("template_best_channels").get_data(outputs="indices")
    for unit_id, answer in answers.items():
        assert table.loc[unit_id, "num_spikes"] == answer["num_spikes"]
        assert table.loc[unit_id, "template_id"] == answer["template"]
        assert table.loc[unit_id, "group"] == answer["group"]
        assert channels[unit_id].tolist() == answer["channels"]
    read_back = sic.read_kilosort_as_analyzer(folder, unwhiten="phy")
    assert read_back.unit_ids.tolist() == session.unit_ids
    assert read_back.get_sorting_property("quality").tolist() == table["group"].tolist()


@pytest.mark.parametrize("name", ["example", "ks1_phy_curated"])
def test_phy_opens_what_a_session_curated(phy, tmp_path, request, name):
    source = sic.example_folder()
    if name != "example":
        source = request.getfixturevalue("shared_data") / name
    analyzer = sic.read_kilosort_as_analyzer(source, unwhiten="phy")
    session = sic.CurationSession(analyzer)
    random_operations(session, np.random.default_rng(3), 10)
    applied = session.apply()
    channels = applied.compute("template_best_channels").get_data(outputs="indices")
    out = sic.export_to_phy(applied, tmp_path / "out")
    answers = phy(out)["clusters"]
    table = session.table
    assert sorted(answers) == table.index.tolist()
    for unit_id, answer in answers.items():
        assert answer["num_spikes"] == table.loc[unit_id, "num_spikes"]
        assert answer["template"] == table.loc[unit_id, "template_id"]
        assert answer["channels"] == channels[unit_id].tolist()
        assert answer["group"] == table.loc[unit_id, "group"]


def points_of(answers):
    """What phy's TemplateFeatureView draws of two clusters: two arrays (n, 2)."""
    return [np.array(points).T for points in answers["points"]]


def test_phy_shows_the_template_features_of_kilosort_4(phy, tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    features = analyzer.compute("template_features", progress_bar=False)
    answers = phy(sic.export_to_phy(analyzer, tmp_path / "out"))
    drawn = points_of(answers)
    expected = features.get_pair_projections(*answers["pair"])
    for points, values in zip(drawn, expected, strict=True):
        assert len(points) > 100
        np.testing.assert_allclose(points, values, rtol=1e-6)
    # the clusters lie apart along their own axes
    assert np.median(drawn[0][:, 0]) > np.median(drawn[1][:, 0])
    assert np.median(drawn[1][:, 1]) > np.median(drawn[0][:, 1])

    first, last = answers["pair"]
    for kind, shown in answers["amplitudes"].items():
        for unit_id, (spikes, amplitudes) in zip((first, last), shown, strict=False):
            ours = sic.get_spike_amplitudes(analyzer, unit_id, kind, first_unit_id=first)
            np.testing.assert_array_equal(ours.spike_indices, spikes)
            np.testing.assert_allclose(ours.amplitudes, amplitudes, rtol=1e-6)
        behind = sic.get_spike_amplitudes(
            analyzer, last, kind, first_unit_id=first, background=True
        )
        np.testing.assert_array_equal(behind.spike_indices, shown[2][0])
        np.testing.assert_allclose(behind.amplitudes, shown[2][1], rtol=1e-6)


def test_phy_opens_the_export_of_another_sorter(phy, tmp_path):
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[10.0], num_channels=8, num_units=5, seed=0
    )
    sorting = sorting.rename_units(["a", "b", "c", "d", "e"])
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    steps = {"random_spikes": {}, "templates": {"operators": ["average"]}, "spike_amplitudes": {}}
    analyzer.compute(steps, progress_bar=False)
    session = sic.CurationSession(analyzer)
    merged = session.merge(["a", "b"])
    session.label([merged], "good")
    applied = session.apply()
    out = sic.export_to_phy(applied, tmp_path / "out", copy_recording=True)
    answers = phy(out)["clusters"]
    counts = applied.sorting.count_num_spikes_per_unit()
    assert sorted(a["num_spikes"] for a in answers.values()) == sorted(counts.values())
    good = [a["num_spikes"] for a in answers.values() if a["group"] == "good"]
    assert good == [counts[merged]]


def test_phy_shows_the_template_features_of_another_sorter(phy, tmp_path):
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[10.0], num_channels=8, num_units=5, seed=0
    )
    analyzer = sc.create_sorting_analyzer(sorting.rename_units(list("abcde")), recording)
    steps = ["random_spikes", "waveforms", "templates", "principal_components"]
    analyzer.compute([*steps, "template_features"], progress_bar=False)
    features = analyzer.get_extension("template_features")
    answers = phy(sic.export_to_phy(analyzer, tmp_path / "out"))
    expected = features.get_pair_projections("a", "e")
    for points, values in zip(points_of(answers), expected, strict=True):
        np.testing.assert_allclose(points, values, rtol=1e-6)


@pytest.mark.parametrize("name", ["example", "ks1_phy_curated"])
def test_the_figures_hold_what_the_views_of_phy_hold(phy, tmp_path, request, name):
    if name == "example":
        source = sic.example_folder()
    else:
        source = request.getfixturevalue("shared_data") / name
    folder = copy_of(source, tmp_path / "folder")
    answers = phy(folder)
    analyzer = sic.read_kilosort_as_analyzer(folder, unwhiten="phy")
    first, last = min(answers["clusters"]), max(answers["clusters"])
    widget = sic.plot_features(analyzer, [first, last], num_background_spikes=0)
    shown = answers["feature_view"]
    ids = [analyzer.channel_ids[channel] for channel in shown["channels"]]
    assert [widget.axes[i].get_ylabel().split(",")[0] for i in (0, 4)] == [
        f"channel {channel_id}" for channel_id in ids
    ]
    panels = iter(widget.axes)
    for i in range(4):
        for j in range(i, 4):
            drawn = read_figures.points(next(panels))
            for cluster, ours, xy in zip(
                (first, last), drawn, shown["panels"][f"{i},{j}"], strict=True
            ):
                # phy shows 0 for a channel that is not among the best of the second cluster
                known = np.isin(shown["channels"], answers["clusters"][cluster]["channels"])
                columns = [(i == j) or known[j % 2], known[i % 2]]
                expected = np.array(xy).T
                assert ours.shape == expected.shape
                np.testing.assert_allclose(
                    ours[:, columns], expected[:, columns], rtol=1e-5, atol=1e-5
                )

    templates, masks = map(np.array, answers["templates"])
    axes = sic.plot_unit_templates_by_source(analyzer, [last]).ax
    *sources, _ = read_figures.waveforms(axes)
    assert len(sources) == len(templates) > 1
    positions = analyzer.get_channel_locations()
    channels = answers["clusters"][last]["channels"]
    order = np.argsort(-masks, kind="stable")
    widths = [c.get_linewidth()[0] for c in sorted(axes.collections, key=lambda c: c.get_zorder())]
    np.testing.assert_allclose(widths[:-1], 0.5 + 1.4 * masks[order])
    heights = [one[:, :, 1] - positions[channels, 1][:, None] for one in sources]
    scale = np.ptp(heights[0]) / np.ptp(templates[order[0]])
    assert templates[order[0]].any(axis=0).all()
    for ours, theirs in zip(heights, templates[order], strict=True):
        # phy draws a template as 0 on channels that are not among its own best
        known = theirs.any(axis=0)
        np.testing.assert_allclose((ours / scale)[known], theirs.T[known], rtol=1e-3, atol=1e-3)

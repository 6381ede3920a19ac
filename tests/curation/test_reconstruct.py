"""`reconstruct_journal`: replays bit for bit what phy did, and tells how much the log explains."""

import json
import os
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from helpers.drive_phy import __file__ as DRIVER
from si_curation.variables import RECONSTRUCTED

PHY = os.environ.get("SI_CURATION_PHY_PYTHON")


class Phy:
    """phy's clustering, labels, undo and log, as phy 2.1 has them, for one session."""

    def __init__(self, folder, next_id=None):
        self.folder = folder
        templates = np.load(folder / "spike_templates.npy").ravel().astype(np.int64)
        path = folder / "spike_clusters.npy"
        self.clusters = np.load(path).ravel().astype(np.int64) if path.exists() else templates
        self.next_id = next_id or int(self.clusters.max()) + 1
        self.labels = {}
        table = folder / "cluster_group.tsv"
        if table.exists():
            read = pd.read_csv(table, sep="\t")
            if "group" in read:
                self.labels = dict(zip(read["cluster_id"], read["group"], strict=True))
        self.done, self.undone, self.lines = [], [], []
        self.write("context:99           Initialize joblib cache dir at `/somewhere/.phy`.")
        self.write("context:181          Save data to `/somewhere/.phy/spikes_per_cluster.pkl`.")

    def write(self, text):
        place = "" if text.startswith("context") else "supervisor:738       "
        number = len(self.lines)
        line = f"12:{number // 60:02d}:{number % 60:02d}.000 [I] {place}{text}"
        self.lines.append(f"\x1b[0m{line}\x1b[0m\n" * 2)

    def change(self, kind, text, clusters, labels):
        self.done.append((kind, self.clusters, self.labels))
        self.undone.clear()
        self.clusters, self.labels = clusters, labels
        self.write(text)

    def merge(self, ids):
        new, self.next_id = self.next_id, self.next_id + 1
        labels = dict(self.labels)
        values = {self.labels.get(i) for i in ids} - {None}
        if len(values) == 1:
            labels[new] = values.pop()
        elif values:
            sizes = {i: int((self.clusters == i).sum()) for i in sorted(ids)}
            largest = self.labels.get(max(sizes, key=sizes.get))
            labels.update({new: largest} if largest else {})
        clusters = np.where(np.isin(self.clusters, ids), new, self.clusters)
        names = ", ".join(map(str, sorted(ids)))
        self.change("cluster assign", f"Merge clusters {names} to {new}.", clusters, labels)

    def split(self, rows):
        touched = np.unique(self.clusters[rows])
        chosen = np.zeros(self.clusters.size, dtype=bool)
        chosen[rows] = True
        affected = np.isin(self.clusters, touched)
        clusters, labels, new = self.clusters.copy(), dict(self.labels), self.next_id
        clusters[chosen] = new
        rest = [i for i in touched if (affected & ~chosen & (self.clusters == i)).any()]
        made = {new: touched.tolist()}
        for place, i in enumerate(rest, new + 1):
            clusters[affected & ~chosen & (self.clusters == i)] = place
            made[place] = [i]
        self.next_id = new + len(made)
        for i, parents in made.items():
            values = {self.labels.get(p) for p in parents} - {None}
            labels.update({i: values.pop()} if len(values) == 1 else {})
        text = f"Assigned {int(affected.sum())} spikes."
        if len(made) == 1:
            text = f"Merge clusters {', '.join(map(str, touched))} to {new}."
        self.change("cluster assign", text, clusters, labels)

    def label(self, ids, value):
        labels = {**self.labels, **dict.fromkeys(ids, value)}
        names = ", ".join(map(str, ids))
        text = f"Change metadata_group for clusters {names} to {value}."
        self.change("move", text, self.clusters, labels)

    def move(self, word):
        source, target = (self.done, self.undone) if word == "Undo" else (self.undone, self.done)
        if source:
            kind, *state = source.pop()
            target.append((kind, self.clusters, self.labels))
            self.clusters, self.labels = state
            self.write(f"{word} {kind}.")

    def save(self):
        np.save(self.folder / "spike_clusters.npy", self.clusters.astype(np.int32))
        ids = np.unique(self.clusters).tolist()
        rows = [f"{i}\t{self.labels[i]}\n" for i in ids if i in self.labels]
        (self.folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n" + "".join(rows))
        self.write("context:181          Save data to `/somewhere/.phy/spikes_per_cluster.pkl`.")

    def close(self):
        with (self.folder / "phy.log").open("a") as file:
            file.writelines(self.lines)
        return self.next_id

    def at_random(self, rng, steps, shares):
        for kind in rng.choice(["merge", "split", "label", "Undo", "Redo"], steps, p=shares):
            ids = np.unique(self.clusters)
            if kind == "merge" and ids.size > 3:
                self.merge(rng.choice(ids, rng.integers(2, 4), replace=False).tolist())
            elif kind == "split":
                several = rng.choice(ids, rng.integers(1, 3), replace=False)
                rows = np.flatnonzero(np.isin(self.clusters, several))
                self.split(rng.choice(rows, max(1, rows.size // 3), replace=False))
            elif kind == "label":
                value = str(rng.choice(["good", "mua", "noise"]))
                self.label([int(rng.choice(ids))], value)
            elif kind in ("Undo", "Redo"):
                self.move(kind)


@pytest.fixture(scope="module")
def sorted_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sorted") / "ks"
    size = {"num_templates": 12, "num_channels": 8, "num_spikes": 3000, "duration_s": 10}
    sic.simulate_kilosort_folder(path, **size)
    (path / "cluster_group.tsv").unlink(missing_ok=True)
    return path


@pytest.fixture
def folder(sorted_folder, tmp_path):
    return shutil.copytree(sorted_folder, tmp_path / "phy")


def replayed(found, folder):
    """The session, resumed from the journal in another analyzer; checked against the folder."""
    path = found.write(folder.parent / f"journal{len(list(folder.parent.iterdir()))}.jsonl")
    analyzer = sic.read_kilosort_as_analyzer(folder, curation="discard")
    session = sic.CurationSession.resume(analyzer, path)
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    clusters = np.full(len(rows), -1)
    for unit_id in session.unit_ids:
        clusters[session.get_spikes(unit_id)] = unit_id
    with sic.read_phy_folder(folder) as opened:
        assert np.array_equal(clusters, np.asarray(opened.spike_clusters)[rows])
        assert session.table["group"].to_dict() == dict(opened.groups)
    return session


def shares(found):
    return found.table.set_index("what")["share"].to_dict()


def curated(folder):
    """What a curator does, in two sessions, with undo, redo, and an end that is not saved."""
    phy = Phy(folder)
    phy.merge([0, 1])  # 12
    phy.split(np.flatnonzero(phy.clusters == 2)[::3])  # 13, 14
    phy.label([13], "noise")
    phy.split(np.flatnonzero(phy.clusters == 14)[5:40])  # 15, 16
    phy.merge([3, 4, 5])  # 17
    phy.move("Undo")
    phy.merge([3, 4])  # 18
    phy.label([18, 12], "good")
    phy.move("Undo")
    phy.move("Redo")
    phy.split(np.flatnonzero(np.isin(phy.clusters, [6, 7]))[::2])  # 19, 20, 21
    phy.save()
    phy.label([8], "mua")
    next_id = phy.close()
    phy = Phy(folder, next_id)
    phy.merge([12, 15])  # 22
    phy.label([9], "noise")
    phy.save()
    phy.close()


def test_a_curation_is_told_step_by_step(folder):
    curated(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    found = sic.reconstruct_journal(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before
    assert found.verdict == "complete"
    assert list(found.table.columns) == list(RECONSTRUCTED)
    assert shares(found) == {"spikes": 1, "changed spikes": 1, "labels": 1}
    assert found.problems == ["session 1: 1 actions came after the last save"]
    assert [one.num_undone for one in found.log.sessions] == [1, 0]
    session = replayed(found, folder)
    history = session.history
    assert history["decided_by"].unique().tolist() == ["phy"]
    steps = history[history["operation"] != "label"]
    named = [(o, tuple(i)) for o, i in zip(steps["operation"], steps["inputs"], strict=True)]
    assert named[:4] == [("merge", (0, 1)), ("split", (2,)), ("split", (14,)), ("merge", (3, 4))]
    assert named[-1] == ("merge", (12, 15))
    assert history["reason"][0] == "line 5 of phy.log, at 12:00:02.000"
    assert set(history["when"]) == {""}
    # single steps of it can be undone
    assert session.undo() == "label"
    assert session.undo() == "merge"
    assert {12, 15} <= set(session.unit_ids)
    session.close()
    sources = found.session.label_sources.set_index("unit_id")
    assert sources.loc[22, ["value", "decided_by"]].tolist() == ["good", "phy"]


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 6))]
)
def test_whatever_was_done_replays(folder, seed):
    """Parts that are merged again leave several answers: none is taken, and it still replays."""
    rng = np.random.default_rng(seed)
    next_id = None
    for _ in range(3):
        phy = Phy(folder, next_id)
        phy.at_random(rng, 40, [0.3, 0.2, 0.25, 0.15, 0.1])
        if rng.random() < 0.8:
            phy.save()
        next_id = phy.close()
        next_id = next_id if rng.random() < 0.7 else None  # phy's cache was deleted
    found = sic.reconstruct_journal(folder)
    assert found.verdict in ("complete", "partial")
    replayed(found, folder).close()


@pytest.mark.slow
def test_truncated_logs(folder):
    curated(folder)
    lines = (folder / "phy.log").read_bytes().splitlines(keepends=True)
    for number in (1, 6, len(lines) // 2, len(lines) - 6):
        (folder / "phy.log").write_bytes(b"".join(lines[:number]))
        found = sic.reconstruct_journal(folder)
        assert found.verdict == "partial", number
        assert shares(found)["spikes"] < 1
        replayed(found, folder).close()
    (folder / "phy.log").write_bytes(b"".join(lines)[:-9])
    assert any("last line" in problem for problem in sic.reconstruct_journal(folder).problems)
    # the beginning is gone
    (folder / "phy.log").write_bytes(b"".join(lines[8:]))
    found = sic.reconstruct_journal(folder)
    assert found.verdict == "partial"
    assert any("does not begin" in problem for problem in found.problems)
    replayed(found, folder).close()
    (folder / "phy.log").unlink()
    found = sic.reconstruct_journal(folder)
    assert found.verdict == "no log"
    assert found.session.history["decided_by"].unique().tolist() == ["not told by phy.log"]
    replayed(found, folder).close()


def test_the_log_of_another_folder(folder, tmp_path):
    curated(folder)
    other = shutil.copytree(folder, tmp_path / "other")
    for name in ("spike_clusters.npy", "cluster_group.tsv", "phy.log"):
        (other / name).unlink()
    phy = Phy(other)
    phy.at_random(np.random.default_rng(3), 40, [0.5, 0.2, 0.2, 0.05, 0.05])
    phy.save()
    phy.close()
    shutil.copy(other / "phy.log", folder / "phy.log")
    found = sic.reconstruct_journal(folder)
    assert found.verdict == "other"
    assert "of the log" in found.problems[0]
    assert "phy" not in set(found.session.history["decided_by"])
    replayed(found, folder).close()


@pytest.mark.parametrize(
    "text",
    [
        "Merge clusters 100, 101 to 102.",
        "Merge clusters 22, 18 to 40.",
        "Merge clusters 8, 10 to 18.",
        "Merge clusters 0, 1 to 22.",
        "Undo cluster assign.",
    ],
)
def test_forged_lines(folder, text):
    curated(folder)
    log = folder / "phy.log"
    opened, *lines = log.read_text().splitlines(keepends=True)[::2]
    forged = f"12:00:01.500 [I] supervisor:738       {text}\n"
    log.write_text("".join([opened, lines[0], forged, *lines[1:]]))
    found = sic.reconstruct_journal(folder)
    assert found.verdict == "other"
    replayed(found, folder).close()


def test_what_is_no_log_and_what_phy_does_not_do(folder):
    curated(folder)
    for content in (b"", b"\xff" * 100):
        (folder / "phy.log").write_bytes(content)
        with pytest.raises(sic.ParameterError, match="no line that phy writes"):
            sic.reconstruct_journal(folder)
    (folder / "phy.log").unlink()
    clusters = np.load(folder / "spike_clusters.npy")
    clusters[np.flatnonzero(clusters == 10)[:3]] = 11
    np.save(folder / "spike_clusters.npy", clusters)
    with pytest.raises(sic.MissingDataError, match=r"clusters \[10, 11\] have other spikes"):
        sic.reconstruct_journal(folder)


def test_labels_that_were_changed_without_phy(folder):
    curated(folder)
    sic.write_phy_columns(folder, {"group": {18: "noise"}})
    found = sic.reconstruct_journal(folder)
    assert found.verdict == "partial"
    assert any("labels cluster 18 otherwise" in problem for problem in found.problems)
    session = replayed(found, folder)
    last = session.history.iloc[-1]
    assert (last["value"], last["decided_by"]) == ("noise", "not told by phy.log")
    session.close()


def test_the_folder_without_its_curation(folder):
    curated(folder)
    sorter = sic.read_kilosort_as_analyzer(folder, curation="discard")
    assert sorter.unit_ids.tolist() == list(range(12))
    assert set(sorter.get_sorting_property("quality")) == {"unsorted"}
    with pytest.raises(sic.ParameterError, match="curation is 'none'"):
        sic.read_kilosort_as_analyzer(folder, curation="none")


@pytest.mark.slow
@pytest.mark.skipif(not PHY, reason="SI_CURATION_PHY_PYTHON names no Python that has phy 2.1.0")
@pytest.mark.parametrize("remerges", [False, True])
def test_the_real_phy(tmp_path, remerges):
    """200 random steps with undo and redo in two sessions, and steps that are not saved."""
    folder = tmp_path / "phy"
    size = {"num_templates": 40, "num_channels": 16, "num_spikes": 8000, "duration_s": 20}
    sic.simulate_kilosort_folder(folder, **size)
    for seed in (7, 8):
        steps = [["random", seed, 100, 5, 60, remerges], ["save"], ["random", 1, 20, 5, 60, True]]
        operations = tmp_path / "operations.json"
        operations.write_text(json.dumps([*steps, ["quit"]]))
        subprocess.run([PHY, DRIVER, folder, operations], check=True, capture_output=True)
    found = sic.reconstruct_journal(folder)
    replayed(found, folder).close()
    assert [one.num_contradictions for one in found.log.sessions] == [0, 0]
    assert all(one.num_unsaved and one.num_undone for one in found.log.sessions)
    if remerges:
        assert found.verdict == "partial"
    else:
        assert found.verdict == "complete"
        assert shares(found)["changed spikes"] == 1
        assert found.log.sessions[0].folder.endswith("/phy/.phy")

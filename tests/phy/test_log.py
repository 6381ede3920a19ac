"""`read_phy_log`: what is in effect of what phy wrote down, and hostile logs."""

import pytest

import si_curation as sic
from si_curation.phy.log import read_phy_log

OPENED = "context:99           Initialize joblib cache dir at `/data/a/.phy`."
SAVED = "context:181          Save data to `/data/a/.phy/spikes_per_cluster.pkl`."


def text_of(*messages, times=1, colour=True, start=0):
    lines = []
    for number, message in enumerate(messages, start):
        place = "" if message[:7] == "context" else "supervisor:738       "
        line = f"11:{number // 60:02d}:{number % 60:02d}.123 [I] {place}{message}"
        lines += [f"\x1b[0m{line}\x1b[0m" if colour else line] * times
    return "\n".join(lines) + "\n"


def read(tmp_path, content):
    path = tmp_path / "phy.log"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_phy_log(path)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("colour", [True, False])
def test_undo_redo_and_what_was_saved(tmp_path, times, colour):
    messages = [
        OPENED,
        SAVED,
        "Merge clusters 0, 1 to 10.",
        "Change metadata_group for clusters 10 to good.",
        "Undo move.",
        "Redo move.",
        "Assigned 295 spikes.",
        "Undo cluster assign.",
        "Assigned 12 spikes.",
        "Change metadata_note for clusters 3, 10 to goes to 5, I think.",
        SAVED,
        "Undo move.",
        OPENED,
        SAVED,
        "Merge clusters 10, 2 to 15.",
    ]
    log = read(tmp_path, text_of(*messages, times=times, colour=colour))
    first, second = log.sessions
    assert [a.kind for a in first.in_effect] == ["merge", "label", "split", "label"]
    assert first.in_effect[0].cluster_ids == (0, 1)
    assert (first.in_effect[2].num_spikes, first.in_effect[2].time) == (12, "11:00:08.123")
    assert (first.in_effect[3].field, first.in_effect[3].value) == ("note", "goes to 5, I think")
    assert (first.num_undone, first.num_unsaved, first.num_contradictions) == (1, 0, 0)
    assert len(first.happened) == 5
    assert (second.in_effect, second.num_unsaved) == ([], 1)
    assert first.folder == "/data/a/.phy"
    assert (log.begins_within, log.ends_within_line) == (False, False)


def test_logs_without_beginning_or_end(tmp_path):
    text = text_of("Merge clusters 0, 1 to 10.", "Undo move.", "Merge clusters 2, 3 to 11.")
    log = read(tmp_path, text[: text.rindex(" to 11") + 5])
    assert log.begins_within
    assert log.ends_within_line
    (session,) = log.sessions
    assert [a.new_id for a in session.in_effect] == [10]
    assert session.num_contradictions == 1  # no label was there to undo


@pytest.mark.parametrize(
    "message",
    [
        "Merge clusters 1, 1 to 10.",
        "Merge clusters 1, , 2 to 10.",
        "Merge clusters 1, 2 to 99999999999999999999.",
        "Change metadata_group for clusters 99999999999 to good.",
        "Assigned 99999999999 spikes.",
    ],
)
def test_ids_that_phy_does_not_give(tmp_path, message):
    (session,) = read(tmp_path, text_of(message)).sessions
    assert session.in_effect == []
    assert session.num_contradictions == 1


def test_what_is_no_log(tmp_path):
    with pytest.raises(sic.FolderNotFoundError, match="the log that phy writes"):
        read_phy_log(tmp_path / "phy.log")
    for content in (b"", b"\x00" * 1000, b"\xff\xfe not a log", b"11:11:11.111 [I] x Merge\n"):
        with pytest.raises(sic.ParameterError, match="no line that phy writes"):
            read(tmp_path, content)


def test_long_and_strange_lines_take_no_time(tmp_path):
    label = "Change metadata_" + "x for clusters 1, 1 to " * 50_000 + "."
    strange = b"11:00:00.000 [I] supervisor:1 Change metadata_a for clusters 4 to \xff\xfe.\n"
    text = text_of("Merge clusters " + ", ".join(map(str, range(20_000))) + " to 20000.", label)
    log = read(tmp_path, text.encode() + strange)
    kinds = [(a.kind, len(a.cluster_ids)) for a in log.sessions[0].in_effect]
    assert kinds == [("merge", 20_000), ("label", 1)]

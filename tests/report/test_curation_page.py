"""The page that curates, in a real browser: what it saves is what a `CurationSession` does."""

from __future__ import annotations

import itertools
import json
import time

import numpy as np
import pytest
from spikeinterface.core import NumpySorting
from spikeinterface.curation import apply_curation

import si_curation as sic
from helpers import needs
from helpers.browser import (
    ALT,
    CONTROL,
    ENTER,
    LEFT,
    RIGHT,
    SHIFT,
    SPACE,
    TAB,
    Browser,
    find_programs,
)
from helpers.hostile_analyzer import EXTENSIONS, HOSTILE, compute_all, hostile_analyzer

pytestmark = pytest.mark.slow

CURATION = [("merge", [0, 1]), ("merge", [7, 8]), ("split", 9, 2), ("split", 10, 3)]
HOSTILE_NOTE = "</script><img src=x onerror=window.hacked=7> LONE \u2028 \U0001f9e0"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, downloads):
    if find_programs() is None:
        needs.skip("chromium and chromedriver are not installed")
    one = Browser(tmp_path_factory.mktemp("browser") / "profile")
    one.save_downloads(downloads)
    yield one
    one.quit()


@pytest.fixture(scope="module")
def analyzer(simulate):
    folder = simulate(
        "kilosort4",
        num_templates=19,
        num_channels=32,
        num_spikes=12_000,
        labels={3: "good", 6: "noise"},
        curation=CURATION,
    ).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.compute(EXTENSIONS)
    assert len(analyzer.unit_ids) == 20
    return analyzer


@pytest.fixture(scope="module")
def page(analyzer, tmp_path_factory):
    path = tmp_path_factory.mktemp("a päge") / "curate me #1.html"
    return sic.export_report(analyzer, path, curation=True, progress_bar=False)


@pytest.fixture
def fresh(browser, page):
    """The page as it is opened for the first time."""
    browser.open(page)
    browser.run("localStorage.clear()")
    browser.open(page)
    return browser


def nothing_went_wrong(browser, page):
    assert [text for text in browser.console() if "willReadFrequently" not in text] == []
    asked = [one for one in browser.requests() if not one.startswith("blob:")]
    assert set(asked) == {page.resolve().as_uri()}, "only the page itself was loaded"


def saved_file(browser, folder):
    """Save with the key, and wait for the file."""
    for path in folder.iterdir():
        path.unlink()
    browser.press("s", CONTROL)
    for _ in range(200):
        found = list(folder.glob("*.json"))
        if found and found[0].read_text(encoding="utf-8").endswith("}"):  # whole
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no file was saved")


def units_of(session):
    """Everything that a session says of its units."""
    table = session.table
    notes = table["note"] if "note" in table else [None] * len(table)
    rows = zip(table.index, table["group"], notes, strict=True)
    return {
        i: (group, note if isinstance(note, str) else None, session.get_spikes(i).tolist())
        for i, group, note in rows
    }


WALK = """
const [commands] = arguments;
const { session } = Report.curation;
const C = CurationState;
let state = C.begin(session);
for (const [name, ...given] of commands) {
  state = name === "undo" || name === "redo" ? C[name](state) : C[name](session, state, ...given);
}
const parts = (key) => {
  const { block } = session.suggestions.find((one) => one.key === key);
  return Report.curationViews.labelsOf(block);
};
const made = JSON.parse(JSON.stringify(C.toJSON(session, state, parts)));
const again = C.fromJSON(session, made);
const units = [...C.view(session, again).units.values()];
const rows = units.map((one) => [one.id, one.label ?? "unsorted", one.note, one.num_spikes]);
return [made, rows, JSON.stringify(again) === JSON.stringify(state)];
"""


def random_walk(session, rng, suggested):
    """Steps that both can do, done in the session; the commands for the page."""
    commands, splits = [], dict(suggested)
    for _ in range(40):
        ids = session.unit_ids
        what = rng.choice(["label", "label", "note", "merge", "accept", "undo", "redo"])
        units = [int(i) for i in rng.choice(ids, 2, replace=False)]
        if what == "label":
            name = str(rng.choice(["good", "mua", "noise", "unsorted"]))
            session.label(units[:1], name)
            commands.append([what, units[:1], name])
        elif what == "note":
            text = str(rng.choice(["", "twice", "a note of 'its' own"]))
            session.label(units[:1], text or None, "note")
            commands.append([what, units[0], text])
        elif what == "merge":
            session.merge(units)
            commands.append([what, units])
        elif what == "accept":
            known = [i for i in splits if i in ids]
            if known:
                session.split(known[0], splits[known[0]])
                commands.append([what, f"split:[{known[0]}]"])
        else:
            getattr(session, what)()
            commands.append([what])
    return commands


def test_steps_of_the_page_are_those_of_a_session(fresh, analyzer):
    """The state machine by itself: random steps, undone and done again."""
    found = sic.suggest_splits(analyzer)
    suggested = {unit_id: found.labels(unit_id) for unit_id in found.units()}
    assert suggested
    for seed in range(6):
        session = sic.CurationSession(analyzer)
        commands = random_walk(session, np.random.default_rng(seed), suggested)
        made, units, is_same = fresh.run(WALK, commands)
        assert is_same, "what is read again is what was saved"
        expected = units_of(session)
        assert {i: (group, note) for i, group, note, _ in units} == {
            i: one[:2] for i, one in expected.items()
        }
        assert {i: n for i, _, _, n in units} == {i: len(one[2]) for i, one in expected.items()}
        applied = sic.CurationSession(analyzer)
        assert applied.apply_spikeinterface_curation(made) == {}
        assert units_of(applied) == expected, commands
        theirs = apply_curation(NumpySorting.from_sorting(analyzer.sorting), made["curation_steps"])
        assert sorted(theirs.unit_ids.tolist()) == sorted(expected)


REFUSALS = """
const { session } = Report.curation;
const C = CurationState;
const text = (make) => {
  try {
    make();
    return "done";
  } catch (fault) {
    return fault instanceof C.Refused ? fault.message : `not refused: ${fault}`;
  }
};
const begun = C.begin(session);
const [a, b] = session.unit_ids;
const good = C.toJSON(session, C.merge(session, begun, [a, b]), () => []);
const changed = (change) => {
  const copy = JSON.parse(JSON.stringify(good));
  change(copy.si_curation);
  return text(() => C.fromJSON(session, copy));
};
const step = (made) => changed((own) => own.done.push(made));
return [
  text(() => C.fromJSON(session, good)),
  text(() => C.fromJSON(session, null)),
  text(() => C.fromJSON(session, { curation_steps: [] })),
  changed((own) => (own.version = 9)),
  changed((own) => (own.session = "0123456789abcdef")),
  changed((own) => (own.done = "all")),
  step({ do: "label", units: [a], label: "good" }),
  step({ do: "label", units: [b + 999], label: "good" }),
  step({ do: "label", units: [session.unit_ids[2]], label: "best" }),
  step({ do: "constructor" }),
  step({ do: "merge", units: [session.unit_ids[2]], id: 99, suggestion: null }),
  step({ do: "merge", units: session.unit_ids.slice(2, 4), id: a, suggestion: null }),
  step({ do: "merge", units: session.unit_ids.slice(2, 4), id: "99", suggestion: null }),
  step({ do: "merge", units: "ab", id: 99, suggestion: null }),
  step({ do: "split", unit: a, ids: [98, 99], suggestion: "split:[2]", counts: [1, 2] }),
  step({ do: "note", unit: session.unit_ids[2], note: "two\\nlines" }),
  step(null),
  text(() => C.accept(session, begun, "merge:[1,2,3]")),
];
"""


def test_what_could_not_have_been_made_is_refused(fresh):
    said = fresh.run(REFUSALS)
    assert said[0] == "done"
    parts = [
        "not a curation that a page",
        "not a curation that a page",
        "version 9",
        "another session",
        "steps are missing",
        "step 2 of it cannot be done here: there is no unit",
        "there is no unit",
        '"best" is no label',
        "no step",
        "two or more units",
        "was used before",
        "not of the kind",
        "its units is",
        "other suggestions",
        "one line",
        "no step",
        "no suggestion",
    ]
    for text, part in zip(said[1:], parts, strict=True):
        assert part in text


def shown(browser):
    """The id of what is shown, and its heading."""
    return browser.run(
        "return [Report.curation.open(), document.querySelector('#curate-item').textContent]"
    )


def test_a_whole_curation_by_keyboard(fresh, page, analyzer, downloads):
    browser = fresh
    for _ in range(20):  # the link to the section
        browser.press(TAB)
        if browser.run("return document.activeElement.hash === '#curate'"):
            break
    browser.press(ENTER)
    session = sic.CurationSession(analyzer)
    splits = sic.suggest_splits(analyzer)
    merged, split = sic.suggest_merges(analyzer).pairs(), splits.units()
    assert merged
    assert split
    for pair in merged:
        assert shown(browser)[1] == f"Merge units {pair[0]} and {pair[1]}?"
        browser.press("a")
        session.merge(pair)
    for unit_id in split:
        assert shown(browser)[1].startswith(f"Split unit {unit_id} into")
        browser.press("r")
    browser.press("z", CONTROL)
    assert shown(browser)[1].startswith(f"Split unit {split[-1]} into"), "what was undone is shown"
    browser.press("a")
    session.split(split[-1], splits.labels(split[-1]))
    labels = {"g": "good", "m": "mua", "n": "noise"}
    seen = []
    for number in range(60):
        if number == 9:  # in the middle
            decided = browser.texts("#curate-progress")
            browser.open(page)
            assert browser.texts("#curate-progress") == decided
            assert "this browser kept" in browser.texts("#curate-status")[0]
            browser.run("document.getElementById('curate').scrollIntoView()")
        kind, _, unit_id = shown(browser)[0].partition(":")
        assert kind == "unit"
        seen.append(int(unit_id))
        if number == 4:
            browser.press("t")
            for key in "seen twice":
                browser.press(key)
            browser.press(ENTER)
            session.label([int(unit_id)], "seen twice", "note")
            assert browser.run("return document.activeElement.id") == "curate-item"
        if number == 6:
            browser.press(SPACE)
            browser.press(RIGHT)
            browser.press(LEFT)
            browser.press(SPACE, SHIFT)
            assert shown(browser)[0] == f"unit:{unit_id}", "there and back again"
        key = "gmn"[number % 3]
        browser.press(key, ALT if number % 2 else None)
        session.label([int(unit_id)], labels[key])
        if "Everything is decided" in browser.texts("#curate-status")[0]:
            break
    assert len(set(seen)) == len(seen), "each unit comes once"
    total = len(session.unit_ids) + len(merged) + len(split)
    assert browser.texts("#curate-progress")[0].startswith(f"{total} of {total} decided")
    path = saved_file(browser, downloads)
    applied = sic.CurationSession(analyzer)
    applied.apply_spikeinterface_curation(path)
    assert units_of(applied) == units_of(session)
    steps = applied.history
    assert (steps["operation"] == "label").sum() == len(seen) + 1, "what was so is no step"
    groups = dict(zip(browser.run("return Report.data.units"), browser.run(GROUPS), strict=True))
    for unit_id, group in session.table["group"].items():
        assert groups.get(str(unit_id), group) == group, "the table of units follows"
    nothing_went_wrong(browser, page)


def test_rejected_merges_come_to_the_session(fresh, analyzer, downloads):
    fresh.run("document.getElementById('curate').scrollIntoView()")
    pair = list(sic.suggest_merges(analyzer).pairs()[0])
    fresh.press("r")
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(saved_file(fresh, downloads))
    assert session.history[["operation", "inputs", "value"]].values.tolist() == [
        ["review", pair, "rejected"]
    ]


GROUPS = "return Report.data.columns.find((c) => c.title === 'group').values"


def load(browser, path, how):
    """Load a file with the button's input, or by dropping it on the page; what is said of it."""
    browser.run("document.querySelector('#curate-status').textContent = ''")
    browser.run("document.querySelector('#curate-problem').textContent = ''")
    if how == "input":
        browser.run("document.getElementById('curate-file').style.display = 'block'")
        browser.type("#curate-file", str(path))
    else:
        browser.run(
            """
            const transfer = new DataTransfer();
            transfer.items.add(new File([arguments[0]], "dropped.json"));
            const how = { dataTransfer: transfer, bubbles: true, cancelable: true };
            document.querySelector("#units").dispatchEvent(new DragEvent("drop", how));
            """,
            path.read_text(encoding="utf-8"),
        )
    for _ in range(100):
        said = " ".join(browser.texts("#curate-status, #curate-problem:not([hidden])"))
        if "oaded" in said:
            return said
        time.sleep(0.05)
    raise AssertionError(said)


def test_files_are_loaded_again_and_others_refused(fresh, page, analyzer, tmp_path, downloads):
    browser = fresh
    browser.run("document.getElementById('curate').scrollIntoView()")
    first, second = [int(i) for i in analyzer.unit_ids[:2]]
    browser.type("#curate-merge-units", f"{first}, {second}")
    browser.press(ENTER)
    new = f"unit:{int(analyzer.unit_ids.max()) + 1}"
    assert shown(browser)[0] == new
    browser.type("#curate-merge-units", f"{first} 12345")
    browser.press(ENTER)
    assert "no unit" in browser.texts("#curate-problem")[0]
    assert f"{first}, 12345" in browser.texts("#curate-problem")[0]
    browser.run("Report.panels.openUnit(0)")
    assert "is gone: its spikes are in unit" in " ".join(browser.texts("#curate-desk .hint"))
    path = saved_file(browser, downloads)
    kept = path.rename(tmp_path / "kept.json")
    for how in ("input", "drop"):
        browser.run("localStorage.clear()")
        browser.open(page)
        assert browser.run("return Report.curation.state().done.length") == 0
        assert load(browser, kept, how).startswith("Loaded 1 steps")
        assert browser.run("return Report.curation.state().done.length") == 1
        browser.click("#curate-status button")
        assert browser.run("return Report.curation.state().done.length") == 0, "taken back"
    content = json.loads(kept.read_text())
    content["si_curation"]["session"] = "f" * 32
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    said = load(browser, other, "drop")
    assert "of another session" in said
    assert "ffffffff" in said
    assert "Nothing has changed" in said
    (tmp_path / "no.json").write_text("{")
    assert "JSON" in load(browser, tmp_path / "no.json", "input")
    with pytest.raises(sic.ParameterError, match=r"of another session.*ffffffff"):
        sic.CurationSession(analyzer).apply_spikeinterface_curation(other)
    nothing_went_wrong(browser, page)


FOCUSED = "const e = document.activeElement; return e.id || e.firstChild.textContent"


def test_a_screen_reader_finds_names_and_where_it_is(fresh):
    browser = fresh
    names = browser.run(
        """
        const named = (e) => e.ariaLabel || e.textContent.trim() || e.labels?.length ||
          document.getElementById(e.getAttribute("aria-labelledby"))?.textContent;
        const kinds = ["button", "input", "select", "progress", "[role]", "article"];
        return [...document.querySelectorAll(kinds.map((kind) => `#curate ${kind}`).join(", "))]
          .filter((e) => !named(e) && !["status", "alert"].includes(e.role))
          .map((e) => e.outerHTML.slice(0, 99));
        """
    )
    assert names == []
    live = browser.run(
        "return ['status', 'problem'].map((n) => document.getElementById('curate-' + n).role)"
    )
    assert live == ["status", "alert"]
    browser.run("document.getElementById('curate').scrollIntoView()")
    unit = browser.run("return Report.curation.view().shown[0].row")
    browser.run("Report.panels.openUnit(arguments[0])", unit)
    assert browser.run("return document.activeElement.id") == "curate-item"
    order = []
    for _ in range(5):
        browser.press(TAB)
        order.append(browser.run(FOCUSED))
    assert order == ["good", "mua", "noise", "unsorted", "curate-note"]
    pressed = browser.run(
        "return [...document.querySelectorAll('.choice button')].map((b) => b.ariaPressed)"
    )
    assert pressed.count("true") == 1
    levels = browser.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4, h5')].map(h => Number(h.tagName[1]))"
    )
    assert max(b - a for a, b in itertools.pairwise(levels)) == 1
    # single keys can be switched off, and do not act on what is not in sight
    browser.run("document.getElementById('curate-single').click()")
    browser.run("document.getElementById('curate-item').focus()")
    browser.press("g")
    assert browser.run("return Report.curation.state().done.length") == 0
    browser.run("document.getElementById('curate-single').click()")
    browser.run(
        "document.activeElement.blur(); document.getElementById('software').scrollIntoView()"
    )
    browser.press("g")
    assert browser.run("return Report.curation.state().done.length") == 0


def test_hostile_names_and_notes_are_text(browser, tmp_path, downloads):
    analyzer = hostile_analyzer()
    compute_all(analyzer)
    page = sic.export_report(
        analyzer, tmp_path / "r.html", curation=True, title="<img src=x>/../", progress_bar=False
    )
    browser.open(page)
    session = sic.CurationSession(analyzer)
    browser.run("Report.panels.openUnit(0)")
    browser.run(
        """
        const note = document.getElementById("curate-note");
        note.value = arguments[0].replace("LONE", String.fromCharCode(0xd800));
        note.dispatchEvent(new Event("change"));
        """,
        HOSTILE_NOTE,
    )
    note = HOSTILE_NOTE.replace("LONE", "\ufffd").replace(" \u2028 ", "   ")
    session.label([HOSTILE[0]], note, "note")
    browser.press("n")
    session.label([HOSTILE[0]], "noise")
    for row in (1, 2, 3):
        browser.run("Report.panels.openUnit(arguments[0])", row)
        assert HOSTILE[row] in shown(browser)[1]
        browser.press("g")
        session.label([HOSTILE[row]], "good")
    assert browser.run("return window.hacked === undefined")
    assert browser.run("return document.querySelectorAll('main img, main i').length") == 0
    path = saved_file(browser, downloads)
    assert path.parent == downloads
    applied = sic.CurationSession(analyzer)
    applied.apply_spikeinterface_curation(path)
    assert units_of(applied) == units_of(session)
    nothing_went_wrong(browser, page)

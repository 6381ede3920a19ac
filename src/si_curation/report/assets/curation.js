"use strict";
// The desk: shows one thing to decide at a time, and turns keys, buttons and files into steps.
Report.curation = (() => {
  const { element, number, panels, data } = Report;
  const views = Report.curationViews;
  const C = CurationState;
  const session = Report.read("curation-data");
  const STORE = `si_curation:${session.content}`;
  const SINGLE = "si_curation:single keys";
  const MAX_BYTES = 500e6;
  const KEYS = { good: "g", mua: "m", noise: "n", unsorted: "u" };
  const part = (name) => document.getElementById(`curate-${name}`);
  const desk = part("desk");
  const list = part("list");
  const blockOf = (key) => session.suggestions.find((one) => one.key === key)?.block;

  let state = C.begin(session);
  let open = null; // the id of the item that is shown
  let before = null; // what a file that was loaded replaced
  let saved = state.done;
  let isStored = true;

  const view = () => C.view(session, state);
  const items = () => C.items(session, state);
  const itemOf = (id) => items().find((item) => item.id === id) ?? null;
  const now = () => new Date().toISOString();

  // the browser's store; a page may not be allowed to use it

  function fromStore(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  }

  function toStore(key, text) {
    try {
      localStorage.setItem(key, text);
      return true;
    } catch {
      return false;
    }
  }

  function keep() {
    const { done, undone, next } = state;
    const own = { version: 1, session: session.content, name: session.name, done, undone, next };
    isStored = toStore(STORE, JSON.stringify({ si_curation: own }));
    if (!isStored) complain("This browser keeps nothing for this page: save the file before you close it.");
  }

  function restore(text) {
    try {
      state = C.fromJSON(session, JSON.parse(text));
      return true;
    } catch (fault) {
      toStore(`${STORE}:not read`, text);
      complain(`What this browser kept of these units cannot be gone on with, and was set aside: ${fault.message}.`);
      return false;
    }
  }

  // what is said

  const say = (text, ...more) => part("status").replaceChildren(text, ...more);

  function complain(text) {
    part("problem").textContent = text;
    part("problem").hidden = !text;
  }

  function tell() {
    const { decided, total, units, suggestions } = view().progress;
    part("meter").max = Math.max(total, 1);
    part("meter").value = decided;
    const detail = suggestions[1] ? ` (${suggestions[0]} of ${suggestions[1]} suggestions, ${units[0]} of ${units[1]} units)` : "";
    part("progress").textContent = `${decided} of ${total} decided${detail}`;
    part("undo").disabled = !state.done.length;
    part("redo").disabled = !state.undone.length;
    const undo = state.done.at(-1);
    part("undo").title = undo ? `Undo ${C.describeStep(session, undo)}` : "";
    part("save").textContent = state.done === saved ? "Save" : "Save •";
    part("save").title = state.done === saved ? "" : "There are steps that no file has";
    listItems();
    labelRows();
  }

  const progressText = () => `${view().progress.decided} of ${view().progress.total} decided.`;

  // the list of what there is to decide

  const STATES = { open: "not decided", accepted: "accepted", rejected: "rejected", settled: "one unit already", stale: "units are gone" };

  function textOf({ suggestion, unit }) {
    if (suggestion) return `${C.nameOf(suggestion)} · ${STATES[suggestion.status]}`;
    const label = unit.isSure ? "" : unit.label ?? "";
    return `unit ${unit.id} · ${C.isDecided(unit) ? unit.label : label ? `${label}?` : "not decided"}`;
  }

  function listItems() {
    const found = items();
    const options = [...list.options];
    if (options.length !== found.length || options.some((option, i) => option.value !== found[i].id)) {
      const groups = [["Suggestions", (item) => item.suggestion], ["Units", (item) => item.unit]].map(([label, belongs]) =>
        element("optgroup", { label }, ...found.filter(belongs).map(({ id }) => element("option", { value: id }))),
      );
      list.replaceChildren(...groups.filter((group) => group.childElementCount));
    }
    found.forEach((item, i) => {
      const option = list.options[i];
      const text = textOf(item);
      if (option.textContent !== text) option.textContent = text;
      option.className = item.isOpen ? "open" : "decided";
    });
    list.value = open ?? "";
  }

  // labels in the table of units

  const groups = data.columns.find((column) => column.title === "group" && column.group === "Units");
  if (groups) groups.choices = C.LABELS;

  function labelRows() {
    if (!groups) return;
    const { units, gone } = view();
    const rows = [];
    session.unit_ids.forEach((id, i) => {
      const row = session.rows[i];
      if (row === null) return;
      const unit = units.get(id);
      const text = unit ? unit.label ?? (session.labels[i] || "") : `now ${gone.get(id).join(", ")}`;
      if (groups.values[row] !== text) {
        groups.values[row] = text;
        rows.push(row);
      }
    });
    Report.tables.changed(rows);
  }

  // the desk

  function button(text, key, action, pressed = null) {
    const shown = key ? [" ", element("kbd", { "aria-hidden": "true" }, key)] : [];
    const one = element("button", { type: "button", "aria-pressed": pressed, "aria-keyshortcuts": key && (C.LABELS.includes(text) ? `${key} Alt+${key}` : key) }, text, ...shown);
    one.addEventListener("click", action);
    return one;
  }

  const nameOf = (unit) => {
    if (unit.part) return `Unit ${unit.id}, part ${unit.part.number} of unit ${unit.parents[0].id}`;
    const made = unit.row === null ? ` (${unit.parents.map(({ id }) => id).join(" + ")})` : "";
    return `Unit ${unit.id}${made}`;
  };

  function drawUnit(panel, bar, unit) {
    const choice = element("span", { role: "group", "aria-label": "Label", class: "choice" });
    for (const label of C.LABELS) choice.append(button(label, KEYS[label], () => decideLabel(label), String((unit.label ?? "unsorted") === label)));
    bar.append(choice);
    const input = element("input", { id: "curate-note", maxlength: C.MAX_NOTE, "aria-keyshortcuts": "t" });
    input.value = unit.note ?? "";
    input.addEventListener("change", () => writeNote(unit.id, input.value));
    panel.append(element("p", { class: "note-line" }, element("label", { for: "curate-note" }, "Note"), input));
    if (unit.row === null) views.fillNew(panel, unit, blockOf);
    else panels.fillUnit(panel, unit.row, undefined, (figure, other) => mergeButton(figure, unit.id, other));
  }

  function mergeButton(figure, id, other) {
    const theirs = C.whereNow(view(), other.id);
    if (theirs === null || theirs === id) return;
    const one = button("Merge", "", () => mergeByHand([id, theirs]));
    one.setAttribute("aria-label", `Merge units ${id} and ${theirs}`);
    figure.append(one);
  }

  function drawSuggestion(panel, bar, one) {
    const isOpen = one.status === "open";
    for (const [text, key, action] of [["Accept", "a", () => decide(C.accept)], ["Reject", "r", () => decide(C.reject)]]) {
      const made = button(text, key, action, String(one.status === `${text.toLowerCase()}ed`));
      made.disabled = !isOpen;
      bar.append(made);
    }
    panel.append(element("p", { class: "hint" }, views.summary(one)));
    const changed = one.kind === "merge" && isOpen && String(one.now) !== String(one.units);
    if (changed) panel.append(element("p", { class: "hint" }, `The units are parts of others now: accepting merges units ${one.now.join(" and ")}.`));
    if (!isOpen) panel.append(element("p", { class: "hint" }, `${C.describe(one)}.`));
    if (one.kind === "merge") panels.fillPair(panel, one.pair);
    else views.fillSplit(panel, one.block);
  }

  function drawGone(panel, bar, { row, id }) {
    const into = view().gone.get(id).join(", ");
    panel.append(element("p", { class: "hint" }, `Unit ${id} is gone: its spikes are in unit ${into}.`));
    panels.fillUnit(panel, row);
  }

  function drawPair(panel, bar, index) {
    const pair = data.pairs[index];
    const ids = [...new Set([pair.a, pair.b].map((row) => C.whereNow(view(), idOfRow(row))))];
    if (ids.length > 1 && !ids.includes(null)) bar.append(button("Merge", "", () => mergeByHand(ids)));
    panels.fillPair(panel, index);
  }

  const titleOf = (item) => {
    if (item.gone) return `Unit ${item.gone.id}`;
    if (item.pair !== undefined) return `Units ${data.units[data.pairs[item.pair].a]} and ${data.units[data.pairs[item.pair].b]}`;
    if (item.suggestion) return item.suggestion.kind === "merge" ? `Merge units ${item.suggestion.units.join(" and ")}?` : `Split unit ${item.suggestion.units[0]} into ${item.suggestion.counts.length} units?`;
    const { unit } = item;
    return `${nameOf(unit)} · ${unit.label ?? "unsorted"} · ${number(unit.num_spikes)} spikes`;
  };

  function show(item, { focus = true } = {}) {
    open = item.id ?? null;
    const heading = element("h3", { tabindex: "-1", id: "curate-item" }, titleOf(item));
    const bar = element("div", { class: "bar" }, heading);
    const panel = element("article", { class: "panel", "aria-labelledby": "curate-item" }, bar);
    desk.replaceChildren(panel);
    if (item.gone) drawGone(panel, bar, item.gone);
    else if (item.pair !== undefined) drawPair(panel, bar, item.pair);
    else if (item.suggestion) drawSuggestion(panel, bar, item.suggestion);
    else drawUnit(panel, bar, item.unit);
    list.value = open ?? "";
    if (focus) {
      heading.focus({ preventScroll: true });
      const top = panel.getBoundingClientRect().top;
      if (top < 0 || top > innerHeight / 2) document.getElementById("curate-bar").scrollIntoView();
    }
  }

  const idOfRow = (row) => session.unit_ids[session.rows.indexOf(row)];

  function openUnit(row) {
    const id = idOfRow(row);
    show(itemOf(`unit:${id}`) ?? { gone: { row, id } });
  }

  function openPair(index) {
    const key = session.suggestions.find((one) => one.pair === index)?.key;
    show(key ? itemOf(key) : { pair: index });
  }

  // steps

  // make: the state after; then: the id of the item to go to, by default the next undecided one
  function change(make, words, then = null) {
    let next;
    try {
      next = make();
    } catch (fault) {
      if (!(fault instanceof C.Refused)) throw fault;
      complain(`Not done: ${fault.message}.`);
      return;
    }
    state = next;
    complain("");
    keep();
    tell();
    const wanted = then ? itemOf(then) : C.nextOpen(items(), open);
    say(`${words()} ${progressText()}${wanted || then ? "" : " Everything is decided: save the file."}`);
    const item = wanted ?? itemOf(open);
    if (item) show(item);
  }

  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  const lastStep = () => `${capital(C.describeStep(session, state.done.at(-1)))}.`;

  function decideLabel(label) {
    const unit = itemOf(open)?.unit;
    if (unit) change(() => C.label(session, state, [unit.id], label, now()), lastStep);
  }

  function decide(how) {
    const one = itemOf(open)?.suggestion;
    if (one) change(() => how(session, state, one.key, now()), lastStep);
  }

  function mergeByHand(ids) {
    change(() => C.merge(session, state, ids, now()), lastStep, `unit:${newest()}`);
  }

  // the id that the next merge gives
  const newest = () => (typeof session.next_id === "number" ? state.next : session.next_id.replace(/\d+$/, "") + state.next);

  function writeNote(id, text) {
    if (C.cleanNote(text) === (view().units.get(id)?.note ?? "")) return;
    change(() => C.note(session, state, id, text, now()), () => `Note of unit ${id} kept.`, `unit:${id}`);
  }

  function goBack(how, words) {
    const step = how === C.undo ? state.done.at(-1) : state.undone.at(-1);
    if (!step) return;
    state = how(state);
    complain("");
    keep();
    tell();
    say(`${words} ${C.describeStep(session, step)}. ${progressText()}`);
    const made = step.do === "merge" ? `unit:${step.id}` : null;
    const item = itemOf(C.itemOf(step)) ?? itemOf(made);
    if (item) show(item);
  }

  function go(direction) {
    const item = C.nextOpen(items(), open, direction);
    if (item) show(item);
    else say(`Nothing else is undecided. ${progressText()}`);
  }

  // files

  function save() {
    const made = C.toJSON(session, state, (key) => views.labelsOf(blockOf(key)));
    const address = URL.createObjectURL(new Blob([JSON.stringify(made)], { type: "application/json" }));
    const name = session.name.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 60);
    element("a", { href: address, download: `${name || "session"}-curation.json` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    saved = state.done;
    tell();
    say(`Saved ${state.done.length} steps. ${progressText()}`);
  }

  async function load(file) {
    if (!file) return;
    try {
      if (file.size > MAX_BYTES) throw new C.Refused(`it has more than ${MAX_BYTES / 1e6} MB`);
      let given;
      try {
        given = JSON.parse(await file.text());
      } catch (fault) {
        throw new C.Refused(`it cannot be read as JSON (${fault.message})`);
      }
      const found = C.fromJSON(session, given);
      before = state;
      state = found;
    } catch (fault) {
      if (!(fault instanceof C.Refused)) throw fault;
      complain(`${file.name} was not loaded: ${fault.message}. Nothing has changed.`);
      return;
    }
    complain("");
    saved = state.done;
    keep();
    tell();
    const back = button("Take it back", "", takeBack);
    say(`Loaded ${state.done.length} steps of ${file.name} in place of ${before.done.length}. ${progressText()} `, back);
    start({ focus: false });
  }

  function takeBack() {
    state = before;
    keep();
    tell();
    say(`What was here before is back. ${progressText()}`);
    start({ focus: true });
  }

  const start = ({ focus }) => show(C.nextOpen(items(), null) ?? items()[0], { focus });

  // keys

  const WRITING = "input:not([type=checkbox]):not([type=file]), textarea, select:not(#curate-list)";

  function keyOf(event) {
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && !event.altKey) {
      if (name === "s") return save;
      if (event.target.closest(WRITING)) return null;
      if (name === "z") return event.shiftKey ? redo : undo;
      return name === "y" ? redo : null;
    }
    if (event.target.closest(WRITING) || event.ctrlKey || event.metaKey || !isInSight(event.target)) return null;
    // with Alt the key may write another letter
    if (event.altKey) return LABEL_KEYS[event.code.replace("Key", "").toLowerCase()] ?? null;
    if (!part("single").checked) return null;
    const isButton = event.target.closest("button, a, summary, input");
    if (name === " ") return isButton ? null : () => go(event.shiftKey ? -1 : 1);
    return OTHER_KEYS[name] ?? LABEL_KEYS[name] ?? null;
  }

  // keys act on what one sees, also where nothing has the focus
  function isInSight(target) {
    if (target.closest("#curate")) return true;
    const { top, bottom } = desk.getBoundingClientRect();
    return target === document.body && bottom > 0 && top < innerHeight;
  }

  const undo = () => goBack(C.undo, "Undone:");
  const redo = () => goBack(C.redo, "Done again:");
  const LABEL_KEYS = Object.fromEntries(Object.entries(KEYS).map(([label, key]) => [key, () => decideLabel(label)]));
  const OTHER_KEYS = {
    a: () => decide(C.accept),
    r: () => decide(C.reject),
    t: () => part("note")?.focus(),
    ArrowRight: () => go(1),
    ArrowLeft: () => go(-1),
  };

  document.addEventListener("keydown", (event) => {
    const action = event.isComposing ? null : keyOf(event);
    if (action) {
      event.preventDefault();
      action();
      return;
    }
    if (event.target.id !== "curate-note") return;
    if (event.key === "Escape") event.target.value = view().units.get(itemOf(open).unit.id).note ?? "";
    if (event.key === "Escape" || event.key === "Enter") document.getElementById("curate-item").focus({ preventScroll: true });
  });

  part("undo").addEventListener("click", undo);
  part("redo").addEventListener("click", redo);
  part("save").addEventListener("click", save);
  part("load").addEventListener("click", () => part("file").click());
  part("file").addEventListener("change", async (event) => {
    await load(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  });
  list.addEventListener("input", () => show(itemOf(list.value), { focus: false }));
  part("merge").addEventListener("submit", (event) => {
    event.preventDefault();
    const texts = part("merge-units").value.split(/[\s,+]+/).filter(Boolean);
    const known = new Map([...view().units.keys()].map((id) => [String(id), id]));
    const missing = texts.filter((text) => !known.has(text));
    if (missing.length) {
      complain(`Not done: there is no unit ${missing.join(", ")} now.`);
      return;
    }
    part("merge-units").value = "";
    mergeByHand(texts.map((text) => known.get(text)));
  });
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    load(event.dataTransfer.files[0]);
  });
  // the same page in another tab
  window.addEventListener("storage", (event) => {
    if (event.key !== STORE || !event.newValue || !restore(event.newValue)) return;
    tell();
    say(`Steps were made in another tab. ${progressText()}`);
    show(itemOf(open) ?? items()[0], { focus: false });
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isStored && state.done !== saved) event.preventDefault();
  });
  part("single").checked = fromStore(SINGLE) !== "off";
  part("single").addEventListener("change", () => toStore(SINGLE, part("single").checked ? "on" : "off"));

  panels.openUnit = openUnit;
  panels.openPair = openPair;
  const kept = fromStore(STORE);
  if (kept !== null && restore(kept)) say(`${state.done.length} steps that this browser kept are here. ${progressText()}`);
  tell();
  start({ focus: false });

  return { session, state: () => state, view, open: () => open };
})();

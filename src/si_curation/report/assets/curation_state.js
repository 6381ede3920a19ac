"use strict";
// A curation as values: what the session began with, the steps, and what there is after them. Pure
// functions: nothing here knows of the page, of the browser's store, or of the time.
//
// session: {content, name, unit_ids, labels, num_spikes, rows, next_id, suggestions}, of the page
// state: {done: [step], undone: [step], next: number of the next new id}
// step: {do: "label", units, label} | {do: "note", unit, note} | {do: "reject", suggestion}
//   | {do: "merge", units, id, suggestion} | {do: "split", unit, ids, suggestion, counts},
//   each with when (text)
// suggestion: {key, kind: "merge", units: [a, b]} | {key, kind: "split", units: [a], counts}
const CurationState = (() => {
  const LABELS = ["good", "mua", "noise", "unsorted"];
  const UNDECIDED = new Set([null, "", "unsorted"]);
  const VERSION = 1;
  const MAX_NOTE = 500;
  const FORMAT = "2";

  class Refused extends Error {}

  const refuse = (text) => {
    throw new Refused(text);
  };

  // ids grow and are never used twice, also after an undo
  const parted = (id) => (typeof id === "number" ? ["", id] : [id.replace(/\d+$/, ""), Number(/\d+$/.exec(id)?.[0] ?? -1)]);
  const newId = (session, number) => (typeof session.next_id === "number" ? number : parted(session.next_id)[0] + number);

  function begin(session) {
    return { done: [], undone: [], next: parted(session.next_id)[1] };
  }

  // one line that can stand in a table of phy
  function cleanNote(text) {
    const lone = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;
    const line = text.replace(lone, "\uFFFD").replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ");
    return line.trim().slice(0, MAX_NOTE).replace(lone, "").trim();
  }

  // what there is after the steps: units by id, and of those that are gone what became of them

  function fresh(session) {
    const units = new Map();
    session.unit_ids.forEach((id, i) => {
      const label = UNDECIDED.has(session.labels[i]) ? null : session.labels[i];
      units.set(id, { id, label, note: null, num_spikes: session.num_spikes[i], row: session.rows[i], parents: [], part: null, isSure: true });
    });
    return { units, gone: new Map(), decisions: new Map() };
  }

  // phy's rule: the one label that there is; where they differ, that of the unit with most spikes
  function inherited(parts, field) {
    const known = new Set(parts.map((part) => part[field]).filter((value) => value !== null));
    if (known.size <= 1) return [...known][0] ?? null;
    return parts.reduce((most, part) => (part.num_spikes > most.num_spikes ? part : most))[field];
  }

  function ordered(session, ids) {
    return typeof session.next_id === "number" ? [...ids].sort((a, b) => a - b) : ids;
  }

  function present(view, id) {
    return view.units.get(id) ?? refuse(`there is no unit ${id} now`);
  }

  function replaced(view, olds, news) {
    for (const { id } of olds) {
      view.units.delete(id);
      view.gone.set(id, news.map((one) => one.id));
    }
    for (const one of news) view.units.set(one.id, one);
  }

  const STEPS = {
    label(session, view, { units, label }) {
      if (!LABELS.includes(label)) refuse(`${JSON.stringify(label)} is no label; expected ${LABELS.join(", ")}`);
      for (const id of units) view.units.set(id, { ...present(view, id), label, isSure: true });
    },
    note(session, view, { unit, note }) {
      if (typeof note !== "string" || cleanNote(note) !== note) refuse("a note is one line of text");
      view.units.set(unit, { ...present(view, unit), note: note || null });
    },
    merge(session, view, { units, id, suggestion }) {
      if (!Array.isArray(units) || new Set(units).size < 2 || new Set(units).size < units.length) refuse("a merge is of two or more units, each once");
      const parts = ordered(session, units).map((one) => present(view, one));
      refuseUsed(session, view, [id]);
      const num_spikes = parts.reduce((sum, part) => sum + part.num_spikes, 0);
      const isSure = parts.every((part) => part.isSure && part.label === parts[0].label);
      const merged = { id, label: inherited(parts, "label"), note: inherited(parts, "note"), num_spikes, row: null, parents: parts, part: null, isSure };
      replaced(view, parts, [merged]);
      if (suggestion) view.decisions.set(suggestion, "accepted");
    },
    split(session, view, { unit, ids, suggestion, counts }) {
      const known = session.suggestions.find((one) => one.key === suggestion);
      if (!known || known.kind !== "split" || known.units[0] !== unit) refuse(`this page has no split of unit ${unit}: it was suggested on a page with other suggestions`);
      if (String(known.counts) !== String(counts) || !Array.isArray(ids) || ids.length !== counts.length) refuse(`the split of unit ${unit} is not the one that this page suggests`);
      const whole = present(view, unit);
      refuseUsed(session, view, ids);
      const parts = ids.map((id, part) => ({ ...whole, id, num_spikes: counts[part], row: null, parents: [whole], part: { suggestion, number: part }, isSure: false }));
      replaced(view, [whole], parts);
      view.decisions.set(suggestion, "accepted");
    },
    reject(session, view, { suggestion }) {
      view.decisions.set(suggestion, "rejected");
    },
  };

  function refuseUsed(session, view, ids) {
    for (const id of ids) {
      if (typeof id !== typeof session.next_id) refuse(`the unit id ${JSON.stringify(id)} is not of the kind that ids have here`);
      if (view.units.has(id) || view.gone.has(id)) refuse(`the unit id ${id} was used before`);
    }
    if (new Set(ids).size < ids.length) refuse("a new id is given twice");
  }

  // the unit that a unit is part of now; null where it was split
  function whereNow(view, id) {
    if (view.units.has(id)) return id;
    const next = view.gone.get(id);
    return !next || next.length !== 1 ? null : whereNow(view, next[0]);
  }

  // "accepted", "rejected", "open", "settled" (its units are one already) or "stale" (gone)
  function standing(view, suggestion) {
    const decided = view.decisions.get(suggestion.key);
    if (decided) return { status: decided, units: suggestion.units };
    const now = [...new Set(suggestion.units.map((id) => whereNow(view, id)))];
    if (now.includes(null)) return { status: "stale", units: [] };
    if (suggestion.kind === "split") return { status: now[0] === suggestion.units[0] ? "open" : "stale", units: now };
    return { status: now.length > 1 ? "open" : "settled", units: now };
  }

  const views = new WeakMap();

  // {units, gone, shown, suggestions: [{...suggestion, status, now}], progress}
  function view(session, state) {
    if (!views.has(state.done)) {
      const found = fresh(session);
      for (const step of state.done) STEPS[step.do](session, found, step);
      views.set(state.done, finished(session, found));
    }
    return views.get(state.done);
  }

  function finished(session, found) {
    found.suggestions = session.suggestions.map((one) => {
      const { status, units } = standing(found, one);
      return { ...one, status, now: units };
    });
    // units that are not in this page are not counted; new ones are
    found.shown = [...found.units.values()].filter((unit) => unit.row !== null || unit.parents.length);
    found.progress = progress(found);
    return found;
  }

  // a label that a new unit inherited of others is not a decision about it
  const isDecided = (unit) => unit.isSure && !UNDECIDED.has(unit.label);

  function progress({ shown, suggestions }) {
    const asked = suggestions.filter(({ status }) => ["open", "accepted", "rejected"].includes(status));
    const units = shown.filter(isDecided).length;
    const open = asked.filter(({ status }) => status === "open").length;
    return {
      units: [units, shown.length],
      suggestions: [asked.length - open, asked.length],
      decided: units + asked.length - open,
      total: shown.length + asked.length,
    };
  }

  // steps

  function after(session, state, step) {
    const known = STEPS[step.do] ?? refuse(`${step.do} is no step of a curation`);
    const done = [...state.done, step];
    const before = view(session, state);
    const found = { units: new Map(before.units), gone: new Map(before.gone), decisions: new Map(before.decisions) };
    known(session, found, step);
    views.set(done, finished(session, found));
    const used = step.do === "merge" ? [step.id] : step.do === "split" ? step.ids : [];
    const next = used.reduce((most, id) => Math.max(most, parted(id)[1] + 1), state.next);
    return { done, undone: [], next };
  }

  const label = (session, state, units, name, when = "") => after(session, state, { do: "label", units, label: name, when });

  const note = (session, state, unit, text, when = "") => after(session, state, { do: "note", unit, note: cleanNote(text), when });

  function merge(session, state, units, when = "", suggestion = null) {
    return after(session, state, { do: "merge", units, id: newId(session, state.next), suggestion, when });
  }

  function openOne(session, state, key) {
    const one = view(session, state).suggestions.find((suggestion) => suggestion.key === key);
    if (!one) refuse(`this page has no suggestion ${key}`);
    if (one.status !== "open") refuse(`there is nothing to decide: ${describe(one)}`);
    return one;
  }

  function accept(session, state, key, when = "") {
    const one = openOne(session, state, key);
    if (one.kind === "merge") return merge(session, state, one.now, when, key);
    const ids = one.counts.map((_, part) => newId(session, state.next + part));
    return after(session, state, { do: "split", unit: one.units[0], ids, suggestion: key, counts: one.counts, when });
  }

  function reject(session, state, key, when = "") {
    openOne(session, state, key);
    return after(session, state, { do: "reject", suggestion: key, when });
  }

  function undo(state) {
    const step = state.done.at(-1);
    return step ? { ...state, done: state.done.slice(0, -1), undone: [...state.undone, step] } : state;
  }

  function redo(state) {
    const step = state.undone.at(-1);
    return step ? { ...state, done: [...state.done, step], undone: state.undone.slice(0, -1) } : state;
  }

  // what there is to decide, in its order

  function items(session, state) {
    const found = view(session, state);
    const suggestions = found.suggestions.map((one) => ({ id: one.key, suggestion: one, isOpen: one.status === "open" }));
    const units = found.shown.map((unit) => ({ id: `unit:${unit.id}`, unit, isOpen: !isDecided(unit) }));
    return [...suggestions, ...units];
  }

  // the next one that is not decided after that of an id, from the start again at the end
  function nextOpen(list, id, direction = 1) {
    const at = list.findIndex((item) => item.id === id);
    const count = list.length;
    const from = at < 0 && direction < 0 ? 0 : at;
    for (let k = 1; k <= count; k++) {
      const item = list[(((from + direction * k) % count) + count) % count];
      if (item.isOpen && item.id !== id) return item;
    }
    return null;
  }

  // texts

  const SAYS = { accepted: "accepted", rejected: "rejected", open: "not decided", settled: "its units are one already", stale: "its units are gone" };

  function nameOf(suggestion) {
    return suggestion.kind === "merge" ? `merge ${suggestion.units.join(" + ")}` : `split ${suggestion.units[0]}`;
  }

  const describe = (suggestion) => `${nameOf(suggestion)}: ${SAYS[suggestion.status]}`;

  function describeStep(session, step) {
    if (step.do === "label") return `unit ${step.units.join(", ")}: ${step.label}`;
    if (step.do === "note") return `note of unit ${step.unit}`;
    if (step.do === "merge") return `merge of ${step.units.join(" + ")} to unit ${step.id}`;
    if (step.do === "split") return `split of unit ${step.unit} to units ${step.ids.join(", ")}`;
    const known = session.suggestions.find(({ key }) => key === step.suggestion);
    return `${known ? nameOf(known) : "a suggestion"}: rejected`;
  }

  // the item of a step, to look at it again
  function itemOf(step) {
    if (step.do === "label") return `unit:${step.units[0]}`;
    if (step.do === "note") return `unit:${step.unit}`;
    return step.suggestion ?? `unit:${step.units[0]}`;
  }

  // SpikeInterface's format: each merge and split a curation, and the labels at the end. What the
  // page itself reads again is beside it. partsOf(key): the part of each spike of a split's unit

  function toJSON(session, state, partsOf) {
    const steps = [];
    let ids = session.unit_ids;
    for (const step of state.done) {
      if (step.do === "merge") {
        steps.push({ format_version: FORMAT, unit_ids: ids, merges: [{ unit_ids: step.units, new_unit_id: step.id }] });
        ids = [...ids.filter((id) => !step.units.includes(id)), step.id];
      } else if (step.do === "split") {
        const split = { unit_id: step.unit, mode: "labels", labels: partsOf(step.suggestion), new_unit_ids: step.ids };
        steps.push({ format_version: FORMAT, unit_ids: ids, splits: [split] });
        ids = [...ids.filter((id) => id !== step.unit), ...step.ids];
      }
    }
    steps.push(labelsAtTheEnd(ids, view(session, state).units));
    const rejected = view(session, state).suggestions.filter((one) => one.kind === "merge" && one.status === "rejected").map((one) => one.units);
    const own = { version: VERSION, session: session.content, name: session.name, rejected, done: state.done, undone: state.undone, next: state.next };
    return { curation_steps: steps, si_curation: own };
  }

  function labelsAtTheEnd(ids, units) {
    const manual = [];
    const texts = { quality: new Set(LABELS), note: new Set() };
    for (const id of ids) {
      const unit = units.get(id);
      const labels = {};
      if (unit.label !== null) labels.quality = [unit.label];
      if (unit.note !== null) labels.note = [unit.note];
      for (const [name, [text]] of Object.entries(labels)) texts[name].add(text);
      if (Object.keys(labels).length) manual.push({ unit_id: id, labels });
    }
    const definitions = { quality: { label_options: [...texts.quality], exclusive: true } };
    if (texts.note.size) {
      // the format wants two options at least
      const options = texts.note.size > 1 ? [...texts.note] : [...texts.note, `not ${[...texts.note][0]}`];
      definitions.note = { label_options: options, exclusive: true };
    }
    return { format_version: FORMAT, unit_ids: ids, label_definitions: definitions, manual_labels: manual };
  }

  // the state that a file or the browser's store holds; every step is done again, so that none is
  // taken that could not have been made here
  function fromJSON(session, given) {
    const own = given?.si_curation;
    if (typeof own !== "object" || own === null) refuse("it is not a curation that a page like this one saved");
    if (own.version !== VERSION) refuse(`it has version ${JSON.stringify(own.version)}; this page reads version ${VERSION}`);
    if (own.session !== session.content) {
      refuse(`it is of another session (${String(own.name)}, content ${String(own.session).slice(0, 8)}); this page is of ${session.name}, content ${session.content.slice(0, 8)}`);
    }
    if (!Array.isArray(own.done) || !Array.isArray(own.undone)) refuse("its steps are missing");
    let state = begin(session);
    for (const [number, step] of [...own.done, ...[...own.undone].reverse()].entries()) {
      try {
        state = after(session, state, checked(step));
      } catch (fault) {
        refuse(`step ${number + 1} of it cannot be done here: ${fault.message}`);
      }
    }
    for (let i = 0; i < own.undone.length; i++) state = undo(state);
    const next = Number.isSafeInteger(own.next) ? own.next : 0;
    return { ...state, next: Math.max(state.next, next) };
  }

  // only what a step has, of the types that it has
  function checked(step) {
    const isId = (id) => typeof id === "number" || typeof id === "string";
    const areIds = (ids) => Array.isArray(ids) && ids.length > 0 && ids.every(isId);
    const isKey = (key) => typeof key === "string";
    const KINDS = { units: areIds, unit: isId, id: isId, ids: areIds, label: isKey, note: isKey, suggestion: (key) => key === null || isKey(key), counts: Array.isArray };
    const HAS = { label: ["units", "label"], note: ["unit", "note"], merge: ["units", "id", "suggestion"], split: ["unit", "ids", "suggestion", "counts"], reject: ["suggestion"] };
    const names = Object.hasOwn(HAS, step?.do) ? HAS[step.do] : refuse(`${JSON.stringify(step?.do)} is no step of a curation`);
    const plain = { do: step.do };
    for (const name of names) plain[name] = KINDS[name](step[name]) ? step[name] : refuse(`its ${name} is ${JSON.stringify(step[name])}`);
    return { ...plain, when: typeof step.when === "string" ? step.when : "" };
  }

  return {
    LABELS, MAX_NOTE, Refused, begin, view, items, nextOpen, label, note, merge, accept, reject, undo, redo,
    toJSON, fromJSON, describe, describeStep, itemOf, nameOf, isDecided, whereNow, cleanNote,
  };
})();

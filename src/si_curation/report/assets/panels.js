"use strict";
// Panels of one unit, or of two that are compared, drawn when they are opened.
Report.panels = (() => {
  const { element, number } = Report;
  const { charts, waveforms, data } = Report;

  const unitLink = (id, row) =>
    row === null || row === undefined
      ? `unit ${id}`
      : element("a", { href: `#unit=${encodeURIComponent(id)}` }, `unit ${id}`);

  function figure(grid, title, className = "") {
    const one = element("figure", { class: className }, element("h4", {}, title));
    grid.append(one);
    return one;
  }

  const caption = (one, ...parts) => one.append(element("figcaption", {}, ...parts));
  const missing = (one, text) => one.append(element("p", { class: "note" }, text));

  // entries: [colour, text]
  function legend(one, entries) {
    const list = element("ul", { class: "legend" });
    for (const [fill, text] of entries) {
      const mark = Report.svg("svg", { width: 12, height: 12, "aria-hidden": "true" });
      mark.append(Report.svg("rect", { width: 12, height: 12, fill }));
      list.append(element("li", {}, mark, text));
    }
    one.append(list);
  }

  function correlogram(grid, title, its, { refractory, words, colour }) {
    const one = figure(grid, title);
    if (data.notes.correlograms) missing(one, data.notes.correlograms);
    else if (!its) missing(one, "This pair was not counted: compute cross_correlograms with pairs=\"all\".");
    else {
      charts.histogram(one, {
        edges: data.bins_ms,
        counts: its.counts,
        unit: "ms",
        what: "pairs of spikes",
        lines: refractory ? [-refractory, refractory] : [],
        baseline: its.baseline,
        xLabel: "lag (ms)",
        yLabel: "pairs of spikes",
        colour,
        label: `${title}: ${number(its.counts.reduce((a, b) => a + b, 0))} pairs, at most ${number(Report.largest(its.counts))} in a bin`,
      });
      const lines = refractory ? `dashed orange: refractory period of ${number(refractory)} ms; ` : "";
      const flat = its.baseline === null ? "" : "dashed grey: counts of independent spikes";
      caption(one, words || "", lines + flat);
    }
    return one;
  }

  function templates(grid, unit) {
    const title = "Template on its best channels";
    const { template } = unit;
    if (!template) {
      const one = figure(grid, title);
      missing(one, data.notes.template || "No template: the unit has no spikes, or its template no signal.");
      return;
    }
    const best = template.channel_ids[0];
    const words = `${template.name}, largest on channel ${best} (${number(template.amplitude)} ${data.amplitude_unit} peak to peak)`;
    const one = figure(grid, title);
    waveforms.draw(
      one,
      [{ template, which: 0, colour: waveforms.COLOURS[0] }],
      `${words}; on ${template.num_ranked} channels`,
    );
    caption(one, `${words}. Small numbers are channel ids.`);
    if (template.template_ids.length < 2) return;
    const parts = figure(grid, "Templates that the unit came from");
    const layers = template.template_ids.map((_, which) => ({
      template,
      which,
      colour: waveforms.COLOURS[which % waveforms.COLOURS.length],
    }));
    waveforms.draw(parts, layers, `${template.num_templates} templates on the same channels`, { all: true });
    const entries = template.template_ids.map((id, which) => {
      const share = (100 * template.counts[which]) / Math.max(unit.num_spikes, 1);
      return [layers[which].colour, `template ${id}: ${number(template.counts[which])} spikes, weight ${number(share)} %`];
    });
    legend(parts, entries);
    const left = template.num_templates - template.template_ids.length;
    if (left > 0) caption(parts, `${left} templates with fewer spikes are not drawn.`);
  }

  function amplitudes(grid, unit, { title = "Amplitude over time", ...options } = {}) {
    const one = figure(grid, title);
    const its = unit.amplitude;
    if (!its) {
      missing(one, data.notes.amplitude || "No spikes.");
      return;
    }
    const label = `Amplitudes of ${number(unit.num_spikes)} spikes over time`;
    const yLabel = data.spike_amplitude.label;
    const what = ` Amplitude: ${data.spike_amplitude.description}.`;
    if (its.density) {
      charts.overTime(one, { density: its.density, yLabel, label, ...options });
      const outside = its.density.outside;
      caption(one, "Dark where there are many spikes (logarithmic).", outside ? ` Spikes outside of the range shown: ${number(outside)}.` : "", what);
    } else {
      const [times, values] = [its.times_s.values, its.values.values];
      charts.overTime(one, { times, values, yLabel, label, y: charts.rangeOf([its]), ...options });
      caption(one, "Each point is a spike.", what);
    }
  }

  function intervals(grid, unit) {
    const one = figure(grid, "Intervals between spikes");
    const counts = unit.isi;
    charts.histogram(one, {
      edges: data.isi_edges_ms,
      counts,
      unit: "ms",
      what: "intervals",
      lines: unit.refractory_ms ? [unit.refractory_ms] : [],
      xLabel: "interval (ms)",
      yLabel: "intervals",
      label: `Intervals between successive spikes: ${number(counts.reduce((a, b) => a + b, 0))} up to 50 ms`,
    });
    caption(one, unit.refractory_ms ? `dashed orange: refractory period of ${number(unit.refractory_ms)} ms` : "");
  }

  // beside(figure, other): what is added below each
  function similar(grid, unit, beside) {
    const box = element("div", { class: "similar" }, element("h4", {}, "Most similar units"));
    grid.after(box);
    if (!unit.similar) {
      missing(box, data.notes.similar);
      return;
    }
    if (!unit.similar.length) missing(box, "There are no other units with spikes.");
    const row = element("div", { class: "small-multiples" });
    box.append(row);
    for (const other of unit.similar) {
      const one = element("figure");
      const title = element("h5", {}, unitLink(other.id, other.row), `, similarity ${number(other.similarity)}`);
      one.append(title);
      row.append(one);
      if (!other.ccg) {
        missing(one, data.notes.correlograms || "This pair was not counted.");
        beside?.(one, other);
        continue;
      }
      charts.histogram(one, {
        edges: data.bins_ms,
        counts: other.ccg.counts,
        baseline: other.ccg.baseline,
        unit: "ms",
        what: "pairs of spikes",
        xLabel: "lag (ms)",
        yLabel: "pairs",
        height: 150,
        compact: true,
        colour: "#5b6b7b",
        label: `Cross-correlogram of units ${unit.id} and ${other.id}: at most ${number(Report.largest(other.ccg.counts))} pairs in a bin`,
      });
      beside?.(one, other);
    }
  }

  function numbers(panel, row) {
    const body = element("tbody");
    let group = "";
    for (const column of data.columns) {
      if (column.group !== group) {
        group = column.group;
        body.append(element("tr", {}, element("th", { colspan: 4, scope: "rowgroup" }, group)));
      }
      const unitName = ["1", "count"].includes(column.unit) ? "" : column.unit;
      const reason = Report.reason(column, row);
      const kind = Report.value(column, row) === null ? "Missing here" : "Note";
      const why = reason ? `. ${kind}: ${reason}` : "";
      body.append(
        element(
          "tr",
          {},
          element("th", { scope: "row" }, column.title),
          element("td", {}, Report.text(column, row)),
          element("td", {}, unitName),
          element("td", {}, column.description + why),
        ),
      );
    }
    const head = element("tr", {}, ...["name", "value", "unit", "what it is"].map((text) => element("th", { scope: "col" }, text)));
    const table = element("table", { class: "numbers" }, element("thead", {}, head), body);
    panel.append(
      element("details", { open: "" }, element("summary", {}, "Labels and numbers, and what they mean"), table),
    );
  }

  function frame(id, title, container, buttons) {
    const heading = element("h3", { tabindex: "-1", id: `${id}-title` }, title);
    const bar = element("div", { class: "bar" }, heading);
    const panel = element("article", { class: "panel", id, "aria-labelledby": `${id}-title` }, bar);
    for (const [text, label, action] of buttons) {
      const button = element("button", { type: "button", "aria-label": label }, text);
      if (action) button.addEventListener("click", () => action(panel));
      else button.disabled = true;
      bar.append(button);
    }
    container.prepend(panel);
    return panel;
  }

  function show(panel) {
    const heading = panel.querySelector("h3");
    heading.focus({ preventScroll: true });
    panel.scrollIntoView({ block: "start" });
    document.getElementById("announce").textContent = `${heading.textContent} opened`;
  }

  function close(panel, back) {
    panel.remove();
    if (back) back.focus();
  }

  function openUnit(row) {
    const known = document.getElementById(`unit-panel-${row}`);
    if (known) {
      show(known);
      return known;
    }
    const unit = Report.unit(row);
    const beside = (other) =>
      other >= 0 && other < data.units.length
        ? (panel) => {
            panel.remove();
            openUnit(other);
          }
        : null;
    const title = `Unit ${unit.id}${unit.group ? ` · ${unit.group}` : ""} · ${number(unit.num_spikes)} spikes`;
    const panel = frame(`unit-panel-${row}`, title, document.getElementById("panels"), [
      ["← Previous", "Previous unit", beside(row - 1)],
      ["Next →", "Next unit", beside(row + 1)],
      ["Close", `Close unit ${unit.id}`, (one) => close(one, Report.tables.linkOf(row))],
    ]);
    fillUnit(panel, row, unit);
    show(panel);
    return panel;
  }

  function gridOf(panel) {
    const grid = element("div", { class: "grid" });
    panel.append(grid);
    return grid;
  }

  function fillUnit(panel, row, unit = Report.unit(row), beside = null) {
    const grid = gridOf(panel);
    templates(grid, unit);
    correlogram(grid, "Autocorrelogram", unit.acg, { refractory: unit.refractory_ms });
    intervals(grid, unit);
    amplitudes(grid, unit);
    charts.rate(figure(grid, "Firing rate over time"), unit.rate, "Firing rate over time");
    similar(grid, unit, beside);
    numbers(panel, row);
  }

  function openPair(index, button) {
    const known = document.getElementById(`pair-panel-${index}`);
    if (known) {
      show(known);
      return;
    }
    const [a, b] = [data.pairs[index].a, data.pairs[index].b].map(Report.unit);
    const panel = frame(`pair-panel-${index}`, `Units ${a.id} and ${b.id}`, document.getElementById("pair-panels"), [
      ["Close", "Close the comparison", (one) => close(one, button)],
    ]);
    fillPair(panel, index, [a, b]);
    show(panel);
  }

  function fillPair(panel, index, [a, b] = [data.pairs[index].a, data.pairs[index].b].map(Report.unit)) {
    const pair = data.pairs[index];
    const grid = gridOf(panel);
    overlaid(grid, [a, b], `blue: unit ${a.id}; orange: unit ${b.id}`);
    correlogram(grid, "Cross-correlogram", pair.ccg, { refractory: pair.refractory_ms, colour: "#5b6b7b" });
    beside(grid, [a, b], pair.refractory_ms);
    evidence(panel, data.evidence.map(([name, description], i) => [name, pair.evidence[i], description]));
  }

  // the templates of units in one figure
  function overlaid(grid, units, words) {
    const drawn = units.map((unit, k) => ({ unit, colour: waveforms.COLOURS[k % waveforms.COLOURS.length] })).filter(({ unit }) => unit.template);
    if (!drawn.length) return;
    const one = figure(grid, "Templates");
    const layers = drawn.map(({ unit, colour }) => ({ template: unit.template, which: 0, colour }));
    waveforms.draw(one, layers, `Templates of units ${drawn.map(({ unit }) => unit.id).join(" and ")} on their channels`);
    if (words) caption(one, words);
    else legend(one, drawn.map(({ unit, colour }) => [colour, `unit ${unit.id}`]));
  }

  // autocorrelograms and amplitudes of units, on the same scales
  function beside(grid, units, refractory) {
    const colours = units.map((_, k) => waveforms.COLOURS[k % waveforms.COLOURS.length]);
    units.forEach((unit, k) => {
      correlogram(grid, `Autocorrelogram of unit ${unit.id}`, unit.acg, { refractory, colour: colours[k] });
    });
    const known = units.map((unit) => unit.amplitude).filter(Boolean);
    const y = known.length ? charts.rangeOf(known) : null;
    units.forEach((unit, k) => amplitudes(grid, unit, { title: `Amplitude over time of unit ${unit.id}`, y, colour: colours[k] }));
  }

  function evidence(panel, rows) {
    const body = element("tbody");
    for (const [name, value, description] of rows) {
      body.append(element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value), element("td", {}, description)));
    }
    const head = element("tr", {}, ...["evidence", "value", "what it is"].map((text) => element("th", { scope: "col" }, text)));
    panel.append(element("table", { class: "numbers" }, element("thead", {}, head), body));
  }

  return {
    openUnit, openPair, fillUnit, fillPair, gridOf, figure, caption, missing, legend, correlogram, amplitudes, overlaid, beside, evidence,
  };
})();

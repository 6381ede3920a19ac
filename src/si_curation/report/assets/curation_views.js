"use strict";
// The evidence for what is to be decided, drawn beside it.
Report.curationViews = (() => {
  const { element, number, charts, waveforms, panels, data } = Report;
  const colourOf = (k) => waveforms.COLOURS[k % waveforms.COLOURS.length];

  function split(block) {
    const found = Report.read(`split-data-${block}`);
    const { template } = found;
    if (template) {
      template.channel_ids = template.channels.map((c) => data.channels.ids[c]);
      template.x_um = template.channels.map((c) => data.channels.x_um[c]);
      template.y_um = template.channels.map((c) => data.channels.y_um[c]);
    }
    return found;
  }

  const partName = (found, part) => `part ${part}, ${number(found.counts[part])} spikes`;

  function fillSplit(panel, block) {
    const found = split(block);
    const parts = found.counts.map((_, part) => part);
    const entries = parts.map((part) => [colourOf(part), partName(found, part)]);
    const grid = panels.gridOf(panel);
    const waves = panels.figure(grid, "Mean waveforms of the parts");
    if (found.template) {
      const layers = parts.map((which) => ({ template: found.template, which, colour: colourOf(which) }));
      waveforms.draw(waves, layers, `Mean waveforms of ${parts.length} parts on their channels`);
      panels.legend(waves, entries);
      panels.caption(waves, "Rebuilt from the features of spikes.");
    } else panels.missing(waves, "There are no features to rebuild waveforms from.");
    const cloud = panels.figure(grid, "Spikes in their features");
    if (found.points) drawPoints(cloud, found, parts);
    else panels.missing(cloud, "There are no features on channels that the spikes have in common.");
    drawCorrelograms(grid, found, parts);
    const known = found.parts.map((part) => part.amplitude).filter(Boolean);
    const y = known.length ? charts.rangeOf(known) : null;
    found.parts.forEach((part, k) => panels.amplitudes(grid, part, { title: `Amplitude over time of part ${k}`, y, colour: colourOf(k) }));
    panels.evidence(panel, found.evidence.map(([name, value, description]) => [name, value, description]));
  }

  function drawPoints(one, found, parts) {
    const { x, y, parts: part } = found.points;
    const sets = parts.map((k) => {
      const mine = (values) => values.values.filter((_, i) => part.values[i] === k);
      return { x: mine(x), y: mine(y), colour: colourOf(k) };
    });
    charts.scatter(one, { sets, xLabel: "where the parts differ most (sd)", yLabel: "across it", label: `Spikes of ${parts.length} parts in the projection of their features that tells them apart best` });
    panels.legend(one, parts.map((k) => [colourOf(k), partName(found, k)]));
  }

  function drawCorrelograms(grid, found, parts) {
    if (!found.correlograms) return;
    const counts = (a, b) => ({ counts: [...found.correlograms[a][b].values], baseline: null });
    for (const part of parts.slice(1, 4)) {
      panels.correlogram(grid, `Cross-correlogram of parts 0 and ${part}`, counts(0, part), { colour: "#5b6b7b" });
    }
    for (const part of parts.slice(0, 4)) {
      panels.correlogram(grid, `Autocorrelogram of part ${part}`, counts(part, part), { colour: colourOf(part) });
    }
  }

  // the units of the page that a unit was made of
  function origins(unit) {
    if (unit.row !== null) return [unit.row];
    return unit.parents.flatMap(origins);
  }

  // a unit that steps made: of what it was made; its own numbers are known when they are applied
  function fillNew(panel, unit, blockOf) {
    if (unit.part) {
      const words = `Part ${unit.part.number} of unit ${unit.parents[0].id}. Its own numbers are known when the curation is applied.`;
      panel.append(element("p", { class: "hint" }, words));
      fillSplit(panel, blockOf(unit.part.suggestion));
      return;
    }
    const ids = unit.parents.map(({ id }) => id).join(", ");
    panel.append(element("p", { class: "hint" }, `Merged of units ${ids}, which are drawn here. Its own numbers are known when the curation is applied.`));
    const units = [...new Set(origins(unit))].slice(0, 6).map((row) => Report.unit(row));
    const grid = panels.gridOf(panel);
    panels.overlaid(grid, units);
    panels.beside(grid, units, units[0].refractory_ms);
  }

  // the score of a suggestion, and why it is one
  function summary(suggestion) {
    const known = suggestion.kind === "merge"
      ? data.evidence.map(([name], i) => [name, data.pairs[suggestion.pair].evidence[i]])
      : Report.read(`split-data-${suggestion.block}`).evidence;
    const found = new Map(known.map(([name, value]) => [name, value]));
    return `Score ${found.get("score")}: ${found.get("reason")}`;
  }

  const labelsOf = (block) => Array.from(Report.read(`split-data-${block}`).labels.values);

  return { fillSplit, fillNew, summary, labelsOf };
})();

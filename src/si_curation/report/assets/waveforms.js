"use strict";
// Templates at the places of their channels on the probe.
Report.waveforms = (() => {
  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"];
  const WIDTH = 400;
  const HEIGHT = 380;
  const MARGIN = 14;

  const step = (values, fallback) => {
    const known = [...new Set(values.map((v) => Math.round(v * 10) / 10))].sort((a, b) => a - b);
    let smallest = Infinity;
    for (let i = 1; i < known.length; i++) smallest = Math.min(smallest, known[i] - known[i - 1]);
    return Number.isFinite(smallest) ? smallest : fallback;
  };

  const nice = (value) => {
    const power = 10 ** Math.floor(Math.log10(value));
    return [5, 2, 1].find((factor) => factor * power <= value) * power;
  };

  // layers: {template, which (index of its waveform), colour}; on their ranked channels, or on all
  function draw(figure, layers, label, { all = false } = {}) {
    const first = layers[0].template;
    const place = new Map();
    for (const { template } of layers) {
      const shown = template.channel_ids.slice(0, all ? undefined : template.num_ranked);
      shown.forEach((id, i) => place.set(id, [template.x_um[i], template.y_um[i]]));
    }
    const xs = [...place.values()].map((p) => p[0]);
    const ys = [...place.values()].map((p) => p[1]);
    const stepY = step(ys, step(xs, 20));
    const stepX = Math.max(step(xs, stepY), 0.3 * stepY);
    const low = [Math.min(...xs) - 0.6 * stepX, Math.min(...ys) - 1.1 * stepY];
    const high = [Math.max(...xs) + 0.6 * stepX, Math.max(...ys) + 1.1 * stepY];
    const inner = [WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN - 22];
    const scale = [inner[0] / (high[0] - low[0]), inner[1] / (high[1] - low[1])];
    const toX = (x) => MARGIN + (x - low[0]) * scale[0];
    const toY = (y) => MARGIN + (high[1] - y) * scale[1];

    const waves = layers.map(({ template }) => template.waveforms.values);
    const lines = [];
    let largest = 0;
    layers.forEach(({ template, which, colour }, k) => {
      const n = template.num_samples;
      const numChannels = template.channel_ids.length;
      for (let c = 0; c < (all ? numChannels : template.num_ranked); c++) {
        const from = (which * numChannels + c) * n;
        const values = waves[k].subarray(from, from + n);
        largest = Math.max(largest, values.reduce((a, b) => Math.max(a, Math.abs(b)), 0));
        lines.push({ values, id: template.channel_ids[c], rank: c, colour });
      }
    });
    const gain = (0.95 * stepY * scale[1]) / (largest || 1);
    const span = 0.86 * stepX * scale[0];
    const root = Report.svg("svg", {
      class: "waveforms",
      role: "img",
      "aria-label": label,
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
    });
    for (const [id, [x, y]] of place) {
      const left = toX(x) - span / 2;
      root.append(
        Report.svg("line", { class: "zero", x1: left, x2: left + span, y1: toY(y), y2: toY(y) }),
        Report.svg("text", { class: "channel", x: left, y: toY(y) - 3 }, String(id)),
      );
    }
    // the least important first, so that the best channel lies on top
    for (const { values, id, rank, colour } of lines.reverse()) {
      const [x, y] = place.get(id);
      const left = toX(x) - span / 2;
      const path = Array.from(values, (value, i) => {
        const across = left + (span * i) / Math.max(values.length - 1, 1);
        return `${across.toFixed(1)},${(toY(y) - value * gain).toFixed(1)}`;
      });
      root.append(
        Report.svg("polyline", {
          points: path.join(" "),
          stroke: colour,
          "stroke-width": rank === 0 ? 2 : 1.2,
          opacity: rank === 0 ? 1 : 0.8,
          fill: "none",
        }),
      );
    }
    // scales
    const duration = first.step_ms * (first.num_samples - 1);
    const bar = nice(Math.max(duration / 2, first.step_ms));
    const barWidth = (span * bar) / (duration || 1);
    const height = nice(largest || 1);
    const bottom = HEIGHT - 8;
    root.append(
      Report.svg("line", { class: "scale", x1: MARGIN, x2: MARGIN + barWidth, y1: bottom, y2: bottom }),
      Report.svg(
        "line",
        { class: "scale", x1: MARGIN, x2: MARGIN, y1: bottom, y2: bottom - height * gain },
      ),
      Report.svg(
        "text",
        { class: "scale-text", x: MARGIN + barWidth + 8, y: bottom },
        `${Report.number(bar)} ms, ${Report.number(height)} ${Report.data.amplitude_unit_short}`,
      ),
    );
    figure.append(root);
    return root;
  }

  return { draw, COLOURS };
})();

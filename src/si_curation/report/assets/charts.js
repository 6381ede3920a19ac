"use strict";
// Charts with uPlot: it makes axes and follows the mouse; what lies between the axes is drawn here.
Report.charts = (() => {
  const INK = "#3b4754";
  const GRID = "#e6eaee";
  const BLUE = "#0072B2";
  const ORANGE = "#D55E00";
  const TICKS = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 10 });
  const FONT = "12px system-ui, sans-serif";

  const atX = (u, value) => u.valToPos(value, "x", true);
  const atY = (u, value) => u.valToPos(value, "y", true);

  function dashed(u, x0, y0, x1, y1, colour) {
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
    ctx.stroke();
    ctx.restore();
  }

  const vertical = (values, colour = ORANGE) => (u) => {
    for (const value of values) {
      const x = atX(u, value);
      dashed(u, x, u.bbox.top, x, u.bbox.top + u.bbox.height, colour);
    }
  };

  const horizontal = (value, colour) => (u) => {
    const y = atY(u, value);
    dashed(u, u.bbox.left, y, u.bbox.left + u.bbox.width, y, colour);
  };

  // edges (n + 1), heights (n)
  const bars = (edges, heights, colour) => (u) => {
    u.ctx.fillStyle = colour;
    const base = atY(u, 0);
    for (let i = 0; i < heights.length; i++) {
      if (!(heights[i] > 0)) continue;
      const left = atX(u, edges[i]);
      const gap = heights.length > 60 ? 0 : 1;
      const width = Math.max(atX(u, edges[i + 1]) - left - gap, 1);
      const top = atY(u, heights[i]);
      u.ctx.fillRect(left, top, width, base - top);
    }
  };

  // nothing is drawn where a height is null
  const steps = (edges, heights) => (u) => {
    const { ctx } = u;
    ctx.strokeStyle = BLUE;
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    heights.forEach((height, i) => {
      if (height === null) return;
      const y = atY(u, height);
      const joins = i > 0 && heights[i - 1] !== null;
      ctx[joins ? "lineTo" : "moveTo"](atX(u, edges[i]), y);
      ctx.lineTo(atX(u, edges[i + 1]), y);
    });
    ctx.stroke();
  };

  const points = (xs, ys, colour) => (u) => {
    u.ctx.fillStyle = colour;
    u.ctx.globalAlpha = 0.55;
    const size = 2.2 * devicePixelRatio;
    for (let i = 0; i < xs.length; i++) {
      u.ctx.fillRect(atX(u, xs[i]) - size / 2, atY(u, ys[i]) - size / 2, size, size);
    }
    u.ctx.globalAlpha = 1;
  };

  // counts of a grid, x first; the darkest are the most, on a logarithmic scale
  const image = (density, divisor) => {
    const counts = density.counts.values;
    const [numX, numY] = density.counts.shape;
    const most = Math.log1p(Report.largest(counts));
    const canvas = document.createElement("canvas");
    canvas.width = numX;
    canvas.height = numY;
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(numX, numY);
    for (let i = 0; i < numX; i++) {
      for (let j = 0; j < numY; j++) {
        const count = counts[i * numY + j];
        if (!count) continue;
        const colour = Report.data.colours[Math.round((255 * Math.log1p(count)) / most)];
        pixels.data.set([...colour, 255], 4 * ((numY - 1 - j) * numX + i));
      }
    }
    context.putImageData(pixels, 0, 0);
    return (u) => {
      const left = atX(u, density.x[0] / divisor);
      const top = atY(u, density.y[1]);
      u.ctx.imageSmoothingEnabled = false;
      const width = atX(u, density.x[1] / divisor) - left;
      u.ctx.drawImage(canvas, left, top, width, atY(u, density.y[0]) - top);
    };
  };

  // with all their digits: rounded to thousandths, as uPlot does, 0.0005 and 0.001 are the same
  const tickTexts = (u, splits) =>
    splits.map((v) => TICKS.format(v));

  // options: x, y (low, high), xLabel, yLabel, label (words for those who do not see it),
  // draw (functions of uPlot), at (text for a place under the mouse), height, log, compact
  function chart(figure, options) {
    const frame = Report.element("div", { class: "chart", role: "img", "aria-label": options.label });
    const readout = Report.element("div", { class: "readout", "aria-hidden": "true" }, "\u00a0");
    figure.append(frame, readout);
    const axis = (label, size) => ({
      label,
      size,
      labelSize: 20,
      labelFont: FONT,
      font: options.compact ? "11px system-ui, sans-serif" : FONT,
      stroke: INK,
      gap: 4,
      grid: { stroke: GRID, width: 1 },
      ticks: { stroke: GRID, width: 1, size: 4 },
    });
    const [low, high] = options.x;
    const plot = new uPlot(
      {
        width: options.width || figure.clientWidth || 400,
        height: options.height || 230,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
        scales: {
          x: { time: false, range: () => [low, high] },
          y: { range: () => options.y },
        },
        series: [{}, { show: true, paths: () => null, points: { show: false } }],
        axes: [
          {
            ...axis(options.xLabel, 32),
            space: options.compact ? 58 : 64,
            values: options.log ? (u, splits) => splits.map((v) => Report.number(10 ** v)) : tickTexts,
          },
          {
            ...axis(options.yLabel, options.compact ? 38 : 52),
            space: options.compact ? 24 : 30,
            values: tickTexts,
          },
        ],
        hooks: {
          draw: [
            (u) => {
              u.ctx.save();
              u.ctx.beginPath();
              u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
              u.ctx.clip();
              for (const one of options.draw) one(u);
              u.ctx.restore();
            },
          ],
          setCursor: [
            (u) => {
              const inside = options.at && u.cursor.left >= 0;
              readout.textContent = inside ? options.at(u.posToVal(u.cursor.left, "x")) : "\u00a0";
            },
          ],
        },
      },
      [[low, high], [null, null]],
      frame,
    );
    return plot;
  }

  const binAt = (edges, value) => {
    let bin = 0;
    while (bin < edges.length - 2 && value >= edges[bin + 1]) bin++;
    return bin;
  };

  function histogram(figure, { edges, counts, unit, what, lines = [], baseline = null, ...options }) {
    const most = Math.max(Report.largest(counts), baseline || 0, 1);
    // of a logarithmic axis the places are logarithms
    const places = options.log ? edges.map(Math.log10) : edges;
    const draw = [bars(places, counts, options.colour || BLUE), vertical(lines)];
    if (baseline !== null) draw.push(horizontal(baseline, INK));
    return chart(figure, {
      x: [places[0], places[places.length - 1]],
      y: [0, most * 1.06],
      draw,
      at: (x) => {
        const bin = binAt(places, x);
        const [from, to] = [edges[bin], edges[bin + 1]].map(Report.number);
        return `${from} to ${to} ${unit}: ${Report.number(counts[bin])} ${what}`;
      },
      ...options,
    });
  }

  function segments(divisor) {
    return vertical(Report.data.session.segment_starts_s.map((s) => s / divisor), "#9aa5b1");
  }

  // a thin line where a session begins, and the names of the sessions along the top
  const sessions = (divisor) => (u) => {
    const { ctx } = u;
    const { top, height, left, width } = u.bbox;
    const size = 11 * devicePixelRatio;
    ctx.font = `${size}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    for (const { name, start_s: start, stop_s: stop } of Report.data.session.sessions) {
      const from = Math.max(atX(u, start / divisor), left);
      const to = Math.min(atX(u, stop / divisor), left + width);
      if (start > 0) {
        ctx.fillStyle = INK;
        ctx.fillRect(from - devicePixelRatio / 2, top, devicePixelRatio, height);
      }
      const text = shortened(ctx, name, to - from - 8 * devicePixelRatio);
      if (!text) continue;
      const place = from + 4 * devicePixelRatio;
      ctx.fillStyle = "rgba(255, 255, 255, 0.8)";
      ctx.fillRect(place - 2, top, ctx.measureText(text).width + 4, size + 4);
      ctx.fillStyle = INK;
      ctx.fillText(text, place, top + 2);
    }
  };

  // a text that is not wider than that; "" where not even three letters are
  function shortened(ctx, text, width) {
    if (ctx.measureText(text).width <= width) return text;
    const letters = [...text];
    while (letters.length > 3) {
      letters.pop();
      const part = `${letters.join("")}…`;
      if (ctx.measureText(part).width <= width) return part;
    }
    return "";
  }

  // numbers of spikes in the bins of time
  function rate(figure, counts, words) {
    const { divisor, name } = Report.time();
    const bins = Report.data.time_bins;
    const rates = Report.rate(counts);
    const edges = bins.edges_s.map((s) => s / divisor);
    return chart(figure, {
      x: [edges[0], edges[edges.length - 1]],
      y: [0, Math.max(Report.largest(rates), 1e-3) * 1.06],
      xLabel: `time (${name})`,
      yLabel: "firing rate (Hz)",
      label: `${words} in bins of ${Report.number(bins.bin_s)} s, at most ${Report.number(Report.largest(rates))} Hz`,
      draw: [steps(edges, rates), segments(divisor), sessions(divisor)],
      at: (x) => `${Report.number(x)} ${name}: ${Report.number(rates[binAt(edges, x)])} Hz`,
    });
  }

  // what amplitudes of units over time span together
  function rangeOf(amplitudes) {
    let [low, high] = [Infinity, -Infinity];
    for (const { density, values } of amplitudes) {
      for (const value of density ? density.y : values.values) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    const margin = 0.08 * (high - low) || Math.abs(high) * 0.1 || 1;
    return [low - margin, high + margin];
  }

  function overTime(figure, { times, values, density, y, colour = BLUE, ...options }) {
    const { divisor, name } = Report.time();
    const draw = density
      ? image(density, divisor)
      : points(times.map((s) => s / divisor), values, colour);
    const end = Math.max(density ? density.x[1] : 0, Report.data.duration_s) / divisor;
    return chart(figure, {
      x: [0, end],
      y: y || density.y,
      xLabel: `time (${name})`,
      draw: [draw, segments(divisor), sessions(divisor)],
      ...options,
    });
  }

  // points of several sets, each in its colour; the first is drawn first
  function scatter(figure, { sets, xLabel, yLabel, label }) {
    const range = (axis) => {
      const all = sets.flatMap((set) => [...set[axis]]);
      const [low, high] = [Math.min(...all), Math.max(...all)];
      const margin = 0.05 * (high - low) || 1;
      return [low - margin, high + margin];
    };
    const draw = sets.map(({ x, y, colour }) => points(x, y, colour));
    return chart(figure, { x: range("x"), y: range("y"), xLabel, yLabel, label, draw });
  }

  return { scatter, chart, histogram, rate, overTime, rangeOf, BLUE, ORANGE, INK };
})();

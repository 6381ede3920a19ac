"use strict";
// The numbers in the page, and elements made without ever parsing text as HTML.
const Report = {
  TYPES: {
    int16: Int16Array,
    float32: Float32Array,
    float64: Float64Array,
    uint8: Uint8Array,
    uint16: Uint16Array,
    uint32: Uint32Array,
  },

  // made once: it takes a hundred times as long as it is used
  WHOLE: new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 }),

  // a block: length of a JSON text, the text, and the arrays that it names
  read(id) {
    const element = document.getElementById(id);
    const packed = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
    const bytes = inflate(packed, Number(element.dataset.size));
    const start = 4 + new DataView(bytes.buffer).getUint32(0, true);
    const text = new TextDecoder().decode(bytes.subarray(4, start));
    // those whose place is negative are counted from the end
    const from = (at) => bytes.subarray(at < 0 ? bytes.length + at : start + at);
    return JSON.parse(text, (_, value) =>
      value?.dtype ? { shape: value.shape, values: Report.unpack(value, from(value.at)) } : value,
    );
  },

  // of each array all first bytes come first, then all second ones
  unpack({ dtype, shape, step, start, cumulative }, bytes) {
    const type = Report.TYPES[dtype];
    const length = shape.reduce((a, b) => a * b, 1);
    const width = type.BYTES_PER_ELEMENT;
    const ordered = new Uint8Array(length * width);
    for (let byte = 0; byte < width; byte++) {
      for (let i = 0; i < length; i++) ordered[i * width + byte] = bytes[byte * length + i];
    }
    const stored = new type(ordered.buffer);
    if (step === undefined) return stored;
    const values = new Float64Array(length);
    let sum = 0;
    for (let i = 0; i < length; i++) {
      sum = cumulative ? sum + stored[i] : stored[i];
      values[i] = start + step * sum;
    }
    return values;
  },

  unit(row) {
    const unit = Report.read(`unit-data-${row}`);
    unit.rate = [...unit.rate.values];
    unit.isi = [...unit.isi.values];
    // the counts of a row of all correlograms of the unit; null where a pair was not counted
    const correlogram = (at) => {
      if (at === null) return null;
      const { shape, values } = unit.correlograms;
      return { counts: [...values.subarray(at * shape[1], (at + 1) * shape[1])], baseline: unit.baselines[at] };
    };
    unit.acg = correlogram(unit.acg);
    for (const other of unit.similar || []) other.ccg = correlogram(other.ccg);
    if (unit.template) {
      const { ids, x_um: x, y_um: y } = Report.data.channels;
      const { channels } = unit.template;
      unit.template.channel_ids = channels.map((c) => ids[c]);
      unit.template.x_um = channels.map((c) => x[c]);
      unit.template.y_um = channels.map((c) => y[c]);
    }
    return unit;
  },

  // of numbers of spikes in the bins of time; null where nothing was observed
  rate(counts) {
    return counts.map((count, i) => {
      const seen = Report.data.time_bins.seen_s[i];
      return seen > 0 ? count / seen : null;
    });
  },

  // the value of a column for a unit; null where it is missing
  value(column, row) {
    const value = column.values.shape ? column.values.values[row] : column.values[row];
    return Number.isNaN(value) ? null : value;
  },

  // the same as text: four significant digits, whole numbers whole, a dash if missing
  text(column, row) {
    const value = Report.value(column, row);
    if (value === null) return "–";
    if (typeof value === "string") return value;
    const size = Math.abs(value);
    if (column.whole || (size >= 1000 && size < 1e9)) return Report.WHOLE.format(value);
    const [digits, power] = value.toExponential(3).split("e").map(Number);
    if (value === 0 || (power >= -4 && power < 4)) return String(Number(value.toPrecision(4)));
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  },

  reason(column, row) {
    return column.reasons ? column.reasons.texts[column.reasons.codes.values[row]] : "";
  },

  element(tag, attributes = {}, ...children) {
    const one = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) one.setAttribute(name, value);
    }
    one.append(...children);
    return one;
  },

  svg(tag, attributes = {}, ...children) {
    const one = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    one.append(...children);
    return one;
  },

  number(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (Number.isInteger(value) || Math.abs(value) >= 1000) {
      return Report.WHOLE.format(Math.round(value));
    }
    return String(Number(value.toPrecision(3)));
  },

  largest(values) {
    let most = 0;
    for (const value of values) if (value > most) most = value;
    return most;
  },

  // seconds, minutes or hours, by the length of the recording
  time() {
    const duration = Report.data.duration_s;
    if (duration > 10800) return { divisor: 3600, name: "h" };
    if (duration > 600) return { divisor: 60, name: "min" };
    return { divisor: 1, name: "s" };
  },
};
Report.data = Report.read("report-data");

"use strict";
// The numbers in the page, and elements made without ever parsing text as HTML.
const Report = {
  TYPES: {
    float32: Float32Array,
    uint8: Uint8Array,
    uint16: Uint16Array,
    uint32: Uint32Array,
  },

  read(id) {
    return JSON.parse(document.getElementById(id).textContent);
  },

  unpack(packed) {
    const bytes = Uint8Array.from(atob(packed.base64), (c) => c.charCodeAt(0));
    return new Report.TYPES[packed.dtype](bytes.buffer);
  },

  unit(row) {
    return Report.read(`unit-data-${row}`);
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
      return Math.round(value).toLocaleString("en-US");
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

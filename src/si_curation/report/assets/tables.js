"use strict";
// Sorting, searching and filtering of the tables.
Report.tables = (() => {
  const LENGTHS = [10, 25, 50, 100, { label: "all", value: -1 }];
  const MAX_CHOICES = 12;
  const { data } = Report;
  let units = null;

  const header = (table) => [...table.querySelectorAll("thead th")];

  const escaped = (text) => Report.element("span", {}, text).innerHTML;

  // how a column is filtered: a choice of labels, a number, or text
  function filterOf(column) {
    const titleAttr = "Filter by [title]";
    if (column.values.shape) return [{ extend: "searchNumber", titleAttr }];
    const values = new Set([...column.values, ...(column.choices ?? [])]);
    if (values.size > MAX_CHOICES || values.size === column.values.length) return [{ extend: "searchText", titleAttr }];
    // the list takes labels as HTML, and compares values as text
    const options = [...values].sort().map((text) => ({ label: escaped(text), value: text }));
    const list = { extend: "searchList", options, orthogonal: "filter" };
    return [{ extend: "dropdown", text: "Choose labels", content: [list] }];
  }

  const controls = (content) => ({ columnControl: [{ target: 1, content }] });

  // rows of units are made when they are shown: an object with the number of the unit each
  function columnOfUnits(index) {
    if (index === 0) {
      const link = (id) => Report.element("a", { href: `#unit=${encodeURIComponent(id)}` }, id).outerHTML;
      const areNumbers = data.units.every((id) => id.trim() && Number.isFinite(Number(id)));
      return {
        type: areNumbers ? "num" : "string",
        cellType: "th",
        data: ({ unit }, type) => (type === "display" ? link(data.units[unit]) : data.units[unit]),
        createdCell: (cell) => cell.setAttribute("scope", "row"),
        ...controls([{ extend: "searchText", titleAttr: "Filter by [title]" }]),
      };
    }
    const column = data.columns[index - 1];
    const isNumber = Boolean(column.values.shape);
    return {
      type: isNumber ? "num" : "string",
      className: isNumber ? "n" : "",
      data: ({ unit }, type) => {
        if (type === "display") return escaped(Report.text(column, unit));
        if (type === "filter" || !isNumber) return Report.text(column, unit);
        return Report.value(column, unit) ?? "";
      },
      createdCell: (cell, _, { unit }) => {
        const why = Report.reason(column, unit);
        if (why && Report.value(column, unit) === null) cell.title = why;
      },
      ...controls(filterOf(column)),
    };
  }

  function make(id, { rows = null, pageLength = 25 } = {}) {
    const table = document.getElementById(id);
    if (!table) return null;
    const heads = header(table);
    const columnDefs = heads.map((head, index) => ({
      targets: index,
      visible: head.dataset.shown !== "false",
      orderable: head.dataset.kind !== "none",
      ...(rows && columnOfUnits(index)),
    }));
    const made = new DataTable(table, {
      autoWidth: false,
      columnDefs,
      ...(rows && { data: rows }),
      order: [],
      pageLength,
      lengthMenu: LENGTHS,
      paging: (rows || table.tBodies[0].rows).length > 10,
      layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
      language: { search: "Search all columns:", lengthMenu: "_MENU_ rows on a page" },
    });
    if (rows) {
      heads.forEach((head, index) => {
        const select = made.column(index).header(1)?.querySelector("select");
        if (select) select.setAttribute("aria-label", `How to compare ${made.column(index).title()}`);
      });
    }
    return made;
  }

  function chooseColumns(table) {
    const boxes = [...document.querySelectorAll("#column-choice input")];
    for (const box of boxes) {
      box.addEventListener("change", () => table.column(Number(box.dataset.column)).visible(box.checked));
    }
    for (const button of document.querySelectorAll("#column-choice button")) {
      button.addEventListener("click", () => {
        const its = boxes.filter((box) => box.dataset.group === button.dataset.group);
        for (const box of its) box.checked = button.className === "all";
        table.columns(its.map((box) => Number(box.dataset.column))).visible(button.className === "all");
      });
    }
  }

  // a click anywhere on a row is one on the link to its unit; not where text was selected
  function openByRow(body) {
    body.addEventListener("click", (event) => {
      const isSelection = getSelection().type === "Range";
      if (isSelection || event.target.closest("a, button, input, select, label")) return;
      event.target.closest("tr")?.querySelector('a[href^="#unit="]')?.click();
    });
  }

  function start() {
    units = make("unit-table", { rows: data.units.map((_, unit) => ({ unit })) });
    openByRow(document.querySelector("#unit-table tbody"));
    chooseColumns(units);
    const candidates = make("candidate-table", { pageLength: 10 });
    make("bad-merge-table", { pageLength: 10 });
    make("split-table", { pageLength: 10 });
    make("lineage-table", { pageLength: 10 });
    make("history-table", { pageLength: 10 });
    // on paper all rows
    const all = [units, candidates].filter(Boolean);
    const lengths = new Map();
    window.addEventListener("beforeprint", () => {
      for (const table of all) {
        lengths.set(table, table.page.len());
        table.page.len(-1).draw();
      }
    });
    window.addEventListener("afterprint", () => {
      for (const table of all) table.page.len(lengths.get(table)).draw();
    });
  }

  function linkOf(row) {
    const node = units.row(row).node();
    return node && node.isConnected ? node.querySelector("a") : document.querySelector("#unit-table a");
  }

  // values of units have changed: rows are written again when nothing changes for a moment
  let waiting = null;
  function changed(rows) {
    if (!units || !rows.length) return;
    for (const row of rows) units.row(row).invalidate();
    clearTimeout(waiting);
    waiting = setTimeout(() => units.draw(false), 250);
  }

  return { start, linkOf, changed };
})();

"use strict";
// Starts the page, and opens units by their links.
(() => {
  const { charts, data, number } = Report;
  const rowOf = new Map(data.units.map((id, row) => [id, row]));

  function openFromHash() {
    if (!location.hash.startsWith("#unit=")) return;
    const row = rowOf.get(decodeURIComponent(location.hash.slice(6)));
    if (row !== undefined) Report.panels.openUnit(row);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#unit="]');
    if (link) {
      // as the address may be the same as before
      event.preventDefault();
      history.pushState(null, "", link.getAttribute("href"));
      openFromHash();
    }
    const button = event.target.closest("button.compare");
    if (button) Report.panels.openPair(Number(button.dataset.pair), button);
  });
  window.addEventListener("popstate", openFromHash);

  const { counts, depth, distributions } = data.session;
  charts.rate(document.getElementById("chart-rate"), counts, "Firing rate of all units together");
  const figure = document.getElementById("chart-depth");
  if (depth) {
    charts.overTime(figure, {
      density: depth.density,
      yLabel: "depth (µm)",
      height: 330,
      label: "Image of all spikes by depth and time, dark where there are many",
    });
    const outside = depth.density.outside;
    figure.append(Report.element("figcaption", {}, `Dark where there are many spikes (logarithmic); ${depth.source}.${outside ? ` Spikes outside of the range shown: ${number(outside)}.` : ""}`));
  } else {
    figure.append(Report.element("p", { class: "note" }, "Depths are not known: compute spike_locations or template_best_channels first."));
  }
  // drawn when they come near, or are printed: there are many
  const box = document.getElementById("distribution-charts");
  function drawDistributions() {
    let row = null;
    let group = null;
    for (const one of distributions) {
      if (one.group !== group) {
        group = one.group;
        row = Report.element("div", { class: "small-multiples" });
        box.append(Report.element("h3", {}, group), row);
      }
      const unit = ["1", "count"].includes(one.unit) ? "" : one.unit;
      const small = Report.element("figure", {}, Report.element("h4", { title: one.description }, one.title));
      row.append(small);
      charts.histogram(small, {
        ...one,
        unit,
        what: "units",
        xLabel: unit || (one.log ? "(logarithmic)" : ""),
        yLabel: "units",
        height: 150,
        compact: true,
        label: `Distribution of ${one.title} over ${one.num_values} units, ${one.missing} missing: ${one.description}`,
      });
    }
  }
  const nearby = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) drawOnce();
    },
    { rootMargin: "800px" },
  );
  function drawOnce() {
    nearby.disconnect();
    if (!box.childElementCount) drawDistributions();
  }
  nearby.observe(box);
  window.addEventListener("beforeprint", drawOnce);
  Report.tables.start();
  openFromHash();
})();

"use strict";
// The page is whole without this script: it adds interactive figures, sorting of tables, and the selected run.

const unpack = async (id) => {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
};

let library;
const plotly = () => {
  library ??= unpack("plotly").then((code) => {
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
    return globalThis.Plotly;
  });
  return library;
};

const themed = (json) => {
  const style = getComputedStyle(document.documentElement);
  return JSON.parse(json.replace(/var\((--[a-z0-9-]+)\)/g, (_, name) => style.getPropertyValue(name).trim()));
};

// The ticks of the printed figure belong to its whole range; in a zoom plotly sets its own.
const retick = (Plotly, place, layout) => {
  const changes = {};
  for (const [name, { range, tickvals }] of Object.entries(layout)) {
    if (!/^[xy]axis/.test(name) || !tickvals) continue;
    const seen = place.layout[name].range;
    const whole = range.every((end, i) => Math.abs(end - seen[i]) <= 1e-6 * Math.abs(range[1] - range[0]));
    const mode = whole ? "array" : "auto";
    if (place.layout[name].tickmode !== mode) changes[`${name}.tickmode`] = mode;
  }
  if (Object.keys(changes).length) Plotly.relayout(place, changes);
};

const draw = async (figure) => {
  const Plotly = await plotly();
  const { data, layout } = themed(figure.querySelector("script").textContent);
  let place = figure.querySelector(".closer");
  if (!place) {
    place = document.createElement("div");
    place.className = "closer";
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", figure.querySelector("svg").getAttribute("aria-label"));
    figure.querySelector(".still").after(place);
  }
  const whole = structuredClone(layout);
  const unused = ["lasso2d", "select2d", "autoScale2d"];
  await Plotly.react(place, data, layout, { responsive: true, displaylogo: false, doubleClick: "reset", modeBarButtonsToRemove: unused });
  figure.classList.add("drawn");
  place.removeAllListeners?.("plotly_click");
  place.removeAllListeners?.("plotly_relayout");
  place.on("plotly_relayout", () => retick(Plotly, place, whole));
  place.on("plotly_click", ({ points }) => {
    const run = points[0].customdata ?? points[0].data.meta;
    if (run && chosen) select(run, figure);
  });
};

const figures = [...document.querySelectorAll("figure.plot:has(> script)")];
if ("DecompressionStream" in globalThis && document.getElementById("plotly")) {
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "400px" });
  figures.forEach((figure) => seen.observe(figure));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    figures.filter((figure) => figure.classList.contains("drawn")).forEach(draw);
  });
}

const chosen = document.getElementById("chosen");
const select = (run, from) => {
  const row = document.querySelector(`tr[data-run="${CSS.escape(run)}"]`);
  document.querySelectorAll("tr.chosen").forEach((each) => each.classList.remove("chosen"));
  const list = chosen.querySelector("dl");
  list.replaceChildren();
  chosen.querySelector("h3").textContent = row ? "The selected run" : `Run ${run}`;
  if (row) {
    row.classList.add("chosen");
    const heads = row.closest("table").tHead.rows[0].cells;
    [...row.cells].forEach((cell, i) => {
      if (!cell.textContent.trim() && !cell.querySelector("img")) return;
      const pair = document.createElement("div");
      const name = document.createElement("dt");
      name.textContent = heads[i].textContent;
      const value = document.createElement("dd");
      value.append(...[...cell.childNodes].map((node) => node.cloneNode(true)));
      value.querySelectorAll("button").forEach((button) => button.replaceWith(button.textContent));
      pair.append(name, value);
      list.append(pair);
    });
  }
  chosen.querySelector("p").hidden = Boolean(row);
  from?.after(chosen);
  chosen.hidden = false;
  if (!from) chosen.scrollIntoView({ block: "nearest" });
};
chosen?.querySelector("button").addEventListener("click", () => { chosen.hidden = true; });

for (const row of document.querySelectorAll("tr[data-run]")) {
  const head = row.cells[0];
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.firstChild.textContent.trim();
  button.title = "Show this run";
  button.addEventListener("click", () => select(row.dataset.run, row.closest(".scroll")));
  head.firstChild.replaceWith(button);
}

const order = (cell) => cell.dataset.order === undefined ? cell.textContent.trim() : Number(cell.dataset.order);
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [order(row.cells[column]), row]);
      const missing = (value) => value === "" || value === "–" || Number.isNaN(value);
      rows.sort(([a], [b]) => {
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        const way = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
        return down ? -way : way;
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

// Tables that sort and filter, graphs laid out by dagre, and what a sweep shows. Nothing is fetched: pages carry their data.
"use strict";
const NS = "http://www.w3.org/2000/svg";
const data = (id) => JSON.parse(document.getElementById(id)?.textContent || "null");
const make = (name, attributes = {}, text = "") => {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
};
const html = (name, attributes = {}, text = "") => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== "") element.textContent = text;
  return element;
};
const figure = (value) => {
  if (typeof value !== "number") return value === null || value === undefined ? "" : String(value);
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 5e-5) ? value.toExponential(2) : value.toFixed(4);
};

// --- tables ---------------------------------------------------------------------------------------------------------
function sortable(table) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = html("button", { type: "button" }, cell.textContent);
    cell.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const empty = (text) => text === "";
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (empty(x) || empty(y)) return empty(x) - empty(y);
        const [m, n] = [Number.parseFloat(x), Number.parseFloat(y)];
        const order = Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y) : m - n;
        return up ? order : -order;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}

function filtering(input) {
  const table = document.getElementById(input.dataset.table);
  const told = document.getElementById(input.getAttribute("aria-describedby"));
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    if (told) told.textContent = `${count} of ${table.tBodies[0].rows.length}`;
    document.dispatchEvent(new CustomEvent("filtered"));
  };
  input.addEventListener("input", apply);
  apply();
}

// --- graphs ---------------------------------------------------------------------------------------------------------
const wide = (node) => Math.max(90, 7.6 * Math.max(node.label.length, 0.86 * node.what.length) + 18);

function layout(drawing) {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 22, ranksep: 42, marginx: 8, marginy: 8 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of drawing.nodes) graph.setNode(node.id, { width: wide(node), height: 44 });
  drawing.edges.forEach((edge, number) => {
    const width = edge.label ? 7 * edge.label.length : 0;
    graph.setEdge(edge.from, edge.to, { width, height: edge.label ? 14 : 0, labelpos: "c" }, String(number));
  });
  dagre.layout(graph);
  return graph;
}

function near(drawing, id) {
  const found = new Set([id]);
  const walk = (from, to) => {
    const todo = [id];
    while (todo.length) {
      const at = todo.pop();
      for (const edge of drawing.edges) if (edge[from] === at && !found.has(edge[to])) { found.add(edge[to]); todo.push(edge[to]); }
    }
  };
  walk("from", "to");
  const below = new Set(found);
  found.clear(); found.add(id);
  walk("to", "from");
  return [found, below];
}

function drawGraph(board, drawing) {
  if (!drawing.nodes.length) { board.replaceChildren(html("p", { class: "sub" }, "too large to draw: as text below")); return; }
  const placed = layout(drawing);
  const { width, height } = placed.graph();
  const svg = make("svg", { class: "graph", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": drawing.title });
  const marker = make("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" });
  marker.append(make("path", { d: "M0,0 L8,4 L0,8 z" }));
  const defs = make("defs"); defs.append(marker); svg.append(defs);
  const edges = drawing.edges.map((edge, number) => {
    const { points, x, y } = placed.edge({ v: edge.from, w: edge.to, name: String(number) });
    const line = make("path", { class: "edge", "marker-end": "url(#arrow)", d: `M${points.map((p) => `${p.x},${p.y}`).join(" L")}` });
    const label = edge.label ? make("text", { class: "label", x, y: y + 4 }, edge.label) : null;
    svg.append(line, ...(label ? [label] : []));
    return [edge, line, label];
  });
  const nodes = drawing.nodes.map((node) => {
    const { x, y, width: w } = placed.node(node.id);
    const said = `${node.label} ${node.what}; ${node.kind}${node.own ? ", not the same in every arm" : ""}`;
    const group = make("g", { class: `node ${node.kind}${node.own ? " own" : ""}`, tabindex: 0, role: "button", "aria-pressed": "false", "aria-label": said, "data-id": node.id });
    group.append(make("title", {}, said), make("rect", { x: x - w / 2, y: y - 22, width: w, height: 44, rx: 7 }));
    group.append(make("text", { x, y: y - 3 }, node.label), make("text", { class: "what", x, y: y + 13 }, node.what));
    svg.append(group);
    return [node, group];
  });
  const choose = (id) => {
    const [above, below] = id === null ? [new Set(), new Set()] : near(drawing, id);
    const inside = (one) => above.has(one) || below.has(one);
    svg.classList.toggle("chosen", id !== null);
    for (const [node, group] of nodes) {
      group.classList.toggle("near", inside(node.id));
      group.setAttribute("aria-pressed", String(node.id === id));
    }
    for (const [edge, line, label] of edges) {
      const on = (above.has(edge.from) && above.has(edge.to)) || (below.has(edge.from) && below.has(edge.to));
      line.classList.toggle("near", on);
      label?.classList.toggle("near", on);
    }
  };
  for (const [node, group] of nodes) {
    const toggle = () => choose(group.getAttribute("aria-pressed") === "true" ? null : node.id);
    group.addEventListener("click", toggle);
    group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); } });
  }
  board.replaceChildren(svg);
}

function graphs() {
  const found = data("graph-data");
  if (!found || !document.getElementById("graph-arm")) return;
  const [arm, which] = [document.getElementById("graph-arm"), document.getElementById("graph-which")];
  const [board, text] = [document.getElementById("graph-board"), document.getElementById("graph-text")];
  const show = () => {
    const drawings = found.arms[arm.value].map((number) => found.drawings[number]);
    const chosen = drawings.find((drawing) => drawing.title === which.value) || drawings[0];
    which.replaceChildren(...drawings.map((d) => html("option", d === chosen ? { selected: "" } : {}, d.title)));
    text.textContent = chosen.text;
    drawGraph(board, chosen);
  };
  arm.addEventListener("change", show);
  which.addEventListener("change", show);
  show();
}

// --- sweeps ---------------------------------------------------------------------------------------------------------
const shownRuns = (runs) => {
  const rows = document.getElementById("runs-table").tBodies[0].rows;
  const hidden = new Set([...rows].filter((row) => row.hidden).map((row) => Number(row.dataset.run)));
  return runs.filter((run, number) => !hidden.has(number));
};

function parallel(svg, sweep) {
  const runs = shownRuns(sweep.runs);
  const metric = document.getElementById("mean-metric").value;
  const axes = [...sweep.keys, metric];
  const [width, height, top] = [Math.max(320, 150 * axes.length), 300, 40];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.maxWidth = `${1.4 * width}px`;
  const place = (i) => 70 + (i * (width - 140)) / Math.max(axes.length - 1, 1);
  const scales = axes.map((axis) => {
    const values = runs.map((run) => run.values[axis]).filter((v) => v !== null && v !== undefined);
    if (values.length && values.every((v) => typeof v === "number")) {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      return { ticks: low === high ? [low] : [low, high], at: (v) => height - 30 - (high === low ? 0.5 : (v - low) / (high - low)) * (height - 30 - top) };
    }
    const names = [...new Set(values.map(String))].sort();
    return { ticks: names, at: (v) => height - 30 - (names.length < 2 ? 0.5 : names.indexOf(String(v)) / (names.length - 1)) * (height - 30 - top) };
  });
  const parts = [];
  axes.forEach((axis, i) => {
    parts.push(make("line", { class: "axis", x1: place(i), x2: place(i), y1: top, y2: height - 30 }));
    parts.push(make("text", { x: place(i), y: 18, "text-anchor": "middle" }, axis));
    for (const tick of scales[i].ticks) parts.push(make("text", { x: place(i) + 5, y: scales[i].at(tick) - 3 }, figure(tick)));
  });
  for (const run of runs) {
    const known = axes.map((axis, i) => [i, run.values[axis]]).filter(([, v]) => v !== null && v !== undefined);
    const line = make("path", { class: "line", d: `M${known.map(([i, v]) => `${place(i)},${scales[i].at(v)}`).join(" L")}` });
    line.append(make("title", {}, `${run.name}: ${known.map(([i, v]) => `${axes[i]} ${figure(v)}`).join(", ")}`));
    parts.push(line);
  }
  svg.replaceChildren(...parts);
}

function means(table, sweep) {
  const [key, metric] = [document.getElementById("mean-key").value, document.getElementById("mean-metric").value];
  const groups = new Map();
  for (const run of shownRuns(sweep.runs)) {
    const value = run.values[metric];
    if (typeof value !== "number") continue;
    const name = figure(run.values[key]) || "–";
    groups.set(name, [...(groups.get(name) || []), value]);
  }
  const rows = [...groups].map(([name, values]) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const spread = values.length > 1 ? Math.sqrt(values.reduce((a, v) => a + (v - mean) ** 2, 0) / (values.length - 1)) : null;
    return [name, values.length, mean, spread];
  });
  const lowest = sweep.lowest.includes(metric);
  rows.sort((a, b) => (lowest ? a[2] - b[2] : b[2] - a[2]));
  const line = (cells, tag) => {
    const row = html("tr");
    row.append(...cells.map((cell) => html(tag, tag === "th" ? { scope: "col" } : {}, figure(cell))));
    return row;
  };
  table.tHead.replaceChildren(line([key, "runs", `mean of ${metric}`, "standard deviation"], "th"));
  table.tBodies[0].replaceChildren(...rows.map((row) => line(row, "td")));
}

function difference(table, sweep) {
  const [one, other] = ["diff-one", "diff-other"].map((id) => sweep.runs[Number(document.getElementById(id).value)]);
  const names = [...new Set([...Object.keys(one.settings), ...Object.keys(other.settings), ...Object.keys(one.metrics), ...Object.keys(other.metrics)])];
  const rows = [];
  for (const name of names) {
    const isMetric = name in one.metrics || name in other.metrics;
    const [x, y] = isMetric ? [one.metrics[name], other.metrics[name]] : [one.settings[name], other.settings[name]];
    if (JSON.stringify(x) === JSON.stringify(y)) continue;
    const row = html("tr");
    row.append(html("th", { scope: "row" }, name), html("td", {}, figure(x)), html("td", {}, figure(y)));
    const moved = isMetric && typeof x === "number" && typeof y === "number";
    const better = moved && (y < x) === sweep.lowest.includes(name);
    row.append(html("td", moved ? { class: better ? "better" : "worse" } : {}, moved ? `${y > x ? "+" : ""}${figure(y - x)} ${better ? "better" : "worse"}` : ""));
    rows.push(row);
  }
  table.tBodies[0].replaceChildren(...rows);
  if (!rows.length) { const row = html("tr"); row.append(html("td", { colspan: 4 }, "nothing differs")); table.tBodies[0].append(row); }
}

function sweeps() {
  const sweep = data("sweep-data");
  if (!sweep) return;
  const redraw = () => { parallel(document.getElementById("parallel"), sweep); means(document.getElementById("means"), sweep); };
  const compare = () => difference(document.getElementById("diff"), sweep);
  for (const id of ["mean-key", "mean-metric"]) document.getElementById(id).addEventListener("change", redraw);
  for (const id of ["diff-one", "diff-other"]) document.getElementById(id).addEventListener("change", compare);
  document.addEventListener("filtered", redraw);
  redraw();
  compare();
}

for (const table of document.querySelectorAll("table.sortable")) sortable(table);
graphs();
for (const input of document.querySelectorAll("input[data-table]")) filtering(input);
sweeps();
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(button.dataset.copy).catch(() => {});
    button.textContent = "copied";
  });
}
document.documentElement.dataset.ready = "yes";

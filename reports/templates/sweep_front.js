// The scatter: axes, colours, points, and what a click does.

const scatter = { x: "", y: "", colour: "", ring: null, sources: [] };

function colouring() {
  const column = columns.get(scatter.colour);
  if (!column) return { of: row => colour(GROUPS[group[row]].colour), legend: [] };
  const all = values(column.name);
  const different = [...new Set(all)];
  if (!column.number || different.length <= CATEGORIES.length) return categories(column, all, different);
  return ramp(column, all);
}

function categories(column, all, different) {
  const often = new Map();
  for (const value of all) often.set(value, (often.get(value) ?? 0) + 1);
  different.sort((a, b) => often.get(b) - often.get(a));
  const named = different.slice(0, CATEGORIES.length);
  named.sort((a, b) => column.number ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  const of = new Map(named.map((value, i) => [value, colour(CATEGORIES[i])]));
  const legend = named.map((value, i) => swatch(`var(--${CATEGORIES[i]})`, withUnit(column, value)));
  if (different.length > named.length) legend.push(swatch("var(--faint)", counted(different.length - named.length, "other")));
  return { of: row => of.get(all[row]) ?? colour("faint"), legend };
}

function ramp(column, all) {
  const known = all.filter(value => value !== null);
  const least = known.reduce((a, b) => Math.min(a, b)), most = known.reduce((a, b) => Math.max(a, b));
  const log = least > 0 && most / least > LARGEST_LINEAR_RATIO;
  const at = value => log ? Math.log(value / least) / Math.log(most / least) : (value - least) / (most - least);
  const bar = make("i", { class: "ramp" });
  bar.style.background = `linear-gradient(to right, ${[0, 51, 102, 153, 204, 255].map(i => CIVIDIS[i]).join(", ")})`;
  const legend = [make("span", {}, withUnit(column, least), bar, withUnit(column, most), log ? " (logarithmic)" : "")];
  return { of: row => all[row] === null ? colour("faint") : CIVIDIS[Math.round(255 * at(all[row]))], legend };
}

function swatch(background, text) {
  const box = make("i");
  box.style.background = background;
  return make("span", {}, box, text);
}

function drawScatter() {
  const x = columns.get(scatter.x), y = columns.get(scatter.y);
  const log = { x: $("log-x").checked, y: $("log-y").checked };
  const chart = figure({
    x_axis_type: log.x ? "log" : "linear", y_axis_type: log.y ? "log" : "linear",
    tools: ["pan", "box_zoom", "wheel_zoom", "reset", "save"],
  });
  chart.toolbar.active_drag = null;
  const [across, up] = axesOf(chart);
  Object.assign(across, { axis_label: title(x), formatter: formatter() });
  Object.assign(up, { axis_label: title(y), formatter: formatter() });
  if (log.x) chart.center[0].ticker = across.ticker = logTicker(x);
  if (log.y) chart.center[1].ticker = up.ticker = logTicker(y);
  const fill = colouring();
  const usable = row => [[x, log.x], [y, log.y]].every(([column, positive]) => {
    const value = values(column.name)[row];
    return value !== null && (!positive || value > 0);
  });
  const seen = {};
  scatter.sources = [];
  const renderers = [];
  for (const key of Object.keys(GROUPS).reverse()) {
    const all = indexes().filter(row => group[row] === key);
    const chosen = GROUPS[key].shown ? all.filter(usable) : [];
    seen[key] = chosen.length;
    if (chosen.length) renderers.push(points(chart, key, chosen, x, y, fill.of));
  }
  scatter.ring = new Bokeh.ColumnDataSource({ data: { x: [], y: [] } });
  chart.scatter({ field: "x" }, { field: "y" }, {
    source: scatter.ring, marker: "circle", size: 24, fill_alpha: 0, line_color: colour("ink"), line_width: 2.5,
  });
  addTools(chart, renderers, x, y);
  ring();
  $("legend").replaceChildren(...fill.legend);
  const what = Object.entries(seen).reverse().filter(([, n]) => n).map(([key, n]) => `${plain(n)} ${GROUPS[key].name}`).join(", ");
  $("scatter").setAttribute("aria-label", `Scatter of ${title(y)} over ${title(x)}: ${what}`);
  $("scatter-told").textContent = `${title(y)[0].toUpperCase()}${title(y).slice(1)} over ${title(x)}: ${what || "no design has both"}. ${ways(x, y)}`;
  return show($("scatter"), chart);
}

// Bokeh's own one leaves the lower end of a short axis empty.
function logTicker(column) {
  const known = values(column.name).filter(value => value > 0);
  const [low, high] = [Math.min, Math.max].map(pick => Math.log10(known.reduce((a, b) => pick(a, b)) * (column.share ? 100 : 1)));
  const steps = high - low < 1 ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : high - low < 2.5 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = Math.floor(low) - 2; power <= high + 2; power += 1) ticks.push(...steps.map(step => step * 10 ** power));
  return new Bokeh.FixedTicker({ ticks });
}

function ways(x, y) {
  const told = [x, y].filter(column => column.better).map(column =>
    `${column.better === "more" ? "more" : "less"} ${column.label}`);
  return told.length ? `Better is ${told.join(" and ")}.` : "";
}

function points(chart, key, chosen, x, y, fill) {
  const style = GROUPS[key];
  const source = new Bokeh.ColumnDataSource({ data: {
    row: chosen, x: chosen.map(row => scaled(x, values(x.name)[row])), y: chosen.map(row => scaled(y, values(y.name)[row])),
    fill: chosen.map(fill), network: chosen.map(row => values("network")[row]),
    machine: chosen.map(row => values("machine")[row]), xs: chosen.map(row => withUnit(x, values(x.name)[row])),
    ys: chosen.map(row => withUnit(y, values(y.name)[row])),
  } });
  scatter.sources.push(source);
  const line = key === "front" ? { line_color: colour("ink"), line_width: 1 } : { line_color: { field: "fill" } };
  return chart.scatter({ field: "x" }, { field: "y" }, {
    source, marker: style.marker, size: style.size, fill_color: { field: "fill" }, ...line,
    fill_alpha: key === "other" ? 0.6 : 0.95, line_alpha: 0.9, nonselection_fill_alpha: 0.8, nonselection_line_alpha: 0.9,
  });
}

function addTools(chart, renderers, x, y) {
  const hover = new Bokeh.HoverTool({ renderers, limit: 3, tooltips: `<div style="max-width: 20rem; padding: 4px;
    font: 13px/1.4 system-ui, sans-serif; color: var(--ink); white-space: normal; overflow-wrap: anywhere">
    <strong>@network</strong><div>on @machine</div><div>${y.label}: @ys</div><div>${x.label}: @xs</div></div>` });
  const tap = new Bokeh.TapTool({ renderers });
  chart.add_tools(hover, tap);
  for (const source of scatter.sources) {
    source.selected.properties.indices.change.connect(() => {
      const picked = source.selected.indices;
      if (!picked.length) return;
      const row = source.data.row[picked[0]];
      source.selected.indices = [];
      openDesign(row, true);
    });
  }
}

function ring() {
  if (!scatter.ring || current === null) return;
  const [x, y] = [scatter.x, scatter.y].map(name => scaled(columns.get(name), values(name)[current]));
  scatter.ring.data = x === null || y === null ? { x: [], y: [] } : { x: [x], y: [y] };
}

const indexes = () => [...Array(count).keys()];

function suggestLog(name) {
  const known = values(name).filter(value => value !== null);
  const least = known.reduce((a, b) => Math.min(a, b), Infinity);
  return least > 0 && known.reduce((a, b) => Math.max(a, b), 0) / least > LARGEST_LINEAR_RATIO;
}

function startScatter() {
  const figures = data.objectives;
  scatter.y = figures[0];
  scatter.x = figures[1] ?? numbers().find(column => column.group === "figure" && column.name !== figures[0]).name;
  byGroup($("axis-x"), numbers(), scatter.x);
  byGroup($("axis-y"), numbers(), scatter.y);
  const colourable = data.columns.filter(c => c.group !== "key" && new Set(values(c.name)).size > 1);
  byGroup($("axis-colour"), colourable, "", [["", "by group"]]);
  $("log-x").checked = suggestLog(scatter.x);
  $("log-y").checked = suggestLog(scatter.y);
  for (const axis of ["x", "y"]) {
    $(`axis-${axis}`).addEventListener("change", event => {
      scatter[axis] = event.target.value;
      $(`log-${axis}`).checked = suggestLog(scatter[axis]);
      drawScatter();
    });
    $(`log-${axis}`).addEventListener("change", drawScatter);
  }
  $("axis-colour").addEventListener("change", event => { scatter.colour = event.target.value; drawScatter(); });
  for (const [key, style] of Object.entries(GROUPS)) {
    const there = group.filter(name => name === key).length;
    if (!there || !style.marker) continue;
    const box = make("input", { type: "checkbox", checked: style.shown, value: key });
    box.addEventListener("change", () => { style.shown = box.checked; drawScatter(); });
    $("groups").append(make("label", {}, box, mark(key), `${style.name} (${plain(there)})`));
  }
}

function mark(key) {
  const shapes = {
    diamond: "M8 1 14 8 8 15 2 8Z", triangle: "M8 2 14 14H2Z", circle: "M8 4a4 4 0 1 0 .01 0Z", x: "M4 4 12 12M12 4 4 12",
  };
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg"), path = document.createElementNS(space, "path");
  for (const [name, value] of [["width", 16], ["height", 16], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  path.setAttribute("d", shapes[GROUPS[key].marker]);
  path.style.fill = path.style.stroke = `var(--${GROUPS[key].colour})`;
  svg.append(path);
  return svg;
}

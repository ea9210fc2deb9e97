// What all parts of the page's script use: values, words, elements, colours, charts. `page.py` joins the parts.
// Text of the sweep reaches the page as text nodes alone, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const columns = new Map(data.columns.map(column => [column.name, column]));
const cache = new Map();
const count = values("network").length;
const group = unpack(data.groups);
// Of a design of the front the first one that is as good in every objective; of any other design itself.
const firstOf = row => data.firsts[row] ?? row;
const asGood = new Map();
data.firsts.forEach((first, row) => {
  if (first === row) asGood.set(row, []);
  asGood.get(first).push(row);
});
const details = new Map(data.details.map(detail => [detail.row, detail]));
const GROUPS = {
  front: { name: "on the front", marker: "diamond", size: 12, colour: "vermillion", shown: true },
  neighbour: { name: "beside the front", marker: "triangle", size: 8, colour: "blue", shown: true },
  other: { name: "off the front", marker: "circle", size: 5, colour: "faint", shown: true },
  bound: { name: "left out, at their bounds", marker: "x", size: 5, colour: "faint", shown: false },
  network: { name: "on no machine", shown: false },
};
const CATEGORIES = ["blue", "orange", "green", "vermillion", "sky", "purple", "yellow"];
const STATES = {
  w: { name: "working", colour: "blue", hatch: " " },
  s: { name: "starved", colour: "orange", hatch: "right_diagonal_line" },
  b: { name: "blocked", colour: "purple", hatch: "dot" },
};
const PAGE = 25;
const LARGEST_LINEAR_RATIO = 20;
Bokeh.logger.set_level("error");

// --- values and words ---

function unpack(packed) {
  if (packed.all) return packed.all;
  if (packed.different.length === 1) return Array(count).fill(packed.different[0]);
  return packed.of.map(index => packed.different[index]);
}

function values(name) {
  if (!cache.has(name)) {
    // The number of rows is that of the first column that says it.
    const packed = data.rows[name];
    if (!packed.all && packed.different.length === 1) cache.set(name, Array(rows()).fill(packed.different[0]));
    else cache.set(name, unpack(packed));
  }
  return cache.get(name);
}

function rows() {
  for (const packed of Object.values(data.rows)) {
    if (packed.all) return packed.all.length;
    if (packed.of.length) return packed.of.length;
  }
  return 1;
}

const numbers = () => data.columns.filter(column => column.number && values(column.name).some(v => v !== null));
const title = column => column.unit ? `${column.label}, ${column.unit}` : column.label;
const scaled = (column, value) => value !== null && column.share ? 100 * value : value;

function told(column, value) {
  if (value === null || value === "") return "–";
  if (!column.number && typeof value !== "number") return value;
  const shown = scaled(column, value);
  if (column.share) return shown.toFixed(1);
  return plain(shown);
}

function plain(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

const withUnit = (column, value) => value === null ? "–" : `${told(column, value)} ${column.unit}`.trim();
const counted = (number, name) => `${plain(number)} ${name}${number === 1 ? "" : "s"}`;
const nameOf = row => values("machine")[row] ? `${values("network")[row]} on ${values("machine")[row]}` : values("network")[row];
const alike = row => (asGood.get(firstOf(row)) ?? []).filter(other => other !== row);

// --- elements ---

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

function choices(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
  if (chosen !== undefined) select.value = chosen;
}

function byGroup(select, entries, chosen, first = []) {
  const names = { network: "Network", machine: "Machine", figure: "Figures" };
  const groups = Object.entries(names).map(([key, label]) => {
    const options = entries.filter(c => c.group === key).map(c => make("option", { value: c.name }, title(c)));
    return options.length ? make("optgroup", { label }, ...options) : null;
  });
  select.replaceChildren(...first.map(([value, text]) => make("option", { value }, text)), ...groups.filter(Boolean));
  select.value = chosen;
}

function table(caption, heads, lines) {
  const head = heads.map(([text, kind]) => make("th", { scope: "col", class: kind === "text" ? "text" : false }, text));
  const body = lines.map(line => make("tr", {}, ...line.map((cell, i) =>
    i === 0 ? make("th", { scope: "row" }, cell) : make("td", { class: heads[i][1] === "text" ? "text" : false }, cell))));
  return make("div", { class: "scroll", role: "region", "aria-label": `${caption}, scrolls sideways`, tabindex: "0" },
    make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)));
}

// --- colours: those of the style sheet, for the canvas ---

const probe = make("span", { hidden: true });
document.body.append(probe);

function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

const CIVIDIS = Bokeh.Palettes.cividis(256).map(c => `#${(c >>> 8).toString(16).padStart(6, "0")}`);

// --- charts ---

const drawn = new Map();

async function show(slot, figure) {
  const inner = make("div");
  const mine = { inner };
  const before = drawn.get(slot);
  drawn.set(slot, mine);
  slot.replaceChildren(inner);
  dispose(before);
  const place = new Bokeh.Document();
  place.add_root(figure);
  mine.document = place;
  mine.views = await Bokeh.embed.add_document_standalone(place, inner);
  if (drawn.get(slot) !== mine) dispose(mine);
  slot.dataset.drawn = Number(slot.dataset.drawn || 0) + 1;
}

function dispose(old) {
  if (!old || !old.views) return;
  for (const view of old.views) view.remove();
  old.document.clear();
  Bokeh.documents.splice(Bokeh.documents.indexOf(old.document), 1);
}

function figure(options) {
  const made = Bokeh.Plotting.figure({
    sizing_mode: "stretch_both", toolbar_location: "above", min_border: 5, match_aspect: false, ...options,
  });
  const ink = colour("ink"), soft = colour("soft"), rule = colour("rule");
  Object.assign(made, {
    background_fill_color: colour("panel"), border_fill_color: colour("panel"), outline_line_color: null,
  });
  made.toolbar.logo = null;
  for (const axis of axesOf(made)) {
    Object.assign(axis, {
      axis_label_text_color: ink, major_label_text_color: soft, axis_line_color: soft, major_tick_line_color: soft,
      minor_tick_line_color: null, axis_label_text_font_style: "normal", axis_label_text_font: "system-ui, sans-serif",
      major_label_text_font: "system-ui, sans-serif", axis_label_text_font_size: "14px", major_label_text_font_size: "12px",
    });
  }
  for (const grid of made.center) grid.grid_line_color = rule;
  return made;
}

const axesOf = made => [made.below[0], made.left[0]];
const formatter = () => new Bokeh.NumeralTickFormatter({ format: "0,0.[00000]" });

// One design: its figures, and where it is shown in full, layers, timeline, memory, resources and trainings.

let current = null;
const choosable = () => [...new Set([...details.keys(), ...(current === null ? [] : [current])])];

function openDesign(row, focus) {
  current = row;
  const list = choosable();
  choices($("candidate-choice"), list.map(each => [each, nameOf(each)]), row);
  const place = list.indexOf(row);
  $("candidate-back").disabled = place <= 0;
  $("candidate-next").disabled = place >= list.length - 1;
  ring();
  drawCandidate(row);
  if (focus) {
    $("candidate").focus({ preventScroll: true });
    $("candidate").scrollIntoView({ block: "start" });
  }
}

function step(by) {
  const list = choosable();
  const row = list[list.indexOf(current) + by];
  if (row !== undefined) openDesign(row, false);
}

function drawCandidate(row) {
  const body = $("candidate-body"), detail = details.get(row);
  for (const slot of [...drawn.keys()]) {
    if (!body.contains(slot)) continue;
    dispose(drawn.get(slot));
    drawn.delete(slot);
  }
  const parts = [make("h3", {}, nameOf(row)), standing(row), facts(row), others(row)];
  if (detail) parts.push(...inFull(row, detail));
  else if (values("machine")[row]) parts.push(make("p", { class: "note" }, "This design is not among those shown in full detail."));
  parts.push(everything(row));
  body.replaceChildren(...parts.filter(Boolean));
  for (const [slot, chart] of waiting.splice(0)) show(slot, chart());
}

const waiting = [];

function chart(label, height, makeFigure, kind = "low") {
  const slot = make("div", { class: `chart ${kind}`, role: "img", "aria-label": label });
  if (height) slot.style.height = `${height}px`;
  waiting.push([slot, makeFigure]);
  return slot;
}

function standing(row) {
  const status = values("status")[row], reason = values("reason")[row];
  if (group[row] === "network") return make("p", { class: "note" }, `This network is on no machine: ${reason || status}.`);
  const where = group[row] === "bound" ? "left out; its figures are bounds" : GROUPS[group[row]].name;
  const how = status === "exact" ? ", simulated exactly" : reason ? `: ${reason}` : "";
  return make("p", { class: "note" }, `This design is ${where}${how}.`);
}

function others(row) {
  const list = alike(row);
  if (!list.length) return null;
  const items = list.map(other => make("li", {}, make("button", { type: "button", class: "plain", onclick: () => openDesign(other, true) }, nameOf(other))));
  const made = fold(`${counted(list.length, "other design")} as good in every objective`, make("ul", {}, ...items));
  made.id = "alike";
  return made;
}

function facts(row) {
  const names = [...new Set([...data.objectives, "accuracy", "latency_ms", "latency_cycles", "frames_per_second", "multipliers",
    "line_memory_bytes", "on_chip_bytes"])].filter(name => columns.has(name) && values(name)[row] !== null);
  return make("dl", { class: "facts" }, ...names.map(name => make("div", {},
    make("dt", {}, columns.get(name).label), make("dd", {}, withUnit(columns.get(name), values(name)[row])))));
}

function inFull(row, detail) {
  const network = data.networks[detail.network];
  return [
    detail.missing ? make("p", { class: "warning" }, `No simulation to show: ${detail.missing}`) : null,
    detail.differs.length ? make("p", { class: "warning" }, `Simulated again it differs: ${detail.differs.join("; ")}`) : null,
    ...command(detail),
    ...detail.layers.length ? layers(detail) : [],
    ...memory(detail),
    ...network.curves.epochs > 1 ? training(network.curves) : [],
    ...machine(detail),
    ...network.text ? [make("h4", {}, "Network as it is executed"), make("p", { class: "note" }, network.bits ?? ""),
      fold("Layers as text", make("pre", { tabindex: "0", "aria-label": "Network as text" }, network.text))] : [],
    ...detail.notes.map(note => make("p", { class: "note" }, note)),
  ];
}

const fold = (name, ...inside) => make("details", {}, make("summary", {}, name), ...inside);

function command(detail) {
  const text = detail.command || "No command repeats this row by itself: its network is no preset, ONNX file or trained student.";
  return [make("h4", {}, "To repeat it, in this page’s folder"),
    detail.command ? make("div", { class: "command" }, make("pre", { tabindex: "0", "aria-label": "Command" }, text)) : make("p", {}, text)];
}

function layers(detail) {
  const names = detail.layers.map(layer => layer.name);
  const shares = { w: layer => layer.cycles, s: layer => layer.starved_cycles, b: layer => layer.blocked_cycles };
  const height = 90 + 20 * names.length;
  const heads = [["Layer", "text"], ["Kind", "text"], ["PE × SIMD"], ["MACs"], ["working, cycles"], ["starved, cycles"],
    ["blocked, cycles"], ["first cycle"], ["last cycle"], ["line buffer, bytes"], ["window, bytes"], ["FIFO, bytes"], ["weights, bytes"]];
  const lines = detail.layers.map(l => [l.name, l.kind, `${l.pe} × ${l.simd}`, plain(l.macs), plain(l.cycles),
    plain(l.starved_cycles), plain(l.blocked_cycles), l.first_cycle < 0 ? "–" : plain(l.first_cycle), plain(l.last_cycle),
    plain(l.line_buffer_bytes), plain(l.window_bytes), plain(l.fifo_bytes), plain(l.weight_bytes)]);
  const parts = [make("h4", {}, "Layers"), legendOfStates(), make("div", { class: "pair" },
    make("figure", {}, chart("Cycles of each layer; the table below has the numbers", height,
      () => bars(names, detail.layers, shares, "cycles a frame"), "rows"),
    make("figcaption", {}, "Cycles of a frame in which a layer works, waits for its input, or waits for room behind it.")),
    detail.timeline ? make("figure", {}, chart("What each layer does over the first frame", height,
      () => timeline(detail.timeline), "rows"), make("figcaption", {}, timelineTold(detail))) : "")];
  return [...parts, fold("All numbers of the layers", table("Layers: cycles of one frame, bytes on chip", heads, lines))];
}

function timelineTold(detail) {
  const frame = `The first frame, ${plain(detail.timeline.cycles)} cycles`;
  const steps = Object.values(detail.timeline.layers)[0]?.length ?? 0;
  if (Object.keys(detail.causes).length) return `${frame}; each bar from a layer’s first cycle to its last one, waits included.`;
  return `${frame} to the last layer’s last step, cut into ${steps}; each shows what the layer does most.`;
}

function legendOfStates() {
  return make("div", { class: "legend" }, ...Object.values(STATES).map(state => {
    const box = make("i");
    const hatch = { " ": "", right_diagonal_line: "repeating-linear-gradient(45deg, var(--ink) 0 1px, transparent 1px 4px), ",
      dot: "radial-gradient(var(--ink) 1px, transparent 1.5px) 0 0 / 4px 4px, " }[state.hatch];
    box.style.background = `${hatch}var(--${state.colour})`;
    return make("span", {}, box, state.name);
  }));
}

const look = state => ({
  fill_color: colour(state.colour), line_color: null, hatch_pattern: state.hatch, hatch_color: colour("ink"),
  hatch_alpha: 0.65, hatch_scale: 6, hatch_weight: 0.8,
});

function rowsFigure(names, label) {
  const made = figure({ y_range: new Bokeh.FactorRange({ factors: [...names].reverse() }), tools: [], toolbar_location: null });
  const [across, up] = axesOf(made);
  Object.assign(across, { axis_label: label, formatter: formatter() });
  across.ticker.desired_num_ticks = 4;
  up.major_tick_line_color = null;
  made.x_range.start = 0;
  made.x_range.range_padding = 0.02;
  return made;
}

function bars(names, list, shares, label) {
  const made = rowsFigure(names, label);
  const left = list.map(() => 0);
  for (const [key, share] of Object.entries(shares)) {
    const right = list.map((layer, i) => left[i] + share(layer));
    const source = new Bokeh.ColumnDataSource({ data: { y: names, left: [...left], right } });
    made.hbar({ y: { field: "y" }, source, left: { field: "left" }, right: { field: "right" }, height: 0.72, ...look(STATES[key]) });
    right.forEach((value, i) => { left[i] = value; });
  }
  return made;
}

function timeline(line) {
  const made = rowsFigure(Object.keys(line.layers), "cycle of the first frame");
  for (const [key, state] of Object.entries(STATES)) {
    const found = { y: [], left: [], right: [] };
    for (const [name, letters] of Object.entries(line.layers)) {
      for (const run of letters.matchAll(new RegExp(`${key}+`, "g"))) {
        found.y.push(name);
        found.left.push(run.index / letters.length * line.cycles);
        found.right.push((run.index + run[0].length) / letters.length * line.cycles);
      }
    }
    made.hbar({
      y: { field: "y" }, source: new Bokeh.ColumnDataSource({ data: found }), left: { field: "left" }, right: { field: "right" }, height: 0.72, ...look(state),
    });
  }
  return made;
}

function memory(detail) {
  const parts = [];
  const counted = (caption, entries, unit) => table(caption, [["Part", "text"], [unit]], entries.map(([k, v]) => [k.replaceAll("_", " "), plain(v)]));
  const some = entries => Object.entries(entries);
  if (some(detail.bytes).length) parts.push(counted("Memory on chip", some(detail.bytes), "bytes"));
  if (some(detail.causes).length) parts.push(counted("Cycles of a frame by cause", some(detail.causes), "cycles"));
  if (some(detail.dram).length) parts.push(counted("Moved on and off the chip a frame", some(detail.dram), "bytes"));
  if (some(detail.resources).length) {
    const names = { lut: "LUTs", ff: "flip-flops", dsp: "DSPs", bram18: "block RAMs of 18 kbit" };
    const lines = some(detail.resources).map(([key, value]) => [names[key] ?? key, plain(value)]);
    parts.push(make("div", {}, table("Resources", [["Resource", "text"], ["number"]], lines),
      make("p", { class: "note" }, `Source: ${detail.source}. ${detail.fits.join("; ")}`)));
  }
  return parts.length ? [make("h4", {}, "Memory and resources"), make("div", { class: "pair" }, ...parts)] : [];
}

function machine(detail) {
  const lines = Object.entries(detail.machine).map(([key, value]) =>
    [key.replaceAll("_", " "), typeof value === "object" ? JSON.stringify(value) : plain(value)]);
  return lines.length ? [make("h4", {}, "Machine"), fold("All fields of the machine", table("Fields of the machine", [["Field", "text"], ["value", "text"]], lines))] : [];
}

// --- training curves ---

function training(curves) {
  const last = curves.validation.map(values => values.at(-1));
  const [mean, spread] = moments(last);
  const seeds = curves.seeds.length;
  const end = `Validation accuracy ends at ${(100 * mean).toFixed(1)} % ` +
    (seeds > 1 ? `(mean of ${seeds} seeds, standard deviation ${(100 * spread).toFixed(1)}; from ${(100 * Math.min(...last)).toFixed(1)} to ${(100 * Math.max(...last)).toFixed(1)} %).` : "(one seed).");
  const lines = (key, label, by) => chart(`${label} by epoch; ${end}`, 0, () => curve(curves[key].map(v => v.map(each => by * each)), label));
  return [make("h4", {}, "Training"), make("div", { class: "pair" }, lines("validation", "validation accuracy, %", 100), lines("loss", "training loss", 1)),
    make("p", { class: "note" }, `${end} Thick: mean over seeds; band: one standard deviation each way; thin: each seed. Float weights, before they are made integers.`)];
}

function moments(list) {
  const mean = list.reduce((a, b) => a + b, 0) / list.length;
  const squares = list.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return [mean, list.length > 1 ? Math.sqrt(squares / (list.length - 1)) : 0];
}

function curve(seeds, label) {
  const made = figure({ tools: [], toolbar_location: null });
  const [across, up] = axesOf(made);
  Object.assign(across, { axis_label: "epoch" });
  Object.assign(up, { axis_label: label, formatter: formatter() });
  const epochs = seeds[0].map((_, i) => i + 1);
  const by = epochs.map((_, i) => moments(seeds.map(values => values[i])));
  const source = new Bokeh.ColumnDataSource({ data: {
    x: epochs, mean: by.map(([m]) => m), low: by.map(([m, s]) => m - s), high: by.map(([m, s]) => m + s),
  } });
  made.varea({ field: "x" }, { field: "low" }, { field: "high" }, { source, fill_color: colour("blue"), fill_alpha: 0.18 });
  seeds.forEach(values => made.line(epochs, values, { line_color: colour("soft"), line_width: 1, line_alpha: 0.7 }));
  made.line({ field: "x" }, { field: "mean" }, { source, line_color: colour("blue"), line_width: 2.5 });
  return made;
}

function everything(row) {
  const lines = data.columns.filter(column => ![null, ""].includes(values(column.name)[row])).map(column =>
    [column.label, withUnit(column, values(column.name)[row]), column.text]);
  return fold("All columns of its row", table("The row of this design", [["Column", "text"], ["value"], ["what it is", "text"]], lines));
}

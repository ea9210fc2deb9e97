// The table: columns, filters, order, pages; export of what is ticked or left.

const view = { group: "front", text: "", filters: [], sort: null, page: 0, columns: [], ticked: new Set(), open: new Set() };

function startTable() {
  const counts = key => group.filter(name => key.includes(name)).length;
  const sets = [["front", "front"], ["front neighbour", "front and beside it"], ["front neighbour other bound", "all in this page"]];
  if (group.includes("network")) sets.push(["network", "networks on no machine"]);
  choices($("table-group"), sets.map(([key, text]) => [key, `${text} (${plain(counts(key.split(" ")))})`]), "front");
  if (!group.includes("front")) view.group = $("table-group").value = sets[2][0];
  const preferred = ["accuracy", "accuracy_deviation", "latency_ms", "latency_cycles", "interval_cycles", "frames_per_second",
    "multipliers", "line_memory_bytes", "on_chip_bytes", "dram_bytes", "energy_uj", "lut", "dsp", "bram18"];
  const wanted = ["machine", ...new Set([...data.objectives, ...preferred])];
  view.columns = wanted.filter(name => columns.has(name) && values(name).some(value => value !== null));
  view.sort = { name: data.objectives[0], down: columns.get(data.objectives[0]).better === "more" };
  byGroup($("filter-column"), numbers(), data.objectives[0]);
  const boxes = data.columns.filter(column => column.name !== "network").map(column => {
    const box = make("input", { type: "checkbox", value: column.name, checked: view.columns.includes(column.name) });
    box.addEventListener("change", chooseColumns);
    return make("label", {}, box, title(column));
  });
  $("columns").querySelector(".ticks").append(...boxes);
  $("table-group").addEventListener("change", event => { view.group = event.target.value; again(); });
  $("table-text").addEventListener("input", event => { view.text = event.target.value.toLowerCase(); again(); });
  $("filter-add").addEventListener("click", addFilter);
  $("page-back").addEventListener("click", () => { view.page -= 1; drawTable(); });
  $("page-next").addEventListener("click", () => { view.page += 1; drawTable(); });
  $("export-csv").addEventListener("click", () => save("csv", "text/csv", csv(selection())));
  $("export-json").addEventListener("click", () => save("json", "application/json", json(selection())));
}

function again() {
  view.page = 0;
  drawTable();
}

function chooseColumns() {
  const boxes = [...$("columns").querySelectorAll("input:checked")];
  const chosen = boxes.map(box => box.value);
  view.columns = [...view.columns.filter(name => chosen.includes(name)), ...chosen.filter(name => !view.columns.includes(name))];
  drawTable();
}

function addFilter() {
  const column = columns.get($("filter-column").value);
  const [least, most] = ["filter-least", "filter-most"].map(id => $(id).value === "" ? null : Number($(id).value));
  if (least === null && most === null) return;
  view.filters.push({ column, least, most });
  for (const id of ["filter-least", "filter-most"]) $(id).value = "";
  drawFilters();
  again();
}

function drawFilters() {
  $("filters").replaceChildren(...view.filters.map((filter, i) => {
    const limits = [filter.least === null ? "" : `from ${plain(filter.least)}`, filter.most === null ? "" : `to ${plain(filter.most)}`];
    const text = `${title(filter.column)} ${limits.filter(Boolean).join(" ")}`;
    const remove = () => { view.filters.splice(i, 1); drawFilters(); again(); };
    return make("li", {}, make("button", { type: "button", "aria-label": `Remove the filter ${text}`, onclick: remove }, `${text} ✕`));
  }));
}

function filtered() {
  const words = data.columns.filter(column => !column.number).map(column => values(column.name));
  const allowed = view.group.split(" ");
  const found = indexes().filter(row => allowed.includes(group[row])
    && (!view.text || words.some(list => String(list[row] ?? "").toLowerCase().includes(view.text)))
    && view.filters.every(({ column, least, most }) => {
      const value = scaled(column, values(column.name)[row]);
      return value !== null && (least === null || value >= least) && (most === null || value <= most);
    }));
  const { name, down } = view.sort, list = values(name), way = down ? -1 : 1;
  return found.sort((a, b) => {
    if (list[a] === null || list[b] === null) return (list[a] === null) - (list[b] === null);
    const order = typeof list[a] === "number" ? list[a] - list[b] : String(list[a]).localeCompare(String(list[b]), "en", { numeric: true });
    return way * order || a - b;
  });
}

function drawTable() {
  const found = filtered(), lines = grouped(found), pages = Math.max(1, Math.ceil(lines.length / PAGE));
  view.page = Math.min(Math.max(view.page, 0), pages - 1);
  const names = ["network", ...view.group === "network" ? ["status", "reason"] : view.columns];
  $("table").tHead.replaceChildren(make("tr", {}, ...names.map(heading)));
  const part = lines.slice(view.page * PAGE, (view.page + 1) * PAGE);
  $("table").tBodies[0].replaceChildren(...part.map(each => line(each, names)));
  $("page-told").textContent = `page ${plain(view.page + 1)} of ${plain(pages)}`;
  $("page-back").disabled = view.page === 0;
  $("page-next").disabled = view.page === pages - 1;
  tellCounts(found);
}

// Designs that are as good stand behind the first of them in the order, and are lines of their own once it is opened.
function grouped(found) {
  const groups = new Map();
  for (const row of found) {
    if (!groups.has(firstOf(row))) groups.set(firstOf(row), []);
    groups.get(firstOf(row)).push(row);
  }
  return [...groups].flatMap(([first, [row, ...more]]) =>
    [{ row, first, more: more.length }, ...(view.open.has(first) ? more : []).map(other => ({ row: other, first, more: 0, inner: true }))]);
}

function tellCounts(found) {
  const ticked = view.ticked.size, networks = view.group === "network";
  const all = group.filter(name => (name === "network") === networks).length;
  const points = new Set(found.map(firstOf)).size;
  $("table-count").textContent = `${plain(found.length)} of ${counted(all, networks ? "network" : "design")} in this page match`
    + (points < found.length ? `, in ${counted(points, "line")}: those as good as each other are one` : "") + (ticked ? `; ${plain(ticked)} ticked` : "");
  const chosen = ticked || found.length;
  for (const kind of ["csv", "json"]) {
    $(`export-${kind}`).textContent = `Export ${plain(chosen)} ${ticked ? "ticked " : ""}as ${kind.toUpperCase()}`;
    $(`export-${kind}`).disabled = !chosen;
  }
}

function heading(name) {
  const column = columns.get(name), mine = view.sort.name === name;
  const sort = () => {
    view.sort = mine ? { name, down: !view.sort.down } : { name, down: column.better === "more" };
    again();
    $("table").tHead.querySelector(`button[value="${name}"]`).focus();
  };
  return make("th", {
    scope: "col", class: column.number ? false : "text", title: column.text,
    "aria-sort": mine ? (view.sort.down ? "descending" : "ascending") : "none",
  }, make("button", { type: "button", value: name, onclick: sort }, column.label), column.unit ? make("span", { class: "unit" }, column.unit) : "");
}

function line({ row, first, more, inner }, names) {
  const tick = make("input", { type: "checkbox", "aria-label": `Tick ${nameOf(row)} for export`, checked: view.ticked.has(row) });
  tick.addEventListener("change", () => {
    if (tick.checked) view.ticked.add(row); else view.ticked.delete(row);
    tellCounts(filtered());
  });
  const open = make("button", { type: "button", class: "plain", onclick: () => openDesign(row, true) }, values("network")[row]);
  const cells = names.slice(1).map(name => {
    const column = columns.get(name);
    return make("td", { class: column.number ? false : name === "machine" ? "text machine" : "text" }, told(column, values(name)[row]));
  });
  const toggle = () => {
    if (!view.open.delete(first)) view.open.add(first);
    drawTable();
    $("table").querySelector(`tr[data-row="${row}"] button.more`)?.focus();
  };
  const rest = more ? make("button", { type: "button", class: "plain more", "aria-expanded": String(view.open.has(first)), onclick: toggle }, `and ${plain(more)} as good`) : null;
  return make("tr", { "data-row": row, class: inner ? "inner" : false },
    make("th", { scope: "row" }, make("div", { class: "named" }, tick, make("div", {}, open, rest ? " " : "", rest))), ...cells);
}

// --- export ---

const selection = () => view.ticked.size ? [...view.ticked].sort((a, b) => a - b) : filtered();

function csv(chosen) {
  const quoted = value => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const names = [...columns.keys()];
  const lines = [names, ...chosen.map(row => names.map(name => values(name)[row]))];
  return lines.map(line => line.map(quoted).join(",")).join("\r\n") + "\r\n";
}

function json(chosen) {
  const names = [...columns.keys()];
  return JSON.stringify(chosen.map(row => Object.fromEntries(names.map(name => [name, values(name)[row]]))), null, 1);
}

function save(ending, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: `${fileName()}.${ending}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const fileName = () => `${data.name.replace(/[^\w.-]+/g, "-").slice(0, 60)}-selection`;

// The page: its state, who listens to it, and the order in which data are read.

function createApp(data) {
  const listeners = [];
  const modelThreshold = data.threshold ?? (data.sorted ? data.sorted[Math.floor(0.01 * data.n)] : 0);
  const app = {
    data, drawn: Promise.resolve(),
    state: {
      selected: null, hovered: null, group: null, threshold: modelThreshold, coloring: null,
      onlyBelow: false, read: false,
    },
    listen: (call) => listeners.push(call),

    /** Change the state, and tell those who listen what has changed. */
    update(changes, also = []) {
      const changed = new Set(also);
      for (const [name, value] of Object.entries(changes)) {
        if (app.state[name] !== value) { app.state[name] = value; changed.add(name); }
      }
      if (changed.size) listeners.forEach((call) => call(changed));
    },

    select(row, { tab = true } = {}) {
      keepingFocus(() => {
        app.update({ selected: row });
        if (row !== null && tab) app.openTab("row");
      }, () => find(`tab-${app.tab}`));
      if (row === null) return;
      announce(`Row ${data.idOf(row)}${data.score ? `, score ${formatNumber(data.score[row])}` : ""}`);
    },

    /** Go to the next or previous row by score. */
    step(by) {
      const { selected } = app.state;
      const at = selected === null ? (by > 0 ? 0 : data.n - 1) : data.rank[selected] + by;
      if (at >= 0 && at < data.n) app.select(data.order[at]);
    },

    selectGroup(chosen, name) {
      const rows = Array.from(chosen);
      const isMember = new Uint8Array(data.n);
      rows.forEach((row) => { isMember[row] = 1; });
      const group = rows.length ? { rows, isMember, name } : null;
      keepingFocus(() => {
        app.update({ group });
        if (group) app.openTab("group");
      }, () => find(`tab-${app.tab}`));
      if (group) announce(`Group of ${formatCount(rows.length)} rows`);
    },

    openRow() { app.openTab("row"); find("tab-row").focus(); },

    /** What a tooltip says of a row. */
    brief(row) {
      const lines = [element("strong", { class: "cut" }, data.idOf(row))];
      if (data.text) lines.push(element("span", { class: "cut" }, formatCell(data.text, row)));
      if (data.label) lines.push(element("span", { class: "cut" }, formatCell(data.label, row)));
      if (data.score) lines.push(element("span", {}, `score ${formatNumber(data.score[row])}`));
      const { column } = app.state.coloring;
      if (column && column !== data.label && column.values !== data.score) {
        lines.push(element("span", { class: "cut" }, `${column.name}: ${formatCell(column, row)}`));
      }
      const picture = pictureOf(data, row, 40);
      return picture ? [picture, element("span", { class: "lines" }, lines)] : [element("span", { class: "lines" }, lines)];
    },

    /** A row as a button that selects it. */
    rowButton(row, number = null, text = null) {
      const says = text ?? (data.score ? `score ${formatNumber(data.score[row])}` : "");
      const label = data.label ? formatCell(data.label, row) : null;
      return button([
        number === null ? null : element("span", { class: "number" }, number),
        pictureOf(data, row, 36),
        element("span", { class: "lines" },
          element("span", { class: "cut" }, data.idOf(row)),
          data.text ? element("span", { class: "cut", title: formatCell(data.text, row) }, formatCell(data.text, row)) : null,
          element("small", { class: "cut" }, [label, says].filter(Boolean).join(" · "))),
      ], () => app.select(row), { class: "row", "data-row": row });
    },
  };
  return app;
}

function createTabs(data, app) {
  const names = [["lowest", data.score ? "Lowest scores" : "Rows"], ["row", "Row"], ["group", "Group"],
    ...(data.duplicates ? [["duplicates", "Duplicates"]] : []), ["about", "About"]];
  const list = find("tabs");
  const tabs = new Map(names.map(([name, text]) => [name, button(text, () => app.openTab(name),
    { role: "tab", id: `tab-of-${name}`, "aria-controls": `tab-${name}` })]));
  list.append(...tabs.values());
  document.querySelectorAll("[role=tabpanel]").forEach((panel) => { panel.hidden = true; panel.tabIndex = -1; });
  names.forEach(([name]) => find(`tab-${name}`).setAttribute("aria-labelledby", `tab-of-${name}`));

  app.openTab = (name) => {
    for (const [other, tab] of tabs) {
      tab.setAttribute("aria-selected", String(other === name));
      tab.tabIndex = other === name ? 0 : -1;
      find(`tab-${other}`).hidden = other !== name;
    }
    app.tab = name;
  };
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...tabs.keys()];
    const next = all[(all.indexOf(app.tab) + step + all.length) % all.length];
    app.openTab(next);
    tabs.get(next).focus();
  });
  app.openTab("lowest");
}

function createTheme(app) {
  const choice = find("theme");
  const wanted = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  function apply() {
    const theme = chosen ?? (wanted.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    choice.textContent = theme === "dark" ? "Light" : "Dark";
    choice.setAttribute("aria-label", `Show in ${theme === "dark" ? "light" : "dark"} colours`);
    app.update({}, ["theme"]);
  }
  choice.addEventListener("click", () => { chosen = isDark() ? "light" : "dark"; apply(); });
  wanted.addEventListener("change", apply);
  return apply;
}

/** Let the reader choose the colours; more columns may be added once they are read. */
function createColorChoice(data, app) {
  const choices = colorings(data);
  const select = find("color-by");
  const optionsFrom = (start) => choices.slice(start).map(({ name }, i) => element("option", { value: String(start + i) }, name));
  select.append(...optionsFrom(0));
  select.addEventListener("change", () => app.update({ coloring: choices[Number(select.value)] }));
  app.state.coloring = choices[0];
  return (heading, columns) => {
    const start = choices.length;
    const groups = columns.filter((column) => !column.isText);
    choices.push(...groups.map((column) => coloringBy(column, data.n)));
    if (choices.length === start) return;
    select.append(element("optgroup", { label: heading }, optionsFrom(start)));
  };
}

function createHeading(data) {
  document.title = `${data.title} – explorer`;
  find("title").textContent = data.title;
  const parts = [`${formatCount(data.n)} rows`];
  if (data.hasLabel && data.label.categories) parts.push(`${formatCount(data.label.categories.length)} labels`);
  find("summary").textContent = parts.join(", ");
}

/** Read thumbnails, columns and details, once the map is drawn. */
async function readTheRest(data, app) {
  const [thumbnails, features, grid, details] = await Promise.all(
    ["thumbnails", "features", "grid", "details"].map(readSection));
  data.thumbnails = thumbnails?.arrays.image ?? null;
  if (features) {
    data.features = { columns: columnsOf(features), nColumns: features.nColumns };
    app.addColorings(data.featuresAre === "latents" ? "Latents" : "Columns", data.features.columns);
  }
  data.grid = grid;
  data.details = details;
  valuesOf(details, "row")?.forEach((row, at) => data.detailOf.set(row, at));
  if (grid) app.grid = createGrid(data, app);
  app.update({ read: true });
}

/** Wait until there is a place to draw on: a frame that nobody sees has no size. */
async function beSeen() {
  while (!window.innerWidth || !window.innerHeight) {
    await new Promise((resolve) => window.addEventListener("resize", resolve, { once: true }));
  }
}

async function start() {
  const data = dataOf(await readSection("core"));
  await beSeen();
  const app = createApp(data);
  createHeading(data);
  const applyTheme = createTheme(app);
  app.addColorings = createColorChoice(data, app);
  createTabs(data, app);
  document.documentElement.dataset.theme = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  app.map = createMap(data, app);
  if (data.score) app.threshold = createThreshold(data, app);
  else find("only-label").hidden = true;
  app.point = createPoint(data, app);
  createGroup(data, app);
  createLowest(data, app);
  if (data.duplicates) createDuplicates(data, app);
  createAbout(data, app);
  createSearch(data, app);
  find("only-below").addEventListener("change", (event) => app.update({ onlyBelow: event.target.checked }));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    if (app.state.selected !== null) app.select(null);
    else if (app.state.group) app.selectGroup([], "");
  });
  app.update({}, ["coloring", "threshold", "selected", "group"]);
  applyTheme();
  await app.drawn;
  await readTheRest(data, app);
  await app.drawn;
  await app.map.nextFrame();
  return app;
}

// For scripts and tests: what is shown, and when it is complete.
window.explorer = { ready: start(), csvOf, csvCell, whatTells, meanDifference, countAtDiscoveryRate, rowsWithId };
window.explorer.ready.then((app) => {
  window.explorer.app = app;
  performance.mark("explorer-ready");
  document.documentElement.dataset.ready = "true";
}, (error) => {
  const failure = find("failure");
  failure.hidden = false;
  failure.textContent = typeof DecompressionStream === "undefined"
    ? "This browser is too old to read the page: it needs one of 2023 or later."
    : `The page could not be shown: ${error.message}`;
  find("summary").textContent = "";
  throw error;
});

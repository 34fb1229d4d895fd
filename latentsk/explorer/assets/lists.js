// Lists of rows: the lowest scores, near-duplicates, ids that are searched, and notes.

const PAGE_LENGTH = 60;

function createLowest(data, app) {
  const panel = find("tab-lowest");
  const list = element("div", { class: "rows", role: "group", "aria-label": "Rows by score, lowest first" });
  const more = button("Show more", () => extend());
  withArrowKeys(list, "button");

  function extend() {
    const from = list.childElementCount;
    const rows = data.order.subarray(from, from + PAGE_LENGTH);
    list.append(...Array.from(rows, (row, i) => app.rowButton(row, data.score ? String(from + i + 1) : null)));
    more.hidden = list.childElementCount >= data.n;
  }
  panel.append(element("p", { class: "hint" }, data.score ? "The rows by score, the lowest (most abnormal) first."
    : "The rows. There are no scores: neither a detector nor an embedder with score_samples was given."), list, more);
  app.listen((changed) => {
    if (!changed.has("read") && !changed.has("theme")) return;
    list.replaceChildren();
    extend();
  });
}

function createDuplicates(data, app) {
  const { duplicates } = data;
  const panel = find("tab-duplicates");
  const text = duplicates.nGroups === 0 ? "There are no rows within "
    : `${formatCount(duplicates.nGroups)} groups of rows that lie within `;
  panel.append(element("p", { class: "hint" },
    `${text}${formatNumber(duplicates.threshold, 3)} of each other in the latent space.`));
  let shown = 0;
  const more = button("Show more", () => extend());

  function extend() {
    const some = duplicates.groups.slice(shown, shown + 20);
    more.before(...some.map((rows, i) => {
      const name = `near-duplicates ${shown + i + 1}`;
      const list = element("div", { class: "rows" }, rows.slice(0, 12).map((row) => app.rowButton(row)));
      withArrowKeys(list, "button");
      return element("section", { class: "duplicates" },
        element("div", { class: "between" },
          element("h4", {}, `${formatCount(rows.length)} rows`),
          button("Select the group", () => app.selectGroup(rows, name))),
        list, rows.length > 12 ? element("p", { class: "hint" }, `and ${formatCount(rows.length - 12)} more`) : null);
    }));
    shown += some.length;
    more.hidden = shown >= duplicates.groups.length;
  }
  panel.append(more);
  app.listen((changed) => {
    if (!changed.has("read") && !changed.has("theme")) return;
    panel.querySelectorAll("section").forEach((node) => node.remove());
    shown = 0;
    extend();
  });
}

/** Find rows by their id: those that equal the text first, then those that contain it. */
function rowsWithId(data, text, most) {
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return [];
  const exact = [], starting = [], others = [];
  for (let row = 0; row < data.n; row++) {
    const id = data.idOf(row).toLowerCase();
    if (id === wanted) exact.push(row);
    else if (starting.length < most && id.startsWith(wanted)) starting.push(row);
    else if (others.length < most && id.includes(wanted)) others.push(row);
  }
  return [...exact, ...starting, ...others].slice(0, most);
}

function createSearch(data, app) {
  const input = find("search-id"), list = find("search-found"), form = find("search");
  let active = -1;

  function close() {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function choose(row) {
    close();
    app.select(row);
    app.openTab("row");
  }

  function show() {
    const rows = rowsWithId(data, input.value, 8);
    list.replaceChildren(...rows.map((row, i) => {
      const option = element("li", { role: "option", id: `found-${i}`, "aria-selected": "false", "data-row": row },
        element("span", { class: "cut" }, data.idOf(row)));
      option.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(row); });
      return option;
    }));
    if (!rows.length && input.value.trim()) list.append(element("li", { class: "hint" }, "no such id"));
    list.hidden = input.value.trim() === "";
    input.setAttribute("aria-expanded", String(!list.hidden));
    active = -1;
  }

  function activate(next) {
    const options = [...list.querySelectorAll("[role=option]")];
    if (!options.length) return;
    active = (next + options.length) % options.length;
    options.forEach((option, i) => option.setAttribute("aria-selected", String(i === active)));
    input.setAttribute("aria-activedescendant", options[active].id);
  }

  input.addEventListener("input", show);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") activate(active + 1);
    else if (event.key === "ArrowUp") activate(active - 1);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const option = list.querySelectorAll("[role=option]")[Math.max(0, active)];
    if (option) choose(Number(option.dataset.row));
    else announce("There is no such id.");
  });
}

/** Say what only some rows have. */
function detailWords(data) {
  const names = { image: "the full image", rebuilt: "the reconstruction", reason_contribution: "all reasons" };
  const words = Object.keys(names).filter((name) => data.details?.arrays[name]).map((name) => names[name]);
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0];
}

/** What the page shows, what it lacks, and its keys. */
function createAbout(data, app) {
  const panel = find("tab-about");

  function notes() {
    const found = [];
    const n = formatCount(data.n);
    const nDetails = data.detailOf.size;
    if (!app.state.read) return found;
    if (data.details && nDetails < data.n) {
      const others = ["their five largest reasons", data.thumbnails ? "a thumbnail" : null].filter(Boolean);
      found.push(`Of ${n} rows, ${formatCount(nDetails)} have ${detailWords(data)} on this page: those with the lowest scores, `
        + `and as many others. The other ${formatCount(data.n - nDetails)} rows lack them; they have ${others.join(" and ")}.`);
    }
    if (!data.details && (data.reasonNames || data.hasImages)) found.push("There was no room for full images and all reasons of any row.");
    if (!data.reasonNames && data.score) found.push("The score of this model has no reasons: it is no sum over features.");
    if (data.details?.missing) found.push(`There are no reconstructions: ${data.details.missing}.`);
    if (data.hasImages && !data.thumbnails) found.push("There was no room for thumbnails.");
    if (data.details?.arrays.reason_contribution) found.push("Where all reasons are shown, those below a five-hundredth of the largest count as 0.");
    if (data.thumbnails) {
      const [, height, width, c] = data.thumbnails.shape;
      found.push(`Thumbnails have ${height} × ${width} pixels${c === 1 ? ", in grey" : ""}.`);
    }
    if (data.features && data.features.nColumns > data.features.columns.length) {
      found.push(`Groups are compared by ${data.features.columns.length} of ${data.features.nColumns} columns.`);
    }
    if (data.map.nOutside) found.push(`${formatCount(data.map.nOutside)} points lie outside the map, and are drawn on its edge.`);
    if (data.approximate) found.push("Neighbours were found by an approximate search.");
    if (data.duplicates && data.duplicates.nGroups > data.duplicates.groups.length) {
      found.push(`The ${formatCount(data.duplicates.groups.length)} largest groups of near-duplicates are listed.`);
    }
    found.push("Values are rounded to three or four digits. Scores and thresholds are exact.");
    return found;
  }

  function show() {
    const models = [["embedder", data.embedder ?? "none: the rows are vectors, and the latent space themselves"], ...(data.scorer && data.scorer !== data.embedder ? [["detector", data.scorer]] : []),
      ["written by", `latentsk ${data.version}`], ["drawn by", app.map.plot.name]];
    const keys = [
      ["Tab", "next control"], ["arrow keys, on the map", "next point in a direction; with Shift, move the map"],
      ["+, −, 0", "zoom in, out, show all"], ["N, P", "next and previous row by score"],
      ["Enter", "open the selected row"], ["Escape", "let go of the row, then of the group"],
      ["Shift and drag", "draw around points"],
    ];
    panel.replaceChildren(
      element("h4", {}, "What is on this page"),
      element("ul", { id: "notes" }, notes().map((text) => element("li", {}, text))),
      element("h4", {}, "Models"),
      tableOf(["what", "which"], models.map(([name, text]) => [name, element("code", {}, text)])),
      element("h4", {}, "Keys"),
      tableOf(["key", "what it does"], keys),
      element("p", { class: "hint" }, "This file asks for nothing from the network. Points are drawn by regl-scatterplot "
        + "(MIT licence) where there is WebGL."));
  }
  app.listen((changed) => { if (changed.has("read")) show(); });
}

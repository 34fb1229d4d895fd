// A group of rows: what tells it from the others, and its ids.

const N_TELLING = 12;

function createGroup(data, app) {
  const panel = find("tab-group");

  function makers() {
    const rowsOf = {
      "in view": () => app.map.rowsInView(),
      ...(data.score ? { "below the threshold": () => rowsBelow(data, app.state.threshold) } : {}),
    };
    const neighbors = () => {
      const row = app.state.selected;
      const at = row * data.nNeighbors;
      return [row, ...data.neighbor.subarray(at, at + data.nNeighbors)];
    };
    return element("p", { class: "buttons wrap" },
      Object.entries(rowsOf).map(([name, rows]) => button(`Rows ${name}`, () => app.selectGroup(rows(), name))),
      app.state.selected === null ? null
        : button("Selected row and its neighbours", () => app.selectGroup(neighbors(), "neighbours of a row")),
      app.state.group ? button("Let go", () => app.selectGroup([], "")) : null);
  }

  function show() {
    const { group } = app.state;
    const hint = element("p", { class: "hint" }, "Draw around points with “Lasso” (or Shift and drag), click on an "
      + "entry of the legend, or take:");
    if (!group) {
      panel.replaceChildren(hint, makers());
      return;
    }
    const { rows, isMember, name } = group;
    const parts = [
      element("h3", { id: "group-heading" }, formatRows(rows.length, data.n)),
      element("p", {}, `Group: ${name}. ${scoreText(rows)}`),
      makers(),
      tellingSection(isMember),
      imagesSection(isMember),
      labelSection(isMember),
      idsSection(rows),
      listSection(rows),
    ];
    panel.replaceChildren(...parts.filter(Boolean));
  }

  function scoreText(rows) {
    if (!data.score) return "";
    const nBelow = rows.reduce((sum, row) => sum + (data.score[row] < app.state.threshold), 0);
    const scores = rows.map((row) => data.score[row]).sort((a, b) => a - b);
    return `${formatCount(nBelow)} score below the threshold; median score ${formatNumber(scores[scores.length >> 1])}.`;
  }

  /** Features and metadata by standardized mean difference. */
  function tellingSection(isMember) {
    const columns = [...(data.features?.columns ?? []), ...data.columns.slice(data.hasLabel ? 1 : 0)]
      .filter((column) => !column.isText);
    if (!columns.length || isMember.every((m) => m)) return null;
    const told = whatTells(columns, isMember).slice(0, N_TELLING);
    const largest = Math.max(1, ...told.map((t) => Math.abs(t.difference)).filter(Number.isFinite));
    const rows = told.map((t) => [
      element("span", { class: "cut", title: t.name }, t.name),
      barWith(t.difference / largest, formatNumber(t.difference, 3)),
      t.member, t.other,
    ]);
    const shown = data.features && data.features.nColumns > data.features.columns.length
      ? ` Only ${data.features.columns.length} of ${data.features.nColumns} columns are on this page.` : "";
    return element("section", {}, element("h4", {}, "What tells it from the others"),
      tableOf(["feature", "difference", "group", "others"], rows, { id: "telling" }),
      element("p", { class: "hint" }, "Difference of the means, in standard deviations within group and others."
        + `${data.featuresAre === "latents" && data.features ? " Features are the latents." : ""}${shown}`));
  }

  function imagesSection(isMember) {
    if (!data.thumbnails) return null;
    const { member, other, shape } = meanImages(data.thumbnails, isMember);
    const [height, width, channelCount] = shape;
    const picture = (values, text) => element("figure", {},
      pixelsCanvas(values, height, width, channelCount, `mean image of the ${text}`, 84), element("figcaption", {}, text));
    const gap = new Float64Array(height * width);
    member.forEach((v, i) => { gap[Math.floor(i / channelCount)] += (v - other[i]) / channelCount; });
    return element("section", {}, element("h4", {}, "Mean images"),
      element("div", { class: "figures" }, picture(member, "group"), picture(other, "others"),
        element("figure", {}, signedCanvas(gap, height, width, "difference of the mean images", 84),
          element("figcaption", {}, "difference"))));
  }

  function labelSection(isMember) {
    if (!data.label?.categories) return null;
    const shares = categoryShares(data.label, isMember).filter((s) => s.n > 0)
      .sort((a, b) => b.member - a.member).slice(0, N_TELLING);
    return element("section", {}, element("h4", {}, "Labels"),
      tableOf(["label", "rows", "share of group", "share of others"],
        shares.map((s) => [s.text, formatCount(s.n), formatShare(s.member), formatShare(s.other)]), { id: "label-shares" }));
  }

  function idsSection(rows) {
    const area = element("textarea", { id: "group-ids", readonly: true, rows: 4, "aria-label": "Ids of the group", spellcheck: "false" });
    area.value = rows.map(data.idOf).join("\n");
    return element("section", {}, element("h4", {}, "Ids"), area,
      element("p", { class: "buttons" },
        button("Copy ids", async () => announce(await copyText(area) ? "The ids are copied." : "Copy the selected ids."), { id: "copy-ids" }),
        button("Download CSV", () => download(csvOf(data, rows, app.state.threshold), "group.csv"), { id: "download-csv" })));
  }

  function listSection(rows) {
    const lowest = data.score ? rows.slice().sort((a, b) => data.rank[a] - data.rank[b]) : rows;
    const list = element("div", { class: "rows" }, lowest.slice(0, 40).map((row) => app.rowButton(row)));
    withArrowKeys(list, "button");
    return element("section", {}, element("h4", {}, data.score ? "Its lowest scores" : "Its rows"), list);
  }

  app.listen((changed) => {
    if (["group", "theme", "read"].some((key) => changed.has(key))
      || (changed.has("threshold") && app.state.group) || (changed.has("selected") && !app.state.group)) show();
  });
}

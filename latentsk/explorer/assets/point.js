// One row: its score, its reasons, its image beside the reconstruction, its neighbours.

const N_SHOWN_REASONS = 12;
const PICTURE = 106; // CSS pixels

function createPoint(data, app) {
  const panel = find("tab-row");

  function show() {
    const row = app.state.selected;
    if (row === null) {
      panel.replaceChildren(element("p", { class: "hint" },
        "Click on a point, or choose a row in the list of lowest scores."));
      return;
    }
    const parts = [
      element("div", { class: "between" },
        element("h3", { id: "row-heading" }, data.idOf(row)),
        element("span", { class: "buttons" },
          button("‹", () => app.step(-1), { id: "row-previous", "aria-label": "Previous row by score" }),
          button("›", () => app.step(1), { id: "row-next", "aria-label": "Next row by score" }))),
      factsOf(row),
      picturesOf(row),
      reasonsOf(row),
      neighborsOf(row),
      columnsTable(row),
    ];
    panel.replaceChildren(...parts.filter(Boolean));
  }

  function factsOf(row) {
    const facts = [];
    if (data.label) facts.push(["label", formatCell(data.label, row)]);
    if (data.score) {
      const isBelow = data.score[row] < app.state.threshold;
      const place = data.rank[row] + 1;
      facts.push(["score", `${formatNumber(data.score[row])} (${isBelow ? "below" : "not below"} the threshold)`]);
      facts.push(["place", `${formatCount(place)} of ${formatCount(data.n)}, lowest first`]);
    }
    const p = data.calibration ? pValueOf(data.calibration, data.score[row]) : data.pValue?.[row];
    if (p !== undefined && p !== null) facts.push(["p-value", formatNumber(p, 3)]);
    return element("dl", { class: "facts" },
      facts.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  }

  /** Image, reconstruction and contributions, side by side. */
  function picturesOf(row) {
    const picture = pictureOf(data, row, PICTURE);
    if (!picture) return null;
    const detail = data.detailOf.get(row);
    const figures = [figure(picture, "original")];
    const rebuilt = data.details?.arrays.rebuilt;
    if (detail !== undefined && rebuilt) {
      figures.push(figure(imageCanvas(rebuilt, detail, `reconstruction of ${data.idOf(row)}`, PICTURE), "reconstruction"));
    }
    const heat = heatMap(detail);
    if (heat) figures.push(heat);
    const lacks = detail === undefined && data.details
      ? element("p", { class: "hint" }, `${formatRows(data.detailOf.size, data.n)} have ${detailWords(data)} on this page; `
        + "this row has its thumbnail.") : null;
    return element("div", {}, element("div", { class: "figures" }, figures), lacks);
  }

  function figure(picture, caption) {
    return element("figure", {}, picture, element("figcaption", {}, caption));
  }

  /** What each pixel adds to the score, channels together. */
  function pixelSums(detail) {
    const { arrays, pixels: [nChannels, height, width] } = data.details;
    const size = height * width;
    if (arrays.score_map) return Float64Array.from(arrays.score_map.values.subarray(detail * size, (detail + 1) * size));
    const sums = new Float64Array(size);
    const n = nChannels * size;
    for (let j = 0; j < n; j++) sums[j % size] += arrays.reason_contribution.values[detail * n + j];
    return sums;
  }

  function heatMap(detail) {
    const { pixels, window: side, arrays } = data.details ?? {};
    if (detail === undefined || !pixels || !(arrays.score_map || arrays.reason_contribution)) return null;
    const [, height, width] = pixels;
    const sums = pixelSums(detail);
    const median = Float64Array.from(sums).sort()[sums.length >> 1];
    const label = "contributions of the pixels to the score";
    const canvas = signedCanvas(sums.map((v) => v - median), height, width, label, PICTURE);
    const caption = "reasons (orange: makes the row less normal)";
    if (!side) return figure(canvas, caption);
    const [top, left] = arrays.window.values.subarray(2 * detail, 2 * detail + 2);
    return figure(framed(canvas, top, left, side),
      `${caption}; the framed ${side} × ${side} pixels add up to the score`);
  }

  const cellOf = (feature, number, digits) => {
    const texts = data.details?.reasonTexts?.[feature] ?? data.reasonTexts[feature];
    if (Number.isNaN(number)) return "missing";
    return texts ? texts[number] ?? formatNumber(number) : formatNumber(number, digits);
  };

  /** Return reasons of a row in a section: {feature, contribution, value, expected}. */
  function reasonsIn(section, at) {
    const contribution = section.arrays.reason_contribution;
    const n = contribution.shape[1];
    const [features, values, expected] = ["feature", "value", "expected"].map((name) => valuesOf(section, `reason_${name}`));
    return Array.from({ length: n }, (_, k) => ({
      feature: features ? features[at * n + k] : k,
      contribution: contribution.values[at * n + k],
      value: values ? values[at * n + k] : null,
      expected: expected ? expected[at * n + k] : null,
    }));
  }

  /** Return what the page has of a row's reasons: the largest, or all with these. */
  function reasonsKnown(row) {
    if (!data.arrays.reason_contribution) return null;
    const largest = reasonsIn(data, row);
    const detail = data.detailOf.get(row);
    if (detail === undefined || !data.details.arrays.reason_contribution) return { reasons: largest, areAll: false };
    const exact = new Map(largest.map((reason) => [reason.feature, reason]));
    const reasons = reasonsIn(data.details, detail).map((reason) => exact.get(reason.feature) ?? reason);
    reasons.sort((a, b) => a.contribution - b.contribution);
    return { reasons, areAll: true };
  }

  function reasonsOf(row) {
    const known = reasonsKnown(row);
    if (!known) return null;
    const { reasons, areAll } = known;
    const largest = Math.max(...reasons.map((r) => Math.abs(r.contribution)), 1e-300);
    const hasExpected = reasons.some((r) => r.expected !== null);
    const table = (some) => tableOf(
      ["feature", "contribution", "value", ...(hasExpected ? ["expected"] : [])],
      some.map((r) => [
        element("span", { class: "cut", title: data.reasonNames[r.feature] }, data.reasonNames[r.feature]),
        barWith(r.contribution / largest, formatNumber(r.contribution, 3)),
        r.value === null ? "" : cellOf(r.feature, r.value, 5),
        ...(hasExpected ? [r.expected === null ? "" : cellOf(r.feature, r.expected, 3)] : []),
      ]));
    const shown = reasons.slice(0, N_SHOWN_REASONS).filter((r, k) => k === 0 || r.contribution !== 0);
    const holder = element("div", {}, table(shown));
    const n_features = data.reasonNames.length;
    let note = null;
    if (areAll && reasons.length > N_SHOWN_REASONS) {
      note = button(`Show all ${formatCount(reasons.length)}`, () => {
        holder.replaceChildren(table(reasons.slice(0, 1000)));
        note.remove();
      });
    } else if (!areAll && n_features > reasons.length) {
      note = element("p", { class: "hint" }, `The ${reasons.length} largest of ${formatCount(n_features)} reasons.`);
    }
    return element("section", {}, element("h4", {}, "Reasons"), holder, note);
  }

  function neighborsOf(row) {
    const items = [];
    for (let k = 0; k < data.nNeighbors; k++) {
      const j = data.neighbor[row * data.nNeighbors + k];
      items.push(app.rowButton(j, `${k + 1}`, `distance ${formatNumber(data.distance[row * data.nNeighbors + k], 3)}`));
    }
    const list = element("div", { class: "rows" }, items);
    withArrowKeys(list, "button");
    return element("section", {}, element("h4", {}, "Nearest rows in the latent space"), list,
      data.approximate ? element("p", { class: "hint" }, "Found by an approximate search.") : null);
  }

  function columnsTable(row) {
    const columns = data.columns.slice(data.hasLabel ? 1 : 0);
    const featured = data.featuresAre === "columns" ? data.features?.columns ?? [] : [];
    const sections = [];
    if (columns.length) {
      sections.push(element("section", {}, element("h4", {}, "Metadata"),
        tableOf(["column", "value"], columns.map((column) => [column.name, formatCell(column, row)]))));
    }
    if (featured.length) {
      sections.push(element("details", {}, element("summary", {}, "Values of the row"),
        tableOf(["feature", "value"], featured.map((column) => [column.name, formatCell(column, row)]))));
    }
    return sections.length ? element("div", {}, sections) : null;
  }

  app.listen((changed) => {
    if (["selected", "threshold", "theme", "read"].some((key) => changed.has(key))) show();
  });
  return { show, reasonsKnown };
}

// The threshold: a histogram of scores, a slider, counts and error rates.

const N_BINS = 80;

function createThreshold(data, app) {
  find("threshold").hidden = false;
  const { sorted } = data;
  const pValues = sortedPValues(data);
  const rates = pValues && discoveryRates(pValues);
  const slider = find("threshold-slider"), input = find("threshold-value");
  const [low, high] = shownRange(sorted, data.threshold);
  slider.min = low;
  slider.max = high;

  function setThreshold(threshold, keepsInput = false) {
    if (Number.isNaN(threshold)) return;
    app.update({ threshold });
    // The threshold stays exact; a reader needs no more digits than these.
    if (!keepsInput) input.value = String(Number(threshold.toPrecision(5)));
  }

  slider.addEventListener("input", () => setThreshold(Number(slider.value)));
  input.addEventListener("input", () => {
    const value = parseNumber(input.value);
    input.setAttribute("aria-invalid", String(Number.isNaN(value)));
    setThreshold(value, true);
  });
  const buttons = find("threshold-buttons");
  if (data.threshold !== null) {
    buttons.append(button("Model’s threshold", () => setThreshold(data.threshold), { id: "threshold-model" }));
  }
  if (pValues) {
    for (const level of [0.05, 0.1, 0.2]) {
      buttons.append(button(`FDR ${100 * level} %`, () => {
        const count = countAtDiscoveryRate(pValues, level);
        setThreshold(thresholdBelow(sorted, count));
        if (count === 0) announce("No row is an outlier at this false discovery rate.");
      }, { "data-level": level, title: `Call outliers at a false discovery rate of ${100 * level} %` }));
    }
  }
  buttons.append(button("Select these rows", () => app.selectGroup(rowsBelow(data, app.state.threshold), "below the threshold")));

  function show() {
    const { threshold } = app.state;
    const count = countBelow(sorted, threshold);
    slider.value = String(clamp(threshold, low, high));
    slider.setAttribute("aria-valuetext", `${formatNumber(threshold)}: ${formatRows(count, data.n)} below`);
    find("threshold-count").textContent = `${formatRows(count, data.n)} score below ${formatNumber(threshold)}.`;
    find("threshold-rates").textContent = rateText(count, threshold);
    drawHistogram(count);
    if (find("threshold-labels").open) showLabels();
  }

  function rateText(count, threshold) {
    const unset = data.threshold === null ? "The model sets no threshold; at first, 1 % of the rows lie below. " : "";
    if (!pValues) {
      return `${unset}No error rates: the detector is not calibrated. Its calibrate(X), with normal rows that it was not `
        + "fitted on, makes them known.";
    }
    const parts = [];
    if (data.calibration) {
      const nBelow = countBelow(data.calibration, threshold);
      const bound = (1 + nBelow) / (data.calibration.length + 1);
      parts.push(`Of ${formatCount(data.calibration.length)} normal calibration rows, ${formatCount(nBelow)} `
        + `(${formatShare(nBelow / data.calibration.length)}) score below: a new normal row does with a probability of `
        + `${formatShare(bound)} at most.`);
    }
    if (count > 0) {
      parts.push(rates[count] > 0.99
        ? "About as many rows would score below by chance: there is no useful bound on the false discovery rate."
        : `False discovery rate (Benjamini–Hochberg): at most ${formatShare(rates[count])} of the rows below are `
          + "expected to be normal.");
    }
    parts.push("Rates are those of new rows: if rows of the fit or of the calibration are among these, leave them out.");
    return parts.join(" ");
  }

  function showLabels() {
    const table = find("threshold-labels").querySelector("table");
    const { label } = data;
    const below = new Uint32Array(label.categories.length), all = new Uint32Array(label.categories.length);
    for (let i = 0; i < data.n; i++) {
      all[label.values[i]]++;
      if (data.score[i] < app.state.threshold) below[label.values[i]]++;
    }
    const order = [...all.keys()].sort((a, b) => below[b] / all[b] - below[a] / all[a] || a - b).slice(0, 50);
    const rows = order.map((c) => [label.categories[c], formatCount(below[c]), formatCount(all[c]), formatShare(below[c] / all[c])]);
    table.replaceChildren(...tableOf(["label", "below", "rows", "share"], rows).firstChild.childNodes);
  }

  function drawHistogram(nBelow) {
    const canvas = find("histogram");
    const width = canvas.parentElement.clientWidth, height = 84;
    const context = contextOf(canvas, width, height);
    const counts = binned(sorted, low, high);
    const most = Math.max(...counts.map((c) => Math.sqrt(c)));
    const step = width / N_BINS;
    const at = (clamp(app.state.threshold, low, high) - low) / (high - low) * width;
    const base = height - 16;
    counts.forEach((count, bin) => {
      const tall = count ? Math.max(1.5, Math.sqrt(count) / most * (base - 4)) : 0;
      const isBelow = (bin + 0.5) * step < at;
      context.fillStyle = cssColor(isBelow ? "--low" : "--bar");
      context.fillRect(bin * step, base - tall, Math.max(1, step - 1), tall);
    });
    context.fillStyle = cssColor("--ink");
    context.fillRect(clamp(at - 1, 0, width - 2), 0, 2, base);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "bottom";
    context.textAlign = "left";
    context.fillText(`${sorted[0] < low ? "< " : ""}${formatNumber(low, 3)}`, 0, height);
    context.textAlign = "right";
    context.fillText(`${sorted.at(-1) > high ? "> " : ""}${formatNumber(high, 3)}`, width, height);
    if (width > 480) {
      context.textAlign = "center";
      context.fillText("score (higher = more normal); heights: square root of counts", width / 2, height);
    }
    canvas.setAttribute("aria-label", `Histogram of scores from ${formatNumber(low, 3)} to ${formatNumber(high, 3)}; `
      + `${formatCount(nBelow)} lie below the threshold.`);
  }

  if (data.label?.categories && data.label.categories.length > 1) {
    find("threshold-labels").hidden = false;
    find("threshold-labels").addEventListener("toggle", showLabels);
  }
  app.listen((changed) => {
    if (changed.has("threshold") || changed.has("theme")) show();
  });
  new ResizeObserver(() => drawHistogram(countBelow(sorted, app.state.threshold))).observe(find("histogram").parentElement);
  input.value = String(Number(app.state.threshold.toPrecision(5)));
  return { setThreshold, pValues, rates };
}

/** Return the range of scores that the slider covers: most of them, and the threshold. */
function shownRange(sorted, threshold) {
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const median = at(0.5);
  let low = Math.max(sorted[0], median - 5 * (median - at(0.03)));
  let high = Math.min(sorted.at(-1), median + 5 * (at(0.97) - median));
  if (threshold !== null && Number.isFinite(threshold)) {
    low = Math.min(low, threshold);
    high = Math.max(high, threshold);
  }
  if (!(high > low)) { low -= 1; high += 1; }
  const margin = 0.02 * (high - low);
  return [low - margin, high + margin];
}

/** Count scores in bins; those beyond the ends are in the outermost ones. */
function binned(sorted, low, high) {
  const counts = new Array(N_BINS).fill(0);
  for (const score of sorted) {
    counts[clamp(Math.floor((score - low) / (high - low) * N_BINS), 0, N_BINS - 1)]++;
  }
  return counts;
}

function rowsBelow(data, threshold) {
  return Array.from(data.order.subarray(0, countBelow(data.sorted, threshold)));
}

// Colours of points: at most 256, in a palette that all eyes tell apart.

// Petroff (2021), "Accessible color sequences for data visualization"; the greyish last.
const CATEGORY_COLORS = [
  "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#92dadd",
  "#e76300", "#a96b59", "#b9ac70", "#717581", "#94a4a2",
];
const OTHER = { light: "#d3d3d3", dark: "#3c3f44" };
// Of viridis (matplotlib, CC0), without the ends that a background would swallow.
const RAMP = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962",
  "#addc30", "#e8e419"];
const N_STEPS = 64;

const isDark = () => document.documentElement.dataset.theme === "dark";

function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** Return a colour of the ramp, for a share in [0, 1]. */
function rampColor(share) {
  const at = Math.max(0, Math.min(1, share)) * (RAMP.length - 1);
  const [below, above] = [RAMP[Math.floor(at)], RAMP[Math.ceil(at)]].map(channels);
  const mixed = below.map((c, i) => Math.round(c + (above[i] - c) * (at % 1)));
  return `#${mixed.map((c) => c.toString(16).padStart(2, "0")).join("")}`;
}

function quantilesOf(values, shares) {
  const known = Float64Array.from(values).filter((x) => Number.isFinite(x) && Math.abs(x) < 1e300).sort();
  if (known.length === 0) return shares.map(() => 0);
  return shares.map((share) => known[Math.round(share * (known.length - 1))]);
}

/** Return codes and a palette for a column of categories. */
function categoryColors(column, n) {
  const counts = new Uint32Array(column.categories.length);
  for (let i = 0; i < n; i++) counts[column.values[i]]++;
  const byCount = [...counts.keys()].sort((a, b) => counts[b] - counts[a] || a - b);
  const named = byCount.length <= CATEGORY_COLORS.length ? byCount.slice() : byCount.slice(0, CATEGORY_COLORS.length);
  named.sort((a, b) => a - b);
  const codeOf = new Uint8Array(counts.length).fill(named.length);
  named.forEach((category, code) => { codeOf[category] = code; });
  const codes = new Uint8Array(n);
  for (let i = 0; i < n; i++) codes[i] = codeOf[column.values[i]];
  const entries = named.map((category, code) => ({
    code, text: column.categories[category], n: counts[category], color: CATEGORY_COLORS[code],
  }));
  if (named.length < counts.length) {
    const n_others = counts.length - named.length;
    entries.push({
      code: named.length, text: `${formatCount(n_others)} others`,
      n: byCount.slice(CATEGORY_COLORS.length).reduce((sum, c) => sum + counts[c], 0), color: null,
    });
  }
  return {
    codes, entries,
    palette: () => entries.map((entry) => entry.color ?? OTHER[isDark() ? "dark" : "light"]),
  };
}

/** Return codes and a palette for numbers; `lowStandsOut`: the contrast is at the low end. */
function numberColors(column, n, lowStandsOut) {
  const [low, high] = quantilesOf(column.values, [0.01, 0.99]);
  const codes = new Uint8Array(n);
  let nMissing = 0;
  for (let i = 0; i < n; i++) {
    const value = column.values[i];
    if (Number.isNaN(value)) { codes[i] = N_STEPS; nMissing++; continue; }
    const share = high > low ? (value - low) / (high - low) : 0.5;
    codes[i] = Math.round(Math.max(0, Math.min(1, share)) * (N_STEPS - 1));
  }
  // On a light ground dark points stand out, on a dark one light points.
  const shareOf = (step) => ((isDark() === lowStandsOut) ? 1 - step : step);
  const flipped = (share) => (lowStandsOut ? shareOf(share) : (isDark() ? share : 1 - share));
  return {
    codes, low, high, nMissing, entries: null,
    palette: () => [
      ...Array.from({ length: N_STEPS }, (_, i) => rampColor(flipped(i / (N_STEPS - 1)))),
      OTHER[isDark() ? "dark" : "light"],
    ],
  };
}

function coloringBy(column, n) {
  return {
    name: column.name, column,
    make: () => (column.categories ? categoryColors(column, n) : numberColors(column, n, false)),
  };
}

/** Return what points can be coloured by: name, codes and palette. */
function colorings(data) {
  const found = [];
  const uniform = {
    name: "one colour", column: null,
    make: () => ({ codes: new Uint8Array(data.n), entries: [], palette: () => [cssColor("--accent")] }),
  };
  data.columns.forEach((column, i) => {
    if (column.isText && !(data.hasLabel && i === 0)) return;
    const coloring = coloringBy(column, data.n);
    found.push(data.hasLabel && i === 0 ? { ...coloring, name: "label" } : coloring);
  });
  if (data.score) {
    const column = { name: "score", values: data.score, categories: null };
    const score = { name: "score", column, make: () => numberColors(column, data.n, true) };
    found.splice(data.hasLabel ? 1 : 0, 0, score);
  }
  return found.length ? found : [uniform];
}

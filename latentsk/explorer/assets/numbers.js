// Numbers as a reader wants them.

function formatCount(n) {
  return Math.round(n).toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

function formatNumber(x, digits = 4) {
  if (x === null || x === undefined || Number.isNaN(x)) return "missing";
  if (!Number.isFinite(x) || Math.abs(x) > 1e300) return x < 0 ? "−∞" : "∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  let text = String(Number(size.toPrecision(digits)));
  if (Number.isInteger(x) && size < (digits < 6 ? 1e6 : 1e9)) text = size >= 1e4 ? formatCount(size) : String(size);
  else if (size >= 1e6 || size < 1e-4) text = size.toExponential(digits - 2);
  return (x < 0 ? "−" : "") + text;
}

function formatShare(share) {
  const percent = 100 * share;
  if (percent === 0) return "0 %";
  if (percent < 0.1) return `${Number(percent.toPrecision(1))} %`;
  return `${percent >= 10 ? percent.toFixed(0) : percent.toFixed(1)} %`;
}

function formatRows(n, of) {
  return `${formatCount(n)} of ${formatCount(of)} rows (${formatShare(of ? n / of : 0)})`;
}

/** Return a cell of a column as text. */
function formatCell(column, i) {
  const value = column.values[i];
  if (column.categories) return column.categories[value];
  if (!column.isDate) return formatNumber(value, 6);
  return formatDate(value);
}

function formatDate(milliseconds) {
  if (Number.isNaN(milliseconds)) return "missing";
  return new Date(milliseconds).toISOString().replace("T", " ").replace(/(:00)?\.000Z$/, "")
    .replace(/ 00:00$/, "");
}

/** Return what a user typed as a number; commas and a typographic minus are understood. */
function parseNumber(text) {
  const plain = text.trim().replace("−", "-").replace(/,(?=\d{3}(\D|$))/g, "");
  return plain === "" ? NaN : Number(plain);
}

// From scores to decisions. Pure functions of sorted arrays.

/** Return how many values of an ascending array are less than x. */
function countBelow(sorted, x) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle + 1; else high = middle;
  }
  return low;
}

/** Return how many values of an ascending array are x or less. */
function countUpTo(sorted, x) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= x) low = middle + 1; else high = middle;
  }
  return low;
}

/** Return the conformal p-value of a score: how often a normal row scores as low. */
function pValueOf(calibration, score) {
  return (1 + countUpTo(calibration, score)) / (calibration.length + 1);
}

/** Return the p-values of rows by ascending score, or null. */
function sortedPValues(data) {
  if (!data.score) return null;
  if (data.calibration) return Float64Array.from(data.sorted, (s) => pValueOf(data.calibration, s));
  return data.pValue && Float64Array.from(data.order, (row) => data.pValue[row]);
}

/** Return, for each number of rows called outliers, the false discovery rate (Benjamini
 * and Hochberg) that calls so many: the smallest p n / k over as many or more. */
function discoveryRates(pValues) {
  const n = pValues.length;
  const rates = new Float64Array(n + 1);
  let least = 1;
  for (let k = n; k >= 1; k--) {
    least = Math.min(least, pValues[k - 1] * n / k);
    rates[k] = least;
  }
  return rates;
}

/** Return how many rows Benjamini and Hochberg's procedure calls outliers. */
function countAtDiscoveryRate(pValues, level) {
  const n = pValues.length;
  let k = n;
  while (k > 0 && !(pValues[k - 1] <= level * k / n)) k--;
  if (k === 0) return 0;
  // Rows with the same p-value are called outliers together.
  const last = pValues[k - 1];
  while (k < n && pValues[k] <= last) k++;
  return k;
}

/** Return a threshold that so many rows lie below, if ties allow. */
function thresholdBelow(sorted, count) {
  if (count <= 0) return sorted[0];
  if (count >= sorted.length) return sorted[sorted.length - 1] + Math.max(1e-9, Math.abs(sorted[sorted.length - 1]) * 1e-12);
  return sorted[count];
}

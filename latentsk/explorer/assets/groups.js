// What tells a group of rows from the others. Pure functions.

/** Return the standardized mean difference of numbers: of the group, less the others, in
 * standard deviations within both; null if it cannot be told. */
function meanDifference(values, isMember) {
  const sums = [[0, 0, 0], [0, 0, 0]];
  for (let i = 0; i < values.length; i++) {
    const x = values[i];
    if (!Number.isFinite(x)) continue;
    const sum = sums[isMember[i] ? 1 : 0];
    sum[0]++; sum[1] += x;
  }
  const [others, members] = sums;
  if (others[0] < 1 || members[0] < 1) return null;
  const means = [others[1] / others[0], members[1] / members[0]];
  for (let i = 0; i < values.length; i++) {
    const x = values[i];
    if (!Number.isFinite(x)) continue;
    const side = isMember[i] ? 1 : 0;
    sums[side][2] += (x - means[side]) ** 2;
  }
  const variance = (others[2] + members[2]) / Math.max(1, others[0] + members[0] - 2);
  const gap = means[1] - means[0];
  const difference = variance > 0 ? gap / Math.sqrt(variance) : gap === 0 ? 0 : Math.sign(gap) * Infinity;
  return { difference, member: means[1], other: means[0] };
}

/** Return the share of each category in the group and among the others. */
function categoryShares(column, isMember) {
  const counts = [new Uint32Array(column.categories.length), new Uint32Array(column.categories.length)];
  const sums = [0, 0];
  for (let i = 0; i < column.values.length; i++) {
    const side = isMember[i] ? 1 : 0;
    counts[side][column.values[i]]++;
    sums[side]++;
  }
  return column.categories.map((text, c) => ({
    text, n: counts[1][c],
    member: sums[1] ? counts[1][c] / sums[1] : 0,
    other: sums[0] ? counts[0][c] / sums[0] : 0,
  }));
}

/** Return what tells a group from the others in some columns, the clearest first. */
function whatTells(columns, isMember) {
  const found = [];
  for (const column of columns) {
    if (column.categories) {
      for (const share of categoryShares(column, isMember)) {
        const p = Math.min(1, Math.max(0, share.other));
        const spread = Math.sqrt(Math.max(1e-4, (p * (1 - p) + share.member * (1 - share.member)) / 2));
        found.push({
          name: `${column.name} = ${share.text}`, difference: (share.member - share.other) / spread,
          member: formatShare(share.member), other: formatShare(share.other),
        });
      }
    } else {
      const told = meanDifference(column.values, isMember);
      const format = column.isDate ? formatDate : (x) => formatNumber(x);
      if (told) {
        found.push({
          name: column.name, difference: told.difference,
          member: format(told.member), other: format(told.other),
        });
      }
    }
  }
  return found.sort((a, b) => Math.abs(b.difference) - Math.abs(a.difference));
}

/** Return the mean images of the group and of the others, as numbers. */
function meanImages(thumbnails, isMember) {
  const size = thumbnails.shape.slice(1).reduce((a, b) => a * b, 1);
  const means = [new Float64Array(size), new Float64Array(size)];
  const counts = [0, 0];
  for (let i = 0, at = 0; i < isMember.length; i++) {
    const side = isMember[i] ? 1 : 0;
    const mean = means[side];
    counts[side]++;
    for (let j = 0; j < size; j++, at++) mean[j] += thumbnails.values[at];
  }
  means.forEach((mean, side) => mean.forEach((x, j) => { mean[j] = counts[side] ? x / counts[side] : 0; }));
  return { other: means[0], member: means[1], shape: thumbnails.shape.slice(1) };
}

// The sections of data: base64 in the page, zlib within, a header and arrays within that.

const ARRAYS = {
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array,
  f4: Float32Array, f8: Float64Array,
};

function bytesOfBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Return an array whose bytes lie apart: all first ones, all second ones and so on. */
function joinedPlanes(bytes, Kind, length) {
  const size = Kind.BYTES_PER_ELEMENT;
  if (size === 1) return bytes.slice(0, length);
  const joined = new Uint8Array(length * size);
  for (let plane = 0; plane < size; plane++) {
    const start = plane * length;
    for (let i = 0, at = plane; i < length; i++, at += size) joined[at] = bytes[start + i];
  }
  return new Kind(joined.buffer);
}

const padded = (n) => n + (8 - n % 8) % 8;

/** Return the header of a section with its arrays, {shape, values}. */
function unpacked(content) {
  const view = new DataView(content.buffer, content.byteOffset);
  const length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(content.subarray(4, 4 + length)));
  const start = padded(4 + length);
  for (const [name, [code, shape, offset]] of Object.entries(header.arrays)) {
    const Kind = ARRAYS[code];
    const n = shape.reduce((a, b) => a * b, 1);
    const bytes = content.subarray(start + offset, start + offset + n * Kind.BYTES_PER_ELEMENT);
    header.arrays[name] = { shape, values: joinedPlanes(bytes, Kind, n) };
  }
  return header;
}

async function readSection(name) {
  const node = find(`section-${name}`);
  if (!node) return null;
  const bytes = bytesOfBase64(node.textContent);
  node.remove();
  return unpacked(await inflated(bytes));
}

/** Return columns with their values, which a header keeps apart. */
function columnsOf(section) {
  return section.columns.map((column, i) =>
    ({ ...column, values: section.arrays[`column_${i}`].values }));
}

const valuesOf = (section, name) => section?.arrays[name]?.values ?? null;

/** Return the rows' data, in one object that the rest of the page reads. */
function dataOf(core) {
  const { n } = core;
  const position = valuesOf(core, "position");
  const score = valuesOf(core, "score");
  const order = new Uint32Array(n).map((_, i) => i);
  if (score) order.sort((a, b) => score[a] - score[b] || a - b);
  const rank = new Uint32Array(n);
  order.forEach((row, at) => { rank[row] = at; });
  const columns = columnsOf(core);
  return {
    ...core, position, score, order, rank, columns,
    sorted: score && Float64Array.from(order, (row) => score[row]),
    label: core.hasLabel ? columns[0] : null,
    // What a row is called, beside its id: texts tell rows apart, but make no groups.
    text: columns.find((column, i) => column.isText && !(core.hasLabel && i === 0)) ?? null,
    calibration: valuesOf(core, "calibration"),
    pValue: valuesOf(core, "pValue"),
    neighbor: valuesOf(core, "neighbor"),
    distance: valuesOf(core, "distance"),
    nNeighbors: core.arrays.neighbor.shape[1],
    idOf: (row) => (core.ids ? core.ids[row] : String(row)),
    // Filled as further sections are read.
    thumbnails: null, features: null, grid: null, details: null, detailOf: new Map(),
  };
}

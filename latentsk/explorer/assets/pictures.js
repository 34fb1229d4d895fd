// Images: thumbnails of all rows, full images of some, and what is decoded on a grid.

/** Draw one of many images to a canvas of its own size, which CSS then enlarges. */
function imageCanvas(images, i, label, cssSize) {
  const [, height, width, channels] = images.shape;
  const size = height * width * channels;
  return pixelsCanvas(images.values.subarray(i * size, (i + 1) * size), height, width, channels, label, cssSize);
}

function pixelsCanvas(values, height, width, channels, label, cssSize) {
  const canvas = element("canvas", { class: "image", role: "img", "aria-label": label, width, height });
  const scale = cssSize / Math.max(height, width);
  canvas.style.width = `${Math.round(width * scale)}px`;
  canvas.style.height = `${Math.round(height * scale)}px`;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let p = 0; p < height * width; p++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = values[p * channels + (channels === 1 ? 0 : c)];
    pixels.data[4 * p + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Frame a square of pixels. */
function framed(canvas, top, left, side) {
  const scale = parseFloat(canvas.style.width) / canvas.width;
  const frame = element("span", { class: "frame" });
  const box = { top, left, width: side, height: side };
  for (const [name, n] of Object.entries(box)) frame.style[name] = `${n * scale}px`;
  return element("span", { class: "framed" }, canvas, frame);
}

/** Draw signed values: one colour for negative ones, another for positive ones. */
function signedCanvas(values, height, width, label, cssSize) {
  const largest = values.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-300);
  const [low, high] = [channels("#e66100"), channels("#3f90da")];
  const colors = new Uint8ClampedArray(height * width * 3);
  const ground = isDark() ? 24 : 250;
  for (let p = 0; p < height * width; p++) {
    const share = Math.min(1, Math.abs(values[p]) / largest);
    const color = values[p] < 0 ? low : high;
    for (let c = 0; c < 3; c++) colors[3 * p + c] = ground + (color[c] - ground) * Math.sqrt(share);
  }
  return pixelsCanvas(colors, height, width, 3, label, cssSize);
}

/** Return the picture of a row: its full image where the page has it, else a thumbnail. */
function pictureOf(data, row, cssSize) {
  const label = `image of ${data.idOf(row)}`;
  const detail = data.detailOf.get(row);
  const full = data.details?.arrays.image;
  if (full && detail !== undefined && cssSize > 40) return imageCanvas(full, detail, label, cssSize);
  return data.thumbnails ? imageCanvas(data.thumbnails, row, label, cssSize) : null;
}

/** Show what is decoded on a grid, below the points. */
function createGrid(data, app) {
  const canvas = find("grid-canvas");
  const choice = find("grid-of");
  const images = data.grid.arrays.image;
  const values = data.grid.arrays.value;
  const nSquares = (images ?? values).shape[0];
  const side = Math.round(Math.sqrt(nSquares));
  const options = images ? ["images"] : (data.features?.columns ?? []).map((column) => column.name);
  choice.append(element("option", { value: "" }, "nothing"),
    ...options.map((name, i) => element("option", { value: String(i) }, name)));
  find("grid-label").hidden = options.length === 0;
  const tiles = images && Array.from({ length: nSquares }, (_, i) => imageCanvas(images, i, "", 10));

  /** Return the value that is decoded at a square, and the range of all. */
  const valueAt = (i, column) => values.values[i * values.shape[1] + column];
  function rangeOf(column) {
    const found = Array.from({ length: nSquares }, (_, i) => valueAt(i, column));
    return [Math.min(...found), Math.max(...found)];
  }
  const shade = (share) => rampColor(isDark() ? share : 1 - share);

  function showRange() {
    const place = find("grid-range");
    place.replaceChildren();
    if (images || choice.value === "") return;
    const [low, high] = rangeOf(Number(choice.value));
    const ramp = element("span", { class: "ramp", role: "img", "aria-label": "colours from low to high" });
    ramp.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(shade).join(",")})`;
    place.append(formatNumber(low, 3), " ", ramp, " ", formatNumber(high, 3));
  }
  choice.addEventListener("change", () => { showRange(); app.map.schedule(); });
  app.listen((changed) => { if (changed.has("theme")) showRange(); });

  function draw(view) {
    const context = contextOf(canvas, view.width, view.height);
    if (choice.value === "") return;
    const column = Number(choice.value);
    const [low, high] = images ? [0, 1] : rangeOf(column);
    context.imageSmoothingEnabled = false;
    context.globalAlpha = 0.75;
    for (let i = 0; i < nSquares; i++) {
      const [column0, row0] = [i % side, Math.floor(i / side)];
      const [px, py] = view.toScreen(2 * column0 / side - 1, 2 * (row0 + 1) / side - 1);
      const [qx, qy] = view.toScreen(2 * (column0 + 1) / side - 1, 2 * row0 / side - 1);
      if (images) {
        context.drawImage(tiles[i], px, py, qx - px - 1, qy - py - 1);
      } else {
        context.fillStyle = shade(high > low ? (valueAt(i, column) - low) / (high - low) : 0.5);
        context.fillRect(px, py, qx - px, qy - py);
      }
    }
    context.globalAlpha = 1;
  }
  return { draw, choice };
}

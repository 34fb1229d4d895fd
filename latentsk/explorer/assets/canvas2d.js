// Points by the two-dimensional canvas, where there is no WebGL: the same interface.

function canvasPlot(canvas, points, size) {
  const n = points.x.length;
  let layers = [], view = null;

  /** Sort points by kind and colour, so that a colour is set once for each. */
  function style(codes, palette, kinds) {
    layers = [];
    for (const kind of [FADED, NORMAL, BELOW]) {
      const members = palette.map(() => []);
      for (let at = 0; at < n; at++) {
        const i = points.order[at];
        if (kinds[i] === kind) members[codes[i]].push(i);
      }
      members.forEach((rows, code) => {
        if (rows.length) layers.push({ kind, color: palette[code], rows: Uint32Array.from(rows) });
      });
    }
    draw();
    return Promise.resolve();
  }

  function draw() {
    if (!view) return;
    const context = contextOf(canvas, view.width, view.height);
    const unit = view.unit();
    const grown = Math.max(1, Math.asinh(view.zoom) / Math.asinh(1));
    const [left, top] = view.toScreen(0, 0);
    for (const { kind, color, rows } of layers) {
      const side = Math.max(1, size * SIZES[kind] * grown);
      context.fillStyle = color;
      context.globalAlpha = OPACITIES[kind];
      for (let at = 0; at < rows.length; at++) {
        const px = left + points.x[rows[at]] * view.stretch * unit;
        const py = top - points.y[rows[at]] * unit;
        if (px < -9 || py < -9 || px > view.width + 9 || py > view.height + 9) continue;
        context.fillRect(px - side / 2, py - side / 2, side, side);
      }
    }
    context.globalAlpha = 1;
  }

  return {
    name: "Canvas2D",
    style,
    view(next) { view = next; draw(); },
    resize() {},
  };
}

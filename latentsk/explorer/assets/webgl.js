// Points by WebGL: regl-scatterplot draws them. Moving, picking and selecting are ours, so
// that they are the same with and without WebGL.

// What a point is, and how it is drawn: as the others, below the threshold, not in the
// group, not to be seen.
const NORMAL = 0, BELOW = 1, FADED = 2, HIDDEN = 3;
const SIZES = [1, 1.8, 1, 1];
const OPACITIES = [0.75, 1, 0.16, 0.01];

/** Return a plot of points, or null where there is no WebGL. */
function webglPlot(canvas, points, size) {
  let plot;
  try {
    plot = createScatterplot({
      canvas, width: canvas.clientWidth || 300, height: canvas.clientHeight || 300,
      colorBy: "valueA", sizeBy: "valueB", opacityBy: "valueB",
      pointSize: SIZES.map((factor) => factor * size),
      opacity: OPACITIES.map((share, i) => (i === NORMAL && size < 3 ? 0.6 : share)),
      pointOrder: Array.from(points.order), pointScaleMode: "asinh",
      spatialIndexUseWorker: false, deselectOnEscape: false, deselectOnDblClick: false,
      backgroundColor: [0, 0, 0, 0],
    });
    if (!plot.get("renderer").isSupported) throw new Error("extensions are missing");
  } catch {
    return null;
  }
  const n = points.x.length;
  const w = new Float32Array(n), z = new Float32Array(n), x = new Float32Array(n);
  let isDrawing = false, isStale = false, waiting = [];

  /** Draw points again; calls while that is done are served by one more drawing. */
  async function redraw() {
    if (isDrawing) {
      isStale = true;
      return new Promise((resolve) => waiting.push(resolve));
    }
    isDrawing = true;
    do {
      isStale = false;
      await plot.draw(
        { x, y: points.y, z, w },
        { zDataType: "categorical", wDataType: "categorical", spatialIndex: plot.get("spatialIndex") },
      );
    } while (isStale);
    isDrawing = false;
    waiting.splice(0).forEach((resolve) => resolve());
  }

  return {
    name: "WebGL",
    style(codes, palette, kinds) {
      for (let i = 0; i < n; i++) {
        z[i] = codes[i];
        w[i] = kinds[i];
        x[i] = kinds[i] === HIDDEN ? 1e4 : points.x[i];
      }
      plot.set({ pointColor: palette.length > 1 ? palette : [palette[0], palette[0]] });
      return redraw();
    },
    view(view) {
      const scale = 2 * view.unit() / view.height;
      const matrix = new Float32Array([scale * view.stretch, 0, 0, 0, 0, scale, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
      matrix[12] = -view.x * scale;
      matrix[13] = -view.y * scale;
      plot.set({ cameraView: matrix });
    },
    resize(width, height) {
      plot.set({ width, height });
    },
  };
}

// What part of the map is on the screen. The map reaches from -1 to 1 in both directions.

const LARGEST_ZOOM = 400;

function createView(data) {
  const view = { x: 0, y: 0, zoom: 1, width: 1, height: 1, stretch: 1 };

  /** Pixels of one unit of the map. */
  view.unit = () => 0.45 * Math.min(view.width, view.height) * view.zoom;

  view.resize = (width, height) => {
    const before = view.stretch;
    view.width = width;
    view.height = height;
    // Two latents have one scale; other maps fill the place that there is.
    const wide = data.map.areLatents ? 1 : width / height;
    view.stretch = Math.max(0.6, Math.min(1.7, wide));
    view.x *= view.stretch / before;
  };

  view.toScreen = (x, y) => [
    view.width / 2 + (x * view.stretch - view.x) * view.unit(),
    view.height / 2 - (y - view.y) * view.unit(),
  ];

  view.toMap = (px, py) => [
    ((px - view.width / 2) / view.unit() + view.x) / view.stretch,
    (view.height / 2 - py) / view.unit() + view.y,
  ];

  view.pan = (dx, dy) => {
    view.x = clamp(view.x - dx / view.unit(), -1.2 * view.stretch, 1.2 * view.stretch);
    view.y = clamp(view.y + dy / view.unit(), -1.2, 1.2);
  };

  /** Zoom by a factor, with a pixel staying where it is. */
  view.zoomBy = (factor, px = view.width / 2, py = view.height / 2) => {
    const zoom = clamp(view.zoom * factor, 0.5, LARGEST_ZOOM);
    const before = view.unit();
    view.zoom = zoom;
    const gain = 1 / before - 1 / view.unit();
    view.x += (px - view.width / 2) * gain;
    view.y -= (py - view.height / 2) * gain;
    view.pan(0, 0);
  };

  view.all = () => Object.assign(view, { x: 0, y: 0, zoom: 1 });

  /** Bring a point into view, without more moving than that takes. */
  view.show = (x, y) => {
    const [px, py] = view.toScreen(x, y);
    const margin = 40;
    if (px < margin || px > view.width - margin || py < margin || py > view.height - margin) {
      view.x = x * view.stretch;
      view.y = y;
    }
  };

  /** Radius in pixels that points are drawn with. */
  view.pointSize = (n) => {
    const size = n > 50000 ? 2 : n > 10000 ? 2.6 : n > 2000 ? 3.6 : n > 300 ? 5 : 7;
    return size;
  };
  return view;
}

const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

/** Points in squares of a grid, to find those near a place. */
function createFinder(x, y) {
  const side = 256;
  const squareOf = (v) => clamp(Math.floor((v + 1) / 2 * side), 0, side - 1);
  const starts = new Uint32Array(side * side + 1);
  const squares = new Uint32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    squares[i] = squareOf(y[i]) * side + squareOf(x[i]);
    starts[squares[i] + 1]++;
  }
  for (let s = 0; s < side * side; s++) starts[s + 1] += starts[s];
  const next = starts.slice();
  const members = new Uint32Array(x.length);
  for (let i = 0; i < x.length; i++) members[next[squares[i]]++] = i;

  /** Call a function with every point in a rectangle, and maybe a few beside it. */
  function within(x0, y0, x1, y1, call) {
    const [left, right, below, above] = [squareOf(x0), squareOf(x1), squareOf(y0), squareOf(y1)];
    for (let row = below; row <= above; row++) {
      for (let s = row * side + left; s <= row * side + right; s++) {
        for (let at = starts[s]; at < starts[s + 1]; at++) call(members[at]);
      }
    }
  }
  return { within };
}

/** Tell whether a point is within a polygon, by the even-odd rule. */
function isInside(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if ((yi > y) !== (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

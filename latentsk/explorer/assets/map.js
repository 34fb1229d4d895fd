// The map: points, links to neighbours, the lasso, and how one moves about.

function createMap(data, app) {
  const place = find("map");
  const overlay = find("overlay-canvas");
  const { n } = data;
  const x = new Float32Array(n), y = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    x[i] = 2 * data.position[2 * i] / data.map.steps - 1;
    y[i] = 2 * data.position[2 * i + 1] / data.map.steps - 1;
  }
  const view = createView(data);
  const finder = createFinder(x, y);
  // Those with the lowest scores are drawn last, on top.
  const points = { x, y, order: data.order.slice().reverse() };
  const size = view.pointSize(n);
  const canvas = find("points-canvas");
  const asked = location.hash === "#canvas2d";
  let plot = asked ? null : webglPlot(canvas, points, size);
  let shownCanvas = canvas;
  if (!plot) {
    // A canvas keeps the kind of its first context.
    shownCanvas = element("canvas", { id: "points-canvas", "aria-hidden": "true" });
    canvas.replaceWith(shownCanvas);
    plot = canvasPlot(shownCanvas, points, size);
  }
  const kinds = new Uint8Array(n);
  let coloring = null, lasso = null, isLasso = false, isScheduled = false;
  let onFrame = [];

  // Drawing

  function kindOf(i) {
    const isBelow = data.score !== null && data.score[i] < app.state.threshold;
    if (app.state.onlyBelow && !isBelow) return HIDDEN;
    if (app.state.group && !app.state.group.isMember[i]) return FADED;
    return isBelow ? BELOW : NORMAL;
  }

  function restyle() {
    for (let i = 0; i < n; i++) kinds[i] = kindOf(i);
    return plot.style(coloring.codes, coloring.palette(), kinds);
  }

  function schedule() {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      plot.view(view);
      drawOverlay();
      app.grid?.draw(view);
      onFrame.splice(0).forEach((call) => call());
    });
  }

  const at = (i) => view.toScreen(x[i], y[i]);

  function ring(context, i, radius, color, width) {
    const [px, py] = at(i);
    context.beginPath();
    context.arc(px, py, radius, 0, 2 * Math.PI);
    context.lineWidth = width + 2.5;
    context.strokeStyle = cssColor("--ground");
    context.stroke();
    context.lineWidth = width;
    context.strokeStyle = color;
    context.stroke();
  }

  function drawLinks(context, i) {
    const [px, py] = at(i);
    for (let k = 0; k < data.nNeighbors; k++) {
      const j = data.neighbor[i * data.nNeighbors + k];
      const [qx, qy] = at(j);
      for (const [width, color] of [[4.5, "--ground"], [2, "--ink"]]) {
        context.beginPath();
        context.moveTo(px, py);
        context.lineTo(qx, qy);
        context.lineWidth = width;
        context.strokeStyle = cssColor(color);
        context.stroke();
      }
    }
    for (let k = data.nNeighbors - 1; k >= 0; k--) {
      const j = data.neighbor[i * data.nNeighbors + k];
      const [qx, qy] = at(j);
      context.beginPath();
      context.arc(qx, qy, 7.5, 0, 2 * Math.PI);
      context.fillStyle = cssColor("--ink");
      context.fill();
      context.fillStyle = cssColor("--ground");
      context.font = "600 10px system-ui, sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText(String(k + 1), qx, qy + 0.5);
    }
  }

  function drawOverlay() {
    const context = contextOf(overlay, view.width, view.height);
    const { selected, hovered } = app.state;
    if (selected !== null) {
      drawLinks(context, selected);
      ring(context, selected, 10, cssColor("--focus"), 3);
    }
    if (hovered !== null && hovered !== selected) ring(context, hovered, 8, cssColor("--ink"), 1.5);
    if (lasso && lasso.length > 1) {
      context.beginPath();
      lasso.forEach(([px, py], i) => (i ? context.lineTo(px, py) : context.moveTo(px, py)));
      context.closePath();
      context.fillStyle = cssColor("--wash");
      context.fill();
      context.lineWidth = 2;
      context.setLineDash([6, 4]);
      context.strokeStyle = cssColor("--ink");
      context.stroke();
    }
  }

  // Picking

  function pick(px, py, reach = 14) {
    const [x0, y0] = view.toMap(px - reach, py + reach);
    const [x1, y1] = view.toMap(px + reach, py - reach);
    let best = null, least = reach * reach;
    finder.within(x0, y0, x1, y1, (i) => {
      if (kinds[i] === HIDDEN) return;
      const [qx, qy] = at(i);
      const d = (qx - px) ** 2 + (qy - py) ** 2;
      if (d < least || (d === least && best !== null && data.rank[i] < data.rank[best])) {
        least = d;
        best = i;
      }
    });
    return best;
  }

  function rowsInside(polygon) {
    const corners = polygon.map(([px, py]) => view.toMap(px, py));
    const xs = corners.map((c) => c[0]), ys = corners.map((c) => c[1]);
    const rows = [];
    finder.within(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), (i) => {
      if (kinds[i] !== HIDDEN && isInside(corners, x[i], y[i])) rows.push(i);
    });
    return rows;
  }

  const rowsInView = () => rowsInside([[0, 0], [view.width, 0], [view.width, view.height], [0, view.height]]);

  /** Return the nearest point in the direction of an arrow key. */
  function nextIn(direction, from) {
    const [dx, dy] = direction;
    const [px, py] = at(from);
    let best = null, least = Infinity;
    for (let i = 0; i < n; i++) {
      if (i === from || kinds[i] === HIDDEN) continue;
      const [qx, qy] = at(i);
      const along = (qx - px) * dx + (qy - py) * dy;
      if (along <= 0.5) continue;
      const across = Math.abs((qx - px) * dy) + Math.abs((qy - py) * dx);
      if (across > along) continue;
      const cost = along + 2 * across;
      if (cost < least) { least = cost; best = i; }
    }
    return best;
  }

  // Pointers

  const pointers = new Map();
  let start = null, pinch = null;

  const placeOf = (event) => {
    const box = place.getBoundingClientRect();
    return [event.clientX - box.left - place.clientLeft, event.clientY - box.top - place.clientTop];
  };

  place.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    place.setPointerCapture(event.pointerId);
    const [px, py] = placeOf(event);
    pointers.set(event.pointerId, [px, py]);
    start = { px, py, moved: false };
    if ((isLasso || event.shiftKey) && pointers.size === 1) lasso = [[px, py]];
    if (pointers.size === 2) { lasso = null; pinch = spread(); }
  });

  function spread() {
    const [[ax, ay], [bx, by]] = [...pointers.values()];
    return { distance: Math.hypot(ax - bx, ay - by), px: (ax + bx) / 2, py: (ay + by) / 2 };
  }

  place.addEventListener("pointermove", (event) => {
    const [px, py] = placeOf(event);
    if (!pointers.has(event.pointerId)) {
      app.update({ hovered: event.pointerType === "touch" ? null : pick(px, py) });
      return;
    }
    const [bx, by] = pointers.get(event.pointerId);
    pointers.set(event.pointerId, [px, py]);
    if (start && Math.hypot(px - start.px, py - start.py) > 4) start.moved = true;
    if (pinch && pointers.size === 2) {
      const now = spread();
      view.pan(now.px - pinch.px, now.py - pinch.py);
      view.zoomBy(now.distance / Math.max(1, pinch.distance), now.px, now.py);
      pinch = now;
    } else if (lasso) {
      lasso.push([px, py]);
    } else if (start?.moved) {
      view.pan(px - bx, py - by);
    }
    schedule();
  });

  function lift(event) {
    if (!pointers.delete(event.pointerId)) return;
    const [px, py] = placeOf(event);
    if (lasso && start.moved && event.type === "pointerup") {
      const rows = rowsInside(lasso);
      app.selectGroup(rows, "drawn around");
    } else if (start && !start.moved && !pinch && event.type === "pointerup") {
      app.select(pick(px, py, event.pointerType === "touch" ? 24 : 14));
    }
    lasso = null;
    if (pointers.size === 0) { start = null; pinch = null; }
    schedule();
  }
  place.addEventListener("pointerup", lift);
  place.addEventListener("pointercancel", lift);
  place.addEventListener("pointerleave", () => app.update({ hovered: null }));
  place.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    view.zoomBy(Math.exp(-event.deltaY * lines * 0.0015), ...placeOf(event));
    schedule();
  }, { passive: false });

  // Keys

  const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  place.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { selected } = app.state;
    const direction = DIRECTIONS[event.key];
    if (direction && selected !== null && !event.shiftKey) {
      const next = nextIn(direction, selected);
      if (next !== null) app.select(next, { tab: false });
    } else if (direction) {
      view.pan(-60 * direction[0], -60 * direction[1]);
    } else if (event.key === "+" || event.key === "=") view.zoomBy(1.4);
    else if (event.key === "-" || event.key === "−") view.zoomBy(1 / 1.4);
    else if (event.key === "0") view.all();
    else if (event.key === "n" || event.key === "N") app.step(1);
    else if (event.key === "p" || event.key === "P") app.step(-1);
    else if (event.key === "Enter" && selected !== null) app.openRow();
    else if (event.key === "Enter") app.step(1);
    else return;
    event.preventDefault();
    schedule();
  });

  function setMode(lassoMode) {
    isLasso = lassoMode;
    find("mode-pan").setAttribute("aria-pressed", String(!lassoMode));
    find("mode-lasso").setAttribute("aria-pressed", String(lassoMode));
    place.classList.toggle("lasso", lassoMode);
  }
  find("mode-pan").addEventListener("click", () => setMode(false));
  find("mode-lasso").addEventListener("click", () => setMode(true));
  find("zoom-in").addEventListener("click", () => { view.zoomBy(1.5); schedule(); });
  find("zoom-out").addEventListener("click", () => { view.zoomBy(1 / 1.5); schedule(); });
  find("zoom-all").addEventListener("click", () => { view.all(); schedule(); });

  // What follows the state

  function drawTooltip(i) {
    const tip = find("tooltip");
    tip.hidden = i === null;
    if (i === null) return;
    const [px, py] = at(i);
    tip.replaceChildren(...app.brief(i));
    tip.style.left = `${clamp(px + 14, 0, Math.max(0, view.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${clamp(py + 14, 0, Math.max(0, view.height - tip.offsetHeight - 4))}px`;
  }

  app.listen((changed) => {
    if (changed.has("coloring")) coloring = app.state.coloring.make();
    if (["coloring", "theme", "threshold", "group", "onlyBelow"].some((key) => changed.has(key))) {
      app.drawn = restyle();
    }
    if (changed.has("coloring") || changed.has("theme")) drawLegend(app, coloring);
    if (changed.has("selected") && app.state.selected !== null) {
      view.show(x[app.state.selected], y[app.state.selected]);
    }
    if (changed.has("hovered")) drawTooltip(app.state.hovered);
    schedule();
  });

  // A page that nobody sees yet, such as a frame in a tab, has no size.
  function fit() {
    const { clientWidth, clientHeight } = place;
    if (!clientWidth || !clientHeight) return;
    view.resize(clientWidth, clientHeight);
    plot.resize(clientWidth, clientHeight);
    schedule();
  }
  new ResizeObserver(fit).observe(place);
  fit();

  const described = `Map of ${formatCount(n)} rows; `
    + `horizontal: ${data.map.axes[0]}, vertical: ${data.map.axes[1]}`;
  place.setAttribute("aria-label", described);
  find("axis-x").textContent = `${data.map.axes[0]} →`;
  find("axis-y").textContent = data.map.axes[1] ? `${data.map.axes[1]} →` : "";

  return {
    view, plot, pick, rowsInView, rowsInside, schedule, setMode, kinds,
    screenOf: at,
    nextFrame: () => new Promise((resolve) => { onFrame.push(resolve); schedule(); }),
  };
}

/** Show what the colours mean; a category is a button that selects its rows. */
function drawLegend(app, coloring) {
  const legend = find("legend");
  const palette = coloring.palette();
  if (coloring.entries) {
    legend.replaceChildren(...coloring.entries.map(({ code, text, n }) => {
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = palette[code];
      return button([swatch, element("span", { class: "cut" }, text), element("small", {}, formatCount(n))],
        () => app.selectGroup(rowsWithCode(coloring.codes, code), text),
        { title: `Select the rows: ${text}` });
    }));
    return;
  }
  const ramp = element("span", { class: "ramp", role: "img", "aria-label": "colours from low to high" });
  ramp.style.background = `linear-gradient(to right, ${palette.slice(0, -1).join(",")})`;
  const format = app.state.coloring.column.isDate ? formatDate : formatNumber;
  const parts = [element("span", {}, `≤ ${format(coloring.low)}`), ramp, element("span", {}, `≥ ${format(coloring.high)}`)];
  if (coloring.nMissing) {
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = palette.at(-1);
    parts.push(element("span", {}, swatch, ` missing: ${formatCount(coloring.nMissing)}`));
  }
  legend.replaceChildren(...parts);
}

function rowsWithCode(codes, code) {
  const rows = [];
  codes.forEach((c, i) => { if (c === code) rows.push(i); });
  return rows;
}

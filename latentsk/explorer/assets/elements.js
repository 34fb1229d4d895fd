// Elements of the page. Text of the user becomes text, never markup: nothing here, or in
// any other file, writes HTML.

const find = (id) => document.getElementById(id);

/** Return an element; "on..." are listeners, all else attributes. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

function button(text, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, text);
}

function announce(text) {
  find("announcement").textContent = text;
}

/** Return a table with a row of headings; cells may be elements. */
function tableOf(headings, rows, attributes = {}) {
  const head = headings.map((text) => element("th", { scope: "col" }, text));
  const body = rows.map((cells) =>
    element("tr", {}, cells.map((cell, i) =>
      i === 0 ? element("th", { scope: "row" }, cell) : element("td", {}, cell))));
  return element("div", { class: "scroll" }, element("table", attributes,
    element("thead", {}, element("tr", {}, head)), element("tbody", {}, body)));
}

/** Return a horizontal bar from a middle line, for a share in [-1, 1]. */
function bar(share, title) {
  const width = Math.min(1, Math.abs(share)) * 50;
  const inner = element("span", { class: share < 0 ? "bar low" : "bar high" });
  inner.style.width = `${width}%`;
  inner.style.left = share < 0 ? `${50 - width}%` : "50%";
  return element("span", { class: "bars", title, role: "img", "aria-label": title }, inner);
}

/** Return a number with its bar. */
function barWith(share, text) {
  return element("span", { class: "with-bar" }, bar(share, text), element("span", { class: "amount" }, text));
}

/** Size a canvas to its place on the screen; return its context, in CSS pixels. */
function contextOf(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

function cssColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Move the focus among siblings by arrow keys, Home and End. */
function withArrowKeys(list, selector) {
  list.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
    const nodes = [...list.querySelectorAll(selector)];
    const at = nodes.indexOf(document.activeElement);
    if (at < 0) return;
    let next = null;
    if (event.key in steps) next = Math.max(0, Math.min(nodes.length - 1, at + steps[event.key]));
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = nodes.length - 1;
    if (next === null) return;
    event.preventDefault();
    nodes[next].focus();
  });
}

/** Do what replaces the focused element, and put the focus where a reader expects it. */
function keepingFocus(call, fallback) {
  const before = document.activeElement;
  const wasInside = find("panel").contains(before);
  call();
  const isShown = (node) => node.isConnected && node.offsetParent !== null;
  if (!wasInside || isShown(before)) return;
  // Where it was drawn anew, the same control; else what is shown now.
  const again = before.id ? find(before.id) : null;
  (again && isShown(again) ? again : fallback()).focus({ preventScroll: true });
}

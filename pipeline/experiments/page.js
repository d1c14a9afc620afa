"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const choice = document.getElementById("variant");
const curves = document.getElementById("curves");
const caption = document.getElementById("curves-caption");
let chosen = null;

function create(parent, name, attributes = {}, text = "") {
  const inSvg = parent.namespaceURI.endsWith("svg");
  const element = inSvg
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

/* Draw the curves of all experiments; the chosen one is drawn last, over the others. */
function drawCurves() {
  curves.replaceChildren();
  const all = data.curves[choice.value];
  const known = all.map((curve, number) => ({ curve, number })).filter((one) => one.curve);
  if (!known.length) {
    create(curves, "text", { x: 320, y: 160, "text-anchor": "middle" }, "no curves are recorded");
    return;
  }
  const values = known.flatMap((one) => one.curve.accuracy);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const last = Math.max(2, ...known.flatMap((one) => one.curve.epoch));
  const x = (epoch) => 52 + ((epoch - 1) / (last - 1)) * 570;
  const y = (accuracy) => 280 - ((accuracy - low) / (high - low || 1)) * 260;
  for (let step = 0; step <= 4; step++) {
    const value = low + ((high - low) * step) / 4;
    create(curves, "line", { x1: 52, x2: 622, y1: y(value), y2: y(value) });
    create(curves, "text", { x: 46, y: y(value) + 4, "text-anchor": "end" }, `${(100 * value).toFixed(1)} %`);
  }
  for (const epoch of [1, last])
    create(curves, "text", { x: x(epoch), y: 300, "text-anchor": epoch === 1 ? "start" : "end" }, `epoch ${epoch}`);
  const rank = (number) => (number === chosen ? 2 : number === data.baseline ? 1 : 0);
  for (const { curve, number } of known.sort((a, b) => rank(a.number) - rank(b.number))) {
    const points = curve.epoch.map((epoch, n) => `${x(epoch).toFixed(1)},${y(curve.accuracy[n]).toFixed(1)}`);
    create(curves, "polyline", { points: points.join(" "), class: ["", "baseline", "chosen"][rank(number)] });
  }
  const name = chosen === null ? "" : `${data.names[chosen]} in colour, `;
  caption.textContent = `Validation accuracy after each epoch: ${name}${data.names[data.baseline]}, the baseline, dashed.`;
}

function drawMatrix(place, number) {
  place.replaceChildren();
  if (number === null) return;
  const matrix = data.confusion[choice.value][number];
  if (!matrix) {
    create(place, "p", { class: "note" }, `The predictions of ${data.names[number]} are not in DVC's cache.`);
    return;
  }
  const { classes, counts } = matrix;
  const wrong = counts.flatMap((row, i) => row.filter((_, j) => i !== j));
  const most = Math.max(1, ...wrong);
  const table = create(place, "table");
  create(table, "caption", {}, `${data.names[number]}: ${wrong.reduce((a, b) => a + b, 0)} mistakes`);
  const head = create(create(table, "thead"), "tr");
  create(head, "td");
  for (const name of classes) create(head, "th", { scope: "col" }, name);
  const body = create(table, "tbody");
  counts.forEach((row, i) => {
    const line = create(body, "tr");
    create(line, "th", { scope: "row" }, classes[i]);
    row.forEach((count, j) => {
      const shade = i === j ? 0 : count / most;
      create(line, "td", { style: `background: rgba(var(--mistake), ${shade.toFixed(3)})` }, count ? String(count) : "·");
    });
  });
}

function show(number) {
  chosen = number === data.baseline ? null : number;
  for (const row of document.querySelectorAll("tbody tr[data-number]"))
    row.classList.toggle("chosen", Number(row.dataset.number) === chosen);
  drawCurves();
  drawMatrix(document.getElementById("left"), data.baseline);
  drawMatrix(document.getElementById("right"), chosen);
}

function compare(kind, left, right) {
  const [a, b] = [left, right].map((value) => (value === "" || value === "None" ? null : value));
  if (a === null || b === null) return (a === null) - (b === null);
  const numbers = [Number(a), Number(b)];
  if (kind !== "text" && numbers.every(Number.isFinite)) return numbers[0] - numbers[1];
  return a.localeCompare(b, undefined, { numeric: true });
}

function sort(button) {
  const head = button.closest("th");
  const table = head.closest("table");
  const column = [...head.parentElement.children].indexOf(head);
  const ascending = head.getAttribute("aria-sort") === "descending";
  for (const other of head.parentElement.children)
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const value = (row) => row.children[column].dataset.value ?? row.children[column].textContent;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(button.dataset.kind, value(a), value(b)) * (ascending ? 1 : -1));
  table.tBodies[0].append(...rows);
}

function showVariant() {
  for (const section of document.querySelectorAll("section[data-variant]"))
    section.hidden = section.dataset.variant !== choice.value;
  show(chosen);
}

choice.addEventListener("change", showVariant);
for (const button of document.querySelectorAll("thead button"))
  button.addEventListener("click", () => sort(button));
for (const row of document.querySelectorAll("tbody tr[data-number]"))
  for (const event of ["pointerenter", "focus"])
    row.addEventListener(event, () => show(Number(row.dataset.number)));
showVariant();

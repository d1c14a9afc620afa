// The section in which one watches a network learn: unpack the moments of a variant, and show one.
// In this order: numbers, drawing, curves, player.

const LEARNING = JSON.parse(byId("learning-data").textContent);
const { history: HISTORY } = JSON.parse(byId("charts").textContent);
const { letters: LETTERS, shades: SHADES, variants: LEARNED, classNames: NAMES } = LEARNING;
const SIDE = 28;
const PIXELS = SIDE * SIDE;
const PAUSE = 500; // milliseconds between two moments
const GAMMA = 0.8; // see pictures.py
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function byId(id) {
  return document.getElementById(id);
}

// ---- Numbers: see learning_data in learning.py -----------------------------------------------

const VALUES = new Int8Array(128);
[...LETTERS].forEach((letter, number) => {
  VALUES[letter.charCodeAt(0)] = number - SHADES;
});

function unpack(text) {
  return Int8Array.from(text, (letter) => VALUES[letter.charCodeAt(0)]);
}

const unpacked = new Map();

// Return a variant's numbers; filters and changes: per moment and neuron, as shares of the largest.
function momentsOf(name) {
  if (!unpacked.has(name)) {
    const found = LEARNED[name];
    const start = unpack(found.start);
    const later = unpack(found.changes);
    const neurons = found.neurons.length;
    const count = found.epochs.length;
    const filters = new Float32Array(count * start.length);
    const changes = new Float32Array(count * start.length);
    for (let neuron = 0; neuron < neurons; neuron++) {
      const most = { filters: 0, changes: 0 };
      const places = [];
      for (let moment = 0; moment < count; moment++) {
        for (let pixel = 0; pixel < PIXELS; pixel++) {
          const from = neuron * PIXELS + pixel;
          const at = moment * start.length + from;
          const change = moment ? later[at - start.length] * found.changeSteps[neuron] : 0;
          changes[at] = change;
          filters[at] = start[from] * found.startSteps[neuron] + change;
          most.changes = Math.max(most.changes, Math.abs(change));
          most.filters = Math.max(most.filters, Math.abs(filters[at]));
          places.push(at);
        }
      }
      for (const at of places) {
        filters[at] /= most.filters || 1;
        changes[at] /= most.changes || 1;
      }
    }
    unpacked.set(name, { ...found, filters, changes, activity: unpack(found.activations) });
  }
  return unpacked.get(name);
}

// ---- Drawing ---------------------------------------------------------------------------------

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).split(" ").map(Number);
}

// Draw numbers from -1 to 1 on a canvas of their size: blue to red, and 0 transparent.
function draw(canvas, numbers) {
  const image = new ImageData(canvas.width, canvas.height);
  const [positive, negative] = [colour("--positive"), colour("--negative")];
  numbers.forEach((number, i) => {
    image.data.set(number < 0 ? negative : positive, 4 * i);
    image.data[4 * i + 3] = 255 * Math.abs(number) ** GAMMA;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function newCanvas(width, height, label) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  return canvas;
}

// ---- Curves ----------------------------------------------------------------------------------

const WIDTH = 460;
const HEIGHT = 130;
const LEFT = 46;
const FOOT = 24;

function element(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.textContent = text;
  return made;
}

// Epochs are on a logarithmic axis that begins with epoch 0.
function across(epoch, last) {
  return LEFT + ((WIDTH - LEFT - 10) * Math.log1p(epoch)) / Math.log1p(last);
}

function curve(measure, rows, last) {
  const values = rows.flatMap((row) => [row[`train_${measure}`], row[`validation_${measure}`]]);
  const top = measure === "accuracy" ? 1 : Math.max(...values);
  const down = (value) => 8 + (HEIGHT - FOOT - 8) * (1 - value / top);
  const title = measure === "accuracy" ? "Accuracy" : "Cost";
  const svg = element("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title} after each epoch`,
  });
  for (const value of [0, top / 2, top]) {
    const name = measure === "accuracy" ? `${100 * value} %` : value.toPrecision(2);
    svg.append(
      element("line", { class: "axis", x1: LEFT, x2: WIDTH - 10, y1: down(value), y2: down(value) }),
      element("text", { x: LEFT - 6, y: down(value) + 4, "text-anchor": "end" }, name),
    );
  }
  const ticks = [0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000].filter((epoch) => epoch < last / 1.5);
  for (const epoch of [...ticks, last]) {
    svg.append(
      element("text", { x: across(epoch, last), y: HEIGHT - 6, "text-anchor": "middle" }, epoch),
    );
  }
  for (const split of ["train", "validation"]) {
    const points = rows.map(
      (row) => `${across(row.epoch, last).toFixed(1)},${down(row[`${split}_${measure}`]).toFixed(1)}`,
    );
    const name = split === "train" ? "training" : split;
    svg.append(element("path", { class: name, d: `M${points.join("L")}` }));
  }
  svg.append(
    element("text", { x: WIDTH - 10, y: down(top / 2) - 6, "text-anchor": "end" }, title),
    element("line", { class: "now", y1: 8, y2: HEIGHT - FOOT }),
    element("circle", { r: 5 }),
  );
  // value: of the validation images, or null if it is not known, as before training.
  svg.mark = (epoch, value) => {
    const x = across(epoch, last);
    const line = svg.querySelector(".now");
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    const circle = svg.querySelector("circle");
    circle.setAttribute("cx", x);
    circle.setAttribute("cy", down(value ?? 0));
    circle.style.display = value === null ? "none" : "";
  };
  return svg;
}

// ---- Player ----------------------------------------------------------------------------------

const section = byId("learning");
const choice = byId("learning-variant");
const slider = byId("learning-slider");
const play = byId("learning-play");
const status = byId("learning-moment");
const cells = [...byId("learning-confusion").tBodies[0].rows].map((row) => [...row.cells].slice(1));
let charts = [];
let timer = null;

function choose(name) {
  const found = momentsOf(name);
  const rows = HISTORY.filter((row) => row.variant === name);
  const last = found.epochs.at(-1);
  slider.max = found.epochs.length - 1;
  charts = ["accuracy", "cost"].map((measure) => curve(measure, rows, last));
  byId("learning-curves").replaceChildren(...charts);
  byId("learning-filters").replaceChildren(
    ...found.neurons.map((neuron) => {
      const box = document.createElement("div");
      box.append(newCanvas(SIDE, SIDE, `Weights of neuron ${neuron}`), `${neuron}`);
      box.className = "small";
      return box;
    }),
  );
  const images = found.predictions[0].length;
  byId("learning-hidden").hidden = !found.active;
  byId("learning-activations").replaceChildren(
    ...(found.active ? [newCanvas(found.active, images, "Activations of the last hidden layer")] : []),
  );
  show(found.kept);
}

function show(moment) {
  const found = momentsOf(choice.value);
  const epoch = found.epochs[moment];
  slider.value = moment;
  const when = epoch ? `after epoch ${epoch}` : "before training";
  const right = `${(100 * found.accuracies[moment]).toFixed(2)} %`;
  slider.setAttribute("aria-valuetext", `${when}, ${right} right`);
  const name = Object.assign(document.createElement("strong"), { textContent: choice.value });
  status.replaceChildren(name, ` ${when}: ${right} of ${LEARNING.images} validation images right`);
  charts[0].mark(epoch, found.accuracies[moment]);
  charts[1].mark(epoch, found.costs[moment]);
  const shown = section.querySelector("[name=learning-shown]:checked").value;
  const numbers = shown === "weights" ? found.filters : found.changes;
  const size = found.neurons.length * PIXELS;
  byId("learning-filters").querySelectorAll("canvas").forEach((canvas, neuron) => {
    const start = moment * size + neuron * PIXELS;
    draw(canvas, numbers.subarray(start, start + PIXELS));
  });
  const images = found.predictions[moment];
  if (found.active) {
    const start = moment * images.length * found.active;
    const active = found.activity.subarray(start, start + images.length * found.active);
    draw(byId("learning-activations").firstChild, Float32Array.from(active, (n) => n / SHADES));
  }
  [...byId("learning-images").children].forEach((item, i) => {
    const wrong = images[i] !== LEARNING.labels[i];
    item.classList.toggle("wrong", wrong);
    const unseen = Object.assign(document.createElement("span"), {
      className: "unseen", textContent: ", wrong",
    });
    item.querySelector(".said").replaceChildren(NAMES[images[i]], ...(wrong ? [unseen] : []));
    item.querySelector(".small").textContent = `${found.confidences[moment][i]} %`;
  });
  showConfusion(found.confusions[moment]);
}

function showConfusion(pairs) {
  const counts = cells.map((row) => row.map(() => 0));
  for (let i = 0; i < pairs.length; i += 2) {
    counts[Math.floor(pairs[i] / cells.length)][pairs[i] % cells.length] = pairs[i + 1];
  }
  counts.forEach((row, label) => {
    const total = Math.max(1, row.reduce((sum, number) => sum + number, 0));
    row.forEach((number, prediction) => {
      const cell = cells[label][prediction];
      cell.textContent = number || "";
      cell.style.setProperty("--share", Math.sqrt(number / total).toFixed(3));
    });
  });
}

function stop() {
  clearInterval(timer);
  timer = null;
  status.removeAttribute("aria-live");
  play.textContent = calm.matches ? "Next" : "Play";
}

function step() {
  show(Number(slider.value) + 1);
  if (slider.value === slider.max) stop();
}

play.addEventListener("click", () => {
  if (timer !== null) return stop();
  if (slider.value === slider.max) show(0);
  else if (calm.matches) step();
  if (calm.matches) return; // nothing moves by itself where the reader asked for that
  status.setAttribute("aria-live", "off");
  play.textContent = "Pause";
  timer = setInterval(step, PAUSE);
});
slider.addEventListener("input", () => {
  stop();
  show(Number(slider.value));
});
choice.addEventListener("change", () => {
  stop();
  choose(choice.value);
});
section.addEventListener("change", (event) => {
  if (event.target.name === "learning-shown") show(Number(slider.value));
});
calm.addEventListener("change", stop);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(Number(slider.value)));
document.querySelectorAll("[data-learns]").forEach((link) => {
  link.addEventListener("click", () => {
    choice.value = link.dataset.learns;
    stop();
    choose(choice.value);
  });
});

section.querySelectorAll(".scripted").forEach((part) => part.removeAttribute("hidden"));
stop();
choose(choice.value);

// The drawing page: turn strokes into the 28x28 image that the networks see, run every network on
// it, and show probabilities and activations. In this order: networks, picture, drawing, display.

const { classNames, image: IMAGE, networks: stored } = JSON.parse(byId("models").textContent);
const PIXELS = IMAGE.width * IMAGE.height;

function byId(id) {
  return document.getElementById(id);
}

// ---- Networks: the forward pass of pipeline/nn/network.py ------------------------------------

const ACTIVATIONS = {
  relu: (x) => x.map((value) => Math.max(value, 0)),
  sigmoid: (x) => x.map((value) => 0.5 * Math.tanh(0.5 * value) + 0.5),
  tanh: (x) => x.map((value) => Math.tanh(value)),
  softmax: (x) => {
    const largest = Math.max(...x); // the largest exponent is 0, so exp() cannot overflow
    return toSumOne(x.map((value) => Math.exp(value - largest)));
  },
};

function toSumOne(x) {
  const total = x.reduce((sum, value) => sum + value, 0);
  return x.map((value) => (total ? value / total : 1 / x.length));
}

// Unpack the parameters of a network. They are stored in one string: for each layer its weights
// (in, out), then its biases.
function readNetwork(network) {
  const bytes = Uint8Array.from(atob(network.parameters), (letter) => letter.charCodeAt(0));
  const numbers = new Float32Array(bytes.buffer);
  const layers = [];
  let start = 0;
  for (let number = 1; number < network.sizes.length; number++) {
    const weights = network.sizes[number - 1] * network.sizes[number];
    const end = start + weights + network.sizes[number];
    layers.push({
      weight: numbers.subarray(start, start + weights),
      bias: numbers.subarray(start + weights, end),
    });
    start = end;
  }
  // One entry per possible value of a pixel, in float32 like the training images.
  const normalized = Float32Array.from(
    { length: 256 },
    (_, pixel) => (pixel / 255 - network.mean) / network.std,
  );
  return { ...network, layers, normalized };
}

// Sums are in float64. They differ from the float32 sums of NumPy by about 1e-6.
function affine({ weight, bias }, x) {
  const y = Float64Array.from(bias);
  for (let i = 0; i < x.length; i++) {
    if (x[i] === 0) continue; // most pixels, and about half of the ReLU neurons
    for (let j = 0, at = i * y.length; j < y.length; j++, at++) y[j] += x[i] * weight[at];
  }
  return y;
}

// Return the values of every layer, from the normalised pixels to the probabilities.
function forward(network, pixels) {
  const values = [Float64Array.from(pixels, (pixel) => network.normalized[pixel])];
  network.layers.forEach((layer, index) => {
    const isLast = index === network.layers.length - 1;
    const activation = ACTIVATIONS[isLast ? network.output : network.activation];
    values.push(activation(affine(layer, values[index])));
  });
  if (network.loss === "mean_squared_error") {
    values.push(toSumOne(values.pop())); // sigmoids do not sum to 1
  }
  return values;
}

function strongest(values) {
  return values.indexOf(Math.max(...values));
}

// ---- Picture: pipeline/datasets/picture.py, pixel for pixel ----------------------------------

// Make an image of a grey picture (bytes, row by row) as `predict` does for the models' dataset.
// isPicture: false for strokes, which are dark on light. Return null if it shows nothing.
function prepare(grey, width, height, isPicture) {
  if (IMAGE.pictures === "as_is") {
    const light = isPicture ? grey : grey.map((value) => 255 - value);
    return contrast(light) < CONTRAST ? null : reduce(light, width, height);
  }
  if (isPicture && isCentred(grey, width, height)) return grey;
  return centerDigit(grey, width, height);
}

// Reduce a picture to the size of an image, extended by its background to a square.
function reduce(grey, width, height) {
  const scale = Math.min(IMAGE.width / width, IMAGE.height / height);
  const small = {
    width: Math.max(1, roundHalfToEven(width * scale)),
    height: Math.max(1, roundHalfToEven(height * scale)),
  };
  const pixels = resample(grey, { width, height }, small, BOX);
  const left = roundHalfToEven((IMAGE.width - small.width) / 2);
  const top = roundHalfToEven((IMAGE.height - small.height) / 2);
  const field = new Uint8Array(PIXELS).fill(Math.trunc(borderMedian(grey, width, height)));
  pixels.forEach((value, at) => {
    field[(top + Math.floor(at / small.width)) * IMAGE.width + left + (at % small.width)] = value;
  });
  return field;
}

// Whether a picture is one of a set's own images, or made like one: its size, centred, on black.
function isCentred(grey, width, height) {
  if (width !== IMAGE.width || height !== IMAGE.height) return false;
  if (borderMedian(grey, width, height) > 0 || contrast(grey) < CONTRAST) return false;
  const places = [[], []]; // of pixels with ink: their columns, their rows
  let mass = 0;
  const moments = [0, 0];
  grey.forEach((value, at) => {
    if (!value) return;
    [at % width, Math.floor(at / width)].forEach((place, axis) => {
      places[axis].push(place);
      moments[axis] += value * place;
    });
    mass += value;
  });
  const ends = places.map((each) => [Math.min(...each), Math.max(...each)]);
  const long = 1 + Math.max(...ends.map(([first, last]) => last - first));
  const off = (centre) => Math.max(...centre.map((each) => Math.abs(each - 13.75)));
  const byMass = off(moments.map((moment) => moment / mass));
  const byBox = off(ends.map(([first, last]) => (first + last) / 2));
  return long >= 16 && long <= 24 && Math.min(byMass, byBox) < 1.5;
}

// Scale and centre a grey image as in MNIST. Return null if it shows nothing.
function centerDigit(grey, width, height) {
  const ink = inkOfGrey(grey, width, height);
  if (!ink) return null;
  const box = inkBox(grey, width, height, ink);
  const digit = new Uint8Array(box.width * box.height);
  for (let y = 0; y < box.height; y++) {
    for (let x = 0; x < box.width; x++) {
      digit[y * box.width + x] = ink[grey[(box.top + y) * width + box.left + x]] * 255;
    }
  }
  const scale = IMAGE.box / Math.max(box.width, box.height);
  const small = {
    width: Math.max(1, roundHalfToEven(box.width * scale)),
    height: Math.max(1, roundHalfToEven(box.height * scale)),
  };
  const pixels = atFullStrength(resample(digit, box, small, LANCZOS));
  return pixels && placeByMass({ ...small, pixels });
}

// Thin strokes fade when they are scaled down; strokes in MNIST have full brightness.
function atFullStrength(pixels) {
  const most = pixels.reduce((a, b) => Math.max(a, b), 0);
  return most ? pixels.map((value) => roundHalfToEven(value * (255 / most))) : null;
}

const CONTRAST = 16; // minimum difference of strokes and background, in grey levels

// Return the ink, from 0 to 1, of each of the 256 grey levels. The median of the border is the
// paper. Strokes are all darker or all lighter than the paper; anything else is noise.
function inkOfGrey(grey, width, height) {
  const counts = new Float64Array(256);
  for (const value of grey) counts[value]++;
  const paper = borderMedian(grey, width, height);
  let darker = 0;
  let lighter = 0;
  counts.forEach((count, value) => {
    if (value < paper) darker += count * (paper - value);
    else lighter += count * (value - paper);
  });
  const side = darker >= lighter ? -1 : 1;
  const ink = Float64Array.from(counts, (count, value) =>
    count ? Math.max(0, side * (value - paper)) : 0,
  );
  const most = Math.max(...ink);
  if (most < CONTRAST) return null;
  return ink.map((value) => (value / most < IMAGE.ink / 2 ? 0 : value / most));
}

function borderMedian(grey, width, height) {
  const border = [];
  for (let x = 0; x < width; x++) border.push(grey[x], grey[(height - 1) * width + x]);
  for (let y = 0; y < height; y++) border.push(grey[y * width], grey[(y + 1) * width - 1]);
  border.sort((a, b) => a - b);
  return (border[border.length / 2 - 1] + border[border.length / 2]) / 2; // its length is even
}

function inkBox(grey, width, height, ink) {
  let [left, right, top, bottom] = [width, 0, height, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[grey[y * width + x]] < IMAGE.ink) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = y + 1;
    }
  }
  return { left, top, width: right - left, height: bottom - top };
}

// Python rounds halves to even, JavaScript rounds them up.
function roundHalfToEven(x) {
  const below = Math.floor(x);
  return x - below === 0.5 ? below + (below % 2) : Math.round(x);
}

// Filters by the distance of an old pixel from a new one, and how far they reach.
const LANCZOS = { reach: 3, weight: (x) => (-3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0) };
const BOX = { reach: 0.5, weight: (x) => (-0.5 < x && x <= 0.5 ? 1 : 0) };

// Resize as Pillow does with a filter: along rows, then along columns. Since Pillow 13, columns come
// first if the height shrinks by more than twice as many pixels as the width. Each pass rounds to 8
// bits, so the order matters. See src/libImaging/Resample.c in Pillow.
function resample(pixels, from, to, filter) {
  const { width, height } = from;
  if (height > to.height && height - to.height > 2 * (width - to.width)) {
    const tall = alongRowsTurned(turned(pixels, width, height), height, width, to.height, filter);
    return turned(alongRowsTurned(tall, width, to.height, to.width, filter), to.height, to.width);
  }
  const wide = alongRowsTurned(pixels, width, height, to.width, filter);
  return alongRowsTurned(wide, height, to.width, to.height, filter);
}

function turned(pixels, width, height) {
  return pixels.map((_, at) => pixels[(at % height) * width + Math.floor(at / height)]);
}

// Resize along rows and transpose the result, so that a second call resizes along columns and
// transposes it back. Weights are fixed-point numbers with 22 bits.
function alongRowsTurned(pixels, width, height, newWidth, filter) {
  const one = 2 ** 22;
  const result = new Uint8ClampedArray(newWidth * height);
  for (let column = 0; column < newWidth; column++) {
    const { first, weights } = weightsOf(filter, width, newWidth, column);
    const fixed = weights.map((weight) => Math.sign(weight) * Math.round(Math.abs(weight) * one));
    for (let row = 0; row < height; row++) {
      const at = row * width + first;
      let sum = one / 2;
      for (let i = 0; i < fixed.length; i++) sum += fixed[i] * pixels[at + i];
      result[column * height + row] = Math.floor(sum / one);
    }
  }
  return result;
}

// Return the first old pixel that contributes to a new one, and the weights from there on.
function weightsOf(filter, size, newSize, index) {
  const scale = size / newSize;
  const stretch = Math.max(scale, 1); // when shrinking, the filter covers all merged pixels
  const center = (index + 0.5) * scale;
  const first = Math.max(0, Math.trunc(center - filter.reach * stretch + 0.5));
  const end = Math.min(size, Math.trunc(center + filter.reach * stretch + 0.5));
  const weights = new Float64Array(end - first);
  for (let i = 0; i < weights.length; i++) {
    weights[i] = filter.weight((first + i - center + 0.5) / stretch);
  }
  return { first, weights: toSumOne(weights) };
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

// Place a digit as in MNIST, with its centre of mass at pixel 14 of 0 to 27.
function placeByMass({ pixels, width, height }) {
  let [mass, massX, massY] = [0, 0, 0];
  pixels.forEach((value, at) => {
    mass += value;
    massX += value * (at % width);
    massY += value * Math.floor(at / width);
  });
  if (mass === 0) return null;
  const left = place(massX / mass, width, IMAGE.width);
  const top = place(massY / mass, height, IMAGE.height);
  const field = new Uint8Array(PIXELS);
  pixels.forEach((value, at) => {
    field[(top + Math.floor(at / width)) * IMAGE.width + left + (at % width)] = value;
  });
  return field;
}

function place(center, size, field) {
  return Math.min(Math.max(roundHalfToEven(field / 2 - center), 0), field - size);
}

// Return the brightness as Pillow's convert("L") computes it (ITU-R 601-2), in 16-bit fixed point.
function greyOf({ data, width, height }) {
  const grey = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < grey.length; i++, at += 4) {
    grey[i] = (data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 0x8000) >> 16;
  }
  return { grey, width, height };
}

const LARGEST_PICTURE = 2 ** 24; // in pixels; some browsers support no larger canvas

async function readPicture(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const scale = Math.min(1, Math.sqrt(LARGEST_PICTURE / (bitmap.width * bitmap.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(bitmap.width * scale));
  canvas.height = Math.max(1, Math.floor(bitmap.height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const layOn = (colour) => {
    fill(context, colour); // transparent pixels become paper
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return greyOf(context.getImageData(0, 0, canvas.width, canvas.height));
  };
  const first = layOn(IMAGE.pictures === "as_is" ? "black" : "white");
  const read = contrast(first.grey) < CONTRAST ? layOn("black") : first;
  bitmap.close();
  return { canvas, ...read };
}

function contrast(grey) {
  let [least, most] = [255, 0];
  for (const value of grey) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return most - least;
}

function fill(context, colour) {
  context.fillStyle = colour;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
}

// ---- Drawing: strokes from a pointer or the keyboard, or a picture --------------------------

const paper = byId("paper");
const ink = paper.getContext("2d", { willReadFrequently: true });
const PEN_WIDTH = paper.width / 13; // as thick as MNIST's strokes, for a digit that fills the paper
const KEY_STEP = paper.width / 40;

let strokes = []; // each a list of [x, y], in pixels of the paper
let picture = null; // replaces the strokes, until the next stroke replaces it
let pointer = null; // the id of the pointer that is drawing
const pen = { x: paper.width / 2, y: paper.height / 4, isDown: false }; // moved by the keyboard
const heldArrows = new Set();

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function startStroke(x, y) {
  picture = null;
  say("");
  strokes.push([[x, y]]);
  redraw();
}

function extendStroke(x, y) {
  strokes.at(-1).push([x, y]);
  redraw();
}

function clear() {
  strokes = [];
  picture = null;
  pointer = null;
  pen.isDown = false;
  say("");
  redraw();
}

function undo() {
  strokes.pop();
  pointer = null;
  pen.isDown = false;
  redraw();
}

async function usePicture(file) {
  try {
    const chosen = await readPicture(file);
    if (!prepare(chosen.grey, chosen.width, chosen.height, true)) {
      say(`${file.name} shows nothing: all its pixels have nearly the same brightness`);
      return;
    }
    clear();
    picture = chosen;
    redraw();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    say(`${file.name} is not a PNG, JPEG or other image`);
  }
}

function say(problem) {
  byId("problem").textContent = problem;
}

function onPaper(event) {
  const frame = paper.getBoundingClientRect();
  return [
    ((event.clientX - frame.left) * paper.width) / frame.width,
    ((event.clientY - frame.top) * paper.height) / frame.height,
  ];
}

function listenToPointers() {
  paper.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pointer !== null) return; // a second finger does not draw
    pointer = event.pointerId;
    paper.setPointerCapture(pointer); // a stroke may leave the paper and come back
    putPenAway();
    startStroke(...onPaper(event));
  });
  paper.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const positions = event.getCoalescedEvents?.() ?? []; // all since the last frame
    for (const each of positions.length ? positions : [event]) extendStroke(...onPaper(each));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    paper.addEventListener(end, (event) => {
      if (event.pointerId === pointer) pointer = null;
    });
  }
}

function listenToKeys() {
  paper.addEventListener("keydown", (event) => {
    if (event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "z" && strokes.length) undo();
    } else if (event.key === " ") {
      event.preventDefault(); // the page must not scroll
      if (!event.repeat) putOrLiftPen();
    } else if (event.key in ARROWS) {
      event.preventDefault();
      heldArrows.add(event.key);
      movePen();
    }
  });
  paper.addEventListener("keyup", (event) => heldArrows.delete(event.key));
  paper.addEventListener("focus", () => {
    if (paper.matches(":focus-visible")) showPen(); // reached by Tab, not by a click
  });
  paper.addEventListener("blur", putPenAway);
}

function putOrLiftPen() {
  pen.isDown = !pen.isDown;
  if (pen.isDown) startStroke(pen.x, pen.y);
  showPen();
  byId("announcement").textContent = pen.isDown ? "Pen down" : "Pen up";
}

function movePen() {
  for (const key of heldArrows) {
    const [right, down] = ARROWS[key];
    pen.x = Math.min(Math.max(pen.x + right * KEY_STEP, 0), paper.width);
    pen.y = Math.min(Math.max(pen.y + down * KEY_STEP, 0), paper.height);
  }
  if (pen.isDown) extendStroke(pen.x, pen.y);
  showPen();
}

function putPenAway() {
  heldArrows.clear();
  pen.isDown = false;
  byId("pen").hidden = true;
}

function showPen() {
  const mark = byId("pen");
  mark.hidden = false;
  mark.classList.toggle("down", pen.isDown);
  mark.style.left = `${(100 * pen.x) / paper.width}%`;
  mark.style.top = `${(100 * pen.y) / paper.height}%`;
}

function listenToFiles() {
  byId("picture").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) usePicture(file);
    event.target.value = ""; // the same file can be chosen again
  });
  addEventListener("dragover", (event) => {
    event.preventDefault(); // otherwise the browser would open the picture itself
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const [file] = event.dataTransfer.files;
    if (file) usePicture(file);
  });
}

function paintPaper() {
  fill(ink, "white");
  if (picture) paintPicture();
  ink.lineWidth = PEN_WIDTH;
  ink.lineCap = ink.lineJoin = "round";
  strokes.forEach(paintStroke);
}

function paintPicture() {
  const scale = Math.min(paper.width / picture.width, paper.height / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  ink.drawImage(
    picture.canvas, (paper.width - width) / 2, (paper.height - height) / 2, width, height,
  );
}

// Draw curves through the midpoints of positions, because a fast stroke has few, far apart.
function paintStroke(stroke) {
  ink.beginPath();
  ink.moveTo(...stroke[0]);
  for (let i = 1; i < stroke.length - 1; i++) {
    const [[x, y], [nextX, nextY]] = [stroke[i], stroke[i + 1]];
    ink.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
  }
  ink.lineTo(...stroke.at(-1)); // a stroke with one position is a dot
  ink.stroke();
}

// ---- Display ---------------------------------------------------------------------------------

const networks = stored.map(readNetwork);
const cards = [...document.querySelectorAll(".network")]; // in the order of the networks
let centered = null; // the image that the networks see
let awaitsFrame = false;

function redraw() {
  if (awaitsFrame) return; // many events, one redraw per frame
  awaitsFrame = true;
  requestAnimationFrame(() => {
    awaitsFrame = false;
    update();
  });
}

function update() {
  paintPaper();
  const { grey, width, height } =
    picture ?? greyOf(ink.getImageData(0, 0, paper.width, paper.height));
  centered = prepare(grey, width, height, picture !== null);
  byId("hint").hidden = centered !== null;
  byId("undo").disabled = !strokes.length;
  byId("clear").disabled = !strokes.length && !picture;
  paper.classList.toggle("picture", picture !== null);
  showSeen();
  const readings = networks.map((network) => (centered ? forward(network, centered) : null));
  cards.forEach((card, index) => showReading(card, readings[index]?.at(-1)));
  showSummary(readings.filter(Boolean).map((values) => strongest(values.at(-1))));
  const inside = cards.findIndex((card) => card.querySelector("input").checked);
  showLayers(networks[inside], readings[inside]);
}

function showSeen() {
  const seen = byId("seen");
  const image = new ImageData(IMAGE.width, IMAGE.height);
  for (let i = 0; i < PIXELS; i++) {
    image.data.fill(centered?.[i] ?? 0, 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  seen.getContext("2d").putImageData(image, 0, 0);
  const lit = centered?.filter((pixel) => pixel > 0).length;
  seen.ariaLabel = centered ? `${lit} of ${PIXELS} pixels are lit` : "Nothing is drawn yet";
}

function showReading(card, probabilities) {
  const best = probabilities ? strongest(probabilities) : null;
  card.querySelector(".prediction b").textContent = classNames[best] ?? "–";
  card.querySelectorAll("tr").forEach((row, index) => {
    row.classList.toggle("best", index === best);
    row.querySelector(".share").textContent = probabilities ? percent(probabilities[index]) : "";
    row.querySelector("i").style.width = `${100 * (probabilities?.[index] ?? 0)}%`;
  });
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

function showSummary(predictions) {
  const text = predictions.length ? summary(predictions) : "Nothing is drawn yet";
  if (byId("summary").textContent === text) return;
  byId("summary").textContent = text;
  announce(text);
}

function summary(predictions) {
  const votes = new Map();
  for (const best of predictions) votes.set(best, (votes.get(best) ?? 0) + 1);
  const answer = classNames[predictions[0]]; // of the best network
  if (predictions.length === 1) return `The network predicts ${answer}`;
  if (votes.size === 1) return `All ${predictions.length} networks predict ${answer}`;
  const counts = [...votes]
    .sort((a, b) => b[1] - a[1])
    .map(([best, count]) => `${count} for ${classNames[best]}`);
  return `${networks[0].variant} predicts ${answer}; votes: ${counts.join(", ")}`;
}

// Announce only a text that lasts: a screen reader would read every change aloud.
let announcing = null;
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    byId("announcement").textContent = text;
  }, 700);
}

// ---- Display of the layers of a network ------------------------------------------------------

const CELLS_WIDTH = 176; // width of a layer, in CSS pixels
const SHARPNESS = 2; // canvas pixels per CSS pixel

// By activation: [value of the strongest negative colour, value of the strongest positive colour].
const RANGES = {
  relu: (values) => [0, Math.max(...values)],
  sigmoid: () => [0, 1],
  tanh: () => [-1, 1],
};

let layersOf = null; // the network whose layers are on the page

function showLayers(network, values) {
  if (layersOf !== network) buildLayers(network);
  layersOf = network;
  const figures = [...byId("layers").children];
  const hidden = network.sizes.slice(1, -1);
  showInput(figures[0]);
  hidden.forEach((size, index) => {
    showHidden(figures[index + 1], network, values?.[index + 1] ?? new Float64Array(size));
  });
  showOutput(figures.at(-1), values?.at(-1));
}

function buildLayers(network) {
  byId("inside-name").textContent = network.variant;
  const last = network.sizes.length - 1;
  byId("layers").replaceChildren(
    ...network.sizes.map((size, index) => {
      const figure = byId("layer").content.firstElementChild.cloneNode(true);
      const [title, kind] = figure.querySelector("figcaption").children;
      title.textContent = index === 0 ? "Input" : index === last ? "Output" : `Hidden ${index}`;
      const activation = index === last ? network.output : network.activation;
      kind.textContent = index === 0 ? `${size} pixels` : `${size} neurons, ${activation}`;
      if (index === last) figure.querySelector("canvas").replaceWith(outputCells());
      return figure;
    }),
  );
}

function outputCells() {
  const list = document.createElement("ol");
  list.append(
    ...classNames.map((name) => {
      const item = document.createElement("li");
      item.textContent = name;
      return item;
    }),
  );
  return list;
}

function showInput(figure) {
  const canvas = figure.querySelector("canvas");
  const pixels = Float64Array.from(centered ?? new Uint8Array(PIXELS), (pixel) => pixel / 255);
  paintCells(canvas, pixels, IMAGE.width, [0, 1]);
  canvas.ariaLabel = byId("seen").ariaLabel;
  showScale(figure, [0, 255]);
}

function showHidden(figure, network, values) {
  const canvas = figure.querySelector("canvas");
  const range = RANGES[network.activation](values);
  paintCells(canvas, values, Math.ceil(Math.sqrt(values.length)), range);
  showScale(figure, range);
  const fact = describe(network.activation, values);
  figure.querySelector(".fact").textContent = centered ? fact : "";
  canvas.ariaLabel = centered ? `Neurons: ${fact}` : "Nothing is drawn yet";
}

// A neuron is "on" in the upper half of its activation's range; with ReLU, if it is not 0.
function describe(activation, values) {
  const threshold = activation === "sigmoid" ? 0.5 : 0;
  const on = values.filter((value) => value > threshold).length;
  const which = activation === "relu" ? "active" : `above ${threshold}`;
  return `${on} of ${values.length} ${which}`;
}

function showOutput(figure, probabilities) {
  figure.querySelectorAll("li").forEach((item, index) => {
    item.style.setProperty("--share", percent(probabilities?.[index] ?? 0));
  });
  showScale(figure, [0, 1]);
}

function showScale(figure, [low, high]) {
  const [from, to] = figure.querySelectorAll(".scale span");
  from.textContent = low < 0 ? `−${-low}` : low;
  to.textContent = Number.isInteger(high) ? high : high.toFixed(2);
  figure.querySelector(".scale").classList.toggle("signed", low < 0);
}

function paintCells(canvas, values, columns, range) {
  const size = Math.min(Math.max(Math.floor(CELLS_WIDTH / columns), 4), 22) * SHARPNESS;
  const gap = size > 16 ? SHARPNESS : 0; // small squares touch, like pixels of one image
  const rows = Math.ceil(values.length / columns);
  canvas.width = columns * size; // also clears the canvas
  canvas.height = rows * size;
  canvas.style.width = `${canvas.width / SHARPNESS}px`;
  const context = canvas.getContext("2d");
  const colour = colours(range);
  values.forEach((value, index) => {
    const [x, y] = [(index % columns) * size, Math.floor(index / columns) * size];
    context.fillStyle = colour(value);
    context.fillRect(x, y, size - gap, size - gap);
  });
}

// Interpolate in OKLab, where equal steps look equal, from the colour of 0 to blue, or to orange
// for negative values. Colour-blind readers can tell the two apart.
function colours([low, high]) {
  const theme = getComputedStyle(document.body);
  const [zero, positive, negative] = ["--zero", "--positive", "--negative"].map((name) =>
    theme.getPropertyValue(name),
  );
  return (value) => {
    const share = value < 0 ? value / low : high > 0 ? value / high : 0;
    return `color-mix(in oklab, ${value < 0 ? negative : positive} ${percent(share)}, ${zero})`;
  };
}

// ---- Start -----------------------------------------------------------------------------------

listenToPointers();
listenToKeys();
listenToFiles();
byId("clear").addEventListener("click", clear);
byId("undo").addEventListener("click", undo);
document.querySelector(".networks").addEventListener("change", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
update();

// For tests and the browser console: digits.probabilities("tiny", pixels) takes the 784 bytes that
// digits.centerDigit(grey, width, height) returns; digits.centered() returns the current image.
window.digits = {
  variants: networks.map((network) => network.variant),
  probabilities: (variant, pixels) =>
    forward(networks.find((network) => network.variant === variant), pixels).at(-1),
  centerDigit,
  centered: () => centered,
};

// The drawing page: turn strokes into the 28x28 image that the networks see, run every network on
// it, and show probabilities and activations. In this order: networks, picture, drawing, display,
// layers, one neuron.

const MODELS = JSON.parse(byId("models").textContent);
const { classNames, image: IMAGE } = MODELS;
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

function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length); // Uint8Array.from() would take ten times as long
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// Unpack whole numbers of MODELS.bits bits each, see `_packed` in drawing.py.
function unpack(bytes, count) {
  const { bits, levels } = MODELS;
  const mask = 2 ** bits - 1;
  const numbers = new Int32Array(count);
  for (let i = 0, bit = 0; i < count; i++, bit += bits) {
    const at = bit >> 3;
    const three = (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
    numbers[i] = ((three >> (24 - bits - (bit & 7))) & mask) - levels;
  }
  return numbers;
}

// Return a network with its layers: weights (in, out) and biases, each whole multiples of a step.
function readNetwork(network) {
  const shapes = network.sizes.slice(1).flatMap((size, i) => [network.sizes[i] * size, size]);
  const numbers = unpack(
    bytesOf(network.parameters),
    shapes.reduce((sum, count) => sum + count, 0),
  );
  let start = 0;
  const parts = shapes.map((count, i) => {
    const part = new Float32Array(numbers.subarray(start, start + count));
    for (let j = 0; j < count; j++) part[j] *= network.steps[i];
    start += count;
    return part;
  });
  const layers = network.sizes.slice(1).map((_, i) => ({
    weight: parts[2 * i],
    bias: parts[2 * i + 1],
    activation: i === network.sizes.length - 2 ? network.output : network.activation,
  }));
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
    const value = x[i];
    if (value === 0) continue; // most pixels, and about half of the ReLU neurons
    for (let j = 0, at = i * y.length; j < y.length; j++, at++) y[j] += value * weight[at];
  }
  return y;
}

// Return, for normalised pixels, the values of every layer before and after its activation, and the
// probabilities: the outputs or, because sigmoids do not sum to 1, their shares.
function run(network, x) {
  const values = [x];
  const sums = [null];
  network.layers.forEach((layer, index) => {
    sums.push(affine(layer, values[index]));
    values.push(ACTIVATIONS[layer.activation](sums[index + 1]));
  });
  const outputs = values.at(-1);
  return { values, sums, shares: network.output === "sigmoid" ? toSumOne(outputs) : outputs };
}

function forward(network, pixels) {
  return run(network, Float64Array.from(pixels, (pixel) => network.normalized[pixel]));
}

// The derivative of each activation of a hidden layer, from its value.
const SLOPES = {
  relu: (y) => (y > 0 ? 1 : 0),
  sigmoid: (y) => y * (1 - y),
  tanh: (y) => 1 - y * y,
};

// Return the gradient of a neuron's sum in the normalised pixels: for the first layer its weights.
function pixelGradient(network, { values }, layer, neuron) {
  const size = network.sizes[layer];
  let gradient = Float64Array.from(
    { length: network.sizes[layer - 1] },
    (_, i) => network.layers[layer - 1].weight[i * size + neuron],
  );
  for (let number = layer - 1; number > 0; number--) {
    const { weight, activation } = network.layers[number - 1];
    const after = gradient.map((value, j) => value * SLOPES[activation](values[number][j]));
    gradient = Float64Array.from({ length: network.sizes[number - 1] }, (_, i) => {
      let sum = 0;
      for (let j = 0, at = i * after.length; j < after.length; j++, at++) sum += after[j] * weight[at];
      return sum;
    });
  }
  return gradient;
}

// Return how a neuron's sum comes about: inputs times weights, their sum, the bias, the total.
function explainNeuron(network, { values, sums }, layer, neuron) {
  const { weight, bias } = network.layers[layer - 1];
  const size = network.sizes[layer];
  const weights = Float64Array.from(values[layer - 1], (_, i) => weight[i * size + neuron]);
  const products = values[layer - 1].map((value, i) => value * weights[i]);
  return {
    inputs: values[layer - 1],
    weights,
    products,
    sum: products.reduce((total, product) => total + product, 0),
    bias: bias[neuron],
    total: sums[layer][neuron],
    value: values[layer][neuron],
  };
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
let picture = null; // replaces the strokes, until the next stroke replaces it; `label` if an example
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
    const { canvas, grey, width, height } = await readPicture(file);
    const { problem, pixels, remark } = MODELS.isServed
      ? await askServer(file)
      : seenHere(file, prepare(grey, width, height, true));
    if (problem) {
      say(problem);
      return;
    }
    clear();
    picture = { canvas, width, height, pixels };
    say("", remark);
    redraw();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    say(`${file.name} is not a PNG, JPEG or other image`);
  }
}

function seenHere(file, pixels) {
  if (!pixels) {
    return { problem: `${file.name} shows nothing: all its pixels have nearly the same brightness` };
  }
  const remark = IMAGE.pictures === "digit"
    ? `${file.name} is read as one digit on even paper; photographs are read by: digits predict`
    : "";
  return { pixels, remark };
}

// Let `digits serve` find the digits in a picture or photograph, as `digits predict` does.
async function askServer(file) {
  let answer;
  try {
    answer = await fetch("predict", { method: "POST", body: file });
  } catch {
    return { problem: "The server does not answer; start it again: digits serve" };
  }
  if (!answer.headers.get("Content-Type").startsWith("application/json")) {
    return { problem: `${file.name} is refused: ${answer.status} ${answer.statusText}` };
  }
  const { error, digits, doubt } = await answer.json();
  if (error) return { problem: error.replace("the picture", file.name) };
  const remarks = [];
  if (doubt) remarks.push(`${file.name} ${doubt}`);
  if (digits.length > 1) {
    const classes = digits.map((digit) => digit.class).join(", ");
    remarks.push(`${file.name} shows ${digits.length} digits, read as ${classes}; the first is shown`);
  }
  if (digits[0].is_unlike) {
    remarks.push("this is unlike the training images, so the shares mean little");
  }
  return { pixels: Uint8Array.from(digits[0].image.flat()), remark: remarks.join("; ") };
}

function useExample(example) {
  const pixels = bytesOf(example.pixels);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [IMAGE.width, IMAGE.height];
  putPixels(canvas, pixels.map((pixel) => 255 - pixel));
  clear();
  picture = { canvas, width: IMAGE.width, height: IMAGE.height, pixels, label: example.label };
  redraw();
}

function putPixels(canvas, grey) {
  const image = new ImageData(IMAGE.width, IMAGE.height);
  grey.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function listenToExamples() {
  byId("examples").append(
    ...MODELS.examples.map((example) => {
      const button = document.createElement("button");
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [IMAGE.width, IMAGE.height];
      putPixels(canvas, bytesOf(example.pixels));
      const wrong = example.wrong && `, read wrongly by ${example.wrong} of ${networks.length}`;
      button.type = "button";
      button.title = `${example.label}${wrong ?? ""}`;
      button.ariaLabel = `Load a test image of ${button.title}`;
      button.append(canvas);
      button.addEventListener("click", () => useExample(example));
      return button;
    }),
  );
}

function say(problem, remark = "") {
  byId("problem").textContent = problem;
  byId("remark").textContent = remark;
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

const networks = MODELS.networks.map(readNetwork);
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
  centered = picture ? picture.pixels : preparedPaper();
  byId("hint").hidden = centered !== null;
  byId("undo").disabled = !strokes.length;
  byId("clear").disabled = !strokes.length && !picture;
  paper.classList.toggle("picture", picture !== null && picture.label === undefined);
  showSeen();
  const readings = networks.map((network) => (centered ? forward(network, centered) : null));
  cards.forEach((card, index) => showReading(card, readings[index]?.shares));
  showSummary(readings.filter(Boolean).map(({ shares }) => strongest(shares)));
  showShare(readings[0]?.shares);
  const inside = cards.findIndex((card) => card.querySelector("input").checked);
  [shown.network, shown.reading] = [networks[inside], readings[inside]];
  showLayers(shown.network, shown.reading);
  showNeuron();
}

function preparedPaper() {
  const { grey, width, height } = greyOf(ink.getImageData(0, 0, paper.width, paper.height));
  return prepare(grey, width, height, false);
}

function showSeen() {
  const seen = byId("seen");
  putPixels(seen, centered ?? new Uint8Array(PIXELS));
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

// A share is not certainty: see "None of these?" on the page.
function showShare(shares) {
  const best = shares && strongest(shares);
  const second = shares && strongest(shares.map((share, i) => (i === best ? -1 : share)));
  byId("share").textContent = shares
    ? `${networks[0].variant} gives ${percent(shares[best])} to ${classNames[best]}` +
      (classNames.length > 1 ? ` and ${percent(shares[second])} to ${classNames[second]}` : "") +
      (picture?.label ? `; the label is ${picture.label}.` : ".")
    : "";
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

const CELLS_WIDTH = 148; // width of a layer, in CSS pixels
const SHARPNESS = 2; // canvas pixels per CSS pixel

// By activation: [value of the strongest negative colour, value of the strongest positive colour].
const RANGES = {
  relu: (values) => [0, Math.max(...values)],
  sigmoid: () => [0, 1],
  tanh: () => [-1, 1],
};

let layersOf = null; // the network whose layers are on the page
const shown = { network: null, reading: null };

function showLayers(network, reading) {
  if (layersOf !== network) buildLayers(network);
  layersOf = network;
  const figures = layerFigures();
  const hidden = network.sizes.slice(1, -1);
  showInput(figures[0]);
  hidden.forEach((size, index) => {
    showHidden(figures[index + 1], network, reading?.values[index + 1] ?? new Float64Array(size));
  });
  showOutput(figures.at(-1), reading?.shares);
}

function layerFigures() {
  return [...byId("layers").querySelectorAll("figure")];
}

function buildLayers(network) {
  chosen = null;
  byId("inside-name").textContent = network.variant;
  const last = network.sizes.length - 1;
  byId("layers").replaceChildren(
    ...network.sizes.map((size, index) => {
      const figure = byId("layer").content.firstElementChild.cloneNode(true);
      const [title, kind] = figure.querySelector("figcaption").children;
      title.textContent = layerName(network, index);
      const activation = index === last ? network.output : network.activation;
      kind.textContent = index === 0 ? `${size} pixels` : `${size} neurons, ${activation}`;
      if (index === last) figure.querySelector("canvas").replaceWith(outputCells());
      else if (index > 0) listenToCells(figure.querySelector("canvas"), index, size);
      return figure;
    }),
    pathLines(),
  );
}

function layerName(network, index) {
  return index === 0 ? "Input" : index === network.sizes.length - 1 ? "Output" : `Hidden ${index}`;
}

function outputCells() {
  const list = document.createElement("ol");
  list.append(
    ...classNames.map((name, index) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      for (const event of ["pointerenter", "focus", "click"]) {
        button.addEventListener(event, () => choose(layersOf.sizes.length - 1, index));
      }
      item.append(button);
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
  canvas.ariaLabel = centered
    ? `Neurons: ${fact}. The arrow keys choose one.`
    : "Neurons. Nothing is drawn yet";
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
  canvas.dataset.columns = columns;
  canvas.dataset.rows = rows;
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

// ---- Display of one neuron: how its value comes about ---------------------------------------

let chosen = null; // { layer, neuron }; by default the output with the largest share
const STEPS = 48; // of gradient ascent
const MOST = 6; // contributions listed for and against

function choose(layer, neuron) {
  chosen = { layer, neuron };
  showNeuron();
}

function listenToCells(canvas, layer, size) {
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.addEventListener("pointermove", (event) => {
    const frame = canvas.getBoundingClientRect();
    const { columns, rows } = canvas.dataset;
    const column = Math.floor(((event.clientX - frame.left) / frame.width) * columns);
    const row = Math.floor(((event.clientY - frame.top) / frame.height) * rows);
    const neuron = row * columns + column;
    if (neuron < size && column < columns) choose(layer, neuron);
  });
  canvas.addEventListener("focus", () => {
    if (chosen?.layer !== layer) choose(layer, strongest(shown.reading?.values[layer] ?? [0]));
  });
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in ARROWS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [right, down] = ARROWS[event.key];
    const next = (chosen?.neuron ?? 0) + right + down * canvas.dataset.columns;
    choose(layer, Math.min(Math.max(next, 0), size - 1));
  });
}

function showNeuron() {
  const { network, reading } = shown;
  byId("neuron").hidden = !reading;
  if (!reading) return drawPath([]);
  const last = network.sizes.length - 1;
  const { layer, neuron } = chosen ?? { layer: last, neuron: strongest(reading.shares) };
  const found = explainNeuron(network, reading, layer, neuron);
  byId("neuron-title").textContent = nameOf(network, layer, neuron);
  byId("sum").textContent = sumText(network, reading, layer, neuron, found);
  showPictures(network, reading, layer, neuron, found);
  showContributions(network, layer, found);
  drawPath(pathTo(network, reading, layer, neuron));
}

function nameOf(network, layer, neuron) {
  const last = layer === network.sizes.length - 1;
  const which = last ? classNames[neuron] : `neuron ${neuron + 1} of ${network.sizes[layer]}`;
  return `${layerName(network, layer)}, ${which}`;
}

function sumText(network, reading, layer, neuron, found) {
  const { activation } = network.layers[layer - 1];
  const times = layer === 1 ? "weights × pixels" : "weights × values";
  const text = [
    `${times} ${signed(found.sum)} + bias ${signed(found.bias)} = ${signed(found.total)}`,
    `after ${activation} ${signed(found.value)}`,
  ];
  if (layer === network.sizes.length - 1 && network.output === "sigmoid") {
    text.push(`divided by the sum of all outputs ${percent(reading.shares[neuron])}`);
  }
  return text.join(" → ");
}

function signed(value) {
  const size = Math.abs(value);
  const text = size !== 0 && (size < 0.001 || size >= 1e5) ? size.toExponential(1) : size.toFixed(3);
  return value < 0 ? `−${text}` : text;
}

function showPictures(network, reading, layer, neuron, found) {
  const gradient = pixelGradient(network, reading, layer, neuron); // of layer 1 its weights
  const pictures =
    layer === 1
      ? [
          ["Its weights, blurred", blurred(found.weights)],
          ["Weights × your pixels", found.products],
        ]
      : [["Which pixels raise it, blurred", blurred(gradient)]];
  const figures = pictures.map(([title, values]) => {
    const most = Math.max(...values.map(Math.abs));
    return pictureOf(title, values, [-most, most], `−${most.toPrecision(2)} to ${most.toPrecision(2)}`);
  });
  const wanted = pictureOf("What excites it most", new Float64Array(PIXELS), [0, 1], "from grey");
  byId("pictures").replaceChildren(...figures, wanted);
  showExcitation(network, layer, neuron, wanted);
}

function pictureOf(title, values, range, text) {
  const figure = byId("layer").content.firstElementChild.cloneNode(true);
  figure.querySelector("figcaption b").textContent = title;
  figure.querySelector(".scale").remove();
  figure.querySelector(".fact").textContent = text;
  const canvas = figure.querySelector("canvas");
  canvas.ariaLabel = title;
  paintPixels(canvas, values, range);
  return figure;
}

function paintPixels(canvas, values, range) {
  paintCells(canvas, values, IMAGE.width, range);
}

// Gradient ascent on the pixels of a grey picture, a few steps per frame. The result depends on the
// network and the neuron alone, so it is kept.
const excitations = new Map();
let ascent = 0; // the number of the ascent that may still paint

function showExcitation(network, layer, neuron, figure) {
  const key = [network.variant, layer, neuron].join("/");
  const paint = ({ brightness, reading }) => {
    paintPixels(figure.querySelector("canvas"), brightness, [0, 1]);
    figure.querySelector(".fact").textContent = `its sum there: ${signed(reading.sums[layer][neuron])}`;
  };
  const own = ++ascent;
  if (excitations.has(key)) return paint(excitations.get(key));
  const state = { brightness: new Float64Array(PIXELS).fill(0.5), steps: 0 };
  const climb = () => {
    if (own !== ascent) return;
    state.reading ??= read(network, state.brightness);
    for (let i = 0; i < 4 && state.steps < STEPS; i++) ascend(network, layer, neuron, state);
    paint(state);
    if (state.steps < STEPS) requestAnimationFrame(climb);
    else excitations.set(key, state);
  };
  setTimeout(climb, 200); // not while the pen moves, and not for each neuron that the pointer crosses
}

// One step: the gradient is blurred by a pixel and scaled to 0.1 at most; brightness stays in [0, 1]
// and decays a little, so that pixels without influence become dark.
function ascend(network, layer, neuron, state) {
  const gradient = blurred(pixelGradient(network, state.reading, layer, neuron));
  const most = Math.max(...gradient.map(Math.abs)) || 1;
  state.brightness = state.brightness.map((b, i) =>
    Math.min(Math.max(0.97 * b + (0.1 * gradient[i]) / most, 0), 1),
  );
  state.reading = read(network, state.brightness);
  state.steps++;
}

function read(network, brightness) {
  return run(network, brightness.map((b) => (b - network.mean) / network.std));
}

// The blur of `smoothed_picture` in pipeline/figures/passes.py.
function blurred(values) {
  const kernel = [1, 4, 6, 4, 1];
  const along = (from, step, limit, place) =>
    from.map((_, at) =>
      kernel.reduce((sum, part, k) => {
        const shift = Math.min(Math.max(place(at) + k - 2, 0), limit - 1) - place(at);
        return sum + (part / 16) * from[at + shift * step];
      }, 0),
    );
  const { width, height } = IMAGE;
  const down = along(values, width, height, (at) => Math.floor(at / width));
  return along(down, 1, width, (at) => at % width);
}

// List what speaks for and against. Of the first layer, pictures show it better.
function showContributions(network, layer, { inputs, weights, products }) {
  const list = byId("contributions");
  list.hidden = layer === 1;
  if (layer === 1) return;
  const order = [...products.keys()].sort((a, b) => products[b] - products[a]);
  const most = Math.max(...products.map(Math.abs)) || 1;
  const part = (title, indices, sign) => {
    const total = products.reduce((sum, p) => sum + (p * sign > 0 ? p : 0), 0);
    const section = document.createElement("div");
    const heading = document.createElement("h3");
    heading.textContent = `${title}: ${signed(total)}`;
    const rows = document.createElement("ul");
    rows.append(
      ...indices
        .filter((index) => products[index] * sign > 0)
        .map((index) => {
          const row = document.createElement("li");
          const button = document.createElement("button");
          button.type = "button";
          button.textContent = `${layerName(network, layer - 1)}, ${index + 1}`;
          button.addEventListener("click", () => choose(layer - 1, index));
          const text = document.createElement("span");
          text.textContent = `${signed(inputs[index])} × ${signed(weights[index])} = ${signed(products[index])}`;
          const bar = document.createElement("i");
          bar.className = sign > 0 ? "for" : "against";
          bar.style.width = `${(100 * Math.abs(products[index])) / most}%`;
          row.append(button, text, bar);
          return row;
        }),
    );
    section.append(heading, rows);
    return section;
  };
  list.replaceChildren(
    part("For", order.slice(0, MOST), 1),
    part("Against", order.slice(-MOST).reverse(), -1),
  );
}

// Return the lines to what contributes most, from a neuron back to a pixel: three per layer, the
// strongest of which is followed.
function pathTo(network, reading, layer, neuron) {
  const lines = [];
  let [at, index] = [layer, neuron];
  while (at > 0) {
    const { products } = explainNeuron(network, reading, at, index);
    const best = [...products.keys()].sort((a, b) => products[b] - products[a]).slice(0, 3);
    best.forEach((from, rank) => lines.push({ layer: at, from, to: index, rank }));
    [at, index] = [at - 1, best[0]];
  }
  return lines;
}

function pathLines() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.id = "path";
  svg.ariaHidden = "true";
  return svg;
}

function drawPath(lines) {
  const frame = byId("layers").getBoundingClientRect();
  const figures = layerFigures();
  const center = (layer, index) => {
    const item = figures[layer].querySelectorAll("li")[index];
    const box = (item ?? figures[layer].querySelector("canvas")).getBoundingClientRect();
    if (item) return [box.left - frame.left + 8, box.top - frame.top + box.height / 2];
    const { columns, rows } = figures[layer].querySelector("canvas").dataset;
    return [
      box.left - frame.left + (((index % columns) + 0.5) * box.width) / columns,
      box.top - frame.top + ((Math.floor(index / columns) + 0.5) * box.height) / rows,
    ];
  };
  byId("path").replaceChildren(
    ...lines.map(({ layer, from, to, rank }) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      const [[x1, y1], [x2, y2]] = [center(layer - 1, from), center(layer, to)];
      for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) line.setAttribute(name, value);
      line.classList.toggle("strongest", rank === 0);
      return line;
    }),
  );
}

// ---- Start -----------------------------------------------------------------------------------

listenToPointers();
listenToKeys();
listenToFiles();
listenToExamples();
addEventListener("resize", () => showNeuron());
byId("clear").addEventListener("click", clear);
byId("undo").addEventListener("click", undo);
document.querySelector(".networks").addEventListener("change", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
update();

// For tests and the browser console: digits.probabilities("tiny", pixels) takes the 784 bytes that
// digits.centerDigit(grey, width, height) returns; digits.explain("tiny", pixels, 1, 0) says how the
// first neuron of the first layer reads them; digits.centered() returns the current image.
window.digits = {
  variants: networks.map((network) => network.variant),
  probabilities: (variant, pixels) =>
    forward(networks.find((network) => network.variant === variant), pixels).shares,
  explain: (variant, pixels, layer, neuron) => {
    const network = networks.find((each) => each.variant === variant);
    const reading = forward(network, pixels);
    const gradient = pixelGradient(network, reading, layer, neuron);
    return { ...explainNeuron(network, reading, layer, neuron), gradient };
  },
  centerDigit,
  centered: () => centered,
};

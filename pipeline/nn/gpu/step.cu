// A step of training in a few launches. docs/arithmetic.md specifies the order of every sum.
//
// `source.py` puts the sizes and the elementary functions before this text, and reads the two records
// below, which `engine.py` fills. Arrays of a layer have rows of `columns` floats: its number of neurons,
// rounded up to LANES, so that rows are aligned. What lies beyond the neurons is 0.

struct Layer {
  int n_in;
  int n_out;
  int columns;
  int activation;
  float* weight;    // (n_in + 1, columns); the last row is the bias
  float* gradient;  // the same, and the optimiser's moments:
  float* first;
  float* second;
  float* turned;    // (n_out, columns of the layer before): the weights transposed
  float* value;     // (rows, columns): outputs, of the last layer its pre-activations
  float* delta;     // (rows, columns): gradients in the pre-activations
  float* whole;     // (rows, columns): the outputs before dropout
};

struct Run {
  int layers;
  int through;      // the first layer that the kernel `through` computes
  int size;         // number of weights, with those that are always 0
  int softmax;      // whether the outputs are a softmax, else a sigmoid each
  int cross_entropy;
  int optimizer;    // SGD, MOMENTUM, NESTEROV or ADAM
  int begin;        // the index in the training order from which kernels count their `first`
  int step;         // likewise of the steps
  unsigned drop_limit;
  float drop_scale;
  float momentum;
  float l2;
  float clip_value;
  float on_target;
  float off_target;
  float old1;
  float new1;
  float old2;
  float new2;
  double clip_norm;
  const Layer* layer;           // (layers,)
  const float* weight;          // the layers' weights, one after the other
  const float* gradient;
  float* parts;                 // (tiles, size): gradients of tiles of images
  double* squares;              // (layers,)
  const unsigned char* images;  // (n, PIXELS) in summation order
  const unsigned char* labels;  // (n,)
  const float* table;           // (256,): the input of each level
  const long long* order;       // image numbers in training order, or null: as stored
  const unsigned* drops;        // (n, layers - 1, 2): `dropout.keys`, or null
  const float* rates;           // (steps, 3): see `change`
  float* costs;                 // one per image in training order
  unsigned char* hits;          // likewise
  float* probabilities;         // (n, classes), or null
};

struct Distortion {
  float xx;
  float xy;
  float yx;
  float yy;
  float x;
  float y;
  float bend_x;
  float bend_y;
  long long field_x;
  long long field_y;
};

__constant__ Run run;

constexpr int WARPS = 8, WARP = 32, THREADS = WARPS * WARP;

__device__ long long image_of(int index) {
  return run.order ? run.order[run.begin + index] : run.begin + index;
}

__device__ float activate(int kind, float x) {
  if (kind == RELU) return x < 0.f ? 0.f : x;  // NaN stays
  return kind == SIGMOID ? sigmoid_(x) : tanh_(x);
}

// The gradient in a pre-activation, from that in the activation y.
__device__ float backtrack(int kind, float y, float dy) {
  if (kind == RELU) return y > 0.f ? dy : 0.f;
  return kind == SIGMOID ? dy * y * (1.f - y) : dy * (1.f - y * y);
}

// Leave a neuron's output out, or scale it: see pipeline/nn/dropout.py.
__device__ float drop(float value, int layer, int index, int neuron) {
  const unsigned* words = run.drops + 2 * (image_of(index) * (run.layers - 1) + layer);
  unsigned h = unsigned(neuron) * GOLDEN ^ words[0];
  h = (h ^ h >> MIX0_SHIFT) * MIX0 + words[1];
  h = (h ^ h >> MIX1_SHIFT) * MIX1 + words[1];
  h ^= h >> LAST;
  return h < run.drop_limit ? 0.f : value * run.drop_scale;
}

// Store the output of a neuron, given its pre-activation without bias, and return it.
__device__ float settle(int number, int first, int row, int neuron, float sum, int trains) {
  const Layer& layer = run.layer[number];
  int at = row * layer.columns + neuron;
  float y = sum + layer.weight[layer.n_in * layer.columns + neuron];
  if (number < run.layers - 1) {
    y = activate(layer.activation, y);
    if (trains && run.drops) {
      layer.whole[at] = y;
      y = drop(y, number, first + row, neuron);
    }
  }
  layer.value[at] = y;
  return y;
}

// Store the delta of a hidden neuron, given the gradient in its output, and return it.
__device__ float settle_delta(int number, int first, int row, int neuron, float dy) {
  const Layer& layer = run.layer[number];
  int at = row * layer.columns + neuron;
  float y = layer.value[at];
  if (run.drops) {
    dy = drop(dy, number, first + row, neuron);
    y = layer.whole[at];
  }
  return layer.delta[at] = backtrack(layer.activation, y, dy);
}

// ---- Products of many images: blocks of SPAN images by SPAN neurons ------------------------------------

constexpr int SPAN = 16, PIECE = 28;  // a warp multiplies PIECE terms of a chain at a time

// Copy inputs k to k + PIECE of SPAN images: level by level, four in a word.
struct Pixels {
  const unsigned char* const* image;
  const float* table;
  __device__ void load(float (*x)[SPAN + 2], int k, int, int lane) const {
    for (int at = lane; at < SPAN * PIECE / 4; at += WARP) {
      int row = at / (PIECE / 4), four = at % (PIECE / 4) * 4;
      unsigned word = *reinterpret_cast<const unsigned*>(image[row] + k + four);
      for (int n = 0; n < 4; n++) x[four + n][row] = table[word >> 8 * n & 255];
    }
  }
};

// Copy elements k to k + size of SPAN rows of a matrix.
struct Rows {
  const float* matrix;
  int columns, top, count;
  __device__ void load(float (*x)[SPAN + 2], int k, int size, int lane) const {
    for (int at = lane; at < SPAN * PIECE; at += WARP) {
      int row = at / PIECE, term = at % PIECE;
      if (term < size) x[term][row] = matrix[min(top + row, count - 1) * columns + k + term];
    }
  }
};

struct Room {
  float4 y[WARPS][PIECE][SPAN / 4];
  float x[WARPS][PIECE][SPAN + 2];
  float sums[WARPS][SPAN][SPAN + 1];
};

// Return an element of A B: row threadIdx.x / SPAN of the rows that `a` loads, and column
// left + threadIdx.x % SPAN of B (terms, columns). Each warp takes a block of terms at a time.
template <class Terms>
__device__ float product(Room& room, const Terms& a, const float* b, int terms, int columns, int left) {
  int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, row = lane / 4 * 2, four = lane % 4;
  int blocks = (terms + BLOCK - 1) / BLOCK;
  float total = 0.f;
  for (int done = 0; done < blocks; done += WARPS) {
    int stop = min((done + warp + 1) * BLOCK, terms);
    float chain[2][4] = {};
    for (int k = (done + warp) * BLOCK; k < stop; k += PIECE) {
      int size = min(PIECE, stop - k);
      a.load(room.x[warp], k, size, lane);
      for (int at = lane; at < size * (SPAN / 4); at += WARP)
        room.y[warp][at / 4][at % 4] =
             *reinterpret_cast<const float4*>(b + (k + at / 4) * columns + left + at % 4 * 4);
      __syncwarp();
#pragma unroll 4
      for (int term = 0; term < size; term++) {
        float4 w = room.y[warp][term][four];
        for (int n = 0; n < 2; n++) {
          float v = room.x[warp][term][row + n];
          chain[n][0] = __fmaf_rn(v, w.x, chain[n][0]);
          chain[n][1] = __fmaf_rn(v, w.y, chain[n][1]);
          chain[n][2] = __fmaf_rn(v, w.z, chain[n][2]);
          chain[n][3] = __fmaf_rn(v, w.w, chain[n][3]);
        }
      }
      __syncwarp();
    }
    for (int n = 0; n < 2; n++)
      for (int m = 0; m < 4; m++) room.sums[warp][row + n][four * 4 + m] = chain[n][m];
    __syncthreads();
    for (int n = 0; n < min(WARPS, blocks - done); n++)
      total += room.sums[n][threadIdx.x / SPAN][threadIdx.x % SPAN];
    __syncthreads();
  }
  return total;
}

// The outputs of a layer for `count` images. Grid: (columns / SPAN, images / SPAN).
extern "C" __global__ void __launch_bounds__(THREADS) forward(int number, int first, int count, int trains) {
  __shared__ Room room;
  __shared__ const unsigned char* image[SPAN];
  __shared__ float table[256];
  const Layer& layer = run.layer[number];
  int left = blockIdx.x * SPAN, top = blockIdx.y * SPAN;
  int row = top + threadIdx.x / SPAN, neuron = left + threadIdx.x % SPAN;
  float sum;
  if (number == 0) {
    if (threadIdx.x < SPAN)
      image[threadIdx.x] = run.images + image_of(first + min(top + int(threadIdx.x), count - 1)) * PIXELS;
    table[threadIdx.x] = run.table[threadIdx.x];
    __syncthreads();
    sum = product(room, Pixels{image, table}, layer.weight, PIXELS, layer.columns, left);
  } else {
    const Layer& before = run.layer[number - 1];
    sum = product(room, Rows{before.value, before.columns, top, count}, layer.weight, layer.n_in, layer.columns, left);
  }
  if (row < count && neuron < layer.n_out) settle(number, first, row, neuron, sum, trains);
}

// The deltas of the layer before this one. Grid: (columns of that layer / SPAN, images / SPAN).
extern "C" __global__ void __launch_bounds__(THREADS) backward(int number, int first, int count) {
  __shared__ Room room;
  const Layer& layer = run.layer[number];
  const Layer& before = run.layer[number - 1];
  int left = blockIdx.x * SPAN, top = blockIdx.y * SPAN;
  int row = top + threadIdx.x / SPAN, neuron = left + threadIdx.x % SPAN;
  float sum = product(room, Rows{layer.delta, layer.columns, top, count}, layer.turned, layer.n_out, before.columns, left);
  if (row < count && neuron < before.n_out) settle_delta(number - 1, first, row, neuron, sum);
}

// ---- From layer `through` to the loss and back: a block takes FEW images -------------------------------

constexpr int FEW = 4;

__device__ float& part(float4& four, int n) { return reinterpret_cast<float*>(&four)[n]; }

// Compute y = x times a matrix (terms, columns), for FEW images, by all threads of a block. Each thread
// computes the chains of a column in a block of terms. x: (terms,); y: (columns,); chains: (WIDEST,).
__device__ void multiply(const float4* x, const float* matrix, int terms, int columns, float4* chains, float4* y) {
  int blocks = (terms + BLOCK - 1) / BLOCK, together = min(WIDEST / columns, blocks);
  for (int done = 0; done < blocks; done += together) {
    int some = min(together, blocks - done);
    for (int at = threadIdx.x; at < some * columns; at += WIDEST) {
      int start = (done + at / columns) * BLOCK, size = min(BLOCK, terms - start);
      const float* column = matrix + start * columns + at % columns;
      float4 chain = {0.f, 0.f, 0.f, 0.f};
#pragma unroll 16
      for (int k = 0; k < size; k++) {
        float w = column[k * columns];
        float4 v = x[start + k];
        chain.x = __fmaf_rn(v.x, w, chain.x);
        chain.y = __fmaf_rn(v.y, w, chain.y);
        chain.z = __fmaf_rn(v.z, w, chain.z);
        chain.w = __fmaf_rn(v.w, w, chain.w);
      }
      chains[at] = chain;
    }
    __syncthreads();
    for (int at = threadIdx.x; at < columns; at += WIDEST) {
      float4 total = done ? y[at] : float4{0.f, 0.f, 0.f, 0.f};
      for (int n = 0; n < some; n++) {
        float4 chain = chains[n * columns + at];
        total.x += chain.x; total.y += chain.y; total.z += chain.z; total.w += chain.w;
      }
      y[at] = total;
    }
    __syncthreads();
  }
}

// The cost, hit and probabilities of an image, and the gradient of the loss to its deltas.
// z, d: (classes,), pre-activations of the output layer and its deltas; of each float4, component n.
__device__ void loss(float4* z, float4* d, int n, int index, int batch) {
  int classes = run.layer[run.layers - 1].n_out, best = 0, label = run.labels[image_of(index)];
  float total = 0.f, share = 1.f / float(batch);
  for (int j = 1; j < classes; j++) best = part(z[j], n) > part(z[best], n) ? j : best;
  float most = part(z[best], n);
  for (int j = 0; j < classes; j++) {
    float x = part(z[j], n);
    total += part(d[j], n) = run.softmax ? exp_(x - most) : sigmoid_(x);
  }
  if (run.softmax)
    for (int j = 0; j < classes; j++) part(d[j], n) /= total;
  if (run.probabilities)
    for (int j = 0; j < classes; j++) {
      float y = part(d[j], n);  // sigmoid outputs are independent of each other
      if (!run.softmax) y = total == 0.f ? 1.f / float(classes) : y / total;
      run.probabilities[(long long)(run.begin + index) * classes + j] = y;
    }
  float cost = 0.f;
  if (run.cross_entropy) {
    cost = log_(total) - (part(z[label], n) - most);
    part(d[label], n) -= run.on_target;
    for (int j = 0; j < classes; j++) part(d[j], n) = (part(d[j], n) - run.off_target) * share;
  } else {
    float inner = 0.f, scale = 2.f / float(classes) * share;
    for (int j = 0; j < classes; j++) {
      float y = part(d[j], n), off = y - float(j == label);
      cost += off * off;
      inner += off * scale * y;
    }
    for (int j = 0; j < classes; j++) {
      float y = part(d[j], n), dy = (y - float(j == label)) * scale;
      part(d[j], n) = run.softmax ? y * (dy - inner) : dy * y * (1.f - y);
    }
    cost /= float(classes);
  }
  run.costs[run.begin + index] = cost;
  run.hits[run.begin + index] = best == label;
}

// Grid: images / FEW. batch: number of images in the whole batch.
extern "C" __global__ void __launch_bounds__(WIDEST) through(int first, int count, int batch, int trains) {
  __shared__ float4 one[WIDEST], other[WIDEST], chains[WIDEST];
  float4 *x = one, *y = other;
  int top = blockIdx.x * FEW, rows = min(FEW, count - top), last = run.layers - 1;
  const Layer& begin = run.layer[run.through - 1];
  for (int k = threadIdx.x; k < begin.n_out; k += WIDEST)
    for (int n = 0; n < FEW; n++) part(x[k], n) = begin.value[(top + min(n, rows - 1)) * begin.columns + k];
  __syncthreads();
  for (int number = run.through; number <= last; number++) {
    const Layer& layer = run.layer[number];
    multiply(x, layer.weight, layer.n_in, layer.columns, chains, y);
    for (int j = threadIdx.x; j < layer.n_out; j += WIDEST)
      for (int n = 0; n < rows; n++) part(x[j], n) = settle(number, first, top + n, j, part(y[j], n), trains);
    __syncthreads();
  }
  if (threadIdx.x < rows) loss(x, y, threadIdx.x, first + top + threadIdx.x, batch);
  if (!trains) return;
  __syncthreads();
  const Layer& end = run.layer[last];
  for (int j = threadIdx.x; j < end.n_out; j += WIDEST)
    for (int n = 0; n < rows; n++) end.delta[(top + n) * end.columns + j] = part(y[j], n);
  for (int number = last; number >= run.through; number--) {
    const Layer& layer = run.layer[number];
    const Layer& before = run.layer[number - 1];
    multiply(y, layer.turned, layer.n_out, before.columns, chains, x);
    for (int j = threadIdx.x; j < before.n_out; j += WIDEST)
      for (int n = 0; n < rows; n++) part(y[j], n) = settle_delta(number - 1, first, top + n, j, part(x[j], n));
    __syncthreads();
  }
}

// ---- Gradients and updates: blocks of DOWN inputs by ACROSS neurons ------------------------------------

constexpr int DOWN = 32, ACROSS = 64, STAGE = 32;  // STAGE images are in shared memory at a time

__device__ int blocks_of(const Layer& layer) {
  return (layer.n_in + DOWN) / DOWN * ((layer.columns + ACROSS - 1) / ACROSS);
}

__device__ float clipped(float gradient, float limit) {
  gradient = gradient > limit ? limit : gradient;
  return gradient < -limit ? -limit : gradient;
}

// Update a weight, its moments and its transpose, by its clipped gradient times `factor`.
__device__ void change(const Layer& layer, int number, int row, int column, float gradient, float factor, int step) {
  const float* rates = run.rates + 3 * (run.step + step);  // rate, root and kept of docs/arithmetic.md
  int at = row * layer.columns + column;
  bool is_bias = row == layer.n_in;
  float weight = layer.weight[at];
  float pulled = clipped(gradient, run.clip_value) * factor + (is_bias ? 0.f : run.l2) * weight;
  if (run.optimizer == ADAM) {
    float mean = layer.first[at] = layer.first[at] * run.old1 + pulled * run.new1;
    float square = layer.second[at] = layer.second[at] * run.old2 + pulled * pulled * run.new2;
    float size = sqrtf(square) * rates[1] + EPSILON;
    weight = weight * (is_bias ? 1.f : rates[2]) - rates[0] * mean / size;
  } else {
    float step_by = pulled;
    if (run.optimizer != SGD) step_by = layer.first[at] = run.momentum * layer.first[at] + pulled;
    if (run.optimizer == NESTEROV) step_by = run.momentum * step_by + pulled;
    weight = weight - rates[0] * step_by;
  }
  layer.weight[at] = weight;
  if (number > 0 && !is_bias) layer.turned[column * run.layer[number - 1].columns + row] = weight;
}

// The gradients of all weights from `count` images, tile by tile. Grid: (blocks of all layers, 1), or with
// SPREADS a tile per row of the grid; each then writes its own to `parts`. AGAIN: whether the batch had
// earlier images, whose gradients are added to. CHANGES: whether to update the weights. KEEPS: whether the
// gradients are needed afterwards.
extern "C" __global__ void __launch_bounds__(THREADS) weights(int first, int count, int step, int flags) {
  __shared__ float x[STAGE][DOWN];
  __shared__ float4 d[STAGE][ACROSS / 4];
  int number = 0, block = blockIdx.x;
  while (block >= blocks_of(run.layer[number])) block -= blocks_of(run.layer[number++]);
  const Layer& layer = run.layer[number];
  int across = (layer.columns + ACROSS - 1) / ACROSS, top = block / across * DOWN, left = block % across * ACROSS;
  int row = threadIdx.x / (ACROSS / 4) * 2, four = threadIdx.x % (ACROSS / 4);
  int begin = 0, end = count;
  if (flags & SPREADS) {
    begin = blockIdx.y * TILE;
    end = min(begin + TILE, count);
  }
  float total[2][4] = {};
  bool inside[2][4];
  for (int n = 0; n < 2; n++)
    for (int m = 0; m < 4; m++) {
      inside[n][m] = top + row + n <= layer.n_in && left + four * 4 + m < layer.n_out;
      if (flags & AGAIN && !(flags & SPREADS) && inside[n][m])
        total[n][m] = layer.gradient[(top + row + n) * layer.columns + left + four * 4 + m];
    }
  for (int tile = begin; tile < end; tile += TILE) {
    float chain[2][4] = {};
    for (int start = tile; start < min(tile + TILE, end); start += STAGE) {
      int size = min(STAGE, end - start);
      for (int at = threadIdx.x; at < STAGE * DOWN / 4; at += THREADS) {
        int m = at / (DOWN / 4), k = top + at % (DOWN / 4) * 4;
        if (m >= size) continue;
        float* to = &x[m][k - top];
        for (int n = 0; n < 4; n++) to[n] = k + n == layer.n_in;  // the bias has inputs of 1
        if (number > 0) {
          const Layer& before = run.layer[number - 1];
          const float* from = before.value + (start + m) * before.columns + k;
          for (int n = 0; n < 4 && k + n < layer.n_in; n++) to[n] = from[n];
        } else if (k < PIXELS) {
          unsigned word = *reinterpret_cast<const unsigned*>(run.images + image_of(first + start + m) * PIXELS + k);
          for (int n = 0; n < 4; n++) to[n] = run.table[word >> 8 * n & 255];
        }
      }
      for (int at = threadIdx.x; at < STAGE * ACROSS / 4; at += THREADS) {
        int m = at / (ACROSS / 4), j = left + at % (ACROSS / 4) * 4;
        if (m < size && j < layer.columns)
          d[m][at % (ACROSS / 4)] = *reinterpret_cast<const float4*>(layer.delta + (start + m) * layer.columns + j);
      }
      __syncthreads();
#pragma unroll 4
      for (int m = 0; m < size; m++) {
        float4 delta = d[m][four];
        for (int n = 0; n < 2; n++) {
          float v = x[m][row + n];
          chain[n][0] = __fmaf_rn(v, delta.x, chain[n][0]);
          chain[n][1] = __fmaf_rn(v, delta.y, chain[n][1]);
          chain[n][2] = __fmaf_rn(v, delta.z, chain[n][2]);
          chain[n][3] = __fmaf_rn(v, delta.w, chain[n][3]);
        }
      }
      __syncthreads();
    }
    for (int n = 0; n < 2; n++)
      for (int m = 0; m < 4; m++) total[n][m] += chain[n][m];
  }
  for (int n = 0; n < 2; n++)
    for (int m = 0; m < 4; m++) {
      if (!inside[n][m]) continue;
      int i = top + row + n, j = left + four * 4 + m, at = i * layer.columns + j;
      if (flags & SPREADS)
        run.parts[(long long)blockIdx.y * run.size + (layer.weight - run.weight) + at] = total[n][m];
      if (flags & KEEPS) layer.gradient[at] = total[n][m];
      if (flags & CHANGES) change(layer, number, i, j, total[n][m], 1.f, step);
    }
}

// Add the gradients of `tiles` tiles in `parts`, and with CHANGES update the weights. SCALES: by clip_norm.
// Grid: size / THREADS.
extern "C" __global__ void __launch_bounds__(THREADS) update(int tiles, int step, int flags) {
  __shared__ float factor;
  int at = blockIdx.x * THREADS + threadIdx.x, number = 0;
  if (threadIdx.x == 0) {
    double total = 0.;
    if (flags & SCALES)
      for (int n = 0; n < run.layers; n++) total += run.squares[n];
    double size = sqrt(total);
    factor = size > run.clip_norm ? float(run.clip_norm / size) : 1.f;
  }
  __syncthreads();
  if (at >= run.size) return;
  while (number + 1 < run.layers && at >= run.layer[number + 1].weight - run.weight) number++;
  const Layer& layer = run.layer[number];
  int own = at - int(layer.weight - run.weight), row = own / layer.columns, column = own % layer.columns;
  if (column >= layer.n_out) return;
  float total = flags & AGAIN ? layer.gradient[own] : 0.f;
  for (int tile = 0; tile < tiles; tile++) total += run.parts[(long long)tile * run.size + at];
  layer.gradient[own] = total;
  if (flags & CHANGES) change(layer, number, row, column, total, flags & SCALES ? factor : 1.f, step);
}

// Sum the squares of a layer's weights or gradients. for_clipping: clipped, with those of the biases.
// Grid: layers.
extern "C" __global__ void __launch_bounds__(THREADS) squared(int of_weights, int for_clipping) {
  __shared__ double squares[THREADS * LANES];
  __shared__ double sums[LANES];
  const Layer& layer = run.layer[blockIdx.x];
  const float* matrix = of_weights ? layer.weight : layer.gradient;
  int size = (layer.n_in + for_clipping) * layer.columns;
  double sum = 0.;
  for (int start = 0; start < size; start += THREADS * LANES) {
    int some = min(THREADS * LANES, size - start);
    for (int at = threadIdx.x; at < some; at += THREADS) {
      double value = for_clipping ? clipped(matrix[start + at], run.clip_value) : matrix[start + at];
      squares[at] = value * value;
    }
    __syncthreads();
    if (threadIdx.x < LANES)
      for (int at = threadIdx.x; at < some; at += LANES) sum += squares[at];
    __syncthreads();
  }
  if (threadIdx.x < LANES) sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  double total = 0.;
  for (int lane = 0; lane < LANES; lane++) total += sums[lane];
  run.squares[blockIdx.x] = total;
}

// ---- Distortions: an image per block, as in pipeline/datasets/augment.py --------------------------------

extern "C" __global__ void __launch_bounds__(THREADS) distort(
    const unsigned char* images, const Distortion* drawn, const float* fields, unsigned char* distorted) {
  constexpr int SIDE = HEIGHT + 2 * MARGIN;
  __shared__ unsigned char padded[SIDE * SIDE];
  const unsigned char* image = images + (long long)blockIdx.x * PIXELS;
  const Distortion& own = drawn[blockIdx.x];
  for (int at = threadIdx.x; at < SIDE * SIDE; at += THREADS) padded[at] = 0;
  __syncthreads();
  for (int k = threadIdx.x; k < PIXELS; k += THREADS) {
    int patch = k / GROUP, y = patch / (WIDTH / 2) * 2 + k / 2 % 2, x = patch % (WIDTH / 2) * 2 + k % 2;
    padded[(y + MARGIN) * SIDE + x + MARGIN] = image[k];
  }
  __syncthreads();
  for (int k = threadIdx.x; k < PIXELS; k += THREADS) {
    int patch = k / GROUP, y = patch / (WIDTH / 2) * 2 + k / 2 % 2, x = patch % (WIDTH / 2) * 2 + k % 2;
    float from_x = float(x) - CENTRE, from_y = float(y) - CENTRE;
    float place[2] = {own.xx * from_x + own.xy * from_y, own.yx * from_x + own.yy * from_y};
    place[0] = place[0] + own.bend_x * fields[own.field_x * PIXELS + y * WIDTH + x];
    place[1] = place[1] + own.bend_y * fields[own.field_y * PIXELS + y * WIDTH + x];
    place[0] = place[0] + own.x + float(MARGIN);
    place[1] = place[1] + own.y + float(MARGIN);
    int whole[2];
    for (int n = 0; n < 2; n++) {
      place[n] = place[n] < 0.f ? 0.f : place[n];
      place[n] = place[n] > SIDE - 2.f ? SIDE - 2.f : place[n];
      whole[n] = int(place[n]);
      place[n] = place[n] - float(whole[n]);
    }
    float blended[2];
    for (int n = 0; n < 2; n++) {
      const unsigned char* at = padded + (whole[1] + n) * SIDE + whole[0];
      blended[n] = float(at[0]) * (1.f - place[0]) + float(at[1]) * place[0];
    }
    float level = blended[0] * (1.f - place[1]) + blended[1] * place[1] + 0.5f;
    distorted[(long long)blockIdx.x * PIXELS + k] = (unsigned char)int(level);
  }
}

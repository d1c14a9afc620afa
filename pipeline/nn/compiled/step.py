"""A step of training as pieces that threads share: first layer, rows, weights.

Each function does one piece of work and is compiled separately, so its result does not depend on
the caller. The functions follow `network`, `losses`, `gradients` and `optimizers`;
`docs/arithmetic.md` specifies the order of every sum. Arrays are passed as addresses.
"""

import numpy as np
from numba import cfunc, njit, types

from pipeline.nn.compiled.kernels import (
    ROWS,
    activate,
    adam,
    apply,
    backtrack,
    dense,
    dense_row,
    end_block,
    group_backward,
    group_forward,
    sgd,
    squares,
)
from pipeline.nn.compiled.records import (
    BLOCK,
    CHAIN_STRIDE,
    GROUP,
    GROUPS,
    LANES,
    LAYER,
    PANEL,
    PIECE,
    PIXELS,
    RUN,
    SLOT,
    TILE,
)
from pipeline.nn.compiled.vectors import (
    bytes_at,
    call,
    doubles,
    floats,
    integers,
    record,
    words_at,
)

run_of, layer_of, slot_of, piece_of = map(record, (RUN, LAYER, SLOT, PIECE))
LAYER_BYTES, SLOT_BYTES, PIECE_BYTES = LAYER.itemsize, SLOT.itemsize, PIECE.itemsize
f32 = np.float32
_NONE, _SOFTMAX, _CROSS_ENTROPY, _SGD = 4, 5, 1, 1  # numbers in `records`
_EXP, _LOG, _SIGMOID = 1, 2, 4  # numbers in `kernels.FUNCTIONS`
_call11 = call(11)


def compiled(arguments):
    """Compile a function of so many integers separately, to be called by its address."""
    return cfunc(types.void(*[types.intp] * arguments), error_model="numpy")


@compiled(11)
def product(a, a_row, a_k, b, b_k, c, c_row, rows, vectors, count, add):
    """Compute C = A B, or C + A B if `add`, as chains over `count` terms.

    Shapes: A (rows, count), B (count, vectors), C (rows, vectors). a_row, a_k, b_k, c_row: strides.
    """
    panels = (vectors + PANEL - 1) // PANEL
    for panel in range(panels):
        first = vectors * panel // panels
        width = vectors * (panel + 1) // panels - first
        together = ROWS[width - 1]
        b_at, c_at = b + 4 * LANES * first, c + 4 * LANES * first
        row = 0
        while row + together <= rows:
            a_at = a + 4 * row * a_row
            dense(width, a_at, a_row, a_k, b_at, b_k, c_at + 4 * row * c_row, c_row, count, add)
            row += together
        while row < rows:
            a_at = a + 4 * row * a_row
            dense_row(width, a_at, a_row, a_k, b_at, b_k, c_at + 4 * row * c_row, c_row, count, add)
            row += 1


@compiled(6)
def first_layer(run_at, slot_at, rows, out, chains, panel):
    """Multiply the images of a tile (rows, PIXELS) by a panel of the first layer's weights.

    out: (rows, stride), the pre-activations without bias. chains: (TILE, CHAIN_STRIDE), scratch.
    """
    run, slot = run_of(run_at), slot_of(slot_at)
    layer = layer_of(run.layers_at)
    panels, stride = (layer.vectors + PANEL - 1) // PANEL, layer.stride
    first = layer.vectors * panel // panels
    width = layer.vectors * (panel + 1) // panels - first
    weight, out = layer.weight_at + 4 * LANES * first, out + 4 * LANES * first
    starts = integers(slot.starts_at)
    per_block = BLOCK // GROUP
    for block in range(PIXELS // BLOCK):
        if run.sparse == 0:
            _call11(
                run.product_at, slot.inputs_at + 4 * BLOCK * block, PIXELS, 1,
                weight + 4 * BLOCK * block * stride, stride, out, stride, rows, width, BLOCK, block,
            )  # fmt: skip
            continue
        for group in range(block * per_block, (block + 1) * per_block):
            start = starts[group]
            group_forward(
                width, slot.rows_at + start, slot.words_at + 4 * start,
                starts[group + 1] - start - 1, run.table_at, weight + 4 * GROUP * group * stride,
                stride, chains, CHAIN_STRIDE,
            )  # fmt: skip
        end_block(width, chains, CHAIN_STRIDE, out, stride, rows, block)


@njit(error_model="numpy")
def loss(run, layer, z, d, label, share, number):
    """Write an image's cost, hit and probabilities, and the gradient of the loss to its delta.

    z, d: (classes,), pre-activations of the output layer with their bias, and its deltas. share:
    1 / number of images in the batch. number: the image's index among the costs.
    """
    classes, vectors = run.classes, layer.vectors
    logits, delta = floats(z), floats(d)
    best = 0
    for j in range(1, classes):
        best = j if logits[j] > logits[best] else best
    total = f32(0)
    if layer.activation == _SOFTMAX:
        apply(_EXP, z, logits[best], d, vectors)
        for j in range(classes):
            total += delta[j]
        for j in range(classes):
            delta[j] /= total
    else:
        apply(_SIGMOID, z, f32(0), d, vectors)
        for j in range(classes):
            total += delta[j]
    if run.probabilities_at:
        shares = floats(run.probabilities_at + 4 * number * classes)
        for j in range(classes):
            shares[j] = delta[j]
            if layer.activation != _SOFTMAX:  # each output is independent of the others
                shares[j] = f32(1) / f32(classes) if total == f32(0) else delta[j] / total
    if run.loss == _CROSS_ENTROPY:
        floats(run.costs_at)[number] = total  # `finish` takes the logarithms of all
        floats(run.margins_at)[number] = logits[label] - logits[best]
        delta[label] -= f32(1)
        for j in range(classes):
            delta[j] *= share
    else:
        cost, inner = f32(0), f32(0)
        scale = f32(2) / f32(classes) * share
        for j in range(classes):
            off = delta[j] - f32(j == label)
            cost += off * off
            inner += off * scale * delta[j]
        for j in range(classes):
            y = delta[j]
            dy = (y - f32(j == label)) * scale
            delta[j] = y * (dy - inner) if layer.activation == _SOFTMAX else dy * y * (f32(1) - y)
        floats(run.costs_at)[number] = cost / f32(classes)
    for j in range(classes, LANES * vectors):
        delta[j] = f32(0)
    bytes_at(run.hits_at)[number] = best == label


@compiled(7)
def rows(run_at, labels_at, place, count, batch, number, back):
    """Compute the costs of `count` images from the first product on and, with `back`, all deltas.

    place: their first row in the layers' values and deltas (images, stride). batch: number of
    images in the whole batch. number: index of the first image among the costs.
    """
    run = run_of(run_at)
    last = run.layers - 1
    for at in range(run.layers):
        layer = layer_of(run.layers_at + at * LAYER_BYTES)
        stride = layer.stride
        values = layer.value_at + 4 * place * stride
        if at:
            before = layer_of(run.layers_at + (at - 1) * LAYER_BYTES)
            a = before.value_at + 4 * place * before.stride
            for k in range(0, layer.n_in, BLOCK):
                _call11(
                    run.product_at, a + 4 * k, before.stride, 1, layer.weight_at + 4 * k * stride,
                    stride, values, stride, count, layer.vectors, min(BLOCK, layer.n_in - k), k,
                )  # fmt: skip
        bias = layer.weight_at + 4 * layer.n_in * stride
        kind = _NONE if at == last else layer.activation
        activate(kind, values, stride, bias, count, layer.vectors)
    layer = layer_of(run.layers_at + last * LAYER_BYTES)
    labels, share = bytes_at(labels_at), f32(1) / f32(batch)
    for m in range(count):
        row = 4 * (place + m) * layer.stride
        label = np.int64(labels[m])
        loss(run, layer, layer.value_at + row, layer.delta_at + row, label, share, number + m)
    if back == 0:
        return
    for at in range(last, 0, -1):
        layer = layer_of(run.layers_at + at * LAYER_BYTES)
        before = layer_of(run.layers_at + (at - 1) * LAYER_BYTES)
        d = layer.delta_at + 4 * place * layer.stride
        deltas = before.delta_at + 4 * place * before.stride
        for k in range(0, layer.n_out, BLOCK):
            _call11(
                run.product_at, d + 4 * k, layer.stride, 1,
                layer.turned_at + 4 * k * layer.turned_stride, layer.turned_stride, deltas,
                before.stride, count, before.vectors, min(BLOCK, layer.n_out - k), k,
            )  # fmt: skip
        values = before.value_at + 4 * place * before.stride
        backtrack(before.activation, values, deltas, before.stride, count, before.vectors)


@njit(error_model="numpy")
def pixels_gradient(run, layer, slot, piece, deltas, gradient, g_stride, add):
    """Compute a tile's contribution to the gradient of a piece's groups of pixels, or add it.

    deltas: (images, vectors). gradient: (rows of the piece, vectors), row stride g_stride.
    """
    starts = integers(slot.starts_at)
    for group in range(piece.start // GROUP, piece.stop // GROUP):
        start = starts[group]
        count = starts[group + 1] - start - 1
        if count or not add:
            group_backward(
                piece.width, slot.rows_at + start, slot.words_at + 4 * start, count, run.table_at,
                deltas, layer.stride, gradient, g_stride, add,
            )  # fmt: skip
        gradient += 4 * GROUP * g_stride


@njit(error_model="numpy")
def change(run, layer, piece, gradient, g_stride, factor):
    """Update a piece of a layer's weights, and their transpose, by its gradient times `factor`.

    gradient: (rows of the piece, vectors), row stride g_stride.
    """
    rate, scale = run.lr, f32(1)
    if run.optimizer != _SGD:
        rate, scale = run.lr / (1 - run.beta1_power), f32(1 - run.beta2_power)
    l2 = run.l2 if piece.start < layer.n_in else f32(0)
    for row in range(piece.start, piece.stop):
        start = 4 * (row * layer.stride + LANES * piece.first)
        w, g = layer.weight_at + start, gradient + 4 * (row - piece.start) * g_stride
        v = layer.first_at + start if layer.first_at else 0
        if run.optimizer == _SGD:
            sgd(piece.width, w, g, v, f32(rate), run.momentum, l2, run.clip_value, factor)
        else:
            s = layer.second_at + start
            adam(piece.width, w, g, v, s, f32(rate), scale, l2, run.clip_value, factor)
    if layer.turned_at and piece.start < layer.n_in:
        first = LANES * piece.first
        for j in range(first, min(first + LANES * piece.width, layer.n_out)):
            column = layer.weight_at + 4 * (piece.start * layer.stride + j)
            turned = floats(layer.turned_at + 4 * (j * layer.turned_stride + piece.start))
            for k in range(piece.stop - piece.start):
                turned[k] = floats(column + 4 * k * layer.stride)[0]


@njit(error_model="numpy")
def gradient_of(layer, piece):
    """Return the address of a piece's part of the layer's gradient."""
    return layer.gradient_at + 4 * (piece.start * layer.stride + LANES * piece.first)


@compiled(8)
def weights(run_at, number, slot_at, count, again, ends, keep, room):
    """Compute the gradient of a piece of the weights from a round's images, or add it.

    number: the piece's. slot_at: the first tile of the round. count: images in the round. again:
    nonzero if the batch had earlier rounds. ends: whether this round is its last; if so, the
    weights are updated, unless clip_norm needs the norm of all gradients first. keep: whether the
    gradient is needed afterwards. room: this thread's scratch memory.
    """
    run = run_of(run_at)
    piece = piece_of(run.pieces_at + number * PIECE_BYTES)
    layer = layer_of(run.layers_at + piece.layer * LAYER_BYTES)
    stride, size, column = layer.stride, piece.stop - piece.start, 4 * LANES * piece.first
    gradient, g_stride = gradient_of(layer, piece), stride
    if keep == 0:  # a gradient that is not read again stays in this core's cache
        gradient, g_stride = room + 8 * LANES, PANEL * LANES
    for first in range(0, count, TILE):
        slot, images = slot_of(slot_at + first // TILE * SLOT_BYTES), min(TILE, count - first)
        deltas, add = layer.delta_at + 4 * first * stride + column, again + first
        if piece.start == layer.n_in:  # the inputs of biases are 1
            a, a_row, a_k = run.one_at, 0, 0
        elif piece.layer:
            before = layer_of(run.layers_at + (piece.layer - 1) * LAYER_BYTES)
            a_row, a_k = 1, before.stride
            a = before.value_at + 4 * (first * before.stride + piece.start)
        elif run.sparse:
            pixels_gradient(run, layer, slot, piece, deltas, gradient, g_stride, add)
            continue
        else:
            a, a_row, a_k = slot.inputs_at + 4 * piece.start, 1, PIXELS
        _call11(
            run.product_at, a, a_row, a_k, deltas, stride, gradient, g_stride, size, piece.width,
            images, add,
        )  # fmt: skip
    if ends and run.clips_norm == 0:
        change(run, layer, piece, gradient, g_stride, f32(1))


@compiled(3)
def squared(run_at, number, room):
    """Write the sum of the squares of a layer's gradients, each clipped to clip_value."""
    run, sums, total = run_of(run_at), doubles(room), 0.0
    layer = layer_of(run.layers_at + number * LAYER_BYTES)
    vectors = (layer.n_in + 1) * layer.stride // LANES
    squares(vectors, layer.gradient_at, run.clip_value, room)
    for lane in range(LANES):
        total += sums[lane]
    doubles(run.squares_at)[number] = total


@compiled(3)
def scaled(run_at, number, factor_at):
    """Update a piece of the weights by its gradient times the float32 at `factor_at`."""
    run = run_of(run_at)
    piece = piece_of(run.pieces_at + number * PIECE_BYTES)
    layer = layer_of(run.layers_at + piece.layer * LAYER_BYTES)
    change(run, layer, piece, gradient_of(layer, piece), layer.stride, floats(factor_at)[0])


@compiled(4)
def fill(run_at, slot_at, first, count):
    """Prepare a tile: its lists or inputs, and its labels, for `count` images.

    first: index in the training order of the tile's first image.
    """
    run, slot = run_of(run_at), slot_of(slot_at)
    order, labels, own = integers(run.order_at), bytes_at(run.labels_at), bytes_at(slot.labels_at)
    table, zero, starts = floats(run.table_at), np.uint32(run.zero), integers(slot.starts_at)
    if run.sparse:
        for group in range(GROUPS + 1):
            starts[group] = 0
    for m in range(count):
        number = order[first + m] if run.order_at else first + m
        own[m] = labels[number]
        if run.sparse:
            words = words_at(run.images_at + PIXELS * number)
            for group in range(GROUPS):
                starts[group] += np.int64(words[group] != zero)
        else:
            levels = bytes_at(run.images_at + PIXELS * number)
            inputs = floats(slot.inputs_at + 4 * PIXELS * m)
            for k in range(PIXELS):
                inputs[k] = table[levels[k]]
    if run.sparse == 0:
        return
    end = 0
    for group in range(GROUPS + 1):
        size = starts[group] + 1
        starts[group] = end
        end += size
    rows_at, words_of = bytes_at(slot.rows_at), words_at(slot.words_at)
    for m in range(count):
        number = order[first + m] if run.order_at else first + m
        words = words_at(run.images_at + PIXELS * number)
        for group in range(GROUPS):  # the next entry overwrites a patch that is all 0
            at = starts[group]
            rows_at[at] = np.uint8(m)
            words_of[at] = words[group]
            starts[group] = at + np.int64(words[group] != zero)
    for group in range(GROUPS, 0, -1):
        starts[group] = starts[group - 1] + 1
    starts[0] = 0


COMPILED = (product, first_layer, rows, weights, squared, scaled, fill)
"""The functions whose addresses a RUN record holds."""

"""A step of training as pieces that threads share: first layer, rows, weights.

Each function does one piece of work and is compiled separately, so its result does not depend on
the caller. The functions follow `network`, `losses`, `gradients` and `optimizers`;
`docs/arithmetic.md` specifies the order of every sum. Arrays are passed as addresses.
"""

import math

import numpy as np
from numba import cfunc, njit, types

from pipeline.datasets.augment import DISTORTION, MARGIN
from pipeline.datasets.images import PIXELS, WIDTH
from pipeline.nn.arithmetic import BLOCK, GROUP, LANES, TILE
from pipeline.nn.compiled import records
from pipeline.nn.compiled.kernels import (
    ROWS,
    activate,
    adam,
    backtrack,
    dense,
    dense_row,
    distort,
    drop,
    groups_backward,
    groups_forward,
    losses,
    sgd,
    sparse_row,
    squares,
)
from pipeline.nn.compiled.records import (
    DISTORTION_BYTES,
    GROUPS,
    LAYER,
    LIST,
    MOST_ACTIVE,
    PANEL,
    PIECE,
    PIECE_ROWS,
    ROOM_GRADIENT,
    ROOM_IMAGE,
    ROOM_LEVELS,
    ROOM_LISTS,
    RUN,
    SIDE,
    SLOT,
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

run_of, layer_of, slot_of, piece_of, distortion_of = map(
    record, (RUN, LAYER, SLOT, PIECE, DISTORTION)
)
LAYER_BYTES, SLOT_BYTES, PIECE_BYTES = LAYER.itemsize, SLOT.itemsize, PIECE.itemsize
f32 = np.float32
_NONE, _SOFTMAX, _CROSS_ENTROPY, _SGD = 4, 5, 1, 1  # numbers in `records`
_call11 = call(11)


def compiled(arguments):
    """Compile a function of so many integers separately, to be called by its address."""
    return cfunc(types.void(*[types.intp] * arguments), error_model="numpy")


@njit(error_model="numpy")
def panels_of(vectors):
    """Return the number of panels of a matrix of so many vectors."""
    return (vectors + PANEL - 1) // PANEL


panel_of = njit(error_model="numpy")(records.panel_of)


@njit(error_model="numpy")
def row_of(matrix, rows, first, width, row):
    """Return the address of a row of a panel, in a matrix of `rows` rows stored by panels."""
    return matrix + 4 * LANES * (rows * first + row * width)


@compiled(11)
def product(a, a_row, a_k, b, b_k, c, c_row, rows, width, count, add):
    """Compute C = A B, or C + A B if `add`, as chains over `count` terms, for one panel.

    Shapes: A (rows, count), B (count, width), C (rows, width). a_row, a_k, b_k, c_row: strides.
    """
    together = ROWS[width - 1]
    row = 0
    while row + together <= rows:
        a_at, c_at = a + 4 * row * a_row, c + 4 * row * c_row
        dense(width, a_at, a_row, a_k, b, b_k, c_at, c_row, count, add)
        row += together
    while row < rows:
        a_at, c_at = a + 4 * row * a_row, c + 4 * row * c_row
        dense_row(width, a_at, a_row, a_k, b, b_k, c_at, c_row, count, add)
        row += 1


@compiled(6)
def first_layer(run_at, slot_at, rows, out, chains, panel):
    """Multiply the images of a tile (rows, PIXELS) by a panel of the first layer's weights.

    out: (rows, stride), the pre-activations without bias. chains: CHAINS floats, scratch.
    """
    run, slot = run_of(run_at), slot_of(slot_at)
    layer = layer_of(run.layers_at)
    stride = layer.stride
    first, width = panel_of(layer.vectors, panel)
    weight = row_of(layer.weight_at, layer.n_in + 1, first, width, 0)
    out += 4 * LANES * first
    if run.sparse:
        groups_forward(
            width, slot.starts_at, slot.rows_at, slot.words_at, run.table_at, weight, chains, out,
            stride, rows,
        )  # fmt: skip
        return
    for start in range(0, PIXELS, BLOCK):
        _call11(
            run.product_at, slot.inputs_at + 4 * start, PIXELS, 1,
            weight + 4 * start * LANES * width, LANES * width, out, stride, rows, width, BLOCK,
            start,
        )  # fmt: skip


@njit(error_model="numpy")
def output_layer(run, layer, place, labels, share, number, count):
    """Compute the costs, hits and deltas, or the probabilities, of at most LANES images.

    place: their first row. share: 1 / number of images in the batch. number: index of the first
    image among the costs.
    """
    d = layer.delta_at + 4 * place * layer.stride
    kind = 1 if layer.activation == _SOFTMAX else 2
    if run.probabilities_at:
        kind += 3
    elif run.loss != _CROSS_ENTROPY:
        kind, share = kind + 1, f32(2) / f32(run.classes) * share
    losses(
        kind, layer.value_at + 4 * place * layer.stride, d, layer.stride, run.classes,
        layer.vectors, labels, run.costs_at + 4 * number, run.margins_at + 4 * number,
        run.hits_at + number, share, run.on_target, run.off_target,
    )  # fmt: skip
    if run.probabilities_at:
        for m in range(count):
            source = floats(d + 4 * m * layer.stride)
            shares = floats(run.probabilities_at + 4 * (number + m) * run.classes)
            for j in range(run.classes):
                shares[j] = source[j]


@njit(error_model="numpy")
def blocks_of(count):
    """Return the number of blocks of so many terms."""
    return (count + BLOCK - 1) // BLOCK


@njit(error_model="numpy")
def find(layer, place, count):
    """List the neurons that are not 0, block by block, for `count` images from row `place` on."""
    blocks, found = blocks_of(layer.n_out), bytes_at(layer.found_at)
    for m in range(place, place + count):
        values = words_at(layer.value_at + 4 * m * layer.stride)
        for block in range(blocks):
            places = bytes_at(layer.places_at + (m * blocks + block) * BLOCK)
            some, start = np.int64(0), block * BLOCK
            for k in range(min(BLOCK, layer.n_out - start)):
                places[some] = np.uint8(k)  # the next one overwrites a neuron that is 0
                some += np.int64(values[start + k] != 0)
            found[m * blocks + block] = np.uint8(some)


@njit(error_model="numpy")
def are_few(layer, place, count):
    """Return whether leaving out the neurons that are 0 pays off."""
    blocks, found, total = blocks_of(layer.n_out), bytes_at(layer.found_at), 0
    for number in range(place * blocks, (place + count) * blocks):
        total += found[number]
    return total < MOST_ACTIVE * count * layer.n_out


@njit(error_model="numpy")
def forward(run, before, layer, place, count):
    """Multiply the outputs of the layer `before` by a layer's weights, for `count` images."""
    stride = layer.stride
    blocks, sparse = blocks_of(layer.n_in), before.places_at != 0 and are_few(before, place, count)
    for panel in range(panels_of(layer.vectors)):
        first, width = panel_of(layer.vectors, panel)
        c = layer.value_at + 4 * (place * stride + LANES * first)
        for block in range(blocks):
            k = block * BLOCK
            a = before.value_at + 4 * (place * before.stride + k)
            b = row_of(layer.weight_at, layer.n_in + 1, first, width, k)
            if sparse:
                for m in range(count):
                    number = (place + m) * blocks + block
                    sparse_row(
                        width, before.places_at + number * BLOCK, bytes_at(before.found_at)[number],
                        a + 4 * m * before.stride, 1, b, LANES * width, c + 4 * m * stride, k,
                    )  # fmt: skip
            else:
                _call11(
                    run.product_at, a, before.stride, 1, b, LANES * width, c, stride, count, width,
                    min(BLOCK, layer.n_in - k), k,
                )  # fmt: skip


@njit(error_model="numpy")
def image_of(run, number):
    """Return which of the images is at a place of the training order."""
    return integers(run.order_at)[number] if run.order_at else number


@njit(error_model="numpy")
def copy_rows(layer, place, count):
    """Keep the outputs of `count` images before some are left out."""
    values, whole = words_at(layer.value_at), words_at(layer.whole_at)
    for index in range(place * layer.stride, (place + count) * layer.stride):
        whole[index] = values[index]


@njit(error_model="numpy")
def drop_rows(run, at, layer, source, target, place, count, number):
    """Leave out outputs of hidden layer `at`, or their gradients, for `count` images.

    source, target: (images, stride). number: index of the first image in the training order.
    """
    for m in range(count):
        words = words_at(run.drops_at + 8 * (image_of(run, number + m) * (run.layers - 1) + at))
        row = 4 * (place + m) * layer.stride
        drop(
            source + row, target + row, layer.vectors, np.int64(words[0]), np.int64(words[1]),
            run.drop_limit, run.drop_scale,
        )  # fmt: skip


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
        if at:
            before = layer_of(run.layers_at + (at - 1) * LAYER_BYTES)
            forward(run, before, layer, place, count)
        drops = run.drops_at != 0 and back != 0 and at != last
        values = layer.value_at + 4 * place * layer.stride
        kind = _NONE if at == last else layer.activation
        for panel in range(panels_of(layer.vectors)):
            first, width = panel_of(layer.vectors, panel)
            bias = row_of(layer.weight_at, layer.n_in + 1, first, width, layer.n_in)
            activate(kind, values + 4 * LANES * first, layer.stride, bias, count, width)
        if drops:
            copy_rows(layer, place, count)
            drop_rows(run, at, layer, layer.whole_at, layer.value_at, place, count, number)
        if layer.places_at:
            find(layer, place, count)
    layer = layer_of(run.layers_at + last * LAYER_BYTES)
    share = f32(1) / f32(batch)
    for m in range(0, count, LANES):
        many = min(LANES, count - m)
        output_layer(run, layer, place + m, labels_at + m, share, number + m, many)
    if back == 0:
        return
    for at in range(last, 0, -1):
        layer = layer_of(run.layers_at + at * LAYER_BYTES)
        before = layer_of(run.layers_at + (at - 1) * LAYER_BYTES)
        d = layer.delta_at + 4 * place * layer.stride
        deltas = before.delta_at + 4 * place * before.stride
        for panel in range(panels_of(before.vectors)):
            first, width = panel_of(before.vectors, panel)
            for k in range(0, layer.n_out, BLOCK):
                _call11(
                    run.product_at, d + 4 * k, layer.stride, 1,
                    row_of(layer.turned_at, layer.n_out, first, width, k), LANES * width,
                    deltas + 4 * LANES * first, before.stride, count, width,
                    min(BLOCK, layer.n_out - k), k,
                )  # fmt: skip
        values = before.value_at
        if run.drops_at:
            drop_rows(run, at - 1, before, before.delta_at, before.delta_at, place, count, number)
            values = before.whole_at
        values += 4 * place * before.stride
        backtrack(before.activation, values, deltas, before.stride, count, before.vectors)


@njit(error_model="numpy")
def change(run, layer, piece, first, width, gradient, factor):
    """Update a panel of a piece of a layer's weights, and their transpose.

    gradient: (rows of the piece, width), which is multiplied by `factor`.
    """
    is_weight = piece.start < layer.n_in
    l2 = run.l2 if is_weight else f32(0)
    rows, vectors = layer.n_in + 1, (piece.stop - piece.start) * width
    w = row_of(layer.weight_at, rows, first, width, piece.start)
    v = row_of(layer.first_at, rows, first, width, piece.start) if layer.first_at else 0
    if run.optimizer == _SGD:
        kind = np.int64(1) if v == 0 else 2 + run.nesterov
        rate, clip_value = f32(run.lr), run.clip_value
        sgd(kind, vectors, w, gradient, v, rate, run.momentum, l2, clip_value, factor)
    else:
        s = row_of(layer.second_at, rows, first, width, piece.start)
        rate, root = run.lr / (1 - run.beta1_power), 1 / math.sqrt(1 - run.beta2_power)
        kept = 1 - run.lr * run.weight_decay if is_weight else 1.0
        adam(
            vectors, w, gradient, v, s, f32(rate), f32(root), f32(kept), l2, run.clip_value, factor,
            run.old1, run.new1, run.old2, run.new2,
        )  # fmt: skip
    if layer.turned_at == 0 or piece.start == layer.n_in:
        return
    before = (layer.n_in + LANES - 1) // LANES
    for panel in range(panels_of(before)):
        place, wide = panel_of(before, panel)
        start, stop = max(piece.start, LANES * place), min(piece.stop, LANES * (place + wide))
        for j in range(min(LANES * width, layer.n_out - LANES * first)):
            column = w + 4 * j
            turned = floats(
                row_of(layer.turned_at, layer.n_out, place, wide, LANES * first + j)
                - 4 * LANES * place
            )
            for k in range(start, stop):
                turned[k] = floats(column + 4 * LANES * width * (k - piece.start))[0]


@njit(error_model="numpy")
def find_images(before, piece, count, room):
    """List the images in which each neuron of a piece is not 0, tile by tile.

    room: a byte for the length and then the list, for each tile and neuron. Return whether leaving
    out the other images pays off.
    """
    total, size = 0, piece.stop - piece.start
    for start in range(0, count, TILE):
        for k in range(size):
            bytes_at(room + k * LIST)[0] = 0
        for m in range(min(TILE, count - start)):
            values = words_at(before.value_at + 4 * ((start + m) * before.stride + piece.start))
            for k in range(size):
                own = bytes_at(room + k * LIST)
                some = np.int64(own[0])
                own[1 + some] = np.uint8(m)  # the next image overwrites one with a 0
                own[0] = np.uint8(some + np.int64(values[k] != 0))
        for k in range(size):
            total += bytes_at(room + k * LIST)[0]
        room += PIECE_ROWS * LIST
    return total < MOST_ACTIVE * count * size


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
    before = layer_of(run.layers_at + max(piece.layer - 1, 0) * LAYER_BYTES)
    stride, size, is_bias = layer.stride, piece.stop - piece.start, piece.start == layer.n_in
    sparse = False
    if piece.layer and not is_bias and before.places_at:
        sparse = find_images(before, piece, count, room + ROOM_LISTS)
    for panel in range(piece.panel, piece.panel + piece.panels):
        first, width = panel_of(layer.vectors, panel)
        g_row = LANES * width
        gradient = row_of(layer.gradient_at, layer.n_in + 1, first, width, piece.start)
        if keep == 0:  # a gradient that is not read again stays in this core's cache
            gradient = room + ROOM_GRADIENT
        for start in range(0, count, TILE):
            slot, images = slot_of(slot_at + start // TILE * SLOT_BYTES), min(TILE, count - start)
            deltas, add = layer.delta_at + 4 * (start * stride + LANES * first), again + start
            if is_bias:  # its inputs are 1
                a, a_row, a_k = run.one_at, 0, 0
            elif piece.layer:
                a_row, a_k = 1, before.stride
                a = before.value_at + 4 * (start * before.stride + piece.start)
            elif run.sparse:
                first_group, groups = piece.start // GROUP, size // GROUP
                groups_backward(
                    width, slot.starts_at + 8 * first_group, groups, slot.rows_at, slot.words_at,
                    run.table_at, deltas, stride, gradient, add,
                )  # fmt: skip
                continue
            else:
                a, a_row, a_k = slot.inputs_at + 4 * piece.start, 1, PIXELS
            if sparse:
                for k in range(size):
                    own = room + ROOM_LISTS + (start // TILE * PIECE_ROWS + k) * LIST
                    sparse_row(
                        width, own + 1, bytes_at(own)[0], a + 4 * k, a_k, deltas, stride,
                        gradient + 4 * k * g_row, add,
                    )  # fmt: skip
            else:
                _call11(
                    run.product_at, a, a_row, a_k, deltas, stride, gradient, g_row, size, width,
                    images, add,
                )  # fmt: skip
        if ends and run.clips_norm == 0:
            change(run, layer, piece, first, width, gradient, f32(1))


@njit(error_model="numpy")
def add_squares(matrix, rows, used, vectors, limit, sums):
    """Add the squares of the first `used` rows of a matrix of `rows` rows to sums (LANES,).

    The elements are clipped to `limit`. Rows are read one after the other, across the panels.
    """
    for row in range(used):
        for panel in range(panels_of(vectors)):
            first, width = panel_of(vectors, panel)
            squares(width, row_of(matrix, rows, first, width, row), limit, sums)


@njit(error_model="numpy")
def sum_of(sums):
    """Return the sum of LANES float64, in order, and set them to 0."""
    total = 0.0
    for lane in range(LANES):
        total += doubles(sums)[lane]
        doubles(sums)[lane] = 0.0
    return total


@compiled(3)
def squared(run_at, number, room):
    """Write the sum of the squares of a layer's gradients, each clipped to clip_value."""
    run = run_of(run_at)
    layer = layer_of(run.layers_at + number * LAYER_BYTES)
    rows = layer.n_in + 1
    sum_of(room)
    add_squares(layer.gradient_at, rows, rows, layer.vectors, run.clip_value, room)
    doubles(run.squares_at)[number] = sum_of(room)


@compiled(3)
def scaled(run_at, number, factor_at):
    """Update a piece of the weights by its gradient times the float32 at `factor_at`."""
    run = run_of(run_at)
    piece = piece_of(run.pieces_at + number * PIECE_BYTES)
    layer = layer_of(run.layers_at + piece.layer * LAYER_BYTES)
    for panel in range(piece.panel, piece.panel + piece.panels):
        first, width = panel_of(layer.vectors, panel)
        gradient = row_of(layer.gradient_at, layer.n_in + 1, first, width, piece.start)
        change(run, layer, piece, first, width, gradient, floats(factor_at)[0])


@njit(error_model="numpy")
def distorted(run, number, image, levels):
    """Write the levels (PIXELS,) of an image, distorted. image: scratch, (SIDE, SIDE) bytes."""
    source, bytes_of = words_at(run.images_at + PIXELS * number), bytes_at(image)
    for index in range(SIDE * SIDE):
        bytes_of[index] = np.uint8(0)
    for group in range(GROUPS):
        word = source[group]
        row, column = 2 * (group // (WIDTH // 2)), 2 * (group % (WIDTH // 2))
        at = (row + MARGIN) * SIDE + column + MARGIN
        bytes_of[at], bytes_of[at + 1] = np.uint8(word), np.uint8(word >> 8)
        bytes_of[at + SIDE], bytes_of[at + SIDE + 1] = np.uint8(word >> 16), np.uint8(word >> 24)
    drawn = distortion_of(run.distortions_at + DISTORTION_BYTES * number)
    distort(
        image, run.grid_at, run.fields_at + 4 * PIXELS * drawn.field_x,
        run.fields_at + 4 * PIXELS * drawn.field_y, levels, PIXELS // LANES, drawn.xx, drawn.xy,
        drawn.yx, drawn.yy, drawn.x, drawn.y, drawn.bend_x, drawn.bend_y,
    )  # fmt: skip


@compiled(5)
def fill(run_at, slot_at, first, count, room):
    """Prepare a tile: its lists or inputs, and its labels, for `count` images.

    first: index in the training order of the tile's first image.
    """
    run, slot = run_of(run_at), slot_of(slot_at)
    labels, own = bytes_at(run.labels_at), bytes_at(slot.labels_at)
    table, zero, starts = floats(run.table_at), np.uint32(run.zero), integers(slot.starts_at)
    if run.sparse:
        for group in range(GROUPS + 1):
            starts[group] = 0
    for m in range(count):
        number = image_of(run, first + m)
        own[m] = labels[number]
        image = run.images_at + PIXELS * number
        if run.distortions_at:
            image = room + ROOM_LEVELS + PIXELS * m
            distorted(run, number, room + ROOM_IMAGE, image)
        if run.sparse:
            words = words_at(image)
            for group in range(GROUPS):
                starts[group] += np.int64(words[group] != zero)
        else:
            levels = bytes_at(image)
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
        image = run.images_at + PIXELS * image_of(run, first + m)
        words = words_at(room + ROOM_LEVELS + PIXELS * m if run.distortions_at else image)
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

"""The innermost loops: chains of fused multiply-adds, and elementwise operations.

Each output of a product is a chain, s = fma(a, b, s) from s = 0; each lane of a vector is one
output. The number of chains computed side by side affects only the speed, see `docs/arithmetic.md`.
Matrices are given as an address and a row stride in floats, and columns are counted in vectors.
"""

from typing import Any

from llvmlite import ir

from pipeline.datasets.augment import MARGIN
from pipeline.datasets.images import PIXELS
from pipeline.nn.arithmetic import BLOCK, EPSILON, GROUP, LANES, TILE, exp, log, sigmoid, tanh
from pipeline.nn.compiled.records import PANEL, SIDE
from pipeline.nn.compiled.vectors import (
    BYTE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    Emitter,
    Vector,
    ints,
    kernel,
)
from pipeline.nn.dropout import GOLDEN, LAST, MIX


def _pieces(count: int, most: int) -> list[range]:
    return [range(start, min(start + most, count)) for start in range(0, count, most)]


ROWS = (8, 8, 8, 4)
"""Rows of A that `dense` takes at a time, for 1 to PANEL vectors: enough chains to hide latency."""


def _dense(to: Emitter, rows: int, vectors: int, *arguments: Any) -> None:
    a, a_row, a_k, b, b_k, c, c_row, count, add = arguments
    for some in _pieces(rows, rows if to.wide else 4):
        for columns in _pieces(vectors, vectors if to.wide else 1):
            chains = {(row, j): to.variable() for row in some for j in columns}
            with to.loop(count) as k:
                row_of_b = to.at(b, to.builder.mul(k, b_k))
                values = {j: to.load(row_of_b, j) for j in columns}
                for row in some:
                    index = to.builder.add(to.builder.mul(k, a_k), to.times(a_row, row))
                    x = to.spread(to.number(to.at(a, index), FLOAT, 4))
                    for j in columns:
                        chain = chains[row, j]
                        chain.set(x.fma(values[j], chain.get()))
            for (row, j), chain in chains.items():
                to.add_to(to.at(c, to.times(c_row, row)), j, chain.get(), add)


@kernel("iiiiiiiiii")
def dense(to: Emitter, vectors: Any, *arguments: Any) -> None:
    """Compute C = A B, or C + A B if `add`, over k ascending, for ROWS[vectors - 1] rows of A.

    (vectors, a, a_row, a_k, b, b_k, c, c_row, count, add): A's element (row, k) is at
    a + row * a_row + k * a_k. Shapes: A (rows, count), B (count, vectors), C (rows, vectors).
    """
    to.choose(vectors, PANEL, lambda n: _dense(to, ROWS[n - 1], n, *arguments))


@kernel("iiiiiiiiii")
def dense_row(to: Emitter, vectors: Any, *arguments: Any) -> None:
    """Compute the same as `dense` for a single row of A."""
    to.choose(vectors, PANEL, lambda n: _dense(to, 1, n, *arguments))


@kernel("iiiiiiiii")
def sparse_row(
    to: Emitter, vectors: Any, places: Any, count: Any, a: Any, a_step: Any, b: Any, b_row: Any,
    c: Any, add: Any,
) -> None:  # fmt: skip
    """Compute a row of C = A B, or C + A B if `add`, from A's elements at `places`, ascending.

    places: (count,) bytes. Element k of the row of A is at a + k * a_step. Shapes: B (terms,
    vectors), C (vectors,). The other elements of A must be 0.
    """

    def emit(width: int) -> None:
        for columns in _pieces(width, width if to.wide else 4):
            chains = {j: to.variable() for j in columns}
            with to.loop(count) as index:
                place = to.builder.zext(to.number(to.at(places, index, 1), BYTE, 1), LONG)
                x = to.spread(to.number(to.at(a, to.builder.mul(place, a_step)), FLOAT, 4))
                row = to.plain(to.at(b, to.builder.mul(place, b_row)))
                for j in columns:
                    chains[j].set(x.fma(to.load(row, j), chains[j].get()))
            for j in columns:
                to.add_to(c, j, chains[j].get(), add)

    to.choose(vectors, PANEL, emit)


def _entry(to: Emitter, rows: Any, words: Any, table: Any, index: Any) -> tuple[Any, list[Vector]]:
    """Return the image's row in the tile and its GROUP inputs, for an entry of a group's list."""
    row = to.builder.zext(to.number(to.at(rows, index, 1), BYTE, 1), LONG)
    word = to.builder.zext(to.number(to.at(words, index), INT, 4), LONG)
    inputs = []
    for pixel in range(GROUP):
        level = to.builder.and_(
            to.builder.lshr(word, ir.Constant(LONG, 8 * pixel)), ir.Constant(LONG, 255)
        )
        inputs.append(to.spread(to.number(to.at(table, level), FLOAT, 4)))
    return row, inputs


def _list(to: Emitter, starts: Any, group: Any) -> tuple[Any, Any]:
    """Return where the list of a group begins, and its length."""
    begin = to.number(to.at(starts, group, 8), LONG, 8)
    end = to.number(to.at(starts, to.builder.add(group, ir.Constant(LONG, 1)), 8), LONG, 8)
    return begin, to.builder.sub(end, to.builder.add(begin, ir.Constant(LONG, 1)))


@kernel("iiiiiiiiii")
def groups_forward(
    to: Emitter, vectors: Any, starts: Any, rows: Any, words: Any, table: Any, w: Any, s: Any,
    t: Any, t_row: Any, count: Any,
) -> None:  # fmt: skip
    """Multiply the images of a tile by weights W, all blocks, reading only the groups' lists.

    starts: where the groups' lists begin in rows and words. table: (256,), the input of each level.
    w: (PIXELS, vectors). s: CHAINS floats, all 0 before and after. t: (count, vectors), the result.
    """
    blocks, groups = PIXELS // BLOCK, ir.Constant(LONG, BLOCK // GROUP)

    def emit(width: int) -> None:
        stride = LANES * (width | 1)  # an odd number of cache lines
        size = TILE * stride
        for columns in _pieces(width, width if to.wide else 2):
            with to.loop(ir.Constant(LONG, blocks)) as block, to.loop(groups) as number:
                group = to.builder.add(to.builder.mul(block, groups), number)
                begin, count_of = _list(to, starts, group)
                at = to.at(w, to.times(group, GROUP * LANES * width))
                weights = {
                    (pixel, j): to.load(at, pixel * width + j)
                    for pixel in range(GROUP)
                    for j in columns
                }
                own, levels = to.at(rows, begin, 1), to.at(words, begin)
                chains_of = to.at(s, to.times(block, size))
                with to.loop(count_of) as index:
                    row, inputs = _entry(to, own, levels, table, index)
                    sums = to.at(chains_of, to.times(row, stride))
                    chains = {j: to.load(sums, j) for j in columns}
                    for pixel in range(GROUP):
                        for j in columns:
                            chains[j] = inputs[pixel].fma(weights[pixel, j], chains[j])
                    for j in columns:
                        to.store(chains[j], sums, j)
        with to.loop(count) as row:
            result = to.at(t, to.builder.mul(row, t_row))
            for j in range(width):
                total = to.variable().get()
                for block in range(blocks):
                    sums = to.at(to.at(s, to.times(row, stride)), block * size)
                    total = total + to.load(sums, j)
                    to.store(total.of(0.0), sums, j)
                to.store(total, result, j)

    to.choose(vectors, PANEL, emit)


@kernel("iiiiiiiiii")
def groups_backward(
    to: Emitter, vectors: Any, starts: Any, groups: Any, rows: Any, words: Any, table: Any, d: Any,
    d_row: Any, g: Any, add: Any,
) -> None:  # fmt: skip
    """Compute G as chains of input * delta over the images on each group's list, or add to G.

    starts: the places of `groups` groups in the lists. rows, words: the lists. d: (images,
    vectors), the deltas of the tile. g: (GROUP * groups, vectors), the gradient of the weights.
    """

    def emit(width: int) -> None:
        for columns in _pieces(width, width if to.wide else 1):
            with to.loop(groups) as group:
                begin, count = _list(to, starts, group)
                chains = {(pixel, j): to.variable() for pixel in range(GROUP) for j in columns}
                own, levels = to.at(rows, begin, 1), to.at(words, begin)
                with to.loop(count) as index:
                    row, inputs = _entry(to, own, levels, table, index)
                    deltas = to.at(d, to.builder.mul(row, d_row))
                    for j in columns:
                        value = to.load(deltas, j)
                        for pixel in range(GROUP):
                            chain = chains[pixel, j]
                            chain.set(inputs[pixel].fma(value, chain.get()))
                gradient = to.at(g, to.times(group, GROUP * LANES * width))
                for (pixel, j), chain in chains.items():
                    to.add_to(gradient, pixel * width + j, chain.get(), add)

    to.choose(vectors, PANEL, emit)


@kernel("iiiiiiffffffff")
def distort(
    to: Emitter, image: Any, grid: Any, field_x: Any, field_y: Any, out: Any, vectors: Any,
    xx: Any, xy: Any, yx: Any, yy: Any, x: Any, y: Any, bend_x: Any, bend_y: Any,
) -> None:  # fmt: skip
    """Distort an image as `pipeline.datasets.augment.distort` does.

    image: bytes (SIDE, SIDE), with its margin. grid: x and y of all pixels, less the centre.
    field_x, field_y: their displacements. All are in the order of the bytes written to `out`.
    """
    builder = to.builder
    axes = ((xx, xy, bend_x, x, field_x), (yx, yy, bend_y, y, field_y))
    with to.loop(vectors) as vector:
        offset = to.times(vector, LANES)
        grids = [to.load(to.at(grid, offset), lane) for lane in (0, PIXELS // LANES)]
        whole, parts = [], []
        for along, across, bend, middle, field in axes:
            place = to.spread(along) * grids[0] + to.spread(across) * grids[1]
            place = place + to.spread(bend) * to.load(to.at(field, offset))
            place = place + to.spread(middle) + float(MARGIN)
            place = place.where("<", 0.0, 0.0, place)
            place = place.where(">", SIDE - 2.0, SIDE - 2.0, place)
            number = builder.fptosi(place.value, ints(0).type)
            whole.append(number)
            parts.append(place - place.to_float(number))
        right, down = parts
        index = builder.add(builder.mul(whole[1], ints(SIDE)), whole[0])
        rows = []
        for row in (0, 1):
            four = to.gather(image, builder.add(index, ints(SIDE * row)))
            left = right.to_float(builder.and_(four, ints(255)))
            other = right.to_float(builder.and_(builder.lshr(four, ints(8)), ints(255)))
            rows.append(left * (1.0 - right) + other * right)
        blended = rows[0] * (1.0 - down) + rows[1] * down + 0.5
        to.store_bytes(builder.fptosi(blended.value, ints(0).type), to.at(out, offset, 1))


@kernel("iiiiii")
def activate(
    to: Emitter, kind: Any, values: Any, stride: Any, bias: Any, rows: Any, vectors: Any
) -> None:
    """Add the bias (vectors,) to pre-activations (rows, vectors) and apply the activation."""
    functions = (lambda x: x.where("<", 0.0, 0.0, x), sigmoid, tanh, lambda x: x)

    def emit(number: int) -> None:
        with to.matrix(rows, stride, vectors) as (index, column):
            address = to.at(values, index)
            pre_activation = to.load(address) + to.load(to.at(bias, column))
            to.store(functions[number - 1](pre_activation), address)

    to.choose(kind, len(functions), emit)


@kernel("iiiiii")
def backtrack(
    to: Emitter, kind: Any, values: Any, deltas: Any, stride: Any, rows: Any, vectors: Any
) -> None:
    """Turn gradients in activations into gradients in pre-activations, in place.

    values, deltas: (rows, vectors), the activations and the gradients.
    """
    slopes = (
        lambda y, d: y.where(">", 0.0, d, 0.0),
        lambda y, d: d * y * (1.0 - y),
        lambda y, d: d * (1.0 - y * y),
    )

    def emit(number: int) -> None:
        with to.matrix(rows, stride, vectors) as (index, _):
            y, d = to.load(to.at(values, index)), to.load(to.at(deltas, index))
            to.store(slopes[number - 1](y, d), to.at(deltas, index))

    to.choose(kind, len(slopes), emit)


@kernel("iiii")
def apply(to: Emitter, function: Any, x: Any, y: Any, vectors: Any) -> None:
    """Compute Y = f(X) for vectors X, Y, where f is FUNCTIONS[function - 1]."""

    def emit(number: int) -> None:
        with to.loop(vectors) as vector:
            offset = to.times(vector, LANES)
            to.store(FUNCTIONS[number - 1](to.load(to.at(x, offset))), to.at(y, offset))

    to.choose(function, len(FUNCTIONS), emit)


FUNCTIONS = (exp, log, tanh, sigmoid)


@kernel("iiiiiiiiiifff")
def losses(
    to: Emitter, kind: Any, z: Any, d: Any, stride: Any, classes: Any, vectors: Any, labels: Any,
    costs: Any, margins: Any, hits: Any, share: Any, on: Any, off: Any,
) -> None:  # fmt: skip
    """Compute the costs of LANES images, and D, the gradients of the loss in their logits Z.

    kind: 1 for softmax with cross-entropy, 2 and 3 for softmax and sigmoid with squared errors; 4
    and 5 for softmax and sigmoid write probabilities to D instead. z, d: (LANES, stride), of which
    `vectors` vectors are used; Z is lost. labels: bytes. costs: (LANES,); of cross-entropy, what
    softmax divides by, whose logarithm less the margin is the cost. margins: (LANES,), the label's
    logit less the largest. hits: bytes, whether they are equal. share: 1 / images in the batch. on,
    off: what is subtracted from the label's output, and from all.
    """
    label, scale = to.load_bytes(labels).to_float(), to.spread(share)
    with to.loop(vectors) as vector:  # class by class in D, and then in Z
        square = to.at(d, to.times(vector, LANES * LANES))
        to.transpose(to.at(z, to.times(vector, LANES)), stride, square, LANES)

    def emit(number: int) -> None:
        is_softmax = number in {1, 2, 4}
        top, best, own, total, cost, inner = (to.variable() for _ in range(6))
        top.set(to.load(d))
        with to.loop(classes) as j:
            logit, this = to.load(to.at(d, to.times(j, LANES))), to.whole(j)
            best.set(logit.where(">", top.get(), this, best.get()))
            top.set(logit.where(">", top.get(), logit, top.get()))
            own.set(label.where("==", this, logit, own.get()))
        to.store(own.get() - top.get(), margins)
        hit = best.get().where("==", label, 1.0, 0.0)
        to.store_bytes(to.builder.fptosi(hit.value, ints(0).type), hits)
        with to.loop(classes) as j:
            address = to.at(d, to.times(j, LANES))
            logit = to.load(address)
            output = exp(logit - top.get()) if is_softmax else sigmoid(logit)
            to.store(output, address)
            total.set(total.get() + output)
        with to.loop(classes) as j:
            address = to.at(d, to.times(j, LANES))
            output = to.load(address)
            if is_softmax:
                output = output / total.get()
                to.store(output, address)
            error = output - label.where("==", to.whole(j), 1.0, 0.0)
            cost.set(cost.get() + error * error)
            inner.set(inner.get() + error * scale * output)
        to.store(total.get() if number == 1 else cost.get() / to.whole(classes), costs)
        with to.loop(to.times(vectors, LANES)) as j:
            to.store(scale.of(0.0), to.at(z, to.times(j, LANES)))
        with to.loop(classes) as j:
            output = to.load(to.at(d, to.times(j, LANES)))
            dy = (output - label.where("==", to.whole(j), 1.0, 0.0)) * scale
            target = label.where("==", to.whole(j), to.spread(on), 0.0)
            result = {
                1: (output - target - to.spread(off)) * scale,
                2: output * (dy - inner.get()),
                3: dy * output * (1.0 - output),
                4: output,  # those of sigmoid are independent of each other
                5: total.get().where("==", 0.0, 1.0 / to.whole(classes), output / total.get()),
            }[number]
            to.store(result, to.at(z, to.times(j, LANES)))

    to.choose(kind, 5, emit)
    with to.loop(vectors) as vector:
        square = to.at(z, to.times(vector, LANES * LANES))
        to.transpose(square, LANES, to.at(d, to.times(vector, LANES)), stride)


def _clipped(gradient: Vector, limit: Vector) -> Vector:
    gradient = gradient.where(">", limit, limit, gradient)
    return gradient.where("<", 0.0 - limit, 0.0 - limit, gradient)


@kernel("iiiiifffff")
def sgd(
    to: Emitter, kind: Any, vectors: Any, w: Any, g: Any, v: Any, lr: Any, momentum: Any, l2: Any,
    limit: Any, factor: Any,
) -> None:  # fmt: skip
    """Compute V = momentum V + (factor clip(G) + l2 W) and W = W - lr V for `vectors` vectors.

    kind: 1 without momentum, and without V; 2 with it; 3 with Nesterov's, momentum V + the same
    pulled gradient again in place of V. limit: the clip value of G.
    """
    rate, share, pull = to.spread(lr), to.spread(momentum), to.spread(l2)
    most, scale = to.spread(limit), to.spread(factor)

    def emit(number: int) -> None:
        with to.loop(vectors) as vector:
            offset = to.times(vector, LANES)
            weight = to.load(to.at(w, offset))
            pulled = _clipped(to.load(to.at(g, offset)), most) * scale + pull * weight
            change = pulled
            if number > 1:
                change = share * to.load(to.at(v, offset)) + pulled
                to.store(change, to.at(v, offset))
            if number == 3:
                change = share * change + pulled
            to.store(weight - rate * change, to.at(w, offset))

    to.choose(kind, 3, emit)


@kernel("iiiiiffffffffff")
def adam(
    to: Emitter, vectors: Any, w: Any, g: Any, v: Any, s: Any, rate: Any, root: Any, kept: Any,
    l2: Any, limit: Any, factor: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any,
) -> None:  # fmt: skip
    """Take a step of Adam with running means V and S for `vectors` vectors W, with gradients G.

    rate: lr / (1 - beta1^t). root: 1 / sqrt(1 - beta2^t). kept: what AdamW leaves of W before the
    step. limit: the clip value of G. factor: multiplies the clipped G. rest1, rest2: 1 - beta1, 1 -
    beta2.
    """
    step, correction, share, pull = map(to.spread, (rate, root, kept, l2))
    most, scale = to.spread(limit), to.spread(factor)
    old1, new1, old2, new2 = map(to.spread, (beta1, rest1, beta2, rest2))
    with to.loop(vectors) as vector:
        offset = to.times(vector, LANES)
        weight = to.load(to.at(w, offset))
        pulled = _clipped(to.load(to.at(g, offset)), most) * scale + pull * weight
        mean = to.load(to.at(v, offset)) * old1 + pulled * new1
        square = to.load(to.at(s, offset)) * old2 + pulled * pulled * new2
        size = square.call("sqrt") * correction + EPSILON
        to.store(mean, to.at(v, offset))
        to.store(square, to.at(s, offset))
        to.store(weight * share - step * mean / size, to.at(w, offset))


@kernel("iiiiiif")
def drop(
    to: Emitter, values: Any, out: Any, vectors: Any, key0: Any, key1: Any, limit: Any, scale: Any
) -> None:  # fmt: skip
    """Write `values` (vectors,) times `scale` to `out`, but 0 where the element is left out.

    Element n is left out if 32 random bits, a function of key0, key1 and n, are below `limit`.
    """
    builder = to.builder
    lanes = ir.Constant(ints(0).type, list(range(LANES)))
    seeds = [to.spread_int(builder.trunc(key, INT)) for key in (key0, key1)]
    least, factor = to.spread_int(builder.trunc(limit, INT)), to.spread(scale)
    with to.loop(vectors) as vector:
        offset = to.times(vector, LANES)
        n = builder.add(to.spread_int(builder.trunc(offset, INT)), lanes)
        h = builder.xor(builder.mul(n, ints(GOLDEN)), seeds[0])
        for shift, multiplier in MIX:
            h = builder.xor(h, builder.lshr(h, ints(shift)))
            h = builder.add(builder.mul(h, ints(multiplier)), seeds[1])
        h = builder.xor(h, builder.lshr(h, ints(LAST)))
        value = to.load(to.at(values, offset)) * factor
        left_out = builder.icmp_unsigned("<", h, least)
        kept = builder.select(left_out, value.of(0.0).value, value.value)
        to.store(Vector(builder, kept), to.at(out, offset))


@kernel("iifi")
def squares(to: Emitter, vectors: Any, x: Any, limit: Any, sums: Any) -> None:
    """Add the squares of clipped X to sums (LANES,), in float64."""
    kind = ir.VectorType(DOUBLE, LANES)
    pointer = to.builder.inttoptr(sums, kind.as_pointer())
    most = to.spread(limit)
    with to.loop(vectors) as vector:
        value = _clipped(to.load(to.at(x, to.times(vector, LANES))), most)
        wide = to.builder.fpext(value.value, kind)
        square = to.builder.fmul(wide, wide)
        total = to.builder.fadd(to.builder.load(pointer, align=8), square)
        to.builder.store(total, pointer, align=8)

"""An epoch of training, and the measurement of a set of images: one call per thread each."""

import math

import numpy as np
from numba import njit

from pipeline.datasets.images import PIXELS, WIDTH
from pipeline.nn.arithmetic import GROUP, LANES, TILE
from pipeline.nn.compiled.kernels import apply
from pipeline.nn.compiled.records import CHAINS, CHUNK, ROOM_BYTES
from pipeline.nn.compiled.step import (
    SLOT_BYTES,
    add_squares,
    compiled,
    layer_of,
    panels_of,
    run_of,
    slot_of,
    sum_of,
)
from pipeline.nn.compiled.team import meet, take
from pipeline.nn.compiled.vectors import bytes_at, call, doubles, floats, integers, words_at

f32 = np.float32
_LOG = 2  # its number in `kernels.FUNCTIONS`
_call3, _call5, _call6, _call7, _call8 = call(3), call(5), call(6), call(7), call(8)


@njit(error_model="numpy")
def _round(run, first):
    """Return the number of images in the round from `first`: of one batch, at most run.round."""
    return min(min((first // run.batch + 1) * run.batch, run.count) - first, run.round)


@njit(error_model="numpy")
def _tiles(images):
    return (images + TILE - 1) // TILE


@njit(error_model="numpy")
def _through(run_at, slot, place, start, images, chunk, batch, number, back):
    """Take a chunk of a tile's images from the first product to the costs and, with `back`, back.

    slot: the tile's record. place: the tile's first row in the layers' values (images, stride).
    start: the chunk's first image in the tile. number: index of the tile's first image among the
    costs.
    """
    labels = slot_of(slot).labels_at + start
    _call7(
        run_of(run_at).rows_at, run_at, labels, place + start, min(chunk, images - start), batch,
        number + start, back,
    )  # fmt: skip


@njit(error_model="numpy")
def _whole(run_at, slot, place, images, chains, batch, number, back):
    """Take the images of a tile through the network. chains: CHAINS floats, scratch."""
    run = run_of(run_at)
    layer = layer_of(run.layers_at)
    out = layer.value_at + 4 * place * layer.stride
    for panel in range(panels_of(layer.vectors)):
        _call6(run.first_layer_at, run_at, slot, images, out, chains, panel)
    for start in range(0, images, run.chunk):
        _through(run_at, slot, place, start, images, run.chunk, batch, number, back)


@compiled(3)
def train(team, thread, run_at):
    """Take one step per batch, shared with the other threads.

    A step is one round, or several if the batch is large. A round takes all its images through the
    network and back, one tile at a time. If there are fewer tiles than threads, the threads share
    the first layer by neurons, then the other layers by images. They then compute the gradients of
    the weights and, in the last round of a step, update the weights. Meanwhile, the tiles of the
    next round are prepared.
    """
    run = run_of(run_at)
    threads, pieces = run.threads, run.pieces
    layer = layer_of(run.layers_at)
    panels = panels_of(layer.vectors)
    chains = run.chains_at + 4 * thread * CHAINS
    room = run.room_at + thread * ROOM_BYTES
    half = first = 0
    most = run.round // TILE
    ahead = 0 if run.kept else _tiles(_round(run, 0))
    piece = take(team, thread, threads, ahead)
    while piece >= 0:
        start = piece * TILE
        many = min(TILE, _round(run, 0) - start)
        _call5(run.fill_at, run_at, run.slots_at + piece * SLOT_BYTES, start, many, room)
        piece = take(team, thread, threads, ahead)
    if not meet(team, threads):
        return
    while first < run.count:
        images = _round(run, first)
        begin = first // run.batch * run.batch
        size = min(run.batch, run.count - begin)
        ends = np.int64(first + images == begin + size)
        slot = run.slots_at + SLOT_BYTES * (first // TILE if run.kept else half * most)
        if thread == 0 and ends:
            run.lr = doubles(run.rates_at)[run.step]
            run.step += 1
            run.beta1_power *= run.beta1
            run.beta2_power *= run.beta2
        tiles = _tiles(images)

        if tiles >= threads:
            piece = take(team, thread, threads, tiles)
            while piece >= 0:
                place = piece * TILE
                _whole(
                    run_at, slot + piece * SLOT_BYTES, place, min(TILE, images - place), chains,
                    size, first + place, 1,
                )  # fmt: skip
                piece = take(team, thread, threads, tiles)
        else:
            piece = take(team, thread, threads, panels * tiles)
            while piece >= 0:
                panel, tile = piece // tiles, piece % tiles
                out = layer.value_at + 4 * tile * TILE * layer.stride
                many = min(TILE, images - tile * TILE)
                tile_at = slot + tile * SLOT_BYTES
                _call6(run.first_layer_at, run_at, tile_at, many, out, chains, panel)
                piece = take(team, thread, threads, panels * tiles)
            if not meet(team, threads):
                return
            chunks = (images + CHUNK - 1) // CHUNK
            piece = take(team, thread, threads, chunks)
            while piece >= 0:
                start = piece * CHUNK
                place = start // TILE * TILE
                _through(
                    run_at, slot + place // TILE * SLOT_BYTES, place, start - place,
                    min(TILE, images - place), CHUNK, size, first + place, 1,
                )  # fmt: skip
                piece = take(team, thread, threads, chunks)
        if not meet(team, threads):
            return

        after, half = first + images, 1 - half
        coming = _round(run, after) if after < run.count else 0
        ahead = 0 if run.kept else _tiles(coming)
        next_slot = run.slots_at + SLOT_BYTES * half * most
        keep = size > TILE or run.clips_norm or after == run.count
        piece = take(team, thread, threads, ahead + pieces)
        while piece >= 0:
            if piece < ahead:
                start = piece * TILE
                many = min(TILE, coming - start)
                _call5(
                    run.fill_at, run_at, next_slot + piece * SLOT_BYTES, after + start, many, room
                )  # fmt: skip
            else:
                again = first - begin
                _call8(
                    run.weights_at, run_at, piece - ahead, slot, images, again, ends,
                    np.int64(keep), room,
                )  # fmt: skip
            piece = take(team, thread, threads, ahead + pieces)
        if not meet(team, threads):
            return

        if ends and run.clips_norm:
            piece = take(team, thread, threads, run.layers)
            while piece >= 0:
                _call3(run.squared_at, run_at, piece, room)
                piece = take(team, thread, threads, run.layers)
            if not meet(team, threads):
                return
            total = 0.0
            for number in range(run.layers):
                total += doubles(run.squares_at)[number]
            size_of = math.sqrt(total)
            factor = f32(run.clip_norm / size_of) if size_of > run.clip_norm else f32(1)
            floats(room)[0] = factor
            piece = take(team, thread, threads, pieces)
            while piece >= 0:
                _call3(run.scaled_at, run_at, piece, room)
                piece = take(team, thread, threads, pieces)
            if not meet(team, threads):
                return
        first = after


@compiled(3)
def measure(team, thread, run_at):
    """Compute the costs, hits and probabilities of all images, shared with the other threads."""
    run = run_of(run_at)
    chains = run.chains_at + 4 * thread * CHAINS
    tile = take(team, thread, run.threads, _tiles(run.count))
    while tile >= 0:
        first = tile * TILE
        images = min(TILE, run.count - first)
        slot = run.slots_at + SLOT_BYTES * (tile if run.kept else thread)
        if run.kept == 0:
            _call5(run.fill_at, run_at, slot, first, images, run.room_at + thread * ROOM_BYTES)
        _whole(run_at, slot, thread * TILE, images, chains, 1, first, 0)
        tile = take(team, thread, run.threads, _tiles(run.count))


@compiled(3)
def keep(team, thread, run_at):
    """Prepare all tiles, shared with the other threads."""
    run = run_of(run_at)
    tile = take(team, thread, run.threads, _tiles(run.count))
    while tile >= 0:
        first = tile * TILE
        slot = run.slots_at + tile * SLOT_BYTES
        room = run.room_at + thread * ROOM_BYTES
        _call5(run.fill_at, run_at, slot, first, min(TILE, run.count - first), room)
        tile = take(team, thread, run.threads, _tiles(run.count))


@compiled(2)
def finish(run_at, result):
    """Write two float64 to `result`: the sum of the costs, in order, and the number of hits."""
    run = run_of(run_at)
    costs, margins, hits = floats(run.costs_at), floats(run.margins_at), bytes_at(run.hits_at)
    logarithms = run.loss == 1
    if logarithms:
        apply(_LOG, run.costs_at, run.costs_at, (run.count + LANES - 1) // LANES)
    cost, right = 0.0, 0
    for number in range(run.count):
        cost += costs[number] - margins[number] if logarithms else costs[number]
        right += hits[number]
    doubles(result)[0] = cost
    doubles(result)[1] = right


@compiled(4)
def norm(matrix, n_in, vectors, result):
    """Write the Euclidean norm of weights (n_in, vectors), without the bias, to a float64.

    result: has room for LANES float64, all 0.
    """
    add_squares(matrix, n_in + 1, n_in, vectors, f32(np.inf), result)
    doubles(result)[0] = math.sqrt(sum_of(result))


@compiled(7)
def pack(inputs_at, count, levels_at, table_at, keys_at, found_at, entries_at):
    """Convert images (count, 784) from float inputs to levels, with at most 256 distinct values.

    levels_at: (count, 784), patch by patch. table_at: (256,), the input of each level. keys_at: a
    hash table (1024, 2) of the bits of a value and its level + 1, or 0 if free. found_at: number of
    distinct values; 257 means more than 256. entries_at: (count,), the number of each image's
    groups of pixels that are not all 0.
    """
    keys, found = integers(keys_at), integers(found_at)
    for m in range(count):
        bits = words_at(inputs_at + 4 * PIXELS * m)
        levels, groups = bytes_at(levels_at + PIXELS * m), 0
        some = False
        for k in range(PIXELS):
            patch, row, column = k // GROUP, k // 2 % 2, k % 2  # as in arithmetic.ORDER
            y, x = 2 * (patch // (WIDTH // 2)) + row, 2 * (patch % (WIDTH // 2)) + column
            key = np.int64(bits[y * WIDTH + x])
            key = np.int64(0) if key == 0x80000000 else key  # -0 is 0
            some = some or key != 0
            if k % GROUP == GROUP - 1:
                groups += some
                some = False
            place = (key ^ (key >> 11)) * 2654435761 >> 16 & 1023
            while keys[2 * place + 1] != 0 and keys[2 * place] != key:
                place = (place + 1) & 1023
            if keys[2 * place + 1] == 0:
                if found[0] >= 256:
                    found[0] = 257
                    return
                words_at(table_at)[found[0]] = np.uint32(key)
                found[0] += 1
                keys[2 * place], keys[2 * place + 1] = key, found[0]
            levels[k] = np.uint8(keys[2 * place + 1] - 1)
        integers(entries_at)[m] = groups


COMPILED = (train, measure, keep, finish, norm, pack)

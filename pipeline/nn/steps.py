"""Training steps in buffers that are made once, shared among threads.

The mathematics is that of `network`, `gradients` and `optimizers`: the readable definitions, which
tests hold this against. Work is cut up by shapes alone, so the bits do not depend on the threads:

- A large batch is cut into tiles of rows. Each goes forward and back and gives gradients of its
  own, which are added in the order of the tiles.
- In a small batch the first layer's products are most of the work. Forward, each thread takes half
  of the rows; back, each takes some of the pixels' weights, with their change.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from pipeline.nn.backend import Array, array_module, check_memory
from pipeline.nn.batches import Batch
from pipeline.nn.gradients import make_clip
from pipeline.nn.network import Network
from pipeline.nn.optimizers import Optimizer, make_optimizer
from pipeline.nn.parallel import Workers
from pipeline.params import VariantSettings

SHARED_PRODUCT = 4_000_000
"""Multiplications in the first layer's product from which waking another thread pays."""

NARROW = 32
"""Layers with fewer neurons than this are kept column by column."""

Totals = tuple[Any, Any]
"""Sum of the costs, in float64, and the number of right answers, left on the device."""


class Passes:
    """A network's way forward and back for up to `rows` images.

    outputs: what each layer gives, after its activation, (rows, n_out).
    deltas: the loss's gradient in each layer's pre-activation, likewise.
    """

    def __init__(self, network: Network, rows: int) -> None:
        """Raise DeviceError where a GPU has no room for so many rows."""
        self.network = network
        check_memory(network.vector, rows, _row_bytes(network))
        sizes = network.architecture.sizes[1:]
        self.outputs = [_buffer(network.vector, rows, size) for size in sizes]
        self.deltas = [_buffer(network.vector, rows, size) for size in sizes]

    def __len__(self) -> int:
        return len(self.outputs[0])

    def first_product(self, x: Array, rows: slice) -> None:
        """Multiply inputs (n, pixels) by the first layer's weights, into the buffers' `rows`."""
        weight = self.network.layers[0].weight
        array_module(x).matmul(x, weight, out=self.outputs[0][rows])

    def forward(self, rows: slice) -> tuple[Array, Callable[[Array], None]]:
        """Take the first product in the buffers' `rows` through the rest of the network.

        Gives the outputs and `backward(dy)`, which fills the same rows of `deltas`.
        """
        network = self.network
        y = self.outputs[0][rows]
        y += network.layers[0].bias
        backwards = []
        for number, activation in enumerate(network.activations):
            if number:
                y, _ = network.layers[number].forward(y, out=self.outputs[number][rows])
            activation_backward = None
            if activation is not None:
                y, activation_backward = activation(y, out=y)
            backwards.append(activation_backward)

        def backward(dy: Array) -> None:
            for number in range(len(backwards) - 1, -1, -1):
                delta = self.deltas[number][rows]
                activation_backward = backwards[number]
                if activation_backward is not None:
                    activation_backward(dy, out=delta)
                else:
                    delta[...] = dy
                if number:
                    dy = self.deltas[number - 1][rows]
                    array_module(dy).matmul(delta, network.layers[number].weight.T, out=dy)

        return y, backward

    def forward_and_back(self, labels: Array, rows: slice, count: int) -> Totals:
        """Go from the first product to `deltas`; `count` images are in the whole batch."""
        outputs, backward = self.forward(rows)
        costs, dy = self.network.loss(outputs, labels)
        totals = totals_of(costs, outputs, labels)
        dy *= 1 / count
        backward(dy)
        return totals

    def weight_gradients(
        self, x: Array, gradients: dict[str, Array], pixels: slice, *, rest: bool
    ) -> None:
        """Write gradients of the first layer's weights for some pixels; with `rest`, all others."""
        xp, rows = array_module(x), len(x)
        deltas = [delta[:rows] for delta in self.deltas]
        xp.matmul(x[:, pixels].T, deltas[0], out=gradients["layer1.weight"][pixels])
        if not rest:
            return
        for number, delta in enumerate(deltas, start=1):
            delta.sum(axis=0, out=gradients[f"layer{number}.bias"])
            if number > 1:
                before = self.outputs[number - 2][:rows]
                xp.matmul(before.T, delta, out=gradients[f"layer{number}.weight"])


@dataclass(frozen=True)
class _Part:
    """Some of a network's parameters, with an optimiser of their own.

    pixels: the rows of the first layer's weights that it has; rest: whether it has all else too.
    places: where in the network's vector its weights and its biases lie.
    """

    pixels: slice
    rest: bool
    places: dict[str, slice]
    optimizer: Optimizer

    def step(self, parameters: Array, gradients: Array) -> None:
        self.optimizer.step(
            {name: parameters[place] for name, place in self.places.items()},
            {name: gradients[place] for name, place in self.places.items()},
        )

    def restore(self, state: dict[str, Array], like: Array) -> None:
        """Let the optimiser go on from `state`, with arrays of the kind of `like`."""
        for name, array in state.items():
            place = self.places.get(name.rpartition(".")[2], slice(0, 0))
            if array.ndim and (array.shape, array.dtype) != (like[place].shape, like.dtype):
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
        xp = array_module(like)
        self.optimizer.restore(
            {name: xp.array(array) if array.ndim else array for name, array in state.items()}
        )


class Steps:
    """Trains a network in place, a batch at a time."""

    def __init__(self, network: Network, settings: VariantSettings, workers: Workers) -> None:
        self._network = network
        self._workers = workers
        self._clip = make_clip(settings)
        self._gradient = array_module(network.vector).zeros_like(network.vector)
        self.gradients = network.architecture.views(self._gradient)
        """The gradients of the last step, before clipping, by name."""
        self._parts = [
            _Part(pixels, rest, places, make_optimizer(settings))
            for pixels, rest, places in self._cut_parameters(settings.batch_size)
        ]
        self._passes: deque[Passes] = deque()
        self._tile_gradients: deque[Array] = deque()

    def state(self) -> dict[str, Array]:
        """Give what the optimisers remember, by part and name; not copied."""
        return {
            f"{number}.{name}": array
            for number, part in enumerate(self._parts)
            for name, array in part.optimizer.state().items()
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Let the optimisers go on from `state`, whose arrays are copied to the network's device.

        Raises LookupError or ValueError where they do not fit.
        """
        states: list[dict[str, Array]] = [{} for _ in self._parts]
        for name, array in state.items():
            number, _, own = name.partition(".")
            states[int(number)][own] = array
        for part, own_state in zip(self._parts, states, strict=True):
            part.restore(own_state, self._network.vector)

    def epoch(self, batches: Iterable[Batch]) -> Totals:
        """Take a step for each batch; give the sum of their totals, each from before its step."""
        totals: list[Totals] = []
        upcoming = iter(batches)
        batch = next(upcoming, None)
        while batch is not None:
            tiles = self._workers.tiles(len(batch))
            if len(tiles) > 1:
                totals.append(self._add_up_tiles(batch, tiles))
                self._change_parameters()
                batch = next(upcoming, None)
            else:
                batch = self._small_steps(batch, upcoming, totals)
        return add_totals(totals)

    def _small_steps(
        self, batch: Batch, upcoming: Iterator[Batch], totals: list[Totals]
    ) -> Batch | None:
        """Take a step with a batch that is one tile, or steps with all that follow and are shared.

        Gives the next batch. Where two threads share a batch, one goes through the network alone,
        after the first layer's product, while the other fetches the next batch. Going through it is
        not worth sharing: threads that make many short calls spend their time waiting for each
        other at Python's lock.
        """
        passes = self._take_passes(len(batch))
        left: Batch | None = None

        def first_product(batch: Batch, part: int) -> None:
            rows = self._halves(len(batch))[part]
            with quiet():
                passes.first_product(batch.inputs[rows], rows)

        def forward_and_back(batch: Batch) -> None:
            count = len(batch)
            with quiet():
                totals.append(passes.forward_and_back(batch.labels, slice(count), count))

        def fetch() -> Batch | None:
            nonlocal left
            left = next(upcoming, None)
            shared = left is not None and self._clip is None and self._shares(len(left))
            return left if shared else None

        def change(batch: Batch, number: int) -> None:
            part = self._parts[number]
            with quiet():
                passes.weight_gradients(batch.inputs, self.gradients, part.pixels, rest=part.rest)
                if self._clip is None:
                    part.step(self._network.vector, self._gradient)

        if self._shares(len(batch)):
            self._workers.in_rounds(batch, first_product, forward_and_back, fetch, change)
        else:
            first_product(batch, 0)
            forward_and_back(batch)
            for part in range(len(self._parts)):
                change(batch, part)
            fetch()
        if self._clip is not None:
            self._change_parameters()
        self._passes.append(passes)
        return left

    def _add_up_tiles(self, batch: Batch, tiles: list[slice]) -> Totals:
        """Fill the gradient with the sum of the tiles' gradients, added in their order."""
        totals: list[Totals] = [(0.0, 0)] * len(tiles)
        ready: dict[int, Array] = {}
        adding = Lock()
        added = 0

        def add_ready() -> None:
            nonlocal added
            while added in ready:
                tile_gradient = ready.pop(added)
                if added:
                    self._gradient[...] += tile_gradient
                else:
                    self._gradient[...] = tile_gradient
                self._tile_gradients.append(tile_gradient)
                added += 1

        def go(index: int) -> None:
            inputs, labels = batch.inputs[tiles[index]], batch.labels[tiles[index]]
            rows = slice(len(labels))
            passes = self._take_passes(len(labels))
            gradient = self._take_tile_gradient()
            with quiet():
                passes.first_product(inputs, rows)
                totals[index] = passes.forward_and_back(labels, rows, len(batch))
                views = self._network.architecture.views(gradient)
                passes.weight_gradients(inputs, views, slice(None), rest=True)
            self._passes.append(passes)
            ready[index] = gradient
            # Whoever comes first adds what is ready; nobody waits. The rest is added at the end.
            if adding.acquire(blocking=False):
                try:
                    add_ready()
                finally:
                    adding.release()

        self._workers.run(go, len(tiles))
        add_ready()
        return add_totals(totals)

    def _change_parameters(self) -> None:
        """Apply the gradient of all parameters, within its limits."""
        gradient = self._gradient
        if self._clip is not None:
            with quiet():
                gradient = self._clip({"all": gradient})["all"]

        def change(index: int) -> None:
            with quiet():
                self._parts[index].step(self._network.vector, gradient)

        self._workers.run(change, len(self._parts))

    def _take_passes(self, rows: int) -> Passes:
        """Give buffers that no thread uses, made anew where there are none for so many rows."""
        try:
            passes = self._passes.popleft()
        except IndexError:
            return Passes(self._network, rows)
        return passes if len(passes) >= rows else Passes(self._network, rows)

    def _take_tile_gradient(self) -> Array:
        try:
            return self._tile_gradients.popleft()
        except IndexError:
            fresh: Array = array_module(self._gradient).empty_like(self._gradient)
            return fresh

    def _shares(self, rows: int) -> bool:
        """Say whether the first layer's products for so many rows are cut in two."""
        pixels, neurons = self._network.architecture.sizes[:2]
        return self._workers.on_cpu and rows * pixels * neurons >= SHARED_PRODUCT

    def _halves(self, count: int) -> list[slice]:
        if self._shares(count):
            return [slice(0, count // 2), slice(count // 2, count)]
        return [slice(0, count)]

    def _cut_parameters(self, batch_size: int | str) -> list[tuple[slice, bool, dict[str, slice]]]:
        """Give the pixels, whether all else, and the places of each part; in two equal parts."""
        architecture = self._network.architecture
        pixels, neurons = architecture.sizes[:2]
        total, biases = architecture.parameter_count(), sum(architecture.sizes[1:])
        weights = total - biases
        cut = 0
        if isinstance(batch_size, str) or self._shares(batch_size):
            cut = min(weights // (2 * neurons), pixels) // 16 * 16
        rest = {"weight": slice(cut * neurons, weights), "bias": slice(weights, total)}
        parts = [(slice(cut, pixels), True, rest)]
        if cut:
            parts.append((slice(0, cut), False, {"weight": slice(0, cut * neurons)}))
        return parts


def totals_of(costs: Array, outputs: Array, labels: Array) -> Totals:
    """Sum costs and count right answers."""
    return costs.sum(dtype=np.float64), (outputs.argmax(axis=1) == labels).sum()


def add_totals(totals: list[Totals]) -> Totals:
    """Add up totals, where they lie."""
    stack = array_module(totals[0][0]).stack
    return stack([cost for cost, _ in totals]).sum(), stack([right for _, right in totals]).sum()


def quiet() -> np.errstate:
    """Let a diverging run overflow without warnings: its cost is checked after every epoch."""
    return np.errstate(over="ignore", invalid="ignore")


def _row_bytes(network: Network) -> int:
    """Estimate what an image takes on a device: the buffers here and as much again for a while."""
    return 4 * sum(network.architecture.sizes[1:]) * int(network.vector.itemsize)


def _buffer(like: Array, rows: int, columns: int) -> Array:
    """Make a (rows, columns) array; in NumPy, few columns lie each in one piece.

    A loss works along rows of ten numbers, where NumPy takes three times as long otherwise, and
    products with so few columns gain too.
    """
    xp = array_module(like)
    if columns < NARROW and xp is np:
        return np.empty((columns, rows), like.dtype).T
    buffer: Array = xp.empty((rows, columns), like.dtype)
    return buffer

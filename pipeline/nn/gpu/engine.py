"""The engine for GPUs: keeps a network's arrays on the GPU, and launches the kernels of a step.

A step is one round of launches, or several if the batch is large: `forward` from layer to layer as
long as layers are wide, `through` for the others and the loss, `backward`, and `weights`. The steps
of an epoch are recorded once as a CUDA graph and then replayed.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.params import VariantSettings
from pipeline.nn.arithmetic import LANES, ORDER, TILE
from pipeline.nn.devices import NO_DRAWS, Blocks, Draws, Totals, restorable, write_settings
from pipeline.nn.gpu.device import Gpu
from pipeline.nn.gpu.images import GpuImages
from pipeline.nn.gpu.source import ACTIVATIONS, FLAGS, OPTIMIZERS, WIDEST, record
from pipeline.nn.layers import Array
from pipeline.nn.network import Network

ROUND = 64 * TILE
"""Images whose activations are in memory at the same time."""
ROOM = 2**28
"""Bytes that activations, and gradients of tiles, may take: wide layers make rounds smaller."""
TOGETHER = 4 * TILE
"""A batch of more images is spread: the gradient of each tile is computed separately."""
STEPS = 1024
"""Maximum number of steps in a graph."""
THROUGH = 2**16
"""Maximum number of weights that the kernel `through` reads for every few images."""
SPAN, FEW, DOWN, ACROSS, THREADS = 16, 4, 32, 64, 256  # as in step.cu
_RUN, _LAYER = record("Run"), record("Layer")


class GpuEngine:
    """Trains or applies a network on a GPU, with the results of `CompiledEngine`, byte for byte."""

    def __init__(self, network: Network, settings: VariantSettings | None = None) -> None:
        self.network = network
        self._batch = None if settings is None else settings.batch_size
        sizes = self._sizes = network.architecture.sizes
        self._columns = [-(-n_out // LANES) * LANES for n_out in sizes[1:]]
        pairs = zip(sizes, self._columns, strict=False)
        self._starts = np.cumsum([0, *((n_in + 1) * columns for n_in, columns in pairs)]).tolist()
        pairs = zip(sizes[2:], self._columns, strict=False)
        self._turned = np.cumsum([0, *(n_out * columns for n_out, columns in pairs)]).tolist()
        self._size = self._starts[-1]
        rows = ROOM // (4 * sum(self._columns))
        self._rows = max(TILE, min(ROUND, rows // TILE * TILE))
        self._tiles = max(1, min(self._rows // TILE, ROOM // (4 * self._size)))
        self._through = _first_narrow(sizes, self._columns)
        self._gpu = gpu = Gpu()
        self._graphs: dict[tuple[int, int], list[Any]] = {}
        self._powers = np.ones(2)
        self._run = np.zeros(1, _RUN)
        with gpu.work():
            self._room = self._allocate(settings)
            self._describe(settings)
        self._put("weight", network.parameters)

    def _allocate(self, settings: VariantSettings | None) -> dict[str, Any]:
        gpu, rows = self._gpu, (self._rows, sum(self._columns))
        shapes: dict[str, tuple[int, ...]] = {"weight": (self._size,), "value": rows}
        if settings is not None:
            shapes |= {"gradient": (self._size,), "delta": rows}
            shapes["turned"] = (
                sum(n * k for n, k in zip(self._sizes[2:], self._columns, strict=False)),
            )
            shapes["parts"] = (self._tiles, self._size)
            if settings.momentum or settings.optimizer != "sgd":
                shapes["first"] = (self._size,)
            if settings.optimizer != "sgd":
                shapes["second"] = (self._size,)
            if settings.dropout:
                shapes["whole"] = rows
        room = {name: gpu.zeros(shape) for name, shape in shapes.items()}
        return room | {"squares": gpu.zeros((len(self._columns),), np.float64)}

    def _describe(self, settings: VariantSettings | None) -> None:
        architecture, run = self.network.architecture, self._run
        layers = np.zeros(len(self._columns), _LAYER)
        layers["n_in"], layers["n_out"] = self._sizes[:-1], self._sizes[1:]
        layers["columns"] = self._columns
        layers["activation"] = ACTIVATIONS[architecture.activation]
        before = np.cumsum([0, *self._columns[:-1]])
        starts: dict[str, Any] = {"turned": [0, *self._turned[:-1]]}
        starts |= dict.fromkeys(("weight", "gradient", "first", "second"), self._starts[:-1])
        starts |= dict.fromkeys(("value", "delta", "whole"), self._rows * before)
        for name, start in starts.items():
            if name in self._room:
                layers[name] = _address(self._room[name]) + 4 * np.asarray(start)
        self._room["layer"] = self._gpu.put(layers.view(np.uint8))
        self._point(run, **self._room)
        run["layers"], run["through"], run["size"] = len(layers), self._through, self._size
        run["softmax"] = architecture.output == "softmax"
        run["cross_entropy"] = architecture.loss == "cross_entropy"
        if settings is None:
            return
        kind: str = "adam" if settings.optimizer != "sgd" else "sgd"
        if kind == "sgd" and settings.momentum:
            kind = "nesterov" if settings.nesterov else "momentum"
        run["optimizer"] = OPTIMIZERS[kind]
        self._betas = np.array([settings.beta1, settings.beta2])
        self._decay = settings.weight_decay
        self._clips_norm = settings.clip_norm is not None
        write_settings(run, settings, self._sizes[-1])

    def hold(
        self, blocks: Blocks, count: int, table: NDArray[np.float32] | None = None
    ) -> GpuImages:
        """Copy images to the GPU, a byte per pixel. Raises DataError if they are not valid."""
        return GpuImages(self._gpu, blocks, count, table)

    def train(
        self,
        images: GpuImages,
        order: NDArray[np.int64] | None,
        rates: NDArray[np.float64],
        draws: Draws = NO_DRAWS,
    ) -> Totals:
        """Take one step per batch. Return the total cost and hits, each image before its step.

        Raises DeviceError if the GPU's memory does not suffice.
        """
        if self._batch is None:
            raise ValueError("an engine without settings does not train")
        count, run = len(images), self._run
        batch = count if order is None or self._batch == "all" else int(self._batch)
        with self._gpu.work():
            held = self._begin(images) | {"rates": self._gpu.put(self._rates(rates))}
            if order is not None:
                held["order"] = self._gpu.put(order)
            if draws.drops is not None:
                held["drops"] = self._gpu.put(draws.drops)
            if draws.distortions is not None:
                held["images"] = self._distorted(images, draws)
            self._point(run, **held)
            for begin in range(0, count, STEPS * batch):
                run["begin"], run["step"] = begin, begin // batch
                self._gpu.write(run)
                self._gpu.replay(self._graph(min(count - begin, STEPS * batch), batch))
            self._point(run, order=None, drops=None)
            totals = self._totals(held)
        self._get_parameters()
        return totals

    def _rates(self, rates: NDArray[np.float64]) -> Array:
        """Return rate, root and kept of each step, as float32 (steps, 3), and take the steps."""
        betas = np.tile(self._betas, (len(rates), 1))
        powers = np.multiply.accumulate(np.vstack([self._powers, betas]))[1:]
        self._powers = powers[-1]
        rate, root = rates, np.ones(len(rates))
        if self._run["optimizer"] == OPTIMIZERS["adam"]:
            rate, root = rates / (1 - powers[:, 0]), 1 / np.sqrt(1 - powers[:, 1])
        kept = 1 - rates * self._decay
        return np.stack([rate, root, kept], axis=1).astype(np.float32)

    def _distorted(self, images: GpuImages, draws: Draws) -> Any:
        """Return the levels of all images, distorted as drawn for this epoch."""
        if not images.holds_pixels:
            raise ValueError("images without a table of pixel values cannot be distorted")
        gpu = self._gpu
        if "fields" not in self._room:
            self._room["fields"] = gpu.put(draws.fields)  # type: ignore[arg-type]
        drawn = gpu.put(np.ascontiguousarray(draws.distortions).view(np.uint8))
        distorted = gpu.empty(images.levels.shape, np.uint8)
        gpu.launch_with(
            "distort", (len(images),), THREADS, images.levels, drawn, self._room["fields"],
            distorted,
        )  # fmt: skip
        return distorted

    def _graph(self, count: int, batch: int) -> list[Any]:
        """Return the graph of the steps of `count` images."""
        key = count, batch
        if key not in self._graphs:
            if len(self._graphs) == 8:  # streamed parts may have many sizes
                self._graphs.clear()
            with self._gpu.capture() as graph:
                for step, first in enumerate(range(0, count, batch)):
                    self._step(first, min(batch, count - first), step, last=first + batch >= count)
            self._graphs[key] = graph
        return self._graphs[key]

    def _step(self, first: int, size: int, step: int, *, last: bool) -> None:
        """Launch the kernels of a step on images `first` to `first + size` of the order."""
        launch, spreads = self._gpu.launch, size > TOGETHER and self._tiles > 1
        most = min(self._rows, self._tiles * TILE) if spreads else self._rows
        layers, blocks = len(self._columns), self._weight_blocks()
        updates = (math.ceil(self._size / THREADS),)
        for start in range(first, first + size, most):
            count = min(most, first + size - start)
            self._through_all(start, count, size, trains=True)
            ends = start + count == first + size
            flags = FLAGS["again"] * (start > first)
            change = FLAGS["changes"] * (ends and not self._clips_norm)
            if spreads:
                tiles = math.ceil(count / TILE)
                launch("weights", (blocks, tiles), THREADS, start, count, step, FLAGS["spreads"])
                launch("update", updates, THREADS, tiles, step, flags | change)
            else:
                keeps = FLAGS["keeps"] * (last or not ends or self._clips_norm)
                launch("weights", (blocks, 1), THREADS, start, count, step, flags | change | keeps)
        if self._clips_norm:
            launch("squared", (layers,), THREADS, 0, 1)
            flags = FLAGS["again"] | FLAGS["changes"] | FLAGS["scales"]
            launch("update", updates, THREADS, 0, step, flags)

    def _through_all(self, first: int, count: int, batch: int, *, trains: bool) -> None:
        """Launch the kernels that take a round's images to the loss and, if it trains, back."""
        launch, down = self._gpu.launch, math.ceil(count / SPAN)
        for number in range(self._through):
            grid = self._columns[number] // SPAN, down
            launch("forward", grid, THREADS, number, first, count, trains)
        launch("through", (math.ceil(count / FEW),), WIDEST, first, count, batch, trains)
        if trains:
            for number in range(self._through - 1, 0, -1):
                grid = self._columns[number - 1] // SPAN, down
                launch("backward", grid, THREADS, number, first, count)

    def _weight_blocks(self) -> int:
        return sum(
            (n_in + DOWN) // DOWN * math.ceil(columns / ACROSS)
            for n_in, columns in zip(self._sizes, self._columns, strict=False)
        )

    def measure(self, images: GpuImages, *, again: bool = False) -> Totals:  # noqa: ARG002
        """Return the total cost and hits."""
        with self._gpu.work():
            held = self._begin(images)
            self._look(held)
            return self._totals(held)

    def probabilities(self, images: GpuImages) -> NDArray[np.float32]:
        """Return the class probabilities, (n, classes)."""
        with self._gpu.work():
            result = self._gpu.zeros((len(images), self._sizes[-1]))
            self._look(self._begin(images) | {"probabilities": result})
            self._point(self._run, probabilities=None)
            return np.asarray(result.get())

    def _begin(self, images: GpuImages) -> dict[str, Any]:
        """Return the arrays that the record names while these images are used."""
        count = len(images)
        return {
            "images": images.levels, "labels": images.labels, "table": images.table,
            "costs": self._gpu.empty((count,)), "hits": self._gpu.empty((count,), np.uint8),
        }  # fmt: skip

    def _look(self, held: Mapping[str, Any]) -> None:
        self._point(self._run, **held)
        self._run["begin"] = 0
        self._gpu.write(self._run)
        for first in range(0, len(held["labels"]), self._rows):
            count = min(self._rows, len(held["labels"]) - first)
            self._through_all(first, count, count, trains=False)

    @staticmethod
    def _point(run: NDArray[np.void], **arrays: Any) -> None:
        """Write the addresses of arrays to the record; None is written as 0."""
        for name, array in arrays.items():
            if name in (_RUN.names or ()):
                run[name] = 0 if array is None else _address(array)

    def _totals(self, held: Mapping[str, Any]) -> Totals:
        costs = np.add.accumulate(held["costs"].get(), dtype=np.float64)  # in order
        return float(costs[-1]), int(held["hits"].get().sum(dtype=np.int64))

    def norms(self, what: str) -> tuple[float, ...]:
        """Return the norm of each layer's weights, or of their gradient, as `what` names."""
        with self._gpu.work():
            self._gpu.write(self._run)
            self._gpu.launch("squared", (len(self._columns),), THREADS, what == "weight", 0)
            return tuple(math.sqrt(square) for square in self._room["squares"].get().tolist())

    def state(self) -> dict[str, Array]:
        """Return copies of the optimiser's state, by name."""
        return {"powers": self._powers.copy()} | {
            f"{moment}.{name}": array
            for moment in self._moments()
            for name, array in self._get(moment).items()
        }

    def restore(self, parameters: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Restore parameters and an optimiser state.

        Raises LookupError or ValueError, before changing anything, if they do not fit.
        """
        own = self.network.parameters
        for what, arrays in restorable(own, self._moments(), parameters, state).items():
            self._put(what, arrays)
        for name in own:
            own[name][...] = parameters[name]
        self._powers = np.array(state["powers"])

    def _moments(self) -> list[str]:
        """Return the names of the moments that the optimiser stores for each parameter."""
        return [moment for moment in ("first", "second") if moment in self._room]

    def _matrices(self, flat: Array) -> list[Array]:
        """Return views of the layers' matrices, (n_in + 1, columns), in a vector of all."""
        return [
            flat[start:stop].reshape(-1, columns)
            for (start, stop), columns in zip(pairwise(self._starts), self._columns, strict=True)
        ]

    def _put(self, what: str, arrays: Mapping[str, Array]) -> None:
        """Copy arrays of the network's shapes to the GPU."""
        flat = np.zeros(self._size, np.float32)
        turned = []
        for number, matrix in enumerate(self._matrices(flat), start=1):
            weight, bias = arrays[f"layer{number}.weight"], arrays[f"layer{number}.bias"]
            matrix[:-1, : len(bias)] = weight[ORDER] if number == 1 else weight
            matrix[-1, : len(bias)] = bias
            if number > 1:
                padding = self._columns[number - 2] - len(weight)
                turned.append(np.pad(weight.T, ((0, 0), (0, padding))).ravel())
        with self._gpu.work():
            self._room[what].set(flat)
            if what == "weight" and "turned" in self._room and turned:
                self._room["turned"].set(np.concatenate(turned))
            self._gpu.synchronize()

    def _get(self, what: str) -> dict[str, Array]:
        """Return copies of arrays from the GPU in the network's shapes, by parameter name."""
        with self._gpu.work():
            flat = self._room[what].get()
        arrays: dict[str, Array] = {}
        for number, matrix in enumerate(self._matrices(flat), start=1):
            own = matrix[:, : self._sizes[number]]
            weight = own[:-1].copy()
            if number == 1:
                weight[ORDER] = own[:-1]
            arrays[f"layer{number}.weight"], arrays[f"layer{number}.bias"] = weight, own[-1].copy()
        return arrays

    def _get_parameters(self) -> None:
        for name, array in self._get("weight").items():
            self.network.parameters[name][...] = array


def _first_narrow(sizes: tuple[int, ...], columns: list[int]) -> int:
    """Return the first layer after the first that, with all that follow, `through` can compute."""
    first = len(columns)
    weights = 0
    while first > 1:
        weights += sizes[first - 1] * columns[first - 1]
        if weights > THROUGH or max(columns[first - 2 :]) > WIDEST:
            break
        first -= 1
    return first


def _address(array: Any) -> int:
    address: int = array.data.ptr
    return address

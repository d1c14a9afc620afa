"""The engine for CPUs: stores the arrays of a network for compiled code, and runs that code."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.base.machine import available_cores
from pipeline.base.params import VariantSettings
from pipeline.datasets.augment import CENTRE
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH
from pipeline.nn.arithmetic import BLOCK, LANES, ORDER, TILE
from pipeline.nn.compiled.code import functions
from pipeline.nn.compiled.records import (
    ACTIVATIONS,
    AT_ONCE,
    CHAINS,
    CHUNK,
    FEWEST,
    FITS,
    GROUPS,
    LAYER,
    LOSSES,
    OPTIMIZERS,
    PANEL,
    PIECE,
    PIECE_ROWS,
    ROOM_BYTES,
    ROUND,
    RUN,
    SLOT,
    panel_of,
)
from pipeline.nn.compiled.threads import Team
from pipeline.nn.devices import NO_DRAWS, Blocks, Draws, Totals, restorable, write_settings
from pipeline.nn.layers import Array
from pipeline.nn.network import Network

MOST_ENTRIES = 0.65
"""If a larger fraction of the pixel groups is not all 0, skipping the others does not pay off."""


def aligned(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return zeros aligned to a cache line: a vector that crosses one costs two loads."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)  # on Linux large ones get huge pages, unlike np.zeros
    memory[:] = 0
    start = -memory.ctypes.data % 64
    array: Array = memory[start : start + size].view(dtype).reshape(shape)
    return array


class ImageSet:
    """Images as levels, one byte per pixel, and the input that each level stands for.

    levels: (n, 784) uint8; table: (256,) float32; zero: the level of a pixel that is 0, in each
    byte of a word, or None if few pixels are 0; labels: (n,) uint8.
    """

    def __init__(
        self, blocks: Blocks, count: int, table: NDArray[np.float32] | None = None
    ) -> None:
        """Convert `count` images from blocks of inputs (n, 784) and labels (n,).

        table: the inputs of the 256 pixel values, which become the levels; otherwise levels are
        numbered as they occur. Raises DataError if there are other inputs, or more than 256.
        """
        self.levels = aligned((count, PIXELS), np.uint8)
        self.labels = np.empty(count, np.uint8)
        self.table = aligned((256,))
        self.holds_pixels = table is not None
        keys, found = np.zeros((1024, 2), np.int64), np.zeros(1, np.int64)

        def pack(inputs: Array, levels: Array, entries: Array) -> None:
            functions()["pack"](
                _address(inputs), len(inputs),
                *map(_address, (levels, self.table, keys, found, entries)),
            )  # fmt: skip
            if found[0] > 256:
                rule = "at most 256 distinct" if table is None else "only normalised"
                raise DataError(f"images must have {rule} pixel values")

        entries = np.zeros(count, np.int64)
        if table is not None:  # an image that holds all pixel values numbers them in order
            values = np.empty((1, PIXELS), np.float32)
            values[0, ORDER] = np.resize(table, PIXELS)
            pack(values, np.empty(PIXELS, np.uint8), np.zeros(1, np.int64))
            if found[0] < 256:
                raise DataError("the normalization must map the 256 pixel values to 256 inputs")
        start = 0
        for inputs, labels in blocks:
            end = start + len(labels)
            pack(np.ascontiguousarray(inputs, np.float32), self.levels[start:end], entries[start:])
            self.labels[start:end] = labels
            start = end
        (zeros,) = np.nonzero(self.table[: found[0]] == 0)
        few = entries.sum() > MOST_ENTRIES * GROUPS * count
        self.zero = None if few or not len(zeros) else int(zeros[0]) * 0x01010101
        self._entries = [int(entries[row : row + TILE].sum()) for row in range(0, count, TILE)]
        self._kept: Slots | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def slots(self, count: int) -> "Slots":
        """Return memory for any `count` tiles."""
        return Slots([TILE * GROUPS] * count, sparse=self.zero is not None)

    def kept_slots(self, team: Team) -> "Slots":
        """Return the prepared tiles of all images in stored order, computed on first use."""
        if self._kept is None:
            self._kept = Slots(self._entries, sparse=self.zero is not None)
            run = np.zeros(1, RUN)
            self.describe(run)
            run["slots_at"], run["fill_at"] = self._kept.address, functions()["fill"].address
            run["threads"] = team.size
            team.run(functions()["keep"], run)
        return self._kept

    def describe(self, run: NDArray[Any]) -> None:
        """Write the addresses of the images to a RUN record."""
        run["count"] = len(self)
        run["sparse"], run["zero"] = self.zero is not None, self.zero or 0
        run["images_at"], run["labels_at"] = _address(self.levels), _address(self.labels)
        run["table_at"] = _address(self.table)


class Slots:
    """Memory for prepared tiles of images."""

    def __init__(self, entries: list[int], *, sparse: bool) -> None:
        """Allocate a tile per element of `entries`, the number of entries in the tile's lists."""
        count = len(entries)
        self._records = np.zeros(count, SLOT)
        self._labels = np.zeros((count, TILE), np.uint8)
        self._records["labels_at"] = _addresses(self._labels)
        if sparse:
            ends = np.cumsum(np.array(entries, np.int64) + GROUPS + 1)
            begins = np.concatenate([[0], ends[:-1]])
            self._starts = np.zeros((count, GROUPS + 1), np.int64)
            self._rows, self._words = np.zeros(ends[-1], np.uint8), np.zeros(ends[-1], np.uint32)
            self._records["starts_at"] = _addresses(self._starts)
            self._records["rows_at"] = _address(self._rows) + begins
            self._records["words_at"] = _address(self._words) + 4 * begins
        else:
            self._inputs = aligned((count, TILE, PIXELS))
            self._records["inputs_at"] = _addresses(self._inputs)
        self.address = _address(self._records)


class CompiledEngine:
    """Trains or applies a network on CPUs.

    threads: number of threads, by default one per available core. Any number gives the same bits.
    """

    def __init__(
        self, network: Network, settings: VariantSettings | None = None, threads: int | None = None
    ) -> None:
        self.network = network
        self.threads = threads or available_cores()
        self._team = Team(self.threads)
        self._round = min(ROUND, AT_ONCE * self.threads)
        sizes = network.architecture.sizes
        self._batch = None if settings is None else settings.batch_size
        rows = TILE * self.threads
        if self._batch is not None:
            batch = ROUND if self._batch == "all" else -(-self._batch // TILE) * TILE
            rows = max(rows, min(self._round, batch))
        self._matrices = [
            _matrices(n_in, n_out, rows, settings, first=number == 0)
            for number, (n_in, n_out) in enumerate(pairwise(sizes))
        ]
        for matrices, n_out, after in zip(self._matrices, sizes[1:], sizes[2:], strict=False):
            if network.architecture.activation == "relu" and after > FEWEST:
                blocks = -(-n_out // BLOCK)
                matrices["places"] = np.zeros((rows, blocks, BLOCK), np.uint8)
                matrices["found"] = np.zeros((rows, blocks), np.uint8)
        pieces = _pieces(sizes, self.threads)
        self._room = {
            "layers": self._describe_layers(), "pieces": pieces,
            "chains": aligned((self.threads, CHAINS)),
            "room": aligned((self.threads, ROOM_BYTES), np.uint8),
            "squares": np.zeros(len(sizes) - 1), "one": np.ones(1, np.float32),
        }  # fmt: skip
        run = self._run = np.zeros(1, RUN)
        for name, array in self._room.items():
            run[f"{name}_at"] = _address(array)
        for name, function in functions().items():
            if f"{name}_at" in (RUN.names or ()):
                run[f"{name}_at"] = function.address
        run["threads"], run["layers"], run["pieces"] = self.threads, len(sizes) - 1, len(pieces)
        run["round"] = self._round
        later = sum(n_in * n_out for n_in, n_out in pairwise(sizes[1:]))
        run["chunk"] = CHUNK if later <= FITS else TILE
        run["classes"], run["loss"] = sizes[-1], LOSSES[network.architecture.loss]
        if settings is not None:
            self._describe_training(settings)
        self._put("weight", network.parameters)

    def _describe_training(self, settings: VariantSettings) -> None:
        run = self._run
        run["optimizer"], run["nesterov"] = OPTIMIZERS[settings.optimizer], settings.nesterov
        run["beta1"], run["beta2"] = settings.beta1, settings.beta2
        run["beta1_power"] = run["beta2_power"] = 1
        run["weight_decay"], run["clips_norm"] = (
            settings.weight_decay,
            settings.clip_norm is not None,
        )
        write_settings(run, settings, self.network.architecture.sizes[-1])

    def _describe_layers(self) -> NDArray[Any]:
        architecture = self.network.architecture
        layers = np.zeros(len(self._matrices), LAYER)
        layers["n_in"], layers["n_out"] = architecture.sizes[:-1], architecture.sizes[1:]
        layers["vectors"] = -(-layers["n_out"] // LANES)
        layers["activation"] = ACTIVATIONS[architecture.activation]
        layers["activation"][-1] = ACTIVATIONS[architecture.output]
        for layer, matrices in zip(layers, self._matrices, strict=True):
            layer["stride"] = matrices["value"].shape[1]
            for name, matrix in matrices.items():
                layer[f"{name}_at"] = _address(matrix)
        return layers

    def hold(
        self, blocks: Blocks, count: int, table: NDArray[np.float32] | None = None
    ) -> ImageSet:
        """Return images in the form that training needs. Raises DataError if they are not valid.

        table: (256,), the input of each pixel value; only images with a table can be distorted.
        """
        return ImageSet(blocks, count, table)

    def train(
        self,
        images: ImageSet,
        order: NDArray[np.int64] | None,
        rates: NDArray[np.float64],
        draws: Draws = NO_DRAWS,
    ) -> Totals:
        """Take one step per batch. Return the total cost and hits, each image before its step.

        order: (n,) image numbers in training order; None takes one step with all, as stored.
        rates: (steps,) learning rates.
        """
        if self._batch is None:
            raise ValueError("an engine without settings does not train")
        run = self._begin(images)
        run["kept"] = order is None and draws.distortions is None
        tiles = 2 * self._round // TILE
        slots = images.kept_slots(self._team) if run["kept"] else images.slots(tiles)
        if order is not None:
            run["order_at"] = _address(order)
        whole = order is None or self._batch == "all"
        run["batch"] = len(images) if whole else self._batch
        run["rates_at"], run["slots_at"] = _address(rates), slots.address
        self._describe_draws(images, draws)
        self._team.run(functions()["train"], run)
        run["distortions_at"] = run["drops_at"] = 0
        for name, array in self._get("weight").items():
            self.network.parameters[name][...] = array
        return self._totals()

    def _describe_draws(self, images: ImageSet, draws: Draws) -> None:
        run = self._run
        if draws.drops is not None:
            run["drops_at"] = _address(draws.drops)
        if draws.distortions is not None and draws.fields is not None:
            if not images.holds_pixels:
                raise ValueError("images without a table of pixel values cannot be distorted")
            if "fields" not in self._room:
                grid = (np.indices((HEIGHT, WIDTH))[::-1].reshape(2, PIXELS) - CENTRE)[:, ORDER]
                self._room["grid"] = grid.astype(np.float32, order="C")
                self._room["fields"] = draws.fields.reshape(-1, PIXELS)[:, ORDER].copy()
                run["grid_at"], run["fields_at"] = (
                    _address(self._room[name]) for name in ("grid", "fields")
                )
            run["distortions_at"] = _address(draws.distortions)

    def measure(self, images: ImageSet, *, again: bool = False) -> Totals:
        """Return the total cost and hits. again: whether the images will be measured again."""
        self._look(self._begin(images), images, keep=again)
        return self._totals()

    def probabilities(self, images: ImageSet) -> NDArray[np.float32]:
        """Return the class probabilities, (n, classes)."""
        result = np.zeros((len(images), self.network.architecture.sizes[-1]), np.float32)
        run = self._begin(images)
        run["probabilities_at"] = _address(result)
        self._look(run, images, keep=False)
        return result

    def _begin(self, images: ImageSet) -> NDArray[Any]:
        run, count = self._run, len(images)
        images.describe(run)
        room = (count // LANES + 2) * LANES  # any image's costs are written with the next LANES - 1
        self._costs, self._hits = aligned((2, room)), np.zeros(room, np.uint8)
        run["kept"] = run["order_at"] = run["probabilities_at"] = run["step"] = 0
        run["costs_at"], run["margins_at"] = _addresses(self._costs)
        run["hits_at"] = _address(self._hits)
        return run

    def _look(self, run: NDArray[Any], images: ImageSet, *, keep: bool) -> None:
        slots = images.kept_slots(self._team) if keep else images.slots(self.threads)
        run["kept"], run["slots_at"] = keep, slots.address
        self._team.run(functions()["measure"], run)

    def _totals(self) -> Totals:
        result = np.zeros(2)
        functions()["finish"](_address(self._run), _address(result))
        return float(result[0]), int(result[1])

    def norms(self, what: str) -> tuple[float, ...]:
        """Return the norm of each layer's weights, or of their gradient, as `what` names."""
        norms = []
        for n_in, matrices in zip(self.network.architecture.sizes, self._matrices, strict=False):
            matrix, result = matrices[what], aligned((LANES,), np.float64)
            vectors = matrix.size // LANES // (n_in + 1)
            functions()["norm"](_address(matrix), n_in, vectors, _address(result))
            norms.append(float(result[0]))
        return tuple(norms)

    def state(self) -> dict[str, Array]:
        """Return copies of the optimiser's state, by name."""
        powers = np.array([self._run["beta1_power"][0], self._run["beta2_power"][0]])
        return {"powers": powers} | {
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
        self._run["beta1_power"], self._run["beta2_power"] = state["powers"]

    def _moments(self) -> list[str]:
        """Return the names of the moments that the optimiser stores for each parameter."""
        return [moment for moment in ("first", "second") if moment in self._matrices[0]]

    def _put(self, what: str, arrays: Mapping[str, Array]) -> None:
        """Copy arrays of the network's shapes to the matrices of the compiled code."""
        for number, matrices in enumerate(self._matrices, start=1):
            weight, bias = arrays[f"layer{number}.weight"], arrays[f"layer{number}.bias"]
            both = np.vstack([weight[ORDER] if number == 1 else weight, bias])
            _fill(matrices[what], both)
            if what == "weight" and "turned" in matrices:
                _fill(matrices["turned"], weight.T)

    def _get(self, what: str) -> dict[str, Array]:
        """Return copies of the matrices in the network's shapes, by parameter name."""
        arrays: dict[str, Array] = {}
        for number, (n_in, n_out) in enumerate(pairwise(self.network.architecture.sizes), start=1):
            panels = _panels(self._matrices[number - 1][what], n_in + 1, n_out)
            both = np.hstack([panel for _, panel in panels])[:, :n_out]
            weight, bias = both[:-1].copy(), both[-1].copy()
            if number == 1:
                weight[ORDER] = both[:-1]
            arrays[f"layer{number}.weight"], arrays[f"layer{number}.bias"] = weight, bias
        return arrays


def _panels(matrix: Array, rows: int, columns: int) -> list[tuple[int, Array]]:
    """Return the panels of a matrix of compiled code: the first column, and a view of each."""
    vectors, panels = -(-columns // LANES), []
    for panel in range(-(-vectors // PANEL)):
        start, width = (LANES * number for number in panel_of(vectors, panel))
        panels.append((start, matrix[rows * start :][: rows * width].reshape(rows, width)))
    return panels


def _fill(matrix: Array, values: Array) -> None:
    """Copy values (rows, columns) to a matrix of compiled code."""
    for start, panel in _panels(matrix, *values.shape):
        part = values[:, start : start + panel.shape[1]]
        panel[:, : part.shape[1]] = part


def _matrices(
    n_in: int, n_out: int, rows: int, settings: VariantSettings | None, *, first: bool
) -> dict[str, Array]:
    """Return a layer's arrays: those of its weights by panels, those of its images by rows.

    Rows are an odd number of cache lines apart. With a power of two, the elements of a column would
    compete for the same cache sets.
    """
    vectors = -(-n_out // LANES)
    by_panels = ((n_in + 1) * vectors * LANES,)
    by_rows = (rows, (vectors | 1) * LANES)
    shapes: dict[str, tuple[int, ...]] = {
        "weight": by_panels, "value": by_rows, "delta": by_rows,
    }  # fmt: skip
    if settings is not None:
        shapes["gradient"] = by_panels
        if settings.momentum or settings.optimizer != "sgd":
            shapes["first"] = by_panels
        if settings.optimizer != "sgd":
            shapes["second"] = by_panels
        if settings.dropout:
            shapes["whole"] = by_rows
        if not first:
            shapes["turned"] = (n_out * -(-n_in // LANES) * LANES,)
    return {name: aligned(shape) for name, shape in shapes.items()}


def _pieces(sizes: tuple[int, ...], threads: int) -> NDArray[Any]:
    """Split the weights into pieces (the first layer by neurons too), ordered by thread.

    The thread that computes a panel of the first layer's neurons also updates their weights.
    """
    pieces = []
    for number, (n_in, n_out) in enumerate(pairwise(sizes)):
        panels = -(-n_out // (LANES * PANEL))
        most = PIECE_ROWS if number == 0 else PIECE_ROWS // 2
        rows = [(k, min(k + most, n_in)) for k in range(0, n_in, most)] + [(n_in, n_in + 1)]
        together = 1 if number == 0 else panels
        for panel in range(0, panels, together):
            for place, (start, stop) in enumerate(rows):
                share = panel / panels if panels > together else place / len(rows)
                pieces.append((int(share * threads), number, start, stop, panel, together))
    return np.array([piece[1:] for piece in sorted(pieces, key=lambda piece: piece[0])], PIECE)


def _address(array: Array) -> int:
    return array.ctypes.data


def _addresses(array: Array) -> NDArray[np.int64]:
    """Return the addresses of the rows of an array."""
    return _address(array) + array.strides[0] * np.arange(len(array))

"""The records that Python fills and compiled code reads: sizes, settings and addresses.

Fields that end in _at are addresses. Strides are in floats. A vector is LANES floats: one register
of AVX-512, two of AVX2, four of NEON.
"""

import numpy as np

from pipeline.datasets.augment import DISTORTION, MARGIN
from pipeline.datasets.images import HEIGHT, PIXELS
from pipeline.nn.arithmetic import BLOCK, GROUP, LANES, TILE

PANEL = 4
"""Maximum number of output vectors that a kernel computes side by side."""
GROUPS = PIXELS // GROUP
"""Patches per image. A patch is skipped if all its pixels are 0."""
ROUND = 8 * TILE
"""Maximum number of images whose activations are in memory at the same time."""
AT_ONCE = 2 * TILE
"""Images per thread: the activations and gradients of more would leave a core's cache."""
CHUNK = 32
"""Images that a thread takes at a time from the second layer to the loss and back, while the
weights of those layers fit a core's cache; otherwise it takes a tile."""
FITS = 100_000
"""Number of weights that fit."""
CHAINS = PIXELS // BLOCK * TILE * (PANEL | 1) * LANES
"""Floats in which a thread keeps the chains of a tile's images for all blocks of pixels."""
PIECE_ROWS = 56
"""Maximum number of weight rows that a thread takes at a time."""
ROOM_GRADIENT = 8 * LANES
ROOM_LISTS = ROOM_GRADIENT + 4 * PIECE_ROWS * PANEL * LANES
LIST = TILE + 1
"""Bytes of a list of images, with its length."""
SIDE = HEIGHT + 2 * MARGIN
"""Rows and columns of an image with its margin."""
ROOM_IMAGE = ROOM_LISTS + ROUND // TILE * PIECE_ROWS * LIST
ROOM_LEVELS = ROOM_IMAGE + SIDE * SIDE + LANES
ROOM_BYTES = -(-(ROOM_LEVELS + TILE * PIXELS) // 64) * 64
"""A thread's scratch memory: sums, the gradient of a panel of a piece, lists of images, an image
with its margin, a tile of distorted images."""
FEWEST = 8 * LANES
"""A layer of at most so many neurons reads all its inputs, also those that are 0."""
MOST_ACTIVE = 0.6
"""If a larger fraction of a layer's outputs is not 0, leaving out the others does not pay off."""

ACTIVATIONS = {"relu": 1, "sigmoid": 2, "tanh": 3, "none": 4, "softmax": 5}
LOSSES = {"cross_entropy": 1, "mean_squared_error": 2}
OPTIMIZERS = {"sgd": 1, "adam": 2, "adamw": 2}


def _integers(names: str) -> list[tuple[str, type]]:
    return [(name, np.int64) for name in names.split()]


def panel_of(vectors: int, panel: int) -> tuple[int, int]:
    """Return the first vector and the width of a panel, in a matrix of so many vectors.

    The panels of a matrix differ by at most one vector. Compiled code calls this function too.
    """
    panels = (vectors + PANEL - 1) // PANEL
    first = vectors * panel // panels
    return first, vectors * (panel + 1) // panels - first


RUN = np.dtype(
    [
        *_integers("threads layers pieces round chunk classes loss optimizer nesterov batch count"),
        *_integers("sparse kept clips_norm"),  # flags; kept: all tiles are prepared already
        *_integers("layers_at slots_at pieces_at"),
        *_integers("images_at labels_at table_at"),  # (n, PIXELS) levels; (n,); (256,) their inputs
        *_integers("zero"),  # the level of a pixel that is 0, in each of the four bytes of a word
        *_integers("order_at"),  # (count,) image numbers in training order; 0: as stored
        *_integers("chains_at"),  # (threads, CHAINS), all 0 between calls
        *_integers("room_at"),  # (threads, ROOM_BYTES): scratch for sums and a piece's gradient
        *_integers("one_at"),  # a float32 1
        *_integers("costs_at margins_at hits_at"),  # (count,) each: one value per image
        *_integers("probabilities_at"),  # (count, classes), or 0
        *_integers("squares_at"),  # (layers,) float64: sum of the squared gradients per layer
        *_integers("distortions_at"),  # (n,) DISTORTION, or 0
        *_integers("grid_at fields_at"),  # (2, PIXELS); (FIELDS, PIXELS): see `kernels.distort`
        *_integers("drops_at"),  # (n, layers - 1, 2) uint32: `dropout.keys`, or 0
        *_integers("drop_limit"),
        *_integers("rates_at step"),  # (steps,) float64 learning rates; number of the next step
        *_integers(
            "product_at first_layer_at rows_at weights_at squared_at scaled_at fill_at"
        ),  # compiled functions
        *((name, np.float64) for name in ("lr", "clip_norm", "weight_decay")),
        *((name, np.float64) for name in ("beta1", "beta2", "beta1_power", "beta2_power")),
        *((name, np.float32) for name in ("old1", "new1", "old2", "new2")),  # beta, 1 - beta
        *((name, np.float32) for name in ("momentum", "l2", "clip_value", "drop_scale")),
        *((name, np.float32) for name in ("on_target", "off_target")),
    ],
    align=True,
)
LAYER = np.dtype(
    [
        *_integers("n_in n_out vectors stride activation"),
        *_integers("weight_at gradient_at"),  # (n_in + 1, vectors) by panels; last row: the bias
        *_integers("first_at second_at"),  # the same: the optimiser's moments, or 0
        *_integers("turned_at"),  # (n_out, vectors of the inputs) by panels: weights transposed
        *_integers("value_at delta_at"),  # (images, stride): outputs; pre-activation gradients
        *_integers("whole_at"),  # (images, stride): the outputs before dropout
        *_integers("places_at found_at"),  # (images, blocks, BLOCK) and (images, blocks) bytes: the
        # outputs that are not 0, by block, and their numbers; or 0
    ]
)
SLOT = np.dtype(
    [
        *_integers("starts_at"),  # (GROUPS + 1,): list start per group; its last entry is unused
        *_integers("rows_at words_at"),  # per entry: row in the tile; levels of the four pixels
        *_integers("inputs_at"),  # (TILE, PIXELS) floats, used instead if few pixels are 0
        *_integers("labels_at"),
    ]
)
PIECE = np.dtype(_integers("layer start stop panel panels"))
"""A part of a layer's weights that one thread takes: rows `start` to `stop` (row n_in is the bias),
and `panels` panels of neurons from `panel`."""
DISTORTION_BYTES = DISTORTION.itemsize

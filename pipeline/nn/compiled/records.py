"""What compiled code is told: sizes, settings and addresses, in records that both sides read.

Fields that end in _at are addresses; strides are in floats.
"""

import numpy as np

LANES = 16
"""Floats per vector: one register of AVX-512, two of AVX2, four of NEON."""
PANEL = 4
"""Vectors of outputs, at most, that a kernel computes side by side."""
GROUP = 4
"""Pixels of a patch: they are left out together, where all of them are 0."""
PIXELS = 784
GROUPS = PIXELS // GROUP
ORDER = np.arange(PIXELS).reshape(14, 2, 14, 2).transpose(0, 2, 1, 3).ravel()
"""Pixels in the order of sums: patches of 2 x 2, row by row. Strokes fill few of them."""
BLOCK = 112
"""Inputs per chain of a product: 784 = 7 x 112. Blocks are added in order."""
TILE = 128
"""Images per chain of a weight's gradient. Tiles are added in order."""
ROUND = 8 * TILE
"""Images whose activations lie in memory together."""
CHUNK = 32
"""Images that a thread takes from the second layer to the loss and back at a time."""
CHAIN_STRIDE = (PANEL + 1) * LANES
PIECE_ROWS = 56
"""Rows of weights, at most, that a thread takes at a time."""
ROOM_BYTES = 8 * LANES + 4 * PIECE_ROWS * PANEL * LANES

ACTIVATIONS = {"relu": 1, "sigmoid": 2, "tanh": 3, "none": 4, "softmax": 5}
LOSSES = {"cross_entropy": 1, "mean_squared_error": 2}
OPTIMIZERS = {"sgd": 1, "adam": 2}


def _integers(names: str) -> list[tuple[str, type]]:
    return [(name, np.int64) for name in names.split()]


RUN = np.dtype(
    [
        *_integers("threads layers pieces classes loss optimizer batch count"),
        *_integers("sparse kept clips_norm"),
        *_integers("layers_at slots_at pieces_at"),
        *_integers("images_at labels_at table_at"),  # (.., PIXELS) levels; (256,) their inputs
        *_integers("zero"),  # the level of a pixel that is 0, four times in a word
        *_integers("order_at"),  # the images' numbers as they come to training; 0: as they lie
        *_integers("chains_at"),  # (threads, TILE, CHAIN_STRIDE), all 0 between two calls
        *_integers("room_at"),  # (threads, ROOM_BYTES): for sums and a piece's gradient
        *_integers("one_at"),  # a float 1
        *_integers("costs_at margins_at hits_at"),  # of each image
        *_integers("probabilities_at"),  # (count, classes), or 0
        *_integers("squares_at"),  # of each layer's gradients, in float64
        *_integers(
            "product_at first_layer_at rows_at weights_at squared_at scaled_at fill_at"
        ),  # compiled code
        *((name, np.float64) for name in ("lr", "clip_norm", "beta1_power", "beta2_power")),
        *((name, np.float32) for name in ("momentum", "l2", "clip_value")),
    ],
    align=True,
)
LAYER = np.dtype(
    [
        *_integers("n_in n_out vectors stride activation"),
        *_integers("weight_at gradient_at"),  # (n_in + 1, stride): the bias is the last row
        *_integers("first_at second_at"),  # likewise: what the optimiser remembers, or 0
        *_integers("turned_at turned_stride"),  # (n_out, turned_stride): weights transposed
        *_integers("value_at delta_at"),  # (images, stride): outputs; gradients before activation
    ]
)
SLOT = np.dtype(
    [
        *_integers("starts_at"),  # (GROUPS + 1): where each group's list begins; it ends with
        *_integers("rows_at words_at"),  # an entry that does not count. Image's row; its pixels
        *_integers("inputs_at"),  # (TILE, PIXELS) floats, where zeros are few
        *_integers("labels_at"),
    ]
)
PIECE = np.dtype(_integers("layer start stop first width"))
"""A part of a layer's weights that one thread takes: rows, where n_in is that of the biases, and
vectors of neurons."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's, as its authors recommend them."""

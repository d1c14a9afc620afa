"""Read back the images that compiled code has prepared for training."""

import numpy as np

from pipeline.base.params import VariantSettings
from pipeline.nn.arithmetic import GROUP, ORDER, TILE
from pipeline.nn.compiled.code import functions
from pipeline.nn.compiled.engine import CompiledEngine, _address
from pipeline.nn.compiled.records import GROUPS
from pipeline.nn.devices import Draws
from pipeline.nn.training import make_network
from tests.training import TABLE


def tiles_of(images, distortions, fields):
    """Return images (n, 28, 28) as compiled code distorts them."""
    settings = VariantSettings(hidden=[], lr=1.0, batch_size=1, epochs=1)
    engine = CompiledEngine(make_network(settings, 10, 0)[0], settings, 1)
    flat, count = images.reshape(-1, 784), len(images)
    held = engine.hold([(TABLE[flat], np.zeros(count, np.uint8))], count, TABLE)
    run = engine._begin(held)
    engine._describe_draws(held, Draws(distortions, fields))
    slots, found = held.slots(1), np.zeros((count, 784), np.uint8)
    for first in range(0, count, TILE):
        size = min(TILE, count - first)
        functions()["fill"](
            _address(run), slots.address, first, size, _address(engine._room["room"])
        )
        tile = found[first : first + size]
        if run["sparse"][0]:
            for group in range(GROUPS):
                start, stop = slots._starts[0, group], slots._starts[0, group + 1] - 1
                words = slots._words[start:stop].view(np.uint8).reshape(-1, GROUP)
                pixels = ORDER[GROUP * group : GROUP * (group + 1)]
                tile[slots._rows[start:stop, np.newaxis], pixels] = words
        else:
            tile[:, ORDER] = np.round(255 * slots._inputs[0, :size])
    return found.reshape(images.shape)

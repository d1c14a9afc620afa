"""Training in a line, for tests that need a trained network or its reports."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.nn.devices import CPU, Device, Engine
from pipeline.nn.network import Network
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import EpochReport, Training, make_network

Pair = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Inputs (n, 784) and labels (n,)."""


TABLE = Normalization("scale", 0.0, 1.0).table()


def held(engine: Engine, pair: Pair, table: NDArray[np.float32] = TABLE) -> Any:
    """Let an engine hold images. table: the inputs of all pixel values, by default from 0 to 1."""
    return engine.hold([pair], len(pair[1]), table)


def trained(
    settings: VariantSettings,
    training: Pair,
    validation: Pair,
    *,
    seed: int = 0,
    device: Device = CPU,
    threads: int | None = None,
    table: NDArray[np.float32] = TABLE,
) -> tuple[Network, list[EpochReport]]:
    """Train a network of ten classes; return it and the reports of its epochs."""
    network, rng = make_network(settings, 10, seed)
    engine = device.engine(network, settings, threads)
    images, unseen = (held(engine, pair, table) for pair in (training, validation))
    return network, list(Training(engine, settings, HeldImages(images), unseen, rng).epochs())

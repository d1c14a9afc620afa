"""Splits of real digits as the stage `split` writes them, for tests of what comes after it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.images import LabelledImages
from pipeline.datasets.normalization import Normalization
from pipeline.datasets.parquet import write_examples

CLASSES = tuple("0123456789")
SCALE = Normalization("scale", 0.0, 1.0)


def write_splits(
    folder: Path, digits: LabelledImages, parts: Mapping[str, np.ndarray]
) -> dict[str, Examples]:
    """Write and give parts of the digits, by name; each is told by its rows."""
    written = {}
    for name, rows in parts.items():
        taken = digits.take(rows)
        description = Description("mnist-5k", CLASSES, "a test")
        written[name] = Examples(SCALE.apply(taken.images), taken.labels, description, SCALE)
        write_examples(folder / f"{name}.parquet", written[name])
    return written

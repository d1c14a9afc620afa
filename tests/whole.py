"""Sets of images whole in memory, as tests look at them; the pipeline takes them block by block."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets import normalization
from pipeline.datasets.examples import Description
from pipeline.datasets.images import HEIGHT, WIDTH, LabelledImages
from pipeline.datasets.normalization import Normalization
from pipeline.datasets.parquet import open_images
from pipeline.datasets.split import split_rows
from pipeline.raw.contents import Reading
from pipeline.raw.csv import csv_blocks
from pipeline.raw.find import open_raw
from pipeline.raw.idx import idx_image_blocks


def _unexpected(message: str) -> None:
    raise AssertionError(f"unexpected: {message}")


READING = Reading(_unexpected, tuple("0123456789"))


def collect(blocks: Iterable[LabelledImages]) -> LabelledImages:
    empty = LabelledImages(np.empty((0, HEIGHT, WIDTH), np.uint8), np.empty(0, np.uint8))
    every = [empty, *blocks]
    return LabelledImages(
        np.concatenate([block.images for block in every]),
        np.concatenate([block.labels for block in every]),
    )


def read_csv(path: Path) -> LabelledImages:
    return collect(csv_blocks(path, READING))


def read_raw(folder: Path) -> tuple[dict[str, LabelledImages], list[str]]:
    splits, warnings = open_raw(folder)
    return {split: collect(files.blocks(READING)) for split, files in splits.items()}, warnings


def read_idx_images(path: Path) -> NDArray[np.uint8]:
    return np.concatenate([np.empty((0, HEIGHT, WIDTH), np.uint8), *idx_image_blocks(path)])


def read_images(path: Path) -> tuple[LabelledImages, Description]:
    stored = open_images(path)
    return collect(stored.blocks()), stored.description


def split_stratified(
    data: LabelledImages, size: int, seed: int, name: str
) -> tuple[LabelledImages, LabelledImages]:
    rest, part = split_rows(data.labels, size, seed, name)
    return data.take(rest), data.take(part)


def fit_normalization(
    images: NDArray[np.uint8], method: Literal["scale", "standardize"]
) -> Normalization:
    block = LabelledImages(images, np.empty(0, np.uint8))
    return normalization.fit_normalization([block], method)

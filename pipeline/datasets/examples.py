"""Normalised images, ready for a network, and the description stored with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.images import ImageSet
from pipeline.datasets.normalization import Normalization

Pictures = Literal["digit", "as_is"]
"""How a user's picture becomes an image of a dataset: the setting `pictures`."""


@dataclass(frozen=True)
class Description:
    """The contents of a Parquet file, stored in its schema metadata.

    source: the published set that the images equal, or their digests; independent of file format.
    pictures: how a user's picture becomes such an image.
    changes: what was changed in the images and labels of the files, such as `transpose`.
    """

    dataset: str
    class_names: tuple[str, ...]
    source: str
    pictures: Pictures = "digit"
    changes: tuple[str, ...] = ()


class ExampleSet(Protocol):
    """Normalised images, in memory or on disk. labels: (N,) uint8."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all examples, in order."""

    @property
    def description(self) -> Description:
        """The description of the images."""

    @property
    def normalization(self) -> Normalization:
        """The map from pixels to inputs."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def blocks(self) -> "Iterator[Examples]":
        """Yield all examples once, in order, in blocks that fit easily in memory."""


@dataclass(frozen=True)
class Examples:
    """Normalised images in memory. inputs: (N, 784) float32; labels: (N,) uint8."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.uint8]
    description: Description
    normalization: Normalization

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> "Examples":
        """Return the first `count` examples, or all if there are fewer or `count` is None."""
        return Examples(
            self.inputs[:count], self.labels[:count], self.description, self.normalization
        )

    def blocks(self) -> "Iterator[Examples]":
        """Yield all examples as a single block."""
        yield self


@dataclass(frozen=True)
class NormalizedImages:
    """Images that are normalised as they are read, block by block."""

    images: ImageSet
    description: Description
    normalization: Normalization

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all images, in order."""
        return self.images.labels

    def __len__(self) -> int:
        return len(self.images)

    def blocks(self) -> Iterator[Examples]:
        """Yield the blocks of images, normalised."""
        for block in self.images.blocks():
            inputs = self.normalization.apply(block.images)
            yield Examples(inputs, block.labels, self.description, self.normalization)

"""What convert changes in a set: its scale, polarity, orientation and labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.base.errors import DataError, exact
from pipeline.base.params import DatasetSettings
from pipeline.datasets.images import LabelledImages


@dataclass(frozen=True)
class Changes:
    """The changes that a dataset's settings ask for, in the order in which they are made.

    name: that of the dataset, for messages.
    """

    name: str
    scale: float
    invert: bool
    transpose: bool
    first_label: int

    def described(self) -> tuple[str, ...]:
        """Return the changes in words, such as `scale 255`; none if nothing is changed."""
        words = {
            f"scale {exact(self.scale)}": self.scale != 1,
            "invert": self.invert,
            "transpose": self.transpose,
            f"first_label {self.first_label}": self.first_label != 0,
        }
        return tuple(word for word, made in words.items() if made)

    def made(self, split: str, blocks: Iterable[LabelledImages]) -> Iterator[LabelledImages]:
        """Yield the blocks of a split, changed.

        Raises DataError, naming the setting, if pixels or labels leave their range.
        """
        for block in blocks:
            images, labels = block.images, block.labels
            if self.scale != 1:
                pixels = np.rint(images * self.scale)
                if len(images) and (highest := pixels.max()) > 255:
                    raise DataError(
                        f"datasets.{self.name}.scale must give pixels up to 255, got "
                        f"{exact(highest)} in the {split} set with {exact(self.scale)}"
                    )
                images = pixels.astype(np.uint8)
            if self.invert:
                images = 255 - images
            if self.transpose:
                images = np.ascontiguousarray(images.transpose(0, 2, 1))
            if self.first_label:
                if len(labels) and (lowest := labels.min()) < self.first_label:
                    raise DataError(
                        f"datasets.{self.name}.first_label must be the lowest label, got "
                        f"{self.first_label}, but the {split} set has label {lowest}"
                    )
                labels = labels - np.uint8(self.first_label)
            yield LabelledImages(images, labels)


def changes_of(name: str, settings: DatasetSettings) -> Changes:
    """Return the changes that the settings of a dataset ask for."""
    return Changes(
        name,
        1.0 if settings.scale is None else settings.scale,
        bool(settings.invert),
        bool(settings.transpose),
        settings.first_label or 0,
    )

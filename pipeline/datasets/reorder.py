"""Reordering of images on disk, since there may be more than fit in memory.

Any order is possible, and every set is read from front to end. A first pass distributes the images
to bins by their new places; a second pass sorts one bin after another in memory (distribution sort:
Knuth, The Art of Computer Programming, volume 3, section 5.2.5).
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH, ImageSet, LabelledImages
from pipeline.datasets.pixel_file import ROW_GROUP
from pipeline.datasets.split import Rows, split_rows

_RECORD = np.dtype([("place", np.uint32), ("image", np.uint8, PIXELS)])
"""An image and its place in the new order."""


@dataclass(frozen=True)
class ScratchImages:
    """Images in a scratch file, in bins of ROW_GROUP; their labels, one byte per image, in memory.

    file: holds records; those of this set start at number `first`.
    """

    labels: NDArray[np.uint8]
    file: IO[bytes]
    first: int

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self) -> Iterator[LabelledImages]:
        """Yield the images in order, one bin at a time."""
        for start in range(0, len(self), ROW_GROUP):
            labels = self.labels[start : start + ROW_GROUP]
            self.file.seek((self.first + start) * _RECORD.itemsize)
            content = self.file.read(len(labels) * _RECORD.itemsize)
            records = np.frombuffer(content, _RECORD)
            images = records["image"][np.argsort(records["place"])]
            yield LabelledImages(images.reshape(-1, HEIGHT, WIDTH), labels)


class Scratch:
    """Temporary storage for images in a folder, for the duration of the `with` block.

    The files have no name, so nothing is left of them however the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._files.close()

    def store(self, blocks: Iterable[LabelledImages]) -> ScratchImages:
        """Store images in the order in which they come."""
        file = self._new_file()
        labels = [np.empty(0, np.uint8)]
        count = 0
        for block in blocks:
            places = np.arange(count, count + len(block), dtype=np.uint32)
            file.write(_records(places, block.images).data)
            labels.append(block.labels)
            count += len(block)
        return ScratchImages(np.concatenate(labels), file, 0)

    def split(
        self, data: ImageSet, size: int, seed: int, name: str
    ) -> tuple[ScratchImages, ScratchImages]:
        """Split a set of any size as `split_rows` does. Raises DataError likewise."""
        rest, part = self.reorder(data, split_rows(data.labels, size, seed, name))
        return rest, part

    def reorder(self, data: ImageSet, parts: Sequence[Rows]) -> list[ScratchImages]:
        """Store the images at the rows of each part, in that order.

        Every row of `data` must be in exactly one part.
        """
        places = np.empty(len(data), np.uint32)
        firsts, bins, first = [], [], 0
        for rows in parts:
            after = first + len(rows)
            places[rows] = np.arange(first, after, dtype=np.uint32)
            firsts.append(first)
            bins.append(np.arange(first, after, ROW_GROUP))
            first = after
        # A bin's records are contiguous from its first place, in the order in which they came.
        starts = np.concatenate(bins)
        file, ends = self._new_file(), starts.copy()
        row = 0
        for block in data.blocks():
            wanted = places[row : row + len(block)]
            row += len(block)
            bin_of = np.searchsorted(starts, wanted, side="right") - 1
            order = np.argsort(bin_of, kind="stable")
            records = _records(wanted[order], block.images[order])
            filled, runs = np.unique(bin_of[order], return_index=True)
            for number, run in zip(filled, np.split(records, runs)[1:], strict=True):
                file.seek(ends[number] * _RECORD.itemsize)
                file.write(run.data)
                ends[number] += len(run)
        return [
            ScratchImages(data.labels[rows], file, first)
            for rows, first in zip(parts, firsts, strict=True)
        ]

    def _new_file(self) -> IO[bytes]:
        return self._files.enter_context(tempfile.TemporaryFile(dir=self._folder))


def _records(places: NDArray[np.uint32], images: NDArray[np.uint8]) -> NDArray[np.void]:
    records = np.empty(len(places), _RECORD)
    records["place"] = places
    records["image"] = images.reshape(-1, PIXELS)
    return records

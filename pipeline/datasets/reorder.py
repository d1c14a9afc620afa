"""Reordering of images on disk, since there may be more than fit in memory.

Any order is possible, and every set is read from front to end. A first pass distributes the images
to bins by their new places; a second pass puts the images of one bin after another in their places
in memory (distribution sort: Knuth, The Art of Computer Programming, volume 3, section 5.2.5).

A digest of all pairs of image and label is compared before and after, because a disk, memory or
processor that makes mistakes would otherwise give images the labels of others.
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

from pipeline.base.errors import DataError
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH, ImageSet, LabelledImages
from pipeline.datasets.pixel_file import ROW_GROUP
from pipeline.datasets.split import Rows, split_rows

_RECORD = np.dtype([("place", np.uint32), ("image", np.uint8, PIXELS)])
"""An image and its place in the new order."""
_FACTORS = np.random.default_rng(0).integers(1 << 64, size=PIXELS // 8 + 1, dtype=np.uint64) | 1
"""A factor for every 8 pixels, and one for the label."""


@dataclass(frozen=True)
class ScratchImages:
    """Images in a scratch file, in bins of ROW_GROUP; their labels, one byte per image, in memory.

    file: holds records; those of this set start at number `first`. digest: of the images that came,
    with their labels.
    """

    labels: NDArray[np.uint8]
    file: IO[bytes]
    first: int
    digest: int

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self) -> Iterator[LabelledImages]:
        """Yield the images in order, one bin at a time.

        Raises DataError at the end if they are not the images and labels that came.
        """
        digest = 0
        for start in range(0, len(self), ROW_GROUP):
            labels = self.labels[start : start + ROW_GROUP]
            self.file.seek((self.first + start) * _RECORD.itemsize)
            content = self.file.read(len(labels) * _RECORD.itemsize)
            records = np.frombuffer(content, _RECORD)
            images = np.zeros((len(labels), PIXELS), np.uint8)
            places = (records["place"] - np.uint32(self.first + start)) % np.uint32(len(labels))
            images[places] = records["image"]
            digest += int(_digests(images, labels).sum(dtype=np.uint64))
            yield LabelledImages(images.reshape(-1, HEIGHT, WIDTH), labels)
        if digest % (1 << 64) != self.digest:
            raise DataError(
                "images or labels changed while they were put in a new order; "
                "this machine's disk, memory or processor makes mistakes"
            )


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
        count, digest = 0, np.zeros(1, np.uint64)
        for block in blocks:
            places = np.arange(count, count + len(block), dtype=np.uint32)
            file.write(_records(places, block.images).data)
            labels.append(block.labels)
            count += len(block)
            digest += _digests(block.images, block.labels).sum(dtype=np.uint64)
        return ScratchImages(np.concatenate(labels), file, 0, int(digest[0]))

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
        row, digests = 0, np.zeros(len(parts), np.uint64)
        for block in data.blocks():
            wanted = places[row : row + len(block)]
            row += len(block)
            part_of = np.searchsorted(firsts, wanted, side="right") - 1
            np.add.at(digests, part_of, _digests(block.images, block.labels))
            bin_of = np.searchsorted(starts, wanted, side="right") - 1
            for number in np.flatnonzero(np.bincount(bin_of)):
                chosen = bin_of == number
                records = _records(wanted[chosen], block.images[chosen])
                file.seek(ends[number] * _RECORD.itemsize)
                file.write(records.data)
                ends[number] += len(records)
        return [
            ScratchImages(data.labels[rows], file, first, int(digest))
            for rows, first, digest in zip(parts, firsts, digests, strict=True)
        ]

    def _new_file(self) -> IO[bytes]:
        return self._files.enter_context(tempfile.TemporaryFile(dir=self._folder))


def _digests(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return a number (N,) for each pair of image and label; their sum does not depend on order."""
    words = np.ascontiguousarray(images).reshape(-1, PIXELS).view(np.uint64)
    pairs = words @ _FACTORS[:-1] + labels * _FACTORS[-1]
    # Without the shift, which is not linear, the sum would stay the same if labels were exchanged.
    digests: NDArray[np.uint64] = (pairs ^ (pairs >> np.uint64(32))) * _FACTORS[0]
    return digests


def _records(places: NDArray[np.uint32], images: NDArray[np.uint8]) -> NDArray[np.void]:
    records = np.empty(len(places), _RECORD)
    records["place"] = places
    records["image"] = images.reshape(-1, PIXELS)
    return records

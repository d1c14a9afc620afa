"""The IDX format of MNIST: a big-endian header, then the bytes of an array.

Format: https://yann.lecun.com/exdb/mnist/ (section "The IDX file format"). QMNIST's labels are rows
of eight 32-bit numbers, of which the first is the class:
https://github.com/facebookresearch/qmnist#22-using-the-qmnist-extended-labels.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.base.unpack import Unpacked
from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.raw.contents import Content, Images, Labels, as_labels

UNSIGNED_BYTE = 0x08
INT = 0x0C
QMNIST_COLUMNS = 8
BYTES, NUMBERS = np.dtype(np.uint8), np.dtype(">i4")
CHUNK = 1 << 23
"""Bytes per read, so that neither a long file nor a false header takes more memory."""


def idx_contents(path: Path) -> list[Content]:
    """Return what a file holds by its name: the images or the labels of a split."""
    if "images" in path.name.lower():
        return [Images(None, lambda: count_idx_images(path), lambda _: idx_image_blocks(path))]
    return [Labels(None, lambda: read_idx_labels(path))]


def idx_image_blocks(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Read an IDX file, plain or gzip, in blocks of `(n, 28, 28)` uint8.

    Raises DataError, naming the file, if it is truncated, damaged or of another shape. Damage is
    detected only on reaching it.
    """
    return _blocks(path, (HEIGHT, WIDTH))


def count_idx_images(path: Path) -> int:
    """Return the number of images stated in an IDX file's header. Raises DataError likewise."""
    with _opened(path) as file:
        return _read_header(path, file, (HEIGHT, WIDTH), BYTES)


def read_idx_labels(path: Path) -> NDArray[np.uint8]:
    """Read `(N,)` uint8 labels from an IDX file, plain or gzip: bytes, or QMNIST's rows of numbers.

    Raises DataError likewise.
    """
    with _opened(path) as file:
        kind = file.read(4)[2:3]
    if kind != bytes([INT]):
        return np.concatenate([np.empty(0, np.uint8), *_blocks(path, ())])
    row = (QMNIST_COLUMNS,)
    numbers = [block[:, 0] for block in _blocks(path, row, NUMBERS)]
    return as_labels(path, np.concatenate([np.empty(0, NUMBERS), *numbers]))


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Return the IDX header of an unsigned-byte array of this shape."""
    return struct.pack(f">HBB{len(shape)}I", 0, UNSIGNED_BYTE, len(shape), *shape)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an unsigned-byte array of any shape as a plain IDX file."""
    with open(path, "wb") as file:
        file.write(idx_header(array.shape))
        file.write(np.ascontiguousarray(array).data)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | Unpacked]:
    """Open a file, decompressing it if it is gzip. Raises DataError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        if compressed:
            with Unpacked(path) as unpacked:
                yield unpacked
        else:
            with open(path, "rb") as file:
                yield file
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _blocks(
    path: Path, item_shape: tuple[int, ...], kind: np.dtype[Any] = BYTES
) -> Iterator[NDArray[Any]]:
    with _opened(path) as file:
        count = _read_header(path, file, item_shape, kind)
        item = int(np.prod(item_shape, dtype=np.int64)) * kind.itemsize
        for start in range(0, count, CHUNK // item):
            rows = min(CHUNK // item, count - start)
            content = file.read(rows * item)
            if len(content) < rows * item:
                raise _wrong_size(path, count, item, str(start * item + len(content)))
            yield np.frombuffer(content, kind).reshape(rows, *item_shape)
        # Reading one more byte detects a file that is too long without reading all of it. It also
        # takes a gzip file to its end, where the checksum is verified.
        if file.read(1):
            raise _wrong_size(path, count, item, "more")


def _read_header(
    path: Path, file: BinaryIO | Unpacked, item_shape: tuple[int, ...], kind: np.dtype[Any]
) -> int:
    """Read and check the header, and return the number of items that it states."""
    dimensions = 1 + len(item_shape)
    code = INT if kind.itemsize == 4 else UNSIGNED_BYTE
    expected_magic = bytes([0, 0, code, dimensions])
    magic = file.read(4)
    if magic != expected_magic:
        raise DataError(
            f"{path} must start with the IDX magic number {expected_magic.hex()}, "
            f"got {magic.hex() or 'an empty file'}"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise DataError(f"{path} is truncated in its header")
    count, *shape = struct.unpack(f">{dimensions}I", header)
    if tuple(shape) != item_shape:
        what = "images of {} pixels" if code == UNSIGNED_BYTE else "labels of {} numbers"
        raise DataError(
            f"{path} must hold {what.format('x'.join(map(str, item_shape)))}, "
            f"got {'x'.join(map(str, shape))}"
        )
    return int(count)


def _wrong_size(path: Path, count: int, item: int, actual: str) -> DataError:
    return DataError(
        f"{path} must hold {count * item} bytes after its header of {count} items, got {actual}"
    )

"""The IDX format of MNIST: a big-endian header, then the bytes of an array.

Format: https://yann.lecun.com/exdb/mnist/ (section "The IDX file format").
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.errors import DataError

UNSIGNED_BYTE = 0x08
CHUNK = 1 << 24
"""Bytes read at once, so that a header's promise alone takes no memory."""


def read_idx_images(path: Path) -> NDArray[np.uint8]:
    """Read `(N, 28, 28)` uint8 images from an IDX file, gzip or not.

    Raises DataError, naming the file, if it is truncated, damaged or of another shape.
    """
    return _read(path, (HEIGHT, WIDTH))


def read_idx_labels(path: Path) -> NDArray[np.uint8]:
    """Read `(N,)` uint8 labels from an IDX file, gzip or not. Raises DataError likewise."""
    return _read(path, ())


def idx_header(array: NDArray[np.uint8]) -> bytes:
    """Give the IDX header that belongs before the array's bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *array.shape)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an unsigned-byte array of any shape as a plain IDX file."""
    with open(path, "wb") as file:
        file.write(idx_header(array))
        file.write(np.ascontiguousarray(array).data)


def _read(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        if compressed:
            with gzip.open(path, "rb") as file:
                return _parse(path, file, item_shape)
        with open(path, "rb") as file:
            return _parse(path, file, item_shape)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _parse(
    path: Path, file: BinaryIO | gzip.GzipFile, item_shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    dimensions = 1 + len(item_shape)
    expected_magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    magic = file.read(4)
    if magic != expected_magic:
        raise DataError(
            f"{path} must start with the IDX magic {expected_magic.hex()}, "
            f"got {magic.hex() or 'an empty file'}"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise DataError(f"{path} is truncated in its header")
    count, *shape = struct.unpack(f">{dimensions}I", header)
    if tuple(shape) != item_shape:
        raise DataError(
            f"{path} must hold images of {HEIGHT}x{WIDTH} pixels, got {'x'.join(map(str, shape))}"
        )
    size = count * int(np.prod(item_shape, dtype=np.int64))
    content = bytearray()
    # Anything more than promised tells a file that is too long without reading all of it.
    while len(content) <= size and (chunk := file.read(min(CHUNK, size + 1 - len(content)))):
        content += chunk
    if len(content) != size:
        actual = "more" if len(content) > size else f"{len(content)}"
        raise DataError(
            f"{path} must hold {size} bytes after its header of {count} items, got {actual}"
        )
    return np.frombuffer(content, np.uint8).reshape(count, *item_shape)

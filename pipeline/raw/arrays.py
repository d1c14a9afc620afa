"""NumPy's files: .npy, and .npz as Keras, KMNIST and MedMNIST have them.

An array is images or labels by its shape, and of the split that its name says. It is read block by
block, and never unpickled. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.base.unpack import UNZIP_ERRORS, most_unpacked
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH
from pipeline.raw.contents import Content, Images, Labels, NoImagesError, as_labels
from pipeline.raw.greys import as_bytes
from pipeline.raw.names import split_of

HEADER_ERRORS = (
    KeyError, MemoryError, RecursionError, SyntaxError, TokenError, TypeError, ValueError,
)  # fmt: skip
"""Errors that NumPy raises for a damaged header, which is the text of a Python dictionary."""
BLOCK = 4_096
"""Images per block."""
IMAGE_SHAPES = {(HEIGHT, WIDTH), (PIXELS,), (HEIGHT, WIDTH, 1), (1, HEIGHT, WIDTH)}


def npy_contents(path: Path) -> list[Content]:
    """Return what a .npy file holds. Raises DataError, naming the file, if it cannot be read."""
    return [_content(path, lambda: _opened(path), None)]


def npz_contents(path: Path) -> list[Content]:
    """Return what the arrays in a .npz file hold. Raises DataError, naming the file, likewise."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            unpacked = sum(info.file_size for info in archive.infolist())
    except (OSError, *UNZIP_ERRORS) as error:
        raise DataError(f"{path} is a damaged .npz file: {error}") from error
    if not names:
        raise NoImagesError(f"{path} must hold arrays of images and labels, got none")
    if unpacked > most_unpacked(path):
        raise DataError(f"{path} must unpack to at most {most_unpacked(path)} bytes")
    return [
        _content(
            f"{path} ({name.removesuffix('.npy')})",
            lambda name=name: _member(path, name),  # type: ignore[misc]
            split_of(name.removesuffix(".npy")),
        )
        for name in names
    ]


def array_content(
    place: object,
    shape: tuple[int, ...],
    split: str | None,
    blocks: Callable[[], Iterator[NDArray[Any]]],
) -> Content:
    """Return what an array holds by its shape: (N,) or (N, 1) labels, or N images of 28x28.

    blocks: reads it along its first axis. Raises DataError, naming the place, for other shapes.
    """
    if len(shape) == 1 or (len(shape) == 2 and 1 in shape):

        def read() -> NDArray[np.uint8]:
            parts = [block.reshape(-1) for block in blocks()]
            return as_labels(place, np.concatenate(parts) if parts else np.empty(0, np.uint8))

        return Labels(split, read)
    if shape[1:] not in IMAGE_SHAPES:
        raise DataError(
            f"{place} must be labels of shape (N,) or images of shape (N, {HEIGHT}, {WIDTH}) or "
            f"(N, {PIXELS}), got {shape}"
        )

    def images(reading: Any) -> Iterator[NDArray[np.uint8]]:
        for block in as_bytes(place, blocks, reading):
            yield block.reshape(-1, HEIGHT, WIDTH)

    return Images(split, lambda: shape[0], images)


def _content(place: object, opened: Callable[[], Any], split: str | None) -> Content:
    with opened() as file:
        shape, kind = _header(place, file)

    def blocks() -> Iterator[NDArray[Any]]:
        item = int(np.prod(shape[1:], dtype=np.int64)) * kind.itemsize
        with opened() as file:
            _header(place, file)
            for start in range(0, shape[0], BLOCK):
                rows = min(BLOCK, shape[0] - start)
                content = file.read(rows * item)
                if len(content) < rows * item:
                    raise DataError(
                        f"{place} must hold {shape[0] * item} bytes after its header, "
                        f"got {start * item + len(content)}"
                    )
                yield np.frombuffer(content, kind).reshape(rows, *shape[1:])
            file.read(1)  # to the end, where an archive's checksum is verified

    return array_content(place, shape, split, blocks)


def _header(place: object, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read and check the header of an array, and return its shape and type."""
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Python 2 wrote numbers as 784L
            shape, by_columns, kind = read(file)
    except HEADER_ERRORS as error:
        raise DataError(f"{place} is not a NumPy array: {str(error)[:200]}") from error
    if kind.hasobject:
        raise DataError(
            f"{place} holds Python objects, which are pickled: they can run any program when they "
            "are read, and are not opened; save numbers instead"
        )
    if kind.kind not in "buif" or kind.itemsize > 8:
        raise DataError(f"{place} must hold numbers, got {kind}")
    if by_columns and len(shape) > 1 and 1 not in shape:
        raise DataError(
            f"{place} is stored column by column; save numpy.ascontiguousarray of it instead"
        )
    if not shape or min(shape) < 0:
        raise DataError(f"{place} must have one entry per image, got shape {shape}")
    return shape, kind


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def _member(path: Path, name: str) -> Iterator[IO[bytes]]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            yield file
    except (OSError, *UNZIP_ERRORS) as error:
        raise DataError(f"{path} is a damaged .npz file: {error}") from error

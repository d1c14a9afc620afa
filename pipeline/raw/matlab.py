"""MATLAB's .mat files, as EMNIST and mnist-original have them, read with SciPy.

Unlike other formats, a file is held in memory as a whole while it is read. Format:
https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, in_one_line
from pipeline.base.unpack import most_unpacked
from pipeline.datasets.images import PIXELS
from pipeline.raw.arrays import array_content
from pipeline.raw.contents import Content
from pipeline.raw.names import split_of

COMPRESSED = 15
"""The type of a compressed element."""
HEADER = 128
CHUNK = 1 << 20
OTHERS = ("writers", "mapping")
"""What EMNIST's files hold besides images and labels."""


def mat_contents(path: Path) -> list[Content]:
    """Return what the arrays in a file hold: by shape, and of the split that their names say.

    Raises DataError, naming the file, if it cannot be read.
    """
    return [
        array_content(
            f"{path} ({name})",
            array.shape,
            split_of(name.replace(".", "-")),
            lambda name=name: iter([_read(path)[name]]),  # type: ignore[misc]
        )
        for name, array in _read(path).items()
    ]


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of images (one per row) and labels, by name."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    _check_size(path)
    try:
        variables = loadmat(path, verify_compressed_data_integrity=True)
    except NotImplementedError as error:
        raise DataError(
            f"{path} is a .mat file of version 7.3, which is HDF5; save it with -v7"
        ) from error
    except (
        MatReadError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError,
        OverflowError, EOFError, MemoryError, zlib.error,
    ) as error:  # fmt: skip
        raise DataError(f"{path} is a damaged .mat file: {in_one_line(error)}") from error
    return {name: _by_rows(array) for name, array in _arrays("", variables)}


def _arrays(name: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of images and labels in nested structs, with their paths."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not key.startswith("__"):
                yield from _arrays(key, inner)
    elif isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        for key in value.dtype.names:
            yield from _arrays(f"{name}.{key}", value[key].flat[0])
    elif (
        isinstance(value, np.ndarray)
        and value.dtype.kind in "buif"
        and value.ndim == 2
        and name.rpartition(".")[2] not in OTHERS
    ):
        yield name, value


def _by_rows(array: NDArray[Any]) -> NDArray[Any]:
    if 1 in array.shape:
        return array.reshape(-1)
    if array.shape[0] == PIXELS != array.shape[1]:  # one image per column
        array = array.T
    return np.ascontiguousarray(array)


def _check_size(path: Path) -> None:
    """Raise DataError if compressed elements unpack to too much."""
    most, total = most_unpacked(path), 0
    try:
        with open(path, "rb") as file:
            order = {b"IM": "<", b"MI": ">"}.get(file.read(HEADER)[-2:], "<")
            while len(tag := file.read(8)) == 8:
                kind, size = struct.unpack(f"{order}II", tag)
                if kind != COMPRESSED:
                    file.seek(size, 1)
                    continue
                unpacker = zlib.decompressobj()
                rest = file.read(size)
                while rest and not unpacker.eof:
                    total += len(unpacker.decompress(rest, CHUNK))
                    rest = unpacker.unconsumed_tail
                    if total > most:
                        raise DataError(f"{path} must unpack to at most {most} bytes")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except zlib.error as error:
        raise DataError(f"{path} is a damaged .mat file: {error}") from error

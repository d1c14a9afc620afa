"""MATLAB's .mat files up to version 7, as EMNIST and mnist-original have them.

Only arrays of numbers are read, also inside structs. SciPy's reader ends the process on some
damaged files, so this one checks every length. Unlike other formats, a file is held in memory as a
whole while it is read. Format, in chapter 1:
https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.base.unpack import most_unpacked
from pipeline.datasets.images import PIXELS
from pipeline.raw.arrays import array_content
from pipeline.raw.contents import Content, NoImagesError
from pipeline.raw.names import split_of

HEADER = 128
VERSION_7_3 = 2
NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
"""Types of numbers, by the type of an element."""
INT32, MATRIX, COMPRESSED = 5, 14, 15
STRUCT, NUMERIC = 2, range(6, 16)
"""Classes of arrays."""
DEEPEST = 8
"""Structs inside one another; EMNIST has three."""
OTHERS = ("writers", "mapping")
"""What EMNIST's files hold besides images and labels."""


def mat_contents(path: Path) -> list[Content]:
    """Return what the arrays in a file hold: by shape, and of the split that their names say.

    Raises DataError, naming the file, if it cannot be read.
    """
    arrays = _read(path)
    if not arrays:
        raise NoImagesError(f"{path} must hold arrays of images and labels, got none")
    return [
        array_content(
            f"{path} ({name})",
            array.shape,
            split_of(name.replace(".", "-")),
            lambda name=name: iter([_read(path)[name]]),  # type: ignore[misc]
        )
        for name, array in arrays.items()
    ]


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of images (one per row) and labels, by name."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    mark = content[HEADER - 2 : HEADER]
    if mark not in (b"IM", b"MI"):
        raise DataError(f"{path} must be a .mat file of version 5 to 7; save it with -v7")
    order = "<" if mark == b"IM" else ">"
    if struct.unpack(f"{order}H", content[HEADER - 4 : HEADER - 2])[0] >> 8 == VERSION_7_3:
        raise DataError(f"{path} is a .mat file of version 7.3, which is HDF5; save it with -v7")
    arrays: dict[str, NDArray[Any]] = {}
    left = most_unpacked(path)
    try:
        for element in _elements(memoryview(content)[HEADER:], order):
            if element.kind == COMPRESSED:
                unpacked = zlib.decompressobj().decompress(element.data, left + 1)
                left -= len(unpacked)
                if left < 0:
                    raise DataError(f"{path} must unpack to at most {most_unpacked(path)} bytes")
                inner = next(_elements(memoryview(unpacked), order), None)
                if inner is None:
                    raise _DamagedError("an empty element")
                element = inner
            if element.kind == MATRIX:
                arrays.update(_arrays(element.data, order, "", DEEPEST))
    except (_DamagedError, zlib.error) as error:
        raise DataError(f"{path} is a damaged .mat file: {error}") from error
    return {
        name: _by_rows(array)
        for name, array in arrays.items()
        if array.ndim == 2 and name.rpartition(".")[2] not in OTHERS
    }


def _by_rows(array: NDArray[Any]) -> NDArray[Any]:
    if 1 in array.shape:
        return array.reshape(-1)
    if array.shape[0] == PIXELS != array.shape[1]:  # one image per column
        array = array.T
    return np.ascontiguousarray(array)


class _DamagedError(Exception):
    """A length or a type in a file is impossible."""


@dataclass(frozen=True)
class _Element:
    kind: int
    data: memoryview

    def numbers(self, order: str) -> NDArray[Any]:
        """Return the numbers in an element."""
        if self.kind not in NUMBERS:
            raise _DamagedError(f"numbers of type {self.kind}")
        kind = np.dtype(order + NUMBERS[self.kind])
        if len(self.data) % kind.itemsize:
            raise _DamagedError(f"{len(self.data)} bytes of numbers of {kind.itemsize} bytes")
        return np.frombuffer(self.data, kind)


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """Yield the elements that follow one another in some data."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise _DamagedError("it ends inside an element")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start, after = at + 8, at + 8 + size
        if kind >> 16:  # a small element has its size and data in the same eight bytes
            kind, size = kind & 0xFFFF, kind >> 16
            start, after = at + 4, at + 4 + size
            if size > 4:
                raise _DamagedError(f"a small element of {size} bytes")
            at += 8
        else:
            at = after if kind == COMPRESSED else after + -size % 8
        if after > len(data):
            raise _DamagedError(f"an element of {size} bytes where {len(data) - start} are left")
        yield _Element(kind, data[start:after])


def _arrays(
    data: memoryview, order: str, name: str, depth: int
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of numbers in an array or in its fields, with their paths."""
    elements = _elements(data, order)

    def following() -> _Element:
        element = next(elements, None)
        if element is None:
            raise _DamagedError("an array that is not whole")
        return element

    if not len(data):
        return
    flags = following().numbers(order)
    shape = tuple(int(size) for size in following().numbers(order))
    own = bytes(following().data).decode("latin-1")
    name = name or own
    kind = int(flags[0]) & 0xFF if len(flags) else 0
    if min(shape, default=-1) < 0:
        raise _DamagedError(f"an array of shape {shape}")
    if kind in NUMERIC:
        values = following().numbers(order)
        if len(values) != math.prod(shape):
            raise _DamagedError(f"{len(values)} numbers in an array of shape {shape}")
        yield name, values.reshape(shape, order="F")
    elif kind == STRUCT and math.prod(shape) == 1 and depth:
        lengths, text = following().numbers(order), bytes(following().data)
        length = int(lengths[0]) if len(lengths) else 0
        if length < 1:
            raise _DamagedError(f"names of {length} characters")
        for start in range(0, len(text), length):
            field = text[start : start + length].split(b"\0")[0].decode("latin-1")
            inner = following()
            if inner.kind == MATRIX:
                yield from _arrays(inner.data, order, f"{name}.{field}", depth - 1)

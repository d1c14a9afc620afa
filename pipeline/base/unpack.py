"""Limits on decompression. Digits compress to a tenth, a decompression bomb to a thousandth."""

import gzip
import lzma
import struct
import zipfile
import zlib
from pathlib import Path

from pipeline.base.errors import DataError

RATIO = 100
"""Bytes that a compressed byte may unpack to; for a CSV file of black and white digits it is 30."""
FREE = 32 << 20
"""Bytes that any file may unpack to: small files of blank images compress to almost nothing."""
UNZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""Errors besides OSError that zipfile raises for a damaged or encrypted archive."""


def most_unpacked(path: Path) -> int:
    """Return the maximum number of bytes that a compressed file may unpack to."""
    return max(FREE, RATIO * path.stat().st_size)


class Unpacked(gzip.GzipFile):
    """A readable gzip file. Reading raises DataError if it is damaged or a bomb."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._path = path
        self._most = most_unpacked(path)

    def read(self, size: int | None = -1) -> bytes:
        """Read at most `size` bytes."""
        left = self._most + 1 - self.tell()
        try:
            content = super().read(left if size is None or size < 0 else min(size, left))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{self._path} is a damaged gzip file: {error}") from error
        if self.tell() > self._most:
            raise DataError(f"{self._path} must unpack to at most {self._most} bytes")
        return content

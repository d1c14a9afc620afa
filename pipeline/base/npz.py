"""Archives of arrays, `.npz`, that are the same bytes for the same arrays.

`numpy.savez` writes a header that differs between versions of Python.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date in a zip: the bytes do not depend on the clock


def add_text(archive: zipfile.ZipFile, name: str, text: str) -> None:
    """Add a text to an archive, uncompressed."""
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), text)


def add_arrays(archive: zipfile.ZipFile, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Add arrays by name to an archive, uncompressed: weights hardly compress, and zlibs differ."""
    for name, array in arrays.items():
        content = io.BytesIO()
        np.lib.format.write_array(content, array, allow_pickle=False)
        archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), content.getbuffer())

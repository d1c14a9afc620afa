"""Damage to files, as a failing disk or transfer does it."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def flipped_bits(path: Path, bits: Iterable[int] | None = None) -> Iterator[int]:
    """Yield the number of each bit of a file, or of some, while that bit is flipped."""
    content = path.read_bytes()
    with open(path, "r+b", buffering=0) as file:
        for bit in range(8 * len(content)) if bits is None else bits:
            place, mask = bit // 8, 1 << bit % 8
            os.pwrite(file.fileno(), bytes([content[place] ^ mask]), place)
            yield bit
            os.pwrite(file.fileno(), content[place : place + 1], place)

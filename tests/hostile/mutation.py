"""Random changes that turn a valid file into a nearly valid one."""

import gzip
import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from random import Random

from pipeline.base.unpack import UNZIP_ERRORS

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers that often break readers."""

Change = Callable[[bytes], bytes]


def mutated(content: bytes, words: tuple[bytes, ...], random: Random) -> bytes:
    """Change a file once or a few times, half of the time inside its container.

    The container is written again with correct checksums, as that of a malicious file would be.
    """

    def change(part: bytes) -> bytes:
        for _ in range(random.choice((1, 1, 2, 3, 6))):
            part = _changed(part, words, random)
        return part

    if random.random() < 0.5:
        with suppress(OSError, *UNZIP_ERRORS):  # an earlier change broke the container
            return _inside(content, change, random)
    return change(content)


def _changed(content: bytes, words: tuple[bytes, ...], random: Random) -> bytes:
    start = random.randint(0, len(content))
    end = min(len(content), start + random.choice((1, 1, 2, 4, 16, 256)))
    before, part, after = content[:start], content[start:end], content[end:]
    number, order = random.choice(NUMBERS), random.choice("<>")
    elsewhere = random.randint(0, len(content))
    flipped = bytes(byte ^ 1 << random.randrange(8) for byte in part)
    return random.choice(
        (
            before,
            before + after,
            before + part * random.choice((2, 3, 50)) + after,
            before + random.randbytes(len(part)) + after,
            before + flipped + after,
            before + struct.pack(f"{order}I", number) + content[start + 4 :],
            before + struct.pack(f"{order}H", number & 0xFFFF) + content[start + 2 :],
            before + random.choice(words) + after,
            before + random.choice(words) + part + after,
            before + content[elsewhere : elsewhere + len(part)] + after,
        )
    )


def _inside(content: bytes, change: Change, random: Random) -> bytes:
    """Change the content of a gzip file, a zip archive or a PNG."""
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(change(gzip.decompress(content)), 1)
    if content[:2] == b"PK":
        return _inside_zip(content, change, random)
    if content[:4] == b"\x89PNG":
        return _inside_png(content, change, random)
    return change(content)


def _inside_zip(content: bytes, change: Change, random: Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [(info, archive.read(info)) for info in archive.infolist()]
    chosen = random.randrange(len(files)) if files else 0
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a duplicate name, which is intended
        for number, (info, data) in enumerate(files):
            name, changed = info.filename, data
            if number == chosen and random.random() < 0.2:
                name = change(name.encode()).decode("utf-8", "replace")
            elif number == chosen:
                changed = change(data)
            archive.writestr(zipfile.ZipInfo(name), changed, info.compress_type)
    return written.getvalue()


def _inside_png(content: bytes, change: Change, random: Random) -> bytes:
    chunks, at = [], 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    chosen = random.randrange(len(chunks))
    kind, data = chunks[chosen]
    changed = zlib.compress(change(zlib.decompress(data))) if kind == b"IDAT" else change(data)
    chunks[chosen] = (kind, changed)
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )

"""The layouts in which labelled images are handed around, written as files."""

import gzip
import zipfile
from pathlib import Path

from pipeline.datasets.images import LabelledImages
from pipeline.raw.idx import idx_header

PIXEL_NAMES = {
    "1x1": [f"{row}x{column}" for row in range(1, 29) for column in range(1, 29)],
    "pixel1": [f"pixel{number}" for number in range(1, 785)],
    "pixel0": [f"pixel{number}" for number in range(784)],
}
"""The pixels' names in the header, by the first of them: oddrationale, zalando, competition."""


def csv_rows(
    data: LabelledImages, header: str | None = "1x1", label_at: int = 0, labels: bool = True
) -> list[list[str]]:
    """Return the cells of a CSV file, row by row, the header first unless it is None."""
    names = PIXEL_NAMES[header].copy() if header else []
    rows = [list(map(str, image.reshape(-1).tolist())) for image in data.images]
    if labels:
        if header:
            names.insert(label_at, "label")
        for row, label in zip(rows, data.labels.tolist(), strict=True):
            row.insert(label_at, str(label))
    return [names, *rows] if header else rows


def csv_bytes(rows: list[list[str]], eol: str = "\r\n") -> bytes:
    return "".join(",".join(row) + eol for row in rows).encode()


def idx_files(split: str, data: LabelledImages, dot: bool = False) -> dict[str, bytes]:
    """Return the two IDX files of a split (`train` or `t10k`) by their published names."""
    between = "." if dot else "-"
    return {
        f"{split}-images{between}idx3-ubyte": idx_header(data.images.shape) + data.images.tobytes(),
        f"{split}-labels{between}idx1-ubyte": idx_header(data.labels.shape) + data.labels.tobytes(),
    }


def gzipped(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content, 1) for name, content in files.items()}


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files by their relative names and give the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    """Write files into a zip archive and give its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def with_wrong_checksum(archive: bytes) -> bytes:
    """Let a zip archive's directory promise another checksum of its first file."""
    at = archive.index(b"PK\1\2") + 16
    return archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1 :]


def with_broken_stream(archive: bytes) -> bytes:
    """Let the data of a zip archive's first file begin with no block of DEFLATE."""
    start = 30 + int.from_bytes(archive[26:28], "little") + int.from_bytes(archive[28:30], "little")
    return archive[:start] + b"\xff" + archive[start + 1 :]


def content_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too, by its relative name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

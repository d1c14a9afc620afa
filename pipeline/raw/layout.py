"""The layout of a text file of numbers: separator, header, comments, and where the rows begin."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.base.errors import DataError
from pipeline.base.unpack import Unpacked
from pipeline.datasets.images import PIXELS

HEAD = 1 << 18
"""Bytes that are looked at: the header and some rows, or all attributes of an ARFF file."""
MARK = re.compile(r"\.arff(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How the text is laid out.

    names: of the columns, or None; columns: how many, without an empty one at the end; trailing:
    whether each row has that; start: lines before the first row; fractions: whether numbers have
    a decimal point.
    """

    separator: str
    names: tuple[str, ...] | None
    columns: int
    trailing: bool
    start: int
    fractions: bool
    decimal_point: str
    comment: str
    quote: str


def read_layout(path: Path) -> Layout:
    """Read the layout from the beginning of a CSV or ARFF file, or a gzip file of one.

    Raises DataError, naming the file, if it is not text or has no rows.
    """
    lines = _lines(path)
    if MARK.search(path.name):
        return _arff(path, lines)
    content = [(number, line) for number, line in enumerate(lines) if line and not _remark(line)]
    if not content:
        raise DataError(f"{path} has no rows")
    separator = max(",;\t |", key=content[0][1].count)
    start, first = content[0]
    cells = _cells(first, separator)
    names, rows = None, [line for _, line in content]
    if not (_is_number(cells[0]) and _is_number(cells[-1] or cells[0])) or _counts(cells):
        names, start, rows = tuple(cells), start + 1, rows[1:]
    columns = len(cells)
    trailing = columns > 1 and cells[-1] == "" and all(row.endswith(separator) for row in rows[:-1])
    if trailing:
        columns -= 1
    if names is not None:
        names = None if _counts(cells[:columns]) else names[:columns]
    text = "\n".join(rows)
    comma = separator != "," and re.search(r"\d,\d", text)
    fractions = bool(comma or re.search(r"\d\.|\.\d|\d[eE][+-]?\d", text))
    return Layout(
        separator, names, columns, trailing, start, fractions, "," if comma else ".", "#", '"'
    )


def _arff(path: Path, lines: list[str]) -> Layout:
    """Read the attributes of an ARFF file: https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/."""
    names = []
    for number, line in enumerate(lines):
        if found := re.match(r"@attribute\s+('[^']*'|\"[^\"]*\"|\S+)", line, re.IGNORECASE):
            names.append(found[1].strip("'\""))
        elif re.fullmatch(r"@data\s*", line, re.IGNORECASE):
            rows = [row for row in lines[number + 1 :] if row and not row.startswith("%")]
            if rows and rows[0].startswith("{"):
                raise DataError(
                    f"{path} must have dense rows, got sparse ones, which begin with {{"
                )
            fractions = bool(re.search(r"\d\.|\.\d|\d[eE][+-]?\d", "\n".join(rows)))
            return Layout(
                ",", tuple(names), len(names), False, number + 1, fractions, ".", "%", "'"
            )
    raise DataError(f"{path} must have a line @data in its first {HEAD} bytes")


def opened(path: Path) -> BinaryIO | Unpacked:
    """Open a file, decompressing it if its name ends in .gz."""
    return Unpacked(path) if path.suffix.lower() == ".gz" else open(path, "rb")


def _lines(path: Path) -> list[str]:
    """Return the first lines without the spaces around them; the last may be cut off."""
    try:
        with opened(path) as file:
            content = file.read(HEAD)
        text = content.decode("utf-8-sig", "strict" if len(content) < HEAD else "ignore")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error.reason}; save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if "\0" in text:
        raise DataError(f"{path} is not text in UTF-8: it holds bytes that are 0; save it as UTF-8")
    return [line.strip(" \r") for line in text.split("\n")]


def _remark(line: str) -> bool:
    """Whether a line is a comment, and not a header that NumPy's savetxt has marked as one."""
    return (
        line.startswith("#") and line.count(",") + line.count(";") + line.count("\t") < PIXELS - 1
    )


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip().strip("\"'") for cell in line.removeprefix("#").split(separator)]


def _counts(cells: list[str]) -> bool:
    """Whether a row counts its columns, as the header that pandas makes for an array."""
    numbers = cells[1:] if cells[0] == "" else cells
    return len(numbers) >= PIXELS and numbers == [str(number) for number in range(len(numbers))]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+([.,]\d*)?([eE][+-]?\d+)?", text) is not None


def is_remark(text: str, layout: Layout) -> bool:
    """Whether a row that does not have the right number of columns is blank or a comment."""
    return not text.strip() or text.lstrip().startswith(layout.comment)

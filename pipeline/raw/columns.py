"""Which column of a table holds the labels, and which the pixels, by their names or values."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.base.errors import DataError, listed
from pipeline.datasets.images import PIXELS

LABELS = {
    "category", "character", "class", "digit", "label", "labels", "letter", "target", "targets",
    "y",
}  # fmt: skip
"""Names of a label column, in any case."""
INDEXES = {"", "id", "index", "imageid", "image_id", "rowid", "row_id", "unnamed: 0"}
"""Names of a column that counts the rows; pandas writes one without a name."""
_PIXEL = re.compile(r"[a-z]*[ _.-]?(\d{1,9})(?:[x_.,-](\d{1,9}))?")


@dataclass(frozen=True)
class Columns:
    """Numbers of the columns of a table, from 0. label: None if there are no labels."""

    label: int | None
    pixels: tuple[int, ...]


def columns_by_name(place: object, names: Sequence[str]) -> Columns:
    """Return the columns of a table whose columns have names.

    Raises DataError, naming the place and what was seen, if they cannot be told.
    """
    plain = [name.strip().lower() for name in names]
    for name, count in Counter(plain).items():
        if count > 1:
            raise DataError(f"{place} names a column twice in its header: {name or 'no name'}")
    labels = [number for number, name in enumerate(plain) if name in LABELS]
    pixels = [
        number
        for number, name in enumerate(plain)
        if name not in LABELS and not (name in INDEXES and len(plain) > PIXELS)
    ]
    if len(labels) > 1:
        shown = ", ".join(names[number] for number in labels)
        raise DataError(f"{place} must have one label column, got {shown}")
    if len(pixels) == PIXELS + 1 and not labels:
        raise DataError(f"{place} must have a column named label, got {names[pixels[0]]}, ...")
    if len(pixels) != PIXELS:
        others = [names[number] for number in pixels if not _PIXEL.fullmatch(plain[number])]
        named = f": {listed(others, 5)}" if 0 < len(others) < 20 else ""
        raise DataError(
            f"{place} must have {PIXELS + 1} columns (label and pixels), got {len(names)}"
            + (f", {len(others)} of them neither label nor pixel{named}" if named else "")
        )
    _check_order(place, [names[number] for number in pixels])
    return Columns(labels[0] if labels else None, tuple(pixels))


def _check_order(place: object, names: list[str]) -> None:
    found = [_PIXEL.fullmatch(name.strip().lower()) for name in names]
    places = [tuple(map(int, filter(None, match.groups()))) for match in found if match]
    if len(places) < len(names) or len({len(numbers) for numbers in places}) != 1:
        return
    for before, after, name, following in zip(places, places[1:], names, names[1:], strict=False):
        if before >= after:
            raise DataError(
                f"{place} must have its pixels row by row, got {following} after {name}"
            )


@dataclass(frozen=True)
class Values:
    """The values of a column. counts: how often each occurs, of at most 257 different ones.

    running: whether the column counts the rows.
    """

    counts: dict[float, int]
    running: bool

    @property
    def share(self) -> float:
        """The share of the most frequent value."""
        return max(self.counts.values()) / sum(self.counts.values())

    def __str__(self) -> str:
        return f"{min(self.counts):g} to {max(self.counts):g}, {self.share:.0%} of them equal"


def columns_by_value(place: object, columns: int, values: dict[int, Values]) -> Columns:
    """Return the columns of a table without names: labels vary, the pixels in the corners do not.

    values: those of the first, second and last columns, by number. Raises DataError, naming the
    place and what was seen, if the labels cannot be told.
    """
    first = 1 if columns == PIXELS + 2 and values[0].running else 0
    last = columns - 1
    if last - first != PIXELS:
        raise DataError(f"{place} must have {PIXELS + 1} columns (label and pixels), got {columns}")
    front, back = values[first], values[last]
    if len(front.counts) == len(back.counts) == 1:  # a single image, or images of one class
        blank = [set(column.counts) <= {0, 255} for column in (front, back)]
        chosen = {(False, True): first, (True, False): last}.get((blank[0], blank[1]))
    elif max(front.share, back.share) == 1 or abs(front.share - back.share) > 0.2:
        chosen = first if front.share < back.share else last
    else:
        chosen = None
    if chosen is None:
        raise DataError(
            f"{place} names no columns, and its labels may be in column {first + 1} ({front}) or "
            f"in column {last + 1} ({back}); add a header that calls the labels label"
        )
    return Columns(chosen, tuple(n for n in range(first, columns) if n != chosen))

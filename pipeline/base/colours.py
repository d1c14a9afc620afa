"""The colours of variants, the same in every figure, in the report and in `dvc plots`.

A variant takes the colour of its place in the alphabet. From the ninth on, colours repeat with
another dash. No two are blue, and colour-blind readers can tell them apart.
"""

SERIES = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#5E2B97", "#222222", "#6B3F00",
)  # fmt: skip
"""On white paper."""
SERIES_DARK = (
    "#2B93D1", "#E69F00", "#009E73", "#EC5B1E", "#EE8FC6", "#A78BFF", "#E7EAEE", "#8F6429",
)  # fmt: skip
"""The same on dark paper."""
DASHES = ((), (5, 2), (1, 1.5), (7, 2, 1, 2))
"""Lengths of dashes and gaps, in widths of a line; () is a solid line."""


def place(number: int) -> tuple[int, int]:
    """Return the indices of the colour and of the dash of the variant with a number from 0."""
    return number % len(SERIES), number // len(SERIES) % len(DASHES)

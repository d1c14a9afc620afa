"""What the name of a file, a folder or an array says: its split, its set, and which part it is."""

import re
from dataclasses import dataclass

TRAIN, TEST, VALIDATION = "train", "test", "validation"
_SPLITS = {"train": TRAIN, "test": TEST, "t10k": TEST, "val": VALIDATION, "dev": VALIDATION}
_SPLIT = re.compile(
    r"(?:^|(?<=[^a-z]))(train|test|t10k|val(?=id|[^a-z]|$)|dev(?=[^a-z]|$))(?:ing|id(?:ation)?)?"
)
_PART = re.compile(r"(?:^|(?<=[^a-z]))(images?|imgs?|labels?|targets?|data|x|y)(?=[^a-z]|$)")


@dataclass(frozen=True)
class Named:
    """The parts of a name. before, after: what stands before and after the split."""

    before: str
    split: str | None
    after: str


def named(stem: str) -> Named:
    """Return the parts of a name without its extension. The first split in it counts.

    So train_and_test is not both, and latest is neither.
    """
    plain = stem.lower()
    found = _SPLIT.search(plain)
    if not found:
        return Named(_without_part(plain), None, "")
    return Named(
        _without_part(plain[: found.start()]),
        _SPLITS[found[1]],
        _without_part(plain[found.end() :]),
    )


def split_of(stem: str) -> str | None:
    """Return the split that a name says, or None."""
    return named(stem).split


def _without_part(text: str) -> str:
    """Return a part of a name without words such as images and labels, which are not its set."""
    return re.sub(r"[^0-9a-z]+", "-", _PART.sub("", text)).strip("-")

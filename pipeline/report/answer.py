"""The first screen of the report: which network is best, by how much, and what it gets wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.base.tables import Table
from pipeline.comparison import Comparison, compare_predictions
from pipeline.datasets.examples import ExampleSet
from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.report.pictures import Picture, strip_picture

SHOWN_MISTAKES = 12
"""Mistakes of the best network that are shown."""


@dataclass(frozen=True)
class Mistake:
    """A test image that the best network gets wrong. confidence: as a share."""

    picture: Picture
    label: str
    prediction: str
    confidence: float


@dataclass(frozen=True)
class Answer:
    """Which network is best, by how much, and what it gets wrong.

    ranking: the variants by validation accuracy; comparison: of the first two on the test images,
    None if there is only one; confused: true class, predicted class and number of the most frequent
    mistake, None if there is none.
    """

    ranking: Sequence[str]
    comparison: Comparison | None
    wrong: int
    confused: tuple[str, str, int] | None
    mistakes: Sequence[Mistake]


def answer_of(
    accuracies: Mapping[str, float], tables: Mapping[str, Table], test: ExampleSet
) -> Answer:
    """Return what the first screen says. Only validation images decide which network is best.

    accuracies: on validation images, by variant; tables: the predictions of the test images by
    variant, see `page.Variant`. Raises DataError if they are of other images.
    """
    ranking = ranking_of(accuracies)
    names = np.array(test.description.class_names)[test.labels]
    for name in ranking[:2]:
        if not np.array_equal(tables[name]["label"], names):
            raise DataError(
                f"the predictions of {name} are of other images than the test part; "
                "bring both up to date with: dvc repro"
            )
    table = tables[ranking[0]]
    right = [tables[name]["prediction"] == names for name in ranking[:2]]
    wrong = np.flatnonzero(~right[0])
    pairs = Counter(zip(table["label"][wrong], table["prediction"][wrong], strict=True))
    confused = None
    if pairs:
        (label, prediction), count = max(pairs.items(), key=lambda item: (item[1], item[0]))
        confused = (str(label), str(prediction), count)
    rows = wrong[np.argsort(-table["confidence"][wrong], kind="stable")[:SHOWN_MISTAKES]]
    mistakes = [
        Mistake(
            picture, str(table["label"][row]), str(table["prediction"][row]),
            float(table["confidence"][row]),
        )
        for row, picture in zip(rows, _pictures(test, rows), strict=True)
    ]  # fmt: skip
    comparison = compare_predictions(*right) if len(right) == 2 else None
    return Answer(ranking, comparison, len(wrong), confused, mistakes)


def ranking_of(accuracies: Mapping[str, float]) -> list[str]:
    """Return the variants by accuracy, the best first; of a tie, the first of them."""
    return sorted(accuracies, key=lambda name: -accuracies[name])


def _pictures(examples: ExampleSet, rows: NDArray[np.int64]) -> list[Picture]:
    """Return a picture of each of some examples, by their place in the set."""
    found: dict[int, Picture] = {}
    start = 0
    for block in examples.blocks():
        for row in rows[(rows >= start) & (rows < start + len(block))].tolist():
            brightness = block.normalization.undo(block.inputs[row - start : row - start + 1])
            images = (brightness * 255).round().clip(0, 255).astype(np.uint8)
            found[row] = strip_picture(images.reshape(-1, HEIGHT, WIDTH))
        start += len(block)
    return [found[row] for row in rows.tolist()]

"""Whether images and labels look as they should, and the setting that mends what does not.

What can be told with certainty is refused, unless a setting says that it is meant; the rest is
warned of.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, listed
from pipeline.base.params import DatasetSettings
from pipeline.datasets.images import HEIGHT, WIDTH, ImageSet, check_labels
from pipeline.raw.names import TRAIN

DIM = 64
"""The brightest pixel of a set is brighter than this, unless its scale is another."""
CONTRAST = 16
"""Levels of grey by which the border is brighter than the centre in an inverted set."""
AGREES, DISAGREES = 0.5, 0.4
"""Of the correlation with the reference. Right sets of 20 and more MNIST digits reach 0.56, of 200
0.91; transposed, shuffled and Fashion-MNIST's at most 0.26, over 50 draws of each size."""
FEW = 30
"""Images below which agreement is left to chance."""
GRID = 7
REFERENCE = (
    "000000010100000001227d8c2c010012817e707704004a8313308407006e5f1c7359030039a39e61100000000508010000",
    "0000000000000000000436520d00000003695d0200000004a91f0000000028990900000005525a0c010000000505010000",
    "0000040b060100000b4a83721a00000b2634712c0000082c5f761b0101448ea77d3b08013570503b230300010101010000",
    "000000010100000011538b701600000d285c851c000003429e7d0f00021915267c2600033f7e9164110000040f0f030000",
    "0000000000000000051b182524030014632e66320101359960a02301001c4e7f7210000001124d3809000000060c090100",
    "0000000001000000021f4d573c0b00095e75432509000f7775490d00001b253c631d000024707a4f0d0000010c0e040000",
    "000003111f040000011a6847070000064f641309000011846a7c400400139c91893c0200033b723c060000000000000000",
    "00000000000000000615211e070003338585a5360001141f28911b0000040f715b0700000230711e010000062c2e0c0100",
    "0000000000000000022673752802000d635e6f480400074bb5700f01000c6f7f520d00001b7f864d0b0000021016070000",
    "0000000000000000010f443907000010786283220000217b6ea212000008306e63070000021c593507000003171f140400",
)
"""The mean image of each digit in the sample of 5,000, as 7x7 means of 4x4 pixels."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of a set.

    levels: (256,) pixels of each grey; counts: (classes,) images of each class; means: (classes,
    28, 28) mean images, 0 for a class without images.
    """

    levels: NDArray[np.int64]
    counts: NDArray[np.int64]
    means: NDArray[np.float64]


def statistics(data: ImageSet, classes: int) -> Statistics:
    """Compute the statistics of a set, block by block. All labels must be below `classes`."""
    levels = np.zeros(256, np.int64)
    sums = np.zeros((classes, HEIGHT, WIDTH))
    for block in data.blocks():
        levels += np.bincount(block.images.reshape(-1), minlength=256)
        for label in np.unique(block.labels):
            sums[label] += block.images[block.labels == label].sum(axis=0)
    counts = np.bincount(data.labels, minlength=classes)
    return Statistics(levels, counts, sums / np.maximum(counts, 1)[:, None, None])


def check_plausible(
    dataset: str, split: str, data: ImageSet, settings: DatasetSettings, file: str
) -> list[str]:
    """Return warnings about a split, whose changes are already made.

    file: the name of one of its files. Raises DataError, naming what was seen and the setting that
    mends it, for labels, pixels, polarity or orientation that cannot be right.
    """
    place, key = f"the {split} set of {dataset}", f"datasets.{dataset}"
    from_1 = f"set {key}.first_label to 1"
    if (count := len(settings.class_names)) == 10 and settings.class_names[0] == "0":
        from_1 += f"; if {count} stands for 0, also move 0 to the end of {key}.class_names"
    check_labels(place, data.labels, count, "" if settings.first_label else from_1)
    found = statistics(data, len(settings.class_names))
    warnings = _check_classes(place, split, found, settings.class_names)
    brightest = int(np.flatnonzero(found.levels)[-1])
    if brightest == 0:
        return [*warnings, f"{place} has no pixels but 0"]
    if brightest < DIM and settings.scale is None:
        raise DataError(
            f"{place} has pixels from 0 to {brightest}, not to 255; set {key}.scale to "
            f"{255 / brightest:g}, or to 1 to keep them"
        )
    border, centre = _border_and_centre(found)
    if border > 127 and border > centre + CONTRAST and settings.invert is not False:
        mend = (
            f"set {key}.invert to true, or to false to keep it"
            if settings.invert is None
            else f"it must be inverted as the other set is, or {key}.invert be left out"
        )
        raise DataError(
            f"{place} looks inverted, dark on light: its border has a mean of {border:.0f} of 255, "
            f"its centre of {centre:.0f}; {mend}"
        )
    return warnings + _check_orientation(place, key, found, settings, file)


def _check_classes(
    place: str, split: str, found: Statistics, class_names: Sequence[str]
) -> list[str]:
    present = np.flatnonzero(found.counts)
    if len(present) == 1 and split == TRAIN:
        raise DataError(
            f"{place} must have images of several classes, got only {class_names[present[0]]}; "
            "check its labels"
        )
    absent = [name for name, count in zip(class_names, found.counts, strict=True) if not count]
    if not absent:
        return []
    return [
        f"{place} has no images of {len(absent)} of its {len(class_names)} classes: "
        f"{listed(absent, 10)}"
    ]


def _border_and_centre(found: Statistics) -> tuple[float, float]:
    """Return the mean of the outermost pixels, and that of the inner 14x14."""
    mean = np.average(found.means, axis=0, weights=found.counts)
    edge = np.ones((HEIGHT, WIDTH), bool)
    edge[1:-1, 1:-1] = False
    quarter = HEIGHT // 4
    return float(mean[edge].mean()), float(mean[quarter:-quarter, quarter:-quarter].mean())


def _check_orientation(
    place: str, key: str, found: Statistics, settings: DatasetSettings, file: str
) -> list[str]:
    upright, transposed = agreement(found, settings.class_names)
    if upright is None or transposed is None:
        if "emnist" in file.lower() and settings.transpose is None:
            raise DataError(
                f"{file} has the name of EMNIST, whose images are published transposed; set "
                f"{key}.transpose to true, or to false if these are upright"
            )
        return []
    seen = f"they agree by {upright:.2f} with handwritten digits, transposed by {transposed:.2f}"
    if transposed > AGREES and upright < DISAGREES and settings.transpose is not False:
        mend = "false" if settings.transpose else "true, or to false to keep them"
        raise DataError(f"{place} has transposed images: {seen}; set {key}.transpose to {mend}")
    if upright < DISAGREES:
        return [
            f"{place} does not look like the digits that its class_names say: {seen}; "
            "check its labels and that its files belong together"
        ]
    return []


def agreement(found: Statistics, class_names: Sequence[str]) -> tuple[float | None, float | None]:
    """Return how well the mean images agree with those of digits: as they are, and transposed.

    It is the mean over classes of the correlation of their differences from the mean digit. None
    unless the classes are called as digits, three of them are there, and images are not few.
    """
    present = [label for label, count in enumerate(found.counts) if count]
    names = [class_names[label] for label in present]
    digits = {str(number) for number in range(10)}
    if not set(names) <= digits or len(names) < 3 or found.counts.sum() < FEW:
        return None, None
    reference = np.array([list(bytes.fromhex(REFERENCE[int(name)])) for name in names], np.float64)
    side = HEIGHT // GRID
    means = found.means[present].reshape(-1, GRID, side, GRID, side).mean(axis=(2, 4))
    return tuple(  # type: ignore[return-value]
        _correlation(grid.reshape(len(names), -1), reference)
        for grid in (means, means.transpose(0, 2, 1))
    )


def _correlation(means: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return the mean correlation of rows, each without the mean over all rows."""
    total = 0.0
    for mean, known in zip(means - means.mean(0), reference - reference.mean(0), strict=True):
        mean, known = mean - mean.mean(), known - known.mean()
        total += float(mean @ known / max(1e-9, np.linalg.norm(mean) * np.linalg.norm(known)))
    return total / len(means)

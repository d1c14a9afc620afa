"""Find the raw files of the training and test sets by their names, and read them.

IDX takes precedence over CSV. Kaggle's Fashion-MNIST archive holds both, with different splits that
must never be mixed.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.base.errors import DataError
from pipeline.datasets.images import LabelledImages
from pipeline.raw.csv import csv_blocks, has_labels
from pipeline.raw.idx import count_idx_images, idx_image_blocks, read_idx_labels

_IDX = re.compile(r"(?:^|[-_.])(train|t10k|test)[-_.](images|labels)[-._]idx[13][-._]ubyte(\.gz)?$")
_CSV = re.compile(r"\.csv(\.gz)?$")
_SPLIT = re.compile(r"(?:^|[^a-z])(train|test|t10k)")

TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class RawFiles:
    """Names of the files of each split: images and labels for IDX, one file for CSV."""

    splits: dict[str, tuple[str, ...]]

    def names(self) -> list[str]:
        """Return the names of all chosen files."""
        return [name for names in self.splits.values() for name in names]


def choose_files(names: Iterable[str]) -> RawFiles:
    """Choose the training and test files among relative paths separated by '/'.

    Raises DataError if there is no complete training set.
    """
    # Shallow before deep, then alphabetical: the choice does not depend on the file system.
    ordered = sorted(names, key=lambda name: (name.count("/"), name))
    # macOS leaves `._train.csv` beside `train.csv`; it holds no data.
    ordered = [name for name in ordered if not PurePosixPath(name).name.startswith("._")]
    idx: dict[tuple[str, str], str] = {}
    for name in ordered:
        if found := _IDX.search(PurePosixPath(name).name.lower()):
            split = TRAIN if found[1] == "train" else TEST
            idx.setdefault((split, found[2]), name)
    if idx:
        return RawFiles(_pairs(idx))
    tables = [name for name in ordered if _CSV.search(name.lower())]
    splits: dict[str, tuple[str, ...]] = {}
    for name in tables:
        # The first match counts: train_and_test.csv is not both, and latest.csv is neither.
        if found := _SPLIT.search(PurePosixPath(name).name.lower()):
            splits.setdefault(TRAIN if found[1] == "train" else TEST, (name,))
    if not splits and len(tables) == 1:
        splits[TRAIN] = (tables[0],)
    if TRAIN not in splits:
        shown = ", ".join(ordered[:5]) + (", ..." if len(ordered) > 5 else "")
        raise DataError(f"no training set in IDX or CSV among: {shown or 'no files'}")
    return RawFiles({split: splits[split] for split in (TRAIN, TEST) if split in splits})


@dataclass(frozen=True)
class RawSplit:
    """The files of one split: images and labels for IDX, one file for CSV."""

    paths: tuple[Path, ...]

    def blocks(self) -> Iterator[LabelledImages]:
        """Read the files block by block, so that they may be larger than memory.

        Raises DataError, naming the file, on reaching anything but 28x28 images with labels.
        """
        return csv_blocks(*self.paths) if len(self.paths) == 1 else _idx_blocks(*self.paths)


def open_raw(folder: Path) -> tuple[dict[str, RawSplit], list[str]]:
    """Return the splits in a folder, and warnings about files that are ignored.

    Raises DataError if there is no complete training set.
    """
    files = choose_files(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    splits, warnings = {}, []
    for split, names in files.splits.items():
        paths = tuple(folder / name for name in names)
        if len(paths) == 1 and split == TEST and not has_labels(paths[0]):
            warnings.append(f"{paths[0]} has no labels and is ignored")
        else:
            splits[split] = RawSplit(paths)
    return splits, warnings


def check_raw(folder: Path) -> None:
    """Check the raw files in a folder by reading all of them once.

    Raises DataError, naming the file, for anything but 28x28 images with labels.
    """
    splits, _ = open_raw(folder)
    for files in splits.values():
        for _ in files.blocks():
            pass


def _idx_blocks(images: Path, labels: Path) -> Iterator[LabelledImages]:
    every_label = read_idx_labels(labels)
    if (count := count_idx_images(images)) != len(every_label):
        raise DataError(
            f"{images} and {labels} must have one label per image, got "
            f"{count} images and {len(every_label)} labels"
        )
    start = 0
    for block in idx_image_blocks(images):
        yield LabelledImages(block, every_label[start : start + len(block)])
        start += len(block)


def _pairs(idx: dict[tuple[str, str], str]) -> dict[str, tuple[str, ...]]:
    splits: dict[str, tuple[str, ...]] = {}
    for split in (TRAIN, TEST):
        images, labels = idx.get((split, "images")), idx.get((split, "labels"))
        if images and labels:
            splits[split] = (images, labels)
        elif images or labels:
            missing = "labels" if images else "images"
            raise DataError(
                f"{images or labels} has no {missing} file of the {split} set beside it"
            )
    if TRAIN not in splits:
        raise DataError(f"no training set among the IDX files {', '.join(idx.values())}")
    return splits

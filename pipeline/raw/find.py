"""Find which raw files belong together: sets of a training and a test set, and read them.

Files belong together if they have the same format, the same folder and the same name but for the
words that say which split and which part they are: emnist-letters-train-images-idx3-ubyte and
emnist-letters-test-labels-idx1-ubyte, mnist_train.csv and mnist_test.csv, train/0 and test/9.
Nothing is taken from two sets, and nothing is chosen among several.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.base.errors import DataError, listed
from pipeline.datasets.images import LabelledImages
from pipeline.raw.contents import Content, Images, Labels, NoImagesError, Reading, Table
from pipeline.raw.formats import FORMATS, Format, advice, format_of
from pipeline.raw.names import TEST, TRAIN, VALIDATION, named

TITLES = {TRAIN: "training", TEST: "test", VALIDATION: "validation"}
BLOCK = 1_024
"""Images per block, where a file holds fewer."""
_SHARD = re.compile(r"(?:^|-)(\d{4,5})(?:-of-(\d{4,5}))?(?:-[0-9a-f]{16})?$")
"""The number of a file among those of one table, and how many there are."""


@dataclass(frozen=True)
class RawSplit:
    """The files of one split: tables, one after another, or images and labels apart.

    names: of the files, relative, in order.
    """

    names: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    pair: tuple[Images, Labels] | None = None

    @property
    def labelled(self) -> bool:
        """Whether the images have labels; those of the test set of a competition are secret."""
        return all(table.labelled for table in self.tables)

    def blocks(self, reading: Reading) -> Iterator[LabelledImages]:
        """Read the files block by block, so that they may be larger than memory.

        Raises DataError, naming the file, on reaching anything but 28x28 images with labels.
        """
        if self.pair is not None:
            yield from _labelled(self.names, *self.pair, reading)
        else:
            yield from _joined(block for table in self.tables for block in table.blocks(reading))


@dataclass(frozen=True)
class RawSet:
    """A training set and, unless there is none, the test set that belongs to it.

    problem: the reason why it cannot be used, or None; ignored: names of files that are left out;
    unnamed: whether no name says which split it is.
    """

    name: str
    splits: dict[str, RawSplit]
    problem: DataError | None
    ignored: tuple[str, ...]
    unnamed: bool

    def names(self) -> list[str]:
        """Return the names of all its files, each once."""
        return list(dict.fromkeys(name for files in self.splits.values() for name in files.names))


@dataclass(frozen=True)
class _File:
    """A file and what its name says. before, after: what is beside the split in its name."""

    name: str
    path: Path
    kind: Format
    folder: str
    before: str
    split: str | None
    after: str
    shard: re.Match[str] | None

    @property
    def titles(self) -> tuple[str, ...]:
        """The names by which `files` may choose its set."""
        return (
            _title(self.folder, self.before, self.after),
            _title(self.folder, self.before, ""),
            self.name,
        )


def find_set(files: Mapping[str, Path], wanted: str | None = None) -> RawSet:
    """Return the set among files, given by relative names separated by '/'.

    wanted: its name, if there are several. Formats are tried in order of preference. Raises
    DataError, naming the files, if there is no whole set or more than one.
    """
    names = _without_copies(files)
    no_images: list[NoImagesError] = []
    for kind in FORMATS:
        groups: dict[tuple[str, str], list[_File]] = defaultdict(list)
        for name in names:
            # A picture needs a folder that says its class.
            if format_of(name) is kind and ("/" in name or not kind.by_folder):
                file = _describe(name, files[name], kind)
                groups[file.folder, file.before].append(file)
        found: list[RawSet] = []
        for group in groups.values():
            if wanted is None or any(
                _same(title, wanted) for file in group for title in file.titles
            ):
                found += _sets(group, no_images)
        named_sets = [each for each in found if not each.unnamed]
        found = named_sets or found
        if wanted is not None:
            found = _named(found, wanted)
        if found:
            return _only(found)
    if wanted is not None:
        kinds = ((name, format_of(name)) for name in names)
        every = sorted(
            {_describe(name, files[name], kind).titles[1] for name, kind in kinds if kind}
        )
        raise DataError(
            f"files must name a set, one of {listed(every, 10) or 'none'}, got {wanted}"
        )
    raise _nothing(names, no_images)


def open_raw(folder: Path, wanted: str | None = None) -> tuple[dict[str, RawSplit], list[str]]:
    """Return the splits of the set in a folder, and warnings about files that are ignored.

    Raises DataError if there is no whole set, or more than one and none is `wanted`.
    """
    found = find_set(files_in(folder), wanted)
    warnings = [
        f"{folder / name} belongs to a validation set and is ignored: the validation images are "
        "taken from the training set"
        for name in found.ignored[:1]
    ]
    splits = dict(found.splits)
    if TEST in splits and not splits[TEST].labelled:
        warnings.append(f"{folder / splits.pop(TEST).names[0]} has no labels and is ignored")
    return splits, warnings


def check_raw(folder: Path, wanted: str | None = None) -> None:
    """Check the raw files in a folder by reading all of them once.

    Raises DataError, naming the file, for anything but 28x28 images with labels.
    """
    splits, _ = open_raw(folder, wanted)
    for files in splits.values():
        for _ in files.blocks(Reading(lambda _: None)):
            pass


def files_in(folder: Path) -> dict[str, Path]:
    """Return the files below a folder by their names relative to it, separated by '/'."""
    return {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }


def _without_copies(names: Iterable[str]) -> list[str]:
    """Return names in an order that does not depend on the file system, without hidden files.

    A compressed file beside the same one uncompressed is left out, and so are files that lie once
    more in folders of their own names.
    """
    # macOS leaves `._train.csv` beside `train.csv`; it holds no data.
    shown = {name for name in names if not any(part.startswith(".") for part in name.split("/"))}
    kept = {name for name in shown if not (name.endswith(".gz") and name[:-3] in shown)}
    own = {name: _out_of_own_folder(name) for name in kept}
    beside = {_plain(name) for name in kept if own[name] == name}
    every = [name for name in kept if own[name] == name or _plain(own[name]) not in beside]
    return sorted(every, key=lambda name: (name.count("/"), name))


def _out_of_own_folder(name: str) -> str:
    """Return the name of a file, taken out of a folder of its own name if it lies in one."""
    path = PurePosixPath(name)
    if _plain(path.parent.name) in (_plain(path.name), _plain(path.name.partition(".")[0])):
        return (path.parent.parent / path.name).as_posix() if path.parent.name else name
    return name


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z/]", "", name.lower())


def _describe(name: str, path: Path, kind: Format) -> _File:
    parts = PurePosixPath(_out_of_own_folder(name)).parts
    # Archives are often unpacked into a folder of the name of the one that they hold.
    place = PurePosixPath(*(part for part, after in pairwise((*parts, "")) if part != after))
    stem = kind.ending.sub("", place.name)
    folder = place.parent
    if kind.by_folder:  # split/class/picture, or class/picture
        above = named(folder.name)
        if above.split is None:
            folder = folder.parent
        stem = ""
    shard = _SHARD.search(stem)
    own = named(stem[: shard.start()] if shard else stem)
    above = named(folder.name)
    before, split, after = own.before, own.split, own.after
    if split is None and above.split is not None:
        before = "-".join(filter(None, (above.before, own.before)))
        split, after, folder = above.split, above.after, folder.parent
    elif split is not None and above.split == split and not above.before and not above.after:
        folder = folder.parent
    return _File(name, path, kind, folder.as_posix(), before, split, after, shard)


def _sets(group: list[_File], no_images: list[NoImagesError]) -> list[RawSet]:
    """Return the sets of files with the same format, folder and name."""
    parts: dict[tuple[str | None, str], list[tuple[_File, Content]]] = defaultdict(list)
    problem: DataError | None = None
    ignored = tuple(file.name for file in group if file.split == VALIDATION)
    for file in group:
        if file.split == VALIDATION:
            continue
        try:
            for content in file.kind.look(file.path):
                split = content.split or file.split
                if split != VALIDATION:
                    parts[split, file.after].append((file, content))
        except NoImagesError as error:
            no_images.append(error)
        except DataError as error:
            problem = problem or error
            parts[file.split, file.after] = []
    trains = [after for split, after in parts if split == TRAIN]
    tests = [after for split, after in parts if split == TEST]
    unnamed = not trains and not tests
    if unnamed:
        trains = [after for split, after in parts if split is None]
    found = []
    for after in trains or [*tests]:
        splits: dict[str, RawSplit] = {}
        try:
            key = (None if unnamed else TRAIN, after)
            if trains:
                splits |= _split(TRAIN, parts[key])
            if len(trains) <= 1 and len(tests) == 1:
                test = tests[0]
            else:
                test = after if after in tests else ""
            if test in tests:
                splits |= _split(TEST, parts[TEST, test])
        except DataError as error:
            problem = problem or error
        title = _title(group[0].folder, group[0].before, after if len(trains) > 1 else "")
        if TRAIN not in splits and problem is None:
            name = splits[TEST].names[0]
            problem = DataError(f"{name} has no training set beside it")
        found.append(RawSet(title, splits, problem, ignored, unnamed))
    return found


def _split(split: str, parts: list[tuple[_File, Content]]) -> dict[str, RawSplit]:
    """Return the split of some contents, if there are any, by its name.

    Raises DataError, naming files, unless they pair.
    """
    if not parts:
        return {}
    tables = [(file, content) for file, content in parts if isinstance(content, Table)]
    images = [(file, content) for file, content in parts if isinstance(content, Images)]
    labels = [(file, content) for file, content in parts if isinstance(content, Labels)]
    title = f"the {TITLES[split]} set"
    if tables:
        files = [file for file, _ in tables]
        if len(parts) > 1 and not all(file.kind.by_folder or file.shard for file, _ in parts):
            raise DataError(
                f"{title} must be one table, got {parts[0][0].name} and {parts[1][0].name}"
                f"{_more(len(parts) - 2)}; leave one of them"
            )
        if (shard := files[0].shard) and shard[2] and len(files) != int(shard[2]):
            raise DataError(
                f"{title} must have all {int(shard[2])} files of its table, got {len(files)}: "
                f"{files[0].name}{_more(len(files) - 1)}"
            )
        names = tuple(file.name for file in files)
        return {split: RawSplit(names, tuple(table for _, table in tables))}
    for same, word in (
        ([file.name for file, _ in images], "images"),
        ([file.name for file, _ in labels], "labels"),
    ):
        if len(same) > 1:
            raise DataError(
                f"{title} must have one file of {word}, got {same[0]} and {same[1]}"
                f"{_more(len(same) - 2)}; leave one of them"
            )
    if not images or not labels:
        missing = "labels" if images else "images"
        raise DataError(f"{parts[0][0].name} has no {missing} file of {title} beside it")
    (images_file, image), (labels_file, label) = images[0], labels[0]
    return {split: RawSplit((images_file.name, labels_file.name), pair=(image, label))}


def _named(found: list[RawSet], wanted: str) -> list[RawSet]:
    """Return the sets of that name: with all folders before it, or else with the last ones."""
    exact = [each for each in found if each.name == wanted]
    last = [each for each in found if _same(each.name, wanted)]
    by_file = [each for each in found if wanted in each.names()]
    return exact or last or by_file or found


def _same(title: str, wanted: str) -> bool:
    """Whether a set is called `wanted`, perhaps without its folders."""
    return f"/{title}".replace("_", "-").lower().endswith(f"/{wanted}".replace("_", "-").lower())


def _only(found: list[RawSet]) -> RawSet:
    """Return the one set that there is. Raises DataError if it is not whole, or not alone."""
    if len(found) == 1:
        if found[0].problem:
            raise found[0].problem
        return found[0]
    whole = [each.name for each in found if not each.problem]
    broken = next((each.problem for each in found if each.problem), None)
    if broken:
        choice = f"; complete it, or choose with the setting files: {' or '.join(whole[:5])}"
        raise DataError(f"{broken}{choice if whole else ''}")
    raise DataError(
        f"there are {len(found)} sets: {listed(whole, 10)}; choose one with the setting files, "
        f"such as files: {whole[0]}"
    )


def _nothing(names: list[str], no_images: list[NoImagesError]) -> DataError:
    """Return the error about files of which none is a set of images."""
    for name in names:
        if text := advice(name):
            return DataError(f"{name} {text}")
    if no_images:
        return no_images[0]
    if any(kind.by_folder for kind in map(format_of, names) if kind):
        return DataError("pictures must lie in a folder per class, such as train/0 or just 0")
    titles = ", ".join(dict.fromkeys(kind.title for kind in FORMATS))
    return DataError(f"no training set ({titles}) among: {listed(names, 5) or 'no files'}")


def _title(folder: str, before: str, after: str) -> str:
    name = "-".join(filter(None, (before or (TRAIN if after else ""), after)))
    return "/".join(part for part in (folder, name) if part not in ("", ".")) or "."


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _joined(blocks: Iterable[LabelledImages]) -> Iterator[LabelledImages]:
    """Join small blocks, so that a picture per file does not make a block per picture."""
    parts: list[LabelledImages] = []
    for block in blocks:
        parts.append(block)
        if sum(map(len, parts)) >= BLOCK if len(block) < BLOCK else True:
            yield _together(parts)
            parts = []
    if parts:
        yield _together(parts)


def _together(parts: list[LabelledImages]) -> LabelledImages:
    if len(parts) == 1:
        return parts[0]
    return LabelledImages(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def _labelled(
    names: tuple[str, ...], images: Images, labels: Labels, reading: Reading
) -> Iterator[LabelledImages]:
    every_label = labels.read()
    if (count := images.count()) != len(every_label):
        raise DataError(
            f"{' and '.join(dict.fromkeys(names))} must have one label per image, got "
            f"{count} images and {len(every_label)} labels"
        )
    start = 0
    for block in images.blocks(reading):
        yield LabelledImages(block, every_label[start : start + len(block)])
        start += len(block)

"""Every format and variant of it gives the same images, and what is not read says why.

The files are made here: small, and as the programs named make them.
"""

import csv
import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from pipeline.base.errors import DataError
from pipeline.datasets.images import LabelledImages
from pipeline.raw.contents import Reading
from pipeline.raw.find import open_raw
from pipeline.raw.matlab import DEEPEST, NUMBERS, _read, mat_contents
from tests.layouts import csv_bytes, csv_rows, idx_files, write_files, write_zip
from tests.raw.fetching import fetch_from
from tests.refusal import refused
from tests.whole import collect

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def training(few_digits):
    return few_digits.take(np.arange(0, 60))


@pytest.fixture(scope="module")
def testing(few_digits):
    return few_digits.take(np.arange(60, 100))


def read(folder, wanted=None, names=DIGITS):
    """Return the splits in a folder and what was said in reading them."""
    said = []
    splits, warnings = open_raw(folder, wanted)
    read = {
        split: collect(files.blocks(Reading(said.append, names))) for split, files in splits.items()
    }
    return read, said + warnings


def assert_same(found, *expected):
    for data, wanted in zip(found.values(), expected, strict=True):
        np.testing.assert_array_equal(data.images, wanted.images)
        np.testing.assert_array_equal(data.labels, wanted.labels)


def numbers(data):
    return np.column_stack([data.labels, data.images.reshape(-1, 784)])


def names():
    return ["label", *(f"pixel{number}" for number in range(784))]


def frame(data):
    return pd.DataFrame(numbers(data), columns=names())


def savetxt(data, **options):
    text = io.BytesIO()
    np.savetxt(text, numbers(data), **options)
    return text.getvalue()


def lines(data, separator=",", quote=False):
    rows = [names(), *numbers(data).tolist()]
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator="\n").writerows(rows)
    return text.getvalue()


def capital(data, name):
    return lines(data).replace("label", name, 1)


def with_blank_lines(data):
    return "\n" + lines(data).replace("\n", "\n\n") + "  \n"


def with_comments(data):
    head, *rows = lines(data).splitlines()
    return "\n".join(["# digits", "# of 2026, by hand", head, *rows[:9], "# half", *rows[9:], ""])


def label_last(data, header):
    every = np.roll(numbers(data), -1, axis=1)
    return "\n".join([*header, *(",".join(map(str, row)) for row in every.tolist()), ""])


def arff(data):
    head = ["% OpenML", "@RELATION mnist", ""]
    head += [f"@ATTRIBUTE pixel{number} REAL" for number in range(1, 785)]
    head += ["@ATTRIBUTE class {0,1,2,3,4,5,6,7,8,9}", "", "@DATA"]
    return "\n".join([*head, label_last(data, [])])


def text(content):
    return content.encode() if isinstance(content, str) else content


TABLES = {
    "Label": lambda data: capital(data, "Label"),
    "CLASS": lambda data: capital(data, " CLASS"),
    "y": lambda data: capital(data, "y"),
    "pandas, with its index": lambda data: frame(data).to_csv(),
    "pandas, with its index named": lambda data: frame(data).rename_axis("id").to_csv(),
    "pandas, of an array": lambda data: pd.DataFrame(numbers(data)).to_csv(index=False),
    "pandas, of an array, with its index": lambda data: pd.DataFrame(numbers(data)).to_csv(),
    "pandas, of floats": lambda data: frame(data).astype(float).to_csv(index=False),
    "an index and no header": lambda data: pd.DataFrame(numbers(data)).to_csv(header=False),
    "label last, pixel1": lambda data: label_last(
        data, [",".join([*(f"pixel{n}" for n in range(1, 785)), "class"])]
    ),
    "semicolons": lambda data: lines(data, ";"),
    "tabs": lambda data: lines(data, "\t"),
    "quotes": lambda data: lines(data, quote=True),
    "trailing commas": lambda data: lines(data).replace("\n", ",\n"),
    "trailing semicolons": lambda data: lines(data, ";").replace("\n", ";\r\n"),
    "blank lines": with_blank_lines,
    "comments": with_comments,
    "savetxt": lambda data: savetxt(data, delimiter=","),
    "savetxt, with spaces": savetxt,
    "savetxt, with a header": lambda data: savetxt(
        data, fmt="%d", delimiter=",", header=",".join(names())
    ),
    "a byte order mark": lambda data: "\ufeff" + lines(data),
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_every_kind_of_table_gives_the_same_images(tmp_path, training, testing, make, ending):
    for split, data in (("train", training), ("test", testing)):
        content = text(make(data))
        packed = gzip.compress(content, 1) if ending.endswith("gz") else content
        (tmp_path / f"{split}{ending}").write_bytes(packed)
    found, said = read(tmp_path)
    assert_same(found, training, testing)
    assert said == []


def test_labels_in_the_last_column_without_a_header_are_found_and_said(tmp_path, training):
    (tmp_path / "mnist_train.csv").write_text(label_last(training, []))
    found, said = read(tmp_path)
    assert_same(found, training)
    assert said == [
        f"{tmp_path / 'mnist_train.csv'} names no label column; its labels are in column 785"
    ]


def test_labels_that_are_sorted_are_found_far_from_the_beginning(tmp_path, digits):
    order = np.argsort(digits.labels, kind="stable")[250:1000]  # begins with 250 zeros
    data = digits.take(order)
    (tmp_path / "train.csv").write_text(label_last(data, []))
    found, _ = read(tmp_path)
    assert_same(found, data)


def one_class(data, label):
    chosen = data.take(np.flatnonzero(data.labels == label))
    return label_last(chosen, [])


UNCLEAR = {
    "noise": lambda data: label_last(
        LabelledImages(
            np.random.default_rng(0).integers(0, 256, data.images.shape, np.uint8), data.labels
        ),
        [],
    ),
    "one class, 0": lambda data: one_class(data, 0),
}


@pytest.mark.parametrize("make", UNCLEAR.values(), ids=UNCLEAR)
def test_labels_that_cannot_be_told_without_a_header_are_refused_with_what_was_seen(
    tmp_path, training, make
):
    (tmp_path / "train.csv").write_text(make(training))
    with refused(
        tmp_path / "train.csv", "names no columns", "column 1 (", "column 785 (", "add a header"
    ):
        read(tmp_path)


@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_pixels_from_0_to_1_are_multiplied_by_255_and_it_is_said(tmp_path, training, separator):
    point = "," if separator == ";" else "."
    data = frame(training)
    data = pd.concat([data[["label"]], data.iloc[:, 1:] / 255], axis=1)
    data.to_csv(tmp_path / "train.csv", sep=separator, decimal=point, index=False)
    found, said = read(tmp_path)
    assert_same(found, training)
    assert said == [f"{tmp_path / 'train.csv'} has pixels from 0 to 1, which are multiplied by 255"]


def npz(folder, name, **arrays):
    np.savez_compressed(folder / name, **arrays)


def keras(folder, training, testing):
    npz(
        folder, "mnist.npz",
        x_train=training.images, y_train=training.labels,
        x_test=testing.images, y_test=testing.labels,
    )  # fmt: skip


def kmnist(folder, training, testing):
    for split, data in (("train", training), ("test", testing)):
        np.savez_compressed(folder / f"kmnist-{split}-imgs.npz", data.images)
        np.savez_compressed(folder / f"kmnist-{split}-labels.npz", data.labels)
    (folder / "kmnist_classmap.csv").write_text("index,codepoint,char\n0,U+304A,\u304a\n")


def medmnist(folder, training, testing):
    npz(
        folder, "medmnist.npz",
        train_images=training.images, train_labels=training.labels[:, None],
        val_images=testing.images, val_labels=testing.labels[:, None],
        test_images=testing.images, test_labels=testing.labels[:, None],
    )  # fmt: skip


def npy(folder, training, testing):
    for split, data in (("train", training), ("test", testing)):
        np.save(folder / f"X_{split}.npy", data.images.reshape(-1, 784))
        np.save(folder / f"y_{split}.npy", data.labels.astype(np.int64))


def npy_of_python_2(folder, training, testing):
    """NumPy wrote the length of an array as 60000L there, and warns of such headers today."""
    npy(folder, training, testing)
    for path in folder.glob("*.npy"):
        count = len(np.load(path))
        content = path.read_bytes().replace(f"({count},".encode(), f"({count}L,".encode(), 1)
        path.write_bytes(content.replace(b" \n", b"\n", 1))


def fractions(folder, training, testing):
    npz(
        folder, "digits.npz",
        x_train=training.images[..., None] / np.float32(255), y_train=training.labels,
        x_test=testing.images[..., None] / np.float32(255), y_test=testing.labels,
    )  # fmt: skip


def png(image, form="PNG", mode="L"):
    content = io.BytesIO()
    Image.fromarray(image).convert(mode).save(content, form)
    return content.getvalue()


def hugging_face(folder, training, testing):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for split, data in (("train", training), ("test", testing)):
        half = len(data) // 2
        for number, rows in enumerate((slice(half), slice(half, None))):
            pictures = [{"bytes": png(image), "path": None} for image in data.images[rows]]
            table = pa.table(
                {
                    "image": pa.array(pictures, kind),
                    "label": pa.array(data.labels[rows].tolist(), pa.int64()),
                }
            )
            (folder / "mnist").mkdir(exist_ok=True)
            pq.write_table(table, folder / f"mnist/{split}-0000{number}-of-00002.parquet")


def open_ml(folder, training, testing):
    for split, data in (("train", training), ("test", testing)):
        columns = {f"pixel{number + 1}": column for number, column in
                   enumerate(data.images.reshape(-1, 784).T.astype(float))}  # fmt: skip
        labels = pa.array([str(label) for label in data.labels]).dictionary_encode()
        pq.write_table(pa.table(columns | {"class": labels}), folder / f"{split}.pq")


def column_of_pictures(folder, training, testing):
    kinds = {"train": pa.binary(), "test": pa.large_binary()}
    for split, data in (("train", training), ("test", testing)):
        pictures = pa.array([png(image) for image in data.images], kinds[split])
        table = pa.table({"image": pictures, "label": data.labels})
        pq.write_table(table, folder / f"{split}.parquet")


def nested_lists(folder, training, testing):
    for split, data in (("train", training), ("test", testing)):
        table = pa.table({"image": data.images.tolist(), "label": data.labels})
        (folder / split).mkdir()
        pq.write_table(table, folder / split / "0000.parquet")


def folders(folder, training, testing, train="train", test="test", form="PNG", mode="L"):
    for split, data in ((train, training), (test, testing)):
        for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            path = folder / split / str(label) / f"{number:05d}.{form.lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(image, form, mode))


def mat(folder, training, testing):
    """EMNIST's own layout."""
    parts = {
        split: {
            "images": data.images.reshape(-1, 784),
            "labels": data.labels[:, None],
            "writers": np.zeros((len(data), 1)),
        }
        for split, data in (("train", training), ("test", testing))
    }
    dataset = parts | {"mapping": np.array([[0, 48], [1, 49]])}
    savemat(folder / "emnist-digits.mat", {"dataset": dataset}, do_compression=True)


def arff_pair(folder, training, testing):
    for split, data in (("train", training), ("test", testing)):
        (folder / f"{split}.arff").write_text(arff(data))


def qmnist(folder, training, testing):
    for split, data in (("train", training), ("test", testing)):
        images, _ = idx_files(split, data).values()
        rows = np.zeros((len(data), 8), ">i4")
        rows[:, 0], rows[:, 1:] = data.labels, 1000
        head = struct.pack(">HBBII", 0, 0x0C, 2, len(data), 8)
        (folder / f"qmnist-{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"qmnist-{split}-labels-idx2-int.gz").write_bytes(
            gzip.compress(head + rows.tobytes())
        )


FORMATS = {
    "Keras": keras,
    "KMNIST": kmnist,
    "MedMNIST": medmnist,
    "npy": npy,
    "npy of Python 2": npy_of_python_2,
    "fractions": fractions,
    "Hugging Face": hugging_face,
    "OpenML's Parquet": open_ml,
    "a column of pictures": column_of_pictures,
    "nested lists": nested_lists,
    "ImageFolder": folders,
    "mnist_png": lambda *data: folders(*data, train="mnist_png/training", test="mnist_png/testing"),
    "trainingSet": lambda *data: folders(
        *data, train="trainingSet/trainingSet", test="testSet/testSet"
    ),
    "coloured pictures": lambda *data: folders(*data, mode="RGB"),
    "BMP": lambda *data: folders(*data, form="BMP"),
    "MATLAB": mat,
    "ARFF": arff_pair,
    "QMNIST": qmnist,
}


@pytest.mark.parametrize("make", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_same_two_splits(tmp_path, training, testing, make):
    make(tmp_path, training, testing)
    found, _ = read(tmp_path)
    for data, expected in zip(found.values(), (training, testing), strict=True):
        assert data.images.dtype == data.labels.dtype == np.uint8
        # Pictures in folders come class by class.
        order = np.lexsort([*data.images.reshape(-1, 784).T, data.labels])
        wanted = np.lexsort([*expected.images.reshape(-1, 784).T, expected.labels])
        np.testing.assert_array_equal(data.images[order], expected.images[wanted])
        np.testing.assert_array_equal(data.labels[order], expected.labels[wanted])


def test_a_file_without_a_test_set_is_the_training_set(tmp_path, training):
    values = {"data": training.images.reshape(-1, 784).T, "label": training.labels[None]}
    savemat(tmp_path / "mnist-original.mat", values)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mnist_784.arff").write_text(arff(training))
    for wanted in ("mnist-original", "mnist-784"):
        found, _ = read(tmp_path, wanted)
        assert_same(found, training)


@pytest.mark.parametrize(
    ("class_names", "folders_of", "labels"),
    [
        (("A", "B", "C"), ("B", "A"), [1, 0]),
        (("A", "B", "C"), ("1", "2"), [1, 2]),
        (("1", "2", "0"), ("1", "0"), [0, 2]),
    ],
    ids=["names", "numbers", "names that are numbers"],
)
def test_a_folder_is_called_as_its_class_or_has_its_number(
    tmp_path, training, class_names, folders_of, labels
):
    for name, image in zip(folders_of, training.images, strict=False):
        write_files(tmp_path / "train" / name, {"a.png": png(image)})
    found, _ = read(tmp_path, names=class_names)
    expected = [labels[folders_of.index(name)] for name in sorted(folders_of)]
    assert found["train"].labels.tolist() == expected


def test_the_unlabelled_pictures_of_a_test_set_are_ignored(tmp_path, training):
    folders(tmp_path, training, training.take(np.arange(0)))
    write_files(tmp_path / "test", {"1.png": png(training.images[0])})
    found, said = read(tmp_path)
    assert list(found) == ["train"]
    assert said == [f"{tmp_path / 'test/1.png'} has no labels and is ignored"]


def tar(path, files):
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


PACKED = {
    "a tar archive": lambda folder, files: tar(folder / "mnist.tar", files),
    "a compressed tar archive": lambda folder, files: tar(folder / "mnist.tar.gz", files),
    "an archive in a folder": lambda folder, files: tar(folder / "mnist.tgz", files).parent,
    "each table in an archive": lambda folder, files: max(
        write_zip(folder / f"{name}.zip", {name: content}) for name, content in files.items()
    ).parent,
    "each table in an archive, in an archive": lambda folder, files: write_zip(
        folder / "digit-recognizer.zip",
        {
            f"{name}.zip": write_zip(folder / "x", {name: content}).read_bytes()
            for name, content in files.items()
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_every_archive_gives_the_same_two_splits(tmp_path, raw, training, testing, pack):
    files = {
        f"{split}.csv": csv_bytes(csv_rows(data))
        for split, data in (("train", training), ("test", testing))
    }
    (tmp_path / "packed").mkdir()
    fetch_from(pack(tmp_path / "packed", files), into=raw)
    found, _ = read(raw)
    assert_same(found, training, testing)
    assert {path.name for path in raw.rglob("*") if path.is_file()} == set(files)


def test_the_setting_files_chooses_what_is_copied(tmp_path, raw, training, testing):
    for name, data in (("letters", training), ("digits", testing)):
        files = idx_files("train", data)
        write_files(tmp_path / "all", {f"emnist-{name}-{file}": files[file] for file in files})
    fetch_from(tmp_path / "all", into=raw, files="emnist-letters")
    assert {path.name for path in raw.iterdir()} == {
        "emnist-letters-train-images-idx3-ubyte",
        "emnist-letters-train-labels-idx1-ubyte",
    }


def hdf5_header():
    return b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<HH", 0x0200, 0x4D49) + bytes(400)


def object_array():
    content = io.BytesIO()
    np.save(content, np.array([{}, None], dtype=object))
    return content.getvalue()


def parquet(**columns):
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


def bad_row(data, row, column, value, separator=","):
    rows = [names(), *(list(map(str, values)) for values in numbers(data).tolist())]
    rows[row][column] = value
    return "\n".join(separator.join(cells) for cells in rows).encode() + b"\n"


REFUSED = {
    "too few columns": (
        lambda data: {"train.csv": b"\n".join(b"0," * 64 + b"3" for _ in data.labels)},
        ["train.csv", "785 columns (label and pixels)", "got 65"],
    ),
    "too few columns, by semicolons": (
        lambda data: {"train.csv": b"\n".join(b"0;" * 64 + b"3" for _ in data.labels)},
        ["train.csv", "785 columns (label and pixels)", "got 65"],
    ),
    "a column of other things": (
        lambda data: {"train.csv": lines(data).replace("label", "label,writer").encode()},
        ["train.csv", "785 columns", "writer"],
    ),
    "two label columns": (
        lambda data: {"train.csv": lines(data).replace("label", "label,class").encode()},
        ["train.csv", "one label column", "label, class"],
    ),
    "pixels in another order": (
        lambda data: {
            "train.csv": frame(data)[["label", *sorted(names()[1:])]].to_csv(index=False).encode()
        },
        ["train.csv", "row by row", "got pixel11 after pixel109"],
    ),
    "a word": (
        lambda data: {"train.csv": bad_row(data, 30, 5, "x")},
        ["train.csv", "whole numbers from 0 to 255", "got 'x' in row 31, column 6"],
    ),
    "a missing value": (
        lambda data: {"train.csv": bad_row(data, 30, 5, "", ";")},
        ["train.csv", "whole numbers from 0 to 255", "got '' in row 31, column 6"],
    ),
    "a fraction": (
        lambda data: {"train.csv": bad_row(data, 3, 5, "127.5")},
        ["train.csv", "whole numbers from 0 to 255", "got 127.5 in row 4, column 6"],
    ),
    "a pixel just above the brightest": (
        lambda data: {"train.csv": bad_row(data, 3, 5, "255.0001")},
        ["train.csv", "whole numbers from 0 to 255", "got 255.0001 in row 4, column 6"],
    ),
    "normalised pixels": (
        lambda data: {
            "train.csv": frame(data).assign(pixel0=-0.42, pixel9=2.8).to_csv(index=False).encode()
        },
        ["train.csv", "from 0 to 1", "got -0.42 to 255", "undo their normalisation"],
    ),
    "not a number": (
        lambda data: {"train.csv": bad_row(data, 3, 5, "nan").replace(b",0,", b",0.0,", 1)},
        ["train.csv", "finite numbers", "got nan"],
    ),
    "text in UTF-16": (
        lambda data: {"train.csv": lines(data).encode("utf-16")},
        ["train.csv", "is not text in UTF-8", "save it as UTF-8"],
    ),
    "something after the last comma": (
        lambda data: {
            "train.csv": (lines(data).replace("\n", ",\n") + "7," * 785 + "7\n").encode()
        },
        ["train.csv", "nothing after the last separator"],
    ),
    "sparse ARFF": (
        lambda data: {"train.arff": b"@relation x\n@attribute a real\n@data\n{0 1}\n"},
        ["train.arff", "dense rows", "sparse ones"],
    ),
    "ARFF without data": (
        lambda data: {"train.arff": b"@relation x\n@attribute a real\n"},
        ["train.arff", "a line @data"],
    ),
    "a pickle": (
        lambda data: {"mnist.pkl.gz": b"\x1f\x8b"},
        ["mnist.pkl.gz is a pickle", "can run any program", "numpy.savez"],
    ),
    "a PyTorch file": (lambda data: {"training.pt": b"PK"}, ["training.pt is a pickle"]),
    "HDF5": (lambda data: {"mnist.h5": b"\x89HDF"}, ["mnist.h5 is HDF5", "numpy.savez"]),
    "Excel": (lambda data: {"train.xlsx": b"PK"}, ["train.xlsx is a spreadsheet", "CSV"]),
    "a packed file": (lambda data: {"a.7z": b"7z"}, ["a.7z", "unpack it"]),
    "objects in npy": (
        lambda data: {"x_train.npy": object_array(), "y_train.npy": object_array()},
        ["x_train.npy", "pickled", "save numbers"],
    ),
    "images of another size": (
        lambda data: {"train.npz": npz_bytes(x=np.zeros((5, 32, 32), np.uint8), y=np.arange(5))},
        ["train.npz (x)", "(N, 28, 28)", "got (5, 32, 32)"],
    ),
    "images by columns": (
        lambda data: {"train.npz": npz_bytes(x=np.zeros((5, 784), order="F"), y=np.arange(5))},
        ["train.npz (x)", "column by column", "ascontiguousarray"],
    ),
    "labels in words": (
        lambda data: {"train.npz": npz_bytes(x=np.zeros((2, 784)), y=np.array(["a", "b"]))},
        ["train.npz (y)", "must hold numbers"],
    ),
    "one label too few": (
        lambda data: {"train.npz": npz_bytes(x=np.zeros((5, 784), np.uint8), y=np.arange(4))},
        ["train.npz", "one label per image", "5 images and 4 labels"],
    ),
    "a negative label": (
        lambda data: {"train.npz": npz_bytes(x=np.zeros((2, 784), np.uint8), y=np.array([1, -1]))},
        ["train.npz (y)", "from 0 to 255 as labels", "got -1 for image 2"],
    ),
    "a pixel of 300": (
        lambda data: {"train.npz": npz_bytes(x=np.full((2, 784), 300), y=np.arange(2))},
        ["train.npz (x)", "from 0 to 255", "got 300 in image 1, pixel 1"],
    ),
    "npz without images": (
        lambda data: {"train.npz": npz_bytes(y=np.arange(4))},
        ["train.npz has no images file of the training set"],
    ),
    "pictures of another size": (
        lambda data: {"train/0/a.png": png(np.zeros((32, 30), np.uint8))},
        ["train/0/a.png", "28x28", "got 30x32"],
    ),
    "a picture that is text": (
        lambda data: {"train/0/a.png": b"seven"},
        ["train/0/a.png", "is not a picture"],
    ),
    "half a picture": (
        lambda data: {"train/0/a.png": png(data.images[0])[:-40]},
        ["train/0/a.png", "damaged picture"],
    ),
    "a picture of 16 bits": (
        lambda data: {"train/0/a.png": png16()},
        ["train/0/a.png", "8 bits per channel", "got mode I;16"],
    ),
    "a picture in CMYK": (
        lambda data: {"train/0/a.jpg": png(data.images[0], "JPEG", "CMYK")},
        ["train/0/a.jpg", "grey or RGB", "got mode CMYK"],
    ),
    "an animation": (
        lambda data: {"train/0/a.gif": several(data.images[:2], "GIF")},
        ["train/0/a.gif", "must hold one picture"],
    ),
    "a scan of several pages": (
        lambda data: {"train/0/a.tif": several(data.images[:2], "TIFF")},
        ["train/0/a.tif", "must hold one picture"],
    ),
    "a picture on its side": (
        lambda data: {"train/0/a.jpg": on_its_side(data.images[0])},
        ["train/0/a.jpg", "must be stored upright", "got EXIF orientation 6"],
    ),
    "a transparent picture": (
        lambda data: {"train/0/a.png": transparent()},
        ["train/0/a.png", "no transparent pixels", "without alpha"],
    ),
    "pictures without classes": (
        lambda data: {"a.png": png(data.images[0])},
        ["pictures must lie in a folder per class, such as train/0"],
    ),
    "a folder of another name": (
        lambda data: {"train/seven/a.png": png(data.images[0])},
        ["train/seven/a.png", "name its class as class_names does", "got seven"],
    ),
    "Parquet without labels": (
        lambda data: {"train.parquet": parquet(image=data.images.tolist())},
        ["train.parquet", "a column named label", "got image"],
    ),
    "Parquet without images": (
        lambda data: {"train.parquet": parquet(label=data.labels, text=data.labels)},
        ["train.parquet", "a column named image", "got label, text"],
    ),
    "Parquet of larger images": (
        lambda data: {"train.parquet": parquet(image=[[0] * 1024] * 3, label=[0, 1, 2])},
        ["train.parquet", "784 numbers per image", "got 3072 for 3 images"],
    ),
    "Parquet with a missing label": (
        lambda data: {"train.parquet": parquet(image=[[0] * 784] * 3, label=[0, None, 2])},
        ["train.parquet", "no missing values", "column label"],
    ),
    "Parquet that is text": (lambda data: {"train.parquet": b"x"}, ["not a Parquet file"]),
    "a table of which a part is missing": (
        lambda data: {
            "train-00000-of-00002.parquet": parquet(image=data.images.tolist(), label=data.labels)
        },
        ["all 2 files of its table", "got 1: train-00000-of-00002.parquet"],
    ),
    "MATLAB 7.3": (
        lambda data: {"digits.mat": hdf5_header()},
        ["digits.mat", "version 7.3", "save it with -v7"],
    ),
    "a MATLAB file of version 4": (
        lambda data: {"digits.mat": mat_bytes(4, X=np.zeros((50, 784)))},
        ["digits.mat", "version 5 to 7", "save it with -v7"],
    ),
    "an npz file of nothing": (
        lambda data: {"train.npz": npz_bytes()},
        ["train.npz must hold arrays", "got none"],
    ),
    "an npz file that is text": (
        lambda data: {"train.npz": b"PK\3\4"},
        ["train.npz is a damaged .npz file"],
    ),
    "a single number in npy": (
        lambda data: {"x_train.npy": npy_bytes(np.array(3)), "y_train.npy": npy_bytes([0, 1])},
        ["x_train.npy", "one entry per image", "got shape ()"],
    ),
    "npy cut short": (
        lambda data: {
            "x_train.npy": npy_bytes(data.images)[:-1], "y_train.npy": npy_bytes(data.labels)
        },
        ["x_train.npy must hold 47040 bytes after its header, got 47039"],
    ),
    "a column too many without names": (
        lambda data: {
            "train.csv": "\n".join(",".join(map(str, [9, *row])) for row in numbers(data)).encode()
        },
        ["train.csv", "785 columns (label and pixels)", "got 786"],
    ),
    "names without rows": (
        lambda data: {"train.csv": lines(data).splitlines(keepends=True)[0].encode()},
        ["train.csv has no rows"],
    ),
    "names without rows or line ending": (
        lambda data: {"train.csv": lines(data).splitlines()[0].encode()},
        ["train.csv has no rows"],
    ),
    "a table twice": (
        lambda data: {
            "train.pq": parquet(image=data.images.tolist(), label=data.labels),
            "train.parquet": parquet(image=data.images.tolist(), label=data.labels),
        },
        ["the training set must be one table", "train.parquet and train.pq"],
    ),
    "Parquet of pixels alone": (
        lambda data: {"train.parquet": parquet(**{name: [0, 1] for name in names()[1:]})},
        ["train.parquet", "a column named label", "got pixel0, ..."],
    ),
    "Parquet with a name twice": (
        lambda data: {"train.parquet": parquet_of(["label", "image", "label"], [[1]] * 3)},
        ["train.parquet", "no two columns of the same name"],
    ),
    "Parquet without a picture": (
        lambda data: {"train.parquet": parquet(image=[png(data.images[0]), None], label=[0, 1])},
        ["train.parquet (image)", "the bytes of every picture"],
    ),
    "Parquet with the paths of pictures alone": (
        lambda data: {"train.parquet": parquet(image=[{"path": "a.png"}], label=[0])},
        ["train.parquet must hold numbers in column image, got struct<path: string>"],
    ),
    "Parquet with words as pixels": (
        lambda data: {
            "train.parquet": parquet(**{name: [0] for name in names()} | {"pixel5": ["white"]})
        },
        ["train.parquet", "numbers in column pixel5", "got string"],
    ),
    "Parquet with times as labels": (
        lambda data: {
            "train.parquet": parquet(image=[[0] * 784], label=[date(2000, 1, 1)])
        },
        ["train.parquet", "numbers or names as labels", "got date32"],
    ),
    "a damaged MATLAB file": (
        lambda data: {"digits.mat": b"MATLAB 5.0".ljust(124) + b"\0\1IM" + b"\x0f" * 40},
        ["digits.mat", "damaged .mat file"],
    ),
    "a MATLAB file of larger images": (
        lambda data: {"digits.mat": mat_bytes(X=np.zeros((50, 400)), y=np.zeros((50, 1)))},
        ["digits.mat (X)", "(N, 784)", "got (50, 400)"],
    ),
    "IDX labels of other rows": (
        lambda data: idx_files("train", data)
        | {"train-labels-idx1-ubyte": struct.pack(">HBBII", 0, 12, 2, 60, 3) + bytes(60 * 12)},
        ["train-labels-idx1-ubyte", "labels of 8 numbers", "got 3"],
    ),
}  # fmt: skip


def npz_bytes(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def npy_bytes(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def parquet_of(names, columns):
    content = io.BytesIO()
    pq.write_table(pa.table(columns, names=names), content)
    return content.getvalue()


def mat_of(*elements, end=b""):
    """Return a file of MATLAB elements, each a type and its bytes."""
    return b"made by hand".ljust(124) + b"\0\1IM" + b"".join(map(mat_element, elements)) + end


def mat_element(element):
    kind, data = element
    return (
        struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8 if kind != 15 else 0)
    )


def mat_array(*parts, kind=6, shape=(2, 2)):
    """Return an array of a kind, 6 being numbers of 8 bytes, whose parts are elements."""
    flags = (6, struct.pack("<II", kind, 0)), (5, struct.pack("<2i", *shape)), (1, b"x")
    return 14, b"".join(map(mat_element, (*flags, *parts)))


DAMAGED_MAT = {
    "a type of numbers that there is not": (
        mat_of((14, mat_element((99, bytes(8))))), "numbers of type 99",
    ),
    "a part of a number": (
        mat_of(mat_array((9, bytes(12)))), "12 bytes of numbers of 8 bytes",
    ),
    "too few numbers": (
        mat_of(mat_array((9, bytes(24)))), "3 numbers in an array of shape (2, 2)",
    ),
    "a negative size": (
        mat_of(mat_array((9, bytes(32)), shape=(-2, -2))), "an array of shape (-2, -2)",
    ),
    "no numbers": (mat_of(mat_array()), "an array that is not whole"),
    "names of fields without letters": (
        mat_of(mat_array((5, bytes(4)), (1, b""), kind=2, shape=(1, 1))), "names of 0 characters",
    ),
    "a beginning": (mat_of(end=bytes(4)), "it ends inside an element"),
    "a small element that is large": (
        mat_of(end=struct.pack("<I", 5 << 16 | 1) + bytes(4)), "a small element of 5 bytes",
    ),
    "too large a size": (
        mat_of(end=struct.pack("<II", 1, 9) + bytes(8)), "an element of 9 bytes where 8 are left",
    ),
    "nothing compressed": (mat_of((15, zlib.compress(b""))), "an empty element"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "fault"), DAMAGED_MAT.values(), ids=DAMAGED_MAT)
def test_damaged_files_of_matlab_are_refused_with_what_is_wrong(tmp_path, content, fault):
    path = tmp_path / "train.mat"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        mat_contents(path)
    assert str(caught.value) == f"{path} is a damaged .mat file: {fault}"


def test_what_matlab_writes_in_the_fewest_bytes_is_read(tmp_path):
    path = tmp_path / "train.mat"
    path.write_bytes(mat_of(mat_array((9, np.arange(4.0).tobytes()))))
    (array,) = _read(path).values()
    np.testing.assert_array_equal(array, [[0, 2], [1, 3]])


@pytest.mark.parametrize(("kind", "name"), NUMBERS.items())
def test_every_type_of_numbers_in_matlab_is_read(tmp_path, kind, name):
    values = np.array([0, 1, 2, 100], f"<{name}")
    (tmp_path / "train.mat").write_bytes(mat_of(mat_array((kind, values.tobytes()))))
    (array,) = _read(tmp_path / "train.mat").values()
    assert array.dtype == values.dtype
    np.testing.assert_array_equal(array, [[0, 2], [1, 100]])


@pytest.mark.parametrize("depth", [DEEPEST, DEEPEST + 1])
def test_structs_of_matlab_are_read_so_deep_and_no_deeper(tmp_path, depth):
    inner = {"images": np.eye(2)}
    for _ in range(depth):
        inner = {"x": inner}
    (tmp_path / "train.mat").write_bytes(mat_bytes(**inner))
    found = _read(tmp_path / "train.mat")
    assert list(found) == ["x." * DEEPEST + "images"] * (depth == DEEPEST)


def test_a_mat_file_may_unpack_to_exactly_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "train.mat"
    inside = mat_element(mat_array((9, bytes(32))))
    path.write_bytes(mat_of((15, zlib.compress(inside))))
    monkeypatch.setattr("pipeline.raw.matlab.most_unpacked", lambda _: len(inside))
    assert len(_read(path)) == 1
    monkeypatch.setattr("pipeline.raw.matlab.most_unpacked", lambda _: len(inside) - 1)
    with refused("must unpack to at most"):
        _read(path)


def mat_bytes(version=5, **arrays):
    content = io.BytesIO()
    savemat(content, arrays, format=str(version))
    return content.getvalue()


def png16():
    content = io.BytesIO()
    Image.fromarray(np.full((28, 28), 4095, np.uint16)).save(content, "PNG")
    return content.getvalue()


def several(images, form):
    """Return a file of several pictures."""
    first, *others = map(Image.fromarray, images)
    content = io.BytesIO()
    first.save(content, form, save_all=True, append_images=others)
    return content.getvalue()


def on_its_side(image):
    """Return a picture that a viewer turns by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", exif=exif)
    return content.getvalue()


def transparent():
    content = io.BytesIO()
    Image.new("RGBA", (28, 28), (0, 0, 0, 9)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_read_is_refused_with_file_place_and_remedy(tmp_path, training, make, words):
    write_files(tmp_path, make(training))
    with refused(*words):
        read(tmp_path)


def test_a_mat_file_that_unpacks_to_too_much_is_refused(tmp_path):
    bomb = zlib.compress(bytes(64 << 20), 9)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    (tmp_path / "x.mat").write_bytes(head + struct.pack("<II", 15, len(bomb)) + bomb)
    with refused("x.mat", "must unpack to at most"):
        read(tmp_path)


def test_an_npz_file_that_unpacks_to_too_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(64 << 20))
    with refused("x.npz", "must unpack to at most"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["../evil.csv", "/tmp/evil.csv", "a/../../evil.csv"])
def test_a_tar_archive_with_a_path_outside_its_folder_is_refused(tmp_path, raw, name):
    with refused("leaves its folder", name):
        fetch_from(tar(tmp_path / "x.tar.gz", {name: b"evil"}), into=raw)


@pytest.mark.parametrize("content", [b"", b"not a tar", gzip.compress(bytes(64 << 20))])
def test_a_damaged_tar_archive_is_refused(tmp_path, raw, content):
    (tmp_path / "x.tar.gz").write_bytes(content)
    with refused(tmp_path / "x.tar.gz"):
        fetch_from(tmp_path / "x.tar.gz", into=raw)


def test_one_file_of_a_set_is_refused_with_the_folder_to_name(tmp_path, raw, training):
    folder = write_files(tmp_path / "mnist", idx_files("train", training))
    with refused("is one file of a set; name its folder", folder):
        fetch_from(folder / "train-images-idx3-ubyte", into=raw)

"""The readers of external files, and valid files for each to start from.

A reader takes the content of one file, writes it to a folder under the expected name, and reads it
as the pipeline does.
"""

import gzip
import io
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import savemat

from pipeline.base.errors import PipelineError
from pipeline.base.params import VariantSettings
from pipeline.base.params_file import read_params
from pipeline.datasets.images import LabelledImages
from pipeline.datasets.normalization import Normalization
from pipeline.datasets.picture import read_picture
from pipeline.nn.inspection import inspect
from pipeline.nn.model_file import Model, load_model, save_model
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.reference import Reference
from pipeline.nn.training import make_network
from pipeline.raw.contents import Reading
from pipeline.raw.find import open_raw
from pipeline.raw.idx import read_idx_labels
from pipeline.raw.sources import fetch
from tests.layouts import csv_bytes, csv_rows, gzipped, idx_files
from tests.whole import read_idx_images, read_raw


@dataclass(frozen=True)
class Reader:
    """A reader, with valid contents to start from and words that are significant to it.

    memory: limit in bytes for a small file; for a large one it is ten times the file's size.
    """

    read: Callable[[bytes, Path], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...]
    memory: int = 96 << 20


def _digits() -> LabelledImages:
    images = np.zeros((3, 28, 28), np.uint8)
    for number, image in enumerate(images):
        image[6:22, 8 + 4 * number : 11 + 4 * number] = 255 - number
    return LabelledImages(images, np.arange(3, dtype=np.uint8))


def _read_idx(content: bytes, folder: Path) -> None:
    """Read content as images, as labels, and as the images of a training set."""
    files = idx_files("train", _digits())
    for name, read in zip(files, (read_idx_images, read_idx_labels), strict=True):
        (folder / name).write_bytes(content)
        with suppress(PipelineError):
            read(folder / name)
        (folder / name).write_bytes(files[name])
    (folder / next(iter(files))).write_bytes(content)
    read_raw(folder)


def _idx_seeds() -> list[bytes]:
    files = idx_files("train", _digits())
    return [*files.values(), *gzipped(files).values()]


def _read_table(content: bytes, folder: Path) -> None:
    """Read content as a training set, and as a test set, which may have no labels."""
    end = ".csv.gz" if content[:2] == b"\x1f\x8b" else ".csv"
    (folder / f"train{end}").write_bytes(content)
    with suppress(PipelineError):
        _read_all(folder)
    (folder / f"test{end}").write_bytes(content)
    _read_all(folder)


def _table_seeds() -> list[bytes]:
    rows = (
        csv_rows(_digits(), "1x1"),
        csv_rows(_digits(), None),
        csv_rows(_digits(), "pixel0", labels=False),
    )
    files = [csv_bytes(rows[0]), *(csv_bytes(some, "\n") for some in rows[1:])]
    return [*files, *map(gzip.compress, files)]


def _read_zip(content: bytes, folder: Path) -> None:
    """Extract the training set from an archive, as `download` does."""
    (folder / "archive.zip").write_bytes(content)
    (folder / "raw").mkdir()
    fetch((str(folder / "archive.zip"),), folder / "raw", checksums={}, report=lambda _: None)


def _zip_seeds() -> list[bytes]:
    files = idx_files("train", _digits())
    table = {"a/mnist_train.csv": csv_bytes(csv_rows(_digits(), None))}
    return [
        zipped(files, zipfile.ZIP_STORED),
        zipped({"read.me": b"digits"} | files, zipfile.ZIP_DEFLATED),
        zipped(gzipped(files), zipfile.ZIP_STORED),
        zipped(table, zipfile.ZIP_BZIP2),
        zipped(table, zipfile.ZIP_LZMA),
    ]


def _reads(*names: str) -> Callable[[bytes, Path], None]:
    """Return a reader of a training set whose files, by name, have the content."""

    def read(content: bytes, folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        _read_all(folder)

    return read


def _read_all(folder: Path) -> None:
    """Read all images in a folder, whatever is to be said of them."""
    splits, _ = open_raw(folder)
    for files in splits.values():
        for _ in files.blocks(Reading(lambda _: None, ("0", "1", "2"))):
            pass


def _arff_seeds() -> list[bytes]:
    attributes = [f"@attribute p{number} real" for number in range(784)]
    attributes.append("@attribute class {0,1,2}")
    rows = csv_rows(_digits(), None, label_at=784)
    seeds = []
    for number in ("{}", "{}.0"):
        data = [",".join(map(number.format, row)) for row in rows]
        seeds.append("\n".join(["% c", "@relation d", *attributes, "@data", *data, ""]).encode())
    return seeds


def _numbers_seeds() -> list[bytes]:
    """Return tables with floats, other separators, an index, comments and blank lines."""
    rows = csv_rows(_digits(), "pixel0")
    head, *data = rows
    floats = [[row[0], *(f"{int(cell) / 255:.3f}" for cell in row[1:])] for row in data]
    indexed = [["", *head], *([str(number), *row] for number, row in enumerate(data))]
    return [
        *(separator.join(head).encode() + b"\n" + "\n".join(map(separator.join, floats)).encode()
          for separator in ",;\t"),
        csv_bytes(indexed, ",\n"),
        b"\n# digits\n" + csv_bytes(rows, "\n\n"),
        csv_bytes(csv_rows(_digits(), None, label_at=784), "\n"),
    ]  # fmt: skip


def _npz_seeds() -> list[bytes]:
    images, labels = _digits().images, _digits().labels
    seeds = []
    for arrays in (
        {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels},
        {"images": images.reshape(3, 784) / np.float32(255), "labels": labels.astype(np.int64)},
        {"arr_0": images[..., None], "arr_1": labels[:, None]},
    ):
        for save in (np.savez, np.savez_compressed):
            content = io.BytesIO()
            save(content, **arrays)  # type: ignore[arg-type]
            seeds.append(content.getvalue())
    return seeds


def _parquet_seeds() -> list[bytes]:
    data, seeds = _digits(), []
    pictures = [{"bytes": content, "path": None} for content in _folder_seeds()[:3]]
    labels = data.labels.tolist()
    for image in (
        pa.array(pictures, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        pa.array(data.images.tolist()),
        pa.array((data.images.reshape(3, 784) / 255).tolist()),
    ):
        for compression in ("none", "snappy", "zstd"):
            content = io.BytesIO()
            pq.write_table(pa.table({"image": image, "label": labels}), content,
                           compression=compression)  # fmt: skip
            seeds.append(content.getvalue())
    return seeds


def _mat_seeds() -> list[bytes]:
    data, seeds = _digits(), []
    images, labels = data.images.reshape(3, 784), data.labels[:, None]
    split = {"images": images, "labels": labels}
    for values in (
        {"dataset": {"train": split, "test": split}},
        {"data": images.T, "label": labels.T},
        {"x": images / 255, "y": labels.astype(float)},
    ):
        for compressed in (True, False):
            content = io.BytesIO()
            savemat(content, values, do_compression=compressed)
            seeds.append(content.getvalue())
    return seeds


def _folder_seeds() -> list[bytes]:
    seeds = []
    for form, mode in (
        ("PNG", "L"), ("PNG", "RGB"), ("PNG", "P"), ("PNG", "1"), ("PNG", "RGBA"), ("JPEG", "L"),
        ("BMP", "RGB"), ("GIF", "L"), ("WEBP", "RGB"), ("TIFF", "L"), ("PPM", "L"),
    ):  # fmt: skip
        content = io.BytesIO()
        Image.fromarray(_digits().images[1]).convert(mode).save(content, form)
        seeds.append(content.getvalue())
    return seeds


def _read_tar(content: bytes, folder: Path) -> None:
    """Extract the training set from a tar archive, as `download` does."""
    path = folder / ("a.tar.gz" if content[:2] == b"\x1f\x8b" else "a.tar")
    path.write_bytes(content)
    (folder / "raw").mkdir()
    fetch((str(path),), folder / "raw", checksums={}, report=lambda _: None)


def _tar_seeds() -> list[bytes]:
    seeds = []
    table = {"a/train.csv": csv_bytes(csv_rows(_digits(), None))}
    packed = {"train.csv.zip": zipped({"train.csv": table["a/train.csv"]}, zipfile.ZIP_DEFLATED)}
    for files in (idx_files("train", _digits()), table, packed):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        seeds += [content.getvalue(), gzip.compress(content.getvalue())]
    return seeds


def zipped(files: dict[str, bytes], method: int) -> bytes:
    """Return a zip archive of files by name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return content.getvalue()


def _read_model(content: bytes, folder: Path) -> None:
    """Load a model, and apply and inspect it as `predict` and `explain` do."""
    (folder / "model.npz").write_bytes(content)
    model = load_model(folder / "model.npz")
    inputs = model.normalization.apply(_digits().images[:1])
    with suppress(PipelineError):
        predict_probabilities(model, inputs)
    inspect(model, inputs[0], 0)


def _model_seeds() -> list[bytes]:
    seeds = []
    for loss, output in (("cross_entropy", "softmax"), ("mean_squared_error", "sigmoid")):
        settings = VariantSettings(
            hidden=[2], lr=0.1, batch_size=8, epochs=1, loss=loss, output=output
        )
        network, _ = make_network(settings, 3, 0)
        training = {"settings": settings.model_dump(), "seed": 0}
        normalization = Normalization("standardize", 0.13, 0.31)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.npz"
            reference = Reference(np.eye(3, 196, dtype=np.uint8), np.arange(3, dtype=np.uint8), 0.5)
            model = Model(
                "small", network, normalization, ("a", "b", "c"), training, "digit", reference
            )
            save_model(path, model)
            seeds.append(path.read_bytes())
    return seeds


def _read_params(content: bytes, folder: Path) -> None:
    (folder / "params.yaml").write_bytes(content)
    read_params(folder / "params.yaml")


PARAMS = b"""\
seed: 0
device: cpu
lr: null
epochs: 3
batch_size: all
dataset: mine
normalize: scale
tracking: none
sweep:
  variant: small
  space: rates
  spaces:
    rates: {sampler: tpe, pruner: none, trials: 2, parallel: 1, settings: {lr: {low: 0.1, high: 1}}}
datasets:
  mine:
    source: [embedded, 'kaggle:a/b']
    test_size: 10
    validation_size: 5
    class_names: ['0', "1'", two]
    pictures: as_is
    checksums: {a.gz: md5:0f}
variants:
  small: &small {hidden: [10, 2], lr: 1e-2, batch_size: 8, epochs: 1, momentum: .5}
  other:
    <<: *small
    loss: mean_squared_error
    output: sigmoid
    clip_norm: 1.0
"""


def _read_picture(content: bytes, folder: Path) -> None:
    (folder / "picture").write_bytes(content)
    with suppress(PipelineError):
        read_picture(folder / "picture", "as_is")
    read_picture(folder / "picture")


def _picture_seeds() -> list[bytes]:
    grey = Image.fromarray(255 - _digits().images[1])
    turned = Image.Exif()
    turned[0x0112] = 6
    forms = [
        (grey, "PNG", {}),
        (grey.convert("RGBA"), "PNG", {}),
        (grey.convert("P"), "PNG", {"transparency": 3}),
        (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG", {}),
        (grey.convert("1"), "PNG", {}),
        (grey, "JPEG", {}),
        (grey.convert("RGB"), "JPEG", {"progressive": True, "exif": turned}),
        (grey.convert("CMYK"), "JPEG", {}),
        (grey.convert("RGB"), "BMP", {}),
        (grey, "GIF", {}),
        (grey.convert("RGBA"), "WEBP", {"lossless": True}),
        (grey.convert("RGB"), "WEBP", {"exif": turned}),
    ]
    seeds = []
    for picture, form, options in forms:
        content = io.BytesIO()
        picture.save(content, form, **options)
        seeds.append(content.getvalue())
    return seeds


# fmt: off
_IDX_WORDS = (
    b"\0\0\x08\1", b"\0\0\x08\3", b"\0\0\0\x1c", b"\x1f\x8b\x08\0", b"\x7f\xff\xff\xff",
)
_TABLE_WORDS = (
    b"label,", b"pixel0", b"1x1", b",", b",255", b",256", b",-1", b",1.0", b",1e2", b",nan", b'"',
    b'""', b"\r\n", b"\n\n", b"\0", b"\xef\xbb\xbf", b"0" * 5000,
)
_ARFF_WORDS = (
    b"@attribute ", b"@ATTRIBUTE 'a b' {1,2}", b"@data", b"@relation x", b"%", b"{0 1}", b"'", b"?",
    b",", b".5", b"1e999", b"-1", b"\0",
)
_PARQUET_WORDS = (
    b"PAR1", b"PARE", b"schema", b"image", b"label", b"bytes", b"\x15\0", b"\x19\xfc\x7f", b"\x8e",
    b"\xff\xff\xff\x7f", b"ARROW:schema",
)
_MAT_WORDS = (
    b"MI", b"IM", b"\0\1IM", b"\0\2IM", b"\x0e\0\0\0", b"\x0f\0\0\0", b"\5\0\4\0",
    b"\xff\xff\xff\x7f", b"\x11\0\0\0", b"\2\0\0\0", b"dataset",
)
_TAR_WORDS = (
    b"ustar\x0000", b"ustar  \0", b"../", b"/", b"train.csv", b"x", b"L", b"K", b"g", b"S",
    b"0000644", b"30 path=../train.csv\n",
    b"19 size=99999999999\n", b"\x80\0\0\0\0\0\0\1", b"\xff" * 8,
)
_ZIP_WORDS = (
    b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"../", b"/", b"\\", b"C:", b"train.csv",
    b"\1\0", b"\0\x08", b"\xff\xff\xff\xff", b"ux\x0b\0", b"up",
)
_MODEL_WORDS = (
    b"PK\1\2", b"PK\5\6", b"\x93NUMPY", b"'descr': '|O'", b"'<f4'", b"'shape': (", b"cbuiltins\n",
    b"'fortran_order': True", b"model.json", b'"sizes"', b"1e999", b"NaN", b"null", b"[[[[",
)
_PARAMS_WORDS = (
    b"&a ", b"*a", b"<<: ", b"? ", b": ", b"- ", b"[[[[[[[[", b"{a: ", b"'", b'"', b"#", b"\t",
    b"|\n", b">-\n", b"---\n", b"...\n", b"%YAML 1.1\n", b"!!python/object/apply:os.system ",
    b"!!float ", b"!!int ", b"!!binary ", b"!!set ", b"!!omap ", b"!!timestamp ",
    b"9" * 5000, b"1e999", b"0x", b"2001-99-99", b"null", b"~", b"true", b"\\ud800", b"\xc2\x85",
    b"$(a)",
)
_PICTURE_WORDS = (
    b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"iCCP", b"zTXt", b"eXIf", b"acTL", b"fdAT", b"IEND",
    b"\0\0\xc3\x50", b"\xff\xd8", b"\xff\xc2", b"\xff\xe1", b"Exif\0\0II*\0", b"ICC_PROFILE\0",
    b"GIF89a", b"RIFF", b"VP8X", b"BM", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"http://ns.adobe.com/xap/",
)
# fmt: on

READERS = {
    "idx": Reader(_read_idx, _idx_seeds, _IDX_WORDS),
    "csv": Reader(_read_table, _table_seeds, _TABLE_WORDS),
    "csv of numbers": Reader(_reads("train.csv"), _numbers_seeds, _TABLE_WORDS),
    "arff": Reader(_reads("train.arff"), _arff_seeds, _ARFF_WORDS),
    "npz of images": Reader(_reads("train.npz"), _npz_seeds, _MODEL_WORDS),
    "parquet": Reader(_reads("train.parquet"), _parquet_seeds, _PARQUET_WORDS),
    "mat": Reader(_reads("train.mat"), _mat_seeds, _MAT_WORDS),
    "folder": Reader(_reads("train/1/a.png"), _folder_seeds, _PICTURE_WORDS),
    "tar": Reader(_read_tar, _tar_seeds, _TAR_WORDS),
    "zip": Reader(_read_zip, _zip_seeds, _ZIP_WORDS),
    "npz": Reader(_read_model, _model_seeds, _MODEL_WORDS),
    "params.yaml": Reader(_read_params, lambda: [PARAMS], _PARAMS_WORDS),
    "picture": Reader(_read_picture, _picture_seeds, _PICTURE_WORDS, memory=320 << 20),
}

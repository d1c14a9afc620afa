"""Reading any file either succeeds or fails with a one-line error.

`make fuzz` runs the same readers on 100,000 inputs each; its findings are kept here.
"""

import io
import json
import pickle
import struct
import subprocess
import tarfile
import zipfile
import zlib
from random import Random

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.__main__ import main
from pipeline.base.errors import LONGEST, PipelineError, printable
from pipeline.base.files import read_json
from pipeline.base.unpack import FREE
from tests.hostile.guard import check
from tests.hostile.mutation import mutated
from tests.hostile.readers import PARAMS, READERS, Reader, zipped
from tests.refusal import refused


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_a_damaged_file_is_read_or_refused_in_one_line(name, seed):
    reader, random = READERS[name], Random(seed)
    check(reader, mutated(random.choice(reader.seeds()), reader.words, random))


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=10)
@given(st.binary(max_size=2000))
@example(b"")
def test_any_bytes_are_read_or_refused_in_one_line(name, content):
    check(READERS[name], content)


@pytest.mark.parametrize("name", READERS)
def test_the_valid_files_that_the_fuzzer_starts_from_are_read(name):
    reader = READERS[name]
    verdicts = [check(reader, content) for content in reader.seeds()]
    # Labels are not images, and a test set without labels is not a training set.
    unfit = {"idx": 2, "csv": 2}.get(name, 0)
    assert sum(verdict.message is not None for verdict in verdicts) == unfit


BOMB = FREE + (8 << 20)
"""Bytes that a bomb unpacks to."""


def gzip_bomb(start: bytes) -> bytes:
    """Return a gzip file of `start` and zeros, compressed to a thousandth of its size."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    parts = [packer.compress(start), *(packer.compress(zeros) for _ in range(BOMB >> 20))]
    return b"".join([*parts, packer.flush()])


def zip_with(name: str, **changes: int) -> bytes:
    """Return an archive of one CSV file with changes to its directory."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, b"0" * 5000)
        for key, value in changes.items():
            setattr(archive.filelist[0], key, value)
    return content.getvalue()


def model_with(entry: str, content: bytes) -> bytes:
    """Return the smallest model file with one entry replaced."""
    with zipfile.ZipFile(io.BytesIO(READERS["npz"].seeds()[0])) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return zipped(files | {entry: content}, zipfile.ZIP_STORED)


def described(key: str, value: object) -> bytes:
    """Return the smallest model file with one value of its description changed."""
    with zipfile.ZipFile(io.BytesIO(READERS["npz"].seeds()[0])) as archive:
        description = json.loads(archive.read("model.json"))
    part, _, last = key.partition(".")
    description[part][last] = value
    return model_with("model.json", json.dumps(description).encode())


def weights(kind: str, shape: str, data: bytes = b"") -> bytes:
    """Return the smallest model file with other weights in its first layer."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data
    return model_with("layer1.weight.npy", content)


def params(old: str, new: str) -> bytes:
    assert old in PARAMS.decode()
    return PARAMS.decode().replace(old, new, 1).encode()


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **options)
    return content.getvalue()


def claiming(width: int, height: int) -> bytes:
    """Return a small PNG that claims another size."""
    content = bytearray(saved(Image.new("L", (8, 8)), "PNG"))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def without_palette() -> bytes:
    """Return a PNG whose pixels are places in a palette that it lacks."""
    content = bytearray(saved(Image.new("L", (28, 28)), "PNG"))
    content[25] = 3
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def header(kind: str, shape: str) -> bytes:
    """Return the header of an array that may lie."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def arrays(images: bytes) -> bytes:
    """Return a .npz file of images and labels, of which the images are given as they are."""
    labels = header("|u1", "(1000000000,)" if b"1000000000" in images else "(3,)") + bytes(3)
    return zipped({"x.npy": images, "y.npy": labels}, zipfile.ZIP_STORED)


def mat_bomb() -> bytes:
    """Return a .mat file with an element that unpacks to zeros."""
    packed = zlib.compress(bytes(BOMB), 9)
    start = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    return start + struct.pack("<II", 15, len(packed)) + packed


def tar_of(name: str, size: int) -> bytes:
    """Return the header of a file in a tar archive."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf()


IMAGES = struct.pack(">HBBIII", 0, 8, 3, 2**31, 28, 28)
LABELS = struct.pack(">HBBI", 0, 8, 1, 2**31)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%touch pwned) run\n"
ONE_ROW = b"0," * 784 + b"0\n"

REFUSED = {
    "idx": {
        "2^31 images in 16 bytes": (lambda: IMAGES, "got 2147483648 images and"),
        "2^31 images in a gzip bomb": (lambda: gzip_bomb(IMAGES), "got 2147483648 images and"),
        "2^31 labels in a gzip bomb": (lambda: gzip_bomb(LABELS), "must start with the IDX magic"),
    },
    "csv": {
        "an endless line": (lambda: gzip_bomb(b"0,"), "is not text in UTF-8"),
        "an endless file": (lambda: gzip_bomb(ONE_ROW * 2), ""),
    },
    "npz of images": {
        "half a header": (
            lambda: arrays(header("|u1", "(3, 28, 28")),
            "is not a NumPy array",
        ),
        "a shape of terabytes": (
            lambda: arrays(header("|u1", "(1000000000, 28, 28)")),
            "must hold 1000000000 bytes after its header, got 3",
        ),
        "a pickle": (lambda: arrays(header("|O", "(3,)")), "pickled"),
        "a bomb": (
            lambda: zipped({"x.npy": bytes(BOMB)}, zipfile.ZIP_DEFLATED),
            "must unpack to at most",
        ),
    },
    "parquet": {
        "a name that is not text": (
            lambda: READERS["parquet"].seeds()[0].replace(b"label", b"\x84abel"),
            "is not a Parquet file",
        ),
        "text": (lambda: b"PAR1 and PAR1", "is not a Parquet file"),
    },
    "mat": {
        "an array of no known kind": (
            lambda: (
                READERS["mat"]
                .seeds()[1]
                .replace(b"\6\0\0\0\x08\0\0\0\x09", b"\6\0\0\0\x08\0\0\0\x1f")
            ),
            "must hold arrays of images and labels, got none",
        ),
        "a bomb": (lambda: mat_bomb(), "must unpack to at most"),
    },
    "folder": {
        "a palette that is missing": (without_palette, "damaged picture: a part is missing"),
        "a picture of 50,000x50,000 pixels": (lambda: claiming(50_000, 50_000), "exceeds limit"),
    },
    "tar": {
        "a bomb": (lambda: gzip_bomb(tar_of("train.csv", BOMB)), "must unpack to at most"),
        "a bomb in a file that is ignored": (
            lambda: gzip_bomb(tar_of("x.bin", BOMB)),
            "",
        ),
        "a path above its folder": (
            lambda: tar_of("../train.csv", 5) + b"0" * 512 + bytes(1024),
            "leaves its folder",
        ),
    },
    "zip": {
        "a zip bomb": (
            lambda: zipped({"train.csv": bytes(BOMB)}, zipfile.ZIP_DEFLATED),
            "must unpack to at most",
        ),
        "an entry that claims to be small": (lambda: zip_with("train.csv", file_size=9), "CRC"),
        "an entry that claims to be huge": (
            lambda: zip_with("train.csv", file_size=1 << 40),
            "must unpack to at most",
        ),
        "an entry above its folder": (lambda: zip_with("../train.csv"), "leaves its folder"),
        "an entry at the root": (lambda: zip_with("/train.csv"), "leaves its folder"),
        "an entry on a drive": (lambda: zip_with(r"C:\train.csv"), "leaves its folder"),
        "an entry above its folder, by backslash": (
            lambda: zip_with(r"a\..\..\train.csv"),
            "leaves its folder",
        ),
        "a name too long for a file": (lambda: zip_with("x" * 999 + ".csv"), "name too long"),
        "broken LZMA": (
            lambda: READERS["zip"].seeds()[4].replace(b"\x5d\0\0", b"\xff\xff\xff", 1),
            "is a damaged or encrypted zip archive",
        ),
    },
    "npz": {
        "a pickled array": (lambda: weights("|O", "(784, 2)"), "must be float32"),
        "a shape of terabytes": (
            lambda: weights("<f4", "(784, 1000000000)"),
            "must be float32 of shape (784, 2)",
        ),
        "too few numbers": (
            lambda: weights("<f4", "(784, 2)", bytes(99)),
            "must hold 6272 bytes, got 99",
        ),
        "half a header": (lambda: weights("(((", "("), "is not an array"),
        "a bomb": (
            lambda: zipped({"model.json": bytes(BOMB)}, zipfile.ZIP_DEFLATED),
            "must hold its arrays as they are",
        ),
        "300,000 layers": (
            lambda: described("architecture.sizes", [3] * 300_000),
            "must have from 2 to 102 layer sizes",
        ),
        "an activation that is a list": (
            lambda: described("architecture.activation", []),
            "got []",
        ),
        "a mean that is a word": (
            lambda: described("normalization.mean", "x"),
            "invalid model.json",
        ),
        "a mean that is huge": (
            lambda: described("normalization.mean", 10**400),
            "got inf and 0.31",
        ),
        "a deviation that is infinite": (
            lambda: described("normalization.std", float("inf")),
            "a std from 1e-12 to 1, got 0.13 and inf",
        ),
        "nested lists": (
            lambda: model_with("model.json", b"[" * 500_000),
            "must be JSON (recursion",
        ),
    },
    "params.yaml": {
        "a list of itself": (lambda: params("lr: null", "lr: &a [*a]"), "lr must be a number"),
        "5,000 digits": (lambda: params("seed: 0", "seed: " + "9" * 5000), "5000 digits"),
        "4,000 digits": (
            lambda: params("seed: 0", "seed: " + "9" * 4000),
            "got a whole number of 13288 bits",
        ),
        "100,000 hexadecimal digits": (
            lambda: params("seed: 0", "seed: 0x" + "f" * 100_000),
            "got a whole number of 400000 bits",
        ),
        "a date": (lambda: params("seed: 0", "seed: 2001-09-09"), "seed must be a whole number"),
        "a number that is a word": (lambda: params("seed: 0", "seed: !!int abc"), "'abc'"),
        "a boolean that is a word": (lambda: params("seed: 0", "seed: !!bool abc"), "'abc'"),
        "an invalid character": (lambda: params("seed: 0", r'a: "\UFFFFFFFF"'), "is not YAML"),
        "half a character as a key": (lambda: params("seed: 0", r'"\ud800": 0'), r"got '\ud800'"),
        "a line break and a colour in a key": (
            lambda: params("seed: 0", r'"a\nb\e[31m": 0'),
            r"a\nb\x1b[31m is not a setting",
        ),
        "a call of a Python function": (
            lambda: params("seed: 0", "seed: !!python/object/apply:os.system [touch pwned]"),
            "is not YAML",
        ),
        "3,000 unknown settings": (
            lambda: PARAMS + b"".join(b"k%d: 1\n" % number for number in range(3000)),
            "and 2990 more",
        ),
        "a class name of two lines": (
            lambda: params("two]", r'"a\nb"]'),
            "class_names.2 must have from 1 to 60 printable characters",
        ),
        "two classes with the same name": (
            lambda: params("two]", "'0']"),
            "must have no duplicates",
        ),
    },
    "picture": {
        "50,000x50,000 pixels": (lambda: claiming(50_000, 50_000), "is too large a picture"),
        "7,000x7,000 pixels": (lambda: claiming(7000, 7000), "at most 12,000,000 pixels"),
        "as many blank pixels as allowed": (
            lambda: saved(
                Image.new("RGB", (4000, 3000)), "WEBP", lossless=True, quality=0, method=0
            ),
            "shows no digit",
        ),
        "a blank photo of a camera's size": (
            lambda: saved(Image.new("RGB", (10_000, 5000)), "JPEG", subsampling=0),
            "shows no digit",
        ),
        "the same photo as a progressive JPEG": (
            lambda: saved(Image.new("RGB", (10_000, 5000)), "JPEG", progressive=True),
            "at most 12,000,000 pixels",
        ),
        "truncated EXIF data": (
            lambda: saved(Image.new("L", (28, 28)), "PNG", exif=b"Exif\0\0II*\0}\xf1\xaf"),
            "is a damaged picture",
        ),
        "a palette that is missing": (without_palette, "damaged picture: a part is missing"),
        "a PostScript program": (lambda: EPS, "is not a PNG, JPEG, BMP, GIF or WebP picture"),
    },
}


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        pytest.param(name, make, words, id=f"{name}: {what}")
        for name, cases in REFUSED.items()
        for what, (make, words) in cases.items()
    ],
)
def test_a_malicious_file_is_refused_in_one_line_within_its_time_and_memory(name, make, words):
    verdict = check(READERS[name], make())
    assert verdict.message is not None
    assert words in verdict.message


def test_deeply_nested_json_is_refused_in_one_line(tmp_path):
    (tmp_path / "summary.json").write_text("[" * 200_000)
    with refused(match="is not JSON"):
        read_json(tmp_path / "summary.json")


def test_a_model_whose_weights_overflow_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    huge = np.full((784, 2), 1e38, "f4")
    (tmp_path / "model.npz").write_bytes(weights("<f4", "(784, 2)", huge.tobytes()))
    picture = Image.new("L", (28, 28), 255)
    picture.paste(0, (5, 5, 20, 20))
    picture.save("square.png")
    for command in ("predict", "explain"):
        result = CliRunner().invoke(main, [command, "model.npz", "square.png"])
        assert result.exit_code == 1
        (line,) = result.output.splitlines()
        assert line == "Error: model small has weights that are too large to compute with"


FORBIDDEN = {
    "writing elsewhere": lambda path: path.write_bytes(b""),
    "making a folder elsewhere": lambda path: path.mkdir(),
    "linking elsewhere": lambda path: path.symlink_to("/"),
    "running a program": lambda path: subprocess.run(["true"], check=True),
    "running text": lambda path: exec("path"),
    "unpickling": lambda path: pickle.loads(b"cbuiltins\nlen\n."),
    "filling the memory": lambda path: np.ones(2 * READERS["idx"].memory, np.uint8),
}


@pytest.mark.parametrize("deed", FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_guard_detects_what_a_reader_must_not_do(tmp_path, deed):
    reader = Reader(lambda content, folder: deed(tmp_path / "elsewhere"), list, ())
    with pytest.raises(AssertionError):
        check(reader, b"")


@given(st.text(max_size=9))
def test_an_errors_message_is_one_printable_line(text):
    message = str(PipelineError(text * 500))
    assert message.isprintable()
    assert len(message) <= LONGEST
    assert printable(text) == text or not text.isprintable()

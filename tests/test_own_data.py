"""Sets like those that people bring go through every stage, to the last figure and page."""

import io
import json
import subprocess
import sys
import unicodedata

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.datasets.images import LabelledImages
from tests.conftest import changed_params
from tests.layouts import gzipped, idx_files, write_files

KANA = ["お", "き", "す", "つ", "な", "は", "ま", "や", "れ", "を"]
CHARACTERS = [*"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]
PER_VARIANT = {stage: ["tiny"] for stage in ("train", "evaluate", "visualize")}
STAGES = ("download", "convert", "split", "train", "evaluate", "visualize", "compare", "report")


def spread(data, classes):
    """Return images with labels of as many classes, which look alike; only the names matter."""
    rows = np.arange(len(data) - len(data) % classes)
    return LabelledImages(data.images[rows], (rows % classes).astype(np.uint8))


def kmnist(folder, digits):
    for split, rows in (("train", slice(0, 400)), ("test", slice(400, 500))):
        np.savez_compressed(folder / f"kmnist-{split}-imgs.npz", digits.images[rows])
        np.savez_compressed(folder / f"kmnist-{split}-labels.npz", digits.labels[rows])
    return {"class_names": KANA}


def emnist(folder, digits):
    across = LabelledImages(digits.images.transpose(0, 2, 1).copy(), digits.labels)
    for split, rows in (("train", np.arange(400)), ("test", np.arange(400, 500))):
        files = gzipped(idx_files(split, across.take(rows)))
        write_files(folder, {f"emnist-digits-{name}": files[name] for name in files})
    return {"class_names": [*"0123456789"], "transpose": True}


def letters(folder, digits):
    data = spread(digits, 26)
    data = LabelledImages(data.images, data.labels + np.uint8(1))
    write_files(folder, {f"emnist-letters-{name}": content
                         for name, content in idx_files("train", data).items()})  # fmt: skip
    return {"class_names": CHARACTERS[10:36], "transpose": True, "first_label": 1}


def folders(folder, digits):
    data = spread(digits, 62)
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        path = f"train/{CHARACTERS[label]}/{number}.png"
        write_files(folder, {path: content.getvalue()})
    return {"class_names": CHARACTERS}


SETS = {"kmnist": kmnist, "emnist": emnist, "letters": letters, "folders": folders}


@pytest.mark.slow
@pytest.mark.parametrize("make", SETS.values(), ids=SETS)
def test_a_set_like_those_that_people_bring_reaches_the_report(project, tmp_path, digits, make):
    mixed = digits.take(np.random.default_rng(0).permutation(5000)[:1000])
    source = tmp_path / "source"
    source.mkdir()
    settings = {
        "source": str(source), "files": None, "test_size": 100, "validation_size": 100,
        "pictures": "digit", "checksums": {},
    } | make(source, mixed)  # fmt: skip
    with changed_params(project) as params:
        params["dataset"] = "mine"
        params["datasets"]["mine"] = settings
        params["epochs"] = 2
        params["variants"] = {"tiny": params["variants"]["tiny"]}
    for stage in STAGES:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", f"stages.{stage}", *PER_VARIANT.get(stage, [])],
            cwd=project, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
    assert len(list((project / "plots/figures/tiny").glob("*.png"))) == 11
    page = (project / "report/index.html").read_text()
    assert all(unicodedata.normalize("NFC", name) in page for name in settings["class_names"])
    metadata = pq.read_schema(project / "data/splits/train.parquet").metadata
    assert json.loads(metadata.get(b"changes", b"[]")) == [
        change for change in ("transpose", "first_label 1") if change.split()[0] in settings
    ]

"""The animation of a training shows its moments, in few colours and with the same bytes."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from pipeline.base.params import VariantSettings
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.normalization import Normalization
from pipeline.figures.learning import LAST, LEFT, PAUSE, TOP, learning_frames, save_animation
from pipeline.nn.snapshot_file import save_moments
from tests.conftest import ROOT
from tests.moments import some_moments

SCALE = Normalization("scale", 0.0, 1.0)


@pytest.fixture(scope="module")
def moments(few_digits):
    description = Description("mnist-5k", tuple("0123456789"), "a test")
    examples = Examples(SCALE.apply(few_digits.images), few_digits.labels, description, SCALE)
    settings = VariantSettings(hidden=[30], lr=0.1, batch_size=20, epochs=5)
    return some_moments(examples, settings)


def test_the_animation_has_a_frame_for_each_moment_and_rests_on_the_last(moments, tmp_path):
    path = tmp_path / "learning.webp"
    frames = learning_frames(moments, "some")
    save_animation(path, frames)
    with Image.open(path) as animation:
        assert animation.n_frames == len(moments) == 6
        assert animation.info["loop"] == 0
        read = [(frame.info["duration"], frame.convert("RGB")) for frame in _loaded(animation)]
    assert [duration for duration, _ in read] == [PAUSE] * 5 + [LAST]
    for frame, (_, picture) in zip(frames, read, strict=True):
        assert picture.tobytes() == frame.tobytes()


def _loaded(animation):
    for frame in ImageSequence.Iterator(animation):
        frame.load()
        yield frame


def test_red_is_a_weight_above_zero_and_blue_one_below(moments):
    filters = moments.filters[:, 0] / np.abs(moments.filters[:, 0]).max()
    for number, frame in enumerate(learning_frames(moments, "some")):
        pixels = np.asarray(frame).astype(int)[TOP : TOP + 84 : 3, LEFT : LEFT + 84 : 3]
        redness = (pixels[..., 0] - pixels[..., 2]).reshape(-1)
        strong = np.abs(filters[number]) > 0.1
        assert (np.sign(redness) == np.sign(filters[number]))[strong].all()


def test_every_frame_fits_a_palette(moments):
    for frame in learning_frames(moments, "some"):
        assert len(frame.getcolors(4096)) <= 256


def test_the_animation_ends_with_the_epoch_kept(moments):
    kept = type(moments)(**vars(moments) | {"kept": np.array(3)})
    assert len(learning_frames(kept, "some")) == 4


def test_few_neurons_and_a_single_epoch_can_be_drawn(few_digits):
    description = Description("mnist-5k", tuple("0123456789"), "a test")
    examples = Examples(SCALE.apply(few_digits.images), few_digits.labels, description, SCALE)
    settings = VariantSettings(hidden=[2], lr=0.1, batch_size=20, epochs=1)
    assert len(learning_frames(some_moments(examples, settings), "a_long$name" * 5)) == 2


def test_two_processes_write_the_same_bytes(moments, tmp_path):
    save_moments(tmp_path / "moments.npz", moments)
    code = (
        "from pathlib import Path; from pipeline.nn.snapshot_file import load_moments; "
        "from pipeline.figures.learning import learning_frames, save_animation; "
        "save_animation(Path('other.webp'), "
        "learning_frames(load_moments(Path('moments.npz')), 'some'))"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    save_animation(tmp_path / "one.webp", learning_frames(moments, "some"))
    digests = {
        hashlib.sha256((tmp_path / f"{name}.webp").read_bytes()).hexdigest()
        for name in ("one", "other")
    }
    assert len(digests) == 1

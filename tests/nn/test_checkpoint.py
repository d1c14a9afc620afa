"""A killed run resumes from its checkpoint and gives the same bytes as an uninterrupted one."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.base.params import VariantSettings
from pipeline.base.unpack import UNZIP_ERRORS
from pipeline.nn.checkpoint import Checkpoint, read_state, run_digest, write_state
from pipeline.nn.devices import CPU, find_device
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import Training, make_network
from tests.conftest import ROOT
from tests.damage import flipped_bits
from tests.nn.cupy_stand_in import cupy_stand_in, emulated
from tests.splits import write_splits
from tests.training import held

VARIANT = "some"
EPOCHS = 400
KINDS = {
    "momentum": {"momentum": 0.9, "l2": 1e-3},
    "plain, full batch": {"batch_size": "all"},
    "adam": {"optimizer": "adam", "lr": 0.01, "l2": 1e-3},
    "adam, full batch, clipped": {
        "optimizer": "adam", "lr": 0.01, "batch_size": "all", "clip_norm": 0.5
    },
    "shared by two threads": {"hidden": [128], "batch_size": 100, "momentum": 0.5},
    "best epoch": {"optimizer": "adam", "lr": 0.05, "keep": "best"},
}  # fmt: skip


def settings_of(**changes):
    values = {"hidden": [16], "lr": 0.1, "batch_size": 32, "epochs": 6}
    return VariantSettings(**(values | changes))


@pytest.fixture(scope="module")
def inputs(few_digits):
    return (few_digits.images.reshape(-1, 784) / 255).astype(np.float32), few_digits.labels


@pytest.fixture
def start(inputs):
    """A function that starts a training run with a new network."""

    def begin(settings, device=CPU):
        network, rng = make_network(settings, 10, 0)
        engine = device.engine(network, settings, threads=2)
        images = held(engine, inputs)
        return Training(engine, settings, HeldImages(images), images, rng)

    return begin


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def checkpoint(tmp_path, warnings):
    return Checkpoint(VARIANT, "0" * 64, warnings.append, tmp_path / ".checkpoints", every=0)


def finished(training):
    for _ in training.epochs():
        pass
    state = training.state()
    arrays = (state.parameters | state.optimizer).items()
    return {name: array.tobytes() for name, array in arrays}, state.reports, state.order


def interrupted(training, checkpoint, epochs):
    """Train for some epochs, saving a checkpoint after each."""
    for _ in zip(range(epochs), training.epochs(), strict=False):
        checkpoint.save(training)


DRAWN = {
    "optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1, "schedule": "linear", "warmup": 0.3,
    "dropout": 0.2, "label_smoothing": 0.1, "augment": {"rotate": 10.0, "elastic": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("kind", [*KINDS, "drawn"])
@pytest.mark.parametrize("epochs", [1, 4])
def test_a_resumed_run_ends_like_an_uninterrupted_one(kind, epochs, start, checkpoint):
    settings = settings_of(**(KINDS | {"drawn": DRAWN})[kind])
    whole = finished(start(settings))
    interrupted(start(settings), checkpoint, epochs)
    second = start(settings)
    checkpoint.resume(second)
    assert len(second.reports) == epochs
    assert finished(second) == whole


@emulated
@pytest.mark.parametrize("kind", [*KINDS, "drawn"])
def test_a_run_can_be_resumed_on_another_device(kind, start, checkpoint, monkeypatch):
    cupy_stand_in(monkeypatch)
    settings, gpu = settings_of(**(KINDS | {"drawn": DRAWN})[kind], epochs=4), find_device("gpu")
    whole = finished(start(settings))
    interrupted(start(settings, gpu), checkpoint, 1)
    for device, epochs in ((CPU, 1), (gpu, 2)):
        second = start(settings, device)
        checkpoint.resume(second)
        assert len(second.reports) == epochs
        interrupted(second, checkpoint, 1)
    last = start(settings, gpu)
    checkpoint.resume(last)
    assert finished(last) == whole


def test_a_run_can_be_interrupted_repeatedly(start, checkpoint):
    settings = settings_of(momentum=0.9)
    for epoch in range(settings.epochs):
        training = start(settings)
        checkpoint.resume(training)
        assert len(training.reports) == epoch
        interrupted(training, checkpoint, 1)
    last = start(settings)
    checkpoint.resume(last)
    assert finished(last) == finished(start(settings))


def test_no_checkpoint_is_saved_before_the_interval_has_passed(start, tmp_path, warnings):
    training = start(settings_of())
    checkpoint = Checkpoint(VARIANT, "0" * 64, warnings.append, tmp_path / "x", every=3600)
    for _ in training.epochs():
        checkpoint.save(training)
    assert not (tmp_path / "x").exists()


def test_without_a_checkpoint_a_run_starts_from_the_beginning_without_a_warning(
    start, checkpoint, warnings
):
    training = start(settings_of())
    checkpoint.resume(training)
    assert training.reports == []
    assert warnings == []


def test_a_checkpoint_that_cannot_be_saved_warns_once_and_training_continues(
    start, checkpoint, warnings
):
    checkpoint.path.parent.parent.write_text("a file where the folder should be")
    training = start(settings_of())
    for _ in training.epochs():
        checkpoint.save(training)
    assert len(training.reports) == 6
    assert len(warnings) == 1
    assert warnings[0].startswith("an interrupted run will start from the beginning: ")
    assert "cannot be written" in warnings[0]


def rewrite(path, change):
    """Rewrite a checkpoint with changed entries and a valid digest."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    path.write_bytes(hashlib.sha256(written.getvalue()).digest() + written.getvalue())


def change_description(**changes):
    def change(entries):
        description = json.loads(entries["training.json"])
        entries["training.json"] = json.dumps(description | changes).encode()

    return lambda path: rewrite(path, change)


WEIGHT, BIAS = "parameters/layer1.weight.npy", "parameters/layer1.bias.npy"


def replaced(name, other):
    """Replace one entry by a copy of another."""
    return lambda path: rewrite(path, lambda entries: entries.update({name: entries[other]}))


DAMAGES = {
    "no entry for the reports": lambda path: rewrite(path, lambda entries: entries.clear()),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "text": lambda path: path.write_text("training"),
    "no weights": lambda path: rewrite(path, lambda entries: entries.pop(WEIGHT)),
    "no powers of the means' factors": lambda path: rewrite(
        path, lambda entries: entries.pop("optimizer/powers.npy")
    ),
    "weights of another size": replaced(WEIGHT, BIAS),
    "a mean of another size": replaced("optimizer/first.layer1.bias.npy", WEIGHT),
    "powers of another size": replaced("optimizer/powers.npy", BIAS),
    "what another optimiser remembers": lambda path: rewrite(
        path,
        lambda entries: entries.update(
            {"optimizer/velocity.layer1.bias.npy": entries.pop("optimizer/first.layer1.bias.npy")}
        ),
    ),
    "no array": lambda path: rewrite(path, lambda entries: entries.update({WEIGHT: b"x"})),
    "no order": change_description(order={"bit_generator": "PCG64"}),
    "reports of nothing": change_description(reports=[{}]),
    "reports of no kind": change_description(reports=7),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_ignored_with_one_warning(damage, start, checkpoint, warnings):
    settings = settings_of(optimizer="adam", lr=0.01)
    interrupted(start(settings), checkpoint, 3)
    DAMAGES[damage](checkpoint.path)
    training = start(settings)
    checkpoint.resume(training)
    assert training.reports == []
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{checkpoint.path} is damaged and ignored")
    assert finished(training) == finished(start(settings))


def test_a_checkpoint_with_any_bit_flipped_is_refused_as_damaged(start, tmp_path):
    training = start(settings_of(hidden=[1], train_limit=1))
    one = {"weight": np.ones((1, 1), np.float32)}
    state = replace(training.state(), parameters=one, optimizer=one, best=one)
    path = tmp_path / "small.npz"
    write_state(path, state)
    for _ in flipped_bits(path):
        with pytest.raises(UNZIP_ERRORS):
            read_state(path)
    assert read_state(path) == state


@emulated
@pytest.mark.parametrize("damage", [name for name in DAMAGES if "size" in name or "powers" in name])
def test_a_damaged_checkpoint_is_ignored_on_a_gpu_too(
    damage, start, checkpoint, warnings, monkeypatch
):
    cupy_stand_in(monkeypatch)
    settings, gpu = settings_of(optimizer="adam", lr=0.01, epochs=2), find_device("gpu")
    interrupted(start(settings, gpu), checkpoint, 1)
    DAMAGES[damage](checkpoint.path)
    training = start(settings, gpu)
    checkpoint.resume(training)
    assert training.reports == []
    assert len(warnings) == 1
    assert finished(training) == finished(start(settings))


def test_reports_and_non_finite_numbers_are_restored_exactly(start, tmp_path):
    training = start(settings_of(epochs=2))
    finished(training)
    state = training.state()
    state.parameters["layer1.weight"][0, :2] = np.inf, np.nan
    write_state(tmp_path / "a.npz", state)
    back = read_state(tmp_path / "a.npz")
    assert back.reports == state.reports
    assert back.order == state.order
    for own, read in ((state.parameters, back.parameters), (state.optimizer, back.optimizer)):
        assert own.keys() == read.keys()
        for name, array in own.items():
            assert read[name].dtype == array.dtype
            np.testing.assert_array_equal(read[name], array)


def test_remove_deletes_all_checkpoints_of_the_variant_but_not_of_others(
    start, checkpoint, warnings
):
    folder = checkpoint.path.parent.parent
    others = Checkpoint("another", "1" * 64, warnings.append, folder, every=0)
    stale = Checkpoint(VARIANT, "2" * 64, warnings.append, folder, every=0)
    for one in (checkpoint, others, stale):
        interrupted(start(settings_of()), one, 1)
    checkpoint.remove()
    assert not checkpoint.path.exists()
    assert not stale.path.exists()
    assert others.path.exists()
    others.remove()
    assert not checkpoint.path.parent.parent.exists()
    others.remove()


def test_the_digest_changes_with_everything_that_determines_a_run(tmp_path, monkeypatch):
    data = (tmp_path / "train.parquet", tmp_path / "validation.parquet")
    for path in data:
        path.write_text("data")
    same = (settings_of(), {"seed": 0}, data)
    digests = [run_digest(*same)]
    digests.append(run_digest(settings_of(lr=0.2), *same[1:]))
    digests.append(run_digest(settings_of(), {"seed": 1}, data))
    data[1].write_text("other")
    digests.append(run_digest(*same))
    data[1].write_text("data")
    monkeypatch.setattr(np, "__version__", "0.1")
    digests.append(run_digest(*same))
    monkeypatch.undo()
    assert len(set(digests)) == len(digests)
    assert run_digest(*same) == digests[0]


@pytest.mark.parametrize("changed", ["nn/losses.py", "datasets/augment.py", "base/trigonometry.py"])
def test_the_digest_changes_with_the_code(changed, tmp_path, monkeypatch):
    from pipeline.nn import checkpoint as module

    before = run_digest(settings_of(), {}, ())
    copy = tmp_path / "pipeline"
    shutil.copytree(ROOT / "pipeline", copy)
    monkeypatch.setattr(module, "__file__", str(copy / "nn" / "checkpoint.py"))
    assert run_digest(settings_of(), {}, ()) == before
    with open(copy / changed, "a") as file:
        file.write("# another rule\n")
    assert run_digest(settings_of(), {}, ()) != before


OFTEN = (
    "from pipeline.nn.checkpoint import FOLDER, Checkpoint; "
    "Checkpoint.__init__.__defaults__ = (FOLDER, 0.0); "
    "from stages.train import main; main()"
)


@pytest.fixture
def prepared(project, few_digits):
    """A project ready for the train stage, with a variant that trains for some seconds."""
    rows = np.arange(len(few_digits))
    write_splits(project / "data/splits", few_digits, {"train": rows, "validation": rows})
    return project


def train_stage(project, *python):
    return subprocess.run(
        [sys.executable, *python, "full_batch"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip


def kill_after(project, epoch):
    """Start the stage with a checkpoint every epoch, and kill it after epoch number `epoch`."""
    process = subprocess.Popen(
        [sys.executable, "-c", OFTEN, "full_batch"],
        cwd=project, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if f"epoch {epoch}/" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def outputs(project):
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for folder in ("models", "plots")
        for path in sorted((project / folder).rglob("*.*"))
    }


@pytest.mark.long
def test_a_killed_stage_resumes_and_writes_exactly_the_same_files(prepared):
    whole = train_stage(prepared, "-m", "stages.train")
    assert whole.returncode == 0, whole.stderr
    expected = outputs(prepared)
    for folder in ("models", "plots"):
        shutil.rmtree(prepared / folder)
    kill_after(prepared, 50)
    assert (prepared / ".checkpoints/full_batch").is_dir()
    again = train_stage(prepared, "-m", "stages.train")
    assert again.returncode == 0, again.stderr
    assert "full_batch: continues after epoch" in again.stdout
    assert "epoch 200/200" in again.stdout
    assert outputs(prepared) == expected
    assert len(expected) == 4
    assert not (prepared / ".checkpoints").exists()


def test_changed_settings_ignore_a_checkpoint_and_a_failed_run_leaves_none(prepared):
    kill_after(prepared, 10)
    params = (prepared / "params.yaml").read_text()
    (prepared / "params.yaml").write_text(params.replace("lr:  ", "lr: 1.0e+30  ", 1))
    diverged = train_stage(prepared, "-m", "stages.train")
    assert diverged.returncode == 1
    assert "continues" not in diverged.stdout
    assert diverged.stderr.startswith("Error: full_batch: the")
    assert diverged.stderr.count("\n") == 1
    assert not (prepared / ".checkpoints").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux counts memory there")
def test_memory_and_open_files_stay_the_same_over_hundreds_of_checkpoints(start, checkpoint):
    def used():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(
            list(Path("/proc/self/fd").iterdir())
        )

    settings = settings_of(hidden=[128, 64], momentum=0.9, epochs=EPOCHS)
    seen = []
    run = start(settings)
    for report in run.epochs():
        checkpoint.save(run)
        if not report.epoch % (EPOCHS // 4):
            seen.append(used())
    (first, files), *later = seen
    assert {number for _, number in later} == {files}
    # What remains are the reports: two scores and the norms of each epoch.
    assert max(memory for memory, _ in later) - first < 24

"""A run sends its tracker everything, and never depends on it."""

import socket
import subprocess
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from pipeline.base.errors import TrainingError
from pipeline.base.params import VariantSettings
from pipeline.nn.model_file import Model
from pipeline.nn.training import EpochReport, Score, make_network
from pipeline.tracking import run as tracking_run
from pipeline.tracking.run import track_results, tracked_training
from pipeline.tracking.tracker import Description, local_folder
from tests.conftest import copy_project
from tests.splits import SCALE
from tests.tracking.small import change, environment, make_small, results, stage

TRAINING = {"settings": {"lr": 0.1, "epochs": 5}, "seed": 7, "dataset": "mnist-5k"}
REPORTS = [EpochReport(at, Score(1 / at, 0.5), Score(2 / at, 0.4), (), ()) for at in range(1, 6)]

TRAINED = (
    "models/tiny.npz", "plots/history/tiny.csv", "plots/norms/tiny.csv", "plots/snapshots/tiny.npz"
)  # fmt: skip


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ((None,), "tiny"), (("brave-hue",), "tiny brave-hue"),
        ((None, "tiny.broad", "trial 3"), "tiny.broad, trial 3"),
    ],
)  # fmt: skip
def test_a_run_is_named_by_variant_and_experiment_or_by_its_study_and_trial(known, name):
    assert Description("tiny", {}, *known).name == name


@pytest.fixture
def warnings():
    return []


def train(warnings, reports=REPORTS):
    with tracked_training("mlflow", "tiny", TRAINING, warnings.append) as run:
        for report in reports:
            run.log(report)
    return run


def test_the_tracker_receives_every_epoch_once_and_in_order(recorder, warnings, monkeypatch):
    for pause in (0, 1000):
        monkeypatch.setattr(tracking_run, "SECONDS", pause)
        recorder.calls.clear()
        train(warnings)
        calls = [content for event, content, *_ in recorder.calls if event == "log"]
        assert list(chain(*calls)) == [1, 2, 3, 4, 5]
        assert len(calls) == (5 if pause == 0 else 1)
    assert warnings == []


def test_a_tracker_receives_all_settings_and_the_name_of_dvcs_experiment(
    recorder, warnings, monkeypatch
):
    monkeypatch.setenv("DVC_EXP_NAME", "comfy-sley")
    train(warnings)
    (_, description, earlier), *_ = recorder.calls
    assert description.settings == {
        "variant": "tiny", "lr": 0.1, "epochs": 5, "seed": 7, "dataset": "mnist-5k",
    }  # fmt: skip
    assert (description.name, earlier) == ("tiny comfy-sley", None)


def test_passwords_in_urls_are_never_shown(recorder, warnings):
    recorder.broken = {"end"}
    recorder.reason = "POST http://anna:secret@example.org:5000/api failed"
    assert train(warnings).place == "https://***@example.org/runs"
    assert warnings[0].endswith("failed: POST http://***@example.org:5000/api failed")


@pytest.mark.parametrize("broken", ["start", "log", "end"])
@pytest.mark.parametrize("pause", [0, 1000])
def test_a_failing_tracker_is_one_warning_and_is_not_used_again(
    recorder, warnings, monkeypatch, broken, pause
):
    monkeypatch.setattr(tracking_run, "SECONDS", pause)
    recorder.broken = {broken}
    train(warnings)
    assert warnings == ["tiny continues without mlflow, which failed: no answer today"]
    assert recorder.calls[-1][0] == broken


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TrainingError("diverged"), "failed"),
        (MemoryError(), "failed"),
        (KeyboardInterrupt(), "killed"),
        (SystemExit(143), "killed"),
    ],
)
@pytest.mark.parametrize("broken", [frozenset(), {"log"}])
def test_an_interrupted_run_ends_with_the_right_status_and_reraises_the_exception(
    recorder, warnings, error, status, broken
):
    def reports():
        yield from REPORTS[:2]
        raise error

    recorder.broken = broken
    with pytest.raises(type(error)):
        train(warnings, reports())
    expected = [("log", [1, 2])] + ([] if broken else [("end", status)])
    assert recorder.calls[1:] == expected


def test_a_run_resumed_from_a_checkpoint_has_its_earlier_epochs_too(recorder, warnings):
    with tracked_training("mlflow", "tiny", TRAINING, warnings.append) as run:
        run.log(*REPORTS[:2])
        for report in REPORTS[2:]:
            run.log(report)
    assert ("log", [1, 2, 3, 4, 5]) in recorder.calls


def evaluate(model, warnings, tracker="mlflow"):
    network, _ = make_network(VariantSettings(hidden=[1], lr=0.1, batch_size=1, epochs=5), 2, 0)
    read = Model("tiny", network, SCALE, ("no", "yes"), TRAINING)
    track_results(tracker, read, model, {"test_accuracy": 0.9}, {}, warnings.append)


def test_results_go_to_the_run_that_trained_the_model(recorder, warnings):
    model = Path("tiny.npz")
    model.write_bytes(b"weights")
    train(warnings).remember(model)
    recorder.calls.clear()
    evaluate(model, warnings)
    (_, _, earlier), *rest = recorder.calls
    assert earlier == "new"
    assert rest == [("results", {"test_accuracy": 0.9}), ("end", "finished")]


def test_a_run_that_lost_its_tracker_is_resumed_for_the_results(recorder, warnings):
    model = Path("tiny.npz")
    model.write_bytes(b"weights")
    recorder.broken = {"log"}
    train(warnings).remember(model)
    recorder.broken = frozenset()
    recorder.calls.clear()
    evaluate(model, warnings)
    assert [event for event, *_ in recorder.calls] == ["start", "results", "end"]
    assert recorder.calls[0][2] == "new"


def test_another_model_or_another_tracker_starts_a_new_run(recorder, warnings):
    model = Path("tiny.npz")
    model.write_bytes(b"weights")
    evaluate(model, warnings)  # trained without tracking
    train(warnings).remember(model)
    evaluate(model, warnings, tracker="wandb")
    model.write_bytes(b"other weights")
    evaluate(model, warnings)
    starts = [earlier for event, *_, earlier in recorder.calls if event == "start"]
    assert starts == [None] * 4
    assert warnings == []


@pytest.mark.usefixtures("recorder")
def test_a_damaged_record_of_a_run_is_one_warning(warnings):
    model = Path("tiny.npz")
    model.write_bytes(b"weights")
    train(warnings).remember(model)
    Path("tracking/runs/tiny.json").write_text("{")
    evaluate(model, warnings)
    (line,) = warnings
    assert "tracking/runs/tiny.json is not JSON" in line


@pytest.mark.parametrize("package", ["dvclive", "mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_one_warning_that_says_how_to_install_it(
    package, warnings, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)  # Python then refuses to import it
    monkeypatch.delitem(sys.modules, f"pipeline.tracking.{package}", raising=False)
    with tracked_training(package, "tiny", TRAINING, warnings.append) as run:
        run.log(*REPORTS)
    (line,) = warnings
    assert f"tiny continues without {package}" in line
    assert "pip install -e '.[tracking]'" in line


def test_trackers_write_into_the_project_even_for_queued_experiments(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert local_folder() == tmp_path / "tracking"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    assert local_folder() == tmp_path / "project/tracking"


@pytest.fixture(scope="module")
def untracked(tmp_path_factory, few_digits):
    """A project with a network trained and evaluated without a tracker, and the output."""
    project = copy_project(tmp_path_factory.mktemp("untracked") / "project")
    make_small(project, few_digits)
    code = (
        "import sys, stages.train, stages.evaluate\n"
        "stages.train.main(['tiny'], standalone_mode=False)\n"
        "stages.evaluate.main(['tiny'], standalone_mode=False)\n"
        "print([name for name in ('dvclive', 'mlflow', 'wandb') if name in sys.modules])"
    )
    return project, subprocess.run(
        [sys.executable, "-c", code],
        cwd=project, env=environment(project.parent, XDG_CACHE_HOME=str(user_cache_path())),
        capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_without_tracking_no_trackers_package_is_imported_and_no_file_is_written(untracked):
    project, said = untracked
    assert said.stdout.splitlines()[-1] == "[]"
    assert said.stderr == ""
    assert not (project / "tracking").exists()


@pytest.mark.skipif(not find_spec("mlflow"), reason="needs the extra tracking (make extras)")
def test_an_mlflow_server_that_does_not_answer_is_one_warning_and_changes_no_result(
    untracked, project, few_digits
):
    make_small(project, few_digits)
    change(project, tracking="mlflow")
    with socket.socket() as closed:  # bound but not listening, so connections are refused
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = stage(project, "train", MLFLOW_TRACKING_URI=address)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Warning: tiny continues without mlflow, which failed: ")
    assert address in done.stderr
    expected = results(untracked[0])
    assert results(project) == {name: expected[name] for name in TRAINED}

"""Real trackers: MLflow's server, W&B's client with a local server, DVCLive in DVC."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import requests
from ruamel.yaml import YAML

from tests.tracking.small import EPOCHS, change, environment, make_small, results, stage
from tests.tracking.wandb_server import KEY, serve_wandb

MLFLOW = Path(sys.prefix) / "mlflow-server/bin/mlflow"
STAGE = [sys.executable, "-m", "stages.train", "tiny"]
LONG = 10_000
"""Number of epochs that takes some seconds."""
OFFLINE = {"WANDB_MODE": "offline"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(find_spec, ("dvclive", "mlflow", "wandb"))),
        reason="needs the extra tracking (make extras)",
    ),
]
needs_server = pytest.mark.skipif(
    not MLFLOW.exists(), reason="needs MLflow's server, in an environment of its own (make extras)"
)


@pytest.fixture
def small(project, few_digits):
    make_small(project, few_digits)
    return project


def history(project):
    """Return the scores of each epoch as the pipeline saved them, by the trackers' names."""
    table = pd.read_csv(project / "plots/history/tiny.csv")
    return {
        f"{split}/{measure}": rows[measure].tolist()
        for split, rows in table.groupby("split")
        for measure in ("cost", "accuracy")
    }


def metrics(project):
    return json.loads((project / "metrics/variants/tiny.json").read_text())


def confusion(project):
    """Return the number of test images per pair of label and prediction."""
    table = pd.read_csv(project / "plots/predictions/tiny.csv", dtype=str)
    return table.groupby(["label", "prediction"]).size().to_dict()


@contextmanager
def process(*command, project, **variables):
    """Run a command until the block ends, as in a terminal: it does not ignore Ctrl-C."""
    with subprocess.Popen(
        [*map(str, command)], cwd=project, env=environment(project.parent, **variables),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:  # fmt: skip
        try:
            yield running
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)


@contextmanager
def mlflow_server(folder, store=None):
    """Run MLflow's server on a folder or a database, and yield its address and process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    command = [
        MLFLOW, "server", "--host", "127.0.0.1", "--port", port, "--workers", 1,
        "--backend-store-uri", store or f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", folder / "artifacts",
    ]  # fmt: skip
    variables = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with process(*command, project=folder, **variables) as server:
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 600
        while not answers(f"{address}/health"):
            assert server.poll() is None, server.stdout.read()
            assert time.monotonic() < until, "MLflow's server did not start"
            time.sleep(0.2)
        yield address, server


def answers(address):
    try:
        return requests.get(address, timeout=5).ok
    except requests.ConnectionError:
        return False


class Rest:
    """A minimal client for MLflow's REST API."""

    def __init__(self, address):
        self.address = address

    def runs(self):
        """Return all runs of the project's experiment, or none if there is no experiment."""
        found = self._post("experiments/search", max_results=10)["experiments"]
        numbers = [row["experiment_id"] for row in found if row["name"] == "handwritten-digits"]
        return self._post("runs/search", experiment_ids=numbers).get("runs", []) if numbers else []

    def history(self, run, metric):
        answer = self._get("metrics/get-history", run_id=run["info"]["run_id"], metric_key=metric)
        rows = sorted(answer["metrics"], key=lambda row: int(row["step"]))
        assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
        return [row["value"] for row in rows]

    def artifact(self, run, name):
        answer = requests.get(
            f"{self.address}/get-artifact",
            params={"run_id": run["info"]["run_id"], "path": name},
            timeout=30,
        )
        answer.raise_for_status()
        return answer.content

    def _get(self, what, **params):
        return self._json(requests.get(self._url(what), params=params, timeout=30))

    def _post(self, what, **body):
        return self._json(requests.post(self._url(what), json=body, timeout=30))

    def _url(self, what):
        return f"{self.address}/api/2.0/mlflow/{what}"

    def _json(self, answer):
        answer.raise_for_status()
        return answer.json()


def check_mlflow_run(rest, run, project):
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == "tiny"
    params = {row["key"]: row["value"] for row in run["data"]["params"]}
    assert (params["lr"], params["hidden"], params["epochs"]) == ("0.1", "[10]", str(EPOCHS))
    assert (params["seed"], params["dataset"], params["images"]) == ("0", "mnist-5k", "120")
    last = {row["key"]: row["value"] for row in run["data"]["metrics"]}
    assert {name: last[name] for name in metrics(project)} == metrics(project)
    for name, values in history(project).items():
        assert rest.history(run, name) == pytest.approx(values, rel=1e-5)
    assert rest.artifact(run, "tiny.npz") == (project / "models/tiny.npz").read_bytes()
    header, *rows = rest.artifact(run, "confusion_matrix.csv").decode().split()
    classes = header.split(",")[1:]
    cells = {
        (label, prediction): int(count)
        for label, *counts in (row.split(",") for row in rows)
        for prediction, count in zip(classes, counts, strict=True)
    }
    assert len(cells) == 100
    assert {pair: count for pair, count in cells.items() if count} == confusion(project)


@needs_server
def test_an_mlflow_server_stores_the_whole_run_under_one_id(small, tmp_path):
    change(small, tracking="mlflow")
    with mlflow_server(tmp_path / "server", f"sqlite:///{tmp_path}/server/mlflow.db") as (
        address,
        _,
    ):
        trained = stage(small, "train", MLFLOW_TRACKING_URI=address)
        evaluated = stage(small, "evaluate", MLFLOW_TRACKING_URI=address)
        rest = Rest(address)
        (run,) = rest.runs()
        check_mlflow_run(rest, run, small)
    assert trained.stderr + evaluated.stderr == ""
    assert f"tiny: tracked in {address}, run {run['info']['run_id']}" in trained.stdout
    assert not (small / "tracking/mlflow").exists()


@needs_server
def test_an_mlflow_server_shows_a_local_folder_later(small, tmp_path):
    change(small, tracking="mlflow")
    said = stage(small, "train").stderr + stage(small, "evaluate").stderr
    assert said == ""
    with mlflow_server(tmp_path / "server", small / "tracking/mlflow") as (address, _):
        rest = Rest(address)
        (run,) = rest.runs()
        check_mlflow_run(rest, run, small)


@needs_server
def test_an_mlflow_server_stores_each_repeat_as_a_run_with_its_result(small, tmp_path):
    change(small, tracking="mlflow")
    with mlflow_server(tmp_path / "server") as (address, _):
        options = ("--seeds", "3", "--workers", "1")
        assert stage(small, "repeat", *options, MLFLOW_TRACKING_URI=address).stderr == ""
        rest = Rest(address)
        runs = rest.runs()
        epochs = [rest.history(run, "validation/accuracy") for run in runs]
    repeats = json.loads((small / "metrics/repeat/tiny.json").read_text())
    found = {
        row["value"]: {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
        for run in runs
        for row in run["data"]["params"]
        if row["key"] == "seed"
    }
    assert {run["info"]["status"] for run in runs} == {"FINISHED"}
    assert {run["info"]["run_name"] for run in runs} == {
        f"repeat tiny mnist-5k, seed {seed}" for seed in range(3)
    }
    accuracies = {seed: metrics["validation_accuracy"] for seed, metrics in found.items()}
    assert accuracies == pytest.approx(repeats["validation_accuracy"])
    assert [len(each) for each in epochs] == [EPOCHS] * 3


@needs_server
def test_an_mlflow_server_that_dies_during_training_is_one_warning_and_changes_no_result(
    small, tmp_path
):
    change(small, epochs=LONG)
    stage(small, "train")
    expected = results(small)
    change(small, tracking="mlflow")
    with (
        mlflow_server(tmp_path / "server") as (address, server),
        process(*STAGE, project=small, MLFLOW_TRACKING_URI=address) as training,
    ):
        rest = Rest(address)
        wait(lambda: rest.runs() and rest.runs()[0]["data"].get("metrics"), training)
        os.killpg(server.pid, signal.SIGKILL)
        said = training.stdout.readlines()
        assert training.wait() == 0
    check_one_warning("".join(line for line in said if not line.startswith("tiny: ")), "mlflow")
    assert results(small) == expected


def sent_run(server):
    """Return the only run on W&B's server, and its id."""
    ((number, run),) = server.runs.items()
    return number, run


def check_wandb_run(server, project):
    number, run = sent_run(server)
    assert (run.name, run.exit_code) == ("tiny", 0)
    settings = run.settings()
    assert (settings["lr"], settings["hidden"], settings["epochs"]) == (0.1, [10], EPOCHS)
    assert (settings["seed"], settings["dataset"], settings["images"]) == (0, "mnist-5k", 120)
    *epochs, last = (run.history[row] for row in sorted(run.history))
    assert [row["_step"] for row in epochs] == list(range(1, EPOCHS + 1))
    for name, values in history(project).items():
        assert [row[name] for row in epochs] == pytest.approx(values, rel=1e-5)
    assert {name: run.summary[name] for name in metrics(project)} == metrics(project)
    assert server.files["model/tiny.npz"] == (project / "models/tiny.npz").read_bytes()
    table = json.loads(server.files[f"{number}/{last['confusion_matrix_table']['path']}"])
    assert table["columns"] == ["Actual", "Predicted", "nPredictions"]
    counts = {(actual, predicted): count for actual, predicted, count in table["data"]}
    assert len(counts) == 100
    assert {pair: count for pair, count in counts.items() if count} == confusion(project)
    shown = run.config["_wandb"]["value"]["visualize"]["confusion_matrix"]
    assert shown["panel_config"]["panelDefId"] == "wandb/confusion_matrix/v1"


def test_wandb_online_stores_the_whole_run_under_one_id(small):
    change(small, tracking="wandb")
    with serve_wandb() as server:
        online = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        trained = stage(small, "train", **online)
        number, run = sent_run(server)
        assert run.exit_code == 0
        evaluated = stage(small, "evaluate", **online)
        check_wandb_run(server, small)
    assert trained.stderr + evaluated.stderr == ""
    assert f"tracked in {server.url}/team/handwritten-digits/runs/{number}" in trained.stdout


def test_wandb_sync_merges_the_offline_folders_of_training_and_evaluation_into_one_run(small):
    change(small, tracking="wandb")
    said = stage(small, "train", **OFFLINE).stderr + stage(small, "evaluate", **OFFLINE).stderr
    assert said == ""
    folders = sorted((small / "tracking/wandb").glob("offline-run-*"))
    assert len(folders) == 2
    with serve_wandb() as server:
        subprocess.run(
            [Path(sys.prefix) / "bin/wandb", "sync", *folders],
            cwd=small, capture_output=True, check=True, timeout=600,
            env=environment(small.parent, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY),
        )  # fmt: skip
        check_wandb_run(server, small)


def test_without_a_login_wandb_is_one_warning_and_no_prompt_even_on_a_terminal(small):
    change(small, tracking="wandb")
    leader, terminal = pty.openpty()
    try:
        done = subprocess.run(
            STAGE, cwd=small, env=environment(small.parent), stdin=terminal, stdout=terminal,
            stderr=subprocess.PIPE, text=True, check=True, timeout=600,
        )  # fmt: skip
    finally:
        os.close(terminal)
        os.close(leader)
    assert done.stderr == (
        "Warning: tiny continues without wandb, which failed: "
        "not logged in; run `wandb login`, or set WANDB_MODE=offline\n"
    )
    assert (small / "models/tiny.npz").exists()


@pytest.mark.parametrize("listening", [False, True])
@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_server_that_does_not_answer_is_one_warning_within_two_minutes(small, tracker, listening):
    change(small, tracking=tracker)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        if listening:
            deaf.listen()
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        variables = {"MLFLOW_TRACKING_URI": address, "WANDB_BASE_URL": address}
        started = time.monotonic()
        done = stage(small, "train", WANDB_API_KEY=KEY, **variables)
    assert time.monotonic() - started < 120
    check_one_warning(done.stderr, tracker)


def test_a_wandb_server_that_stops_answering_is_one_warning_within_two_minutes(small):
    change(small, tracking="wandb", epochs=LONG)
    with serve_wandb() as server:
        online = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        with process(*STAGE, project=small, **online) as training:
            wait(lambda: "epoch 1/" in training.stdout.readline(), training)
            server.stalled = True
            lines = iter(training.stdout.readline, "")
            next(line for line in lines if f"epoch {LONG}/" in line)
            started = time.monotonic()
            check_one_warning("".join(lines), "wandb")
            assert training.wait() == 0
        assert time.monotonic() - started < 120
        server.stalled = False
    assert (small / "models/tiny.npz").exists()


def check_one_warning(said, tracker):
    assert said.count("\n") == 1, said
    assert said.startswith(f"Warning: tiny continues without {tracker}, which failed: ")


def test_dvclives_folder_has_curves_metrics_confusion_matrix_model_and_report(small):
    change(small, tracking="dvclive")
    definition = (small / "dvc.yaml").read_bytes()
    said = stage(small, "train").stderr + stage(small, "evaluate").stderr
    assert said == ""
    folder = small / "tracking/dvclive/tiny"
    check_dvclive_folder(folder, small)
    assert "</html>" in (folder / "report.html").read_text()
    assert (small / "dvc.yaml").read_bytes() == definition
    assert [path.name for path in small.rglob("*.dvc") if path.is_file()] == []


def check_dvclive_folder(folder, project):
    for name, values in history(project).items():
        curve = pd.read_csv(folder / f"plots/metrics/{name}.tsv", sep="\t")
        assert curve["step"].tolist() == list(range(1, EPOCHS + 1))
        assert curve[name.split("/")[1]].tolist() == pytest.approx(values, rel=1e-5)
    saved = json.loads((folder / "metrics.json").read_text())
    assert {name: saved[name] for name in metrics(project)} == metrics(project)
    assert (saved["step"], saved["status"]) == (EPOCHS, "finished")
    settings = YAML(typ="safe").load(folder / "params.yaml")
    assert (settings["hidden"], settings["seed"]) == ([10], 0)
    assert settings["images"] == metrics(project)["train_images"]
    pairs = pd.read_json(folder / "plots/sklearn/confusion_matrix.json", dtype=str)
    assert pairs.groupby(["actual", "predicted"]).size().to_dict() == confusion(project)
    assert (folder / "artifacts/tiny.npz").read_bytes() == (
        project / "models/tiny.npz"
    ).read_bytes()


def test_dvc_experiments_are_the_same_without_dvclive_and_each_has_its_own_folder(project):
    change(project, epochs=EPOCHS)

    def run(command):
        own = {"DVC_SITE_CACHE_DIR": str(project.parent / "site-cache"), "COLUMNS": "200"}
        done = subprocess.run(
            command, shell=True, cwd=project, env=environment(project.parent, **own),
            capture_output=True, text=True, check=False, timeout=1800,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    run("git init -q && git config user.email a@example.org && git config user.name a")
    run("git add -A && git commit -qm start")
    definition = (project / "dvc.yaml").read_bytes()
    run("dvc exp run --name plainly -S tracking=dvclive")
    check_dvclive_folder(project / "tracking/dvclive/plainly/tiny", project)
    assert (project / "dvc.yaml").read_bytes() == definition
    changed = {line[3:] for line in run("git status --porcelain").splitlines()}
    assert {path for path in changed if "tracking" in path or "dvclive" in path} == set()

    shown = pd.read_csv(StringIO(run("dvc exp show --csv --precision 6"))).set_index("Experiment")
    validation = metrics(project)["validation_accuracy"]
    assert float(shown.loc["plainly", "tiny.validation_accuracy"]) == validation
    assert shown.loc["plainly", "tracking"] == "dvclive"

    curve = "tracking/dvclive/plainly/tiny/plots/metrics/validation/cost.tsv"
    run(f"dvc plots show {curve} -x step -o shown")
    for line in (project / curve).read_text().splitlines()[1:]:
        step, cost = line.split("\t")
        page = (project / "shown/index.html").read_text()
        assert f'"step": "{step}", "cost": "{cost}"' in page

    change(project, tracking="none")
    assert "Data and pipelines are up to date." in run("dvc status")

    run("dvc exp run --temp --name apart -S tracking=dvclive -S seed=1 evaluate@tiny")
    saved = json.loads((project / "tracking/dvclive/apart/tiny/metrics.json").read_text())
    assert (saved["status"], saved["step"], saved["test_images"]) == ("finished", EPOCHS, 1000)
    assert YAML(typ="safe").load(project / "tracking/dvclive/apart/tiny/params.yaml")["seed"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("tracker", ["dvclive", "mlflow", "wandb"])
def test_an_interrupted_run_is_marked_as_killed(small, tracker, number):
    change(small, tracking=tracker, epochs=10 * LONG)
    with serve_wandb() as server:
        online = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        with process(*STAGE, project=small, **online) as training:
            wait(lambda: "epoch 1/" in training.stdout.readline(), training)
            training.send_signal(number)
            said = training.stdout.read()
            assert training.wait() != 0
        assert "continues without" not in said
        assert status(small, tracker, server) == "killed"
    assert not (small / "models/tiny.npz").exists()


@pytest.mark.parametrize("tracker", ["dvclive", "mlflow", "wandb"])
def test_a_run_that_diverges_is_marked_as_failed(small, tracker):
    change(small, tracking=tracker, lr=1e30)
    with serve_wandb() as server:
        online = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        done = subprocess.run(
            STAGE, cwd=small, env=environment(small.parent, **online), capture_output=True,
            text=True, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("Error: tiny: the ")
        assert status(small, tracker, server) == "failed"


def status(project, tracker, server):
    """Return the status of the only run of a tracker."""
    if tracker == "dvclive":
        saved = json.loads((project / "tracking/dvclive/tiny/metrics.json").read_text())
        return saved["status"]
    if tracker == "mlflow":
        (path,) = project.glob("tracking/mlflow/*/*/meta.yaml")
        return {3: "finished", 4: "failed", 5: "killed"}[YAML(typ="safe").load(path)["status"]]
    return {0: "finished", 1: "failed", 255: "killed"}[sent_run(server)[1].exit_code]


@pytest.mark.parametrize("tracker", ["dvclive", "mlflow", "wandb"])
def test_results_are_the_same_bytes_with_and_without_tracking(small, tracker):
    stage(small, "train")
    stage(small, "evaluate")
    expected = results(small)
    assert set(expected) >= {
        "models/tiny.npz",
        "metrics/variants/tiny.json",
        "plots/history/tiny.csv",
    }
    for path in expected:
        (small / path).unlink()
    change(small, tracking=tracker)
    said = stage(small, "train", **OFFLINE).stderr + stage(small, "evaluate", **OFFLINE).stderr
    assert said == ""
    assert (small / "tracking" / tracker).is_dir()
    assert results(small) == expected


def wait(condition, running):
    """Wait until a condition holds. Fail if the process ends first, or after ten minutes."""
    until = time.monotonic() + 600
    while not condition():
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < until
        time.sleep(0.05)

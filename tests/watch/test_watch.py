"""The page with live curves follows a real training, over real HTTP."""

import json
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from pipeline.base.errors import DataError, SettingsError
from pipeline.base.params import VariantSettings
from pipeline.base.tables import write_table
from pipeline.nn.checkpoint import FOLDER, Checkpoint
from pipeline.nn.devices import CPU
from pipeline.nn.history import history_table
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import Training, make_network
from pipeline.watch.curves import read_curves
from pipeline.watch.server import make_server
from tests.refusal import refused
from tests.training import held

pytest_plugins = ["tests.browser"]

SETTINGS = VariantSettings(hidden=[8], lr=0.1, batch_size=32, epochs=5)
VARIANTS = {"first": SETTINGS, "second": SETTINGS}


@pytest.fixture
def training(few_digits):
    network, rng = make_network(SETTINGS, 10, 0)
    engine = CPU.engine(network, SETTINGS, threads=1)
    inputs = (few_digits.images.reshape(-1, 784) / 255).astype(np.float32)
    images = held(engine, (inputs, few_digits.labels))
    return Training(engine, SETTINGS, HeldImages(images), images, rng)


def test_curves_follow_a_training_from_its_checkpoints_to_its_history(training, tmp_path):
    assert [one["state"] for one in read_curves(tmp_path, VARIANTS)] == ["waiting"] * 2
    checkpoint = Checkpoint("second", "0" * 64, pytest.fail, tmp_path / FOLDER, every=0)
    for report in training.epochs():
        checkpoint.save(training)
        curve = read_curves(tmp_path, VARIANTS)[0]
        assert (curve["variant"], curve["state"], curve["epochs"]) == ("second", "training", 5)
        assert curve["done"] == report.epoch
        assert curve["validation_accuracy"][-1] == report.validation.accuracy
        assert curve["train_cost"][-1] == report.train.cost
    checkpoint.remove()
    write_table(tmp_path / "plots/history/second.csv", history_table(training.reports))
    curves = {one["variant"]: one for one in read_curves(tmp_path, VARIANTS)}
    assert curves["second"]["state"] == "trained"
    assert curves["second"]["epoch"] == [1, 2, 3, 4, 5]
    assert curves["second"]["train_cost"] == pytest.approx(
        [report.train.cost for report in training.reports], rel=1e-5
    )
    assert curves["first"]["state"] == "waiting"


def test_a_checkpoint_that_is_no_longer_whole_is_no_curve(tmp_path):
    (tmp_path / FOLDER / "first").mkdir(parents=True)
    (tmp_path / FOLDER / "first" / "x.npz").write_bytes(b"half")
    assert read_curves(tmp_path, VARIANTS)[0]["state"] == "waiting"


@pytest.fixture
def serve():
    servers = []

    def start(curves):
        server = make_server(0, curves)
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_server_answers_the_page_and_the_curves_and_nothing_else(serve):
    address = serve(lambda: [{"variant": "tiny"}])
    with urllib.request.urlopen(f"{address}/curves") as answer:
        assert json.load(answer) == [{"variant": "tiny"}]
    with urllib.request.urlopen(f"{address}/") as answer:
        assert b"<h1>Training</h1>" in answer.read()
    elsewhere = urllib.request.Request(f"{address}/curves", headers={"Host": "example.org:80"})
    for request, code in ((f"{address}/../params.yaml", 404), (elsewhere, 403)):
        with pytest.raises(urllib.error.HTTPError, match=str(code)) as refusal:
            urllib.request.urlopen(request)
        refusal.value.close()


def test_a_port_that_is_taken_is_an_error_of_one_line(serve):
    port = int(serve(list).rpartition(":")[2])
    with refused(error=SettingsError, match=rf"^--port {port} cannot be used: [^\n]*in use"):
        make_server(port, list)


def test_the_page_draws_what_comes_and_says_when_nothing_does(serve, browser):
    failing = threading.Event()
    curve = {
        "variant": "tiny", "state": "training", "done": 3, "epochs": 9, "epoch": [1, 2, 3],
        "train_cost": [2.0, 1.0, 0.5], "train_accuracy": [0.1, 0.5, 0.7],
        "validation_cost": [2.1, 1.2, 0.9], "validation_accuracy": [0.1, 0.4, 0.625],
    }  # fmt: skip

    def curves():
        if failing.is_set():
            raise DataError("params.yaml does not exist")
        return [curve]

    page = browser.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{serve(curves)}/")
    page.get_by_text("In training: tiny.").wait_for()
    assert page.locator("polyline").count() == 2
    assert "epoch 3 of 9: accuracy 70.00 %, on validation images 62.50 %" in page.inner_text("main")
    page.locator("#measure").select_option("cost")
    assert "cost 0.5000, on validation images 0.9000" in page.inner_text("main")
    failing.set()
    page.get_by_text("No new curves: params.yaml does not exist").wait_for()
    assert complaints == []
    page.close()

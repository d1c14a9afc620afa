"""`digits serve` in a process of its own, asked as programs and pages from elsewhere would."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import expect

from pipeline.__main__ import main
from pipeline.base.params import VariantSettings
from pipeline.datasets.picture import prepare_picture
from pipeline.nn.model_file import Model, save_model
from pipeline.nn.prediction import predict_probabilities
from pipeline.serving import LARGEST
from tests.splits import CLASSES, SCALE
from tests.training import trained

pytest_plugins = ["tests.browser"]


@pytest.fixture(scope="module")
def model(digits):
    training = SCALE.apply(digits.images[::2]), digits.labels[::2]
    settings = VariantSettings(hidden=[32], lr=0.1, momentum=0.9, batch_size=64, epochs=5)
    network, _ = trained(settings, training, training)
    return Model("good", network, SCALE, CLASSES, {"settings": settings.model_dump()})


@pytest.fixture(scope="module")
def port(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    save_model(folder / "model.npz", model)
    server = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "serve", "model.npz", "--port", "0"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    line = server.stdout.readline()
    found = re.fullmatch(r"model.npz answers at http://127.0.0.1:(\d+); Ctrl-C ends it\n", line)
    assert found, line + server.stderr.read()
    yield int(found[1])
    server.send_signal(signal.SIGINT)
    assert server.wait(10) == 0
    assert server.stderr.read() == ""
    server.stdout.close()
    server.stderr.close()


def ask(port, method, path, body=None, **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def png(grey):
    content = io.BytesIO()
    Image.fromarray(grey).save(content, "PNG")
    return content.getvalue()


def test_a_picture_is_answered_with_the_models_probabilities(port, model, digits):
    for row in (1, 1501, 4001):
        answer, content = ask(port, "POST", "/predict", png(digits.images[row]))
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        (found,) = json.loads(content)["digits"]
        (expected,) = predict_probabilities(model, SCALE.apply(digits.images[row : row + 1]))
        assert found["class"] == str(expected.argmax())
        assert found["is_unlike"] is None
        np.testing.assert_array_equal(found["image"], digits.images[row])
        np.testing.assert_allclose(list(found["probabilities"].values()), expected, atol=1e-6)


def test_several_digits_are_answered_from_left_to_right(port, digits):
    page = Image.new("L", (300, 150))
    for number, row in enumerate((20, 1020)):
        page.paste(Image.fromarray(digits.images[row]).resize((120, 120)), (10 + 150 * number, 10))
    _, content = ask(port, "POST", "/predict", png(np.asarray(page)))
    assert [each["class"] for each in json.loads(content)["digits"]] == ["0", "2"]


def test_the_front_page_is_the_page_to_draw_on(port):
    answer, content = ask(port, "GET", "/")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"Draw a digit" in content
    answer, content = ask(port, "HEAD", "/")
    assert (answer.status, content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "words"),
    [
        ("POST", "/predict", b"seven", {}, 400, "the picture is not a PNG, JPEG, BMP, GIF or WebP"),
        ("POST", "/predict", b"", {}, 400, "the picture is not a PNG"),
        ("POST", "/predict", png(np.full((50, 50), 9, np.uint8)), {}, 400, "shows no digit"),
        ("GET", "/predict", None, {}, 405, "/predict takes POST"),
        ("POST", "/", b"", {}, 405, "/ takes GET"),
        ("GET", "/../params.yaml", None, {}, 404, "there are / to draw and /predict for pictures"),
        ("GET", "/", None, {"Host": "evil.example"}, 403, "must begin with http://127.0.0.1"),
    ],
)
def test_a_request_that_cannot_be_answered_gets_one_line(
    port, method, path, body, headers, status, words
):
    answer, content = ask(port, method, path, body, **headers)
    assert answer.status == status
    assert words in json.loads(content)["error"]


def test_the_front_page_reads_photographs_as_predict_does(port, digits, browser, tmp_path):
    """A ruled page in uneven light with two digits, which the page alone would read as one."""
    ink = np.zeros((300, 600))
    for number, row in enumerate((20, 1020)):
        large = Image.fromarray(digits.images[row]).resize((200, 200))
        ink[50:250, 60 + 280 * number : 260 + 280 * number] = np.asarray(large) / 255
    paper = np.linspace(230, 130, 600) * np.ones((300, 1))
    paper[20::40] -= 50
    photograph = (paper * (1 - 0.9 * ink)).astype(np.uint8)
    Image.fromarray(photograph).save(tmp_path / "two.jpg", quality=90)
    Image.new("L", (40, 40), 200).save(tmp_path / "blank.png")
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/")
    page.get_by_label("Choose a picture…").set_input_files(tmp_path / "two.jpg")
    remark = page.locator("#remark")
    expect(remark).to_have_text("two.jpg shows 2 digits, read as 0, 2; the first is shown")
    first = prepare_picture(tmp_path / "two.jpg").images[0]
    lit = np.count_nonzero(first)
    expect(page.locator("#seen")).to_have_attribute("aria-label", f"{lit} of 784 pixels are lit")
    page.get_by_label("Choose a picture…").set_input_files(tmp_path / "blank.png")
    expect(page.get_by_role("alert")).to_have_text(
        "blank.png shows no digit: all its pixels are nearly alike"
    )
    assert page.get_by_role("link").count() == 0
    expect(page.get_by_text("Examples to load")).to_be_hidden()
    context.close()


def test_a_request_that_is_too_large_is_refused_before_it_is_read(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {LARGEST + 1}\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_port_that_is_taken_is_one_line(port, model, tmp_path):
    save_model(tmp_path / "model.npz", model)
    result = CliRunner().invoke(main, ["serve", str(tmp_path / "model.npz"), "--port", str(port)])
    assert result.exit_code == 1
    assert result.stderr == f"Error: --port {port} cannot be used: Address already in use\n"


def test_a_missing_package_is_named_with_the_command_that_installs_it(model, tmp_path, monkeypatch):
    save_model(tmp_path / "model.npz", model)
    monkeypatch.setitem(sys.modules, "waitress.server", None)
    result = CliRunner().invoke(main, ["serve", str(tmp_path / "model.npz")])
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: serve needs waitress, not installed: pip install -e '.[serve]'\n"
    )

"""A small HTTP server on this machine that classifies pictures, with the page to draw on in front.

It is an application for WSGI (PEP 3333), run by Waitress, which limits the size of a request, the
time that a client may stay silent, and the number of connections. It listens on 127.0.0.1 only, and
answers only requests that name it so.
"""

import io
import json
import socket
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

import numpy as np

from pipeline.base.errors import DataError, PipelineError, SettingsError
from pipeline.base.local import HOST, names_this_machine
from pipeline.datasets.picture import prepare_picture
from pipeline.nn.model_file import Model
from pipeline.nn.prediction import predict_probabilities
from pipeline.report.drawing import draw_page

LARGEST = 20_000_000
"""Limit of a picture in bytes; more are refused before they are read."""
SILENCE = 20
"""Seconds after which a connection without traffic is closed."""
CONNECTIONS = 20
THREADS = 4
MOST_DIGITS = 100
"""Limit of digits in a picture that are answered."""

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Environment = dict[str, Any]


class Application:
    """The WSGI application: `GET /` is the page, `POST /predict` classifies a picture.

    The body of the request is a PNG or JPEG. The answer is JSON: `digits`, a list with the `class`,
    the `probabilities` by class, whether it `is_unlike` the training images (null if unknown), and
    the `image` that the network saw, 28 rows of 28 numbers from 0 to 255, of each digit from left
    to right; and `doubt`, a sentence or null. A picture that cannot be used is status 400 with
    `error`, one line.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._page = draw_page([model], is_served=True).encode()
        self._one_at_a_time = Lock()  # a network computes on all cores

    def __call__(self, environment: Environment, start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        status, kind, content = self._answer(environment)
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start(status, headers)
        return [content]

    def _answer(self, environment: Environment) -> tuple[str, str, bytes]:
        method, path = environment["REQUEST_METHOD"], environment.get("PATH_INFO", "")
        if not names_this_machine(environment.get("HTTP_HOST", "")):
            return _refusal("403 Forbidden", f"the address must begin with http://{HOST}")
        if path == "/":
            if method not in ("GET", "HEAD"):
                return _refusal("405 Method Not Allowed", "/ takes GET")
            return "200 OK", "text/html; charset=utf-8", b"" if method == "HEAD" else self._page
        if path == "/predict":
            if method != "POST":
                return _refusal("405 Method Not Allowed", "/predict takes POST, with a picture")
            length = int(environment.get("CONTENT_LENGTH") or 0)
            try:
                return _json("200 OK", self.predict(environment["wsgi.input"].read(length)))
            except PipelineError as error:
                return _refusal("400 Bad Request", str(error))
        return _refusal("404 Not Found", "there are / to draw and /predict for pictures")

    def predict(self, content: bytes) -> dict[str, Any]:
        """Return the answer to a picture. Raises DataError if it cannot be used."""
        model = self._model
        with self._one_at_a_time:
            prepared = prepare_picture(io.BytesIO(content), model.pictures)
            if len(prepared.images) > MOST_DIGITS:
                raise DataError(
                    f"the picture must show at most {MOST_DIGITS} digits, "
                    f"got {len(prepared.images)}"
                )
            inputs = model.normalization.apply(prepared.images)
            probabilities = predict_probabilities(model, inputs)
        predicted = probabilities.argmax(axis=1)
        unlike: list[bool] | list[None] = [None] * len(predicted)
        if model.reference is not None:
            similarity = model.reference.similarity(prepared.images, predicted)
            unlike = (similarity < model.reference.least).tolist()
        names = model.class_names
        digits = [
            {
                "class": names[row.argmax()],
                "probabilities": dict(zip(names, np.round(row.astype(float), 6), strict=True)),
                "is_unlike": flag,
                "image": image.tolist(),
            }
            for row, flag, image in zip(probabilities, unlike, prepared.images, strict=True)
        ]
        return {"digits": digits, "doubt": prepared.doubt}


def _json(status: str, content: dict[str, Any]) -> tuple[str, str, bytes]:
    return status, "application/json", json.dumps(content).encode()


def _refusal(status: str, line: str) -> tuple[str, str, bytes]:
    return _json(status, {"error": line})


def make_server(model: Model, port: int) -> Any:
    """Return a Waitress server that listens; `run()` answers requests until Ctrl-C.

    port: 0 for a free one. Raises SettingsError if the package is missing or the port is taken.
    """
    try:
        from waitress.server import create_server
    except ImportError as error:
        raise SettingsError(
            "serve needs waitress, not installed: pip install -e '.[serve]'"
        ) from error
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"--port {port} cannot be used: {error.strerror}") from error
    return create_server(
        Application(model),
        sockets=[listener],
        threads=THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=SILENCE,
        cleanup_interval=SILENCE // 2,
        max_request_body_size=LARGEST,
        max_request_header_size=16_384,
        ident="handwritten-digits",
    )

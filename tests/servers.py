"""A real HTTP server on this machine that serves a folder and can be told to misbehave."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit


class Fault(Enum):
    """What a server does instead of sending the file."""

    MISSING = auto()
    """Answers 404."""
    BROKEN = auto()
    """Answers 500."""
    TRUNCATED = auto()
    """Promises the whole file, sends its first half and hangs up."""
    OTHER = auto()
    """Sends a page of HTML, as a captive portal does."""
    EMPTY = auto()
    """Sends nothing, and says so."""


class FolderServer:
    """The files of `folder` below `url`. `requested` lists the paths that were asked for."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.requested: list[str] = []
        self._faults: dict[str, Iterator[Fault]] = {}

    def fail(self, name: str, fault: Fault, times: int | None = None) -> None:
        """Answer requests for `name` with a fault, always or so many times."""
        self._faults[f"/{name}"] = (
            itertools.repeat(fault) if times is None else itertools.repeat(fault, times)
        )

    def answer(self, path: str) -> tuple[int, bytes, int]:
        """Give the status, the body to send and the length to promise."""
        self.requested.append(path)
        file = self.folder / path.removeprefix("/")
        fault = next(self._faults.get(path, iter(())), None)
        if fault is Fault.MISSING or not file.is_file():
            return 404, b"", 0
        if fault is Fault.BROKEN:
            return 500, b"", 0
        content = {Fault.OTHER: b"<html>Please log in</html>", Fault.EMPTY: b""}.get(
            fault, file.read_bytes()
        )
        sent = content[: len(content) // 2] if fault is Fault.TRUNCATED else content
        return 200, sent, len(content)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, server: FolderServer, *args) -> None:
        self.folder_server = server
        super().__init__(*args)

    def do_GET(self) -> None:
        status, body, promised = self.folder_server.answer(unquote(urlsplit(self.path).path))
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[FolderServer]:
    """Serve a folder at http://127.0.0.1:<a free port>/ until the block ends."""
    served = FolderServer(folder, "")
    with listening(partial(_Handler, served)) as port:
        served.url = f"http://127.0.0.1:{port}/"
        yield served


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler] | partial, port: int = 0) -> Iterator[int]:
    """Answer requests with `handler` in a thread of its own; give the port."""
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()

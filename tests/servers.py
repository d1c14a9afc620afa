"""A real HTTP server on this machine that serves a folder and can be told to misbehave."""

import gzip
import itertools
import socket
import ssl
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import unquote, urlsplit


class Fault(Enum):
    """What a server does instead of sending the file."""

    MISSING = auto()
    """Answers 404."""
    BROKEN = auto()
    """Answers 500."""
    BUSY = auto()
    """Answers 429."""
    NOWHERE = auto()
    """Answers 302 without saying where to go."""
    TRUNCATED = auto()
    """Promises the whole file, sends its first half and hangs up."""
    RESET = auto()
    """Promises the whole file, sends its first half and resets the connection."""
    SHORT = auto()
    """Promises half the file and sends all of it."""
    OTHER = auto()
    """Sends a page of HTML, as a captive portal does."""
    CHANGED = auto()
    """Sends a file of the same length in which one byte differs."""
    EMPTY = auto()
    """Sends nothing, and says so."""
    ENCODED = auto()
    """Says that what it sends is compressed, as some servers do of every .gz file."""
    COMPRESSED = auto()
    """Compresses what it sends, though nobody asked for it."""
    SILENT = auto()
    """Takes the request and never answers."""
    STALLED = auto()
    """Sends the first half and then no more, without hanging up."""
    SLOW = auto()
    """Sends the file a byte at a time."""
    DRIPPING = auto()
    """Sends a byte now and then, of a file that is far too long for that."""
    ENDLESS = auto()
    """Promises no length and never stops sending."""


class FolderServer:
    """The files of `folder` below `url`. `requested` lists the paths that were asked for.

    `pause` is the time between two bytes of one that drips, in seconds.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.requested: list[str] = []
        self.headers: dict[str, str] = {}
        """Sent with every answer."""
        self.pause = 0.01
        self.closing = Event()
        self._faults: dict[str, Iterator[Fault]] = {}
        self._redirects: dict[str, str] = {}

    def fail(self, name: str, fault: Fault, times: int | None = None) -> None:
        """Answer requests for `name` with a fault, always or so many times."""
        self._faults[f"/{name}"] = (
            itertools.repeat(fault) if times is None else itertools.repeat(fault, times)
        )

    def redirect(self, name: str, target: str) -> None:
        """Answer requests for `name` with another address, which need not be one."""
        self._redirects[f"/{name}"] = target

    def answer(self, request: "_Handler", path: str) -> None:
        """Answer one request, well or as badly as was asked for."""
        self.requested.append(path)
        file = self.folder / path.removeprefix("/")
        fault = next(self._faults.get(path, iter(())), None)
        if path in self._redirects:
            length = None if fault is Fault.ENDLESS else 0
            request.head(302, self.headers | {"Location": self._redirects[path]}, length)
            if fault is Fault.ENDLESS:
                self._flood(request)
        elif fault in _STATUS:
            request.head(_STATUS[fault], self.headers, 0)
        elif not file.is_file():
            request.head(404, self.headers, 0)
        elif fault in _ENDLESS:
            self._never_end(request, fault, file.read_bytes())
        else:
            content = file.read_bytes()
            sent = _BODIES.get(fault, lambda content: content)(content)
            promised = _LENGTHS.get(fault, len)(content)
            encoded = fault in {Fault.ENCODED, Fault.COMPRESSED}
            encoding = {"Content-Encoding": "gzip"} if encoded else {}
            request.head(200, self.headers | encoding, promised)
            for part in (bytes([byte]) for byte in sent) if fault is Fault.SLOW else (sent,):
                request.wfile.write(part)
                self.closing.wait(self.pause if fault is Fault.SLOW else 0)
            if fault is Fault.RESET:
                request.reset()

    def _never_end(self, request: "_Handler", fault: Fault, content: bytes) -> None:
        if fault is Fault.STALLED:
            request.head(200, self.headers, len(content))
            request.wfile.write(content[: len(content) // 2])
        if fault in {Fault.SILENT, Fault.STALLED}:
            self.closing.wait()
            return
        request.head(200, self.headers, 2**20 if fault is Fault.DRIPPING else None)
        if fault is Fault.ENDLESS:
            self._flood(request)
        while not self.closing.wait(self.pause):
            request.wfile.write(b"x")

    def _flood(self, request: "_Handler") -> None:
        while not self.closing.is_set():
            request.wfile.write(bytes(2**16))


_STATUS = {Fault.MISSING: 404, Fault.BROKEN: 500, Fault.BUSY: 429, Fault.NOWHERE: 302}
_ENDLESS = {
    Fault.SILENT,
    Fault.STALLED,
    Fault.DRIPPING,
    Fault.ENDLESS,
}
_BODIES = {
    Fault.TRUNCATED: lambda content: content[: len(content) // 2],
    Fault.RESET: lambda content: content[: len(content) // 2],
    Fault.OTHER: lambda content: b"<html>Please log in</html>",
    Fault.CHANGED: lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    Fault.EMPTY: lambda content: b"",
    Fault.COMPRESSED: gzip.compress,
}
_LENGTHS = {
    Fault.SHORT: lambda content: len(content) // 2,
    Fault.OTHER: lambda content: len(_BODIES[Fault.OTHER](content)),
    Fault.EMPTY: lambda content: 0,
    Fault.COMPRESSED: lambda content: len(gzip.compress(content)),
}


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, server: FolderServer, *args) -> None:
        self.folder_server = server
        super().__init__(*args)

    def do_GET(self) -> None:
        try:
            self.folder_server.answer(self, unquote(urlsplit(self.path).path))
        except ConnectionError:
            self.close_connection = True  # the client had enough

    def head(self, status: int, headers: dict[str, str], length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def reset(self) -> None:
        """Close the connection with a reset, as a crashed server does."""
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.rfile.close()
        self.connection.close()

    def log_message(self, *args) -> None:
        pass


@contextmanager
def serve(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[FolderServer]:
    """Serve a folder at http(s)://127.0.0.1:<a free port>/ until the block ends."""
    served = FolderServer(folder, "")
    with listening(partial(_Handler, served), tls=tls) as port:
        served.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/"
        try:
            yield served
        finally:
            served.closing.set()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args) -> None:
        """Print nothing about clients that hang up; many tests do so."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(*args)


@contextmanager
def listening(
    handler: type[BaseHTTPRequestHandler] | partial,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """Answer requests with `handler` in a thread of its own; give the port."""
    with _Server(("127.0.0.1", port), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()

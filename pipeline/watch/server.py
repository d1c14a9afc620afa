"""A small HTTP server on this machine: the page at /, and the curves as JSON at /curves."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError, SettingsError
from pipeline.base.local import HOST, names_this_machine

_PAGE = Path(__file__).with_name("page.html").read_bytes()


def make_server(port: int, curves: Callable[[], list[dict[str, Any]]]) -> ThreadingHTTPServer:
    """Return a server that only this machine can reach; port 0 takes a free one.

    curves: called for every request of the curves. Raises SettingsError if the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:  # the name of http.server
            """Answer a request that names this machine."""
            if not names_this_machine(self.headers.get("Host", "")):
                self._answer(403, "text/plain; charset=utf-8", b"This is not its address.\n")
            elif self.path == "/":
                self._answer(200, "text/html; charset=utf-8", _PAGE)
            elif self.path == "/curves":
                try:
                    content, status = json.dumps(curves()), 200
                except PipelineError as error:
                    content, status = json.dumps({"error": str(error)}), 500
                self._answer(status, "application/json", content.encode())
            else:
                self._answer(404, "text/plain; charset=utf-8", b"There is nothing here.\n")

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Print nothing per request."""

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise SettingsError(f"--port {port} cannot be used: {error.strerror}") from error

"""HTTP within limits: what a server may do before a download from it is given up.

`requests` bounds only the time between two bytes. Here whatever arrives is counted as it leaves the
socket, headers, redirects and the framing of chunks included, so that a server that drips or never
ends is given up like one that is silent.
"""

import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pipeline.errors import DataError

CONNECT_SECONDS = 10
"""To reach one address of a server; a name has a few at most."""
SILENT_SECONDS = 30
"""Between two bytes; a busy server may need some seconds to find a file."""
RATE_SECONDS = 60
MIN_RATE = 10_000
"""Bytes a second, on average over any RATE_SECONDS of waiting: 2G mobile lines reach it, and the
10 MB of a published training set then take 17 minutes."""
MAX_BYTES = 2 * 1024**3
"""Of one answer: a hundred times MNIST, three times all 814,255 images of EMNIST as they are."""
MAX_REDIRECTS = 5
CHUNK = 64 * 1024


def download(url: str, target: Path) -> None:
    """Write what `url` answers into `target`, byte for byte as it was sent.

    Raises requests.RequestException where another try may succeed, DataError where none can.
    """
    headers = {"Accept-Encoding": "identity"}
    with (
        LimitedSession() as session,
        session.get(url, headers=headers, stream=True) as response,
        open(target, "wb") as file,
    ):
        if response.status_code != HTTPStatus.OK:  # redirects without an address, parts of files
            answer = f"answers {response.status_code} {response.reason or ''}".strip()
            raise requests.HTTPError(answer, response=response)
        bar = tqdm(
            total=response.raw.length_remaining,
            desc=urlsplit(url).path.rpartition("/")[2],
            unit="B",
            unit_scale=True,
            disable=not sys.stderr.isatty(),
        )
        with bar:
            try:
                # Some servers label a .gz file as encoded; unpacked it would be another file.
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    bar.update(len(chunk))
            except urllib3.exceptions.HTTPError as error:
                raise requests.ConnectionError(error) from error


@contextmanager
def limited_requests() -> Iterator[None]:
    """Hold libraries to the limits that call `requests` in the block and offer no such setting."""
    original = requests.Session
    requests.Session = requests.sessions.Session = LimitedSession  # type: ignore[misc]
    try:
        yield
    finally:
        requests.Session = requests.sessions.Session = original  # type: ignore[misc]


class LimitedSession(requests.Session):
    """A session that waits, reads and follows redirects only within this file's limits.

    Besides what requests raises, raises DataError for a redirect to another scheme, from https to
    http or to no address, and for an answer that does not end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = MAX_REDIRECTS
        for scheme in ("http://", "https://"):
            self.mount(scheme, _LimitedAdapter())

    def send(self, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        """Send a request; redirects come here too."""
        if settings.get("timeout") is None:
            settings["timeout"] = (CONNECT_SECONDS, SILENT_SECONDS)
        try:
            return super().send(request, **settings)
        except urllib3.exceptions.LocationParseError as error:  # requests lets it through
            raise requests.exceptions.InvalidURL(error) from error

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Give where an answer redirects to, if anywhere."""
        target = super().get_redirect_target(resp)
        if target is None:
            return None
        try:
            old, new = (urlsplit(url).scheme for url in (resp.url, target))
        except ValueError as error:
            raise DataError(f"redirects to {target}: {error}") from error
        if new not in {"", old, "https"}:
            raise DataError(f"redirects from {old} to {target}, which is not followed")
        resp.raw.close()  # requests would read into memory whatever comes with the address
        return target


class _LimitedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **settings)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _LimitedHTTPConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = _LimitedSocket(self.sock)


class _LimitedHTTPSConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = _LimitedSocket(self.sock)


class _LimitedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _LimitedHTTPConnection


class _LimitedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedHTTPSConnection


_POOLS = {"http": _LimitedHTTPPool, "https": _LimitedHTTPSPool}


class _LimitedSocket:
    """A socket, plain or TLS, whose every answer is read through `_LimitedReader`."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Give a new answer's bytes, as http.client asks for them."""
        return io.BufferedReader(_LimitedReader(self._sock.makefile(mode, buffering=0)))


class _LimitedReader(io.RawIOBase):
    """Counts the bytes of one answer, and the seconds spent waiting for them."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._total = self._recent = 0
        self._waited = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        started = time.monotonic()
        count = self._raw.readinto(buffer)
        self._waited += time.monotonic() - started
        if not count:
            return count
        self._total += count
        self._recent += count
        if self._total > MAX_BYTES:
            raise DataError(f"sends more than {MAX_BYTES:,} bytes, the most that a file may have")
        if self._waited >= RATE_SECONDS:
            if self._recent < MIN_RATE * RATE_SECONDS:
                rate = self._recent / self._waited
                raise OSError(f"sends {rate:,.0f} bytes a second, fewer than {MIN_RATE:,}")
            self._recent, self._waited = 0, 0.0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()

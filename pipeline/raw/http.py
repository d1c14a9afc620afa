"""Downloads over HTTP: within limits, and retried where that may help."""

import itertools
import re
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from time import sleep
from typing import TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from tqdm import tqdm
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

from pipeline.base.errors import DataError, in_one_line

CONNECT_SECONDS = 10
"""Limit for connecting to one address of a server."""
SILENT_SECONDS = 30
"""Limit between two bytes; a busy server may need a few seconds to find a file."""
RATE_SECONDS = 60
MIN_RATE = 10_000
"""Minimum bytes per second, averaged over RATE_SECONDS. A 2G connection reaches it; the 10 MB
of a published training set then take 17 minutes."""
MAX_BYTES = 2 * 1024**3
"""Limit for one file: a hundred times MNIST, three times all of EMNIST uncompressed."""
MAX_REDIRECTS = 5
MAX_PAUSE = 60
"""Longest pause, in seconds, that a server may request before the next attempt."""
CHUNK = 64 * 1024

T = TypeVar("T")


class DamagedError(DataError):
    """A downloaded file does not have the expected content."""


def download(url: str, target: Path) -> None:
    """Download `url` to `target`, byte for byte as the server sends it.

    Raises requests.RequestException if another attempt may succeed, DataError if none can.
    """
    headers = {"Accept-Encoding": "identity"}
    with (
        _Session() as session,
        session.get(
            url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, SILENT_SECONDS)
        ) as response,
        open(target, "wb") as file,
    ):
        if response.status_code != HTTPStatus.OK:  # also a redirect without an address
            answer = f"answers {response.status_code} {response.reason or ''}".strip()
            raise requests.HTTPError(answer, response=response)
        bar = tqdm(
            total=response.raw.length_remaining,
            desc=urlsplit(url).path.rpartition("/")[2],
            unit="B",
            unit_scale=True,
            disable=None,  # shown on a terminal only
        )
        total = recent = 0
        started = time.monotonic()
        with bar:
            # Some servers label a .gz file as encoded; decoding it would change the file.
            while chunk := _read(response.raw):
                file.write(chunk)
                bar.update(len(chunk))
                total += len(chunk)
                recent += len(chunk)
                if total > MAX_BYTES:
                    raise DataError(f"sends more than {MAX_BYTES:,} bytes, the limit for one file")
                if (seconds := time.monotonic() - started) >= RATE_SECONDS:
                    if recent < MIN_RATE * RATE_SECONDS:
                        rate = f"{recent / seconds:,.0f} bytes per second"
                        raise requests.Timeout(f"sends {rate}, fewer than {MIN_RATE:,}")
                    recent, started = 0, time.monotonic()


def _read(raw: urllib3.HTTPResponse) -> bytes:
    """Return the bytes that have arrived, at most CHUNK of them; none at the end."""
    try:
        return raw.read1(CHUNK, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error


class _Session(requests.Session):
    """A session that follows few redirects, and none from HTTPS to HTTP or to another scheme."""

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = MAX_REDIRECTS

    def send(self, request: requests.PreparedRequest, **settings: object) -> requests.Response:
        try:
            return super().send(request, **settings)
        except urllib3.exceptions.LocationParseError as error:  # requests does not wrap this one
            raise requests.exceptions.InvalidURL(error) from error

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is None:
            return None
        try:
            old, new = (urlsplit(url).scheme for url in (resp.url, target))
        except ValueError as error:
            raise DataError(f"redirects to {target}: {error}") from error
        if new not in {"", old, "https"}:
            raise DataError(f"redirects from {old} to {target}, which is not followed")
        resp.raw.close()  # requests would read the body of the redirect into memory
        return target


def with_retries(attempt: Callable[[], T], retries: int, report: Callable[[str], None]) -> T:
    """Return the result of `attempt`, retrying up to `retries` times where that may help.

    `report` receives each failure before the next attempt. Raises DataError, in one line, for the
    last failure.
    """
    for number in itertools.count(1):
        try:
            return attempt()
        except (DamagedError, requests.RequestException) as error:
            pause = _pause(error, number)
            if number > retries or pause is None:
                raise DataError(_reason(error)) from error
            report(f"{_reason(error)}; trying again in {pause} s ({number} of {retries})")
            sleep(pause)
    raise AssertionError("count() has no end")


def _pause(error: Exception, number: int) -> int | None:
    """Return the seconds to wait before the next attempt, or None if it cannot help."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in {
            HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS,
        }:  # fmt: skip
            return None
        asked = error.response.headers.get("Retry-After", "")
        if re.fullmatch(r"[0-9]{1,9}", asked):
            return int(asked) if int(asked) <= MAX_PAUSE else None
        return number
    if isinstance(_innermost(error), ssl.SSLCertVerificationError):
        return None
    broken_off = (
        DamagedError,
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    )
    return number if isinstance(error, broken_off) else None


def _reason(error: BaseException) -> str:
    """Return the cause of a failure as one line."""
    inner = _innermost(error)
    if isinstance(inner, ReadTimeoutError):
        return f"sends nothing for {SILENT_SECONDS} s"
    if isinstance(inner, ConnectTimeoutError) and not isinstance(inner, NewConnectionError):
        return f"cannot be reached within {CONNECT_SECONDS} s"
    text = in_one_line(inner).split(" for url: ")[0]
    return re.sub(r"^\w+\(host=[^)]*\): ", "", text)  # without the name of urllib3's class


def _innermost(error: BaseException) -> BaseException:
    """Return the original error among those that libraries have wrapped around it."""
    layers = [getattr(error, "reason", None), *error.args]
    inner = next((layer for layer in layers if isinstance(layer, BaseException)), None)
    return _innermost(inner) if inner else error

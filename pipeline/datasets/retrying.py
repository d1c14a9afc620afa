"""Trying a download again: after which failures, how often, and after what pause."""

import itertools
import re
import ssl
from collections.abc import Callable
from http import HTTPStatus
from time import sleep
from typing import TypeVar

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

from pipeline.datasets import downloading
from pipeline.errors import DataError, in_one_line

MAX_PAUSE = 60
"""Seconds that a server may ask for before the next try; nobody waits longer at a terminal."""
_COMES_BACK = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}

T = TypeVar("T")


class DamagedError(DataError):
    """A download came to its end with another content than it should have."""


def with_retries(attempt: Callable[[], T], retries: int, report: Callable[[str], None]) -> T:
    """Give what `attempt` gives, trying at most `retries` times again where that may help.

    `report` is told each failure before the next try. Raises DataError, in one line, for the last.
    """
    for number in itertools.count(1):
        try:
            return attempt()
        except (DamagedError, requests.RequestException) as error:
            pause = _pause(error, number)
            if number > retries or pause is None:
                raise DataError(_network_reason(error)) from error
            report(f"{_network_reason(error)}; trying again in {pause} s ({number} of {retries})")
            sleep(pause)
    raise AssertionError("count() has no end")


def _pause(error: Exception, number: int) -> int | None:
    """Give the seconds to wait after a failure, or None where another try cannot help."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _COMES_BACK:
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


def _network_reason(error: BaseException) -> str:
    """Say, in one line, what went wrong in the end."""
    inner = _innermost(error)
    if isinstance(inner, ReadTimeoutError):
        return f"sends nothing for {downloading.SILENT_SECONDS} s"
    if isinstance(inner, ConnectTimeoutError) and not isinstance(inner, NewConnectionError):
        return f"cannot be reached within {downloading.CONNECT_SECONDS} s"
    text = in_one_line(inner).split(" for url: ")[0]
    return re.sub(r"^\w+\(host=[^)]*\): ", "", text)  # the name of a class


def _innermost(error: BaseException) -> BaseException:
    """Dig through the layers in which libraries wrap an error."""
    layers = [getattr(error, "reason", None), *error.args]
    inner = next((layer for layer in layers if isinstance(layer, BaseException)), None)
    return _innermost(inner) if inner else error

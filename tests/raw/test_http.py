"""Downloads from a server that misbehaves."""

import datetime
import socket
import ssl
import time

import pytest
import trustme
from tqdm import tqdm

from pipeline.base.errors import DownloadError
from pipeline.raw import http
from tests.conftest import Terminal
from tests.layouts import content_of, write_files
from tests.raw.fetching import fetch_from
from tests.refusal import refused
from tests.servers import Fault, serve

NAME = "train-images-idx3-ubyte.gz"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trust(authority, tmp_path, monkeypatch):
    """A function that makes this process trust the authority."""

    def trust():
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))

    return trust


def certified(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def secure(authority, trust, tmp_path, files, monkeypatch):
    """A server with a valid certificate."""
    trust()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = write_files(tmp_path / "secure", files)
    with serve(folder, certified(authority.issue_cert("127.0.0.1"))) as server:
        yield server


UNREADABLE = {
    Fault.TRUNCATED: "IncompleteRead",
    Fault.RESET: "Connection reset",
    Fault.SHORT: "does not match checksums.",
    Fault.CHANGED: "does not match checksums.",
    Fault.COMPRESSED: "does not match checksums.",
    Fault.BROKEN: "500",
    Fault.BUSY: "429",
}


def test_on_a_terminal_a_bar_says_how_much_of_a_file_has_come(
    server, raw, files, checksums, monkeypatch
):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    fetch_from(server.url, into=raw, checksums=checksums)
    bars = [line.split("\r")[-1] for line in terminal.getvalue().split("\n")]
    (bar,) = [bar for bar in bars if bar.startswith(NAME)]
    size = tqdm.format_sizeof(len(files[NAME]))
    for part in (f"{NAME}: 100%", f" {size}/{size} ", "B/s"):
        assert part in bar


def test_elsewhere_a_download_says_nothing(server, raw, checksums, capfd):
    fetch_from(server.url, into=raw, checksums=checksums)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fault", UNREADABLE)
def test_a_download_that_fails_at_first_is_retried_and_complete(
    server, raw, files, checksums, pauses, fault
):
    server.fail(NAME, fault, times=2)
    messages = []
    fetch_from(server.url, into=raw, checksums=checksums, report=messages.append, retries=2)
    assert content_of(raw) == files
    assert server.requested.count(f"/{NAME}") == 3
    assert pauses == [1, 2]
    for message, end in zip(messages, ("1 s (1 of 2)", "2 s (2 of 2)"), strict=True):
        assert message.startswith(f"{server.url}{NAME}: ")
        assert UNREADABLE[fault] in message
        assert message.endswith(f"; trying again in {end}")


@pytest.mark.parametrize("fault", UNREADABLE)
def test_a_download_that_keeps_failing_is_abandoned_and_leaves_nothing(
    server, raw, checksums, pauses, fault
):
    server.fail(NAME, fault)
    with refused(server.url, NAME, UNREADABLE[fault], error=DownloadError):
        fetch_from(server.url, into=raw, checksums=checksums, report=list, retries=2)
    assert server.requested.count(f"/{NAME}") == 3
    assert pauses == [1, 2]
    assert content_of(raw) == {}


ENDLESS = {
    Fault.SILENT: ("SILENT_SECONDS", 0.1, "sends nothing for 0.1 s"),
    Fault.STALLED: ("SILENT_SECONDS", 0.1, "sends nothing for 0.1 s"),
    Fault.DRIPPING: ("RATE_SECONDS", 0.1, "bytes per second, fewer than 10,000"),
    Fault.ENDLESS: ("MAX_BYTES", 1_000_000, "sends more than 1,000,000 bytes"),
}
"""The limit that ends each download, a value that is reached quickly, and the message."""


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("fault", ENDLESS)
def test_an_endless_or_stalled_download_is_abandoned_in_time_and_leaves_nothing(
    server, secure, raw, checksums, fault, scheme, monkeypatch
):
    limit, value, message = ENDLESS[fault]
    monkeypatch.setattr(http, limit, value)
    chosen = secure if scheme == "https" else server
    chosen.fail(NAME, fault)
    started = time.monotonic()
    with refused(chosen.url, NAME, message, error=DownloadError):
        fetch_from(chosen.url, into=raw, checksums=checksums)
    assert time.monotonic() - started < 60
    assert content_of(raw) == {}


def test_a_server_that_accepts_no_connection_is_abandoned_in_time(raw, checksums, monkeypatch):
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.1)
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting.connect(full.getsockname())
        port = full.getsockname()[1]
        with refused("cannot be reached within 0.1 s", error=DownloadError):
            fetch_from(f"http://127.0.0.1:{port}/", into=raw, checksums=checksums)


def test_a_slow_but_steady_download_is_not_abandoned(server, raw, files, checksums, monkeypatch):
    monkeypatch.setattr(http, "RATE_SECONDS", 0.05)
    monkeypatch.setattr(http, "MIN_RATE", 1)
    name = "t10k-labels-idx1-ubyte.gz"
    server.fail(name, Fault.SLOW)
    fetch_from(server.url, into=raw, checksums=checksums)
    assert content_of(raw) == files


def test_permanent_errors_are_not_retried(server, raw, checksums, pauses):
    for fault, status in ((Fault.MISSING, 404), (Fault.NOWHERE, 302)):
        server.fail(NAME, fault)
        with refused(server.url, NAME, status, error=DownloadError):
            fetch_from(server.url, into=raw, checksums=checksums, retries=2)
    assert server.requested == [f"/{NAME}"] * 2
    assert pauses == []


def test_the_pause_that_a_busy_server_requests_is_respected(server, raw, files, checksums, pauses):
    server.headers["Retry-After"] = "7"
    server.fail(NAME, Fault.BUSY, times=1)
    fetch_from(server.url, into=raw, checksums=checksums, report=list, retries=1)
    assert content_of(raw) == files
    assert pauses == [7]


@pytest.mark.parametrize("asked", ["3600", "9" * 9])
def test_a_server_that_requests_a_long_pause_is_abandoned(server, raw, checksums, pauses, asked):
    server.headers["Retry-After"] = asked
    server.fail(NAME, Fault.BUSY)
    with refused(server.url, "429", error=DownloadError):
        fetch_from(server.url, into=raw, checksums=checksums, retries=2)
    assert pauses == []


@pytest.mark.parametrize("asked", ["soon", "-1", "²", "9" * 5000])
def test_a_requested_pause_that_is_not_in_seconds_is_ignored(
    server, raw, files, checksums, pauses, asked
):
    server.headers["Retry-After"] = asked
    server.fail(NAME, Fault.BUSY, times=1)
    fetch_from(server.url, into=raw, checksums=checksums, report=list, retries=1)
    assert content_of(raw) == files
    assert pauses == [1]


def test_a_file_labelled_as_encoded_is_not_decoded(server, raw, files, checksums):
    server.fail(NAME, Fault.ENCODED)
    fetch_from(server.url, into=raw, checksums=checksums)
    assert content_of(raw) == files


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "ftp://127.0.0.1/digits",
        "data:text/plain,digits",
        "javascript:digits",
        "file:///\x1b[31m",
    ],
)
def test_a_redirect_to_another_scheme_is_refused_at_once(server, raw, checksums, pauses, target):
    server.redirect(NAME, target)
    with refused(server.url, NAME, "redirects from http to ", error=DownloadError) as caught:
        fetch_from(server.url, into=raw, checksums=checksums, retries=2)
    assert str(caught.value).isprintable()
    assert pauses == []
    assert content_of(raw) == {}


@pytest.mark.parametrize(
    "target",
    [
        "http://[broken/",
        "//[",
        "http://",
        "//",
        "http://a..b/",
        "http://127.0.0.1:port/",
        "http://127.0.0.1:99999/",
        "http://\x00/",
        f"http://{'a' * 70}.example/",
        "http://user@:80/",
        "?#",
    ],
)
def test_a_redirect_to_an_invalid_address_is_refused(server, raw, checksums, target):
    server.redirect(NAME, target)
    with refused(server.url, NAME, error=DownloadError):
        fetch_from(server.url, into=raw, checksums=checksums)
    assert content_of(raw) == {}


def test_a_redirect_within_http_is_followed_and_checked(server, raw, files, checksums):
    (server.folder / "moved.gz").write_bytes(files[NAME])
    for target in ("/moved.gz", f"{server.url}moved.gz", "moved.gz"):
        server.redirect(NAME, target)
        fetch_from(server.url, into=raw, checksums=checksums)
        assert content_of(raw) == files


def test_the_body_of_a_redirect_is_not_read(server, raw, files, checksums):
    (server.folder / "moved.gz").write_bytes(files[NAME])
    server.redirect(NAME, "/moved.gz")
    server.fail(NAME, Fault.ENDLESS)
    fetch_from(server.url, into=raw, checksums=checksums)
    assert content_of(raw) == files


def test_a_redirect_loop_is_abandoned(server, raw, checksums, pauses):
    server.redirect(NAME, f"/{NAME}")
    with refused(server.url, NAME, "Exceeded 5 redirects", error=DownloadError):
        fetch_from(server.url, into=raw, checksums=checksums, retries=2)
    assert server.requested == [f"/{NAME}"] * 6
    assert pauses == []


def test_https_with_a_valid_certificate_works(secure, raw, files):
    fetch_from(secure.url, into=raw)
    assert content_of(raw) == files


def test_a_redirect_from_https_to_http_is_refused(secure, server, raw, checksums):
    secure.redirect(NAME, f"{server.url}{NAME}")
    with refused(secure.url, NAME, f"redirects from https to {server.url}", error=DownloadError):
        fetch_from(secure.url, into=raw, checksums=checksums)
    assert server.requested == []
    assert content_of(raw) == {}


def test_http_may_redirect_to_https(secure, server, raw, files, checksums):
    for name in files:
        server.redirect(name, f"{secure.url}{name}")
    fetch_from(server.url, into=raw, checksums=checksums)
    assert content_of(raw) == files


def yesterday():
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("issue", "authority_is_trusted", "reason"),
    [
        (lambda authority: authority.issue_cert("127.0.0.1"), False, "unable to get local issuer"),
        (lambda authority: authority.issue_cert("example.org"), True, "mismatch"),
        (
            lambda authority: authority.issue_cert("127.0.0.1", not_after=yesterday()),
            True,
            "expired",
        ),
    ],
    ids=["unknown authority", "another host", "expired"],
)
def test_an_invalid_certificate_is_refused_before_any_request(
    authority, trust, raw, pauses, tmp_path, files, issue, authority_is_trusted, reason
):
    if authority_is_trusted:
        trust()
    with serve(write_files(tmp_path / "served", files), certified(issue(authority))) as server:
        with refused(server.url, NAME, reason, error=DownloadError):
            fetch_from(server.url, into=raw, retries=2)
        assert server.requested == []
    assert pauses == []
    assert content_of(raw) == {}


def test_an_https_server_without_tls_is_refused(server, raw):
    url = server.url.replace("http://", "https://")
    with refused(url, NAME, error=DownloadError):
        fetch_from(url, into=raw)
    assert server.requested == []
    assert content_of(raw) == {}


def test_a_file_name_from_the_server_is_not_used(server, raw, files, checksums):
    server.headers["Content-Disposition"] = 'attachment; filename="../../evil"'
    fetch_from(server.url, into=raw, checksums=checksums)
    assert content_of(raw) == files


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "..%2Fevil", "a" * 300])
def test_an_address_that_ends_in_an_invalid_name_writes_nothing(secure, raw, tmp_path, name):
    before = content_of(tmp_path)
    with refused(f"{secure.url}x/{name}", error=DownloadError):
        fetch_from(f"{secure.url}x/{name}", into=raw)
    assert content_of(tmp_path) == before

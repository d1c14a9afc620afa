"""Kaggle datasets, from a fake server on the port that kagglehub uses for tests."""

import base64
import errno
import hashlib
import json
import ssl
import time
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler

import pytest
import trustme

from pipeline.base.errors import DownloadError
from tests.layouts import (
    content_of,
    csv_bytes,
    csv_rows,
    idx_files,
    with_broken_stream,
    with_wrong_checksum,
    write_files,
    write_zip,
)
from tests.raw.fetching import fetch_from
from tests.refusal import refused
from tests.servers import Fault, listening, serve

PORT = 7777
"""Port where kagglehub expects Kaggle if KAGGLE_API_ENVIRONMENT is TEST."""
OTHER_WAYS = (
    "KAGGLE_USERNAME",
    "KAGGLE_KEY",
    "KAGGLE_API_TOKEN",
    "KAGGLE_KERNEL_RUN_TYPE",
    "TBE_RUNTIME_ADDR",
)
"""Variables of the user's account and of notebooks, which kagglehub would use."""


class Kaggle:
    """Datasets by `owner/name` and competitions by name: an archive, or the status of the response.

    The archives are on a server of their own, as Kaggle's are.
    """

    def __init__(self):
        self.forget(None)

    def forget(self, storage):
        self.storage = storage
        self.datasets = {}
        self.checksum = None
        self.elsewhere = None
        self.silent = False
        self.html = False
        self.headers = {}
        self.calls = []

    def call(self, method, request):
        """Return a status and a body, or a redirect, in response to a call of the API."""
        self.calls.append(method)
        name = request.get("competitionName") or f"{request['ownerSlug']}/{request['datasetSlug']}"
        found = self.datasets.get(name, 404)
        if isinstance(found, int):
            return found, {"code": found, "message": f"{name} is refused"}
        if method == "GetDataset":
            return 200, {"ref": name, "currentVersionNumber": 3}
        assert method in ("DownloadDataset", "DownloadDataFiles")
        assert method == "DownloadDataFiles" or request["datasetVersionNumber"] == 3
        write_files(self.storage.folder, {name: found})
        digest = self.checksum or hashlib.md5(found).digest()
        self.storage.headers["X-Goog-Hash"] = f"md5={base64.b64encode(digest).decode()}"
        return 302, self.elsewhere or f"{self.storage.url}{name}"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, kaggle, *args):
        self.kaggle = kaggle
        super().__init__(*args)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        service, method = self.path.removeprefix("/api/v1/").split("/")
        assert service in ("datasets.DatasetApiService", "competitions.CompetitionApiService")
        status, answer = self.kaggle.call(method, request)
        if self.kaggle.silent:
            self.kaggle.storage.closing.wait()
            return
        self.send_response(status)
        for name, value in self.kaggle.headers.items():
            self.send_header(name, value)
        if status == 302:
            self.send_header("Location", answer)
            body = b""
        else:
            kind = "text/html" if self.kaggle.html else "application/json"
            self.send_header("Content-Type", kind)
            body = b"<html>" if self.kaggle.html else json.dumps(answer).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def stand_in():
    kaggle = Kaggle()
    with ExitStack() as stack:
        last_try = time.monotonic() + 20
        while True:
            try:
                stack.enter_context(listening(partial(_Handler, kaggle), PORT))
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > last_try:
                    pytest.skip(f"kagglehub's port for tests, {PORT}, is not available: {error}")
                time.sleep(0.1)  # another worker's tests may use it
        yield kaggle


@pytest.fixture
def kaggle(stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLEHUB_VERBOSITY", "error")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    # For its user agent kagglehub looks for five libraries in every frame, half a second per call.
    monkeypatch.setattr("kagglehub.clients.search_lib_in_call_stack", lambda name: None)
    for name in OTHER_WAYS:
        monkeypatch.delenv(name, raising=False)
    with serve(tmp_path / "storage") as storage:
        stand_in.forget(storage)
        yield stand_in
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def idx(few_digits):
    return idx_files("train", few_digits) | idx_files("t10k", few_digits)


def zipped(folder, files):
    return write_zip(folder / "archive.zip", files).read_bytes()


def fetch_kaggle(name, raw, **options):
    return fetch_from(f"kaggle:{name}", into=raw, **options)


def test_a_dataset_of_idx_files_is_downloaded(tmp_path, kaggle, raw, idx):
    kaggle.datasets["someone/digits"] = zipped(tmp_path, idx | {"notes.txt": b"ignored"})
    assert fetch_kaggle("someone/digits", raw) == "kaggle:someone/digits"
    assert content_of(raw) == idx


def test_a_dataset_of_tables_is_downloaded(tmp_path, kaggle, raw, few_digits):
    tables = {f"mnist_{split}.csv": csv_bytes(csv_rows(few_digits)) for split in ("train", "test")}
    kaggle.datasets["someone/tables"] = zipped(tmp_path, tables)
    fetch_kaggle("someone/tables", raw)
    assert content_of(raw) == tables


def sign_in(monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "a key")


def competition(folder, data):
    """The files of the competition Digit Recognizer, whose test set has no labels."""
    return zipped(
        folder,
        {
            "train.csv": csv_bytes(csv_rows(data, "pixel0")),
            "test.csv": csv_bytes(csv_rows(data, "pixel0", labels=False)),
            "sample_submission.csv": b"ImageId,Label\n1,0\n",
        },
    )


def test_a_competition_is_downloaded(tmp_path, kaggle, raw, few_digits, monkeypatch):
    sign_in(monkeypatch)
    kaggle.datasets["digit-recognizer"] = competition(tmp_path, few_digits)
    fetch_kaggle("competitions/digit-recognizer", raw)
    assert kaggle.calls == ["DownloadDataFiles"]
    assert sorted(content_of(raw)) == ["test.csv", "train.csv"]


def test_a_competition_is_refused_to_those_who_are_not_signed_in(tmp_path, kaggle, raw, few_digits):
    kaggle.datasets["digit-recognizer"] = competition(tmp_path, few_digits)
    with refused(
        "competitions/digit-recognizer", "not authenticated: set KAGGLE", error=DownloadError
    ):
        fetch_kaggle("competitions/digit-recognizer", raw)


def test_a_competition_whose_rules_are_not_accepted_is_refused(kaggle, raw, pauses, monkeypatch):
    sign_in(monkeypatch)
    kaggle.datasets["digit-recognizer"] = 403
    with refused("competitions/digit-recognizer", "accepted the competition", error=DownloadError):
        fetch_kaggle("competitions/digit-recognizer", raw, retries=2)
    assert pauses == []


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "Resource not found"),
        (403, "permission"),
        (401, "authenticated"),
    ],
)
def test_a_dataset_that_kaggle_denies_is_refused_at_once_with_its_name(
    kaggle, raw, pauses, status, reason
):
    kaggle.datasets["someone/digits"] = status
    with refused("kaggle:someone/digits", reason, error=DownloadError):
        fetch_kaggle("someone/digits", raw, retries=2)
    assert kaggle.calls == ["GetDataset"]
    assert pauses == []
    assert list(raw.iterdir()) == []


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_kaggle_is_retried_and_then_abandoned(kaggle, raw, pauses, status, html):
    kaggle.datasets["someone/digits"] = status
    kaggle.html = html
    reason = str(status) if html else "someone/digits is refused"
    messages = []
    with refused("kaggle:someone/digits", reason, error=DownloadError):
        fetch_kaggle("someone/digits", raw, retries=2, report=messages.append)
    assert kaggle.calls == ["GetDataset"] * 3
    assert pauses == [1, 2]
    for message in messages:
        assert message.startswith("source kaggle:someone/digits: ")
        assert reason in message


def test_only_a_short_pause_requested_by_kaggle_is_respected(kaggle, raw, pauses):
    kaggle.datasets["someone/digits"] = 429
    for asked, waited in (("5", [5]), ("600", [])):
        kaggle.headers["Retry-After"] = asked
        with refused("kaggle:someone/digits", error=DownloadError):
            fetch_kaggle("someone/digits", raw, retries=1, report=list)
        assert pauses == waited
        pauses.clear()


@pytest.mark.parametrize(
    "fault", [Fault.TRUNCATED, Fault.RESET, Fault.CHANGED, Fault.BROKEN, Fault.EMPTY]
)
def test_an_archive_that_breaks_off_is_retried_and_complete(
    tmp_path, kaggle, raw, idx, pauses, fault
):
    kaggle.datasets["someone/digits"] = zipped(tmp_path, idx)
    kaggle.storage.fail("someone/digits", fault, times=2)
    fetch_kaggle("someone/digits", raw, retries=2, report=list)
    assert content_of(raw) == idx
    assert pauses == [1, 2]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/digits.zip"])
def test_an_archive_at_another_scheme_is_refused_at_once(
    tmp_path, kaggle, raw, idx, pauses, target
):
    kaggle.datasets["someone/digits"] = zipped(tmp_path, idx)
    kaggle.elsewhere = target
    with refused("kaggle:someone/digits", target, error=DownloadError):
        fetch_kaggle("someone/digits", raw, retries=2)
    assert pauses == []


def test_an_archive_on_a_server_with_an_unknown_certificate_is_refused_at_once(
    tmp_path, kaggle, raw, idx, pauses
):
    kaggle.datasets["someone/digits"] = zipped(tmp_path, idx)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serve(tmp_path, context) as impostor:
        kaggle.elsewhere = f"{impostor.url}archive.zip"
        with refused("kaggle:someone/digits", "certificate verify failed", error=DownloadError):
            fetch_kaggle("someone/digits", raw, retries=2)
        assert impostor.requested == []
    assert pauses == []


def test_names_in_an_archive_stay_in_its_folder(tmp_path, kaggle, raw, idx):
    kaggle.datasets["someone/digits"] = zipped(
        tmp_path, {"../../evil": b"evil", f"{tmp_path}/evil": b"evil"} | idx
    )
    before = content_of(tmp_path)
    fetch_kaggle("someone/digits", raw)
    assert content_of(raw) == idx
    after = content_of(tmp_path)
    assert {name for name in after if not name.startswith(("raw/", "storage/"))} == set(before)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"not a zip", "Unsupported archive"),
        (lambda content: content[: len(content) // 2], "Unsupported archive"),
        (with_wrong_checksum, "Kaggle: "),
        (with_broken_stream, "Kaggle: "),
    ],
    ids=["text", "half", "a wrong checksum", "a broken stream"],
)
def test_a_damaged_archive_is_refused_with_the_datasets_name(
    tmp_path, kaggle, raw, idx, damage, reason
):
    kaggle.datasets["someone/digits"] = damage(zipped(tmp_path, idx))
    with refused("kaggle:someone/digits", reason, error=DownloadError):
        fetch_kaggle("someone/digits", raw)
    assert list(raw.iterdir()) == []


def test_an_archive_with_a_wrong_checksum_is_refused(tmp_path, kaggle, raw, idx):
    kaggle.datasets["someone/digits"] = zipped(tmp_path, idx)
    kaggle.checksum = bytes(16)
    with refused("kaggle:someone/digits", "checksum", error=DownloadError):
        fetch_kaggle("someone/digits", raw)


def test_a_dataset_without_digits_is_refused(tmp_path, kaggle, raw):
    kaggle.datasets["someone/cats"] = zipped(tmp_path, {"cat.txt": b"miaow"})
    with refused("kaggle:someone/cats", "no training set", "cat.txt", error=DownloadError):
        fetch_kaggle("someone/cats", raw)

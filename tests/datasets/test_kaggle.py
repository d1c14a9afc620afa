"""Kaggle datasets, from a stand-in that speaks kagglehub's protocol at its port for tests."""

import base64
import errno
import hashlib
import json
import time
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler

import pytest

from pipeline.datasets.sources import fetch
from pipeline.errors import DownloadError
from tests.datasets.layouts import (
    content_of,
    csv_bytes,
    csv_rows,
    idx_files,
    with_broken_stream,
    with_wrong_checksum,
    write_zip,
)
from tests.datasets.refusal import refused
from tests.servers import listening

pytestmark = pytest.mark.xdist_group("kaggle")

PORT = 7777
"""Where kagglehub looks for Kaggle when KAGGLE_API_ENVIRONMENT is TEST."""
OTHER_WAYS = (
    "KAGGLE_USERNAME",
    "KAGGLE_KEY",
    "KAGGLE_API_TOKEN",
    "KAGGLE_KERNEL_RUN_TYPE",
    "TBE_RUNTIME_ADDR",
)
"""The user's own account, and Kaggle's and Colab's notebooks, which kagglehub would use."""


class Kaggle:
    """Datasets by `owner/name`: an archive, or the status that a request for it gets."""

    def __init__(self):
        self.forget()

    def forget(self):
        self.datasets = {}
        self.downloads = []
        self.checksum = None

    def call(self, method, request):
        """Answer a call of the API with a status, a type and a body, or a place to go to."""
        name = f"{request['ownerSlug']}/{request['datasetSlug']}"
        found = self.datasets.get(name, 404)
        if isinstance(found, int):
            return found, {"code": found, "message": f"{name} is refused"}
        if method == "GetDataset":
            return 200, {"ref": name, "currentVersionNumber": 3}
        assert method == "DownloadDataset"
        assert request["datasetVersionNumber"] == 3
        return 302, f"/storage/{name}"

    def download(self, path):
        name = path.removeprefix("/storage/")
        self.downloads.append(name)
        return self.datasets[name]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, kaggle, *args):
        self.kaggle = kaggle
        super().__init__(*args)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        service, method = self.path.removeprefix("/api/v1/").split("/")
        assert service == "datasets.DatasetApiService"
        status, answer = self.kaggle.call(method, request)
        if status == 302:
            self.send_response(status)
            self.send_header("Location", answer)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.reply(status, "application/json", json.dumps(answer).encode())

    def do_GET(self):
        content = self.kaggle.download(self.path)
        self.reply(200, "application/zip", content)

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if kind == "application/zip":
            digest = self.kaggle.checksum or hashlib.md5(body).digest()
            self.send_header("X-Goog-Hash", f"md5={base64.b64encode(digest).decode()}")
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
                    pytest.skip(f"kagglehub's port for tests, {PORT}, cannot be had: {error}")
                time.sleep(0.1)  # another worker's tests may hold it
        yield kaggle


@pytest.fixture
def kaggle(stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLEHUB_VERBOSITY", "error")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "localhost")
    for name in OTHER_WAYS:
        monkeypatch.delenv(name, raising=False)
    stand_in.forget()
    return stand_in


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def idx(few_digits):
    return idx_files("train", few_digits) | idx_files("t10k", few_digits)


def zipped(folder, files):
    return write_zip(folder / "archive.zip", files).read_bytes()


def fetch_kaggle(name, raw):
    return fetch((f"kaggle:{name}",), raw, checksums={}, report=lambda message: None)


def test_a_dataset_of_idx_files_is_downloaded(tmp_path, kaggle, raw, idx):
    kaggle.datasets["someone/digits"] = zipped(tmp_path, idx | {"notes.txt": b"of no account"})
    assert fetch_kaggle("someone/digits", raw) == "kaggle:someone/digits"
    assert content_of(raw) == idx


def test_a_dataset_of_tables_is_downloaded(tmp_path, kaggle, raw, few_digits):
    tables = {f"mnist_{split}.csv": csv_bytes(csv_rows(few_digits)) for split in ("train", "test")}
    kaggle.datasets["someone/tables"] = zipped(tmp_path, tables)
    fetch_kaggle("someone/tables", raw)
    assert content_of(raw) == tables


def test_a_dataset_that_is_there_is_not_downloaded_again(tmp_path, kaggle, raw, idx):
    kaggle.datasets["someone/digits"] = zipped(tmp_path, idx)
    for _ in range(2):
        fetch_kaggle("someone/digits", raw)
    assert kaggle.downloads == ["someone/digits"]
    assert content_of(raw) == idx


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "Resource not found"),
        (403, "permission"),
        (401, "authenticated"),
        (500, "someone/digits"),
    ],
)
def test_a_dataset_that_kaggle_does_not_give_is_refused_with_its_name(kaggle, raw, status, reason):
    kaggle.datasets["someone/digits"] = status
    with refused("kaggle:someone/digits", reason, error=DownloadError):
        fetch_kaggle("someone/digits", raw)
    assert list(raw.iterdir()) == []


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


def test_an_archive_with_another_checksum_than_promised_is_refused(tmp_path, kaggle, raw, idx):
    kaggle.datasets["someone/digits"] = zipped(tmp_path, idx)
    kaggle.checksum = bytes(16)
    with refused("kaggle:someone/digits", "checksum", error=DownloadError):
        fetch_kaggle("someone/digits", raw)


def test_a_dataset_without_digits_is_refused(tmp_path, kaggle, raw):
    kaggle.datasets["someone/cats"] = zipped(tmp_path, {"cat.txt": b"miaow"})
    with refused("kaggle:someone/cats", "no training set", "cat.txt", error=DownloadError):
        fetch_kaggle("someone/cats", raw)

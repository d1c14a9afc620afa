import errno
import hashlib
import os
import zipfile

import numpy as np
import pytest

from pipeline.base.errors import DataError, DownloadError, PipelineError
from pipeline.base.files import whole_folder
from pipeline.raw.idx import read_idx_labels
from pipeline.raw.sources import fetch
from tests.layouts import (
    content_of,
    csv_bytes,
    csv_rows,
    gzipped,
    idx_files,
    with_broken_stream,
    with_wrong_checksum,
    write_files,
    write_zip,
)
from tests.raw.fetching import fetch_from
from tests.refusal import refused
from tests.servers import Fault, serve
from tests.whole import read_idx_images, read_raw


def test_the_four_files_of_a_mirror_are_fetched(server, raw, files, checksums):
    assert fetch_from(server.url, into=raw, checksums=checksums) == server.url
    assert content_of(raw) == files
    assert sorted(server.requested) == sorted(f"/{name}" for name in files)


FAULTS = {
    Fault.MISSING: "404",
    Fault.BROKEN: "500",
    Fault.TRUNCATED: "IncompleteRead",
    Fault.OTHER: "does not match checksums.",
    Fault.EMPTY: "does not match checksums.",
}


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize(("fault", "reason"), FAULTS.items(), ids=lambda value: str(value))
def test_a_failing_mirror_is_refused_with_url_and_reason_and_leaves_nothing(
    server, raw, checksums, fault, reason, name
):
    server.fail(name, fault)
    with refused(server.url, name, reason, error=DownloadError):
        fetch_from(server.url, into=raw, checksums=checksums)
    assert list(raw.iterdir()) == []


def test_an_absent_server_is_refused_with_its_url(server, raw, checksums):
    with serve(server.folder) as gone:
        pass
    with refused(gone.url, "Connection refused", error=DownloadError) as caught:
        fetch_from(gone.url, into=raw, checksums=checksums)
    assert "host=" not in str(caught.value)
    assert list(raw.iterdir()) == []


def test_http_without_a_checksum_is_refused_before_any_request(server, raw, checksums):
    name = "t10k-labels-idx1-ubyte.gz"
    known = {other: checksum for other, checksum in checksums.items() if other != name}
    with refused("http:// needs a checksum of", name, error=DownloadError):
        fetch_from(server.url, into=raw, checksums=known)
    assert f"/{name}" not in server.requested
    assert list(raw.iterdir()) == []


def test_when_a_source_fails_the_reason_is_reported_and_the_next_is_used(
    server, raw, files, checksums
):
    server.fail("t10k-labels-idx1-ubyte.gz", Fault.MISSING)
    messages = []
    used = fetch_from(
        server.url, server.folder, into=raw, checksums=checksums, report=messages.append
    )
    assert used == str(server.folder)
    assert content_of(raw) == files
    (message,) = messages
    assert message.startswith(f"source {server.url} failed: ")
    assert "404" in message


def test_files_of_a_source_that_failed_are_gone_when_the_next_is_used(tmp_path, raw, files):
    names = ("train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    exchanged = files | {one: files[other] for one, other in (names, names[::-1])}
    wrong, reported = write_files(tmp_path / "wrong", exchanged), []
    assert fetch_from(wrong, "embedded", into=raw, report=reported.append) == "embedded"
    assert set(content_of(raw)) == {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"}
    assert "wrong failed: " in reported[0]


def test_sources_after_one_that_works_are_not_tried(server, raw, checksums):
    fetch_from(server.folder, server.url, "nowhere", into=raw, checksums=checksums)
    assert server.requested == []


def test_when_no_source_works_the_error_names_each_with_its_reason(server, raw, tmp_path):
    messages = []
    with refused(
        server.url, "needs a checksum", tmp_path / "absent", "does not exist", error=DownloadError
    ):
        fetch_from(server.url, tmp_path / "absent", into=raw, report=messages.append)
    assert len(messages) == 1
    assert list(raw.iterdir()) == []


@pytest.mark.parametrize("query", ["", "?download=1&from=a/b"])
def test_a_zip_archive_on_a_server_is_unpacked(server, raw, files, query):
    archive = write_zip(server.folder / "digits.zip", files)
    checksums = {"digits.zip": f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"}
    fetch_from(f"{server.url}digits.zip{query}", into=raw, checksums=checksums)
    assert content_of(raw) == files


def test_a_csv_file_on_a_server_is_fetched(server, raw, few_digits):
    content = csv_bytes(csv_rows(few_digits))
    (server.folder / "digits.csv").write_bytes(content)
    checksums = {"digits.csv": f"md5:{hashlib.md5(content).hexdigest()}"}
    fetch_from(f"{server.url}digits.csv", into=raw, checksums=checksums)
    assert content_of(raw) == {"digits.csv": content}


def test_an_html_page_instead_of_an_archive_is_refused_and_leaves_nothing(server, raw):
    (server.folder / "digits.zip").write_bytes(b"<html>")
    checksums = {"digits.zip": f"md5:{hashlib.md5(b'<html>').hexdigest()}"}
    with refused(f"{server.url}digits.zip", "zip archive", error=DownloadError):
        fetch_from(f"{server.url}digits.zip", into=raw, checksums=checksums)
    assert list(raw.iterdir()) == []


def test_embedded_provides_the_5000_real_digits(raw, digits):
    assert fetch_from("embedded", into=raw) == "embedded"
    np.testing.assert_array_equal(read_idx_images(raw / "train-images-idx3-ubyte"), digits.images)
    labels = read_idx_labels(raw / "train-labels-idx1-ubyte")
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, 500))
    np.testing.assert_array_equal(labels, digits.labels)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_only_the_needed_files_are_copied(tmp_path, raw, files, kind):
    beside = files | {"README.md": b"read me", "train.csv": b"other", "code/train.py": b"pass"}
    nested = {f"data/{name}": content for name, content in beside.items()}
    source = (
        write_files(tmp_path / "source", nested)
        if kind == "folder"
        else write_zip(tmp_path / "source.zip", nested)
    )
    fetch_from(source, into=raw)
    assert content_of(raw) == {f"data/{name}": content for name, content in files.items()}


def test_the_users_own_files_stay_as_they_are(tmp_path, raw, files):
    source = write_files(tmp_path / "source", files)
    fetch_from(source, into=raw)
    assert content_of(source) == files


def test_every_local_format_gives_the_same_digits(tmp_path, few_digits):
    idx = idx_files("train", few_digits)
    table = {"my digits.csv": csv_bytes(csv_rows(few_digits))}
    sources = [
        write_files(tmp_path / "idx", idx),
        write_zip(tmp_path / "idx.zip", idx),
        write_zip(tmp_path / "archive without its suffix", idx),
        write_zip(tmp_path / "csv.zip", table),
        write_files(tmp_path / "csv", table) / "my digits.csv",
        write_files(tmp_path / "gzip", gzipped(table)) / "my digits.csv.gz",
    ]
    for number, source in enumerate(sources):
        raw = tmp_path / f"raw{number}"
        raw.mkdir()
        fetch_from(source, into=raw)
        splits, _ = read_raw(raw)
        assert list(splits) == ["train"]
        np.testing.assert_array_equal(splits["train"].images, few_digits.images)
        np.testing.assert_array_equal(splits["train"].labels, few_digits.labels)


def test_a_device_or_a_pipe_is_refused_without_reading_it(tmp_path, raw):
    os.mkfifo(tmp_path / "train.csv")
    for source in ("/dev/zero", str(tmp_path / "train.csv")):
        with refused(source, "must be a file or a folder, not a device or a pipe"):
            fetch((source,), raw, checksums={}, report=print)
    assert list(raw.iterdir()) == []


def test_a_path_may_begin_with_a_tilde(tmp_path, raw, files, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_files(tmp_path / "digits", files)
    assert fetch_from("~/digits", into=raw) == "~/digits"
    assert content_of(raw) == files


@pytest.mark.parametrize(
    "name", ["../evil", "/{outside}/evil", "train/../../evil", "..\\evil", "C:\\evil", "C:evil"]
)
def test_a_zip_archive_with_a_path_outside_its_folder_is_refused(tmp_path, raw, files, name):
    name = name.replace("/{outside}", str(tmp_path / "outside"))
    archive = write_zip(tmp_path / "digits.zip", {name: b"evil"} | files)
    before = content_of(tmp_path)
    with refused(archive, "leaves its folder", name, error=DownloadError):
        fetch_from(archive, into=raw)
    assert content_of(tmp_path) == before


@pytest.mark.parametrize(
    "damage",
    [
        with_wrong_checksum,
        with_broken_stream,
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"not a zip",
        lambda content: b"",
    ],
    ids=["a wrong checksum", "a broken stream", "half", "a byte short", "text", "empty"],
)
def test_a_damaged_zip_archive_is_refused_and_leaves_nothing(tmp_path, raw, files, damage):
    archive = write_zip(tmp_path / "digits.zip", files)
    archive.write_bytes(damage(archive.read_bytes()))
    with refused(archive, "damaged or encrypted zip archive", error=DownloadError):
        fetch_from(archive, into=raw)
    assert list(raw.iterdir()) == []


def test_an_encrypted_zip_archive_is_refused(tmp_path, raw, files):
    archive = write_zip(tmp_path / "digits.zip", files)
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        starts = [info.header_offset for info in opened.infolist()]
        directory = opened.start_dir
    for start in starts:
        content[start + 6] |= 1  # the flag of an encrypted member
    while content[directory : directory + 4] == b"PK\1\2":
        content[directory + 8] |= 1
        directory += 46 + content[directory + 28]
    archive.write_bytes(content)
    with refused(archive, "damaged or encrypted zip archive", "password", error=DownloadError):
        fetch_from(archive, into=raw)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("absent/folder", "does not exist"),
        ("ftp://example.org/mnist/", "must be embedded, kaggle:<owner>/<dataset>, https://..."),
        ("s3://bucket/mnist.zip", "must be embedded, kaggle:<owner>/<dataset>, https://..."),
        ("file:///data/mnist", "must be embedded, kaggle:<owner>/<dataset>, https://..."),
        ("kaggle:mnist", "kaggle:competitions/<name>, got mnist"),
        ("kaggle:owner/mnist/versions/2", "kaggle:competitions/<name>, got owner/mnist/versions/2"),
        ("https://[broken/mnist.zip", "broken"),
        ("https://a..b/mnist.zip", "label empty or too long"),
    ],
)
def test_an_invalid_source_is_refused_with_the_rule(raw, source, reason):
    with refused(source, reason, error=DownloadError):
        fetch_from(source, into=raw)


def test_a_file_or_folder_without_digits_is_refused_and_its_files_are_listed(tmp_path, raw):
    (tmp_path / "notes.txt").write_text("seven")
    with refused("no training set", "notes.txt", error=DownloadError):
        fetch_from(tmp_path / "notes.txt", into=raw)
    with refused(raw, "no training set", "no files", error=DownloadError):
        fetch_from(raw, into=raw)
    archive = write_zip(tmp_path / "notes.zip", {"notes.txt": b"seven"})
    with refused(archive, "no training set", "notes.txt", error=DownloadError):
        fetch_from(archive, into=raw)
    assert list(raw.iterdir()) == []


def test_a_full_disk_is_not_reported_as_a_failing_source(tmp_path, monkeypatch):
    def refuse(*_):
        raise DataError("some archive") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.raw.sources.write_idx", refuse)
    reported = []
    with pytest.raises(PipelineError) as caught, whole_folder(tmp_path / "raw") as folder:
        fetch(("embedded", "embedded"), folder, checksums={}, report=reported.append)
    assert str(caught.value) == f"{tmp_path / 'raw'} cannot be written: No space left on device"
    assert reported == []
    assert list(tmp_path.iterdir()) == []

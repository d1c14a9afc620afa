"""What a message looks like, whatever the error holds, and limits at their last allowed value."""

import errno
import gzip

import numpy as np
import pytest

from pipeline.base import unpack
from pipeline.base.errors import LONGEST, PipelineError, exact, in_one_line, listed
from pipeline.base.unpack import Unpacked, most_unpacked
from tests.refusal import refused


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n b\t\tc"), "a b c"),
        (ValueError("red \x1b[31m"), "red ?[31m"),
        (ValueError("x" * 301), "x" * 300),
        (EOFError(), "EOFError"),
        (OSError(errno.ENOSPC, "No space left", "file"), "No space left"),
        (OSError("only text"), "only text"),
    ],
)
def test_any_error_becomes_one_short_line(error, line):
    assert in_one_line(error) == line


def test_of_many_names_the_first_are_listed():
    assert listed(["a", "b", "c"], 3) == "a, b, c"
    assert listed(range(4), 3) == "0, 1, 2, ..."
    assert listed([], 3) == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.055, "0.055"),
        (255.0, "255"),
        (255.0001, "255.0001"),
        (1e-320, "1e-320"),
        (1_234_567.0, "1234567"),
        (np.float32(-0.42), "-0.42"),
        (np.int16(-3), "-3"),
    ],
)
def test_a_number_is_shown_without_rounding(number, text):
    assert exact(number) == text


def test_a_message_is_cut_only_beyond_the_limit_and_escapes_what_a_terminal_would_obey():
    assert str(PipelineError("x" * LONGEST)) == "x" * LONGEST
    assert str(PipelineError("x" * (LONGEST + 1))) == "x" * (LONGEST - 3) + "..."
    assert str(PipelineError("a\nb\x1b[31m")) == r"a\nb\x1b[31m"


def test_a_gzip_file_may_unpack_to_exactly_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "FREE", 1000)
    monkeypatch.setattr(unpack, "RATIO", 1)
    path = tmp_path / "zeros.gz"
    for size in (1000, 1001):
        path.write_bytes(gzip.compress(bytes(size)))
        assert most_unpacked(path) == 1000
        with Unpacked(path) as file:
            assert file.read(0) == b""
            if size == 1000:
                assert file.read() == bytes(1000)
            else:
                with refused(path, "must unpack to at most 1000 bytes"):
                    file.read()
    monkeypatch.setattr(unpack, "RATIO", 100)
    assert most_unpacked(path) == 100 * path.stat().st_size

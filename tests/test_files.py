"""Files and folders are whole or absent, whatever goes wrong while they are written."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.files import (
    check_undisturbed,
    copy_file,
    read_json,
    whole_file,
    whole_folder,
    write_json,
)
from pipeline.base.tables import read_table
from tests.conftest import ROOT
from tests.refusal import refused


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_with(error, _done):
    raise error


def test_a_file_appears_when_its_block_ends_and_replaces_the_older_one(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for content in ("one", "two"):
        with whole_file(path) as temporary:
            temporary.write_text(content)
            assert path.exists() == (content == "two")
        assert path.read_text() == content
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_older_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("older")
    with pytest.raises(error), whole_file(path) as temporary:
        fail_with(error, temporary.write_text("half"))
    assert path.read_text() == "older"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_replaces_the_older_one_as_a_whole(tmp_path):
    path = tmp_path / "a"
    for name in ("one", "two"):
        with whole_folder(path) as temporary:
            (temporary / name).write_text(name)
        assert names(path) == [name]
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_older_folder_and_nothing_else(tmp_path, error):
    path = tmp_path / "a"
    path.mkdir()
    (path / "older").touch()
    with pytest.raises(error), whole_folder(path) as temporary:
        fail_with(error, (temporary / "half").touch())
    assert names(path) == ["older"]
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_an_interruption_between_the_two_renames_restores_the_older_folder(
    tmp_path, monkeypatch, error
):
    path = tmp_path / "a"
    path.mkdir()
    (path / "older").touch()
    rename = Path.rename

    def fail_to_rename_the_new_folder(self, target):
        if (self / "new").exists():
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_to_rename_the_new_folder)
    with pytest.raises((PipelineError, KeyboardInterrupt)), whole_folder(path) as temporary:
        (temporary / "new").touch()
    assert names(path) == ["older"]
    assert names(tmp_path) == ["a"]


def test_a_file_that_cannot_be_written_is_named_in_one_line(tmp_path):
    (tmp_path / "a").write_text("a file where a folder should be")
    for whole in (whole_file, whole_folder):
        with (
            refused(error=PipelineError, match=f"^{re.escape(str(tmp_path / 'a'))}"),
            whole(tmp_path / "a" / "b"),
        ):
            pass


def test_an_unreadable_file_other_than_the_target_is_named(tmp_path):
    with pytest.raises(PipelineError) as caught, whole_file(tmp_path / "a"):
        (tmp_path / "gone").read_text()
    assert str(caught.value) == f"{tmp_path / 'gone'}: No such file or directory"


def test_a_full_disk_is_reported_for_the_file_being_written(tmp_path):
    with pytest.raises(PipelineError) as caught, whole_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == f"{tmp_path / 'a'} cannot be written: No space left on device"
    assert names(tmp_path) == []


def test_json_refuses_numbers_that_are_not_finite_and_keeps_the_older_file(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"b": float("nan")})
    assert read_json(tmp_path / "a.json") == {"b": 1}


@pytest.mark.parametrize(
    ("content", "rule"), [("{", "is not JSON"), ("[]", "must hold a JSON object, got list")]
)
def test_anything_but_a_json_object_is_refused_with_its_name(tmp_path, content, rule):
    (tmp_path / "a.json").write_text(content)
    with refused("a.json", match=rule):
        read_json(tmp_path / "a.json")


def test_missing_files_are_refused_with_their_names(tmp_path):
    for read in (read_json, read_table, lambda path: copy_file(path, tmp_path / "b")):
        with refused(match="gone"):
            read(tmp_path / "gone")


def abandon(path, whole):
    """Start writing in another process, which is killed while it writes."""
    code = (
        "import os, signal, sys; from pathlib import Path; from pipeline.base.files import *\n"
        f"with {whole}(Path(sys.argv[1])) as temporary:\n"
        "    (temporary / 'half' if temporary.is_dir() else temporary).write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(path.parent)) == 1


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_leftovers_of_a_killed_process_are_removed_by_the_next_writer(tmp_path, whole):
    path = tmp_path / "a"
    abandon(path, whole.__name__)
    with whole(path):
        pass
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_the_temporary_file_of_another_writer_is_not_removed(tmp_path, whole):
    path = tmp_path / "a"
    with whole(path) as first:
        with whole(path) as second:
            (second / "b" if second.is_dir() else second).write_text("second")
        assert first.exists()
        (first / "b" if first.is_dir() else first).write_text("first")
    assert (path / "b" if path.is_dir() else path).read_text() == "first"
    assert len(names(tmp_path)) == 1


def test_a_file_can_be_written_into_a_folder_that_is_being_written(tmp_path):
    with whole_folder(tmp_path / "a") as folder:
        write_json(folder / "b.json", {"c": 1})
        assert names(folder) == ["b.json"]
    assert read_json(tmp_path / "a" / "b.json") == {"c": 1}


def test_files_are_written_where_the_file_system_has_no_locks(tmp_path, monkeypatch):
    def refuse(_handle, _kind):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    for _ in range(2):
        with whole_folder(tmp_path / "a") as folder:
            write_json(folder / "b.json", {"c": 1})
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["b.json"]


def test_an_error_in_a_folder_that_is_being_written_shows_the_final_name(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PipelineError) as caught, whole_folder(tmp_path / "a") as folder:
        write_or_fail(folder / "b", full)
    assert str(caught.value) == f"{tmp_path}/a/b cannot be written: No space left on device"


def write_or_fail(path, error):
    with whole_file(path):
        raise error


def replace(path, content):
    """Put another file in place of one, as `dvc checkout` does."""
    path.with_name("other").write_text(content)
    path.with_name("other").replace(path)


def test_what_another_program_changed_while_a_stage_ran_is_named(tmp_path):
    write_json(tmp_path / "models/a.json", {})
    write_json(tmp_path / ".checkpoints/a.json", {})
    with whole_folder(tmp_path / "data") as folder:
        (folder / "train").touch()
    check_undisturbed(tmp_path)
    (tmp_path / ".checkpoints/a.json").unlink()  # temporary, and removed by the stage itself
    check_undisturbed(tmp_path)
    replace(tmp_path / "data/train", "")
    with refused(match="^data was changed by another program, such as dvc checkout"):
        check_undisturbed(tmp_path)
    with whole_folder(tmp_path / "data") as folder:
        (folder / "train").touch()
    check_undisturbed(tmp_path)
    (tmp_path / "models/a.json").unlink()
    with refused(match="^models/a.json was changed"):
        check_undisturbed(tmp_path)


def test_a_program_that_is_about_to_change_results_is_waited_for(tmp_path):
    write_json(tmp_path / "a.json", {})
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    with open(tmp_path / ".dvc/tmp/lock", "w") as lock:  # as DVC holds it
        fcntl.flock(lock, fcntl.LOCK_EX)
        late = threading.Timer(0.3, lambda: (replace(tmp_path / "a.json", ""), lock.close()))
        late.start()
        with refused(match="^a.json was changed"):
            check_undisturbed(tmp_path)
        late.join()


STAGE = """
import click, os
from pathlib import Path
from pipeline.base.command import Command
from pipeline.base.files import write_json

@click.command(cls=Command)
def main():
    write_json(Path("a.json"), {})
    os.replace("b.json", "a.json")

main()
"""


@pytest.mark.parametrize("in_dvc", [True, False])
def test_a_stage_that_dvc_runs_fails_if_its_results_were_changed(tmp_path, in_dvc):
    (tmp_path / "b.json").touch()
    done = subprocess.run(
        [sys.executable, "-c", STAGE], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | ({"DVC_STAGE": "stage"} if in_dvc else {}),
    )  # fmt: skip
    assert done.returncode == in_dvc
    assert done.stderr.startswith("Error: a.json was changed by another program" if in_dvc else "")

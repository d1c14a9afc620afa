"""Checks that an input makes no reader crash, hang, fill the memory, or run or write anything."""

import os
import re
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.base.errors import LONGEST, PipelineError
from tests.hostile.readers import Reader

SECONDS = 5
"""Limit of processor time, which does not depend on the load of the machine."""
CHANGES = {
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.symlink", "os.truncate", "os.utime",
}  # fmt: skip
RUNS = {
    "ctypes.dlopen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system",
    "pickle.find_class", "pty.spawn", "socket.bind", "socket.connect", "socket.getaddrinfo",
    "subprocess.Popen",
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """The outcome of an input. memory: peak bytes, where the system reports them."""

    message: str | None
    """The reason for refusing the input, or None."""
    seconds: float
    memory: int


def check(reader: Reader, content: bytes) -> Verdict:
    """Run a reader on one input in a folder of its own.

    Raises AssertionError for forbidden behaviour; errors other than PipelineError pass through.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        message = None
        prepare(reader)
        before = _restart_peak()
        _WATCH.deeds, _WATCH.folder = [], str(folder)
        start = time.process_time()
        try:
            reader.read(content, folder)
        except PipelineError as error:
            message = str(error)
        finally:
            _WATCH.folder = None
        seconds, memory = time.process_time() - start, _peak() - before
    assert not _WATCH.deeds, _WATCH.deeds
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert memory <= max(reader.memory, 10 * len(content)), f"{memory >> 20} MiB"
    if message is not None:
        assert message
        assert message.isprintable(), message
        assert len(message) <= LONGEST
    return Verdict(message, seconds, memory)


@cache
def prepare(reader: Reader) -> None:
    """Read the valid files once without watching, so that late imports happen now."""
    for content in reader.seeds():
        with tempfile.TemporaryDirectory() as folder, suppress(PipelineError):
            reader.read(content, Path(folder))


class _Watch:
    """Records forbidden actions while `folder` is set, by Python's audit events."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.deeds: list[str] = []
        sys.addaudithook(self.see)

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event in RUNS or (event == "exec" and self._is_text(arguments[0])):
            self.deeds.append(f"{event} {arguments}")
        elif event == "open" and self._writes(*arguments[1:3]):
            self._note(event, arguments[0])
        elif event in CHANGES:
            for path in arguments[: 2 if event in ("os.link", "os.rename", "os.symlink") else 1]:
                self._note(event, path, in_folder=arguments[-1])

    @staticmethod
    def _is_text(code: Any) -> bool:
        return bool(getattr(code, "co_filename", "<string>").startswith("<string"))

    @staticmethod
    def _writes(mode: str | None, flags: int | None) -> bool:
        if mode is not None:
            return bool(set(mode) & set("wax+"))
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))

    def _note(self, event: str, path: Any, in_folder: Any = -1) -> None:
        # A number is an open file; a name relative to an open folder was checked with that folder.
        if isinstance(path, int) or (type(in_folder) is int and in_folder >= 0):
            return
        real = os.path.realpath(os.fsdecode(path))
        # Python caches the bytecode of a module that is first imported now.
        if "__pycache__" not in real and not f"{real}/".startswith(f"{self.folder}/"):
            self.deeds.append(f"{event} {real}")


_WATCH = _Watch()
_LINUX = Path("/proc/self/clear_refs").exists()


def _restart_peak() -> int:
    """Reset the peak of memory and return the current use."""
    if not _LINUX:
        return 0
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM") if _LINUX else 0


def _status(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10

"""Child processes: short ones that answer once, and contestants that take turns."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from benchmarks.machine import ROOT, free_environment
from pipeline.errors import PipelineError


def run_module(module: str, *arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run a module and return what it printed. environment: variables to set beside the others.

    Raises PipelineError with the last line of its errors, after showing all of them.
    """
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd, env=free_environment(**environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if process.returncode:
        raise _failure(module, process.stderr)
    return process.stdout


class Contestant:
    """A contestant's process with one variant, waiting for its turns."""

    def __init__(self, name: str, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.name = name
        self._process = process
        self._errors = errors
        self.introduction = self._answer()

    def measure(self, seconds: float, *, validation: bool) -> float:
        """Let it train anew for at least so long; return the seconds per epoch."""
        request = json.dumps({"seconds": seconds, "validation": validation})
        with contextlib.suppress(BrokenPipeError):  # the missing answer says it better
            print(request, file=self._process.stdin, flush=True)
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise _failure(self.name, self._errors.read())
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def start_contestant(name: str, folder: Path, cache: Path) -> Iterator[Contestant]:
    """Start a contestant on the job in `folder`; end it with the block.

    `cache` is where PyTorch may keep what it compiles. Raises PipelineError if it fails.
    """
    environment = free_environment(TORCHINDUCTOR_CACHE_DIR=str(cache))
    # Errors go to a file: nobody reads along, and a full pipe would stop the contestant.
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(folder)],
            cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        ) as process,
    ):  # fmt: skip
        try:
            yield Contestant(name, process, errors)
        finally:
            process.terminate()


def _failure(name: str, errors: str) -> PipelineError:
    """Show a child's own words where they are more than a line; return the last as the error."""
    lines = errors.strip().splitlines() or ["it ended without a word"]
    if len(lines) > 1:
        print(errors, file=sys.stderr)
    return PipelineError(f"{name}: {lines[-1].removeprefix('Error: ')}")

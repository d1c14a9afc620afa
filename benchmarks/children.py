"""Child processes: modules that run once, and contestants that take turns."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from benchmarks.machine import ROOT, free_environment
from pipeline.base.errors import PipelineError


def run_module(module: str, *arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run a module and return its output. environment: additional variables.

    Raises PipelineError with the last line of the errors of the module, after printing all of them.
    """
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd, env=free_environment(**environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if process.returncode:
        raise _failure(module, process.stderr)
    return process.stdout


class Contestant:
    """The process of a contestant that trains one variant when it is its turn."""

    def __init__(self, name: str, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.name = name
        self._process = process
        self._errors = errors
        self.introduction = self._answer()

    def measure(self, seconds: float, *, validation: bool) -> float:
        """Train from the start for at least `seconds` and return the seconds per epoch."""
        request = json.dumps({"seconds": seconds, "validation": validation})
        with contextlib.suppress(BrokenPipeError):  # the missing answer gives a better error
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
    """Start a contestant on the job in `folder`, and end it after the `with` block.

    PyTorch stores compiled code in `cache`. Raises PipelineError if the contestant fails.
    """
    environment = free_environment(TORCHINDUCTOR_CACHE_DIR=str(cache))
    # Errors go to a file, because a full pipe that nobody reads would stop the contestant.
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
    """Return an error with the last line of `errors`; print all of them if there are several."""
    lines = errors.strip().splitlines() or ["it ended without a message"]
    if len(lines) > 1:
        print(errors, file=sys.stderr)
    return PipelineError(f"{name}: {lines[-1].removeprefix('Error: ')}")

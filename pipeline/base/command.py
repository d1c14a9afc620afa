"""Behaviour that all commands share: reporting mistakes, and ending cleanly.

A user's mistake is reported as one line, with exit code 1. On SIGTERM and Ctrl-C a command removes
its temporary files before it exits. A stage started by DVC ends when DVC does; otherwise a killed
`dvc repro` could leave a process behind that writes into the results of the next run. A stage fails
whose results another program changed before DVC could record them.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import click

from pipeline.base.errors import PipelineError, printable
from pipeline.base.files import check_undisturbed

_PARENT = os.getppid()
"""Read at import, while the parent is most likely still running."""

_POLL_SECONDS = 0.2
"""Interval between checks of whether the parent is still running."""


class Command(click.Command):
    """A click command that reports user mistakes and lack of memory without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        in_dvc, project = "DVC_STAGE" in os.environ, Path.cwd()
        if in_dvc:
            threading.Thread(target=_end_with_parent, daemon=True).start()
        if isinstance(sys.stdout, TextIOWrapper):  # the terminal may lack characters of a name
            sys.stdout.reconfigure(errors="replace")
        try:
            with _sigterm_unwinds():
                result = super().invoke(ctx)
                if in_dvc:
                    check_undisturbed(project)
                return result
        except PipelineError as error:
            raise click.ClickException(str(error)) from error
        except MemoryError as error:
            reason = printable(str(error)) or "all of it is in use"
            raise click.ClickException(f"not enough memory: {reason}") from error


variant_argument = click.argument(
    "variant",
    # DVC runs a stage's command in a shell, which would interpret a name written into it. The name
    # is therefore read from DVC_STAGE, `train@NAME`, which no shell interprets.
    envvar="DVC_STAGE",
    callback=lambda _, __, value: value.rpartition("@")[2],
)
"""Takes VARIANT from the command line or, when DVC runs the stage, from the stage's name."""


def _end_with_parent() -> None:
    while os.getppid() == _PARENT:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Make SIGTERM unwind the program, as Ctrl-C does, instead of killing it."""

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def warn(message: str) -> None:
    """Print a one-line warning to standard error."""
    click.echo(f"Warning: {printable(message)}", err=True)

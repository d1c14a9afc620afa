"""What every command line here shares: how it ends when a user errs, or ends it.

A user's mistake is one line and exit code 1. A command that is told to end (SIGTERM, as on Ctrl-C)
removes its temporary files first. One that DVC started ends with DVC: a killed `dvc repro` must
not leave a stage behind that writes into the next one's results.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from pipeline.errors import PipelineError, printable

_PARENT = os.getppid()
"""Asked early, while whoever started this process is most likely still there."""

_PATIENCE = 0.2
"""Seconds between two looks at whether the parent is still there."""


class Command(click.Command):
    """A click command that shows a user's mistakes, and a full memory, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if "DVC_STAGE" in os.environ:  # DVC sets it for what it runs
            threading.Thread(target=_end_with_parent, daemon=True).start()
        if isinstance(sys.stdout, TextIOWrapper):  # a name may have letters that a terminal lacks
            sys.stdout.reconfigure(errors="replace")
        try:
            with _told_to_end():
                return super().invoke(ctx)
        except PipelineError as error:
            raise click.ClickException(str(error)) from error
        except MemoryError as error:
            reason = printable(str(error)) or "it is full"
            raise click.ClickException(f"there is too little memory: {reason}") from error


variant_argument = click.argument(
    "variant",
    # DVC gives a stage's command to a shell. A name written into it would be the shell's to read,
    # so the command names no variant: DVC_STAGE is `train@NAME`, and no shell looks into it.
    envvar="DVC_STAGE",
    callback=lambda _, __, value: value.rpartition("@")[2],
)
"""Takes VARIANT from the command line or, when DVC runs the stage, from the stage's own name."""


def _end_with_parent() -> None:
    while os.getppid() == _PARENT:
        time.sleep(_PATIENCE)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Let SIGTERM unwind the program, as Ctrl-C does, instead of stopping it where it is."""

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def warn(message: str) -> None:
    """Show a warning, in one line, on the standard error."""
    click.echo(f"Warning: {printable(message)}", err=True)

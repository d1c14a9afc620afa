"""The progress of training: a bar on a terminal, plain lines elsewhere."""

import math
import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

from pipeline.nn.training import EpochReport

LINES = 20
"""Limit of plain lines per run, besides those for the first and last epoch."""


class Progress:
    """The progress of a run of `epochs` epochs, shown for the duration of the `with` block."""

    def __init__(self, title: str, epochs: int, lines: int = LINES) -> None:
        self._title = title
        self._epochs = epochs
        self._every = math.ceil(epochs / lines)
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(total=epochs, desc=title, unit="epoch", disable=not self._terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def show(self, report: EpochReport) -> None:
        """Show an epoch on the bar or, if it is one of those to print, as a line."""
        line = (
            f"cost {report.train.cost:.4f}, accuracy {report.train.accuracy:.2%}, "
            f"validation accuracy {report.validation.accuracy:.2%}"
        )
        if self._terminal:
            self._bar.set_postfix_str(line, refresh=False)
            self._bar.update(report.epoch - self._bar.n)  # a resumed run starts later
        elif report.epoch % self._every == 0 or report.epoch in (1, self._epochs):
            print(f"{self._title}: epoch {report.epoch}/{self._epochs}: {line}", flush=True)

"""The progress of training: a bar on a terminal, plain lines elsewhere."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from pipeline.nn.training import EpochReport

LINES = 20
"""Limit of plain lines per run, besides those for the first and last epoch."""


@contextmanager
def progress_shown(title: str, epochs: int) -> Iterator[Callable[[EpochReport], None]]:
    """Yield a function that shows an epoch: on the bar, or as a line if it is one to print."""
    every = math.ceil(epochs / LINES)
    terminal = sys.stderr.isatty()
    with tqdm(total=epochs, desc=title, unit="epoch", disable=not terminal) as bar:

        def show(report: EpochReport) -> None:
            line = (
                f"cost {report.train.cost:.4f}, accuracy {report.train.accuracy:.2%}, "
                f"validation accuracy {report.validation.accuracy:.2%}"
            )
            if terminal:
                bar.set_postfix_str(line, refresh=False)
                bar.update(report.epoch - bar.n)  # a resumed run starts later
            elif report.epoch % every == 0 or report.epoch in (1, epochs):
                print(f"{title}: epoch {report.epoch}/{epochs}: {line}", flush=True)

        yield show

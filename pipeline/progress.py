"""Showing the progress of training: a bar on a terminal, plain lines elsewhere."""

import math
import sys
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from pipeline.nn.training import EpochReport

LINES = 20
"""Plain lines at the most for a run, the last epoch's always among them."""


def show_progress(
    title: str, epochs: int, reports: Iterable[EpochReport], lines: int = LINES
) -> Iterator[EpochReport]:
    """Pass reports on while showing them."""
    terminal = sys.stderr.isatty()
    every = math.ceil(epochs / lines)
    bar = tqdm(total=epochs, desc=title, unit="epoch", disable=not terminal)
    with bar:
        for report in reports:
            line = (
                f"cost {report.train.cost:.4f}, accuracy {report.train.accuracy:.2%}, "
                f"validation accuracy {report.validation.accuracy:.2%}"
            )
            if terminal:
                bar.set_postfix_str(line, refresh=False)
                bar.update(report.epoch - bar.n)  # a run may go on after an earlier one's epochs
            elif report.epoch == 1 or report.epoch % every == 0 or report.epoch == epochs:
                print(f"{title}: epoch {report.epoch}/{epochs}: {line}", flush=True)
            yield report

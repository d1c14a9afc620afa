"""What a run says while it trains, on a terminal and elsewhere."""

import pytest

from pipeline.nn.progress import progress_shown
from pipeline.nn.training import EpochReport, Score
from tests.conftest import Terminal


@pytest.mark.parametrize(
    ("epochs", "shown"),
    [(3, [1, 2, 3]), (20, range(1, 21)), (21, [1, *range(2, 22, 2), 21]),
     (1000, [1, *range(50, 1001, 50)])],
)  # fmt: skip
def test_a_run_prints_its_first_and_last_epoch_and_twenty_lines_at_most_between(
    epochs, shown, capsys
):
    with progress_shown("tiny", epochs) as show:
        for epoch in range(1, epochs + 1):
            show(EpochReport(epoch, Score(1 / 3, 0.5), Score(2 / 3, 0.4), (), ()))
    assert capsys.readouterr().out.splitlines() == [
        f"tiny: epoch {epoch}/{epochs}: cost 0.3333, accuracy 50.00%, validation accuracy 40.00%"
        for epoch in shown
    ]


def test_on_a_terminal_a_bar_says_how_far_a_run_is_and_how_good(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress_shown("tiny", 4) as show:
        for epoch in (2, 3, 4):  # a resumed run
            show(EpochReport(epoch, Score(1 / 3, 0.5), Score(2 / 3, 0.4), (), ()))
    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("tiny: 100%")
    for part in ("4/4", "epoch", "cost 0.3333, accuracy 50.00%, validation accuracy 40.00%"):
        assert part in last

"""Kill `dvc repro` again and again, at seeded moments of every stage, and see how it ends.

    python -m tests.faults.kill --kills 100

A round starts from nothing. For each stage in turn it runs `dvc repro` and kills it at a random
moment of that stage, up to when the next one is announced; the next `dvc repro` follows at once and
is the next to be killed. The last is left to end, and everything must be as in a run that nothing
disturbed. Ctrl-C reaches the whole process group; SIGTERM and SIGKILL that or DVC alone, which
leaves its stage an orphan.
"""

import argparse
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from tests.conftest import ROOT
from tests.faults.project import (
    content,
    differences,
    environment,
    make_project,
    processes_in,
    shell,
)

WAYS = (
    (signal.SIGINT, "group"),
    (signal.SIGTERM, "group"),
    (signal.SIGKILL, "group"),
    (signal.SIGTERM, "dvc alone"),
    (signal.SIGKILL, "dvc alone"),
)
PATIENCE = 30
"""Seconds after the last run's end in which no process may be left."""


def show(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Repro:
    """A running `dvc repro`, or another command, and what it has said so far."""

    def __init__(self, folder: Path, command: str = "dvc repro") -> None:
        self.process = subprocess.Popen(
            shlex.split(command), cwd=folder, env=environment(), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._said: SimpleQueue[str | None] = SimpleQueue()
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as told:
            for line in told:
                self.lines.append(line)
                if line.startswith("Running stage "):
                    self._said.put(line.split("'")[1])
        self._said.put(None)

    def next_stage(self, timeout: float = 1800) -> str | None:
        """Wait for the next stage to be announced; give None at the end."""
        return self._said.get(timeout=timeout)

    def reach(self, stage: str) -> bool:
        """Wait for a stage to be announced; say whether it was, before the end."""
        announced = self.next_stage()
        while announced not in (stage, None):
            announced = self.next_stage()
        return announced is not None

    def wait_in_stage(self, seconds: float) -> str | None:
        """Wait so long, or until the next stage is announced; give that one, if it is."""
        try:
            return self._said.get(timeout=seconds)
        except Empty:
            return None

    def kill(self, number: signal.Signals, whom: str) -> bool:
        """Send a signal, and wait for DVC's end; say whether it was still running."""
        running = self.process.poll() is None
        if running and whom == "group":
            os.killpg(self.process.pid, number)
        elif running:
            self.process.send_signal(number)
        self.process.wait(timeout=600)
        return running

    def end(self) -> int:
        """Wait for the end and for the last of what it said; give the exit code."""
        code = self.process.wait(timeout=1800)
        self._listener.join(timeout=60)
        return code

    @property
    def said(self) -> str:
        return "".join(self.lines)


@dataclass
class Tally:
    """What was done and what came of it."""

    kills: int = 0
    rounds: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    mended: int = 0
    failures: list[str] = field(default_factory=list)


def undisturbed(folder: Path) -> tuple[dict[str, bytes], dict[str, float]]:
    """Run everything once; give all files and how long each stage took, in order."""
    make_project(folder)
    repro, times = Repro(folder), {}
    stage = repro.next_stage()
    while stage is not None:
        start = time.monotonic()
        following = repro.next_stage()
        times[stage] = time.monotonic() - start
        stage = following
    assert repro.end() == 0, repro.said
    return content(folder), times


BROKEN = r"^ERROR.*(dvc.lock|RWLock-file)|^'\./dvc.lock'"
"""What DVC says of a file of its own, because it was killed while it wrote that file."""
LOST = r"^ERROR: (unexpected error - |failed to reproduce '.*': )\[Errno 2\]"
"""What DVC says of an output that is a link to what the cache has lost."""


def cut_short(said: str) -> bool:
    """Whether DVC refuses to go on before `make mend`."""
    return bool(re.search(f"{BROKEN}|{LOST}", said, re.M))


def mend(folder: Path) -> None:
    """Run `make mend` in a project."""
    shell(f"make -s -f {shlex.quote(str(ROOT / 'Makefile'))} mend", folder)


def ended_well(repro: Repro, folder: Path, tally: Tally) -> bool:
    """Whether a run ended well, or needed `make mend` and can be started again."""
    repro.end()
    if not repro.process.returncode or not cut_short(repro.said):
        return not repro.process.returncode
    mend(folder)
    tally.mended += 1
    return True


def kill_in_each_stage(
    folder: Path, times: dict[str, float], rng: random.Random, tally: Tally, most: int
) -> str | None:
    """Kill one run in each stage, the next run being the next victim; give what went wrong."""
    for target, span in times.items():
        if tally.kills >= most:
            break
        way = WAYS[tally.kills % len(WAYS)]
        moment = rng.uniform(0, span)
        repro = Repro(folder)
        if not repro.reach(target):  # an orphan or the last victim got past it before it fell
            if not ended_well(repro, folder, tally):
                return f"dvc repro failed before {target}:\n{repro.said}"
            continue
        stage = repro.wait_in_stage(moment) or target
        if repro.kill(*way):
            tally.kills += 1
            tally.stages[stage.partition("@")[0]] += 1
            tally.ways[f"{way[0].name} to {way[1]}"] += 1
            tally.resumed += "continues after epoch" in repro.said
            show(f"{tally.kills}: {way[0].name} to {way[1]} {moment:.1f} s into {stage}")
    return None


def one_round(
    folder: Path,
    expected: dict[str, bytes],
    times: dict[str, float],
    rng: random.Random,
    tally: Tally,
    most: int,
) -> None:
    """Start from nothing, kill in each stage, run to the end and compare."""
    make_project(folder, expected["dvc.lock"])
    tally.rounds += 1
    trouble = kill_in_each_stage(folder, times, rng, tally, most)
    if trouble is None:
        last = Repro(folder)
        mended = tally.mended
        if ended_well(last, folder, tally) and tally.mended > mended:
            last = Repro(folder)
        if last.end():
            trouble = f"the last dvc repro failed:\n{last.said}"
        tally.resumed += "continues after epoch" in last.said
    if trouble is None:
        until = time.monotonic() + PATIENCE
        while (left := processes_in(folder)) and time.monotonic() < until:
            time.sleep(0.1)
        wrong = differences(expected, content(folder)) + [f"{one} still runs" for one in left]
        trouble = "; ".join(wrong) or None
    if trouble is not None:
        tally.failures.append(f"round {tally.rounds}, after {tally.kills} kills: {trouble}")
        show(tally.failures[-1])


def kill_many(folder: Path, kills: int, seed: int) -> Tally:
    """Kill so many times, in as many rounds as it takes."""
    rng, tally = random.Random(seed), Tally()
    expected, times = undisturbed(folder / "undisturbed")
    show(f"undisturbed: {sum(times.values()):.0f} s for {len(times)} stages")
    while tally.kills < kills:
        before, project = tally.kills, folder / f"round{tally.rounds}"
        one_round(project, expected, times, rng, tally, kills)
        if tally.kills == before:
            tally.failures.append(f"round {tally.rounds}: nothing could be killed")
            break
        shutil.rmtree(project)
    return tally


def main() -> int:
    """Show what was survived; exit code 1 unless that was everything."""
    parser = argparse.ArgumentParser(description="Kill dvc repro at seeded moments.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # A shell starts what runs in the background with SIGINT ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        tally = kill_many(Path(folder), options.kills, options.seed)
    show(f"{tally.kills} kills in {tally.rounds} rounds, {len(tally.failures)} failures")
    for counts in (tally.stages, tally.ways):
        show(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    show(f"{tally.mended} times DVC had left a file that it refused, and `make mend` was needed")
    show(f"{tally.resumed} times training went on from a checkpoint")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())

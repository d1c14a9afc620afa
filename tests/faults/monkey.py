"""Do what users do with a clone, in random order, and see whether results stay true.

    python -m tests.faults.monkey --actions 500 --seed 1

After each action: what `dvc status` calls up to date equals a run from nothing with the same
settings and code; no file that git tracks or that is the user's own is lost; no temporary file is
left; every message of the project is one line, and there is no traceback. The sequence that failed
is shrunk to the shortest that still fails.
"""

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.actions import ACTIONS, OFTEN, OWN, Clone, left_over, lost, make_clone, unreadable
from tests.faults.kill import LOST, show
from tests.faults.project import shell
from tests.faults.shrink import shrink
from tests.faults.truth import Truth, outputs

Step = tuple[str, int]
"""The name of an action and the seed of what it draws, so that others can be left out."""

AFTER = r"\n(?!$|ERROR|Error: |WARNING|Warning: |Running stage|Stage |To |> |\$ |\d+ |Reproducing)"
"""The start of a line that is neither DVC's nor a new message."""


def draw(actions: int, seed: int) -> list[Step]:
    """Return a random sequence of actions."""
    rng = random.Random(seed)
    return [(rng.choice([*ACTIONS, *OFTEN]), rng.randrange(2**32)) for _ in range(actions)]


def faults(clone: Clone, truth: Truth) -> list[str]:
    """Return what is wrong after an action, and forget what its commands said."""
    found, clone.faults = clone.faults, []
    for said in clone.said:
        crashed = "unexpected error" in said and not re.search(LOST, said, re.M)
        if "Traceback (most recent call last)" in said or crashed:
            found.append(said)
        if re.search(r"^Error: .*" + AFTER, said, re.M):
            found.append(f"a message of more than one line:\n{said}")
    clone.said.clear()
    found += [f"{name} is left" for name in left_over(clone.folder)]
    found += [f"{name} is lost" for name in lost(clone)]
    if not unreadable(clone) and "up to date" in clone.run("dvc status"):
        found += stale(clone, truth)
    return found


def stale(clone: Clone, truth: Truth) -> list[str]:
    """Return how outputs differ from a run from nothing; those of a variant that went may stay."""
    expected, got, variants = truth.of(clone.folder), outputs(clone.folder), clone.variants()
    wrong = [
        f"{name} is {'stale' if name in got else 'missing'}"
        for name, digest in expected.items()
        if got.get(name) != digest
    ]
    return wrong + [
        f"{name} should not be there"
        for name in got.keys() - expected.keys() - {*OWN}
        if {*name.replace(".", "/").split("/")} & {*variants}
    ]


def copied(start: Path, folder: Path) -> Clone:
    """Copy the project to begin with."""
    shutil.copytree(start, folder, symlinks=True)
    return Clone(folder)


def play(
    clone: Clone,
    steps: list[Step],
    truth: Truth,
    each: Callable[[int, str, float], None] = lambda *_: None,
    until: float = float("inf"),
) -> tuple[int, list[str]]:
    """Do actions until one goes wrong or time is up; return how many were done, and what failed."""
    for done, (name, seed) in enumerate(steps):
        start = time.monotonic()
        if start > until:
            return done, []
        clone.rng = random.Random(seed)
        if unreadable(clone):
            clone.run("git checkout -qf HEAD -- . && dvc checkout")
        clone.note(f"# {done + 1}: {name}", "")
        ACTIONS[name](clone)
        if wrong := faults(clone, truth):
            return done + 1, wrong
        each(done + 1, name, time.monotonic() - start)
    return len(steps), []


def main() -> int:
    """Play with a clone in a temporary folder; exit code 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description="Do what users do, in random order.")
    parser.add_argument("--actions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="at most so long")
    parser.add_argument("--log", type=Path, help="a file for all that commands say")
    parser.add_argument("--shrink", type=int, default=20, help="tries to shorten what failed")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    steps, kinds = draw(options.actions, options.seed), Counter[str]()
    until = time.monotonic() + 60 * options.minutes

    def each(number: int, name: str, seconds: float) -> None:
        kinds[name] += 1
        show(f"{number}: {name}, {seconds:.0f} s, {len(truth)} states")

    with tempfile.TemporaryDirectory() as folder:
        start, truth = Path(folder) / "start", Truth(Path(folder))
        make_clone(start)
        clone = copied(start, Path(folder) / "clone")
        clone.log = options.log
        done, wrong = play(clone, steps, truth, each, until)
        show(f"{done} actions, {len(truth)} runs from nothing, `make mend` {clone.mended} times")
        show(", ".join(f"{name} {count}" for name, count in sorted(kinds.items())))
        if not wrong:
            return 0
        show("\n".join([f"after {steps[done - 1][0]}:", *wrong]))
        history = shell("git log --oneline --all; git status --short", clone.folder, check=False)
        show(history.stdout)

        def fails(tried: list[Step]) -> bool:
            again = copied(start, Path(folder) / f"again{len(list(Path(folder).iterdir()))}")
            found = play(again, tried, truth)[1]
            shutil.rmtree(again.folder)
            show(f"{'fails' if found else 'is well'}: {', '.join(name for name, _ in tried)}")
            return bool(found)

        shortest = shrink(steps[:done], fails, options.shrink)
        show(f"the shortest that fails: {shortest}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""What users do with a clone of the project: each action is one thing, drawn at random.

Values are drawn from few, so that settings come back and a run from nothing is seldom needed.
"""

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from tests.conftest import changed_params
from tests.faults.kill import WAYS, Repro, cut_short, mend
from tests.faults.project import make_project, shell
from tests.faults.truth import settings

LRS = (0.02, 0.05)
NAMES = ("tiny", "two_hidden", "renamed", "other")
OWN = ("notes.txt", "plots/own.txt")
"""Files of the user that git and DVC do not know."""
LIGHT = {
    "pipeline/report/vega.py": ("= vl_convert.javascript_bundle()", '= "" if vl_convert else ""'),
    "stages/visualize.py": (
        "in figures.items():\n",
        'in figures.items():\n            if name not in ("architecture", "forward", "mistakes"):\n'
        "                continue\n",
    ),
}
"""What takes long and decides nothing here: the script of charts, and most figures."""
COMMENTED = ("pipeline/metrics.py", "pipeline/nn/training.py", "pipeline/figures/curves.py")
INTERVAL = ("1.959963984540054", "2.5758293035489004")
WAIT = r"^ERROR: .*(is busy, it is being blocked by:|Unable to acquire lock)"
"""What DVC says where it must wait for another one."""


@dataclass
class Clone:
    """A clone, the random numbers of the present action, and what went wrong in it."""

    folder: Path
    rng: random.Random = field(default_factory=random.Random)
    faults: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    mended: int = 0
    number: int = 0
    log: Path | None = None

    def run(self, command: str, *, succeeds: bool = False) -> str:
        """Run a command and return what it says. Some must succeed: it is a fault if not."""
        done = shell(f"{command} 2>&1", self.folder, check=False)
        self.note(command, done.stdout)
        if succeeds and done.returncode:
            self.faults.append(f"{command} failed:\n{done.stdout[-3000:]}")
        return done.stdout

    def note(self, command: str, said: str) -> None:
        """Remember what a command said."""
        self.said.append(f"$ {command}\n{said}")
        if self.log:
            with self.log.open("a") as file:
                file.write(self.said[-1])

    def repro(self) -> None:
        """Run the pipeline, which must succeed, after `make mend` where DVC was cut short."""
        said = self.run("dvc repro")
        if cut_short(said):
            mend(self.folder)
            self.mended += 1
        elif "ERROR" not in said:
            return
        self.run("dvc repro", succeeds=True)

    def new(self, kind: str) -> str:
        """Return a new name."""
        self.number += 1
        return f"{kind}{self.number}"

    def variants(self) -> list[str]:
        """Return the names of the variants in params.yaml."""
        found = settings(self.folder)["variants"]
        assert isinstance(found, dict)
        return sorted(found)


def make_clone(folder: Path) -> Clone:
    """Make a small project with results, and files of the user's own."""
    make_project(folder)
    for name, (old, new) in LIGHT.items():
        code = (folder / name).read_text()
        assert old in code
        (folder / name).write_text(code.replace(old, new))
    with changed_params(folder) as params:
        for name, hidden in zip(params["variants"], ([10], [8, 6]), strict=True):
            params["variants"][name] |= {
                "hidden": hidden, "lr": LRS[0], "train_limit": 300, "epochs": 60, "batch_size": 20,
            }  # fmt: skip
    for name in OWN:
        (folder / name).write_text("mine\n")
    clone = Clone(folder)
    clone.run("dvc repro", succeeds=True)
    clone.run("git add -A && git reset -q notes.txt plots/own.txt && git commit -qm results")
    assert not clone.faults, clone.faults
    return clone


def edit_a_setting(clone: Clone) -> None:
    """Change a learning rate, the seed or how pixels become inputs, each to its other value."""
    variant = clone.rng.choice(clone.variants())
    with changed_params(clone.folder) as params:
        settings, name, (one, other) = clone.rng.choice([
            (params["variants"][variant], "lr", LRS),
            (params["variants"][variant], "lr", LRS),
            (params, "seed", (0, 1)),
            (params, "normalize", ("scale", "standardize")),
        ])  # fmt: skip
        settings[name] = one if settings[name] == other else other


def edit_and_run(clone: Clone) -> None:
    """Change a setting, and run."""
    edit_a_setting(clone)
    clone.repro()


def run(clone: Clone) -> None:
    """Run the pipeline."""
    clone.repro()


def run_a_part(clone: Clone) -> None:
    """Run one stage by force, or the pipeline up to one."""
    stage = clone.rng.choice(["split", "train", "evaluate", "compare", "report"])
    clone.run(f"dvc repro {clone.rng.choice(['-f -s', '-p', ''])} {stage}")


def break_a_setting(clone: Clone) -> None:
    """Run with a setting that no rule allows, and set it right."""
    path = clone.folder / "params.yaml"
    before = path.read_bytes()
    broken: Any = clone.rng.choice([("lr", -1), ("epoch", 3), ("hidden", "no"), ("loss", [])])
    with changed_params(clone.folder) as params:
        params["variants"][clone.variants()[0]][broken[0]] = broken[1]
    said = clone.run("dvc repro")
    if not re.search(r"^Error: params.yaml: variants\.\w+", said, re.M) and not cut_short(said):
        clone.faults.append(f"a setting {broken} was not refused:\n{said}")
    path.write_bytes(before)


def edit_a_comment(clone: Clone) -> None:
    """Add a comment to code or take it away, and run."""
    file = clone.folder / clone.rng.choice(COMMENTED)
    code, comment = file.read_text(), "# a comment\n"
    file.write_text(code.removesuffix(comment) if code.endswith(comment) else code + comment)
    clone.repro()


def edit_code(clone: Clone) -> None:
    """Change code so that metrics change, or back, and run."""
    file = clone.folder / "pipeline/metrics.py"
    code = file.read_text()
    old, new = INTERVAL if INTERVAL[0] in code else reversed(INTERVAL)
    file.write_text(code.replace(old, new))
    clone.repro()


def rename_a_variant(clone: Clone) -> None:
    """Give a variant another name, and run."""
    variants = clone.variants()
    old, new = clone.rng.choice(variants), clone.rng.choice(sorted({*NAMES} - {*variants}))
    with changed_params(clone.folder) as params:
        params["variants"][new] = params["variants"].pop(old)
    clone.repro()


def add_or_remove_a_variant(clone: Clone) -> None:
    """Run an experiment with one variant more or less, from the command line."""
    extra = "+variants.extra={hidden: [6], lr: 0.1, batch_size: 20, epochs: 2, train_limit: 100}"
    change = "~variants.extra" if "extra" in clone.variants() else extra
    clone.run(f"dvc exp run -S '{change}'")


def kill_a_run(clone: Clone) -> None:
    """Change a setting, kill the run, and perhaps run again."""
    edit_a_setting(clone)
    kill(clone, "dvc repro")
    if clone.rng.random() < 0.7:
        clone.repro()


def kill_an_experiment(clone: Clone) -> None:
    """Kill an experiment, and perhaps run again."""
    variant, lr = clone.rng.choice(clone.variants()), clone.rng.choice(LRS)
    kill(clone, f"dvc exp run -S variants.{variant}.lr={lr}")
    if clone.rng.random() < 0.7:
        clone.repro()


def kill(clone: Clone, command: str) -> None:
    """Kill a command at a random moment of a random stage."""
    running = Repro(clone.folder, command)
    for _ in range(clone.rng.randrange(6)):
        if running.next_stage() is None:
            break
    running.wait_in_stage(clone.rng.uniform(0, 4))
    running.kill(*clone.rng.choice(WAYS))
    running.end()
    clone.note(f"{command} (killed)", re.sub(r"Traceback.*KeyboardInterrupt", "", running.said))


def run_twice_at_once(clone: Clone) -> None:
    """Run in two terminals; each ends well or says that it must wait."""
    edit_a_setting(clone)
    others = ("dvc repro", "dvc exp run -S seed=1", "dvc checkout", "dvc status", "dvc gc -w -f")
    commands = ("dvc repro", clone.rng.choice(others))
    running = [Repro(clone.folder, command) for command in commands]
    for command, each in zip(commands, running, strict=True):
        code = each.end()
        clone.note(command, each.said)
        if code and command == "dvc repro" and not re.search(WAIT, each.said, re.M):
            clone.faults.append(f"{commands} at once:\n{each.said}")
    clone.repro()


def experiment(clone: Clone) -> None:
    """Run an experiment with another setting, here or in a copy."""
    variant, lr = clone.rng.choice(clone.variants()), clone.rng.choice(LRS)
    where = clone.rng.choice(["", "--temp"])
    clone.run(f"dvc exp run {where} -n {clone.new('trial')} -S variants.{variant}.lr={lr}")


def queue(clone: Clone) -> None:
    """Queue two experiments and run them."""
    variant = clone.rng.choice(clone.variants())
    clone.run(f"dvc exp run --queue -S variants.{variant}.lr={LRS[0]},{LRS[1]}")
    clone.run("dvc exp run --run-all")


def apply_an_experiment(clone: Clone) -> None:
    """Apply one of the experiments, or remove one."""
    names = re.findall(r"^[a-z]+[a-z0-9-]+$", clone.run("dvc exp list --name-only"), re.M)
    if names:
        what = clone.rng.choice(["apply", "apply", "remove"])
        clone.run(f"dvc exp {what} {clone.rng.choice(sorted(names))}")


def commit(clone: Clone) -> None:
    """Commit everything that is tracked."""
    clone.run("git add dvc.lock metrics params.yaml pipeline && git commit -qam work")


def change_branch(clone: Clone) -> None:
    """Go to another branch, new or not, with its results."""
    branches = clone.run("git branch --format '%(refname:short)'").split()
    if len(branches) > 2:
        clone.run(f"git checkout -q {clone.rng.choice(sorted(branches))}")
    else:
        clone.run(f"git checkout -q -b {clone.new('branch')}")
    clone.run("dvc checkout")


def stash(clone: Clone) -> None:
    """Put changes aside, run, and take them out again."""
    clone.run("git stash")
    clone.repro()
    clone.run("git checkout -q . && git stash pop")


def reset(clone: Clone) -> None:
    """Return to what is committed."""
    clone.run("git restore -SW . && dvc checkout")


def collect_garbage(clone: Clone) -> None:
    """Remove from the cache what is not needed, in one of DVC's senses."""
    clone.run(f"dvc gc -f {clone.rng.choice(['-w', '-a', '-A', '-w --rev HEAD'])}")


def lose_outputs(clone: Clone) -> None:
    """Remove outputs, and bring them back or run."""
    for name in clone.rng.sample(("data", "models", "plots/figures", "metrics/variants"), 2):
        shutil.rmtree(clone.folder / name, ignore_errors=True)
    if clone.rng.random() < 0.5:
        clone.run("git checkout -q data models plots metrics; dvc checkout")
    else:
        clone.repro()


def spoil_an_output(clone: Clone) -> None:
    """Write into an output, as an editor does, and run."""
    files = sorted(clone.folder.glob("metrics/**/*.json")) + sorted(
        clone.folder.glob("plots/*/*.csv")
    )
    if files:
        path = clone.rng.choice(files)
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content.replace(b"1", b"2"))
    clone.repro()


def shift_the_clock(clone: Clone) -> None:
    """Give files times long ago or to come, as a clock that jumps does."""
    moment = clone.rng.choice([0.0, 1e9, 4e9])
    for part in ("data", "models", "metrics", "pipeline", "params.yaml"):
        for path in (clone.folder / part, *(clone.folder / part).rglob("*")):
            if path.exists() and clone.rng.random() < 0.5:
                os.utime(path, (moment, moment))


def change_the_cache(clone: Clone) -> None:
    """Link files into the workspace in another way."""
    kind = clone.rng.choice(["copy", "hardlink", "symlink"])
    clone.run(f"dvc config --local cache.type {kind} && dvc checkout --relink")


def push_and_pull(clone: Clone) -> None:
    """Push everything to a remote, lose the cache, and pull."""
    remote = shell("pwd", clone.folder).stdout.strip() + ".remote"
    clone.run(f"dvc remote add --local -f -d far '{remote}'")
    if "ERROR" not in clone.run("dvc push"):
        shutil.rmtree(clone.folder / ".dvc/cache", ignore_errors=True)
        clone.run("dvc pull")


def move_the_folder(clone: Clone) -> None:
    """Move the clone to a folder of another name, and check out."""
    target = clone.folder.with_name(clone.new("my project "))
    clone.folder.rename(target)
    clone.folder = target
    clone.run("dvc checkout")


def ask(clone: Clone) -> None:
    """Ask for results or a prediction, which are given or refused in one line."""
    variant = clone.rng.choice(NAMES)
    command = clone.rng.choice([
        "results", "results --together", f"predict models/{variant}.npz --index 7",
        f"results --compare tiny {variant}", "experiments",
    ])  # fmt: skip
    done = shell(f"python -m pipeline {command}", clone.folder, check=False)
    clone.note(command, done.stdout + done.stderr)
    if done.returncode and (done.returncode > 2 or len(done.stderr.splitlines()) != 1):
        clone.faults.append(f"{command}: exit code {done.returncode}:\n{done.stderr}")


ACTIONS: dict[str, Callable[[Clone], None]] = {
    action.__name__: action
    for action in (
        edit_a_setting, edit_and_run, run, run_a_part, break_a_setting, edit_a_comment, edit_code,
        rename_a_variant, add_or_remove_a_variant, kill_a_run, kill_an_experiment,
        run_twice_at_once, experiment, queue, apply_an_experiment, commit, change_branch, stash,
        reset, collect_garbage, lose_outputs, spoil_an_output, shift_the_clock, change_the_cache,
        push_and_pull, move_the_folder, ask,
    )
}  # fmt: skip
OFTEN = ("edit_and_run", "kill_a_run", "run_twice_at_once", "experiment", "rename_a_variant")
"""Drawn twice as often as others."""


def left_over(folder: Path) -> list[str]:
    """Return the temporary files in a clone."""
    return [
        path.relative_to(folder).as_posix() for path in folder.rglob("*.tmp")
        if path.relative_to(folder).parts[0] not in (".git", ".dvc")
    ]  # fmt: skip


def lost(clone: Clone) -> list[str]:
    """Return the files that are gone: the user's, and those that git tracks, without outputs."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--deleted"], cwd=clone.folder, capture_output=True, text=True,
        check=True,
    ).stdout.split("\0")  # fmt: skip
    outputs = ("metrics/summary.json", "plots/", "data/", "models/")
    gone = [name for name in listed if name and not name.startswith(outputs)]
    return gone + [name for name in OWN if not (clone.folder / name).exists()]


def unreadable(clone: Clone) -> str | None:
    """Return why params.yaml cannot be read, such as a merge's conflicts, or None."""
    try:
        settings(clone.folder)
    except (YAMLError, AssertionError, OSError) as error:
        return str(error)
    return None

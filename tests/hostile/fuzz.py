"""Fuzz every reader with coverage-guided inputs: `python -m tests.hostile.fuzz [READER ...]`.

Each reader runs in a process of its own, in which libFuzzer (atheris) chooses the inputs. The first
input on which a reader fails ends its run and is saved in .fuzz/; the output shows the failure.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from random import Random

import click

FINDINGS = Path(".fuzz")
LONGEST = 32_768
"""Limit of bytes per input."""


@click.command()
@click.argument("readers", nargs=-1)
@click.option("--inputs", default=100_000, show_default=True, help="Inputs per reader.")
@click.option("--seed", default=1, show_default=True, help="Seed of the choice of inputs.")
@click.option("--here", is_flag=True, hidden=True)
def main(readers: tuple[str, ...], inputs: int, seed: int, here: bool) -> None:
    """Fuzz READERS, or all of them, and print statistics of each."""
    if here:
        fuzz(readers[0], inputs, seed)
    from tests.hostile.readers import READERS

    failed = [name for name in readers or READERS if not run(name, inputs, seed)]
    sys.exit(f"failures in: {', '.join(failed)}" if failed else 0)


def run(name: str, inputs: int, seed: int) -> bool:
    """Fuzz one reader in a process of its own, print statistics, and return whether it passed."""
    command = [sys.executable, "-m", "tests.hostile.fuzz", name, "--here"]
    command += ["--inputs", str(inputs), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        click.echo(f"{name}: {done.stderr[-2000:]}\n{done.stdout[-4000:]}")
    else:
        click.echo(f"{name}: {done.stdout.splitlines()[-1]}")
    return not done.returncode


def fuzz(name: str, inputs: int, seed: int) -> None:
    """Fuzz one reader and exit the process."""
    import atheris

    with atheris.instrument_imports(include=["pipeline", "ruamel", "PIL", "zipfile", "json"]):
        from tests.hostile.guard import check
        from tests.hostile.mutation import mutated
        from tests.hostile.readers import READERS
    warnings.simplefilter("error")
    reader = READERS[name]
    seeds = reader.seeds()
    start = time.perf_counter()
    figures = {"inputs": 0, "refused": 0, "slowest_s": 0.0, "most_mib": 0}

    def one(content: bytes) -> None:
        verdict = check(reader, content)
        figures["inputs"] += 1
        figures["refused"] += verdict.message is not None
        figures["slowest_s"] = max(figures["slowest_s"], round(verdict.seconds, 3))
        figures["most_mib"] = max(figures["most_mib"], verdict.memory >> 20)
        if figures["inputs"] == inputs:
            seconds = round(time.perf_counter() - start)
            click.echo(json.dumps(figures | {"seconds": seconds}))
            os._exit(0)

    def change(content: bytes, longest: int, chosen: int) -> bytes:
        random = Random(chosen)
        if content and random.random() < 0.3:
            return bytes(atheris.Mutate(content, longest))
        # libFuzzer's corpus is mostly damaged files; a valid one reaches deeper code.
        if not content or random.random() < 0.5:
            content = random.choice(seeds)
        return mutated(content, reader.words, random)[:longest]

    FINDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(content)
        atheris.Setup(
            [
                "fuzz", corpus, f"-seed={seed}", f"-max_len={LONGEST}", "-timeout=20",
                f"-artifact_prefix={FINDINGS}/{name}-", "-rss_limit_mb=2048", "-mutate_depth=1",
            ],
            one,
            custom_mutator=change,
        )  # fmt: skip
        atheris.Fuzz()


if __name__ == "__main__":
    main()

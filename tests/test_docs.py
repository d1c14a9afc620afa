"""Every command of README.md and docs/ runs as written, in order, in a small clone."""

import json
import re
import shutil
import time

import pandas as pd
import pytest

from tests.clone import VARIANTS, shell
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README, *DOCS = [re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES]
BLOCKS = [*README, *(block for page in DOCS for block in page)]
LONG = [block for block in BLOCKS if "dvc queue" in block or "+variants" in block]
OTHERS = [block for block in BLOCKS if block not in LONG]
SETUP = re.compile(r"git clone .*|cd .*|make|make test")
NETWORK = "dataset=fashion-mnist"


def summary(folder):
    return json.loads((folder / "metrics/summary.json").read_text())


def commands_of(blocks):
    """Return the commands of some blocks, each with the output that is shown for it."""
    return [
        (command, shown.splitlines())
        for block in blocks
        for command, _, shown in (
            part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.M)
        )
        if command
    ]


def test_the_docs_have_commands_and_name_only_targets_that_make_knows():
    commands = commands_of(BLOCKS)
    assert len(commands) > 15
    for command, _ in commands:
        if command.startswith("make"):
            shell(f"{command} --dry-run", ROOT)


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param(README, id="README", marks=pytest.mark.long),
        pytest.param(OTHERS, id="all but the queue and the added network", marks=pytest.mark.slow),
        pytest.param(LONG, id="the queue and the added network", marks=pytest.mark.slow),
    ],
)
def test_every_command_of_the_docs_works_in_its_order_and_runs_the_stages_it_shows(clone, blocks):
    shell("dvc exp remove --all-commits", clone)  # of the test before, which used the same names
    for command, shown in commands_of(blocks):
        if SETUP.fullmatch(command) or NETWORK in command:
            continue
        refused = "lr=abc" in command
        result = shell(command, clone, check=not refused)
        for line in shown:
            if line.startswith(("Running stage", "Error: ")):
                assert line in result.stdout + result.stderr, command
        if "Running" in command:  # DVC chooses the order of stages that do not need each other
            assert sorted(result.stdout.splitlines()) == sorted(shown), command
        if refused:
            assert result.returncode != 0
            assert result.stderr.count("Error: ") == 1
            assert "Traceback" not in result.stderr
        if "-n low-rate" in command:
            # Its settings ran before, under another name. DVC's run cache restores all but the
            # stage whose outs git keeps.
            assert re.findall(r"Running stage '(.*)'", result.stdout) == ["compare"]
            assert "Stage 'train@tiny' is cached - skipping run" in result.stdout
            changed = shell("git diff --numstat params.yaml", clone).stdout.split()
            assert changed == ["1", "1", "params.yaml"]
        if "+variants.deep" in command:
            assert summary(clone)["deep"]["parameters"] == 53_018
            assert "deep" in set(pd.read_csv(clone / "plots/history.csv")["variant"])
        if "~variants.tiny" in command:
            assert "tiny" not in summary(clone)
            assert "tiny" not in set(pd.read_csv(clone / "plots/history.csv")["variant"])
        if "variants.tiny.lr=0.3 " in command:
            before = json.loads(shell("git show HEAD:metrics/summary.json", clone).stdout)
            after = summary(clone)
            assert [name for name in after if after[name] != before[name]] == ["tiny"]
        if command == "dvc params diff":
            assert "lr       -       0.055" in result.stdout
        if command == "make reset":
            assert shell("git status --porcelain", clone).stdout == ""
            assert len(list((clone / "models").glob("*.npz"))) == len(VARIANTS)
        if command.startswith("dvc queue start"):
            wait_for_queue(clone)
        if command.startswith("dvc exp show"):
            shown_rates = re.findall(r"([\d.]+) *\|$", result.stdout, re.MULTILINE)
            assert {"0.03", "0.3"} <= set(shown_rates)
        if command.startswith("digits explain"):
            shutil.rmtree(clone / "explained")
        if "--compare" in command:
            shutil.rmtree(clone / "compared")


def wait_for_queue(folder):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        status = shell("dvc queue status", folder).stdout
        if not re.search(r"Running|Queued", status):
            assert "Failed" not in status, status
            return
        time.sleep(1)
    pytest.fail(status)

"""Every command in the README is run as written, in order, in a clone with little to train."""

import json
import os
import re
import shutil
import subprocess
import time

import pandas as pd
import pytest

from tests.conftest import ROOT, copy_with_little_to_train

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
LONG = [block for block in BLOCKS if "dvc queue" in block or "+variants" in block]
OTHERS = [block for block in BLOCKS if block not in LONG]
SETUP = ("git clone", "cd ", "make", "source ", "pip install")
VARIANTS = ("tiny", "two_hidden")
NETWORK = "dataset=fashion-mnist"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The working tree in a git repository of its own, with two variants and 2 epochs."""
    folder = tmp_path_factory.mktemp("clone")
    copy_with_little_to_train(folder)
    shell("git init -q && git config user.email a@example.org && git config user.name a", folder)
    shell("dvc repro -q && git add -A && git commit -qm start", folder)
    return folder


def shell(command, folder, check=True):
    environment = os.environ | {"COLUMNS": "200", "DVC_NO_ANALYTICS": "1"}
    result = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if check and result.returncode:
        pytest.fail(f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
    return result


def clean(folder):
    shell("git restore -SW . && dvc checkout -q", folder)


def summary(folder):
    return json.loads((folder / "metrics/summary.json").read_text())


def commands_of(blocks):
    """Give the commands of some blocks, each with the lines that the README shows for it."""
    return [
        (command, shown.splitlines())
        for block in blocks
        for command, _, shown in (
            part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.M)
        )
        if command
    ]


def test_the_readme_has_commands_and_names_only_targets_that_make_knows():
    commands = commands_of(BLOCKS)
    assert len(commands) > 15
    for command, _ in commands:
        if command.startswith("make"):
            shell(f"{command} --dry-run", ROOT)


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param(OTHERS, id="all but the queue and the added network"),
        pytest.param(LONG, id="the queue and the added network", marks=pytest.mark.slow),
    ],
)
def test_every_command_of_the_readme_works_in_its_order_and_runs_the_stages_it_shows(clone, blocks):
    for command, shown in commands_of(blocks):
        if command.startswith(SETUP) or NETWORK in command:
            continue
        refused = "lr=abc" in command
        models = model_bytes(clone)
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
            assert model_bytes(clone) == models
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
        if command.startswith("git restore"):
            assert shell("git status --porcelain", clone).stdout == ""
            assert len(model_bytes(clone)) == len(VARIANTS)
        if command.startswith("dvc queue start"):
            wait_for_queue(clone)
        if command.startswith("dvc exp show"):
            shown_rates = re.findall(r"([\d.]+) *\|$", result.stdout, re.MULTILINE)
            assert {"0.03", "0.3"} <= set(shown_rates)


def model_bytes(folder):
    return {path.name: path.read_bytes() for path in (folder / "models").glob("*.npz")}


def wait_for_queue(folder):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        status = shell("dvc queue status", folder).stdout
        if not re.search(r"Running|Queued", status):
            assert "Failed" not in status, status
            return
        time.sleep(1)
    pytest.fail(status)


def test_a_second_repro_does_nothing_and_leaves_git_clean(clone):
    clean(clone)
    assert "Data and pipelines are up to date." in shell("dvc repro", clone).stdout
    assert shell("git status --porcelain", clone).stdout == ""


def test_a_matrix_over_the_variants_makes_a_stage_for_each_of_their_names(clone):
    stages = shell("dvc stage list --name-only", clone).stdout.split()
    variants = list(summary(clone))
    assert [name for name in stages if name.startswith("train@")] == [
        f"train@{variant}" for variant in variants
    ]


def test_curves_of_all_variants_are_one_plot_with_a_line_each_and_the_revision_dashed(clone):
    shell("dvc plots diff HEAD -o shown", clone)
    page = (clone / "shown/index.html").read_text()
    specs = [json.loads(found) for found in re.findall(r"var spec = (\{.*?\});\s", page, re.DOTALL)]
    shutil.rmtree(clone / "shown")
    curves = [spec for spec in specs if "through training" in str(spec["title"])]
    assert [spec["encoding"]["y"]["field"] for spec in curves] == ["cost", "accuracy"]
    for spec in curves:
        assert spec["encoding"]["color"]["field"] == "variant"
        assert spec["encoding"]["strokeDash"]["field"] == "rev"
        assert {row["variant"] for row in spec["data"]["values"]} == set(summary(clone))
        assert {row["split"] for row in spec["data"]["values"]} == {"train", "validation"}
    confusions = [spec for spec in specs if "predictions" in str(spec["title"])]
    assert len(confusions) == len(VARIANTS)


def test_models_are_named_for_dvcs_registry(clone):
    tags = shell("dvc artifacts get --help", clone)
    assert tags.returncode == 0
    listed = shell('python -c "from dvc.repo import Repo; print(Repo().artifacts.read())"', clone)
    for variant in summary(clone):
        assert f"models/{variant}.npz" in listed.stdout

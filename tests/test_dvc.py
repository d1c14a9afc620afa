"""What DVC makes of the project: what it runs again, what it restores, what it shows."""

import json
import re
import shutil
from contextlib import chdir

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from tests.clone import VARIANTS, clean, shell

pytestmark = pytest.mark.long


def summary(folder):
    return json.loads((folder / "metrics/summary.json").read_text())


def stale(folder):
    """Return the stages that DVC would run again, as `dvc status` names them."""
    with chdir(folder), Repo() as repo:
        names = repo.status()
    return {name for name in names if not name.startswith("sweep/")}


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


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
    curves = [spec for spec in specs if "during training" in str(spec["title"])]
    assert [spec["encoding"]["y"]["field"] for spec in curves] == ["cost", "accuracy"]
    # Costs in nats and mean squared errors have an axis each.
    assert curves[0]["encoding"]["row"]["field"] == "loss"
    assert curves[0]["resolve"]["scale"]["y"] == "independent"
    assert {row["loss"] for row in curves[0]["data"]["values"]} <= {
        "cross_entropy", "mean_squared_error",
    }  # fmt: skip
    assert "cdn.jsdelivr.net" not in page.split("var spec")[0]
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


@pytest.mark.slow
def test_another_interval_in_the_code_reaches_the_summary_and_the_report(clone):
    before = summary(clone)
    change(clone / "pipeline/metrics.py", "1.959963984540054", "2.5758293035489004")
    ran = shell("dvc repro", clone).stdout
    assert "Running stage 'compare'" in ran
    assert "Running stage 'report'" in ran
    for name, metrics in summary(clone).items():
        assert metrics["test_accuracy_low"] < before[name]["test_accuracy_low"]
    clean(clone)


def test_a_change_of_what_a_stage_depends_on_makes_it_stale(clone):
    trains = {f"train@{name}" for name in VARIANTS}
    every = {"download", "convert", "split", "compare", "report", *trains}
    for path, old, new, stages in (
        ("params.yaml", "checksums: {}", "checksums: {a.gz: 'md5:00'}", {"download"}),
        ("params.yaml", "pictures: digit", "pictures: as_is", {"convert"}),
        ("pipeline/__init__.py", "0.1.0", "0.1.1", every),
        ("requirements.lock", "numpy==", "numpy==0", every),
        ("pipeline/report/index.css", "{", "{ ", {"report"}),
        ("metrics/variants/tiny.json", "0.", "1.", {"compare"}),
    ):
        change(clone / path, old, new)
        assert stages <= stale(clone), path
        shell("git restore -SW . && dvc checkout --force", clone)
    assert stale(clone) == set()


def test_the_order_of_the_variants_changes_nothing(clone):
    yaml = YAML()
    params = yaml.load(clone / "params.yaml")
    params["variants"] = dict(reversed(list(params["variants"].items())))
    yaml.dump(params, clone / "params.yaml")
    assert stale(clone) == set()
    clean(clone)


def test_a_clone_with_the_line_ends_of_windows_has_the_same_bytes(clone, tmp_path):
    shell(f"git clone -q -c core.autocrlf=true . {tmp_path}/windows", clone)
    names = shell("git ls-files", clone).stdout.splitlines()
    assert len(names) > 100
    for name in names:
        assert (tmp_path / "windows" / name).read_bytes() == (clone / name).read_bytes(), name

"""The command `python -m benchmarks.training`."""

import importlib.util
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from benchmarks.training import choose_contestants, main
from tests.conftest import ROOT


@pytest.mark.slow
def test_a_quick_run_writes_results_and_a_chart_but_not_the_page(tmp_path):
    page = (ROOT / "docs/speed.md").read_bytes()
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", "--quick", "--variants", "tiny,small_batch",
         "--contestants", "numpy-scipy-sparse,numpy-loop", "--output", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["epochs"]) == ["tiny", "small_batch"]
    assert results["data"] | {"source": ""} == {
        "dataset": "mnist-5k", "source": "", "images": 3500, "validation_images": 500,
    }  # fmt: skip
    assert results["epochs"]["small_batch"]["images"] == 400
    peak = results["peak_gflops"]
    assert min(peak["one_core"], peak["all_cores"]) > 0
    for result in results["epochs"].values():
        assert 0 < result["floor_flops"] < result["flops"]
        seconds = result["floor_flops"] / peak["all_cores"] / 1e9
        assert result["floor_seconds"] == pytest.approx(seconds, rel=1e-3)
        for name in ("ours", "numpy-loop", "numpy-scipy-sparse"):
            seconds = result["contestants"][name]["epoch_seconds"]
            assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
    assert results["whole"]["tiny"]["ours"]["peak_mib"]["median"] > 50
    assert list(results["doubling"]) == ["images", "width", "depth"]
    assert (tmp_path / "results.png").stat().st_size > 1000
    assert "| tiny |" in output
    assert (ROOT / "docs/speed.md").read_bytes() == page


def run(*arguments):
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants", "huge"], "variant must be one of distorted, "),
        (["--contestants", "jax"], "contestants must be among ours, pytorch-eager, "),
        (["--without", "ours"], "without must name contestants other than ours, got ours"),
        (["--without", "torch"], "without must name contestants other than ours, got torch"),
    ],
)
def test_a_mistake_in_an_option_is_an_error_of_one_line(arguments, message):
    code, output = run(*arguments)
    assert code == 1
    assert output.startswith(f"Error: {message}")
    assert len(output.splitlines()) == 1


def test_missing_data_is_an_error_that_names_it(tmp_path):
    missing = tmp_path / "nothing"
    code, output = run("--data", str(missing), "--contestants", "ours")
    assert code == 1
    assert output.splitlines()[-1] == (
        f"Error: stages.download: no source works: {missing}: does not exist"
    )


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_pytorch_the_error_says_how_to_install_it():
    code, output = run("--variants", "tiny")
    assert code == 1
    assert output == (
        "Error: PyTorch is not installed: run `make bench` or `pip install -e '.[bench]'`, "
        "or leave it out with --without pytorch\n"
    )


def test_ours_is_always_measured_and_a_name_stands_for_all_that_begin_with_it():
    assert choose_contestants(("numpy-loop",), ()) == ("ours", "numpy-loop")
    assert choose_contestants((), ("pytorch",)) == (
        "ours", "scikit-learn", "numpy-loop", "numpy-scipy-sparse",
    )  # fmt: skip
    assert choose_contestants((), ("pytorch", "numpy")) == ("ours", "scikit-learn")
    assert choose_contestants(("numpy-loop", "scikit-learn"), ("scikit-learn",)) == (
        "ours", "numpy-loop",
    )  # fmt: skip

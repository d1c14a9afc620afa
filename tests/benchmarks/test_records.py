"""The time to a target accuracy: recipes, whole processes, intervals and the table."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from platformdirs import user_cache_path

from benchmarks.attempt import write_part
from benchmarks.data import check_measurable
from benchmarks.race import CONTESTANTS, hold_race, merge, read_results
from benchmarks.record_table import interval, render, verdict
from benchmarks.records import HERE, NETWORKS, PAGE, RECIPES, TRAINED_BY_ALL, main
from benchmarks.table import BEGIN, END
from pipeline.base.errors import SettingsError
from pipeline.base.params import Augment
from pipeline.datasets.augment import CENTRE, Distortions, distort
from pipeline.datasets.draws import key_of
from tests.benchmarks.conftest import SETTINGS
from tests.benchmarks.test_contestants import packages
from tests.conftest import ROOT
from tests.refusal import refused

MACHINE = {"processor": "A processor", "cores": 2, "memory_gib": 8.0, "system": "Linux x86_64"}
DATA = {"dataset": "mnist-5k", "source": "A test", "class_names": list("0123456789")}


def entry(*accuracies):
    return {
        "first_seconds": 9.5,
        "libraries": [
            "Python 3.11.7",
            "NumPy 2.4.6",
            "openblas 0.3 Haswell (libscipy), threads: 2",
        ],
        "runs": [
            {"seed": seed, "seconds": 4.0 + seed, "peak_mib": 300, "accuracy": accuracy}
            for seed, accuracy in enumerate(accuracies)
        ],
    }


def race(**contestants):
    return {
        "variant": "distorted", "target": 98.5, "load_before": 0.1, "dataset": "mnist",
        "source": "MNIST", "images": 55000, "test_images": 10000,
        "settings": {"hidden": [196, 49], "epochs": 8}, "contestants": contestants,
    }  # fmt: skip


@pytest.fixture
def small_race(few_digits, tmp_path):
    """Return a function that lets contestants train one epoch on 150 digits."""
    pixels, labels = few_digits.images.reshape(-1, 784), few_digits.labels
    folder = tmp_path / "data"
    folder.mkdir()
    write_part(folder, "train", pixels[:150], labels[:150])
    write_part(folder, "test", pixels[150:], labels[150:])

    def hold(name, *contestants, **changes):
        changes = {"epochs": 3, "epochs_for": None, "batch_size": 40} | changes
        settings = RECIPES[name].chosen(SETTINGS).model_copy(update=changes)
        return hold_race(
            name, settings, folder, DATA | {"images": 150, "test_images": 50}, contestants,
            seeds=dict.fromkeys(contestants, 1), cache=user_cache_path("x").parent,
            report=lambda text: None,
        )  # fmt: skip

    return hold


def skip_without_torch(contestant):
    if contestant.startswith("pytorch"):
        pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("name", RECIPES)
def test_all_contestants_of_a_recipe_implement_its_settings(name):
    recipe = RECIPES[name]
    chosen = recipe.chosen(SETTINGS)
    check_measurable(name, chosen, TRAINED_BY_ALL)
    assert recipe.dataset in SETTINGS.datasets
    assert set(recipe.contestants) <= set(CONTESTANTS)
    if "scikit-learn" in recipe.contestants:
        assert (chosen.augment, chosen.schedule, chosen.warmup) == (None, "constant", 0)
        assert (chosen.dropout, chosen.label_smoothing, chosen.weight_decay) == (0, 0, 0)


def test_a_setting_that_rivals_do_not_implement_is_refused():
    chosen = RECIPES["mnist-99.0"].chosen(SETTINGS).model_copy(update={"keep": "best"})
    with refused(error=SettingsError, match=r"^mnist-99\.0\.keep must be last to be measured"):
        check_measurable("mnist-99.0", chosen, TRAINED_BY_ALL)


@pytest.mark.parametrize(
    ("name", "contestant"),
    [
        pytest.param("mnist-98.5", "ours", marks=pytest.mark.long),
        pytest.param("mnist-98.5", "pytorch-eager", marks=pytest.mark.long),
        pytest.param("mnist-98.5", "pytorch-compiled", marks=pytest.mark.slow),
        pytest.param("mnist-plain", "scikit-learn", marks=pytest.mark.slow),
    ],
)
def test_a_contestant_trains_a_model_that_reads_digits_better_than_chance(
    name, contestant, small_race
):
    skip_without_torch(contestant)
    held = small_race(name, contestant, epochs=12)
    assert (held["images"], held["test_images"], held["settings"]["epochs"]) == (150, 50, 12)
    of = held["contestants"][contestant]
    (run,) = of["runs"]
    assert run["seed"] == 0
    assert run["seconds"] > 0
    assert run["peak_mib"] > 30
    assert 0.3 < run["accuracy"] <= 1
    assert of["first_seconds"] > 0
    assert any(line.startswith("Python 3") for line in of["libraries"])


def test_contestants_take_turns_seed_by_seed(tmp_path, monkeypatch):
    turns = []

    def run(*command, **_):
        turns.append((command[3] if "benchmarks.clock" in command else "", command[-2]))
        return json.dumps({"seconds": 1, "peak_bytes": 1, "accuracy": 1, "libraries": []})

    monkeypatch.setattr("benchmarks.race.run_module", run)
    hold_race(
        "mnist-plain", RECIPES["mnist-plain"].chosen(SETTINGS), tmp_path,
        DATA | {"images": 150, "test_images": 50}, ["ours", "scikit-learn"],
        seeds={"ours": 2, "scikit-learn": 1}, cache=tmp_path, report=lambda text: None,
    )  # fmt: skip
    trained = [module.rpartition("_")[2] for module, _ in turns if module]
    assert trained == ["ours", "sklearn", "ours", "sklearn", "ours"]  # the first two fill the cache


@pytest.mark.parametrize("elastic", [0.0, 0.8])
def test_pytorch_distorts_images_as_ours_does_with_the_same_numbers(elastic, few_digits):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks.contestants import whole_pytorch

    strengths = Augment(rotate=10.0, scale=0.12, shear=0.12, shift=1.5, elastic=elastic)
    own = Distortions(strengths, key_of(np.random.default_rng(0)))
    drawn = own.draw(1, np.arange(200))
    expected = distort(few_digits.images, drawn, own.fields)
    theirs = whole_pytorch.Distortions(strengths.model_dump())
    shifts = [(drawn[axis] - CENTRE) / CENTRE for axis in "xy"]
    rows = [[drawn[f"{axis}x"], drawn[f"{axis}y"], shifts[n]] for n, axis in enumerate("xy")]
    matrices = torch.from_numpy(np.array(rows, np.float32).transpose(2, 0, 1).copy())
    arguments = [matrices]
    if elastic:
        fields = torch.from_numpy(own.fields.reshape(-1, 784)) * (elastic / CENTRE)
        theirs._fields = torch.cat([fields, -fields])
        chosen = [drawn[f"field_{axis}"] + 256 * (drawn[f"bend_{axis}"] < 0) for axis in "xy"]
        arguments.append(torch.from_numpy(np.array(chosen).T.copy()))
    inputs = torch.from_numpy(few_digits.images.reshape(-1, 784)).float()
    found = theirs.distort(inputs, *arguments).numpy().reshape(-1, 28, 28)
    assert np.abs(found - expected).max() < 0.6  # ours rounds to whole levels


def test_pytorch_draws_distortions_within_their_limits_and_fields_of_deviation_1():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks.contestants import whole_pytorch

    torch.manual_seed(0)
    none = dict.fromkeys(Augment.model_fields, 0.0)
    (still,) = whole_pytorch.Distortions(none).draw(5)
    assert (still == torch.tensor([[1.0, 0, 0], [0, 1, 0]])).all()
    (shifted,) = whole_pytorch.Distortions(none | {"shift": 1.5}).draw(1000)
    assert 1.4 < shifted[:, :, 2].abs().max() * CENTRE <= 1.5
    (turned,) = whole_pytorch.Distortions(none | {"rotate": 10.0}).draw(1000)
    assert torch.linalg.det(turned[:, :, :2]).numpy() == pytest.approx(1)
    assert 9 < np.degrees(float(turned[:, 1, 0].abs().max().asin())) <= 10.001
    fields = whole_pytorch.smooth_fields()
    assert fields.shape == (256, 784)
    assert float(fields.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("module", sorted({module for module, _ in CONTESTANTS.values()}))
def test_of_the_whole_processes_only_ours_imports_the_pipeline(module):
    loaded = packages(f"{module.replace('.', '/')}.py")
    assert ("pipeline" in loaded) == module.endswith("ours")
    assert ("torch" in loaded) == module.endswith("pytorch")


def test_the_interval_is_students_by_hand():
    half = 2.776445 * 0.01581139 / 5**0.5  # t for 4 degrees of freedom at 97.5 %, from a table
    found = interval([0.88, 0.89, 0.90, 0.91, 0.92])
    assert found == pytest.approx((0.90 - half, 0.90 + half), rel=1e-5)
    assert interval([0.9]) is None


@pytest.mark.parametrize(
    ("target", "accuracies", "expected"),
    [
        (98.5, [0.9860, 0.9861, 0.9862], "yes"),
        (98.5, [0.9840, 0.9860, 0.9880], "no"),  # the mean is above, the interval is not
        (98.5, [0.9850, 0.9850, 0.9850], "no"),
        (98.5, [0.9900], "-"),
        (None, [0.9860, 0.9861], "-"),
    ],
)
def test_a_target_is_reached_if_the_whole_interval_is_above_it(target, accuracies, expected):
    assert verdict(target, accuracies) == expected


def test_the_table_shows_every_contestant_and_the_conditions():
    ours, rival = entry(0.986, 0.9862, 0.9861), entry(0.985)
    lines = render({"machine": MACHINE, "races": {"mnist-98.5": race(ours=ours, rival=rival)}})
    assert "A processor, 2 cores, 8 GiB, Linux x86_64. MNIST: 55,000 training images, " in lines
    assert "Python 3.11.7, NumPy 2.4.6. Mean seconds" in lines
    assert (
        "| mnist-98.5 | 196-49 | 8 | ours | 3 | 5.0 (4.0-6.0) | 98.61 | 98.59-98.63 | yes |"
        in lines
    )
    assert "| mnist-98.5 | 196-49 | 8 | rival | 1 | 4.0 | 98.50 | - | - |" in lines
    assert "with an empty (cold) cache: ours 9.5, rival 9.5." in lines
    assert render({}) == "Not yet run."


def test_a_new_race_keeps_what_was_measured_under_the_same_conditions_only():
    both = merge({}, MACHINE, "a", race(**{"scikit-learn": entry(0.9), "ours": entry(0.8)}))
    assert list(both["races"]["a"]["contestants"]) == ["ours", "scikit-learn"]
    other = merge(both, MACHINE, "b", race(ours=entry(0.7)))
    assert list(other["races"]) == ["a", "b"]
    again = merge(other, MACHINE, "a", race(ours=entry(0.85)))
    assert again["races"]["a"]["contestants"]["ours"] == entry(0.85)
    assert again["races"]["a"]["contestants"]["scikit-learn"] == entry(0.9)
    changed = copy.deepcopy(race(ours=entry(0.85)))
    changed["settings"]["epochs"] = 9
    assert list(merge(other, MACHINE, "a", changed)["races"]["a"]["contestants"]) == ["ours"]
    moved = merge(other, MACHINE | {"cores": 4}, "a", race(ours=entry(0.85)))
    assert list(moved["races"]) == ["a"]


def test_earlier_results_that_are_not_json_are_an_error(tmp_path):
    assert read_results(tmp_path / "records.json") == {}
    (tmp_path / "records.json").write_text("{")
    with refused(match=r"records\.json cannot be read"):
        read_results(tmp_path / "records.json")


def test_the_page_shows_the_committed_results():
    shown = PAGE.read_text().split(BEGIN)[1].split(END)[0].strip()
    assert shown == render(read_results(HERE / "records.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--targets", "mnist-100"], "targets must be among mnist-98.5, "),
        (["--contestants", "jax"], "contestants must be among ours, pytorch-eager, "),
    ],
)
def test_a_mistake_in_an_option_is_an_error_of_one_line(arguments, message):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {message}")
    assert len(result.output.splitlines()) == 1


@pytest.mark.slow
def test_a_quick_run_writes_results_to_a_folder_and_leaves_the_page_alone(tmp_path):
    page = PAGE.read_bytes()
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.records", "--quick", "--seeds", "2", "--targets",
         "mnist-98.5,mnist-plain", "--contestants", "ours,scikit-learn", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    races = json.loads((tmp_path / "records.json").read_text())["races"]
    assert list(races) == ["mnist-98.5", "mnist-plain"]
    assert (races["mnist-98.5"]["images"], races["mnist-98.5"]["test_images"]) == (3500, 1000)
    assert len(races["mnist-98.5"]["contestants"]["ours"]["runs"]) == 2
    assert len(races["mnist-plain"]["contestants"]["scikit-learn"]["runs"]) == 1
    assert "| mnist-98.5 | 196-49 | 1 | ours | 2 |" in output
    assert PAGE.read_bytes() == page
    assert set(RECIPES["mnist-98.5"].contestants) == set(NETWORKS)

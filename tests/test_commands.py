"""`python -m pipeline ...`, run on real digits as a user would run it."""

import importlib
import os
import re
import subprocess
import sys
from dataclasses import replace

import click
import numpy as np
import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.base.command import Command
from pipeline.base.files import write_json
from pipeline.base.params import VariantSettings
from pipeline.nn.model_file import Model, load_model, save_model
from pipeline.nn.network import Network
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.reference import choose_reference
from pipeline.nn.training import make_network
from tests.command_line import run_in
from tests.conftest import ROOT
from tests.reviewed import check_message
from tests.splits import CLASSES, SCALE, write_splits
from tests.training import trained

STAGES = [f"stages.{path.stem}" for path in sorted((ROOT / "stages").glob("*.py"))]


def test_the_help_of_every_command_and_stage_is_as_reviewed(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    stages = [importlib.import_module(name).main for name in STAGES]
    for command in (main, *main.commands.values(), *stages):
        assert command is main or isinstance(command, Command)  # whose errors are one line
        check_message(run_in(tmp_path, command, "--help").output)
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or parameter.help


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """A folder with splits of real digits and a model trained on them."""
    folder = tmp_path_factory.mktemp("folder")
    rows = np.random.default_rng(0).permutation(5000)
    parts = {"train": rows[:3000], "validation": rows[3000:3500], "test": rows[3500:]}
    examples = write_splits(folder / "data/splits", digits, parts)["train"]
    training = examples.inputs, examples.labels
    settings = VariantSettings(hidden=[64], lr=0.1, momentum=0.9, batch_size=64, epochs=12)
    network, _ = trained(settings, training, training)
    trained_with = {"settings": settings.model_dump()}
    model = Model("good", network, SCALE, CLASSES, trained_with)
    predicted = predict_probabilities(model, examples.inputs).argmax(axis=1)
    model = replace(model, reference=choose_reference(examples, examples, predicted))
    save_model(folder / "model.npz", model)
    return folder


def command(folder, *arguments, given=""):
    return run_in(folder, main, *arguments, given=given)


def pictures_of(digits, folder):
    """Yield pictures of digits as users have them: large, off-centre, in several styles."""
    ways = {
        "dark_on_light.png": lambda image: 255 - image,
        "light_on_dark.jpg": lambda image: image,
        "colour.png": lambda image: np.stack([255 - image, 255 - image // 2, 255 - image], axis=-1),
    }
    for digit in range(10):
        for example in range(2):
            for way, draw in ways.items():
                image = digits.images[500 * digit + 20 + example]
                canvas = np.zeros((60, 80), np.uint8)
                canvas[20:48, 5:33] = image
                path = folder / f"{digit}_{example}_{way}"
                Image.fromarray(draw(canvas)).resize((480, 360), Image.Resampling.BICUBIC).save(
                    path
                )
                yield path, str(digit)


def test_predict_reads_digits_in_large_off_centre_pictures_of_any_colours(folder, digits, tmp_path):
    pictures = list(pictures_of(digits, tmp_path))
    result = command(folder, "predict", "model.npz", *(path for path, _ in pictures))
    assert result.exit_code == 0, result.stderr
    predicted = dict(line.split(": ") for line in result.stdout.splitlines() if line[0] != " ")
    right = [predicted[str(path)] == digit for path, digit in pictures]
    assert np.mean(right) > 0.9


def test_predict_reads_the_pictures_of_a_folder_by_name_and_counts_those_it_cannot_use(
    folder, digits, tmp_path
):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    alone = command(folder, "predict", "model.npz", pictures)
    assert alone.stderr.endswith("pictures is a folder without pictures\n")
    for name, row in (("b.png", 1020), ("a.png", 20), (".hidden.png", 30)):
        Image.fromarray(digits.images[row]).save(pictures / name)
    (pictures / "notes.txt").write_text("zero, then two")
    result = command(folder, "predict", "model.npz", pictures)
    titles = [line for line in result.stdout.splitlines() if line[0] != " "]
    assert titles == [f"{pictures / 'a.png'}: 0", f"{pictures / 'b.png'}: 2"]
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert "notes.txt is not a PNG, JPEG, BMP, GIF or WebP picture" in first
    assert "1 of 3 pictures could not be used" in second


def test_predict_says_that_the_outputs_of_sigmoids_are_divided_by_their_sum(folder):
    settings = VariantSettings(
        hidden=[4], lr=0.1, batch_size=8, epochs=1, output="sigmoid", loss="mean_squared_error"
    )
    network, _ = make_network(settings, 10, 0)
    model = Model("squares", network, SCALE, CLASSES, {"settings": settings.model_dump()})
    save_model(folder / "squares.npz", model)
    divided = "(sigmoid outputs divided by their sum)"
    first = command(folder, "predict", "squares.npz", "--index", 3).stdout.splitlines()[0]
    assert first.endswith(divided)
    assert divided not in command(folder, "predict", "model.npz", "--index", 3).stdout


def test_predict_says_that_a_picture_is_unlike_the_training_images(folder, tmp_path):
    grey = np.full((100, 100), 255, np.uint8)
    for at in range(20, 80):
        grey[at, at - 4 : at + 4] = grey[at, 95 - at : 103 - at] = 0
    Image.fromarray(grey).save(tmp_path / "cross.png")
    result = command(folder, "predict", "model.npz", tmp_path / "cross.png")
    assert result.exit_code == 0
    assert "cross.png is unlike the training images (similarity 0." in result.stderr
    assert result.stderr.count("\n") == 1


def test_predict_names_several_digits_in_a_line_or_reads_each_and_shows_how(
    folder, digits, tmp_path
):
    page = Image.new("L", (300, 150))
    for number, row in enumerate((20, 1020)):
        page.paste(Image.fromarray(digits.images[row]).resize((120, 120)), (10 + 150 * number, 10))
    page.save(tmp_path / "two.png")
    several = command(folder, "predict", "model.npz", tmp_path / "two.png")
    assert several.exit_code == 1
    assert several.stderr.endswith(
        "two.png shows 2 digits; to predict each of them, add --digits\n"
    )
    assert several.stdout == ""
    each = command(
        folder, "predict", "model.npz", tmp_path / "two.png", "--digits", "--show", tmp_path / "how"
    )
    assert each.exit_code == 0, each.stderr
    titles = [line.rpartition(", ")[2] for line in each.stdout.splitlines() if line[0] != " "]
    assert titles[1:] == ["digit 1 of 2: 0", "digit 2 of 2: 2"]
    with Image.open(tmp_path / "how/two.png.png") as shown:
        assert shown.width > 3 * shown.height


def test_predict_prints_a_probability_for_every_class_that_sum_to_one(folder):
    result = command(folder, "predict", "model.npz", "--index", 3)
    lines = result.stdout.splitlines()
    probabilities = [float(line.split()[1].rstrip("%")) for line in lines if line[0] == " "]
    assert len(probabilities) == 10
    assert sum(probabilities) == pytest.approx(100, abs=0.1)
    assert lines[0] == f"test image 3: {np.argmax(probabilities)}"


def test_predict_by_index_prints_the_true_label(folder, digits):
    rows = np.random.default_rng(0).permutation(5000)[3500:]
    for index in (0, 1499):
        result = command(folder, "predict", "model.npz", "--index", index)
        assert result.stdout.splitlines()[-1] == f"true label: {digits.labels[rows[index]]}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "model.npz"], "predict needs either IMAGES or --index"),
        (["predict", "model.npz", "a.png", "--index", 1], "needs either IMAGES or --index"),
        (["predict", "model.npz", "--index", 1, "--digits"], "--show go with IMAGES"),
        (["predict", "model.npz", "a.png", "--invert"], "pictures: as_is, got digit"),
        (["predict", "nothing.npz", "--index", 1], "nothing.npz does not exist"),
        (["predict", "model.npz", "--index", 1500], "--index must be from 0 to 1499, got 1500"),
        (["predict", "model.npz", "model.npz"], "model.npz is not a PNG, JPEG, BMP, GIF or WebP"),
        (["predict", "model.npz", "gone.png"], "gone.png does not exist"),
        (["explain", "model.npz"], "explain needs either IMAGE or --index"),
        (["explain", "model.npz", "--index", 1, "--label", "x"], "--label must be one of 0, 1,"),
        (["explain", "model.npz", "--index", 1, "--label", "3"], "--label goes with IMAGE"),
        (["results"], "metrics/summary.json does not exist; make it with: dvc repro"),
        (["try", "tiny", "--train-images", 5, "--test-images", 5], "params.yaml cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(folder, arguments, message):
    result = command(folder, *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


def test_explain_prints_every_layer_and_saves_the_figures(folder, digits, tmp_path):
    rows = np.random.default_rng(0).permutation(5000)[3500:]
    result = command(folder, "explain", "model.npz", "--index", 5, "--images", tmp_path / "shown")
    assert result.exit_code == 0, result.stderr
    for heading in (
        "layer 1, relu",
        "layer 2, softmax",
        "delta (64, norm ",
        "dJ/dW (784x64, norm ",
    ):
        assert heading in result.stdout
    said = command(folder, "predict", "model.npz", "--index", 5).stdout.split()[-1]
    assert f"\npredicted: {said}\ntrue label: {digits.labels[rows[5]]}" in result.stdout
    saved = sorted(path.name for path in (tmp_path / "shown").iterdir())
    assert saved == ["backward.png", "forward.png", "update.png"]


def test_explain_takes_a_picture_with_or_without_its_label(folder, digits, tmp_path):
    path, digit = next(pictures_of(digits, tmp_path))
    labelled = command(folder, "explain", "model.npz", path, "--label", digit).stdout
    assert labelled.endswith(f"true label: {digit}\n")
    alone = command(folder, "explain", "model.npz", path).stdout
    assert alone.endswith("true label: not given; the prediction is used\n")


def test_try_prompts_for_the_numbers_and_prints_the_cost_of_every_epoch(project, folder):
    (project / "data/splits").symlink_to(folder / "data/splits")
    result = command(project, "try", "small_batch", given="400\n50\n")
    assert result.exit_code == 0, result.stderr
    assert "Number of training images: 400\nNumber of testing images: 50\n" in result.stdout
    lines = result.stdout.splitlines()
    costs = [float(line.split()[-1]) for line in lines if ": cost " in line]
    assert len(costs) == 400
    assert costs[-1] < 0.2 * costs[0]
    assert lines[-2].startswith("accuracy on 400 training images: ")
    assert lines[-1].startswith("accuracy on 50 testing images: ")
    assert float(lines[-1].split()[-1].rstrip("%")) >= 70


def test_try_takes_the_numbers_as_options_and_refuses_too_many_images(project, folder):
    (project / "data/splits").symlink_to(folder / "data/splits")
    result = command(project, "try", "tiny", "--train-images", 9999, "--test-images", 5)
    assert result.exit_code == 1
    assert result.stderr == "Error: --train-images must be at most 3000, got 9999\n"
    result = command(project, "try", "tiny", "--train-images", 3000, "--test-images", 9999)
    assert result.stderr == "Error: --test-images must be at most 500, got 9999\n"


def test_try_refuses_an_unknown_variant_before_it_prompts(project):
    result = command(project, "try", "nonsense")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "got nonsense" in result.stderr


def test_try_without_data_says_how_to_make_it(project):
    result = command(project, "try", "tiny", "--train-images", 9, "--test-images", 5)
    assert result.exit_code == 1
    assert "make it with: dvc repro split" in result.stderr


METRICS = {
    "parameters": 7960, "train_images": 3500, "train_accuracy": 0.99, "validation_accuracy": 0.98,
    "test_accuracy": 0.97, "test_accuracy_low": 0.96, "test_accuracy_high": 0.975,
}  # fmt: skip


def write_summary(folder, *variants):
    write_json(folder / "metrics/summary.json", dict.fromkeys(variants, METRICS))


def test_results_are_a_table_with_one_line_per_variant(tmp_path):
    write_summary(tmp_path, "a", "bb")
    lines = command(tmp_path, "results").stdout.splitlines()
    assert lines[0].split() == [
        "variant", "parameters", "images", "train", "validation", "test", "95", "%", "interval",
    ]  # fmt: skip
    assert lines[2].split() == [
        "bb", "7,960", "3,500", "99.00%", "98.00%", "97.00%", "96.00%", "to", "97.50%",
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1


@pytest.fixture(name="together")
def _together(folder, tmp_path):
    """A folder with the splits, a summary, and a model that it names, made of the same splits."""
    write_summary(tmp_path, "bad", "good")
    (tmp_path / "data").symlink_to(folder / "data")
    model = load_model(folder / "model.npz")
    known = {"dataset": "mnist-5k", "source": "a test"}
    save_model(tmp_path / "models/good.npz", replace(model, training=known))
    return tmp_path


def untrained(folder, training):
    """Add a model whose outputs are all the same."""
    good = load_model(folder / "models/good.npz")
    zeros = {name: np.zeros_like(each) for name, each in good.network.parameters.items()}
    network = Network(good.network.architecture, zeros)
    model = replace(good, variant="bad", network=network, training=training)
    save_model(folder / "models/bad.npz", model)


def test_results_together_are_those_of_all_variants_and_of_the_best(together):
    untrained(together, {"dataset": "mnist-5k", "source": "a test"})
    result = command(together, "results", "--together")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:4] == [*command(together, "results").stdout.splitlines(), ""]
    assert lines[4].split()[:4] == ["probabilities", "averaged", "validation", "test"]
    everything, best = (line.split() for line in lines[5:])
    assert everything[:2] == ["all", "2"]
    assert best[:3] == ["best", "1:", "good"]  # with bad it reaches the same
    assert everything[2:] == best[3:]
    assert float(best[4].rstrip("%")) > 80


def test_results_together_need_the_models_and_the_images_that_they_were_trained_on(together):
    def refusal():
        result = command(together, "results", "--together")
        assert (result.exit_code, result.stdout) == (1, "")
        return result.stderr

    assert refusal() == (
        "Error: models/bad.npz does not exist; train it with `dvc repro` or fetch it with "
        "`dvc pull`\n"
    )
    untrained(together, {"dataset": "mnist", "source": "a test"})
    assert refusal() == (
        "Error: model bad was trained on other images than those of mnist-5k in data/splits; "
        "bring both up to date with: dvc repro\n"
    )
    (together / "data").unlink()
    assert refusal() == (
        "Error: data/splits/validation.parquet does not exist; make it with: dvc repro split\n"
    )
    write_summary(together, "good")
    assert refusal() == "Error: --together needs 2 or more variants, got 1\n"


def test_results_of_two_variants_are_compared_on_the_same_images(together):
    untrained(together, {"dataset": "mnist-5k", "source": "a test"})
    result = command(together, "results", "--compare", "good", "bad", "--images", "compared")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    counts = [int(line.split()[0].replace(",", "")) for line in lines[:4]]
    assert sum(counts) == 1500
    assert counts[1] > 1000  # bad knows one digit
    assert lines[1].endswith("only good right")
    assert lines[4].startswith("McNemar's exact test on 1,500 test images: p = ")
    assert lines[4].endswith("is hardly chance")
    shown = lines[5].removeprefix("test images that only good gets right: ").split(", ")
    assert len(shown) == 21
    assert shown[-1] == "..."
    assert {path.name for path in (together / "compared").iterdir()} == {
        "only_good.png", "only_bad.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "good", "good"], "--compare needs two different variants, got good twice"),
        (["--compare", "good", "gone"], "models/gone.npz does not exist"),
        (["--compare", "good", "bad", "--together"], "--compare and --together exclude each other"),
        (["--images", "x"], "--images goes with --compare"),
    ],
)
def test_a_comparison_that_cannot_be_is_a_one_line_error(together, arguments, message):
    result = command(together, "results", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr)
    assert message in result.stderr


@pytest.mark.parametrize("module", [*STAGES, "pipeline"])
def test_features_that_numpy_refuses_are_a_one_line_error_of_every_command(module):
    features = {"NPY_ENABLE_CPU_FEATURES": "AVX2", "NPY_DISABLE_CPU_FEATURES": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-m", module], env=os.environ | features,
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        "Error: NumPy cannot be used with NPY_ENABLE_CPU_FEATURES=AVX2 and "
        r"NPY_DISABLE_CPU_FEATURES=AVX2: [^\n]+\n",
        done.stderr,
    )


def test_a_numpy_that_cannot_be_imported_for_another_reason_says_its_own(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('of its own')")
    chosen = ("NPY_ENABLE_CPU_FEATURES", "NPY_DISABLE_CPU_FEATURES")
    environment = {name: value for name, value in os.environ.items() if name not in chosen}
    done = subprocess.run(
        [sys.executable, "-c", "import pipeline"], cwd=ROOT, capture_output=True, text=True,
        env=environment | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}, check=False,
    )  # fmt: skip
    assert done.stderr.endswith("ImportError: of its own\n")

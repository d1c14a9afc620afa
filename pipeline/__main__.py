"""The command `digits`, or `python -m pipeline`, for trained models, sweeps and repeats."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np

from pipeline.base.command import Command, warn
from pipeline.base.errors import DataError, SettingsError, listed, printable
from pipeline.base.files import read_json, whole_file
from pipeline.base.local import HOST
from pipeline.base.params_file import read_params
from pipeline.comparison import compare_models
from pipeline.datasets.examples import Examples
from pipeline.datasets.parquet import StoredExamples, open_examples, read_examples
from pipeline.ensemble import measure_together
from pipeline.nn.devices import CPU, Engine, find_device
from pipeline.nn.inspection import Inspection, inspect
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model, load_model
from pipeline.nn.network import DIVIDED
from pipeline.nn.prediction import check_fits, predict_probabilities
from pipeline.nn.reference import UNLIKE
from pipeline.nn.streaming import hold, training_set
from pipeline.nn.training import Training, make_network

SPLITS = Path("data/splits")
MODELS = Path("models")
SUMMARY = Path("metrics/summary.json")
EXPERIMENTS = Path("experiments.html")
CHANCE = 0.05
"""The p-value from which a difference may well be chance."""
LISTED = 20
"""Test images that --compare lists at most."""
NAMED = 10
"""Members of the best that --together names at most."""


class _Commands(click.Group):
    """The commands in this file, and those in stages/ that can also run without DVC."""

    _stages = ("repeat", "sweep")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self._stages])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._stages:
            command: click.Command = import_module(f"stages.{cmd_name}").main
            return command
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Commands)
def main() -> None:
    """Use trained models, run sweeps, and repeat training with several seeds or folds."""


def _port(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option for the port of a page on this machine."""
    return click.option(
        "--port", type=click.IntRange(0, 65535), default=default, show_default=True,
        help="Port of the page; 0: a free one.",
    )  # fmt: skip


@main.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1)
@click.option("--index", type=click.IntRange(min=0), help="Use this test image, counted from 0.")
@click.option("--digits", is_flag=True, help="Predict each digit of a picture, left to right.")
@click.option(
    "--invert", is_flag=True, help="Exchange light and dark in pictures taken as they are."
)
@click.option(
    "--show",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Save in this folder how each picture was prepared, step by step.",
)
def predict(
    model: Path,
    images: tuple[Path, ...],
    index: int | None,
    *,
    digits: bool,
    invert: bool,
    folder: Path | None,
) -> None:
    """Predict the class of each of IMAGES, with the probability of every class.

    IMAGES are PNG or JPEG pictures, grey or colour, of any size, or folders of them. Digits may be
    photographed, dark on light or light on dark; they are found, centred and scaled as MNIST's
    were. For a dataset with pictures: as_is, such as fashion-mnist, pictures are only reduced to
    28x28 pixels.
    """
    if bool(images) == (index is not None):
        raise SettingsError("predict needs either IMAGES or --index")
    loaded = load_model(model)
    if index is not None:
        if digits or invert or folder:
            raise SettingsError("--digits, --invert and --show go with IMAGES")
        test = _example(loaded, index)
        _show(loaded, f"test image {index}", test.inputs)
        click.echo(f"true label: {printable(loaded.class_names[test.labels[0]])}")
    for option, given, needed in (("--digits", digits, "digit"), ("--invert", invert, "as_is")):
        if given and loaded.pictures != needed:
            raise SettingsError(
                f"{option} needs a model whose dataset has pictures: {needed}, "
                f"got {loaded.pictures}"
            )
    engine = CPU.engine(loaded.network)
    pictures = [picture for path in images for picture in _pictures_in(path)]
    refused = 0
    for path in pictures:
        try:
            _predict_picture(loaded, engine, path, digits=digits, invert=invert, folder=folder)
        except DataError as error:
            if len(pictures) == 1:
                raise
            click.echo(f"Error: {error}", err=True)
            refused += 1
    if refused:
        raise DataError(f"{refused} of {len(pictures)} pictures could not be used")


def _pictures_in(path: Path) -> list[Path]:
    """Return the files of a folder but hidden ones, sorted by name, or the path of a file."""
    if not path.is_dir():
        return [path]
    found = sorted(
        each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")
    )
    if not found:
        raise DataError(f"{path} is a folder without pictures")
    return found


def _predict_picture(
    model: Model, engine: Engine, path: Path, *, digits: bool, invert: bool, folder: Path | None
) -> None:
    from pipeline.datasets.picture import prepare_picture

    prepared = prepare_picture(path, model.pictures, invert=invert)
    if folder is not None:
        from pipeline.figures.preparation import preparation_figure
        from pipeline.figures.style import save_png

        target = folder / f"{path.name}.png"
        save_png(preparation_figure(prepared.steps(), printable(path.name)), target)
        click.echo(printable(f"saved {target}"))
    count = len(prepared.images)
    if count > 1 and not digits:
        raise DataError(f"{path} shows {count} digits; to predict each of them, add --digits")
    if prepared.doubt:
        remedy = "" if invert else "; to exchange light and dark, add --invert"
        warn(f"{path} {prepared.doubt}{remedy}")
    for number, image in enumerate(prepared.images, start=1):
        title = f"{path}, digit {number} of {count}" if digits else str(path)
        predicted = _show(model, title, model.normalization.apply(image[np.newaxis]), engine)
        if model.reference is not None:
            (similarity,) = model.reference.similarity(image[np.newaxis], np.array([predicted]))
            if similarity < model.reference.least:
                warn(
                    f"{title} is unlike the training images (similarity {similarity:.2f}; "
                    f"{1 - UNLIKE:.0%} of validation images have {model.reference.least:.2f} or "
                    "more), so the probabilities mean little"
                )


@main.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path), required=False)
@click.option("--index", type=click.IntRange(min=0), help="Use this test image, counted from 0.")
@click.option("--label", help="The true class of IMAGE; by default the predicted one.")
@click.option(
    "--images",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Save figures of both passes and the update in this folder.",
)
def explain(
    model: Path, image: Path | None, index: int | None, label: str | None, folder: Path | None
) -> None:
    """Show what a network computes for one image, layer by layer.

    Prints delta (the gradient of the cost in each pre-activation), dJ/dW and dJ/dB.
    """
    loaded = load_model(model)
    title, inputs, true = _chosen(loaded, image, index, label)
    inspection = inspect(loaded, inputs, true)
    _print_inspection(loaded, inspection, title, labelled=image is None or label is not None)
    if folder is not None:
        from pipeline.figures.passes import passes_figures
        from pipeline.figures.style import save_png

        heading = printable(f"{loaded.variant}, {Path(title).name}")
        figures = passes_figures(inspection, loaded, heading)
        for name, figure in figures.items():
            save_png(figure, folder / f"{name}.png")
            click.echo(printable(f"saved {folder / name}.png"))


@main.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--onnx", type=click.Path(path_type=Path), help="Write this ONNX file.")
@click.option("--safetensors", type=click.Path(path_type=Path), help="Write this safetensors file.")
def export(model: Path, onnx: Path | None, safetensors: Path | None) -> None:
    """Write a trained network for other programs, with its model card beside it.

    The card is a Markdown file of the same name. It has an accuracy if data/splits holds the
    dataset of the model.
    """
    from pipeline.export.card import card_text, fitting
    from pipeline.export.onnx import onnx_bytes
    from pipeline.export.safetensors import safetensors_bytes

    files = [path for path in (onnx, safetensors) if path is not None]
    if not files:
        raise SettingsError("export needs --onnx FILE, --safetensors FILE or both")
    if onnx == safetensors:
        raise SettingsError(f"--onnx and --safetensors must name two files, got {onnx} for both")
    for path in files:
        if path.suffix == ".md":
            raise SettingsError(f"{path} must not end in .md, as its model card does")
    loaded = load_model(model)
    written: dict[Path, bytes] = {}
    if onnx is not None:
        written[onnx] = onnx_bytes(loaded)
    if safetensors is not None:
        written[safetensors] = safetensors_bytes(loaded)
    stored = SPLITS / "test.parquet"
    test = fitting(loaded, read_examples(stored)) if stored.exists() else None
    if test is None:
        warn(f"the model card has no accuracy: {stored} does not hold the dataset of {model}")
    for path in files:
        card = path.with_suffix(".md")
        described = [file.name for file in files if file.with_suffix(".md") == card]
        written[card] = card_text(loaded, described, test).encode()
    for path, content in written.items():
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
        click.echo(printable(f"saved {path}"))


@main.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@_port(8000)
def serve(model: Path, port: int) -> None:
    """Classify pictures over HTTP on this machine, until Ctrl-C.

    The front page is the page to draw on. POST a PNG or JPEG to /predict, for an answer in JSON.
    """
    from pipeline.serving import make_server

    server = make_server(load_model(model), port)
    address = f"http://{HOST}:{server.effective_port}"
    click.echo(f"{printable(str(model))} answers at {address}; Ctrl-C ends it")
    click.echo(f"a picture: curl --data-binary @PICTURE {address}/predict")
    server.run()


@main.command("try", cls=Command)
@click.argument("variant")
@click.option(
    "--train-images",
    type=click.IntRange(min=1),
    help="Number of training images; prompted for if omitted.",
)
@click.option(
    "--test-images",
    type=click.IntRange(min=1),
    help="Number of testing images; prompted for if omitted.",
)
def try_variant(variant: str, train_images: int | None, test_images: int | None) -> None:
    """Train VARIANT on a few images and show the cost of every epoch. Nothing is saved.

    The testing images come from the validation part, so that the test set stays unseen.
    """
    settings = read_params()
    chosen = settings.variant(variant)
    device = find_device(settings.device)
    train_images = train_images or _ask("Number of training images")
    test_images = test_images or _ask("Number of testing images")
    training = _part("train", train_images, "--train-images")
    testing = _part("validation", test_images, "--test-images")
    chosen = chosen.on(len(training))
    network, rng = make_network(chosen, len(training.description.class_names), settings.seed)
    engine = device.engine(network, chosen)
    run = Training(engine, chosen, training_set(engine, training), hold(engine, testing), rng)
    for report in run.epochs():
        click.echo(f"epoch {report.epoch}: cost {report.train.cost:.4f}")
    _, right = engine.measure(hold(engine, training))
    click.echo(f"accuracy on {len(training)} training images: {right / len(training):.2%}")
    click.echo(f"accuracy on {len(testing)} testing images: {report.validation.accuracy:.2%}")


def _ask(question: str) -> int:
    number: int = click.prompt(question, type=click.IntRange(min=1))
    return number


@main.command(cls=Command)
@_port(8737)
def watch(port: int) -> None:
    """Show live curves of all variants in a browser, while something trains elsewhere.

    The page is for this machine only. Running trainings save their state every five seconds. End
    it with Ctrl-C.
    """
    from pipeline.watch.curves import read_curves
    from pipeline.watch.server import make_server

    def curves() -> list[dict[str, Any]]:
        settings = read_params()
        return read_curves(Path(), {name: settings.variant(name) for name in settings.variants})

    with make_server(port, curves) as server:
        click.echo(f"Open http://{HOST}:{server.server_port}/")
        server.serve_forever()


@main.command(cls=Command)
@click.option("--commits", type=click.IntRange(min=1), default=1, help="Latest commits to include.")
@click.option("--all-branches", is_flag=True, help="Include the commits of all branches.")
@click.option("--all-tags", is_flag=True, help="Include all tags.")
def experiments(*, commits: int, all_branches: bool, all_tags: bool) -> None:
    """Compare the experiments that DVC recorded, on one page: experiments.html.

    It has the workspace, the latest commit and the experiments based on it. Differences are to that
    commit.
    """
    from pipeline.experiments.page import experiments_page
    from pipeline.experiments.records import read_experiments

    options = ["--all-branches"] * all_branches + ["--all-tags"] * all_tags
    found, left_out = read_experiments(Path(), f"--num={commits}", *options)
    if not found:
        raise DataError("DVC recorded no results yet; make them with: dvc repro")
    with whole_file(EXPERIMENTS) as temporary:
        temporary.write_text(experiments_page(found, left_out), encoding="utf-8")
    click.echo(f"{len(found)} experiments compared in {EXPERIMENTS}")


@main.command(cls=Command)
@click.option(
    "--together",
    is_flag=True,
    help="Also show what the variants reach when their probabilities are averaged.",
)
@click.option(
    "--compare",
    nargs=2,
    metavar="A B",
    help="Show instead which test images each of two variants alone gets right.",
)
@click.option(
    "--images",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --compare: save figures of those images in this folder.",
)
def results(*, together: bool, compare: tuple[str, str] | None, folder: Path | None) -> None:
    """Show metrics/summary.json as a table.

    With --together, it ends with the averages of all variants and of the best. Only validation
    images decide which are the best, and how many. With --compare, McNemar's exact test says
    whether the difference of two variants on the test images may be chance.
    """
    if compare is not None:
        if together:
            raise SettingsError("--compare and --together exclude each other; results takes one")
        _compare(*compare, folder)
        return
    if folder is not None:
        raise SettingsError("--images goes with --compare")
    if not SUMMARY.exists():
        raise DataError(f"{SUMMARY} does not exist; make it with: dvc repro")
    try:
        rows = [_result(variant, metrics) for variant, metrics in read_json(SUMMARY).items()]
    except (KeyError, TypeError) as error:
        raise DataError(f"{SUMMARY} is not a summary; make it with: dvc repro") from error
    groups = _together([row[0] for row in rows]) if together else []
    _print_table(
        ("variant", "parameters", "images", "train", "validation", "test", "95 % interval"), rows
    )
    if together:
        click.echo()
        _print_table(("probabilities averaged", "validation", "test", "95 % interval"), groups)


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    for row in [columns, *rows]:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo("  ".join([first, *others]))


def _compare(one: str, other: str, folder: Path | None) -> None:
    if one == other:
        raise SettingsError(f"--compare needs two different variants, got {one} twice")
    first, second = (load_model(MODELS / f"{name}.npz") for name in (one, other))
    test = _stored("test").read()
    found, *probabilities = compare_models(first, second, test)
    for name, count in (
        (f"{one} and {other} right", found.both),
        (f"only {one} right", len(found.only_one)),
        (f"only {other} right", len(found.only_other)),
        ("both wrong", found.neither),
    ):
        click.echo(f"{count:>7,}  {printable(name)}")
    verdict = "may be chance" if found.p >= CHANCE else "is hardly chance"
    click.echo(
        f"McNemar's exact test on {found.images:,} test images: p = {found.p:.2g}, "
        f"the difference {verdict}"
    )
    for name, rows in ((one, found.only_one), (other, found.only_other)):
        if len(rows):
            shown = listed(rows, LISTED)
            click.echo(f"test images that only {printable(name)} gets right: {shown}")
    if folder is not None:
        from pipeline.figures.compared import compared_figures
        from pipeline.figures.style import save_png

        for file, figure in compared_figures((first, second), test, probabilities, found).items():
            save_png(figure, folder / f"{file}.png")
            click.echo(printable(f"saved {folder / file}.png"))


def _together(variants: list[str]) -> list[tuple[str, ...]]:
    if len(variants) < 2:
        raise SettingsError(f"--together needs 2 or more variants, got {len(variants)}")
    models = [load_model(MODELS / f"{variant}.npz") for variant in variants]
    every, best = measure_together(models, _stored("validation").read(), _stored("test").read())
    names = (
        f"all {len(variants)}",
        f"best {len(best.members)}: {listed(best.members, NAMED)}",
    )
    return [
        (
            printable(name),
            f"{found.validation_accuracy:.2%}",
            f"{found.test_accuracy:.2%}",
            f"{found.test_low:.2%} to {found.test_high:.2%}",
        )
        for name, found in zip(names, (every, best), strict=True)
    ]


def _result(variant: str, metrics: dict[str, Any]) -> tuple[str, ...]:
    return (
        variant,
        f"{metrics['parameters']:,}",
        f"{metrics['train_images']:,}",
        *(f"{metrics[f'{part}_accuracy']:.2%}" for part in ("train", "validation", "test")),
        f"{metrics['test_accuracy_low']:.2%} to {metrics['test_accuracy_high']:.2%}",
    )


def _chosen(
    model: Model, image: Path | None, index: int | None, label: str | None
) -> tuple[str, Array, int]:
    """Return a title, the inputs `(784,)` and the true class of the image to explain."""
    if label is not None and label not in model.class_names:
        raise SettingsError(f"--label must be one of {', '.join(model.class_names)}, got {label}")
    if index is not None and image is None:
        if label is not None:
            raise SettingsError("--label goes with IMAGE; a test image has its own")
        example = _example(model, index)
        return f"test image {index}", example.inputs[0], int(example.labels[0])
    if image is not None and index is None:
        from pipeline.datasets.picture import read_picture

        inputs = model.normalization.apply(read_picture(image, model.pictures)[np.newaxis])[0]
        true = model.class_names.index(label) if label else _predicted(model, inputs)
        return str(image), inputs, true
    raise SettingsError("explain needs either IMAGE or --index")


def _predicted(model: Model, inputs: Array) -> int:
    return int(predict_probabilities(model, inputs[np.newaxis])[0].argmax())


def _print_inspection(model: Model, inspection: Inspection, title: str, *, labelled: bool) -> None:
    click.echo(f"{printable(title)}: cost {inspection.cost:.6g}")
    for number, layer in enumerate(inspection.layers, start=1):
        click.echo(f"\nlayer {number}, {layer.activation_name}")
        for name, values in (
            ("pre-activation", layer.pre_activation),
            ("activation", layer.activation),
            ("delta", layer.delta),
            ("dJ/dW", layer.weight_gradient),
            ("dJ/dB", layer.bias_gradient),
        ):
            shape = "x".join(map(str, values.shape))
            norm = float((values**2).sum() ** 0.5)
            click.echo(f"{name} ({shape}, norm {norm:.4g})")
            click.echo(np.array2string(values, precision=4, threshold=40, max_line_width=96))
    click.echo(f"\npredicted: {printable(model.class_names[inspection.predicted])}")
    true = model.class_names[inspection.label] if labelled else "not given; the prediction is used"
    click.echo(f"true label: {printable(true)}")


def _show(model: Model, title: str, inputs: np.ndarray, engine: Engine | None = None) -> int:
    """Print the probabilities of one image, and return the predicted class."""
    (probabilities,) = predict_probabilities(model, inputs, engine)
    names = [printable(name) for name in model.class_names]
    divided = f" ({DIVIDED})" if model.network.architecture.divides_outputs else ""
    click.echo(f"{printable(title)}: {names[probabilities.argmax()]}{divided}")
    width = max(map(len, names))
    for name, probability in zip(names, probabilities, strict=True):
        bar = "#" * round(40 * float(probability))
        click.echo(f"  {name:{width}} {probability:7.2%} {bar}".rstrip())
    return int(probabilities.argmax())


def _example(model: Model, index: int) -> Examples:
    test = read_examples(SPLITS / "test.parquet")
    check_fits(model, test)
    if index >= len(test):
        raise DataError(f"--index must be from 0 to {len(test) - 1}, got {index}")
    return Examples(
        test.inputs[index : index + 1],
        test.labels[index : index + 1],
        test.description,
        test.normalization,
    )


def _stored(name: str) -> StoredExamples:
    path = SPLITS / f"{name}.parquet"
    if not path.exists():
        raise DataError(f"{path} does not exist; make it with: dvc repro split")
    return open_examples(path)


def _part(name: str, count: int, option: str) -> Examples:
    stored = _stored(name)
    if count > len(stored):
        raise SettingsError(f"{option} must be at most {len(stored)}, got {count}")
    return stored.first(count).read()


if __name__ == "__main__":
    main(prog_name="digits")

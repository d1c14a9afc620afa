"""What the figures show, for networks of one and four layers and for Fashion-MNIST's names."""

import os
import subprocess
import sys
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text
from sklearn.metrics import confusion_matrix

from pipeline.base.params import Augment, VariantSettings
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.normalization import Normalization
from pipeline.figures.architecture import SHOWN, THICKEST, architecture_figure
from pipeline.figures.curves import (
    curve_figure,
    curves_figure,
    norms_figure,
    running_median,
    together_figure,
)
from pipeline.figures.distortions import distortions_figure
from pipeline.figures.gallery import variant_figures
from pipeline.figures.passes import BARS, draw_probabilities, passes_figures, smoothed_picture
from pipeline.figures.predictions import most_confident_mistakes, predictions_figure
from pipeline.figures.quality import calibration, calibration_figure, quality_figure
from pipeline.figures.style import BLUE, LONGEST, RED, class_labels, save_png
from pipeline.metrics import wilson_interval
from pipeline.nn.inspection import input_gradients, inspect
from pipeline.nn.model_file import Model
from pipeline.nn.network import DIVIDED, Architecture, initialize_network
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.training import make_network
from tests.conftest import ROOT, shipped_settings
from tests.figures.rendered import check_rendered, render

DIGITS = tuple("0123456789")
FASHION = tuple(shipped_settings().datasets["fashion-mnist"].class_names)
SCALE = Normalization("scale", 0.0, 1.0)
NAMES = {
    "architecture", "forward", "backward", "update", "predictions", "mistakes",
    "confusion", "quality", "calibration", "curves", "norms",
}  # fmt: skip
NETWORKS = {
    "one layer": ([], DIGITS, "cross_entropy"),
    "four layers": ([30, 20, 12], DIGITS, "cross_entropy", Augment(shift=2.0)),
    "fashion": ([16], FASHION, "mean_squared_error"),
}


def model_of(hidden, class_names, loss, augment=None):
    settings = VariantSettings(
        hidden=hidden, lr=0.1, batch_size=8, epochs=3, loss=loss,
        output="softmax" if loss == "cross_entropy" else "sigmoid", augment=augment,
    )  # fmt: skip
    network, _ = make_network(settings, len(class_names), 0)
    return Model("net", network, SCALE, class_names, {"settings": settings.model_dump()})


def history_of(epochs=5):
    epoch = np.tile(np.arange(1, epochs + 1), 2)
    cost = np.repeat([2.0, 2.4], epochs)
    return {
        "split": np.repeat(["train", "validation"], epochs),
        "epoch": epoch,
        "cost": cost / epoch,
        "accuracy": 1 - cost / (epoch + 3),
    }


def norms_of(layers, epochs=5):
    layer = np.repeat(np.arange(1, layers + 1), epochs)
    epoch = np.tile(np.arange(1, epochs + 1), layers)
    return {
        "layer": layer,
        "epoch": epoch,
        "weight_norm": layer + epoch,
        "gradient_norm": layer / epoch,
    }


@pytest.fixture(scope="module")
def test_set(few_digits):
    def make(class_names):
        inputs = SCALE.apply(few_digits.images)
        return Examples(inputs, few_digits.labels, Description("x", class_names, "x"), SCALE)

    return make


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS)
def drawn(request, test_set):
    """A model, its test set, its probabilities and all its figures."""
    model = model_of(*request.param)
    test = test_set(model.class_names)
    probabilities = predict_probabilities(model, test.inputs)
    figures = variant_figures(
        model, test, probabilities, history_of(), norms_of(len(model.network.layers)),
        np.random.default_rng(0),
    )  # fmt: skip
    return model, test, probabilities, figures


@pytest.fixture(scope="module")
def rendered(drawn):
    """All figures of a model, drawn once."""
    return {name: render(figure) for name, figure in drawn[3].items()}


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def images(ax):
    return [image.get_array() for image in ax.get_images()]


def test_every_figure_is_there_for_every_network(drawn):
    distorts = bool(drawn[0].training["settings"]["augment"])
    assert set(drawn[3]) == (NAMES | {"distortions"} if distorts else NAMES)


def test_pictures_of_images_are_white_where_images_are_dark_and_black_where_they_are_bright(drawn):
    for name, figure in drawn[3].items():
        for ax in figure.axes:
            for image in ax.get_images():
                if image.get_cmap().name == "gray_r":
                    assert image.get_clim() == (0, 255 if name == "distortions" else 1), name


def test_the_figure_of_distortions_shows_an_image_and_sixteen_shifted_versions_of_it(few_digits):
    original = few_digits.images[3]
    figure = distortions_figure(
        original / 255, Augment(shift=2.0), np.random.default_rng(0), "a digit"
    )
    (ax,) = figure.axes
    (mosaic,) = images(ax)
    np.testing.assert_array_equal(mosaic[18:46, :28], original)
    versions = mosaic.reshape(2, 32, 10, 32).swapaxes(1, 2)[:, 2:].reshape(16, 32, 32)
    assert not versions[:, 28:].any()  # the gaps
    assert not versions[:, :, 28:].any()
    np.testing.assert_allclose(versions.sum(axis=(1, 2)), original.sum(), rtol=0.05)
    assert len({version.tobytes() for version in versions}) == 16
    (arrow,) = ax.texts
    assert 28 <= arrow.xyann[0] < arrow.xy[0] < 64
    assert arrow.xy[1] == arrow.xyann[1] == 32


def test_no_text_leaves_its_figure_and_nothing_overlaps(drawn, rendered):
    for name, figure in drawn[3].items():
        check_texts(name, rendered[name])
        for one, other in combinations(figure.axes, 2):
            assert not one.bbox.shrunk(0.98, 0.98).overlaps(other.bbox), (name, one, other)


def test_figures_are_those_that_were_reviewed(request, rendered):
    network = request.node.callspec.id.replace(" ", "-")
    check_rendered(f"figures-{network}", rendered)


def check_texts(name, canvas):
    """Check that texts stay inside their figure, and that titles cover no title and no number."""
    figure, renderer = canvas.figure, canvas.get_renderer()
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and not text.get_clip_on():
            box = text.get_window_extent(renderer)
            inside = box.x0 >= -2 and box.y0 >= -2
            inside &= box.x1 <= figure.bbox.width + 2 and box.y1 <= figure.bbox.height + 2
            assert inside or not box.width, (name, text.get_text(), box)
    titles = [
        title for ax in figure.axes for title in (ax.title, ax._left_title) if title.get_text()
    ]
    boxes = [(title.get_text(), title.get_window_extent(renderer)) for title in titles]
    for (first, box), (second, other) in combinations(boxes, 2):
        assert not box.overlaps(other), (name, first, second)
    shown = [ax for ax in figure.axes if ax.axison]
    numbers = [number for ax in shown for number in ax.get_xticklabels() if number.get_text()]
    for number in numbers:
        other = number.get_window_extent(renderer)
        for title, box in boxes:
            assert not box.overlaps(other), (name, title, number.get_text())


def test_long_names_of_classes_are_shortened_and_stay_distinct():
    just_short_enough = "letter a, sloped"
    assert len(just_short_enough) == LONGEST
    assert class_labels(["a き", "零", "é"]) == ("a ki", "U+96F6", "é")
    names = ["7", "US$", just_short_enough, "the capital letter a", "letter number 1 of them"]
    assert class_labels([*names, "letter number 2 of them"]) == (
        "7", r"US\$", just_short_enough, "the capi…etter a", "4: letter n…of them",
        "5: letter n…of them",
    )  # fmt: skip


@pytest.mark.parametrize(("classes", "said"), [(BARS, ""), (BARS + 1, "10 of 13 classes")])
def test_more_classes_than_there_is_room_for_are_counted(classes, said):
    ax = Figure().subplots()
    names = tuple(f"class {number}" for number in range(classes))
    draw_probabilities(ax, np.linspace(0, 0.1, classes), classes - 1, names)
    assert ax.get_xlabel() == said
    assert [text.get_text() for text in ax.get_yticklabels()] == list(names[-len(ax.patches) :])


def test_figures_of_many_classes_with_long_names_are_those_that_were_reviewed(test_set):
    names = tuple(f"class number {number} of many" for number in range(24))
    model, test = model_of([16], names, "cross_entropy"), test_set(names)
    probabilities = predict_probabilities(model, test.inputs)
    figures = variant_figures(
        model, test, probabilities, history_of(), norms_of(2), np.random.default_rng(0)
    )
    rendered = {name: render(figure) for name, figure in figures.items()}
    for name, canvas in rendered.items():
        check_texts(name, canvas)
    check_rendered("figures-many-classes", rendered)


@pytest.mark.parametrize("scale", [1e-7, 1e7])
def test_texts_with_tiny_or_huge_numbers_stay_inside_too(test_set, scale):
    model = model_of([1024, 128], DIGITS, "mean_squared_error")
    model.network.parameters["layer3.weight"] *= np.float32(scale)
    test = test_set(DIGITS)
    inspection = inspect(model, test.inputs[0], int(test.labels[0]))
    for name, figure in passes_figures(inspection, model, "mean_squared, test image 9999").items():
        check_texts(name, render(figure))


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes_in_a_report_of_at_most_8_megabytes(tmp_path, test_set):
    model, test = model_of([256, 128], DIGITS, "cross_entropy"), test_set(DIGITS)
    probabilities = predict_probabilities(model, test.inputs)
    written = []
    for _ in range(2):
        figures = variant_figures(
            model, test, probabilities, history_of(), norms_of(3), np.random.default_rng(0)
        )
        for name, figure in figures.items():
            save_png(figure, tmp_path / f"{name}.png")
        written.append([path.read_bytes() for path in sorted(tmp_path.iterdir())])
    assert written[0] == written[1]
    embedded = 6 * sum(map(len, written[0])) * 4 / 3  # six variants, in base 64
    assert embedded < 6e6  # the rest is for charts and their script


DRAW = """
from pathlib import Path
from pipeline.figures.style import Figure, save_png, style

with style():
    figure = Figure()
    figure.subplots().plot([-1, 1], [-1, 1], label="a line")
save_png(figure, Path("figure.png"))
"""


@pytest.mark.long
def test_the_users_settings_of_matplotlib_do_not_change_a_figure(tmp_path):
    settings = ("text.hinting: none", "axes.unicode_minus: False", "text.usetex: True")
    notebook = {"MPLBACKEND": "module://not_installed.backend"}
    figures = []
    for name, chosen, lines in (("plain", {}, ()), ("user", notebook, settings)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "matplotlibrc").write_text("\n".join(lines))
        done = subprocess.run(
            [sys.executable, "-c", DRAW],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | chosen,
            cwd=folder, capture_output=True, check=True,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == (b"", b"")
        figures.append((folder / "figure.png").read_bytes())
    assert figures[0] == figures[1]


def test_matplotlib_is_imported_without_the_users_choices_and_they_stay_as_they_are(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: perhaps")
    chosen = {"MPLBACKEND": "module://not_installed.backend", "MATPLOTLIBRC": str(tmp_path)}
    shown = "import os, pipeline.figures; print(*(os.environ[name] for name in %r))" % [*chosen]
    done = subprocess.run(
        [sys.executable, "-c", shown], env=os.environ | {"PYTHONPATH": str(ROOT)} | chosen,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [*chosen.values()]
    assert done.stderr == ""


@pytest.mark.parametrize("sizes", [(784, 10), (784, 107, 26, 10), (784, 3, 300, 9, 12, 10)])
def test_an_architecture_tells_true_sizes_and_counts_whatever_it_draws(sizes):
    architecture = Architecture(sizes, "tanh", "softmax", "cross_entropy")
    network = initialize_network(architecture, "he", np.random.default_rng(0))
    figure = architecture_figure(network, "net")
    said = texts(figure)
    assert any(f"net: {architecture.parameter_count():,} parameters" in text for text in said)
    assert "input\n784 pixels" in said
    assert "output, softmax\n10 classes" in said
    for number, size in enumerate(sizes[1:-1], start=1):
        assert f"hidden {number}, tanh\n{size} neurons" in said
    for n_in, n_out in pairwise(sizes):
        expected = f"weights {n_in}×{n_out}\nbiases {n_out}\n= {n_in * n_out + n_out:,} parameters"
        assert expected in said
    assert said.count("⋮") == sum(size > SHOWN for size in sizes)
    assert said.count("bias") == len(sizes) - 1
    lines = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    shown = [min(size, SHOWN) for size in sizes]
    assert [len(line.get_segments()) for line in lines] == [(a + 1) * b for a, b in pairwise(shown)]


def test_lines_of_an_architecture_are_its_largest_weights_coloured_by_sign():
    architecture = Architecture((784, 30, 10), "relu", "softmax", "cross_entropy")
    network = initialize_network(architecture, "he", np.random.default_rng(0))
    network.layers[0].weight[400, 17] = 9.0
    network.layers[1].weight[17, 3] = -8.0
    figure = architecture_figure(network, "net")
    first, second = (c for c in figure.axes[0].collections if isinstance(c, LineCollection))
    for lines, colour in ((first, RED), (second, BLUE)):
        thick = int(np.argmax(lines.get_linewidths()))
        assert lines.get_linewidths()[thick] == THICKEST
        assert same_color(lines.get_colors()[thick], colour)


def inspected(model, test, probabilities):
    index = int(np.argmax(probabilities.max(axis=1) < 0.9))
    return index, inspect(model, test.inputs[index], int(test.labels[index]))


def tiles(ax):
    """Return the pictures of 28x28 pixels that stand side by side."""
    (mosaic,) = images(ax)
    step = 28 + 2
    return [mosaic[:, left : left + 28] for left in range(0, mosaic.shape[1], step)]


def test_a_forward_pass_shows_the_image_the_answer_and_the_values_of_every_layer(drawn):
    model, test, probabilities, figures = drawn
    index, seen = inspected(model, test, probabilities)
    axes = figures["forward"].axes
    np.testing.assert_allclose(images(axes[0])[0], test.inputs[index].reshape(28, 28), atol=1e-6)
    titles = texts(figures["forward"])
    assert f"net, test image {index}: forward pass" in titles
    bars = [patch.get_width() for patch in axes[1].patches]
    np.testing.assert_allclose(bars, seen.probabilities)
    assert axes[1].get_xlim() == (0, 1)
    for probability in seen.probabilities:
        assert f"{probability:.1%}" in titles
    names = (
        f"prediction: {model.class_names[seen.predicted]}, label: {model.class_names[seen.label]}"
    )
    assert any(title.startswith(names) for title in titles)
    for number, layer in enumerate(seen.layers, start=1):
        last = number == len(seen.layers)
        assert f"layer {number}: {'pre-activation' if last else 'after relu'}" in titles
        count = len(layer.activation)
        which = f"the 10 most active of {count} neurons" if not last else "each class"
        what = f"weights of {which}" if number == 1 else f"red pixels raise {which}, blue lower"
        values_shown = f"values after {layer.activation_name}" if last else "their values"
        assert f"{what}; {values_shown}" in titles
        values = layer.pre_activation if last else layer.activation
        left, right = axes[2 * number : 2 * number + 2]
        if len(values) <= BARS:
            np.testing.assert_allclose([bar.get_height() for bar in left.patches], values)
        else:
            np.testing.assert_allclose(images(left)[0].compressed(), values)
        strongest = np.sort(np.argsort(-layer.activation, kind="stable")[:10])
        gradients = input_gradients(seen, number, strongest)
        for picture, gradient in zip(tiles(right), gradients.T, strict=True):
            smooth = smoothed_picture(gradient)
            limit = np.abs(smooth).max() or 1
            np.testing.assert_allclose(picture, smooth / limit, atol=1e-9)
    assert [label.get_text() for label in left.get_xticklabels()] == list(model.class_names)


def test_a_network_whose_outputs_are_divided_by_their_sum_says_so_wherever_it_shows_shares(drawn):
    model, *_, figures = drawn
    divided = model.network.architecture.output == "sigmoid"
    for name in ("forward", "predictions", "mistakes", "calibration"):
        assert any(DIVIDED in " ".join(text.split()) for text in texts(figures[name])) == divided, (
            name
        )


def test_smoothing_keeps_sums_and_leaves_a_flat_picture_as_it_is():
    np.testing.assert_allclose(smoothed_picture(np.full(784, 3.0)), 3)
    point = np.zeros(784)
    point[14 * 28 + 14] = 1
    smooth = smoothed_picture(point)
    assert smooth.sum() == pytest.approx(1)
    assert smooth[14, 14] == smooth.max() == pytest.approx(36 / 256)


def test_a_backward_pass_shows_every_gradient_with_its_norm(drawn):
    model, test, probabilities, figures = drawn
    _, seen = inspected(model, test, probabilities)
    titles = texts(figures["backward"])
    assert any(title.endswith(f", cost {seen.cost:.3g}") for title in titles)
    axes = figures["backward"].axes[2:]
    for row, number in enumerate(range(len(seen.layers), 0, -1)):
        layer = seen.layers[number - 1]
        assert any(f"dJ/dW, norm {np.linalg.norm(layer.weight_gradient):.2g}" in t for t in titles)
        assert f"dJ/dB\nnorm {np.linalg.norm(layer.bias_gradient):.2g}" in titles
        norm = np.linalg.norm(layer.output_gradient)
        assert f"layer {number}: dJ/d activation\nnorm {norm:.2g}" in titles
        for ax, values in zip(
            axes[3 * row :], (layer.output_gradient, layer.bias_gradient), strict=False
        ):
            if len(values) <= BARS:
                np.testing.assert_allclose([bar.get_height() for bar in ax.patches], values)
            else:
                np.testing.assert_allclose(images(ax)[0].compressed(), values)
    for picture in tiles(axes[-1]):  # layer 1: the image, times the gradient of a bias
        shown = np.abs(picture).ravel() > 0
        assert (shown == (seen.inputs > 0)).all() or not shown.any()


def test_an_update_shows_the_answer_before_and_after_and_how_much_weights_change(drawn):
    model, test, probabilities, figures = drawn
    _, seen = inspected(model, test, probabilities)
    before, after, *_ = figures["update"].axes
    for ax, shares in ((before, seen.probabilities), (after, seen.probabilities_after)):
        np.testing.assert_allclose([bar.get_width() for bar in ax.patches], shares)
    titles = texts(figures["update"])
    assert any("one step of sgd, learning rate 0.1" in title for title in titles)
    assert f"cost {seen.cost:.3g}" in before.get_title(loc="left")
    assert f"cost {seen.cost_after:.3g}" in after.get_title(loc="left")
    for number, layer in enumerate(seen.layers, start=1):
        change = np.abs(layer.weight_after - layer.weight).max()
        largest = np.abs(layer.weight).max()
        shape = "×".join(map(str, layer.weight.shape))
        assert f"layer {number}: weights {shape}, up to {largest:.2g}" in titles
        assert any(f"their change, up to {change:.2g}, " in title for title in titles)


def test_predictions_name_what_was_said_and_what_it_is(drawn):
    model, test, probabilities, figures = drawn
    order = np.random.default_rng(0).permutation(len(test))
    (ax,) = figures["predictions"].axes
    assert len(ax.texts) == len(ax.patches) == 25
    for text, frame, row in zip(ax.texts, ax.patches, order, strict=False):
        caption = text.get_text().replace("\n", " ").replace("/ ", "/")
        said = model.class_names[probabilities[row].argmax()]
        true = model.class_names[test.labels[row]]
        answer = true if said == true else f"{true} taken for {said}"
        assert caption == f"{answer} {probabilities[row].max():.0%}"
        x, y = (round(edge + 0.5) for edge in frame.get_xy())
        shown = images(ax)[0][y : y + 28, x : x + 28]
        np.testing.assert_allclose(shown, test.inputs[row].reshape(28, 28), atol=1e-6)


def test_a_figure_of_predictions_has_a_row_for_every_five_images(few_digits):
    def height(count):
        labels = few_digits.labels[:count]
        inputs = few_digits.images[:count].reshape(-1, 784) / np.float32(255)
        figure = predictions_figure(inputs, labels, np.eye(10)[labels], SCALE, DIGITS, "title")
        return figure.get_size_inches()[1] - 0.4  # the title's

    assert height(0) == height(1) == height(5) > 1.5
    assert height(6) == height(10) == pytest.approx(2 * height(5))


def test_mistakes_are_wrong_and_the_most_confident_first():
    labels = np.array([0, 1, 2, 0])
    probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.8, 0.1, 0.1], [0.2, 0.5, 0.3]])
    assert most_confident_mistakes(labels, probabilities, 9).tolist() == [2, 1, 3]
    assert most_confident_mistakes(labels, probabilities, 1).tolist() == [2]


def test_a_confusion_matrix_shows_its_counts(drawn):
    model, test, probabilities, figures = drawn
    predicted = probabilities.argmax(axis=1)
    counts = confusion_matrix(test.labels, predicted, labels=range(10))
    ax = figures["confusion"].axes[0]
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells == {
        (column, row): str(counts[row, column]) for row, column in np.argwhere(counts).tolist()
    }
    assert [label.get_text() for label in ax.get_yticklabels()] == list(model.class_names)
    right = int((predicted == test.labels).sum())
    assert ax.get_title(loc="left") == f"net: {right} of {len(test)} right, errors in orange"
    shade = images(ax)[0]
    red, blue = shade[..., 0], shade[..., 2]
    for row, column in np.argwhere(counts).tolist():
        assert (blue[row, column] > red[row, column]) == (row == column)


def test_calibration_by_hand():
    confidence = np.array([0.95, 0.91, 0.55, 0.55, 1.0])
    means, accuracies, counts = calibration(confidence, np.array([True, False, True, False, True]))
    np.testing.assert_allclose(means, [0.55, (0.95 + 0.91 + 1) / 3])
    np.testing.assert_allclose(accuracies, [0.5, 2 / 3])
    assert counts.tolist() == [2, 3]


def test_a_bin_of_few_images_is_a_small_point_with_a_long_interval():
    confidence = np.repeat([0.95, 0.55], [900, 3])
    right = np.concatenate([np.arange(900) < 855, [True, False, True]])
    figure = calibration_figure(confidence, right, "confidence", "net")
    top, bottom = figure.axes
    points = next(c for c in top.collections if isinstance(c, PathCollection))
    few, many = points.get_sizes()
    assert many > 5 * few
    np.testing.assert_allclose(points.get_offsets()[:, 1], [2 / 3, 0.95])
    lines = next(c for c in top.collections if isinstance(c, LineCollection)).get_segments()
    assert [line[:, 1].tolist() for line in lines] == [
        pytest.approx(wilson_interval(2, 3)), pytest.approx(wilson_interval(855, 900)),
    ]  # fmt: skip
    assert [text.get_text() for text in bottom.texts if text.get_text()] == ["3", "900"]


def test_equal_precision_and_recall_are_two_points():
    counts = np.eye(3, dtype=int) * 5
    (ax,) = quality_figure(counts, ("a", "b", "c"), "net").axes
    precision, recall = ax.get_lines()
    assert precision.get_xdata().tolist() == recall.get_xdata().tolist()
    assert (np.abs(precision.get_ydata() - recall.get_ydata()) > 0.2).all()


def test_curves_show_the_history(drawn):
    history = history_of()
    for ax, measure in zip(drawn[3]["curves"].axes, ("cost", "accuracy"), strict=True):
        for line, split in zip(ax.get_lines(), ("train", "validation"), strict=False):
            part = history["split"] == split
            np.testing.assert_allclose(line.get_ydata(), history[measure][part])
            np.testing.assert_allclose(line.get_xdata(), history["epoch"][part])
    loss = drawn[0].network.architecture.loss
    unit = {"cross_entropy": "cross-entropy (nats)", "mean_squared_error": "mean squared error"}
    assert drawn[3]["curves"].axes[0].get_ylabel() == unit[loss]


def test_all_variants_stand_side_by_side_and_together():
    histories = {f"net{number}": history_of(3 + number) for number in range(7)}
    losses = dict.fromkeys(histories, "cross_entropy")
    figure = curves_figure(histories, losses, "accuracy", "all")
    titled = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titled == list(histories)
    together = together_figure(histories, "all").axes[0]
    assert len(together.get_lines()) == 7
    assert together.get_xscale() == "log"
    styles = {(line.get_color(), line.get_linestyle()) for line in together.get_lines()}
    assert len(styles) == 7


def test_of_many_variants_the_best_are_named_and_the_others_counted():
    histories = {f"net{number}": history_of(3) for number in range(31)}
    for number, history in enumerate(histories.values()):
        history["accuracy"] = np.full_like(history["accuracy"], number / 31)
    figure = together_figure(histories, "all")
    assert len(figure.axes[0].get_lines()) == 31
    named = [text.get_text().split()[0] for text in figure.legends[0].get_texts()]
    assert named == ["11", *[f"net{number}" for number in range(11, 31)]]
    canvas = render(figure)
    assert figure.legends[0].get_window_extent().height < figure.bbox.height
    check_rendered("figures-together", {"31-variants": canvas})


def test_norms_show_a_line_per_layer_and_the_median_of_scattered_gradients():
    figure = norms_figure(norms_of(3, 100), "net")
    rows = norms_of(3, 100)
    weights, gradients = (ax.get_lines() for ax in figure.axes)
    assert len(weights) == 3
    for layer, (line, raw, median) in enumerate(
        zip(weights, gradients[::2], gradients[1::2], strict=True), start=1
    ):
        part = rows["layer"] == layer
        np.testing.assert_allclose(line.get_ydata(), rows["weight_norm"][part])
        np.testing.assert_allclose(raw.get_ydata(), rows["gradient_norm"][part])
        np.testing.assert_allclose(median.get_ydata()[50], rows["gradient_norm"][part][50])
        assert median.get_linewidth() > raw.get_linewidth()
    assert "gradients, median of 9 epochs" in texts(figure)


def test_norms_within_a_power_of_ten_have_numbers_beside_them():
    rows = norms_of(2)
    rows["gradient_norm"] = np.linspace(0.55, 1.6, len(rows["gradient_norm"]))
    figure = norms_figure(rows, "net")
    render(figure)
    right = figure.axes[1]
    low, high = right.get_ylim()
    numbers = [
        text.get_text()
        for text in right.get_yticklabels(which="both")
        if text.get_text() and low <= text.get_position()[1] <= high
    ]
    assert numbers == ["0.75", "1.00", "1.25", "1.50"]


def test_a_running_median_leaves_out_single_peaks():
    assert running_median(np.array([1, 9, 1, 1, 2]), 1).tolist() == [5, 1, 1, 1, 1.5]


def test_one_curve_figure_has_finite_limits_for_a_single_epoch():
    figure = curve_figure(history_of(1), "cross_entropy", "net")
    for ax in figure.axes:
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()

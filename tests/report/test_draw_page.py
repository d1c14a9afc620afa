"""The drawing page in a real browser: it sees and predicts the same as Python."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.datasets.picture import center_digit, prepare_picture, read_picture
from pipeline.nn.inspection import input_gradients, inspect
from pipeline.nn.model_file import Model
from pipeline.nn.network import Network
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.training import make_network
from pipeline.report.drawing import BITS, LEVELS, MISTAKEN, draw_page, rounded
from tests.conftest import shipped_settings
from tests.reviewed import check_drawn
from tests.training import trained
from tests.whole import fit_normalization

pytest_plugins = ["tests.browser"]

DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
VARIANTS = {
    "good": ("scale", VariantSettings(hidden=[64], lr=0.1, momentum=0.9, batch_size=64, epochs=10)),
    "squares": (
        "scale",
        VariantSettings(
            hidden=[24, 16], activation="sigmoid", output="sigmoid", loss="mean_squared_error",
            lr=1.0, momentum=0.9, batch_size=20, epochs=8,
        ),
    ),
    "deep": (
        "standardize",
        VariantSettings(
            hidden=[32, 24, 16], activation="tanh", lr=0.05, momentum=0.9, batch_size=64, epochs=5
        ),
    ),
}  # fmt: skip


def arc(x, y, width, height, start, end):
    """Return points on an ellipse; angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, 10))
    return [(x + width / 2 * np.cos(a), y + height / 2 * np.sin(a)) for a in angles]


# The strokes of each handwritten digit, as points on paper from (0, 0) to (1, 1).
HANDWRITING = {
    0: [arc(0.5, 0.5, 0.4, 0.6, -90, 270)],
    1: [[(0.5, 0.2), (0.5, 0.8)]],
    2: [[*arc(0.48, 0.34, 0.36, 0.3, -170, 40), (0.3, 0.8), (0.74, 0.8)]],
    3: [[*arc(0.46, 0.34, 0.36, 0.3, -150, 90), *arc(0.46, 0.65, 0.42, 0.32, -90, 150)]],
    4: [[(0.35, 0.2), (0.3, 0.52), (0.7, 0.52)], [(0.66, 0.2), (0.62, 0.85)]],
    5: [[(0.7, 0.2), (0.38, 0.2), (0.35, 0.46), *arc(0.47, 0.62, 0.42, 0.36, -110, 150)]],
    6: [[(0.6, 0.16), (0.42, 0.38), *arc(0.5, 0.65, 0.36, 0.34, -190, 170)]],
    7: [[(0.28, 0.24), (0.7, 0.22), (0.58, 0.5), (0.44, 0.84)]],
    8: [[*arc(0.5, 0.34, 0.3, 0.3, 90, -270), *arc(0.5, 0.66, 0.36, 0.34, -90, 270)]],
    9: [[*arc(0.48, 0.36, 0.34, 0.32, 0, -360), (0.64, 0.5), (0.58, 0.84)]],
}


@pytest.fixture(scope="module")
def models(digits):
    """Three small networks with all activations and both losses, each trained for a second."""
    rows = np.random.default_rng(0).permutation(5000)[:3000]
    return [model_of(name, *VARIANTS[name], digits.take(rows)) for name in VARIANTS]


def model_of(variant, method, settings, digits):
    normalization = fit_normalization(digits.images, method)
    images = normalization.apply(digits.images), digits.labels
    network, _ = trained(settings, images, images, table=normalization.table())
    return Model(variant, network, normalization, DIGITS, {})


@pytest.fixture(scope="module")
def address(models, few_digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "draw.html"
    path.write_text(draw_page(models, few_digits), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def drawing(page, address):
    page.goto(address)
    return page


def probabilities(model, images):
    """Return the probabilities of the page's weights."""
    return predict_probabilities(rounded(model), model.normalization.apply(images))


def as_text(array):
    return base64.b64encode(np.ascontiguousarray(array, np.uint8).tobytes()).decode()


FROM_TEXT = "const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));"


def next_frame(page):
    """Wait until the page is redrawn: events wait for one frame, the page for the next."""
    page.evaluate(
        """async () => {
            for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
        }"""
    )


def draw(page, strokes):
    trace(page, strokes)
    next_frame(page)


def trace(page, strokes):
    """Move the pen along strokes, without waiting until the page is redrawn."""
    page.locator("#paper").scroll_into_view_if_needed()
    frame = page.locator("#paper").bounding_box()
    for stroke in strokes:
        for number, (x, y) in enumerate(stroke):
            page.mouse.move(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"])
            if number == 0:
                page.mouse.down()
        page.mouse.up()


def paper(page):
    """Return the pixels of the paper as grey values."""
    png = page.evaluate("document.querySelector('#paper').toDataURL('image/png')")
    content = io.BytesIO(base64.b64decode(png.partition(",")[2]))
    return np.asarray(Image.open(content).convert("L"), dtype=np.float64)


def seen(page):
    """Return the image that the networks see, or None."""
    pixels = page.evaluate("digits.centered() && [...digits.centered()]")
    return None if pixels is None else np.array(pixels, np.uint8).reshape(28, 28)


def predictions(page):
    return page.locator(".network .prediction b").all_inner_texts()


def farthest(one, other):
    return np.abs(one.astype(int) - other.astype(int)).max()


@pytest.mark.parametrize("names", [DIGITS, FASHION], ids=["digits", "fashion"])
def test_the_page_fits_every_screen_without_horizontal_scrolling(
    page, models, few_digits, tmp_path, names
):
    path = tmp_path / "draw.html"
    path.write_text(
        draw_page([replace(model, class_names=names) for model in models], few_digits), "utf-8"
    )
    page.goto(path.as_uri())
    draw(page, HANDWRITING[3])
    assert set(predictions(page)) <= set(names)
    for width in (320, 390, 700, 1000, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        for variant in VARIANTS:
            page.locator("label", has_text=variant).click()
            next_frame(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        cells = page.locator(".network :is(th, td)")
        cut = "(cells) => cells.filter((cell) => cell.scrollWidth > cell.clientWidth).length"
        assert cells.evaluate_all(cut) == 0


def test_probabilities_equal_those_of_numpy_for_1000_real_images(drawing, models, digits):
    rows = np.random.default_rng(0).permutation(5000)[3000:4000]
    images = digits.images[rows]
    assert drawing.evaluate("digits.variants") == [model.variant for model in models]
    for model in models:
        result = drawing.evaluate(
            f"""([variant, text]) => {{
                {FROM_TEXT}
                const images = bytes(text);
                return Array.from({{ length: images.length / 784 }}, (_, i) =>
                    [...digits.probabilities(variant, images.subarray(784 * i, 784 * (i + 1)))]);
            }}""",
            [model.variant, as_text(images)],
        )
        expected = probabilities(model, images)
        np.testing.assert_allclose(result, expected, atol=1e-5)
        assert (expected.argmax(axis=1) == digits.labels[rows]).mean() > 0.8


def test_rounding_moves_a_weight_by_half_a_step_at_most_and_the_page_says_what_it_costs(
    drawing, models, few_digits
):
    moved, changed = [], 0
    for model in models:
        for name, weights in model.network.parameters.items():
            step = np.abs(weights).max() / LEVELS
            apart = np.abs(rounded(model).network.parameters[name] - weights).max()
            assert apart <= 0.5001 * step + 1e-7 * np.abs(weights).max()
        exact = predict_probabilities(model, model.normalization.apply(few_digits.images))
        shown = probabilities(model, few_digits.images)
        moved.append(np.abs(exact - shown).max())
        changed += (exact.argmax(axis=1) != shown.argmax(axis=1)).sum()
    said = " ".join(drawing.locator(".reading > .note").inner_text().split())
    assert f"rounded to {BITS} bits. On 200 test images" in said
    most = float(re.search(r"by more than ([\d.]+) percentage points", said).group(1))
    assert 100 * max(moved) <= most <= 100 * max(moved) + 0.011
    assert f"{changed} of 600 predictions" in said


def test_a_page_of_the_eight_variants_has_less_than_6_megabytes(few_digits):
    params = shipped_settings()
    models = []
    for name, settings in params.variants.items():
        network, _ = make_network(settings, 10, 0)
        models.append(Model(name, network, Normalization("scale", 0.0, 1.0), DIGITS, {}))
    assert len(models) == 8
    assert len(draw_page(models, few_digits).encode()) < 6e6


@pytest.mark.parametrize("variant", VARIANTS)
def test_sums_and_gradients_of_every_layer_are_those_that_explain_shows(
    drawing, models, few_digits, variant
):
    model = rounded(next(model for model in models if model.variant == variant))
    settings = VARIANTS[variant][1]
    model = replace(model, training={"settings": settings.model_dump()})
    image = few_digits.images[7]
    inputs = model.normalization.apply(image[np.newaxis])[0]
    seen = inspect(model, inputs, 7)
    for number, layer in enumerate(seen.layers, start=1):
        neuron = len(layer.bias) - 1
        found = drawing.evaluate(
            f"""([variant, text, layer, neuron]) => {{
                {FROM_TEXT}
                const found = digits.explain(variant, bytes(text), layer, neuron);
                for (const [key, value] of Object.entries(found))
                    if (typeof value === "object") found[key] = [...value];
                return found;
            }}""",
            [variant, as_text(image), number, neuron],
        )
        before = inputs if number == 1 else seen.layers[number - 2].activation
        weights = layer.weight[:, neuron]
        np.testing.assert_allclose(found["inputs"], before, atol=1e-5)
        np.testing.assert_allclose(found["products"], before * weights, atol=1e-5)
        assert found["sum"] == pytest.approx((before * weights).sum(), abs=1e-5)
        assert found["bias"] == pytest.approx(layer.bias[neuron], abs=1e-7)
        assert found["total"] == pytest.approx(layer.pre_activation[neuron], abs=1e-5)
        assert found["value"] == pytest.approx(layer.activation[neuron], abs=1e-5)
        gradient = input_gradients(seen, number, np.array([neuron]))[:, 0]
        np.testing.assert_allclose(found["gradient"], gradient, atol=1e-5)


def total(page):
    """Return the sum of the neuron shown."""
    text = page.locator("#sum").inner_text()
    return float(re.search(r"= (−?[\d.]+(?:e[+-]\d+)?) →", text).group(1).replace("−", "-"))


def test_the_answer_is_explained_until_a_neuron_is_pointed_at(drawing, models):
    assert not drawing.locator("#neuron").is_visible()
    draw(drawing, HANDWRITING[3])
    model = rounded(models[0])
    x = model.normalization.apply(seen(drawing)[None])
    hidden = np.maximum(model.network.layers[0].forward(x)[0], 0)
    outputs = model.network.layers[1].forward(hidden)[0][0]
    title = drawing.locator("#neuron-title")
    assert title.inner_text() == f"Output, {outputs.argmax()}"
    assert total(drawing) == pytest.approx(outputs.max(), abs=0.0006)
    products = hidden[0] * model.network.layers[1].weight[:, outputs.argmax()]
    rows = drawing.locator("#contributions li button").all_inner_texts()
    assert rows[0] == f"Hidden 1, {products.argmax() + 1}"
    drawing.locator("#contributions button").first.click()
    neuron = int(products.argmax())
    assert title.inner_text() == f"Hidden 1, neuron {neuron + 1} of 64"
    canvas = drawing.locator("#layers canvas").nth(1)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for neuron in (0, 9, 63):  # 8 x 8 cells
        x, y = neuron % 8 + 0.5, neuron // 8 + 0.5
        drawing.mouse.move(box["x"] + x * box["width"] / 8, box["y"] + y * box["height"] / 8)
        assert title.inner_text() == f"Hidden 1, neuron {neuron + 1} of 64"
    drawing.locator("#layers li button").nth(4).hover()
    assert title.inner_text() == "Output, 4"
    assert total(drawing) == pytest.approx(outputs[4], abs=0.0006)


def test_the_keyboard_goes_through_the_neurons_of_a_layer(drawing):
    draw(drawing, HANDWRITING[3])
    canvas = drawing.locator("#layers canvas").nth(1)
    canvas.focus()
    title = drawing.locator("#neuron-title")
    drawing.keyboard.press("Control+Home")
    for _ in range(8):
        drawing.keyboard.press("ArrowUp")
        drawing.keyboard.press("ArrowLeft")
    assert title.inner_text() == "Hidden 1, neuron 1 of 64"
    drawing.keyboard.press("ArrowRight")
    drawing.keyboard.press("ArrowDown")
    assert title.inner_text() == "Hidden 1, neuron 10 of 64"


def test_lines_lead_from_a_neuron_to_what_contributes_most(drawing):
    draw(drawing, HANDWRITING[3])
    drawing.locator("label", has_text="deep").click()
    next_frame(drawing)
    lines = drawing.locator("#path line")
    assert lines.count() == 3 * 4  # three per layer
    assert drawing.locator("#path line.strongest").count() == 4


def test_gradient_ascent_from_grey_finds_a_picture_that_excites_a_neuron_more(drawing, models):
    draw(drawing, HANDWRITING[3])
    model = rounded(models[0])
    grey = model.normalization.apply(np.full((1, 784), 127, np.uint8))
    hidden = np.maximum(model.network.layers[0].forward(grey)[0], 0)
    before = model.network.layers[1].forward(hidden)[0][0, 7]
    drawing.locator("#layers li button").nth(7).click()
    drawing.wait_for_timeout(1500)
    fact = drawing.locator("#pictures .fact").last.inner_text()
    after = float(fact.removeprefix("its sum there: ").replace("−", "-"))
    assert after > before + 5
    assert after > total(drawing)


def test_examples_are_test_images_of_each_class_and_those_that_most_networks_get_wrong(
    drawing, models, few_digits
):
    wrong = np.sum(
        [
            predict_probabilities(m, m.normalization.apply(few_digits.images)).argmax(axis=1)
            != few_digits.labels
            for m in models
        ],
        axis=0,
    )
    mistaken = [row for row in np.argsort(-wrong, kind="stable")[:MISTAKEN] if wrong[row]]
    firsts = [int(np.argmax(few_digits.labels == digit)) for digit in range(10)]
    buttons = drawing.locator("#examples button")
    assert buttons.count() == 10 + len(mistaken)
    for place in (0, 3, 10):
        row = [*firsts, *mistaken][place]
        buttons.nth(place).click()
        next_frame(drawing)
        np.testing.assert_array_equal(seen(drawing), few_digits.images[row])
        label = few_digits.labels[row]
        assert drawing.locator("#share").inner_text().endswith(f"the label is {label}.")
    name = buttons.nth(10).get_attribute("aria-label")
    read = f"read wrongly by {wrong[mistaken[0]]} of 3"
    assert name == f"Load a test image of {few_digits.labels[mistaken[0]]}, {read}"
    draw(drawing, HANDWRITING[1])
    assert farthest(seen(drawing), center_digit(paper(drawing))) <= 1


def test_on_a_phone_the_answer_can_be_seen_while_drawing(drawing):
    drawing.set_viewport_size({"width": 390, "height": 844})
    draw(drawing, HANDWRITING[3])
    drawing.evaluate("scrollTo(0, 0)")
    for name in ("#summary", "#share", "#paper"):
        box = drawing.locator(name).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 844


def test_the_page_says_that_a_share_is_no_certainty(drawing):
    draw(drawing, [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]])  # an X
    said = drawing.locator("#share").inner_text()
    assert re.fullmatch(r"good gives [\d.]+% to \d and [\d.]+% to \d\.", said)
    drawing.get_by_text("None of these?").click()
    assert drawing.get_by_text("It does not say: certainly this class.").is_visible()


def test_digits_anywhere_in_pictures_of_any_size_are_centred_as_in_python(drawing, few_digits):
    rng = np.random.default_rng(0)
    for image in few_digits.images[:50]:
        size = int(rng.integers(40, 200)), int(rng.integers(40, 200))
        digit = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        height, width = rng.integers(size[::-1], 260)
        top, left = rng.integers(0, (height - size[1] + 1, width - size[0] + 1))
        picture = np.zeros((height, width), np.uint8)
        picture[top : top + size[1], left : left + size[0]] = digit
        picture = np.clip(picture * 0.8 + rng.integers(0, 12, picture.shape), 0, 255)
        picture = picture.astype(np.uint8)
        if rng.random() < 0.5:
            picture = 255 - picture
        result = drawing.evaluate(
            f"""([text, width, height]) => {{
                {FROM_TEXT}
                return [...digits.centerDigit(bytes(text), width, height)];
            }}""",
            [as_text(picture), int(width), int(height)],
        )
        expected = center_digit(picture.astype(np.float64))
        assert farthest(np.reshape(result, (28, 28)), expected) <= 1  # of 255


def test_digits_drawn_by_hand_are_centred_and_predicted_as_in_python(drawing, models):
    correct = 0
    for digit, strokes in HANDWRITING.items():
        if digit:
            drawing.get_by_role("button", name="Clear").click()
        draw(drawing, strokes)
        expected = center_digit(paper(drawing))
        assert farthest(seen(drawing), expected) <= 1
        labels = [str(probabilities(model, expected[None]).argmax()) for model in models]
        assert predictions(drawing) == labels
        correct += labels[0] == str(digit)
    assert correct >= 8


def test_the_first_network_is_chosen_when_the_page_opens(drawing, models):
    first = models[0].variant
    assert drawing.locator(".network").first.locator("label").inner_text() == first
    assert drawing.locator("input[name=variant]:checked").input_value() == first
    assert drawing.locator("#inside-name").inner_text() == first


def test_bars_show_every_probability_and_the_summary_counts_votes(drawing, models):
    draw(drawing, HANDWRITING[7])
    for model in models:
        card = drawing.locator(".network", has_text=model.variant)
        shown = card.locator(".share").all_inner_texts()
        expected = probabilities(model, seen(drawing)[None])[0]
        shares = [float(text.rstrip("%")) / 100 for text in shown]
        np.testing.assert_allclose(shares, expected, atol=0.00051)
        assert card.locator(".best th").inner_text() == str(expected.argmax())
    votes = predictions(drawing)
    summary = drawing.locator("#summary").inner_text()
    if len(set(votes)) == 1:
        assert summary == f"All 3 networks predict {votes[0]}"
    else:
        most = max(map(votes.count, votes))
        assert re.match(rf"good predicts {votes[0]}; votes: {most} for ", summary)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([7, 7, 7], "All 3 networks predict 7"),
        ([1, 7, 7], "good predicts 1; votes: 2 for 7, 1 for 1"),
        ([3, 7, 1], "good predicts 3; votes: 1 for 3, 1 for 7, 1 for 1"),
    ],
)
def test_the_summary_begins_with_the_answer_of_the_first_network(
    page, models, few_digits, tmp_path, predicted, expected
):
    path = tmp_path / "draw.html"
    path.write_text(
        draw_page([certain_of(*each) for each in zip(models, predicted, strict=True)], few_digits),
        "utf-8",
    )
    page.goto(path.as_uri())
    draw(page, HANDWRITING[7])
    assert page.locator("#summary").inner_text() == expected


def certain_of(model, digit):
    """Return a model that always predicts a digit."""
    parameters = {name: np.zeros_like(each) for name, each in model.network.parameters.items()}
    *_, bias = parameters.values()
    bias[digit] = 9
    return replace(model, network=Network(model.network.architecture, parameters))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_layers_of_the_chosen_network_light_up(drawing, models, variant):
    drawing.locator("label", has_text=variant).click()
    next_frame(drawing)
    model = next(model for model in models if model.variant == variant)
    figures = drawing.locator("#layers figure")
    assert figures.count() == len(model.network.architecture.sizes)
    lit = "[...document.querySelectorAll('#layers canvas')].map((each) => each.toDataURL())"
    dark = drawing.evaluate(lit)
    draw(drawing, HANDWRITING[5])
    assert all(a != b for a, b in zip(dark, drawing.evaluate(lit), strict=True))
    x = model.normalization.apply(seen(drawing)[None])
    threshold = 0.5 if variant == "squares" else 0
    activate = {"good": lambda x: np.maximum(x, 0), "deep": np.tanh,
                "squares": lambda x: 1 / (1 + np.exp(-x))}[variant]  # fmt: skip
    for number, layer in enumerate(model.network.layers[:-1], start=1):
        x = activate(layer.forward(x)[0])
        on = f"{(x > threshold).sum()} of {x.size} "
        assert figures.nth(number).locator(".fact").inner_text().startswith(on)
        assert on in figures.nth(number).locator("canvas").get_attribute("aria-label")


def pictures(image, folder):
    """Save a digit dark on light, light on dark, in colour, transparent and rotated."""
    canvas = np.zeros((60, 80), np.uint8)
    canvas[20:48, 5:33] = image
    large = Image.fromarray(canvas).resize((640, 480), Image.Resampling.BICUBIC)
    pixels = np.asarray(large)
    colour = Image.fromarray(np.stack([255 - pixels, 255 - pixels // 2, 255 - pixels], axis=-1))
    transparent = Image.new("RGBA", large.size, "navy")
    transparent.putalpha(large)
    white = Image.new("RGBA", large.size, "white")
    white.putalpha(large)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    for name, picture, options in (
        ("dark.png", Image.fromarray(255 - pixels), {}),
        ("light.jpg", large, {"quality": 95}),
        ("colour.png", colour, {}),
        ("transparent.png", transparent, {}),
        ("white on transparent.png", white, {}),
        ("rotated.jpg", large.rotate(90, expand=True), {"quality": 95, "exif": rotated}),
    ):  # fmt: skip
        picture.save(folder / name, **options)
        yield folder / name


def test_a_chosen_picture_is_centred_as_predict_centres_it(drawing, few_digits, tmp_path):
    for path in pictures(few_digits.images[4], tmp_path):
        drawing.get_by_label("Choose a picture…").set_input_files(path)
        expect(drawing.get_by_role("button", name="Clear")).to_be_enabled()
        assert farthest(seen(drawing), read_picture(path)) <= 6, path.name
        drawing.get_by_role("button", name="Clear").click()
        next_frame(drawing)


def test_a_picture_of_an_image_of_the_set_is_taken_as_it_is(drawing, few_digits, tmp_path):
    for image in few_digits.images[:10]:
        Image.fromarray(image).save(tmp_path / "own.png")
        drawing.get_by_label("Choose a picture…").set_input_files(tmp_path / "own.png")
        expect(drawing.get_by_role("button", name="Clear")).to_be_enabled()
        np.testing.assert_array_equal(seen(drawing), image)
        drawing.get_by_role("button", name="Clear").click()
        next_frame(drawing)


def test_pictures_and_drawings_are_only_reduced_where_the_dataset_says_so(page, models, tmp_path):
    path = tmp_path / "draw.html"
    path.write_text(draw_page([replace(models[0], pictures="as_is")]), "utf-8")
    page.goto(path.as_uri())
    rng = np.random.default_rng(0)
    for width, height in ((28, 28), (140, 140), (200, 90), (61, 150), (20, 13)):
        grey = np.zeros((height, width), np.uint8)
        grey[2 : height // 3, 3 : width // 2] = rng.integers(60, 256)
        Image.fromarray(grey).save(tmp_path / "own.png")
        page.get_by_label("Choose a picture…").set_input_files(tmp_path / "own.png")
        expect(page.get_by_role("button", name="Clear")).to_be_enabled()
        next_frame(page)
        assert farthest(seen(page), read_picture(tmp_path / "own.png", "as_is")) <= 1
        page.get_by_role("button", name="Clear").click()
        next_frame(page)
        assert seen(page) is None
    draw(page, HANDWRITING[7])
    Image.fromarray(paper(page).astype(np.uint8)).save(tmp_path / "drawn.png")
    (expected,) = prepare_picture(tmp_path / "drawn.png", "as_is", invert=True).images
    assert farthest(seen(page), expected) <= 1


def test_a_dropped_picture_is_replaced_by_the_first_stroke(drawing, few_digits, tmp_path):
    *_, path = pictures(few_digits.images[4], tmp_path)
    dropped = drawing.evaluate_handle(
        f"""(text) => {{
            {FROM_TEXT}
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes(text)], "digit.jpg", {{ type: "image/jpeg" }}));
            return transfer;
        }}""",
        base64.b64encode(path.read_bytes()).decode(),
    )
    drawing.dispatch_event("main", "drop", {"dataTransfer": dropped})
    expect(drawing.get_by_role("button", name="Clear")).to_be_enabled()
    assert farthest(seen(drawing), read_picture(path)) <= 6
    draw(drawing, HANDWRITING[1])
    assert farthest(seen(drawing), center_digit(paper(drawing))) <= 1
    assert len(np.unique(paper(drawing)[:, 0])) == 1


def test_the_page_says_that_photographs_are_read_by_predict(drawing, few_digits, tmp_path):
    *_, path = pictures(few_digits.images[4], tmp_path)
    drawing.get_by_label("Choose a picture…").set_input_files(path)
    expect(drawing.locator("#remark")).to_have_text(
        f"{path.name} is read as one digit on even paper; photographs are read by: digits predict"
    )
    drawing.get_by_role("button", name="Clear").click()
    expect(drawing.locator("#remark")).to_have_text("")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no picture", "a.png is not a PNG, JPEG or other image"),
        (None, "a.png shows nothing: all its pixels have nearly the same brightness"),
    ],
)
def test_a_file_without_a_digit_is_an_error_and_leaves_the_drawing(
    drawing, tmp_path, content, message
):
    path = tmp_path / "a.png"
    if content is None:
        Image.new("L", (40, 40), 200).save(path)
    else:
        path.write_bytes(content)
    draw(drawing, HANDWRITING[1])
    before = seen(drawing)
    drawing.get_by_label("Choose a picture…").set_input_files(path)
    expect(drawing.get_by_role("alert")).to_have_text(message)
    np.testing.assert_array_equal(seen(drawing), before)


def test_undo_removes_the_last_stroke_and_clear_removes_all(drawing):
    undo, clear = (drawing.get_by_role("button", name=name) for name in ("Undo", "Clear"))
    assert undo.is_disabled()
    assert clear.is_disabled()
    first, second = HANDWRITING[4]
    draw(drawing, [first])
    before = seen(drawing)
    draw(drawing, [second])
    assert farthest(seen(drawing), before) > 100
    undo.click()
    next_frame(drawing)
    np.testing.assert_array_equal(seen(drawing), before)
    clear.click()
    next_frame(drawing)
    assert seen(drawing) is None
    assert predictions(drawing) == ["–"] * 3
    assert drawing.locator("#summary").inner_text() == "Nothing is drawn yet"


def test_the_keyboard_alone_can_draw_and_undo(drawing):
    keys = drawing.keyboard
    keys.press("Tab")
    keys.press("Tab")
    assert drawing.evaluate("document.activeElement.id") == "paper"
    assert drawing.locator("#pen").is_visible()
    keys.press("ArrowDown")
    next_frame(drawing)
    assert seen(drawing) is None  # the pen is up
    keys.press("Space")
    for _ in range(22):
        keys.press("ArrowDown")
    keys.press("Space")
    keys.press("ArrowRight")
    next_frame(drawing)
    assert predictions(drawing)[0] == "1"
    keys.press("Space")
    keys.down("ArrowRight")
    keys.press("ArrowUp")
    keys.up("ArrowRight")
    keys.press("Space")
    next_frame(drawing)
    assert farthest(seen(drawing), center_digit(paper(drawing))) <= 1
    keys.press("Control+z")
    next_frame(drawing)
    assert predictions(drawing)[0] == "1"
    keys.press("Tab")
    keys.press("Enter")
    next_frame(drawing)
    assert seen(drawing) is None
    assert drawing.evaluate("scrollY") == 0


def test_everything_focusable_has_a_name(drawing):
    draw(drawing, HANDWRITING[2])
    session = drawing.context.new_cdp_session(drawing)
    session.send("Accessibility.enable")
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    focusable = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if any(each["name"] == "focusable" for each in node.get("properties", []))
        and node["role"]["value"] != "RootWebArea"
    ]
    # Link, paper, controls, examples and two more to open, examples, networks, a hidden layer,
    # outputs, and what speaks for and against.
    examples = drawing.locator("#examples button").count()
    reasons = drawing.locator("#contributions button").count()
    assert len(focusable) == 1 + 1 + 3 + 3 + examples + 3 + 1 + 10 + reasons
    assert all(name for _, name in focusable), focusable
    images = [node["name"]["value"] for node in nodes if node["role"]["value"] == "image"]
    assert images
    assert all(images)


def test_the_summary_is_announced_once_after_drawing_pauses(clocked_page, address):
    clocked_page.goto(address)
    clocked_page.evaluate(
        """() => {
            window.heard = [];
            const region = document.querySelector("[role=status]");
            new MutationObserver(() => heard.push(region.textContent))
                .observe(region, { childList: true, characterData: true, subtree: true });
        }"""
    )
    clocked_page.clock.pause_at("2100-01-01")
    for number in (1, 8):
        trace(clocked_page, HANDWRITING[number])
        clocked_page.clock.run_for(100)  # shorter than a pause
        assert clocked_page.evaluate("heard") == []
    clocked_page.clock.run_for(2000)
    assert clocked_page.evaluate("heard") == [clocked_page.locator("#summary").inner_text()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_with_its_background(page, address, scheme):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(address)
    draw(page, HANDWRITING[6])
    faint = page.evaluate(
        """() => {
            const light = (colour) => {
                const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => {
                    const c = v / 255;
                    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const behind = (element) => {
                const { backgroundColor } = getComputedStyle(element);
                return backgroundColor === "rgba(0, 0, 0, 0)"
                    ? behind(element.parentElement) : backgroundColor;
            };
            const words = [...document.body.querySelectorAll("*")].filter((element) =>
                element.checkVisibility() && !element.closest("#hint, template, script") &&
                [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
            return words.map((element) => {
                const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
                const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
                return [element.tagName, element.textContent, contrast];
            }).filter(([, , contrast]) => contrast < 4.5);
        }"""
    )
    assert faint == []


def test_names_are_never_executed(page, models, few_digits, tmp_path):
    name = "</script><script>window.broken = true</script><b>&amp;'\""
    path = tmp_path / "draw.html"
    path.write_text(draw_page([replace(models[0], variant=name)], few_digits), "utf-8")
    page.goto(path.as_uri())
    draw(page, HANDWRITING[0])
    assert page.evaluate("[digits.variants[0], window.broken]") == [name, None]
    assert page.locator("#inside-name").inner_text() == name


def test_the_page_is_the_one_that_was_reviewed(models, few_digits):
    check_drawn("draw", {"page": draw_page(models, few_digits)})


def test_the_page_links_to_the_report_and_the_same_models_give_the_same_page(
    drawing, models, few_digits
):
    assert drawing.get_by_role("link", name="Results").get_attribute("href") == "index.html"
    assert draw_page(models, few_digits) == draw_page(models, few_digits)

"""Digits as people photograph, scan and save them: 200 renderings, and what is no digit."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from scipy import ndimage

from pipeline.base.params import VariantSettings
from pipeline.datasets.picture import prepare_picture, read_picture
from pipeline.datasets.segmentation import _otsu, _Part, find_strokes
from pipeline.nn.model_file import Model
from pipeline.nn.prediction import predict_probabilities
from tests.refusal import refused
from tests.splits import CLASSES, SCALE
from tests.training import trained

SIDE = 480


def test_ink_and_paper_are_parted_where_the_variance_between_them_is_largest():
    rng = np.random.default_rng(0)
    for ink, paper, share in ((30, 200, 0.1), (90, 140, 0.5), (0, 255, 0.02)):
        dark = rng.random(2000) < share
        grey = np.where(dark, rng.normal(ink, 20, 2000), rng.normal(paper, 15, 2000))
        grey = np.rint(np.clip(grey, 0, 255))
        parts = [(grey[grey <= level], grey[grey > level]) for level in range(int(grey.max()))]
        variances = [
            len(one) * len(other) * (one.mean() - other.mean()) ** 2 if len(one) else 0
            for one, other in parts
        ]
        assert _otsu(grey.astype(np.float32)) == np.argmax(variances) + 0.5


def test_parts_that_are_joined_have_the_box_and_the_ink_of_both():
    joined = _Part(3, 9, 4, 6, 20.0, [1]).joined(_Part(1, 5, 5, 8, 2.5, [2, 3]))
    assert joined == _Part(1, 9, 4, 8, 22.5, [1, 2, 3])


def test_the_box_of_a_symbol_has_its_first_and_last_row_and_column():
    found = find_strokes(
        np.asarray(clean(np.eye(28, dtype=np.uint8) * 255, np.random.default_rng(0)))
    )
    mask = np.zeros((20, 30), bool)
    mask[3, 7] = mask[11, 25] = True
    assert found.box(mask) == (slice(3, 12), slice(7, 26))


def strokes(digit, rng, share=None):
    """Return a digit somewhere on a page, as ink from 0 to 1; it takes up a share of the side."""
    size = round(SIDE * (share or rng.uniform(0.25, 0.6)) * 28 / 20)
    page = Image.new("L", (SIDE, SIDE))
    room = SIDE // 2 - 10 * size // 28 - 12
    left, top = (SIDE - size) // 2 + rng.integers(-room, room + 1, 2)
    page.paste(Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC), (left, top))
    return np.asarray(page) / 255


def picture(grey):
    return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))


def clean(digit, rng):
    return picture(255 - 255 * strokes(digit, rng))


def with_one_pixel(digit, rng):
    page = clean(digit, rng)
    page.putpixel((int(rng.integers(2, SIDE - 2)), int(rng.integers(1, 8))), 0)
    return page


def with_specks(digit, rng):
    page = clean(digit, rng)
    draw = ImageDraw.Draw(page)
    for x, size in zip(rng.integers(4, SIDE - 10, 5), rng.integers(1, 6, 5), strict=True):
        y = int(rng.choice([4, SIDE - 12]))
        draw.ellipse((int(x), y, int(x + size), y + int(size)), fill=40)
    return page


def ruled(digit, rng, *, paper=250, line=150, pen=20, every=48, width=2, squared=False):
    lines = np.full((SIDE, SIDE), float(paper))
    start = int(rng.integers(every))
    for offset in range(width):
        lines[start + offset :: every] = line
        if squared:
            lines[:, start + offset :: every] = line
    ink = strokes(digit, rng)
    return picture(lines * (1 - ink) + pen * ink)


def lines_printed_over(digit, rng):
    page = np.array(clean(digit, rng))
    start = int(rng.integers(48))
    page[start::48] = page[start + 1 :: 48] = 205
    return picture(page)


def tilted_lines(digit, rng):
    lines = Image.new("L", (2 * SIDE, 2 * SIDE), 250)
    for y in range(int(rng.integers(48)), 2 * SIDE, 48):
        ImageDraw.Draw(lines).line((0, y, 2 * SIDE, y), fill=140, width=2)
    turned = lines.rotate(rng.uniform(-2, 2), Image.Resampling.BICUBIC)
    ink = strokes(digit, rng)
    corner = SIDE // 2
    return picture(
        np.asarray(turned.crop((corner, corner, corner + SIDE, corner + SIDE))) * (1 - ink)
        + 30 * ink
    )


def framed(digit, rng):
    width = int(rng.integers(2, 8))
    return ImageOps.expand(clean(digit, rng), width)


def in_a_box(digit, rng):
    page = clean(digit, rng)
    margin = int(rng.integers(8, 20))
    ImageDraw.Draw(page).rectangle(
        (margin, margin, SIDE - margin, SIDE - margin), outline=30, width=3
    )
    return page


def small(digit, rng):
    return picture(255 - 255 * strokes(digit, rng, share=0.1))


def cropped(digit, rng):
    page = picture(255 * strokes(digit, rng, share=0.7))
    return ImageOps.expand(
        ImageOps.invert(page.crop(page.point(lambda value: 255 * (value > 60)).getbbox())), 6, 255
    )


def with_a_thin_pen(digit, rng):
    thin = ndimage.grey_erosion(strokes(digit, rng, share=0.5), 7)
    return picture(255 - 255 * np.clip(1.3 * thin, 0, 1))


def twelve_bits(digit, rng):
    return Image.fromarray(np.asarray(clean(digit, rng)).astype(np.uint16) << 4)


def grainy(digit, rng, *, paper=210, ink=190, grain=14):
    return picture(paper - ink * strokes(digit, rng) + rng.normal(0, grain, (SIDE, SIDE)))


def lit_from_a_side(digit, rng):
    light = np.rot90(np.broadcast_to(np.linspace(240, 105, SIDE), (SIDE, SIDE)), rng.integers(4))
    return picture(light * (1 - strokes(digit, rng)))


def lit_from_a_corner(digit, rng):
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    corner = rng.choice([0.1, 0.9], 2)
    light = 235 - 120 * np.clip(np.hypot(y - corner[0], x - corner[1]), 0, 1)
    return picture(light * (1 - 0.9 * strokes(digit, rng)))


def under_a_hands_shadow(digit, rng):
    shadow = Image.new("L", (SIDE, SIDE), 255)
    edge = int(rng.integers(SIDE // 4, 3 * SIDE // 4))
    ImageDraw.Draw(shadow).polygon([(edge, 0), (SIDE, 0), (SIDE, SIDE), (edge - 80, SIDE)], 150)
    light = np.asarray(shadow.filter(ImageFilter.GaussianBlur(7))) / 255
    return picture((230 - 200 * strokes(digit, rng)) * light)


def photographed(digit, rng):
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    ink = strokes(digit, rng)
    page = (205 - 50 * x - 30 * y) * (1 - ink) + 55 * ink + rng.normal(0, 7, ink.shape)
    return picture(page).filter(ImageFilter.GaussianBlur(1))


def on_a_blackboard(digit, rng):
    return grainy(digit, rng, paper=45, ink=-150, grain=8)


PNG, JPEG = {"format": "PNG"}, {"format": "JPEG", "quality": 70}
KINDS = {
    "clean": (clean, PNG),
    "one black pixel elsewhere": (with_one_pixel, PNG),
    "specks": (with_specks, PNG),
    "ruled paper": (ruled, PNG),
    "lines printed over the digit": (lines_printed_over, PNG),
    "lines as dark as the pen": (lambda *of: ruled(*of, line=60, pen=40), PNG),
    "squared paper": (lambda *of: ruled(*of, line=170, every=24, width=1, squared=True), PNG),
    "tilted lines": (tilted_lines, PNG),
    "a frame": (framed, PNG),
    "a box": (in_a_box, PNG),
    "small": (small, PNG),
    "cropped": (cropped, PNG),
    "a thin pen": (with_a_thin_pen, PNG),
    "12 bits": (twelve_bits, PNG),
    "grain": (grainy, JPEG),
    "pencil": (lambda *of: grainy(*of, paper=212, ink=62, grain=9), JPEG),
    "lit from a side": (lit_from_a_side, JPEG),
    "lit from a corner": (lit_from_a_corner, JPEG),
    "a hand's shadow": (under_a_hands_shadow, JPEG),
    "a photograph": (photographed, JPEG),
    "a blackboard": (on_a_blackboard, JPEG),
}


@pytest.fixture(scope="module")
def held_out(digits):
    """A network and digits that it has not seen, of which it reads all 28x28 images."""
    rows = np.random.default_rng(0).permutation(5000)
    seen, unseen = digits.take(rows[:4000]), digits.take(rows[4000:])
    training = SCALE.apply(seen.images), seen.labels
    settings = VariantSettings(hidden=[128], lr=0.1, momentum=0.9, batch_size=64, epochs=12)
    network, _ = trained(settings, training, training)
    model = Model("good", network, SCALE, CLASSES, {"settings": settings.model_dump()})
    right = predicted(model, unseen.images) == unseen.labels
    assert right.mean() > 0.9
    return model, unseen.take(np.flatnonzero(right))


def predicted(model, images):
    return predict_probabilities(model, SCALE.apply(images)).argmax(axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_nine_of_ten_digits_of_each_kind_are_read(tmp_path, held_out, kind):
    model, unseen = held_out
    draw, options = KINDS[kind]
    rng = np.random.default_rng(list(KINDS).index(kind))
    right = 0
    for label in range(10):
        row = rng.choice(np.flatnonzero(unseen.labels == label))
        draw(unseen.images[row], rng).save(tmp_path / "picture", **options)
        right += predicted(model, read_picture(tmp_path / "picture")[None])[0] == label
    assert right >= 9


def test_digits_in_a_row_are_found_from_left_to_right(tmp_path, held_out):
    model, unseen = held_out
    rng = np.random.default_rng(0)
    read = Counter()
    for _ in range(10):
        rows = rng.integers(len(unseen), size=4)
        line = Image.new("L", (640, 200), 255)
        for number, row in enumerate(rows):
            digit = Image.fromarray(255 - unseen.images[row]).resize((140, 140))
            line.paste(digit, (20 + 155 * number, int(rng.integers(10, 50))))
        line.save(tmp_path / "row.png")
        found = prepare_picture(tmp_path / "row.png").images
        right = len(found) == 4 and list(predicted(model, found)) == list(unseen.labels[rows])
        read[right] += 1
    assert read[True] >= 8
    with refused(tmp_path / "row.png", "shows 4 digits, where one is expected"):
        read_picture(tmp_path / "row.png")


def blank(rng):
    return picture(215 + rng.normal(0, 6, (SIDE, SIDE)))


def speck(rng):
    page = Image.new("L", (SIDE, SIDE), 255)
    page.putpixel(tuple(map(int, rng.integers(SIDE, size=2))), 0)
    return page


def test_a_stroke_near_a_digit_is_part_of_it_and_a_speck_or_a_far_stroke_is_not():
    picture = np.full((100, 100), 255, np.uint8)
    picture[25:75, 30:40] = 0
    others = {
        "stroke": (slice(35, 42), slice(43, 48)), "speck": (slice(55, 57), slice(43, 44)),
        "far": (slice(35, 42), slice(60, 65)),
    }  # fmt: skip
    for place in others.values():
        picture[place] = 0
    (symbol,) = find_strokes(picture).symbols
    assert symbol[25:75, 30:40].all()
    found = {name for name, place in others.items() if symbol[place].all()}
    assert found == {"stroke"}


@pytest.mark.parametrize("draw", [blank, speck], ids=["blank paper", "one black pixel"])
def test_a_page_without_a_digit_is_refused(tmp_path, draw):
    for seed in range(5):
        draw(np.random.default_rng(seed)).save(tmp_path / "page.png")
        with refused(tmp_path / "page.png", "shows no digit"):
            read_picture(tmp_path / "page.png")


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_any_number_of_bits_is_read_from_a_picture_of_sixteen(tmp_path, digits, bits):
    image = digits.images[700]
    scaled = image.astype(np.uint16) << (bits - 8)
    Image.fromarray(scaled).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "deep.png", "as_is"), image)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (b"%PDF-1.7", "PDF"),
        (b'<svg xmlns="x">', "SVG"),
    ],
)
def test_other_kinds_of_pictures_are_named_with_a_remedy(tmp_path, content, kind):
    (tmp_path / "scan").write_bytes(content + bytes(100))
    with refused(tmp_path / "scan", f"is in {kind} format, which is not read here"):
        read_picture(tmp_path / "scan")


@pytest.mark.parametrize("place", [0, 1, 2, 9])
@pytest.mark.parametrize("turned", [False, True])
def test_a_stroke_alone_is_all_of_its_picture_at_an_edge_too(place, turned):
    picture = np.full((60, 60), 255, np.uint8)
    picture[place:40, 25:33] = 0
    found = find_strokes(picture.T if turned else picture)
    (symbol,) = found.symbols
    assert found.is_all(symbol)
    picture[50:56, 5:11] = 120
    found = find_strokes(picture)
    assert not found.is_all(found.symbols[-1])


def test_a_light_background_is_doubted_where_pictures_are_taken_as_they_are(tmp_path):
    grey = np.full((60, 60), 240, np.uint8)
    grey[20:40, 20:40] = 30
    Image.fromarray(grey).save(tmp_path / "light.png")
    seen = prepare_picture(tmp_path / "light.png", "as_is")
    inverted = prepare_picture(tmp_path / "light.png", "as_is", invert=True)
    assert "light background" in seen.doubt
    assert inverted.doubt is None
    np.testing.assert_allclose(inverted.images, 255 - seen.images, atol=1)

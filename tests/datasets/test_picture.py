import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import ndimage

from pipeline.datasets.picture import center_digit, read_picture
from tests.refusal import refused


@pytest.fixture(scope="module")
def sample(digits):
    """20 real digits, 2 of each."""
    return digits.images[np.arange(5000).reshape(10, 500)[:, 140::300].reshape(-1)]


def enlarged(digit, size=280):
    return Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)


def off_centre(digit):
    field = Image.new("L", (640, 400))
    field.paste(enlarged(digit), (350, 20))
    return field


def cropped(digit):
    return enlarged(digit).crop(Image.fromarray(digit).resize((280, 280)).getbbox())


def on_transparency(digit):
    picture = Image.new("RGBA", (280, 280), (0, 0, 0, 0))
    picture.putalpha(enlarged(digit))
    return picture


def on_uneven_paper(digit):
    shade = np.linspace(0, 12, 280)[:, None] + np.random.default_rng(0).normal(0, 3, (280, 280))
    paper = 225 + shade - 0.8 * np.asarray(enlarged(digit), float)
    return Image.fromarray(np.clip(paper, 0, 255).astype(np.uint8))


def sixteen_bits(digit):
    return Image.fromarray(np.asarray(ImageOps.invert(enlarged(digit))).astype(np.uint16) * 257)


def with_palette(digit):
    return ImageOps.invert(enlarged(digit)).convert("P")


def black_or_white(digit):
    return ImageOps.invert(enlarged(digit)).convert("1", dither=Image.Dither.NONE)


def saved(form, **options):
    """Return a function that encodes a picture as the bytes of a file."""

    def save(picture):
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        return buffer.getvalue()

    return save


def photographed(orientation, transpose):
    """Return a function that encodes a turned picture, with the orientation as a camera's EXIF."""
    exif = Image.Exif()
    exif[0x0112] = orientation

    def save(picture):
        return saved("JPEG", quality=90, exif=exif)(picture.transpose(transpose))

    return save


def best_correlation(picture, digit):
    """Return the correlation with the digit, allowing for one pixel from rounding its centre."""
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return max(
        np.corrcoef(np.roll(picture, shift, (0, 1)).ravel(), digit.ravel())[0, 1]
        for shift in shifts
    )


PNG = saved("PNG")
APPEARANCES = {
    "light on dark": (enlarged, PNG),
    "dark on light": (lambda digit: ImageOps.invert(enlarged(digit)), PNG),
    "off centre": (off_centre, PNG),
    "cropped to its edge": (lambda digit: ImageOps.invert(ImageOps.expand(cropped(digit), 3)), PNG),
    "colour on colour": (lambda digit: ImageOps.colorize(enlarged(digit), "ivory", "navy"), PNG),
    "yellow on dark green": (
        lambda digit: ImageOps.colorize(enlarged(digit), "darkgreen", "yellow"),
        PNG,
    ),
    "on transparency": (on_transparency, PNG),
    "uneven paper": (on_uneven_paper, PNG),
    "16 bits": (sixteen_bits, PNG),
    "palette": (with_palette, PNG),
    "black or white": (black_or_white, PNG),
    "16 pixels wide": (lambda digit: enlarged(digit, 16), PNG),
    "1,000 pixels wide": (lambda digit: enlarged(digit, 1000), saved("PNG", compress_level=0)),
    "JPEG of low quality": (
        lambda digit: ImageOps.invert(enlarged(digit)),
        saved("JPEG", quality=15),
    ),
    "CMYK": (lambda digit: ImageOps.invert(enlarged(digit)).convert("CMYK"), saved("JPEG")),
    "photographed on its side": (enlarged, photographed(6, Image.Transpose.ROTATE_90)),
    "photographed upside down": (enlarged, photographed(3, Image.Transpose.ROTATE_180)),
}


@pytest.mark.parametrize(("draw", "save"), APPEARANCES.values(), ids=APPEARANCES)
def test_every_appearance_of_a_digit_is_converted_to_nearly_the_digit_of_mnist(
    tmp_path, sample, draw, save
):
    path = tmp_path / "picture"
    likeness = []
    for digit in sample:
        path.write_bytes(save(draw(digit)))
        picture = read_picture(path)
        assert picture.dtype == np.uint8
        assert picture.shape == (28, 28)
        likeness.append(best_correlation(picture, digit))
        assert max(extent(picture)) == 20
        assert np.abs(np.subtract(ndimage.center_of_mass(picture), 14)).max() < 0.6
    assert min(likeness) > 0.8
    assert np.mean(np.array(likeness) > 0.9) >= 0.8


def extent(picture):
    return [np.ptp(indices) + 1 for indices in np.nonzero(picture)]


def test_an_image_of_a_set_saved_as_a_picture_gives_that_image_back(tmp_path, digits):
    rng = np.random.default_rng(0)
    square = np.zeros((28, 28), np.uint8)
    square[3:9, 14:20] = 150
    for pictures, images in (
        ("digit", digits.images[::25]),
        ("as_is", [square, square.T, rng.integers(0, 256, (28, 28), np.uint8), 255 - square]),
    ):
        for image in images:
            Image.fromarray(image).save(tmp_path / "own.png")
            np.testing.assert_array_equal(read_picture(tmp_path / "own.png", pictures), image)


def test_a_small_picture_is_taken_as_it_is_if_its_box_is_in_the_middle_as_in_emnist(tmp_path):
    for longest in (14, 16, 24, 26):
        seven = np.zeros((28, 28), np.uint8)
        edge = (28 - longest) // 2
        seven[edge : 28 - edge, 18:20] = 255
        seven[edge : edge + 4, 8:20] = 255
        Image.fromarray(seven).save(tmp_path / "seven.png")
        expected = seven if 16 <= longest <= 24 else center_digit(seven)
        np.testing.assert_array_equal(read_picture(tmp_path / "seven.png"), expected)


@pytest.mark.parametrize("off", [1, 2, -2])
def test_a_small_picture_of_a_digit_is_centred_if_it_is_two_pixels_off(tmp_path, off):
    zero = np.zeros((28, 28), np.uint8)
    zero[4:24, 7:21] = 255
    zero[7:21, 10:18] = 0
    moved = np.roll(zero, off, axis=0)
    Image.fromarray(moved).save(tmp_path / "off.png")
    expected = moved if off == 1 else center_digit(moved)
    np.testing.assert_array_equal(read_picture(tmp_path / "off.png"), expected)


def test_a_picture_taken_as_it_is_keeps_its_place_its_proportions_and_its_grey(tmp_path):
    square = np.zeros((28, 28), np.uint8)
    square[2:8, 20:26] = 190
    enlarged = Image.fromarray(square).resize((280, 280), Image.Resampling.NEAREST)
    enlarged.save(tmp_path / "large.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "large.png", "as_is"), square)
    enlarged.crop((0, 0, 280, 140)).save(tmp_path / "wide.png")
    seen = read_picture(tmp_path / "wide.png", "as_is")
    np.testing.assert_array_equal(seen[7:21], square[:14])
    assert not seen[:7].any()
    Image.merge("LA", (enlarged, enlarged)).save(tmp_path / "transparent.png")
    seen = read_picture(tmp_path / "transparent.png", "as_is")
    assert (seen > 0).sum() == 36


def test_a_digit_of_mnist_stays_nearly_unchanged(digits):
    images = digits.images[::10]
    likeness = [
        np.corrcoef(center_digit(digit.astype(float)).ravel(), digit.ravel())[0, 1]
        for digit in images
    ]
    # Where faint edge pixels tip the rounding of the centre, the digit moves by one pixel.
    assert np.mean(np.array(likeness) > 0.99) > 0.97
    assert np.median(likeness) > 0.999


def test_mnists_own_digits_have_their_centre_of_mass_at_pixel_14(sample):
    """`center_digit` has to put it there."""
    centres = [ndimage.center_of_mass(digit) for digit in sample]
    assert np.abs(np.subtract(centres, 14)).max() <= 0.5


def test_proportions_are_kept():
    picture = np.full((300, 500), 255.0)
    picture[50:250, 200:230] = 0
    assert extent(center_digit(picture)) == [20, 3]
    assert extent(center_digit(picture.T)) == [3, 20]


def test_a_single_dark_pixel_is_shown_large_without_an_error():
    picture = np.full((50, 50), 255.0)
    picture[3, 40] = 0
    assert extent(center_digit(picture)) == [20, 20]


def test_the_strongest_stroke_becomes_white_and_paper_becomes_black():
    picture = np.full((100, 100), 120.0)
    picture[20:80, 45:55] = 80
    centred = center_digit(picture)
    assert centred.max() == 255
    assert (centred == 0).sum() == 784 - 20 * 3


def test_the_grain_of_the_paper_vanishes():
    picture = 220 + np.random.default_rng(0).normal(0, 4, (100, 100))
    picture[20:80, 20:26] = picture[74:80, 20:80] = 30
    centred = center_digit(picture)
    assert extent(centred) == [20, 20]
    rows, columns = np.nonzero(centred)
    top, left = rows.min(), columns.min()
    assert (centred[top : top + 15, left + 5 :] == 0).all()


def with_size(picture, width, height):
    """Return a PNG whose header claims another size."""
    content = bytearray(PNG(picture))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def animated(form, digit):
    """Return a file of two pictures."""
    return saved(form, save_all=True, append_images=[enlarged(255 - digit)])(enlarged(digit))


DIGITLESS = {
    "white": (lambda digit: PNG(Image.new("L", (50, 50), "white")), "no digit"),
    "black": (lambda digit: PNG(Image.new("RGB", (50, 50))), "no digit"),
    "one pixel": (lambda digit: PNG(Image.new("L", (1, 1))), "no digit"),
    "transparent": (lambda digit: PNG(Image.new("RGBA", (50, 50))), "no digit"),
    "nearly blank": (lambda digit: PNG(Image.fromarray(digit // 20)), "no digit"),
    "text": (lambda digit: b"seven\n", "not a PNG, JPEG, BMP, GIF or WebP picture"),
    "nothing": (lambda digit: b"", "not a PNG, JPEG, BMP, GIF or WebP picture"),
    "half a PNG": (lambda digit: PNG(enlarged(digit))[:3000], "damaged"),
    "a PNG's first line": (lambda digit: PNG(enlarged(digit))[:50], "damaged"),
    "a PNG with other bytes": (
        lambda digit: PNG(enlarged(digit))[:2000] + bytes(500) + PNG(enlarged(digit))[2500:],
        "damaged",
    ),
    "an animated GIF": (lambda digit: animated("GIF", digit), "holds several pictures"),
    "an animated WebP": (lambda digit: animated("WEBP", digit), "holds several pictures"),
    "an animated PNG": (lambda digit: animated("PNG", digit), "holds several pictures"),
    "a GIF that breaks off in its second picture": (
        lambda digit: saved("GIF")(enlarged(digit))[:-1] + b"," + bytes(9),
        "damaged",
    ),
    "an icon": (lambda digit: saved("ICO")(enlarged(digit)), "is in Windows icon (ICO) format"),
    "16 bits and a transparent grey": (
        lambda digit: saved("PNG", transparency=7)(sixteen_bits(digit)),
        "16 bits and transparent pixels; save it with 8 bits",
    ),
    "half a JPEG": (lambda digit: saved("JPEG")(enlarged(digit))[:2000], "damaged"),
    "too large": (lambda digit: with_size(enlarged(digit), 10_000, 10_000), "too large"),
    "far too large": (lambda digit: with_size(enlarged(digit), 90_000, 90_000), "too large"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("make", "words"), DIGITLESS.values(), ids=DIGITLESS)
def test_a_picture_without_a_digit_is_refused_with_its_name(tmp_path, sample, make, words):
    path = tmp_path / "picture.png"
    path.write_bytes(make(sample[10]))
    with refused(path, words):
        read_picture(path)


def test_of_a_cameras_multi_picture_file_the_photograph_is_read(tmp_path, sample):
    alone, preview = enlarged(sample[10]), enlarged(sample[4], 60)
    alone.save(tmp_path / "alone.jpg", quality=90)
    alone.save(tmp_path / "both.jpg", "MPO", save_all=True, append_images=[preview], quality=90)
    seen, expected = (read_picture(tmp_path / name) for name in ("both.jpg", "alone.jpg"))
    np.testing.assert_array_equal(seen, expected)


def test_a_missing_picture_and_a_folder_are_refused_with_their_names(tmp_path):
    with refused(tmp_path / "absent.png", "does not exist"):
        read_picture(tmp_path / "absent.png")
    with refused(tmp_path, "is a folder"):
        read_picture(tmp_path)


def test_white_strokes_on_a_transparent_background_are_seen(tmp_path, sample):
    picture = Image.new("RGBA", (280, 280), "white")
    picture.putalpha(Image.fromarray(sample[10]).resize((280, 280)))
    picture.save(tmp_path / "white.png")
    Image.fromarray(sample[10]).resize((280, 280)).save(tmp_path / "grey.png")
    seen, expected = (
        read_picture(tmp_path / name).astype(int) for name in ("white.png", "grey.png")
    )
    assert np.abs(seen - expected).max() <= 2


def test_thin_strokes_come_out_at_full_strength():
    grey = np.full((600, 600), 255.0)
    grey[100:500, 300:303] = 0
    assert center_digit(grey).max() == 255


def test_strokes_too_thin_to_be_seen_are_refused():
    grey = np.full((2000, 2000), 255.0)
    grey[10, 10] = grey[1990, 1990] = 0
    with refused(match="too thin"):
        center_digit(grey)

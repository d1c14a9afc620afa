"""Distortions of training images."""

import numpy as np
import pytest

from pipeline.base.params import Augment
from pipeline.datasets.augment import CENTRE, DISTORTION, FIELDS, Distortions, distort
from pipeline.datasets.draws import key_of
from tests.nn.tiles import tiles_of

KEY = key_of(np.random.default_rng(0))
NONE = np.zeros((FIELDS, 28, 28), np.float32)
ALL = Augment(rotate=30.0, scale=0.3, shear=0.3, shift=4.0, elastic=1.0)


def record(**changes):
    """The distortion that changes nothing, with some numbers replaced."""
    found = np.zeros(1, DISTORTION)
    for name, value in ({"xx": 1, "yy": 1, "x": CENTRE, "y": CENTRE} | changes).items():
        found[name] = value
    return found


@pytest.fixture
def image(digits):
    return digits.images[:1]


def test_without_strength_an_image_stays_as_it_is(digits):
    some = digits.images[::100]
    drawn = Distortions(Augment(), KEY).draw(1, np.arange(len(some)))
    np.testing.assert_array_equal(distort(some, drawn, NONE), some)


def test_a_shift_moves_the_image_and_fills_with_background(image):
    moved = distort(image, record(x=CENTRE + 3, y=CENTRE - 2), NONE)
    expected = np.zeros_like(image)
    expected[:, 2:, :-3] = image[:, :-2, 3:]
    np.testing.assert_array_equal(moved, expected)


def test_half_a_pixel_is_the_mean_of_two_rounded_up(image):
    moved = distort(image, record(y=CENTRE + 0.5), NONE)
    below = np.pad(image, ((0, 0), (0, 1), (0, 0)))[:, 1:].astype(int)
    np.testing.assert_array_equal(moved, (image + below + 1) // 2)


def test_a_quarter_turn_is_exact(image):
    turned = distort(image, record(xx=0, xy=-1, yx=1, yy=0), NONE)
    np.testing.assert_array_equal(turned[0], np.rot90(image[0]))


def test_an_image_far_outside_is_background(image):
    for place in (-1e30, -40, 60, 1e30):
        assert not distort(image, record(x=place), NONE).any()


@pytest.mark.parametrize("only", [*Augment.model_fields])
def test_each_strength_distorts_and_stays_within_its_limit(only, digits):
    limits = {"rotate": 20.0, "scale": 0.2, "shear": 0.2, "shift": 2.0, "elastic": 1.0}
    distortions = Distortions(Augment(**{only: limits[only]}), KEY)
    drawn = distortions.draw(1, np.arange(5000))
    matrix = np.array([[drawn["xx"], drawn["xy"]], [drawn["yx"], drawn["yy"]]])
    angle = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    size, lean = np.hypot(matrix[0, 0], matrix[1, 0]), (matrix[:, 0] * matrix[:, 1]).sum(axis=0)
    found = {
        "rotate": angle, "scale": size - 1, "shear": lean, "shift": drawn["x"] - CENTRE,
        "elastic": drawn["bend_x"],
    }  # fmt: skip
    for name, values in found.items():
        if name == "shear" and only == "scale":
            continue
        most = limits[name] if name == only else 0
        assert abs(values).max() <= most * (1 + 1e-5) + 1e-6, name
        if name == only:
            assert values.max() > 0.99 * most
            assert values.min() < -0.99 * most
    changed = distort(digits.images, drawn, distortions.fields) != digits.images
    assert changed.any(axis=(1, 2)).mean() > 0.99


def test_fields_are_smooth_and_of_standard_deviation_1():
    fields = Distortions(ALL, KEY).fields
    assert fields.std() == pytest.approx(1, abs=0.03)
    assert abs(fields.mean()) < 0.05
    # A Gaussian of standard deviation 4 leaves neighbours with a correlation of exp(-1 / 64).
    neighbours = (fields[:, 1:] * fields[:, :-1]).mean() / (fields**2).mean()
    assert neighbours == pytest.approx(np.exp(-1 / 64), abs=0.005)


def test_draws_depend_on_seed_epoch_and_image_and_on_nothing_else():
    distortions = Distortions(ALL, KEY)
    drawn = distortions.draw(2, np.arange(100))
    for rows in (np.array([5, 3, 99]), np.arange(50, 100)):
        np.testing.assert_array_equal(Distortions(ALL, KEY).draw(2, rows), drawn[rows])
    other_seed = Distortions(ALL, key_of(np.random.default_rng(1)))
    for other in (distortions.draw(3, np.arange(100)), other_seed.draw(2, np.arange(100))):
        assert (other["xx"] != drawn["xx"]).all()
    assert len(np.unique(drawn["xx"])) == 100


@pytest.mark.parametrize("strengths", [Augment(), ALL, Augment(rotate=180.0, scale=0.9)])
@pytest.mark.parametrize("inverted", [False, True])
def test_the_compiled_code_gives_the_same_bytes(strengths, inverted, digits):
    images = digits.images[::20]
    images = 255 - images if inverted else images
    distortions = Distortions(strengths, KEY)
    drawn = distortions.draw(1, np.arange(len(images)))
    expected = distort(images, drawn, distortions.fields)
    np.testing.assert_array_equal(tiles_of(images, drawn, distortions.fields), expected)

"""A variant has one colour everywhere, and no two colours can be mixed up."""

import json
from itertools import combinations

import numpy as np
import pytest

from pipeline.base.colours import DASHES, SERIES, SERIES_DARK, place
from tests.conftest import ROOT

# How people see without one kind of cone: Machado, Oliveira and Fernandes 2009,
# https://doi.org/10.1109/TVCG.2009.113, for linear RGB, severity 1.
VISIONS = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
# From linear RGB to OKLab, https://bottosson.github.io/posts/oklab/
TO_CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def linear(colour):
    parts = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(colour, vision):
    seen = np.clip(np.array(vision) @ linear(colour), 0, 1)
    return np.array(TO_LAB) @ np.cbrt(np.array(TO_CONES) @ seen)


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_on_white_differ_for_every_reader(vision):
    for one, other in combinations(SERIES, 2):
        distance = np.linalg.norm(lab(one, VISIONS[vision]) - lab(other, VISIONS[vision]))
        assert distance > 0.075, (one, other)


@pytest.mark.parametrize(("series", "least"), [(SERIES, 0.15), (SERIES_DARK, 0.1)])
def test_no_two_colours_look_alike_on_either_paper(series, least):
    for one, other in combinations(series, 2):
        assert np.linalg.norm(lab(one, np.eye(3)) - lab(other, np.eye(3))) > least, (one, other)


def test_31_variants_have_31_pairs_of_colour_and_dash():
    assert len(set(map(place, range(31)))) == 31
    assert len(SERIES) * len(DASHES) == 32
    assert [colour for colour, _ in map(place, range(8))] == list(range(8))


@pytest.mark.parametrize("template", ["curves", "costs"])
def test_dvc_plots_gives_variants_the_same_colours_by_alphabet(template):
    spec = json.loads((ROOT / f".dvc/plots/{template}.json").read_text())
    colour = spec["encoding"]["color"]
    assert colour["field"] == "variant"
    assert "sort" not in colour  # Vega-Lite sorts names by default
    assert tuple(colour["scale"]["range"]) == SERIES

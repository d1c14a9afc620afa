"""The report counts the images of every class, also of one that a split lacks."""

import numpy as np

from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.normalization import Normalization
from pipeline.report.page import _counts


def test_a_class_that_a_split_lacks_has_the_count_0():
    description = Description("made", ("a", "b", "c", "d"), "made")
    scale = Normalization("scale", 0.0, 1.0)
    splits = {
        name: Examples(
            np.zeros((len(labels), 784), np.float32), np.array(labels, np.uint8), description, scale
        )
        for name, labels in {"train": [0, 0, 1, 2, 3], "test": [1, 1]}.items()
    }
    assert _counts(splits) == {"train": [2, 1, 1, 1], "test": [0, 2, 0, 0]}

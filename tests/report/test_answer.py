"""The answer that the report begins with."""

import numpy as np

from pipeline.datasets import pixel_file
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.parquet import open_examples, write_examples
from pipeline.report.answer import _pictures
from pipeline.report.pictures import strip_picture
from tests.splits import CLASSES, SCALE


def test_the_pictures_of_mistakes_are_those_of_their_rows_in_a_file_of_several_blocks(
    few_digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(pixel_file, "PIECE", 10)
    inputs = SCALE.apply(few_digits.images[:35])
    description = Description("made", CLASSES, "by hand")
    write_examples(
        tmp_path / "x.parquet", Examples(inputs, few_digits.labels[:35], description, SCALE)
    )
    rows = np.array([20, 0, 9, 10, 34])
    found = _pictures(open_examples(tmp_path / "x.parquet"), rows)
    assert found == [strip_picture(few_digits.images[[row]]) for row in rows]

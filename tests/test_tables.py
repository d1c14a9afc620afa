import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.tables import read_table, write_table
from tests.refusal import refused

floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
rows = st.lists(st.tuples(names, st.integers(-999, 999), floats), min_size=1, max_size=20)


@given(rows)
def test_a_table_has_the_bytes_that_pandas_writes_and_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "table.csv"
    name, count, share = zip(*rows, strict=True)
    write_table(path, {"name": name, "count": count, "share": share})
    frame = pd.DataFrame({"name": name, "count": count, "share": share})
    text = io.StringIO()
    frame.to_csv(text, index=False, float_format="%.6g", lineterminator="\n")
    assert path.read_text(encoding="utf-8") == text.getvalue()
    table = read_table(path, text=("name",))
    assert table["name"].tolist() == list(name)
    assert table["count"].tolist() == list(count)
    np.testing.assert_allclose(table["share"], share, rtol=1e-5)


def test_a_missing_value_is_an_empty_cell_and_comes_back_as_nan(tmp_path):
    write_table(tmp_path / "a.csv", {"trial": [0, 1], "cost": [None, 0.5], "lr": [1.5, np.nan]})
    assert (tmp_path / "a.csv").read_text() == "trial,cost,lr\n0,,1.5\n1,0.5,\n"
    table = read_table(tmp_path / "a.csv")
    assert np.isnan(table["cost"][0])
    assert table["cost"][1] == 0.5


@pytest.mark.parametrize("content", ["", "a,b\n1\n", "a\nx\n", 'a\n"1\n'])
def test_what_is_not_a_table_is_an_error_of_one_line(tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    with refused(match=r"a\.csv is not a CSV table: "):
        read_table(tmp_path / "a.csv")

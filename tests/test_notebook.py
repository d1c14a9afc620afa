"""The notebook runs from top to bottom and prints what it shows.

After a change, execute it again and save it:

    python -m tests.test_notebook
"""

import os
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

PATH = ROOT / "notebooks" / "from_pixels_to_digits.ipynb"


def executed(notebook):
    """Execute a notebook in its folder, with this project first on the path."""
    os.environ["PYTHONPATH"] = str(ROOT)
    place = {"metadata": {"path": str(PATH.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # times of execution
    return notebook


def printed(notebook):
    return [
        "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_the_notebook_has_its_outputs_and_no_errors():
    notebook = nbformat.read(PATH, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = [output.output_type for cell in code for output in cell.outputs]
    assert set(kinds) == {"stream", "display_data"}
    assert PATH.stat().st_size < 1_000_000


@pytest.mark.long
def test_the_notebook_prints_what_it_shows(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    shown = nbformat.read(PATH, 4)
    assert printed(executed(nbformat.read(PATH, 4))) == printed(shown)


if __name__ == "__main__":
    nbformat.write(executed(nbformat.read(PATH, 4)), PATH)
    sys.stdout.write(f"{PATH.name} is executed\n")

"""The memory of each stage, measured in real processes, does not grow with the images."""

import json
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_four_times_the_images_take_no_more_memory_in_any_stage(tmp_path):
    counts = ("100000", "400000")
    subprocess.run(
        [
            sys.executable, "-m", "benchmarks.memory", "--repeats", "0",
            *(part for count in counts for part in ("--images", count)),
            "--folder", str(tmp_path), "--out", str(tmp_path),
        ],
        cwd=ROOT, check=True,
    )  # fmt: skip
    peaks = defaultdict(list)
    for run in json.loads((tmp_path / "memory.json").read_text())["stages"]:
        peaks[run["stage"]].append(run["peak_mib"])
    few, many = peaks.pop("train from memory")
    assert many - few > 200  # 300,000 images of 784 bytes have 224 MiB
    assert sorted(peaks) == ["convert", "download", "evaluate", "split", "train"]
    for stage, (few, many) in peaks.items():
        assert many < 1.25 * few, stage
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory.json", "memory.png"]

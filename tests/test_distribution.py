"""What is handed on: the wheel, the sdist, and the bill of materials."""

import hashlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.nn.model_file import Model, save_model
from pipeline.nn.training import make_network
from tests.conftest import ROOT, ci_script, git_files


@pytest.fixture(scope="module")
def sbom():
    """The script .ci/sbom.py, as a module."""
    return ci_script("sbom")


def test_the_bill_of_materials_lists_the_lock_and_only_allowed_licences(tmp_path):
    bill = tmp_path / "sbom.json"
    command = [sys.executable, ".ci/sbom.py", bill]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads(bill.read_text())
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    lock = (ROOT / "requirements.lock").read_text()
    listed = [f"{each['name']}=={each['version']}" for each in content["components"]]
    assert listed == re.findall(r"^[\w.-]+==[^\s;]+", lock, re.MULTILINE)
    hashes = [
        digest["content"]
        for each in content["components"]
        for digest in each["externalReferences"][0]["hashes"]
    ]
    assert sorted(hashes) == sorted(re.findall(r"sha256:([0-9a-f]{64})", lock))


def test_the_licence_of_a_package_is_known_where_it_is_not_installed(sbom):
    lock = (ROOT / "requirements.lock").read_text()
    elsewhere = r"^([\w.-]+)==[^\s;]+ ; (?:python_full_version|sys_platform)"
    found = set(re.findall(elsewhere, lock, re.MULTILINE))
    assert {"pywin32", "zipp"} <= found <= sbom.SPELT_OUT.keys()


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-2.0-or-later OR Apache-2.0", True),
        ("GPL-3.0-only OR MIT AND GPL-3.0-only", False),
        ("MPL-2.0 AND (GPL-3.0-only OR MIT)", True),
        ("MPL-2.0 AND (GPL-3.0-only OR (MIT AND LicenseRef-own))", False),
    ],
)
def test_a_licence_is_allowed_if_one_of_its_choices_is_allowed_in_all_parts(
    sbom, expression, allowed
):
    assert sbom.allowed(expression) == allowed


def test_a_package_of_another_licence_is_refused_by_name(sbom, tmp_path, monkeypatch):
    monkeypatch.setattr(sbom, "ALLOWED", sbom.ALLOWED - {"MIT-CMU"})
    monkeypatch.setattr(sys, "argv", ["sbom.py", str(tmp_path / "sbom.json")])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=r"not allowed:\npillow: MIT-CMU$"):
        sbom.main()
    assert not (tmp_path / "sbom.json").exists()


USE = """
import sys
from pathlib import Path
import pipeline
from pipeline.nn.model_file import load_model
from pipeline.report.drawing import draw_page

assert Path(pipeline.__file__).is_relative_to(sys.argv[1]), pipeline.__file__
print(len(draw_page([load_model(Path("model.npz"))])))
"""


def built(folder, **environment):
    done = subprocess.run(
        [sys.executable, ".ci/dist.py", folder], cwd=ROOT, env=os.environ | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the working tree is no git repository")
def test_the_wheel_and_the_sdist_are_the_same_bytes_and_the_wheel_alone_is_enough(tmp_path):
    digests = built(tmp_path / "dist")
    assert len(digests) == 2
    assert built(tmp_path / "again", TZ="Asia/Tokyo", LC_ALL="C") == digests
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-index", "--no-compile", "--target", tmp_path / "site", wheel),
        ],
        check=True,
    )
    for path in git_files():
        name = path.relative_to(ROOT)
        if name.parts[0] in {"pipeline", "stages"}:
            assert (tmp_path / "site" / name).read_bytes() == path.read_bytes(), name
    settings = VariantSettings(hidden=[4], lr=0.1, batch_size=1, epochs=1)
    network, _ = make_network(settings, 10, 0)
    scale = Normalization("scale", 0.0, 1.0)
    save_model(tmp_path / "model.npz", Model("small", network, scale, tuple("0123456789"), {}))
    picture = np.full((28, 28), 255, np.uint8)
    picture[6:22, 12:16] = 0
    Image.fromarray(picture).save(tmp_path / "one.png")
    alone = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(tmp_path / "site")}}
    digits = [tmp_path / "site/bin/digits", "predict", "model.npz", "one.png"]
    shown = subprocess.run(digits, **alone, capture_output=True, text=True, check=True).stdout
    assert len(shown.splitlines()) == 11
    page = [sys.executable, "-c", USE, tmp_path / "site"]
    assert int(subprocess.run(page, **alone, capture_output=True, check=True).stdout) > 10_000

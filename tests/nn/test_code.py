"""Where compiled code is stored, and when it is reused."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from pipeline.nn.compiled import code
from tests.conftest import ROOT
from tests.test_structure import own_files


@pytest.fixture(scope="module")
def made():
    """The compiled code, from the cache file that all tests share."""
    code.functions()
    (path,) = [file for file in code._folder().glob("*.json") if code._key() in file.name]
    return code._read(path)


@pytest.fixture
def compile_here(tmp_path, monkeypatch, made):
    """A function that finds or makes the code below tmp_path and returns which it did."""
    monkeypatch.setattr(code, "user_cache_path", lambda name: tmp_path / "cache" / name)
    compiled = []
    monkeypatch.setattr(code, "_make", lambda: compiled.append(1) or made)

    def compile_here():
        compiled.clear()
        assert "train" in code._functions.__wrapped__()
        return "made" if compiled else "found"

    return compile_here


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_code_is_compiled_once_and_then_read_from_the_cache(compile_here, tmp_path, capfd):
    assert [compile_here() for _ in range(3)] == ["made", "found", "found"]
    assert len(files(tmp_path)) == 1
    assert capfd.readouterr().err == ""


def test_each_cpu_and_each_version_of_the_sources_has_its_own_code(
    compile_here, monkeypatch, tmp_path
):
    compile_here()
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    assert compile_here() == "made"
    monkeypatch.setattr(code, "version", lambda name: "0.0")
    assert compile_here() == "made"
    assert len(files(tmp_path)) == 3


def test_the_sources_of_the_code_include_all_that_define_its_constants():
    folder = ROOT / "pipeline" / "nn" / "compiled"
    callers = {"__init__.py", "code.py", "engine.py", "threads.py"}
    needed = {
        path.removeprefix("pipeline/")
        for module in folder.glob("*.py")
        if module.name not in callers
        for path in own_files(str(module.relative_to(ROOT)))
    }
    outside = {path for path in needed if not path.startswith("nn/compiled/")}
    assert outside == set(code.SOURCES) - {"nn/compiled"}


@pytest.mark.parametrize("changed", [*code.SOURCES[1:], "nn/compiled/step.py"])
def test_a_changed_source_is_compiled_again(changed, compile_here, monkeypatch, tmp_path):
    compile_here()
    shutil.copytree(code._PACKAGE, tmp_path / "pipeline")
    monkeypatch.setattr(code, "_PACKAGE", tmp_path / "pipeline")
    assert compile_here() == "found"
    with open(tmp_path / "pipeline" / changed, "a") as file:
        file.write("# another constant\n")
    assert compile_here() == "made"


@pytest.mark.parametrize("place", [0, 10, 63, 64, 1000, -1])
def test_one_damaged_byte_is_detected_and_the_code_compiled_again(
    compile_here, tmp_path, place, capfd
):
    compile_here()
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert compile_here() == "made"
    assert capfd.readouterr().err == f"Warning: {path} is damaged; its code is compiled again\n"
    assert compile_here() == "found"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720])
def test_code_is_not_saved_where_other_users_can_write(compile_here, tmp_path, mode, capfd):
    compile_here()
    (path,) = files(tmp_path)
    path.parent.chmod(mode)
    assert compile_here() == "made"
    (line,) = capfd.readouterr().err.splitlines()
    assert f"other users can write to {path.parent}" in line


def test_code_is_not_saved_below_a_folder_that_other_users_can_write(compile_here, tmp_path, capfd):
    compile_here()
    (tmp_path / "cache").chmod(0o777)
    assert compile_here() == "made"
    assert f"other users can write to {tmp_path / 'cache'}" in capfd.readouterr().err


def test_code_that_cannot_be_saved_is_compiled_in_memory_with_one_warning(
    compile_here, tmp_path, capfd
):
    (tmp_path / "cache").write_text("a file")
    assert compile_here() == "made"
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("Warning: compiled code is not saved in")


def test_without_a_home_folder_code_is_compiled_in_memory(compile_here, monkeypatch, capfd):
    def no_home(name):  # noqa: ARG001
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(code, "user_cache_path", no_home)
    assert compile_here() == "made"
    (line,) = capfd.readouterr().err.splitlines()
    assert "Could not determine home directory" in line


MAKE = """
import json, sys, time
from pipeline.nn.compiled import code

def make():
    time.sleep(0.5)  # as long as compiling takes, so that all processes overlap
    return json.load(open(sys.argv[1]))

code._make = make
print(len(code.functions()))
"""


def test_several_processes_can_compile_at_once(tmp_path, made):
    (tmp_path / "made.json").write_text(json.dumps(made))
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE, tmp_path / "made.json"], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    assert [process.communicate() for process in processes] == [(f"{len(made)}\n", "")] * 4
    assert len(files(tmp_path)) == 2


USE = """
import sys
import numpy as np
from pipeline.nn.devices import CPU
from pipeline.nn.training import make_network
from pipeline.base.params import VariantSettings

network, _ = make_network(VariantSettings(hidden=[8], lr=1.0, batch_size=1, epochs=1), 10, 0)
engine = CPU.engine(network)
engine.probabilities(engine.hold([(np.zeros((1, 784), np.float32), np.zeros(1))], 1))
print("numba" in sys.modules)
"""


def test_later_processes_do_not_load_numba():
    code.functions()
    answer = subprocess.run(
        [sys.executable, "-c", USE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"


MANY = """
from threading import Thread
import numpy as np
from pipeline.nn.devices import CPU
from pipeline.nn.training import make_network
from pipeline.base.params import VariantSettings

settings = VariantSettings(hidden=[8], lr=0.1, batch_size=32, epochs=1)
inputs, labels = np.zeros((640, 784), np.float32), np.zeros(640, np.uint8)

def train():
    network, rng = make_network(settings, 10, 0)
    engine = CPU.engine(network, settings, threads=2)
    images = engine.hold([(inputs, labels)], 640)
    for _ in range(20):
        engine.train(images, rng.permutation(640), np.full(20, 0.1))

threads = [Thread(target=train) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_several_threads_of_a_process_can_train_at_once():
    code.functions()
    answer = subprocess.run(
        [sys.executable, "-c", MANY],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert answer.stdout == "done\n"


def test_a_stage_without_a_network_loads_no_compiled_code():
    for_each = (
        "import importlib, sys\n"
        "for stage in ('download', 'convert', 'split', 'compare', 'report'):\n"
        "    importlib.import_module(f'stages.{stage}')\n"
        "    print(stage, [name for name in sys.modules if name.startswith('llvm')])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", for_each], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "download []\nconvert []\nsplit []\ncompare []\nreport []\n"

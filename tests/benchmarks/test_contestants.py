"""Every contestant does the same work, and only ours imports this package."""

import dataclasses
import importlib
import itertools
import subprocess
import sys

import pytest

from benchmarks.contestants import CONTESTANTS
from benchmarks.data import is_plain
from benchmarks.job import UnableError, read_job
from pipeline.nn.devices import Device
from tests.benchmarks.conftest import SETTINGS
from tests.conftest import ROOT
from tests.test_structure import imports

pytestmark = pytest.mark.long

EPOCHS = 3
COMPILED = (
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning"),
)
RIVALS = [
    pytest.param(name, marks=COMPILED if name == "pytorch-compiled" else ())
    for name in CONTESTANTS
    if name != "ours"
]
EXEMPT = {("scikit-learn", "full_batch"), ("scikit-learn", "small_batch")}


def contestant(name):
    if name.startswith("pytorch"):
        pytest.importorskip("torch", reason="PyTorch is not installed")
    return importlib.import_module(f"benchmarks.contestants.{CONTESTANTS[name]}")


def first_epochs(name, job, scored=None):
    epochs = contestant(name).make(job)
    return list(itertools.islice(epochs(scored or len(job.validation_labels)), EPOCHS))


PLAIN = [name for name, variant in SETTINGS.variants.items() if is_plain(variant)]


@pytest.mark.parametrize("variant", PLAIN)
@pytest.mark.parametrize("rival", RIVALS)
def test_a_rival_ends_its_epochs_with_the_same_costs_as_ours(rival, variant, make_small_job):
    if (rival, variant) in EXEMPT:
        pytest.skip("scikit-learn does not support it, see below")
    job, _ = make_small_job(variant)
    for epoch, ours in zip(first_epochs(rival, job), first_epochs("ours", job), strict=True):
        for value, expected in zip(epoch, ours, strict=True):
            if value is not None:
                assert value == pytest.approx(expected, rel=1e-3)


def test_only_what_scikit_learn_does_not_report_is_not_compared(make_small_job):
    (one_hidden, *_), (mini_batch, *_) = (
        first_epochs("scikit-learn", make_small_job(variant)[0])
        for variant in ("one_hidden", "mini_batch")
    )
    assert [value is None for value in one_hidden] == [False, True, False, False]
    assert [value is None for value in mini_batch] == [True, True, False, False]  # it has L2


@pytest.mark.parametrize(
    ("variant", "reason"), [("full_batch", "does not clip"), ("small_batch", "cross-entropy only")]
)
def test_scikit_learn_names_what_it_does_not_support(variant, reason, make_small_job):
    with pytest.raises(UnableError, match=reason):
        first_epochs("scikit-learn", make_small_job(variant)[0])


@pytest.mark.parametrize("name", [name for name in CONTESTANTS if name != "pytorch-compiled"])
def test_a_contestant_restarts_every_time_and_validates_on_the_given_number_of_images(
    name, make_small_job
):
    job, _ = make_small_job("two_hidden" if name != "scikit-learn" else "one_hidden")
    epochs = contestant(name).make(job)
    first, again = (next(epochs(len(job.validation_labels))) for _ in range(2))
    on_one = next(epochs(1))
    assert first == again
    assert on_one[:2] == first[:2]
    assert on_one.validation_accuracy in (0, 1)
    assert on_one.validation_cost != first.validation_cost


@pytest.mark.parametrize("variant", ["one_hidden", "two_hidden"])
def test_sparse_pytorch_sums_a_gradient_in_pieces(variant, make_small_job, monkeypatch):
    job, _ = make_small_job(variant)
    whole = first_epochs("pytorch-sparse", job)
    monkeypatch.setattr(contestant("pytorch-sparse"), "TOGETHER", 100)
    for epoch, expected in zip(first_epochs("pytorch-sparse", job), whole, strict=True):
        assert epoch == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_ours_trains_with_the_number_of_threads_of_the_job(threads, make_small_job, monkeypatch):
    job, asked, make_engine = make_small_job("tiny")[0], [], Device.engine

    def engine(self, *arguments, threads):
        asked.append(threads)
        return make_engine(self, *arguments, threads=threads)

    monkeypatch.setattr(Device, "engine", engine)
    assert len(first_epochs("ours", dataclasses.replace(job, threads=threads))) == EPOCHS
    assert asked == [threads]


def test_compiled_code_is_not_loaded_before_the_warm_up():
    code = "import sys, benchmarks.contestants.ours; print('pipeline.nn.compiled' in sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output == "False\n"


def test_a_job_is_read_as_it_was_written(make_small_job):
    job, folder = make_small_job("two_hidden")
    again = read_job(folder)
    assert (again.settings, again.seed, again.threads) == (job.settings, job.seed, job.threads)
    assert (again.inputs == job.inputs).all()
    assert len(again.weights) == len(job.weights) == 3
    for (weight, bias), (expected_weight, expected_bias) in zip(
        again.weights, job.weights, strict=True
    ):
        assert (weight == expected_weight).all()
        assert (bias == expected_bias).all()
    assert again.batch_size == 128


def packages(module):
    """Return every package that a file imports, also through other files of benchmarks/."""
    found, waiting, seen = set(), [module], set()
    while waiting:
        for name in imports(waiting.pop()):
            found.add(name.split(".")[0])
            path = f"{name.replace('.', '/')}.py"
            if path.startswith("benchmarks/") and (ROOT / path).exists() and path not in seen:
                seen.add(path)
                waiting.append(path)
    return found


@pytest.mark.parametrize("module", [*CONTESTANTS.values(), "pytorch_script"])
def test_only_ours_imports_the_pipeline(module):
    loaded = packages(f"benchmarks/contestants/{module}.py")
    assert ("pipeline" in loaded) == (module == "ours")
    assert ("torch" in loaded) == module.startswith("pytorch")
    assert packages("benchmarks/worker.py").isdisjoint({"pipeline", "torch"})

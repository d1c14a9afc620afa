"""The project itself on a GPU."""

from benchmarks.contestants.ours import make_on
from benchmarks.job import Epochs, Job
from pipeline.nn.devices import find_device


def make(job: Job) -> Epochs:
    """Prepare to train a variant on the GPU. Raises DeviceError if there is none."""
    return make_on(find_device("gpu"), job)

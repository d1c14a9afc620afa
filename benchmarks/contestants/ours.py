"""The project itself: `Training`, as the stage `train` uses it.

Unlike the others, it also records the norms of weights and gradients in every epoch. Compiled code
is loaded when an engine is created, so compilation counts as warm-up.
"""

from collections.abc import Iterator

from benchmarks.job import Epoch, Epochs, Job
from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.nn.devices import CPU, Device
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import Training, make_network

TABLE = Normalization("scale", 0.0, 1.0).table()
ENDLESS = 10**9
"""Number of epochs in the settings; the benchmark stops earlier."""


def make(job: Job) -> Epochs:
    """Prepare to train a variant on the CPU."""
    return make_on(CPU, job)


def make_on(device: Device, job: Job) -> Epochs:
    """Prepare to train a variant on a device."""
    settings = VariantSettings(**job.settings | {"epochs": ENDLESS})

    def epochs(scored: int) -> Iterator[Epoch]:
        network, rng = make_network(settings, job.classes, job.seed)
        engine = device.engine(network, settings, threads=job.threads)
        training = engine.hold([(job.inputs, job.labels)], len(job.labels), TABLE)
        labels = job.validation_labels[:scored]
        validation = engine.hold([(job.validation_inputs[:scored], labels)], len(labels))
        for report in Training(engine, settings, HeldImages(training), validation, rng).epochs():
            yield Epoch(
                report.train.cost,
                report.train.accuracy,
                report.validation.cost,
                report.validation.accuracy,
            )

    return epochs

"""The project itself: `Training` on the processor, as the stage `train` uses it.

It also records the norms of weights and gradients every epoch, which no rival is asked for.
Compiled code is loaded where an engine is made, so compiling counts as warming up.
"""

from collections.abc import Iterator

from benchmarks.job import Epoch, Epochs, Job
from pipeline.nn.devices import CPU
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import Training, make_network
from pipeline.params import VariantSettings

ENDLESS = 10**9
"""Epochs to ask for: the benchmark says when to stop."""


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    settings = VariantSettings(**job.settings | {"epochs": ENDLESS})

    def epochs(scored: int) -> Iterator[Epoch]:
        network, rng = make_network(settings, job.classes, job.seed)
        engine = CPU.engine(network, settings, threads=job.threads)
        training = engine.hold([(job.inputs, job.labels)], len(job.labels))
        labels = job.validation_labels[:scored]
        validation = engine.hold([(job.validation_inputs[:scored], labels)], len(labels))
        for report in Training(engine, settings, HeldImages(training), validation, rng).run():
            yield Epoch(
                report.train.cost,
                report.train.accuracy,
                report.validation.cost,
                report.validation.accuracy,
            )

    return epochs

"""The project itself as a whole process: reads images, trains with `Training`, saves a model."""

from pathlib import Path

from benchmarks.attempt import Attempt, Pixels, take_part
from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.nn.devices import CPU
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model, load_model, save_model
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import Training, make_network

SCALE = Normalization("scale", 0.0, 1.0)
BLOCK = 4096
"""Images that are converted together."""


def train(attempt: Attempt, path: Path) -> None:
    """Train a model and save it. It validates on one image: the last epoch is kept in any case."""
    settings = VariantSettings(**attempt.settings)
    pixels, labels = attempt.part("train")
    network, rng = make_network(settings, len(attempt.class_names), attempt.seed)
    engine = CPU.engine(network, settings, threads=attempt.threads)
    starts = range(0, len(labels), BLOCK)
    blocks = ((SCALE.apply(pixels[at : at + BLOCK]), labels[at : at + BLOCK]) for at in starts)
    held = engine.hold(blocks, len(labels), SCALE.table())
    one = engine.hold([(SCALE.apply(pixels[:1]), labels[:1])], 1, SCALE.table())
    for _ in Training(engine, settings, HeldImages(held), one, rng).epochs():
        pass
    training = {"settings": attempt.settings, "seed": attempt.seed, "images": len(labels)}
    save_model(path, Model("record", network, SCALE, tuple(attempt.class_names), training))


def probabilities(_: Attempt, path: Path, pixels: Pixels) -> Array:
    """Return the class probabilities of images by a saved model."""
    return predict_probabilities(load_model(path), SCALE.apply(pixels))


if __name__ == "__main__":
    take_part(train, probabilities)

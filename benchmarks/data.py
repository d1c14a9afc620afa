"""Data for the benchmarks: splits made by the stages of the pipeline, and jobs for contestants."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.children import run_module
from benchmarks.job import Job, write_job
from benchmarks.machine import ROOT
from pipeline.base.errors import SettingsError
from pipeline.base.machine import available_cores
from pipeline.base.params import Settings, VariantSettings
from pipeline.datasets.examples import Examples
from pipeline.datasets.parquet import read_examples
from pipeline.nn.training import make_network

SAMPLE, FULL = "mnist-5k", "mnist"
FULL_DATA = ROOT.parent / "shared" / "data"
"""Folder with a folder of IDX files for each full dataset."""
TRAINED_BY_ALL = {
    "optimizer": "sgd", "schedule": "constant", "warmup": 0.0, "nesterov": False, "clip_norm": None,
    "label_smoothing": 0.0, "dropout": 0.0, "augment": None, "keep": "last",
}  # fmt: skip
"""Settings that all contestants of `benchmarks.training` implement with these values only."""


def make_splits(settings: Settings, dataset: str, data: Path | None, folder: Path) -> Settings:
    """Make `folder/data/splits` of a dataset, from IDX files unless `data` is None.

    Return the settings that name this data. Raises PipelineError if a stage fails.
    """
    datasets = dict(settings.datasets)
    if data is not None:
        source = {"source": (str(data.resolve()),)}
        datasets[dataset] = datasets[dataset].model_copy(update=source)
    chosen = settings.model_copy(update={"dataset": dataset, "datasets": datasets, "device": "cpu"})
    write_params(chosen, folder)
    for stage in ("download", "convert", "split"):
        run_module(f"stages.{stage}", cwd=folder)
    return chosen


def write_params(settings: Settings, folder: Path) -> None:
    """Write settings to params.yaml as JSON, which is valid YAML."""
    text = json.dumps(settings.model_dump(), indent=2)
    (folder / "params.yaml").write_text(text, encoding="utf-8")


def read_splits(folder: Path) -> tuple[Examples, Examples]:
    """Return the training and the validation examples."""
    splits = folder / "data" / "splits"
    return read_examples(splits / "train.parquet"), read_examples(splits / "validation.parquet")


def is_plain(settings: VariantSettings) -> bool:
    """Whether all contestants can train a variant."""
    return all(getattr(settings, key) == value for key, value in TRAINED_BY_ALL.items())


def check_measurable(
    name: str, settings: VariantSettings, needed: Mapping[str, Any] = TRAINED_BY_ALL
) -> None:
    """Raise SettingsError for a setting that the other contestants do not implement."""
    for key, allowed in needed.items():
        if (value := getattr(settings, key)) != allowed:
            raise SettingsError(f"{name}.{key} must be {allowed} to be measured, got {value}")
    if settings.loss == "mean_squared_error" and settings.output != "sigmoid":
        raise SettingsError(f"{name}.output must be sigmoid to be measured, got softmax")


def make_job(
    folder: Path, settings: VariantSettings, seed: int, training: Examples, validation: Examples
) -> Job:
    """Write the job of training a variant, including its initial weights, and return it."""
    examples = training.first(settings.train_limit)
    network, _ = make_network(settings, len(training.description.class_names), seed)
    job = Job(
        examples.inputs,
        examples.labels.astype(np.int64),
        validation.inputs,
        validation.labels.astype(np.int64),
        [(layer.weight, layer.bias) for layer in network.layers],
        settings.model_dump(),
        seed,
        available_cores(),
    )
    write_job(folder, job)
    return job

"""Let contestants train the same recipe as whole processes, in turns, and test their models."""

import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attempt import PARTS, write_part
from benchmarks.children import run_module
from benchmarks.contest import Report
from benchmarks.data import make_splits
from pipeline.base.errors import DataError
from pipeline.base.files import write_json
from pipeline.base.machine import available_cores
from pipeline.base.params import Settings, VariantSettings
from pipeline.datasets.parquet import read_examples
from pipeline.nn.schedules import rates

CONTESTANTS = {
    "ours": ("benchmarks.contestants.whole_ours", ""),
    "pytorch-eager": ("benchmarks.contestants.whole_pytorch", "eager"),
    "pytorch-compiled": ("benchmarks.contestants.whole_pytorch", "compiled"),
    "scikit-learn": ("benchmarks.contestants.whole_sklearn", ""),
}
"""Module and mode by the name of the contestant, in the order of turns and tables."""

Results = dict[str, Any]


def make_data(settings: Settings, dataset: str, data: Path | None, folder: Path) -> dict[str, Any]:
    """Write a dataset's training and test images to a folder, unless it has them; describe them.

    The training images are those of the stage `split`, which sets the validation images apart.
    """
    description = folder / "data.json"
    if not description.exists():
        folder.mkdir()
        with tempfile.TemporaryDirectory() as place:
            make_splits(settings, dataset, data, Path(place))
            counts = {}
            for part in PARTS:
                examples = read_examples(Path(place) / "data" / "splits" / f"{part}.parquet")
                pixels = np.rint(examples.normalization.undo(examples.inputs) * 255)
                write_part(folder, part, pixels.astype(np.uint8), examples.labels)
                counts[part] = len(examples)
        write_json(
            description,
            {
                "dataset": dataset,
                "source": examples.description.source,
                "images": counts["train"],
                "test_images": counts["test"],
                "class_names": examples.description.class_names,
            },
        )
    content: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
    return content


def hold_race(
    name: str,
    settings: VariantSettings,
    folder: Path,
    data: dict[str, Any],
    contestants: Sequence[str],
    *,
    seeds: Mapping[str, int],
    cache: Path,
    report: Report,
) -> dict[str, Any]:
    """Train with each contestant and seed, in turns, and return settings, times and accuracies.

    folder, data: from `make_data`. seeds: number of seeds, from 0, by contestant. cache: folder for
    compiled code. Each contestant first trains on two batches, which fills it (on Linux). Raises
    PipelineError if a contestant fails.
    """
    class_names = data["class_names"]
    results: dict[str, Any] = {each: {"runs": []} for each in contestants}
    with tempfile.TemporaryDirectory() as place:
        images = min(data["images"], settings.train_limit or data["images"])
        settings = settings.on(images)
        size = images if settings.batch_size == "all" else min(settings.batch_size, images)
        settings = settings.model_copy(update={"batch_size": size})
        two_batches = size + images % size
        once = settings.model_copy(update={"epochs": 1})
        first, race = Path(place) / "first.json", Path(place) / "race.json"
        _write_race(first, folder, once, two_batches, class_names)
        _write_race(race, folder, settings, images, class_names)
        model = Path(place) / "model"

        def run(contestant: str, what: str, race: Path, seed: int) -> dict[str, Any]:
            """Return what `benchmarks.clock` or the contestant prints."""
            module, mode = CONTESTANTS[contestant]
            clock = ["benchmarks.clock", sys.executable, "-m"] if what == "train" else []
            command = [*clock, module, what, str(race), str(seed), str(model)]
            output = run_module(
                *command, *([mode] if mode else []),
                XDG_CACHE_HOME=str(cache), TORCHINDUCTOR_CACHE_DIR=str(cache / "torch"),
            )  # fmt: skip
            answer: dict[str, Any] = json.loads(output)
            return answer

        for each in contestants:
            seconds = run(each, "train", first, 0)["seconds"]
            results[each]["first_seconds"] = round(seconds, 2)
            report(f"{name}: {each}: {seconds:.1f} s for two batches, to fill the cache")
        for seed in range(max(seeds[each] for each in contestants)):
            for each in contestants:
                if seed >= seeds[each]:
                    continue
                measured = run(each, "train", race, seed)
                tested = run(each, "test", race, seed)
                results[each]["libraries"] = tested["libraries"]
                results[each]["runs"].append(
                    {
                        "seed": seed,
                        "seconds": round(measured["seconds"], 3),
                        "peak_mib": round(measured["peak_bytes"] / 2**20),
                        "accuracy": tested["accuracy"],
                    }
                )
                report(
                    f"{name}: seed {seed}: {each}: {measured['seconds']:.2f} s, "
                    f"{tested['accuracy']:.2%}"
                )
    return {
        **{key: value for key, value in data.items() if key != "class_names"},
        "images": images,
        "settings": settings.model_dump(),
        "contestants": results,
    }


def read_results(path: Path) -> Results:
    """Return earlier results, or none. Raises DataError if the file is not JSON."""
    try:
        content: Results = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return content


def merge(results: Results, machine: dict[str, Any], name: str, race: dict[str, Any]) -> Results:
    """Return results with a new race.

    Results of another machine are dropped: times of two machines cannot be compared. Of an earlier
    race with the same recipe and data, the other contestants are kept.
    """
    races = dict(results["races"]) if results.get("machine") == machine else {}
    kept = {}
    if name in races and _conditions(races[name]) == _conditions(race):
        kept = races[name]["contestants"]
    both = kept | race["contestants"]
    ordered = {each: both[each] for each in CONTESTANTS if each in both}
    return {"machine": machine, "races": races | {name: race | {"contestants": ordered}}}


def _conditions(race: dict[str, Any]) -> dict[str, Any]:
    conditions = {key: of for key, of in race.items() if key not in {"contestants", "load_before"}}
    # As it is after being written and read: without tuples.
    return dict(json.loads(json.dumps(conditions)))


def _write_race(
    path: Path, folder: Path, settings: VariantSettings, images: int, class_names: Sequence[str]
) -> None:
    steps = settings.epochs * math.ceil(images / int(settings.batch_size))
    content = {
        "data": str(folder),
        "settings": settings.model_dump(),
        "rates": rates(settings, 0, steps, steps).tolist(),
        "class_names": class_names,
        "threads": available_cores(),
        "images": images,
    }
    path.write_text(json.dumps(content), encoding="utf-8")

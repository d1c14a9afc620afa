"""Format records as Markdown: which contestant reaches which target, and how fast."""

import statistics
from typing import Any

from scipy.stats import t

from benchmarks.table import table

CONFIDENCE = 0.95


def render(results: dict[str, Any]) -> str:
    """Return the table of all races, and the conditions under which they were held."""
    races = results.get("races", {})
    if not races:
        return "Not yet run."
    rows = [
        _row(name, race, contestant)
        for name, race in races.items()
        for contestant in race["contestants"]
    ]
    header = ["recipe", "network", "epochs", "contestant", "seeds", "seconds",
              "test accuracy, %", "95 % interval", "above target"]  # fmt: skip
    return "\n\n".join([_conditions(results), table(header, rows), _first(races)])


def interval(values: list[float]) -> tuple[float, float] | None:
    """Return Student's 95 % interval of the mean, mean ± t s / sqrt(n), or None for one value."""
    if len(values) < 2:
        return None
    half = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * statistics.stdev(values)
    mean, half = statistics.mean(values), float(half) / len(values) ** 0.5
    return mean - half, mean + half


def verdict(target: float | None, values: list[float]) -> str:
    """Return whether the interval of accuracies is above a target in percent: yes, no or -."""
    bounds = interval(values)
    if target is None or bounds is None:
        return "-"
    return "yes" if 100 * bounds[0] > target else "no"


def _row(name: str, race: dict[str, Any], contestant: str) -> list[str]:
    runs = race["contestants"][contestant]["runs"]
    accuracies, times = ([run[key] for run in runs] for key in ("accuracy", "seconds"))
    bounds = interval(accuracies)
    settings = race["settings"]
    return [
        name,
        "-".join(map(str, settings["hidden"])),
        str(settings["epochs"]),
        contestant,
        str(len(runs)),
        _seconds(times),
        f"{100 * statistics.mean(accuracies):.2f}",
        "-" if bounds is None else "{:.2f}-{:.2f}".format(*(100 * bound for bound in bounds)),
        verdict(race["target"], accuracies),
    ]


def _seconds(times: list[float]) -> str:
    mean = f"{statistics.mean(times):.1f}"
    return mean if len(times) == 1 else f"{mean} ({min(times):.1f}-{max(times):.1f})"


def _conditions(results: dict[str, Any]) -> str:
    machine, races = results["machine"], results["races"]
    data = dict.fromkeys(
        f"{race['source']}: {race['images']:,} training images, {race['test_images']:,} test images"
        for race in races.values()
    )
    # Versions of packages only; the entries of BLAS and OpenMP contain brackets.
    versions = dict.fromkeys(
        each
        for race in races.values()
        for of in race["contestants"].values()
        for each in of["libraries"]
        if "(" not in each
    )
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB, "
        f"{machine['system']}. {'. '.join(data)}. {', '.join(versions)}. Mean seconds; the fastest "
        "and the slowest run are in brackets. Compiled code was cached (warm)."
    )


def _first(races: dict[str, Any]) -> str:
    """Return the longest time that each contestant took to train on two batches at first."""
    longest: dict[str, float] = {}
    for race in races.values():
        for contestant, of in race["contestants"].items():
            longest[contestant] = max(longest.get(contestant, 0.0), of["first_seconds"])
    times = ", ".join(f"{contestant} {seconds:.1f}" for contestant, seconds in longest.items())
    return f"Seconds of a process that trains on two batches with an empty (cold) cache: {times}."

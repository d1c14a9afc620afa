"""Format results as Markdown tables, and insert them into docs/speed.md."""

from pathlib import Path
from typing import Any

from pipeline.base.errors import DataError
from pipeline.base.files import whole_file

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"

Results = dict[str, Any]


def render(results: Results) -> str:
    """Return all results as Markdown, with all but the times per epoch collapsed."""
    folded = [
        "Milliseconds per epoch, with validation on a single image:",
        _epochs(results, "without_validation_seconds"),
        "GFLOP/s, including validation, counted as if no pixel were 0. Ours leaves out zero pixels "
        "and can therefore exceed the peak of dense products. The floor is the time that the "
        "products of an epoch would take at this peak on all cores, without those of zero pixels "
        "in the first layer:",
        _speeds(results),
        *_whole(results),
        "Ours as images, width and depth double, with batches of 128 and validation on a single "
        "image:",
        _doubling(results),
    ]
    parts = [
        _setting(results),
        "Milliseconds per epoch; the fastest and the slowest round are in brackets:",
        _epochs(results, "epoch_seconds"),
        _reasons(results),
        "<details>\n<summary>Without validation, GFLOP/s, whole processes, doubling</summary>",
        *folded,
        "</details>",
    ]
    return "\n\n".join(part for part in parts if part)


def check_place(readme: Path) -> None:
    """Raise DataError unless the page has exactly one place for the tables."""
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{readme} cannot be read: {error.strerror}") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(f"{readme} must contain one {BEGIN} followed by one {END}")


def put_in_place(readme: Path, markdown: str) -> None:
    """Replace the text between the markers of the page."""
    check_place(readme)
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    with whole_file(readme) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{markdown}\n{END}{after}", encoding="utf-8")


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table, with the first column aligned left and the others right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds with three significant digits."""
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def _setting(results: Results) -> str:
    """Return a description of the machine, the data, the method and the libraries."""
    machine, method, data = results["machine"], results["method"], results["data"]
    peak = results["peak_gflops"]
    # Versions of packages only; the entries of BLAS and OpenMP contain brackets.
    versions = dict.fromkeys(
        each for of in results["libraries"].values() for each in of if "(" not in each
    )
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB, "
        f"{machine['system']}. {data['source']}: {data['images']:,} training images, "
        f"{data['validation_images']:,} validation images. Medians of {method['rounds']} rounds, "
        f"in turns. {', '.join(versions)}. NumPy's single-precision matrix products reach "
        f"{peak['all_cores']:.0f} GFLOP/s on all cores and {peak['one_core']:.0f} on one core."
    )


def _contestants(results: Results) -> list[str]:
    return list(results["method"]["contestants"])


def _epochs(results: Results, key: str) -> str:
    rows = []
    for variant, result in results["epochs"].items():
        cells = []
        for name in _contestants(results):
            times = result["contestants"][name].get(key)
            if times is None:
                cells.append("-")
            else:
                median, low, high = (milliseconds(times[of]) for of in ("median", "min", "max"))
                cells.append(f"{median} ({low}-{high})")
        rows.append([variant, *cells])
    return table(["variant", *_contestants(results)], rows)


def _speeds(results: Results) -> str:
    """Return a table of the GFLOP/s of all contestants, and of ours relative to peak and floor."""
    peak, names = results["peak_gflops"]["all_cores"], _contestants(results)
    rows = []
    for variant, result in results["epochs"].items():
        speeds = {name: result["contestants"][name].get("gflops") for name in names}
        cells = ["-" if speed is None else f"{speed:.0f}" for speed in speeds.values()]
        floor = result["floor_seconds"]
        times = result["contestants"]["ours"]["epoch_seconds"]["median"] / floor
        cells += [f"{speeds['ours'] / peak:.0%}", milliseconds(floor), f"{times:.1f}"]
        rows.append([variant, f"{result['flops'] / 1e9:.2f}", *cells])
    last = ["ours / peak", "floor, ms", "ours / floor"]
    return table(["variant", "GFLOP per epoch", *names, *last], rows)


def _reasons(results: Results) -> str:
    """Return the reason for every missing time."""
    reasons: dict[str, list[str]] = {}
    for variant, result in results["epochs"].items():
        for name, of in result["contestants"].items():
            if "cannot" in of:
                reasons.setdefault(f"{name} {of['cannot']}", []).append(variant)
    return " ".join(f"{', '.join(names)}: {reason}." for reason, names in reasons.items())


def _whole(results: Results) -> list[str]:
    names = [name for name in next(iter(results["whole"].values())) if name != "epochs"]
    rows = []
    for variant, result in results["whole"].items():
        seconds = [f"{result[name]['seconds']['median']:.2f}" for name in names]
        peaks = [f"{result[name]['peak_mib']['median']:,.0f}" for name in names]
        rows.append([variant, *seconds, *peaks])
    header = ["variant", *(f"{name}, s" for name in names), *(f"{name}, MiB" for name in names)]
    epochs = next(iter(results["whole"].values()))["epochs"]
    title = (
        f"Whole processes of {epochs} epochs, from files to a saved model, and their peak memory. "
        "Ours is the stage `train`, which reads Parquet and was compiled before; PyTorch's is a "
        "script that reads .npy files:"
    )
    return [title, table(header, rows)]


def _doubling(results: Results) -> str:
    rows = []
    for what, steps in results["doubling"].items():
        for step in steps:
            layers = "-".join(map(str, step["hidden"]))
            time, speed = step["epoch_seconds"]["median"], step["gflops"]
            rows.append([what, f"{step['images']:,}", layers, milliseconds(time), f"{speed:.0f}"])
    return table(["doubled", "images", "hidden layers", "ms per epoch", "GFLOP/s"], rows)

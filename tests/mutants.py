"""Change the code at random places, and see whether the tests notice.

    python -m tests.mutants --count 500 --seed 1

A mutant is a copy of the project with one change to `pipeline/`: a comparison, an operator, a
number, a condition or a text differs, or a statement or an argument is missing. First all tests run
once, and coverage.py notes which of them run each line. Then each mutant is tried with the tests
that run the changed line, the fastest first. If none of them notices it, the stages that run the
line do so on a small project, whose files must differ, as `.ci/run` compares those of a fresh run
with the committed ones. A mutant that survives this too is printed: a test is missing, or the
change makes no difference.
"""

import ast
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from xml.etree import ElementTree

import click
import coverage
import pytest

from tests.conftest import ROOT, changed_params, copy_project, git_files
from tests.faults.truth import Digests, outputs

EXCLUDED = ("pipeline/nn/gpu", "pipeline/nn/compiled")
"""The first needs a GPU; the second takes a minute to compile, and digests hold its bits."""
ENOUGH = 30
"""Seconds of tests, by the time they took when they were noted, after which a mutant survives."""
SMALL = ("small_batch", "distorted")
STAGES = (
    ("download",), ("convert",), ("split",),
    *((stage, variant) for stage in ("train", "evaluate", "visualize") for variant in SMALL),
    ("compare",), ("report",),
)  # fmt: skip
PYTEST = ("pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider")
PATIENCE = 400
"""Seconds for the tests of a mutant. One that needs longer, as in an endless loop, is noticed."""
MEMORY = 12 << 30

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult,
}  # fmt: skip


def changes(node: ast.AST) -> Iterator[ast.AST | None]:
    """Yield what may stand in place of a node; None if the statement is left out."""
    match node:
        case ast.Compare(left, [operator, *others], comparators):
            yield ast.Compare(left, [COMPARISONS[type(operator)](), *others], comparators)
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            yield ast.BinOp(left, OPERATORS[type(operator)](), right)
        case ast.AugAssign(target, operator, value) if type(operator) in OPERATORS:
            yield ast.AugAssign(target, OPERATORS[type(operator)](), value)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(str(value)) if value:
            yield ast.Constant(value[: len(value) // 2] + "X" + value[len(value) // 2 :])
        case ast.IfExp(_, body, orelse):
            yield body
            yield orelse
        case ast.Call(function, arguments, [*keywords]) if keywords:
            for place, keyword in enumerate(keywords):
                if keyword.arg == "strict":  # of zip(); it changes nothing where lengths are equal
                    continue
                yield ast.Call(function, arguments, keywords[:place] + keywords[place + 1 :])
        case ast.Return(value) if value is not None:
            yield ast.Return(ast.Constant(None))
        case ast.Expr(ast.Call()) | ast.Raise():
            yield None


def mutants(path: Path) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    """Yield all mutants of a file: a description, the place that changes, and its change."""
    whole = ast.parse(path.read_text(encoding="utf-8"))
    ignored = {id(part) for part in _without_behaviour(whole)}
    for node in ast.walk(whole):
        for change in changes(node) if id(node) not in ignored else ():
            new = ast.copy_location(ast.Pass() if change is None else deepcopy(change), node)
            before, after = (" ".join(ast.unparse(each).split())[:120] for each in (node, new))
            if before != after:
                line = getattr(node, "lineno", 0)
                yield f"{path.relative_to(ROOT)}:{line}: {before}  ->  {after}", node, new


def mutated(path: Path, node: ast.AST, new: ast.AST) -> str:
    """Return the code of a file with one place changed."""
    return ast.unparse(_Replace(node, new).visit(ast.parse(path.read_text(encoding="utf-8"))))


class _Replace(ast.NodeTransformer):
    """Replaces the node of another tree of the same code, found by its type and place."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._key, self._new = _place(old), new

    def visit(self, node: ast.AST) -> ast.AST:
        """Visit a node."""
        if _place(node) == self._key:
            return ast.fix_missing_locations(self._new)
        return self.generic_visit(node)


def _place(node: ast.AST) -> tuple[object, ...]:
    ends = ("lineno", "col_offset", "end_lineno", "end_col_offset")
    return (type(node), *(getattr(node, end, None) for end in ends))


def _without_behaviour(whole: ast.AST) -> Iterator[ast.AST]:
    """Yield docstrings, annotations, and texts inside formatted ones, which have no place."""
    for node in ast.walk(whole):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
        for name in ("annotation", "returns"):
            if (part := getattr(node, name, None)) is not None:
                yield from ast.walk(part)
        if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip()
            yield node.value
        if isinstance(node, ast.ClassDef):  # a dataclass that is not frozen works as well
            for decorator in node.decorator_list:
                yield from ast.walk(decorator)
        if isinstance(node, ast.JoinedStr):
            yield from (part for part in node.values if isinstance(part, ast.Constant))
            yield from (
                inner for part in node.values if isinstance(part, ast.FormattedValue)
                and part.format_spec for inner in ast.walk(part.format_spec)
            )  # fmt: skip


# ---- The tests that run a line -----------------------------------------------------------------


class Noted:
    """Which tests and stages run each line, and how long each test takes."""

    def __init__(self, folder: Path) -> None:
        self._lines: dict[str, dict[int, set[str]]] = {}
        self._seconds: dict[str, float] = {}
        self._stages: dict[tuple[str, ...], dict[str, set[int]]] = {}
        for stage in STAGES:
            data = coverage.CoverageData(str(_lines_of(stage, folder)))
            data.read()
            self._stages[stage] = {
                name: set(data.lines(name) or ()) for name in data.measured_files()
            }
        failed = set()
        for share in sorted(folder.glob("*.xml")):
            data = coverage.CoverageData(str(share.with_suffix(".coverage")))
            data.read()
            for name in data.measured_files():
                lines = self._lines.setdefault(name, {})
                for line, tests in data.contexts_by_lineno(name).items():
                    lines.setdefault(line, set()).update(filter(None, tests))
            for case in ElementTree.parse(share).iter("testcase"):  # written by pytest
                file = case.attrib["classname"].replace(".", "/") + ".py"
                test = f"{file}::{case.attrib['name'].partition('[')[0]}"
                self._seconds[test] = self._seconds.get(test, 0) + float(case.attrib["time"])
                if any(child.tag in {"failure", "error", "skipped"} for child in case):
                    failed.add(test)
        for test in failed:
            del self._seconds[test]

    def tests_of(self, path: Path, line: int) -> list[str]:
        """Return the tests that run a line, the fastest first; for one of a module all that use it.

        What a fixture runs counts for all tests of its file, as it may be made for the first alone.
        """
        lines = self._lines.get(path.relative_to(ROOT).as_posix(), {})
        found = lines.get(_beginning(lines, line)) or set().union(*lines.values())
        files = {test for test in found if "::" not in test}
        tests = [
            test for test in self._seconds if test in found or test.partition("::")[0] in files
        ]
        chosen, seconds = [], 0.0
        for test in sorted(tests, key=lambda test: (self._seconds[test], test)):
            seconds += self._seconds[test]
            if seconds > ENOUGH and chosen:
                break
            chosen.append(test)
        return chosen

    def stages_of(self, path: Path, line: int) -> list[tuple[str, ...]]:
        """Return the stages that run a line, in their order."""
        name = path.relative_to(ROOT).as_posix()
        every = set().union(*(found.get(name, set()) for found in self._stages.values()))
        begins = _beginning(every, line)
        return [stage for stage, found in self._stages.items() if begins in found.get(name, ())]


def _beginning(lines: Iterable[int], line: int) -> int:
    """Return the line on which the statement begins that contains a line."""
    return max((each for each in lines if each <= line), default=0)


def note(projects: Sequence[Path], folder: Path) -> None:
    """Run all tests, a share in each copy of the project, and keep which lines each one runs."""
    files = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))

    def run(number: int) -> None:
        share = folder / f"{number}.xml"
        command = [*_watched(share.with_suffix(".coverage")), *PYTEST, "-p", "tests.mutants"]
        share_of_files = map(str, files[number :: len(projects)])
        _run(projects[number], [*command, f"--junitxml={share}", *share_of_files])

    with ThreadPoolExecutor(len(projects)) as pool:
        list(pool.map(run, range(len(projects))))


def note_stages(small: Path, folder: Path) -> None:
    """Run the stages on a small project, and keep which lines each one runs."""
    copy_project(small)
    with changed_params(small) as params:
        params["variants"] = {name: params["variants"][name] for name in SMALL}
        for variant in params["variants"].values():
            variant |= {"epochs": 3, "epochs_for": None, "train_limit": 500}
        params["variants"]["distorted"]["hidden"] = [32]
    for stage, *variant in STAGES:
        watched = _watched(_lines_of((stage, *variant), folder))
        assert _run(small, [*watched, f"stages.{stage}", *variant]) == 0, stage


def _lines_of(stage: tuple[str, ...], folder: Path) -> Path:
    """Return the file that keeps which lines a stage runs."""
    return folder / f"{'@'.join(stage)}.coverage"


def _watched(data: Path) -> list[str]:
    """Return how Python runs a module of which coverage.py notes the lines."""
    settings = data.with_suffix(".rc")
    settings.write_text(f"[run]\ndata_file = {data}\nsource = pipeline\nrelative_files = true\n")
    return ["coverage", "run", f"--rcfile={settings}", "-m"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Note what a test's fixtures run as run by its file."""
    return (yield from _noted(item.nodeid.partition("::")[0]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note what a test runs."""
    return (yield from _noted(item.nodeid.partition("[")[0]))


def _noted(name: str) -> Iterator[None]:
    running = coverage.Coverage.current()
    if running:
        running.switch_context(name)
    try:
        return (yield)
    finally:
        if running:
            running.switch_context("")


# ---- Trying mutants ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Copies:
    """A copy of the project for its tests, and a small one with results for its stages.

    right: the small project as it was, to return to. expected: its results.
    """

    project: Path
    small: Path
    right: Path
    expected: Digests

    def notice(
        self, path: Path, code: str, tests: Sequence[str], stages: Sequence[tuple[str, ...]]
    ) -> str:
        """Return what notices a change to a file; "" if nothing does."""
        name = path.relative_to(ROOT)
        original = path.read_text(encoding="utf-8")
        for copy in (self.project, self.small):
            (copy / name).write_text(code, encoding="utf-8")
        try:
            if tests and _run(self.project, [*PYTEST, "-x", *tests], PATIENCE) != 0:
                return "tests"
            return "results" if self._differ(stages) else ""
        finally:
            for copy in (self.project, self.small):
                (copy / name).write_text(original, encoding="utf-8")

    def _differ(self, stages: Sequence[tuple[str, ...]]) -> bool:
        for stage, *variant in stages:
            ended = _run(self.small, [f"stages.{stage}", *variant], PATIENCE)
            if ended != 0 or outputs(self.small) != self.expected:
                shutil.rmtree(self.small)
                shutil.copytree(self.right, self.small)
                return True
        return False


def _run(project: Path, arguments: Sequence[str], seconds: float | None = None) -> int | None:
    """Run a module of Python in a copy of the project; return its exit code, None after a time."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=project, start_new_session=True,
        env=os.environ | {
            "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a second per mutant
        },
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
    ) as running:  # fmt: skip
        try:
            return running.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def copied(folder: Path) -> Path:
    """Copy the files that git tracks."""
    for path in git_files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return folder


@click.command()
@click.argument("paths", nargs=-1)
@click.option("--count", default=100, show_default=True, help="Number of mutants.")
@click.option("--seed", default=1, show_default=True, help="Seed of their choice.")
@click.option("--start", default=0, show_default=True, help="Number of those tried before.")
@click.option("--seconds", default=10**6, show_default=True, help="Start none after this time.")
@click.option("--jobs", default=2, show_default=True, help="Mutants tried at once.")
@click.option("--noted", type=click.Path(path_type=Path), help="Folder of what tests run, to keep.")
def main(
    paths: tuple[str, ...],
    count: int,
    seed: int,
    start: int,
    seconds: float,
    jobs: int,
    noted: Path | None,
) -> None:
    """Try mutants of PATHS (folders or files; all of pipeline/) and print those that survive."""
    files = [
        path for path in sorted((ROOT / "pipeline").rglob("*.py"))
        if path.relative_to(ROOT).as_posix().startswith(paths or "pipeline")
        and not path.relative_to(ROOT).as_posix().startswith(EXCLUDED)
    ]  # fmt: skip
    every = [(path, *mutant) for path in files for mutant in mutants(path)]
    chosen = random.Random(seed).sample(every, min(count, len(every)))[start:]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        projects = [copied(folder / f"project{number}") for number in range(jobs)]
        kept = (noted or folder / "noted").resolve()
        if not kept.exists():
            kept.mkdir(parents=True)
            note(projects, kept)
        if not (kept / "small").exists():
            note_stages(kept / "small", kept)
        known = Noted(kept)
        right = kept / "small"
        expected = outputs(right)
        free = SimpleQueue[Copies]()
        for number, project in enumerate(projects):
            small = folder / f"small{number}"
            shutil.copytree(right, small)
            free.put(Copies(project, small, right, expected))
        until = time.monotonic() + seconds

        def attempt(mutant: tuple[Path, str, ast.AST, ast.AST]) -> str | None:
            path, description, node, new = mutant
            if time.monotonic() > until:
                return None
            line = getattr(node, "lineno", 0)
            tests, stages = known.tests_of(path, line), known.stages_of(path, line)
            copies = free.get()
            by = copies.notice(path, mutated(path, node, new), tests, stages)
            free.put(copies)
            if not by:
                click.echo(f"survived {len(tests)} tests, {len(stages)} stages: {description}")
            return by

        with ThreadPoolExecutor(jobs) as pool:
            tried = Counter(by for by in pool.map(attempt, chosen) if by is not None)
    click.echo(
        f"{tried.total()} mutants of {len(every)} possible ones: {tried['tests']} noticed by "
        f"tests, {tried['results']} by their results alone, {tried['']} not"
    )


if __name__ == "__main__":
    main()

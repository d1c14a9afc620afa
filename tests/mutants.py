"""Change the code at random places, and see whether the tests notice.

    python -m tests.mutants --count 100 --seed 1

A mutant is a copy of the project with one change to `pipeline/`: a comparison, an operator, a
number, a condition or a text differs, or a statement or an argument is missing. The tests beside
the changed file run first, then all others that import it. A mutant that none of them notices
survives and is printed: a test is missing, or the change makes no difference.
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
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import click

from tests.conftest import ROOT, git_files

EXCLUDED = ("pipeline/nn/gpu", "pipeline/nn/compiled")
"""The first needs a GPU; the second takes a minute to compile, and digests hold its bits."""
LONG = {"test_docs.py", "test_dependencies.py", "test_environments.py", "test_draw_page.py"}
"""Tests of everything together, which take longer than a mutant may."""
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
            yield ast.Constant("X" + value)
        case ast.IfExp(_, body, orelse):
            yield body
            yield orelse
        case ast.Call(function, arguments, [*keywords]) if keywords:
            for place in range(len(keywords)):
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
        if isinstance(node, ast.JoinedStr):
            yield from (part for part in node.values if isinstance(part, ast.Constant))
            yield from (
                inner for part in node.values if isinstance(part, ast.FormattedValue)
                and part.format_spec for inner in ast.walk(part.format_spec)
            )  # fmt: skip


def tests_of(path: Path) -> list[list[str]]:
    """Return the files of tests of a module: those beside it, then all others that import it."""
    parts = path.relative_to(ROOT / "pipeline").with_suffix("").parts
    package, name = ".".join(["pipeline", *parts[:-1]]), parts[-1]
    if name == "__main__":
        return [["tests/test_commands.py"]]
    imported = (f"{package}.{name} ", f"from {package} import", f"{package}.{name}\n")
    folder = ROOT / "tests" if parts[0] == "base" else ROOT.joinpath("tests", *parts[:-1])
    beside, others = [], []
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        imports = any(words in file.read_text(encoding="utf-8") for words in imported)
        if file.name in LONG or not (imports or file.parent == folder != ROOT / "tests"):
            continue
        (beside if file.parent == folder else others).append(file)
    beside.sort(key=lambda file: (name not in file.stem, file.name))
    return [[str(file.relative_to(ROOT)) for file in files] for files in (beside, others)]


def survives(project: Path, path: Path, code: str) -> bool:
    """Whether all tests of a file pass in a copy of the project after a change to the file."""
    target = project / path.relative_to(ROOT)
    original = target.read_text(encoding="utf-8")
    target.write_text(code, encoding="utf-8")
    try:
        return all(_pass(project, files) for files in tests_of(path) if files)
    finally:
        target.write_text(original, encoding="utf-8")


def _pass(project: Path, files: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    with subprocess.Popen(
        [*command, *files], cwd=project, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    ) as tests:  # fmt: skip
        try:
            return tests.wait(PATIENCE) in {0, 5}  # 5: no test was left after skipping
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):
                os.killpg(tests.pid, signal.SIGKILL)


@click.command()
@click.argument("paths", nargs=-1)
@click.option("--count", default=100, show_default=True, help="Number of mutants.")
@click.option("--seed", default=1, show_default=True, help="Seed of their choice.")
@click.option("--seconds", default=10**6, show_default=True, help="Start none after this time.")
def main(paths: tuple[str, ...], count: int, seed: int, seconds: float) -> None:
    """Try mutants of PATHS (folders or files; all of pipeline/) and print those that survive."""
    files = [
        path for path in sorted((ROOT / "pipeline").rglob("*.py"))
        if path.relative_to(ROOT).as_posix().startswith(paths or "pipeline")
        and not path.relative_to(ROOT).as_posix().startswith(EXCLUDED)
    ]  # fmt: skip
    every = [(path, *mutant) for path in files for mutant in mutants(path)]
    chosen = random.Random(seed).sample(every, min(count, len(every)))
    until, tried, survived = time.monotonic() + seconds, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        for path in git_files():
            copy = project / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        for path, description, node, new in chosen:
            if time.monotonic() > until:
                break
            tried += 1
            if survives(project, path, mutated(path, node, new)):
                survived += 1
                click.echo(f"survived: {description}")
            elif tried % 10 == 0:
                click.echo(f"{tried} tried, {survived} survived")
    click.echo(f"{tried - survived} of {tried} mutants were noticed, of {len(every)} possible ones")


if __name__ == "__main__":
    main()

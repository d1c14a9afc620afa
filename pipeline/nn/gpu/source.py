"""The source of the kernels: sizes and elementary functions, written by Python, and then `step.cu`.

exp, log, tanh and the sigmoid are those of `nn.arithmetic`, called with `Expression` objects that
record each operation as a line of C++.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.datasets.augment import CENTRE, MARGIN
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH
from pipeline.nn import arithmetic, dropout

WIDEST = 512
"""The kernel `through` computes layers of at most so many neurons. It has as many threads."""
ACTIVATIONS = {"relu": 1, "sigmoid": 2, "tanh": 3}
OPTIMIZERS = {"sgd": 1, "momentum": 2, "nesterov": 3, "adam": 4}
FLAGS = {"spreads": 1, "again": 2, "changes": 4, "keeps": 8, "scales": 16}
"""What the kernels `weights` and `update` do, added up."""
_STEP = Path(__file__).with_name("step.cu").read_text(encoding="utf-8")
_TYPES = {"int": np.int32, "unsigned": np.uint32, "long long": np.int64, "float": np.float32}
_TYPES |= {"double": np.float64}


def record(name: str) -> np.dtype[np.void]:
    """Return the dtype of a struct in `step.cu`. Pointers are unsigned integers."""
    body = _STEP.partition(f"struct {name} {{\n")[2].partition("\n};")[0]
    fields = re.findall(r"^  ([\w ]+\*?) (\w+);", body, re.MULTILINE)
    types = [(field, np.uint64 if "*" in kind else _TYPES[kind]) for kind, field in fields]
    return np.dtype(types, align=True)


class Expression:
    """A float32 in C++: see `arithmetic.Float`. lines: where the statements are recorded."""

    kind = "float"

    def __init__(self, lines: list[str], text: str) -> None:
        self._lines = lines
        self._name = f"t{len(lines)}"
        lines.append(f"  const {self.kind} {self._name} = {text};")

    def __str__(self) -> str:
        return self._name

    def of(self, number: float) -> "Expression":
        """Return a constant."""
        return Expression(self._lines, _constant(number))

    def _with(self, left: object, sign: str, right: object) -> "Expression":
        return Expression(self._lines, f"{_constant(left)} {sign} {_constant(right)}")

    def __add__(self, other: object) -> "Expression":
        return self._with(self, "+", other)

    def __radd__(self, other: object) -> "Expression":
        return self._with(other, "+", self)

    def __sub__(self, other: object) -> "Expression":
        return self._with(self, "-", other)

    def __rsub__(self, other: object) -> "Expression":
        return self._with(other, "-", self)

    def __mul__(self, other: object) -> "Expression":
        return self._with(self, "*", other)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> "Expression":
        return self._with(self, "/", other)

    def __rtruediv__(self, other: object) -> "Expression":
        return self._with(other, "/", self)

    def fma(self, factor: object, addend: object) -> "Expression":
        """Return self * factor + addend, rounded once."""
        text = f"__fmaf_rn({self}, {_constant(factor)}, {_constant(addend)})"
        return Expression(self._lines, text)

    def absolute(self) -> "Expression":
        """Return the absolute value."""
        return Expression(self._lines, f"fabsf({self})")

    def where(self, sign: str, other: float, yes: object, no: object) -> "Expression":
        """Return `yes` where self < (or >) other, else `no`."""
        text = f"{self} {sign} {_constant(other)} ? {_constant(yes)} : {_constant(no)}"
        return Expression(self._lines, text)

    def bits(self) -> "Bits":
        """Return the bits as an integer."""
        return Bits(self._lines, f"__float_as_int({self})")


class Bits(Expression):
    """A 32-bit integer in C++."""

    kind = "int"

    def _with(self, left: object, sign: str, right: object) -> "Bits":
        return Bits(self._lines, f"int(unsigned({left}) {sign} unsigned({right}))")

    def __lshift__(self, places: int) -> "Bits":
        return Bits(self._lines, f"int(unsigned({self}) << {places})")

    def __rshift__(self, places: int) -> "Bits":
        return Bits(self._lines, f"{self} >> {places}")

    def as_float(self) -> Expression:
        """Return the number that has these bits."""
        return Expression(self._lines, f"__int_as_float({self})")

    def to_float(self) -> Expression:
        """Return the nearest number."""
        return Expression(self._lines, f"float({self})")


def _constant(value: object) -> str:
    """Return an operand; a number is rounded to float32 and written in full."""
    if isinstance(value, Expression):
        return str(value)
    number = np.float32(value)  # type: ignore[arg-type]
    return f"{number.item()!r}f" if np.isfinite(number) else "__int_as_float(0x7f800000)"


def _function(function: Callable[[Expression], Expression]) -> str:
    lines: list[str] = []
    result = function(Expression(lines, "x"))
    name = f"{function.__name__}_"  # exp and the others are names of CUDA's own
    return "\n".join(
        [f"__device__ float {name}(float x) {{", *lines, f"  return {result};", "}", ""]
    )


def source() -> str:
    """Return the source of all kernels."""
    (shift0, mix0), (shift1, mix1) = dropout.MIX
    whole = {
        "PIXELS": PIXELS, "HEIGHT": HEIGHT, "WIDTH": WIDTH, "MARGIN": MARGIN, "WIDEST": WIDEST,
        "GROUP": arithmetic.GROUP, "BLOCK": arithmetic.BLOCK, "TILE": arithmetic.TILE,
        "LANES": arithmetic.LANES, "MIX0_SHIFT": shift0, "MIX1_SHIFT": shift1,
        "LAST": dropout.LAST,
    }  # fmt: skip
    lines = [f"constexpr int {name} = {value};" for name, value in whole.items()]
    for numbers in (ACTIVATIONS, OPTIMIZERS, FLAGS):
        names = ", ".join(f"{name.upper()} = {number}" for name, number in numbers.items())
        lines.append(f"enum {{ {names} }};")
    for name, word in {"GOLDEN": dropout.GOLDEN, "MIX0": mix0, "MIX1": mix1}.items():
        lines.append(f"constexpr unsigned {name} = {word}u;")
    for name, number in {"CENTRE": CENTRE, "EPSILON": arithmetic.EPSILON}.items():
        lines.append(f"constexpr float {name} = {_constant(number)};")
    functions = (arithmetic.exp, arithmetic.log, arithmetic.tanh, arithmetic.sigmoid)
    return "\n".join([*lines, "", *map(_function, functions), _STEP])

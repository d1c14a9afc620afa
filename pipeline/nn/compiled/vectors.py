"""LLVM instructions for what Numba's Python lacks: vectors, fused multiply-adds, raw addresses.

A kernel is a Python function that emits instructions once, when the code is compiled; compiled code
calls it by name. Addresses and counts are integers, strides are in floats. Bounds are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import Parameter, Signature
from typing import Any

from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic

from pipeline.nn.arithmetic import LANES

FLOAT, DOUBLE, BYTE, INT, LONG = (
    ir.FloatType(), ir.DoubleType(), ir.IntType(8), ir.IntType(32), ir.IntType(64),
)  # fmt: skip
VECTOR = ir.VectorType(FLOAT, LANES)
_INTS = ir.VectorType(INT, LANES)
_KINDS = {"i": types.intp, "f": types.float32}


class Vector:
    """16 floats in a register, with IEEE 754 arithmetic: each operation rounds once."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def of(self, number: float | Vector) -> Vector:
        """Return a vector with a number in all lanes."""
        if isinstance(number, Vector):
            return number
        return Vector(self.builder, ir.Constant(VECTOR, [float(number)] * LANES))

    def _with(self, operation: str, other: float | Vector) -> Vector:
        value = getattr(self.builder, operation)(self.value, self.of(other).value)
        return Vector(self.builder, value)

    def __add__(self, other: float | Vector) -> Vector:
        return self._with("fadd", other)

    def __sub__(self, other: float | Vector) -> Vector:
        return self._with("fsub", other)

    def __mul__(self, other: float | Vector) -> Vector:
        return self._with("fmul", other)

    def __truediv__(self, other: float | Vector) -> Vector:
        return self._with("fdiv", other)

    def __rsub__(self, other: float) -> Vector:
        return self.of(other) - self

    def __rtruediv__(self, other: float) -> Vector:
        return self.of(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def fma(self, factor: float | Vector, addend: float | Vector) -> Vector:
        """Return self * factor + addend, rounded once."""
        return self.call("fma", self.of(factor), self.of(addend))

    def call(self, name: str, *others: Vector) -> Vector:
        """Call an LLVM intrinsic: fma, sqrt or fabs."""
        values = [self.value, *(other.value for other in others)]
        kind = ir.FunctionType(VECTOR, [VECTOR] * len(values))
        name = f"llvm.{name}.v{LANES}f32"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return Vector(self.builder, self.builder.call(function, values))

    def where(self, sign: str, other: float | Vector, yes: float | Vector, no: Any) -> Vector:
        """Return `yes` where self < (or >, ==) other, else `no`, also if either is NaN."""
        flags = self.builder.fcmp_ordered(sign, self.value, self.of(other).value)
        value = self.builder.select(flags, self.of(yes).value, self.of(no).value)
        return Vector(self.builder, value)

    def absolute(self) -> Vector:
        """Return the absolute values."""
        return self.call("fabs")

    def bits(self) -> Bits:
        """Return the bits of the lanes as integers."""
        return Bits(self.builder, self.builder.bitcast(self.value, _INTS))

    def to_float(self, ints: Any) -> Vector:
        """Return integers as floats."""
        return Bits(self.builder, ints).to_float()


def ints(number: int) -> Any:
    """Return a vector with an integer in all lanes."""
    return ir.Constant(_INTS, [number] * LANES)


class Bits:
    """16 integers of 32 bits in a register."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _with(self, operation: str, other: int | Bits) -> Bits:
        operand = ints(other) if isinstance(other, int) else other.value
        return Bits(self.builder, getattr(self.builder, operation)(self.value, operand))

    def __add__(self, other: int | Bits) -> Bits:
        return self._with("add", other)

    def __sub__(self, other: int | Bits) -> Bits:
        return self._with("sub", other)

    def __lshift__(self, places: int) -> Bits:
        return self._with("shl", places)

    def __rshift__(self, places: int) -> Bits:
        return self._with("ashr", places)

    def as_float(self) -> Vector:
        """Return the numbers that have these bits."""
        return Vector(self.builder, self.builder.bitcast(self.value, VECTOR))

    def to_float(self) -> Vector:
        """Return the numbers nearest to the integers."""
        return Vector(self.builder, self.builder.sitofp(self.value, VECTOR))


class Emitter:
    """Emits a kernel's instructions. wide: whether the CPU has the 32 registers of AVX-512."""

    def __init__(self, builder: Any, *, wide: bool) -> None:
        self.builder = builder
        self.wide = wide

    def at(self, base: Any, index: Any, step: int = 4) -> Any:
        """Return the address of element `index`, of `step` bytes per element."""
        index = ir.Constant(LONG, index) if isinstance(index, int) else index
        return self.builder.add(base, self.builder.mul(index, ir.Constant(LONG, step)))

    def plain(self, address: Any) -> Any:
        """Return an address as a single register.

        An instruction that adds two registers to find its operand counts as two on x86.
        """
        assembly = ir.InlineAsm(ir.FunctionType(LONG, [LONG]), "", "=r,0")
        return self.builder.call(assembly, [address])

    def times(self, stride: Any, number: int) -> Any:
        """Return `number` times a stride."""
        stride = ir.Constant(LONG, stride) if isinstance(stride, int) else stride
        return self.builder.mul(stride, ir.Constant(LONG, number))

    def load(self, address: Any, lane: int = 0) -> Vector:
        """Load vector number `lane` after an address."""
        pointer = self.builder.inttoptr(self.at(address, lane * LANES), VECTOR.as_pointer())
        return Vector(self.builder, self.builder.load(pointer, align=4))

    def store(self, vector: Vector, address: Any, lane: int = 0) -> None:
        """Store a vector as vector number `lane` after an address."""
        pointer = self.builder.inttoptr(self.at(address, lane * LANES), VECTOR.as_pointer())
        self.builder.store(vector.value, pointer, align=4)

    def number(self, address: Any, kind: Any, align: int) -> Any:
        """Load a single number."""
        return self.builder.load(self.builder.inttoptr(address, kind.as_pointer()), align=align)

    def spread(self, scalar: Any) -> Vector:
        """Return a vector with a float in all lanes."""
        undefined, lanes = ir.Constant(VECTOR, ir.Undefined), [0] * LANES
        one = self.builder.insert_element(undefined, scalar, ir.Constant(INT, 0))
        mask = ir.Constant(ir.VectorType(INT, LANES), lanes)
        return Vector(self.builder, self.builder.shuffle_vector(one, undefined, mask))

    def spread_int(self, scalar: Any) -> Any:
        """Return 16 integers with a 32-bit integer in all lanes."""
        undefined, lanes = ir.Constant(_INTS, ir.Undefined), [0] * LANES
        one = self.builder.insert_element(undefined, scalar, ir.Constant(INT, 0))
        return self.builder.shuffle_vector(one, undefined, ir.Constant(_INTS, lanes))

    def whole(self, number: Any) -> Vector:
        """Return a vector with an integer in all lanes, as floats."""
        return self.spread(self.builder.sitofp(number, FLOAT))

    def transpose(self, source: Any, source_row: Any, target: Any, target_row: Any) -> None:
        """Copy a matrix (16, 16) with its rows as columns."""
        rows = [self.load(self.at(source, self.times(source_row, n))).value for n in range(LANES)]
        for step in (1, 2, 4, 8):  # exchange squares of this size
            for n in (n for n in range(LANES) if not n & step):
                pair = rows[n], rows[n + step]
                for number, half in ((n, 0), (n + step, step)):
                    places = [
                        (lane if lane & step == half else lane ^ step) + LANES * (lane & step > 0)
                        for lane in range(LANES)
                    ]
                    lanes = ir.Constant(_INTS, places)
                    rows[number] = self.builder.shuffle_vector(*pair, lanes)
        for n, row in enumerate(rows):
            self.store(Vector(self.builder, row), self.at(target, self.times(target_row, n)))

    def gather(self, base: Any, offsets: Any) -> Any:
        """Return the 32 bits at each of 16 byte offsets from an address."""
        builder = self.builder
        longs, pointers = ir.VectorType(LONG, LANES), ir.VectorType(INT.as_pointer(), LANES)
        undefined = ir.Constant(longs, ir.Undefined)
        one = builder.insert_element(undefined, base, ir.Constant(INT, 0))
        bases = builder.shuffle_vector(one, undefined, ir.Constant(_INTS, [0] * LANES))
        addresses = builder.inttoptr(builder.add(bases, builder.zext(offsets, longs)), pointers)
        flags = ir.VectorType(ir.IntType(1), LANES)
        kind = ir.FunctionType(_INTS, [pointers, INT, flags, _INTS])
        name = f"llvm.masked.gather.v{LANES}i32.v{LANES}p0"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        all_of_them = ir.Constant(flags, [1] * LANES)
        nothing = ir.Constant(_INTS, ir.Undefined)
        return builder.call(function, [addresses, ir.Constant(INT, 1), all_of_them, nothing])

    def load_bytes(self, address: Any) -> Bits:
        """Load 16 bytes as integers."""
        pointer = self.builder.inttoptr(address, ir.VectorType(BYTE, LANES).as_pointer())
        return Bits(self.builder, self.builder.zext(self.builder.load(pointer, align=1), _INTS))

    def store_bytes(self, numbers: Any, address: Any) -> None:
        """Store 16 integers from 0 to 255 as bytes."""
        kind = ir.VectorType(BYTE, LANES)
        pointer = self.builder.inttoptr(address, kind.as_pointer())
        self.builder.store(self.builder.trunc(numbers, kind), pointer, align=1)

    def variable(self, value: float = 0.0) -> Variable:
        """Return a vector that loops can change, with `value` in all lanes at first."""
        start = ir.Constant(VECTOR, [value] * LANES)
        return Variable(self.builder, cgutils.alloca_once_value(self.builder, start))

    @contextmanager
    def loop(self, count: Any) -> Iterator[Any]:
        """Emit a loop over the numbers from 0 to count - 1."""
        with cgutils.for_range(self.builder, count) as loop:
            yield loop.index

    @contextmanager
    def matrix(self, rows: Any, stride: Any, vectors: Any) -> Iterator[tuple[Any, Any]]:
        """Emit a loop over the vectors of a matrix, yielding the index and column of each."""
        with self.loop(rows) as row, self.loop(vectors) as vector:
            column = self.times(vector, LANES)
            yield self.builder.add(self.builder.mul(row, stride), column), column

    def add_to(self, address: Any, lane: int, chain: Vector, add: Any) -> None:
        """Store a finished chain plus the value at the address or, if `add` is 0, plus 0.

        No result is therefore -0, and it makes no difference whether a chain starts with zeros.
        """
        flag = self.builder.icmp_signed("!=", add, ir.Constant(LONG, 0))
        before = self.load(address, lane)
        kept = self.builder.select(flag, before.value, before.of(0.0).value)
        self.store(Vector(self.builder, kept) + chain, address, lane)

    def choose(self, number: Any, most: int, emit: Callable[[int], None]) -> None:
        """Emit one version for each value from 1 to `most`; `number` selects the one that runs."""
        builder = self.builder
        done = builder.append_basic_block()
        switch = builder.switch(number, done)
        for case in range(1, most + 1):
            block = builder.append_basic_block()
            switch.add_case(ir.Constant(LONG, case), block)
            builder.position_at_end(block)
            emit(case)
            builder.branch(done)
        builder.position_at_end(done)


class Variable:
    """A vector that loops can change."""

    def __init__(self, builder: Any, place: Any) -> None:
        self.builder, self.place = builder, place

    def get(self) -> Vector:
        """Return the current value."""
        return Vector(self.builder, self.builder.load(self.place))

    def set(self, vector: Vector) -> None:
        """Set the value."""
        self.builder.store(vector.value, self.place)


def kernel(signature: str) -> Callable[[Callable[..., None]], Any]:
    """Turn an emitting function into a kernel. signature: i or f per argument."""

    def decorate(body: Callable[..., None]) -> Any:
        def typed(*_: Any) -> Any:
            def code(context: Any, builder: Any, _signature: Any, arguments: Sequence[Any]) -> Any:
                features = context.codegen().magic_tuple()[2]
                body(Emitter(builder, wide="+avx512f" in features), *arguments)
                return context.get_dummy_value()

            return types.void(*(_KINDS[letter] for letter in signature)), code

        return _named_arguments(typed, len(signature), body.__name__)

    return decorate


def call(count: int) -> Any:
    """Return `call(address, ...)`, which calls a compiled function of `count` integers."""

    def typed(*_: Any) -> Any:
        def code(context: Any, builder: Any, _signature: Any, arguments: Sequence[Any]) -> Any:
            kind = ir.FunctionType(ir.VoidType(), [LONG] * count)
            builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
            return context.get_dummy_value()

        return types.void(*[types.intp] * (count + 1)), code

    return _named_arguments(typed, count + 1, "call")


def _named_arguments(typed: Callable[..., Any], count: int, name: str) -> Any:
    """Make an intrinsic of a variadic function: Numba needs a name for each argument."""
    names = ["typing", *(f"a{number}" for number in range(count))]

    def function(_typing: Any, *arguments: Any) -> Any:
        return typed(*arguments)

    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    function.__name__ = function.__qualname__ = name
    return intrinsic(function)


def _pointer(kind: Any) -> Any:
    @intrinsic
    def pointer(typing: Any, address: Any) -> Any:  # noqa: ARG001  # Numba's interface
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return kind(types.intp), code

    return pointer


floats, doubles = _pointer(types.CPointer(types.float32)), _pointer(types.CPointer(types.float64))
bytes_at, words_at = _pointer(types.CPointer(types.uint8)), _pointer(types.CPointer(types.uint32))
integers = _pointer(types.CPointer(types.int64))
"""Turn an address into an array without bounds: p[i] reads and writes."""


def record(dtype: Any) -> Any:
    """Return a function that turns an address into a record with the fields of `dtype`."""
    return _pointer(from_dtype(dtype))

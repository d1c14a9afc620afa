"""Threads that share pieces of work inside compiled code: a counter and a barrier.

Which thread takes which piece changes nothing, because each piece is computed by one thread and
pieces are put together in their order. OpenMP is not used: its threads spin at every barrier, which
takes seconds where something else wants the cores.
"""

import sys
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from pipeline.nn.compiled.threads import ARRIVED, LINE, ROUND, STOP, TAKEN

_INT, _LONG = ir.IntType(32), ir.IntType(64)
_SPINS = 2000
"""Looks at the barrier, some microseconds, before a thread rests."""


@intrinsic
def _add(typing: Any, address: Any, value: Any) -> Any:  # noqa: ARG001
    """Add to the int64 at an address, in one step for all threads; return what it was."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        pointer = builder.inttoptr(arguments[0], _LONG.as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), code


@intrinsic
def _look(typing: Any, address: Any) -> Any:  # noqa: ARG001
    """Return the int64 at an address as the other threads left it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        pointer = builder.inttoptr(arguments[0], _LONG.as_pointer())
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.intp(types.intp), code


@intrinsic
def _rest(typing: Any) -> Any:  # noqa: ARG001
    """Sleep for some 20 microseconds.

    Offering the core by sched_yield is not enough where others want it: a thread that has slept is
    the first to run when what it waits for is there.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        name = "Sleep" if sys.platform == "win32" else "usleep"  # milliseconds there
        kind = ir.FunctionType(_INT, [_INT])
        duration = ir.Constant(_INT, 0 if sys.platform == "win32" else 20)
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [duration])
        return context.get_dummy_value()

    return types.void(), code


@njit(error_model="numpy")
def take(team, thread, threads, count):
    """Return a piece, from 0 to count - 1, that nobody has taken since the last meeting, or -1.

    A thread begins with its own share, so that from step to step it finds in its cache what it
    left there, then helps the next thread with the rest of its share.
    """
    if _look(team + STOP):
        return -1
    for turn in range(threads):
        owner = (thread + turn) % threads
        first, stop = count * owner // threads, count * (owner + 1) // threads
        piece = first + _add(team + TAKEN + LINE * owner, 1)
        if piece < stop:
            return piece
    return -1


@njit(error_model="numpy")
def meet(team, threads):
    """Wait until all threads are here; return whether the work goes on."""
    now = _look(team + ROUND)
    if _add(team + ARRIVED, 1) == threads - 1:
        for owner in range(threads):
            taken = team + TAKEN + LINE * owner
            _add(taken, -_look(taken))
        _add(team + ARRIVED, -threads)
        _add(team + ROUND, 1)
    else:
        spins = 0
        while _look(team + ROUND) == now and _look(team + STOP) == 0:
            spins += 1
            if spins > _SPINS:
                _rest()
    return _look(team + STOP) == 0

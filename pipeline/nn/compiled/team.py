"""Threads that share pieces of work inside compiled code: a counter and a barrier.

Results do not depend on which thread takes a piece: one thread computes each piece, and pieces are
combined in a fixed order. OpenMP is not used, because its threads spin at every barrier, which
costs seconds if other programs need the cores.
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
"""Polls of the barrier, a few microseconds in all, before a thread sleeps."""


@intrinsic
def _add(typing: Any, address: Any, value: Any) -> Any:  # noqa: ARG001
    """Add to the int64 at an address atomically. Return its previous value."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        pointer = builder.inttoptr(arguments[0], _LONG.as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), code


@intrinsic
def _look(typing: Any, address: Any) -> Any:  # noqa: ARG001
    """Return the int64 at an address, as the other threads last wrote it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        pointer = builder.inttoptr(arguments[0], _LONG.as_pointer())
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.intp(types.intp), code


@intrinsic
def _rest(typing: Any) -> Any:  # noqa: ARG001
    """Sleep for about 20 microseconds.

    sched_yield is not enough on a busy machine: a thread that has slept is scheduled first once the
    barrier opens.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        name = "Sleep" if sys.platform == "win32" else "usleep"  # Sleep takes milliseconds
        kind = ir.FunctionType(_INT, [_INT])
        duration = ir.Constant(_INT, 0 if sys.platform == "win32" else 20)
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [duration])
        return context.get_dummy_value()

    return types.void(), code


@njit(error_model="numpy")
def take(team, thread, threads, count):
    """Return a piece, 0 to count - 1, that no thread has taken since the last barrier, or -1.

    A thread starts with its own share, whose data are still in its cache from the previous step. It
    then helps the next threads with theirs.
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
    """Wait until all threads have arrived. Return whether the work continues."""
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

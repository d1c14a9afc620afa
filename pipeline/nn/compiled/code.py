"""The compiled code: made once per machine and version of its sources, then found in a file.

Clones of the project, copies that DVC makes of it, Dask's workers and tests share the file. What is
in it will run, so it is kept only where nobody else can write. Numba is imported only to make it:
that takes longer than all a short command has to do.
"""

import base64
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from ctypes import CDLL, CFUNCTYPE, c_int64, c_void_p, cast
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite.binding as llvm
from platformdirs import user_cache_path

from pipeline.errors import PipelineError
from pipeline.files import whole_file

_HERE = Path(__file__).parent
_DIGEST = 64
_ENGINES: list[Any] = []
"""What owns the code in memory, which must stay there for as long as the process lasts."""


class Function:
    """A compiled function of integers: to be called from Python, or by its address."""

    def __init__(self, address: int, arguments: int) -> None:
        self.address = address
        self._call = CFUNCTYPE(None, *[c_int64] * arguments)(address)

    def __call__(self, *arguments: int) -> None:
        """Call it, without Python's lock."""
        self._call(*arguments)


def functions() -> dict[str, Function]:
    """Return what `step` and `epoch` define, by name; threads may ask at once."""
    with _ONE_AT_A_TIME:
        return _functions()


_ONE_AT_A_TIME = Lock()


@cache
def _functions() -> dict[str, Function]:
    path = _folder() / f"{_key()}.json" if _usable() else None
    made = None if path is None else _read(path)
    if made is None:
        made = _make()
        if path is not None:
            _write(path, made)
    return _load(made)


def _make() -> dict[str, Any]:
    """Compile; return each function's symbol, number of arguments and machine code."""
    from pipeline.nn.compiled import epoch, step

    processor, features = _processor()
    machine = _target().create_target_machine(
        cpu=processor, features=features, opt=3, codemodel="jitdefault", jit=True
    )
    made: dict[str, Any] = {}
    for function in (*step.COMPILED, *epoch.COMPILED):
        module = llvm.parse_assembly(function.inspect_llvm())
        made[function.__name__] = {
            "symbol": function.native_name,
            "arguments": len(function._sig.args),
            "foreign": [
                other.name for other in module.functions
                if other.is_declaration and not other.name.startswith("llvm.")
            ] + [other.name for other in module.global_variables if other.is_declaration],
            "code": base64.b64encode(machine.emit_object(module)).decode(),
        }  # fmt: skip
    return made


def _load(made: dict[str, Any]) -> dict[str, Function]:
    machine = _target().create_target_machine(codemodel="jitdefault", jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    _ENGINES.append(engine)
    for function in made.values():
        for symbol in function["foreign"]:
            if llvm.address_of_symbol(symbol) is None:
                # Numba's way to raise errors, which nothing here does.
                llvm.add_symbol(symbol, cast(CDLL(None).abort, c_void_p).value)
        code = base64.b64decode(function["code"])
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return {
        name: Function(engine.get_function_address(function["symbol"]), function["arguments"])
        for name, function in made.items()
    }


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple())


def _processor() -> tuple[str, str]:
    """Return the name and features of what code is made for; Numba's variables choose another."""
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES") or llvm.get_host_cpu_features().flatten()
    return name, features


def _key() -> str:
    """Return a name for the kind of processor."""
    kind = f"{llvm.get_process_triple()} {_processor()}"
    return hashlib.sha256(kind.encode()).hexdigest()[:16]


def _folder() -> Path:
    """Return the folder for these sources and versions."""
    digest = hashlib.sha256(f"{version('numba')} {version('llvmlite')}".encode())
    for file in sorted(_HERE.glob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return user_cache_path("handwritten-digits") / f"compiled-{digest.hexdigest()[:16]}"


def _read(path: Path) -> dict[str, Any] | None:
    """Return what `_write` wrote; None where there is nothing, or with a line if it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, text = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(text).hexdigest().encode() != digest:
        _warn(f"{path} is damaged and made anew")
        return None
    made: dict[str, Any] = json.loads(text)
    return made


def _write(path: Path, made: dict[str, Any]) -> None:
    text = json.dumps(made).encode()
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(hashlib.sha256(text).hexdigest().encode() + text)
    except PipelineError as error:
        _warn(f"compiled code is not kept: {error}")


def _usable() -> bool:
    """Make the folder; return whether it can be written, and by nobody else."""
    folder, reason = None, None
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            reason = "it cannot be written"
        elif others := list(_open_to_others(folder)):
            reason = f"others could write {others[0]}"
    except OSError as error:
        reason = str(error.strerror)
    except RuntimeError as error:  # a user without a home
        reason = str(error)
    if reason:
        _warn(
            f"compiled code is not kept in {folder}: {reason}; each run compiles for some seconds"
        )
    return reason is None


def _open_to_others(folder: Path) -> Iterator[Path]:
    """Yield those of a folder and its parents in which another user could put a file."""
    for path in (folder, *folder.parents) if hasattr(os, "getuid") else ():
        status = path.stat()
        writers = 0o022 if path == folder else 0o002
        shared = status.st_mode & writers and not status.st_mode & stat.S_ISVTX
        if shared or status.st_uid not in {0, os.getuid()}:
            yield path


def _warn(line: str) -> None:
    sys.stderr.write(f"Warning: {line}\n")

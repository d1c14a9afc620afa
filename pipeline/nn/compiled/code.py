"""The compiled code: compiled once per machine and version of its sources, then read from a file.

Clones of the project, DVC's copies of it, Dask workers and tests share the file. Its content is
executed, so it is stored only where no other user can write. Numba is imported only to compile:
importing it takes longer than a short command.
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

from pipeline.base.errors import PipelineError
from pipeline.base.files import code_digest, whole_file

_PACKAGE = Path(__file__).parents[2]
SOURCES = (
    "nn/compiled",
    "nn/dropout.py",
    "nn/arithmetic.py",
    "datasets/augment.py",
    "datasets/images.py",
)
"""The sources of compiled code in the package: the others define what it contains."""
_DIGEST = 64
_ENGINES: list[Any] = []
"""The owners of the code in memory, which must live as long as the process."""


class Function:
    """A compiled function of integers, called from Python or by its address."""

    def __init__(self, address: int, arguments: int) -> None:
        self.address = address
        self._call = CFUNCTYPE(None, *[c_int64] * arguments)(address)

    def __call__(self, *arguments: int) -> None:
        """Call the function without holding Python's global interpreter lock."""
        self._call(*arguments)


def functions() -> dict[str, Function]:
    """Return the functions of `step` and `epoch` by name. Safe to call from several threads."""
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
    """Compile everything; return each function's symbol, number of arguments and machine code."""
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
                # Numba would raise errors through these symbols. Nothing here raises.
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
    """Return the CPU name and features to compile for; Numba's variables override them."""
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES") or llvm.get_host_cpu_features().flatten()
    return name, features


def _key() -> str:
    """Return a name for the type of CPU."""
    kind = f"{llvm.get_process_triple()} {_processor()}"
    return hashlib.sha256(kind.encode()).hexdigest()[:16]


def _folder() -> Path:
    """Return the cache folder for these sources and package versions."""
    made_of = f"{version('numba')} {version('llvmlite')} {code_digest(_PACKAGE, SOURCES)}"
    digest = hashlib.sha256(made_of.encode()).hexdigest()
    return user_cache_path("handwritten-digits") / f"compiled-{digest[:16]}"


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of a file from `_write`, or None if it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, text = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(text).hexdigest().encode() != digest:
        _warn(f"{path} is damaged; its code is compiled again")
        return None
    made: dict[str, Any] = json.loads(text)
    return made


def _write(path: Path, made: dict[str, Any]) -> None:
    text = json.dumps(made).encode()
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(hashlib.sha256(text).hexdigest().encode() + text)
    except PipelineError as error:
        _warn(f"compiled code is not saved: {error}")


def _usable() -> bool:
    """Create the folder. Return whether this user, and no other, can write to it."""
    folder, reason = None, None
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            reason = "it is not writable"
        elif others := list(_open_to_others(folder)):
            reason = f"other users can write to {others[0]}"
    except OSError as error:
        reason = str(error.strerror)
    except RuntimeError as error:  # the user has no home folder
        reason = str(error)
    if reason:
        _warn(
            f"compiled code is not saved in {folder}: {reason}; each run compiles for some seconds"
        )
    return reason is None


def _open_to_others(folder: Path) -> Iterator[Path]:
    """Yield the folder and those of its parents in which another user could create a file."""
    for path in (folder, *folder.parents) if hasattr(os, "getuid") else ():
        status = path.stat()
        writers = 0o022 if path == folder else 0o002
        shared = status.st_mode & writers and not status.st_mode & stat.S_ISVTX
        if shared or status.st_uid not in {0, os.getuid()}:
            yield path


def _warn(line: str) -> None:
    sys.stderr.write(f"Warning: {line}\n")

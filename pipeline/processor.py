"""The same bits on every x86-64 processor: which kernels NumPy and OpenBLAS may use.

OpenBLAS picks a matrix-product kernel and NumPy picks exp, log and sum loops by asking the
processor what it can do, and kernels differ in the last bit because they add in another order.
The Haswell kernels need AVX2 and FMA, which AMD and Intel have built into desktop and server
processors since 2015; every later processor can run them too. BLAS gets one thread because its
own splitting of a product depends on the number of threads; `pipeline.nn.parallel` brings
parallelism that does not.

Where speed matters more than that, DIGITS_KERNELS=native in the environment leaves each processor
its own kernels: twice as fast on one with AVX-512, and the bits are then those of its kind of
processor, on any number of threads.

Both libraries read these variables once, when they load, so this must run before NumPy is imported.
"""

import os
import platform
import sys
from pathlib import Path

KERNELS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_L2_SIZE": "512",  # kibibytes; some kernels derive their block sizes from it
    "OPENBLAS_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


CHOICE = "DIGITS_KERNELS"
"""Environment variable: `portable`, which is the default, or `native`."""


def pin_kernels() -> None:
    """Set the variables of `KERNELS`, overriding the user's own, where the processor can follow.

    Ends the program with one line where CHOICE has another value than the two it may have: this
    runs while the package is imported, before any command could show an error.
    """
    choice = os.environ.get(CHOICE, "portable")
    if choice not in ("portable", "native"):
        sys.exit(f"Error: {CHOICE} must be portable or native, got {choice!r}")
    if choice == "portable" and can_pin():
        os.environ.update(KERNELS)
    else:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"


def describe_kernels() -> str:
    """Say whose bits the kernels give: the portable ones, or those of this kind of processor."""
    if not is_native() and can_pin():
        return "portable"
    cpuinfo = Path("/proc/cpuinfo")
    words = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    kinds = {line for line in words if line.startswith(("model name", "flags", "Features"))}
    return " ".join([platform.machine(), platform.processor(), *sorted(kinds)])


def is_native() -> bool:
    """Say whether the user chose this processor's own kernels."""
    return os.environ.get(CHOICE) == "native"


def can_pin() -> bool:
    """Say whether this processor runs the Haswell kernels.

    Without AVX2 and FMA, and on ARM, results agree to rounding (about 1e-3 in accuracy), not in
    every bit.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():  # Windows and Intel Macs do not say; theirs of the last ten years can
        return True
    words = set(cpuinfo.read_text(errors="replace").split())
    return {"avx2", "fma"} <= words

"""The same bits on every x86-64 processor: which kernels NumPy and OpenBLAS may use.

OpenBLAS picks a matrix-product kernel and NumPy picks exp, log and sum loops by asking the
processor what it can do, and kernels differ in the last bit because they add in another order.
The Haswell kernels need AVX2 and FMA, which AMD and Intel have built into desktop and server
processors since 2015; every later processor can run them too. BLAS gets one thread because its
own splitting of a product depends on the number of threads; `pipeline.nn.parallel` brings
parallelism that does not.

Both libraries read these variables once, when they load, so this must run before NumPy is imported.
"""

import os
import platform
from pathlib import Path

KERNELS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_L2_SIZE": "512",  # kibibytes; some kernels derive their block sizes from it
    "OPENBLAS_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


def pin_kernels() -> None:
    """Set the variables of `KERNELS`, overriding the user's own, where the processor can follow."""
    if can_pin():
        os.environ.update(KERNELS)
    else:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"


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

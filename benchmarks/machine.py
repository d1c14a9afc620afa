"""The machine, and an environment in which libraries run with their defaults."""

import os
import platform
import re
from pathlib import Path
from typing import Any

from pipeline.base.machine import available_cores, physical_memory

ROOT = Path(__file__).resolve().parent.parent
THREADS = (
    "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
CODE = (
    "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES",
    "NUMBA_CPU_FEATURES", "NUMBA_CPU_NAME", "NUMBA_DISABLE_JIT", "NUMBA_OPT",
    "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
)  # fmt: skip
"""Variables that override the machine code that a library chooses."""
BUSY = 0.5
"""Load average above which times are not reliable."""


def free_environment(**extra: str) -> dict[str, str]:
    """Return the environment without variables for kernels and threads, plus `extra`."""
    free = {key: value for key, value in os.environ.items() if key not in (*CODE, *THREADS)}
    return free | {"PYTHONPATH": str(ROOT)} | extra


def describe_machine() -> dict[str, Any]:
    """Return the processor, cores, memory, operating system and load."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gib": round(physical_memory() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    found = dict(re.findall(r"^([\w ]+?)\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE))
    name = found.get("model name", platform.machine())
    family, model = found.get("cpu family"), found.get("model")
    return f"{name} (family {family}, model {model})" if family and model else name

"""The machine that is measured: what it is, and an environment in which rivals run as they come."""

import os
import platform
import re
from pathlib import Path
from typing import Any

from pipeline.nn.backend import available_cores
from pipeline.processor import CHOICE, KERNELS

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GOTO_NUM_THREADS")
BUSY = 0.5
"""Mean number of running processes above which times are not to be trusted."""


def free_environment(**extra: str) -> dict[str, str]:
    """Give the environment without anything that chooses kernels or threads.

    Importing `pipeline` sets such variables in this process; children must not inherit them.
    """
    held = {CHOICE, *KERNELS, *THREADS}
    free = {key: value for key, value in os.environ.items() if key not in held}
    return free | {"PYTHONPATH": str(ROOT)} | extra


def describe_machine() -> dict[str, Any]:
    """Give the processor's model, cores, memory and operating system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gib": round(memory / 2**30, 1),
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

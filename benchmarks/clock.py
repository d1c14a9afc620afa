"""Run a command; print its wall-clock seconds and its peak of memory as JSON.

    python -m benchmarks.clock COMMAND...

A process of its own, because the system counts towards a child's peak what its parent held when it
was started, and this one holds nothing.
"""

import json
import os
import subprocess
import sys
import time


def main() -> None:
    """Run the command of the command line; end as it ended."""
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": usage.ru_maxrss * unit}))
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()

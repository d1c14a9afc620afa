"""Run a command and print its wall-clock time in seconds and its peak memory as JSON.

    python -m benchmarks.clock COMMAND...

This is a process of its own, because the system counts the memory of a parent at the start of its
child towards the peak of the child, and this process holds almost none.
"""

import json
import os
import subprocess
import sys
import time


def main() -> None:
    """Run the command in the arguments and exit with its exit code."""
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

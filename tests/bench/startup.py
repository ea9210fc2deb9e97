"""How long commands take to start: `python tests/bench/startup.py [N]` prints wall-clock and processor seconds.

Each command runs N times in processes of its own, one after the other, after a run that fills the caches of Python and
numba. Nothing here is a test: speeds are read, not asserted.
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import time

COMMANDS = (
    ["--help"],
    ["simulate", "--help"],
    ["sweep", "--help"],
    ["doctor"],
    ["simulate", "wrn-16-2-1x3"],
    ["simulate", "wrn-16-2-1x3", "--json"],
)


def once(words: list[str]) -> tuple[float, float]:
    """Seconds of a command by the clock, and of the processor: user and system, children included."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "pacemaker", *words], capture_output=True, check=True)
    clock, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a line a command."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}, n = {runs}")
    print("wall-clock median (least), processor median (least), in seconds")
    for words in COMMANDS:
        once(words)
        clocks, processor = zip(*(once(words) for _ in range(runs)), strict=True)
        told = (f"{statistics.median(values):.2f} ({min(values):.2f})" for values in (clocks, processor))
        print(f"  {'  '.join(told)}  pacemaker {' '.join(words)}")


if __name__ == "__main__":
    main()

"""How long the steps of a job took, and on what: what every report records beside its results."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reports.candidate import RunRecord


@dataclass
class Clock:
    """Seconds of each step of a run."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begin, 2)


def record(command: str, started: str, seconds: Mapping[str, float], folder: Path) -> RunRecord:
    """What differs from run to run."""
    packages = ("numpy", "numba", "torch", "hls4ml", "scikit-learn")
    versions = {"python": platform.python_version()}
    for name in ("pacemaker-codesign", *packages):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    host = f"{platform.system()} {platform.machine()}"
    return RunRecord(command, started, dict(seconds), versions, host, os.cpu_count() or 1, str(folder))

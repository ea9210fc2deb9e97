"""A sweep of 100,000 points and fronts of as many: `bench.py` calls these, or `python tests/bench/sweep.py` prints all.

Ten students of 28x28x1 and 14x14x1 images on 10,000 machines, half of them budgets for pipelines at ten clocks, half
line engines. Their accuracies are made up: nothing is trained here.
"""

import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from hw.accelerator import Budget, LineEngine, Machine
from hw.network import Shape
from hw.passes import executed
from hw.presets import wrn
from reports.sweep import columns, pareto
from reports.sweep.constraints import parse
from reports.sweep.keys import network_key
from reports.sweep.screening import evaluate_all
from reports.sweep.table import Subject, Table
from sim.result import Precision

CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "three": (("accuracy", "latency_ms", "line_memory_bytes"), ()),
    "four": (("accuracy", "latency_ms", "line_memory_bytes", "multipliers"), ("latency <= 1 ms",)),
    "energy": (("accuracy", "energy_uj", "interval_cycles"), ()),
}


class Kept:
    """Finished rows in memory."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Table]] = {}

    def known(self, network_key: str) -> Table:
        return Table({})

    def put(self, rows: Table) -> None:
        self.tables.setdefault(rows["network_key"][0], []).append(rows)


def subjects() -> list[Subject]:
    """Ten networks with made-up accuracies that rise with what is computed and fall with fewer bits."""
    sizes = itertools.product(((10, 1), (16, 1), (10, 2), (16, 2)), ("skip", "keep"))
    made = [(wrn(*size, rows=rows, shape=Shape(28, 28, 1), classes=10), 8) for size, rows in sizes]
    made += [(wrn(10, 1, rows="keep", shape=Shape(14, 14, 1), classes=10), bits) for bits in (8, 6)]
    found = []
    for i, (network, bits) in enumerate(made):
        precision, form = Precision(bits, bits), executed(network)
        accuracy = 0.8 + 0.15 * (1 - math.exp(-form.macs / 3e6)) - 0.005 * (8 - bits)
        said: dict[str, float | str] = {"network": f"{network.name} {i}", "bits": bits, "accuracy": accuracy}
        said |= {"macs": network.macs, "executed_macs": form.macs, "parameters": network.parameters}
        found.append(Subject(network_key(network, precision), said, network, precision))
    return found


def machines(count: int) -> list[Machine]:
    """Half budgets, of multipliers, or of DSPs and block RAMs, at ten clocks; half line engines of all sizes."""
    budgets = count // 20
    limits: list[dict[str, int]] = [{"macs": int(20 * 1.02**i) + i} for i in range(budgets // 2)]
    limits += [{"dsp": 40 + 3 * i, "bram18": 12 + 7 * i % 140} for i in range(budgets - len(limits))]
    made: list[Machine] = [
        Budget(f"budget {i} at {50 + 25 * c} MHz", clock_mhz=50.0 + 25 * c, **limit)
        for i, limit in enumerate(limits)
        for c in range(10)
    ]
    arrays = itertools.product((2, 4, 8, 16, 32), (1, 4, 8, 9, 16), (1, 2, 4))
    memories = itertools.product((1, 2, 4, 8, 16, 32), (4, 8, 16, 64), (0.5, 2.0, 8.0))
    rest = itertools.product((100.0, 200.0), ("line_by_line", "layer_by_layer"))
    every = list(itertools.product(arrays, memories, rest))
    for i in range(count // 2):
        (pe, simd, lanes), (line, weight, rate), (clock, schedule) = every[i * len(every) // (count // 2)]
        made.append(
            LineEngine(
                f"engine {i}",
                pe,
                simd,
                line_memory_bytes=line * 1024,
                weight_memory_bytes=weight * 1024,
                dram_bytes_per_cycle=rate,
                dram_latency_cycles=40,
                clock_mhz=clock,
                schedule=schedule,
                lanes=lanes,
            )
        )
    return made


def once(case: str, points: int, *, exhaustive: bool) -> dict[str, object]:
    """Seconds of one sweep in this process, the most memory that it ever had, and what became of the points."""
    objectives, sentences = CASES[case]
    those, constraints = subjects(), [parse(sentence) for sentence in sentences]
    there = machines(points // len(those))
    begin = time.perf_counter()
    energy = "scaled-28nm" if "energy_uj" in objectives else ""
    rows = evaluate_all(those, there, objectives, constraints, Kept(), energy=energy, exhaustive=exhaustive)
    taken = time.perf_counter() - begin
    exact = rows.rows(rows["status"] == "exact")
    values = np.stack([exact[name] for name in objectives], axis=1)
    found = pareto.front(values, [columns.ALL[name].better for name in objectives])
    return {
        "seconds": taken,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "points": len(rows),
        "front": int(found.sum()) if not constraints else None,
        **Counter(rows["status"].tolist()),
    }


def sweep(case: str = "three", points: int = 100_000, runs: int = 5, *, exhaustive: bool = False) -> dict[str, object]:
    """Sweeps in processes of their own, with numba's cache warm: medians, and the counts of the last one."""
    script = f"import json, sweep; print(json.dumps(sweep.once({case!r}, {points}, exhaustive={exhaustive})))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    found = []
    for _ in range(runs + 1):
        out = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment
        )
        found.append(json.loads(out.stdout))
    seconds = [each["seconds"] for each in found[1:]]
    spread = {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "n": runs, "unit": "s"}
    last = {key: value for key, value in found[-1].items() if key != "seconds"}
    return {**spread, **last}


def peak_mb() -> dict[str, object]:
    """The most memory that a new process has ever had, interpreter and libraries included, after one such sweep."""
    found = sweep(runs=1)["peak_mb"]
    return {"median": found, "min": found, "max": found, "n": 1, "unit": "MB"}


def clouds(rows: int = 100_000) -> dict[str, np.ndarray]:
    """Values of four objectives: uniform; anti-correlated, all on the front; around such ones."""
    rng = np.random.default_rng(0)
    uniform, simplex = rng.random((rows, 4)), rng.dirichlet(np.ones(4), rows)
    return {"uniform": uniform, "anti-correlated": simplex, "noisy": simplex + 0.1 * uniform}


def front(cloud: str, rows: int = 100_000, runs: int = 5) -> dict[str, object]:
    """Seconds of `pareto.front` in four objectives, compiled before."""
    values = clouds(rows)[cloud]
    better = ("less",) * 4
    found = pareto.front(values, better)
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        pareto.front(values, better)
        taken.append(time.perf_counter() - begin)
    spread = {"median": statistics.median(taken), "min": min(taken), "max": max(taken), "n": runs, "unit": "s"}
    return {**spread, "front": int(found.sum())}


if __name__ == "__main__":
    for name in clouds(10):
        print("front", name, front(name))
    for case in CASES:
        print("sweep", case, sweep(case, runs=3))
        print("exhaustive", case, sweep(case, runs=1, exhaustive=True))
    print("a million points", sweep("three", 1_000_000, runs=1))

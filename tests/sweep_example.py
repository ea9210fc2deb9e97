"""A sweep for the page's tests: real networks, machines and simulations; accuracies and curves are MADE UP."""

import functools
import json
import re

import msgspec
import numpy as np

from hw import presets
from hw.accelerator import Budget, LineEngine
from hw.errors import DoesNotFit
from hw.network import Shape
from hw.passes import executed
from hw.resources import estimate
from reports.candidate import Curve
from reports.sweep import columns
from reports.sweep.keys import machine_key, network_key
from reports.sweep.result import Provenance, Sweep
from reports.sweep.space import Machines, Networks, Space
from reports.sweep.table import BOUND, EXACT, FAILED, UNFIT, Subject, Table
from sim.folding import settled
from sim.result import Precision
from sim.run import simulate

SPACE = Space(
    name="made-up-accuracies",
    networks=Networks(recipe="digits", axes={"width": (1, 2), "rows": ("skip", "keep")}, teachers=True),
    machines=(
        Machines("pipeline", {"macs": (48, 64, 96, 128, 192, 256), "clock_mhz": (100.0, 200.0)}),
        Machines("line_engine", {"pe": (4, 8, 16), "simd": (4, 8), "line_memory_bytes": (4096, 16384, 65536)}),
    ),
    objectives=("accuracy", "latency_ms", "line_memory_bytes"),
    constraints=("latency <= 5 ms",),
)
PROVENANCE = Provenance(
    command="pacemaker sweep space.yaml",
    started="2026-01-02T03:04:05+00:00",
    seconds={"train": 812.5, "screen": 1.25, "simulate": 3.5},
    versions={"python": "3.11.7", "numpy": "2.4.6"},
    host="Linux x86_64",
    cores=2,
    folder="runs/sweep",
    code_hash="0123456789abcdef",
)


def subject(width, filters, rows, accuracy, names=lambda name: name):
    form = "full" if filters == "full" else rows
    network = presets.wrn(10, width, rows=form, shape=Shape(14, 14, 1), classes=10)
    told = f"wrn-10-{width} 3x3 8 bit" if filters == "full" else f"wrn-10-{width} 1x3 {rows} global kd a0.5 T4 8 bit"
    known = {
        "network": names(told),
        "role": "teacher" if filters == "full" else "student",
        "family": "wrn",
        "depth": 10.0,
        "width": float(width),
        "filters": filters,
        "n": 3.0,
        "rows": "" if filters == "full" else rows,
        "bits": 8.0,
        "accuracy": accuracy,
        "accuracy_deviation": 0.0041,
        "test_accuracy": accuracy - 0.006,
        "seeds": 3.0,
        "parameters": float(network.parameters),
        "macs": float(network.macs),
        "executed_macs": float(executed(network).macs),
    }
    return Subject(network_key(network, Precision()), known, network, Precision())


def curves(accuracy, epochs=20):
    found = []
    for seed in range(3):
        rise = [accuracy * (1 - 0.8 * np.exp(-(epoch + 1) / 4)) + 0.004 * (seed - 1) for epoch in range(epochs)]
        found.append(Curve(seed, tuple(2.0 * np.exp(-np.arange(epochs) / 6) + 0.05 * seed), tuple(rise)))
    return tuple(found)


def figures(on, form, machine):
    result = simulate(on.network, machine, on.precision)
    taken = dict.fromkeys(columns.PIPELINE_ONLY, np.nan)
    if isinstance(machine, Budget):
        taken = {k: float(v) for k, v in estimate(form, settled(form, machine), 8, 8).counts.items()}
    return {
        "latency_cycles": result.latency_cycles,
        "interval_cycles": result.interval_cycles,
        "latency_ms": result.latency_ms,
        "frames_per_second": result.frames_per_second,
        "multipliers": result.multipliers,
        "line_memory_bytes": result.line_memory_bytes,
        "weight_bytes": result.weight_bytes,
        "on_chip_bytes": result.line_memory_bytes + result.weight_bytes,
        "dram_bytes": sum(result.dram_bytes.values()),
        **taken,
    }


def row(on, form, machine):
    found = {name: on.columns.get(name, "" if c.type == "text" else np.nan) for name, c in columns.ALL.items()}
    kind = "line_engine" if isinstance(machine, LineEngine) else "pipeline"
    found |= {"machine": machine.name, "kind": kind, "clock_mhz": machine.clock_mhz}
    found |= {"network_key": on.key, "machine_key": machine_key(machine), "status": EXACT, "reason": ""}
    try:
        found |= figures(on, form, machine)
    except DoesNotFit as error:
        found |= {"status": UNFIT, "reason": str(error)}
    return found


def table(rows):
    return Table(
        {name: np.array([one[name] for one in rows], dtype=float if _is_number(name) else object) for name in rows[0]}
    )


def _is_number(name):
    return name in columns.ALL and columns.ALL[name].type == "number"


def subjects(names=lambda name: name):
    made = [
        subject(1, "row", "skip", 0.842, names),
        subject(1, "row", "keep", 0.871, names),
        subject(2, "row", "skip", 0.868, names),
        subject(2, "row", "keep", 0.894, names),
        subject(1, "full", "", 0.893, names),
        subject(2, "full", "", 0.912, names),
    ]
    return {each.key: each for each in made}


def a_sweep(names=lambda name: name, space=SPACE):
    """About 180 rows, all simulated; `names` changes every name that a user chooses."""
    on = subjects(names)
    machines = [msgspec.structs.replace(m, name=names(m.name)) for m in space.all_machines]
    rows = []
    for each in on.values():
        form = executed(each.network)
        rows += [row(each, form, machine) for machine in machines]
    return Sweep(
        space=space,
        table=table(rows),
        subjects=on,
        machines={machine_key(machine): machine for machine in machines},
        curves={key: curves(each.columns["accuracy"]) for key, each in on.items()},
        provenance=PROVENANCE,
    )


example = functools.cache(a_sweep)


def a_large_sweep(count=100_000):
    """So many rows: the example's ones first, then designs with MADE UP figures on machines of their own names."""
    small, random = example(), np.random.default_rng(0)
    of = random.integers(0, len(small.table), count)
    of[: len(small.table)] = np.arange(len(small.table))
    found = dict(small.table.rows(of).columns)
    new = np.arange(count) >= len(small.table)
    for name in ("latency_cycles", "interval_cycles", "latency_ms", "line_memory_bytes", "on_chip_bytes", "dram_bytes"):
        whole = np.round(found[name] * random.lognormal(0.7, 0.6, count))
        factor = whole / np.maximum(found[name], 1) if name != "latency_ms" else random.lognormal(0.7, 0.6, count)
        found[name] = np.where(new, found[name] * np.maximum(factor, 1.0), found[name])
    found["accuracy"] = np.where(new, found["accuracy"] - random.integers(0, 400, count) / 1000, found["accuracy"])
    numbers = [f"pipeline macs={64 + i} clock_mhz={100 + i / 7:.4f}" for i in range(count)]
    found["machine"] = np.where(new, np.array(numbers, object), found["machine"])
    found["machine_key"] = np.where(new, np.array([f"{i:024x}" for i in range(count)], object), found["machine_key"])
    return Sweep(small.space, Table(found), small.subjects, small.machines, small.curves, small.provenance)


def changed(sweep, **columns):
    """The sweep with some columns of its table replaced."""
    parts = (sweep.subjects, sweep.machines, sweep.curves, sweep.provenance)
    return Sweep(sweep.space, Table({**sweep.table.columns, **columns}), *parts)


def with_networks_on_no_machine(sweep):
    """Two networks that halving dropped and one that failed, as `reports.sweep.run` adds them."""
    words = {
        "network": ["wrn-16-1 8 bit", "wrn-16-2 8 bit", "wrn-11-1 8 bit"],
        "status": [BOUND, BOUND, FAILED],
        "reason": ["halving: accuracy 0.1 was not among the best", "halving: no student is left", "no depth 11"],
    }
    more = {
        name: np.concatenate([values, np.full(3, np.nan) if values.dtype.kind == "f" else words.get(name, [""] * 3)])
        for name, values in sweep.table.columns.items()
    }
    return changed(sweep, **more)


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def unpacked(packed, count):
    if "all" in packed:
        return packed["all"]
    return [packed["different"][i] for i in packed["of"] or [0] * count]

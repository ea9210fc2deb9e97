"""Cycles and data that must not move; no tool is needed. `python tests/test_golden.py` writes them anew."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from random_networks import random_pipeline
from random_students import random_student

from hw import presets, reference
from hw.accelerator import Budget
from hw.errors import Deadlock
from hw.passes import executed
from sim import folding
from sim.pipeline import simulate, stamps

FILE = Path(__file__).parent / "data" / "golden.json"
SEEDS = range(40)
PRESETS = ("wrn-16-2", "wrn-16-2-1x3", "wrn-16-2-1x3-keep", "wrn-40-4-1x3", "resnet-20", "resnet-20-1x3")


def digest(*arrays):
    together = hashlib.sha256()
    for array in arrays:
        together.update(np.ascontiguousarray(array, np.int64).tobytes())
    return together.hexdigest()[:16]


def of_seed(seed):
    """Latency and hashes of start cycles and of outputs of a random student; a deadlock has no cycles."""
    student = random_student(seed, images=2)
    data = digest(reference.forward(student, student.images))
    try:
        found = stamps(student.network, random_pipeline(seed, student.network), 2)
    except Deadlock as error:
        return {"data": data, "deadlock": str(error)}
    finish = int(found.frees[f"{student.network.output.name} -> output"][-1])
    return {"data": data, "finish": finish, "starts": digest(*found.starts.values())}


def of_preset(name):
    network = presets.preset(name)
    form = executed(network)
    result = simulate(network, form, folding.pipeline(form, Budget("budget", 512, 100.0)))
    return {
        "latency_cycles": result.latency_cycles,
        "interval_cycles": result.interval_cycles,
        "line_buffer_bytes": result.line_buffer_bytes,
        "fifo_bytes": result.fifo_bytes,
    }


def golden():
    return json.loads(FILE.read_text())


@pytest.mark.parametrize("seed", SEEDS)
def test_random_students_are_as_they_were(seed):
    assert of_seed(seed) == golden()["students"][str(seed)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_as_they_were(name):
    assert of_preset(name) == golden()["presets"][name]


def write():
    made = {
        "students": {str(seed): of_seed(seed) for seed in SEEDS},
        "presets": {name: of_preset(name) for name in PRESETS},
    }
    FILE.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    write()

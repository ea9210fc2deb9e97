"""Measures simulators and training: `make bench` writes bench.json with medians, spread, machine and versions.

Nothing here is a test: speeds are read, not asserted.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peers
import sweep as sweeps
import training

from hw.accelerator import Budget, Engine, Fifo, LineEngine, Pipeline
from hw.accelerator import machine as machine_named
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from hw.presets import preset
from sim import designs, engine, fifos, folding, kernels_engine, lanes, program, screening
from sim.kernels_pipeline import Timing
from sim.packing import pack, sink_edge, windows
from sim.pipeline import simulate, stamps

OUT = Path("bench.json")


def seconds(action: Callable[[], object], runs: int) -> list[float]:
    """Wall-clock seconds of each run, after one that is not counted."""
    action()
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begin)
    return taken


def row(values: list[float], unit: str) -> dict[str, object]:
    """Median, least and greatest of some runs."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values), "unit": unit}


def at_256(name: str) -> tuple[Network, Pipeline]:
    form = executed(preset(name))
    return form, folding.pipeline(form, Budget("pipeline-256", 256, 200.0))


def kernel_ms(name: str) -> dict[str, object]:
    """One exact simulation of one frame, the machine packed before."""
    network, pipeline = at_256(name)
    packed = pack(network, pipeline, 1)
    return row([1e3 * value for value in seconds(lambda: lanes.finishes(packed, 1, packed.timing), 200)], "ms")


def lane_ms(name: str, count: int = designs.LANES) -> dict[str, object]:
    """The same with so many machines side by side on one core, a simulation's share."""
    network, pipeline = at_256(name)
    packed = pack(network, pipeline, 1)
    timing = Timing(*(np.repeat(cycles, count, axis=1) for cycles in packed.timing))
    taken = seconds(lambda: lanes.finishes(packed, 1, timing), 200)
    return row([1e3 * value / count for value in taken], "ms")


def call_ms(name: str) -> dict[str, object]:
    """`sim.pipeline.stamps`: checks, packs, runs one frame, unpacks every stamp."""
    network, pipeline = at_256(name)
    return row([1e3 * value for value in seconds(lambda: stamps(network, pipeline), 50)], "ms")


def result_ms(name: str) -> dict[str, object]:
    """`sim.pipeline.simulate`: three frames, and every layer's stalls and bytes."""
    network, pipeline = at_256(name)
    return row([1e3 * value for value in seconds(lambda: simulate(network, network, pipeline), 30)], "ms")


def batch_per_s(threads: int) -> dict[str, object]:
    """Designs of WRN-40-4 1x3 a second, packing included: 8 budgets, every FIFO 0 to 2 pixels deeper at random."""
    network = executed(preset("wrn-40-4-1x3"))
    budgets = (80, 128, 200, 256, 400, 512, 800, 1024)
    base = designs.of_pipelines(network, [folding.pipeline(network, Budget("b", macs, 200.0)) for macs in budgets])
    rng = np.random.default_rng(0)
    pick = rng.integers(0, len(base), 20000)
    depth = base.depth[pick] + rng.integers(0, 3, base.depth[pick].shape)
    many = designs.Designs(base.pe[pick], base.simd[pick], depth, base.block[pick])
    taken = seconds(lambda: designs.finishes(network, many, 1, threads), 7)
    return row([len(many) / value for value in taken], "designs/s")


def screening_per_s(name: str) -> dict[str, object]:
    """Random foldings of a network a second: bounds of latency and interval, and multipliers; two threads."""
    foldings = screening.space(executed(preset(name)))
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, len(options), 500_000, dtype=np.uint8) for options in foldings.options]
    points = np.stack(columns, axis=1)
    taken = seconds(lambda: screening.screen(foldings, points), 7)
    return row([len(points) / value for value in taken], "points/s")


def fifo_sizing_s() -> dict[str, object]:
    network, pipeline = at_256("wrn-40-4")
    return row(seconds(lambda: fifos.size(network, pipeline), 5), "s")


def hd_frame_s() -> dict[str, object]:
    """One 1920x1080 frame through six convs as in super-resolution, every engine a pixel a cycle; packing included."""
    layers, last = [], INPUT
    for i, (channels, kernel_size) in enumerate(((16, 5), (8, 1), (8, 3), (8, 3), (16, 1), (4, 3))):
        half = kernel_size // 2
        padding = Padding(half, half, half, half)
        layers.append(Layer(f"c{i}", "conv", (last,), channels, Size(kernel_size, kernel_size), Size(1, 1), padding))
        last = f"c{i}"
    network = Network("super-resolution", Shape(1080, 1920, 1), tuple(layers))
    engines = {layer.name: Engine(layer.channels, layer.taps * network.input_shape(layer).channels) for layer in layers}
    names = [*map(str, network.edges), sink_edge(network)]
    pipeline = Pipeline("hd", 200.0, engines, {name: Fifo(4) for name in names})

    def once() -> None:
        windows.cache_clear()
        packed = pack(network, pipeline, 1)
        lanes.finishes(packed, 1, packed.timing)

    return row(seconds(once, 5), "s")


def hd_frame_peak_mb() -> dict[str, object]:
    """The most memory that a new process has ever had, interpreter and libraries included, after one such frame."""
    script = "import bench, resource; bench.hd_frame_s(); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    return row([int(out.stdout) / 1024], "MB")


def line_engine_ms() -> dict[str, object]:
    """One frame of WRN-40-4 1x3 line by line, a row a turn, on line-64: turns, bytes, lists and times, shapes known."""
    network, found = executed(preset("wrn-40-4-1x3")), machine_named("line-64")
    assert isinstance(found, LineEngine)

    def once() -> None:
        made = program.schedule(network, found)
        lists = program.program(made, 1)
        kernels_engine.clock(lists, made.memory, len(made.turns.table), 1, engine.FROM_DRAM)

    return row([1e3 * value for value in seconds(once, 200)], "ms")


def line_engines(count: int) -> list[LineEngine]:
    """Machines of all sizes, line by line and layer by layer."""
    rng = np.random.default_rng(0)
    return [
        LineEngine(
            name=f"machine {i}",
            pe=int(rng.choice([4, 8, 16, 32])),
            simd=int(rng.choice([4, 8, 16, 32])),
            line_memory_bytes=int(2 ** rng.integers(13, 21)),
            weight_memory_bytes=int(2 ** rng.integers(15, 21)),
            dram_bytes_per_cycle=float(rng.choice([0.5, 1, 2, 4, 8, 16])),
            dram_latency_cycles=int(rng.integers(0, 100)),
            clock_mhz=200.0,
            schedule=rng.choice(["line_by_line", "layer_by_layer"]),
        )
        for i in range(count)
    ]


def line_engine_batch_per_s() -> dict[str, object]:
    """WRN-40-4 1x3 on 10,000 machines a second, one frame each, two threads."""
    network, engines = executed(preset("wrn-40-4-1x3")), line_engines(10_000)
    taken = seconds(lambda: engine.sweep(network, engines, frames=1), 7)
    return row([len(engines) / value for value in taken], "machines/s")


def command_s() -> dict[str, object]:
    """A new process, numba's disk cache warm."""
    command = [sys.executable, "-m", "pacemaker", "simulate", "wrn-40-4-1x3", "--json"]
    return row(seconds(lambda: subprocess.run(command, check=True, capture_output=True), 7), "s")


def machine() -> dict[str, object]:
    model = next((line.split(":")[1].strip() for line in cpu_lines() if line.startswith("model name")), "unknown")
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "numba", "pacemaker-codesign")}
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), **versions}


def cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    measured = {
        "pipeline_wrn_40_4_1x3_ms": lane_ms("wrn-40-4-1x3"),
        "pipeline_wrn_40_4_ms": lane_ms("wrn-40-4"),
        **{f"pipeline_{lane}_lanes_wrn_40_4_1x3_ms": lane_ms("wrn-40-4-1x3", lane) for lane in (8, 16, 32, 128)},
        "pipeline_alone_wrn_40_4_1x3_ms": kernel_ms("wrn-40-4-1x3"),
        "pipeline_alone_wrn_40_4_ms": kernel_ms("wrn-40-4"),
        "pipeline_stamps_call_wrn_40_4_1x3_ms": call_ms("wrn-40-4-1x3"),
        "pipeline_simulate_call_wrn_40_4_1x3_ms": result_ms("wrn-40-4-1x3"),
        "pipeline_batch_one_thread_per_s": batch_per_s(1),
        "pipeline_batch_per_s": batch_per_s(2),
        "screening_points_per_s": screening_per_s("wrn-40-4-1x3"),
        "screening_points_wrn_16_2_1x3_per_s": screening_per_s("wrn-16-2-1x3"),
        "fifo_sizing_wrn_40_4_s": fifo_sizing_s(),
        "hd_frame_s": hd_frame_s(),
        "hd_frame_peak_mb": hd_frame_peak_mb(),
        "line_engine_wrn_40_4_1x3_ms": line_engine_ms(),
        "line_engine_batch_per_s": line_engine_batch_per_s(),
        "simulate_command_s": command_s(),
        "sweep_100k_points_s": sweeps.sweep(),
        "sweep_100k_points_exhaustive_s": sweeps.sweep(runs=1, exhaustive=True),
        "sweep_100k_points_peak_mb": sweeps.peak_mb(),
        "front_100k_points_s": sweeps.front("uniform"),
        "front_100k_points_all_on_it_s": sweeps.front("anti-correlated"),
    }
    for name, figures in measured.items():
        print(f"{name:42} {figures['median']:>12.4g} {figures['unit']} (n = {figures['n']})")
    beside = peers.rows() | training.rows()
    for name, figures in beside.items():
        print(peers.line(name, figures))
    OUT.write_text(json.dumps({"machine": machine(), **measured, **beside}, indent=1) + "\n")


if __name__ == "__main__":
    main()

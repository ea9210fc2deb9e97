"""Measures two peers on the convs of WRN-40-4 3x3: `python tests/bench/peers.py`, or `rows()` from bench.py.

SCALE-Sim and ZigZag simulate other machines than ours: their figures beside ours are speeds of evaluation, no more.
Each runs in one thread, in an environment of its own under .bench/. Only distinct convs are timed, and their seconds
are scaled to all convs of the network; the notes say which is which. Two minutes where the environments stand.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import peer_layers
from peer_environments import SCALE_SIM, ZIGZAG, Answer, Missing, run
from peer_layers import ARRAY, Conv

from hw.accelerator import Budget
from hw.network import Network
from hw.passes import executed
from hw.presets import preset
from sim import bounds, folding
from sim.bounds import Dataflow
from sim.pipeline import STEADY_FRAMES, simulate

Row = dict[str, object]
NETWORK = "wrn-40-4"
REMARK = "another machine: speed of evaluation only"
MORE = "SCALE-Sim finds stalls, bandwidths and accesses besides"
DATAFLOWS: tuple[Dataflow, Dataflow] = ("os", "ws")
BUDGET_S = {"os": 50.0, "ws": 45.0, "zigzag": 45.0}  # SCALE-Sim's default is os; ws is run for its cycles
SETTINGS = {
    "os": f"{ARRAY}x{ARRAY} array, its default configuration (os), no traces",
    "ws": f"{ARRAY}x{ARRAY} array, its default configuration but ws, no traces",
    "zigzag": f"{ARRAY}x{ARRAY} array, its tpu_like machine and mapping, least latency sought",
}


def rows() -> dict[str, Row]:
    """A row for each figure, seconds or times; where a peer cannot be had, `median` is None and `reason` says why."""
    network = executed(preset(NETWORK))
    convs = peer_layers.distinct_convs(network)
    pipeline, closed_form = pipeline_row(network), closed_form_row(network)
    scale_sim = {flow: run(SCALE_SIM, scale_sim_writer(convs, flow), BUDGET_S[flow]) for flow in DATAFLOWS}
    zigzag = run(ZIGZAG, partial(peer_layers.write_zigzag, convs=convs), BUDGET_S["zigzag"])
    found = {
        "scale_sim_wrn_40_4_s": peer_row(scale_sim["os"], convs, SETTINGS["os"]),
        "scale_sim_ws_wrn_40_4_s": peer_row(scale_sim["ws"], convs, SETTINGS["ws"]),
        "zigzag_wrn_40_4_s": peer_row(zigzag, convs, SETTINGS["zigzag"]),
        "ours_pipeline_wrn_40_4_s": pipeline,
        "scale_sim_closed_form_wrn_40_4_s": closed_form,
    }
    wrong = [word for flow, answer in scale_sim.items() for word in differences(network, convs, answer, flow)]
    same = "the same compute cycles: " + ", ".join(checked(flow, answer) for flow, answer in scale_sim.items())
    by_formula = ratio(found, "scale_sim_wrn_40_4_s", "scale_sim_closed_form_wrn_40_4_s", f"{same}; {MORE}")
    found["scale_sim_ratio_closed_form"] = missing("; ".join(wrong)) if wrong else by_formula
    found["scale_sim_ratio_pipeline"] = ratio(found, "scale_sim_wrn_40_4_s", "ours_pipeline_wrn_40_4_s", REMARK)
    found["zigzag_ratio_pipeline"] = ratio(found, "zigzag_wrn_40_4_s", "ours_pipeline_wrn_40_4_s", REMARK)
    return found


def scale_sim_writer(convs: list[Conv], flow: Dataflow) -> partial[None]:
    return partial(peer_layers.write_scale_sim, convs=convs, dataflow=flow)


def peer_row(answer: Answer | Missing, convs: list[Conv], setting: str) -> Row:
    """Seconds of the whole network: each conv timed, times its number in it.

    Where the budget ended before the last conv, those without a time are taken as the mean of those with one.
    """
    if isinstance(answer, Missing):
        return missing(answer.reason)
    timed = convs[: len(answer.passes[0])]
    share = sum(conv.times for conv in convs) / sum(conv.times for conv in timed)
    walls, cpus = [], []
    for one in answer.passes:
        walls.append(share * sum(conv.times * layer.wall_s for conv, layer in zip(timed, one, strict=True)))
        cpus.append(share * sum(conv.times * layer.cpu_s for conv, layer in zip(timed, one, strict=True)))
    measured = statistics.median(sum(layer.wall_s for layer in one) for one in answer.passes)
    cpu_s = statistics.median(cpus)
    note = (
        f"{setting}; one thread, start and imports not counted; measured: {len(timed)} of {len(convs)} distinct convs, "
        f"{measured:.3g} s a pass; scaled: to {sum(conv.times for conv in convs)} convs, CPU {cpu_s:.4g} s; {REMARK}"
    )
    return {**figures(walls), "cpu_s": cpu_s, "measured_s": measured, "version": answer.version, "note": note}


def pipeline_row(network: Network) -> Row:
    """Our exact simulation of the same network, adds and pooling included: every layer's stalls and bytes too."""
    pipeline = folding.pipeline(network, Budget("pipeline-256", 256, 200.0))
    note = (
        f"sim.pipeline.simulate, pipeline-256, {STEADY_FRAMES} frames, all {len(network.layers)} layers; nothing scaled"
    )
    return ours(lambda: simulate(network, network, pipeline), 30, note)


def closed_form_row(network: Network) -> Row:
    """SCALE-Sim's compute cycles of every conv without running it."""
    note = f"sim.bounds.systolic_network_cycles, {ARRAY}x{ARRAY} array, os, every conv, shapes known; nothing scaled"
    return ours(lambda: bounds.systolic_network_cycles(network, ARRAY, ARRAY, "os"), 300, note)


def ours(action: Callable[[], object], runs: int, note: str) -> Row:
    """Seconds of each run, after one that is not counted."""
    action()
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    cpu_s = statistics.median(cpus)
    return {**figures(walls), "cpu_s": cpu_s, "version": "pacemaker", "note": f"{note}, CPU {cpu_s:.3g} s"}


def figures(values: list[float]) -> Row:
    least, most = min(values), max(values)
    return {"median": statistics.median(values), "min": least, "max": most, "n": len(values), "unit": "s"}


def differences(network: Network, convs: list[Conv], answer: Answer | Missing, flow: Dataflow) -> list[str]:
    """Where SCALE-Sim's compute cycles are not those of the closed form; nothing if it did not run."""
    if isinstance(answer, Missing):
        return []
    cycles = bounds.systolic_network_cycles(network, ARRAY, ARRAY, flow)
    return [
        f"{flow}, {conv.name}: SCALE-Sim has {layer.cycles:.0f} cycles, the closed form {cycles[conv.name]}"
        for one in answer.passes
        for conv, layer in zip(convs, one, strict=False)
        if layer.cycles != cycles[conv.name]
    ]


def checked(flow: Dataflow, answer: Answer | Missing) -> str:
    return f"{flow} not run" if isinstance(answer, Missing) else f"{flow} on {len(answer.passes[0])} distinct convs"


def ratio(found: dict[str, Row], slow: str, fast: str, note: str) -> Row:
    """How many times longer `slow` takes than `fast`; missing if one of them is."""
    over, under = found[slow], found[fast]
    if over["median"] is None or under["median"] is None:
        return missing(str(over.get("reason", under.get("reason"))))
    return {
        "median": number(over, "median") / number(under, "median"),
        "min": number(over, "min") / number(under, "max"),
        "max": number(over, "max") / number(under, "min"),
        "n": min(number(over, "n"), number(under, "n")),
        "unit": "times",
        "version": over["version"],
        "note": f"{slow} / {fast}; {note}",
    }


def number(row: Row, key: str) -> float:
    value = row[key]
    assert isinstance(value, int | float), f"{key}: {value}"
    return value


def missing(reason: str) -> Row:
    return {"median": None, "reason": reason}


def line(name: str, row: Row) -> str:
    """A row as it is printed."""
    if row["median"] is None:
        return f"{name:34} {'-':>10}       {row['reason']}"
    return f"{name:34} {row['median']:>10.4g} {row['unit']:5} (n = {row['n']}) {row['note']}"


def main() -> None:
    for name, row in rows().items():
        print(line(name, row))


if __name__ == "__main__":
    main()

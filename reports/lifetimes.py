"""Line memory as a table and as a figure: addresses over time, a rectangle a row, and the bytes held."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from hw.accelerator import LineEngine
from hw.errors import BadInput, need
from hw.files import replacing
from hw.network import INPUT, Network
from reports.whole_tables import show_table
from sim import kernels_turns, planner, program
from sim.planner import Plan, live_bytes
from sim.program import Scheduled
from sim.result import Precision

FORMATS = (".svg", ".png", ".pdf")
WAITING_ALPHA = 0.3
"""Of the time in which a row only waits for the turn that wants it, or for its store."""
LEGEND_ROWS = 44
FAR = 1.6
"""A capacity so many times beyond what is used is told in words: a line there would press the rows flat."""
METADATA: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}


class MapLines(msgspec.Struct, frozen=True):
    """What one map, or one mean's sums, have in line memory: at most, and in the fullest turn."""

    name: str
    most_rows: int
    most_bytes: int
    fullest_turn_bytes: int


class Lines(msgspec.Struct, frozen=True):
    """Line memory of a network on a line engine.

    `peak_bytes` are held by turn `fullest_turn` of the frame's, from 0, at layer `fullest_layer`. `spilled` are edges
    whose rows go through DRAM, `resident` layers whose weights stay. `least_line_memory_bytes` is the least capacity
    with which the schedule fits, and `least_extent_bytes` what an address map takes there.
    """

    network: str
    machine: str
    schedule: str
    line_memory_bytes: int
    peak_bytes: int
    turns: int
    fullest_turn: int
    fullest_layer: str
    most_live_bytes: int
    extent_bytes: int
    least_line_memory_bytes: int
    least_extent_bytes: int
    spilled: tuple[str, ...]
    resident: tuple[str, ...]
    maps: tuple[MapLines, ...]


def lines(network: Network, engine: LineEngine, planned: Plan, precision: Precision = Precision()) -> Lines:
    """What a plan of `network` on `engine` comes to; `network` in the form that hardware runs.

    Raises:
        BadInput, DoesNotFit: as `sim.planner.plan`.
    """
    found = program.schedule(network, engine, precision)
    fullest = int(found.turns.table[:, kernels_turns.T_BYTES].argmax())
    least = planner.least_line_memory(network, engine, precision)
    return Lines(
        network=network.name,
        machine=engine.name,
        schedule=engine.schedule,
        line_memory_bytes=engine.line_memory_bytes,
        peak_bytes=found.turns.peak_bytes,
        turns=len(found.turns.table),
        fullest_turn=fullest,
        fullest_layer=network.layers[int(found.turns.table[fullest, kernels_turns.T_LAYER]) - 1].name,
        most_live_bytes=planned.most_live_bytes,
        extent_bytes=planned.extent_bytes,
        least_line_memory_bytes=least,
        least_extent_bytes=planner.plan(network, planner.with_memory(engine, least), precision).extent_bytes,
        spilled=_spilled(network, engine, found),
        resident=tuple(layer.name for layer in network.layers if layer.name in found.resident),
        maps=_maps(planned, int(found.cost.tiles[found.turns.table[:fullest, kernels_turns.T_LAYER]].sum())),
    )


def _spilled(network: Network, engine: LineEngine, found: Scheduled) -> tuple[str, ...]:
    """Edges in DRAM; the one over which the frame comes in layer by layer is none of them."""
    there = program.edges_in_dram(network, found.turns)
    names = [str(edge) for edge in network.edges if str(edge) in there]
    if engine.schedule == "layer_by_layer":
        names.remove(next(str(edge) for edge in network.edges if edge.source == INPUT))
    return tuple(names)


def _maps(planned: Plan, fullest: int) -> tuple[MapLines, ...]:
    """Every map by itself, `fullest` being a step of the fullest turn."""
    by_map = defaultdict(list)
    for buffer in planned.buffers:
        by_map[buffer.map].append(buffer)
    found = []
    for name, buffers in by_map.items():
        most = int(live_bytes(tuple(buffers)).max())
        then = sum(buffer.bytes for buffer in buffers if buffer.wanted <= fullest < buffer.left)
        found.append(MapLines(name, most // buffers[0].bytes, most, then))
    return tuple(found)


def show(console: Console, lines: Lines) -> None:
    """Totals, then a row a map."""
    console.print(f"{lines.network} on {lines.machine}, {lines.schedule.replace('_', ' ')}", style="bold")
    console.print(
        f"line memory of {lines.line_memory_bytes:,} bytes: turns hold {lines.peak_bytes:,} at most, in turn "
        f"{lines.fullest_turn + 1:,} of {lines.turns:,}, at layer {lines.fullest_layer}"
    )
    console.print(
        f"with rows that wait ahead or behind {lines.most_live_bytes:,} live at once; an address map without overlap "
        f"takes {lines.extent_bytes:,}" + _beyond(lines.extent_bytes, lines.line_memory_bytes)
    )
    console.print(
        f"least line memory for this schedule {lines.least_line_memory_bytes:,} bytes; an address map takes "
        f"{lines.least_extent_bytes:,} there" + _beyond(lines.least_extent_bytes, lines.least_line_memory_bytes)
    )
    console.print(f"edges that go through DRAM: {', '.join(lines.spilled) or 'none'}")
    console.print(f"layers whose weights stay: {', '.join(lines.resident) or 'none'}")
    show_table(console, _table(lines))


def _beyond(extent: int, capacity: int) -> str:
    return f", {extent - capacity:,} more than there are" if extent > capacity else ""


def _table(lines: Lines) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("map", no_wrap=True)
    for heading in ("rows at most", "bytes at most", "in the fullest turn"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in lines.maps:
        numbers = (entry.most_rows, entry.most_bytes, entry.fullest_turn_bytes)
        table.add_row(entry.name, *(f"{number:,}" for number in numbers))
    return table


def draw(path: Path, plan: Plan, clock_mhz: float) -> None:
    """Write a figure in the format of the path's ending.

    Raises:
        BadInput: an ending other than svg, png and pdf, or a folder that cannot be written.
        MissingTool: matplotlib is not installed.
    """
    if path.suffix not in FORMATS:
        raise BadInput(f"{path}: a figure ends in {', '.join(FORMATS)}; {path.suffix or 'nothing'} was found")
    matplotlib = need("matplotlib", "figures", "drawing line memory")
    figure_module = need("matplotlib.figure", "figures", "drawing line memory")
    with matplotlib.rc_context(
        {"svg.hashsalt": "pacemaker", "font.size": 8, "axes.titlesize": 8, "text.parse_math": False}
    ):
        figure = figure_module.Figure(figsize=(11, 6.5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        colours = _colours(matplotlib, plan)
        _draw_rows(above, plan, colours)
        _draw_bytes(below, plan)
        below.xaxis.set_major_formatter("{x:,.0f}")
        below.set_xlabel(f"cycles at {clock_mhz:g} MHz")
        above.set_title(f"Line memory: {plan.network} on {plan.machine}", loc="left")
        _draw_legend(figure, colours)
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata=METADATA[path.suffix])


def _colours(matplotlib: Any, plan: Plan) -> dict[str, Any]:
    """A colour a map, in the order of the network: near layers are near in hue, every second one is darker."""
    names = list(dict.fromkeys(buffer.map for buffer in plan.buffers))
    hues = matplotlib.colormaps["turbo"](np.linspace(0.06, 0.94, len(names)))
    hues[1::2, :3] *= 0.72
    return dict(zip(names, hues, strict=True))


def _cycles(plan: Plan) -> Any:
    """The cycle in which each step's place begins: that in which the step before it ends."""
    return np.array([0, *plan.step_ends])


def _draw_rows(axes: Any, plan: Plan, colours: dict[str, Any]) -> None:
    """A rectangle a row; paler where it waits."""
    cycles = _cycles(plan)
    corners, faces = [], []
    for buffer, low in zip(plan.buffers, plan.addresses, strict=True):
        high = low + buffer.bytes
        spans = [(buffer.begin, buffer.wanted, WAITING_ALPHA), (buffer.wanted, buffer.left, 1.0)]
        for first, last, alpha in [*spans, (buffer.left, buffer.end, WAITING_ALPHA)]:
            if first < last:
                left, right = cycles[first], cycles[last]
                corners.append([(left, low), (right, low), (right, high), (left, high)])
                faces.append((*colours[buffer.map][:3], alpha))
    collections = need("matplotlib.collections", "figures", "drawing line memory")
    axes.add_collection(collections.PolyCollection(corners, facecolors=faces, edgecolors="white", linewidths=0.15))
    axes.set_xlim(0, cycles[-1])
    axes.set_ylabel("address in bytes")
    _draw_capacity(axes, plan, plan.extent_bytes)


def _draw_bytes(axes: Any, plan: Plan) -> None:
    """Bytes that live, step by step."""
    cycles, live = _cycles(plan), live_bytes(plan.buffers)
    held = np.concatenate([live, np.zeros(cycles.size - 1 - live.size, np.int64)])
    axes.stairs(held, cycles, fill=True, color="#56b4e9", linewidth=0)
    axes.set_ylabel("bytes held")
    axes.grid(axis="y", alpha=0.3)
    _draw_capacity(axes, plan, plan.most_live_bytes)


def _draw_capacity(axes: Any, plan: Plan, used: int) -> None:
    near = plan.capacity_bytes <= FAR * used
    axes.set_ylim(0, 1.05 * max(used, plan.capacity_bytes if near else 0))
    axes.axhline(used, color="#444444", linewidth=0.8, linestyle=":")
    axes.set_title(f"{used:,} bytes at most, dotted; capacity {plan.capacity_bytes:,}" + ", red" * near, loc="right")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    if near:
        axes.axhline(plan.capacity_bytes, color="#d55e00", linewidth=1.2)


def _draw_legend(figure: Any, colours: dict[str, Any]) -> None:
    patches = need("matplotlib.patches", "figures", "drawing line memory")
    handles = [patches.Patch(color=colour, label=name) for name, colour in colours.items()]
    figure.legend(
        handles=handles,
        loc="outside right upper",
        ncols=-(-len(handles) // LEGEND_ROWS),
        frameon=False,
        fontsize=6,
        title="rows of; paler while they wait\nfor a turn or a store",
        title_fontsize=6,
        handlelength=1.2,
    )

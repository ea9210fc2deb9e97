"""Makes docs/lines.csv, docs/lines.svg and the tables of docs/lines.md: `python docs/make_lines.py` (a few seconds).

What 1xN filters are worth on a line engine: every network, schedule, line memory, weight memory and bandwidth below, on
an array of 8 x 8 multipliers at 40 cycles of DRAM latency, each simulated exactly (`sim.engine.sweep`).
"""

import csv
import re
from itertools import product
from pathlib import Path

import msgspec
from matplotlib import pyplot as plt

from hw.accelerator import LineEngine, Schedule
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from hw.presets import preset
from sim.engine import simulate, sweep
from sim.planner import least_line_memory

HERE = Path(__file__).parent
KILO = 1024
LINE_MEMORIES = [8 * KILO << k for k in range(8)]
WEIGHT_MEMORIES = [64 * KILO, 1024 * KILO]
BANDWIDTHS = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
SCHEDULES: tuple[Schedule, ...] = ("line_by_line", "layer_by_layer")
COLUMNS = ("network", "schedule", "line_kb", "weight_kb", "bytes_per_cycle", "cycles", "dram_bytes", "line_bytes")
ENGINE = LineEngine("8 x 8", 8, 8, KILO, 64 * KILO, 4.0, 40, 200.0)
Row = dict[str, object]


def full_hd(rows: int) -> Network:
    """Six convs as in super-resolution on 1920x1080, kernels of so many rows at most."""
    layers, last = [], INPUT
    for i, (channels, cols) in enumerate(((16, 5), (8, 1), (8, 3), (8, 3), (16, 1), (4, 3))):
        size = Size(min(rows, cols), cols)
        padding = Padding(size.rows // 2, size.rows // 2, cols // 2, cols // 2)
        layers.append(Layer(f"c{i}", "conv", (last,), channels, size, Size(1, 1), padding))
        last = f"c{i}"
    return Network(f"full-hd-{'NxN' if rows > 1 else '1xN'}", Shape(1080, 1920, 1), tuple(layers))


def networks() -> dict[str, Network]:
    """The networks side by side, in the form that hardware runs."""
    names = [f"wrn-{size}{kind}" for size in ("40-4", "16-2") for kind in ("", "-1x3-keep", "-1x3")]
    return {name: executed(preset(name)) for name in names} | {net.name: net for net in (full_hd(5), full_hd(1))}


def rows_of(name: str, network: Network) -> list[Row]:
    """Every machine that a network fits on."""
    points = list(product(SCHEDULES, LINE_MEMORIES, WEIGHT_MEMORIES, BANDWIDTHS))
    engines = [
        msgspec.structs.replace(
            ENGINE,
            line_memory_bytes=lines,
            weight_memory_bytes=weights,
            dram_bytes_per_cycle=rate,
            schedule=schedule,
        )
        for schedule, lines, weights, rate in points
    ]
    found = sweep(network, engines)
    rows = []
    for i, (schedule, lines, weights, rate) in enumerate(points):
        if found.latency_cycles[i] >= 0:
            bytes_moved = int(found.dram_bytes[i].sum())
            figures = (int(found.interval_cycles[i]), bytes_moved, int(found.line_memory_bytes[i]))
            values = (name, schedule, lines // KILO, weights // KILO, rate, *figures)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def best(rows: list[Row], **wanted: object) -> Row | None:
    """The fastest of the rows with these values."""
    fitting = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return min(fitting, key=lambda row: row["cycles"], default=None)


def least_table(nets: dict[str, Network]) -> str:
    """Line memory at least, by schedule."""
    lines = [
        "| network | executed MACs | least line memory line by line | with all skips on chip | layer by layer |",
        "|---|---|---|---|---|",
    ]
    for name, network in nets.items():
        ways = [{"schedule": SCHEDULES[0]}, {"schedule": SCHEDULES[0], "skips": "keep"}, {"schedule": SCHEDULES[1]}]
        sizes = [least_line_memory(network, msgspec.structs.replace(ENGINE, **way)) for way in ways]
        cells = " | ".join(f"{size / KILO:,.1f} kB" for size in sizes)
        lines.append(f"| {name} | {network.macs / 1e6:,.1f} M | {cells} |")
    return "\n".join(lines)


def interval_table(rows: list[Row], weight_kb: int, names: list[str], rates: tuple[float, ...]) -> str:
    """Millions of cycles a frame by line memory and bandwidth."""
    heads = [f"{name}, {rate:g} B" for name in names for rate in rates]
    lines = [f"| line memory | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for memory in LINE_MEMORIES:
        cells = []
        for name, rate in product(names, rates):
            row = best(rows, network=name, line_kb=memory // KILO, weight_kb=weight_kb, bytes_per_cycle=rate)
            mark = "" if row is None or row["schedule"] == "line_by_line" else " *"
            cells.append("does not fit" if row is None else f"{row['cycles'] / 1e6:.2f}{mark}")
        lines.append(f"| {memory // KILO} kB | {' | '.join(cells)} |")
    return "\n".join(lines)


def traffic_table(rows: list[Row], names: list[str]) -> str:
    """DRAM traffic of a frame by weight memory and schedule."""
    lines = [
        "| network | weight memory | line by line, MB a frame | layer by layer, MB a frame |",
        "|---|---|---|---|",
    ]
    for name, weights in product(names, WEIGHT_MEMORIES):
        cells = []
        for schedule in SCHEDULES:
            row = best(rows, network=name, schedule=schedule, line_kb=1024, weight_kb=weights // KILO)
            cells.append("does not fit" if row is None else f"{row['dram_bytes'] / 1e6:.2f}")
        lines.append(f"| {name} | {weights // KILO} kB | {' | '.join(cells)} |")
    return "\n".join(lines)


def group_table(network: Network) -> str:
    """What more rows a turn cost and save, line by line, 1 MB of either memory, 4 bytes a cycle."""
    lines = ["| rows a turn | line memory | DRAM, MB a frame | cycles, millions |", "|---|---|---|---|"]
    for group in (1, 2, 4, 8, 32):
        large = {"line_memory_bytes": 1024 * KILO, "weight_memory_bytes": 1024 * KILO, "row_group": group}
        found = simulate(network, network, msgspec.structs.replace(ENGINE, **large))
        moved = sum(found.dram_bytes.values()) / 1e6
        lines.append(
            f"| {group} | {found.line_memory_bytes / KILO:,.1f} kB | {moved:.1f} | {found.interval_cycles / 1e6:.2f} |"
        )
    return "\n".join(lines)


def draw(rows: list[Row]) -> None:
    """Cycles over line memory, a panel for each pair of networks."""
    plt.switch_backend("Agg")
    plt.rcParams["svg.hashsalt"] = "lines"
    pairs = [("wrn-40-4", "wrn-40-4-1x3"), ("wrn-16-2", "wrn-16-2-1x3"), ("full-hd-NxN", "full-hd-1xN")]
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.6))
    for panel, pair in zip(panels, pairs, strict=True):
        for name, colour in zip(pair, ("tab:red", "tab:blue"), strict=True):
            for schedule, style in zip(SCHEDULES, ("-", "--"), strict=True):
                points = []
                for memory in LINE_MEMORIES:
                    fixed = {"weight_kb": 64, "bytes_per_cycle": 4.0, "schedule": schedule, "network": name}
                    row = best(rows, line_kb=memory // KILO, **fixed)
                    if row is not None:
                        points.append((memory // KILO, row["cycles"] / 1e6))
                if points:
                    panel.plot(*zip(*points, strict=True), style, color=colour, marker="o", markersize=3)
                    words = schedule.replace("_", " ")
                    panel.lines[-1].set_label(f"{name}, {words}")
        panel.set(xscale="log", xlabel="line memory, kB", ylabel="millions of cycles a frame")
        panel.set_ylim(bottom=0)
        panel.set_xticks([m // KILO for m in LINE_MEMORIES], [str(m // KILO) for m in LINE_MEMORIES])
        panel.minorticks_off()
        panel.legend(fontsize=7)
    figure.suptitle(
        "64 multipliers, 64 kB of weights, 4 bytes a cycle; lines begin where the network fits", fontsize=10
    )
    figure.tight_layout()
    figure.savefig(HERE / "lines.svg", metadata={"Date": None})


def main() -> None:
    """Simulate, write the table, fill the page, draw."""
    nets = networks()
    rows = [row for name, network in nets.items() for row in rows_of(name, network)]
    with (HERE / "lines.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    tables = {
        "least": least_table(nets),
        "wrn-40-4": interval_table(rows, 64, ["wrn-40-4", "wrn-40-4-1x3-keep", "wrn-40-4-1x3"], (0.5, 4.0, 16.0)),
        "wrn-16-2": interval_table(rows, 64, ["wrn-16-2", "wrn-16-2-1x3-keep", "wrn-16-2-1x3"], (0.5, 4.0, 16.0)),
        "full-hd": interval_table(rows, 64, ["full-hd-NxN", "full-hd-1xN"], (0.5, 4.0, 16.0)),
        "traffic": traffic_table(rows, list(nets)),
        "groups": group_table(nets["wrn-40-4-1x3-keep"]),
    }
    page = HERE / "lines.md"
    text = page.read_text()
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)
    page.write_text(text)
    draw(rows)


if __name__ == "__main__":
    main()

"""Tables for people at a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

from reports.whole_tables import show_table
from sim.fifos import Sizing
from sim.result import Result

if TYPE_CHECKING:  # a simulation's table needs none of a run's parts
    from reports.candidate import Accuracy, Report
    from reports.statistics import Paired


def show_result(console: Console, result: Result) -> None:
    """A simulation: totals, then a row a layer."""
    console.print(f"{result.network} on {result.machine} at {result.clock_mhz:g} MHz", style="bold")
    console.print(
        f"latency {result.latency_cycles:,} cycles ({result.latency_ms:.4g} ms), "
        f"interval {result.interval_cycles:,} cycles ({result.frames_per_second:,.0f} frames/s), "
        f"{result.multipliers} multipliers, {result.utilisation:.1%} of them at work"
    )
    console.print(
        f"{result.parameters:,} parameters, {result.macs:,} MACs, {result.executed_macs:,} of them executed; "
        f"bytes: line buffers {result.line_buffer_bytes:,}, windows {result.window_bytes:,}, "
        f"FIFOs {result.fifo_bytes:,}, weights {result.weight_bytes:,}"
    )
    if result.cycles_by_cause:
        console.print("cycles: " + ", ".join(f"{cause} {count:,}" for cause, count in result.cycles_by_cause.items()))
    console.print("DRAM bytes: " + ", ".join(f"{kind} {count:,}" for kind, count in result.dram_bytes.items()))
    show_table(console, _layers(result))


def _layers(result: Result) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("layer", no_wrap=True)
    for name in ("kind", "PE x SIMD", "cycles", "starved", "blocked", "line buffer", "FIFO", "weights"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in result.layers:
        table.add_row(
            layer.name,
            layer.kind,
            f"{layer.pe} x {layer.simd}",
            *(
                f"{value:,}"
                for value in (
                    layer.cycles,
                    layer.starved_cycles,
                    layer.blocked_cycles,
                    layer.line_buffer_bytes,
                    layer.fifo_bytes,
                    layer.weight_bytes,
                )
            ),
        )
    return table


def show_accuracies(console: Console, title: str, rows: dict[str, dict[str, "Accuracy"]]) -> None:
    """Accuracies by network and split: mean and standard deviation over seeds."""
    splits = list(dict.fromkeys(split for row in rows.values() for split in row))
    table = Table(box=None, header_style="bold", title=title, title_justify="left")
    table.add_column("network")
    for split in splits:
        table.add_column(f"{split} %", justify="right")
    for name, row in rows.items():
        table.add_row(name, *(percent(row[split]) if split in row else "" for split in splits))
    show_table(console, table)


def show_paired(console: Console, paired: Sequence["Paired"]) -> None:
    """Differences on the test split, seed by seed, in percentage points."""
    if not paired:
        return
    from reports.statistics import holm

    table = Table(box=None, header_style="bold", title="differences on test, paired by seed", title_justify="left")
    table.add_column("network")
    table.add_column("against")
    for heading in ("points", "95 % interval", "p, by Holm", "seeds"):
        table.add_column(heading, justify="right")
    corrected = holm({f"{entry.stage}, {entry.baseline}": entry.p for entry in paired if entry.p is not None})
    for entry in paired:
        ends = "" if entry.low is None or entry.high is None else f"{100 * entry.low:+.2f} to {100 * entry.high:+.2f}"
        p = "" if entry.p is None else f"{corrected[f'{entry.stage}, {entry.baseline}']:.3f}"
        table.add_row(entry.stage, entry.baseline, f"{100 * entry.mean:+.2f}", ends, p, str(entry.seeds))
    show_table(console, table)


def show_sizing(console: Console, sizing: Sizing) -> None:
    """FIFO depths before and after, edge by edge."""
    table = Table(box=None, header_style="bold")
    table.add_column("edge", no_wrap=True)
    for heading in ("before", "sized", "least"):
        table.add_column(heading, justify="right", no_wrap=True)
    for edge, depth in sizing.before.items():
        table.add_row(edge, f"{depth:,}", f"{sizing.sized[edge]:,}", f"{sizing.least[edge]:,}")
    bytes_of_all = (sizing.before_bytes, sizing.sized_bytes, sizing.least_bytes)
    table.add_row("all, bytes", *(f"{size:,}" for size in bytes_of_all))
    show_table(console, table)
    console.print(
        f"interval {sizing.interval_cycles:,} cycles as with unbounded FIFOs; "
        f"{sizing.least_interval_cycles:,} with the least that do not stop"
    )


def percent(accuracy: "Accuracy") -> str:
    """97.21 ± 0.48, or 97.21 where there is one seed."""
    spread = "" if accuracy.deviation is None else f" ± {100 * accuracy.deviation:.2f}"
    return f"{100 * accuracy.mean:.2f}{spread}"


def show_report(console: Console, report: "Report") -> None:
    """The candidates of a run, a table a machine: accuracy, latency and memory."""
    from reports.columns import machines_of

    for name in (machine.name for machine in machines_of(report)):
        table = Table(box=None, header_style="bold", title=f"on {name}", title_justify="left")
        for heading, justify in _HEADINGS:
            table.add_column(heading, justify=justify, no_wrap=True)
        for entry in report.candidates:
            cells = ["does not fit", "", "", ""]
            if name in entry.results:
                result = entry.results[name]
                numbers = (result.latency_cycles, result.line_buffer_bytes, result.line_memory_bytes)
                cells = [f"{number:,}" for number in numbers]
                cells.insert(1, f"{result.latency_ms:.4f}")
            table.add_row(entry.name, percent(entry.test), *cells)
        show_table(console, table)
    console.print(str(report.hls) if report.hls is not None else report.hls_missing)


_HEADINGS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("network", "left"),
    ("test %", "right"),
    ("cycles", "right"),
    ("ms", "right"),
    ("line bytes", "right"),
    ("pixel bytes", "right"),
)

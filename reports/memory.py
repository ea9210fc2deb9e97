"""Tables of what layers keep and how long they wait: of one network, or of two side by side."""

from collections.abc import Callable, Iterable

from rich.console import Console
from rich.table import Table

from reports.whole_tables import show_table
from sim.storage import MEASURES, Comparison, LayerStorage, Memory, Storage

Cell = Callable[[LayerStorage], str]
"""Characters of a line: tables are not cut where the terminal is narrower."""


def _ram(memory: Memory) -> str:
    held = [f"{memory.bram18:,}"] if memory.bram18 else []
    return " + ".join(held + ([f"{memory.lut:,} LUT"] if memory.lut else []))


_BITS: dict[str, Cell] = {
    "line buffer": lambda layer: f"{layer.line_buffer.bits:,}",
    "window": lambda layer: f"{layer.window.bits:,}",
    "FIFO": lambda layer: f"{layer.fifo.bits:,}",
    "skip FIFO": lambda layer: f"{layer.skip_fifo.bits:,}",
    "weights": lambda layer: f"{layer.weights.bits:,}",
}
_RAMS: dict[str, Cell] = {
    "line buffer": lambda layer: _ram(layer.line_buffer),
    "window": lambda layer: _ram(layer.window),
    "FIFO": lambda layer: _ram(layer.fifo),
    "skip FIFO": lambda layer: _ram(layer.skip_fifo),
    "weights": lambda layer: _ram(layer.weights),
}
_WAITS: dict[str, Cell] = {
    "pixels": lambda layer: f"{layer.wait_pixels:,}",
    "cycles": lambda layer: f"{layer.wait_cycles:,}",
}
_TABLES = {
    "bits": _BITS,
    "block RAMs of 18 kbit, or LUTs as memory (estimates)": _RAMS,
    "the wait: input pixels before the first output, and cycles from the first of them": _WAITS,
}


def show_storage(console: Console, storage: Storage) -> None:
    """One network: a row a layer, then sums."""
    console.print(f"{storage.network} on {_machine(storage)}", style="bold")
    rows = [(layer.name, (layer,)) for layer in (*storage.layers, storage.convs, storage.total)]
    _show(console, ("",), rows)
    console.print(_told(storage))


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Two networks: a row a pair of layers, then sums."""
    left, right = comparison.left, comparison.right
    console.print(f"A: {left.network} on {_machine(left)}", style="bold")
    console.print(f"B: {right.network} on {_machine(right)}", style="bold")
    layers = [{layer.name: layer for layer in side.layers} for side in (left, right)]
    rows = [
        (" | ".join(dict.fromkeys(name for name in names if name)), tuple(map(dict.get, layers, names)))
        for names in comparison.rows
    ]
    sums = [("convs", (left.convs, right.convs)), ("all", (left.total, right.total))]
    _show(console, ("A", "B"), [*rows, *sums])
    console.print(_told(left))
    console.print(_told(right))
    for prefix, told, side in (("convs_", "convs", left.convs), ("", "all", left.total)):
        found = (_times(key, comparison.ratios[prefix + key], MEASURES[key](side)) for key in _RATIOS)
        console.print(f"A over B, {told}: " + ", ".join(filter(None, found)))


_RATIOS = {
    "line_buffer_bits": "line buffers",
    "skip_fifo_bits": "skip FIFOs",
    "weight_bits": "weights",
    "bits": "all bits",
    "bram18": "block RAMs",
    "wait_pixels": "pixels waited for",
    "wait_cycles": "cycles waited",
}


def _show(
    console: Console, sides: tuple[str, ...], rows: Iterable[tuple[str, tuple[LayerStorage | None, ...]]]
) -> None:
    every = list(rows)
    for title, cells in _TABLES.items():
        table = Table(box=None, header_style="bold", title=title, title_justify="left")
        table.add_column("layer", no_wrap=True)
        for heading in cells:
            for number, side in enumerate(sides):
                table.add_column(f"{heading if number == 0 else ''}\n{side}".rstrip(), justify="right", no_wrap=True)
        for name, pair in every:
            table.add_row(name, *("" if layer is None else cell(layer) for cell in cells.values() for layer in pair))
        show_table(console, table)


def _machine(storage: Storage) -> str:
    return f"{storage.machine}, {storage.clock_mhz:g} MHz, {storage.precision}"


def _told(storage: Storage) -> str:
    convs, every = storage.convs, storage.total
    return (
        f"{storage.network}: {every.bits:,} bits in {every.bram18:,} block RAMs, {every.lut:,} LUTs and registers; "
        f"its convs read {convs.wait_pixels:,} pixels in {convs.wait_cycles:,} cycles before their first outputs"
    )


def _times(key: str, ratio: float | None, left: int) -> str:
    if ratio is None:
        return f"{_RATIOS[key]} in A alone" if left else ""
    return f"{_RATIOS[key]} {ratio:.3g}"

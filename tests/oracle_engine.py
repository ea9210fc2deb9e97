"""docs/line_engine.md as a plain machine: rows are things in sets, tasks run one after another, a clock adds up.

Which rows a task needs is found by walking its window; which rows are live is found by asking every task that is left.
"""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from hw.accelerator import LineEngine
from hw.network import INPUT, Layer, Network


class Row(NamedTuple):
    """A row of a feature map, or of a mean's sums."""

    owner: str
    number: int


@dataclass(frozen=True)
class Task:
    """What one turn of the array reads of every input, and the row that it ends, if it ends one."""

    reads: frozenset[int]
    makes: int | None
    sums: Row | None = None


@dataclass
class Account:
    """Where the time of a frame went, what was moved, when each layer began and ended, and the fullest line memory."""

    cycles: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    begin: dict[str, int] = field(default_factory=dict)
    finish: dict[str, int] = field(default_factory=dict)
    peak: int = 0
    fits: bool = True
    stays: frozenset[str] = frozenset()
    fetched: Counter[tuple[str, Row]] = field(default_factory=Counter)
    written: Counter[Row] = field(default_factory=Counter)
    weights: Counter[str] = field(default_factory=Counter)

    @property
    def clock(self) -> int:
        """Cycles up to now."""
        return self.cycles.total()


@dataclass
class Machine:
    """A network on an engine, with the account of what was done so far."""

    network: Network
    engine: LineEngine
    activation_bits: int
    weight_bits: int
    account: Account = field(default_factory=Account)

    def tasks(self, layer: Layer) -> list[Task]:
        """All row tasks of a layer in order."""
        rows_in, rows_out = self.network.shapes[layer.inputs[0]].rows, self.network.shapes[layer.name].rows
        if layer.kind in ("affine", "add", "concat"):
            return [Task(frozenset({y}), y) for y in range(rows_out)]
        windows = [
            [y * layer.stride.rows - layer.padding.top + i for i in range(layer.kernel.rows)] for y in range(rows_out)
        ]
        if not disjoint_mean(layer):
            return [Task(frozenset(row for row in w if 0 <= row < rows_in), y) for y, w in enumerate(windows)]
        return [
            Task(frozenset({row}), y if row == w[-1] else None, Row(f"{layer.name} sums", y) if len(w) > 1 else None)
            for y, w in enumerate(windows)
            for row in w
        ]

    def bytes_of(self, row: Row) -> int:
        """What a row takes in line memory and on the way to DRAM."""
        if row.owner.endswith(" sums"):
            shape = self.network.shapes[row.owner.removesuffix(" sums")]
            return 4 * shape.cols * shape.channels
        shape = self.network.shapes[row.owner]
        return whole_bytes(shape.cols * shape.channels * self.activation_bits)

    def weight_bytes(self, layer: Layer) -> int:
        """Weights in their own width, biases and shifts in 32 bits."""
        channels = self.network.shapes[layer.name].channels
        if layer.kind == "affine":
            return whole_bytes(channels * self.weight_bits) + 4 * channels
        if layer.kind != "conv":
            return 0
        inputs = self.network.shapes[layer.inputs[0]].channels
        weights = layer.kernel.rows * layer.kernel.cols * inputs * channels
        return whole_bytes(weights * self.weight_bits) + (4 * channels if layer.bias else 0)

    def transfer(self, cause: str, size: int) -> None:
        """Move bytes from or to DRAM while the array waits."""
        self.account.cycles[cause] += self.engine.dram_latency_cycles + portions(size, self.engine.dram_bytes_per_cycle)
        self.account.moved[cause] += size

    def fetch_weights(self, layer: Layer) -> None:
        """All weights of a layer, if it has any."""
        if self.weight_bytes(layer):
            self.transfer("weights", self.weight_bytes(layer))
            self.account.weights[layer.name] += 1

    def fetch(self, reader: str, row: Row) -> None:
        """A row from DRAM."""
        self.transfer("lines_in", self.bytes_of(row))
        self.account.fetched[reader, row] += 1

    def write(self, row: Row) -> None:
        """A row to DRAM."""
        self.transfer("lines_out", self.bytes_of(row))
        self.account.written[row] += 1

    def compute(self, layer: Layer) -> None:
        """One row task of the array, counted turn by turn."""
        read, made = self.network.shapes[layer.inputs[0]], self.network.shapes[layer.name]
        turns = len(range(0, made.channels, self.engine.pe))
        if layer.kind == "conv":
            inner = layer.kernel.rows * layer.kernel.cols * read.channels
            cycles = made.cols * turns * len(range(0, inner, self.engine.simd))
        else:
            cycles = max(read.cols, made.cols) * turns
        self.account.cycles["compute"] += cycles

    def occupy(self, rows: set[Row]) -> None:
        """Note what line memory holds at this moment."""
        total = sum(self.bytes_of(row) for row in rows)
        self.account.peak = max(self.account.peak, total)
        if total > self.engine.line_memory_bytes:
            self.account.fits = False


def disjoint_mean(layer: Layer) -> bool:
    """Whether sums serve a layer."""
    return layer.kind == "mean" and tuple(layer.stride) == tuple(layer.kernel)


def whole_bytes(bits: int) -> int:
    """Bytes that hold so many bits."""
    return (bits + 7) // 8


def portions(size: int, bytes_a_cycle: float) -> int:
    """Cycles that so many bytes take at a rate that is meant as it is written, in decimals."""
    exact = Fraction(size) / Fraction(repr(bytes_a_cycle))
    return exact.numerator // exact.denominator + (exact.denominator > 1)


def run(network: Network, engine: LineEngine, activation_bits: int = 8, weight_bits: int = 8) -> Account:
    """A frame in the engine's schedule; `fits` is False where line memory is too small."""
    machine = Machine(network, engine, activation_bits, weight_bits)
    if engine.schedule == "line_by_line":
        _line_by_line(machine)
    else:
        _layer_by_layer(machine)
    return machine.account


def _line_by_line(machine: Machine) -> None:
    network, account = machine.network, machine.account
    there: dict[str, set[int]] = {name: set() for name in (INPUT, *(layer.name for layer in network.layers))}
    left = {layer.name: machine.tasks(layer) for layer in network.layers}
    all_fit = sum(machine.weight_bytes(layer) for layer in network.layers) <= machine.engine.weight_memory_bytes
    for number in range(network.shapes[INPUT].rows):
        machine.fetch("the frame", Row(INPUT, number))
        there[INPUT].add(number)
        machine.occupy(_live(network, there, left) | _sums_begun(machine, left))
        for layer in network.layers:
            _take_turn(machine, layer, there, left, all_fit=all_fit)
    assert not any(left.values())
    assert account.finish.keys() == left.keys()


def _take_turn(
    machine: Machine, layer: Layer, there: dict[str, set[int]], left: dict[str, list[Task]], *, all_fit: bool
) -> None:
    network, account = machine.network, machine.account
    first_of_turn = True
    while left[layer.name] and all(left[layer.name][0].reads <= there[source] for source in layer.inputs):
        task = left[layer.name][0]
        account.begin.setdefault(layer.name, account.clock)
        if all_fit:
            due = account.weights[layer.name] == 0
        else:
            due = first_of_turn or machine.weight_bytes(layer) > machine.engine.weight_memory_bytes
        if due:
            machine.fetch_weights(layer)
        first_of_turn = False
        machine.compute(layer)
        at_hand = {task.sums} if task.sums else set()
        if task.makes is not None:
            there[layer.name].add(task.makes)
            if layer is network.layers[-1]:
                at_hand.add(Row(layer.name, task.makes))
        machine.occupy(_live(network, there, left) | _sums_begun(machine, left) | at_hand)
        left[layer.name].pop(0)
        if layer is network.layers[-1] and task.makes is not None:
            machine.write(Row(layer.name, task.makes))
        account.finish[layer.name] = account.clock


def _live(network: Network, there: dict[str, set[int]], left: dict[str, list[Task]]) -> set[Row]:
    """Of every map the rows from the first that a task to come needs."""
    rows = set()
    for name, numbers in there.items():
        readers = [layer for layer in network.layers if name in layer.inputs]
        wanted = {row for layer in readers for task in left[layer.name] for row in task.reads}
        if wanted:
            rows |= {Row(name, number) for number in numbers if number >= min(wanted)}
    return rows


def _sums_begun(machine: Machine, left: dict[str, list[Task]]) -> set[Row]:
    """Sums that some tasks have added to and others have still to."""
    begun = set()
    for layer in machine.network.layers:
        done = machine.tasks(layer)[: -len(left[layer.name]) or None]
        begun |= {task.sums for task in done if task.sums} & {task.sums for task in left[layer.name] if task.sums}
    return begun


def _layer_by_layer(machine: Machine) -> None:
    network, account = machine.network, machine.account
    work = {layer.name: _working_rows(machine, layer) for layer in network.layers}
    for rows in work.values():
        machine.occupy(rows)
    if not account.fits:
        return
    places = _places(machine, work)
    account.stays = frozenset(places)
    for layer in network.layers:
        machine.occupy(work[layer.name] | {row for rows, life in places.values() if layer.name in life for row in rows})
        account.begin[layer.name] = account.clock
        _make_all(machine, layer)
        account.finish[layer.name] = account.clock


def _make_all(machine: Machine, layer: Layer) -> None:
    tasks = machine.tasks(layer)
    every_row = machine.weight_bytes(layer) > machine.engine.weight_memory_bytes
    for number, task in enumerate(tasks):
        if number == 0 or every_row:
            machine.fetch_weights(layer)
        machine.compute(layer)
        if task.makes is not None and layer.name not in machine.account.stays:
            machine.write(Row(layer.name, task.makes))
    for source in layer.inputs:
        if source not in machine.account.stays:
            for number in range(machine.network.shapes[source].rows):
                machine.fetch(layer.name, Row(source, number))


def _working_rows(machine: Machine, layer: Layer) -> set[Row]:
    """The fewest rows that a layer works with; numbers below 0 keep them apart from rows that stay."""
    rows = {Row(layer.name, -1)}
    for source in layer.inputs:
        height = 1 if disjoint_mean(layer) else min(layer.kernel.rows, machine.network.shapes[source].rows)
        rows |= {Row(source, -1 - number) for number in range(height)}
    return rows | {task.sums for task in machine.tasks(layer)[:1] if task.sums}


def _places(machine: Machine, work: dict[str, set[Row]]) -> dict[str, tuple[set[Row], set[str]]]:
    """The maps that stay, their rows, and the layers during which they do."""
    order = [layer.name for layer in machine.network.layers]
    places: dict[str, tuple[set[Row], set[str]]] = {}
    for made, name in enumerate(order[:-1]):
        last = max(order.index(layer.name) for layer in machine.network.layers if name in layer.inputs)
        life = set(order[made : last + 1])
        rows = {Row(name, number) for number in range(machine.network.shapes[name].rows)}
        if all(_fits_during(machine, step, rows, places, work) for step in life):
            places[name] = rows, life
    return places


def _fits_during(
    machine: Machine,
    step: str,
    rows: set[Row],
    places: dict[str, tuple[set[Row], set[str]]],
    work: dict[str, set[Row]],
) -> bool:
    staying = {row for others, life in places.values() if step in life for row in others}
    total = sum(machine.bytes_of(row) for row in rows | staying | work[step])
    return total <= machine.engine.line_memory_bytes

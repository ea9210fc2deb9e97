"""docs/line_engine.md as a plain machine: rows are things in sets, turns and steps small records, a clock steps.

Which rows a task needs is found by walking its window; which rows are there by asking every task that is still to come;
when things happen by three units that each look at what the head of their list waits for. Where the page can be read in
two ways, a comment that begins with "Reading" says which one was taken.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import takewhile
from typing import Any, NamedTuple

from hw.network import INPUT, Edge, Layer, Network

EMPTYING_CYCLES = 6
"""What the last step of a turn takes more."""


class Thing(NamedTuple):
    """What takes room in line memory: a row of a `map`, of an `edge` in DRAM, of a write `buffer`, or `sums`."""

    kind: str
    owner: str
    number: int = 0
    reader: str = ""


@dataclass(frozen=True)
class Task:
    """What one row task reads of every input, the row that it ends, if it ends one, and the sums that it adds to."""

    reads: frozenset[int]
    makes: int | None
    sums: int | None = None


@dataclass(frozen=True)
class Turn:
    """Tasks of a layer, and the rows of the frame that belong to them."""

    layer: Layer
    tasks: tuple[Task, ...]
    arrived: tuple[int, ...] = ()

    @property
    def makes(self) -> list[int]:
        """Rows that the turn ends."""
        return [task.makes for task in self.tasks if task.makes is not None]


@dataclass(frozen=True)
class Step:
    """A tile of a turn: `groups` are the output channels of each of its groups."""

    number: int
    frame: int
    turn: int
    layer: Layer
    tile: int
    groups: tuple[int, ...]
    cycles: int
    last_of_turn: bool


@dataclass(frozen=True)
class Load:
    """A tile of weights (no `row`), a row of the frame that arrives (no `edge`), or a row of an edge in DRAM."""

    step: Step
    size: int
    row: int | None = None
    edge: Edge | None = None


@dataclass(frozen=True)
class Store:
    """A row that goes to DRAM after the last step of the turn that made it."""

    step: Step
    row: int
    size: int


@dataclass(eq=False)
class Job:
    """A step or a transfer in its unit's list."""

    what: Step | Load | Store
    takes: int
    waits: list["Job"] = field(default_factory=list)
    start: int | None = None
    end: int | None = None

    def over(self, now: int) -> bool:
        """Whether it has ended."""
        return self.end is not None and self.end <= now


class Moved(NamedTuple):
    """A transfer that was done. `place` is the step e of a load, f of a store, None where nobody waits."""

    kind: str
    frame: int
    layer: str
    row: int | None
    size: int
    step: int
    place: int | None
    start: int
    end: int


@dataclass
class Account:
    """What a run did; everything but `fits` is empty where the engine is too small."""

    fits: bool = True
    latency: int = 0
    interval: int = 0
    finishes: list[int] = field(default_factory=list)
    cycles: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    peak: int = 0
    resident: frozenset[str] = frozenset()
    spilled: frozenset[str] = frozenset()
    begin: dict[str, int] = field(default_factory=dict)
    finish: dict[str, int] = field(default_factory=dict)
    steps: list[tuple[str, int, int, int]] = field(default_factory=list)
    loads: list[Moved] = field(default_factory=list)
    stores: list[Moved] = field(default_factory=list)


class TooSmall(Exception):
    """Line or weight memory cannot hold what the page asks."""


@dataclass(frozen=True)
class Machine:
    """A network on an engine: sizes of everything."""

    network: Network
    engine: Any
    activation_bits: int
    weight_bits: int
    frame_bits: int = 0

    def tasks(self, layer: Layer) -> list[Task]:
        """All row tasks of a layer in order."""
        rows_in, rows_out = self.network.shapes[layer.inputs[0]].rows, self.network.shapes[layer.name].rows
        if layer.kind in ("affine", "add", "concat", "table"):
            return [Task(frozenset({y}), y) for y in range(rows_out)]
        if layer.kind == "upsample":
            return [Task(frozenset({y // layer.factor.rows}), y) for y in range(rows_out)]
        windows = [
            [y * layer.stride.rows - layer.padding.top + i for i in range(layer.kernel.rows)] for y in range(rows_out)
        ]
        if not disjoint_mean(layer):
            return [Task(frozenset(row for row in w if 0 <= row < rows_in), y) for y, w in enumerate(windows)]
        return [
            Task(frozenset({row}), y if row == w[-1] else None, y if len(w) > 1 else None)
            for y, w in enumerate(windows)
            for row in w
        ]

    def row_bytes(self, owner: str) -> int:
        """A row of a map; the frame may have bits of its own."""
        shape = self.network.shapes[owner]
        own = self.frame_bits and owner == INPUT
        return whole_bytes(shape.cols * shape.channels * (self.frame_bits if own else self.activation_bits))

    def bytes_of(self, things: set[Thing]) -> int:
        """Room that these take in line memory."""
        total = 0
        for thing in things:
            shape = self.network.shapes[thing.owner]
            total += 4 * shape.cols * shape.channels if thing.kind == "sums" else self.row_bytes(thing.owner)
        return total

    def groups(self, layer: Layer) -> tuple[int, ...]:
        """Output channels of each group."""
        channels = list(range(self.network.shapes[layer.name].channels))
        return tuple(len(channels[first : first + self.engine.pe]) for first in channels[:: self.engine.pe])

    def group_cycles(self, layer: Layer) -> int:
        """Cycles of one group of one row task."""
        read, made = self.network.shapes[layer.inputs[0]], self.network.shapes[layer.name]
        cols, products = max(read.cols, made.cols), 1
        if layer.kind == "conv":
            cols, products = made.cols, layer.kernel.rows * layer.kernel.cols * read.channels
        if layer.kind == "depthwise":
            cols, products = made.cols, layer.kernel.rows * layer.kernel.cols
        inner = len(range(0, products, self.engine.simd)) if layer.kind in ("conv", "depthwise") else 1
        return len(range(0, cols, self.engine.lanes)) * inner

    def weight_bytes(self, layer: Layer, groups: tuple[int, ...] | None = None) -> int:
        """Weights and biases of these groups of a layer, of all by default; each group is rounded up by itself."""
        if layer.kind not in ("conv", "depthwise", "affine"):
            return 0
        of_a_channel, extra = 1, 4
        if layer.kind == "depthwise":
            of_a_channel, extra = layer.kernel.rows * layer.kernel.cols, 4 * layer.bias
        if layer.kind == "conv":
            inputs = self.network.shapes[layer.inputs[0]].channels
            of_a_channel, extra = layer.kernel.rows * layer.kernel.cols * inputs, 4 * layer.bias
        groups = self.groups(layer) if groups is None else groups
        return sum(whole_bytes(size * of_a_channel * self.weight_bits) + size * extra for size in groups)

    def transfer_cycles(self, size: int) -> int:
        """Bursts, each with its latency, at a rate that is meant as it is written, in decimals."""
        most = self.engine.dram_burst_bytes or size
        bursts = [min(most, size - first) for first in range(0, size, most)]
        rate = Fraction(repr(self.engine.dram_bytes_per_cycle))
        return sum(self.engine.dram_latency_cycles + round_up(Fraction(burst) / rate) for burst in bursts)

    def skip_edges(self) -> list[Edge]:
        """Edges into an add or concat, from the frame or a layer that does not stand right before it."""
        right_before = dict(zip(self.network.layers[1:], self.network.layers, strict=False))
        return [
            Edge(source, layer.name)
            for layer in self.network.layers
            if layer.kind in ("add", "concat")
            for source in layer.inputs
            if layer not in right_before or right_before[layer].name != source
        ]


def disjoint_mean(layer: Layer) -> bool:
    """Whether sums serve a layer."""
    return layer.kind == "mean" and tuple(layer.stride) == tuple(layer.kernel)


def whole_bytes(bits: int) -> int:
    """Bytes that hold so many bits."""
    return (bits + 7) // 8


def round_up(exact: Fraction) -> int:
    """The next whole number."""
    return exact.numerator // exact.denominator + (exact.denominator > 1)


def run(
    network: Network,
    engine: Any,
    activation_bits: int = 8,
    weight_bits: int = 8,
    frames: int = 3,
    frame_bits: int = 0,
) -> Account:
    """So many frames in the engine's schedule."""
    machine = Machine(network, engine, activation_bits, weight_bits, frame_bits)
    try:
        return _run(machine, frames)
    except TooSmall:
        return Account(fits=False)


def _run(machine: Machine, frames: int) -> Account:
    turns = line_by_line(machine) if machine.engine.schedule == "line_by_line" else layer_by_layer(machine)
    resident = residents(machine, turns)
    tiles = {layer.name: tiles_of(machine, layer, resident) for layer in machine.network.layers}
    in_dram = edges_in_dram(machine, turns)
    held = holdings(machine, turns, in_dram)
    peak = fullest(machine, turns, in_dram)
    if peak > machine.engine.line_memory_bytes:
        raise TooSmall
    steps = steps_of(machine, turns, tiles, frames)
    loads = loads_of(machine, turns, steps, tiles, resident, in_dram, held)
    stores = stores_of(machine, turns, steps, in_dram)
    room = {
        "lines": [machine.engine.line_memory_bytes - machine.bytes_of(held[step.turn]) for step in steps],
        "weights": [
            machine.engine.weight_memory_bytes - weights_held(machine, steps, step, tiles, resident) for step in steps
        ],
    }
    load_places = places_of_loads(machine, loads, stores, room)
    store_places = places_of_stores(machine, loads, stores, steps, room["lines"])
    jobs = {
        "steps": [Job(step, step.cycles) for step in steps],
        "loads": [Job(load, machine.transfer_cycles(load.size)) for load in loads],
        "stores": [Job(store, machine.transfer_cycles(store.size)) for store in stores],
    }
    tell_waits(jobs, load_places, store_places)
    movers = [jobs["loads"], jobs["stores"]]
    if machine.engine.dma_channels == 1:
        movers = [one_list(jobs, store_places)]
    play([jobs["steps"], *movers])
    account = told(machine, jobs, load_places, store_places, frames)
    account.peak, account.resident = peak, frozenset(resident)
    account.spilled = frozenset(str(edge) for edge in in_dram)
    return account


# Turns


def line_by_line(machine: Machine) -> list[Turn]:
    """Rounds: rows of the frame arrive, as long as there are some, then every layer does some of what is ready."""
    network, group = machine.network, machine.engine.row_group
    there: dict[str, set[int]] = {name: set() for name in (INPUT, *network.by_name)}
    left = {layer.name: machine.tasks(layer) for layer in network.layers}
    turns: list[Turn] = []
    waiting: list[int] = []
    rows = list(range(network.shapes[INPUT].rows))
    while any(left.values()):
        arriving, rows = rows[:group], rows[group:]
        there[INPUT] |= set(arriving)
        waiting += arriving
        turns_before = len(turns)
        for layer in network.layers:
            ready = [*takewhile(lambda t, n=layer: all(t.reads <= there[s] for s in n.inputs), left[layer.name])]
            doing = ready[:group]
            if doing:
                turns.append(Turn(layer, tuple(doing), tuple(waiting)))
                waiting = []
                left[layer.name] = left[layer.name][len(doing) :]
                there[layer.name] |= set(turns[-1].makes)
        assert arriving or len(turns) > turns_before, "a round in which nothing happens"
    return turns


def layer_by_layer(machine: Machine) -> list[Turn]:
    """Every layer does all of its tasks."""
    turns = []
    for layer in machine.network.layers:
        left = machine.tasks(layer)
        while left:
            turns.append(Turn(layer, tuple(left[: machine.engine.row_group])))
            left = left[machine.engine.row_group :]
    return turns


# Weights


def residents(machine: Machine, turns: list[Turn]) -> set[str]:
    """Layers with weights that stay in weight memory."""
    size = {layer.name: machine.weight_bytes(layer) for layer in machine.network.layers if machine.weight_bytes(layer)}
    wanted, memory = machine.engine.resident, machine.engine.weight_memory_bytes
    if wanted == "auto":
        if sum(size.values()) <= memory:
            return set(size)
        count = Counter(turn.layer.name for turn in turns)
        order = list(size)
        chosen: set[str] = set()
        largest = max(machine.weight_bytes(layer, machine.groups(layer)[:1]) for layer in machine.network.layers)
        for name in sorted(size, key=lambda n: (-count[n], size[n], order.index(n))):
            together = sum(size[n] for n in chosen | {name})
            if together <= memory - max(round_up(Fraction(memory, 2)), largest):
                chosen.add(name)
        return chosen
    names = {"none": set(), "all": set(size)}[wanted] if isinstance(wanted, str) else set(wanted) & set(size)
    if sum(size[name] for name in names) > memory:
        raise TooSmall
    return names


def resident_bytes(machine: Machine, resident: set[str]) -> int:
    """R of the page."""
    return sum(machine.weight_bytes(machine.network.by_name[name]) for name in resident)


def tiles_of(machine: Machine, layer: Layer, resident: set[str]) -> list[tuple[int, ...]]:
    """Groups of each tile of a layer.

    Reading: every tile but the last has as many groups as fit if all are whole ones; a last group that is smaller does
    not make room for one more.
    """
    groups = machine.groups(layer)
    space = machine.engine.weight_memory_bytes - resident_bytes(machine, resident)
    if layer.name in resident or machine.weight_bytes(layer) <= space:
        return [groups]
    one = machine.weight_bytes(layer, groups[:1])
    if one > space:
        raise TooSmall
    halved = machine.engine.prefetch > 0 and 2 * one <= space
    many = 1
    while (many + 1) * one * (2 if halved else 1) <= space:
        many += 1
    return [groups[first : first + many] for first in range(0, len(groups), many)]


def swaps(machine: Machine, step: Step, resident: set[str]) -> bool:
    """Whether a step's weights are of those that come and go."""
    return step.layer.name not in resident and machine.weight_bytes(step.layer) > 0


def weights_held(
    machine: Machine, steps: list[Step], step: Step, tiles: dict[str, list[tuple[int, ...]]], resident: set[str]
) -> int:
    """Weight memory during a step."""
    always = resident_bytes(machine, resident)
    if swaps(machine, step, resident):
        return always + machine.weight_bytes(step.layer, step.groups)
    before = next((s for s in reversed(steps[: step.number]) if swaps(machine, s, resident)), None)
    after = next((s for s in steps[step.number + 1 :] if swaps(machine, s, resident)), None)
    if before and after and before.layer == after.layer and len(tiles[before.layer.name]) == 1:
        return always + machine.weight_bytes(before.layer)
    return always


# Lines


def wanted_rows(left: dict[str, list[Task]], readers: set[str]) -> set[int]:
    """Rows that tasks to come of these readers need of each of their inputs."""
    return {row for reader in readers for task in left[reader] for row in task.reads}


def span(turn: Turn) -> set[int]:
    """Rows from the first that a turn needs of each input to the last."""
    wanted = {row for task in turn.tasks for row in task.reads}
    return set(range(min(wanted), max(wanted) + 1))


def holdings(machine: Machine, turns: list[Turn], in_dram: set[Edge]) -> list[set[Thing]]:
    """What line memory holds during each turn of a frame."""
    network = machine.network
    left = {layer.name: machine.tasks(layer) for layer in network.layers}
    made: dict[str, set[int]] = {name: set() for name in (INPUT, *network.by_name)}
    loaded: dict[Edge, set[int]] = {edge: set() for edge in in_dram}
    result = []
    for turn in turns:
        made[INPUT] |= set(turn.arrived)
        made[turn.layer.name] |= set(turn.makes)
        for edge in in_dram:
            if edge.target == turn.layer.name:
                loaded[edge] |= span(turn)
        now: set[Thing] = set()
        for source, numbers in made.items():
            readers = {edge.target for edge in network.edges if edge.source == source and edge not in in_dram}
            wanted = wanted_rows(left, readers)
            now |= {Thing("map", source, row) for row in numbers if wanted and row >= min(wanted)}
        for edge, numbers in loaded.items():
            wanted = wanted_rows(left, {edge.target})
            if wanted and numbers:
                now |= {Thing("edge", edge.source, row, edge.target) for row in numbers if row >= min(wanted)}
        now |= sums_begun(machine, left)
        now |= {Thing("sums", turn.layer.name) for task in turn.tasks if task.sums is not None}
        left[turn.layer.name] = left[turn.layer.name][len(turn.tasks) :]
        now |= sums_begun(machine, left)
        if written(network, turn.layer.name, in_dram):
            now |= {Thing("buffer", turn.layer.name, row) for row in turn.makes}
        result.append(now)
    return result


def sums_begun(machine: Machine, left: dict[str, list[Task]]) -> set[Thing]:
    """A row of sums of every mean with sums that some tasks have added to and others have still to."""
    begun = set()
    for layer in filter(disjoint_mean, machine.network.layers):
        to_come = left[layer.name]
        tasks = machine.tasks(layer)
        done = tasks[: len(tasks) - len(to_come)]
        if {task.sums for task in done} & {task.sums for task in to_come} - {None}:
            begun.add(Thing("sums", layer.name))
    return begun


def written(network: Network, name: str, in_dram: set[Edge]) -> bool:
    """Whether a layer's rows go to DRAM."""
    return name == network.output.name or any(edge.source == name for edge in in_dram)


def edges_in_dram(machine: Machine, turns: list[Turn]) -> set[Edge]:
    """Edges whose rows their reader loads."""
    if machine.engine.schedule == "line_by_line":
        return _skips_in_dram(machine, turns)
    return _maps_in_dram(machine, turns)


def _skips_in_dram(machine: Machine, turns: list[Turn]) -> set[Edge]:
    """With `auto` one by one, each time that edge which leaves the fullest turn with fewest bytes; then all."""
    skips = machine.skip_edges()
    if machine.engine.skips == "spill":
        return set(skips)
    in_dram: set[Edge] = set()
    while machine.engine.skips == "auto":
        now = fullest(machine, turns, in_dram)
        without = {edge: fullest(machine, turns, in_dram | {edge}) for edge in skips if edge not in in_dram}
        if now <= machine.engine.line_memory_bytes:
            break
        if min(without.values(), default=now) >= now:
            return set(skips)
        in_dram.add(next(edge for edge in without if without[edge] == min(without.values())))
    return in_dram


def fullest(machine: Machine, turns: list[Turn], in_dram: set[Edge]) -> int:
    """Bytes of line memory in the turn that holds most."""
    return max(machine.bytes_of(things) for things in holdings(machine, turns, in_dram))


def _maps_in_dram(machine: Machine, turns: list[Turn]) -> set[Edge]:
    """Reading: "all that is there then without it" is what the turn holds if the map is on chip, less the map."""
    network = machine.network
    in_dram = set(network.edges)
    for layer in network.layers:
        edges = {edge for edge in network.edges if edge.source == layer.name}
        if not edges or (machine.engine.skips == "spill" and edges & set(machine.skip_edges())):
            continue
        readers = {edge.target for edge in edges}
        first = min(number for number, turn in enumerate(turns) if turn.layer == layer)
        last = max(number for number, turn in enumerate(turns) if turn.layer.name in readers)
        life = holdings(machine, turns, in_dram - edges)[first : last + 1]
        if all(machine.bytes_of(things) <= machine.engine.line_memory_bytes for things in life):
            in_dram -= edges
    return in_dram


# Lists


def steps_of(machine: Machine, turns: list[Turn], tiles: dict[str, list[tuple[int, ...]]], frames: int) -> list[Step]:
    """Every frame's turns, a step for each tile."""
    steps: list[Step] = []
    for frame in range(frames):
        for number, turn in enumerate(turns):
            parts = tiles[turn.layer.name]
            for tile, groups in enumerate(parts):
                last = tile == len(parts) - 1
                cycles = len(turn.tasks) * len(groups) * machine.group_cycles(turn.layer) + EMPTYING_CYCLES * last
                steps.append(Step(len(steps), frame, number, turn.layer, tile, groups, cycles, last))
    return steps


def loads_of(
    machine: Machine,
    turns: list[Turn],
    steps: list[Step],
    tiles: dict[str, list[tuple[int, ...]]],
    resident: set[str],
    in_dram: set[Edge],
    held: list[set[Thing]],
) -> list[Load]:
    """Before a turn's first step its tile, rows of the frame and of edges in DRAM; before each further one its tile."""
    loads: list[Load] = []
    last_there = ""
    here: set[tuple[int, Edge, int]] = set()
    for step in steps:
        name, turn = step.layer.name, turns[step.turn]
        if swaps(machine, step, resident):
            if last_there != name or len(tiles[name]) > 1:
                loads.append(Load(step, machine.weight_bytes(step.layer, step.groups)))
            last_there = name
        if step.tile > 0:
            continue
        needed = [row for row in turn.arrived if Thing("map", INPUT, row) in held[step.turn]]
        loads += [Load(step, machine.row_bytes(INPUT), row) for row in needed]
        for edge in [Edge(source, name) for source in step.layer.inputs]:
            for row in sorted(span(turn)):
                if edge in in_dram and (step.frame, edge, row) not in here:
                    loads.append(Load(step, machine.row_bytes(edge.source), row, edge))
                    here.add((step.frame, edge, row))
    return loads


def stores_of(machine: Machine, turns: list[Turn], steps: list[Step], in_dram: set[Edge]) -> list[Store]:
    """Every row that goes to DRAM, in the order of the turns."""
    return [
        Store(step, row, machine.row_bytes(step.layer.name))
        for step in steps
        if step.last_of_turn and written(machine.network, step.layer.name, in_dram)
        for row in turns[step.turn].makes
    ]


def row_of(what: Load | Store) -> tuple[int, str, int | None]:
    """Frame, map and row, which a store and the loads that bring the row back have in common."""
    frame = what.step.frame
    if isinstance(what, Store):
        return frame, what.step.layer.name, what.row
    return frame, what.edge.source if what.edge else "", what.row


def places_of_loads(machine: Machine, loads: list[Load], stores: list[Store], room: dict[str, list[int]]) -> list[int]:
    """The step e from which each load has its place."""
    places: list[int] = []
    before = 0
    makers = {row_of(store): store for store in stores}
    for load in loads:
        memory = room["weights" if load.row is None else "lines"]
        maker = makers.get(row_of(load))
        place = wish = load.step.number
        while (
            wish - place < machine.engine.prefetch
            and place > 0
            and place > before
            and memory[place - 1] >= load.size
            and (maker is None or place - 1 > maker.step.number)
        ):
            place -= 1
            memory[place] -= load.size
        places.append(place)
        before = place
    return places


def places_of_stores(
    machine: Machine, loads: list[Load], stores: list[Store], steps: list[Step], room: list[int]
) -> list[int | None]:
    """The step f before which each store must have ended; None where there is no such step."""
    brought_back: dict[tuple[int, str, int | None], int] = {}
    for load in loads:
        brought_back.setdefault(row_of(load), load.step.number)
    places: list[int | None] = []
    for store in stores:
        raised = 0
        place = store.step.number + 1
        back = brought_back.get(row_of(store), len(steps))
        while raised < machine.engine.prefetch and place < len(steps) and back > place and room[place] >= store.size:
            room[place] -= store.size
            place += 1
            raised += 1
        places.append(place if place < len(steps) else None)
    return places


# Time


def tell_waits(jobs: dict[str, list[Job]], load_places: list[int], store_places: list[int | None]) -> None:
    """What each job waits for besides its turn in its unit's list.

    Stores end in the order of their list, so that the last of those that a load waits for stands for all.
    """
    steps = jobs["steps"]
    store_of = {row_of(job.what): job for job in jobs["stores"]}
    last_before: list[Job | None] = [None] * len(steps)
    for number in range(len(steps)):
        due = [index for index, place in enumerate(store_places) if place is not None and place <= number]
        last_before[number] = jobs["stores"][max(due)] if due else None
    for job, place in zip(jobs["loads"], load_places, strict=True):
        load = job.what
        if place > 0:
            job.waits.append(steps[place - 1])
        if row_of(load) in store_of:
            job.waits.append(store_of[row_of(load)])
        due_store = last_before[place]
        if load.row is not None and due_store is not None:
            job.waits.append(due_store)
        steps[load.step.number].waits.append(job)
    for job, place in zip(jobs["stores"], store_places, strict=True):
        job.waits.append(steps[job.what.step.number])
        if place is not None:
            steps[place].waits.append(job)


def one_list(jobs: dict[str, list[Job]], store_places: list[int | None]) -> list[Job]:
    """Loads and stores of a single channel by the step that each is for.

    Reading: a store without a step f stands behind all loads, unless one behind it has a step.
    """
    never = len(jobs["steps"])
    places = [never if place is None else place for place in store_places]
    by_step = [(job.what.step.number, 1, job) for job in jobs["loads"]]
    by_step += [(min(places[number:]), 0, job) for number, job in enumerate(jobs["stores"])]
    return [job for *_, job in sorted(by_step, key=lambda entry: entry[:2])]


def play(units: list[list[Job]]) -> None:
    """Step a clock from end to end; each unit that is free looks whether the head of its list may start."""
    queues = [deque(unit) for unit in units]
    busy: list[Job | None] = [None for _ in units]
    now = 0
    while True:
        busy = [job if job is not None and not job.over(now) else None for job in busy]
        for number, queue in enumerate(queues):
            if busy[number] is None and queue and all(job.over(now) for job in queue[0].waits):
                job = queue.popleft()
                assert job.takes > 0
                job.start, job.end = now, now + job.takes
                busy[number] = job
        ends = [job.end for job in busy if job is not None]
        if not ends:
            assert not any(queues), "every unit waits for another"
            return
        now = min(ends)


def told(
    machine: Machine,
    jobs: dict[str, list[Job]],
    load_places: list[int],
    store_places: list[int | None],
    frames: int,
) -> Account:
    """What a simulation reports."""
    account = Account()
    account.steps = [(job.what.layer.name, job.what.tile, job.start, job.end) for job in jobs["steps"]]
    for job, place in zip(jobs["loads"], load_places, strict=True):
        load = job.what
        layer = load.edge.source if load.edge else (load.step.layer.name if load.row is None else INPUT)
        where = (load.step.frame, layer, load.row, load.size, load.step.number, place, job.start, job.end)
        account.loads.append(Moved(load_kind(machine, load), *where))
    for job, place in zip(jobs["stores"], store_places, strict=True):
        store, name = job.what, job.what.step.layer.name
        kind = "lines_out" if name == machine.network.output.name else "spills_out"
        where = (store.step.frame, name, store.row, store.size, store.step.number, place, job.start, job.end)
        account.stores.append(Moved(kind, *where))
    for frame in range(frames):
        ends = [job.end for job in jobs["steps"] if job.what.frame == frame]
        account.finishes.append(max(*ends, *(store.end for store in account.stores if store.frame == frame)))
    account.latency = account.finishes[0]
    account.interval = account.finishes[1] - account.finishes[0] if frames > 1 else 0
    for moved in (*account.loads, *account.stores):
        account.moved[moved.kind] += moved.size if moved.frame == 0 else 0
    _tell_cycles(account, [job for job in jobs["steps"] if job.what.frame == 0])
    return account


def load_kind(machine: Machine, load: Load) -> str:
    """What a load counts as."""
    if load.row is None:
        return "weights"
    if load.edge is None:
        return "lines_in"
    first_reader = next(layer.name for layer in machine.network.layers if load.edge.source in layer.inputs)
    rows_of_frame = load.edge.source == INPUT and machine.engine.schedule == "layer_by_layer"
    return "lines_in" if rows_of_frame and load.edge.target == first_reader else "spills_in"


def _tell_cycles(account: Account, steps: list[Job]) -> None:
    """Where the time of the first frame went."""
    before = 0
    for job in steps:
        name = job.what.layer.name
        account.begin.setdefault(name, job.start)
        account.finish[name] = job.end
        account.cycles["compute"] += job.takes
        if job.start > before:
            causes = {_cause(other) for other in job.waits if other.end == job.start}
            account.cycles[next(c for c in ("weights", "lines_in", "lines_out") if c in causes)] += job.start - before
        before = job.end
    account.cycles["drain"] += account.latency - before


def _cause(job: Job) -> str:
    if isinstance(job.what, Store):
        return "lines_out"
    return "weights" if job.what.row is None else "lines_in"

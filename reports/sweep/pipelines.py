"""Many pipelines for one network: bounds in closed form, and exact figures of those that are asked for.

A machine here is a `Budget`, or a `Pipeline` as it is. Figures that do not depend on the clock are found once for all
machines that differ in nothing else, and engines, FIFOs and cycles once for all budgets that choose the same engines.
What was found is remembered, so that later calls (and networks of equal layers) share it.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

from hw import fit, resources
from hw.accelerator import Budget, Engine, Fifo, Pipeline
from hw.errors import DoesNotFit, PacemakerError
from hw.network import OUTPUT, Edge, Network
from hw.student import Student
from hw.synth import features, shapes
from reports.sweep import energies, foldings
from sim import bounds as closed
from sim import designs, fifos, folding, memory, pipeline
from sim.energy import Table as Energies
from sim.result import Precision

NETWORKS = 32
"""Networks whose pipelines are remembered."""
THREADS = 2
Found = dict[str, float]
"""Figures of a machine by column, without those that the clock has a part in."""
Engines = tuple[Engine, ...]
_ANY = Budget("at hand", macs=1, clock_mhz=1.0)
"""Gives a sized pipeline its name and its clock, which no figure here depends on."""


class Refused(NamedTuple):
    """Why there are no figures: `fails` if the machine or the network could not be used, else it is too small."""

    reason: str
    fails: bool = False


class _Sizing(NamedTuple):
    """Engines, and block RAMs that they leave to the FIFOs; None is no limit."""

    engines: Engines
    left: int | None


class _Run(NamedTuple):
    """A machine that was simulated."""

    machine: Pipeline
    latency_cycles: int
    interval_cycles: int


class _Network:
    """A network in the form that hardware runs, and what was found of it so far."""

    def __init__(self, form: Network, precision: Precision) -> None:
        self.form, self.precision = form, precision
        self.edges = [*map(str, form.edges), str(Edge(form.output.name, OUTPUT))]
        self.runs: dict[_Sizing, _Run | Refused] = {}
        self.figures: dict[tuple[_Sizing, str, str, Energies | None], Found | Refused] = {}
        self.parts: dict[tuple[str, str, str, Engine], tuple[int, int]] = {}

    def least(self, engines: Engines) -> Pipeline:
        """The machine with FIFOs of a pixel in look-up tables: nothing that a sizing makes is smaller or quicker."""
        by_name = dict(zip(self.form.by_name, engines, strict=True))
        return Pipeline("least", 1.0, by_name, dict.fromkeys(self.edges, Fifo(1)))

    def line_memory_bytes(self, machine: Pipeline) -> int:
        """Rows, windows and FIFOs, as `sim.result.Result` adds them up."""
        form, precision = self.form, self.precision
        total = fifos.fifo_bytes(form, {edge: each.depth for edge, each in machine.fifos.items()}, precision)
        for layer in form.layers:
            capacity = fit.window_pixels(form, machine, layer) if layer.windowed else 0
            total += memory.line_buffer_bytes(form, layer, precision)
            total += memory.window_bytes(form, layer, capacity, precision)
        return total


@lru_cache(maxsize=NETWORKS)
def _network(form: Network, precision: Precision) -> _Network:
    return _Network(form, precision)


class Asked(NamedTuple):
    """What is wanted beside cycles and bytes: energy by a table, resources of a family ("" for none).

    `key` is that of the network, whose `student`, if there is one, gives the widths for the resources.
    """

    key: str
    energy: Energies | None
    family: str
    student: Student | None


Machines = Sequence[Budget | Pipeline]


def bounds(form: Network, precision: Precision, machines: Machines, asked: Asked) -> list[Found | Refused]:
    """Figures that no run of the machines goes below; `form` is what hardware runs.

    Engines are those of the exact machine, so that multipliers, and DSPs by yosys' rules, are exact; cycles are those
    of `sim.bounds`; FIFOs hold a pixel, and block RAMs are those of weights and rows alone. Nothing is known of LUTs
    and flip-flops.
    """
    known = _network(form, precision)
    chosen = foldings.chosen(form, precision, [each for each in machines if isinstance(each, Budget)])
    of_budgets = iter(chosen)
    made: dict[Engines, Found] = {}
    found: list[Found | Refused] = []
    for machine in machines:
        if isinstance(machine, Pipeline):
            found.append(_bound(known, machine, asked))
            continue
        options = next(of_budgets)
        if isinstance(options, str):
            found.append(Refused(options))
            continue
        engines = tuple(option.engine for option in options)
        if engines not in made:
            least = _bound(known, known.least(engines), asked)
            assert isinstance(least, dict)
            made[engines] = least
        found.append(made[engines])
    return found


def _bound(known: _Network, machine: Pipeline, asked: Asked) -> Found | Refused:
    form, precision = known.form, known.precision
    try:
        cycles = closed.pipeline_bound(form, machine)
    except PacemakerError as error:
        return Refused(str(error), fails=True)
    found = {
        **_plain(known, machine),
        "latency_cycles": cycles.latency_cycles,
        "interval_cycles": cycles.interval_cycles,
    }
    if asked.family:
        parts = _engine_parts(known, machine, asked)
        found |= {"lut": 0, "ff": 0, "dsp": sum(dsp for dsp, _ in parts), "bram18": sum(rams for _, rams in parts)}
    if asked.energy is not None:
        found["energy_uj"] = energies.of_pipeline(form, machine, asked.energy, precision, least=True)
    return found


def _plain(known: _Network, machine: Pipeline) -> Found:
    weights = sum(memory.weight_bytes(known.form, layer, known.precision) for layer in known.form.layers)
    lines = known.line_memory_bytes(machine)
    return {
        "multipliers": pipeline.multipliers(known.form, machine),
        "line_memory_bytes": lines,
        "weight_bytes": weights,
        "on_chip_bytes": lines + weights,
        "dram_bytes": 0,
    }


def _engine_parts(known: _Network, machine: Pipeline, asked: Asked) -> list[tuple[int, int]]:
    """DSPs and block RAMs of every engine, which do not depend on FIFOs."""
    found, widths = [], None
    for layer in known.form.layers:
        key = asked.key, asked.family, layer.name, machine.engines[layer.name]
        if key not in known.parts:
            widths = widths or _widths(known, asked)
            parts = features.parts(*shapes.engine(widths, machine, layer), asked.family)
            known.parts[key] = parts.dsp, parts.bram18
        found.append(known.parts[key])
    return found


def _widths(known: _Network, asked: Asked) -> shapes.Widths:
    if asked.student is not None:
        return shapes.of_student(asked.student)
    bits = known.precision
    return shapes.of_bits(known.form, bits.activation_bits, bits.weight_bits, bits.input_bits)


def exact(form: Network, precision: Precision, machines: Machines, asked: Asked) -> list[Found | Refused]:
    """Figures as `sim.run.simulate`, `hw.resources.estimate` and `sim.energy` give them one by one."""
    known = _network(form, precision)
    chosen = iter(foldings.chosen(form, precision, [each for each in machines if isinstance(each, Budget)]))
    wanted: list[_Sizing | Refused | Pipeline] = []
    for machine in machines:
        if isinstance(machine, Pipeline):
            wanted.append(machine)
            continue
        options = next(chosen)
        if isinstance(options, str):
            wanted.append(Refused(options))
        else:
            left = None if machine.bram18 is None else machine.bram18 - sum(option.bram18 for option in options)
            wanted.append(_Sizing(tuple(option.engine for option in options), left))
    alike = _simulated(known, [each for each in wanted if isinstance(each, _Sizing)])
    figures = {sizing: _remembered(known, sizing, asked) for sizing in dict.fromkeys(alike.values())}
    found: list[Found | Refused] = []
    for each in wanted:
        if isinstance(each, _Sizing):
            found.append(figures[alike[each]])
        else:
            found.append(each if isinstance(each, Refused) else _figures(known, _given(known, each), asked))
    return found


def _simulated(known: _Network, wanted: Sequence[_Sizing]) -> dict[_Sizing, _Sizing]:
    """See that `known` has a run of every sizing; those that no limit of block RAMs changes share one without it."""
    _simulate(known, [each._replace(left=None) for each in wanted])
    alike = {each: each if _exceeds(known, each) else each._replace(left=None) for each in wanted}
    _simulate(known, list(alike.values()))
    return alike


def _exceeds(known: _Network, sizing: _Sizing) -> bool:
    """Whether the FIFOs take more block RAMs than the engines leave, so that some must move to look-up tables."""
    run = known.runs[sizing._replace(left=None)]
    if sizing.left is None or isinstance(run, Refused):
        return False
    taken = 0
    for edge, each in run.machine.fifos.items():
        if each.ram == "block":
            bits = known.precision.bits_of(edge.partition(" -> ")[0])
            taken += resources.fifo_memory(known.form, edge, each, bits).bram18
    return taken > sizing.left


def _simulate(known: _Network, wanted: Iterable[_Sizing]) -> None:
    """Runs of those sizings that have none yet."""
    new = [each for each in dict.fromkeys(wanted) if each not in known.runs]
    if not new:
        return
    with ThreadPoolExecutor(THREADS) as pool:
        machines = list(pool.map(lambda each: _sized(known, each), new))
    ends = designs.finishes(known.form, designs.of_pipelines(known.form, machines), pipeline.STEADY_FRAMES, THREADS)
    for each, machine, finishes in zip(new, machines, ends.tolist(), strict=True):
        if finishes[-1] < 0:
            known.runs[each] = _given(known, machine)
        else:
            known.runs[each] = _Run(machine, finishes[0], finishes[-1] - finishes[-2])


def _sized(known: _Network, sizing: _Sizing) -> Pipeline:
    engines = dict(zip(known.form.by_name, sizing.engines, strict=True))
    return folding.with_fifos(known.form, _ANY, engines, sizing.left, known.precision)


def _given(known: _Network, machine: Pipeline) -> _Run | Refused:
    """A machine by itself."""
    try:
        result = pipeline.simulate(known.form, known.form, machine, known.precision)
    except PacemakerError as error:
        return Refused(str(error), fails=not isinstance(error, DoesNotFit))
    return _Run(machine, result.latency_cycles, result.interval_cycles)


def _remembered(known: _Network, sizing: _Sizing, asked: Asked) -> Found | Refused:
    key = sizing, asked.key, asked.family, asked.energy
    if key not in known.figures:
        known.figures[key] = _figures(known, known.runs[sizing], asked)
    return known.figures[key]


def _figures(known: _Network, run: _Run | Refused, asked: Asked) -> Found | Refused:
    if isinstance(run, Refused):
        return run
    found = _plain(known, run.machine)
    found |= {"latency_cycles": run.latency_cycles, "interval_cycles": run.interval_cycles}
    if asked.family:
        bits = known.precision
        widths = bits.activation_bits, bits.weight_bits
        estimated = resources.estimate(
            known.form, run.machine, *widths, asked.family, asked.student, input_bits=bits.input_bits
        )
        found |= estimated.counts
    if asked.energy is not None:
        found["energy_uj"] = energies.of_pipeline(known.form, run.machine, asked.energy, known.precision)
    return found

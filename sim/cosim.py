"""Runs the pipeline's RTL under Icarus or Verilator, and brings back its cycles and its data.

Nothing here knows what they should be: `check` holds them against `sim.pipeline` (cycles) and `hw.reference` (data).
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from hw import reference, rtl
from hw.accelerator import Budget, Pipeline
from hw.errors import BadInput, Deadlock
from hw.files import write_text
from hw.fixed import Integers
from hw.network import INPUT
from hw.rtl.bench import bench
from hw.rtl.engines import hex_words
from hw.student import Student, lifted
from hw.student import of_run as load_student
from sim import pipeline as recurrence
from sim.folding import settled
from sim.packing import Cycles, copy_cycles, issue_cycles, sink_edge
from sim.pipeline import ALWAYS, Handshakes
from sim.rtl_simulators import Simulator, check_available, run_bench, write_readme
from sim.run import precision_of

_PRINTS = """\
It prints `S node cycle` when a node starts a pixel (`bench.sv` says which node is which signal's), `D word cycle` when
a word of the output is taken, and at the end `E` with the cycle (`T` if it stopped for ever). The images are in
`input.hex`; `valid.hex` and `ready.hex` say in which cycles they come and results are taken.
"""


@dataclass(frozen=True)
class RtlRun:
    """What the RTL did: start cycles of every node (keys as in `Stamps.starts`), outputs, and when each word was taken.

    A run that stopped for ever (`deadlock`) has fewer.
    """

    starts: Mapping[str, Cycles]
    outputs: Integers
    taken: Cycles
    cycles: int
    deadlock: bool


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The RTL held against recurrence and reference.

    `first_difference` names the first node whose start cycles differ, the pixel and both cycles; empty if none does.
    """

    simulator: str
    frames: int
    stamps: int
    rtl_latency_cycles: int
    latency_cycles: int
    interval_cycles: int
    first_difference: str
    outputs: int
    wrong_outputs: int
    deadlock: bool

    @property
    def exact(self) -> bool:
        """Whether every cycle and every bit agree."""
        return not self.first_difference and self.wrong_outputs == 0

    def __str__(self) -> str:
        if self.deadlock:
            return "RTL and recurrence stop for ever, both" if self.exact else self.first_difference
        cycles = f"all {self.stamps:,} start cycles equal" if not self.first_difference else self.first_difference
        data = (
            f"all {self.outputs:,} outputs equal" if not self.wrong_outputs else f"{self.wrong_outputs:,} outputs wrong"
        )
        return (
            f"{self.simulator}, {self.frames} frames: latency {self.rtl_latency_cycles:,} cycles in RTL, "
            f"{self.latency_cycles:,} in the recurrence; {cycles}; {data}"
        )


def check_run(
    folder: Path, machine: Pipeline | Budget, frames: int, *, simulator: Simulator = "icarus", out: Path | None = None
) -> Verdict:
    """`check` the student of a run on the first of its test images, row strides lifted; keep the design in `out`.

    Raises:
        BadInput: no student, more frames than test images, a design in `out` already, or as `check`.
        Deadlock: RTL and recurrence stop for ever, both.
        MissingTool: the simulator is not installed.
    """
    made = student_of(folder, frames, out)
    pipeline = settled(made.network, machine, precision_of(made))
    verdict = check(made, pipeline, made.images[:frames], simulator=simulator, folder=out)
    if verdict.deadlock and verdict.exact:
        recurrence.stamps(made.network, pipeline, frames)
    return verdict


def student_of(folder: Path, frames: int, out: Path | None) -> Student:
    """A run's student in the form that hardware runs, which has enough images, for a design that `out` has not got.

    Raises:
        BadInput: no student, more frames than test images, or a design in `out` already.
    """
    made = lifted(load_student(folder))
    if not 1 <= frames <= len(made.images):
        raise BadInput(f"frames: {frames} was found, 1 to {len(made.images)} are wanted, the student's test images")
    if out is not None and (out / "rtl").exists():
        raise BadInput(f"{out / 'rtl'}: it exists already; name another folder")
    return made


def check(
    student: Student,
    pipeline: Pipeline,
    images: Integers,
    *,
    simulator: Simulator = "icarus",
    handshakes: Handshakes = ALWAYS,
    folder: Path | None = None,
) -> Verdict:
    """Run `images` (n, rows, cols, channels), a frame each, in RTL, recurrence and reference, and compare.

    Raises:
        BadInput: the machine does not belong to the student, or the simulator refuses the design.
        MissingTool: the simulator is not installed.
    """
    found = run(student, pipeline, images, simulator=simulator, handshakes=handshakes, folder=folder)
    try:
        expected = recurrence.stamps(student.network, pipeline, len(images), handshakes)
    except Deadlock as error:
        text = "" if found.deadlock else f"the RTL ends, the recurrence stops: {error}"
        return Verdict(simulator, len(images), 0, found.cycles, 0, 0, text, 0, 0, True)
    if found.deadlock:
        text = f"the RTL stops for ever after {found.cycles} cycles, the recurrence does not"
        return Verdict(simulator, len(images), 0, found.cycles, 0, 0, text, 0, 0, True)
    numbers = reference.forward(student, images)
    finishes = expected.frees[sink_edge(student.network)].reshape(len(images), -1)[:, -1]
    return Verdict(
        simulator=simulator,
        frames=len(images),
        stamps=sum(cycles.size for cycles in expected.starts.values()),
        rtl_latency_cycles=int(found.taken[found.taken.size // len(images) - 1]) + 1,
        latency_cycles=int(finishes[0]),
        interval_cycles=int(finishes[-1] - finishes[-2]) if len(images) > 1 else 0,
        first_difference=_first_difference(expected.starts, found.starts),
        outputs=numbers.size,
        wrong_outputs=int((numbers.ravel() != found.outputs.ravel()).sum()),
        deadlock=False,
    )


def run(
    student: Student,
    pipeline: Pipeline,
    images: Integers,
    *,
    simulator: Simulator = "icarus",
    handshakes: Handshakes = ALWAYS,
    folder: Path | None = None,
) -> RtlRun:
    """Write the design into `folder` (a temporary one if left out), simulate it, and read what it printed.

    Raises:
        BadInput: as `check`.
        MissingTool: the simulator is not installed.
    """
    check_available(simulator)
    with tempfile.TemporaryDirectory() as temporary:
        design = rtl.write(student, pipeline, folder or Path(temporary))
        words = _input_words(student, design, images)
        write_text(design.folder / "input.hex", hex_words(words, student.formats[INPUT].out.width))
        write_text(design.folder / "valid.hex", _bit_lines(handshakes.valid))
        write_text(design.folder / "ready.hex", _bit_lines(handshakes.ready))
        silence = _longest_silence(student, pipeline, handshakes)
        text = bench(student, design, len(images), handshakes.valid.size, handshakes.ready.size, silence)
        write_text(design.folder / "bench.sv", text)
        sources = [*design.sources, "bench.sv"]
        write_readme(design.folder, sources, f"{student.network.name} on {pipeline.name}", _PRINTS)
        lines = run_bench(design.folder, sources, simulator)
    return _parsed(student, design, lines)


def _input_words(student: Student, design: rtl.Design, images: Integers) -> Integers:
    """Words in the order in which the source delivers them: (words, channels of a word)."""
    read = images[:, :: student.network.row_step]
    return read.reshape(-1, design.in_word_bits // student.formats[INPUT].out.width)


def _bit_lines(bits: Cycles) -> str:
    """One bit a line; never empty, since `$readmemh` wants a line."""
    return "".join(f"{int(bit)}\n" for bit in bits) or "1\n"


def _longest_silence(student: Student, pipeline: Pipeline, handshakes: Handshakes) -> int:
    """More cycles than any machine that still moves can go without a start."""
    network = student.network
    work = 0
    for layer in network.layers:
        engine = pipeline.engines[layer.name]
        issue = issue_cycles(network, layer, engine)
        copy = copy_cycles(network, layer, engine) * network.input_shape(layer).pixels
        work += issue + copy + 10
    return work + max(handshakes.valid.size, handshakes.ready.size) + 100


def _parsed(student: Student, design: rtl.Design, lines: list[str]) -> RtlRun:
    names = {own: name for name, own in design.nodes.items()}
    starts: dict[str, list[int]] = {name: [] for name in design.nodes}
    words: list[int] = []
    taken: list[int] = []
    end, cycles = "T", 0
    for line in lines:
        mark, *rest = line.split()
        if mark == "S":
            starts[names[rest[0]]].append(int(rest[1]))
        elif mark == "D":
            words.append(_hex(rest[0]))
            taken.append(int(rest[1]))
        elif mark in ("E", "T"):
            end, cycles = mark, int(rest[0])
    arrays = {name: np.array(found, np.int64) for name, found in starts.items()}
    return RtlRun(arrays, _unpacked(student, design, words), np.array(taken, np.int64), cycles, end == "T")


def _hex(text: str) -> int:
    """A word; -1 where the RTL left it undefined, which equals no output."""
    try:
        return int(text, 16)
    except ValueError:
        return -1


def _unpacked(student: Student, design: rtl.Design, words: list[int]) -> Integers:
    """Words as numbers, one a channel."""
    fmt = student.formats[student.network.output.name].out
    count = design.out_word_bits // fmt.width
    mask = (1 << fmt.width) - 1
    values = [(word >> (i * fmt.width)) & mask if word >= 0 else fmt.high + 1 for word in words for i in range(count)]
    numbers = np.array(values, np.int64)
    return numbers - ((numbers > fmt.high) & (numbers <= mask)) * (mask + 1) if fmt.signed else numbers


def _first_difference(expected: Mapping[str, Cycles], found: Mapping[str, Cycles]) -> str:
    for name, cycles in expected.items():
        seen = found[name]
        if seen.size < cycles.size and name != INPUT:
            return f"{name} starts {seen.size} pixels in RTL, {cycles.size} in the recurrence"
        count = min(seen.size, cycles.size)
        wrong = np.flatnonzero(seen[:count] != cycles[:count])
        if wrong.size:
            p = int(wrong[0])
            return f"{name} starts pixel {p} in cycle {seen[p]} in RTL, {cycles[p]} in the recurrence"
    return ""

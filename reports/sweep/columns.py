"""The columns of a sweep's rows: name, unit, which way is better. One list, that store, front and page read."""

from typing import Literal

import msgspec

from hw.errors import BadInput, nearest

Better = Literal["less", "more", ""]


class Column(msgspec.Struct, frozen=True):
    """A column: `group` is network, machine or figure; `text` says what it is."""

    name: str
    group: Literal["network", "machine", "figure"]
    type: Literal["number", "text"]
    unit: str
    better: Better
    text: str


def _column(
    name: str,
    group: Literal["network", "machine", "figure"],
    unit: str,
    better: Better,
    text: str,
    *,
    words: bool = False,
) -> Column:
    return Column(name, group, "text" if words else "number", unit, better, text)


NETWORK = (
    _column("network", "network", "", "", "name of the network", words=True),
    _column("role", "network", "", "", "student, teacher or given", words=True),
    _column("family", "network", "", "", "family of networks", words=True),
    _column("depth", "network", "layers", "", "as WRN-40-4's 40"),
    _column("width", "network", "", "", "as WRN-40-4's 4"),
    _column("filters", "network", "", "", "row (1xN) or full (NxN)", words=True),
    _column("n", "network", "", "", "width N of the filters"),
    _column("rows", "network", "", "", "what a vertical stride does with rows", words=True),
    _column("head", "network", "", "", "global or rows", words=True),
    _column("stem", "network", "", "", "row or full", words=True),
    _column("pacemaker", "network", "", "", "who teaches", words=True),
    _column("schedule", "network", "", "", "who teaches when", words=True),
    _column("students", "network", "", "", "1xN networks in the pacemaker"),
    _column("alpha", "network", "", "", "share of the teachers in the loss"),
    _column("temperature", "network", "", "", "of the logits"),
    _column("bits", "network", "bits", "less", "of weights and activations"),
    _column("accuracy", "network", "", "more", "on validation images, mean over seeds, as integers of these bits"),
    _column("accuracy_deviation", "network", "", "", "standard deviation over seeds"),
    _column("test_accuracy", "network", "", "", "on test images, mean over seeds; nothing is chosen by it"),
    _column("seeds", "network", "", "", "trainings"),
    _column("parameters", "network", "", "less", "of the float network"),
    _column("macs", "network", "", "less", "multiply-accumulates of the network as given"),
    _column("executed_macs", "network", "", "less", "multiply-accumulates that run, row strides lifted"),
)
MACHINE = (
    _column("machine", "machine", "", "", "name of the machine", words=True),
    _column("kind", "machine", "", "", "pipeline or line_engine", words=True),
    _column("clock_mhz", "machine", "MHz", "", "clock"),
)
FIGURES = (
    _column("latency_cycles", "figure", "cycles", "less", "from the first pixel to the last logit"),
    _column("interval_cycles", "figure", "cycles", "less", "between frames"),
    _column("latency_ms", "figure", "ms", "less", "from the first pixel to the last logit"),
    _column("frames_per_second", "figure", "1/s", "more", "at full rate"),
    _column("multipliers", "figure", "", "less", "of all engines, or of the array"),
    _column("line_memory_bytes", "figure", "bytes", "less", "all that holds pixels on chip"),
    _column("weight_bytes", "figure", "bytes", "less", "weights of the network"),
    _column(
        "on_chip_bytes", "figure", "bytes", "less", "line memory and weights, or an engine's two memories as built"
    ),
    _column("dram_bytes", "figure", "bytes", "less", "moved a frame; a pipeline moves none"),
    _column("energy_uj", "figure", "uJ", "less", "of a frame, an estimate by the table named"),
    _column("lut", "figure", "", "less", "look-up tables of the RTL pipeline, an estimate"),
    _column("ff", "figure", "", "less", "flip-flops of the RTL pipeline, an estimate"),
    _column("dsp", "figure", "", "less", "DSPs of the RTL pipeline, an estimate"),
    _column("bram18", "figure", "", "less", "block RAMs of 18 kbit of the RTL pipeline, an estimate"),
)
ALL = {column.name: column for column in (*NETWORK, *MACHINE, *FIGURES)}
PIPELINE_ONLY = frozenset({"lut", "ff", "dsp", "bram18"})


def objective(name: str) -> Column:
    """A column that can be an objective.

    Raises:
        BadInput: no such column, or neither way of it is better.
    """
    known = [column.name for column in ALL.values() if column.better]
    if name not in known:
        raise BadInput(f"objective {name}: no such one{nearest(name, known)}")
    return ALL[name]

"""One way to simulate: any network on any machine."""

from pathlib import Path

from hw import onnx_file, presets, student
from hw.accelerator import Budget, LineEngine, Machine, Pipeline, Source
from hw.errors import BadInput
from hw.network import INPUT, Network
from hw.passes import executed
from hw.student import Student
from sim import engine, fifos, folding, kernels_engine, kernels_pipeline, kernels_turns, line_sensor, pipeline, sensor
from sim.fifos import Sizing
from sim.result import Precision, Result
from sim.sensor import Watch

KERNELS = kernels_pipeline, kernels_engine, kernels_turns


def simulate(network: Network, machine: Machine, precision: Precision = Precision()) -> Result:
    """Cycles and bytes of a network on a machine, in the form that hardware runs (batch norms folded, strides lifted).

    Raises:
        BadInput: the machine does not belong to the network, or one of both is something else.
        DoesNotFit: the machine is too small for it.
        Deadlock: the pipeline stops for ever.
    """
    if not isinstance(network, Network):
        cure = ", which its field `network` is" if isinstance(getattr(network, "network", None), Network) else ""
        raise BadInput(f"network: a {type(network).__name__} was found; a hw.network.Network is wanted{cure}")
    if not isinstance(machine, Machine):
        raise BadInput(f"machine: a {type(machine).__name__} was found; hw.accelerator.machine(name) makes a machine")
    form = executed(network)
    if isinstance(machine, LineEngine):
        return engine.simulate(network, form, machine, precision)
    return pipeline.simulate(network, form, folding.settled(form, machine, precision), precision)


def size_fifos(
    network: Network, machine: Pipeline | Budget, precision: Precision = Precision()
) -> tuple[Pipeline, Sizing]:
    """A network's pipeline and the sizing of its FIFOs, in the form that hardware runs.

    Raises:
        PacemakerError: as `sim.fifos.size`.
    """
    form = executed(network)
    made = folding.settled(form, machine, precision)
    return made, fifos.size(form, made, precision)


def watch(network: Network, machine: Machine, source: Source, precision: Precision = Precision()) -> Watch:
    """A network on a machine behind a sensor, in the form that hardware runs.

    Raises:
        PacemakerError: as `sim.sensor.watch` and `sim.line_sensor.watch`.
    """
    form = executed(network)
    if isinstance(machine, LineEngine):
        return line_sensor.watch(form, machine, source, precision)
    return sensor.watch(form, folding.settled(form, machine, precision), source)


def named(name: str) -> tuple[Network, Precision]:
    """The student of a run's folder, with its own bits; the network of an ONNX file; or a preset's architecture.

    Raises:
        BadInput: none of these, or an ONNX file that cannot be read.
        UnsupportedLayer: the ONNX file has an operation that no machine here executes.
    """
    if name.endswith(".onnx"):
        return onnx_file.read(Path(name)), Precision()
    for folder in (Path(name) / "student", Path(name)):
        if (folder / "student.json").is_file():
            made = student.load(folder)
            return made.network, precision_of(made)
    return presets.preset(name), Precision()


def precision_of(made: Student) -> Precision:
    """Bits of a student's widest result, its logits apart, of its widest weight and of its input."""
    ends = INPUT, made.network.output.name
    pixels = made.formats[INPUT].out.width
    inner = [formats.out.width for name, formats in made.formats.items() if name not in ends]
    weights = [formats.weight.width for formats in made.formats.values() if formats.weight is not None]
    return Precision(max(inner, default=pixels), max(weights, default=1), pixels)


def compiling() -> bool:
    """Whether this process compiles a simulator's kernel, or has compiled one: numba's disk cache had it not."""
    counted = (getattr(kernel, "stats", None) for module in KERNELS for kernel in vars(module).values())
    return any(stats.cache_misses for stats in counted if stats is not None)

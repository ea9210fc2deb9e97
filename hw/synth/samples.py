"""Single engines and FIFOs drawn at random, which the estimate is fitted on and tested with, and their synthesis."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from random import Random
from typing import Literal

import msgspec
import numpy as np

from hw.accelerator import Engine, Fifo, Pipeline, Ram
from hw.files import write_text
from hw.fixed import Format, Integers, LayerFormats, accumulator_width
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.rtl import engines
from hw.rtl.engines import Parameters
from hw.student import Student


@dataclass(frozen=True)
class Sample:
    """A module with its parameters and the texts of its ROMs by file; `name` tells it from the others of a set."""

    name: str
    kind: str
    module: str
    parameters: Parameters
    roms: dict[str, str]


def sample(kind: str, seed: int) -> Sample:
    """A random engine or FIFO of a kind; one seed, one sample."""
    rng = Random(f"{kind} {seed}")
    name = f"{kind}_{seed}"
    if kind == "fifo":
        return Sample(name, kind, "pm_fifo", _fifo(rng), {})
    rows, cols = rng.choice((4, 8, 16)), rng.choice((8, 14, 32, 64, 160))
    shape = Shape(rows, cols, rng.choice((3, 4, 8, 16, 24, 32, 64)))
    layers = _layers(rng, kind, shape)
    network = Network(kind, shape, layers)
    student = drawn_student(network, rng, rng.choice((4, 6, 8, 8)), rng.choice((4, 6, 8, 8)))
    return _sample(name, rng, student, _folding(rng, network, layers[-1]))


def conv_sample(shape: Shape, kernel: tuple[int, int], outputs: int, engine: Engine, bits: int = 8) -> Sample:
    """One conv of "same" padding, stride 1 and ReLU, with this folding and so many bits everywhere."""
    network = Network("conv", shape, (conv(kernel, (1, 1), outputs, padded=True),))
    name = f"conv_{kernel[0]}x{kernel[1]}_{shape.cols}_{engine.pe}x{engine.simd}"
    return _sample(name, Random(name), drawn_student(network, Random(name), bits, bits, bell=False), engine)


def _sample(name: str, rng: Random, student: Student, folding: Engine) -> Sample:
    network, last = student.network, student.network.layers[-1]
    ram: Ram = rng.choice(("lut", "lut", "block"))
    edges = [*map(str, network.edges), f"{last.name} -> output"]
    folds = {each.name: folding if each is last else Engine(1) for each in network.layers}
    pipeline = Pipeline("sample", 100.0, folds, {edge: Fifo(2, ram) for edge in edges})
    made = engines.instance(student, pipeline, last, name)
    return Sample(name, last.kind, made.module, made.parameters, made.roms)


def write_set(samples: Sequence[Sample], folder: Path) -> list[str]:
    """Write a top `samples` that holds every sample once, and all modules; the sources in order."""
    sources = modules()
    for name, text in sources.items():
        write_text(folder / name, text)
    lines = ["module samples;"]
    for each in samples:
        for file, text in each.roms.items():
            write_text(folder / file, text)
        parameters = ", ".join(f".{key}({value})" for key, value in each.parameters.items())
        lines.append(f"    (* keep *) {each.module} #({parameters}) {each.name} ();")
    write_text(folder / "samples.sv", "\n".join([*lines, "endmodule"]) + "\n")
    return [*sources, "samples.sv"]


def modules() -> dict[str, str]:
    """The modules of `hw/rtl` by file."""
    entries = sorted(resources.files("hw.rtl").iterdir(), key=lambda entry: entry.name)
    return {entry.name: entry.read_text() for entry in entries if entry.name.endswith(".sv")}


def used(module: str) -> list[str]:
    """The texts of a module and of all that it instantiates."""
    texts = {name.removesuffix(".sv"): text for name, text in modules().items()}
    found, left = {module}, [module]
    while left:
        text = texts[left.pop()]
        new = {name for name in texts if name not in found and name in text}
        found |= new
        left += new
    return [texts[name] for name in sorted(found)]


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _layers(rng: Random, kind: str, shape: Shape) -> tuple[Layer, ...]:
    if kind == "conv":
        kernel = rng.choice(((1, 1), (1, 3), (1, 3), (3, 3), (3, 3), (1, 5), (5, 5), (3, 1)))
        kernel = (min(kernel[0], shape.rows - 1), kernel[1])
        stride, outputs = rng.choice(((1, 1), (1, 1), (1, 2), (2, 2))), rng.choice((4, 8, 10, 16, 32, 64))
        padded = rng.random() < 0.8
        return (conv(kernel, stride, outputs, padded),)
    if kind == "depthwise":
        kernel = rng.choice(((1, 3), (3, 3), (1, 5), (5, 5)))
        made = conv((min(kernel[0], shape.rows - 1), kernel[1]), rng.choice(((1, 1), (1, 2), (2, 2))), 0, padded=True)
        return (msgspec.structs.replace(made, kind="depthwise"),)
    if kind == "affine":
        return (Layer("e", "affine", (INPUT,), relu=True),)
    if kind in ("add", "concat"):
        joined: Literal["add", "concat"] = "add" if kind == "add" else "concat"
        return (Layer("a", "affine", (INPUT,)), Layer("e", joined, ("a", INPUT)))
    if kind == "table":
        return (Layer("e", "table", (INPUT,), function=rng.choice(("hardswish", "leaky_relu:0.1", "silu"))),)
    if kind == "upsample":
        return (Layer("e", "upsample", (INPUT,), factor=Size(*rng.choice(((2, 2), (2, 2), (1, 2), (3, 3), (4, 4))))),)
    if kind == "max":
        kernel = rng.choice(((2, 2), (3, 3), (1, 2), (1, 3)))
        return (Layer("e", "max", (INPUT,), kernel=Size(*kernel), stride=Size(*rng.choice(((1, 1), kernel)))),)
    if kind == "pool_mean":
        return (Layer("e", "mean", (INPUT,), kernel=Size(*rng.choice(((3, 3), (2, 2), (1, 3)))), stride=Size(1, 1)),)
    kernel = rng.choice(((1, 2), (2, 1), (2, 2), (shape.rows, shape.cols), (1, shape.cols), (3, 3)))
    if kernel == (3, 3):
        return (Layer("e", "mean", (INPUT,), kernel=Size(3, 3), stride=Size(1, 1)),)
    return (Layer("e", "mean", (INPUT,), kernel=Size(*kernel), stride=Size(*kernel)),)


def conv(kernel: tuple[int, int], stride: tuple[int, int], outputs: int, padded: bool) -> Layer:
    """A conv with bias and ReLU on the network's input, of "same" padding or none."""
    rows, cols = kernel
    padding = Padding(rows // 2, (rows - 1) // 2, cols // 2, (cols - 1) // 2) if padded else Padding()
    return Layer("e", "conv", (INPUT,), outputs, Size(*kernel), Size(*stride), padding, relu=True, bias=True)


def _folding(rng: Random, network: Network, layer: Layer) -> Engine:
    outputs = network.shapes[layer.name].channels
    if layer.kind == "concat":
        outputs = network.input.channels
    inputs = network.input_shape(layer).channels
    pe = rng.choice([d for d in _divisors(outputs) if d <= 16])
    if layer.kind in ("max", "mean") and layer.taps * pe > 40 and not layer.accumulates:
        pe = 1
    if layer.kind == "depthwise":
        return Engine(pe, rng.choice([simd for simd in _divisors(layer.taps) if simd * pe <= 64]))
    if layer.kind != "conv":
        return Engine(min(pe, 8) if outputs % min(pe, 8) == 0 else 1)
    simds = [*_divisors(inputs), *(inputs * t for t in _divisors(layer.taps) if t > 1)]
    simds = [simd for simd in simds if simd * pe <= 64]
    return Engine(pe, rng.choice(simds or [1]))


def drawn_student(
    network: Network, rng: Random, activation_bits: int, weight_bits: int, *, bell: bool = True
) -> Student:
    """Weights spread as trained ones are (a bell, a quarter of the largest wide) or evenly, and formats that fit sums.

    ROMs in logic take fewer LUTs for a bell, since the high bits of most weights are equal.
    """
    numbers = np.random.default_rng(rng.getrandbits(32))
    # Of numbers without sign most activations are the identity, which is no ROM.
    signed = rng.random() < 0.25 or network.output.kind == "table"
    source = Format(activation_bits, 0, signed)
    formats = {INPUT: LayerFormats(source)}
    integers: dict[str, Integers] = {}
    for layer in network.layers:
        if not layer.weighted:
            fraction = formats[layer.inputs[0]].out.fraction - rng.choice((0, 0, 1))
            formats[layer.name] = LayerFormats(Format(activation_bits, activation_bits - fraction, signed))
            continue
        high = (1 << (weight_bits - 1)) - 1
        shapes = network.weight_shapes(layer)
        weight = numbers.integers(-high, high + 1, shapes["weight"])
        if bell:
            weight = np.clip(np.rint(numbers.normal(0, high / 4, shapes["weight"])), -high, high).astype(np.int64)
        typical = int(np.sqrt(np.prod(shapes["weight"][:-1])) * high * source.high / 3) + 1
        integers[f"{layer.name}.weight"] = weight
        if "bias" in shapes:
            integers[f"{layer.name}.bias"] = numbers.integers(-typical, typical + 1, shapes["bias"])
        sums = np.abs(weight).reshape(-1, weight.shape[-1]).sum(axis=0)
        width = accumulator_width(int((sums * max(source.high, -source.low)).max()) + typical)
        fraction = source.fraction + weight_bits - 1
        shift = max(0, typical.bit_length() + 1 - activation_bits)
        out = Format(activation_bits, activation_bits - (fraction - shift), signed=not layer.relu)
        formats[layer.name] = LayerFormats(out, Format(weight_bits, 1), Format(width, width - fraction))
    images = np.zeros((1, *network.input), np.int64)
    outputs = np.zeros((1, *network.shapes[network.output.name]), np.int64)
    return Student(network, formats, integers, images, np.zeros(1, np.int64), outputs, {"made_by": "samples"})


def _fifo(rng: Random) -> Parameters:
    channels = rng.choice((1, 4, 8, 16, 32, 64))
    small = [d for d in _divisors(channels) if d <= 32]
    latency = rng.choice((0, 0, 0, 1))
    depth = rng.choice((70, 200, 600)) if latency else rng.choice((1, 2, 2, 3, 4, 6, 8, 16, 40))
    return {
        "CHANNELS": channels,
        "BITS": rng.choice((4, 6, 8, 8)),
        "WRITE": rng.choice(small),
        "READ": rng.choice(small),
        "DEPTH": depth,
        "LATENCY": latency,
    }

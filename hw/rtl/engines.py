"""Which module executes a layer, with which parameters and ROMs."""

from dataclasses import dataclass, field
from math import isqrt

import numpy as np

from hw import functions
from hw.accelerator import Engine, Pipeline
from hw.errors import UnsupportedLayer
from hw.fit import window_pixels
from hw.fixed import Format, Integers, accumulator_width
from hw.network import Edge, Layer, Network
from hw.student import Student, accumulator

Parameters = dict[str, int | str]


@dataclass(frozen=True)
class Instance:
    """A module with its parameters, and the texts of its ROMs by file."""

    module: str
    engine: Engine
    parameters: Parameters
    roms: dict[str, str] = field(default_factory=dict)


def instance(student: Student, pipeline: Pipeline, layer: Layer, name: str) -> Instance:
    """The engine of a layer; its ROMs are `<name>_weights.hex` and `<name>_biases.hex`, or `<name>_table.hex`."""
    engine = pipeline.engines[layer.name]
    if layer.kind == "conv":
        return _conv(student, pipeline, layer, engine, name)
    if layer.kind == "depthwise":
        return _depthwise(student, pipeline, layer, engine, name)
    if layer.kind == "affine":
        return _affine(student, pipeline, layer, engine, name)
    if layer.kind in ("add", "concat"):
        return Instance("pm_join", engine, _join(student, pipeline, layer, engine))
    if layer.kind == "table":
        return _table(student, pipeline, layer, engine, name)
    if layer.kind == "upsample":
        return Instance("pm_upsample", engine, _upsample(student, pipeline, layer, engine))
    return Instance("pm_mean" if layer.accumulates else "pm_pool", engine, _pool(student, pipeline, layer, engine))


def read_channels(network: Network, layer: Layer, engine: Engine) -> int:
    """Channels of a word that a layer reads from its FIFOs."""
    if layer.kind == "conv":
        return min(engine.simd, network.input_shape(layer).channels)
    return engine.pe


def _latency(pipeline: Pipeline, source: str, layer: Layer) -> int:
    return pipeline.fifos[str(Edge(source, layer.name))].read_latency_cycles


def _result(student: Student, layer: Layer) -> Parameters:
    out = student.formats[layer.name].out
    return {"OUT_BITS": out.width, "OUT_SIGNED": int(out.signed)}


def _input(student: Student, pipeline: Pipeline, layer: Layer) -> Parameters:
    fmt = student.formats[layer.inputs[0]].out
    latency = _latency(pipeline, layer.inputs[0], layer)
    return {"IN_BITS": fmt.width, "IN_SIGNED": int(fmt.signed), "LATENCY": latency}


def geometry(network: Network, layer: Layer) -> Parameters:
    """Sizes of a windowed layer's maps and kernel."""
    source, target = network.input_shape(layer), network.shapes[layer.name]
    return {
        "ROWS": source.rows,
        "COLS": source.cols,
        "CHANNELS": source.channels,
        "OUT_ROWS": target.rows,
        "OUT_COLS": target.cols,
        "KERNEL_ROWS": layer.kernel.rows,
        "KERNEL_COLS": layer.kernel.cols,
    }


def steps(layer: Layer) -> Parameters:
    """How its window walks."""
    return {
        "STRIDE_ROWS": layer.stride.rows,
        "STRIDE_COLS": layer.stride.cols,
        "TOP": layer.padding.top,
        "LEFT": layer.padding.left,
    }


def _conv(student: Student, pipeline: Pipeline, layer: Layer, engine: Engine, name: str) -> Instance:
    network = student.network
    sums = accumulator(student, layer)
    parameters = {
        **geometry(network, layer),
        **steps(layer),
        "OUT_CHANNELS": network.shapes[layer.name].channels,
        "CAPACITY": window_pixels(network, pipeline, layer),
        "PE": engine.pe,
        "SIMD": engine.simd,
        "RADIX": _radix(engine.simd),
        **_input(student, pipeline, layer),
        **_products(student, layer, sums, name),
        **_result(student, layer),
    }
    weight = student.integers[f"{layer.name}.weight"]
    bias = student.integers.get(f"{layer.name}.bias", np.zeros(weight.shape[3], np.int64)).reshape(-1, engine.pe)
    return Instance("pm_conv", engine, parameters, _roms(student, layer, name, _conv_words(weight, engine), bias, sums))


def _depthwise(student: Student, pipeline: Pipeline, layer: Layer, engine: Engine, name: str) -> Instance:
    network = student.network
    sums = accumulator(student, layer)
    parameters = {
        **geometry(network, layer),
        **steps(layer),
        "CAPACITY": window_pixels(network, pipeline, layer),
        "PE": engine.pe,
        "SIMD": engine.simd,
        "RADIX": _radix(engine.simd),
        **_input(student, pipeline, layer),
        **_products(student, layer, sums, name),
        **_result(student, layer),
    }
    weight = student.integers[f"{layer.name}.weight"]
    bias = student.integers.get(f"{layer.name}.bias", np.zeros(weight.shape[2], np.int64)).reshape(-1, engine.pe)
    words = _conv_words(weight[:, :, None], engine)
    return Instance("pm_depthwise", engine, parameters, _roms(student, layer, name, words, bias, sums))


def _affine(student: Student, pipeline: Pipeline, layer: Layer, engine: Engine, name: str) -> Instance:
    sums = accumulator(student, layer)
    parameters = {
        "CHANNELS": student.network.shapes[layer.name].channels,
        "PE": engine.pe,
        **_input(student, pipeline, layer),
        **_products(student, layer, sums, name),
        **_result(student, layer),
    }
    weight = student.integers[f"{layer.name}.weight"].reshape(-1, engine.pe)
    bias = student.integers[f"{layer.name}.bias"].reshape(-1, engine.pe)
    return Instance("pm_affine", engine, parameters, _roms(student, layer, name, weight, bias, sums))


def _table(student: Student, pipeline: Pipeline, layer: Layer, engine: Engine, name: str) -> Instance:
    source, out = student.formats[layer.inputs[0]].out, student.formats[layer.name].out
    parameters = table_widths(student.network, layer, source, out)
    parameters |= {
        "LATENCY": _latency(pipeline, layer.inputs[0], layer),
        "PE": engine.pe,
        "TABLE": f'"{name}_table.hex"',
    }
    words = functions.rom(layer.function, source, out).reshape(-1, 1)
    return Instance("pm_table", engine, parameters, {f"{name}_table.hex": hex_words(words, out.width)})


def table_widths(network: Network, layer: Layer, source: Format, out: Format) -> Parameters:
    """A table's channels and the bits of what it reads and makes."""
    return {"CHANNELS": network.shapes[layer.name].channels, "IN_BITS": source.width, "OUT_BITS": out.width}


def _upsample(student: Student, pipeline: Pipeline, layer: Layer, engine: Engine) -> Parameters:
    return {
        **upsample_sizes(student.network, layer),
        "CAPACITY": window_pixels(student.network, pipeline, layer),
        "PE": engine.pe,
        **_input(student, pipeline, layer),
        "SHIFT": student.fraction(layer.inputs[0]) - student.fraction(layer.name),
        **_result(student, layer),
    }


def upsample_sizes(network: Network, layer: Layer) -> Parameters:
    """Sizes of an upsample's input, and its factor."""
    rows, cols, channels = network.input_shape(layer)
    sizes = {"ROWS": rows, "COLS": cols, "CHANNELS": channels}
    return {**sizes, "FACTOR_ROWS": layer.factor.rows, "FACTOR_COLS": layer.factor.cols}


def _products(student: Student, layer: Layer, sums: Format, name: str) -> Parameters:
    weight = student.formats[layer.name].weight
    assert weight is not None
    if not weight.signed:
        raise UnsupportedLayer(f"layer {layer.name}: weights of {weight} were found, the RTL wants a signed format")
    return {
        "WEIGHT_BITS": weight.width,
        "SUM_BITS": sums.width,
        "SHIFT": student.product_fraction(layer) - student.fraction(layer.name),
        "WEIGHTS": f'"{name}_weights.hex"',
        "BIASES": f'"{name}_biases.hex"',
    }


def _conv_words(weight: Integers, engine: Engine) -> Integers:
    """Weights (rows, cols, inputs, outputs) as words (issue cycles, PE x SIMD), the order in which `pm_conv` asks.

    `pm_depthwise` asks in the same order for a conv of one input.
    """
    rows, cols, inputs, outputs = weight.shape
    flat = weight.reshape(rows * cols * inputs, outputs)
    chunks = flat.reshape(-1, engine.simd, outputs // engine.pe, engine.pe)
    return chunks.transpose(2, 0, 3, 1).reshape(-1, engine.pe * engine.simd)


def _roms(student: Student, layer: Layer, name: str, words: Integers, biases: Integers, sums: Format) -> dict[str, str]:
    weight = student.formats[layer.name].weight
    assert weight is not None
    return {
        f"{name}_weights.hex": hex_words(words, weight.width),
        f"{name}_biases.hex": hex_words(biases, sums.width),
    }


def hex_words(words: Integers, bits: int) -> str:
    """A line a word for `$readmemh`: the first number of a word in its lowest bits."""
    mask = (1 << bits) - 1
    return "".join(f"{_packed(row, bits, mask):x}\n" for row in words.tolist())


def _packed(row: list[int], bits: int, mask: int) -> int:
    total = 0
    for value in reversed(row):
        total = total << bits | value & mask
    return total


def _join(student: Student, pipeline: Pipeline, layer: Layer, engine: Engine) -> Parameters:
    formats = [student.formats[name].out for name in layer.inputs]
    finest = max(fmt.fraction for fmt in formats)
    aligns = [finest - fmt.fraction for fmt in formats]
    ends = np.cumsum([student.network.shapes[name].channels // engine.pe for name in layer.inputs]).tolist()
    widest = max(fmt.width + align for fmt, align in zip(formats, aligns, strict=True))
    count = len(formats)
    return {
        "ADD": int(layer.kind == "add"),
        "INPUTS": count,
        "CHANNELS": student.network.shapes[layer.name].channels,
        "PE": engine.pe,
        "IN_BITS": max(fmt.width for fmt in formats),
        "IN_SIGNED": _bits([int(fmt.signed) for fmt in formats], 1),
        "LATENCY": _bits([_latency(pipeline, name, layer) for name in layer.inputs], 1),
        "ALIGN": _bits(aligns, 32),
        "ENDS": _bits(ends, 32),
        "SUM_BITS": widest + 1 + count.bit_length(),
        "SHIFT": finest - student.fraction(layer.name),
        **_result(student, layer),
    }


def _bits(values: list[int], width: int) -> str:
    """Numbers as one literal, the first in the lowest bits."""
    return f"{width * len(values)}'h{_packed(values, width, (1 << width) - 1):x}"


def _pool(student: Student, pipeline: Pipeline, layer: Layer, engine: Engine) -> Parameters:
    network = student.network
    parameters: Parameters = {
        **geometry(network, layer),
        "PE": engine.pe,
        **_input(student, pipeline, layer),
        **_result(student, layer),
    }
    if layer.kind == "max":
        parameters["SHIFT"] = student.fraction(layer.inputs[0]) - student.fraction(layer.name)
    else:
        parameters |= divider(student, layer)
    if layer.accumulates:
        return parameters
    capacity = window_pixels(network, pipeline, layer)
    return {
        **parameters,
        **steps(layer),
        "MEAN": int(layer.kind == "mean"),
        "CAPACITY": capacity,
        "RADIX": _radix(layer.taps),
    }


def _radix(count: int) -> int:
    """The least number that, squared, is at least `count`: two steps of so many then reduce them to one."""
    return isqrt(count - 1) + 1


def division(student: Student, layer: Layer) -> dict[str, int]:
    """Constants with which a mean is exact: (sum * 2^UP + ADDEND) * MULTIPLIER >> DROP, less ZERO.

    The result is floor(n / d) with n = 2 sum 2^up + den, d = 2 den, den = taps 2^down. With m = ceil(2^k / d) and
    2^k >= d 2^b, floor(n m / 2^k) equals it for all 0 <= n < 2^b: the error n (m d - 2^k) / (d 2^k) is below 1 / d.
    Negative sums are lifted by d times a whole `zero`, which is taken off the quotient again.
    """
    source, out = student.formats[layer.inputs[0]].out, student.formats[layer.name].out
    move = out.fraction - source.fraction
    up, den = max(move, 0) + 1, layer.taps << max(-move, 0)
    d = 2 * den
    least, most = (bound * layer.taps << up for bound in (source.low, source.high))
    zero = -((least + den) // d) if least + den < 0 else 0
    addend = den + d * zero
    bits = (most + addend).bit_length()
    k = bits + (d - 1).bit_length()
    multiplier = -(-(1 << k) // d)
    if max(addend, multiplier).bit_length() > 64:
        raise UnsupportedLayer(
            f"layer {layer.name}: a mean of {layer.taps} pixels needs constants of more than 64 bits"
        )
    return {
        "SUM_BITS": accumulator_width(layer.taps * max(source.high, -source.low)),
        "UP": up,
        "WORK_BITS": bits + multiplier.bit_length() + 1,
        "ADDEND": addend,
        "MULTIPLIER": multiplier,
        "DROP": k,
        "ZERO": zero,
    }


def divider(student: Student, layer: Layer) -> Parameters:
    """Parameters of `pm_divide`: `division` multiplied out, so that nothing comes before the product.

    It is sum * MULTIPLIER + OFFSET >> DROP, since floor(a) - zero = floor(a - zero).
    """
    found, source = division(student, layer), student.formats[layer.inputs[0]].out
    multiplier = found["MULTIPLIER"] << found["UP"]
    offset = found["ADDEND"] * found["MULTIPLIER"] - (found["ZERO"] << found["DROP"])
    if multiplier.bit_length() > 64 or offset.bit_length() > 127:
        raise UnsupportedLayer(
            f"layer {layer.name}: a mean of {layer.taps} pixels needs constants of more than 64 bits"
        )
    sums = [layer.taps * bound for bound in (source.low, source.high)]
    widest = max(abs(total * multiplier + term) for total in sums for term in (0, offset))
    return {
        "SUM_BITS": found["SUM_BITS"],
        "MULTIPLIER_BITS": multiplier.bit_length(),
        "WORK_BITS": max(widest.bit_length(), found["DROP"]) + 1,
        "MULTIPLIER": f"64'h{multiplier:x}",
        "OFFSET": f"128'h{offset % (1 << 128):x}",
        "DROP": found["DROP"],
    }

"""`Student` -> hls4ml's layer list, and the type of every number in it.

Types (hls4ml truncates and wraps where nothing else is said, so everything is said):
- a result rounds half up and saturates: `ap_ufixed<w, i, AP_RND, AP_SAT>`; saturation at 0 is the ReLU;
- weights and biases lie on their grids as they are;
- accumulators hold every sum that the weights allow;
- a mean truncates its quotient on the accumulator's grid before it rounds to the result. That gives the rounding of
  the exact quotient when the grid is finer than the distance of any quotient from a rounding boundary, which is at
  least 1 / (N 2**max(f_in, f_out + 1)) for N terms.
"""

import re
from collections.abc import Mapping

import numpy as np

from hw.errors import BadInput, UnsupportedLayer
from hw.fixed import Floats, Format, accumulator_width, dequantise
from hw.hls.backends import ADDERS, AUTO, PARALLEL, STREAM, Strategy
from hw.network import INPUT, Layer, Shape
from hw.student import Student, accumulator

Attributes = dict[str, object]
IMAGE = "image"
COPIES = 7


def identifiers(names: tuple[str, ...]) -> dict[str, str]:
    """A C identifier for each name: unique without regard to case, as hls4ml compares them."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = IMAGE if name == INPUT else re.sub(r"\W", "_", name, flags=re.ASCII)
        stem = stem if stem[:1].isalpha() else f"l_{stem}"
        word, count = stem, 2
        while word.lower() in taken:
            word, count = f"{stem}_{count}", count + 1
        taken.add(word.lower())
        found[name] = word
    return found


def layer_list(
    student: Student, names: Mapping[str, str], io_type: str = STREAM, strategy: Strategy = AUTO
) -> list[Attributes]:
    """The layers as hls4ml's `ModelGraph.from_layer_list` wants them: channels last, weights as floats on their grids.

    Raises:
        UnsupportedLayer: a kind, a pooling or a fork that hls4ml's streams do not execute.
    """
    for name, readers in student.network.consumers.items():
        if len(readers) > COPIES:
            raise UnsupportedLayer(f"layer {name}: {len(readers)} layers read it; hls4ml copies to {COPIES} at most")
    shape = student.network.shapes[INPUT]
    image: Attributes = {"class_name": "InputLayer", "name": names[INPUT], "input_shape": list(shape)}
    nodes = [_node(student, layer, names) for layer in student.network.layers]
    if io_type == PARALLEL:
        nodes = [tell_products(keep_rows_and_columns(node)) for node in nodes]
    elif strategy == ADDERS:
        nodes = [dense_of_a_pixel(node) for node in nodes]
    return [image, *nodes]


def keep_rows_and_columns(node: Attributes) -> Attributes:
    """A mean over the whole map as one of a window, whose result is 1 x 1 x channels and no list of channels.

    In io_parallel hls4ml's `generate_conv_im2col` asks a convolution's input for its columns, and stops without them.
    In io_stream the window would keep the whole map in a line buffer, the global mean one sum a channel.
    """
    if node["class_name"] != "GlobalAveragePooling2D":
        return node
    rows, cols = node["in_height"], node["in_width"]
    window = {"stride_height": rows, "stride_width": cols, "pool_height": rows, "pool_width": cols}
    padding: Attributes = dict.fromkeys(("pad_top", "pad_bottom", "pad_left", "pad_right"), 0)
    return node | window | padding | {"class_name": "AveragePooling2D", "out_height": 1, "out_width": 1}


def tell_products(node: Attributes) -> Attributes:
    """A convolution that tells the terms and outputs of its products.

    Quartus' `print_array_to_cpp` asks for them where more than 2048 weights are used more than once, and stops without.
    """
    if node["class_name"] != "Conv2D":
        return node
    rows, cols, channels, outputs = np.shape(node["weight_data"])  # type: ignore[call-overload]
    return node | {"n_in": rows * cols * channels, "n_out": outputs}


def dense_of_a_pixel(node: Attributes) -> Attributes:
    """A 1x1 convolution of a single pixel as a dense layer.

    hls4ml's `distributed_arithmetic` pads and slides over rows and columns, which the result of a global mean has not.
    """
    extents = ("in_height", "in_width", "filt_height", "filt_width")
    if node["class_name"] != "Conv2D" or any(node[key] != 1 for key in extents):
        return node
    kept = ("name", "inputs", "data_format", "use_bias", "bias_data")
    weight = np.asarray(node["weight_data"])
    sizes: Attributes = {
        "n_in": node["n_chan"],
        "n_out": node["n_filt"],
        "weight_data": weight.reshape(weight.shape[2:]),
    }
    return {key: node[key] for key in kept} | sizes | {"class_name": "Dense"}


def precisions(student: Student, layer: Layer) -> dict[str, str]:
    """hls4ml's precision strings of a layer, by variable."""
    out, source = student.formats[layer.name].out, student.formats[layer.inputs[0]].out
    types = {"result": result_type(out)}
    if layer.kind in ("conv", "affine"):
        types |= {"weight" if layer.kind == "conv" else "scale": exact_type(_weight_format(student, layer))}
        types |= {"bias": exact_type(_widened(_bias_format(student, layer), out))}
        return types | {"accum": exact_type(_widened(accumulator(student, layer), out))}
    sums = _mean_accumulator(student, layer) if layer.kind == "mean" else source
    return types | {"accum": exact_type(_widened(sums, out))}


def result_type(fmt: Format) -> str:
    """The type of a result: rounded half up, saturated."""
    return exact_type(fmt).replace(">", ",AP_RND,AP_SAT>")


def exact_type(fmt: Format) -> str:
    """The type of numbers that are on the grid and in the range already."""
    return f"ap_{'' if fmt.signed else 'u'}fixed<{fmt.width},{fmt.integer}>"


def _widened(fmt: Format, out: Format) -> Format:
    """`fmt` with a bit above the first that `out` drops: `ap_fixed` looks there, and aborts where there is none."""
    width = max(fmt.width, fmt.fraction - out.fraction + 1)
    return Format(width, width - fmt.fraction, fmt.signed)


def _bias_format(student: Student, layer: Layer) -> Format:
    bias = student.integers.get(f"{layer.name}.bias", np.zeros(1, np.int64))
    width = max(2, accumulator_width(int(np.abs(bias).max())))
    return Format(width, width - student.product_fraction(layer))


def _mean_accumulator(student: Student, layer: Layer) -> Format:
    source, out = student.formats[layer.inputs[0]].out, student.formats[layer.name].out
    terms = (layer.taps - 1).bit_length()
    integer = source.integer + terms
    fraction = max(source.fraction, out.fraction + 1) + terms
    return Format(max(integer + fraction, 1), integer, source.signed)


def _node(student: Student, layer: Layer, names: Mapping[str, str]) -> Attributes:
    common: Attributes = {"name": names[layer.name], "inputs": [names[source] for source in layer.inputs]}
    common["data_format"] = "channels_last"
    if layer.kind == "conv":
        return common | _conv(student, layer)
    if layer.kind == "affine":
        return common | _affine(student, layer)
    if layer.kind == "add":
        return common | {"class_name": "Merge", "op": "add"}
    if layer.kind in ("mean", "max"):
        return common | _pool(student, layer)
    raise refusal(layer)


def refusal(layer: Layer) -> UnsupportedLayer:
    """Of a kind that is not generated."""
    if layer.kind == "table":
        return UnsupportedLayer(
            f"layer {layer.name}: a table of {layer.function} is not generated for HLS, whose own tables round in "
            "another way; a ReLU would do, or --target rtl"
        )
    return UnsupportedLayer(
        f"layer {layer.name}: an upsample of {layer.factor.rows}x{layer.factor.cols} is not generated for HLS; "
        "--target rtl would do"
    )


def _conv(student: Student, layer: Layer) -> Attributes:
    source, target = _shapes(student, layer)
    weight, bias = _numbers(student, layer)
    return {
        "class_name": "Conv2D",
        **_extents(layer, source, target),
        "n_chan": source.channels,
        "filt_height": layer.kernel.rows,
        "filt_width": layer.kernel.cols,
        "use_bias": True,
        "weight_data": weight,
        "bias_data": bias,
    }


def _affine(student: Student, layer: Layer) -> Attributes:
    shape = student.network.shapes[layer.name]
    scale, bias = _numbers(student, layer)
    size = shape.pixels * shape.channels
    return {
        "class_name": "BatchNormalization",
        "n_in": size,
        "n_filt": shape.channels,
        "scale_data": scale,
        "bias_data": bias,
    }


def _pool(student: Student, layer: Layer) -> Attributes:
    source, target = _shapes(student, layer)
    kind = "Average" if layer.kind == "mean" else "Max"
    if layer.kind == "mean" and layer.kernel == source[:2]:
        extents = {"in_height": source.rows, "in_width": source.cols, "n_filt": source.channels}
        return {"class_name": "GlobalAveragePooling2D", **extents}
    stride = (
        layer.kernel.rows if target.rows == 1 else layer.stride.rows,
        layer.kernel.cols if target.cols == 1 else layer.stride.cols,
    )
    if stride != tuple(layer.kernel) or any(layer.padding):
        raise UnsupportedLayer(
            f"layer {layer.name}: {layer.kind} of kernel {tuple(layer.kernel)}, stride {tuple(layer.stride)}, padding "
            f"{tuple(layer.padding)}; HLS streams pool only with a stride equal to the kernel and without padding"
        )
    return {
        "class_name": f"{kind}Pooling2D",
        **_extents(layer, source, target),
        "stride_height": stride[0],
        "stride_width": stride[1],
        "pool_height": layer.kernel.rows,
        "pool_width": layer.kernel.cols,
    }


def _shapes(student: Student, layer: Layer) -> tuple[Shape, Shape]:
    return student.network.input_shape(layer), student.network.shapes[layer.name]


def _extents(layer: Layer, source: Shape, target: Shape) -> Attributes:
    return {
        "in_height": source.rows,
        "in_width": source.cols,
        "out_height": target.rows,
        "out_width": target.cols,
        "n_filt": target.channels,
        "stride_height": layer.stride.rows,
        "stride_width": layer.stride.cols,
        "pad_top": layer.padding.top,
        "pad_bottom": layer.padding.bottom,
        "pad_left": layer.padding.left,
        "pad_right": layer.padding.right,
    }


def _numbers(student: Student, layer: Layer) -> tuple[Floats, Floats]:
    weight = student.integers[f"{layer.name}.weight"]
    bias = student.integers.get(f"{layer.name}.bias", np.zeros(weight.shape[-1], np.int64))
    return dequantise(weight, _weight_format(student, layer)), dequantise(bias, _bias_format(student, layer))


def _weight_format(student: Student, layer: Layer) -> Format:
    fmt = student.formats[layer.name].weight
    if fmt is None:  # a Student refuses this at birth
        raise BadInput(f"layer {layer.name}: it has no weight format")
    return fmt

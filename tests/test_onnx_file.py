"""ONNX files, made here node by node, as networks: axes, paddings, ReLUs, and what is refused."""

import re

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from hw.errors import BadInput, UnsupportedLayer  # noqa: E402
from hw.network import Layer, Network, Padding, Shape, Size  # noqa: E402
from hw.onnx_file import read  # noqa: E402
from hw.presets import CIFAR, preset  # noqa: E402


def model(tmp_path, nodes, shape, weights, outputs="out", opset=17):
    """A file with one input "x" [1, channels, rows, cols]."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, shape.channels, shape.rows, shape.cols])
    result = helper.make_tensor_value_info(outputs, TensorProto.FLOAT, ["any"])
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "graph", [given], [result], arrays)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path = tmp_path / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def weight(*shape):
    return np.zeros(shape, np.float32)


def node(kind, inputs, output="out", name="", **attributes):
    return helper.make_node(kind, inputs, [output], name=name, **attributes)


@pytest.mark.parametrize(("rows", "cols", "left", "right"), [(1, 3, 1, 2), (3, 1, 0, 0), (3, 5, 1, 2)])
def test_kernels_strides_and_pads_are_rows_first_on_a_map_that_is_not_square(tmp_path, rows, cols, left, right):
    conv = node("Conv", ["x", "w"], name="c", kernel_shape=[rows, cols], strides=[1, 2], pads=[0, left, 0, right])
    found = read(model(tmp_path, [conv], Shape(6, 11, 2), {"w": weight(4, 2, rows, cols)}))
    padding = Padding(top=0, bottom=0, left=left, right=right)
    assert found.layers == (Layer("c", "conv", ("input",), 4, Size(rows, cols), Size(1, 2), padding),)
    assert found.input == Shape(6, 11, 2)
    assert found.shapes["c"] == Shape(6 - rows + 1, (11 + left + right - cols) // 2 + 1, 4)


@pytest.mark.parametrize(("auto", "before", "after"), [("SAME_UPPER", 0, 1), ("SAME_LOWER", 1, 0), ("VALID", 0, 0)])
def test_automatic_padding(tmp_path, auto, before, after):
    conv = node("Conv", ["x", "w"], name="c", strides=[2, 2], auto_pad=auto)
    found = read(model(tmp_path, [conv], Shape(8, 8, 1), {"w": weight(1, 1, 3, 3)}))
    assert found.layers[0].padding == Padding(before, after, before, after)


def norm(weights, name, source, output, channels):
    names = [f"{name}.{k}" for k in ("scale", "shift", "mean", "var")]
    weights |= {key: np.ones(channels, np.float32) for key in names}
    return node("BatchNormalization", [source, *names], output, name)


def wrn_10_1(weights):
    """WRN-10-1 with 1x3 filters, rows kept, node by node."""
    nodes, stack = [], iter(range(1000))

    def conv(name, source, inputs, outputs, kernel, stride=1):
        weights[f"{name}.w"] = weight(outputs, inputs, *kernel)
        pads = [0, kernel[1] // 2] * 2
        output = f"t{next(stack)}"
        nodes.append(node("Conv", [source, f"{name}.w"], output, name, strides=[1, stride], pads=pads))
        return output

    def active(name, source, channels):
        first, second = f"t{next(stack)}", f"t{next(stack)}"
        nodes.append(norm(weights, name, source, first, channels))
        nodes.append(node("Relu", [first], second))
        return second

    x, channels = conv("stem", "x", 3, 16, (1, 3)), 16
    for group, outputs in enumerate((16, 32, 64), 1):
        stride, block = 1 + (group > 1), f"g{group}.b0"
        a = active(f"{block}.bn1", x, channels)
        y = conv(f"{block}.conv1", a, channels, outputs, (1, 3), stride)
        y = conv(f"{block}.conv2", active(f"{block}.bn2", y, outputs), outputs, outputs, (1, 3))
        if group > 1:
            x = conv(f"{block}.shortcut", a, channels, outputs, (1, 1), stride)
        nodes.append(node("Add", [y, x], f"t{(last := next(stack))}", f"{block}.add"))
        x, channels = f"t{last}", outputs
    weights |= {"fc.w": weight(100, 64), "fc.b": weight(100)}
    nodes.append(node("GlobalAveragePool", [active("bn", x, 64)], "pooled", "head.mean"))
    nodes.append(node("Flatten", ["pooled"], "flat"))
    nodes.append(node("Gemm", ["flat", "fc.w", "fc.b"], "out", "head.linear", transB=1))
    return nodes


def test_a_residual_network_is_its_preset(tmp_path):
    weights = {}
    nodes = wrn_10_1(weights)
    found = read(model(tmp_path, nodes, CIFAR, weights))
    assert found.layers == preset("wrn-10-1-1x3-keep").layers
    assert (found.name, found.input) == ("net", CIFAR)


@pytest.mark.parametrize("opset", [13, 18])
def test_means_over_columns_and_a_head_that_knows_its_rows(tmp_path, opset):
    weights = {"w": weight(10, 4, 5, 1), "axes": np.array([3])}
    mean = (
        node("ReduceMean", ["x", "axes"], "m", "mean")
        if opset > 17
        else node("ReduceMean", ["x"], "m", "mean", axes=[3])
    )
    head = node("Conv", ["m", "w"], "out", "head")
    found = read(model(tmp_path, [mean, head], Shape(5, 7, 4), weights, opset=opset))
    assert [layer.kernel for layer in found.layers] == [Size(1, 7), Size(5, 1)]
    assert found.shapes["head"] == Shape(1, 1, 10)


def test_a_product_and_its_bias_on_a_flattened_map(tmp_path):
    weights = {"w": weight(24, 5), "b": weight(5), "shape": np.array([1, -1])}
    nodes = [
        node("Reshape", ["x", "shape"], "flat"),
        node("MatMul", ["flat", "w"], "y", "dense"),
        node("Add", ["y", "b"], "out"),
    ]
    found = read(model(tmp_path, nodes, Shape(2, 3, 4), weights))
    assert found.layers == (Layer("dense", "conv", ("input",), 5, Size(2, 3), bias=True),)


def test_a_relu_of_what_others_read_too_is_a_layer(tmp_path):
    nodes = [
        node("Conv", ["x", "w"], "a", "c"),
        node("Relu", ["a"], "b", "r"),
        node("Add", ["a", "b"], "out", "s"),
    ]
    found = read(model(tmp_path, nodes, Shape(2, 2, 1), {"w": weight(2, 1, 1, 1)}))
    assert [(layer.name, layer.kind, layer.relu) for layer in found.layers] == [
        ("c", "conv", False),
        ("r", "affine", True),
        ("s", "add", False),
    ]


def test_a_relu_behind_another_name_of_what_others_read_is_a_layer_too(tmp_path):
    nodes = [
        node("Conv", ["x", "w"], "a", "c"),
        node("Identity", ["a"], "again"),
        node("Relu", ["again"], "b", "r"),
        node("Add", ["a", "b"], "out", "s"),
    ]
    found = read(model(tmp_path, nodes, Shape(2, 2, 1), {"w": weight(2, 1, 1, 1)}))
    assert [(layer.kind, layer.relu) for layer in found.layers] == [("conv", False), ("affine", True), ("add", False)]


@pytest.mark.parametrize("between", [[], ["Relu"]])
def test_a_bias_that_comes_too_late_for_its_product_is_a_layer(tmp_path, between):
    weights = {"w": weight(4, 5), "b": weight(5)}
    nodes = [
        node("Flatten", ["x"], "flat"),
        node("MatMul", ["flat", "w"], "y", "dense"),
        *(node(kind, ["y"], "z") for kind in between),
        node("Add", ["b", "z" if between else "y"], "biased", "late"),
        node("Concat", ["biased", "y"], "out", axis=1),
    ]
    if between:  # alone behind a ReLU, or read by another too
        nodes[-1] = node("Identity", ["biased"])
    found = read(model(tmp_path, nodes, Shape(1, 1, 4), weights))
    assert [(layer.name, layer.kind) for layer in found.layers][:2] == [("dense", "conv"), ("late", "affine")]


def test_a_number_a_pixel_is_no_bias(tmp_path):
    nodes = [node("Conv", ["x", "w"], "y", "c"), node("Add", ["y", "b"], "out", "late")]
    path = model(tmp_path, nodes, Shape(2, 3, 1), {"w": weight(4, 1, 1, 1), "b": weight(1, 4, 2, 3)})
    sentence = r"^layer late: Add of a constant of shape \(1, 4, 2, 3\) is not supported; a number, or one a channel "
    with pytest.raises(UnsupportedLayer, match=sentence):
        read(path)


@pytest.mark.parametrize("size", [(3,), (1, 3), (4, 1, 1), (2, 1, 1)])
def test_a_number_a_column_or_of_other_channels_is_refused(tmp_path, size):
    path = model(tmp_path, [node("Mul", ["x", "c"], name="m")], Shape(5, 3, 4), {"c": weight(*size)})
    if size == (4, 1, 1):
        assert [layer.kind for layer in read(path).layers] == ["affine"]
        return
    with pytest.raises(UnsupportedLayer, match=rf"^layer m: Mul of a constant of shape {re.escape(str(size))} is not "):
        read(path)


def test_maps_are_scaled_and_shifted_by_numbers_of_channels(tmp_path):
    weights = {"mean": weight(1, 3, 1, 1), "deviation": weight(3, 1, 1), "two": np.float32(2), "w": weight(4, 3, 1, 1)}
    nodes = [
        node("Sub", ["x", "mean"], "a", "centre"),
        node("Div", ["a", "deviation"], "b", "scale"),
        node("Mul", ["two", "b"], "c", "twice"),
        node("Cast", ["c"], "real", to=1),
        node("Identity", ["w"], "same"),
        node("Conv", ["real", "same"], "y", "c"),
        node("Add", ["y", "two"], "z", "bias"),
        node("Relu", ["z"], "r"),
        node("Add", ["r", "two"], "s", "late"),
        node("GlobalAveragePool", ["s"], "m", "mean"),
        node("Squeeze", ["m"], "out", axes=[2, 3]),
    ]
    path = model(tmp_path, nodes, Shape(4, 5, 3), weights, opset=11)
    found = [(layer.name, layer.kind, layer.bias) for layer in read(path).layers]
    affine = [(name, "affine", False) for name in ("centre", "scale", "twice", "late")]
    assert found == [*affine[:3], ("c", "conv", True), affine[3], ("mean", "mean", False)]


@pytest.mark.parametrize("extent", range(3, 12))
def test_last_windows_that_hang_over_are_counted_as_onnx_counts_them(tmp_path, extent):
    given = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 0, 1], "ceil_mode": 1}
    found = read(model(tmp_path, [node("MaxPool", ["x"], **given)], Shape(extent, extent + 1, 2), {}))
    x = np.zeros((1, 2, extent, extent + 1), np.float32)
    (got,) = ReferenceEvaluator(str(tmp_path / "net.onnx")).run(None, {"x": x})
    assert got.shape[2:] == found.shapes[found.output.name][:2]


def test_a_mean_whose_windows_fit_may_round_up(tmp_path):
    pool = node("AveragePool", ["x"], name="m", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    (layer,) = read(model(tmp_path, [pool], Shape(4, 6, 2), {})).layers
    assert (layer.kind, layer.padding) == ("mean", Padding())
    with pytest.raises(UnsupportedLayer, match="layer m: average pooling with a last window cut short"):
        read(model(tmp_path, [pool], Shape(4, 5, 2), {}))


@pytest.mark.parametrize(("channels", "kind"), [(1, "conv"), (2, "depthwise")])
def test_a_mean_that_counts_its_padding_is_a_conv_of_equal_weights(tmp_path, channels, kind):
    pool = node("AveragePool", ["x"], name="m", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    (layer,) = read(model(tmp_path, [pool], Shape(4, 5, channels), {})).layers
    assert (layer.kind, layer.padding) == (kind, Padding(1, 1, 1, 1))


@pytest.mark.parametrize("kept", [True, False])
def test_weights_in_a_file_beside_it_are_not_read(tmp_path, monkeypatch, kept):
    nodes = [node("Conv", ["x", "w"], "y", "c"), node("Relu", ["y"], "out")]
    path = model(tmp_path, nodes, Shape(4, 5, 2), {"w": weight(64, 2, 3, 3)})
    folder = tmp_path / "beside"
    folder.mkdir()
    onnx.save_model(onnx.load(path), folder / "net.onnx", save_as_external_data=True, location="net.data")
    if not kept:
        (folder / "net.data").unlink()
    monkeypatch.chdir(tmp_path)
    assert read(folder / "net.onnx") == read(path)


def test_bounds_in_a_file_beside_it_are_none(tmp_path):
    path = model(
        tmp_path, [node("Clip", ["x", "low", "six"], name="c")], Shape(4, 5, 2), {"low": weight(), "six": weight()}
    )
    given = onnx.load(path)
    for array in given.graph.initializer:
        array.data_location = TensorProto.EXTERNAL
        array.external_data.add(key="location", value="/etc/passwd")
        array.ClearField("raw_data")
    path.write_bytes(given.SerializeToString())
    with pytest.raises(UnsupportedLayer, match=r"^layer c: a Clip without two constant bounds is not supported"):
        read(path)


def test_names_can_be_printed_and_stand_for_no_end(tmp_path):
    nodes = [node("Tanh", ["x"], "y", "a\x1b[31m\n"), node("Tanh", ["y"], "out", "output")]
    found = read(model(tmp_path, nodes, Shape(4, 5, 2), {}))
    assert [layer.name for layer in found.layers] == [r"a\x1b[31m\n", "output.2"]


@pytest.mark.parametrize(("filters", "group", "found"), [((4, 1, 3, 3), 4, 4), ((4, 5, 3, 3), 1, 5)])
def test_weights_for_another_number_of_channels_are_refused(tmp_path, filters, group, found):
    path = model(tmp_path, [node("Conv", ["x", "w"], name="c", group=group)], Shape(6, 6, 3), {"w": weight(*filters)})
    told = f"{path}: layer c: weights for {found} input channels were found, 3 are wanted; export it again"
    with pytest.raises(BadInput, match=f"^{re.escape(told)}$"):
        read(path)


@pytest.mark.parametrize("scale", [1 << 20, 1e30])
def test_a_resize_beyond_what_can_be_simulated_is_refused(tmp_path, scale):
    scales = np.array([1, 1, scale, scale], np.float32)
    path = model(tmp_path, [node("Resize", ["x", "", "s"], name="r")], Shape(6, 6, 3), {"s": scales})
    with pytest.raises(BadInput, match=r"^layer r: a map of \d+x\d+x3 was found, at most 268435456 pixels are wanted$"):
        read(path)


FUNCTIONS = [
    ([node("LeakyRelu", ["x"])], "leaky_relu:0.01"),
    ([node("LeakyRelu", ["x"], alpha=0.3)], "leaky_relu:0.3"),
    ([node("Elu", ["x"])], "elu:1"),
    ([node("Gelu", ["x"])], "gelu"),
    ([node("Gelu", ["x"], approximate="tanh")], "gelu_tanh"),
    ([node("Sigmoid", ["x"])], "sigmoid"),
    ([node("Tanh", ["x"])], "tanh"),
    ([node("HardSigmoid", ["x"], alpha=1 / 6)], "hardsigmoid"),
    ([node("HardSwish", ["x"])], "hardswish"),
    ([node("Softplus", ["x"])], "softplus"),
    ([node("Clip", ["x", "low", "high"])], "clip:0:6"),
    ([node("Clip", ["x", "low", "six"])], "clip:0:6"),
    ([node("Sigmoid", ["x"], "s"), node("Mul", ["x", "s"])], "silu"),
    ([node("Sigmoid", ["x"], "s"), node("Mul", ["s", "x"])], "silu"),
    ([node("HardSigmoid", ["x"], "s", alpha=1 / 6), node("Mul", ["x", "s"])], "hardswish"),
]


RELU6 = [node("Add", ["x", "three"], "a"), node("Clip", ["a", "low", "high"], "c")]
FUNCTIONS += [
    ([*RELU6, node("Div", ["c", "six"], "d"), node("Mul", ["x", "d"])], "hardswish"),
    ([*RELU6, node("Mul", ["sixth", "c"], "d"), node("Mul", ["d", "x"])], "hardswish"),
    ([*RELU6, node("Mul", ["x", "c"], "m"), node("Div", ["m", "six"])], "hardswish"),
    ([*RELU6, node("Mul", ["x", "c"], "m"), node("Mul", ["m", "sixth"])], "hardswish"),
]
NUMBERS = {
    "low": np.float32(0),
    "high": np.float32(6),
    "six": np.array([6], np.float32),
    "sixth": np.float32(1 / 6),
    "three": np.float32(3),
    "two": np.float32(2),
}


@pytest.mark.parametrize(
    "nodes",
    [
        [*RELU6, node("Mul", ["x", "c"])],
        [*RELU6, node("Mul", ["x", "c"], "m"), node("Div", ["m", "two"])],
        [*RELU6, node("Mul", ["x", "c"], "m"), node("Div", ["m", "six"], "d"), node("Add", ["m", "d"])],
    ],
)
def test_a_hard_swish_written_out_keeps_a_factor_that_others_read_or_none_takes_back(tmp_path, nodes):
    found = read(model(tmp_path, nodes, Shape(2, 2, 1), NUMBERS, opset=20))
    kinds = [layer.kind for layer in found.layers]
    assert found.layers[0].function == "hardswish"
    assert kinds == ["table", *["affine"] * (len(kinds) - 1 - ("add" in kinds)), *["add"] * ("add" in kinds)]
    assert "affine" in kinds


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Add", ["x", "two"], "a"), node("Clip", ["a", "low", "high"], "c"), node("Mul", ["x", "c"])],
        [node("Add", ["x", "three"], "a"), node("Clip", ["a", "low", "three"], "c"), node("Mul", ["x", "c"])],
        [*RELU6, node("Add", ["c", "two"], "d"), node("Mul", ["x", "d"])],
        [*RELU6, node("Relu", ["c"], "r"), node("Sigmoid", ["x"], "s"), node("Mul", ["s", "r"])],
    ],
)
def test_other_gates_are_refused(tmp_path, nodes):
    with pytest.raises(UnsupportedLayer, match=r"a Mul is not supported; x times its own Sigmoid"):
        read(model(tmp_path, nodes, Shape(2, 2, 1), NUMBERS, opset=20))


def test_a_map_may_be_read_twice_and_turned(tmp_path):
    nodes = [node("Add", ["x", "x"], "a"), node("Neg", ["a"], "n"), node("Concat", ["n", "a", "n"], name="c", axis=1)]
    found = read(model(tmp_path, nodes, Shape(2, 3, 1), {}))
    assert [(layer.name, layer.kind, layer.inputs) for layer in found.layers] == [
        ("a", "affine", ("input",)),
        ("n", "affine", ("a",)),
        ("c.copy", "affine", ("n",)),
        ("c", "concat", ("n", "a", "c.copy")),
    ]


def test_what_nobody_reads_changes_nothing(tmp_path):
    conv = node("Conv", ["x", "w"], "out", name="c")
    dead = [node("Relu", ["out"], "dead"), node("Add", ["out", "b"], "dead.too")]
    weights = {"w": weight(2, 1, 1, 3), "b": weight(2, 1, 1)}
    alone = read(model(tmp_path, [conv], Shape(4, 5, 1), {"w": weight(2, 1, 1, 3)}))
    assert read(model(tmp_path, [conv, *dead], Shape(4, 5, 1), weights)) == alone
    assert read(model(tmp_path, [conv, dead[0]], Shape(4, 5, 1), weights)) == alone


@pytest.mark.parametrize(("nodes", "function"), FUNCTIONS)
def test_activations_are_tables(tmp_path, nodes, function):
    weights = NUMBERS
    found = read(model(tmp_path, nodes, Shape(2, 2, 1), weights, opset=20))
    assert [(layer.kind, layer.function, layer.inputs) for layer in found.layers] == [("table", function, ("input",))]


ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
UPSAMPLES = [
    (node("Resize", ["x", "", "twice"], **ASYMMETRIC), (2, 3)),
    (node("Resize", ["x", "", "", "size"], **ASYMMETRIC), (2, 1)),
    (node("Resize", ["x", "", "twice"]), (2, 3)),
    (node("Resize", ["x", "", "twice"], nearest_mode="round_prefer_ceil"), (2, 3)),
]


@pytest.mark.parametrize(("resize", "factor"), UPSAMPLES)
def test_nearest_resizes_by_whole_factors(tmp_path, resize, factor):
    weights = {"twice": np.array([1, 1, 2, 3], np.float32), "size": np.array([1, 2, 8, 5])}
    found = read(model(tmp_path, [resize], Shape(4, 5, 2), weights))
    assert [(layer.kind, layer.factor, layer.inputs) for layer in found.layers] == [("upsample", factor, ("input",))]
    # Onnx's own interpreter gives what repeating gives; it knows no round_prefer_ceil.
    if resize.attribute and resize.attribute[0].s == b"round_prefer_ceil":
        return
    x = np.arange(40, dtype=np.float32).reshape(1, 2, 4, 5)
    (got,) = ReferenceEvaluator(str(tmp_path / "net.onnx")).run(None, {"x": x})
    assert np.array_equal(got, x.repeat(factor[0], 2).repeat(factor[1], 3))


def test_an_upsample_of_an_old_opset(tmp_path):
    old = node("Upsample", ["x", "twice"])
    found = read(model(tmp_path, [old], Shape(4, 5, 2), {"twice": np.array([1, 1, 2, 2], np.float32)}, opset=9))
    assert [(layer.kind, layer.factor) for layer in found.layers] == [("upsample", (2, 2))]


def test_as_many_groups_as_channels_are_a_depthwise_conv(tmp_path):
    nodes = [node("Conv", ["x", "w", "b"], "out", "c", group=3, pads=[0, 1, 0, 1])]
    found = read(model(tmp_path, nodes, Shape(4, 5, 3), {"w": weight(3, 1, 1, 3), "b": weight(3)}))
    padding = Padding(0, 0, 1, 1)
    assert found.layers == (Layer("c", "depthwise", ("input",), kernel=Size(1, 3), padding=padding, bias=True),)
    assert found.macs == 4 * 5 * 3 * 3


REFUSED = [
    (
        node("Resize", ["x", "", "some"], name="r", **ASYMMETRIC),
        "layer r: Resize by 1 x 1 x 1.5 x 2 is not supported",
    ),
    (
        node("Resize", ["x", "", "some"], name="r", mode="linear"),
        "layer r: Resize of linear, half_pixel, ",
    ),
    (
        node("Resize", ["x", "", "some"], name="r", coordinate_transformation_mode="asymmetric"),
        "layer r: Resize of nearest, asymmetric, round_prefer_floor is not supported; nearest, asymmetric, floor would",
    ),
    (node("Elu", ["x"], name="e", alpha=float("inf")), "layer e: Elu (function elu:inf: behind elu one finite number"),
    (node("Floor", ["x"], name="f"), "layer f: Floor is not supported; of an exact export the plain one, or the run"),
    (node("Sin", ["x"], name="s"), "layer s: Sin is not supported; known are Conv, Gemm, "),
    (node("HardSigmoid", ["x"], name="h"), "layer h: HardSigmoid of alpha 0.2 and beta 0.5 is not supported; alpha 1"),
    (node("Clip", ["x", "low", "six"], name="c"), "layer c: a Clip without two constant bounds is not supported; two "),
    (node("Clip", ["x", "low"], name="c"), "layer c: a Clip without two constant bounds is not supported; two "),
    (node("Clip", ["x", "low", "low"], name="c"), "layer c: a Clip (function clip:0:0: a lower bound below the upper "),
    (node("Mul", ["x", "x"], name="m"), "layer m: a Mul is not supported; x times its own Sigmoid (a SiLU) is known; "),
    (
        node("Conv", ["x", "u"], name="c", group=2),
        "layer c: a conv of 2 groups from 2 to 4 channels is not supported; a depthwise conv (as many groups and ",
    ),
    (
        node("Conv", ["x", "w"], name="c", dilations=[2, 1]),
        "layer c: a dilated conv is not supported; a larger kernel ",
    ),
    (
        node("Add", ["x", "w"], name="a"),
        "layer a: Add of a constant of shape (2, 1, 1, 1) is not supported; a number, or ",
    ),
    (node("Div", ["six", "x"], name="q"), "layer q: a Div by a map is not supported; a product by a number would do"),
    (node("Sub", ["x", "x"], name="s"), "layer s: a Sub of two maps is not supported; an add behind a conv, or a "),
    (node("Cast", ["x"], name="c", to=6), "layer c: a Cast to other than real numbers is not supported; real "),
    (node("Squeeze", ["x"], name="q"), "layer q: a Squeeze of the axes [] of a map of (4, 4, 2) is not supported; a "),
    (
        node("AveragePool", ["x"], name="p", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        "layer p: average pooling that leaves out its padding is not supported; count_include_pad=1 would do",
    ),
    (node("Concat", ["x", "x"], name="k", axis=2), "layer k: a concat along axis 2 is not supported; a concat of "),
    (node("Gemm", ["x", "v"], name="d", transB=1), "layer d: a dense layer of 7 inputs on a map of 4x4x2 is not "),
]


some = np.array([1, 1, 1.5, 2], np.float32)


@pytest.mark.parametrize(("refused", "sentence"), REFUSED, ids=lambda value: getattr(value, "op_type", ""))
def test_what_no_machine_executes_is_named(tmp_path, refused, sentence):
    weights = {
        "w": weight(2, 1, 1, 1),
        "u": weight(4, 1, 1, 1),
        "v": weight(3, 7),
        "low": np.float32(0),
        "some": some,
        "six": np.array([6, 7], np.float32),
    }
    path = model(tmp_path, [refused], Shape(4, 4, 2), weights)
    with pytest.raises(UnsupportedLayer, match=f"^{re.escape(sentence)}"):
        read(path)


def test_files_that_are_no_onnx(tmp_path):
    path = tmp_path / "net.onnx"
    for content in (b"", b"no onnx at all", b"\x08\x08\x12"):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=rf"^{re.escape(str(path))}: not a valid ONNX model \("):
            read(path)
    with pytest.raises(BadInput, match=r"no such file$"):
        read(tmp_path / "other.onnx")


def test_names_of_files_are_names_of_networks(tmp_path):
    found = read(model(tmp_path, [node("Relu", ["x"])], Shape(2, 2, 1), {}))
    assert isinstance(found, Network)
    assert found.layers == (Layer("out", "affine", ("input",), relu=True),)


@pytest.mark.parametrize(
    "attributes",
    [{"strides": [1, 1, 1]}, {"pads": [1, 1]}, {"auto_pad": b"\xff"}, {"strides": [0, 1], "auto_pad": "SAME_UPPER"}],
)
def test_a_node_with_attributes_of_another_form_is_told_by_name(tmp_path, attributes):
    conv = node("Conv", ["x", "w"], name="c", **attributes)
    path = model(tmp_path, [conv], Shape(6, 11, 2), {"w": weight(4, 2, 1, 1)})
    with pytest.raises(BadInput, match="layer c: its inputs and attributes are not those of a Conv"):
        read(path)

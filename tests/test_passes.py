"""Passes keep the function: in floats where batch norms fold, in every integer where row strides are lifted."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from random_networks import random_network
from random_students import random_student, with_relus

from distill import quantize
from hw.errors import BadInput
from hw.fixed import Format, LayerFormats
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import ensemble, executed, fold_affines, fold_weights, lift_row_strides
from hw.presets import preset
from hw.reference import layer_outputs
from hw.student import Student, lifted

SEEDS = range(200)


def conv(name, source, kernel=(1, 1), stride=(1, 1), channels=2, **fields):
    return Layer(name, "conv", (source,), channels, Size(*kernel), Size(*stride), **fields)


def strides(network):
    return {layer.name: tuple(layer.stride) for layer in network.layers}


def float_weights(network, rng):
    return {
        f"{layer.name}.{kind}": rng.normal(0, 1, shape)
        for layer in network.layers
        for kind, shape in network.weight_shapes(layer).items()
    }


def outputs(network, weights, images):
    tensors = {key: torch.tensor(value) for key, value in weights.items()}
    return quantize.run(network, lambda layer, kind: tensors.get(f"{layer.name}.{kind}"), images, lambda _, x: x)


def normed(network, rng):
    """`network` with a batch norm behind most convs."""
    layers, renamed = [], {}
    for layer in network.layers:
        layers.append(msgspec.structs.replace(layer, inputs=tuple(renamed.get(x, x) for x in layer.inputs)))
        if layer.kind == "conv" and rng.random() < 0.8:
            layers.append(Layer(f"{layer.name}.bn", "affine", (layer.name,), relu=rng.random() < 0.5))
            renamed[layer.name] = f"{layer.name}.bn"
    return Network(network.name, network.input, tuple(layers), network.row_step)


@pytest.mark.parametrize("seed", range(60))
def test_folding_keeps_the_float_function(seed):
    rng = np.random.default_rng(seed)
    network = normed(with_relus(random_network(seed), seed, share=0.3), rng)
    weights = float_weights(network, rng)
    folded, folded_weights = fold_affines(network), fold_weights(network, weights)
    wanted = {
        f"{layer.name}.{kind}": shape for layer in folded.layers for kind, shape in folded.weight_shapes(layer).items()
    }
    assert {key: value.shape for key, value in folded_weights.items()} == wanted
    images = torch.tensor(rng.normal(0, 1, (2, network.input.channels, *network.input[:2])))
    expected = outputs(network, weights, images)
    found = outputs(folded, folded_weights, images)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def test_folding_leaves_the_weights_that_it_was_given():
    network = Network("n", Shape(2, 2, 1), (conv("a", INPUT), Layer("bn", "affine", ("a",))))
    weights = float_weights(network, np.random.default_rng(0))
    before = {key: value.copy() for key, value in weights.items()}
    fold_weights(network, weights)
    assert all(np.array_equal(before[key], weights[key]) for key in before)


def test_a_batch_norm_folds_into_the_conv_that_it_alone_reads():
    layers = (
        conv("a", INPUT),
        Layer("bn", "affine", ("a",), relu=True),
        Layer("bn2", "affine", ("bn",)),
        conv("b", "bn2"),
        Layer("bn3", "affine", ("b",)),
        Layer("sum", "add", ("b", "bn3")),
    )
    folded = fold_affines(Network("n", Shape(2, 2, 1), layers))
    assert str(folded) == (
        "n: input 2x2x1\n"
        "  a    conv 1x1 bias relu  input -> 2x2x2\n"
        "  bn2  affine  a -> 2x2x2\n"
        "  b    conv 1x1  bn2 -> 2x2x2\n"
        "  bn3  affine  b -> 2x2x2\n"
        "  sum  add  b + bn3 -> 2x2x2"
    )


@pytest.mark.parametrize("relu", [True, False])
def test_a_batch_norm_behind_a_relu_is_not_folded(relu):
    network = Network("n", Shape(2, 2, 1), (conv("a", INPUT, relu=relu), Layer("bn", "affine", ("a",))))
    assert len(fold_affines(network).layers) == (2 if relu else 1)


def test_preactivation_batch_norms_behind_adds_stay():
    folded = fold_affines(preset("wrn-16-2"))
    kept = [layer for layer in folded.layers if layer.kind == "affine"]
    assert {folded.by_name[layer.inputs[0]].kind for layer in kept} <= {"add", "conv"}
    assert all(
        len(folded.consumers[layer.inputs[0]]) > 1 or folded.by_name[layer.inputs[0]].kind == "add" for layer in kept
    )
    assert sum(layer.kind == "affine" for layer in fold_affines(preset("resnet-20")).layers) == 0


def thinned(network):
    """Of every layer, which rows of the whole network the lifted one still computes: every k-th."""
    short = lift_row_strides(network)
    steps = {}
    for name, shape in network.shapes.items():
        rows = short.shapes[name].rows
        steps[name] = [k for k in range(1, shape.rows + 1) if len(range(0, shape.rows, k)) == rows]
    return short, steps


@pytest.mark.parametrize("seed", SEEDS)
def test_lifting_keeps_every_integer_that_is_left(seed):
    student = random_student(seed)
    whole, short = layer_outputs(student, student.images), layer_outputs(lifted(student), student.images)
    last = student.network.output.name
    assert np.array_equal(short[last], whole[last])
    _, steps = thinned(student.network)
    for name, values in short.items():
        assert any(np.array_equal(values, whole[name][:, ::k]) for k in steps[name]), f"{name} of\n{student.network}"


def disagreeing_networks():
    """Random networks whose convs are mostly 1xN with vertical strides, read by layers that want different rows."""
    for seed in range(2000, 2800):
        network = random_network(seed)
        joins = [layer for layer in network.layers if layer.kind in ("add", "concat", "affine")]
        if joins and any(layer.stride.rows > 1 and not layer.mixes_rows for layer in network.layers):
            yield network


def test_lifting_never_costs_macs_and_leaves_no_vertical_stride_to_lift():
    count = 0
    for network in [*map(random_network, range(1000)), *disagreeing_networks()]:
        short = lift_row_strides(network)
        assert short.macs <= network.macs
        assert short.shapes[short.output.name] == network.shapes[network.output.name]
        assert lift_row_strides(short) == short
        for layer in short.layers:
            if layer.windowed and not layer.mixes_rows and layer.stride.rows > 1:
                assert len(short.consumers[layer.inputs[0]]) > 1 or not can_select(short, layer.inputs[0])
        count += short != network
    assert count > 50


def can_select(network, name):
    """Whether a layer could skip rows by itself: it has a window, or is the input."""
    return name == INPUT or network.by_name[name].windowed


def test_a_1xn_network_reads_every_fourth_row_and_strides_over_columns_alone():
    short = executed(preset("wrn-40-4-1x3"))
    assert short.row_step == 4
    assert short.shapes[INPUT] == (8, 32, 3)
    assert {layer.stride.rows for layer in short.layers if layer.name != "head.mean"} == {1}
    assert {layer.stride.cols for layer in short.layers if layer.kind == "conv"} == {1, 2}


def test_a_row_step_multiplies_with_what_is_lifted():
    network = Network("n", Shape(24, 3, 1), (conv("a", INPUT, stride=(2, 1)),), row_step=3)
    assert lift_row_strides(network).row_step == 6


def test_strides_move_up_to_the_layer_that_mixes_rows():
    layers = (
        conv("a", INPUT, stride=(2, 1)),
        conv("mixing", "a", (3, 3), (2, 1), padding=Padding(1, 1, 1, 1)),
        conv("b", "mixing", (1, 3), (2, 2)),
        Layer("bn", "affine", ("b",)),
        conv("c", "bn", stride=(3, 1)),
    )
    short = lift_row_strides(Network("n", Shape(60, 9, 1), layers))
    assert short.row_step == 2
    assert strides(short) == {"a": (1, 1), "mixing": (12, 1), "b": (1, 2), "bn": (1, 1), "c": (1, 1)}
    assert short.shapes["c"].rows == 3


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_pools_over_columns_pass_strides_on_and_pools_over_rows_hold_them(kind):
    def network(rows):
        pool = Layer("pool", kind, ("a",), kernel=Size(rows, 2), stride=Size(2, 1))
        return Network("n", Shape(12, 4, 1), (conv("a", INPUT), pool, conv("b", "pool", stride=(2, 1))))

    assert lift_row_strides(network(1)).row_step == 4
    held = lift_row_strides(network(2))
    assert (held.row_step, strides(held)["pool"], strides(held)["b"]) == (1, (4, 1), (1, 1))


@pytest.mark.parametrize("top", [0, 1, 2])
@pytest.mark.parametrize("bottom", [0, 1, 2])
def test_padding_above_stays_where_it_is(top, bottom):
    layers = (
        conv("a", INPUT, (3, 1), (2, 1), channels=1, padding=Padding(top, bottom)),
        conv("b", "a", stride=(2, 1), channels=1),
    )
    network = Network("n", Shape(11, 1, 1), layers)
    plain = LayerFormats(Format(20, 20), Format(8, 8), Format(30, 30))
    weights = {"a.weight": np.array([100, 10, 1]).reshape(3, 1, 1, 1), "b.weight": np.ones((1, 1, 1, 1), np.int64)}
    image = np.arange(1, 12).reshape(1, 11, 1, 1)
    student = Student(network, dict.fromkeys((INPUT, "a", "b"), plain), weights, image, np.zeros(1), image, {})
    found = layer_outputs(lifted(student), image)
    expected = layer_outputs(student, image)["b"]
    assert strides(lifted(student).network) == {"a": (4, 1), "b": (1, 1)}
    padded = [0] * top + list(range(1, 12)) + [0] * bottom
    first = [100 * padded[i] + 10 * padded[i + 1] + padded[i + 2] for i in range(0, len(padded) - 2, 2)]
    assert found["b"].ravel().tolist() == expected.ravel().tolist() == first[::2]


def test_readers_that_disagree_leave_the_rows_that_any_of_them_wants():
    layers = (
        conv("a", INPUT),
        conv("b", "a", stride=(4, 1)),
        conv("c", "a", stride=(2, 1)),
        conv("d", "c", stride=(2, 1)),
        Layer("sum", "add", ("b", "d")),
    )
    short = lift_row_strides(Network("n", Shape(16, 3, 1), layers))
    assert short.row_step == 4
    layers = (*layers[:2], conv("c", "a", stride=(6, 1)), Layer("all", "mean", ("c",), kernel=Size(3, 1)))
    layers = (*layers, Layer("one", "mean", ("b",), kernel=Size(4, 1)), Layer("sum", "add", ("one", "all")))
    short = lift_row_strides(Network("n", Shape(16, 3, 1), layers))
    assert (short.row_step, strides(short)["b"], strides(short)["c"]) == (2, (2, 1), (3, 1))


@pytest.mark.parametrize("kind", ["affine", "add"])
def test_a_layer_without_a_window_selects_no_rows_where_its_input_is_read_whole(kind):
    """The same map goes through the layer to a strided conv, and whole to one that mixes rows."""
    side = (conv("side", "a", channels=2),) if kind == "add" else ()
    layers = (
        conv("a", INPUT),
        *side,
        Layer("plain", kind, ("a", "side") if kind == "add" else ("a",)),
        conv("strided", "plain", stride=(2, 1)),
        conv("mixing", "a", (3, 3), (2, 1), padding=Padding(1, 1, 1, 1)),
        Layer("sum", "add", ("strided", "mixing")),
    )
    network = Network("n", Shape(8, 4, 1), layers)
    short = lift_row_strides(network)
    assert short.shapes == network.shapes
    assert short == network


def test_an_input_read_whole_by_one_and_strided_by_another_keeps_its_rows():
    layers = (
        conv("strided", INPUT, stride=(2, 1)),
        conv("mixing", INPUT, (2, 1), (2, 1)),
        Layer("sum", "add", ("strided", "mixing")),
    )
    network = Network("n", Shape(8, 4, 1), layers)
    assert lift_row_strides(network) == network


def test_the_network_that_mixes_rows_everywhere_stays_as_it_is():
    network = fold_affines(preset("wrn-16-2"))
    short = lift_row_strides(network)
    assert short.row_step == 1
    assert short.macs == network.macs


def test_a_lifted_student_keeps_all_but_its_network():
    student = random_student(7)
    assert replace(lifted(student), network=student.network).__dict__ == student.__dict__


def test_an_ensemble_adds_the_outputs_of_its_members():
    a = Network("a", Shape(4, 4, 1), (conv("x", INPUT, (4, 4), channels=3), Layer("n", "affine", ("x",))))
    b = Network("b", Shape(4, 4, 1), (conv("x", INPUT, (4, 4), channels=3),))
    both = ensemble("both", {"t": a, "s": b, "u": b})
    assert str(both) == (
        "both: input 4x4x1\n"
        "  t.x   conv 4x4  input -> 1x1x3\n"
        "  t.n   affine  t.x -> 1x1x3\n"
        "  s.x   conv 4x4  input -> 1x1x3\n"
        "  u.x   conv 4x4  input -> 1x1x3\n"
        "  sum0  add  t.n + s.x -> 1x1x3\n"
        "  sum1  add  sum0 + u.x -> 1x1x3"
    )
    assert both.macs == a.macs + 2 * b.macs


def test_the_executed_form_is_its_own_executed_form():
    changed = 0
    for seed in range(400):
        network = random_network(seed)
        form = executed(network)
        assert executed(form) == form, network.name
        changed += form != network
    assert changed > 50


def test_affines_behind_each_other_are_all_merged():
    layers = (
        Layer("c", "conv", (INPUT,), 2),
        Layer("a", "affine", ("c",)),
        Layer("b", "affine", ("a",), relu=True),
    )
    network = Network("chain", Shape(1, 1, 1), layers)
    weights = {
        "c.weight": np.array([[[[2.0, 3.0]]]]),
        "a.weight": np.array([10.0, 1.0]),
        "a.bias": np.array([1.0, 0.0]),
        "b.weight": np.array([0.5, -1.0]),
        "b.bias": np.array([4.0, 7.0]),
    }
    assert fold_affines(network).layers == (Layer("c", "conv", (INPUT,), 2, bias=True, relu=True),)
    merged = fold_weights(network, weights)
    assert {key: value.ravel().tolist() for key, value in merged.items()} == {
        "c.weight": [10.0, -3.0],
        "c.bias": [4.5, 7.0],
    }


def test_an_ensemble_reads_the_rows_that_its_members_read():
    conv = Layer("c", "conv", (INPUT,), 2, Size(1, 3))
    every, second = (Network("n", Shape(4, 5, 1), (conv,), step) for step in (1, 2))
    assert ensemble("both", {"a": second, "b": second}).shapes["sum0"] == second.shapes["c"]
    with pytest.raises(BadInput) as error:
        ensemble("both", {"a": every, "b": second})
    assert str(error.value) == (
        "network both: its members n and n read 4x5x1 and 4x5x1, every 1. and 2. row; one input is wanted"
    )

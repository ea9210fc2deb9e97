"""The presets against published figures, against counts on paper, and against the traced torch networks."""

import pytest

from distill import filters, networks
from hw.errors import BadInput
from hw.network import INPUT, Shape
from hw.passes import executed
from hw.presets import preset, presets, resnet, vgg, wrn
from hw.trace import trace


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("wrn-40-4", 8_972_340, 1_298_605_056),
        ("wrn-40-4-1x3", 3_043_092, 436_380_672),
        ("wrn-40-4-1x3-keep", 3_043_092, 1_023_583_232),
        ("wrn-40-2", 2_255_156, 327_610_880),
        ("wrn-40-2-1x3", 771_092, 110_260_736),
        ("wrn-16-2", 703_284, 101_118_464),
        ("wrn-16-2-1x3", 251_412, 34_763_264),
        ("resnet-20", 278_324, 40_818_944),
        ("resnet-32", 472_756, 69_130_496),
        ("resnet-56", 861_620, 125_753_600),
        ("resnet-110", 1_736_564, 253_155_584),
        ("vgg-8", 3_965_028, 96_192_512),
        ("vgg-13", 9_462_180, 284_936_192),
        ("vgg-8-1x3", 1_358_820, 32_098_304),
        ("vgg-13-1x3", 3_194_148, 95_012_864),
    ],
)
def test_parameters_and_macs_of_cifar_networks(name, parameters, macs):
    assert (preset(name).parameters, preset(name).macs) == (parameters, macs)


def test_row_strides_lifted_save_the_rows_that_nobody_reads():
    assert executed(preset("wrn-40-4-1x3")).macs == 255_915_008


def test_nothing_is_saved_where_rows_are_kept_or_mixed():
    for name in ("wrn-40-4", "wrn-40-4-1x3-keep"):
        assert executed(preset(name)).macs == preset(name).macs


def test_a_1xn_network_mixes_rows_in_its_head_alone():
    mixing = [layer.name for layer in preset("wrn-16-2-1x3").layers if layer.mixes_rows]
    assert mixing == ["head.mean"]


@pytest.mark.parametrize(
    ("name", "rows"), [("wrn-10-1", 8), ("wrn-10-1-1x3", 8), ("wrn-10-1-1x3-keep", 32), ("resnet-20-1x3-keep", 32)]
)
def test_rows_that_reach_the_head(name, rows):
    network = preset(name)
    assert network.input_shape(network.by_name["head.mean"])[:2] == (rows, 8)
    assert network.shapes["head.linear"] == (1, 1, 100)


def test_filters_of_width_5_have_5_taps():
    assert {layer.kernel for layer in preset("wrn-10-1-1x5").layers if layer.kind == "conv"} == {(1, 5), (1, 1)}


VGG_STAGES = {"vgg-8": [(64, 1), (128, 1), (256, 1), (512, 1), (512, 1)], "vgg-13": [(64, 2), (128, 2), (256, 2)]}
VGG_STAGES["vgg-13"] += [(512, 2), (512, 2)]


@pytest.mark.parametrize("name", VGG_STAGES)
@pytest.mark.parametrize(("ending", "taps"), [("", 9), ("-1x3", 3)])
def test_macs_of_a_vgg_counted_on_paper(name, ending, taps):
    """Stage by stage: pixels x taps x inputs x outputs, pixels a quarter after each of the first three."""
    macs, before = 512 * 100, 3
    for (channels, convolutions), side in zip(VGG_STAGES[name], (32, 16, 8, 4, 4), strict=True):
        for _ in range(convolutions):
            macs += side * side * taps * before * channels
            before = channels
    assert preset(name + ending).macs == macs


def test_a_vgg_without_strides_has_one_1xn_form():
    skip, keep = preset("vgg-8-1x3"), preset("vgg-8-1x3-keep")
    assert (skip.layers, keep.name) == (keep.layers, "vgg-8-1x3-keep")


@pytest.mark.parametrize(("depth", "blocks"), [(10, 1), (16, 2), (40, 6)])
def test_a_wide_resnet_has_as_many_adds_as_blocks(depth, blocks):
    assert sum(layer.kind == "add" for layer in wrn(depth, 1).layers) == 3 * blocks


CONVERSIONS = {
    "": lambda module: module,
    "-1x3": filters.on_the_fly,
    "-1x3-keep": lambda module: filters.on_the_fly(module, rows="keep"),
}
MODULES = {
    "wrn-10-1": lambda: networks.wrn(10, 1, 100),
    "wrn-16-2": lambda: networks.wrn(16, 2, 100),
    "resnet-20": lambda: networks.resnet(20, 1, 100),
    "vgg-8": lambda: networks.vgg(8, 1, 100),
    "vgg-13": lambda: networks.vgg(13, 1, 100),
}


@pytest.mark.parametrize("ending", CONVERSIONS)
@pytest.mark.parametrize("base", MODULES)
def test_a_preset_is_what_the_torch_network_traces_to(base, ending):
    module = CONVERSIONS[ending](MODULES[base]())
    traced = trace(module, Shape(32, 32, 3), base + ending)
    assert traced.network == preset(base + ending)
    assert traced.network.parameters == networks.parameters(module)


def test_a_preset_of_another_width_is_what_the_torch_network_traces_to():
    traced = trace(filters.on_the_fly(networks.wrn(10, 1, 100), n=5), Shape(32, 32, 3), "wrn-10-1-1x5")
    assert traced.network == preset("wrn-10-1-1x5")


@pytest.mark.parametrize("shape", [Shape(14, 14, 1), Shape(9, 13, 2)])
@pytest.mark.parametrize("rows", ["full", "skip", "keep"])
def test_other_shapes_and_classes_trace_to_the_same(shape, rows):
    module = networks.wrn(10, 1, 7, shape.channels)
    if rows != "full":
        module = filters.on_the_fly(module, rows=rows)
    assert trace(module, shape, "n").network == wrn(10, 1, rows, 3, shape, 7, "n")


@pytest.mark.parametrize("shape", [Shape(28, 28, 1), Shape(8, 17, 2)])
def test_a_vgg_of_other_shapes_and_classes_traces_to_the_same(shape):
    module = networks.vgg(8, 1, 7, shape.channels)
    assert trace(module, shape, "n").network == vgg(8, "full", 3, shape, 7, "n")


def test_every_listed_preset_is_built():
    for name in presets():
        network = preset(name)
        assert (network.name, network.input) == (name, (32, 32, 3))
        assert network.consumers[INPUT] == ("stem",)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wrn-40-4-1x3-kep", "network wrn-40-4-1x3-kep: no such preset or run; did you mean wrn-40-4-1x3-keep?"),
        ("WRN-16-2", "network WRN-16-2: no such preset or run; did you mean wrn-16-2?"),
        ("wrn-40-4-keep", "network wrn-40-4-keep: no such preset or run; did you mean wrn-40-4-1x3-keep?"),
        ("", f"network : no such preset or run; known are {', '.join(presets())}"),
        ("mobilenet", f"network mobilenet: no such preset or run; known are {', '.join(presets())}"),
        ("wrn-40-4-1x4", "network wrn-40-4-1x4: filters of width 4 were found, an odd width is wanted"),
        ("wrn-40-4-1x0", "network wrn-40-4-1x0: filters of width 0 were found, an odd width is wanted"),
        ("wrn-12-4", "network wrn-12-4: a WRN has a depth of 10, 16, 22, ... and a width of at least 1"),
        ("wrn-4-4", "network wrn-4-4: a WRN has a depth of 10, 16, 22, ... and a width of at least 1"),
        ("wrn-16-0", "network wrn-16-0: a WRN has a depth of 10, 16, 22, ... and a width of at least 1"),
        ("resnet-21", "network resnet-21: a CIFAR ResNet has a depth of 8, 14, 20, ..."),
        ("vgg-12", "network vgg-12: a VGG has a depth of 8, 11, 13, 16, 19"),
        ("resnet-2", "network resnet-2: a CIFAR ResNet has a depth of 8, 14, 20, ..."),
    ],
)
def test_a_name_that_is_no_preset_is_told(name, sentence):
    with pytest.raises(BadInput) as error:
        preset(name)
    assert str(error.value) == sentence


def test_a_resnet_of_the_least_depth_has_three_blocks():
    assert sum(layer.kind == "add" for layer in resnet(8).layers) == 3

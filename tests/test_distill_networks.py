import warnings

import numpy as np
import pytest
import torch

from distill import blocks, networks
from distill.networks import NetworkSpec
from hw.errors import BadInput
from hw.network import Shape
from hw.trace import trace


def module_factory(classes, channels, rows, cols):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * rows * cols, classes))


def no_module_factory(classes, channels, rows, cols):
    return classes


def half_factory(classes, channels, rows, cols):
    return module_factory(classes, channels, rows, cols).half()


def meta_factory(classes, channels, rows, cols):
    return module_factory(classes, channels, rows, cols).to("meta")


def lazy_factory(classes, channels, rows, cols):
    return torch.nn.LazyLinear(classes)


def scripted_factory(classes, channels, rows, cols):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(module_factory(classes, channels, rows, cols))


def silent_factory():
    return None


NOT_CALLABLE = 3


@pytest.mark.parametrize(("depth", "width", "count"), [(40, 4, 8_972_340), (40, 2, 2_255_156), (16, 2, 703_284)])
def test_wrn_has_the_published_number_of_parameters(depth, width, count):
    assert networks.parameters(networks.wrn(depth, width, 100)) == count


@pytest.mark.parametrize(("depth", "count"), [(20, 278_324), (32, 472_756), (56, 861_620), (110, 1_736_564)])
def test_resnet_has_the_number_of_parameters_of_distillations_benchmarks(depth, count):
    assert networks.parameters(networks.resnet(depth, 1, 100)) == count


@pytest.mark.parametrize(
    ("depth", "count"), [(8, 3_965_028), (11, 9_277_284), (13, 9_462_180), (16, 14_774_436), (19, 20_086_692)]
)
def test_vgg_has_the_number_of_parameters_of_distillations_benchmarks(depth, count):
    assert networks.parameters(networks.vgg(depth, 1, 100)) == count


def test_vgg_8_is_a_convolution_a_group_and_three_maxima():
    names = [name for name, part in networks.vgg(8, 1, 10).named_modules() if not list(part.children())]
    groups = [[f"g{number}.b0.{part}" for part in ("conv", "bn", "relu")] for number in (2, 3, 4, 5)]
    first = ["stem", "bn", "relu", "pool1"]
    assert names == [*first, *groups[0], "pool2", *groups[1], "pool3", *groups[2], *groups[3], "head.linear"]


def test_vgg_sees_4x4_pixels_at_its_head():
    module = networks.vgg(13, 1, 10).eval()
    seen = []
    module.head.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert seen == [(2, 512, 4, 4)]


MEAN, DEVIATION = (0.5, 0.25, 0.125), (0.25, 0.5, 2.0)
NORMED = NetworkSpec("wrn", 10, 1, mean=MEAN, deviation=DEVIATION)


def test_mean_and_deviation_are_taken_off_before_the_stem():
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain, normed = (networks.build(spec, (3, 8, 8), 10) for spec in (NetworkSpec("wrn", 10), NORMED))
    normed.load_state_dict(plain.state_dict(), strict=False)
    by_hand = torch.stack([(x[:, c] - MEAN[c]) / DEVIATION[c] for c in range(3)], dim=1)
    torch.testing.assert_close(normed.eval()(x), plain.eval()(by_hand))
    assert networks.parameters(normed) == networks.parameters(plain)


def test_mean_and_deviation_stay_as_they_are_in_training():
    normed = networks.build(NORMED, (3, 8, 8), 10).train()
    normed(torch.rand(4, 3, 8, 8))
    assert normed.input_norm.running_mean.tolist() == list(MEAN)
    assert normed.input_norm.running_var.tolist() == [value**2 for value in DEVIATION]
    assert not normed.input_norm.training
    assert normed.stem.training


def test_mean_and_deviation_are_an_affine_in_hardware():
    traced = trace(networks.build(NORMED, (3, 8, 8), 10), Shape(8, 8, 3), "normed")
    assert (traced.network.layers[0].name, traced.network.layers[0].kind) == ("input_norm", "affine")
    np.testing.assert_allclose(traced.weights["input_norm.weight"], [1 / value for value in DEVIATION])
    np.testing.assert_allclose(traced.weights["input_norm.bias"], [-2.0, -0.5, -0.0625])


def test_a_mean_of_other_channels_is_told():
    with pytest.raises(BadInput) as error:
        networks.build(NORMED, (1, 8, 8), 10)
    assert str(error.value) == "network: mean has 3 values for images of 1 channels; give one each"


def test_wrn_names_its_parameters_by_group_and_block():
    names = [name for name, _ in networks.wrn(10, 1, 10, 1).named_parameters()]
    assert names == [
        "stem.weight",
        *(f"g1.b0.{name}" for name in ("bn1.weight", "bn1.bias", "conv1.weight")),
        *(f"g1.b0.{name}" for name in ("bn2.weight", "bn2.bias", "conv2.weight")),
        *(
            f"g{group}.b0.{name}"
            for group in (2, 3)
            for name in (
                "bn1.weight",
                "bn1.bias",
                "conv1.weight",
                "bn2.weight",
                "bn2.bias",
                "conv2.weight",
                "shortcut.weight",
            )
        ),
        "bn.weight",
        "bn.bias",
        "head.linear.weight",
        "head.linear.bias",
    ]


def test_preactivation_block_with_equal_channels_adds_its_raw_input():
    block = blocks.PreActivationBlock(4, 4, 1).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x)


def test_preactivation_block_with_more_channels_takes_its_shortcut_from_the_active_input():
    block = blocks.PreActivationBlock(4, 8, 2).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), block.shortcut(torch.relu(block.bn1(x))))


@pytest.mark.parametrize(
    "spec", [NetworkSpec("wrn", 10), NetworkSpec("resnet", 8), NetworkSpec("vgg", 8), NetworkSpec("plain", 5), NORMED]
)
def test_every_family_exports_and_gives_logits(spec):
    module = networks.build(spec, (3, 8, 8), 10).eval()
    images = torch.zeros(2, 3, 8, 8)
    exported = torch.export.export(module, (images,))
    assert exported.module()(images).shape == (2, 10)


def test_resnet_20_has_its_depth():
    convolutions = [part for part in networks.resnet(20, 1, 10).modules() if isinstance(part, torch.nn.Conv2d)]
    assert sum(conv.kernel_size == (3, 3) for conv in convolutions) == 19


def test_row_head_with_equal_weights_in_every_row_is_a_global_head():
    glob, rows = blocks.GlobalHead(3, 5), blocks.RowHead(3, 4, 5)
    with torch.no_grad():
        rows.conv.weight.copy_(glob.linear.weight[:, :, None, None] / 4)
        rows.conv.bias.copy_(glob.linear.bias)
    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rows(x), glob(x))


def test_factory_builds_the_users_own_network():
    module = networks.build(NetworkSpec(factory=f"{__name__}:module_factory"), (1, 8, 8), 10)
    assert module(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [
        ("nowhere", "network: factory 'nowhere' is not of the form package.module:function"),
        (
            "no_such_package:f",
            "network: factory no_such_package:f cannot be imported (No module named 'no_such_package')",
        ),
        (f"{__name__}:NOT_CALLABLE", f"network: factory {__name__}:NOT_CALLABLE is int, wanted is a function"),
        (
            f"{__name__}:no_module_factory",
            f"network: {__name__}:no_module_factory returned int, wanted is a torch.nn.Module",
        ),
        (
            f"{__name__}:half_factory",
            f"network: {__name__}:half_factory: 1.weight is torch.float16, wanted is torch.float32; model.float() does",
        ),
        (
            f"{__name__}:meta_factory",
            f"network: {__name__}:meta_factory: 1.weight is on the device meta, wanted is cpu",
        ),
        (
            f"{__name__}:lazy_factory",
            f"network: {__name__}:lazy_factory: weight has no size yet, wanted is a module that has seen an image",
        ),
        (
            f"{__name__}:scripted_factory",
            f"network: {__name__}:scripted_factory returned a ScriptModule, wanted is the module that it was made of",
        ),
        (
            f"{__name__}:silent_factory",
            f"network: {__name__}:silent_factory cannot be called with classes, channels, rows and cols "
            "(silent_factory() got an unexpected keyword argument 'classes')",
        ),
    ],
)
def test_factory_that_cannot_be_used_is_told(factory, sentence):
    with pytest.raises(BadInput) as error:
        networks.build(NetworkSpec(factory=factory), (1, 8, 8), 10)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "network: wants either a family (wrn, resnet, vgg, plain) or a factory (package.module:function)"),
        (
            {"family": "vit", "depth": 16},
            "network: family 'vit' is unknown; wanted is one of wrn, resnet, vgg, plain, or a factory",
        ),
        ({"family": "vgg", "depth": 12}, "network: vgg has no depth 12; wanted is one of 8, 11, 13, 16, 19"),
        (
            {"family": "wrn", "depth": 10, "mean": (0.5,)},
            "network: 1 values of mean and 0 of deviation; wanted are as many",
        ),
        (
            {"family": "wrn", "depth": 10, "mean": (0.5,), "deviation": (0.0,)},
            "network: mean [0.5] and deviation [0.0]; wanted are finite ones, deviations above 0",
        ),
        ({"family": "wrn"}, "network: the family wrn wants a depth"),
        ({"family": "wrn", "depth": 11}, "network: wrn has no depth 11; wanted is 6m+4 with m of 1 or more"),
        ({"family": "wrn", "depth": 10, "width": 0}, "network: width is 0, wanted is 1 or more"),
        (
            {"factory": "a:b", "depth": 3},
            "network: the factory a:b takes no depth, width or mean; set them in the function",
        ),
    ],
)
def test_network_spec_is_checked_at_birth(arguments, sentence):
    with pytest.raises(BadInput) as error:
        NetworkSpec(**arguments)
    assert str(error.value) == sentence

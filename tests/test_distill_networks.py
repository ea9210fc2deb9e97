import pytest
import torch

from distill import networks
from distill.networks import NetworkSpec
from hw.errors import BadInput


def module_factory(classes, channels, rows, cols):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * rows * cols, classes))


def no_module_factory(classes, channels, rows, cols):
    return classes


def silent_factory():
    return None


NOT_CALLABLE = 3


@pytest.mark.parametrize(("depth", "width", "count"), [(40, 4, 8_972_340), (40, 2, 2_255_156), (16, 2, 703_284)])
def test_wrn_has_the_published_number_of_parameters(depth, width, count):
    assert networks.parameters(networks.wrn(depth, width, 100)) == count


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
    block = networks.PreActivationBlock(4, 4, 1).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x)


def test_preactivation_block_with_more_channels_takes_its_shortcut_from_the_active_input():
    block = networks.PreActivationBlock(4, 8, 2).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), block.shortcut(torch.relu(block.bn1(x))))


@pytest.mark.parametrize("spec", [NetworkSpec("wrn", 10), NetworkSpec("resnet", 8), NetworkSpec("plain", 5)])
def test_every_family_exports_and_gives_logits(spec):
    module = networks.build(spec, (3, 8, 8), 10).eval()
    images = torch.zeros(2, 3, 8, 8)
    exported = torch.export.export(module, (images,))
    assert exported.module()(images).shape == (2, 10)


def test_resnet_20_has_its_depth():
    convolutions = [part for part in networks.resnet(20, 1, 10).modules() if isinstance(part, torch.nn.Conv2d)]
    assert sum(conv.kernel_size == (3, 3) for conv in convolutions) == 19


def test_row_head_with_equal_weights_in_every_row_is_a_global_head():
    glob, rows = networks.GlobalHead(3, 5), networks.RowHead(3, 4, 5)
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
        (f"{__name__}:NOT_CALLABLE", f"network: {__name__}:NOT_CALLABLE is int, wanted is a function"),
        (
            f"{__name__}:no_module_factory",
            f"network: {__name__}:no_module_factory returned int, wanted is a torch.nn.Module",
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
        ({}, "network: wants either a family (wrn, resnet, plain) or a factory (package.module:function)"),
        (
            {"family": "vgg", "depth": 16},
            "network: family 'vgg' is unknown; wanted is one of wrn, resnet, plain, or a factory",
        ),
        ({"family": "wrn"}, "network: the family wrn wants a depth"),
        ({"family": "wrn", "depth": 11}, "network: wrn has no depth 11; wanted is 6m+4 with m of 1 or more"),
        ({"family": "wrn", "depth": 10, "width": 0}, "network: width is 0, wanted is 1 or more"),
        ({"factory": "a:b", "depth": 3}, "network: the factory a:b takes no depth or width; set them in the function"),
    ],
)
def test_network_spec_is_checked_at_birth(arguments, sentence):
    with pytest.raises(BadInput) as error:
        NetworkSpec(**arguments)
    assert str(error.value) == sentence

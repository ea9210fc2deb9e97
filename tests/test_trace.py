"""A traced network, executed in floats, gives what its torch module gives; what it cannot hold is refused by name."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from distill import filters, networks, quantize
from hw.errors import BadInput, UnsupportedLayer
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.trace import trace


def randomised(module, seed=0):
    """Every parameter and running statistic away from its start, so that nothing is 0 or 1 by chance."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.running_mean.normal_(0, 0.5, generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(part.bias, 0, 0.5, generator=generator)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0, part.in_features**-0.5, generator=generator)
    return module.eval()


def executed(traced, images):
    """The network's outputs in float64, by its own weights."""
    weights = {key: torch.tensor(value) for key, value in traced.weights.items()}
    with torch.no_grad():
        return quantize.run(
            traced.network, lambda layer, kind: weights.get(f"{layer.name}.{kind}"), images.double(), lambda _, x: x
        )


def agrees(module, shape, seed=0):
    """Trace, execute, compare; the traced network."""
    randomised(module, seed)
    images = torch.randn(3, shape.channels, shape.rows, shape.cols, generator=torch.Generator().manual_seed(seed))
    traced = trace(module, shape, "net")
    for layer in traced.network.layers:
        for kind, wanted in traced.network.weight_shapes(layer).items():
            assert traced.weights[f"{layer.name}.{kind}"].shape == wanted
    with torch.no_grad():
        expected = module.double()(images.double())
    found = executed(traced, images).reshape(expected.shape)
    assert expected.std() > 1e-3
    assert torch.allclose(found, expected, rtol=0, atol=1e-9 * max(1.0, float(expected.abs().max())))
    return traced.network


WRN, SMALL = (10, 1, 5), Shape(12, 8, 3)


def converted(kind, rows="skip", head="global"):
    model = networks.wrn(*WRN)
    return filters.convert(model, filters.plan_of(model, kind), rows=rows, head=head, data_shape=(3, 12, 8))


@pytest.mark.parametrize("kind", filters.KINDS)
@pytest.mark.parametrize("rows", filters.ROW_POLICIES)
def test_every_conversion_of_a_wide_resnet(kind, rows):
    agrees(converted(kind, rows), SMALL)


@pytest.mark.parametrize("rows", filters.ROW_POLICIES)
def test_heads_that_know_their_rows(rows):
    network = agrees(converted("row", rows, "rows"), SMALL)
    assert network.output.kernel == (12 if rows == "keep" else 3, 1)


@pytest.mark.parametrize("make", [networks.resnet, networks.plain])
def test_resnet_and_plain_networks(make):
    agrees(make(8, 1, 5), SMALL)
    agrees(filters.on_the_fly(make(8, 1, 5), rows="mean", stem="full"), SMALL)


def vgg(*, dropout=0.5):
    """Convs with biases, max pooling, and a classifier over a map that is neither square nor 1x1."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(8 * 3 * 5, 12),
        nn.ReLU(),
        nn.Linear(12, 4),
    )


def test_a_vgg_with_a_classifier_over_a_map():
    network = agrees(vgg(), Shape(12, 20, 3))
    assert str(network) == (
        "net: input 12x20x3\n"
        "  0      conv 3x3 padding 1,1,1,1 bias  input -> 12x20x6\n"
        "  1      affine relu  0 -> 12x20x6\n"
        "  3.max  max 2x2 stride 2,2  1 -> 6x10x6\n"
        "  4      conv 3x3 padding 1,1,1,1 bias relu  3.max -> 6x10x8\n"
        "  6.max  max 3x3 stride 2,2 padding 1,1,1,1  4 -> 3x5x8\n"
        "  9      conv 3x5 bias relu  6.max -> 1x1x12\n"
        "  11     conv 1x1 bias  9 -> 1x1x4"
    )


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d((2, 3), stride=(1, 2)),
        nn.AvgPool2d((1, 2)),
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.AdaptiveAvgPool2d((2, None)),
        nn.AdaptiveAvgPool2d((None, 1)),
        nn.MaxPool2d((2, 1), stride=(2, 3)),
        nn.MaxPool2d(3, stride=1, padding=(1, 0)),
        nn.MaxPool2d((3, 5), padding=(1, 2)),
    ],
    ids=str,
)
def test_poolings(pool):
    agrees(nn.Sequential(nn.Conv2d(2, 3, 1), pool, nn.Conv2d(3, 2, 1)), Shape(6, 8, 2))


@pytest.mark.parametrize("kernel", [(1, 3), (3, 1), (2, 2), (2, 4), (5, 3)])
@pytest.mark.parametrize("padding", ["same", "valid", 0])
def test_kernels_and_paddings_by_name(kernel, padding):
    agrees(nn.Conv2d(2, 3, kernel, padding=padding), Shape(6, 7, 2))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [((1, 3), (2, 1), (0, 1)), ((3, 1), (1, 2), (1, 0)), ((3, 3), (3, 2), (2, 0))]
)
def test_rows_and_cols_are_not_mixed_up(kernel, stride, padding):
    network = agrees(nn.Conv2d(2, 3, kernel, stride, padding), Shape(6, 9, 2))
    rows, cols = padding
    assert network.layers == (
        Layer("weight", "conv", (INPUT,), 3, Size(*kernel), Size(*stride), Padding(rows, rows, cols, cols), bias=True),
    )


class Parts(nn.Module):
    """Layers to compose in a lambda."""

    def __init__(self, compose):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.c = nn.Conv2d(4, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.bare_norm = nn.BatchNorm2d(4, affine=False)
        self.flat_norm = nn.BatchNorm1d(4 * 4 * 6)
        self.dense = nn.Linear(4, 5)
        self.flat_dense = nn.Linear(4 * 4 * 6, 5)
        self.dense_norm = nn.BatchNorm1d(5)
        self.drop = nn.Dropout()
        self.five = nn.Parameter(torch.ones(1, 5, 1, 1))
        self.register_buffer("passing", torch.ones(4, 4, 1, 1), persistent=False)
        self.compose = compose

    def forward(self, *inputs):
        return self.compose(self, *inputs)


MAP = Shape(4, 6, 3)


def shared_after(m, y, change):
    return m.b(change(y)) + y


@pytest.mark.parametrize(
    "compose",
    {
        "a ReLU whose layer another reads raw": lambda m, x: shared_after(m, m.a(x), torch.relu),
        "a ReLU behind a dropout whose layer another reads raw": lambda m, x: shared_after(
            m, m.a(x), lambda y: torch.relu(m.drop(y))
        ),
        "a ReLU behind a concat of one map that another reads raw": lambda m, x: shared_after(
            m, m.a(x), lambda y: torch.relu(torch.cat([y], 1))
        ),
        "a ReLU behind an upsampling by one that another reads raw": lambda m, x: shared_after(
            m, m.a(x), lambda y: torch.relu(F.interpolate(y, scale_factor=1.0))
        ),
        "a ReLU of a flattened map that another reads raw": lambda m, x: (
            lambda y: m.flat_dense(torch.relu(torch.flatten(y, 1))) + m.flat_dense(torch.flatten(y, 1))
        )(m.a(x)),
        "a layer added to itself with a factor": lambda m, x: (lambda y: torch.add(y, y, alpha=3))(m.a(x)),
        "a ReLU that two read": lambda m, x: (lambda y: m.b(y) + m.c(y))(torch.relu(m.a(x))),
        "a ReLU of an add": lambda m, x: (lambda y: torch.relu(m.b(y) + m.c(y)))(m.a(x)),
        "a ReLU in place, read before and after": lambda m, x: (
            lambda y: (lambda z: m.b(F.relu(y, inplace=True)) + z + y)(m.c(y))
        )(m.a(x)),
        "a ReLU of the image": lambda m, x: m.b(m.a(torch.relu(x))) + m.a(x),
        "two ReLUs in a row": lambda m, x: torch.relu(torch.relu(m.a(x))),
        "a conv used twice": lambda m, x: m.c(m.c(m.a(x))),
        "an add in place": lambda m, x: (lambda y: m.c(m.b(y).add_(y)))(m.a(x)),
        "a batch norm without scale and shift": lambda m, x: m.bare_norm(m.a(x)),
        "a batch norm of an add": lambda m, x: (lambda y: m.norm(m.b(y) + y))(m.a(x)),
        "a batch norm behind a dense layer": lambda m, x: m.dense_norm(m.dense(m.a(x).mean((2, 3)))),
        "a mean that drops its axes": lambda m, x: m.dense(torch.relu(m.a(x)).mean((-1, -2))),
        "a mean over rows": lambda m, x: m.c(m.a(x).mean(2, keepdim=True)),
        "a mean over columns": lambda m, x: m.c(m.a(x).mean(3, keepdim=True)),
        "a mean of pairs of rows": lambda m, x: m.c(F.avg_pool2d(m.a(x), (2, 1))),
        "a concat of maps": lambda m, x: torch.cat((m.a(x), x), 1),
        "a concat by a negative axis": lambda m, x: (lambda y: torch.cat((m.b(y), m.c(y), y), -3))(m.a(x)),
        "a flattened map behind a dropout": lambda m, x: m.flat_dense(m.drop(torch.flatten(m.a(x), 1))),
        "a branch that nobody reads": lambda m, x: (m.b(m.a(x)), m.c(m.a(x)))[1],
    }.items(),
    ids=lambda item: item[0],
)
def test_graphs(compose):
    agrees(Parts(compose[1]), MAP)


def test_a_relu_that_alone_reads_its_layer_belongs_to_it():
    network = agrees(Parts(lambda m, x: m.c(torch.relu(m.drop(m.a(x))))), MAP)
    assert [(layer.name, layer.relu) for layer in network.layers] == [("a", True), ("c", False)]


def test_only_what_the_output_needs_is_kept():
    network = agrees(Parts(lambda m, x: (m.b(m.a(x)), m.c(m.a(x)))[1]), MAP)
    assert [layer.kind for layer in network.layers] == ["conv", "conv"]


def test_random_convs_pools_and_joins_of_many_sizes():
    torch.manual_seed(1)
    for seed in range(6):
        rng = torch.Generator().manual_seed(seed)
        rows, cols = (int(x) for x in torch.randint(5, 11, (2,), generator=rng))
        kernel = tuple(int(x) for x in torch.randint(1, 4, (2,), generator=rng))
        stride = tuple(int(x) for x in torch.randint(1, 4, (2,), generator=rng))
        module = nn.Sequential(nn.Conv2d(2, 3, kernel, stride), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
        module(torch.zeros(1, 2, rows, cols))
        agrees(module, Shape(rows, cols, 2), seed)


def refusal(module, shape=MAP, kind=UnsupportedLayer):
    with pytest.raises(kind) as error:
        trace(module, shape, "net")
    return str(error.value)


def named(part):
    """The module as the second layer, named `odd`."""
    module = nn.Sequential()
    module.add_module("first", nn.Conv2d(3, 4, 1))
    module.add_module("odd", part)
    return module


KNOWN = "only conv, batch norm, activations, add, concat, pooling, mean, upsampling, flatten and linear are known"


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (
            nn.Conv2d(4, 4, 1, groups=2),
            "layer odd: a conv of 2 groups from 4 to 4 channels is not supported; "
            "distill.dense.dense(model) makes it a plain conv with zeros between its weights",
        ),
        (
            nn.Conv2d(4, 4, 3, dilation=(1, 2), padding=2),
            "layer odd: a conv of dilation (1, 2) is not supported; "
            "distill.dense.dense(model) makes it a plain conv with zeros between its weights",
        ),
        (nn.Mish(), "layer odd: mish is not supported; SiLU would do"),
        (nn.PReLU(), "layer odd: prelu is not supported; LeakyReLU, whose slope is one number, would do"),
        (nn.SELU(), "layer odd: selu is not supported; ELU would do"),
        (
            nn.Softplus(beta=2),
            "layer odd: softplus of beta 2 and threshold 20 is not supported; beta 1 and threshold 20 would do",
        ),
        (
            nn.LeakyReLU(float("nan")),
            "layer odd: leaky_relu (function leaky_relu:nan: behind leaky_relu one finite number is wanted, each "
            "behind a colon as in leaky_relu:0.01) is not supported; other numbers, or a ReLU, would do",
        ),
        (nn.GroupNorm(2, 4), "layer odd: group_norm is not supported; batch norm would do"),
        (
            nn.AdaptiveMaxPool2d(1),
            "layer odd: adaptive_max_pool2d is not supported; nn.MaxPool2d with the whole map as its kernel would do",
        ),
        (
            nn.MaxPool2d(2, dilation=2),
            "layer odd: max pooling with dilation is not supported; plain max pooling would do",
        ),
        (
            nn.AvgPool2d(3, padding=1, count_include_pad=False),
            "layer odd: average pooling that leaves out its padding is not supported; count_include_pad=True would do",
        ),
        (
            nn.AvgPool2d(3, 2, ceil_mode=True),
            "layer odd: average pooling with a last window cut short is not supported; ceil_mode=False would do",
        ),
        (
            nn.AdaptiveAvgPool2d((3, 2)),
            "layer odd: adaptive pooling of 4x6 to (3, 2) is not supported; sizes that divide would do",
        ),
        (
            nn.Flatten(2),
            "layer odd: flatten from axis 2 to -1 is not supported; flatten(1) would do",
        ),
        (
            nn.BatchNorm2d(4, track_running_stats=False),
            "layer odd: batch norm without running statistics is not supported; track_running_stats=True would do",
        ),
        (nn.Linear(6, 2), "layer odd: a linear layer on 4 axes is not supported; flatten(1) before it would do"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_layer_that_no_machine_executes_is_refused_by_name(part, sentence):
    assert refusal(named(part)) == sentence


@pytest.mark.parametrize(
    ("part", "function"),
    [
        (nn.LeakyReLU(), "leaky_relu:0.01"),
        (nn.LeakyReLU(0.2, inplace=True), "leaky_relu:0.2"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.Tanh(), "tanh"),
        (nn.SiLU(), "silu"),
        (nn.SiLU(inplace=True), "silu"),
        (nn.Hardswish(), "hardswish"),
        (nn.Hardsigmoid(), "hardsigmoid"),
        (nn.GELU(), "gelu"),
        (nn.GELU(approximate="tanh"), "gelu_tanh"),
        (nn.ELU(), "elu:1"),
        (nn.ELU(0.5), "elu:0.5"),
        (nn.Softplus(), "softplus"),
        (nn.ReLU6(), "clip:0:6"),
        (nn.Hardtanh(), "clip:-1:1"),
        (nn.Hardtanh(-0.5, 2), "clip:-0.5:2"),
    ],
)
def test_activations_are_tables_of_their_functions(part, function):
    module = nn.Sequential()
    module.add_module("first", nn.Conv2d(3, 4, 1))
    module.add_module("act", part)
    nn.init.normal_(module.first.weight, 0, 2)
    found = agrees(module, MAP).output
    assert (found.kind, found.function, found.inputs) == ("table", function, ("first",))
    assert found.name.startswith("act.")


@pytest.mark.parametrize(
    ("compose", "factor"),
    [
        (lambda m, x: nn.Upsample(scale_factor=2)(m.a(x)), (2, 2)),
        (lambda m, x: nn.UpsamplingNearest2d(scale_factor=3)(m.a(x)), (3, 3)),
        (lambda m, x: nn.Upsample(size=(8, 6))(m.a(x)), (2, 1)),
        (lambda m, x: F.interpolate(m.a(x), scale_factor=(1, 3)), (1, 3)),
        (lambda m, x: F.interpolate(m.a(x), size=(12, 12), mode="nearest-exact"), (3, 2)),
        (lambda m, x: F.interpolate(m.a(x), scale_factor=2.0, recompute_scale_factor=True), (2, 2)),
    ],
)
def test_nearest_upsampling_by_whole_factors(compose, factor):
    found = agrees(Parts(compose), MAP).output
    assert (found.kind, found.factor) == ("upsample", factor)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (F.leaky_relu, "leaky_relu:0.01"),
        (lambda x: F.leaky_relu(x, negative_slope=0.3), "leaky_relu:0.3"),
        (torch.sigmoid, "sigmoid"),
        (torch.tanh, "tanh"),
        (F.silu, "silu"),
        (F.hardswish, "hardswish"),
        (F.gelu, "gelu"),
        (F.relu6, "clip:0:6"),
        (lambda x: x.clamp(-2, 3), "clip:-2:3"),
        (lambda x: torch.clamp(x, max=1, min=0), "clip:0:1"),
    ],
)
def test_functional_activations_are_tables_too(function, word):
    assert agrees(Parts(lambda m, x: function(m.a(x))), MAP).output.function == word


def test_a_relu_behind_a_table_is_the_tables():
    found = agrees(Parts(lambda m, x: F.relu(torch.tanh(m.a(x)))), MAP)
    assert [(layer.kind, layer.relu) for layer in found.layers] == [("conv", False), ("table", True)]


@pytest.mark.parametrize(
    ("compose", "sentence"),
    [
        (
            lambda m, x: F.interpolate(m.a(x), scale_factor=2, mode="bilinear"),
            "layer upsample_bilinear2d: upsample_bilinear2d is not supported; "
            "nearest upsampling by whole factors would do",
        ),
        (
            lambda m, x: F.interpolate(m.a(x), size=(6, 6)),
            "layer upsample_nearest2d: upsampling of 4x6 to 6x6 is not supported; whole factors would do",
        ),
        (
            lambda m, x: F.interpolate(m.a(x), scale_factor=2.1),
            "layer upsample_nearest2d: upsampling of 4x6 to 8x12 is not supported; whole factors would do",
        ),
        (
            lambda m, x: F.pixel_shuffle(m.a(x), 2),
            "layer pixel_shuffle: pixel_shuffle is not supported; "
            "nearest upsampling by whole factors would do with a conv behind it",
        ),
        (
            lambda m, x: m.a(x).clamp(max=1),
            "layer clamp: a clamp of one bound is not supported; two bounds, or a ReLU, would do",
        ),
        (
            lambda m, x: m.c(m.a(x)) * m.a(x),
            "layer mul: a product of two maps (squeeze-and-excitation, attention, a gate) is not supported; "
            "the network without it would do; a SiLU written as x times sigmoid(x) is known",
        ),
        (
            lambda m, x: m.a(x).reshape(1, 2, 2, 4, 6),
            "layer reshape: reshape from (1, 4, 4, 6) to (1, 2, 2, 4, 6) is not supported; flatten(1) would do; "
            "channels that are shuffled want a 1x1 conv",
        ),
        (
            lambda m, x: torch.cat((m.a(x), m.b(m.a(x))), 2),
            "layer cat: a concat along axis 2 is not supported; a concat of channels (axis 1) would do",
        ),
        (
            lambda m, x: torch.add(m.a(x), m.c(m.a(x)), alpha=2),
            "layer add: an add with a factor is not supported; a factor in a conv's weights would do",
        ),
        (
            lambda m, x: (lambda y: y + y.mean(3, keepdim=True))(m.a(x)),
            "layer add: an add of shapes (1, 4, 4, 6) and (1, 4, 4, 1) is not supported; equal shapes would do",
        ),
        (
            lambda m, x: m.a(x).mean(1, keepdim=True),
            "layer mean: a mean over axes [1] is not supported; "
            "a mean over rows and columns, or over one with keepdim=True, would do",
        ),
        (
            lambda m, x: m.a(x).mean(3),
            "layer mean: a mean over axes [3] is not supported; "
            "a mean over rows and columns, or over one with keepdim=True, would do",
        ),
        (
            lambda m, x: torch.flatten(m.a(x), 1) + torch.flatten(m.c(m.a(x)), 1),
            "layer add: add after flatten is not supported; a linear layer or the end would do",
        ),
        (
            lambda m, x: m.flat_norm(m.drop(torch.flatten(m.a(x), 1))),
            "layer flat_norm: batch norm of a flattened map is not supported; batch norm before flatten would do",
        ),
        (
            lambda m, x: F.conv2d(m.a(x), m.passing * m.a(x).mean()),
            "layer mean: a mean over axes [] is not supported; "
            "a mean over rows and columns, or over one with keepdim=True, would do",
        ),
        (
            lambda m, x: F.conv2d(m.a(x), m.a(x)),
            "layer conv2d_1: weights that are computed from the image are not supported; a parameter would do",
        ),
        (
            lambda m, x: torch.rsub(m.a(x), 3.0, alpha=2),
            "layer rsub: a difference with a factor is not supported; one without would do",
        ),
        (
            lambda m, x: torch.div(m.a(x), 0.3, rounding_mode="floor"),
            "layer div: a quotient of rounding_mode floor is not supported; one without would do",
        ),
        (
            lambda m, x: m.dense(m.a(x).mean((2, 3))) * m.five,
            "layer p_five: a constant of shape (1, 5, 1, 1) beside a map is not supported; a number, or one a channel "
            "(channels,), would do",
        ),
        (
            lambda m, x: F.dropout(m.a(x), 0.5, True),
            "layer dropout: a dropout that drops in evaluation too is not supported; "
            "nn.Dropout, or training=self.training, would do",
        ),
        (
            lambda m, x: F.batch_norm(m.a(x), m.norm.running_mean, m.norm.running_var, training=True),
            "layer batch_norm: batch norm without running statistics is not supported; "
            "track_running_stats=True would do",
        ),
        (
            lambda m, x: (m.a(x), m.c(m.a(x))),
            "network net: 1 inputs and 2 outputs were found, one of each is wanted",
        ),
    ],
)
def test_an_operation_that_no_machine_executes_is_refused(compose, sentence):
    assert refusal(Parts(compose)) == sentence


def test_a_module_of_two_images_is_refused():
    told = refusal(Parts(lambda m, x, y: m.a(x) + m.a(y)), kind=BadInput)
    assert told.startswith("network net: torch cannot export it (TypeError: ")
    assert "missing 1 required positional argument: 'y'" in told


def test_a_module_that_wants_another_shape_is_refused():
    told = refusal(nn.Conv2d(2, 3, 1), kind=BadInput)
    assert told.startswith("network net: torch cannot export it (")
    assert "\n" not in told


def test_a_layer_added_to_itself_is_a_scale():
    network = agrees(Parts(lambda m, x: (lambda y: y + y)(m.a(x))), MAP)
    assert [layer.kind for layer in network.layers] == ["conv", "affine"]


def modes(module):
    return {name: part.training for name, part in module.named_modules()}


@pytest.mark.parametrize("training", [True, False])
def test_training_modes_are_left_as_they_were_found(training):
    module = vgg().train(training)
    module[1].train(not training)
    before = modes(module)
    trace(module, Shape(12, 20, 3), "net")
    assert modes(module) == before


def test_training_modes_survive_a_refusal():
    module = vgg().train()
    with pytest.raises(BadInput):
        trace(module, Shape(12, 20, 4), "net")
    assert set(modes(module).values()) == {True}


def test_a_trace_does_not_depend_on_the_mode_it_is_taken_in():
    module = randomised(vgg())
    found = [trace(module.train(training), Shape(12, 20, 3), "net") for training in (True, False)]
    assert found[0].network == found[1].network
    assert all((found[0].weights[key] == value).all() for key, value in found[1].weights.items())


def test_running_statistics_are_not_touched():
    module = randomised(vgg()).train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    trace(module, Shape(12, 20, 3), "net")
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_the_same_module_traces_to_the_same_network():
    assert trace(vgg(), Shape(12, 20, 3), "n").network == trace(vgg(), Shape(12, 20, 3), "n").network
    assert isinstance(trace(vgg(), Shape(12, 20, 3), "n").network, Network)


def test_weights_that_are_not_finite_are_told():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.Conv2d(2, 2, 1))
    with torch.no_grad():
        model[1].weight[0, 0] = float("nan")
    with pytest.raises(BadInput, match=r"^layer 1: 1\.weight holds NaN or infinity; train it again$"):
        trace(model, Shape(2, 2, 1), "nan")

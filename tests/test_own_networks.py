"""Modules as strangers write them: each is traced and equals torch in every execution, or is refused in a sentence."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_quantize import twin, values_of
from test_rtl import expect_exact, needs
from test_trace import agrees
from torch import nn
from torch.nn.utils import prune

from hw.accelerator import Budget, LineEngine
from hw.errors import PacemakerError
from hw.network import Shape
from hw.passes import executed, fold_weights
from hw.reference import layer_outputs
from hw.trace import trace
from sim import folding
from sim.run import simulate

SHAPE = Shape(6, 8, 3)
ENGINE = LineEngine("l", 2, 4, 1 << 20, 1 << 20, 4.0, 5, 100.0)


class Own(nn.Module):
    """A forward pass written as a function of the module and its input, and its parts."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def conv(inputs, outputs, kernel=3, **given):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **given)


def spread(*parts):
    """A module that starts with a conv of four channels."""
    return nn.Sequential(conv(3, 4), *parts)


def after(function, **parts):
    """A function of what a conv of four channels gives."""
    return Own(lambda m, x: function(m, m.a(x)), a=conv(3, 4), **parts)


def normalised():
    mean, deviation = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.5])
    return Own(
        lambda m, x: m.a((x - m.mean) / m.deviation),
        a=conv(3, 4),
        mean=mean.view(1, 3, 1, 1),
        deviation=deviation.view(3, 1, 1),
    )


def gate():
    """Squeeze-and-excitation, its sigmoid as the ReLU of a ReLU."""
    return after(lambda m, y: y * F.relu(m.up(y.mean((2, 3), keepdim=True))), up=nn.Conv2d(4, 4, 1))


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.Sequential(conv(3, 4)))


def shuffled(m, y):
    return m.b(y.view(1, 2, 2, 6, 8).transpose(1, 2).reshape(1, 4, 6, 8))


def standardised():
    """Filters that are shifted and scaled when they are used, as in networks without norms."""

    def run(m, y):
        w = m.w - m.w.mean((1, 2, 3), keepdim=True)
        return F.conv2d(y, w / w.std((1, 2, 3), keepdim=True) * m.gain.exp()[:, None, None, None], padding=1)

    return after(run, w=nn.Parameter(torch.randn(5, 4, 3, 3)), gain=nn.Parameter(torch.zeros(5) - 1))


def swish(y):
    return F.hardsigmoid(y) * y


WORKS = {
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(conv(3, 4)),
    "spectral norm": lambda: spread(nn.utils.parametrizations.spectral_norm(conv(4, 4))),
    "pruned filters": lambda: spread(prune.l1_unstructured(conv(4, 4), "weight", 0.5)),
    "filters that are computed": standardised,
    "a constant first": lambda: after(
        lambda m, y: 1.5 - m.p * (m.q[0] + (m.q.view(1, 4, 1, 1) - m.b(-y))),
        b=conv(4, 4),
        p=nn.Parameter(torch.rand(4, 1, 1)),
        q=nn.Parameter(torch.rand(4)),
    ),
    "constants of two types": lambda: after(
        lambda m, y: y * (m.p @ torch.ones(4, dtype=m.p.dtype)).view(4, 1, 1), p=nn.Parameter(torch.rand(4, 4))
    ),
    "constants made in between": lambda: after(
        lambda m, y: y * torch.tensor([0.5, 1.0, 2.0, 4.0]).view(4, 1, 1) + torch.ones(1)
    ),
    "kernels that are not square": lambda: nn.Sequential(
        nn.Conv2d(3, 4, (1, 5), padding=(0, 2)),
        nn.ReLU(),
        nn.Conv2d(4, 4, (5, 1), (2, 1)),
        nn.Conv2d(4, 2, (1, 3), (1, 3)),
    ),
    "concat": lambda: Own(lambda m, x: m.c(torch.cat([m.a(x), m.b(x)], 1)), a=conv(3, 4), b=conv(3, 2), c=conv(6, 4)),
    "a module used twice": lambda: Own(lambda m, x: m.b(m.b(m.a(x))), a=conv(3, 4), b=conv(4, 4)),
    "functions and parameters": lambda: Own(
        lambda m, x: F.relu(F.conv2d(x, m.w, m.v, padding=1)),
        w=nn.Parameter(torch.randn(4, 3, 3, 3)),
        v=nn.Parameter(torch.randn(4)),
    ),
    "view to a list": lambda: after(lambda m, y: m.b(y.view(y.size(0), -1)), b=nn.Linear(192, 5)),
    "dropout and identity": lambda: spread(nn.Dropout2d(), nn.Identity(), nn.Dropout(), nn.ReLU()),
    "products by numbers": lambda: Own(lambda m, x: m.a(x * 2) / 3, a=conv(3, 4)),
    "numbers added": lambda: after(lambda m, y: 1 - (y + 0.5)),
    "an input normalised by buffers": normalised,
    "a map added to itself": lambda: after(lambda m, y: y + y),
    "a concat with itself": lambda: after(lambda m, y: m.b(torch.cat([y, F.relu(y), y], 1)), b=conv(12, 4)),
    "a map added to itself under another name": lambda: after(lambda m, y: m.d(y) + y, d=nn.Dropout()),
    "a layer called output": lambda: Own(lambda m, x: m.b(m.output(x)), output=conv(3, 4), b=conv(4, 2)),
    "zeros on two sides": lambda: nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 2)), nn.Conv2d(3, 4, (4, 3), 2), nn.ZeroPad2d(1), nn.Conv2d(4, 2, 3, padding=(0, 1))
    ),
    "a number from a parameter": lambda: after(lambda m, y: y * m.k.item(), k=nn.Parameter(torch.tensor(0.25))),
    "scaled logits": lambda: after(
        lambda m, y: m.b(y.flatten(1)) * m.k - m.k, b=nn.Linear(192, 3), k=nn.Parameter(torch.rand(3))
    ),
    "lists of two means": lambda: after(
        lambda m, y: torch.cat([y.mean((2, 3)), m.b(y).mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1)], 1),
        b=conv(4, 2),
    ),
    "batch norm of a list": lambda: spread(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3)),
    "sigmoid of a list": lambda: spread(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Sigmoid()),
    "a SiLU and a hard swish written out": lambda: after(lambda m, y: swish(m.b(y * torch.sigmoid(y))), b=conv(4, 4)),
    "a hard swish of older code": lambda: after(
        lambda m, y: (lambda z: z * F.relu6(z + 3) / 6)(m.b(y)) + F.relu6(m.c(y) + 3) / 6, b=conv(4, 4), c=conv(4, 4)
    ),
    "a gate of older code": lambda: after(
        lambda m, y: (lambda z: (F.relu6(z + 3) * (1 / 6)) * z)(m.b(y)), b=conv(4, 4)
    ),
    "a hard swish that is scaled": lambda: after(
        lambda m, y: (lambda z: (z * (F.relu6(z + 3.0) / 2)) / 6 * 6)(m.b(y)), b=conv(4, 4)
    ),
    "a hard swish whose sixfold is read too": lambda: after(
        lambda m, y: (lambda z: z / 6 + m.b(z))(y * F.relu6(y + 3)), b=conv(4, 4)
    ),
    "sums that begin with 0": lambda: after(
        lambda m, y: F.relu(sum([m.b(y), m.c(y)]) + 0.0) * 1 - torch.zeros(4, 1, 1), b=conv(4, 4), c=conv(4, 4)
    ),
    "a product taken back of a map that others read": lambda: after(
        lambda m, y: (lambda z: F.relu(z * 6 / 6) + z)(m.b(y)), b=conv(4, 4)
    ),
    "without gradients": lambda: Own(torch.no_grad()(lambda m, x: m.a(x)), a=conv(3, 4)),
    "a part that nobody reads": lambda: after(lambda m, y: (y.softmax(1), m.b(y))[1], b=conv(4, 2)),
    "in place": lambda: after(lambda m, y: y + m.b(F.relu_(y)), b=conv(4, 4)),
    "batch norm without weights": lambda: spread(nn.BatchNorm2d(4, affine=False), nn.ReLU()),
    "depthwise and pointwise": lambda: spread(
        nn.Conv2d(4, 4, 3, 2, 1, groups=4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 5, 1)
    ),
    "windows that hang over": lambda: spread(
        nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d((2, 3), 2, (1, 1), ceil_mode=True)
    ),
    "a mean that counts its padding": lambda: spread(
        nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(2, divisor_override=3)
    ),
    "a layer that nobody reads": lambda: Own(lambda m, x: m.a(x), a=conv(3, 4), b=conv(3, 4)),
    "dropout in place on a list": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(inplace=True), nn.Linear(144, 8)),
    "train mode": lambda: spread(nn.BatchNorm2d(4), nn.Dropout(0.5)).train(),
    "layers on a list": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(144, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
    ),
}
DENSE = "distill.dense.dense(model) makes it a plain conv with zeros between its weights"
ZEROS = "zeros around a map that convs alone read would do, or the padding of the pool behind it"
AGAIN = "relu in place on a map that is read again is not supported; inplace=False would do"
SAME = "network net: its output is the same for every image; one that depends on it is wanted"
FLAT = "flatten(1) would do; channels that are shuffled want a 1x1 conv"
OUTSIDE = "nearest upsampling by whole factors would do with a conv behind it"
GATE = "the network without it would do; a SiLU written as x times sigmoid(x) is known"
REFUSED = {
    "a gate of another shift": (
        lambda: after(lambda m, y: y * F.relu6(y + 2)),
        f"layer mul: a product of two maps (squeeze-and-excitation, attention, a gate) is not supported; {GATE}",
    ),
    "a gate of another bound": (
        lambda: after(lambda m, y: y * F.hardtanh(y + 3, 0, 5)),
        f"layer mul: a product of two maps (squeeze-and-excitation, attention, a gate) is not supported; {GATE}",
    ),
    "a gate of another map": (
        lambda: after(lambda m, y: y * F.relu6(m.b(y) + 3), b=conv(4, 4)),
        f"layer mul: a product of two maps (squeeze-and-excitation, attention, a gate) is not supported; {GATE}",
    ),
    "a gate behind a relu": (
        lambda: after(lambda m, y: y * F.relu6(F.relu(y + 3))),
        f"layer mul: a product of two maps (squeeze-and-excitation, attention, a gate) is not supported; {GATE}",
    ),
    "grouped": (
        lambda: spread(conv(4, 6, groups=2)),
        f"layer 1: a conv of 2 groups from 4 to 6 channels is not supported; {DENSE}",
    ),
    "channel multiplier": (
        lambda: spread(conv(4, 8, groups=4)),
        f"layer 1: a conv of 4 groups from 4 to 8 channels is not supported; {DENSE}",
    ),
    "dilated": (
        lambda: spread(nn.Conv2d(4, 4, 3, dilation=2)),
        f"layer 1: a conv of dilation (2, 2) is not supported; {DENSE}",
    ),
    "squeeze and excite": (
        gate,
        (
            "layer mul: a product of two maps (squeeze-and-excitation, attention, a gate) is not supported; "
            "the network without it would do; a SiLU written as x times sigmoid(x) is known"
        ),
    ),
    "a difference": (
        lambda: after(lambda m, y: y - m.b(y), b=conv(4, 4)),
        "layer sub: a difference of two maps is not supported; an add behind a conv with turned signs would do",
    ),
    "two outputs": (
        lambda: after(lambda m, y: (y, y.relu())),
        "network net: 1 inputs and 2 outputs were found, one of each is wanted",
    ),
    "channel shuffle": (
        lambda: after(shuffled, b=conv(4, 4)),
        f"layer view: view from (1, 4, 6, 8) to (1, 2, 2, 6, 8) is not supported; {FLAT}",
    ),
    "axes that are swapped": (
        lambda: after(lambda m, y: y.mean((2, 3)).view(4, 1)),
        f"layer view: view from (1, 4) to (4, 1) is not supported; {FLAT}",
    ),
    "chunk": (
        lambda: after(lambda m, y: torch.cat(y.chunk(2, 1)[::-1], 1)),
        "layer chunk: chunk is not supported; a 1x1 conv picks channels",
    ),
    "slice": (
        lambda: after(lambda m, y: y[:, :2]),
        "layer slice_1: slice is not supported; a 1x1 conv picks channels, one with a stride pixels",
    ),
    "permute": (
        lambda: after(lambda m, y: y.permute(0, 2, 3, 1)),
        (
            "layer permute: permute is not supported; channels, rows and columns keep their order here; a 1x1 "
            "conv mixes channels"
        ),
    ),
    "transposed conv": (
        lambda: spread(nn.ConvTranspose2d(4, 4, 2, 2)),
        f"layer 1: conv_transpose2d is not supported; {OUTSIDE}",
    ),
    "pixel shuffle": (lambda: spread(nn.PixelShuffle(2)), f"layer 1: pixel_shuffle is not supported; {OUTSIDE}"),
    "layer norm": (
        lambda: spread(nn.LayerNorm([4, 6, 8])),
        "layer 1: layer_norm is not supported; batch norm would do",
    ),
    "group norm": (lambda: spread(nn.GroupNorm(2, 4)), "layer 1: group_norm is not supported; batch norm would do"),
    "instance norm": (
        lambda: spread(nn.InstanceNorm2d(4)),
        "layer 1: instance_norm is not supported; batch norm would do",
    ),
    "attention": (
        lambda: after(lambda m, y: F.scaled_dot_product_attention(y, y, y)),
        (
            "layer scaled_dot_product_attention: scaled_dot_product_attention is not supported; convs in "
            "place of attention would do"
        ),
    ),
    "softmax": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(144, 3), nn.Softmax(1)),
        "layer 2: softmax is not supported; the logits themselves would do, whose order is the same",
    ),
    "a constant": (
        lambda: after(lambda m, y: y + torch.ones(1, 4, 6, 8)),
        (
            "layer ones: a constant of shape (1, 4, 6, 8) beside a map is not supported; a number, or one a channel "
            "(channels, 1, 1), would do"
        ),
    ),
    "a map as parameter": (
        lambda: after(lambda m, y: y + m.p, p=nn.Parameter(torch.ones(1, 4, 6, 8))),
        (
            "layer p_p: a constant of shape (1, 4, 6, 8) beside a map is not supported; a number, or one a channel "
            "(channels, 1, 1), would do"
        ),
    ),
    "a constant in a concat": (
        lambda: after(lambda m, y: torch.cat([y, m.p], 1), p=nn.Parameter(torch.ones(1, 4, 6, 8))),
        "layer p_p: a constant takes part where only layers can; fold it into a conv",
    ),
    "a quotient by a map": (
        lambda: after(lambda m, y: 1 / y),
        (
            "layer reciprocal: reciprocal is not supported; only conv, batch norm, activations, add, concat, "
            "pooling, mean, upsampling, flatten and linear are known"
        ),
    ),
    "integers": (
        lambda: Own(lambda m, x: m.a(x.long().float()), a=conv(3, 4)),
        "layer to: a conversion to torch.int64 is not supported; real numbers throughout would do",
    ),
    "complex weights": (
        lambda: nn.Sequential(Own(lambda m, x: x, w=nn.Parameter(torch.ones(1, dtype=torch.complex64)))),
        "layer 0: weights of torch.complex64 are not supported; real ones (float32) would do",
    ),
    "weights of two types": (
        lambda: spread(conv(4, 4).half()),
        (
            "weights of one type are wanted, found were 0.bias of torch.float32, 1.bias of torch.float16; "
            "model.float() makes them alike"
        ),
    ),
    "padding by reflection": (
        lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        f"layer pad: padding [1, 1, 1, 1] by reflect is not supported; {ZEROS}",
    ),
    "padding by other numbers": (
        lambda: nn.Sequential(nn.ConstantPad2d(1, 0.5), nn.Conv2d(3, 4, 3)),
        f"layer 0: padding [1, 1, 1, 1] by constant 0.5 is not supported; {ZEROS}",
    ),
    "zeros before a pool": (
        lambda: nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3)),
        f"layer 0: padding [1, 1, 1, 1] before other than a conv is not supported; {ZEROS}",
    ),
    "in place on a map read under another name": (
        lambda: after(lambda m, y: y + m.b(F.relu_(m.d(y))), b=conv(4, 4), d=nn.Dropout()),
        f"layer relu_: {AGAIN}",
    ),
    "in place on a list of a map that is read": (
        lambda: after(lambda m, y: (y.flatten(1).relu_(), m.b(y))[1], b=conv(4, 4)),
        f"layer relu_: {AGAIN}",
    ),
    "a quotient by 0": (
        lambda: after(lambda m, y: y / 0.0),
        "layer div: a quotient by 0 is not supported; another number would do",
    ),
    "a number a pixel of a list": (
        lambda: after(lambda m, y: m.d(y.flatten(1)) * m.p, d=nn.Dropout(), p=nn.Parameter(torch.rand(192))),
        "layer mul: mul of a number a pixel is not supported; a number, or one a channel, would do",
    ),
    "a conv on a map without an axis": (
        lambda: after(lambda m, y: m.b(y.mean((2, 3), keepdim=True).squeeze(-1)), b=nn.Conv2d(1, 2, 1)),
        f"layer squeeze: squeeze from (1, 4, 1, 1) to (1, 4, 1) is not supported; {FLAT}",
    ),
    "no output": (lambda: Own(lambda m, x: None), SAME),
    "a parameter as output": (lambda: Own(lambda m, x: m.p, p=nn.Parameter(torch.ones(3))), SAME),
    "what is made of constants as output": (lambda: Own(lambda m, x: 2 * m.p, p=nn.Parameter(torch.ones(3))), SAME),
    "a lazy layer": (
        lambda: nn.Sequential(nn.LazyConv2d(3, 3)),
        "layer 0: its sizes are not known yet; show the module an image first",
    ),
    "weights without values": (
        lambda: nn.Sequential(conv(3, 4)).to("meta"),
        "layer 0: its weights are on the device meta, without values; load them first",
    ),
    "a scripted module": (
        scripted,
        "network net: a RecursiveScriptModule was found; a torch.nn.Module is wanted, as Python wrote it",
    ),
    "a class": (
        lambda: nn.ReLU,
        "network net: the class ReLU was found; a torch.nn.Module is wanted, as Python wrote it",
    ),
    "nothing": (nn.Identity, "network net: it has no layers; at least one is wanted"),
}


def built(make):
    torch.manual_seed(0)
    return make()


@pytest.mark.parametrize("name", WORKS)
def test_what_is_traced_is_the_modules_function_on_every_execution(name):
    module = built(WORKS[name])
    agrees(module, SHAPE)
    traced = trace(module, SHAPE, "net")
    form, weights = executed(traced.network), fold_weights(traced.network, traced.weights)
    fixed, student, x = twin(form, seed=0, weights=weights)
    expected = layer_outputs(student, student.images)
    for layer, value in values_of(fixed, x).items():
        assert np.array_equal(value * 2.0 ** student.fraction(layer), expected[layer]), layer
    for machine in (Budget("b", 400, 100.0), ENGINE):
        assert simulate(traced.network, machine).latency_cycles > 0


@needs("icarus")
@pytest.mark.parametrize(
    "name", ["depthwise and pointwise", "windows that hang over", "a mean that counts its padding"]
)
def test_the_rtl_executes_them(name):
    traced = trace(built(WORKS[name]), SHAPE, "net")
    form, weights = executed(traced.network), fold_weights(traced.network, traced.weights)
    _, student, _ = twin(form, seed=0, weights=weights, images=2)
    expect_exact(student, folding.pipeline(form, Budget("b", 60, 100.0)), frames=2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_real_type_are_taken_as_they_are(dtype):
    module = built(lambda: spread(nn.ReLU(), conv(4, 2))).to(dtype)
    traced = trace(module, SHAPE, "net")
    assert [layer.kind for layer in traced.network.layers] == ["conv", "conv"]
    assert np.array_equal(traced.weights["0.bias"], module[0].bias.detach().double().numpy())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_is_refused_in_one_sentence(name):
    make, sentence = REFUSED[name]
    with pytest.raises(PacemakerError) as error:
        trace(built(make), SHAPE, "net")
    assert str(error.value) == sentence


def test_what_depends_on_the_image_is_refused_with_torchs_reason(capfd):
    module = Own(lambda m, x: m.a(x) if x.sum() > 0 else m.b(x), a=conv(3, 4), b=conv(3, 4))
    with pytest.raises(PacemakerError, match=r"^network net: torch cannot export it \(GuardOnDataDependentSymNode: "):
        trace(module, SHAPE, "net")
    assert capfd.readouterr() == ("", "")

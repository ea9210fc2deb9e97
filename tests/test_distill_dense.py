"""Grouped and dilated convolutions written out: the same outputs, and a network that can be traced."""

import numpy as np
import pytest
import torch
from torch import nn

from distill.dense import dense
from hw.errors import BadInput
from hw.network import Shape
from hw.trace import trace


def random_conv(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 2, 3]))
    kernel, stride, dilation = (tuple(int(x) for x in rng.integers(1, 4, 2)) for _ in range(3))
    inputs, outputs = (groups * int(x) for x in rng.integers(1, 4, 2))
    odd = all(size % 2 or step % 2 == 0 for size, step in zip(kernel, dilation, strict=True))  # else torch warns
    padding = "same" if stride == (1, 1) and odd else tuple(int(x) for x in rng.integers(0, 2, 2))
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=bool(seed % 2))


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_outputs_are_the_same_and_nothing_is_grouped(seed, depthwise):
    torch.manual_seed(seed)
    model = nn.Sequential(random_conv(seed)).double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    written = dense(model, depthwise=depthwise)
    x = torch.randn(2, model[0].in_channels, 11, 9, dtype=torch.float64)
    assert torch.allclose(written(x), model(x), rtol=0, atol=1e-12)
    conv = model[0]
    kept = conv.groups == conv.in_channels == conv.out_channels and conv.dilation == (1, 1) and not depthwise
    assert written[0].groups == (conv.groups if kept else 1)
    assert written[0].dilation == (1, 1)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_convolution_by_itself_and_one_used_twice():
    torch.manual_seed(0)
    alone = nn.Conv2d(4, 4, 3, groups=2)
    assert dense(alone).groups == 1

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(4, 4, 3, padding=1, groups=2)
            self.b = self.a

        def forward(self, x):
            return self.b(self.a(x))

    model = Twice()
    written = dense(model)
    assert written.a is written.b
    x = torch.randn(1, 4, 5, 5)
    assert torch.allclose(written(x), model(x), atol=1e-6)


def test_what_was_refused_is_traced():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 8, 3, dilation=2))
    network = trace(dense(model), Shape(12, 12, 4), "net").network
    assert [layer.kernel for layer in network.layers] == [(3, 3), (5, 5)]


def test_a_weight_that_is_computed_is_taken_as_it_is():
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3, groups=2)))
    model[0].parametrizations.weight.original0.data *= 3
    x = torch.randn(1, 4, 5, 5)
    written = dense(model)
    assert type(written[0]) is nn.Conv2d
    assert torch.allclose(written(x), model(x), atol=1e-5)


COMPUTED = "its weight is computed from other tensors; make weight norm or pruning permanent"


def test_what_is_not_trained_stays_so():
    conv = nn.Conv2d(4, 4, 3, groups=2)
    conv.weight.requires_grad_(False)
    written = dense(conv)
    assert (written.weight.requires_grad, written.bias.requires_grad) == (False, True)


class Scaled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def test_what_would_lose_something_is_refused():
    assert dense(nn.Sequential(Scaled(4, 4, 3)))[0].groups == 1
    for conv, sentence in (
        (Scaled(4, 4, 3, groups=2), "it is a Scaled, which cannot be written out; put an nn.Conv2d in its place"),
        (nn.LazyConv2d(4, 3, dilation=2), "it is a LazyConv2d, which cannot be written out; show it an image first"),
        (nn.utils.spectral_norm(nn.Conv2d(4, 4, 3, groups=2)), COMPUTED),
    ):
        with pytest.raises(BadInput) as error:
            dense(nn.Sequential(conv))
        assert str(error.value) == f"0: {sentence}"


def test_what_torch_cannot_copy_is_refused():
    kept = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    kept.tensor = 2 * kept[0].weight
    with pytest.raises(BadInput) as error:
        dense(kept)
    assert str(error.value) == (
        "network: it cannot be copied (Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
        "protocol); make weight norm or pruning permanent, and keep no tensor of a computation in a module"
    )

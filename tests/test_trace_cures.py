"""Every cure that `hw.trace` knows for an operation is told by a module that has it: none is out of date."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hw import trace
from hw.errors import UnsupportedLayer
from hw.network import Shape

LIKE = (1, 4, 6, 8)
OPERATIONS = {
    "mish": lambda m, y: F.mish(y),
    "selu": lambda m, y: F.selu(y),
    "celu": lambda m, y: F.celu(y),
    "prelu": lambda m, y: F.prelu(y, m.slope),
    "clamp_min": lambda m, y: y.clamp_min(0),
    "clamp_max": lambda m, y: y.clamp_max(0),
    "maximum": lambda m, y: torch.maximum(y, m.map),
    "minimum": lambda m, y: torch.minimum(y, m.map),
    "group_norm": lambda m, y: F.group_norm(y, 2),
    "layer_norm": lambda m, y: F.layer_norm(y, (8,)),
    "instance_norm": lambda m, y: F.instance_norm(y),
    "rms_norm": lambda m, y: F.rms_norm(y, (8,)),
    "upsample_bilinear2d": lambda m, y: F.interpolate(y, scale_factor=2, mode="bilinear"),
    "upsample_bicubic2d": lambda m, y: F.interpolate(y, scale_factor=2, mode="bicubic"),
    "_upsample_bilinear2d_aa": lambda m, y: F.interpolate(y, (12, 16), mode="bilinear", antialias=True),
    "_upsample_bicubic2d_aa": lambda m, y: F.interpolate(y, (12, 16), mode="bicubic", antialias=True),
    "conv_transpose2d": lambda m, y: F.conv_transpose2d(y, m.conv.weight),
    "pixel_shuffle": lambda m, y: F.pixel_shuffle(y, 2),
    "conv3d": lambda m, y: F.conv3d(y, m.cube),
    "adaptive_max_pool2d": lambda m, y: F.adaptive_max_pool2d(y, 1),
    "amax": lambda m, y: y.amax((2, 3)),
    "sum": lambda m, y: y.sum((2, 3)),
    "matmul": lambda m, y: y @ m.matrix,
    "einsum": lambda m, y: torch.einsum("brcw,wk->brck", y, m.matrix),
    "scaled_dot_product_attention": lambda m, y: F.scaled_dot_product_attention(y, y, y),
    "softmax": lambda m, y: y.softmax(1),
    "log_softmax": lambda m, y: y.log_softmax(1),
    "permute": lambda m, y: y.permute(0, 2, 3, 1),
    "transpose": lambda m, y: y.transpose(2, 3),
    "chunk": lambda m, y: y.chunk(2, 1)[0],
    "split": lambda m, y: y.split(2, 1)[0],
    "split_with_sizes": lambda m, y: y.split([1, 3], 1)[0],
    "slice": lambda m, y: y[:, :2],
    "narrow": lambda m, y: y.narrow(1, 0, 2),
    "select": lambda m, y: y[0],
    "randn": lambda m, y: y + torch.randn(LIKE),
    "rand": lambda m, y: y + torch.rand(LIKE),
}


class Odd(nn.Module):
    """One odd operation behind a conv."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(4, 4, 1)
        self.slope = nn.Parameter(torch.rand(1))
        self.matrix = nn.Parameter(torch.rand(8, 5))
        self.map = nn.Parameter(torch.rand(LIKE))
        self.cube = nn.Parameter(torch.rand(2, 1, 1, 3, 3))

    def forward(self, x):
        return self.function(self, self.conv(x))


def test_every_cure_has_its_module_here():
    assert set(trace._CURES) == set(OPERATIONS)
    assert not set(trace._CURES) & set(trace._HANDLERS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_without_a_handler_is_refused_with_its_cure(operation):
    with pytest.raises(UnsupportedLayer) as error:
        trace.trace(Odd(OPERATIONS[operation]), Shape(6, 8, 4), "net")
    assert str(error.value).endswith(f": {operation} is not supported; {trace._CURES[operation]}")

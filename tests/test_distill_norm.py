"""The batch norm of the networks against torch's own in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill.kernels_norm import moments
from distill.networks import wrn
from distill.norm import BatchNorm2d

SHAPES = [(2, 1, 5, 3), (4, 3, 5, 7), (3, 16, 1, 9), (128, 16, 14, 14), (16, 64, 1, 1)]
EXACT = 3e-6
"""Relative to the largest value: about 25 roundings of float32."""


def made(channels: int) -> BatchNorm2d:
    norm = BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(-1.5, 1.5)
        norm.bias.uniform_(-0.5, 0.5)
    return norm


def as_torch(norm: BatchNorm2d) -> nn.BatchNorm2d:
    twin = nn.BatchNorm2d(norm.num_features).double()
    twin.load_state_dict(norm.state_dict())
    return twin


def close(ours: Tensor | None, theirs: Tensor | None) -> bool:
    assert ours is not None
    assert theirs is not None
    scale = max(float(theirs.abs().max()), 1e-3)
    return float((ours.double() - theirs).abs().max()) <= EXACT * scale


def steps(norm: nn.Module, relu: bool, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y: Tensor
    if isinstance(norm, BatchNorm2d):
        y = norm.then(nn.ReLU(), x) if relu else norm(x)
    else:
        y = norm(x).relu() if relu else norm(x)
    y.backward(gradient)  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return y.detach(), x.grad


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_gradients_and_statistics_are_torchs(
    shape: tuple[int, int, int, int], layout: torch.memory_format, relu: bool
) -> None:
    torch.manual_seed(sum(shape))
    norm = made(shape[1])
    twin = as_torch(norm)
    for _ in range(2):  # the second time from other running statistics
        x = (torch.randn(shape) * 3 + 4).contiguous(memory_format=layout)
        gradient = torch.randn(shape)
        ours, theirs = steps(norm, relu, x, gradient), steps(twin, relu, x.double(), gradient.double())
        assert close(ours[0], theirs[0])
        assert close(ours[1], theirs[1])
        assert close(norm.weight.grad, twin.weight.grad)
        assert close(norm.bias.grad, twin.bias.grad)
        assert close(norm.running_mean, twin.running_mean)
        assert close(norm.running_var, twin.running_var)
        assert norm.num_batches_tracked == twin.num_batches_tracked


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 3, 1, 1)])
def test_evaluation_is_by_the_running_statistics(shape: tuple[int, int, int, int], relu: bool) -> None:
    torch.manual_seed(sum(shape))
    norm = made(shape[1]).eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.uniform_(-2, 2)
    norm.running_var.uniform_(0.2, 3)
    twin, x = as_torch(norm).eval(), torch.randn(shape) * 3 + 4
    with torch.no_grad():
        found = norm.then(nn.ReLU(), x) if relu else norm(x)
        right = twin(x.double())
        assert close(found, right.relu() if relu else right)
        each = torch.cat([norm(part) for part in x.split(1)])
        assert torch.equal(norm(x), each)  # an image's answer does not depend on those beside it


def test_evaluation_with_gradients_is_torchs_own_to_the_bit() -> None:
    norm, x = made(5).eval(), torch.randn(3, 5, 4, 6)
    twin = as_torch(norm).float().eval()
    assert torch.equal(norm(x), twin(x))
    assert torch.equal(norm.then(nn.ReLU(), x), twin(x).relu())


def test_other_numbers_go_torchs_way() -> None:
    """Double precision, autocast and a net without affine weights: the kernel is for float32 alone."""
    x = torch.randn(3, 5, 4, 6)
    norm = made(5).double()
    assert torch.equal(norm(x.double()), as_torch(norm)(x.double()))
    plain, twin = BatchNorm2d(5, affine=False), nn.BatchNorm2d(5, affine=False)
    assert torch.equal(plain(x), twin(x))
    with torch.autocast("cpu", torch.bfloat16):
        norm = made(5)
        assert torch.equal(norm(x.bfloat16()), copy.deepcopy(as_torch(norm)).float()(x.bfloat16()))


def test_a_nan_is_not_hidden() -> None:
    """The training loop stops at a loss that is not finite: no ReLU may turn it into a 0."""
    x = torch.randn(2, 3, 4, 4)
    x[0, 1, 2, 2] = math.nan
    assert torch.isnan(made(3).then(nn.ReLU(), x)).any()


def test_a_map_of_other_channels_is_refused_as_by_torch() -> None:
    for norm in (made(5), made(5).eval()):
        with torch.no_grad(), pytest.raises(RuntimeError, match="running_mean"):
            norm(torch.randn(2, 64, 4, 4))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_trace_holds_the_whole_network() -> None:
    net, x = wrn(10, 1, 10).eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        traced = torch.jit.trace(net, x)  # type: ignore[no-untyped-call]
        other = torch.randn(2, 3, 8, 8)
        assert float((traced(other) - net(other)).abs().max()) < 1e-5


def test_second_derivatives_are_refused_and_not_left_out() -> None:
    x = torch.randn(4, 3, 5, 5, requires_grad=True)
    (first,) = torch.autograd.grad(made(3)(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("training", [False, True])
def test_hooks_and_other_activations_are_heeded(training: bool) -> None:
    norm, x = made(3).train(training), torch.randn(4, 3, 5, 5)
    relu, heard = nn.ReLU(), []
    with torch.no_grad():
        assert torch.equal(norm.then(nn.GELU(), x), nn.functional.gelu(norm(x)))  # type: ignore[arg-type]
        for module in (norm, relu):
            module.register_forward_hook(lambda module, *_: heard.append(type(module)))
        norm.then(relu, x)
    assert heard == [BatchNorm2d, nn.ReLU]


def test_gradients_are_nearer_to_float64_than_torchs_in_channels_last() -> None:
    """The reason for the kernel; where torch mends its sums this fails, and the kernel has only its speed left."""
    torch.manual_seed(0)
    shape = (128, 16, 28, 28)
    x = torch.randn(shape).relu().contiguous(memory_format=torch.channels_last)
    gradient = (torch.randn(shape) * 1e-3 + 1e-3).contiguous(memory_format=torch.channels_last)
    norm = made(16)
    single, twin = as_torch(norm).float(), as_torch(norm)
    right = steps(twin, False, x.double(), gradient.double())[1]
    wrong = [(steps(kind, False, x, gradient)[1].double() - right).norm() / right.norm() for kind in (norm, single)]
    assert wrong[0] < 1e-5
    assert wrong[1] > 5 * wrong[0]


def test_where_a_value_is_at_the_corner_of_the_relu_there_is_no_gradient() -> None:
    norm = BatchNorm2d(1)
    x = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)  # by its mean of 0 the second one is exactly at the corner
    gradient = torch.tensor([1.0, 100.0, 2.0]).reshape(3, 1, 1, 1)
    twin = as_torch(norm)
    ours, theirs = steps(norm, True, x, gradient), steps(twin, True, x.double(), gradient.double())
    assert close(ours[1], theirs[1])
    assert norm.bias.grad is not None
    assert norm.bias.grad.item() == 2


def test_moments_of_one_row() -> None:
    mean, variance = np.empty(2), np.empty(2)
    moments(np.array([[3, -4]], np.float32), 64, mean, variance)
    assert (mean.tolist(), variance.tolist()) == ([3, -4], [0, 0])

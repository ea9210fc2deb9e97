"""Batch norm whose sums keep float32's digits, as quick as torch's: what the networks here are made of.

They keep them where the first value of a channel is no outlier, since sums are of differences from it: one 100 standard
deviations off costs three digits.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distill import kernels_norm as kernels


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` (Ioffe and Szegedy 2015), float32 on the CPU by the kernels.

    Weights and running statistics are torch's own, and so is everything with autocast, in `torch.compile` and
    `torch.export`, on another device, in another dtype, without affine weights or without running statistics; in
    evaluation mode also what wants gradients.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, rows, cols] -> the same."""
        found = self._at_least(-math.inf, x)
        return super().forward(x) if found is None else found

    def then(self, relu: nn.ReLU, x: Tensor) -> Tensor:
        """`relu(self(x))`, where the kernels serve in one go."""
        found = self._at_least(0.0, x) if type(relu) is nn.ReLU and not _hooked(self) and not _hooked(relu) else None
        out: Tensor = relu(self(x)) if found is None else found
        return out

    def _at_least(self, floor: float, x: Tensor) -> Tensor | None:
        """The result, at least `floor`; None where torch's own is to be taken."""
        mean, variance = self.running_mean, self.running_var
        if not self._by_kernel(x) or mean is None or variance is None or self.momentum is None:
            return None
        if not self.training:
            return self._known(x, mean, variance, floor)
        y, batch_mean, batch_variance = Normalise.apply(x, self.weight, self.bias, self.eps, floor)  # type: ignore[no-untyped-call]
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            mean.lerp_(batch_mean, self.momentum)
            variance.lerp_(batch_variance * (count / (count - 1)), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        out: Tensor = y
        return out

    def _known(self, x: Tensor, mean: Tensor, variance: Tensor, floor: float) -> Tensor:
        """By the running statistics."""
        scale, y = self.weight.double() / (variance.double() + self.eps).sqrt(), _like(x)
        line = scale.float().numpy(), (self.bias - mean * scale).float().numpy()
        kernels.scaled(_rows(x), line[0], line[1], np.float32(floor), _rows(y))
        return y

    def _by_kernel(self, x: Tensor) -> bool:
        if _traced() or x.dim() != 4 or x.shape[1] != self.num_features:
            return False  # of a wrong map torch tells
        plain = x.dtype == torch.float32 and x.device.type == "cpu" and self.affine
        serves = x.numel() > x.shape[1] if self.training else not torch.is_grad_enabled()
        return plain and serves and not torch.is_autocast_enabled("cpu")


class Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) weight + bias over batch, rows and cols, at least `floor`.

    With n values a channel, g the gradient where the result is above the floor and 0 elsewhere, s = sum g,
    t = sum g (x - mean) and r = 1 / sqrt(variance + eps), the gradients are t r of the weight, s of the bias, and
    weight r (g - s/n - (x - mean) r^2 t/n) of x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, floor: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The result, and mean and variance (divided by the count) of every channel."""
        inputs, y = _rows(x), _like(x)
        mean, variance = np.empty(x.shape[1]), np.empty(x.shape[1])
        kernels.moments(inputs, kernels.BLOCK_ROWS, mean, variance)
        inverse = 1 / np.sqrt(variance + eps)
        scale = weight.detach().numpy() * inverse
        line = _float32(scale), _float32(bias.detach().numpy() - mean * scale), np.float32(floor)
        kernels.scaled(inputs, line[0], line[1], line[2], _rows(y))
        ctx.save_for_backward(x)
        ctx.mean, ctx.inverse, ctx.scale, ctx.line = mean, inverse, scale, line
        found = torch.from_numpy(_float32(mean)), torch.from_numpy(_float32(variance))
        ctx.mark_non_differentiable(*found)
        return y, *found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradients of x, weight and bias."""
        (x,) = ctx.saved_tensors
        mean, inverse, scale, out = ctx.mean, ctx.inverse, ctx.scale, _like(x)
        inputs, gradients, (by_gradient, bias, floor) = _rows(x), _rows(gradient), ctx.line
        plain, weighted = np.empty(len(mean)), np.empty(len(mean))
        kernels.gradient_sums(
            gradients, inputs, by_gradient, bias, floor, _float32(mean), kernels.BLOCK_ROWS, plain, weighted
        )
        count = len(inputs)
        by_x = -scale * inverse**2 * weighted / count
        constant = -scale * plain / count - by_x * mean
        kernels.combined(gradients, inputs, by_gradient, bias, floor, _float32(by_x), _float32(constant), _rows(out))
        return out, torch.from_numpy(_float32(weighted * inverse)), torch.from_numpy(_float32(plain)), None, None


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _traced() -> bool:
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return tracing or torch.compiler.is_compiling()


def _rows(x: Tensor) -> NDArray[np.float32]:
    """[batch, channels, rows, cols] as [batch rows cols, channels]; a view of a channels-last tensor."""
    rows: NDArray[np.float32] = x.detach().permute(0, 2, 3, 1).contiguous().view(-1, x.shape[1]).numpy()
    return rows


def _like(x: Tensor) -> Tensor:
    """Uninitialised, of the shape of `x`, channels last."""
    return torch.empty(x.shape, memory_format=torch.channels_last)


def _float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)

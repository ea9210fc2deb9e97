"""What the networks of `distill.networks` are put together of: trunk, blocks and heads, as torch modules.

Tensors are [batch, channels, rows, cols].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.norm import BatchNorm2d


def conv(before: int, after: int, kernel: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution that keeps rows and cols, but for its stride."""
    return nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=bias)


class Trunk(nn.Sequential):
    """Parts one after another; a batch norm and the ReLU behind it in one go, where that can be."""

    def forward(self, x: Tensor) -> Tensor:
        """What the last part makes of `x`."""
        norm: BatchNorm2d | None = None
        for part in self:
            if norm is not None and isinstance(part, nn.ReLU):
                x, norm = norm.then(part, x), None
                continue
            if norm is not None:
                x, norm = norm(x), None
            if isinstance(part, BatchNorm2d):
                norm = part
            else:
                x = part(x)
        return x if norm is None else norm(x)


class InputNorm(nn.BatchNorm2d):
    """(x - mean) / deviation by channel, the same in training: a batch norm of constants, so that it traces as one."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__(len(mean), eps=0.0, affine=False)
        self.running_mean = torch.tensor(mean)
        self.running_var = torch.tensor(deviation) ** 2
        self.eval()

    def train(self, mode: bool = True) -> "InputNorm":
        """Stay in evaluation mode, whatever is asked."""
        super().train(False)
        return self


class PreActivationBlock(nn.Module):
    """conv2(relu(bn2(conv1(a)))) + shortcut with a = relu(bn1(x)); the shortcut is x, or a 1x1 convolution of a."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = BatchNorm2d(before)
        self.conv1 = conv(before, after, 3, stride)
        self.bn2 = BatchNorm2d(after)
        self.conv2 = conv(after, after, 3)
        self.shortcut = None if before == after and stride == 1 else conv(before, after, 1, stride)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[batch, before, rows, cols] -> [batch, after, rows/stride, cols/stride]."""
        active: Tensor = self.bn1.then(self.relu1, x)
        branch: Tensor = self.conv2(self.bn2.then(self.relu2, self.conv1(active)))
        return branch + (x if self.shortcut is None else self.shortcut(active))


class PostActivationBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut); the shortcut is x, or batch norm of a 1x1 convolution of x."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        changes = before != after or stride != 1
        self.conv1 = conv(before, after, 3, stride)
        self.bn1 = BatchNorm2d(after)
        self.conv2 = conv(after, after, 3)
        self.bn2 = BatchNorm2d(after)
        self.shortcut = conv(before, after, 1, stride) if changes else None
        self.shortcut_bn = BatchNorm2d(after) if changes else None
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[batch, before, rows, cols] -> [batch, after, rows/stride, cols/stride]."""
        branch: Tensor = self.bn2(self.conv2(self.bn1.then(self.relu1, self.conv1(x))))
        if self.shortcut is not None and self.shortcut_bn is not None:
            x = self.shortcut_bn(self.shortcut(x))
        out: Tensor = self.relu2(branch + x)
        return out


class PlainBlock(nn.Module):
    """relu(bn(conv(x)))."""

    def __init__(self, before: int, after: int, stride: int, bias: bool = False) -> None:
        super().__init__()
        self.conv = conv(before, after, 3, stride, bias)
        self.bn = BatchNorm2d(after)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[batch, before, rows, cols] -> [batch, after, rows/stride, cols/stride]."""
        out: Tensor = self.bn.then(self.relu, self.conv(x))
        return out


class GlobalHead(nn.Module):
    """The mean over rows and cols, then a dense layer: it does not know which row was where."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, rows, cols] -> logits [batch, classes]."""
        out: Tensor = self.linear(torch.flatten(x.mean(dim=(2, 3), keepdim=True), 1))
        return out


class RowHead(nn.Module):
    """The mean over cols, then a convolution of (rows, 1): a weight for every row and channel."""

    def __init__(self, channels: int, rows: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, classes, (rows, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, rows, cols] -> logits [batch, classes]; rows as told at birth."""
        return torch.flatten(self.conv(x.mean(dim=3, keepdim=True)), 1)

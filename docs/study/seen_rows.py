"""NxN networks that are given only the rows that a 1xN student with skipped rows sees: what is there to be learnt."""

from torch import Tensor, nn

from distill.networks import wrn as wide_resnet

STRIDE = 4
"""Rows of the input that two vertical strides of two leave: the first of every four."""


class SeenRows(nn.Module):
    """A network behind a choice of rows."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images [batch, channels, rows, cols]."""
        answers: Tensor = self.network(images[:, :, ::STRIDE])
        return answers


def wrn(classes: int, channels: int, rows: int, cols: int) -> nn.Module:
    """A WRN-10-1 with 3x3 filters on the rows that are left."""
    return SeenRows(wide_resnet(10, 1, classes, channels))

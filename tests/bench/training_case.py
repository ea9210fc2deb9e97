"""What both sides of the training bench train: the same nets, images, order and numbers, made from fixed seeds.

Imported in our environment and in the peer's, which sees the same torch. Of the project only `distill.networks`,
`distill.filters` and what they stand on are imported here: torch modules that both can train.
"""

import copy
import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from distill import filters, networks
from distill.norm import BatchNorm2d

SEED = 0
BATCH = 128
TEMPERATURE = 4.0
ALPHA = 0.9  # the teacher's share of the loss
LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 0.0005
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")


class Case(NamedTuple):
    """A WRN as teacher and its 1x3 student; `rows` says what a student's stride of 2 does with rows."""

    name: str
    depth: int
    width: int
    shape: tuple[int, int, int]
    classes: int
    rows: str
    steps: int

    @property
    def count(self) -> int:
        """Images of an epoch: whole batches."""
        return self.steps * BATCH


# As in the recipes fashion-mnist and cifar-100-wrn-40-4, the second one smaller; 20 steps are what losses are held by.
CASES = {
    "fashion_wrn_10_1": Case("fashion_wrn_10_1", 10, 1, (1, 28, 28), 10, "keep", 20),
    "wrn_16_2": Case("wrn_16_2", 16, 2, (3, 32, 32), 100, "skip", 20),
}


def images(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """8-bit images [count, rows, cols, channels] of random blocks, and labels [count].

    Of one channel they are Fashion-MNIST's first ones, where Debian's package is installed.
    """
    generator = np.random.default_rng(SEED)
    labels = generator.integers(0, case.classes, case.count)
    channels, rows, cols = case.shape
    if channels == 1 and FASHION_MNIST.exists():
        raw = np.frombuffer(gzip.decompress(FASHION_MNIST.read_bytes()), np.uint8, offset=16)
        pixels = raw.reshape(-1, rows, cols, 1)[: case.count]
        known = np.frombuffer(gzip.decompress(label_file().read_bytes()), np.uint8, offset=8)
        return pixels.copy(), known[: case.count].astype(np.int64)
    blocks = generator.integers(0, 256, (case.count, rows // 4, cols // 4, channels), np.uint8)
    return blocks.repeat(4, axis=1).repeat(4, axis=2), labels


def label_file() -> Path:
    """Beside the images."""
    return FASHION_MNIST.with_name("train-labels-idx1-ubyte.gz")


def as_input(pixels: np.ndarray) -> torch.Tensor:
    """float32 [count, channels, rows, cols], integer / 256: what `distill.train.to_input` makes, as a plain tensor."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(torch.float32) / 256


def order(count: int, epoch: int = 0) -> list[int]:
    """The images of an epoch in the order in which our loop takes them."""
    return np.random.default_rng([SEED, epoch]).permutation(count).tolist()


def teacher_and_student(case: Case, pixels: np.ndarray) -> tuple[nn.Module, nn.Module]:
    """The student untrained; the teacher in evaluation mode, as sure of its answers as a trained one, if not as right.

    Its batch norms know a batch, and its last weights are so large that its logits spread by about 5.
    """
    torch.manual_seed(SEED)
    teacher = networks.build(networks.NetworkSpec("wrn", case.depth, case.width), case.shape, case.classes)
    plan = filters.plan_of(teacher, "row", "row")
    student = filters.convert(teacher, plan, n=3, rows=case.rows, data_shape=case.shape)
    with torch.no_grad():
        for _ in range(10):
            logits = teacher(as_input(pixels[:BATCH]))
        for parameter in (teacher.head.linear.weight, teacher.head.linear.bias):
            parameter *= 5 / logits.std()
    return teacher.eval(), student


class Plain(BatchNorm2d):
    """Torch's own batch norm where the blocks of `distill.networks` expect theirs."""

    def _by_kernel(self, x: torch.Tensor) -> bool:
        return False


def with_torchs_norm(model: nn.Module) -> nn.Module:
    """The same network with torch's own batch norm, as a user of another framework has it."""
    twin = copy.deepcopy(model)
    for part in twin.modules():
        for name, child in part.named_children():
            if type(child) is BatchNorm2d:
                norm = Plain(child.num_features)
                norm.load_state_dict(child.state_dict())
                setattr(part, name, norm.train(child.training))
    return twin

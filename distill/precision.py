"""The arithmetic of a training: float32, or bfloat16 and float16 where autocast allows them; compiled, or as it stands.

Weights, momenta, losses, teachers and all accuracies are float32 always, so that a trained stage answers the same
whoever loads it. float16 (with scaled losses, Micikevicius et al. 2018, section 3.2) is for CUDA; it has not been tried
on a GPU.
"""

import os
import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hw.errors import BadInput, MissingTool

PRECISIONS = ("float32", "bfloat16", "float16")
Forward = Callable[[Tensor], Tensor]
"""Images [batch, channels, rows, cols] -> logits [batch, classes]."""


class Arithmetic:
    """How logits are computed and a step is taken, in one precision on one device."""

    def __init__(self, precision: str, device: torch.device) -> None:
        self.precision = precision
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")

    def logits(self, forward: Forward, images: Tensor) -> Tensor:
        """Float32 logits [batch, classes] of float32 images [batch, channels, rows, cols]."""
        if self.precision == "float32":
            return forward(images)
        with torch.autocast(self.device.type, getattr(torch, self.precision)):
            return forward(images).float()

    def step(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Move the weights against the gradient of `loss`; a float16 step with a gradient out of range is left out."""
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(optimizer)
        self.scaler.update()


def check(precision: str, compiles: bool, device: torch.device) -> None:
    """Demand that this machine can train so.

    Raises:
        BadInput: float16 on the CPU.
        MissingTool: to compile for the CPU without a C++ compiler.
    """
    if precision == "float16" and device.type == "cpu":
        raise BadInput("training: precision float16 is for CUDA, found is the CPU; take bfloat16 or float32")
    compiler = os.environ.get("CXX") or "g++"
    if compiles and device.type == "cpu" and shutil.which(compiler) is None:
        raise MissingTool(
            f"training: compile needs a C++ compiler, and {compiler} is not found; install one, name another in CXX, "
            "or set compile: false"
        )


def compiled(network: nn.Module) -> Forward:
    """`network` compiled by torch when it is first called, for every size of a batch apart; weights stay its own.

    Raises (when called):
        BadInput: torch cannot compile it.
    """
    from torch._dynamo.exc import TorchDynamoException

    torch.compiler.reset()  # else the ninth network of a process runs uncompiled, with other bits
    quick = torch.compile(network, dynamic=False)

    def forward(images: Tensor) -> Tensor:
        try:
            logits: Tensor = quick(images)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise BadInput(f"training: torch cannot compile this network ({reason}); set compile: false") from error
        return logits

    return forward

"""A training that was stopped goes on where it stood: its state after whole epochs, in one file written atomically.

The order of the images and their augmentation depend on seed and epoch alone, and the learning rate on the step, so
that weights, momenta, torch's generator and the scale of float16's losses are all that a training remembers. What is
made from them again is the same bits.
"""

import contextlib
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import SGD

from hw.errors import BadInput
from hw.files import Arrays, read_arrays, write_arrays

MOMENTUM = "momentum_buffer"
GROWTH = "_growth_tracker"


class Curves(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value an epoch: mean training loss, validation accuracy (0 to 1)."""

    loss: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()


class Memory(msgspec.Struct, frozen=True):
    """Where a training keeps its state, and of what: a file of another fingerprint is as good as none."""

    path: Path
    fingerprint: str

    def save(self, module: nn.Module, optimizer: SGD, scaler: GradScaler, curves: Curves) -> None:
        """Keep everything that the next epochs depend on.

        Raises:
            BadInput: the folder cannot be written.
        """
        state = module.state_dict().items()
        arrays: Arrays = {f"weight/{name}": tensor.detach().cpu().numpy() for name, tensor in state}
        for i, parameter in enumerate(module.parameters()):
            momentum = optimizer.state[parameter].get(MOMENTUM)
            if momentum is not None:
                arrays[f"momentum/{i}"] = momentum.cpu().numpy()
        if scaler.is_enabled():
            arrays["scaler"] = np.array([scaler.get_scale(), scaler.state_dict()[GROWTH]], np.float64)
        arrays["curves"] = np.array([curves.loss, curves.validation], np.float64)
        arrays["generator"] = torch.get_rng_state().numpy()
        arrays["fingerprint"] = np.frombuffer(self.fingerprint.encode(), np.uint8)
        write_arrays(self.path, arrays)

    def restore(self, module: nn.Module, optimizer: SGD, scaler: GradScaler) -> Curves:
        """Take the state back, if there is one, and tell the curves up to it; none mean that training is to begin.

        Raises:
            BadInput: the state is of a network of other weights, or not whole.
        """
        arrays: Arrays = {}
        with contextlib.suppress(BadInput):
            arrays = read_arrays(self.path)
        if bytes(arrays.get("fingerprint", np.zeros(0, np.uint8))) != self.fingerprint.encode():
            return Curves()
        if not _fits(arrays, module):
            raise BadInput(
                f"{self.path}: the state of another network was found, as when a factory's code has changed since; "
                "remove it to begin again"
            )
        try:
            return _restored(arrays, module, optimizer, scaler)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"{self.path}: the state is not whole ({error}); remove it to begin this training again"
            ) from error

    def forget(self) -> None:
        """The training is over."""
        self.path.unlink(missing_ok=True)


def _restored(arrays: Arrays, module: nn.Module, optimizer: SGD, scaler: GradScaler) -> Curves:
    """Take over what was kept; what can be wrong is read first."""
    loss, validation = arrays["curves"].tolist()
    scale, growth = arrays["scaler"].tolist() if scaler.is_enabled() else (1.0, 0)
    torch.set_rng_state(torch.from_numpy(arrays["generator"]))
    for name, tensor in module.state_dict().items():
        tensor.copy_(torch.from_numpy(arrays[f"weight/{name}"]))
    for i, parameter in enumerate(module.parameters()):
        if f"momentum/{i}" in arrays:
            momentum = torch.from_numpy(arrays[f"momentum/{i}"])
            optimizer.state[parameter][MOMENTUM] = torch.empty_like(parameter).copy_(momentum).detach()
    if scaler.is_enabled():
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale, GROWTH: int(growth)})
    return Curves(tuple(loss), tuple(validation))


def _fits(arrays: Arrays, module: nn.Module) -> bool:
    """Whether these are the weights of such a network, by name and shape."""
    kept = {name.removeprefix("weight/"): array.shape for name, array in arrays.items() if name.startswith("weight/")}
    return kept == {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}

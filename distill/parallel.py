"""Several processes that train one network together, each on its share of every batch.

`torchrun --nproc-per-node 2 -m pacemaker distill ...` sets RANK, WORLD_SIZE and the rest; the processes meet over gloo
on CPUs and over nccl on CUDA devices (not tried on a GPU), and read one folder. Torch's DistributedDataParallel
averages the gradients: it sends those of a layer while the layers before it are still being computed. Its mean counts
every process alike, so losses are scaled by the images of each share; the mean is then the gradient of the whole
batch's mean loss. Batch norm's statistics are of a share; the running ones are those of the first process.
"""

import atexit
import os
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distill.devices import CPU, chosen
from hw.errors import BadInput

Indices = NDArray[np.int64]
PARTING_S = 0.1


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together: its number, how many they are, and where its tensors live."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether it is this one that writes and reports."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.count == 1

    def begin(self, seed: int) -> None:
        """Draw random numbers from here on by `seed` and rank, so that a stopped training goes on the same.

        Alone on the CPU torch's generator runs on; its state is kept with the weights.
        """
        if not self.alone or self.device.type != "cpu":
            torch.manual_seed(seed + self.rank)

    def share(self, batch: Indices) -> Indices:
        """The part of a batch's indices that this process computes; parts differ by at most one image."""
        return np.array_split(batch, self.count)[self.rank]

    def network(self, module: nn.Module) -> nn.Module:
        """`module`, its weights now those of the first process and its gradients averaged in every backward pass."""
        return module if self.alone else DistributedDataParallel(module, forward_sync_buffers=False)

    def scaled(self, loss: Tensor, own: int, whole: int) -> Tensor:
        """The mean loss of `own` of a batch's `whole` images, so weighted that the processes' mean is the batch's."""
        return loss if self.alone else loss * (self.count * own / whole)

    def mean(self, loss: float, own: int, whole: int) -> float:
        """The mean loss of a batch, from those of its shares."""
        if self.alone:
            return loss
        parts = torch.tensor(loss * own, dtype=torch.float64, device=self.device)
        dist.all_reduce(parts)
        return parts.item() / whole

    def settle(self, module: nn.Module) -> None:
        """Give `module` the first process's running statistics."""
        if not self.alone:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Until all are here: what one has written, the others then read."""
        if not self.alone:
            dist.barrier()  # sends no tensor: see `_part`


ALONE = Ranks()


def joined(device: str) -> Ranks:
    """Meet the other processes, if there are any; they part when they end.

    Args:
        device: a name of `devices.chosen`; `cuda` and `auto` give every process of a machine a device of its own.

    Raises:
        BadInput: no such device, or processes that cannot meet.
    """
    place = chosen(device, _told("LOCAL_RANK", 0))
    if _told("WORLD_SIZE", 1) == 1:
        return Ranks(device=place)
    try:
        if not dist.is_initialized():  # a second meeting in one process would wait for ever
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
            atexit.register(_part)
    except (ValueError, RuntimeError) as error:
        raise BadInput(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but the processes cannot meet ({error}); start them by torchrun"
        ) from error
    if place.type == "cuda":
        torch.cuda.set_device(place)
    return Ranks(dist.get_rank(), dist.get_world_size(), place)


def _part() -> None:
    """Leave the others.

    gloo's threads drop the tensors of what they sent a moment after it has arrived, and want the interpreter for it; if
    that has ended by then, Python 3.11 aborts the process with all work done. Networks in DistributedDataParallel hold
    the group for good, so that its threads cannot be joined.
    """
    dist.destroy_process_group()
    time.sleep(PARTING_S)


def is_first() -> bool:
    """Whether this process, of those that torchrun started, is the one that writes and reports; alone it is."""
    return _told("WORLD_SIZE", 1) == 1 or _told("RANK", 0) == 0


def _told(name: str, otherwise: int) -> int:
    """What torchrun says in the environment.

    Raises:
        BadInput: no whole number.
    """
    text = os.environ.get(name, str(otherwise))
    if not text.isdecimal():
        raise BadInput(f"{name} is {text!r} in the environment, wanted is a whole number, as torchrun sets it")
    return int(text)


def check_alone(command: str) -> None:
    """Demand that torchrun has not started several of this process.

    Raises:
        BadInput: it has.
    """
    count = _told("WORLD_SIZE", 1)
    if count > 1:
        raise BadInput(f"{command}: {count} processes were started; start distill by torchrun, then {command} alone")


def check_batches(images: int, batch: int, ranks: Ranks) -> None:
    """Demand an image for every process in every batch.

    Raises:
        BadInput: there are more processes.
    """
    smallest = images // max(1, images // batch)
    if smallest < ranks.count:
        raise BadInput(f"{ranks.count} processes share batches of {smallest}; take fewer, or a greater training.batch")

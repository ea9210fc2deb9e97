"""Where tensors live: the CPU, or a CUDA device of this machine. CUDA has only been tried by stand-ins, on no GPU."""

import os

import torch

from hw.errors import BadInput

CPU = torch.device("cpu")
WORKSPACE = ":4096:8"
"""With it cuBLAS gives the same bits every time, as torch's deterministic algorithms want; read when CUDA starts."""


def chosen(name: str, local_rank: int = 0) -> torch.device:
    """The device of this name.

    Args:
        name: cpu, cuda:0, cuda:1, ...; `cuda` is the one of `local_rank`, and `auto` that one or, without any, the CPU.
        local_rank: number of this process among those of its machine.

    Raises:
        BadInput: no such device; those that are there are told.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = ["cpu", *(f"cuda:{i}" for i in range(count))]
    own = f"cuda:{local_rank}"
    wanted = {"auto": own if count else "cpu", "cuda": own}.get(name, name)
    if wanted not in there:
        raise BadInput(f"device {name!r} ({wanted}) is not there; found are {', '.join(there)}; wanted is one, or auto")
    if wanted != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)
    return torch.device(wanted)

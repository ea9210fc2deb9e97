"""Batch norm alone: `python tests/bench/norms.py` fills the table of docs/decisions/0008-batch-norm.md (a minute)."""

import copy
import re
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training_case import with_torchs_norm

from distill import networks
from distill.filters import on_the_fly

PAGE = Path(__file__).parents[2] / "docs" / "decisions" / "0008-batch-norm.md"
NETWORKS = [("WRN-10-1, 28x28x1", 10, 1, (1, 28, 28), 10), ("WRN-10-1, 14x14x1", 10, 1, (1, 14, 14), 10)]
NETWORKS += [("WRN-16-2, 32x32x3", 16, 2, (3, 32, 32), 100)]
ROUNDS, STEPS = 4, 4


def gradients(model: nn.Module, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Of the cross entropy, by parameter, as float64."""
    model.train()
    model.zero_grad()
    cross_entropy(model(x), labels).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.double().clone() for name, p in model.named_parameters() if p.grad is not None}


def cpu_ms(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    """The least CPU time of a step."""
    least = float("inf")
    for _ in range(STEPS):
        begin = time.process_time()
        gradients(model, x, labels)
        least = min(least, (time.process_time() - begin) * 1e3)
    return least


def rows(name: str, depth: int, width: int, shape: tuple[int, int, int], classes: int) -> list[str]:
    """The table's rows of one network."""
    torch.manual_seed(0)
    ours = on_the_fly(networks.wrn(depth, width, classes, shape[0]), 3)
    plain = with_torchs_norm(ours)
    x, labels = torch.rand(128, *shape), torch.randint(0, classes, (128,))
    right = gradients(copy.deepcopy(plain).double(), x.double(), labels)
    ways = {
        "torch, channels first": (plain, torch.contiguous_format),
        "torch, channels last": (plain, torch.channels_last),
        "here, channels last": (ours, torch.channels_last),
    }
    times: dict[str, float] = {}
    made = []
    for _ in range(ROUNDS):
        for way, (model, layout) in ways.items():
            ready = copy.deepcopy(model).to(memory_format=layout)  # type: ignore[call-overload]
            times[way] = min(times.get(way, float("inf")), cpu_ms(ready, x.contiguous(memory_format=layout), labels))
    for way, (model, layout) in ways.items():
        ready = copy.deepcopy(model).to(memory_format=layout)  # type: ignore[call-overload]
        found = gradients(ready, x.contiguous(memory_format=layout), labels)
        error = max(float((found[key] - right[key]).norm() / right[key].norm()) for key in right)
        made.append(f"| {name} | {way} | {error:.0e} | {times[way]:.0f} |")
    return made


def main() -> None:
    """Measure and fill the page."""
    torch.set_num_threads(1)
    head = ["| student | batch norm | worst gradient | CPU ms a step |", "|---|---|---|---|"]
    table = "\n".join([*head, *(row for network in NETWORKS for row in rows(*network))])
    text = re.sub(
        r"(<!-- norms -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{table}\n{m[2]}", PAGE.read_text(), flags=re.S
    )
    PAGE.write_text(text)
    print(table)


if __name__ == "__main__":
    main()

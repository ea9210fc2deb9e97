"""The pacemaker, the intermediate ensemble teacher of Son et al. 2020 (arXiv 2003.03944), in each of its readings.

Only the paper's abstract can be had, and it does not say how the pacemaker is made up; so each reading is a guess.
`split` and `sum` mix NxN and 1xN filters within every layer, `alternate`, `early` and `late` mix NxN and 1xN layers:
these are plans for `filters.convert`. `logits` averages the answers of whole networks, and `set` lets them teach side
by side, so that it needs no network of its own.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from distill.filters import Plan, plan_of
from hw.errors import BadInput, check_word

MIXED = ("split", "sum", "alternate", "early", "late")
"""Pacemakers that are one trained network; each is a kind of `filters.plan_of`."""
COMMITTEES = ("logits", "set")
"""Pacemakers that are several trained networks."""
PACEMAKERS = (*MIXED, *COMMITTEES)

PARTS = ("middle", "row")
"""What a 1xN layer may start from; see `carry_over`."""

Tensors = Mapping[str, Tensor]


def split(model: nn.Module) -> Plan:
    """A plan for `filters.convert`: in every convolution half of the output channels NxN, half 1xN."""
    return plan_of(model, "split")


def logits(members: Sequence[nn.Module], weights: Sequence[float]) -> "Ensemble":
    """The weighted mean of the members' logits, as a frozen module."""
    return Ensemble(members, weights)


class Ensemble(nn.Module):
    """sum_i weight_i member_i(x) / sum_i weight_i; its members stay in evaluation mode and get no gradients."""

    def __init__(self, members: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        if not members or len(members) != len(weights):
            raise ValueError(f"{len(members)} members with {len(weights)} weights")
        self.members = nn.ModuleList(members)
        self.weights = [weight / sum(weights) for weight in weights]
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Ensemble":
        """Stay in evaluation mode, whatever is asked."""
        super().train(False)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Images [batch, channels, rows, cols] -> logits [batch, classes]."""
        total: Tensor = self.weights[0] * self.members[0](x)
        for weight, member in zip(self.weights[1:], list(self.members)[1:], strict=True):
            total = total + weight * member(x)
        return total


def carry_over(source: nn.Module, target: nn.Module, part: str = "middle") -> None:
    """Start `target` from the weights of `source`: tensors of equal shape as they are, filters by `part`.

    | filter of the source | `middle` | `row` |
    |---|---|---|
    | NxN | its middle row | stays as it is in the target |
    | split | middle rows of the NxN half, then the 1xN half | the 1xN half; the others stay as they are in the target |
    | sum | middle row of the NxN filter + the 1xN filter | the 1xN filter |

    `middle` is the source's answer to an image of one row. A bias goes with its channels. A `RowHead` starts from a
    `GlobalHead` as the same function: every row's weight is the dense one over the rows.

    Raises:
        BadInput: a tensor of the target has no counterpart in the source, or `row` of a source without 1xN filters.
    """
    check_word("start_part", part, PARTS)
    old, new = _with_row_head(source.state_dict(), target.state_dict()), target.state_dict()
    if part == "row" and not any(_is_row(tensor) for tensor in old.values()):
        raise BadInput("start_part: row wants a stage with 1xN filters to start from; take middle")
    with torch.no_grad():
        for name, tensor in new.items():
            if name in old:
                _copy(name, old[name], tensor, part)
            else:
                _copy_mixed(name, old, tensor, part)


def _is_row(tensor: Tensor) -> bool:
    """Whether these are the weights of a 1xN filter, N above 1."""
    return tensor.dim() == 4 and tensor.shape[2] == 1 and tensor.shape[3] > 1


def _with_row_head(old: Tensors, new: Tensors) -> dict[str, Tensor]:
    """`old`, and where only `new` has a head that knows its rows, the same head from the dense one."""
    tensors = dict(old)
    if "head.linear.weight" in old and "head.conv.weight" in new:
        count = new["head.conv.weight"].shape[2]
        tensors["head.conv.weight"] = old["head.linear.weight"][:, :, None, None].expand(-1, -1, count, 1) / count
        tensors["head.conv.bias"] = old["head.linear.bias"]
    return tensors


def _copy(name: str, old: Tensor, new: Tensor, part: str) -> None:
    if old.shape == new.shape:
        new.copy_(old)
        return
    middle = _middle_row(old)
    if middle.shape != new.shape or not _is_row(new):
        raise BadInput(f"start: {name} is {list(old.shape)} in the stage to start from, wanted is {list(new.shape)}")
    if part == "middle":
        new.copy_(middle)


def _copy_mixed(name: str, old: Tensors, new: Tensor, part: str) -> None:
    """From a layer that has an NxN and a 1xN convolution; of a sum the latter has no bias."""
    layer, _, kind = name.rpartition(".")
    full, row = old.get(f"{layer}.full.{kind}"), old.get(f"{layer}.row.{kind}")
    if full is None:
        raise BadInput(f"start: the layer {name} is not in the stage to start from; start from one of the same kind")
    is_split = full.shape[0] < new.shape[0]
    middle = _middle_row(full)
    if row is not None and row.shape[1:] != middle.shape[1:]:
        raise BadInput(f"start: {name} is {list(middle.shape)} beside {list(row.shape)}, wanted is one width of both")
    whole = middle if row is None else torch.cat((middle, row)) if is_split else middle + row
    if whole.shape != new.shape:
        raise BadInput(f"start: {name} is {list(whole.shape)} in the stage to start from, wanted is {list(new.shape)}")
    if part == "middle":
        new.copy_(whole)
    elif row is not None:
        new[len(new) - len(row) :] = row


def _middle_row(weights: Tensor) -> Tensor:
    """[out, in, N, cols] -> [out, in, 1, cols]; anything else as it is."""
    if weights.dim() != 4:
        return weights
    middle = weights.shape[2] // 2
    return weights[:, :, middle : middle + 1]

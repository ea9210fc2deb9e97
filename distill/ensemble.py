"""The pacemaker, the intermediate ensemble teacher of Son et al. 2020 (arXiv 2003.03944), in two readings.

Only the paper's abstract can be had, and it does not say how the pacemaker is made up; so each reading is a guess:
`split` mixes NxN and 1xN filters within every layer, `logits` averages the answers of whole networks.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from distill.filters import Plan, plan_of


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

"""Losses: one function an equation. Logits are [batch, classes]; every loss is a mean over the batch."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)[label], labels [batch] of class numbers."""
    return F.cross_entropy(logits, labels)


def kd(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), summed over classes (Hinton et al. 2015, section 2, eq. 1).

    T^2 makes up for gradients that shrink as 1/T^2 (ibid., section 2.1), so that weights need no change with T.
    """
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def distillation(
    student_logits: Tensor,
    labels: Tensor,
    teachers: Sequence[tuple[float, Tensor]],
    alpha: float,
    temperature: float,
) -> Tensor:
    """(1 - alpha) CE + alpha sum_i weight_i kd_i, for several teachers (Son et al. 2021, eq. 5, none dropped).

    Args:
        student_logits: of the network in training.
        labels: class numbers, [batch].
        teachers: weight and logits of each teacher; without teachers the loss is the cross entropy alone.
        alpha: share of the teachers, 0 to 1.
        temperature: of all teachers, above 0.
    """
    truth = cross_entropy(student_logits, labels)
    if not teachers:
        return truth
    weighted = [weight * kd(student_logits, logits, temperature) for weight, logits in teachers]
    taught = weighted[0]
    for term in weighted[1:]:
        taught = taught + term
    return (1 - alpha) * truth + alpha * taught

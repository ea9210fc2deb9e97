"""Losses: one function an equation. Logits are [batch, classes]; every loss is a mean over the batch.

A function that compares a student's logits with a teacher's is a `Match`; `standardised` makes another one of any.

Sources: Hinton et al. 2015, arXiv 1503.02531 (KD); Son et al. 2021, arXiv 2009.08825 (several teachers); Zhao et al.
2022, arXiv 2203.08679 (DKD); Sun et al. 2024, arXiv 2403.01427 (z-scores). Where no equation is named, none could be
checked: the terms are then cited by the names that the paper gives them.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from hw.errors import BadInput

Match = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""Student's logits, teacher's logits, labels [batch], temperature -> scalar."""

LEAST_DEVIATION = 1e-7
"""Below it logits count as equal, and get no gradient through their deviation."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)[label], labels [batch] of class numbers."""
    return F.cross_entropy(logits, labels)


def kd(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), summed over classes (Hinton et al. 2015, section 2, eq. 1).

    T^2 makes up for gradients that shrink as 1/T^2 (ibid., section 2), so that weights need no change with T.
    """
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def tckd(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """T^2 KL(b_teacher || b_student), b = (p, 1 - p) with the label's probability p (Zhao et al. 2022, TCKD)."""
    student = _target_or_not(student_logits / temperature, labels)
    teacher = _target_or_not(teacher_logits / temperature, labels)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def nckd(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """`kd` among the classes other than the label's, their probabilities summing to 1 (Zhao et al. 2022, NCKD).

    kd = tckd + (1 - p) nckd image by image, p being the teacher's probability of the label (ibid.).
    """
    return kd(_others(student_logits, labels), _others(teacher_logits, labels), temperature)


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """TCKD times alpha + NCKD times beta (Zhao et al. 2022, the DKD loss), with T^2 in both as in `kd`.

    Raises:
        BadInput: of two classes one is left beside the label, which teaches nothing.
    """
    classes = student_logits.shape[1]
    if classes < 3:
        raise BadInput(f"method dkd wants 3 classes or more, found {classes}; take the method kd")
    return alpha * tckd(student_logits, teacher_logits, labels, temperature) + beta * nckd(
        student_logits, teacher_logits, labels, temperature
    )


def z_scores(logits: Tensor) -> Tensor:
    """(z - mean) / deviation over the classes of each image (Sun et al. 2024, algorithm 1).

    Equal logits have scores of 0. The deviation divides by the number of classes K. Code that takes torch's default
    divides by K - 1, which is the same as a temperature sqrt(K / (K - 1)) times as high.
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1, keepdim=True)
    return centred / variance.clamp_min(LEAST_DEVIATION**2).sqrt()


def standardised(match: Match) -> Match:
    """`match` on z-scores of both logits: the temperature is then the base one (Sun et al. 2024, algorithm 1)."""
    return partial(_on_z_scores, match)


def plain_kd(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """`kd` as a `Match`: it has no use for the labels [batch]."""
    return kd(student_logits, teacher_logits, temperature)


def distillation(
    student_logits: Tensor,
    labels: Tensor,
    teachers: Sequence[tuple[float, Tensor]],
    alpha: float,
    temperature: float,
    match: Match = plain_kd,
    truth: float | None = None,
) -> Tensor:
    """(1 - alpha) CE + alpha sum_i weight_i match_i, for several teachers (Son et al. 2021, none dropped).

    Args:
        student_logits: of the network in training.
        labels: class numbers, [batch].
        teachers: weight and logits of each teacher; without teachers the loss is the cross entropy alone.
        alpha: share of the teachers, 0 to 1.
        temperature: of all teachers, above 0.
        match: compares with one teacher.
        truth: weight of the cross entropy in place of 1 - alpha.
    """
    own = cross_entropy(student_logits, labels)
    if not teachers:
        return own
    weighted = [weight * match(student_logits, logits, labels, temperature) for weight, logits in teachers]
    taught = weighted[0]
    for term in weighted[1:]:
        taught = taught + term
    return (1 - alpha if truth is None else truth) * own + alpha * taught


def _on_z_scores(match: Match, student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return match(z_scores(student), z_scores(teacher), labels, temperature)


def _target_or_not(logits: Tensor, labels: Tensor) -> Tensor:
    """[batch, classes] -> log probabilities [batch, 2] of the label and of all others together, exact also near 0."""
    whole = torch.logsumexp(logits, dim=1)
    target = logits.gather(1, labels[:, None])[:, 0] - whole
    return torch.stack((target, torch.logsumexp(_others(logits, labels), dim=1) - whole), dim=1)


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """[batch, classes] -> [batch, classes - 1]: the label's column taken out."""
    classes = torch.arange(logits.shape[1], device=logits.device)
    kept = classes != labels[:, None]
    return logits[kept].reshape(len(logits), -1)

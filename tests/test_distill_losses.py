import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from distill import losses
from hw.errors import BadInput

GENERATOR = np.random.default_rng(7)
STUDENT, TEACHER, SECOND = (GENERATOR.normal(size=(5, 4)) * 3 for _ in range(3))
LABELS = np.array([0, 3, 1, 1, 2])
HALF, QUARTER = ("1/2", "1/4", "1/4"), ("1/4", "1/2", "1/4")


def softmax(z):
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def naive_cross_entropy(z, labels):
    return -np.mean([np.log(p[label]) for p, label in zip(softmax(z), labels, strict=True)])


def naive_kd(student, teacher, temperature):
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return temperature**2 * np.mean(np.sum(p * np.log(p / q), axis=1))


def tensor(array):
    return torch.from_numpy(array)


def test_cross_entropy_is_the_definition():
    assert losses.cross_entropy(tensor(STUDENT), tensor(LABELS)).item() == pytest.approx(
        naive_cross_entropy(STUDENT, LABELS)
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_kd_is_the_definition(temperature):
    found = losses.kd(tensor(STUDENT), tensor(TEACHER), temperature).item()
    assert found == pytest.approx(naive_kd(STUDENT, TEACHER, temperature))


def test_kd_of_equal_logits_is_zero_also_when_shifted():
    assert losses.kd(tensor(STUDENT), tensor(STUDENT + 5), 4.0).item() == pytest.approx(0, abs=1e-12)


def test_kd_has_the_closed_gradient():
    student = tensor(STUDENT).requires_grad_()
    losses.kd(student, tensor(TEACHER), 4.0).backward()
    expected = 4.0 * (softmax(STUDENT / 4) - softmax(TEACHER / 4)) / len(STUDENT)
    np.testing.assert_allclose(student.grad.numpy(), expected, atol=1e-12)


def test_kd_passes_gradcheck():
    student = tensor(STUDENT).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: losses.kd(z, tensor(TEACHER), 4.0), (student,))


def test_several_teachers_share_alpha_by_weight():
    teachers = [(0.5, tensor(TEACHER)), (0.25, tensor(SECOND))]
    found = losses.distillation(tensor(STUDENT), tensor(LABELS), teachers, alpha=0.9, temperature=4.0).item()
    taught = 0.5 * naive_kd(STUDENT, TEACHER, 4.0) + 0.25 * naive_kd(STUDENT, SECOND, 4.0)
    assert found == pytest.approx(0.1 * naive_cross_entropy(STUDENT, LABELS) + 0.9 * taught)


def test_without_teachers_alpha_does_not_matter():
    found = losses.distillation(tensor(STUDENT), tensor(LABELS), [], alpha=0.9, temperature=4.0).item()
    assert found == pytest.approx(naive_cross_entropy(STUDENT, LABELS))


def naive_tckd(student, teacher, labels, temperature):
    total = 0.0
    for s, t, label in zip(softmax(student / temperature), softmax(teacher / temperature), labels, strict=True):
        total += t[label] * np.log(t[label] / s[label]) + (1 - t[label]) * np.log((1 - t[label]) / (1 - s[label]))
    return temperature**2 * total / len(labels)


def naive_nckd(student, teacher, labels, temperature):
    total = 0.0
    for s, t, label in zip(softmax(student / temperature), softmax(teacher / temperature), labels, strict=True):
        s, t = np.delete(s, label) / (1 - s[label]), np.delete(t, label) / (1 - t[label])
        total += np.sum(t * np.log(t / s))
    return temperature**2 * total / len(labels)


def naive_z_scores(logits):
    return np.array([(row - row.mean()) / np.sqrt(np.mean((row - row.mean()) ** 2)) for row in logits])


def central_differences(function, at, step=1e-5):
    gradient = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        above, below = at.copy(), at.copy()
        above[place] += step
        below[place] -= step
        gradient[place] = (function(above) - function(below)) / (2 * step)
    return gradient


def test_tckd_and_nckd_are_what_fractions_give_by_hand():
    """Teacher (1/2, 1/4, 1/4), student (1/4, 1/2, 1/4), label 0: b is (1/2, 1/2) against (1/4, 3/4), the others are
    (1/2, 1/2) against (2/3, 1/3)."""
    student, teacher = (tensor(np.log([[float(Fraction(x)) for x in row]])) for row in (QUARTER, HALF))
    label = tensor(np.array([0]))
    tckd, nckd = math.log(Fraction(4, 3)) / 2, math.log(Fraction(9, 8)) / 2
    assert losses.kd(student, teacher, 1.0).item() == pytest.approx(math.log(2) / 4)
    assert losses.tckd(student, teacher, label, 1.0).item() == pytest.approx(tckd)
    assert losses.nckd(student, teacher, label, 1.0).item() == pytest.approx(nckd)
    assert losses.dkd(student, teacher, label, 1.0, 3.0, 5.0).item() == pytest.approx(3 * tckd + 5 * nckd)
    assert math.log(2) / 4 == pytest.approx(tckd + 0.5 * nckd)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_is_the_definition(temperature):
    arguments = (tensor(STUDENT), tensor(TEACHER), tensor(LABELS), temperature)
    tckd = naive_tckd(STUDENT, TEACHER, LABELS, temperature)
    nckd = naive_nckd(STUDENT, TEACHER, LABELS, temperature)
    assert losses.tckd(*arguments).item() == pytest.approx(tckd)
    assert losses.nckd(*arguments).item() == pytest.approx(nckd)
    assert losses.dkd(*arguments, alpha=0.5, beta=6.0).item() == pytest.approx(0.5 * tckd + 6 * nckd)


def test_kd_is_tckd_and_what_the_teacher_leaves_of_nckd():
    for i in range(len(LABELS)):
        student, teacher, label = tensor(STUDENT[i : i + 1]), tensor(TEACHER[i : i + 1]), tensor(LABELS[i : i + 1])
        left = 1 - softmax(TEACHER[i : i + 1] / 4)[0, LABELS[i]]
        whole = losses.tckd(student, teacher, label, 4.0) + left * losses.nckd(student, teacher, label, 4.0)
        assert losses.kd(student, teacher, 4.0).item() == pytest.approx(whole.item())


def test_dkd_holds_where_the_label_is_nearly_certain():
    student, teacher = torch.tensor([[60.0, 0.0, 1.0]]), torch.tensor([[80.0, 2.0, 0.0]])
    found = losses.dkd(student.requires_grad_(), teacher, torch.tensor([0]), 1.0)
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(student.grad).all()
    assert found.item() == pytest.approx(8 * naive_kd(np.array([[0.0, 1.0]]), np.array([[2.0, 0.0]]), 1.0))


def test_dkd_of_two_classes_is_refused():
    with pytest.raises(BadInput) as error:
        losses.dkd(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0]), 4.0)
    assert str(error.value) == "method dkd wants 3 classes or more, found 2; take the method kd"


def test_z_scores_are_by_hand():
    """Of 1, 2, 3, 6 the mean is 3 and the variance (4 + 1 + 0 + 9) / 4."""
    found = losses.z_scores(tensor(np.array([[1.0, 2.0, 3.0, 6.0]])))
    np.testing.assert_allclose(found.numpy(), np.array([[-2, -1, 0, 3]]) / math.sqrt(3.5))
    np.testing.assert_allclose(losses.z_scores(tensor(STUDENT)).numpy(), naive_z_scores(STUDENT))


def test_z_scores_of_equal_logits_are_zero_with_a_finite_gradient():
    logits = torch.full((2, 3), 7.0, requires_grad=True)
    found = losses.z_scores(logits)
    assert not found.any()
    found.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_standardised_matches_do_not_see_scale_and_shift():
    labels = tensor(LABELS)
    for match in (losses.plain_kd, losses.dkd):
        standardised = losses.standardised(match)
        once = standardised(tensor(STUDENT), tensor(TEACHER), labels, 2.0).item()
        assert standardised(tensor(STUDENT * 7 + 3), tensor(TEACHER * 0.1 - 1), labels, 2.0).item() == pytest.approx(
            once
        )
        naive = match(tensor(naive_z_scores(STUDENT)), tensor(naive_z_scores(TEACHER)), labels, 2.0).item()
        assert once == pytest.approx(naive)


def test_code_that_divides_by_one_less_has_a_higher_temperature():
    """What codes make of it with torch.std: z-scores at temperature T sqrt(K / (K - 1)), less the factor T^2."""
    by_one_less = [
        (z - z.mean(dim=1, keepdim=True)) / z.std(dim=1, keepdim=True) for z in map(tensor, (STUDENT, TEACHER))
    ]
    higher = 2 * math.sqrt(4 / 3)
    found = losses.kd(losses.z_scores(tensor(STUDENT)), losses.z_scores(tensor(TEACHER)), higher).item()
    assert losses.kd(*by_one_less, 2.0).item() == pytest.approx(found * 3 / 4)


MATCHES = {
    "kd": (losses.plain_kd, lambda s: naive_kd(s, TEACHER, 3.0)),
    "tckd": (losses.tckd, lambda s: naive_tckd(s, TEACHER, LABELS, 3.0)),
    "nckd": (losses.nckd, lambda s: naive_nckd(s, TEACHER, LABELS, 3.0)),
    "dkd": (
        losses.dkd,
        lambda s: naive_tckd(s, TEACHER, LABELS, 3.0) + 8 * naive_nckd(s, TEACHER, LABELS, 3.0),
    ),
    "standardised kd": (
        losses.standardised(losses.plain_kd),
        lambda s: naive_kd(naive_z_scores(s), naive_z_scores(TEACHER), 3.0),
    ),
    "standardised dkd": (
        losses.standardised(losses.dkd),
        lambda s: (
            naive_tckd(naive_z_scores(s), naive_z_scores(TEACHER), LABELS, 3.0)
            + 8 * naive_nckd(naive_z_scores(s), naive_z_scores(TEACHER), LABELS, 3.0)
        ),
    ),
}


@pytest.mark.parametrize("name", MATCHES)
def test_gradients_are_the_finite_differences_of_the_definition(name):
    match, naive = MATCHES[name]
    student = tensor(STUDENT).clone().requires_grad_()
    found = match(student, tensor(TEACHER), tensor(LABELS), 3.0)
    assert found.item() == pytest.approx(naive(STUDENT))
    found.backward()
    np.testing.assert_allclose(student.grad.numpy(), central_differences(naive, STUDENT), atol=1e-8)
    assert torch.autograd.gradcheck(lambda z: match(z, tensor(TEACHER), tensor(LABELS), 3.0), (student,))


def test_the_gradient_of_the_cross_entropy_is_the_finite_difference():
    student = tensor(STUDENT).clone().requires_grad_()
    losses.cross_entropy(student, tensor(LABELS)).backward()
    expected = central_differences(lambda z: naive_cross_entropy(z, LABELS), STUDENT)
    np.testing.assert_allclose(student.grad.numpy(), expected, atol=1e-8)


def test_one_teacher_is_what_torchdistill_calls_kdloss():
    """Its KDLoss(temperature T, alpha a, beta b, reduction batchmean) is a CE + b T^2 mean_i sum_c p (log p - log q),
    b being 1 - a if not given; so its alpha is 1 - ours."""
    p, q = softmax(TEACHER / 4), softmax(STUDENT / 4)
    soft = np.sum(p * (np.log(p) - np.log(q))) / len(p)
    kd_loss = 0.3 * naive_cross_entropy(STUDENT, LABELS) + 0.7 * 4**2 * soft
    found = losses.distillation(tensor(STUDENT), tensor(LABELS), [(1.0, tensor(TEACHER))], alpha=0.7, temperature=4.0)
    assert found.item() == pytest.approx(kd_loss, rel=1e-12)


def test_truth_and_match_can_be_given():
    teachers = [(9.0, tensor(TEACHER))]
    found = losses.distillation(
        tensor(STUDENT), tensor(LABELS), teachers, 1.0, 2.0, losses.standardised(losses.plain_kd), truth=0.1
    )
    taught = naive_kd(naive_z_scores(STUDENT), naive_z_scores(TEACHER), 2.0)
    assert found.item() == pytest.approx(0.1 * naive_cross_entropy(STUDENT, LABELS) + 9 * taught)


@pytest.mark.parametrize("match", [losses.plain_kd, losses.dkd])
@pytest.mark.parametrize("flat", ["student", "teacher", "both"])
def test_standardised_matches_hold_where_all_logits_are_equal(match, flat):
    """A flat image's z-scores are zero: uniform probabilities against the other's."""
    level = np.full((1, 4), 7.0)
    student, teacher = (level if flat in (side, "both") else STUDENT[:1] for side in ("student", "teacher"))
    given = tensor(student).clone().requires_grad_()
    found = losses.standardised(match)(given, tensor(teacher), tensor(LABELS[:1]), 2.0)
    found.backward()
    assert torch.isfinite(given.grad).all()
    by_hand = [np.zeros((1, 4)) if side is level else naive_z_scores(side) for side in (student, teacher)]
    if match is losses.plain_kd:
        assert found.item() == pytest.approx(naive_kd(*by_hand, 2.0))
    else:
        whole = naive_tckd(*by_hand, LABELS[:1], 2.0) + 8 * naive_nckd(*by_hand, LABELS[:1], 2.0)
        assert found.item() == pytest.approx(whole)


def test_gradcheck_of_the_whole_loss_with_two_teachers():
    student = tensor(STUDENT).clone().requires_grad_()
    teachers = [(0.5, tensor(TEACHER)), (0.25, tensor(SECOND))]

    def whole(z):
        return losses.distillation(z, tensor(LABELS), teachers, 0.9, 4.0, losses.standardised(losses.dkd))

    assert torch.autograd.gradcheck(whole, (student,))

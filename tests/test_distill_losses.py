import numpy as np
import pytest
import torch

from distill import losses

GENERATOR = np.random.default_rng(7)
STUDENT, TEACHER, SECOND = (GENERATOR.normal(size=(5, 4)) * 3 for _ in range(3))
LABELS = np.array([0, 3, 1, 1, 2])


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

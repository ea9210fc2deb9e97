from collections import Counter

import pytest
import torch

from distill import data as data_sets
from distill import losses, methods, networks
from distill.data import DataSpec
from distill.methods import Moment, Phase, Stage
from distill.recipe import Training
from distill.resume import Memory
from distill.train import deterministic, train
from hw.errors import BadInput

GENERATOR = torch.Generator().manual_seed(3)
LOGITS, FIRST, SECOND = (torch.randn(6, 4, generator=GENERATOR, dtype=torch.float64) for _ in range(3))
LABELS = torch.tensor([0, 3, 1, 1, 2, 0])


def at(epoch, epochs=8, step=0, seed=7):
    return Moment(epoch, epochs, step, seed)


def loss(stage, moment):
    known = (FIRST, SECOND)[: len(stage.teachers)]
    weights = methods.weights_at(stage, list(stage.teachers.values()), moment)
    speaking = [(weight, logits) for weight, logits in zip(weights, known, strict=True) if weight > 0]
    return methods.loss(stage, LOGITS, LABELS, speaking).item()


def test_a_stage_as_of_old_is_bit_equal_to_the_plain_formula():
    stage = Stage("a", "row", {"b": 0.5, "c": 0.25}, alpha=0.9, temperature=4.0)
    truth, first, second = (
        losses.cross_entropy(LOGITS, LABELS),
        losses.kd(LOGITS, FIRST, 4),
        losses.kd(LOGITS, SECOND, 4),
    )
    assert loss(stage, at(0)) == ((1 - 0.9) * truth + 0.9 * (0.5 * first + 0.25 * second)).item()


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({}, losses.plain_kd),
        ({"method": "dkd"}, losses.dkd),
        (
            {"method": "dkd", "target": 0.5, "beta": 2.0},
            lambda *given: 0.5 * losses.tckd(*given) + 2 * losses.nckd(*given),
        ),
        ({"standardise": True}, losses.standardised(losses.plain_kd)),
        ({"method": "dkd", "standardise": True}, losses.standardised(losses.dkd)),
    ],
)
def test_a_method_says_how_student_and_teacher_are_compared(fields, match):
    stage = Stage("a", "row", {"b": 1.0}, alpha=1.0, temperature=2.0, truth=0.5, **fields)
    expected = 0.5 * losses.cross_entropy(LOGITS, LABELS) + match(LOGITS, FIRST, LABELS, 2.0)
    assert loss(stage, at(0)) == pytest.approx(expected.item())


def squared(student, teacher, labels, temperature):
    return ((student - teacher) / temperature).square().sum(dim=1).mean()


def test_a_method_may_be_a_function_of_ones_own():
    stage = Stage("a", "row", {"b": 1.0}, alpha=0.5, temperature=2.0, method=f"{__name__}:squared")
    expected = 0.5 * losses.cross_entropy(LOGITS, LABELS) + 0.5 * ((LOGITS - FIRST) ** 2).sum() / 4 / 6
    assert loss(stage, at(0)) == pytest.approx(expected.item())
    assert methods.check_losses([stage, Stage("b", "full")], 4) is None


def one_an_image(student, teacher, labels, temperature):
    return (student - teacher).sum(dim=1)


def as_a_float(student, teacher, labels, temperature):
    return (student - teacher).sum().item()


def without_gradient(student, teacher, labels, temperature):
    return (student - teacher).detach().sum()


def two_arguments(student, teacher):
    return (student - teacher).sum()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere_at_all:f", "method nowhere_at_all:f cannot be imported (No module named 'nowhere_at_all')"),
        (f"{__name__}:LABELS", f"method {__name__}:LABELS is Tensor, wanted is a function"),
        (
            f"{__name__}:one_an_image",
            f"method {__name__}:one_an_image returned a Tensor [2] of torch.float32, wanted is one number, a Tensor []",
        ),
        (
            f"{__name__}:as_a_float",
            f"method {__name__}:as_a_float returned a float, wanted is one number, a Tensor []",
        ),
        (
            f"{__name__}:without_gradient",
            f"method {__name__}:without_gradient has no gradient by the student's logits; wanted are torch's "
            "operations",
        ),
        (
            f"{__name__}:two_arguments",
            f"method {__name__}:two_arguments failed (TypeError: two_arguments() takes 2 positional arguments but 4 "
            "were given)",
        ),
    ],
)
def test_a_loss_of_ones_own_is_tried(name, sentence):
    with pytest.raises(BadInput) as error:
        methods.check_losses([Stage("a", "row", {"b": 1.0}, method=name)], 10)
    assert str(error.value) == sentence


def test_a_loss_of_ones_own_wants_its_form():
    with pytest.raises(BadInput) as error:
        Stage("a", "row", {"b": 1.0}, method="a file.py:loss")
    assert str(error.value) == "stage a: method 'a file.py:loss' is not of the form package.module:function"


def test_phases_follow_each_other_by_their_share_of_the_epochs():
    stage = Stage("a", "row", phases=(Phase(0.25), Phase(0.5, {"b": 1.0}), Phase(0.25, {"b": 0.5, "c": 2.0})))
    found = [methods.weights_at(stage, [9.0, 9.0], at(epoch)) for epoch in range(8)]
    assert found == [[0, 0]] * 2 + [[1, 0]] * 4 + [[0.5, 2]] * 2
    assert loss(stage, at(0)) == losses.cross_entropy(LOGITS, LABELS).item()
    only_first = Stage("a", "row", {"b": 1.0})
    assert loss(stage, at(2)) == loss(only_first, at(2))


@pytest.mark.parametrize(("epochs", "firsts"), [(1, 0), (2, 1), (3, 1), (5, 2), (25, 12)])
def test_halves_of_any_number_of_epochs_are_whole_epochs(epochs, firsts):
    halves = (Phase(0.5, {"b": 1.0}), Phase(0.5, {"c": 1.0}))
    assert [methods.phase_at(halves, at(epoch, epochs)) for epoch in range(epochs)].count(halves[0]) == firsts


def test_warm_up_lets_the_teachers_grow():
    stage = Stage("a", "row", {"b": 2.0}, warm_up=0.5)
    found = [methods.weights_at(stage, [2.0], at(epoch))[0] for epoch in range(8)]
    assert found == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_a_dropped_teacher_is_another_one_from_batch_to_batch_and_the_same_one_again():
    stage = Stage("a", "row", {"b": 1.0, "c": 1.0, "d": 1.0}, drop=1)
    moments = [at(epoch, step=step) for epoch in range(8) for step in range(40)]
    found = [tuple(methods.weights_at(stage, [1.0, 2.0, 3.0], moment)) for moment in moments]
    counts = Counter(found)
    assert set(counts) == {(0, 2, 3), (1, 0, 3), (1, 2, 0)}
    assert min(counts.values()) > 70
    assert found == [tuple(methods.weights_at(stage, [1.0, 2.0, 3.0], moment)) for moment in moments]
    assert found != [
        tuple(methods.weights_at(stage, [1.0, 2.0, 3.0], at(m.epoch, step=m.step, seed=8))) for m in moments
    ]


def test_dropping_keeps_one_of_those_that_speak_in_a_phase():
    stage = Stage("a", "row", phases=(Phase(1.0, {"b": 1.0, "c": 1.0}),), drop=1)
    assert {sum(methods.weights_at(stage, [0, 0], at(0, step=step))) for step in range(50)} == {1.0}


class Killed(Exception):
    pass


def trained(stage, memory=None, killed_after=None):
    """Curves and weights of four epochs on 40 digits, with one untrained teacher for every name."""
    data = data_sets.load(DataSpec(train_images=40))
    training = Training(epochs=4, batch=20, learning_rate=0.01, shift=1)

    def on_epoch(epoch, loss, validation):
        if epoch == killed_after:
            raise Killed

    with deterministic(1):
        module, *teachers = (networks.plain(5, 1, 10, channels=1) for _ in range(1 + len(stage.teachers)))
        asked = list(zip(stage.teachers.values(), [teacher.eval() for teacher in teachers], strict=True))
        curves = train(stage, module, data, training, asked, 5, on_epoch, memory=memory)
    return curves, {name: value.clone() for name, value in module.state_dict().items()}


def test_a_phase_without_teachers_trains_as_by_cross_entropy_alone():
    alone, _ = trained(Stage("a", "row"))
    phased, _ = trained(Stage("a", "row", phases=(Phase(0.5), Phase(0.5, {"b": 1.0}))))
    assert phased.loss[:2] == alone.loss[:2]
    assert phased.loss[2] != alone.loss[2]
    assert phased.validation[:2] == alone.validation[:2]


def test_a_training_with_phases_and_dropping_goes_on_to_the_same_bits(tmp_path):
    halves = (Phase(0.5, {"b": 1.0, "c": 0.5}), Phase(0.5, {"b": 0.5, "d": 1.0}))
    stage = Stage("a", "row", phases=halves, drop=1, warm_up=0.75, method="dkd", standardise=True)
    curves, weights = trained(stage)
    memory = Memory(tmp_path / "a.unfinished", "mine")
    with pytest.raises(Killed):
        trained(stage, memory, killed_after=1)
    again, resumed = trained(stage, memory)
    assert again == curves
    assert all(torch.equal(resumed[name], value) for name, value in weights.items())

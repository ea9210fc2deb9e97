"""What the training bench computes from its runs, and that both sides see the same images in the same order."""

import numpy as np
import pytest
import torch
from bench import training_case, training_rows

from distill import predict, train

CASE = training_case.CASES["wrn_16_2"]._replace(steps=2)


def row(walls, cpus, losses):
    return {**training_rows.seconds_row(walls, cpus, "1.0", "how"), "losses": losses}


def test_ratio_is_of_the_medians_and_its_ends_are_of_turns():
    slow, fast = row([6.0, 9.0, 8.0], [5.0, 5.0, 7.0], [2.0, 1.0]), row([3.0, 3.0, 4.0], [2.0, 4.0, 2.0], [2.0, 1.0])
    found = training_rows.ratio_row(slow, fast, 0.0, 1e-5)
    assert (found["median"], found["min"], found["max"], found["n"]) == (8 / 3, 2.0, 3.0, 3)
    assert found["cpu_ratio"] == 2.5
    assert found["note"] == "how; by CPU seconds 2.5 times; losses differ by 0.0e+00 at most"


def test_losses_too_far_apart_are_said_so():
    slow, fast = row([6.0], [6.0], [2.0, 1.0, 0.5]), row([3.0], [3.0], [2.0, 1.25, 0.5])
    apart = training_rows.differs(slow, fast)
    assert apart == 0.25
    found = training_rows.ratio_row(slow, fast, apart, 1e-5)
    assert str(found["note"]).endswith("losses differ by 2.5e-01 at most, more than 1e-05")


def test_figures_of_another_number_of_steps_or_turns_are_refused():
    with pytest.raises(ValueError, match="argument 2 is longer"):
        training_rows.differs(row([1.0], [1.0], [2.0]), row([1.0], [1.0], [2.0, 1.0]))
    with pytest.raises(ValueError, match="argument 2 is longer"):
        training_rows.ratio_row(row([1.0], [1.0], []), row([1.0, 1.0], [1.0, 1.0], []), 0.0, 1e-5)


def test_a_missing_side_leaves_the_ratio_without_a_figure():
    gone, there = training_rows.missing("torchdistill: pip: no network"), row([3.0], [3.0], [1.0])
    for pair in ((gone, there), (there, gone)):
        assert training_rows.differs(*pair) is None
        assert training_rows.ratio_row(*pair, None, 1e-5) == {
            "median": None,
            "reason": "torchdistill: pip: no network",
        }


def test_both_sides_take_the_images_in_one_order():
    ours = train._batches(CASE.count, CASE.steps, training_case.SEED, 0)
    assert all(len(batch) == training_case.BATCH for batch in ours)
    assert np.concatenate(ours).tolist() == training_case.order(CASE.count)


def test_both_sides_see_the_same_inputs():
    pixels, labels = training_case.images(CASE)
    assert pixels.shape == (256, 32, 32, 3)
    assert set(labels) <= set(range(100))
    assert torch.equal(training_case.as_input(pixels), predict.to_input(pixels))


def test_networks_are_the_same_in_every_process_and_the_teacher_is_sure():
    pixels, _ = training_case.images(CASE)
    teacher, student = training_case.teacher_and_student(CASE, pixels)
    again = training_case.teacher_and_student(CASE, pixels)
    for module, other in zip((teacher, student), again, strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True)
        )
    assert not teacher.training
    assert student.training
    assert 2 < float(predict.predictions(teacher, pixels[:32]).std()) < 10

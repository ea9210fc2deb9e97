"""Comparisons over seeds against figures of textbooks and by hand."""

import math

import msgspec
import pytest

from distill.recipe import load
from hw.errors import BadInput
from reports.statistics import against_baselines, baselines, holm, paired, spreads_differ


def test_a_paired_difference_by_hand() -> None:
    # Differences 1, 2, 3, 4, 5: mean 3, standard deviation sqrt(2.5), its error sqrt(0.5); t of 4 degrees at 97.5 % is
    # 2.7764 (tables); t is 3 / 0.70711 = 4.2426, whose two-sided p is 0.01324.
    found = paired("a", "b", [11, 22, 33, 44, 55], [10, 20, 30, 40, 50])
    assert (found.seeds, found.mean) == (5, 3)
    assert found.low is not None
    assert found.high is not None
    assert found.low == pytest.approx(3 - 2.7764 * math.sqrt(0.5), abs=1e-4)
    assert found.high == pytest.approx(3 + 2.7764 * math.sqrt(0.5), abs=1e-4)
    assert found.p == pytest.approx(0.01324, abs=1e-5)


def test_sleep_of_ten_patients() -> None:
    """Student's own data (1908): hours of sleep gained by two drugs; t = 4.0621, p = 0.002833."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired("second", "first", second, first)
    assert found.mean == pytest.approx(1.58)
    assert found.p == pytest.approx(0.002833, abs=1e-6)
    assert (found.low, found.high) == (pytest.approx(0.7001, abs=1e-4), pytest.approx(2.4599, abs=1e-4))


@pytest.mark.parametrize("theirs", [[0.25], [0.25, 0.5, 0.75], [0.15, 0.3, 0.45]])
def test_one_seed_and_equal_differences_have_no_interval(theirs: list[float]) -> None:
    found = paired("a", "b", [value + 0.1 for value in theirs], theirs)
    assert (found.mean, found.low, found.high, found.p) == (pytest.approx(0.1), None, None, None)


def test_pairs_are_wanted() -> None:
    with pytest.raises(BadInput, match=r"^stages a and b: 2 and 1 seeds were found; pairs are wanted$"):
        paired("a", "b", [1, 2], [1])
    with pytest.raises(BadInput, match=r"^1 and 3 seeds were found; a spread wants two of each at least$"):
        spreads_differ([1], [1, 2, 3])


def test_holms_correction_by_hand() -> None:
    # Rising: 0.005 * 4 = 0.02, 0.01 * 3 = 0.03, 0.03 * 2 = 0.06, 0.04 * 1 = 0.04, which may not fall below 0.06.
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}


def test_brown_and_forsythe_by_hand() -> None:
    # Distances from the medians 3 and 30: 2 1 0 1 2 and 20 10 0 10 20, means 1.2 and 12, in all 6.6.
    # Between: 5 * (5.4**2 + 5.4**2) = 291.6; within: 2.8 + 280 = 282.8, 8 degrees: F = 291.6 / 35.35 = 8.2489.
    # F of 1 and 8 degrees is the square of t of 8, whose distribution is a finite sum (Abramowitz and Stegun 26.7.4).
    angle = math.atan(math.sqrt(291.6 / 35.35 / 8))
    within = math.sin(angle) * sum(w * math.cos(angle) ** (2 * k) for k, w in enumerate((1, 1 / 2, 3 / 8, 15 / 48)))
    assert spreads_differ([1, 2, 3, 4, 5], [10, 20, 30, 40, 50]) == pytest.approx(1 - within)


def test_students_are_held_against_cross_entropy_and_plain_distillation() -> None:
    recipe = load("digits")
    assert baselines(recipe) == ("ce", "kd")
    accuracies = {stage.name: [0.9, 0.8] for stage in recipe.stages} | {"joint": [0.95, 0.9]}
    found = against_baselines(recipe, accuracies)
    assert [(entry.stage, entry.baseline) for entry in found] == [
        ("kd", "ce"),
        ("joint", "ce"),
        ("logits-student", "ce"),
        ("ce", "kd"),
        ("joint", "kd"),
        ("logits-student", "kd"),
    ]
    assert found[1].mean == pytest.approx(0.075)
    only_taught = msgspec.structs.replace(
        recipe, stages=tuple(stage for stage in recipe.stages if stage.name != "ce")[:2]
    )
    assert baselines(only_taught) == ()

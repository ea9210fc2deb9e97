"""Accuracies over seeds as a reviewer compares them: paired by seed, with intervals, corrected for many comparisons."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import msgspec

from hw.errors import BadInput

if TYPE_CHECKING:  # which brings torch, and tables come without
    from distill.recipe import Recipe

CONFIDENCE = 0.95
LEAST_ERROR = 1e-12
"""Of a mean difference of accuracies: less is rounding."""


class Paired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stage has over a baseline, seed by seed.

    Attributes:
        stage: the one.
        baseline: the other.
        seeds: pairs, n.
        mean: mean difference of accuracies (0 to 1), above 0 where the stage is better.
        low: lower end of the 95 % interval of the mean, by Student's t with n - 1 degrees of freedom.
        high: its upper end.
        p: two-sided p value of the paired t test. None (like both ends) for one seed, and where all differences are the
            same, which on few test images happens by chance and says nothing of the spread.
    """

    stage: str
    baseline: str
    seeds: int
    mean: float
    low: float | None
    high: float | None
    p: float | None


def baselines(recipe: "Recipe") -> tuple[str, ...]:
    """The students that others are held against: by cross entropy alone, and by plain distillation from one teacher.

    Plain distillation is a `row` stage that learns from one NxN stage alone.
    """
    students = [stage for stage in recipe.stages if stage.kind == "row" and stage.start is None]
    full = {stage.name for stage in recipe.stages if stage.kind == "full"}
    untaught = [stage.name for stage in students if not stage.teachers]
    plain = [stage.name for stage in students if len(stage.teachers) == 1 and set(stage.teachers) <= full]
    return (*untaught[:1], *plain[:1])


def against_baselines(recipe: "Recipe", accuracies: Mapping[str, Sequence[float]]) -> tuple[Paired, ...]:
    """Every student of a recipe against its baselines; `accuracies` by stage, one a seed in the same order.

    Members of an ensemble that are a baseline once more, from other weights, are left out.
    """
    students = [stage.name for stage in recipe.stages if stage.kind == "row" and not recipe.again(stage)]
    return tuple(
        paired(name, baseline, accuracies[name], accuracies[baseline])
        for baseline in baselines(recipe)
        for name in students
        if name != baseline
    )


def paired(stage: str, baseline: str, ours: Sequence[float], theirs: Sequence[float]) -> Paired:
    """The paired difference of two stages over the same seeds.

    Raises:
        BadInput: not as many values of one as of the other.
    """
    if len(ours) != len(theirs) or not ours:
        raise BadInput(
            f"stages {stage} and {baseline}: {len(ours)} and {len(theirs)} seeds were found; pairs are wanted"
        )
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, count = fmean(differences), len(differences)
    error = stdev(differences) / math.sqrt(count) if count > 1 else 0.0
    if error < LEAST_ERROR:
        return Paired(stage, baseline, count, mean, None, None, None)
    from scipy.stats import t

    reach = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    p = float(2 * t.sf(abs(mean) / error, count - 1))
    return Paired(stage, baseline, count, mean, mean - reach, mean + reach, p)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P values corrected for being several (Holm 1979): the k-th least of m times m - k + 1, never falling."""
    rising = sorted(p_values, key=lambda name: p_values[name])
    corrected = [min(1.0, p_values[name] * (len(rising) - k)) for k, name in enumerate(rising)]
    for k, (before, after) in enumerate(pairwise(corrected), 1):
        corrected[k] = max(corrected[k - 1], before, after)
    found = dict(zip(rising, corrected, strict=True))
    return {name: found[name] for name in p_values}


def spreads_differ(one: Sequence[float], other: Sequence[float]) -> float:
    """P value of Brown and Forsythe's test (1974) that two groups of seeds spread alike: Levene's, about the medians.

    Raises:
        BadInput: fewer than two seeds of either.
    """
    if min(len(one), len(other)) < 2:
        raise BadInput(f"{len(one)} and {len(other)} seeds were found; a spread wants two of each at least")
    from scipy.stats import levene

    return float(levene(one, other, center="median").pvalue)

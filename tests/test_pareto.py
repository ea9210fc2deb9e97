"""Fronts, neighbours and sensitivities against definitions written out plainly, and against Optuna."""

import numpy as np
import pytest

from reports.sweep import pareto


def naive_front(values, better):
    turned = values * [-1 if way == "more" else 1 for way in better]
    known = ~np.isnan(turned).any(axis=1)
    kept = []
    for row in turned:
        no_worse = (turned[known] <= row).all(axis=1)
        better_once = (turned[known] < row).any(axis=1)
        kept.append(not np.isnan(row).any() and not (no_worse & better_once).any())
    return np.array(kept, bool)


def clouds(seed, rows, objectives):
    """Uniform, with many ties, on a simplex (all on the front), noise around one, and with infinite ends."""
    rng = np.random.default_rng(seed)
    uniform = rng.random((rows, objectives))
    ties = rng.integers(0, 6, (rows, objectives)).astype(float)
    simplex = rng.dirichlet(np.ones(objectives), rows)
    ends = np.where(rng.random((rows, objectives)) < 0.1, np.inf, ties)
    ends = np.where(rng.random((rows, objectives)) < 0.05, -np.inf, ends)
    return [uniform, ties, simplex, simplex + 0.1 * uniform, ends, np.repeat(ties[:1], rows, axis=0)]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("rows", [1, 15, 16, 17, 40, 700])
def test_the_front_is_that_of_the_definition(rows, objectives):
    rng = np.random.default_rng(rows)
    for values in clouds(rows + objectives, rows, objectives):
        better = rng.choice(["less", "more"], objectives).tolist()
        assert (pareto.front(values, better) == naive_front(values, better)).all()


def test_a_row_with_a_nan_is_on_no_front_and_dominates_nobody():
    values = np.array([[0.0, np.nan], [1.0, 1.0], [2.0, 0.0], [2.0, 1.0]])
    assert pareto.front(values, ["less", "less"]).tolist() == [False, True, True, False]
    rng = np.random.default_rng(0)
    values = rng.random((500, 3))
    values[rng.random((500, 3)) < 0.1] = np.nan
    assert (pareto.front(values, ["less", "more", "less"]) == naive_front(values, ["less", "more", "less"])).all()


def test_equal_rows_are_all_on_the_front():
    values = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0], [0.0, -0.0], [-0.0, 0.0]])
    assert pareto.front(values, ["less", "less"]).tolist() == [False, False, False, True, True]
    assert pareto.front(values[:3], ["less", "less"]).tolist() == [True, True, False]


def test_no_rows_have_no_front():
    assert pareto.front(np.zeros((0, 3)), ["less"] * 3).shape == (0,)
    assert pareto.front(np.full((2, 1), np.nan), ["less"]).tolist() == [False, False]
    assert pareto.dominators(np.ones((2, 1)), np.zeros((0, 1))).tolist() == [-1, -1]


@pytest.mark.parametrize("seed", range(5))
def test_a_dominator_dominates_and_is_found_where_there_is_one(seed):
    for values in clouds(seed, 300, 3):
        points = np.random.default_rng(seed + 1).permutation(values)[:100] + 0.01
        found = pareto.dominators(points, values)
        for point, by in zip(points, found.tolist(), strict=True):
            dominates = (values <= point).all(axis=1) & (values < point).any(axis=1)
            assert dominates[by] if by >= 0 else not dominates.any()


def test_the_order_of_rows_does_not_matter():
    values = clouds(3, 400, 4)[1]
    order = np.random.default_rng(0).permutation(400)
    better = ["less", "more", "less", "less"]
    assert (pareto.front(values[order], better) == pareto.front(values, better)[order]).all()


@pytest.mark.parametrize("cloud", range(4))
def test_the_front_is_that_of_optuna(cloud):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    better = ["less", "more", "less"]
    values = clouds(0, 300, 3)[cloud]
    study = optuna.create_study(directions=["maximize" if way == "more" else "minimize" for way in better])
    study.add_trials([optuna.trial.create_trial(values=row.tolist()) for row in values])
    best = {trial.number for trial in study.best_trials}
    assert set(np.flatnonzero(pareto.front(values, better)).tolist()) == best


def test_neighbours_are_a_little_behind_one_row_of_the_front_in_all():
    values = np.array([[1.0, 10.0], [10.0, 1.0], [1.04, 10.0], [10.4, 1.04], [1.2, 10.0], [np.nan, 0.0]])
    better = ["less", "less"]
    on_front = pareto.front(values, better)
    assert on_front.tolist() == [True, True, False, False, False, False]
    near = pareto.neighbours(values, better, on_front, distance=0.05)
    assert near.tolist() == [False, False, True, True, False, False]
    # Where more is better, that much is added.
    more = pareto.neighbours(np.array([[1.0, 2.0], [0.97, 2.0], [0.9, 2.0]]), ["more", "less"], np.array([1, 0, 0]) > 0)
    assert more.tolist() == [False, True, False]


def test_too_many_neighbours_are_the_nearest_ones():
    rng = np.random.default_rng(0)
    values = np.concatenate([[[1.0, 1.0]], 1 + rng.random((1000, 2)) ** 3])
    on_front = pareto.front(values, ["less", "less"])
    all_near = pareto.neighbours(values, ["less", "less"], on_front, distance=0.5)
    few = pareto.neighbours(values, ["less", "less"], on_front, distance=0.5, most=50)
    assert 10 < few.sum() <= 50 < all_near.sum()
    assert not (few & ~all_near).any()
    farthest = np.max(1 - 1 / values[few], axis=1).max()
    left_out = np.max(1 - 1 / values[all_near & ~few], axis=1).min()
    assert farthest <= left_out
    equal = np.concatenate([[[1.0, 1.0]], np.full((100, 2), 1.0 + 1e-9)])
    thin = pareto.neighbours(equal, ["less", "less"], pareto.front(equal, ["less", "less"]), most=10)
    assert thin.sum() == 10


def test_thinning_is_even_and_takes_all_of_few():
    rows = np.arange(1000) % 2 == 0
    thin = pareto.thinned(rows, 10)
    assert thin.sum() == 10
    assert not (thin & ~rows).any()
    assert thin[0]
    assert thin[998]
    assert (pareto.thinned(rows, 500) == rows).all()


def test_sensitivity_is_the_mean_change_over_groups_that_differ_in_one_axis():
    clock = np.array([100.0, 200.0, 100.0, 200.0, 100.0])
    kind = np.array(["a", "a", "b", "b", "c"], object)
    objective = np.array([4.0, 2.0, 9.0, 3.0, 7.0])
    of_clock, of_kind = pareto.sensitivity({"clock": clock, "kind": kind}, objective)
    # Clock: 4 against 2 is 1, 9 against 3 is 2; kind: 4, 9 and 7 are 1.25 apart, 2 and 3 are 0.5.
    assert of_clock == pareto.Sensitivity("clock", 1.5, 1.0, 2.0, 2)
    assert of_kind == pareto.Sensitivity("kind", 0.875, 0.5, 1.25, 2)


def test_sensitivity_leaves_out_what_has_no_relative_change():
    axis = np.array([1.0, 2.0, 1.0, 2.0])
    other = np.array([1.0, 1.0, 2.0, 2.0])
    (of_axis,) = pareto.sensitivity({"axis": axis}, np.array([1.0, 3.0, np.nan, np.nan]))
    assert (of_axis.change, of_axis.groups) == (2.0, 1)
    of_axis, of_other = pareto.sensitivity({"axis": axis, "other": other}, np.array([0.0, 3.0, 2.0, 2.0]))
    assert (of_axis.change, of_axis.groups) == (0.0, 1)
    assert (of_other.change, of_other.groups) == (0.5, 1)
    (alone,) = pareto.sensitivity({"axis": np.ones(3)}, np.array([1.0, 2.0, 3.0]))
    assert np.isnan(alone.change)
    assert alone.groups == 0
    (none,) = pareto.sensitivity({"axis": np.zeros(0)}, np.zeros(0))
    assert none.groups == 0


def test_sensitivity_of_random_tables_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    axes = {name: rng.integers(0, 3, 60) for name in "abc"}
    objective = rng.integers(1, 9, 60).astype(float)
    for found in pareto.sensitivity(axes, objective):
        groups = {}
        for i in range(60):
            groups.setdefault(tuple(axes[name][i] for name in axes if name != found.axis), []).append(i)
        changes = [
            max(objective[group]) / min(objective[group]) - 1
            for group in groups.values()
            if len(set(axes[found.axis][group])) > 1
        ]
        assert found.groups == len(changes)
        assert found.change == pytest.approx(np.mean(changes))

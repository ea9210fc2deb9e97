from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from reports.sweep import search
from reports.sweep.designs import Design
from reports.sweep.search import Found
from reports.sweep.space import Machines, Networks, Search, Space

AXES: dict[str, tuple[int | float | str, ...]] = {
    "depth": (10, 16, 22, 28, 34, 40),
    "width": (1, 2, 3, 4, 5, 6, 7, 8),
    "n": (3, 5, 7),
    "rows": ("skip", "keep", "mean"),
    "bits": (2, 3, 4, 5, 6, 7, 8),
}


def space(method: str, trainings: int, seed: int = 0) -> Space:
    return msgspec.convert(
        {
            "name": "tried",
            "networks": Networks("digits", AXES),
            "machines": (Machines("pipeline", {"macs": (64,)}),),
            "objectives": ("accuracy", "latency_ms"),
            "search": {"method": method, "trainings": trainings, "seed": seed},
        },
        Space,
        from_attributes=True,
    )


def accuracy(design: Design) -> float:
    """Made up: deep and wide is good, few bits are bad, rows matter."""
    return design.depth / 40 + design.width / 8 + {"skip": 0.0, "mean": 0.3, "keep": 0.5}[design.rows] - 1 / design.bits


def cost(design: Design) -> float:
    return design.depth * design.width**2 * design.n * (3 if design.rows == "keep" else 1)


def evaluate(designs: Sequence[Design]) -> list[Found | None]:
    return [None if d.bits == 3 else Found((accuracy(d), cost(d)), d.bits > 2) for d in designs]


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_a_search_tries_as_many_networks_as_asked_for_each_once(method: str, tmp_path: Path) -> None:
    tried = search.search(space(method, 21), tmp_path, evaluate)
    assert len(tried) == len(set(tried)) == 21
    assert all(design == design.plain for design in tried)


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_a_search_that_was_stopped_ends_as_if_it_had_not_been(method: str, tmp_path: Path) -> None:
    whole = search.search(space(method, 24), tmp_path / "whole", evaluate)
    for stop_after in (1, 7, 13):
        seen: list[Design] = []

        def stopped(designs: Sequence[Design], seen: list[Design] = seen, most: int = stop_after) -> list[Found | None]:
            if len(seen) >= most:
                raise KeyboardInterrupt
            seen += designs
            return evaluate(designs)

        folder = tmp_path / str(stop_after)
        with pytest.raises(KeyboardInterrupt):
            search.search(space(method, 24), folder, stopped)
        assert tuple(seen) == whole[: len(seen)]
        assert search.search(space(method, 24), folder, evaluate) == whole
    assert search.search(space(method, 24, seed=1), tmp_path / "other", evaluate) != whole


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_a_search_finds_more_than_chance(method: str, tmp_path: Path) -> None:
    """Of the hypervolume that all designs have together, 60 of 3,024 chosen ones have more than 60 drawn at random."""
    import random

    everything = space(method, 1).designs
    generator = random.Random(0)
    drawn = [volume(generator.sample(everything, 60)) for _ in range(50)]
    searched = [volume(search.search(space(method, 60, seed), tmp_path / str(seed), evaluate)) for seed in range(3)]
    assert sum(searched) / len(searched) > sum(drawn) / len(drawn)


def volume(designs: Sequence[Design]) -> float:
    """Of feasible designs, against accuracy -1 and the greatest cost, on a logarithmic scale of cost."""
    import math

    most = math.log(40 * 64 * 7 * 3)
    points = sorted((-accuracy(d), math.log(cost(d))) for d in designs if d.bits > 3)
    total, best = 0.0, most
    for negative, price in points:
        if price < best:
            total += (1 - negative) * (best - price)
            best = price
    return total


@pytest.mark.slow
def test_few_networks_end_a_search_early(tmp_path: Path) -> None:
    asked = msgspec.structs.replace(space("tpe", 50), networks=Networks("digits", {"depth": (10, 16)}))
    assert len(search.search(asked, tmp_path, evaluate)) == 2


def test_a_search_wants_a_number_and_axes() -> None:
    with pytest.raises(ValueError, match=r"^search: nsga2 with trainings 0 was found; nsga2 and tpe want some"):
        Search("nsga2")
    with pytest.raises(ValueError, match=r"^space a: search by tpe wants axes of networks$"):
        Space("a", Networks("digits"), (Machines("pipeline", {"macs": (1,)}),), search=Search("tpe", 3))

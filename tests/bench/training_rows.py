"""Rows of the training bench: seconds, ratios, and how far losses lie apart; no processes, no torch."""

import statistics
from collections.abc import Sequence

Row = dict[str, object]


def missing(reason: str) -> Row:
    """A figure that could not be had."""
    return {"median": None, "reason": reason}


def seconds_row(walls: Sequence[float], cpus: Sequence[float], version: str, note: str) -> Row:
    """Median, least and most of some epochs; each one's CPU seconds too, which a busy machine disturbs less."""
    return {
        "median": statistics.median(walls),
        "min": min(walls),
        "max": max(walls),
        "n": len(walls),
        "unit": "s",
        "cpu_s": statistics.median(cpus),
        "walls": list(walls),
        "cpus": list(cpus),
        "version": version,
        "note": note,
    }


def differs(one: Row, other: Row) -> float | None:
    """The greatest difference between two rows' losses of the same step; None where a row has none."""
    if one["median"] is None or other["median"] is None:
        return None
    pairs = zip(list_of(one, "losses"), list_of(other, "losses"), strict=True)
    return max(abs(first - second) for first, second in pairs)


def ratio_row(slow: Row, fast: Row, apart: float | None, close: float) -> Row:
    """How many times longer `slow` takes than `fast`: of the medians; least and most of the rounds, turn by turn.

    `cpu_ratio` is the same of CPU seconds. `losses_apart` is said, and in the note whether it is above `close`.
    """
    for row in (slow, fast):
        if row["median"] is None:
            return missing(str(row["reason"]))
    slow_walls, fast_walls = list_of(slow, "walls"), list_of(fast, "walls")
    by_turn = [one / other for one, other in zip(slow_walls, fast_walls, strict=True)]
    cpu = statistics.median(list_of(slow, "cpus")) / statistics.median(list_of(fast, "cpus"))
    verdict = "" if apart is None or apart <= close else f", more than {close:g}"
    return {
        "median": statistics.median(slow_walls) / statistics.median(fast_walls),
        "min": min(by_turn),
        "max": max(by_turn),
        "n": len(by_turn),
        "unit": "times",
        "cpu_ratio": cpu,
        "losses_apart": apart,
        "note": f"{fast['note']}; by CPU seconds {cpu:.3g} times; losses differ by {apart:.1e} at most{verdict}",
    }


def list_of(row: Row, key: str) -> list[float]:
    values = row[key]
    assert isinstance(values, list), f"{key}: {values}"
    return values

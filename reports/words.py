"""Numbers as people read them: one way to write each, for pages and terminals."""

from hw.resources import Resources
from reports.candidate import Accuracy

MINUS = "\N{MINUS SIGN}"


def percent(share: float) -> str:
    """A share of 1 as per cent, one decimal."""
    return f"{100 * share:.1f}"


def number(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}"


def accuracy(value: Accuracy) -> str:
    """Mean and standard deviation in per cent; the mean alone where one seed has no deviation."""
    spread = "" if value.deviation is None else f"\u00a0±\u00a0{percent(value.deviation)}"
    return f"{percent(value.mean)}{spread}"


def duration(milliseconds: float) -> str:
    """A time in the unit that reads best."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:,.2f} s"
    return f"{milliseconds:.2f} ms" if milliseconds >= 1 else f"{1000 * milliseconds:.1f} µs"


def points(difference: float) -> str:
    """A difference of accuracies in percentage points, signed."""
    rounded = round(100 * difference, 1)
    return f"+{rounded:.1f}" if rounded > 0 else f"{MINUS}{-rounded:.1f}" if rounded < 0 else "0.0"


def change(before: int, after: int) -> str:
    """A relative change, signed."""
    if before == 0:
        return "±0 %" if after == 0 else "from 0"
    share = round(100 * (after - before) / before)
    return f"+{share} %" if share > 0 else f"{MINUS}{-share} %" if share < 0 else "±0 %"


def source_of(taken: Resources) -> str:
    """Where resources come from, and how far an estimate is off."""
    error = "error unknown" if taken.error is None else f"error {100 * taken.error:.0f} %"
    return f"{taken.source}: {taken.tool}, {taken.design.upper()}" + (f", {error}" * (taken.source == "estimate"))

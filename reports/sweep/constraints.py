"""Constraints in words: "latency <= 1 ms", "line memory <= 16 kB", "accuracy >= 0.8", "fits zynq-7020"."""

import math
import re
from collections.abc import Sequence

import msgspec

from hw import devices
from hw.errors import BadInput, nearest
from reports.sweep import columns

UNITS = {
    "": {"": 1.0, "k": 1e3, "M": 1e6},
    "bytes": {"": 1.0, "B": 1.0, "bytes": 1.0, "kB": 1e3, "KiB": 1024.0, "MB": 1e6, "MiB": 1024.0**2},
    "ms": {"": 1.0, "ms": 1.0, "us": 1e-3, "s": 1e3},
    "cycles": {"": 1.0, "cycles": 1.0, "k": 1e3, "M": 1e6},
    "1/s": {"": 1.0, "fps": 1.0, "1/s": 1.0},
    "uJ": {"": 1.0, "uJ": 1.0, "nJ": 1e-3, "mJ": 1e3},
    "MHz": {"": 1.0, "MHz": 1.0, "GHz": 1e3},
    "bits": {"": 1.0, "bits": 1.0},
    "layers": {"": 1.0, "layers": 1.0},
}
"""By a column's unit: what may stand behind a number, and what it is worth in that unit."""
SHARES = ("accuracy", "accuracy_deviation")
SHARE_UNITS = {"": 1.0, "%": 0.01}
UNCHOSEN = ("test_accuracy",)
_COMPARED = re.compile(r"(.+?)\s*(<=|>=)\s*([0-9.eE+-]+)\s*(\S*)")
_SUFFIXES = ("_bytes", "_ms", "_cycles", "_uj", "_mhz")


class Constraint(msgspec.Struct, frozen=True):
    """A column between two limits, both allowed; or a part that must hold the design."""

    text: str
    column: str = ""
    least: float = -math.inf
    most: float = math.inf
    part: str = ""


def parse(text: str) -> Constraint:
    """A constraint from its sentence.

    Raises:
        BadInput: not of a constraint's form, or a column, unit or part that is not there.
    """
    words = text.split()
    if len(words) == 2 and words[0] == "fits":
        return Constraint(text, part=devices.device(words[1]).name)
    found = _COMPARED.fullmatch(text.strip())
    if found is None:
        raise BadInput(
            f"constraint {text!r}: wanted is a sentence such as 'latency <= 1 ms', 'line memory <= 16 kB', "
            "'accuracy >= 0.8' or 'fits zynq-7020'"
        )
    column = _column(text, found[1])
    limit = _number(text, found[3], found[4], column)
    if found[2] == "<=":
        return Constraint(text, column.name, most=limit)
    return Constraint(text, column.name, least=limit)


def _column(text: str, name: str) -> columns.Column:
    """By its name, with blanks for underscores and without its unit: "line memory" is line_memory_bytes."""
    plain = "_".join(name.split()).lower()
    numbers = {column.name: column for column in columns.ALL.values() if column.type == "number"}
    if plain in UNCHOSEN:
        raise BadInput(f"constraint {text!r}: nothing is chosen by test images; accuracy is that on validation images")
    for candidate in (plain, *(plain + suffix for suffix in ("_ms", *_SUFFIXES))):
        if candidate in numbers:
            return numbers[candidate]
    raise BadInput(f"constraint {text!r}: no column {name!r}{nearest(plain, numbers)}")


def _number(text: str, digits: str, unit: str, column: columns.Column) -> float:
    share = column.name in SHARES
    units = SHARE_UNITS if share else UNITS[column.unit]
    if unit not in units:
        known = ", ".join(key for key in units if key) or "none"
        raise BadInput(f"constraint {text!r}: unit {unit!r} was found, {column.name} is counted in: {known}")
    try:
        limit = float(digits) * units[unit]
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise BadInput(f"constraint {text!r}: {digits!r} is no number")
    most = 1.0 if share else math.inf
    if not 0 <= limit <= most:
        wanted = "a share from 0 to 1, or per cent" if share else "0 or more"
        raise BadInput(f"constraint {text!r}: {digits} {unit}".rstrip() + f" was found, {wanted} is wanted")
    return limit


def contradiction(constraints: Sequence[Constraint]) -> str:
    """Which two constraints nothing can keep together; empty if there are none."""
    for i, one in enumerate(constraints):
        for other in constraints[i + 1 :]:
            same = one.column and one.column == other.column
            if same and max(one.least, other.least) > min(one.most, other.most):
                return f"constraints {one.text!r} and {other.text!r} contradict each other; leave one of them out"
    return ""

"""The values of an axis of a space: a list of them, or a range."""

import math

import msgspec

from hw.errors import BadInput

Scalar = int | float | str
MOST_VALUES = 10_000_000
"""Of a range."""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers from `first` to `last`, both meant: `step` is added, or `factor` multiplied; one of the two is wanted."""

    first: float
    last: float
    step: float | None = None
    factor: float | None = None

    def __post_init__(self) -> None:
        if (self.step is None) == (self.factor is None):
            raise BadInput("range: either a step or a factor is wanted")
        by_step = self.step is not None and self.step > 0
        by_factor = self.factor is not None and self.factor > 1 and self.first > 0
        if not (by_step or by_factor) or not -math.inf < self.first <= self.last < math.inf:
            raise BadInput(
                f"range: first {self.first:g}, last {self.last:g}, step {self.step}, factor {self.factor} were found; "
                "first up to last, and a step above 0 or a factor above 1 (then first above 0) are wanted"
            )

    @property
    def values(self) -> tuple[float, ...]:
        """All of them; whole ones as integers."""
        found: list[float] = []
        count = 0
        while True:
            # Not added up, so that 0.1 ten times is 1; a little slack lets the last one in.
            step = self.first + count * self.step if self.step is not None else self.first * (self.factor or 1) ** count
            if step > self.last + 1e-9 * max(1.0, abs(self.last)) or count > MOST_VALUES:
                return tuple(found)
            found.append(int(step) if step == int(step) else step)
            count += 1


Values = tuple[Scalar, ...] | Range


def values_of(where: str, given: Values) -> tuple[Scalar, ...]:
    """The values of an axis.

    Raises:
        BadInput: there is none, or one is given twice.
    """
    values = given.values if isinstance(given, Range) else given
    if not values:
        raise BadInput(f"{where}: it is empty, at least one value is wanted")
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise BadInput(f"{where}: {twice} is given twice")
    return values

"""The values of an axis of a space: a list of them, or a range."""

import math

import msgspec

from hw.errors import BadInput

Scalar = int | float | str
MOST_VALUES = 1_000_000
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
        by_step = self.step is not None and 0 < self.step < math.inf
        by_factor = self.factor is not None and 1 < self.factor < math.inf and self.first > 0
        if not (by_step or by_factor) or not -math.inf < self.first <= self.last < math.inf:
            raise BadInput(
                f"range: first {self.first:g}, last {self.last:g}, step {self.step}, factor {self.factor} were found; "
                "first up to last, and a step above 0 or a factor above 1 (then first above 0) are wanted"
            )
        if self._steps >= MOST_VALUES:
            raise BadInput(f"range: {self._steps + 1:.4g} values were found, at most {MOST_VALUES:,} are wanted")

    @property
    def _steps(self) -> float:
        """From the first value to the last one; a little slack lets the last one in."""
        if self.step is not None:
            return math.floor(min((self.last - self.first) / self.step + 1e-9, 1e300))
        assert self.factor is not None
        return math.floor((math.log(self.last) - math.log(self.first)) / math.log(self.factor) + 1e-9)

    @property
    def values(self) -> tuple[float, ...]:
        """All of them; whole ones as integers. Not added up, so that 0.1 ten times is 1."""
        counts = range(int(self._steps) + 1)
        if self.step is not None:
            found = [self.first + count * self.step for count in counts]
        else:
            found = [self.first * (self.factor or 1) ** count for count in counts]
        return tuple(int(value) if value == int(value) else value for value in found)


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

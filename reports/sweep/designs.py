"""One network of a space: a point of the network axes, and its name."""

from typing import Literal

import msgspec


class Design(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One network of a space: a student, or with `filters: full` the NxN network that would teach it.

    `pacemaker` is none (labels alone), teacher (plain distillation) or a kind of pacemaker with its `schedule` and, for
    a committee, its number of 1xN `students`; the defaults are the study's (docs/study.md). `bits` are those of weights
    and activations.
    """

    family: str = "wrn"
    depth: int = 10
    width: int = 1
    filters: Literal["row", "full"] = "row"
    n: int = 3
    rows: Literal["skip", "keep", "mean"] = "keep"
    head: Literal["rows", "global"] = "rows"
    stem: Literal["row", "full"] = "row"
    pacemaker: str = "logits"
    schedule: str = "pacemaker"
    students: int = 3
    alpha: float = 0.5
    temperature: float = 4.0
    bits: int = 8

    @property
    def plain(self) -> "Design":
        """Itself without what does not matter to it: two designs that are alike have the same plain one."""
        if self.schedule == "teacher" and self.pacemaker not in ("none", "teacher"):
            return msgspec.structs.replace(self, pacemaker="teacher").plain  # nobody listens to the pacemaker
        default, without = Design(), {}
        if self.filters == "full":
            without = dict.fromkeys(("rows", "head", "stem"), None)
        if self.filters == "full" or self.pacemaker == "none":
            without |= dict.fromkeys(("schedule", "students", "alpha", "temperature"), None)
        if self.pacemaker == "teacher":
            without |= dict.fromkeys(("schedule", "students"), None)
        if self.pacemaker not in ("logits", "set"):
            without["students"] = None
        kept = {key: getattr(default, key) for key in without}
        if self.filters == "full":
            kept["pacemaker"] = "none"
        return msgspec.structs.replace(self, **kept)

    @property
    def name(self) -> str:
        """Short, and unique in a space: "wrn-10-1 1x3 skip global logits-3-pacemaker a0.5 T4 8 bit"."""
        size = f"{self.family}-{self.depth}-{self.width}"
        if self.filters == "full":
            return f"{size} {self.n}x{self.n} {self.bits} bit"
        stem = "" if self.stem == "row" else f" {self.stem} stem"
        return f"{size} 1x{self.n} {self.rows} {self.head}{stem} {self._taught} {self.bits} bit"

    @property
    def _taught(self) -> str:
        if self.pacemaker == "none":
            return "alone"
        told = f"a{self.alpha:g} T{self.temperature:g}"
        if self.pacemaker == "teacher":
            return f"kd {told}"
        count = f"-{self.students}" if self.students > 1 else ""
        return f"{self.pacemaker}{count}-{self.schedule} {told}"


AXES = tuple(field.name for field in msgspec.structs.fields(Design))

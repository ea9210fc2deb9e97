"""A finished sweep: everything that its page needs, and which of its rows keep the constraints."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw import devices
from hw.accelerator import Machine
from reports.candidate import Curve, RunRecord
from reports.sweep import columns
from reports.sweep.columns import Column
from reports.sweep.constraints import Constraint
from reports.sweep.space import Space
from reports.sweep.table import EXACT, Subject, Table

Mask = NDArray[np.bool_]


class Provenance(RunRecord, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a sweep: what a run records, and the hash of the code that all keys of the store hold."""

    code_hash: str = ""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What was asked and all that was found.

    `subjects` and `curves` (a training a seed) are by `network_key`, `machines` by `machine_key`; keys that no row
    names are ignored, and so are networks without curves.
    """

    space: Space
    table: Table
    subjects: Mapping[str, Subject]
    machines: Mapping[str, Machine]
    curves: Mapping[str, tuple[Curve, ...]]
    provenance: Provenance

    @property
    def objectives(self) -> tuple[Column, ...]:
        """Their columns."""
        return tuple(columns.ALL[name] for name in self.space.objectives)

    def values(self) -> NDArray[np.float64]:
        """The objectives of all rows: (rows, objectives)."""
        return np.column_stack([np.asarray(self.table[name], np.float64) for name in self.space.objectives])


def eligible(sweep: Sweep) -> Mask:
    """Which rows may be on the front: exact, every objective known, all constraints kept."""
    found: Mask = (sweep.table["status"] == EXACT) & ~np.isnan(sweep.values()).any(axis=1)
    for constraint in sweep.space.kept:
        found &= keeps(sweep.table, constraint)
    return found


def keeps(table: Table, constraint: Constraint) -> Mask:
    """Which rows keep a constraint; one whose figure is not known does not."""
    if constraint.part:
        part = devices.device(constraint.part)
        fits: Mask = np.logical_and.reduce([table[name] <= getattr(part, name) for name in devices.COUNTS])
        return fits
    values = table[constraint.column]
    kept: Mask = (values >= constraint.least) & (values <= constraint.most)
    return kept

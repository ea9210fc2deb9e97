"""Rows of a sweep as columns: what the store gives, the front is made of and the page shows."""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.network import Network
from hw.student import Student
from sim.result import Precision

Column = NDArray[Any]
EXACT, BOUND, UNFIT, FAILED = "exact", "bound", "unfit", "failed"
STATUS = (EXACT, BOUND, UNFIT, FAILED)
"""Simulated; screened out, figures are lower bounds (upper ones where more is better); too large for the machine; the
network or the machine could not be used."""
KEYS = ("network_key", "machine_key", "status", "reason")
"""Beside the columns of `reports.sweep.columns`: content hashes of network and machine, one of `STATUS`, and why a row
is unfit, failed or screened out."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length by name, those of `KEYS` among them; numbers are float64, NaN where there is none."""

    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def rows(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "Table":
        """Some of them."""
        return Table({name: values[chosen] for name, values in self.columns.items()})


class Subject(msgspec.Struct, frozen=True):
    """A network as machines see it, with what its row says of it (the network's columns of `reports.sweep.columns`).

    `key` is the content hash of the network and its bits; two trainings of one architecture share it where no student
    tells their integers apart. `student` is the quantised one in the form that hardware runs, where there is one.
    """

    key: str
    columns: dict[str, float | str]
    network: Network
    precision: Precision
    student: Student | None = None


class Kept(Protocol):
    """Where finished points are kept: `reports.sweep.store`, or a dictionary in a test."""

    def known(self, network_key: str) -> Table:
        """The finished points of a network: those that are exact, unfit or failed; figures and `KEYS` alone."""

    def put(self, rows: Table) -> None:
        """Keep finished points, all of them or none; those that are there already stay as they are."""

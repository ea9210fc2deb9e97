"""All points of a sweep while it is screened: subjects x machines, what is known of each, and which are next.

Points of equal networks (`Subject.key`) on equal machines are one *unit*: it is simulated once, and all of its points
are exact then. A point has its own objectives, since accuracy is the subject's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw import devices
from hw.accelerator import LineEngine, Machine
from reports.sweep import columns, evaluate, pareto
from reports.sweep.constraints import Constraint
from reports.sweep.evaluate import NAMES, Asked
from reports.sweep.jobs import light, order_of
from reports.sweep.keys import machine_key
from reports.sweep.table import BOUND, EXACT, FAILED, UNFIT, Column, Kept, Subject, Table

Indexes = NDArray[np.intp]
Mask = NDArray[np.bool_]
Values = NDArray[np.float64]
LEAST_BATCH = 512
"""Points of a batch: where fewer are non-dominated in their bounds, the most promising others go with them."""
MOST_BATCH = 16_384
_STATES = np.array([BOUND, EXACT, UNFIT, FAILED], object)
_BOUND, _EXACT, _UNFIT, _FAILED = range(4)


class Progress(msgspec.Struct, frozen=True):
    """How far a sweep is: of all `points`, how many are exact, unfit, failed, dropped by their bounds, still waiting.

    `simulated` of the units, networks on machines, were so in this run; the others were known. `best` is the best of
    each objective so far, by name.
    """

    points: int
    exact: int
    unfit: int
    failed: int
    dropped: int
    waiting: int
    simulated: int
    best: dict[str, float]


class Points:
    """The state of a screening; see `reports.sweep.screening.evaluate_all`."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        machines: Sequence[Machine],
        objectives: Sequence[str],
        constraints: Sequence[Constraint],
        asked: Asked,
        *,
        exhaustive: bool = False,
    ) -> None:
        self._subjects = [light(subject) for subject in subjects]
        self._machines, self._asked, self._constraints = machines, asked, constraints
        self._exhaustive = exhaustive
        self._objectives = [columns.ALL[name] for name in objectives]
        self._networks = list({subject.key: subject for subject in reversed(self._subjects)}.values())[::-1]
        self._keys = [machine_key(machine) for machine in machines]
        self._distinct = list({key: i for i, key in reversed(list(enumerate(self._keys)))}.values())[::-1]
        self._network_at = {subject.key: i for i, subject in enumerate(self._networks)}
        self._machine_at = {self._keys[i]: at for at, i in enumerate(self._distinct)}
        rows = np.array([self._network_at[subject.key] for subject in subjects], np.intp)
        places = np.array([self._machine_at[key] for key in self._keys], np.intp)
        self._unit = (rows[:, None] * len(self._distinct) + places).ravel()
        units = len(self._networks) * len(self._distinct)
        self._figures = {name: np.full(units, np.nan) for name in NAMES}
        self._state = np.zeros(units, np.int8)
        self._said = np.zeros(units, np.int32)
        self._why = np.zeros(self._unit.size, np.int32)
        self._words = {"": 0}
        self._values = np.empty((self._unit.size, len(objectives)))
        self._known: list[_Known] = []
        self._front, self._new = (np.zeros(0, np.intp) for _ in range(2))
        self._simulated = 0
        self._order = order_of([machines[i] for i in self._distinct])

    def bound(self) -> None:
        """Bounds of every unit; points whose bounds break a constraint are dropped, if not all are to be exact."""
        machines = [self._machines[i] for i in self._distinct]
        keys = [self._keys[i] for i in self._distinct]
        for subject in self._networks:
            self.found(evaluate.bounds(subject, machines, self._asked, keys), simulated=False)
        everyone = np.arange(self._unit.size)
        self._values[:] = self._turned(everyone)
        if self._exhaustive:
            return
        for number, objective in enumerate(self._objectives):
            self._drop(np.isnan(self._values[:, number]), f"its {objective.name} is not known")
        for constraint in self._constraints:
            self._drop(self._breaks(constraint), f"its bounds break {constraint.text!r}")

    def remember(self, kept: Kept) -> None:
        """Look up what is known of every network."""
        self._known = [self._known_of(kept.known(subject.key)) for subject in self._networks]

    def drop(self) -> None:
        """Drop points whose bounds are dominated by an exact point that keeps all constraints."""
        if self._exhaustive:
            return
        alive = self._alive()
        by = pareto.dominators(self._values[alive], self._values[self._new])
        dominated = by >= 0
        for which in np.unique(by[dominated]).tolist():
            subject, machine = divmod(int(self._new[which]), len(self._machines))
            name = self._subjects[subject].columns.get("network", self._subjects[subject].network.name)
            reason = f"its bounds are dominated by {name} on {self._machines[machine].name}"
            self._why[alive[by == which]] = self._word(reason)
        self._new = self._new[:0]

    def batch(self) -> Indexes:
        """Units whose exact figures are wanted next, those of the most promising points; empty when none is left."""
        alive = self._alive()
        if self._exhaustive:
            alive = alive[:MOST_BATCH]
        elif alive.size > LEAST_BATCH:
            values = self._values[alive]
            ranks = np.sum([np.unique(column, return_inverse=True)[1] / column.size for column in values.T], axis=0)
            behind = pareto.dominators(values, values) >= 0
            best = np.lexsort((ranks, behind))
            alive = alive[best[: min(max(LEAST_BATCH, int((~behind).sum())), MOST_BATCH)]]
        units: Indexes = np.unique(self._unit[alive])
        return units

    def recall(self, units: Indexes) -> None:
        """Take over those that are known."""
        for network, places in self._split(units):
            known = self._known[network]
            rows = known.row_of[places]
            if (rows >= 0).any():
                self.found(known.rows.rows(rows[rows >= 0]), simulated=False)

    def missing(self, units: Indexes) -> Indexes:
        """Those that are still to be simulated."""
        missing: Indexes = units[self._state[units] == _BOUND]
        return missing

    def by_network(self, units: Indexes) -> Iterator[tuple[Subject, list[Machine], list[str]]]:
        """Subjects with machines and their keys; machines that share their work stand side by side."""
        for network, places in self._split(units):
            ordered = places[np.argsort(self._order[places])].tolist()
            chosen = [self._distinct[place] for place in ordered]
            yield self._networks[network], [self._machines[i] for i in chosen], [self._keys[i] for i in chosen]

    def found(self, rows: Table, *, simulated: bool = True) -> None:
        """Take figures, statuses and reasons of some units of one network."""
        if not len(rows):
            return
        network = self._network_at[rows["network_key"][0]]
        units = np.array([self._machine_at[key] for key in rows["machine_key"].tolist()], np.intp)
        units += network * len(self._distinct)
        for name in NAMES:
            self._figures[name][units] = rows[name]
        states = {word: number for number, word in enumerate(_STATES.tolist())}
        self._state[units] = [states[word] for word in rows["status"].tolist()]
        self._said[units] = [self._word(reason) for reason in rows["reason"].tolist()]
        self._simulated += units.size if simulated else 0

    def settle(self, units: Indexes) -> None:
        """After a batch: the exact points among its units that keep all constraints count from now on."""
        chosen = np.zeros(self._state.size, np.bool_)
        chosen[units] = True
        points = np.flatnonzero(chosen[self._unit] & (self._state[self._unit] == _EXACT))
        self._values[points] = self._turned(points)
        keeps = ~np.isnan(self._values[points]).any(axis=1)
        for constraint in self._constraints:
            keeps &= self._keeps(constraint, points)
        self._new = points[keeps]
        together = np.concatenate([self._front, self._new])
        on_front = pareto.dominators(self._values[together], self._values[together]) < 0
        self._new = together[on_front & (np.arange(together.size) >= self._front.size)]
        self._front = together[on_front]

    def progress(self) -> Progress:
        """How far it is."""
        state = self._state[self._unit]
        exact, unfit, failed = (int((state == which).sum()) for which in (_EXACT, _UNFIT, _FAILED))
        dropped = int(((state == _BOUND) & (self._why > 0)).sum())
        signs = [-1.0 if objective.better == "more" else 1.0 for objective in self._objectives]
        least = (self._values[self._front].min(axis=0) * signs).tolist() if self._front.size else []
        best = {objective.name: value for objective, value in zip(self._objectives, least, strict=False)}
        waiting = state.size - exact - unfit - failed - dropped
        return Progress(state.size, exact, unfit, failed, dropped, waiting, self._simulated, best)

    def table(self) -> Table:
        """All rows."""
        state, words = self._state[self._unit], np.array(list(self._words), object)
        reasons = words[np.where(state == _BOUND, self._why, self._said[self._unit])]
        count = len(self._machines)
        found: dict[str, Column] = {
            "network_key": np.repeat(np.array([subject.key for subject in self._subjects], object), count),
            "machine_key": np.tile(np.array(self._keys, object), len(self._subjects)),
            "status": _STATES[state],
            "reason": reasons,
        }
        for column in columns.NETWORK:
            found[column.name] = np.repeat(self._of_subjects(column), count)
        for name, values in self._of_machines().items():
            found[name] = np.tile(values, len(self._subjects))
        return Table(found | {name: values[self._unit] for name, values in self._figures.items()})

    def _known_of(self, rows: Table) -> "_Known":
        """Those that have all that is asked for."""
        row_of = np.full(len(self._distinct), -1, np.intp)
        for row in range(len(rows)):
            place = self._machine_at.get(rows["machine_key"][row])
            if place is not None and not (rows["status"][row] == EXACT and self._lacks(rows, row, place)):
                row_of[place] = row
        return _Known(rows, row_of)

    def _lacks(self, rows: Table, row: int, place: int) -> bool:
        counted = isinstance(self._machines[self._distinct[place]], LineEngine) or not self._asked.family
        return bool(
            (self._asked.energy and np.isnan(rows["energy_uj"][row])) or (not counted and np.isnan(rows["lut"][row]))
        )

    def _alive(self) -> Indexes:
        alive: Indexes = np.flatnonzero((self._state[self._unit] == _BOUND) & (self._why == 0))
        return alive

    def _split(self, units: Indexes) -> Iterator[tuple[int, Indexes]]:
        """Units, in rising order, by network: its number, and the places of the machines."""
        networks, places = np.divmod(units, max(len(self._distinct), 1))
        for network in np.unique(networks).tolist():
            yield network, places[networks == network]

    def _drop(self, points: Mask, reason: str) -> None:
        points = points & (self._why == 0) & (self._state[self._unit] == _BOUND)
        if points.any():
            self._why[points] = self._word(reason)

    def _word(self, text: str) -> int:
        return self._words.setdefault(text, len(self._words))

    def _of_subjects(self, column: columns.Column) -> Column:
        if column.type == "text":
            return np.array([str(subject.columns.get(column.name, "")) for subject in self._subjects], object)
        return np.array([subject.columns.get(column.name, np.nan) for subject in self._subjects], np.float64)

    def _of_machines(self) -> dict[str, Column]:
        kinds = ["line_engine" if isinstance(machine, LineEngine) else "pipeline" for machine in self._machines]
        return {
            "machine": np.array([machine.name for machine in self._machines], object),
            "kind": np.array(kinds, object),
            "clock_mhz": np.array([machine.clock_mhz for machine in self._machines], np.float64),
        }

    def _column(self, name: str, points: Indexes) -> Values:
        """A column of numbers at some points."""
        column = columns.ALL[name]
        if column.group == "figure":
            figures: Values = self._figures[name][self._unit[points]]
            return figures
        subjects, machines = np.divmod(points, len(self._machines))
        found: Values
        if column.group == "network":
            found = self._of_subjects(column)[subjects]
        else:
            found = self._of_machines()[name][machines]
        return found

    def _turned(self, points: Indexes) -> Values:
        """Objectives, less being better."""
        values = np.stack([self._column(objective.name, points) for objective in self._objectives], axis=1)
        return pareto.falling(values, [objective.better for objective in self._objectives])

    def _keeps(self, constraint: Constraint, points: Indexes) -> Mask:
        """Which exact points keep a constraint; one whose figure is not known does not."""
        if constraint.part:
            part = devices.device(constraint.part)
            return np.all([self._column(n, points) <= getattr(part, n) for n in devices.COUNTS], axis=0)  # type: ignore[no-any-return]
        values = self._column(constraint.column, points)
        kept: Mask = (values >= constraint.least) & (values <= constraint.most)
        return kept

    def _breaks(self, constraint: Constraint) -> Mask:
        """Which points break a constraint whatever their exact figures are."""
        everyone = np.arange(self._unit.size)
        if not constraint.part and columns.ALL[constraint.column].group == "figure":
            # A bound is on the good side, so that one limit can be broken by it and the other one cannot be.
            if columns.ALL[constraint.column].better == "less":
                constraint = msgspec.structs.replace(constraint, least=-np.inf)
            else:
                constraint = msgspec.structs.replace(constraint, most=np.inf)
        return ~self._keeps(constraint, everyone)


@dataclass(frozen=True, eq=False)
class _Known:
    """Finished points of a network: rows, and the row of every distinct machine, -1 where there is none."""

    rows: Table
    row_of: Indexes

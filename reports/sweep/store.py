"""Where a sweep keeps what it has found: points, bounds, networks, machines, trainings, in one file (SQLite).

A point is kept under the content hashes of its network, its machine, and of the code that made it and what was asked
of that (`keys.figures_key`). Points of other code stay in the file but are neither known nor in the table, so that
going back to that code finds them again; `prune` deletes them. Every call that writes is one transaction: after a
crash it is there as a whole or not at all. One process holds the file from opening to closing.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np

from hw.accelerator import LineEngine, Machine
from hw.errors import BadInput
from reports.sweep import columns, keys
from reports.sweep.database import FIGURE_NAMES, POINT_NAMES, connect, damaged, inserting, told, transaction
from reports.sweep.space import Space
from reports.sweep.table import BOUND, EXACT, KEYS, Column, Subject, Table

CHUNK = 20_000
"""Rows that are turned into columns at a time: fewer Python objects live at once."""
LARGEST_NUMBER = 1 << 25
"""Of networks and machines ever kept in a file: tables by number are as long as that."""
_TEXTS = ("status", "reason")
_NUMBERS = ("network", "machine")
_MACHINE = ("name", "kind", "clock_mhz")
_MARKS = ", ".join("?" * (len(POINT_NAMES) - len(_NUMBERS)))
_NEW_POINT = f"""INSERT OR IGNORE INTO {{}} (code, {", ".join(POINT_NAMES)}) VALUES
    (?, (SELECT id FROM networks WHERE key = ?), (SELECT id FROM machines WHERE key = ?), {_MARKS})"""  # noqa: S608


class Outcome(msgspec.Struct, frozen=True):
    """What the trainings of a design came to on a rung of halving: mean accuracy over `seeds`, None without one.

    `design` is the hash of all that was trained, the recipe included; `record` is plain data, kept as JSON.
    """

    design: str
    rung: int
    seeds: int
    accuracy: float | None
    record: dict[str, Any] = {}


class LastRun(msgspec.Struct, frozen=True):
    """What was asked of the last sweep, and its provenance: versions, seeds, hardware, command."""

    space: Space
    provenance: dict[str, Any]


class Store:
    """The file of a sweep, open; a context manager, and a `table.Kept`; for one thread.

    `code` is the hash of what points depend on beside network and machine. While it is open, this process must
    not open the file by any other way: closing that would lift the lock (POSIX locks belong to processes).

    Raises:
        BadInput: from every method: another process holds the file, it cannot be written, the disk is full, it is no
            sweep's database, of another version, or damaged.
    """

    def __init__(self, path: Path, code: str) -> None:
        self.path, self.code = path, code
        self._database = connect(path)
        try:
            with told(path), transaction(self._database):
                self._number([code], "codes")
                self._code = self._database.execute("SELECT id FROM codes WHERE key = ?", (code,)).fetchone()[0]
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: Path, *, energy: str = "", family: str = "") -> Self:
        """The store of the code that is installed and of what is asked of it (`keys.figures_key`)."""
        return cls(path, keys.figures_key(energy, family))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, rows: Table) -> None:
        """Keep finished points, all of them or none; those that are there already stay as they are.

        Of the columns `KEYS` are wanted and figures are kept; a figure without a column has no number.
        """
        if not len(rows):
            return
        assert not (rows["status"] == BOUND).any(), "bounds are kept by finish"
        with told(self.path), transaction(self._database):
            self._insert("points", rows)

    def finish(self, rows: Table) -> None:
        """Replace the bounds of the last screening by these, all of them or none; what it found unfit may be there."""
        assert not len(rows) or not (rows["status"] == EXACT).any(), "finished points are kept by put"
        with told(self.path), transaction(self._database):
            self._database.execute("DELETE FROM bounds")
            if len(rows):
                self._insert("bounds", rows)

    def known(self, network_key: str) -> Table:
        """The finished points of a network by this code: those that are exact, unfit or failed; figures and `KEYS`."""
        points = _together(self._points("points", "AND network = (SELECT id FROM networks WHERE key = ?)", network_key))
        return Table({name: values for name, values in self._keyed(points).items() if name not in _NUMBERS})

    def add_subjects(self, subjects: Iterable[Subject]) -> None:
        """What the rows of networks say of them; of the same key and name the last one counts.

        Networks of one key under several names share its points: each name has rows of its own in the table.
        """
        rows = [(each.key, str(each.columns.get("network", "")), _json(each.columns)) for each in subjects]
        statement = "INSERT OR REPLACE INTO subjects VALUES ((SELECT id FROM networks WHERE key = ?), ?, ?)"
        with told(self.path), transaction(self._database):
            self._number([key for key, _, _ in rows], "networks")
            self._database.executemany(statement, rows)

    def add_machines(self, machines: Mapping[str, Machine]) -> None:
        """Machines by their keys; one that is there already keeps its name."""
        rows = [
            (each.name, _kind(each), each.clock_mhz, _json(_without_source(each)), key)
            for key, each in machines.items()
        ]
        statement = "UPDATE machines SET name = ?, kind = ?, clock_mhz = ?, record = ? WHERE key = ? AND record = ''"
        with told(self.path), transaction(self._database):
            self._number(machines, "machines")
            self._database.executemany(statement, rows)

    def machines(self) -> dict[str, Machine]:
        """All machines that were added, by their keys, without the sources of their figures."""
        with told(self.path):
            rows = self._database.execute("SELECT key, record FROM machines WHERE record != '' ORDER BY id").fetchall()
        return {key: self._decoded(record, Machine) for key, record in rows}

    def table(self) -> Table:
        """All finished points of this code and, where there is none, the bounds of the last screening.

        Columns are all of `columns.ALL` and `KEYS`, texts as objects; the points before the bounds, either in the order
        in which networks and then machines came. What was never added has no name and no numbers.
        """
        points = self._points("points")
        points += self._points(
            "bounds",
            "AND NOT EXISTS (SELECT 1 FROM points WHERE points.code = bounds.code "
            "AND points.network = bounds.network AND points.machine = bounds.machine)",
        )
        return self._joined(self._keyed(_together(points)))

    def put_training(self, outcome: Outcome) -> None:
        """Keep an outcome; that of the same design and rung is replaced, and the design counts no longer as failed."""
        row = (outcome.design, outcome.rung, outcome.seeds, outcome.accuracy, _json(outcome.record))
        with told(self.path), transaction(self._database):
            self._database.execute(inserting("trainings", Outcome.__struct_fields__, replace=True), row)
            self._database.execute("DELETE FROM failed_designs WHERE design = ?", (outcome.design,))

    def trainings(self) -> dict[tuple[str, int], Outcome]:
        """Outcomes by design and rung."""
        with told(self.path):
            rows = self._database.execute(f"SELECT {', '.join(Outcome.__struct_fields__)} FROM trainings").fetchall()  # noqa: S608
        record = dict[str, Any]
        found = (Outcome(row[0], row[1], row[2], row[3], self._decoded(row[4], record)) for row in rows)
        return {(each.design, each.rung): each for each in found}

    def fail_design(self, design: str, reason: str) -> None:
        """Keep why a design could not be trained; the last reason counts."""
        with told(self.path), transaction(self._database):
            self._database.execute(inserting("failed_designs", ("design", "reason"), replace=True), (design, reason))

    def failed_designs(self) -> dict[str, str]:
        """Reasons by design."""
        with told(self.path):
            return dict(self._database.execute("SELECT design, reason FROM failed_designs").fetchall())

    def put_run(self, space: Space, provenance: Mapping[str, Any] | msgspec.Struct) -> None:
        """Keep what is asked of this sweep; what was asked of the one before is replaced."""
        row = (1, _json(LastRun(space, msgspec.to_builtins(provenance))))
        with told(self.path), transaction(self._database):
            self._database.execute(inserting("last_run", ("only", "record"), replace=True), row)

    def last_run(self) -> LastRun | None:
        """What was asked of the last sweep; None before the first one."""
        with told(self.path):
            found = self._database.execute("SELECT record FROM last_run").fetchone()
        made: LastRun | None = self._decoded(found[0], LastRun) if found else None
        return made

    def prune(self) -> int:
        """Delete points and bounds of other code, and machines without any; how many rows that were."""
        with told(self.path):
            before = self._database.total_changes
            with transaction(self._database):
                for table in ("points", "bounds"):
                    self._database.execute(f"DELETE FROM {table} WHERE code != ?", (self._code,))  # noqa: S608
                gone = self._database.total_changes - before
                self._database.execute(
                    "DELETE FROM machines WHERE id NOT IN (SELECT machine FROM points UNION SELECT machine FROM bounds)"
                )
            self._database.execute("VACUUM")
        return gone

    def _insert(self, table: str, rows: Table) -> None:
        self._number(np.unique(rows["network_key"]).tolist(), "networks")
        self._number(rows["machine_key"].tolist(), "machines")
        absent = np.full(len(rows), np.nan)
        values = [rows.columns.get(name, absent).tolist() for name in (*KEYS, *FIGURE_NAMES)]
        codes = [self._code] * len(rows)
        self._database.executemany(_NEW_POINT.format(table), zip(codes, *values, strict=True))

    def _number(self, hashes: Iterable[str], table: str) -> None:
        """Give every hash that has none the next number."""
        statement = f"INSERT INTO {table} (key) VALUES (?) ON CONFLICT DO NOTHING"  # noqa: S608
        self._database.executemany(statement, ((each,) for each in hashes))

    def _points(self, table: str, condition: str = "", *values: str) -> list[dict[str, Column]]:
        """Rows of this code in `points` or `bounds`, networks and machines by number; chunks of columns."""
        statement = f"SELECT {', '.join(POINT_NAMES)} FROM {table} WHERE code = ? {condition}"  # noqa: S608
        pool: dict[str, str] = {}
        chunks = [_chunk([], pool)]
        with told(self.path), self._formed():
            cursor = self._database.execute(statement, (self._code, *values))
            while rows := cursor.fetchmany(CHUNK):
                chunks.append(_chunk(rows, pool))
        return chunks

    def _by_number(self, table: str, names: Sequence[str]) -> list[Column]:
        """Columns of `networks` or `machines` in which the number is the place."""
        with told(self.path):
            rows = self._database.execute(f"SELECT id, {', '.join(names)} FROM {table}").fetchall()  # noqa: S608
        numbers, *values = zip(*rows, strict=True) if rows else [()] * (1 + len(names))
        if rows and not 0 < min(numbers) <= max(numbers) <= LARGEST_NUMBER:
            raise BadInput(damaged(self.path, f"numbers of {table} from {min(numbers)} to {max(numbers)}"))
        found = [np.full(max(numbers, default=0) + 1, None, object) for _ in names]
        for column, each in zip(found, values, strict=True):
            column[list(numbers)] = each
        return found

    def _keyed(self, points: dict[str, Column]) -> dict[str, Column]:
        """Points with their `KEYS`."""
        keys = {}
        for name in _NUMBERS:
            (by_number,) = self._by_number(f"{name}s", ["key"])
            with self._formed():
                keys[f"{name}_key"] = by_number[points[name]]
        return keys | points

    def _joined(self, points: dict[str, Column]) -> Table:
        with told(self.path):
            rows = self._database.execute("SELECT network, columns FROM subjects ORDER BY network, name").fetchall()
        said = [*(self._decoded(text, dict[str, Any]) for _, text in rows), {}]
        of_point, of_subject = _pairs(points["network"].tolist(), [number for number, _ in rows])
        found: dict[str, Column] = {}
        with self._formed():
            for each in columns.NETWORK:
                found[each.name] = _column(each, [record.get(each.name) for record in said])[of_subject]
        machine_numbers = points["machine"]
        of_machines = self._by_number("machines", _MACHINE)
        with self._formed():
            for each, values in zip(columns.MACHINE, of_machines, strict=True):
                found[each.name] = _column(each, values.tolist())[machine_numbers[of_point]]
        given = {name: values for name, values in points.items() if name not in _NUMBERS}
        if len(of_point) > len(machine_numbers):  # else every network has one name, and nothing need be copied
            given = {name: values[of_point] for name, values in given.items()}
        everything = found | given
        return Table({name: everything[name] for name in (*columns.ALL, *KEYS)})

    @contextlib.contextmanager
    def _formed(self) -> Iterator[None]:
        """SQLite keeps a value of any type in any column: what is none of its column is told."""
        try:
            yield
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise BadInput(damaged(self.path, f"a value of another type or number: {error}")) from error

    def _decoded(self, text: str, form: Any) -> Any:
        try:
            return msgspec.json.decode(text, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError) as error:
            raise BadInput(f"{self.path}: a record of another form was found ({error}); name another file") from error


def _chunk(rows: list[tuple[Any, ...]], pool: dict[str, str]) -> dict[str, Column]:
    """Rows as columns; equal texts are one object."""
    values = list(zip(*rows, strict=True)) or [()] * len(POINT_NAMES)
    made: dict[str, Column] = {}
    for name, column in zip(POINT_NAMES, values, strict=True):
        if name in _TEXTS:
            made[name] = np.array([pool.setdefault(text, text) for text in column], object)
        else:
            made[name] = np.array(column, np.intp if name in _NUMBERS else np.float64)
    return made


def _together(chunks: list[dict[str, Column]]) -> dict[str, Column]:
    """The chunks' columns end to end; each is let go of as soon as it is copied."""
    return {name: np.concatenate([chunk.pop(name) for chunk in chunks]) for name in POINT_NAMES}


def _pairs(of_points: list[int], of_subjects: list[int]) -> tuple[Column, Column]:
    """Of every point with each subject of its network the places of both; of a point without a subject, subject -1."""
    subjects: dict[int, list[int]] = {}
    for place, number in enumerate(of_subjects):
        subjects.setdefault(number, []).append(place)
    found = [subjects.get(number, [-1]) for number in of_points]
    counts = np.fromiter(map(len, found), np.intp, len(found))
    flat = (place for each in found for place in each)
    return np.repeat(np.arange(len(found)), counts), np.fromiter(flat, np.intp, int(counts.sum()))


def _column(column: columns.Column, values: list[Any]) -> Column:
    if column.type == "text":
        return np.array([value or "" for value in values], object)
    return np.array(values, np.float64)


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _kind(machine: Machine) -> str:
    return "line_engine" if isinstance(machine, LineEngine) else "pipeline"


def _without_source(machine: Machine) -> Machine:
    return msgspec.structs.replace(machine, source="") if "source" in machine.__struct_fields__ else machine

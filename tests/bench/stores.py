"""SQLite against DuckDB as the store of a sweep: the figures of docs/decisions/0009-sweep-store.md.

    python tests/bench/stores.py FOLDER        # a folder on the disk that is meant; the files in it are replaced
    python tests/bench/stores.py FOLDER --full SMALL   # what a full disk does; SMALL is a file system of 8 MB
    python tests/bench/stores.py FOLDER --ours         # reports.sweep: keys, store and exports; writers of Parquet

100,000 points of 20 columns (two keys of 24 digits, a status, 17 numbers) in transactions of 2,000. DuckDB and pyarrow
must be installed. Times are medians of three runs.
"""

import argparse
import functools
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

POINTS, BATCH, NUMBERS = 100_000, 2_000, 17
NAMES = [f"figure_{i}" for i in range(NUMBERS)]
COLUMNS = ", ".join(["network TEXT", "machine TEXT", "status TEXT", *(f"{name} DOUBLE" for name in NAMES)])
TABLE = f"CREATE TABLE points ({COLUMNS}, PRIMARY KEY (network, machine))"


def batch(number: int) -> list[tuple[Any, ...]]:
    """Points `number * BATCH` and on; the same for the same number."""
    figures = np.random.default_rng(number).integers(0, 10**7, (BATCH, NUMBERS)).astype(float).tolist()
    first = number * BATCH
    return [
        (f"{i % 10:024x}", f"{i // 10 * 2654435761 % 2**64:024x}", "exact", *row)
        for i, row in enumerate(figures, start=first)
    ]


class Sqlite:
    """The standard library's; one connection holds the file."""

    suffix = "sqlite"
    journal = "DELETE"

    def __init__(self, path: Path, *, journal: str | None = None) -> None:
        self.db = sqlite3.connect(path, timeout=0.2, isolation_level=None)
        self.db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self.db.execute(f"PRAGMA journal_mode = {journal or self.journal}")
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute(TABLE.replace("TABLE", "TABLE IF NOT EXISTS") + " WITHOUT ROWID")
        self.db.execute("COMMIT")

    def put(self, rows: list[tuple[Any, ...]]) -> None:
        """One transaction."""
        self.db.execute("BEGIN IMMEDIATE")
        marks = ", ".join("?" * len(rows[0]))
        self.db.executemany(f"INSERT OR IGNORE INTO points VALUES ({marks})", rows)  # noqa: S608
        self.db.execute("COMMIT")

    def columns(self) -> list[Any]:
        """All rows as numpy columns."""
        rows = self.db.execute("SELECT * FROM points").fetchall()
        return [np.array(column, object if i < 3 else float) for i, column in enumerate(zip(*rows, strict=True))]

    def one(self, network: str, machine: str) -> tuple[Any, ...]:
        """One row."""
        wanted = (network, machine)
        found: tuple[Any, ...] = self.db.execute(
            "SELECT * FROM points WHERE network = ? AND machine = ?", wanted
        ).fetchone()
        return found

    def close(self) -> None:
        """Close the file."""
        self.db.close()


class SqliteWal(Sqlite):
    """With a log that is written ahead."""

    suffix = "wal.sqlite"
    journal = "WAL"


class Duck:
    """DuckDB, as its documentation would have it: rows come as columns, by way of Arrow."""

    suffix = "duckdb"

    def __init__(self, path: Path) -> None:
        import duckdb

        self.db = duckdb.connect(str(path))
        self.db.execute(TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))

    def put(self, rows: list[tuple[Any, ...]]) -> None:
        """One transaction."""
        import pyarrow

        arrays = [pyarrow.array(column) for column in zip(*rows, strict=True)]
        arrived = pyarrow.table(arrays, names=["network", "machine", "status", *NAMES])
        self.db.register("arrived", arrived)
        self.db.execute("INSERT OR IGNORE INTO points SELECT * FROM arrived")
        self.db.unregister("arrived")

    def columns(self) -> list[Any]:
        """All rows as numpy columns."""
        return list(self.db.execute("SELECT * FROM points").fetchnumpy().values())

    def one(self, network: str, machine: str) -> tuple[Any, ...]:
        """One row."""
        wanted = (network, machine)
        found: tuple[Any, ...] = self.db.execute(
            "SELECT * FROM points WHERE network = ? AND machine = ?", wanted
        ).fetchone()
        return found

    def close(self) -> None:
        """Close the file."""
        self.db.close()


ENGINES: dict[str, Callable[[Path], Any]] = {"sqlite": Sqlite, "sqlite-wal": SqliteWal, "duckdb": Duck}


def emptied(path: Path) -> Path:
    """The path, with nothing there."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    return path


def speed(engine: str, folder: Path) -> dict[str, float]:
    """Seconds and bytes of one run."""
    path = emptied(folder / f"points.{engine}")
    batches = [batch(i) for i in range(POINTS // BATCH)]
    store = ENGINES[engine](path)
    start = time.perf_counter()
    for rows in batches:
        store.put(rows)
    written = time.perf_counter()
    assert len(store.columns()[0]) == POINTS
    read = time.perf_counter()
    for row in batches[7][:1000]:
        assert store.one(row[0], row[1])[3] == row[3]
    looked_up = time.perf_counter()
    store.close()
    size = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    return {
        "write_s": written - start,
        "read_s": read - written,
        "lookup_ms": looked_up - read,
        "close_s": time.perf_counter() - looked_up,
        "megabytes": size / 1e6,
    }


def import_seconds(module: str) -> float:
    """Of a fresh interpreter, less that of one that imports nothing."""
    took = []
    for code in ("pass", f"import {module}"):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        took.append(time.perf_counter() - start)
    return took[1] - took[0]


def write_for_ever(engine: str, path: Path) -> None:
    """Batches until killed; tells each one that is committed."""
    store = ENGINES[engine](path)
    for number in range(10**6):
        store.put(batch(number % 5000))
        print(number, flush=True)


def killed(engine: str, folder: Path, times: int = 10) -> str:
    """What is left of a writer that is killed at random, resumed on the same file."""
    path = emptied(folder / f"killed.{engine}")
    random, faults = np.random.default_rng(0), []
    for _ in range(times):
        command = [sys.executable, __file__, str(folder), "--write", engine]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            time.sleep(1 + random.uniform(0, 2))
            process.send_signal(signal.SIGKILL)
            told = process.communicate()[0].split()
        try:
            store = ENGINES[engine](path)
            count = len(store.columns()[0]) if told else 0
            store.close()
        except Exception as error:
            faults.append(str(error))
            break
        if count % BATCH or count < (int(told[-1]) + 1 if told else 0) * BATCH:
            faults.append(f"{count} rows, {told[-1]} told")
        path = emptied(path)
    return "; ".join(faults) or f"{times} times whole, every committed batch there, none by half"


def second(engine: str, folder: Path) -> str:
    """What a second process on the same file is told."""
    path = emptied(folder / f"second.{engine}")
    store = ENGINES[engine](path)
    store.put(batch(0))
    command = [sys.executable, __file__, str(folder), "--open", engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    store.close()
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def full(engine: str, small: Path) -> str:
    """What a full disk does, and what is there after room was made."""
    ballast = small / "ballast"
    path = emptied(small / f"full.{engine}")
    ballast.write_bytes(bytes(3_000_000))
    store, number, told = ENGINES[engine](path), 0, ""
    try:
        while True:
            store.put(batch(number))
            number += 1
    except Exception as error:
        told = f"{type(error).__module__}.{type(error).__name__}: {str(error).splitlines()[0]}"
    try:
        store.close()
    except Exception as error:
        told += f"; closing: {type(error).__name__}"
    ballast.unlink()
    store = ENGINES[engine](path)
    after = len(store.columns()[0])
    store.put(batch(number))
    store.close()
    emptied(path)
    return f"{told}; {number * BATCH} rows committed, {after} there after room was made, writing goes on"


def ours(folder: Path) -> dict[str, float]:
    """Seconds and bytes of the project's own store: ten networks on 10,000 machines, batches of 2,000."""
    import msgspec

    from hw.accelerator import machine
    from reports.sweep import export, keys
    from reports.sweep.database import FIGURE_NAMES
    from reports.sweep.store import Store
    from reports.sweep.table import BOUND, EXACT, Table

    clock = Clock()
    engine = machine("line-64")
    machines = [msgspec.structs.replace(engine, name=f"line-64 pe={i}", pe=i) for i in range(1, POINTS + 1)]
    clock.restart()
    hashes = [keys.machine_key(each) for each in machines]
    clock("keys_of_100000_machines_s")
    keys.code_version.cache_clear()
    keys.code_version()
    clock("code_version_s")
    count = POINTS // 10
    rng, chosen = np.random.default_rng(0), np.array(hashes[:count], object)

    def rows(network: int, first: int, size: int, status: str) -> Table:
        figures: dict[str, Any] = {name: rng.integers(0, 10**7, size).astype(float) for name in FIGURE_NAMES}
        words = {"network_key": f"{network:024x}", "status": status, "reason": ""}
        texts = {name: np.full(size, word, object) for name, word in words.items()}
        return Table(figures | texts | {"machine_key": chosen[first : first + size]})

    batches = [rows(i, first, BATCH, EXACT) for i in range(10) for first in range(0, count, BATCH)]
    bounds = rows(11, 0, count, BOUND)
    path = emptied(folder / "ours.sqlite")
    with Store(path, "code") as store:
        clock.restart()
        store.add_machines(dict(zip(hashes[:count], machines, strict=False)))
        clock("add_10000_machines_s")
        for batch in batches:
            store.put(batch)
        clock("put_s")
        table = store.table()
        clock("table_s")
        store.known(f"{3:024x}")
        clock("known_10000_s")
        store.finish(bounds)
        clock("finish_10000_s")
    clock.took["megabytes"] = path.stat().st_size / 1e6
    clock.restart()
    with Store(path, "code"):
        clock("open_s")
    export.write_csv(table, folder / "ours.csv")
    clock("csv_s")
    export.write_parquet(table, folder / "ours.parquet")
    clock("parquet_s")
    clock.took |= {f"{kind}_megabytes": (folder / f"ours.{kind}").stat().st_size / 1e6 for kind in ("csv", "parquet")}
    return clock.took


class Clock:
    """Seconds between its calls, by name."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        """From now on."""
        self.last = time.perf_counter()

    def __call__(self, name: str) -> None:
        """Note what has passed."""
        self.took[name] = time.perf_counter() - self.last
        self.restart()


def parquet(folder: Path) -> dict[str, float]:
    """Seconds and bytes of writers of Parquet: 40 columns of random whole numbers and two of keys, zstd."""
    import duckdb
    import pyarrow
    import pyarrow.parquet

    rng, clock = np.random.default_rng(0), Clock()
    given: dict[str, Any] = {f"f{i}": rng.integers(0, 10**7, POINTS).astype(float) for i in range(40)}
    numbers = list(given)
    given |= {
        name: np.array([f"{i // 10**power:024x}" for i in range(POINTS)], object) for name, power in TEXTS.items()
    }
    paths = {name: folder / f"{name}.parquet" for name in ("duckdb", "pyarrow", "pyarrow_split")}
    clock.restart()
    with duckdb.connect() as base:
        base.register("given", given)
        base.sql("SELECT * FROM given").write_parquet(str(paths["duckdb"]), compression="zstd")
    clock("duckdb_s")
    split = {"use_dictionary": list(TEXTS), "use_byte_stream_split": numbers}
    for name, choice in (("pyarrow", {}), ("pyarrow_split", split)):
        clock.restart()
        table = pyarrow.table({key: pyarrow.array(column) for key, column in given.items()})
        pyarrow.parquet.write_table(table, paths[name], compression="zstd", **choice)
        clock(f"{name}_s")
    return clock.took | {f"{name}_megabytes": path.stat().st_size / 1e6 for name, path in paths.items()}


TEXTS = {"network": 4, "machine": 0}


def medians(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Of three runs."""
    runs = [measure() for _ in range(3)]
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}


def main() -> None:
    """All of it, printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", type=Path)
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--open", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        return write_for_ever(given.write, given.folder / f"killed.{given.write}")
    if given.open:
        print(len(ENGINES[given.open](given.folder / f"second.{given.open}").columns()[0]), "rows read")
        return None
    if given.ours:
        print("ours", medians(lambda: ours(given.folder)))
        print("parquet", medians(lambda: parquet(given.folder)))
        return None
    for engine in ENGINES:
        print(engine, medians(functools.partial(speed, engine, given.folder)))
        print("  second process:", second(engine, given.folder))
        print("  SIGKILL:", killed(engine, given.folder))
        if given.full:
            print("  full disk:", full(engine, given.full))
    for module in ("sqlite3", "duckdb", "pyarrow.parquet"):
        print(f"import {module}", round(statistics.median(import_seconds(module) for _ in range(5)), 3), "s")
    return None


if __name__ == "__main__":
    main()

"""The file of a sweep: an SQLite database, held by one process, and every fault of it told in a sentence.

Its journal is SQLite's default one (a copy of the pages that change, beside the file while a transaction runs), so that
between transactions one file is all there is. Whoever finds a journal after a crash leaves it there: the next opening
takes the half transaction back by it.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from hw.errors import BadInput
from hw.files import make_folder
from reports.sweep.columns import FIGURES

APPLICATION = int.from_bytes(b"pace")
"""What SQLite's header says of the program that a file belongs to."""
VERSION = 1
WAIT_S = 1.0
"""How long the lock of a process that is just ending is waited for."""
FIGURE_NAMES = tuple(column.name for column in FIGURES)
POINT_NAMES = ("network", "machine", "status", "reason", *FIGURE_NAMES)
_POINT = (
    "code INTEGER, network INTEGER, machine INTEGER, status TEXT NOT NULL, reason TEXT NOT NULL, "
    + "".join(f"{name} REAL, " for name in FIGURE_NAMES)
    + "PRIMARY KEY (code, network, machine)"
)
SCHEMA = (
    "CREATE TABLE codes (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE)",
    "CREATE TABLE networks (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE)",
    "CREATE TABLE machines (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, "
    "name TEXT NOT NULL DEFAULT '', kind TEXT NOT NULL DEFAULT '', clock_mhz REAL, record TEXT NOT NULL DEFAULT '')",
    f"CREATE TABLE points ({_POINT}) WITHOUT ROWID",
    f"CREATE TABLE bounds ({_POINT}) WITHOUT ROWID",
    "CREATE TABLE subjects (network INTEGER, name TEXT, columns TEXT NOT NULL, PRIMARY KEY (network, name))",
    "CREATE TABLE trainings (design TEXT, rung INTEGER, seeds INTEGER NOT NULL, accuracy REAL, record TEXT NOT NULL, "
    "PRIMARY KEY (design, rung))",
    "CREATE TABLE failed_designs (design TEXT PRIMARY KEY, reason TEXT NOT NULL)",
    "CREATE TABLE last_run (only INTEGER PRIMARY KEY CHECK (only = 1), record TEXT NOT NULL)",
)
"""Hashes are kept once, as `key`, and named by numbers in the order in which they came: so new points are appended to
their tables instead of spread over them. `bounds` are those of the last screening; `columns` and `record` are JSON."""


def connect(path: Path) -> sqlite3.Connection:
    """The database at `path`, made if there is none, and held until it is closed.

    Raises:
        BadInput: another process holds it, it cannot be written, it is none of ours, of another version, or damaged.
    """
    if path.is_dir():
        raise BadInput(f"{path}: a folder was found, the file of a sweep is wanted; name a file")
    make_folder(path.parent)
    with told(path), contextlib.ExitStack() as undo:
        database = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
        undo.callback(database.close)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        with transaction(database, "EXCLUSIVE"):
            _prepare(database, path)
        undo.pop_all()
    return database


@contextlib.contextmanager
def transaction(database: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All of a block or nothing of it."""
    with database:
        database.execute(f"BEGIN {kind}")
        yield


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    application, version, objects = (
        int(database.execute(query).fetchone()[0])
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if not objects and not application and not version:
        for statement in SCHEMA:
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION}")
        database.execute(f"PRAGMA user_version = {VERSION}")
        return
    if application != APPLICATION:
        raise BadInput(f"{path}: a database of another program was found, a sweep's is wanted; name another file")
    if version != VERSION:
        age = "a newer" if version > VERSION else "an older"
        raise BadInput(
            f"{path}: a sweep's database of version {version} was found, {VERSION} is wanted; open it with the "
            f"pacemaker that made it, {age} one, or name another file"
        )
    _check_pages(database, path)
    _add_figures(database)


def _check_pages(database: sqlite3.Connection, path: Path) -> None:
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise BadInput(damaged(path, " ".join(found.split())))


def _add_figures(database: sqlite3.Connection) -> None:
    """Columns that `reports.sweep.columns` has had since; the points that lack them are another code's anyway."""
    for table in ("points", "bounds"):
        there = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
        for name in FIGURE_NAMES:
            if name not in there:
                database.execute(f"ALTER TABLE {table} ADD COLUMN {name} REAL")


def inserting(table: str, names: Sequence[str], *, replace: bool = False) -> str:
    """The statement that inserts a row; one that is there already stays, or is replaced."""
    verb = "REPLACE" if replace else "IGNORE"
    return f"INSERT OR {verb} INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Whatever SQLite says against the file as one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise BadInput(_sentence(path, error)) from error
    except UnicodeDecodeError as error:  # of SQLite's own sentence, where it quotes what is damaged
        raise BadInput(damaged(path, "its schema is no text")) from error


def _sentence(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return (
            f"{path}: another process holds this file, perhaps a sweep that is running; wait until it has ended or "
            "stop it, or name another file"
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        fault = "the disk is full" if code == sqlite3.SQLITE_FULL else f"it cannot be read or written ({error})"
        return f"{path}: {fault}; make room and run the same command again, what was kept before is still there"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return f"{path}: cannot be written ({error}); make the file and its folder writable, or name another file"
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path}: another kind of file was found, a sweep's database is wanted; name another file"
    if code == sqlite3.SQLITE_CORRUPT:
        return damaged(path, str(error))
    return f"{path}: the database cannot be used ({error}); name another file"


def damaged(path: Path, fault: str) -> str:
    """The sentence about a file whose pages or values are not what was written."""
    return (
        f"{path}: the file is damaged ({fault}); move it away and run the sweep again, or rescue what is left in it "
        "with: sqlite3 DAMAGED .recover | sqlite3 RESCUED"
    )

"""A whole sweep: networks trained or taken as given, their points screened and simulated, the page and the files.

All that is found is kept in the folder as soon as it is found (`store`, `pool`): a sweep that was stopped, however,
goes on with the same call and ends in the same rows.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hw.errors import Interrupted, need
from hw.files import make_folder
from reports.sweep import export, figures, page, screening, subjects
from reports.sweep.keys import machine_key
from reports.sweep.result import Provenance, Sweep
from reports.sweep.space import Space
from reports.sweep.store import Store
from reports.sweep.table import BOUND
from reports.sweep.work import Means, Say, Work, with_gone
from reports.timing import Clock, record

STORE, FIGURES, ROWS = "sweep.db", "figures", ("rows.parquet", "rows.csv")


def sweep(space: Space, folder: Path, means: Means = Means(), *, exhaustive: bool = False, command: str = "") -> Sweep:
    """Do all of a space; leaves the store, the rows as Parquet and CSV, and the page in `folder`.

    With `exhaustive` every point that fits is simulated, not only those that may be on the front.

    Raises:
        BadInput: a word or a number of the space that nobody knows, a given network that cannot be read (nothing is
            written then), or no network that could be used at all.
        PacemakerError: what any part of a sweep may be missing.
        Interrupted: stopped by Ctrl-C; everything finished is kept.
    """
    for module, purpose in (("pyarrow", "the rows as Parquet"), ("bokeh", "the page of a sweep")):
        need(module, "sweep", purpose)
    given = subjects.given(space.networks.given)
    make_folder(folder)
    machines = {machine_key(machine): machine for machine in space.all_machines}
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), Clock()
    try:
        with Store.open(folder / STORE, energy=space.energy, family=screening.family_of(space.kept)) as store:
            store.add_machines(machines)
            work = Work(space, folder, means, store, tuple(machines.values()), exhaustive, given)
            with clock.step("networks"):
                work.networks()
            with clock.step("points"):
                table = work.points(list(work.subjects.values()))
            store.finish(table.rows(table["status"] == BOUND))
            base = record(command, started, clock.seconds, folder)
            told = Provenance(**msgspec.structs.asdict(base), code_hash=store.code)
            store.put_run(space, msgspec.to_builtins(told))
        table = with_gone(table, work.gone)
        found = Sweep(space, table, work.subjects, machines, work.curves, told)
        write(found, folder, means.say)
    except KeyboardInterrupt:
        raise Interrupted(f"{folder}: stopped; everything finished is kept, and the same command goes on") from None
    return found


def write(found: Sweep, folder: Path, say: Say = lambda message: None) -> None:
    """The rows and the page of a sweep."""
    say("writing the rows and the page")
    export.write_parquet(found.table, folder / ROWS[0])
    export.write_csv(found.table, folder / ROWS[1])
    page.write(found, folder / page.NAME, beside=ROWS)
    figures.write(folder / FIGURES, found)

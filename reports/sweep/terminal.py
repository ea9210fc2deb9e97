"""A sweep's answers at a terminal: what it would do, and what it found."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table as Shown

from reports.sweep import page
from reports.sweep.plan import Plan
from reports.sweep.result import Sweep, eligible, keeps
from reports.sweep.table import BOUND, EXACT, STATUS, Table
from reports.sweep.watch import value_told

MOST_ROWS = 20


def show_plan(console: Console, found: Plan) -> None:
    """How many networks, trainings and points, and how long."""
    console.print(f"{found.networks:,} networks on {found.machines:,} machines: {found.points:,} points")
    todo, there = found.trainings, found.trainings_there
    console.print(f"trainings: {todo:,} to do, {there:,} there already")
    console.print(f"quantisations: {found.quantisations:,} to do, {found.quantisations_there:,} there already")
    console.print(f"both take about {seconds_told(found.training_seconds)}")
    console.print(f"points: at most {seconds_told(found.point_seconds)}, if none could be left out")
    for name, reason in found.failed.items():
        console.print(f"{name} cannot be used: {reason}")


def seconds_told(seconds: float) -> str:
    """A time that a person would say."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 or seconds == 0 else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show(console: Console, found: Sweep) -> None:
    """Counts, and the front by the first objective."""
    table, front = found.table, page.front_of(found)
    counts = ", ".join(f"{int((table['status'] == status).sum()):,} {status}" for status in STATUS)
    console.print(
        f"{found.space.name}: {len(table):,} designs ({counts}); {int(front.sum()):,} on the front", soft_wrap=True
    )
    for text in unkept(found):
        console.print(text)
    if not front.any():
        return
    names, chosen = found.space.objectives, table.rows(front)
    groups = _alike(chosen, names, best_last=found.objectives[0].better == "more")
    title = f"The front, best {names[0].replace('_', ' ')} first" + (
        f", {MOST_ROWS} of it" if len(groups) > MOST_ROWS else ""
    )
    shown = Shown(title=title, title_justify="left")
    shown.add_column("design")
    for name in names:
        shown.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    for rows in groups[:MOST_ROWS]:
        first, more = rows[0], f", and {len(rows) - 1} as good" if len(rows) > 1 else ""
        values = [value_told(name, float(chosen[name][first])) for name in names]
        shown.add_row(f"{chosen['network'][first]} on {chosen['machine'][first]}{more}", *values)
    console.print(shown)


def _alike(chosen: Table, names: Sequence[str], *, best_last: bool) -> list[list[int]]:
    """Rows of equal objectives together, in the order of the first one, best first."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for row, values in enumerate(zip(*(chosen[name].tolist() for name in names), strict=True)):
        groups.setdefault(values, []).append(row)
    return [groups[values] for values in sorted(groups, key=lambda v: (-v[0] if best_last else v[0], v))]


def summary(found: Sweep) -> dict[str, object]:
    """Counts and the front as plain data; all rows are in the files."""
    chosen = found.table.rows(page.front_of(found))
    names = ("network", "machine", *found.space.objectives)
    front = [dict(zip(names, row, strict=True)) for row in zip(*(chosen[name].tolist() for name in names), strict=True)]
    return {
        "space": found.space.name,
        "designs": len(found.table),
        **{status: int((found.table["status"] == status).sum()) for status in STATUS},
        "front": front,
        "provenance": found.provenance,
    }


def unkept(found: Sweep) -> list[str]:
    """Where no design keeps all constraints: how many keep each of them, as far as bounds tell of those left out."""
    if not found.space.kept or eligible(found).any():
        return []
    able = np.isin(found.table["status"], (EXACT, BOUND))
    told = [f"{each.text!r} {int((keeps(found.table, each) & able).sum()):,}" for each in found.space.kept]
    count = int(able.sum())
    return [f"no design keeps all constraints; of {count:,} that fit their machine may keep: {', '.join(told)}"]

"""A sweep at a terminal while it runs: trainings, points, rate, the best so far, the time left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from reports.sweep import columns
from reports.sweep.points import Progress as Points
from reports.words import duration

if TYPE_CHECKING:
    from reports.sweep.pool import Event

SECONDS_A_LINE = 5.0
"""Where the console is no terminal, points are told of no more often."""


class Watch:
    """Takes the events of a sweep to the bars, or to lines where the console is no terminal."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self.console, self.progress = console, progress
        self.trainings: TaskID | None = None
        self.running: dict[str, TaskID] = {}
        self.points: TaskID | None = None
        self.begun = self.told = time.monotonic()

    def on_training(self, event: "Event") -> None:
        """An epoch, a finished training or quantisation, or one that failed."""
        from reports.sweep.pool import Done, Epoch

        if isinstance(event, Epoch):
            done = event.progress
            name = f"{done.stage} seed {done.seed}"
            if event.key not in self.running:
                self.running[event.key] = self.progress.add_task(name, total=done.epochs)
            text = f"{name}  {100 * done.validation_accuracy:.1f} %"
            self.progress.update(self.running[event.key], completed=done.epoch, description=text)
            return
        if event.key in self.running:
            self.progress.remove_task(self.running.pop(event.key))
        if isinstance(event, Done):
            if self.trainings is None:
                self.trainings = self.progress.add_task("trainings and quantisations", total=event.of)
            self.progress.update(self.trainings, completed=event.number, total=event.of)
            what = "trained" if event.bits is None else f"quantised to {event.bits} bits"
            self.console.print(f"{event.number} of {event.of}: {event.network}, {event.stage} seed {event.seed} {what}")
        else:
            self.console.print(f"{event.stage} seed {event.seed} failed: {event.reason}")

    def on_points(self, found: Points) -> None:
        """Points simulated, dropped and waiting."""
        now = time.monotonic()
        if self.points is None:
            self.begun = now
            self.points = self.progress.add_task("points", total=found.points)
        done = found.points - found.waiting
        text = points_told(found, now - self.begun)
        self.progress.update(self.points, completed=done, total=found.points, description=text)
        if not self.console.is_terminal and (found.waiting == 0 or now - self.told > SECONDS_A_LINE):
            self.told = now
            self.console.print(f"{done:,} of {found.points:,} {text}", soft_wrap=True)


@contextmanager
def watching(console: Console) -> Iterator[Watch]:
    """Show bars while the block runs."""
    shown: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}", table_column=Column(no_wrap=False)),  # else it hides the time left
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*shown, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Watch(console, progress)


def points_told(found: Points, seconds: float) -> str:
    """How many points were simulated, how fast, and the best of each objective."""
    rate = f", {found.simulated / seconds:,.0f} a second" if found.simulated and seconds > 0.1 else ""
    best = ", ".join(f"{name} {value_told(name, value)}" for name, value in found.best.items())
    return f"points: {found.exact:,} exact{rate}, {found.dropped:,} left out" + (f"; best {best}" if best else "")


def value_told(name: str, value: float) -> str:
    """A figure with its unit."""
    column = columns.ALL[name]
    if name in ("accuracy", "test_accuracy"):
        return f"{100 * value:.2f} %"
    if column.unit == "ms":
        return duration(value)
    return f"{value:,.0f} {column.unit}".strip() if value >= 100 else f"{value:.4g} {column.unit}".strip()

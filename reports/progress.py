"""Progress of trainings as bars: one for the whole run, one for each training at work."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from distill.run import OnProgress
from distill.run import Progress as Event


@contextmanager
def bars(console: Console, epochs: int) -> Iterator[OnProgress]:
    """Show bars while the block runs; yields what is to be told of every epoch. `epochs` of all trainings together.

    Where the console is no terminal, only the line of each finished training is printed.
    """
    columns = TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        whole = progress.add_task("all trainings, epochs", total=epochs)
        running: dict[str, TaskID] = {}

        def tell(event: Event) -> None:
            name = f"{event.stage} seed {event.seed}" + (f" head {event.head}" if event.head else "")
            if name not in running:
                running[name] = progress.add_task(name, total=event.epochs)
            text = f"{name}  {100 * event.validation_accuracy:.1f} %"
            progress.update(running[name], completed=event.epoch, description=text)
            progress.advance(whole)
            if event.epoch == event.epochs:
                progress.remove_task(running.pop(name))
                progress.console.print(f"{name}: validation {100 * event.validation_accuracy:.2f} %")

        yield tell

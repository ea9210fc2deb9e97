"""Tables at a terminal, of which no figure is ever cut."""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST = 10_000


def show_table(console: Console, table: Table) -> None:
    """Print a table as wide as its figures want; where the terminal is narrower, rows go on in its next line."""
    table.width = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    console.print(table, crop=False)

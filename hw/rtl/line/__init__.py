"""The line engine in SystemVerilog, and the writer of a student's lists and memories."""

from hw.rtl.line.layers import check
from hw.rtl.line.lists import Life, Lists, Load, Place, Row, Step, Store, Task, Tile
from hw.rtl.line.memories import Addresses, first_fit
from hw.rtl.line.write import Design, write

__all__ = [
    "Addresses",
    "Design",
    "Life",
    "Lists",
    "Load",
    "Place",
    "Row",
    "Step",
    "Store",
    "Task",
    "Tile",
    "check",
    "first_fit",
    "write",
]

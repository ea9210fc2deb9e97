"""The front of a sweep as plain rows, for a script or a notebook."""

import numpy as np

from reports.sweep.page import front_of
from reports.sweep.pareto import falling
from reports.sweep.result import Sweep

Row = dict[str, float | str]


def front_rows(sweep: Sweep) -> list[Row]:
    """The designs on the front, the best one in the first objective first; ties go by the objectives that follow.

    A row has those columns (`reports.sweep.columns`) that are known of it: numbers in the unit that their name ends in,
    or words.
    """
    front = np.flatnonzero(front_of(sweep))
    values = falling(sweep.values()[front], [objective.better for objective in sweep.objectives])
    table = sweep.table.rows(front[np.lexsort(values.T[::-1])])
    return [{name: cell for name in table.columns if _known(cell := table[name][i])} for i in range(len(table))]


def _known(cell: float | str) -> bool:
    return cell != "" if isinstance(cell, str) else not np.isnan(cell)

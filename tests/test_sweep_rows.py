import numpy as np
from sweep_example import example

from reports.sweep import columns
from reports.sweep.rows import front_rows
from reports.sweep.table import EXACT


def dominated(row, others, names):
    """Whether another row is no worse in all objectives and better in one; a plain loop."""

    def turned(each):
        return [each[name] * (-1 if columns.ALL[name].better == "more" else 1) for name in names]

    own = turned(row)
    return any(all(a <= b for a, b in zip(other, own, strict=True)) and other != own for other in map(turned, others))


def test_front_rows_are_those_that_nobody_dominates_best_first():
    found = example()
    names, table = found.space.objectives, found.table
    allowed = (table["status"] == EXACT) & (table["latency_ms"] <= 5)
    everybody = [{name: table[name][i] for name in table.columns} for i in np.flatnonzero(allowed)]
    expected = [row for row in everybody if not dominated(row, everybody, names)]
    rows = front_rows(found)
    keys = [(row["network_key"], row["machine_key"]) for row in rows]
    assert sorted(keys) == sorted((row["network_key"], row["machine_key"]) for row in expected)
    order = [(-row["accuracy"], row["latency_ms"], row["line_memory_bytes"]) for row in rows]
    assert order == sorted(order)
    assert len(rows) > 3


def test_a_row_has_only_what_is_known():
    row = front_rows(example())[0]
    assert "" not in row.values()
    assert not any(cell != cell for cell in row.values())
    assert row["accuracy"] > 0
    assert row["status"] == EXACT
    assert "reason" not in row

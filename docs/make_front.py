"""Draw the front of the Fashion-MNIST sweep for the README: python docs/make_front.py runs/fashion-mnist-students

The folder is that of `pacemaker sweep examples/fashion-mnist-students.yaml`; its rows are read, nothing is simulated.
Writes docs/front.svg and prints how many designs are on it. Its ground is white, so that it reads on a dark page too.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw.files import replacing
from reports.sweep.pareto import front

OBJECTIVES = {"accuracy": "more", "latency_ms": "less", "on_chip_bytes": "less", "multipliers": "less"}
GROUPS = {
    "3x3 filters": ("#d55e00", "s"),
    "1x3 filters, a head that knows its rows": ("#0072b2", "o"),
    "1x3 filters, a global mean": ("#56b4e9", "^"),
}
TICKS = (0.5, 1, 2, 4, 8, 16, 32)
RC = {
    "svg.hashsalt": "pacemaker",
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def main(folder: Path) -> None:
    """Read the rows of the sweep and draw them."""
    with (folder / "rows.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "exact" and keeps(row)]
    values = np.array([[float(row[name]) for name in OBJECTIVES] for row in rows])
    on = front(values, list(OBJECTIVES.values()))
    print(f"{len(rows)} exact designs that keep the constraints, {on.sum()} on the front")
    draw(Path(__file__).with_name("front.svg"), rows, on)


def keeps(row: dict[str, str]) -> bool:
    """The space's constraints."""
    return float(row["accuracy"]) >= 0.7 and float(row["latency_ms"]) <= 20


def group(row: dict[str, str]) -> str:
    """What matters most about a network."""
    full, rows, mean = GROUPS
    return full if row["filters"] == "full" else rows if row["head"] == "rows" else mean


def draw(path: Path, rows: list[dict[str, str]], on: NDArray[np.bool_]) -> None:
    """Accuracy over the bytes that hold pixels, a marker a design, filled where it is on the front."""
    import matplotlib
    from matplotlib.figure import Figure

    points = np.array([[float(row["line_memory_bytes"]) / 1024, 100 * float(row["accuracy"])] for row in rows])
    groups = np.array([group(row) for row in rows])
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(7.2, 3.8), layout="constrained", facecolor="white")
        axes = figure.subplots()
        for name, (colour, marker) in GROUPS.items():
            off, kept = (np.unique(points[(groups == name) & chosen], axis=0) for chosen in (~on, on))
            axes.plot(*off.T, marker, color=colour, markersize=3, markerfacecolor="none", markeredgewidth=0.4)
            axes.plot(*kept.T, marker, color=colour, markersize=4.5, markeredgewidth=0, label=name)
        axes.set(xscale="log", xlabel="bytes on chip that hold pixels, kB", ylabel="accuracy on validation images, %")
        axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        figure.legend(loc="outside upper left", ncols=3, frameon=False, handletextpad=0.1)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Draw the front of the Fashion-MNIST sweep for the README: python docs/make_front.py runs/fashion-mnist-students

The folder is that of `pacemaker sweep examples/fashion-mnist-students.yaml`; its rows are read, nothing is simulated.
Writes docs/front.svg and prints how many designs are on it. Its ground is white, so that it reads on a dark page too.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from hw.files import replacing
from reports.sweep.pareto import front

OBJECTIVES = {"accuracy": "more", "latency_ms": "less", "on_chip_bytes": "less", "multipliers": "less"}
GROUPS = {
    "3x3 filters": ("#d55e00", "s"),
    "1x3 filters, a head that knows its rows": ("#0072b2", "o"),
    "1x3 filters, a global mean": ("#56b4e9", "^"),
}
RC = {"svg.hashsalt": "pacemaker", "svg.fonttype": "path", "font.size": 9, "axes.spines.top": False}


def main(folder: Path) -> None:
    """Read the rows of the sweep and draw those on its front."""
    with (folder / "rows.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "exact" and keeps(row)]
    values = np.array([[float(row[name]) for name in OBJECTIVES] for row in rows])
    on = front(values, list(OBJECTIVES.values()))
    print(f"{on.sum()} of {len(rows)} exact designs that keep the constraints are on the front")
    groups = np.array([group(row) for row in rows])
    draw(Path(__file__).with_name("front.svg"), values[on], groups[on])


def keeps(row: dict[str, str]) -> bool:
    """The space's constraints."""
    return float(row["accuracy"]) >= 0.7 and float(row["latency_ms"]) <= 20


def group(row: dict[str, str]) -> str:
    """What matters most about a network."""
    full, rows, mean = GROUPS
    return full if row["filters"] == "full" else rows if row["head"] == "rows" else mean


def draw(path: Path, values: np.ndarray, groups: np.ndarray) -> None:
    """Accuracy over bytes on chip, a marker a design."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained", facecolor="white")
        axes = figure.subplots()
        for name, (colour, marker) in GROUPS.items():
            accuracy, bytes_on_chip = values[groups == name, 0], values[groups == name, 2]
            axes.plot(
                bytes_on_chip / 1000, 100 * accuracy, marker, color=colour, label=name, markersize=4, alpha=0.6, mew=0
            )
        axes.set(xscale="log", xlabel="bytes on chip, kB", ylabel="accuracy on validation images, %")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside upper left", ncols=3, frameon=False, handletextpad=0.1)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))

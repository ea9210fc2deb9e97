"""Figures of a run as inline SVG that takes the page's text colour and says in words what it shows."""

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from reports import drawing
from reports.candidate import Candidate, Curve
from reports.drawing import Bar, Figure, Style
from reports.words import percent


def styles(candidates: Sequence[Candidate]) -> dict[str, Style]:
    """A style a candidate, the same in every figure; the teacher is in the text's colour."""
    palette = (drawing.INK, *drawing.COLOURS.values())
    return {
        entry.name: Style(
            palette[i % len(palette)],
            drawing.MARKERS[i % len(drawing.MARKERS)],
            drawing.DASHES[i % len(drawing.DASHES)],
        )
        for i, entry in enumerate(candidates)
    }


def accuracy_against_latency(candidates: Sequence[Candidate], machine: str) -> Figure | None:
    """Test accuracy over latency, a marker a candidate."""
    shown = [entry for entry in candidates if machine in entry.results]
    if not shown:
        return None
    of = styles(candidates)
    positions = _side_by_side([entry.results[machine].latency_cycles for entry in shown])

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for entry, cycles in zip(shown, positions, strict=True):
            style = of[entry.name]
            axes.errorbar(
                cycles,
                100 * entry.test.mean,
                yerr=100 * (entry.test.deviation or 0),
                color=style.colour,
                marker=style.marker,
                markersize=7.5,
                linestyle="none",
                elinewidth=1.3,
                capsize=3.5,
                label=f"{entry.name}: {percent(entry.test.mean)} %",
            )
        axes.set_xscale("log")
        drawing.log_ticks(axes, positions)
        axes.set_xlabel(f"latency on {machine}, cycles (logarithmic)")
        axes.set_ylabel("test accuracy, %")
        axes.grid(True, axis="y")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), labelspacing=0.75, handletextpad=0.6)

    told = [
        f"{e.name} {percent(e.test.mean)} % at {e.results[machine].latency_cycles:,} cycles"
        for e in sorted(shown, key=lambda e: e.results[machine].latency_cycles)
    ]
    return drawing.drawn(
        "accuracy-latency",
        f"Test accuracy against latency on {machine}",
        "Mean over the seeds; bars are one standard deviation each way. Networks of equal latency are drawn side by "
        "side, a little apart, so that none hides another. Up and to the left is better.",
        "; ".join(told),
        3.5,
        draw,
    )


def memory(candidates: Sequence[Candidate], machine: str) -> Figure | None:
    """On-chip bytes of pixels, stacked, and of weights beside them."""
    pixels, weights = [], []
    for names, entry in _alike([entry for entry in candidates if machine in entry.results], machine):
        result = entry.results[machine]
        label = textwrap.fill(names, 30)
        parts = {"line buffers": result.line_buffer_bytes, "windows": result.window_bytes, "FIFOs": result.fifo_bytes}
        pixels.append(Bar(label, parts))
        weights.append(Bar(label, {"weights": result.weight_bytes}))
    if not pixels:
        return None

    def draw(figure: Any) -> None:
        figure.get_layout_engine().set(wspace=0.06)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(5, 3))
        drawing.stacked(left, pixels, "bytes that hold pixels")
        drawing.stacked(right, weights, "bytes of weights", first=3)
        right.tick_params(axis="y", length=0)

    return drawing.drawn(
        "memory",
        f"On-chip memory on {machine}",
        "Pixels on the left, weights on the right, on scales of their own. Networks of equal memory share a bar. A "
        "1×N layer needs a window but no line buffer.",
        "; ".join(f"{_told(bar)}, weights {w.total:,}" for bar, w in zip(pixels, weights, strict=True)),
        1.5 + drawing.height_of(pixels, 0.12),
        draw,
    )


def cycles_by_cause(rows: Sequence[tuple[Candidate, str]]) -> Figure | None:
    """Where the cycles of an engine go: one bar a candidate and machine."""
    bars = [
        Bar(f"{entry.name}, {machine}", _words(entry.results[machine].cycles_by_cause))
        for entry, machine in rows
        if machine in entry.results and entry.results[machine].cycles_by_cause
    ]
    if not bars:
        return None

    def draw(figure: Any) -> None:
        drawing.stacked(figure.subplots(), bars, "cycles a frame")

    return drawing.drawn(
        "causes",
        "Cycles by cause on the line engines",
        "The array computes, or it waits while weights or lines travel between DRAM and the chip.",
        "; ".join(_told(bar) for bar in bars),
        1.25 + drawing.height_of(bars),
        draw,
    )


def layer_cycles(entry: Candidate, machine: str) -> Figure | None:
    """Cycles of each layer of one candidate: working, starved, blocked."""
    if machine not in entry.results:
        return None
    bars = [
        Bar(layer.name, {"working": layer.cycles, "starved": layer.starved_cycles, "blocked": layer.blocked_cycles})
        for layer in entry.results[machine].layers
    ]

    def draw(figure: Any) -> None:
        drawing.stacked(figure.subplots(), bars, "cycles")

    return drawing.drawn(
        "layers",
        f"What the layers of {entry.name} do on {machine}",
        "Working: the layer issues; starved: it waits for its input; blocked: it waits for a free slot in an output's "
        "FIFO. The layer that works most sets the interval.",
        "; ".join(_told(bar) for bar in bars),
        1.1 + 0.6 * drawing.height_of(bars),
        draw,
    )


def training(candidates: Sequence[Candidate]) -> Figure | None:
    """Validation accuracy by epoch: mean and a band of one standard deviation; the second half once more, larger."""
    shown = [entry for entry in candidates if _epochs(entry.curves) > 1]
    if not shown:
        return None
    of = styles(candidates)

    def draw(figure: Any) -> None:
        whole, end = figure.subplots(1, 2)
        seen = []
        for entry in shown:
            mean, spread = _mean_and_spread(entry.curves)
            late = list(zip(mean, spread, strict=True))[len(mean) // 2 :]
            seen += [m - s for m, s in late] + [m + s for m, s in late]
            for axes in (whole, end):
                drawing.curve(axes, mean, spread, of[entry.name], entry.name)
        end.set_xlim(left=max(1, max(_epochs(entry.curves) for entry in shown) // 2))
        end.set_ylim(min(seen) - 0.3, max(seen) + 0.3)
        whole.set_ylim(0, 101)
        whole.set_title("all epochs")
        end.set_title("second half, enlarged")
        whole.set_ylabel("validation accuracy, %")
        for axes in (whole, end):
            axes.set_xlabel("epoch")
            axes.grid(True, axis="y")
            axes.xaxis.get_major_locator().set_params(integer=True)
        handles, labels = whole.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, handlelength=3.2)

    told = [f"{entry.name} ends at {_mean_and_spread(entry.curves)[0][-1]:.1f} %" for entry in shown]
    return drawing.drawn(
        "training",
        "Validation accuracy by epoch",
        "Mean over the seeds, with a band of one standard deviation each way. The accuracy of the last epoch counts.",
        "; ".join(told),
        4.0,
        draw,
    )


def _side_by_side(values: Sequence[int]) -> list[float]:
    """The values, equal ones spread by steps of 5 %."""
    spread = []
    for i, value in enumerate(values):
        equal = [j for j, other in enumerate(values) if other == value]
        spread.append(value * 1.05 ** (equal.index(i) - (len(equal) - 1) / 2))
    return spread


def _alike(candidates: Sequence[Candidate], machine: str) -> list[tuple[str, Candidate]]:
    """Candidates of equal memory together: their names, and one that stands for all."""
    groups: dict[tuple[int, ...], list[Candidate]] = {}
    for entry in candidates:
        result = entry.results[machine]
        sizes = (result.line_buffer_bytes, result.window_bytes, result.fifo_bytes, result.weight_bytes)
        groups.setdefault(sizes, []).append(entry)
    return [(", ".join(entry.name for entry in group), group[0]) for group in groups.values()]


def _mean_and_spread(curves: Sequence[Curve]) -> tuple[list[float], list[float]]:
    """By epoch, in per cent: the mean over seeds and the standard deviation (n - 1), 0 for one seed."""
    columns = [[100 * share for share in column] for column in zip(*(c.validation for c in curves), strict=False)]
    return (
        [statistics.fmean(column) for column in columns],
        [statistics.stdev(column) if len(column) > 1 else 0.0 for column in columns],
    )


def _epochs(curves: Sequence[Curve]) -> int:
    return min((len(curve.validation) for curve in curves), default=0)


def _words(causes: Mapping[str, int]) -> dict[str, int]:
    return {cause.replace("_", " "): cycles for cause, cycles in causes.items()}


def _told(bar: Bar) -> str:
    label = bar.label.replace("\n", " ")
    return f"{label}: " + ", ".join(f"{part} {value:,}" for part, value in bar.parts.items())

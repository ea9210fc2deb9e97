"""Figures of a run as inline SVG that takes the page's text colour and says in words what it shows.

Colours are those of Okabe and Ito, told apart by the colour-blind; a marker, a dash or a hatch always goes with them.
In the SVG they are CSS variables, so that a page in dark mode can lighten them.
"""

import html
import io
import re
import statistics
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hw.errors import need
from reports.candidate import Candidate, Curve
from reports.words import percent

INK = "#010203"
"""Stands for the page's text colour until the SVG is written."""
COLOURS = {
    "blue": "#0072b2",
    "orange": "#e69f00",
    "green": "#009e73",
    "vermillion": "#d55e00",
    "sky": "#56b4e9",
    "purple": "#cc79a7",
}
HATCHES = ("", "////", "||||", "\\\\\\\\", "xx", "--")
MARKERS = ("s", "o", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
WIDTH_INCHES = 8.4
BAR_INCHES = 0.36
RC = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "hatch.linewidth": 0.6,
    "hatch.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Figure:
    """A drawing: `svg` is markup, `name` the anchor; `caption` tells how to read it."""

    name: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Style:
    """What marks one candidate in every figure."""

    colour: str
    marker: str
    dash: Any


@dataclass(frozen=True)
class Bar:
    """One stacked bar: a label and its parts."""

    label: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """The bar's length."""
        return sum(self.parts.values())


def styles(candidates: Sequence[Candidate]) -> dict[str, Style]:
    """A style a candidate, the same in every figure; the teacher is in the text's colour."""
    palette = (INK, *COLOURS.values())
    return {
        entry.name: Style(palette[i % len(palette)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
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
        _plain_log_ticks(axes, positions)
        axes.set_xlabel(f"latency on {machine}, cycles (logarithmic)")
        axes.set_ylabel("test accuracy, %")
        axes.grid(True, axis="y")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), labelspacing=0.75, handletextpad=0.6)

    told = [
        f"{e.name} {percent(e.test.mean)} % at {e.results[machine].latency_cycles:,} cycles"
        for e in sorted(shown, key=lambda e: e.results[machine].latency_cycles)
    ]
    return _figure(
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
        _stacked(left, pixels, "bytes that hold pixels")
        _stacked(right, weights, "bytes of weights", first=3)
        right.tick_params(axis="y", length=0)

    return _figure(
        "memory",
        f"On-chip memory on {machine}",
        "Pixels on the left, weights on the right, on scales of their own. Networks of equal memory share a bar. A "
        "1×N layer needs a window but no line buffer.",
        "; ".join(f"{_told(bar)}, weights {w.total:,}" for bar, w in zip(pixels, weights, strict=True)),
        1.5 + _height(pixels, 0.12),
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
        _stacked(figure.subplots(), bars, "cycles a frame")

    return _figure(
        "causes",
        "Cycles by cause on the line engines",
        "The array computes, or it waits while weights or lines travel between DRAM and the chip.",
        "; ".join(_told(bar) for bar in bars),
        1.25 + _height(bars),
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
        _stacked(figure.subplots(), bars, "cycles")

    return _figure(
        "layers",
        f"What the layers of {entry.name} do on {machine}",
        "Working: the layer issues; starved: it waits for its input; blocked: it waits for a free slot in an output's "
        "FIFO. The layer that works most sets the interval.",
        "; ".join(_told(bar) for bar in bars),
        1.1 + 0.6 * _height(bars),
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
                _line(axes, mean, spread, of[entry.name], entry.name)
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
    return _figure(
        "training",
        "Validation accuracy by epoch",
        "Mean over the seeds, with a band of one standard deviation each way. The accuracy of the last epoch counts.",
        "; ".join(told),
        4.0,
        draw,
    )


def _figure(name: str, title: str, caption: str, told: str, height: float, draw: Callable[[Any], None]) -> Figure:
    purpose = "writing the report"
    matplotlib = need("matplotlib", "figures", purpose)
    make = need("matplotlib.figure", "figures", purpose).Figure
    stream = io.StringIO()
    with matplotlib.rc_context({**RC, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = make(figsize=(WIDTH_INCHES, height))
        draw(figure)
        none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=none)
    return Figure(name, title, caption, _inline(stream.getvalue(), name, title, told))


def _inline(svg: str, name: str, title: str, told: str) -> str:
    """A matplotlib file as markup for a page: ids its own, colours the page's, a title and a description first."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", body, flags=re.DOTALL)
    size = re.search(r'viewBox="[^"]*"', body)
    view = size.group() if size else ""
    body = body[body.index(">") + 1 :]
    used = set(re.findall(r"#([\w-]+)", body))
    body = re.sub(r' id="([^"]*)"', lambda found: found.group() if found.group(1) in used else "", body)
    body = re.sub(r' id="', f' id="{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    body = re.sub(r"'?DejaVu Sans'?", "system-ui, sans-serif", body)
    body = body.replace(INK, "currentColor")
    for colour, value in COLOURS.items():
        body = body.replace(value, f"var(--{colour}, {value})")
    heads = f'<title id="{name}-title">{html.escape(title)}</title>\n<desc id="{name}-desc">{html.escape(told)}</desc>'
    return (
        f'<svg role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc" {view}>\n{heads}{body.strip()}'
    )


def _stacked(axes: Any, bars: Sequence[Bar], label: str, *, first: int = 0) -> None:
    """Horizontal bars, the first on top, with their totals at their ends."""
    palette = list(COLOURS.values())
    rows = range(len(bars))
    left = [0] * len(bars)
    for i, part in enumerate(bars[0].parts, first):
        widths = [bar.parts.get(part, 0) for bar in bars]
        look = {"color": palette[i % len(palette)], "hatch": HATCHES[i % len(HATCHES)]}
        axes.barh(rows, widths, left=left, height=0.68, label=part, edgecolor=INK, linewidth=0.5, **look)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    longest = max(*left, 1)
    for row, bar in enumerate(bars):
        axes.text(bar.total + 0.012 * longest, row, f"{bar.total:,}", va="center", fontsize=9)
    axes.set_yticks(rows, [bar.label for bar in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, 1.16 * longest)
    axes.set_xlabel(label)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.get_major_locator().set_params(nbins=5, integer=True)
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2, columnspacing=1.4, handlelength=1.8
    )


def _line(axes: Any, mean: Sequence[float], spread: Sequence[float], style: Style, label: str) -> None:
    epochs = range(1, len(mean) + 1)
    low = [m - s for m, s in zip(mean, spread, strict=True)]
    high = [m + s for m, s in zip(mean, spread, strict=True)]
    axes.fill_between(epochs, low, high, color=style.colour, alpha=0.12, linewidth=0)
    axes.plot(
        epochs,
        mean,
        color=style.colour,
        linestyle=style.dash,
        linewidth=1.5,
        marker=style.marker,
        markersize=4.5,
        markevery=max(1, len(mean) // 6),
        label=label,
    )


def _plain_log_ticks(axes: Any, positions: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, as whole numbers."""
    low, high = min(positions) / 1.25, max(positions) * 1.25
    ticks = [step * 10**power for power in range(12) for step in (1, 2, 3, 5, 7) if low <= step * 10**power <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)


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


def _height(bars: Sequence[Bar], line: float = 0.0) -> float:
    """Inches that bars want; a second line of a label wants more."""
    return sum(BAR_INCHES + line * bar.label.count("\n") for bar in bars)


def _words(causes: Mapping[str, int]) -> dict[str, int]:
    return {cause.replace("_", " "): cycles for cause, cycles in causes.items()}


def _told(bar: Bar) -> str:
    label = bar.label.replace("\n", " ")
    return f"{label}: " + ", ".join(f"{part} {value:,}" for part, value in bar.parts.items())

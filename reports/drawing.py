"""What the figures of a run are drawn with: colours, bars, curves, and matplotlib's SVG made fit for a page.

Colours are those of Okabe and Ito, told apart by the colour-blind; a marker, a dash or a hatch always goes with them.
In the SVG they are CSS variables, so that a page in dark mode can lighten them.
"""

import html
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hw.errors import need

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


def drawn(name: str, title: str, caption: str, told: str, height: float, draw: Callable[[Any], None]) -> Figure:
    """What `draw` makes of an empty figure of matplotlib's of so many inches; `told` says it in words."""
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


def stacked(axes: Any, bars: Sequence[Bar], label: str, *, first: int = 0) -> None:
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


def curve(axes: Any, mean: Sequence[float], spread: Sequence[float], style: Style, label: str) -> None:
    """A curve over the epochs in a band of its spread."""
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


def log_ticks(axes: Any, positions: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, as whole numbers."""
    low, high = min(positions) / 1.25, max(positions) * 1.25
    ticks = [step * 10**power for power in range(12) for step in (1, 2, 3, 5, 7) if low <= step * 10**power <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)


def height_of(bars: Sequence[Bar], line: float = 0.0) -> float:
    """Inches that bars want; a second line of a label wants more."""
    return sum(BAR_INCHES + line * bar.label.count("\n") for bar in bars)

"""Figures of a sweep for a paper: SVG, PDF or PNG in a column's width, fonts embedded, safe for the colour-blind.

Points that are not on the front are one picture inside a vector file, so that a hundred thousand of them stay small.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hw.errors import BadInput, nearest, need
from hw.files import replacing
from reports.drawing import COLOURS, HATCHES, MARKERS
from reports.sweep import columns
from reports.sweep.page import front_of
from reports.sweep.page_axes import sensitivities
from reports.sweep.page_rows import PERCENT, label
from reports.sweep.result import Mask, Sweep
from reports.sweep.table import EXACT
from reports.timeline import FORMATS

COLUMN_INCHES = 3.5
"""A column of a two-column page."""
POINT = 8
DPI = 300
FEW = 6
"""Networks that are told apart by colour and marker; more of them are drawn alike."""
RC = {
    "pdf.fonttype": 42,  # TrueType: publishers refuse type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "pacemaker",
    "font.family": ["DejaVu Sans"],
    "font.size": POINT,
    "axes.labelsize": POINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": POINT - 1,
    "hatch.linewidth": 0.4,
    "text.parse_math": False,
}
_NO_DATE = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}


def write(folder: Path, sweep: Sweep, front: Mask | None = None) -> list[Path]:
    """The first objective over every other one, and the sensitivities, each in all `FORMATS`.

    Raises:
        BadInput: the folder cannot be written.
        MissingTool: matplotlib is not installed.
    """
    chosen = front_of(sweep) if front is None else front
    first, *others = sweep.space.objectives
    paths = []
    for ending in FORMATS:
        for other in others:
            paths.append(draw_front(folder / f"front-{other}{ending}", sweep, chosen, other, first))
        paths.append(draw_sensitivity(folder / f"sensitivity{ending}", sweep))
    return paths


def draw_front(path: Path, sweep: Sweep, front: Mask, x: str, y: str) -> Path:
    """All exact rows and the front, over two columns; an axis over more than a decade and a half is logarithmic.

    Raises:
        BadInput: no such column, another ending than `FORMATS`, or a folder that cannot be written.
        MissingTool: matplotlib is not installed.
    """
    for name in (x, y):
        if name not in columns.ALL or columns.ALL[name].type != "number":
            raise BadInput(f"figure {path.name}: no column of numbers {name!r}{nearest(name, columns.ALL)}")
    others = (sweep.table["status"] == EXACT) & ~front

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        cloud = _values(sweep, x)[others], _values(sweep, y)[others]
        axes.plot(*cloud, ".", color="0.72", markersize=2, rasterized=True, label="off the front")
        for name, rows, style in _styles(sweep, front):
            values = _values(sweep, x)[rows], _values(sweep, y)[rows]
            axes.plot(*values, linestyle="none", markersize=4.5, markeredgecolor="black", **style, label=name)
        for name, axis in ((x, axes.xaxis), (y, axes.yaxis)):
            _scale(axis, _values(sweep, name)[front | others], name)
        axes.grid(True)
        figure.legend(loc="outside lower center", ncols=1 if _longest(axes) > 28 else 2, handletextpad=0.3)

    return _save(path, 0.78 * COLUMN_INCHES + 0.14 * (1 + len(_styles(sweep, front))), draw)


def draw_sensitivity(path: Path, sweep: Sweep) -> Path:
    """Mean change of every objective over each axis, a bar an axis, machines kind by kind.

    Raises:
        BadInput: another ending than `FORMATS`, or a folder that cannot be written.
        MissingTool: matplotlib is not installed.
    """
    found = [each for each in sensitivities(sweep) if each.bars]
    heights = [0.35 + 0.19 * len(each.bars) for each in found] or [1.0]

    def draw(figure: Any) -> None:
        parts = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for i, (axes, each) in enumerate(zip(parts, found, strict=False)):
            names = [bar.axis for bar in each.bars]
            look = {"color": list(COLOURS.values())[i % 6], "hatch": HATCHES[i % 6], "edgecolor": "black"}
            drawn = axes.barh(names, [bar.share for bar in each.bars], height=0.65, linewidth=0.4, **look)
            axes.bar_label(drawn, [bar.change for bar in each.bars], padding=2, fontsize=POINT - 1)
            axes.set_title(f"{each.objective}, {each.kind}", loc="left", fontsize=POINT)
            axes.set_xlim(0, 1.25)
            axes.invert_yaxis()
            axes.set_xticks([])
            axes.spines["bottom"].set_visible(False)

    return _save(path, sum(heights), draw)


def _styles(sweep: Sweep, front: Mask) -> list[tuple[str, Mask, dict[str, Any]]]:
    """The front by network where these are few, or all of it; each with a colour and a marker of its own."""
    networks = sorted(set(sweep.table["network"][front].tolist()))
    if not 0 < len(networks) <= FEW:
        return [("on the front", front, {"color": COLOURS["vermillion"], "marker": "D", "markeredgewidth": 0.4})]
    palette = list(COLOURS.values())
    return [
        (name, front & (sweep.table["network"] == name), {"color": palette[i], "marker": MARKERS[i], "mew": 0.4})
        for i, name in enumerate(networks)
    ]


def _values(sweep: Sweep, name: str) -> Any:
    return np.asarray(sweep.table[name], np.float64) * (100 if name in PERCENT else 1)


def _scale(axis: Any, values: Any, name: str) -> None:
    unit = "%" if name in PERCENT else columns.ALL[name].unit
    axis.set_label_text(f"{label(name)}{f', {unit}' if unit else ''}")
    known = values[~np.isnan(values)]
    if known.size and known.min() > 0 and known.max() / known.min() > 30:
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_major_formatter("{x:,g}")


def _longest(axes: Any) -> int:
    labels: Sequence[str] = axes.get_legend_handles_labels()[1]
    return max(map(len, labels))


def _save(path: Path, height: float, draw: Callable[[Any], None]) -> Path:
    if path.suffix not in FORMATS:
        raise BadInput(f"{path}: a figure ends in {', '.join(FORMATS)}; {path.suffix or 'nothing'} was found")
    matplotlib = need("matplotlib", "figures", "drawing a sweep")
    make = need("matplotlib.figure", "figures", "drawing a sweep").Figure
    with matplotlib.rc_context(RC):
        figure = make(figsize=(COLUMN_INCHES, height), layout="constrained")
        draw(figure)
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=DPI, metadata=_NO_DATE[path.suffix])
    return path

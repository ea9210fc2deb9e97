"""The timeline as a figure: layers down, time across, what each does in colour and hatch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hw.errors import BadInput, need
from hw.files import replacing
from sim.timeline import Span

STATES = {"working": ("#0072B2", ""), "starved": ("#E69F00", "////"), "blocked": ("#CC79A7", "....")}
"""Colours of Okabe and Ito (2008), and hatches for those who see none of them."""
FORMATS = (".svg", ".png", ".pdf")
ROW_INCHES = 0.24


def draw(path: Path, title: str, spans: Mapping[str, Sequence[Span]], clock_mhz: float) -> None:
    """Write a figure in the format of the path's ending.

    Raises:
        BadInput: an ending other than svg, png and pdf, or a folder that cannot be written.
        MissingTool: matplotlib is not installed.
    """
    if path.suffix not in FORMATS:
        raise BadInput(f"{path}: a figure ends in {', '.join(FORMATS)}; {path.suffix or 'nothing'} was found")
    matplotlib = need("matplotlib", "figures", "drawing a timeline")
    figure_module = need("matplotlib.figure", "figures", "drawing a timeline")
    with matplotlib.rc_context({"svg.hashsalt": "pacemaker", "hatch.linewidth": 0.4, "font.size": 8}):
        figure = figure_module.Figure(figsize=(9, 1.1 + ROW_INCHES * len(spans)), layout="constrained")
        axes = figure.subplots()
        for row, found in enumerate(spans.values()):
            for state, (colour, hatch) in STATES.items():
                bars = [(span.begin, span.end - span.begin) for span in found if span.state == state]
                style = {"facecolors": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
                axes.broken_barh(bars, (row - 0.4, 0.8), label=state if row == 0 else None, **style)
        axes.set_yticks(range(len(spans)), list(spans))
        axes.invert_yaxis()
        axes.set_xlabel(f"cycles at {clock_mhz:g} MHz")
        axes.margins(x=0.01, y=0.01)
        axes.set_title(title, loc="left")
        figure.legend(loc="outside upper right", ncols=len(STATES), frameon=False)
        with replacing(path) as temporary:
            metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}[path.suffix]
            figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata=metadata)

"""A sweep as one page: self-contained, no network access, under 6 MB whatever the number of its rows.

Python chooses rows, simulates the front's candidates once more and writes sentences; the template lays them out;
`sweep.js` draws with Bokeh, whose JavaScript comes from the installed package.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources as package
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np

from hw.errors import BadInput, need
from hw.files import write_text
from reports.sweep import page_axes, page_details, page_files, page_lines, page_rows, page_words, pareto
from reports.sweep.page_axes import Axes
from reports.sweep.page_files import Files
from reports.sweep.page_lines import Pair
from reports.sweep.page_rows import Shown
from reports.sweep.result import Mask, Sweep, eligible
from reports.templates import filled
from reports.words import number

NAME = "sweep.html"
MOST_BYTES = 6_000_000
BESIDE = ("rows.parquet", "rows.csv")
BOKEH = ("bokeh.min.js", "bokeh-api.min.js")
PARTS = ("sweep_base.js", "sweep_front.js", "sweep_candidate.js", "sweep_table.js", "sweep.js")
FEWER = (page_rows.MOST_OTHERS, 2000, 500, 0)
"""Others that are tried one after another until the page is small enough."""


@dataclass(frozen=True)
class Script:
    """A script of the page and its hash, the only ones that the browser may run."""

    text: str

    @property
    def source(self) -> str:
        """As a Content-Security-Policy names it."""
        digest = hashlib.sha256(self.text.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"


@dataclass(frozen=True)
class Page:
    """All that the template lays out."""

    sweep: Sweep
    asked: tuple[tuple[str, str], ...]
    verdict: str
    findings: tuple[str, ...]
    reasons: tuple[tuple[str, str, str], ...]
    shown: str
    detailed: str
    screening: str
    pairs: tuple[Pair, ...]
    pairs_there: int
    sensitivity: tuple[Axes, ...]
    provenance: tuple[tuple[str, str, bool], ...]
    beside: tuple[tuple[str, str], ...]
    scripts: tuple[Script, ...]
    data: str


def write(sweep: Sweep, path: Path, front: Mask | None = None, beside: Sequence[str] = BESIDE) -> Path:
    """Write the page, and beside it the folder of files that repeat its candidates.

    Raises:
        BadInput: it cannot be written, or it cannot be made small enough.
        MissingTool: jinja2 or bokeh is not installed.
    """
    chosen = front_of(sweep) if front is None else front
    files = _files(sweep, chosen, path)
    text = render(sweep, chosen, beside=beside, files=files)
    page_files.write(files, path.parent)
    write_text(path, text)
    return path


def render(
    sweep: Sweep, front: Mask | None = None, *, beside: Sequence[str] = BESIDE, files: Files | None = None
) -> str:
    """The page as text. `beside` are files of all rows that it links to by name.

    Without `files` no command repeats a candidate. The front is that of `front_of` if none is given.

    Raises:
        BadInput: even without other rows than the front's it has more than `MOST_BYTES`.
        MissingTool: jinja2 or bokeh is not installed.
    """
    chosen = front_of(sweep) if front is None else front
    scripts = (*bokeh(), own_script())
    shown = page_rows.choose(sweep, chosen, near_of(sweep, chosen))
    places = page_rows.detailed(sweep, shown, page_details.MOST)
    full = page_details.details(sweep, shown.rows, places, files.commands if files else {})
    prepared = _prepare(sweep, chosen, beside, scripts, detailed_told(shown, len(full)))
    for others in FEWER:
        shown = page_rows.choose(sweep, chosen, near_of(sweep, chosen), others)
        text = _filled(prepared, shown, _data(sweep, shown, full))
        if len(text.encode()) <= MOST_BYTES:
            return text
    told = f"its page has {number(len(text.encode()))} bytes, at most {number(MOST_BYTES)} are wanted"
    raise BadInput(f"sweep {sweep.space.name}: {told}; fewer objectives make a smaller front")


def front_of(sweep: Sweep) -> Mask:
    """Which rows nobody dominates among those that are exact and keep all constraints."""
    allowed = eligible(sweep)
    found = np.zeros(len(sweep.table), np.bool_)
    found[allowed] = pareto.front(sweep.values()[allowed], [objective.better for objective in sweep.objectives])
    return found


def near_of(sweep: Sweep, front: Mask) -> Mask:
    """Rows beside the front (`pareto.neighbours`) that are exact and keep all constraints."""
    allowed = eligible(sweep) | front
    found = np.zeros(len(sweep.table), np.bool_)
    better = [objective.better for objective in sweep.objectives]
    found[allowed] = pareto.neighbours(sweep.values()[allowed], better, front[allowed], most=page_rows.MOST_NEIGHBOURS)
    return found


def bokeh() -> tuple[Script, ...]:
    """The plotting library as the installed package brings it.

    Raises:
        MissingTool: bokeh is not installed.
    """
    folder = need("bokeh.util.paths", "sweep", "the page of a sweep").bokehjs_path() / "js"
    return tuple(Script(_closed((folder / name).read_text(encoding="utf-8"))) for name in BOKEH)


def _files(sweep: Sweep, front: Mask, path: Path) -> Files:
    shown = page_rows.choose(sweep, front, np.zeros_like(front), 0)
    places = page_rows.detailed(sweep, shown, page_details.MOST)
    return page_files.plan(sweep, shown.rows[places].tolist(), f"{path.stem}-candidates", path.parent)


def _prepare(sweep: Sweep, front: Mask, beside: Sequence[str], scripts: tuple[Script, ...], detailed: str) -> Page:
    """Everything but the rows, which are chosen until the page is small enough."""
    pairs, there = page_lines.pairs(sweep, front)
    return Page(
        sweep=sweep,
        asked=page_words.asked(sweep),
        verdict=page_words.verdict(sweep, front),
        findings=page_words.findings(sweep, front),
        reasons=page_words.reasons(sweep),
        shown="",
        detailed=detailed,
        screening=page_words.screening(sweep),
        pairs=tuple(pairs),
        pairs_there=there,
        sensitivity=page_axes.sensitivities(sweep),
        provenance=tuple(page_words.provenance(sweep)),
        beside=tuple((f"./{quote(name)}", name) for name in beside),
        scripts=scripts,
        data="",
    )


def detailed_told(shown: Shown, count: int) -> str:
    """Which designs of the front are shown in full detail."""
    size, different = len(shown.front), len(set(shown.firsts))
    if not size:
        return "No design is shown in full detail, as none is on the front."
    which = f"{number(count)} of the front's {number(size)} designs"
    if count == size:
        which = "all of the front"
    elif different < size:
        some = "each" if count == different else number(count)
        which = f"one design for {some} of the front's {page_rows.counted(different, 'distinct point')}"
    return f"In full detail: {which}, simulated once more for this page. Any other design shows its row."


def _data(sweep: Sweep, shown: Shown, full: Sequence[page_details.Detail]) -> str:
    """What the script reads, as JSON that no HTML parser takes for markup."""
    networks = dict.fromkeys(each.network for each in full)
    data = {
        "name": sweep.space.name,
        "objectives": list(sweep.space.objectives),
        "columns": page_rows.texts(sweep),
        "rows": page_rows.payload(sweep, shown),
        "groups": page_rows.packed(list(shown.groups)),
        "firsts": shown.firsts,
        "details": full,
        "networks": {key: page_details.network_of(sweep, key) for key in networks},
    }
    text = json.dumps(msgspec.to_builtins(data), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _filled(page: Page, shown: Shown, data: str) -> str:
    return filled(NAME, page=replace(page, shown=shown.note, data=data))


def own_script() -> Script:
    """The page's own script: its parts in one scope."""
    folder = package.files("reports") / "templates"
    text = "\n".join((folder / name).read_text(encoding="utf-8") for name in PARTS)
    return Script(_closed(f'"use strict";\n(() => {{\n{text}}})();'))


def _closed(script: str) -> str:
    """A script that stays one inside a page: it must not name its own end."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")

"""What was asked and what was found, in sentences that the rows carry."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from reports import html
from reports.figures import percent
from reports.sweep import columns
from reports.sweep.axes import Values
from reports.sweep.columns import Column
from reports.sweep.page_rows import PERCENT, label
from reports.sweep.result import Mask, Sweep, eligible
from reports.sweep.table import BOUND, EXACT, FAILED, UNFIT

MOST_REASONS = 12
MOST_VALUES = 8


def asked(sweep: Sweep) -> tuple[tuple[str, str], ...]:
    """The space: terms and what they are."""
    space = sweep.space
    told = [("Wanted", "; ".join(_wanted(objective) for objective in sweep.objectives))]
    told.append(("Constraints", "; ".join(space.constraints) or "none"))
    told.append(("Networks", _networks(sweep)))
    told += [
        (f"Machines: {each.kind.replace('_', ' ')}", f"{html.number(len(each))}, {axes(each.axes)}{_base(each.base)}")
        for each in space.machines
    ]
    told.append(("Search", _search(sweep)))
    if space.energy:
        told.append(("Energy", f"estimated by the table {space.energy}"))
    return tuple(told)


def _wanted(objective: Column) -> str:
    unit = f" ({objective.unit})" if objective.unit else ""
    return f"{objective.better} {label(objective.name)}{unit}"


def _base(base: str) -> str:
    return f"; the rest as {base}" if base else ""


def _networks(sweep: Sweep) -> str:
    networks = sweep.space.networks
    if networks.given:
        return f"{html.number(len(networks.given))} given: {_listed(networks.given)}"
    told = f"{html.number(len(sweep.space.designs))} of the recipe {networks.recipe}, {axes(networks.axes)}"
    return told + (", and the N×N network of each" if networks.teachers else "")


def _search(sweep: Sweep) -> str:
    search, halving = sweep.space.search, sweep.space.networks.halving
    told = "all networks"
    if search.method != "exhaustive":
        told = f"networks chosen by {search.method}, {html.number(search.trainings)} trainings, seed {search.seed}"
    if halving is not None:
        rungs = zip(halving.epochs, halving.seeds, strict=True)
        told += "; successive halving: " + ", then ".join(f"{e} epochs x {s} seeds" for e, s in rungs)
        told += f", {percent(halving.keep)} % go on"
    return f"{told}; all machines"


def axes(given: dict[str, Values]) -> str:
    """Axes with their values, cut where there are many."""
    told = []
    for name, values in given.items():
        every = values if isinstance(values, tuple) else values.values
        told.append(f"{name} {_listed(every)}")
    return "; ".join(told) or "no axes"


def _listed(values: Sequence[object]) -> str:
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    if len(shown) > MOST_VALUES:
        shown = [*shown[:3], f"… ({len(shown) - 4} more)", shown[-1]]
    return ", ".join(shown)


def verdict(sweep: Sweep, front: Mask) -> str:
    """How many designs, and how large the front is."""
    count, size = len(sweep.table), int(front.sum())
    networks = len(set(sweep.table["network_key"].tolist()))
    told = f"Of {_count(count, 'design')}, {_count(networks, 'network')} on {_machines(sweep)}, "
    if not size:
        return told + "none is on the front: no simulated design keeps all constraints."
    objectives = [label(objective.name) for objective in sweep.objectives]
    verb = "is" if size == 1 else "are"
    if len(objectives) == 1:
        return f"{told}{_count(size, 'design')} {verb} on the front: none has a better {objectives[0]}."
    where = f"{', '.join(objectives[:-1])} and {objectives[-1]}"
    return f"{told}{_count(size, 'design')} {verb} on the front: no other is as good in {where} and better in one."


def _machines(sweep: Sweep) -> str:
    return _count(len(set(sweep.table["machine_key"].tolist())), "machine")


def _count(count: int, name: str) -> str:
    return f"{html.number(count)} {name}{'s' * (count != 1)}"


def findings(sweep: Sweep, front: Mask) -> tuple[str, ...]:
    """States of all rows, the constraints, then the best of the front by each objective."""
    found = [_states(sweep)]
    if sweep.space.constraints:
        exact = int((sweep.table["status"] == EXACT).sum())
        kept = int(eligible(sweep).sum())
        found.append(f"Of the {_count(exact, 'simulated design')}, {html.number(kept)} keep all constraints.")
    found += [_best(sweep, front, objective) for objective in sweep.objectives if front.any()]
    return tuple(found)


def _states(sweep: Sweep) -> str:
    states = Counter(sweep.table["status"].tolist())
    words = {
        EXACT: "simulated exactly",
        BOUND: "screened out, because a simulated design is at least as good as their bounds",
        UNFIT: "too large for their machine",
        FAILED: "failed",
    }
    told = [f"{html.number(states[state])} {text}" for state, text in words.items() if states[state]]
    return f"{'; '.join(told)}."


def _best(sweep: Sweep, front: Mask, objective: Column) -> str:
    rows = np.flatnonzero(front)
    values = sweep.table[objective.name][rows]
    best = rows[np.argmin(values) if objective.better == "less" else np.argmax(values)]
    way = "Least" if objective.better == "less" else "Highest"
    told = f"{way} {label(objective.name)} on the front: {shown(sweep, objective.name, best)}"
    others = [name for name in sweep.space.objectives if name != objective.name]
    beside = ", ".join(f"{label(name)} {shown(sweep, name, best)}" for name in others)
    alike = int((values == sweep.table[objective.name][best]).sum()) - 1
    also = f"; {html.number(alike)} more reach{'es' * (alike == 1)} it" if alike else ""
    where = f"{sweep.table['network'][best]} on {sweep.table['machine'][best]}"
    return f"{told}, by {where}{f' ({beside})' if beside else ''}{also}."


def shown(sweep: Sweep, name: str, row: int) -> str:
    """A figure of a row with its unit."""
    value = float(sweep.table[name][row])
    return figure(name, value, _unit(name)) + (_over_seeds(sweep, row) if name == "accuracy" else "")


def figure(name: str, value: float, unit: str) -> str:
    """A value of a column with its unit."""
    if np.isnan(value):
        return "unknown"
    if name in PERCENT:
        return f"{percent(value)} %"
    if name == "latency_ms":
        return html.duration(value)
    told = html.number(value) if value == int(value) or abs(value) >= 1000 else f"{value:.4g}"
    return f"{told} {unit}".strip()


def _unit(name: str) -> str:
    return columns.ALL[name].unit


def _over_seeds(sweep: Sweep, row: int) -> str:
    seeds = sweep.table["seeds"][row] if "seeds" in sweep.table.columns else float("nan")
    if np.isnan(seeds):
        return ""
    if seeds == 1:
        return " (one seed)"
    deviation = sweep.table["accuracy_deviation"][row] if "accuracy_deviation" in sweep.table.columns else float("nan")
    spread = "" if np.isnan(deviation) else f", standard deviation {percent(deviation)}"
    return f" (mean of {seeds:.0f} seeds{spread})"


def reasons(sweep: Sweep) -> tuple[tuple[str, str, str], ...]:
    """Why rows have no exact figures: state, reason, how many; the most frequent ones and a row for the rest."""
    counted = Counter(
        (state, reason)
        for state, reason in zip(sweep.table["status"].tolist(), sweep.table["reason"].tolist(), strict=True)
        if state != EXACT
    ).most_common()
    told = [(state, reason or "no reason kept", html.number(count)) for (state, reason), count in counted]
    if len(told) <= MOST_REASONS:
        return tuple(told)
    rest = sum(count for _, count in counted[MOST_REASONS:])
    return (*told[:MOST_REASONS], ("", f"{len(told) - MOST_REASONS} other reasons", html.number(rest)))


def provenance(sweep: Sweep) -> Iterator[tuple[str, str, bool]]:
    """Terms, what they are, and whether that is code."""
    record = sweep.provenance
    yield "Command", record.command or "not recorded", bool(record.command)
    yield "Started", record.started, False
    yield "Host", f"{record.host}, {_count(record.cores, 'core')}", False
    yield "Folder", record.folder, True
    yield "Code", record.code_hash or "no hash recorded", bool(record.code_hash)
    seeds = sorted({curve.seed for curves in sweep.curves.values() for curve in curves})
    yield "Seeds", ", ".join(map(str, seeds)) or "none: nothing was trained", False
    yield "Versions", ", ".join(f"{name} {version}" for name, version in record.versions.items()), False
    yield "Seconds", ", ".join(f"{step} {seconds:,.1f}" for step, seconds in record.seconds.items()), False

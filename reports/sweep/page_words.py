"""What was asked and what was found, in sentences that the rows carry."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from reports.sweep import columns
from reports.sweep.axes import Values
from reports.sweep.columns import Column
from reports.sweep.constraints import Constraint
from reports.sweep.page_rows import PERCENT, counted, label, listed, placed, points
from reports.sweep.result import Mask, Sweep, keeps
from reports.sweep.table import BOUND, EXACT, FAILED, UNFIT
from reports.words import duration, number, percent

MOST_REASONS = 12
MOST_VALUES = 8
DOMINATED, BREAKS, DROPPED = "its bounds are dominated by ", "its bounds break ", "halving: "
UNKNOWN = " is not known"
"""How the reasons of rows without exact figures begin, or end (`reports.sweep.points`, `reports.sweep.halving`)."""


def asked(sweep: Sweep) -> tuple[tuple[str, str], ...]:
    """The space: terms and what they are."""
    space = sweep.space
    told = [("Wanted", "; ".join(_wanted(objective) for objective in sweep.objectives))]
    told.append(("Constraints", "; ".join(space.constraints) or "none"))
    told.append(("Networks", _networks(sweep)))
    told += [
        (f"Machines: {each.kind.replace('_', ' ')}", f"{number(len(each))}, {axes(each.axes)}{_base(each.base)}")
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
        return f"{number(len(networks.given))} given: {_listed(networks.given)}"
    told = f"{number(len(sweep.space.designs))} of the recipe {networks.recipe}, {axes(networks.axes)}"
    return told + ("; the N×N network of each size is among them" if networks.teachers else "")


def _search(sweep: Sweep) -> str:
    search, halving = sweep.space.search, sweep.space.networks.halving
    told = "all networks"
    if search.method != "exhaustive":
        told = f"networks chosen by {search.method}, {counted(search.trainings, 'training')}, seed {search.seed}"
    if halving is not None:
        rungs = zip(halving.epochs, halving.seeds, strict=True)
        told += "; successive halving: " + ", then ".join(
            f"{counted(e, 'epoch')} x {counted(s, 'seed')}" for e, s in rungs
        )
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
    designs, size = sweep.table.rows(placed(sweep)), int(front.sum())
    networks, machines = (len(set(designs[key].tolist())) for key in ("network_key", "machine_key"))
    told = f"Of {counted(len(designs), 'design')}, {counted(networks, 'network')} on {counted(machines, 'machine')}, "
    if not size:
        return f"{told}none is on the front: {_no_front(sweep)}."
    objectives = [label(objective.name) for objective in sweep.objectives]
    told += f"{front_told(sweep, front)} {'is' if size == 1 else 'are'} on the front: "
    if len(objectives) == 1:
        return f"{told}none has a better {objectives[0]}."
    return f"{told}no other is as good in {listed(objectives, 'and')} and better in one."


def front_told(sweep: Sweep, front: Mask) -> str:
    """The size of a front; where designs are as good as each other also how many points they are."""
    size, different = int(front.sum()), len(set(points(sweep, np.flatnonzero(front)).tolist()))
    if different == size:
        return counted(size, "design")
    return f"{counted(different, 'distinct point')} by {counted(size, 'design')}"


def _no_front(sweep: Sweep) -> str:
    exact = sweep.table["status"] == EXACT
    if not exact.any():
        return "no design was simulated"
    unknown = [label(o.name) for o in sweep.objectives if np.isnan(sweep.table[o.name][exact]).all()]
    if unknown:
        return f"of no simulated design {listed(unknown, 'or')} is known"
    return "no simulated design keeps all constraints"


def findings(sweep: Sweep, front: Mask) -> tuple[str, ...]:
    """States of all rows, the constraints, then the best of the front by each objective."""
    found = [_states(sweep)]
    exact = int((sweep.table["status"] == EXACT).sum())
    if sweep.space.constraints and exact:
        kept = int(np.logical_and.reduce([_exact_keeps(sweep, each) for each in sweep.space.kept]).sum())
        verb = "keeps" if kept == 1 else "keep"
        found.append(f"Of the {counted(exact, 'simulated design')}, {number(kept)} {verb} all constraints.")
    found += [_best(sweep, front, objective) for objective in sweep.objectives if front.any()]
    return tuple(found)


def _exact_keeps(sweep: Sweep, constraint: Constraint) -> Mask:
    kept: Mask = (sweep.table["status"] == EXACT) & keeps(sweep.table, constraint)
    return kept


def _states(sweep: Sweep) -> str:
    """How many rows there are of each state, and of each kind of reason where they were left out."""
    designs = placed(sweep)
    states = Counter(sweep.table["status"][designs].tolist())
    networks = Counter(sweep.table["status"][~designs].tolist())
    told = [f"{number(states[EXACT])} simulated exactly"] if states[EXACT] else []
    told += [f"{number(count)} left out, because {why}" for why, count in left_out(sweep)]
    told += [f"{number(states[UNFIT])} too large for their machine"] if states[UNFIT] else []
    told += [f"{number(states[FAILED])} failed"] if states[FAILED] else []
    for state, what in ((BOUND, "dropped by halving"), (FAILED, "failed")):
        if networks[state]:
            told.append(f"{counted(networks[state], 'network')} {what}, and {_is(networks[state])} on no machine")
    return f"{'; '.join(told)}."


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def left_out(sweep: Sweep) -> list[tuple[str, int]]:
    """Why designs were left out before any simulation, and how many, by the kinds of their rows' reasons."""
    chosen = placed(sweep) & (sweep.table["status"] == BOUND)
    return Counter(map(_kind, sweep.table["reason"][chosen].tolist())).most_common()


def _kind(reason: str) -> str:
    if reason.startswith(DOMINATED):
        return "a simulated design is at least as good as their bounds in every objective and better in one"
    if reason.startswith(BREAKS):
        return f"their bounds break {reason.removeprefix(BREAKS)}"
    if reason.endswith(UNKNOWN):
        return f"their {label(reason.removeprefix('its ').removesuffix(UNKNOWN))}{UNKNOWN}"
    return reason or "of a reason that was not kept"


def screening(sweep: Sweep) -> str:
    """What a row says that was left out."""
    told = []
    kinds = [why for why, _ in left_out(sweep)]
    if kinds:
        told.append(
            "A design marked “bound” was not simulated; its figures here are lower bounds of what it needs, and upper "
            f"bounds where more is better. Each row says why: {listed([f'because {why}' for why in kinds], 'or')}."
        )
    else:
        told.append("No design was left out by its bounds.")
    if sweep.space.networks.halving:
        told.append("A network that halving dropped was on no machine, and has a row without figures that says so.")
    return " ".join(told)


def _best(sweep: Sweep, front: Mask, objective: Column) -> str:
    rows = np.flatnonzero(front)
    values = sweep.table[objective.name][rows]
    best = rows[np.argmin(values) if objective.better == "less" else np.argmax(values)]
    way = "Least" if objective.better == "less" else "Highest"
    told = f"{way} {label(objective.name)} on the front: {shown(sweep, objective.name, best)}"
    others = [name for name in sweep.space.objectives if name != objective.name]
    beside = ", ".join(f"{label(name)} {shown(sweep, name, best)}" for name in others)
    alike = int((values == sweep.table[objective.name][best]).sum()) - 1
    also = f"; {number(alike)} more reach{'es' * (alike == 1)} it" if alike else ""
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
        return duration(value)
    told = number(value) if value == int(value) or abs(value) >= 1000 else f"{value:.4g}"
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
    parts = (sweep.table["status"].tolist(), sweep.table["reason"].tolist(), placed(sweep).tolist())
    often = Counter(
        (state if design else "network dropped" if state == BOUND else f"network {state}", reason)
        for state, reason, design in zip(*parts, strict=True)
        if state != EXACT
    ).most_common()
    told = [(state, reason or "no reason kept", number(count)) for (state, reason), count in often]
    if len(told) <= MOST_REASONS:
        return tuple(told)
    rest = sum(count for _, count in often[MOST_REASONS:])
    return (*told[:MOST_REASONS], ("", counted(len(told) - MOST_REASONS, "other reason"), number(rest)))


def provenance(sweep: Sweep) -> Iterator[tuple[str, str, bool]]:
    """Terms, what they are, and whether that is code."""
    record = sweep.provenance
    yield "Command", record.command or "not recorded", bool(record.command)
    yield "Started", record.started, False
    yield "Host", f"{record.host}, {counted(record.cores, 'core')}", False
    yield "Folder", record.folder, True
    yield "Code", record.code_hash or "no hash recorded", bool(record.code_hash)
    seeds = sorted({curve.seed for curves in sweep.curves.values() for curve in curves})
    yield "Seeds", ", ".join(map(str, seeds)) or "none: nothing was trained", False
    yield "Versions", ", ".join(f"{name} {version}" for name, version in record.versions.items()), False
    yield "Seconds", ", ".join(f"{step} {seconds:,.1f}" for step, seconds in record.seconds.items()), False

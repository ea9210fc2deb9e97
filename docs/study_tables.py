"""Fills the tables of docs/study.md and draws its figures from the study's CSV files: `python docs/study_tables.py`.

A table stands between two comments in docs/study.md, `<!-- begin NAME -->` and `<!-- end NAME -->`; what is between
them is written anew. Nothing is trained here, so that it takes seconds.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev

import matplotlib

from distill import checkpoint
from distill import data as data_sets
from distill import recipe as recipes
from distill.recipe import Recipe, Stage
from hw.accelerator import machine
from hw.network import Network, Shape
from hw.passes import executed
from hw.trace import trace
from reports.drawing import COLOURS
from reports.statistics import Paired, holm, paired, spreads_differ
from sim.run import simulate

matplotlib.use("Agg")
HERE = Path(__file__).parent
STUDY = HERE / "study"
SCREENS = {"screen-skip": "rows skipped", "screen-keep": "rows kept", "screen-rows": "rows kept, head knows its rows"}
FINALS = ("decide", "carry-deep", "carry-large")
MACHINES = ("pipeline-256", "line-64")
ALONE, PLAIN, TUNED = "ce", "kd", "kd-tuned"
Accuracies = dict[str, list[float]]


def main() -> None:
    """Fill every table whose data is there."""
    page = HERE / "study.md"
    text = page.read_text()
    for name, lines in tables():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text = pattern.sub(lambda found, lines=lines: found[1] + "\n".join(lines) + "\n" + found[2], text)
    page.write_text(text)
    draw()


def tables() -> Iterable[tuple[str, list[str]]]:
    """Names and lines of all tables whose data is there."""
    for part in SCREENS:
        if (STUDY / f"{part}.csv").is_file():
            yield part, screen_table(part)
    if (STUDY / "tune.csv").is_file():
        yield "tune", tune_table()
    for part in FINALS:
        if (STUDY / f"{part}.csv").is_file():
            yield part, final_table(part)
            yield f"{part}-pairs", pairs_table(part)
    yield "cost", cost_table()
    for path in sorted(STUDY.glob("why-*.csv")):
        yield path.stem, why_table(path)


def accuracies(part: str, split: str) -> Accuracies:
    """Stage -> accuracy of each seed on a split, `validation` or `test`."""
    found: Accuracies = defaultdict(list)
    with (STUDY / f"{part}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["stage"]].append(float(row[split]))
    return dict(found)


def percent(value: float) -> str:
    """In per cent with two digits."""
    return f"{100 * value:.2f}"


def points(value: float) -> str:
    """A difference in percentage points, signed."""
    return f"{100 * value:+.2f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *(f"| {' | '.join(row)} |" for row in rows)]


def screen_table(part: str) -> list[str]:
    """Students of a screen, best first, with what their pacemaker reached itself."""
    recipe, found = recipes.load(str(STUDY / f"{part}.yaml")), accuracies(part, "validation")
    alone, plain = fmean(found[ALONE]), fmean(found[PLAIN])
    students = sorted((s for s in recipe.stages if s.kind == "row"), key=lambda s: -fmean(found[s.name]))
    rows = [
        (
            f"`{stage.name}`",
            taught_by(stage, found),
            " ".join(percent(value) for value in found[stage.name]),
            percent(fmean(found[stage.name])),
            points(fmean(found[stage.name]) - alone),
            points(fmean(found[stage.name]) - plain),
        )
        for stage in students
    ]
    teacher = f"Teacher: {percent(fmean(found['teacher']))} %."
    return [teacher, "", *table(("student", "learns from", "seeds, %", "mean, %", "over CE", "over KD"), rows)]


def taught_by(stage: Stage, found: Accuracies) -> str:
    """The teachers of a stage with their own accuracy."""
    if not stage.teachers:
        return "labels" if stage.start is None else f"labels, starts from {stage.start}"
    told = ", ".join(f"{name} ({percent(fmean(found[name]))})" for name in stage.teachers)
    return told if stage.start is None else f"{told}, starts from {stage.start}"


def tune_table() -> list[str]:
    """Temperature by alpha, a table a method; the stage's name ends with both: kd-t4-a5 is T 4, alpha 0.5."""
    found = accuracies("tune", "validation")
    trials = {match: values for name, values in found.items() if (match := re.fullmatch(r"(.+)-t(\d+)-a(\d+)", name))}
    methods = list(dict.fromkeys(match[1] for match in trials))
    alphas = sorted({int(match[3]) for match in trials})
    lines = []
    for method in methods:
        by = {(int(match[2]), int(match[3])): fmean(values) for match, values in trials.items() if match[1] == method}
        best = max(by, key=lambda key: by[key])
        rows = [
            (str(t), *(f"**{percent(by[t, a])}**" if (t, a) == best else percent(by[t, a]) for a in alphas))
            for t in sorted({key[0] for key in by})
        ]
        lines += [*table((f"`{method}`: T", *(f"alpha {a / 10:g}" for a in alphas)), rows), ""]
    return lines[:-1]


def students_of(part: str) -> list[Stage]:
    """The students of a part that are compared, in the recipe's order."""
    recipe = recipes.load(str(STUDY / f"{part}.yaml"))
    return [stage for stage in recipe.stages if stage.kind == "row" and not re.fullmatch(r"ce-\d", stage.name)]


def final_table(part: str) -> list[str]:
    """Test accuracies over the fresh seeds, and whether the spread is plain distillation's."""
    found, held = accuracies(part, "test"), accuracies(part, "validation")
    baseline = TUNED if TUNED in found else PLAIN
    rows = []
    for name in ("teacher", *(stage.name for stage in students_of(part))):
        values = found[name]
        spread = "" if name in ("teacher", baseline) else f"{spreads_differ(values, found[baseline]):.2f}"
        rows.append(
            (
                f"`{name}`",
                str(len(values)),
                percent(fmean(values)),
                percent(stdev(values)),
                f"{percent(min(values))} to {percent(max(values))}",
                percent(fmean(held[name])),
                spread,
            )
        )
    heads = (
        "network",
        "n",
        "test, mean %",
        "deviation",
        "range",
        "validation, mean %",
        f"spread against {baseline}, p",
    )
    return table(heads, rows)


def compared(part: str) -> list[Paired]:
    """Every student against cross entropy and both forms of plain distillation, on test images."""
    found = accuracies(part, "test")
    names = [stage.name for stage in students_of(part)]
    baselines = [name for name in (ALONE, PLAIN, TUNED) if name in names]
    return [
        paired(name, other, found[name], found[other])
        for i, name in enumerate(names)
        for other in baselines
        if name != other and not (name in baselines and names.index(other) > i)
    ]


def pairs_table(part: str) -> list[str]:
    """Paired differences with intervals, p corrected by Holm over the whole table."""
    found = compared(part)
    corrected = holm({f"{p.stage} {p.baseline}": p.p for p in found if p.p is not None})
    rows = []
    for pair in found:
        p = corrected.get(f"{pair.stage} {pair.baseline}")
        interval = "" if pair.low is None or pair.high is None else f"{points(pair.low)} to {points(pair.high)}"
        rows.append(
            (f"`{pair.stage}` - `{pair.baseline}`", str(pair.seeds), points(pair.mean), interval, _p(p)),
        )
    return table(("difference", "n", "mean, points", "95 % interval", "p (Holm)"), rows)


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def cost_table() -> list[str]:
    """Every row policy's student, and the teacher: what they cost, beside what they reach on validation images."""
    rows = []
    for part, words in SCREENS.items():
        if not (STUDY / f"{part}.csv").is_file():
            continue
        recipe, found = recipes.load(str(STUDY / f"{part}.yaml")), accuracies(part, "validation")
        best = max((s for s in recipe.stages if s.kind == "row"), key=lambda s: fmean(found[s.name]))
        if not rows:
            rows.append(cost_row("3x3 teacher", recipe, recipe.stage("teacher"), fmean(found["teacher"]), ""))
        alone = percent(fmean(found[ALONE]))
        rows.append(cost_row(f"1x3, {words}", recipe, best, fmean(found[best.name]), f"{alone} alone; `{best.name}`"))
    heads = ["network", "best, %", "of whom", "parameters", "executed MACs"]
    for name in MACHINES:
        heads += [f"line memory, bytes, {name}", f"latency, cycles, {name}"]
    return table(heads, rows)


def cost_row(name: str, recipe: Recipe, stage: Stage, accuracy: float, told: str) -> tuple[str, ...]:
    """A network's cost on the machines."""
    network = architecture(recipe, stage)
    found = [simulate(network, machine(each)) for each in MACHINES]
    on = [f"{value:,}" for result in found for value in (result.line_memory_bytes, result.latency_cycles)]
    return name, percent(accuracy), told, f"{network.parameters:,}", f"{executed(network).macs:,}", *on


def architecture(recipe: Recipe, stage: Stage) -> Network:
    """The network of a stage, untrained."""
    data = data_sets.load(recipe.data)
    channels, height, width = data.shape
    module = checkpoint.fresh(recipe, stage, recipe.student.heads[0], data.shape, data.classes)
    return trace(module, Shape(height, width, channels), stage.name).network


def why_table(path: Path) -> list[str]:
    """What the networks know: means over seeds."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["stage"] for row in rows))
    shown = []
    for name in names:
        mean = {key: fmean(float(row[key]) for row in rows if row["stage"] == name) for key in rows[0] if "_" in key}
        shown.append(
            (
                f"`{name}`",
                percent(mean["train_accuracy"]),
                percent(mean["held_accuracy"]),
                f"{mean['train_cross_entropy']:.3f}",
                f"{mean['held_cross_entropy']:.3f}",
                f"{mean['train_entropy']:.2f}",
                f"{mean['train_entropy_at_4']:.2f}",
                percent(mean["held_as_teacher"]),
            )
        )
    heads = (
        "network",
        "training, %",
        "validation, %",
        "CE, training",
        "CE, validation",
        "entropy, training",
        "at T 4",
        "says what the teacher says, %",
    )
    return table(heads, shown)


def draw() -> None:
    """The final comparisons as dots, a seed each, with the mean; docs/study/<part>.svg."""
    from matplotlib import pyplot

    for part in FINALS:
        if not (STUDY / f"{part}.csv").is_file():
            continue
        found, names = accuracies(part, "test"), [stage.name for stage in students_of(part)]
        figure, axes = pyplot.subplots(figsize=(7.0, 0.42 * len(names) + 0.9), constrained_layout=True)
        for y, name in enumerate(reversed(names)):
            values = [100 * value for value in found[name]]
            axes.plot(values, [y] * len(values), "o", color=COLOURS["blue"], alpha=0.5, markersize=5)
            axes.plot([fmean(values)], [y], "|", color=COLOURS["vermillion"], markersize=18, markeredgewidth=2)
        axes.axvline(100 * fmean(found[ALONE]), color="0.6", linewidth=0.8, linestyle="--")
        axes.set_yticks(range(len(names)), list(reversed(names)))
        axes.set_xlabel("test accuracy, %: a dot a seed, the bar their mean; dashed: the student alone")
        figure.savefig(STUDY / f"{part}.svg", metadata={"Date": None})
        pyplot.close(figure)


if __name__ == "__main__":
    main()

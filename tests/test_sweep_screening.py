"""What screening leaves exact has the very front of all points, each simulated one by one; stopped sweeps end alike."""

import itertools
import pickle

import numpy as np
import pytest
from random_networks import random_network
from random_students import random_student
from test_pareto import naive_front
from test_sweep_evaluate import engine_of, one_by_one, random_budgets, subject_of, wrn

import hw.devices
from hw.accelerator import Budget, LineEngine, Pipeline
from hw.errors import BadInput, PacemakerError
from reports.sweep import columns, evaluate, points, screening
from reports.sweep.constraints import parse
from reports.sweep.screening import evaluate_all
from reports.sweep.table import KEYS, Subject, Table
from sim import energy
from sim.result import Precision

CLOCKS = (50.0, 100.0, 125.0, 200.0, 250.0)
TABLE = "scaled-28nm"


class Memory:
    """Rows by network and machine, each put once."""

    def __init__(self):
        self.rows = {}
        self.puts = 0

    def known(self, network_key):
        rows = [row for (key, _), row in self.rows.items() if key == network_key]
        names = (*KEYS, *evaluate.NAMES)
        texts = [np.array([row[name] for row in rows], object if name in KEYS else float) for name in names]
        return Table(dict(zip(names, texts, strict=True)))

    def put(self, rows):
        self.puts += 1
        for i in range(len(rows)):
            row = {name: values[i] for name, values in rows.columns.items()}
            assert row["status"] != "bound"
            self.rows.setdefault((row["network_key"], row["machine_key"]), row)


def subject(network, accuracy, name="", precision=Precision(), student=None):
    made = subject_of(network, precision, student)
    said = {"network": name or network.name, "accuracy": accuracy, "bits": float(precision.weight_bits)}
    return Subject(made.key, said, network, precision, student)


def subjects():
    """Five, of which two are one network trained twice, and two others are as accurate as each other."""
    return [
        subject(wrn("skip"), 0.90),
        subject(wrn("skip"), 0.88, "the same, worse"),
        subject(wrn("keep"), 0.93),
        subject(wrn("skip"), 0.70, precision=Precision(4, 4)),
        subject(random_network(4), 0.70),
    ]


def machines(limits=100, engines=200):
    """Budgets and line engines, each at five clocks."""
    made = [*random_budgets(1, limits), *(engine_of(i, wrn("skip")) for i in range(engines))]
    return [
        type(each)(
            **{f: getattr(each, f) for f in each.__struct_fields__} | {"name": f"{i} {clock}", "clock_mhz": clock}
        )
        for i, each in enumerate(made)
        for clock in CLOCKS
    ]


@pytest.fixture(scope="module")
def grid():
    """10,000 points and, of each, what `sim.run.simulate` gives for it alone: columns, NaN where nothing runs."""
    those, there = subjects(), machines(150, 250)
    table = energy.load(TABLE)
    rows, by_network = [], {}
    for each, (i, machine) in itertools.product(those, enumerate(there)):
        # Only times depend on the clock, and the clocks of a machine follow each other.
        group = each.key, i // len(CLOCKS)
        if group not in by_network:
            by_network[group] = one_by_one(each, machine, table, counted=False)
        if isinstance(by_network[group], PacemakerError):
            rows.append({})
            continue
        found = by_network[group] | {"accuracy": each.columns["accuracy"], "clock_mhz": machine.clock_mhz}
        found["latency_ms"] = found["latency_cycles"] / machine.clock_mhz / 1e3
        found["frames_per_second"] = machine.clock_mhz * 1e6 / found["interval_cycles"]
        rows.append(found)
    assert len(rows) == 10_000
    names = (*evaluate.NAMES, "accuracy", "clock_mhz")
    return those, there, {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def keeps(rows, constraint):
    if constraint.part:
        part = hw.devices.device(constraint.part)
        return np.all([rows[name] <= getattr(part, name) for name in ("lut", "ff", "dsp", "bram18")], axis=0)
    return (rows[constraint.column] >= constraint.least) & (rows[constraint.column] <= constraint.most)


def front_of(rows, objectives, constraints):
    """Which rows are on the front of those that keep the constraints; compared with each other one by one."""
    values = np.stack([rows[name] for name in objectives], axis=1)
    kept = ~np.isnan(values).any(axis=1)
    for constraint in constraints:
        kept &= keeps(rows, constraint)
    distinct, of_row = np.unique(values[kept], axis=0, return_inverse=True)
    best = naive_front(distinct, [columns.ALL[name].better for name in objectives])
    return set(np.flatnonzero(kept)[best[of_row.reshape(-1)]].tolist())


def exact_front(rows, objectives, constraints):
    """The same of a table's exact rows alone."""
    known = np.flatnonzero(rows["status"] == "exact")
    found = front_of({name: values[known] for name, values in rows.columns.items()}, objectives, constraints)
    return set(known[sorted(found)].tolist())


CASES = (
    (("accuracy", "latency_ms", "line_memory_bytes"), ()),
    (("accuracy", "frames_per_second", "on_chip_bytes", "multipliers"), ("latency <= 0.2 ms",)),
    (("latency_cycles", "line_memory_bytes"), ()),
    (("accuracy",), ("latency <= 0.05 ms",)),
    (("dram_bytes", "latency_ms"), ("accuracy >= 0.8", "multipliers >= 20", "clock_mhz <= 150")),
    (("accuracy", "energy_uj", "interval_cycles"), ("line memory <= 2 kB", "frames_per_second >= 1000")),
    (("latency_ms", "line_memory_bytes"), ("latency <= 0.000001 ms",)),
)


@pytest.mark.parametrize(("objectives", "sentences"), CASES)
def test_the_front_is_that_of_all_points_simulated_one_by_one(grid, monkeypatch, objectives, sentences):
    monkeypatch.setattr(points, "LEAST_BATCH", 40)
    those, there, true = grid
    constraints = [parse(sentence) for sentence in sentences]
    rows = evaluate_all(those, there, objectives, constraints, Memory(), energy=TABLE)
    assert exact_front(rows, objectives, constraints) == front_of(true, objectives, constraints)
    runs, exact = ~np.isnan(true["latency_cycles"]), rows["status"] == "exact"
    assert exact.sum() < 0.6 * runs.sum()
    assert ((rows["reason"] == "") == exact).all()
    # No row says anything that is not so.
    assert not (exact & ~runs).any()
    assert not (runs & np.isin(rows["status"], ["unfit", "failed"])).any()
    for column in columns.FIGURES:
        if column.name not in columns.PIPELINE_ONLY:
            found, figures = rows[column.name], true[column.name]
            np.testing.assert_allclose(found[exact], figures[exact], rtol=1e-12 if column.name == "energy_uj" else 0)
            bound = runs & ~exact
            slack = figures[bound] * 1e-12
            right = (
                found[bound] <= figures[bound] + slack if column.better == "less" else found[bound] >= figures[bound]
            )
            assert right.all(), column.name


def test_exhaustive_rows_are_all_exact(grid):
    those, there, true = grid
    rows = evaluate_all(those[2:4], there, ("latency_ms",), [parse("latency <= 1 ms")], Memory(), exhaustive=True)
    assert ((rows["status"] == "exact") == ~np.isnan(true["latency_ms"][4000:8000])).all()
    assert not (rows["status"] == "bound").any()


def test_parts_are_fitted_by_all_their_counts():
    those = subjects()
    budgets = [Budget(f"b{macs} {clock}", macs, clock) for macs in range(15, 300, 12) for clock in CLOCKS]
    constraints = [parse("fits zynq-7010")]
    objectives = ("accuracy", "latency_ms", "lut")
    every = evaluate_all(those, budgets, objectives, constraints, Memory(), exhaustive=True)
    rows = evaluate_all(those, budgets, objectives, constraints, Memory())
    wanted = exact_front(every, objectives, constraints)
    assert exact_front(rows, objectives, constraints) == wanted
    part = hw.devices.device("zynq-7010")
    assert (every["dsp"] > part.dsp).any()
    assert "its bounds break 'fits zynq-7010'" in rows["reason"]
    assert all(every["dsp"][i] <= part.dsp and every["lut"][i] <= part.lut for i in wanted)
    others = evaluate_all(those[:1], budgets[:20], objectives, [parse("fits ecp5-85")], Memory(), exhaustive=True)
    assert (others["lut"] != every["lut"][:20]).any()


class Stopped(Exception):
    """As Ctrl-C."""


def same(one, other):
    assert list(one.columns) == list(other.columns)
    for name, values in one.columns.items():
        assert np.array_equal(values, other[name], equal_nan=values.dtype != object), name


@pytest.mark.parametrize("how", ["before put", "after put"])
def test_a_sweep_that_was_stopped_ends_in_the_rows_of_one_that_was_not(monkeypatch, how):
    monkeypatch.setattr(points, "LEAST_BATCH", 24)
    monkeypatch.setattr(screening, "JOB", 8)
    objectives, constraints = ("accuracy", "latency_ms", "line_memory_bytes"), [parse("latency <= 0.5 ms")]
    those, there = subjects(), machines(16, 30)
    plain = Memory()
    jobs = []
    wanted = evaluate_all(those, there, objectives, constraints, plain, on_progress=jobs.append)
    assert plain.puts > 12
    total = jobs[-1].simulated
    assert len(plain.rows) == total
    for stops in ((0,), (1,), (plain.puts - 1,), (2, 1, 3, 2)):
        kept = Memory()
        for stop in stops:
            with pytest.raises(Stopped):
                evaluate_all(those, there, objectives, constraints, stopping(kept, how, stop))
        simulated = len(kept.rows)
        last = []
        rows = evaluate_all(those, there, objectives, constraints, kept, on_progress=last.append)
        same(rows, wanted)
        assert last[-1].simulated == total - simulated
        assert kept.rows.keys() == plain.rows.keys()


def stopping(kept, how, jobs):
    """What stops a sweep around its job of this number."""
    begin = kept.puts

    class Stopping(Memory):
        def known(self, key):
            return kept.known(key)

        def put(self, rows):
            if how == "before put" and kept.puts == begin + jobs:
                raise Stopped
            kept.put(rows)
            if how == "after put" and kept.puts == begin + jobs + 1:
                raise Stopped

    return Stopping()


def test_progress_can_stop_a_sweep(monkeypatch):
    monkeypatch.setattr(screening, "JOB", 8)
    those, there = subjects(), machines(16, 30)
    objectives = ("accuracy", "latency_ms", "line_memory_bytes")
    wanted = evaluate_all(those, there, objectives, [], Memory())
    for stop in (0, 1, 5):
        kept, told = Memory(), []

        def hear(progress, told=told, stop=stop):
            told.append(progress)
            if len(told) > stop:
                raise Stopped

        with pytest.raises(Stopped):
            evaluate_all(those, there, objectives, [], kept, on_progress=hear)
        same(evaluate_all(those, there, objectives, [], kept), wanted)


def test_every_point_is_counted_once_by_progress():
    told = []
    those, there = subjects(), machines(16, 30)
    rows = evaluate_all(those, there, ("accuracy", "latency_ms"), [], Memory(), on_progress=told.append)
    for each in told:
        assert each.exact + each.unfit + each.failed + each.dropped + each.waiting == each.points == len(rows)
    assert told[-1].waiting == 0
    assert told[-1].exact == (rows["status"] == "exact").sum()
    assert told[-1].best == {"accuracy": 0.93, "latency_ms": rows["latency_ms"][rows["status"] == "exact"].min()}
    assert [each.simulated for each in told] == sorted(each.simulated for each in told)


def test_rows_have_all_columns_in_the_order_of_subjects_and_machines():
    those, there = subjects(), machines(4, 6)
    rows = evaluate_all(those, there, ("accuracy", "latency_ms"), [], Memory())
    assert set(rows.columns) == {*columns.ALL, *KEYS}
    pairs = list(itertools.product(those, there))
    assert rows["network"].tolist() == [each.columns["network"] for each, _ in pairs]
    assert rows["network_key"].tolist() == [each.key for each, _ in pairs]
    assert rows["machine"].tolist() == [machine.name for _, machine in pairs]
    assert rows["clock_mhz"].tolist() == [machine.clock_mhz for _, machine in pairs]
    kinds = ["line_engine" if isinstance(machine, LineEngine) else "pipeline" for _, machine in pairs]
    assert rows["kind"].tolist() == kinds
    assert rows["bits"].tolist() == [each.columns["bits"] for each, _ in pairs]
    assert np.isnan(rows["seeds"]).all()
    assert set(rows["role"]) == {""}


def test_equal_machines_and_networks_are_simulated_once():
    twice = [Budget("one", 64), Budget("other", 64, source="elsewhere")]
    kept = Memory()
    rows = evaluate_all(subjects()[:2], twice, ("accuracy", "latency_ms"), [], kept, exhaustive=True)
    assert rows["status"].tolist() == ["exact"] * 4
    assert len(set(rows["latency_ms"])) == 1
    assert len(kept.rows) == 1


def test_a_machine_that_fails_stops_nothing():
    there = [Pipeline("of nobody", 100.0, {}, {}), Budget("good", 64), Budget("small", 1)]
    rows = evaluate_all(subjects()[:1], there, ("accuracy", "latency_ms"), [], Memory())
    assert rows["status"].tolist() == ["failed", "exact", "unfit"]
    assert rows["reason"].tolist() == [
        "layer stem: machine at hand has no engine for it; is it another network's?",
        "",
        "machine at hand: 1 multipliers were found, at least 14 are wanted, one for every conv and affine of "
        "the network",
    ]


def test_reasons_say_who_is_better():
    there = [Budget("good", 64, 200.0), Budget("slow", 64, 100.0)]
    rows = evaluate_all(subjects()[:1], there, ("accuracy", "latency_ms"), [parse("latency <= 1 s")], Memory())
    assert rows["status"].tolist() == ["exact", "exact"]
    many = [*there, *(Budget(f"{i}", 20, 50.0 + i / 100) for i in range(2 * points.LEAST_BATCH))]
    rows = evaluate_all(subjects()[:1], many, ("accuracy", "latency_ms"), [], Memory())
    assert "its bounds are dominated by wrn-10-1 on good" in rows["reason"]
    rows = evaluate_all(subjects()[:1], there, ("accuracy", "latency_ms"), [parse("latency <= 1 us")], Memory())
    assert rows["reason"].tolist() == ["its bounds break 'latency <= 1 us'"] * 2


def test_known_points_without_what_is_asked_for_are_simulated_again():
    kept, told = Memory(), []
    there = [Budget("b", 64), engine_of(2, wrn("skip"))]
    evaluate_all(subjects()[:1], there, ("latency_ms",), [], kept, exhaustive=True)
    kept.rows.update({key: row | {"lut": np.nan} for key, row in kept.rows.items()})
    evaluate_all(subjects()[:1], there, ("latency_ms",), [], kept, exhaustive=True, on_progress=told.append)
    assert told[-1].simulated == 1
    rows = evaluate_all(subjects()[:1], there, ("energy_uj",), [], kept, energy=TABLE, exhaustive=True)
    assert not np.isnan(rows["energy_uj"][rows["status"] == "exact"]).any()


def test_jobs_can_be_executed_elsewhere():
    student = random_student(3)
    those = [*subjects(), subject(student.network, 0.5, student=student)]
    there = machines(8, 10)
    sent = []

    def elsewhere(function, jobs):
        for job in jobs:
            sent.append(pickle.dumps((function, job)))
            there, what = pickle.loads(sent[-1])  # noqa: S301
            yield pickle.loads(pickle.dumps(there(what)))  # noqa: S301

    objectives = ("accuracy", "latency_ms", "line_memory_bytes")
    same(
        evaluate_all(those, there, objectives, [], Memory(), apply=elsewhere),
        evaluate_all(those, there, objectives, [], Memory()),
    )
    assert sent


def test_nothing_to_evaluate_has_no_rows():
    for those, there in ((subjects(), []), ([], machines(1, 1)), ([], [])):
        rows = evaluate_all(those, there, ("accuracy",), [], Memory())
        assert len(rows) == 0
        assert set(rows.columns) == {*columns.ALL, *KEYS}


@pytest.mark.parametrize(
    ("objectives", "sentences", "told"),
    [
        (("speed",), (), r"^objective speed: no such one; did you mean dsp\?$"),
        (("energy_uj",), (), r"^energy_uj: no energy table was found, one such as scaled-28nm is wanted$"),
        (("lut",), ("energy <= 1 uJ",), r"^energy_uj: no energy table was found"),
        (
            ("lut",),
            ("fits zynq-7020", "fits ecp5-85"),
            r"^constraints: resources of several families were found \('fits zynq-7020' xc7, 'fits ecp5-85' ecp5\), "
            r"those of one are wanted$",
        ),
    ],
)
def test_what_cannot_be_asked_is_told(objectives, sentences, told):
    with pytest.raises(BadInput, match=told):
        evaluate_all(subjects(), [Budget("b", 64)], objectives, [parse(each) for each in sentences], Memory())

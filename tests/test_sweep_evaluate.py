"""Figures in bulk are those that one machine at a time gives, and no bound is on the wrong side of them."""

import re
from random import Random

import msgspec
import numpy as np
import pytest
from random_networks import random_engine, random_network, random_pipeline
from random_students import random_student

from hw import presets, resources
from hw.accelerator import Budget, Fifo, LineEngine, Pipeline
from hw.errors import DoesNotFit, PacemakerError
from hw.network import Shape
from hw.passes import executed
from reports.sweep import energies, evaluate, foldings, keys
from reports.sweep.columns import FIGURES
from reports.sweep.evaluate import Asked
from reports.sweep.table import KEYS, Subject
from sim import choice, energy, folding, run
from sim.result import Precision

ASKED = Asked("horowitz-45nm", "xc7")
PRECISIONS = (Precision(8, 8), Precision(8, 4), Precision(5, 6), Precision(4, 4, 8))


def subject_of(network, precision=Precision(), student=None):
    return Subject(
        keys.network_key(network, precision, student), {"network": network.name}, network, precision, student
    )


def wrn(rows="skip", depth=10, width=1, size=8):
    return presets.wrn(depth, width, rows=rows, shape=Shape(size, size, 1), classes=10)


def random_budgets(seed, count):
    rng = Random(f"budgets {seed}")
    found = []
    for i in range(count):
        macs, dsp, bram18 = rng.randint(1, 400), rng.randint(1, 400), rng.randint(0, 60)
        limits = rng.choice(
            ({"macs": macs}, {"dsp": dsp}, {"macs": macs, "dsp": dsp}, {"bram18": bram18})
            + ({"macs": macs, "bram18": bram18},) * 2
        )
        found.append(Budget(f"budget {i}", clock_mhz=rng.choice((50.0, 100.0, 333.3)), **limits))
    return found


def engine_of(seed, network):
    fields = vars(random_engine(seed, network))
    known = {layer.name for layer in executed(network).layers}
    if not isinstance(fields["resident"], str):
        fields["resident"] = tuple(name for name in fields["resident"] if name in known)
    return LineEngine(**fields)


def one_by_one(subject, machine, table, *, counted=True):
    """A row as the rest of the package gives it, or why there is none; resources only if `counted`."""
    form = executed(subject.network)
    try:
        made = folding.settled(form, machine, subject.precision)
        result = run.simulate(subject.network, made, subject.precision)
    except PacemakerError as error:
        return error
    priced = energy.priced(result, form, made, table, subject.precision)
    figures = {name: getattr(result, name) for name in evaluate.NAMES if hasattr(result, name)}
    figures["dram_bytes"] = sum(result.dram_bytes.values())
    figures["energy_uj"] = sum(priced.energy_uj.values())
    figures |= dict.fromkeys(("lut", "ff", "dsp", "bram18"), np.nan)
    figures["on_chip_bytes"] = result.line_memory_bytes + result.weight_bytes
    if isinstance(machine, LineEngine):
        figures["on_chip_bytes"] = machine.line_memory_bytes + machine.weight_memory_bytes
        return figures
    figures["dram_bytes"] = 0
    if counted:
        bits = subject.precision.activation_bits, subject.precision.weight_bits
        pixel_bits = subject.precision.input_bits
        figures |= resources.estimate(form, made, *bits, student=subject.student, input_bits=pixel_bits).counts
    return figures


def agrees(rows, i, expected):
    """Whether a row is what was expected; energies are sums in another order."""
    if isinstance(expected, PacemakerError):
        wanted = "unfit" if isinstance(expected, DoesNotFit) else "failed"
        return rows["status"][i] == wanted and all(np.isnan(rows[name][i]) for name in evaluate.NAMES)
    same = [
        rows[name][i] == pytest.approx(expected[name], rel=1e-12 if name == "energy_uj" else 0, abs=0, nan_ok=True)
        for name in evaluate.NAMES
    ]
    return rows["status"][i] == "exact" and rows["reason"][i] == "" and all(same)


@pytest.mark.parametrize("seed", range(25))
def test_exact_figures_are_those_of_one_machine_at_a_time(seed):
    network = random_network(seed)
    subject = subject_of(network, PRECISIONS[seed % 4])
    form = executed(network)
    pipelines = [random_pipeline(10 * seed + i, form) for i in range(3)]
    machines = [*(engine_of(100 * seed + i, network) for i in range(25)), *random_budgets(seed, 6), *pipelines]
    machines = Random(seed).sample(machines, len(machines))
    rows = evaluate.exact(subject, machines, ASKED)
    table = energy.load(ASKED.energy)
    for i, machine in enumerate(machines):
        assert agrees(rows, i, one_by_one(subject, machine, table)), machine


@pytest.mark.parametrize("seed", range(60))
def test_no_exact_figure_is_beyond_its_bound(seed):
    network = random_network(seed)
    subject = subject_of(network, PRECISIONS[seed % 4])
    machines = [engine_of(1000 + 100 * seed + i, network) for i in range(60)]
    machines += [*random_budgets(seed, 12), random_pipeline(seed, executed(network))]
    bounds, exact = (given(subject, machines, ASKED) for given in (evaluate.bounds, evaluate.exact))
    holds(bounds, exact)


@pytest.mark.parametrize("rows", ["skip", "keep", "full"])
def test_no_exact_figure_of_a_wrn_is_beyond_its_bound(rows):
    network = wrn(rows)
    subject = subject_of(network)
    machines = [engine_of(7000 + i, network) for i in range(200)] + random_budgets(rows, 20)
    bounds, exact = (given(subject, machines, ASKED) for given in (evaluate.bounds, evaluate.exact))
    holds(bounds, exact)
    engines = np.array([isinstance(machine, LineEngine) for machine in machines]) & (exact["status"] == "exact")
    assert (bounds["line_memory_bytes"][engines] == exact["line_memory_bytes"][engines]).all()
    # Useful, not only right.
    pipelines = ~np.array([isinstance(machine, LineEngine) for machine in machines]) & (exact["status"] == "exact")
    assert np.median(bounds["latency_cycles"][pipelines] / exact["latency_cycles"][pipelines]) > 0.8
    assert np.median(bounds["latency_cycles"][engines] / exact["latency_cycles"][engines]) > 0.5


def holds(bounds, exact):
    assert set(bounds["status"]) <= {"bound", "unfit", "failed"}
    certain = bounds["status"] != "bound"
    assert (exact["status"][certain] == bounds["status"][certain]).all()
    assert (exact["reason"][certain] == bounds["reason"][certain]).all()
    there = exact["status"] == "exact"
    for column in FIGURES:
        bound, figure = bounds[column.name][there], exact[column.name][there]
        assert (np.isnan(bound) == np.isnan(figure)).all(), column.name
        slack = 1 + 1e-12 * (column.name == "energy_uj")
        right = bound <= figure * slack if column.better == "less" else bound >= figure
        assert (right | np.isnan(bound)).all(), column.name


@pytest.mark.parametrize("seed", range(12))
def test_budgets_choose_the_engines_that_each_would_alone(seed):
    network = executed(random_network(seed) if seed % 2 else wrn(("skip", "full")[seed % 4 // 2]))
    precision = PRECISIONS[seed % 4]
    budgets = random_budgets(100 + seed, 60)
    refused = 0
    for budget, found in zip(budgets, foldings.chosen(network, precision, budgets), strict=True):
        menu = {layer.name: folding.choices_of(network, layer, budget, precision) for layer in network.layers}
        if isinstance(found, str):
            with pytest.raises(DoesNotFit, match=f"^{re.escape(found)}$"):
                choice.fastest(menu, budget)
            refused += 1
        else:
            assert found == list(choice.fastest(menu, budget).values())
    assert refused < len(budgets)


def test_fifos_that_find_no_room_in_block_ram_go_to_look_up_tables():
    network = wrn("full", size=20)
    subject = subject_of(network)
    most = folding.pipeline(executed(network), Budget("all", bram18=10_000, macs=300))
    needed = resources.budgeted(executed(network), most, 8, 8).bram18
    budgets = [Budget(f"{needed - i}", macs=300, bram18=needed - i) for i in range(8)]
    rows = evaluate.exact(subject, budgets, Asked("", "xc7"))
    table = energy.load("horowitz-45nm")
    for i, budget in enumerate(budgets):
        expected = one_by_one(subject, budget, table)
        assert rows["bram18"][i] == expected["bram18"]
        assert rows["line_memory_bytes"][i] == expected["line_memory_bytes"]
        assert rows["latency_cycles"][i] == expected["latency_cycles"]
    assert len(set(rows["lut"].tolist())) > 1


def test_a_students_own_widths_are_counted():
    student = random_student(3)
    subject = subject_of(student.network, run.precision_of(student), student)
    plain = msgspec.structs.replace(subject, key="plain", student=None)
    budgets = random_budgets(0, 10)
    rows = evaluate.exact(subject, budgets, ASKED)
    table = energy.load(ASKED.energy)
    for i, budget in enumerate(budgets):
        assert agrees(rows, i, one_by_one(subject, budget, table))
    others = evaluate.exact(plain, budgets, ASKED)
    fits = rows["status"] == "exact"
    assert (others["latency_cycles"][fits] == rows["latency_cycles"][fits]).all()
    assert (others["lut"][fits] != rows["lut"][fits]).any()
    holds(evaluate.bounds(subject, budgets, ASKED), rows)


def test_what_was_not_asked_for_is_not_there():
    rows = evaluate.exact(subject_of(wrn()), [Budget("b", 128), engine_of(2, wrn())])
    assert set(rows.columns) == {*KEYS, *evaluate.NAMES}
    for name in ("energy_uj", "lut", "ff", "dsp", "bram18"):
        assert np.isnan(rows[name]).all()
    assert not np.isnan(rows["latency_ms"][0])
    empty = evaluate.exact(subject_of(wrn()), [])
    assert len(empty) == 0
    assert set(empty.columns) == set(rows.columns)


def test_rows_carry_the_keys_of_network_and_machine():
    machines = [Budget("a", 128), Budget("b", 128, clock_mhz=100.0)]
    rows = evaluate.bounds(subject_of(wrn()), machines)
    assert rows["machine_key"].tolist() == [keys.machine_key(machine) for machine in machines]
    assert set(rows["network_key"]) == {subject_of(wrn()).key}
    assert evaluate.bounds(subject_of(wrn()), machines, keys=["x", "y"])["machine_key"].tolist() == ["x", "y"]


def test_reasons_are_sentences_that_name_no_machine():
    network = wrn()
    form = executed(network)
    good = folding.pipeline(form, Budget("b", 128))
    shallow = msgspec.structs.replace(
        folding.pipeline(executed(wrn("full")), Budget("b", 128)),
        fifos={name: Fifo(1) for name in folding.pipeline(executed(wrn("full")), Budget("b", 128)).fifos},
    )
    engine = LineEngine("e", 4, 4, 1024, 2048, 1.0, 10, 100.0)
    missing = Pipeline("p", 100.0, {}, {})
    machines = [
        Budget("small", 2),
        msgspec.structs.replace(engine, line_memory_bytes=100),
        msgspec.structs.replace(engine, weight_memory_bytes=10),
        msgspec.structs.replace(engine, resident=("nobody",)),
        msgspec.structs.replace(engine, pe=1 << 41),
        missing,
        good,
    ]
    rows = evaluate.exact(subject_of(network), machines)
    assert rows["status"].tolist() == ["unfit", "unfit", "unfit", "failed", "failed", "failed", "exact"]
    assert rows["reason"].tolist() == [
        "machine at hand: 2 multipliers were found, at least 14 are wanted, one for every conv and affine of "
        "the network",
        "machine at hand: line memory of 100 bytes was found, 640 are wanted by the network line by line at layer "
        "g1.b0.add; give it 640",
        "layer stem: the weights of 4 channels are 12 bytes, weight memory of machine at hand has 10 left; "
        "give it 12, or fewer pe",
        "machine at hand: resident layer nobody is not in network the network",
        "machine at hand: pe 2199023255552 was found, at most 1099511627776 is wanted",
        "layer stem: machine at hand has no engine for it; is it another network's?",
        "",
    ]
    assert evaluate.bounds(subject_of(network), machines)["status"].tolist() == [*rows["status"].tolist()[:-1], "bound"]
    stopped = evaluate.exact(subject_of(wrn("full")), [shallow])
    assert stopped["status"].tolist() == ["failed"]
    assert stopped["reason"][0].startswith("the pipeline stops for ever: edge stem -> g1.b0.add is full (1 pixels;")


def test_energies_of_many_engines_do_not_depend_on_their_company():
    network = executed(wrn())
    engines = [engine_of(i, wrn()) for i in range(50)]
    moved = np.random.default_rng(0).integers(0, 10_000, (50, 5)).astype(float)
    table = energy.load("scaled-28nm")
    together = energies.of_engines(network, engines, moved, table, Precision())
    alone = [energies.of_engines(network, [e], moved[[i]], table, Precision())[0] for i, e in enumerate(engines)]
    assert together.tolist() == alone

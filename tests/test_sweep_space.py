import itertools
import json
from importlib import resources
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.accelerator import Budget, LineEngine
from hw.errors import BadInput
from reports.sweep import columns, constraints
from reports.sweep import space as spaces
from reports.sweep.axes import Range
from reports.sweep.designs import Design
from reports.sweep.space import Halving, Machines, Networks, Search, Space

TEXT = """
name: tried
networks:
  recipe: digits
  axes: {depth: [10, 16], rows: [skip, keep], pacemaker: [none, teacher, logits], students: [1, 2], bits: [8, 4]}
  teachers: true
machines:
  - {kind: pipeline, axes: {macs: {first: 64, last: 1024, factor: 2}, clock_mhz: [100, 200]}}
  - {kind: line_engine, base: line-128, axes: {pe: [4, 8], dram_bytes_per_cycle: [1, 2.5]}}
constraints: ["latency <= 1 ms", "line memory <= 16 kB"]
"""


def written(tmp_path: Path, text: str) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return spaces.load(path)


def test_a_space_is_networks_times_machines(tmp_path: Path) -> None:
    space = written(tmp_path, TEXT)
    assert len(space.designs) == 2 * 2 * 2 * (1 + 1 + 2) + 4
    assert len(set(space.designs)) == len({design.name for design in space.designs}) == 36
    assert [design for design in space.designs if design.filters == "full"] == list(space.designs[-4:])
    machines = space.all_machines
    assert len(machines) == 5 * 2 + 4
    assert machines[0] == Budget("pipeline macs=64 clock_mhz=100", 64, 100.0)
    engine = machines[-1]
    assert isinstance(engine, LineEngine)
    assert (engine.pe, engine.dram_bytes_per_cycle, engine.clock_mhz) == (8, 2.5, 500.0)
    assert len({machine.name for machine in machines}) == len(machines)


def test_what_does_not_matter_to_a_network_does_not_make_another() -> None:
    alone = Design(pacemaker="none", schedule="joint", alpha=0.1, temperature=9.0, students=3)
    assert alone.plain == Design(pacemaker="none").plain
    assert Design(filters="full", rows="skip", head="rows", pacemaker="split").plain == Design(filters="full").plain
    assert Design(pacemaker="teacher", schedule="joint").plain == Design(pacemaker="teacher").plain
    assert Design(pacemaker="split", schedule="teacher").plain == Design(pacemaker="teacher").plain
    assert Design(pacemaker="teacher", alpha=0.1).plain != Design(pacemaker="teacher").plain
    assert Design(pacemaker="split", students=2).plain == Design(pacemaker="split").plain
    assert Design(pacemaker="logits", students=2).plain != Design(pacemaker="logits").plain


def test_plain_designs_of_one_name_are_one() -> None:
    axes = {
        "filters": ("row", "full"),
        "rows": ("skip", "keep"),
        "stem": ("row", "full"),
        "pacemaker": ("none", "teacher", "logits", "split"),
        "schedule": ("pacemaker", "joint"),
        "students": (1, 3),
        "alpha": (0.5, 0.9),
    }
    found = {
        Networks("digits").design(dict(zip(axes, v, strict=True))).plain for v in itertools.product(*axes.values())
    }
    assert len({design.name for design in found}) == len(found)


@given(st.integers(-50, 50), st.integers(1, 9), st.integers(0, 40))
def test_a_range_by_steps_has_both_ends(first: int, step: int, count: int) -> None:
    values = Range(first, first + step * count, step=step).values
    assert values == tuple(range(first, first + step * count + 1, step))
    assert all(isinstance(value, int) for value in values)


def test_a_range_by_factor_or_fractions() -> None:
    assert Range(1, 1000, factor=10).values == (1, 10, 100, 1000)
    assert Range(0.1, 1, step=0.1).values[-1] == 1
    assert len(Range(0.1, 1, step=0.1).values) == 10
    assert Range(3, 20, factor=2).values == (3, 6, 12)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("recipe: digits", "recipe: ''", "networks: either a recipe (to be trained) or given ones are wanted"),
        ("depth: [10, 16]", "dept: [10, 16]", "networks: no axis 'dept'; did you mean depth?"),
        ("depth: [10, 16]", "depth: []", "networks: axis depth: it is empty, at least one value is wanted"),
        ("bits: [8, 4]", "bits: [8, 8]", "networks: axis bits: 8 is given twice"),
        ("{pe: [4, 8]", "{pes: [4, 8]", "machines: a line_engine has no axis 'pes'; did you mean pe?"),
        ("pe: [4, 8]", "pe: []", "machines: axis pe: it is empty, at least one value is wanted"),
        (
            "latency <= 1 ms",
            "latency <= 1 kB",
            "constraint 'latency <= 1 kB': unit 'kB' was found, latency_ms is counted in: ms, us, s",
        ),
        (
            "latency <= 1 ms",
            "latncy <= 1 ms",
            "constraint 'latncy <= 1 ms': no column 'latncy'; did you mean latency_ms?",
        ),
        (
            "latency <= 1 ms",
            "latency < 1 ms",
            "constraint 'latency < 1 ms': wanted is a sentence such as 'latency <= 1 ms', 'line memory <= 16 kB', "
            "'accuracy >= 0.8' or 'fits zynq-7020'",
        ),
        (
            '"line memory <= 16 kB"',
            '"latency >= 2 ms"',
            "space tried: constraints 'latency <= 1 ms' and 'latency >= 2 ms' contradict each other; "
            "leave one of them out",
        ),
        ("latency <= 1 ms", "fits zynq-7021", "part zynq-7021: no such one; did you mean zynq-7020?"),
        (
            "latency <= 1 ms",
            "fits zynq-7020",
            "space tried: 'fits zynq-7020' is known of pipelines alone; leave the line engines out",
        ),
        (
            "constraints:",
            "objectives: [accuracy, lut]\nconstraints:",
            "space tried: lut is known of pipelines alone; leave the line engines or lut out",
        ),
        (
            "constraints:",
            "objectives: [acuracy]\nconstraints:",
            "objective acuracy: no such one; did you mean accuracy?",
        ),
        (
            "constraints:",
            "objectives: [energy_uj]\nconstraints:",
            "space tried: energy_uj wants a table, such as energy: scaled-28nm",
        ),
        (
            "constraints:",
            "objectives: []\nconstraints:",
            "space tried: objectives: one or more different ones are wanted",
        ),
        (
            "factor: 2}",
            "step: 0}",
            "range: first 64, last 1024, step 0.0, factor None were found; first up to last, and a step above 0 or a "
            "factor above 1 (then first above 0) are wanted",
        ),
        ("factor: 2}", "step: 1.0e-9}", "range: 9.6e+11 values were found, at most 1,000,000 are wanted"),
        (
            "factor: 2}",
            "step: .inf}",
            "range: first 64, last 1024, step inf, factor None were found; first up to last, and a step above 0 or a "
            "factor above 1 (then first above 0) are wanted",
        ),
        (
            "name: tried",
            "name: ../tried",
            "space '../tried': wanted is a name of letters, digits, dots, hyphens and underscores",
        ),
        (
            "latency <= 1 ms",
            "bits >= 10",
            "space tried: 'bits >= 10' leaves nothing of the axis bits: 8, 4",
        ),
        (
            "latency <= 1 ms",
            "accuracy >= 80",
            "constraint 'accuracy >= 80': 80 was found, a share from 0 to 1, or per cent is wanted",
        ),
        ("latency <= 1 ms", "latency <= -1 ms", "constraint 'latency <= -1 ms': -1 ms was found, 0 or more is wanted"),
        ("latency <= 1 ms", "latency <= 1e999 ms", "constraint 'latency <= 1e999 ms': '1e999' is no number"),
        (
            "latency <= 1 ms",
            "multipliers <= 50 %",
            "constraint 'multipliers <= 50 %': unit '%' was found, multipliers is counted in: k, M",
        ),
        (
            "latency <= 1 ms",
            "test accuracy >= 0.1",
            "constraint 'test accuracy >= 0.1': nothing is chosen by test images; "
            "accuracy is that on validation images",
        ),
        (
            "constraints:",
            "search: {method: tpe, trainings: 3}\nconstraints:",
            "space tried: teachers: true does not go with a search by tpe; give the axis filters: [row, full] instead",
        ),
        ("factor: 2}", "}", "range: either a step or a factor is wanted"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in TEXT
    with pytest.raises(BadInput) as error:
        written(tmp_path, TEXT.replace(old, new))
    assert str(error.value).removeprefix(f"{tmp_path / 'space.yaml'}: ").partition(" - at `$")[0] == told


def test_values_that_a_record_refuses_are_told_with_all_that_was_asked(tmp_path: Path) -> None:
    space = written(tmp_path, TEXT.replace("pe: [4, 8]", "pe: [4, eight]"))
    with pytest.raises(BadInput, match=r"^machines: pe=eight dram_bytes_per_cycle=1: Expected `int`, got `str`"):
        _ = space.all_machines
    space = written(tmp_path, TEXT.replace("rows: [skip, keep]", "rows: [skip, kept]"))
    with pytest.raises(BadInput, match=r"^networks: depth=10 rows=kept .*: Invalid enum value 'kept'"):
        _ = space.designs


def test_a_constraint_on_the_clock_may_hold_for_one_kind_of_machine(tmp_path: Path) -> None:
    assert written(tmp_path, TEXT.replace("latency <= 1 ms", "clock >= 300 MHz")).kept[0].least == 300
    with pytest.raises(BadInput, match=r"'clock >= 300 MHz' leaves nothing of the axis clock_mhz: 100, 200"):
        written(
            tmp_path,
            TEXT.replace("latency <= 1 ms", "clock >= 300 MHz").replace("  - {kind: line_engine", "#"),
        )


def test_too_large_a_space_is_told_before_it_is_made(tmp_path: Path) -> None:
    huge = TEXT.replace("{first: 64, last: 1024, factor: 2}", "{first: 1, last: 900000, step: 1}")
    huge = huge.replace("clock_mhz: [100, 200]", "clock_mhz: {first: 1, last: 20, step: 1}")
    with pytest.raises(BadInput, match=r"space tried: 18000004 machines were found, at most 10000000 are wanted"):
        written(tmp_path, huge)


def test_the_rest_of_what_a_space_may_not_be() -> None:
    with pytest.raises(BadInput, match="given ones have no axes, halving or teachers"):
        Networks(given=("wrn-16-1",), teachers=True)
    with pytest.raises(BadInput, match="2 epochs and 1 seeds were found, as many of both are wanted"):
        Halving((1, 2), (1,))
    with pytest.raises(BadInput, match="a keep between 0 and 1"):
        Halving((1,), (1,), keep=1.0)
    with pytest.raises(BadInput, match="machines: none found"):
        Space("a", Networks("digits"), ())
    with pytest.raises(BadInput, match="the base line-64 is no pipeline"):
        list(Machines("pipeline", base="line-64"))
    assert Search() == Search("exhaustive", 0)


@pytest.mark.parametrize(
    ("text", "column", "least", "most"),
    [
        ("latency <= 250 us", "latency_ms", float("-inf"), 0.25),
        ("line memory <= 16 kB", "line_memory_bytes", float("-inf"), 16000.0),
        ("line_memory_bytes <= 16 KiB", "line_memory_bytes", float("-inf"), 16384.0),
        ("Accuracy >= 80 %", "accuracy", 0.8, float("inf")),
        ("frames per second >= 30", "frames_per_second", 30.0, float("inf")),
        ("energy <= 0.5 mJ", "energy_uj", float("-inf"), 500.0),
        ("interval <= 2 M", "interval_cycles", float("-inf"), 2e6),
    ],
)
def test_constraints_are_read_with_their_units(text: str, column: str, least: float, most: float) -> None:
    found = constraints.parse(text)
    assert (found.column, found.least, found.most) == (column, pytest.approx(least), pytest.approx(most))


def test_every_unit_of_a_column_is_known_to_constraints() -> None:
    assert {column.unit for column in columns.ALL.values() if column.type == "number"} <= set(constraints.UNITS)


def test_the_shipped_schema_is_that_of_the_record() -> None:
    shipped = json.loads((resources.files("reports.sweep") / "space.schema.json").read_text())
    assert shipped == json.loads(msgspec.json.encode(spaces.schema()))


def test_a_name_that_no_file_system_takes_is_a_name_and_no_fault(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(
        f"name: a\nnetworks: {{given: [{'x' * 3000}]}}\n"
        "machines: [{kind: pipeline, axes: {macs: [64]}}]\nobjectives: [latency_ms]\n"
    )
    from reports.sweep.space import load

    assert load(path).networks.given == ("x" * 3000,)

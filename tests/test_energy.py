"""Energies against two frames counted by hand, against what must hold of any table, and tables that are wrong."""

from pathlib import Path

import msgspec
import pytest

from hw.accelerator import Engine, Fifo, LineEngine, Pipeline, machine
from hw.errors import BadInput
from hw.files import to_json, write_yaml
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from hw.presets import preset
from sim import energy
from sim.energy import Action, Entry, Table
from sim.folding import settled
from sim.result import Precision, Result
from sim.run import simulate

HOROWITZ = energy.load("horowitz-45nm")
# 4x4 pixels, 1x3 taps, 1 -> 2 channels with biases, then the mean of the map.
TINY = Network(
    "tiny",
    Shape(4, 4, 1),
    (
        Layer("a", "conv", (INPUT,), 2, Size(1, 3), padding=Padding(0, 0, 1, 1), bias=True),
        Layer("m", "mean", ("a",), kernel=Size(4, 4), stride=Size(4, 4)),
    ),
)
ENGINE = LineEngine("engine", 2, 2, 8192, 32768, 4.0, 20, 100.0, resident="none")
PIPELINE = Pipeline(
    "pipeline",
    100.0,
    {"a": Engine(2, 3), "m": Engine(1)},
    {"input -> a": Fifo(2), "a -> m": Fifo(2), "m -> output": Fifo(2)},
)
SRAM_8 = 10 / 8
SRAM_32 = 20 / 8
DRAM = 1950 / 8


def of(
    network: Network, on: Pipeline | LineEngine, table: Table = HOROWITZ, bits: Precision = Precision()
) -> dict[str, float]:
    """Energy of a frame in pJ."""
    found = energy.priced(simulate(network, on, bits), network, on, table, bits)
    assert found.energy_table == f"estimate, {table.name}"
    assert isinstance(found.energy_uj, dict)
    return {part: 1e6 * uj for part, uj in found.energy_uj.items()}


def test_a_frame_of_the_line_engine_by_hand() -> None:
    # 96 products in 2 cycles a sum: 64 accumulations and 32 adds within a cycle; 32 biases; 32 values of the mean.
    # Line memory is read for 48 values under windows, 32 of the mean, three times a row of sums of 8 bytes, and the
    # result of 2; written for 32 + 2 values made, the sums, and 16 bytes loaded.
    # Weight memory is read for 16 pixels: 2 x 4 weights, of which a sum has use for 3, and 2 biases of 4 bytes.
    assert of(TINY, ENGINE) == pytest.approx(
        {
            "multiply": 96 * 0.2,
            "add": 32 * 0.1,
            "accumulate": (64 + 32 + 32) * 0.1,
            "line_memory_read": (48 + 32 + 24 + 2) * SRAM_8,
            "line_memory_write": (32 + 2 + 24 + 16) * SRAM_8,
            "weight_memory_read": 16 * (8 + 8) * SRAM_32,
            "weight_memory_write": 14 * SRAM_32,
            "dram_weights": 14 * DRAM,
            "dram_lines_in": 16 * DRAM,
            "dram_spills_in": 0,
            "dram_lines_out": 2 * DRAM,
            "dram_spills_out": 0,
        }
    )


def test_groups_read_their_windows_again_and_lanes_share_weights_by_hand() -> None:
    found = of(TINY, msgspec.structs.replace(ENGINE, pe=1, lanes=3))
    assert found["line_memory_read"] == pytest.approx((2 * 48 + 32 + 24 + 2) * SRAM_8)
    # 4 rows, 2 blocks of 3 and 1 pixels, 2 groups: 1 x 4 weights and a bias each.
    assert found["weight_memory_read"] == pytest.approx(4 * 2 * 2 * (4 + 4) * SRAM_32)


def test_a_frame_of_the_pipeline_by_hand() -> None:
    # 3 products a cycle: an accumulation a sum. All memories are smaller than the smallest of the table.
    # The window takes 16 values and is read for 48; the mean's sums take 4 bytes for each of 32 values.
    assert of(TINY, PIPELINE) == pytest.approx(
        {
            "multiply": 96 * 0.2,
            "add": 64 * 0.1,
            "accumulate": (32 + 32 + 32) * 0.1,
            "fifo_write": (16 + 32 + 2) * SRAM_8,
            "fifo_read": (16 + 32 + 2) * SRAM_8,
            "window_write": (16 + 128) * SRAM_8,
            "window_read": (48 + 128) * SRAM_8,
            "weight_memory_read": (96 + 128) * SRAM_8,
            "dram_input": 16 * DRAM,
            "dram_output": 2 * DRAM,
        }
    )


def test_8_bit_pixels_and_4_bit_results_by_hand() -> None:
    mixed = Precision(4, 4, 8)
    found = of(TINY, PIPELINE, bits=mixed)
    # Pixels as above; results in half a byte: 32 values and 2, of which DRAM takes a byte; weights in half a byte.
    assert found["fifo_write"] == found["fifo_read"] == pytest.approx((16 + 16 + 1) * SRAM_8)
    assert found["window_write"] == pytest.approx((16 + 128) * SRAM_8)
    assert found["window_read"] == pytest.approx((48 + 128) * SRAM_8)
    assert found["weight_memory_read"] == pytest.approx((48 + 128) * SRAM_8)
    assert (found["dram_input"], found["dram_output"]) == pytest.approx((16 * DRAM, DRAM))
    found = of(TINY, ENGINE, bits=mixed)
    assert found["line_memory_read"] == pytest.approx((48 + 16 + 24 + 1) * SRAM_8)
    assert found["line_memory_write"] == pytest.approx((16 + 1 + 24 + 16) * SRAM_8)
    assert (found["dram_lines_in"], found["dram_lines_out"]) == pytest.approx((16 * DRAM, DRAM))


def test_operands_are_as_wide_as_what_a_layer_reads_by_hand() -> None:
    assert of(TINY, ENGINE, bits=Precision(16, 8, 8))["multiply"] == pytest.approx(96 * 0.2)
    assert of(TINY, ENGINE, bits=Precision(8, 8, 16))["multiply"] == pytest.approx(96 * 3.1)
    layers = (Layer("scale", "affine", (INPUT,)), Layer("sum", "add", (INPUT, "scale")))
    found = of(Network("shortcut", Shape(2, 4, 3), layers), ENGINE, bits=Precision(4, 4, 16))
    assert found["add"] == pytest.approx(24 * 0.1)  # of 16 bits: 8 bits would do with 0.03
    # 24 pixels of 2 bytes for each of the two layers, 24 results of half a byte for the sum, and its 12 bytes to DRAM.
    assert found["line_memory_read"] == pytest.approx((48 + 48 + 12 + 12) * SRAM_8)


def test_adds_maxima_and_affines_by_hand() -> None:
    layers = (
        Layer("scale", "affine", (INPUT,)),
        Layer("most", "max", ("scale",), kernel=Size(1, 3), padding=Padding(0, 0, 1, 1)),
        Layer("sum", "add", ("scale", "most")),
    )
    found = of(Network("plain", Shape(2, 4, 3), layers), ENGINE)
    assert found["multiply"] == pytest.approx(24 * 0.2)
    assert found["accumulate"] == pytest.approx(24 * 0.1)
    assert found["add"] == pytest.approx((24 * 2 + 24) * 0.03)
    # 2 rows of 4 pixels in 2 groups: 2 scales of a byte and 2 shifts of 4.
    assert found["weight_memory_read"] == pytest.approx(16 * 2 * 5 * SRAM_32)


def test_memories_between_those_of_the_table_and_beyond() -> None:
    def pj(size: int) -> float:
        return energy.action_pj(HOROWITZ, Action("", "sram", 1, 64, size))

    assert [pj(size) for size in (0, 1, 8192, 16384, 32768, 2**20, 2**30)] == pytest.approx(
        [10, 10, 10, 15, 20, 100, 100]
    )
    assert pj(2**17) == pytest.approx(20 + 80 * 2 / 5)


def test_operands_take_the_narrowest_entry_that_is_wide_enough() -> None:
    for bits, pj in ((3, 0.2), (8, 0.2), (9, 3.1), (32, 3.1)):
        assert energy.action_pj(HOROWITZ, Action("", "multiply", 1, bits)) == pj
    wide = Precision(33, 8)
    with pytest.raises(BadInput, match="energy table horowitz-45nm: multiply of 33 bits has no entry that is as wide"):
        energy.priced(simulate(TINY, ENGINE, wide), TINY, ENGINE, HOROWITZ, wide)


def times(table: Table, what: str, factor: float) -> Table:
    entries = tuple(
        msgspec.structs.replace(e, pj=e.pj * factor, low_pj=None, high_pj=None) if e.action == what else e
        for e in table.entries
    )
    return msgspec.structs.replace(table, entries=entries)


NETWORK = executed(preset("wrn-10-1"))
MACHINES = [machine("line-64"), machine("line-64/layer_by_layer"), settled(NETWORK, machine("pipeline-256"))]


@pytest.mark.parametrize("on", MACHINES, ids=lambda on: on.name)
def test_energy_is_linear_in_the_entries(on) -> None:
    total = sum(of(NETWORK, on).values())
    without = {what: sum(of(NETWORK, on, times(HOROWITZ, what, 0)).values()) for what in WHATS}
    assert sum(total - left for left in without.values()) == pytest.approx(total)
    for what, left in without.items():
        thrice = sum(of(NETWORK, on, times(HOROWITZ, what, 3)).values())
        assert thrice == pytest.approx(left + 3 * (total - left))


WHATS = ("add", "multiply", "sram", "dram")


def test_more_bytes_from_dram_are_more_energy() -> None:
    on = machine("line-64/layer_by_layer")
    assert isinstance(on, LineEngine)
    totals, moved = [], []
    for size in (64 * 1024, 16 * 1024, 4 * 1024):
        result = simulate(NETWORK, msgspec.structs.replace(on, line_memory_bytes=size))
        priced = energy.priced(result, NETWORK, on, HOROWITZ)
        assert isinstance(priced.energy_uj, dict)
        totals.append(sum(priced.energy_uj.values()))
        moved.append(sum(result.dram_bytes.values()))
    assert moved[0] < moved[1] < moved[2]
    assert totals[0] < totals[1] < totals[2]


def test_what_is_told_names_the_table_and_the_range() -> None:
    result = energy.priced(simulate(TINY, PIPELINE), TINY, PIPELINE, HOROWITZ)
    first, second = energy.told(result, HOROWITZ).splitlines()
    # 18 bytes of DRAM: 4387.5 pJ, from two thirds of that to four thirds; 840.2 pJ on chip.
    assert first == "energy of a frame (estimate, horowitz-45nm): 0.005228 uJ, 0.003765 to 0.00669 with DRAM's range"
    assert second.startswith("energy in uJ (estimate, horowitz-45nm): multiply 1.92e-05, add 6.4e-06, ")


def test_a_result_without_energy_is_as_it_was() -> None:
    plain = simulate(TINY, ENGINE)
    assert "energy" not in to_json(plain)
    priced = energy.priced(plain, TINY, ENGINE, HOROWITZ)
    assert msgspec.json.decode(to_json(priced), type=Result) == priced
    assert msgspec.json.decode(to_json(plain), type=Result) == plain


@pytest.mark.parametrize("name", ["horowitz-45nm", "scaled-28nm"])
def test_tables_of_ours_say_of_every_entry_where_it_is_from(name: str) -> None:
    table = energy.load(name)
    assert table.name == name
    assert table.source
    for entry in table.entries:
        assert all((entry.source, entry.node, entry.precision))


def test_the_scaled_table_is_the_measured_one_by_its_rule() -> None:
    assert len(energy.load("scaled-28nm").entries) == len(HOROWITZ.entries)
    for scaled, given in zip(energy.load("scaled-28nm").entries, HOROWITZ.entries, strict=True):
        factor = 1 if given.action == "dram" else 28 / 45
        assert (scaled.action, scaled.bits, scaled.capacity_bytes) == (given.action, given.bits, given.capacity_bytes)
        assert scaled.pj == pytest.approx(factor * given.pj, rel=1e-4)


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    write_yaml(tmp_path / "mine.yaml", times(msgspec.structs.replace(HOROWITZ, name="mine"), "dram", 2))
    mine = energy.load(str(tmp_path / "mine.yaml"))
    assert of(TINY, ENGINE, mine)["dram_lines_in"] == pytest.approx(2 * 16 * DRAM)


def entry(**fields: object) -> Entry:
    given = {"action": "add", "bits": 8, "pj": 1.0, "precision": "", "node": "", "source": ""}
    return Entry(**given | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"bits": 0}, "add: bits 0 was found, at least 1 is wanted"),
        (
            {"pj": -1.0},
            "add: -1, -1 and -1 pJ were found, low, value and high from 0 on, none below the one before, are wanted",
        ),
        (
            {"high_pj": 0.5},
            "add: 1, 1 and 0.5 pJ were found, low, value and high from 0 on, none below the one before, are wanted",
        ),
        ({"action": "sram"}, "sram: capacity_bytes 0 was found; an sram wants one, nothing else does"),
        ({"capacity_bytes": 8}, "add: capacity_bytes 8 was found; an sram wants one, nothing else does"),
    ],
)
def test_entries_that_are_wrong(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadInput) as told:
        entry(**fields)
    assert str(told.value) == sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace("pj: 10,", "pj: ten,"), "Expected `float`, got `str` - at `$.entries[4].pj`"),
        (lambda text: text.replace("name:", "names:"), "Object contains unknown field `names`; did you mean name?"),
        (
            lambda text: text.replace("source: >-", "sources: >-"),
            "Object contains unknown field `sources`; did you mean source?",
        ),
        (
            lambda text: text.replace("action: dram", "action: flash"),
            "Invalid enum value 'flash' - at `$.entries[7].action`; wanted is add or dram or multiply or sram",
        ),
        (
            lambda text: text.replace("bits: 8, pj: 0.03", "bits: 32, pj: 0.03"),
            "energy table horowitz-45nm: 2 entries of add were found, entries that all differ are wanted",
        ),
        (
            lambda text: "\n".join(line for line in text.splitlines() if "dram" not in line),
            "energy table horowitz-45nm: 0 entries of dram were found, one entry is wanted",
        ),
    ],
)
def test_tables_that_are_wrong_are_told_with_their_place(tmp_path: Path, change, sentence: str) -> None:
    text = (Path(energy.__file__).parents[1] / "hw" / "energy_tables" / "horowitz-45nm.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(change(text))
    with pytest.raises(BadInput) as told:
        energy.load(str(path))
    assert str(told.value) == f"{path}: {sentence}"

"""Machines by a preset's name and from YAML, and what is said of those that are none."""

import json

import msgspec
import pytest

from hw.accelerator import Budget, Engine, Fifo, LineEngine, Pipeline, bounded, machine, machine_presets
from hw.errors import BadInput

BUDGET = "machine: budget\nname: mine\nmacs: 100\nclock_mhz: 150\n"
PIPELINE = """\
machine: pipeline
name: mine
clock_mhz: 100
engines:
  stem: {pe: 4, simd: 3}
  norm: {pe: 2}
fifos:
  input -> stem: {depth: 2}
  stem -> norm: {depth: 600, ram: block}
buffers: {input -> stem: 40}
source_channels: 1
"""
LINE = """\
machine: line_engine
name: mine
pe: 8
simd: 4
line_memory_bytes: 4096
weight_memory_bytes: 0
dram_bytes_per_cycle: 0.5
dram_latency_cycles: 0
clock_mhz: 1.5
schedule: layer_by_layer
source: a test
"""


def refusal(name):
    with pytest.raises(BadInput) as error:
        machine(str(name))
    return str(error.value)


@pytest.fixture
def yaml(tmp_path):
    """Writes a machine file; gives its path."""

    def write(text, name="machine.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_budget_from_yaml(yaml):
    assert machine(str(yaml(BUDGET))) == Budget("mine", 100, 150.0)


def test_a_budget_of_several_limits_and_none_of_macs(yaml):
    text = BUDGET.replace("macs: 100", "dsp: 220\nbram18: 280")
    assert machine(str(yaml(text))) == Budget("mine", None, 150.0, dsp=220, bram18=280)
    assert machine(str(yaml(BUDGET + "bram18: 0\n"))) == Budget("mine", 100, 150.0, bram18=0)


@pytest.mark.parametrize(("name", "dsp", "bram36"), [("zynq-7020", 220, 140), ("artix-7-35t", 90, 50)])
def test_devices_are_budgets_and_say_their_source(name, dsp, bram36):
    found = machine(name)
    assert (found.macs, found.dsp, found.bram18) == (None, dsp, 2 * bram36)
    assert f"{dsp} DSP slices, {bram36} block RAMs of 36 kbit (DS1" in found.source


def test_limits_on_the_command_line_replace_those_of_a_budget():
    assert bounded(None) == machine("pipeline-256")
    assert bounded("line-64") == machine("line-64")
    assert bounded(None, dsp=220, bram18=280) == Budget("dsp 220, bram18 280", None, 200.0, 220, 280)
    tight = bounded("zynq-7020", macs=64, bram18=100)
    assert (tight.name, tight.clock_mhz) == ("zynq-7020, macs 64, bram18 100", 100.0)
    assert (tight.macs, tight.dsp, tight.bram18) == (64, 220, 100)
    with pytest.raises(BadInput, match="dsp 0 was found"):
        bounded("zynq-7020", dsp=0)
    sentence = "machine line-64: it has its own engines, dsp 9 can only limit a budget such as zynq-7020"
    with pytest.raises(BadInput, match=f"^{sentence}$"):
        bounded("line-64", dsp=9)


def test_a_pipeline_from_yaml(yaml):
    assert machine(str(yaml(PIPELINE, "m.yml"))) == Pipeline(
        name="mine",
        clock_mhz=100.0,
        engines={"stem": Engine(4, 3), "norm": Engine(2, 1)},
        fifos={"input -> stem": Fifo(2, "lut"), "stem -> norm": Fifo(600, "block")},
        buffers={"input -> stem": 40},
        source_channels=1,
        sink_channels=0,
    )


def test_a_line_engine_from_yaml(yaml):
    found = machine(str(yaml(LINE)))
    assert found == LineEngine("mine", 8, 4, 4096, 0, 0.5, 0, 1.5, "layer_by_layer", "a test")
    assert found.macs == 32


def test_a_machine_file_may_have_any_name_and_be_json(yaml):
    assert machine(str(yaml(BUDGET, "mine"))) == Budget("mine", 100, 150.0)
    text = '{"machine": "budget", "name": "j", "macs": 7, "clock_mhz": 1}'
    assert machine(str(yaml(text, "mine.json"))) == Budget("j", 7, 1.0)


@pytest.mark.parametrize("name", machine_presets())
def test_a_preset_written_as_yaml_is_read_back(name, yaml):
    preset = machine(name)
    assert preset.name == name
    assert machine(str(yaml(msgspec.yaml.encode(preset).decode()))) == preset


@pytest.mark.parametrize("macs", [1, 256, 999_999])
def test_a_pipeline_of_any_number_of_multipliers_is_a_budget(macs):
    assert machine(f"pipeline-{macs}") == Budget(f"pipeline-{macs}", macs, 200.0)


@pytest.mark.parametrize(("name", "macs"), [("line-64", 64), ("line-128", 128), ("line-216", 216)])
def test_line_engines_have_the_multipliers_of_their_name_and_say_their_source(name, macs):
    engine = machine(name)
    assert (engine.macs, engine.schedule) == (macs, "line_by_line")
    assert "assumed" in engine.source
    assert machine(f"{name}/layer_by_layer") == msgspec.structs.replace(
        engine, name=f"{name}/layer_by_layer", schedule="layer_by_layer"
    )
    assert machine(f"{name}/line_by_line").schedule == "line_by_line"


KNOWN = ", ".join(machine_presets())


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("pipline-256", "; did you mean pipeline-256?"),
        ("line-65", "; did you mean line-64?"),
        ("line-64/layer", "; did you mean line-64/layer_by_layer?"),
        ("zzz", f"; known are {KNOWN}"),
    ],
)
def test_a_name_that_is_no_machine_is_told(name, ending, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert refusal(name) == f"machine {name}: no such preset or file{ending}"


@pytest.mark.parametrize("name", ["pipeline-0", "pipeline-1000000"])
def test_how_many_multipliers_a_name_may_ask_for_is_told(name):
    assert refusal(name) == f"machine {name}: a pipeline-N has 1 to 999999 multipliers; a YAML file may say more"


@pytest.mark.parametrize("name", ["", " ", "a\x1b[31m", "two\nlines"])
def test_a_machine_whose_name_cannot_be_printed_is_told(name, tmp_path):
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"machine": "budget", "name": name, "macs": 4}))
    assert refusal(file) == f"{file}: the name {name!r} was found; one that can be printed is wanted"


def test_a_missing_file_is_told(tmp_path):
    assert refusal(tmp_path / "gone.yaml") == f"{tmp_path / 'gone.yaml'}: no such file"


def test_a_folder_is_told(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path}: cannot be read (Is a directory)"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BUDGET.replace("macs", "mac"), "Object contains unknown field `mac`; did you mean macs?"),
        (
            BUDGET.replace("macs: 100\n", ""),
            "machine mine: no limit was found, at least one of macs, dsp and bram18 is wanted",
        ),
        (BUDGET.replace("100", "many"), "Expected `int | null`, got `str` - at `$.macs`"),
        (BUDGET.replace("100", "1.5"), "Expected `int | null`, got `float` - at `$.macs`"),
        (BUDGET.replace("macs: 100", "dsp: 0"), "machine mine: dsp 0 was found, more than 0 is wanted"),
        (BUDGET.replace("macs: 100", "bram18: -1"), "machine mine: bram18 -1 was found, at least 0 is wanted"),
        (
            BUDGET.replace("budget", "bugdet"),
            "Invalid value 'bugdet' - at `$.machine`; wanted is pipeline or budget or line_engine",
        ),
        (BUDGET.replace("machine: budget\n", ""), "Object missing required field `machine`"),
        (BUDGET.replace("100", "0"), "machine mine: macs 0 was found, more than 0 is wanted"),
        (BUDGET.replace("150", "-1"), "machine mine: clock_mhz -1.0 was found, more than 0 is wanted"),
        (BUDGET.replace("150", ".nan"), "machine mine: clock_mhz nan was found, more than 0 is wanted"),
        (PIPELINE.replace("100", "0"), "machine mine: clock_mhz 0.0 was found, more than 0 is wanted"),
        (
            PIPELINE.replace("simd", "simd_"),
            "Object contains unknown field `simd_` - at `$.engines[...]`; did you mean simd?",
        ),
        (
            PIPELINE.replace("block", "uram"),
            "Invalid enum value 'uram' - at `$.fifos[...].ram`; wanted is block or lut",
        ),
        (PIPELINE.replace("depth: 2}", "depth: two}"), "Expected `int`, got `str` - at `$.fifos[...].depth`"),
        (PIPELINE.replace("engines", "engine"), "Object contains unknown field `engine`; did you mean engines?"),
        (LINE.replace("pe: 8", "pe: 0"), "machine mine: pe 0 was found, more than 0 is wanted"),
        (LINE.replace("simd: 4", "simd: -4"), "machine mine: simd -4 was found, more than 0 is wanted"),
        (LINE.replace("4096", "0"), "machine mine: line_memory_bytes 0 was found, more than 0 is wanted"),
        (LINE.replace("0.5", "0"), "machine mine: dram_bytes_per_cycle 0.0 was found, more than 0 is wanted"),
        (LINE.replace("1.5", "0"), "machine mine: clock_mhz 0.0 was found, more than 0 is wanted"),
        (
            LINE.replace("latency_cycles: 0", "latency_cycles: -1"),
            "machine mine: dram_latency_cycles -1 was found, at least 0 is wanted",
        ),
        (
            LINE.replace("memory_bytes: 0", "memory_bytes: -1"),
            "machine mine: weight_memory_bytes -1 was found, at least 0 is wanted",
        ),
        (
            LINE.replace("layer_by_layer", "by_layer"),
            "Invalid enum value 'by_layer' - at `$.schedule`; wanted is layer_by_layer or line_by_line",
        ),
        ("[1, 2]", "Expected `object`, got `array`"),
        ("", "Expected `object`, got `null`"),
    ],
)
def test_a_machine_file_that_cannot_be_used_is_told(text, sentence, yaml):
    path = yaml(text)
    assert refusal(path) == f"{path}: {sentence}"


def test_block_ram_answers_a_cycle_later():
    assert (Fifo(4, "block").read_latency_cycles, Fifo(4).read_latency_cycles) == (1, 0)

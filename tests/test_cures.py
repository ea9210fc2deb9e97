"""Files of YAML that are not of their record's form: the sentence says what would be."""

import pytest

from hw.accelerator import Machine
from hw.errors import BadInput
from hw.files import read_yaml

ENGINE = """
machine: line_engine
name: l
pe: 2
simd: 2
line_memory_bytes: 100000
weight_memory_bytes: 100000
dram_bytes_per_cycle: 4.0
dram_latency_cycles: 10
clock_mhz: 100.0
"""
FIFO = 'machine: pipeline\nname: p\nclock_mhz: 1.0\nengines: {}\nfifos: {"a -> b": {depth: 2, ram: wood}}\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            ENGINE + "schedule: any",
            "Invalid enum value 'any' - at `$.schedule`; wanted is layer_by_layer or line_by_line",
        ),
        (ENGINE + "dma_channels: 7", "Invalid enum value 7 - at `$.dma_channels`; wanted is 1 or 2"),
        (ENGINE + "resident: some", "Invalid enum value 'some' - at `$.resident`; wanted is all or auto or none"),
        (FIFO, "Invalid enum value 'wood' - at `$.fifos[...].ram`; wanted is block or lut"),
        ("machine: gpu", "Invalid value 'gpu' - at `$.machine`; wanted is pipeline or budget or line_engine"),
        (ENGINE + "row_grup: 2", "Object contains unknown field `row_grup`; did you mean row_group?"),
        (
            "machine: budget\nname: b\nmacs: 4\nclock_mhz: 1e3",
            "Expected `float`, got `str` - at `$.clock_mhz`; YAML takes 1e30 for a text and 1.0e+30 for a number",
        ),
        ("machine: budget\nname: b\nmacs: [4]", "Expected `int | null`, got `array` - at `$.macs`"),
    ],
)
def test_the_sentence_names_what_would_do(tmp_path, text, sentence):
    path = tmp_path / "machine.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as error:
        read_yaml(path, Machine)
    assert str(error.value) == f"{path}: {sentence}"


def test_an_unknown_key_that_is_near_none_is_told_all(tmp_path):
    path = tmp_path / "machine.yaml"
    path.write_text(ENGINE + "zzzzzz: 1")
    with pytest.raises(BadInput, match=r"unknown field `zzzzzz`; known are bram18, buffers, clock_mhz, .*, simd, "):
        read_yaml(path, Machine)

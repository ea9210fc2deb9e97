"""Reading tells whatever is wrong with a file; writing leaves the old file or the whole new one."""

import json
import resource
import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hw.errors import BadInput
from hw.files import (
    make_folder,
    read_arrays,
    read_bytes,
    read_json,
    read_yaml,
    replacing,
    to_json,
    write_arrays,
    write_json,
    write_text,
)


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    depth: int


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: Inner
    sizes: list[int] = []

    def __post_init__(self) -> None:
        if not self.name:
            raise BadInput("outer: a name is wanted")


READERS = {"json": read_json, "yaml": read_yaml}


def fault(path, text, reader, record=Outer):
    """What is said about a file of this text, without its path, which must come first."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput) as error:
        reader(path, record)
    start = f"{path}: "
    assert str(error.value).startswith(start)
    return str(error.value).removeprefix(start)


FORM_FAULTS = [
    ({"name": "a", "inner": {"depth": 1}, "nmae": 2}, "Object contains unknown field `nmae`; did you mean name?"),
    ({"name": "a", "inner": {"dpth": 1}}, "Object contains unknown field `dpth` - at `$.inner`; did you mean depth?"),
    ({"name": "a"}, "Object missing required field `inner`"),
    ({"name": 3, "inner": {"depth": 1}}, "Expected `str`, got `int` - at `$.name`"),
    ({"name": "a", "inner": {"depth": "1"}}, "Expected `int`, got `str` - at `$.inner.depth`"),
    ({"name": "a", "inner": {"depth": 1.5}}, "Expected `int`, got `float` - at `$.inner.depth`"),
    ({"name": "a", "inner": {"depth": 1}, "sizes": [1, None]}, "Expected `int`, got `null` - at `$.sizes[1]`"),
    ({"name": "", "inner": {"depth": 1}}, "outer: a name is wanted"),
    ([1], "Expected `object`, got `array`"),
    (None, "Expected `object`, got `null`"),
]


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize(("value", "sentence"), FORM_FAULTS)
def test_a_wrong_key_or_type_is_told_with_its_place(value, sentence, form, tmp_path):
    assert fault(tmp_path / f"a.{form}", json.dumps(value), READERS[form]) == sentence


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_right_file_is_read(form, tmp_path):
    path = tmp_path / "a"
    path.write_text('{"name": "a", "inner": {"depth": 3}, "sizes": [1, 2]}')
    assert READERS[form](path, Outer) == Outer("a", Inner(3), [1, 2])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Input data was truncated"),
        ('{"name": "a", "inner": {"dep', "Input data was truncated"),
        ('{"name": "a",, }', "JSON is malformed: object keys must be strings (byte 13)"),
        ('{"name": "a", "inner": {"depth": 1}} x', "JSON is malformed: trailing characters (byte 38)"),
        (b'{"name": "\xff"}', "'utf-8' codec can't decode byte 0xff in position 10: invalid start byte"),
    ],
)
def test_broken_json_is_told_in_a_sentence(text, sentence, tmp_path):
    assert fault(tmp_path / "a.json", text, read_json) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Expected `object`, got `null`"),
        (
            "name: [a, ",
            'while parsing a flow node did not find expected node content in "<byte string>", line 2, column 1',
        ),
        ("name: a\ninner: {depth: 1", "while parsing a flow mapping"),
        ("name: a\n  inner: 3", "mapping values are not allowed in this context"),
        ("name: \ta\n- b", "while parsing a block mapping"),
        (b"name: \xff", "unacceptable character #x00ff: invalid leading UTF-8 octet"),
        ("name: *nobody", 'found undefined alias in "<byte string>", line 1, column 7'),
    ],
)
def test_broken_yaml_is_told_in_one_line(text, sentence, tmp_path):
    told = fault(tmp_path / "a.yaml", text, read_yaml)
    assert told.startswith(sentence)
    assert "\n" not in told


@pytest.mark.parametrize("tag", ["object/apply:os.system", "name:os.system", "module:os", "object:hw.network.Layer"])
def test_yaml_that_names_python_objects_is_refused_and_does_nothing(tag, tmp_path):
    mark = tmp_path / "made"
    text = f"name: !!python/{tag} ['touch {mark}']\ninner: {{depth: 1}}\n"
    told = fault(tmp_path / "a.yaml", text, read_yaml)
    assert told == f"line 1: the tag !!python/{tag} was found; plain YAML without tags is wanted"
    assert not mark.exists()


def test_json_nested_too_deep_is_a_sentence(tmp_path):
    told = fault(tmp_path / "a.json", "[" * 100_000 + "]" * 100_000, read_json, list)
    assert told == "maximum recursion depth exceeded while deserializing an object"


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
@pytest.mark.parametrize("depth", [101, 100_000])
def test_yaml_nested_too_deep_is_a_sentence_and_no_crash(opening, depth, tmp_path):
    told = fault(tmp_path / "a.yaml", opening * depth, read_yaml, list)
    assert told == "lists and mappings more than 100 deep were found"


def test_yaml_of_100_levels_is_read(tmp_path):
    (tmp_path / "a.yaml").write_text("[" * 100 + "]" * 100)
    found = read_yaml(tmp_path / "a.yaml", list)
    for _ in range(99):
        (found,) = found
    assert found == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: a\nname: b\n", "line 2: the key name is there twice; remove one of them"),
        ('{name: a, "name": b}', "line 1: the key name is there twice; remove one of them"),
        ("name: a\ninner:\n  depth: 1\n  depth: 2\n", "line 4: the key depth is there twice; remove one of them"),
        ("name: a\n? name\n: b\n", "line 2: the key name is there twice; remove one of them"),
        ("sizes:\n- {depth: 1}\n- {depth: 1, depth: 1}\n", "line 3: the key depth is there twice; remove one of them"),
    ],
)
def test_a_key_that_is_there_twice_is_told_with_its_line(text, sentence, tmp_path):
    assert fault(tmp_path / "a.yaml", text, read_yaml) == sentence


def test_equal_keys_of_different_mappings_and_merged_ones_are_no_fault(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: [{x: 4}, {x: 5}, x]\n")
    assert read_yaml(path, dict) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": [{"x": 4}, {"x": 5}, "x"]}


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "line 15: more than 100000 values up to here, those behind aliases counted"),
        (MERGES, "line 15: more than 100000 values up to here, those behind aliases counted"),
        (CHAIN, "lists and mappings more than 100 deep were found"),
        ("[" + "x, " * 100_001 + "]", "line 1: more than 100000 values up to here, those behind aliases counted"),
        ("a: &a [*a]", "line 1: *a stands within &a, and would hold itself"),
        (f"a: {'1:' * 6000}1", "line 1: a text of 12001 characters, at most 10000 are wanted"),
        ("a: !!int ''", "line 1: the tag !!int was found; plain YAML without tags is wanted"),
        ("a: 2026-99-01", "month must be in 1..12"),
        (
            f"a: {'9' * 5000}",
            "Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits; use "
            "sys.set_int_max_str_digits() to increase the limit",
        ),
    ],
)
def test_yaml_that_would_take_memory_or_time_or_cannot_be_converted_is_a_sentence(text, sentence, tmp_path):
    assert fault(tmp_path / "a.yaml", text, read_yaml, dict) == sentence


def test_a_text_file_that_does_not_end_is_not_read_to_its_end():
    for reader in READERS.values():
        with pytest.raises(BadInput) as error:
            reader(Path("/dev/zero"), Outer)
        assert str(error.value) == "/dev/zero: more than 67108864 bytes were found, no more are wanted"


def test_a_name_with_a_nul_is_told(tmp_path):
    with pytest.raises(BadInput) as error:
        read_bytes(tmp_path / "a\0b")
    assert str(error.value) == f"{tmp_path}/a\\x00b: cannot be read (embedded null byte)"


def test_an_error_is_one_line_of_bounded_length_that_a_terminal_can_print():
    assert str(BadInput("a\x1b[31m\nb\u202e ok, µ and 中 stay")) == "a\\x1b[31m\\nb\\u202e ok, µ and 中 stay"
    long = str(BadInput("begin " + "x" * 10_000 + " end"))
    assert len(long) <= 2000
    assert long.startswith("begin x")
    assert long.endswith("x end")


@pytest.mark.parametrize(
    "read", [read_bytes, read_arrays, lambda p: read_json(p, Outer), lambda p: read_yaml(p, Outer)]
)
def test_a_missing_file_is_told(read, tmp_path):
    with pytest.raises(BadInput) as error:
        read(tmp_path / "gone")
    assert str(error.value) == f"{tmp_path / 'gone'}: no such file"


@pytest.mark.parametrize(
    "read", [read_bytes, read_arrays, lambda p: read_json(p, Outer), lambda p: read_yaml(p, Outer)]
)
def test_a_folder_in_place_of_a_file_is_told(read, tmp_path):
    with pytest.raises(BadInput) as error:
        read(tmp_path)
    assert str(error.value) == f"{tmp_path}: cannot be read (Is a directory)"


def test_a_path_below_a_file_cannot_be_read(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput) as error:
        read_bytes(tmp_path / "file" / "below")
    assert str(error.value) == f"{tmp_path / 'file' / 'below'}: cannot be read (Not a directory)"


ARRAYS = {
    "scalar": np.array(7),
    "none": np.zeros((0, 3), np.uint8),
    "floats": np.array([[0.1, -1e300], [np.inf, 0.0]]),
    "turned": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    "every_other": np.arange(10, dtype=np.int16)[::2],
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int8).reshape(2, 3)),
    "truths": np.array([True, False]),
}


def test_arrays_come_back_with_value_type_and_shape(tmp_path):
    write_arrays(tmp_path / "a.safetensors", ARRAYS)
    found = read_arrays(tmp_path / "a.safetensors")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tolist() == array.tolist(), name


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    for name in "ab":
        write_arrays(tmp_path / name, ARRAYS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("length", [0, 5, 20, -1])
def test_truncated_arrays_are_told_with_the_cure(length, tmp_path):
    path = tmp_path / "a.safetensors"
    write_arrays(path, ARRAYS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(BadInput) as error:
        read_arrays(path)
    assert str(error.value).startswith(f"{path}: not a whole safetensors file (")
    assert str(error.value).endswith("); make it again")


def test_arrays_of_a_type_that_numpy_lacks_are_told(tmp_path):
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0")
    with pytest.raises(BadInput) as error:
        read_arrays(path)
    assert str(error.value).startswith(f"{path}: not a whole safetensors file (")


def test_a_pickle_is_no_safetensors_file(tmp_path):
    path = tmp_path / "a.safetensors"
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    path.write_bytes((tmp_path / "a.npy").read_bytes())
    with pytest.raises(BadInput):
        read_arrays(path)


def test_a_failure_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half_write():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_has_its_name_only_after_the_block(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write", [lambda p: write_text(p, "x" * 9000), lambda p: write_arrays(p, {"a": np.zeros(2000)})]
)
def test_a_full_disk_leaves_the_old_file_and_is_told(write, tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(BadInput) as error:
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(error.value) == f"{path}: cannot be written (File too large)"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_place_of_the_file_is_told_and_kept(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(BadInput) as error:
        write_text(tmp_path / "a", "new")
    assert str(error.value) == f"{tmp_path / 'a'}: cannot be written (Is a directory)"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize(
    "write", [lambda p: write_json(p, 1), lambda p: write_text(p, ""), lambda p: write_arrays(p, {"a": np.zeros(1)})]
)
def test_a_path_below_a_file_cannot_be_written(write, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput) as error:
        write(tmp_path / "file" / "below" / "a.json")
    folder = tmp_path / "file" / "below"
    assert str(error.value) == f"{folder}: cannot be made a folder (Not a directory)"


def test_a_file_with_a_folders_name_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput) as error:
        make_folder(tmp_path / "file")
    assert str(error.value) == f"{tmp_path / 'file'}: cannot be made a folder (File exists)"


def test_a_folder_that_takes_no_files_is_told():
    with pytest.raises(BadInput) as error:
        write_text(Path("/proc/self/a.txt"), "x")
    assert str(error.value).startswith("/proc/self: cannot be written (")


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "grüße\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "grüße\n".encode()


def test_json_is_sorted_indented_and_ends_with_a_line(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": Inner(3)})
    assert (tmp_path / "a.json").read_text() == '{\n "a": {\n  "depth": 3\n },\n "b": [\n  1,\n  2.5\n ]\n}\n'
    assert to_json({"b": 1, "a": 2}) == to_json({"a": 2, "b": 1})

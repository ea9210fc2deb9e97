"""All readers under `fuzz.py`: few inputs here, 100,000 in the slow tier; the fuzzer on readers with faults."""

import json
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import fuzz
import fuzz_mutations as worse
import pytest
import yaml
from fuzz_targets import TARGETS, Target
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.errors import BadInput
from hw.files import read_yaml

for package in ("torch", "onnx", "hls4ml", "PIL", "matplotlib", "jinja2"):
    pytest.importorskip(package)

SLOW = 100_000


def fuzzed(count: int, seed: int) -> None:
    """All targets, in a process of its own: numba's and torch's threads are not forked from here."""
    script = [sys.executable, str(Path(fuzz.__file__)), "all", "--count", str(count), "--seed", str(seed)]
    done = subprocess.run(script, capture_output=True, text=True, cwd=fuzz.ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = {
        line.split()[0]: sum(map(int, re.findall(r"(\d+) (?:read|refused)", line))) for line in done.stdout.splitlines()
    }
    assert tried == fuzz.shares(count)


def test_some_inputs_of_every_reader_break_no_law() -> None:
    fuzzed(400, seed=0)


@pytest.mark.slow
def test_many_inputs_of_every_reader_break_no_law() -> None:
    fuzzed(SLOW, seed=10_000_000)


def test_every_target_has_its_share_and_some_inputs_that_are_read() -> None:
    assert sum(fuzz.shares(SLOW).values()) == pytest.approx(SLOW, abs=len(TARGETS))
    tally = fuzz.run("network", range(100))
    assert tally.read + tally.refused == 100
    assert tally.read >= 10
    assert tally.refused >= 10


def test_the_same_seed_makes_the_same_input() -> None:
    data = json.dumps({"a": [1, {"b": "c"}], "d": 2.5}).encode()
    made = [worse.of_json(Random(str(seed)), data) for seed in range(50)]
    assert made == [worse.of_json(Random(str(seed)), data) for seed in range(50)]
    assert len(set(made)) > 30


def broken(reader):
    """A target of one file with a reader that breaks the law once its first byte is no longer `a`."""

    def make(folder: Path) -> None:
        (folder / "case").mkdir()
        (folder / "case" / "file.txt").write_bytes(b"abc")

    def read(folder: Path) -> object:
        data = (folder / "file.txt").read_bytes()
        return None if data == b"abc" else reader(folder)

    return Target(make, {".txt": lambda rng, data: b"b" + data}, read)


def refuse(text):
    raise BadInput(text)


def hang(folder):
    while True:
        pass


def crash(folder):
    import ctypes

    ctypes.string_at(0)


def shout(folder):
    import warnings

    warnings.warn("x", stacklevel=1)


@pytest.mark.parametrize(
    ("reader", "kind"),
    [
        (lambda folder: {}["x"], "KeyError"),
        (lambda folder: refuse(""), "a message that is no readable line"),
        (lambda folder: bytearray(2 * fuzz.MEMORY_BYTES), "MemoryError"),
        (lambda folder: (folder / ".." / ".." / ".." / "x").write_text("x"), "Outside"),
        (lambda folder: Path("/dev/shm/x").mkdir(), "Outside"),  # noqa: S108
        (lambda folder: (folder / "file.txt").rename(fuzz.ROOT / "x"), "Outside"),
        (lambda folder: subprocess.run(["true"], check=False), "Outside"),
        (hang, "TooLong"),
        (shout, "UserWarning"),
        (crash, "the process ended with -11"),
    ],
)
def test_a_reader_that_breaks_the_law_is_seen(reader, kind, monkeypatch) -> None:
    monkeypatch.setattr(fuzz, "CPU_SECONDS", 0.2)
    monkeypatch.setitem(TARGETS, "broken", (lambda: broken(reader), 1))
    tally = fuzz.run("broken", range(3))
    assert sum(tally.counts.values()) == 3
    ((found, (seed, _)),) = tally.faults.items()
    assert found.startswith(kind)
    assert seed == 0


KEYS = st.text("ab", min_size=1, max_size=2)
TREES = st.recursive(
    st.one_of(st.integers(-9, 9), KEYS, st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(tree=st.dictionaries(KEYS, TREES, min_size=1, max_size=4), flow=st.sampled_from([None, True, False]))
@settings(max_examples=200, deadline=None)
def test_yaml_without_a_key_twice_is_read_as_pyyaml_reads_it_and_with_one_refused(tree, flow, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.yaml"
    text = yaml.safe_dump(tree, default_flow_style=flow)
    path.write_text(text)
    assert read_yaml(path, dict) == yaml.safe_load(text)
    key = next(iter(tree))
    again = yaml.safe_dump({key: 0}, default_flow_style=False)
    path.write_text(yaml.safe_dump(tree, default_flow_style=False) + again)
    with pytest.raises(BadInput) as error:
        read_yaml(path, dict)
    assert re.fullmatch(rf".*: line \d+: the key {key} is there twice; remove one of them", str(error.value))

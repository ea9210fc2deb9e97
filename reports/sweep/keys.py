"""Content hashes: what a figure depends on, and nothing else. Equal content has equal keys, whatever it is called.

A key is the start of a SHA-256 in hexadecimal digits. 64 and 64.0 are the same number, a list and a tuple the same
list, and the order of a dictionary is none.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

import hw
import reports.sweep
import sim
from hw.accelerator import Machine
from hw.network import Network
from hw.student import Student
from sim import energy as energies
from sim.result import Precision

DIGITS = 24
"""96 bits: two of ten million machines share a key with a probability of 1e-15."""
SWEEP_FILES = (
    "columns.py",
    "energies.py",
    "evaluate.py",
    "foldings.py",
    "keys.py",
    "line_frames.py",
    "lines.py",
    "pipelines.py",
    "table.py",
)
"""`evaluate.py` and all that it imports of this folder (`tests/test_sweep_store.py` looks whether that is so)."""


def network_key(network: Network, precision: Precision, student: Student | None = None) -> str:
    """Of a network and its bits: layers with their names, not the network's own; of a student its integers too.

    A student's test vectors and provenance do not count: no figure depends on them.
    """
    parts: list[object] = [_nameless(network), _plain(precision)]
    if student is not None:
        parts += [_nameless(student.network), _plain(student.formats)]
        parts += [_array(name, student) for name in sorted(student.integers)]
    return _key(parts)


def machine_key(machine: Machine) -> str:
    """Of a machine: its kind and all of its record but name and source."""
    return _key(_nameless(machine))


def figures_key(energy: str = "", family: str = "") -> str:
    """Of all that figures depend on beside network and machine: the code, and what is asked of it.

    `energy` is the name or file of a table, whose content counts; `family` that of the FPGAs whose resources are
    counted (`reports.sweep.evaluate.Asked`).

    Raises:
        BadInput: no such table.
    """
    return _key([code_version(), _plain(energies.load(energy)) if energy else "", family])


@functools.cache
def code_version() -> str:
    """Of the installed files that can change a figure: all of `hw` and `sim`, tables among them, and `SWEEP_FILES`.

    Bytes count, comments too. Versions of other packages do not: the simulators count in integers.
    """
    together = hashlib.sha256()
    for name, path in _sources():
        content = path.read_bytes()
        together.update(f"{name} {len(content)}\n".encode() + content)
    return together.hexdigest()[:DIGITS]


def _sources() -> Iterator[tuple[str, Path]]:
    for package in (hw, sim):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package.__name__}/{path.relative_to(folder).as_posix()}", path
    folder = Path(reports.sweep.__path__[0])
    yield from ((f"reports/sweep/{name}", folder / name) for name in SWEEP_FILES)


def _key(plain: object) -> str:
    text = msgspec.json.encode(plain, order="sorted")
    return hashlib.sha256(text).hexdigest()[:DIGITS]


def _nameless(record: Network | Machine) -> object:
    fields = {
        name: _plain(getattr(record, name)) for name in record.__struct_fields__ if name not in ("name", "source")
    }
    return [type(record).__name__, fields]


def _plain(value: object) -> object:
    """As JSON has it, every field written out (msgspec may leave out defaults); whole floats as integers."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    assert isinstance(value, list | tuple), type(value)
    return [_plain(inner) for inner in value]


def _array(name: str, student: Student) -> object:
    array = student.integers[name]
    return [name, array.shape, hashlib.sha256(array.astype("<i8").tobytes()).hexdigest()]

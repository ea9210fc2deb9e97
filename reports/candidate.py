"""One row: accuracy, cycles, bytes and resources of a network, side by side, with where each comes from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from hw import devices
from hw.devices import Fit
from hw.files import read_json, write_json
from hw.hls.manifest import Comparison
from hw.resources import Resources
from sim.result import Result

VERSION = 1
Role = Literal["teacher", "pacemaker", "student", "quantised student"]
ROLES: dict[str, Role] = {
    "full": "teacher",
    "split": "pacemaker",
    "sum": "pacemaker",
    "alternate": "pacemaker",
    "early": "pacemaker",
    "late": "pacemaker",
    "ensemble": "pacemaker",
    "row": "student",
}


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shares of right answers, 0 to 1, of the last epoch: one a seed, their mean and standard deviation (n - 1)."""

    seeds: tuple[float, ...]
    mean: float
    deviation: float | None


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training: mean loss and validation accuracy of every epoch."""

    seed: int
    loss: tuple[float, ...]
    validation: tuple[float, ...]


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network of a run. `results` has one entry a machine; `bits` is None where weights are floats.

    Machines count 8-bit numbers for float networks too, so that rows can be compared; `unfit` tells, by machine, why
    there is no result. `fits` has a verdict for every machine that is a part (`hw.devices`).
    """

    name: str
    role: Role
    learns_from: tuple[str, ...]
    bits: int | None
    validation: Accuracy
    test: Accuracy
    parameters: int
    macs: int
    executed_macs: int
    results: dict[str, Result]
    unfit: dict[str, str]
    resources: dict[str, Resources]
    curves: tuple[Curve, ...]
    text: str
    fits: dict[str, Fit] = {}


def part_fits(taken: Mapping[str, Resources], clocks_mhz: Mapping[str, float]) -> dict[str, Fit]:
    """Verdicts for those machines whose name is a part's; the others have no data sheet."""
    parts = devices.devices()
    return {name: devices.fit(found, parts[name], clocks_mhz[name]) for name, found in taken.items() if name in parts}


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What validation decided: the head of all students, the best of them, and which of its twins becomes hardware."""

    head: str
    student: str
    seed: int


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a run that the same seed gives again, byte for byte, on the same machine and versions.

    `fingerprints` are those of the quantised students; they tell whether the run has been trained anew since.
    """

    version: int
    recipe: str
    data: str
    input: tuple[int, int, int]
    classes: int
    images: dict[str, int]
    seeds: tuple[int, ...]
    chosen: Chosen
    fingerprints: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    hls: Comparison | None
    hls_missing: str


class RunRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs from run to run: times, paths, versions, the host."""

    command: str
    started: str
    seconds: dict[str, float]
    versions: dict[str, str]
    host: str
    cores: int
    folder: str


def write(folder: Path, report: Report, record: RunRecord) -> None:
    """Write `run.json`, then `candidates.json`."""
    write_json(folder / "run.json", record)
    write_json(folder / "candidates.json", report)


def read(folder: Path) -> tuple[Report, RunRecord]:
    """The report and the record of a run.

    Raises:
        BadInput: the folder has none, or one of another form.
    """
    return read_json(folder / "candidates.json", Report), read_json(folder / "run.json", RunRecord)

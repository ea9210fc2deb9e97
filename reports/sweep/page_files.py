"""Files beside a page that repeat its candidates: machines in YAML, students as every command reads them."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hw import presets, student
from hw.accelerator import Machine
from hw.errors import BadInput
from hw.files import appearing, write_text
from hw.passes import executed
from reports.sweep.result import Sweep
from reports.sweep.table import Subject
from sim.result import Precision
from sim.run import precision_of


@dataclass(frozen=True)
class Files:
    """What is to be written into a folder: machines by file name, students by the name of their folder.

    `commands` by row of the table, to be run where the page lies.
    """

    folder: str
    machines: Mapping[str, Machine]
    students: Mapping[str, student.Student]
    commands: Mapping[int, str]


def plan(sweep: Sweep, rows: Sequence[int], folder: str, place: Path = Path()) -> Files:
    """The files for some rows; `folder` as seen from the page in `place`. A row that no command repeats has none."""
    energy = ["--energy", seen_from(place, sweep.space.energy)] if sweep.space.energy else []
    machines: dict[str, Machine] = {}
    students: dict[str, student.Student] = {}
    commands: dict[int, str] = {}
    names: dict[str, str] = {}
    for row in rows:
        key, other = str(sweep.table["network_key"][row]), str(sweep.table["machine_key"][row])
        subject, machine = sweep.subjects.get(key), sweep.machines.get(other)
        if subject is None or machine is None:
            continue
        network = preset_of(subject) or onnx_of(sweep, subject, place)
        if has_student(subject) and subject.student is not None:
            name = names.setdefault(key, f"network-{len(students) + 1:02}")
            students[name] = subject.student
            network = f"{folder}/{name}"
        file = names.setdefault(other, f"machine-{len(machines) + 1:02}.yaml")
        if network:
            machines[file] = machine
            commands[row] = shlex.join(["pacemaker", "simulate", network, "--machine", f"{folder}/{file}", *energy])
    return Files(folder, machines, students, commands)


def preset_of(subject: Subject) -> str:
    """The name of the preset that a network is, bits included; "" where it is none."""
    name = str(subject.columns.get("network", ""))
    try:
        found = presets.preset(name)
    except BadInput:
        return ""
    return name if found == subject.network and subject.precision == Precision() else ""


def onnx_of(sweep: Sweep, subject: Subject, place: Path) -> str:
    """The ONNX file that a network was given as, seen from the page; "" where it is none."""
    name = str(subject.columns.get("network", ""))
    return seen_from(place, name) if name in sweep.space.networks.given and name.endswith(".onnx") else ""


def seen_from(place: Path, name: str) -> str:
    """The relative path of a file as a command in `place` names it; an absolute one, or a table's name, as it is."""
    relative = name.endswith((".onnx", ".yaml", ".yml")) and not Path(name).is_absolute()
    return os.path.relpath(name, place) if relative else name


def has_student(subject: Subject) -> bool:
    """Whether a subject's student, read from its folder, is simulated as the subject is.

    Its network may be the lifted one of the subject's: both are executed alike.
    """
    made = subject.student
    if made is None or precision_of(made) != subject.precision:
        return False
    return executed(made.network) == executed(subject.network)


def write(files: Files, place: Path) -> None:
    """Write them all, or nothing.

    Raises:
        BadInput: the folder cannot be written.
    """
    if not files.machines:
        return
    with appearing(place / files.folder) as folder:
        for name, machine in files.machines.items():
            write_text(folder / name, msgspec.yaml.encode(machine).decode())
        for name, made in files.students.items():
            student.save(made, folder / name)

"""Files beside a page that repeat its candidates: machines in YAML, students as every command reads them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hw import presets, student
from hw.accelerator import Machine
from hw.errors import BadInput
from hw.files import appearing, write_text
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


def plan(sweep: Sweep, rows: Sequence[int], folder: str) -> Files:
    """The files for some rows; `folder` as seen from the page. A row that no command repeats has none."""
    machines: dict[str, Machine] = {}
    students: dict[str, student.Student] = {}
    commands: dict[int, str] = {}
    names: dict[str, str] = {}
    for row in rows:
        key, other = str(sweep.table["network_key"][row]), str(sweep.table["machine_key"][row])
        subject, machine = sweep.subjects.get(key), sweep.machines.get(other)
        if subject is None or machine is None:
            continue
        network = preset_of(subject)
        if has_student(subject) and subject.student is not None:
            name = names.setdefault(key, f"network-{len(students) + 1:02}")
            students[name] = subject.student
            network = f"{folder}/{name}"
        file = names.setdefault(other, f"machine-{len(machines) + 1:02}.yaml")
        if network:
            machines[file] = machine
            words = ["pacemaker", "simulate", network, "--machine", f"{folder}/{file}"]
            commands[row] = shlex.join(words + (["--energy", sweep.space.energy] if sweep.space.energy else []))
    return Files(folder, machines, students, commands)


def preset_of(subject: Subject) -> str:
    """The name of the preset that a network is, bits included; "" where it is none."""
    name = str(subject.columns.get("network", ""))
    try:
        found = presets.preset(name)
    except BadInput:
        return ""
    return name if found == subject.network and subject.precision == Precision() else ""


def has_student(subject: Subject) -> bool:
    """Whether a subject's student, read from its folder, is simulated as the subject is."""
    made = subject.student
    return made is not None and made.network == subject.network and precision_of(made) == subject.precision


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

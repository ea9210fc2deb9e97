"""A piece of a sweep that one process simulates: some machines for one network."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.accelerator import Budget, LineEngine, Machine
from reports.sweep import evaluate
from reports.sweep.evaluate import Asked
from reports.sweep.table import Subject, Table

Indexes = NDArray[np.intp]


class Job(msgspec.Struct, frozen=True):
    """Some machines, with their keys, for one network."""

    subject: Subject
    machines: tuple[Machine, ...]
    keys: tuple[str, ...]
    asked: Asked


def run(job: Job) -> Table:
    """The exact figures of a job, wherever it is executed."""
    return evaluate.exact(job.subject, job.machines, job.asked, job.keys)


def light(subject: Subject) -> Subject:
    """Without test vectors, which no figure depends on and which would travel with every job."""
    made = subject.student
    if made is None:
        return subject
    return msgspec.structs.replace(
        subject, student=made.with_vectors(made.images[:0], made.labels[:0], made.outputs[:0])
    )


def order_of(machines: Sequence[Machine]) -> Indexes:
    """A rank for each, so that those which share their work are neighbours."""
    alike: dict[object, list[int]] = defaultdict(list)
    for i, machine in enumerate(machines):
        key: object = machine.name
        if isinstance(machine, Budget):
            key = machine.macs, machine.dsp, machine.bram18
        elif isinstance(machine, LineEngine):
            key = machine.schedule, machine.row_group, machine.skips, machine.line_memory_bytes
        alike[key].append(i)
    ranks = np.empty(len(machines), np.intp)
    ranks[[i for members in alike.values() for i in members]] = np.arange(len(machines))
    return ranks

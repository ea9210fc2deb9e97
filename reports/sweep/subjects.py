"""Networks as a sweep's machines see them: designs trained and quantised, or given ones as they are.

Nothing here imports torch before something is to be trained, so that a sweep of given networks does without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from hw import student
from hw.errors import UnsupportedLayer
from hw.files import read_json
from hw.network import Network
from hw.passes import executed
from hw.student import Student
from reports import candidate
from reports.candidate import Curve
from reports.sweep import columns
from reports.sweep.designs import Design
from reports.sweep.keys import network_key
from reports.sweep.table import Subject
from sim.result import Precision
from sim.run import named, precision_of

if TYPE_CHECKING:
    from distill.recipe import Recipe
    from reports.sweep.works import Elsewhere, OnProgress, Work

NAN = float("nan")
_OF_DESIGN = tuple(field.name for field in msgspec.structs.fields(Design) if field.name in columns.ALL)


@dataclass(frozen=True, eq=False)
class Made:
    """What became of designs: the subject of each, or why there is none.

    `curves` are of the float trainings, a seed each, by the subject's key. `students` are folders with the student of
    the seed that is best on validation images (`hw.student`), by key.
    """

    subjects: dict[Design, Subject] = field(default_factory=dict)
    failed: dict[Design, str] = field(default_factory=dict)
    curves: dict[str, tuple[Curve, ...]] = field(default_factory=dict)
    students: dict[str, Path] = field(default_factory=dict)


def make(
    designs: Sequence[Design],
    base: "Recipe",
    folder: Path,
    *,
    epochs: int | None = None,
    seeds: int | None = None,
    workers: int = 2,
    device: str = "cpu",
    cluster: "Elsewhere | None" = None,
    on_progress: "OnProgress" = lambda event: None,
) -> Made:
    """Train and quantise every design for the seeds 0, 1, ...; what `folder` has, from whatever sweep, is taken.

    A subject's student is that of the seed which is best on validation images, the first in a tie; accuracies are means
    over all seeds, of the integers. Arguments and errors are those of `trainings.train`.
    """
    from reports.sweep import pool, trainings

    wanted, failed = trainings.wanted_of(designs, base, folder, epochs=epochs, seeds=seeds)
    works = [work for each in wanted.values() for work in trainings.works_of(each, twins=True)]
    reasons = pool.do(works, folder, workers=workers, device=device, cluster=cluster, on_progress=on_progress)
    made = Made(failed=dict(failed))
    for design, each in wanted.items():
        twins = trainings.works_of(each, twins=True)
        told = [reasons[work.key] for work in twins if work.key in reasons]
        if told:
            made.failed[design] = told[0]
            continue
        subject, place = _subject(design, folder, twins)
        made.subjects[design] = subject
        made.curves[subject.key] = trainings.curves_of(folder, trainings.works_of(each))
        made.students[subject.key] = place
    return made


def _subject(design: Design, folder: Path, twins: "Sequence[Work]") -> tuple[Subject, Path]:
    """A design by its quantisations, one a seed, and the folder of its best student."""
    from reports.sweep import pool

    found = [pool.twin(folder, work) for work in twins]
    best = max(range(len(found)), key=lambda i: found[i].validation)
    place = folder / twins[best].key / "student"
    whole = student.load(place)
    validation = [each.validation for each in found]
    known = axes_of(design)
    known |= {
        "role": "teacher" if design.filters == "full" else "student",
        "accuracy": fmean(validation),
        "accuracy_deviation": _deviation(validation),
        "test_accuracy": fmean(each.test for each in found),
        "seeds": len(found),
        "parameters": found[best].parameters,
    }
    return subject_of(design.name, whole.network, known, whole), place


def axes_of(design: Design) -> dict[str, float | str]:
    """The axes that mean something to a design: a network without a teacher has no temperature."""
    told = [name for name in _OF_DESIGN if msgspec.structs.replace(design, **{name: None}).plain != design.plain]
    return {name: getattr(design, name) for name in told}


class Given(NamedTuple):
    """Networks that were named; `failed`, `curves` and `students` as in `Made`, by name and by key."""

    subjects: tuple[Subject, ...]
    failed: dict[str, str]
    curves: dict[str, tuple[Curve, ...]]
    students: dict[str, Path]


def given(names: Sequence[str]) -> Given:
    """Networks that are simulated as they are: presets, ONNX files and folders of runs, by `sim.run.named`.

    A network that no machine here executes has failed; of a run the accuracies and curves are those of its quantised
    student.

    Raises:
        BadInput: no such preset, file or run, or one that cannot be read.
    """
    found = Given((), {}, {}, {})
    subjects: dict[str, Subject] = {}
    for name in dict.fromkeys(names):
        try:
            network, precision = named(name)
        except UnsupportedLayer as error:
            found.failed[name] = str(error)
            continue
        place = _student_folder(name)
        made = student.load(place) if place else None
        run = _run(Path(name), made) if made else _Run()
        subject = subject_of(name, network, {"role": "given", **run.columns}, made, precision)
        subjects.setdefault(subject.key, subject)
        if place:
            found.students[subject.key] = place
        if run.curves:
            found.curves[subject.key] = run.curves
    return found._replace(subjects=tuple(subjects.values()))


def subject_of(
    name: str,
    network: Network,
    known: Mapping[str, float | str],
    made: Student | None = None,
    precision: Precision | None = None,
) -> Subject:
    """A network with all of its columns: what is not known of it is NaN, or "" where words are wanted.

    Args:
        name: of its row.
        network: as given, row strides not lifted.
        known: columns that the network does not tell itself.
        made: its integers; test vectors are not kept in memory.
        precision: None is the student's.
    """
    lean = _lean(student.lifted(made)) if made else None
    precision = precision or (precision_of(made) if made else Precision())
    told: dict[str, float | str] = {each.name: "" if each.type == "text" else NAN for each in columns.NETWORK}
    told |= {
        "network": name,
        "bits": precision.weight_bits,
        "parameters": network.parameters,
        "macs": network.macs,
        "executed_macs": executed(network).macs,
    }
    return Subject(network_key(network, precision, lean), told | dict(known), network, precision, lean)


def _lean(made: Student) -> Student:
    return made.with_vectors(made.images[:0], made.labels[:0], made.outputs[:0])


def _student_folder(name: str) -> Path | None:
    """Where `sim.run.named` finds a student by this name."""
    if name.endswith(".onnx"):
        return None
    return next((at for at in (Path(name) / "student", Path(name)) if (at / "student.json").is_file()), None)


class _Run(NamedTuple):
    """What a run says of its quantised student."""

    columns: Mapping[str, float | str] = MappingProxyType({})
    curves: tuple[Curve, ...] = ()


class _Twins(msgspec.Struct):
    """What is read of a run's `quantised.json` (`reports.students.Twins`, whose file imports torch)."""

    stage: str
    bits: int
    validation: tuple[float, ...]
    test: tuple[float, ...]
    fingerprints: tuple[str, ...]


def _run(folder: Path, made: Student) -> _Run:
    """From a run's files; a folder with a student alone has none."""
    if not (folder / "quantised.json").is_file():
        return _Run()
    twins = read_json(folder / "quantised.json", _Twins)
    if made.provenance.get("fingerprint") not in twins.fingerprints:
        return _Run()
    known: dict[str, float | str] = {
        "bits": twins.bits,
        "accuracy": fmean(twins.validation),
        "accuracy_deviation": _deviation(twins.validation),
        "test_accuracy": fmean(twins.test),
        "seeds": len(twins.validation),
    }
    if not (folder / "candidates.json").is_file():
        return _Run(known)
    report = candidate.read(folder)[0]
    stage = next((each for each in report.candidates if each.name == twins.stage), None)
    if report.fingerprints != twins.fingerprints or stage is None:
        return _Run(known)
    return _Run({**known, "parameters": stage.parameters}, stage.curves)


def _deviation(values: Sequence[float]) -> float:
    """Standard deviation with n - 1; NaN of one value."""
    return stdev(values) if len(values) > 1 else NAN

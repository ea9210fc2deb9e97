"""Trainings and quantisations, each done once: a folder of folders, each named by the hash of all that it depends on.

`<folder>/<key>` appears whole when its work is done, and is never changed. What is being done lies in
`<folder>/.work/<key>`, a run's folder as `distill` knows it, so that a training that was stopped goes on where it
stood. One process at a time writes a folder; any number of designs and sweeps, one after another, share it.
"""

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import msgspec

from distill import checkpoint, devices, jobs, parallel, precision
from distill import data as data_sets
from distill.answers import DEFAULT_BYTES, Store
from distill.log import Progress
from distill.perform import Means, perform
from distill.workers import Report, Task, execute
from hw import student
from hw.errors import BadInput, Interrupted, UnsupportedLayer
from hw.files import appearing, make_folder, read_bytes, read_json, write_json
from reports import students
from reports.sweep.works import Done as Done
from reports.sweep.works import Elsewhere, Files, Spent, Twin, with_needs
from reports.sweep.works import Epoch as Epoch
from reports.sweep.works import Event as Event
from reports.sweep.works import Failed as Failed
from reports.sweep.works import OnProgress as OnProgress
from reports.sweep.works import Work as Work

TEST_VECTORS = 100
"""Of each kept student; a sweep has many."""
_ONE_AT_A_TIME = threading.Lock()
"""Torch's generator and settings belong to the process: a cluster's worker of several threads trains one at a time."""


def is_done(folder: Path, work: Work) -> bool:
    """Whether its result is there."""
    return all((folder / work.key / name).is_file() for name in work.files)


def record(folder: Path, work: Work) -> checkpoint.Record:
    """The record of a finished training."""
    return checkpoint.record_of(folder / work.key, work.stage, work.seed)


def twin(folder: Path, work: Work) -> Twin:
    """The record of a finished quantisation."""
    return read_json(folder / work.key / "twin.json", Twin)


def seconds_an_epoch(folder: Path) -> dict[str, float]:
    """By `Work.kind`: means over all that the folder holds."""
    rates: dict[str, list[float]] = {}
    for path in folder.glob("*/spent.json"):
        with contextlib.suppress(BadInput):
            each = read_json(path, Spent)
            if each.epochs:
                rates.setdefault(each.kind, []).append(each.seconds / each.epochs)
    return {kind: fmean(values) for kind, values in rates.items()}


def do(
    works: Iterable[Work],
    folder: Path,
    *,
    workers: int = 2,
    device: str = "cpu",
    cluster: Elsewhere | None = None,
    on_progress: OnProgress = lambda event: None,
) -> dict[str, str]:
    """Do all works, and what they need, that `folder` does not have.

    Returns:
        The reasons of those that cannot be done, by key: their own, or that of what they need.

    Raises:
        PacemakerError: a folder that cannot be written or is in use, a device or data that are not there, a cluster
            that is gone.
        Interrupted: stopped by Ctrl-C; finished epochs are kept.
    """
    if workers < 1:
        raise BadInput(f"workers is {workers}, wanted is 1 or more")
    wanted = with_needs(works)
    with held(folder):
        todo = {key: work for key, work in wanted.items() if not is_done(folder, work)}
        tasks = [Task(key, frozenset(w.key for w in work.needs) & todo.keys(), work) for key, work in todo.items()]
        watch = _Watch(len(tasks), on_progress)
        try:
            if cluster is not None:
                cluster.perform(tasks, folder, device, watch.report)
            else:
                devices.chosen(device)
                execute(tasks, partial(here, folder, device), workers, watch.report)
        except KeyboardInterrupt:
            raise Interrupted(f"{folder}: stopped; finished epochs are kept, and the same command goes on") from None
        shutil.rmtree(folder / ".answers", ignore_errors=True)
    return _reasons(wanted, watch.failed)


class _Watch:
    """Counts what is done and keeps the reasons of what is not."""

    def __init__(self, of: int, on_progress: OnProgress) -> None:
        self.of = of
        self.number = 0
        self.failed: dict[str, str] = {}
        self.on_progress = on_progress

    def report(self, event: object) -> None:
        """An event of a worker."""
        if isinstance(event, Done):
            self.number += 1
            self.on_progress(msgspec.structs.replace(event, number=self.number, of=self.of))
        elif isinstance(event, Failed):
            self.failed[event.key] = event.reason
            self.on_progress(event)
        elif isinstance(event, Epoch):
            self.on_progress(event)


def _reasons(wanted: dict[str, Work], failed: dict[str, str]) -> dict[str, str]:
    """The reason of each failed work, and of those that need it."""
    reasons = dict(failed)
    for key, work in wanted.items():
        for need in work.needs:
            if need.key in failed:
                reasons.setdefault(key, failed[need.key])
    return reasons


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other sweeps from training in `folder`; what a killed one has left half made is cleared away.

    Raises:
        BadInput: another one trains there, or the folder cannot be written.
    """
    make_folder(folder)
    with _locked(folder, fcntl.LOCK_NB):
        for torn in folder.glob(".*.*"):  # of `hw.files.appearing`
            shutil.rmtree(torn, ignore_errors=True)
        for place in folder.glob(".work/*"):
            if (folder / place.name).exists():
                shutil.rmtree(place, ignore_errors=True)
        yield


@contextlib.contextmanager
def _locked(folder: Path, flags: int = 0) -> Iterator[None]:
    """Be the only process that does this with this folder; a process that is killed lets go."""
    try:
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({error.strerror})") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | flags)
        except BlockingIOError:
            raise BadInput(
                f"{folder}: another sweep is training here; wait until it is over, or name another folder"
            ) from None
        yield
    finally:
        os.close(lock)


def here(folder: Path, device: str, work: Work, report: Report) -> None:
    """Do one work in this process, unless something that it needs has failed."""
    if not all(is_done(folder, need) for need in work.needs):
        return
    place = folder / ".work" / work.key
    make_folder(place)
    with _locked(place):  # a worker of a sweep that was killed works until the end of its epoch
        if not is_done(folder, work):
            _do_here(folder, place, device, work, report)


def _do_here(folder: Path, place: Path, device: str, work: Work, report: Report) -> None:
    for need in work.needs:
        for name in need.files:
            _link(folder / need.key / name, place / name)
    reason = make(work, place, device, report, Store(folder / ".answers", DEFAULT_BYTES))
    if not reason:
        keep(folder, work, {name: read_bytes(place / name) for name in (*work.files, "spent.json")})
    shutil.rmtree(place, ignore_errors=True)
    report(ended(work, reason))


def away(work: Work, needs: Sequence[Files], place: Path, device: str, report: Report) -> tuple[Files, str]:
    """Do one work in an empty folder: the files that it makes, or why it cannot be done."""
    for files in needs:
        write(place, files)
    with _ONE_AT_A_TIME:
        reason = make(work, place, device, report)
    names = () if reason else (*work.files, "spent.json")
    return {name: read_bytes(place / name) for name in names}, reason


def ended(work: Work, reason: str) -> Done | Failed:
    """What is told of a work that is over; a reason says why it failed."""
    if reason:
        return Failed(work.key, work.stage, work.seed, reason)
    bits = work.recipe.quantisation.bits if work.twin else None
    return Done(work.key, work.stage, work.seed, bits, work.network)


def make(work: Work, place: Path, device: str, report: Report, store: Store | None = None) -> str:
    """Do one work in a run's folder that has what it needs: its files are there then, or why it cannot be done.

    Raises:
        PacemakerError: what has nothing to do with the network: no such data or device, a full disk.
    """
    data_sets.load(work.recipe.data)
    place_of_tensors, training = devices.chosen(device), work.recipe.training
    precision.check(training.precision, training.compile, place_of_tensors)
    means = Means(parallel.Ranks(device=place_of_tensors), store)
    since, epochs = time.perf_counter(), 0

    def tell(event: object) -> None:
        nonlocal epochs
        if isinstance(event, Progress):
            epochs += 1
            report(Epoch(work.key, event))

    try:
        if work.twin:
            _quantise(work, place)
            epochs = work.epochs
        else:
            perform(work.recipe, place, (work.seed,), means, jobs.Job(work.stage, work.seed), tell)
    except (BadInput, UnsupportedLayer) as error:
        if isinstance(error.__cause__, OSError):
            raise
        return str(error)
    write_json(place / "spent.json", Spent(time.perf_counter() - since, epochs, work.kind))
    return ""


def _quantise(work: Work, place: Path) -> None:
    recipe, data = work.recipe, data_sets.load(work.recipe.data)
    made = students.twin(recipe, place, work.stage, work.seed)
    parameters = students.traced(recipe, place, work.stage, work.seed).network.parameters
    student.save(students.with_vectors(made, data.test, TEST_VECTORS), place / "student")
    validation, test = (students.accuracy_of(made, images) for images in (data.validation, data.test))
    write_json(place / "twin.json", Twin(validation, test, parameters))


def keep(folder: Path, work: Work, files: Files) -> None:
    """Keep what a work has made.

    Raises:
        BadInput: it cannot be written.
    """
    with appearing(folder / work.key) as new:
        write(new, files)


def kept(folder: Path, work: Work) -> Files:
    """What a work has made.

    Raises:
        BadInput: a file cannot be read.
    """
    return {name: read_bytes(folder / work.key / name) for name in work.files}


def write(folder: Path, files: Files) -> None:
    """Write files into a folder, and onto the disk before anything names them.

    Raises:
        BadInput: it cannot be written, or the disk is full.
    """
    for name, content in files.items():
        path = folder / name
        make_folder(path.parent)
        try:
            with path.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise BadInput(f"{path}: cannot be written ({error.strerror})") from error


def _link(source: Path, target: Path) -> None:
    """Let a file have another name too; where the disk has no such links, copy it."""
    make_folder(target.parent)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

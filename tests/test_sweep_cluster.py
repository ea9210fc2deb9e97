"""A sweep on a scheduler and two worker processes of this machine: what comes back is what one process makes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distill.data import DataSpec
from distill.networks import NetworkSpec
from distill.recipe import Quantisation, Recipe, Stage, Training
from hw.errors import BadInput, PacemakerError
from reports.sweep import cluster, pool, subjects
from reports.sweep.cluster import Cluster
from reports.sweep.designs import Design

ROOT = Path(__file__).parents[1]
BASE = Recipe(
    "base",
    DataSpec("digits", train_images=120),
    NetworkSpec("plain", 5),
    (Stage("ce", "row"),),
    training=Training(epochs=2, batch=30),
    quantisation=Quantisation(epochs=1),
    seeds=1,
)
DESIGNS = (
    Design(family="plain", depth=5, pacemaker="none", bits=8).plain,
    Design(family="plain", depth=5, pacemaker="logits", students=1, bits=4).plain,
)


class Started:
    """A scheduler and workers, all processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", self._file
        )
        until = time.monotonic() + 60
        while not self._file.exists():
            assert time.monotonic() < until, "no scheduler came"
            time.sleep(0.05)
        self.address = pool.read_json(self._file, dict)["address"]

    @property
    def _file(self) -> Path:
        return self.folder / "scheduler.json"

    def worker(self, name: str, *more: str) -> None:
        own = ["--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        self.workers[name] = self._start("worker", self.address, *own, "--local-directory", self.folder, *more)

    def kill_busy(self, connected: Cluster) -> None:
        """Kill a worker: one that is doing something, or where none is at this moment, the first that lives."""
        info = connected.client.scheduler_info(n_workers=-1)["workers"]
        busy = [info[address]["id"] for address, doing in connected.client.processing().items() if doing]
        alive = [name for name, process in self.workers.items() if process.poll() is None]
        name = (busy or alive)[0]
        self.workers[name].kill()
        self.workers[name].wait()

    def _start(self, what: str, *flags: object) -> "subprocess.Popen[bytes]":
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        with (self.folder / f"{what}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", what, *map(str, flags)],
                env={**os.environ, "PYTHONPATH": path},
                stdout=log,
                stderr=log,
            )


@contextmanager
def started(folder: Path, *workers: str) -> Iterator[Started]:
    made = Started(folder)
    try:
        for name in workers:
            made.worker(name)
        yield made
    finally:
        for process in (*made.workers.values(), made.scheduler):
            process.kill()
            process.wait()


def squared_slowly(number: int) -> int:
    time.sleep(0.05)
    return number * number


def refused(number: int) -> int:
    if number == 3:
        raise BadInput(f"{number}: not this one")
    return number


def end_the_worker(number: int) -> int:
    os._exit(number)


def plain(made: subjects.Made) -> list[object]:
    """What a sweep's rows are made of."""
    rows = []
    for design, subject in made.subjects.items():
        columns = [(name, repr(value)) for name, value in subject.columns.items()]  # repr, since NaN is not NaN
        rows.append((design, subject.key, columns, subject.precision, made.curves[subject.key]))
    return rows


def files_in(folder: Path) -> dict[str, bytes]:
    """Files of a pool, without how long they took."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "spent.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_with_a_worker_killed_in_the_middle_the_rows_are_those_of_one_process(tmp_path: Path) -> None:
    with started(tmp_path, "a", "b") as made, cluster.connect(made.address) as connected:
        events: list[pool.Event] = []

        def watch(event: pool.Event) -> None:
            if not events:
                made.kill_busy(connected)
            events.append(event)

        far = subjects.make(DESIGNS, BASE, tmp_path / "far", cluster=connected, on_progress=watch)
        made.worker("c")
        results = connected.apply(squared_slowly, range(60))
        first = [next(results) for _ in range(5)]
        made.kill_busy(connected)
        assert [*first, *results] == [number**2 for number in range(60)]
        with pytest.raises(BadInput, match=r"^3: not this one$"):
            list(connected.apply(refused, range(9)))
    near = subjects.make(DESIGNS, BASE, tmp_path / "near", workers=1)
    assert plain(far) == plain(near)
    assert len(far.subjects) == 2
    assert files_in(tmp_path / "far") == files_in(tmp_path / "near")
    done = [event.key for event in events if isinstance(event, pool.Done)]
    assert len(done) == len(set(done)) == 3 + 2
    assert any(isinstance(event, pool.Epoch) for event in events)


def test_a_cluster_that_cannot_do_it_says_so_and_does_not_hang(tmp_path: Path) -> None:
    with started(tmp_path) as made:
        sentence = (
            f"cluster {made.address}: no worker came in 0 s; start one (docs/cluster.md), and the same command goes on"
        )
        with cluster.connect(made.address, patience_seconds=0) as empty:
            with pytest.raises(PacemakerError) as told:
                list(empty.apply(squared_slowly, [1]))
            assert str(told.value) == sentence
        made.worker("a")
        with cluster.connect(made.address, gpus=1, patience_seconds=0) as without:
            without.client.wait_for_workers(1, timeout=60)
            with pytest.raises(PacemakerError, match=r"no worker that offers gpu=1 came in 0 s"):
                subjects.make(DESIGNS[:1], BASE, tmp_path / "pool", cluster=without)
            assert list(without.apply(squared_slowly, [2])) == [4]
        with cluster.connect(made.address) as alone:
            results = alone.apply(squared_slowly, range(100))
            assert next(results) == 0
            made.scheduler.kill()
            with pytest.raises(PacemakerError) as told:
                list(results)
            assert str(told.value) == (
                f"cluster {made.address}: the scheduler is gone; start it again, and the same command goes on"
            )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "CONNECT_SECONDS", 0.2)
        with pytest.raises(BadInput, match=rf"^cluster {made.address}: no scheduler answers there within 0.2 s "):
            cluster.connect(made.address)


@pytest.mark.slow
def test_what_ends_every_worker_is_told(tmp_path: Path) -> None:
    with started(tmp_path, "a", "b", "c", "d", "e") as made, cluster.connect(made.address) as connected:
        connected.client.wait_for_workers(5, timeout=60)
        with pytest.raises(PacemakerError, match=r"4 workers, one after another, ended while they did the same piece"):
            list(connected.apply(end_the_worker, [1]))

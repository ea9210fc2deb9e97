"""The same sweep on other machines, by `dask.distributed`; how to start a cluster: docs/cluster.md.

Trainings go out as bytes and come back as bytes: no disk needs to be shared, and only the process that asked writes.
A training is asked for when all that it needs has come back, so that a worker that dies takes nothing with it but what
it was doing; dask then does that again elsewhere. Dask's protocol unpickles what peers send: a cluster is trusted.
"""

import queue
import re
import tempfile
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from hw.errors import BadInput, PacemakerError, need

if TYPE_CHECKING:
    from distill.workers import Report, Task
    from reports.sweep.works import Files, Work

Item = TypeVar("Item")
Result = TypeVar("Result")
CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 600.0
"""How long a sweep waits where no worker can do what it asks for: queues of clusters take their time."""
POLL_SECONDS = 1.0
GPU = "gpu"
ADDRESS = re.compile(r"([a-z]+://)?[^:/\s]+:[0-9]+|inproc://\S+|ucx://\S+")


class Cluster:
    """A scheduler and its workers, which may come and go."""

    def __init__(self, client: Any, address: str, gpus: int, patience_seconds: float) -> None:
        self.client = client
        self.address = address
        self.patience_seconds = patience_seconds
        self.training = {GPU: gpus} if gpus else {}

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster; what was asked of it and is not done is forgotten."""
        self.client.close(timeout=1)

    def apply(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of every item, in their order; a few are out at a time, so neither side holds all of them.

        Args:
            function: of a module that the workers have too.
            items: picklable; results too.

        Raises:
            PacemakerError: one that `function` raises; the scheduler is gone; worker after worker ended, or none came.
        """
        waiting, out = iter(items), deque[Any]()
        with self._told():
            try:
                while True:
                    ahead = 2 + 2 * sum(self.client.nthreads().values())
                    out.extend(self._ask(function, item) for item in islice(waiting, max(0, ahead - len(out))))
                    if not out:
                        return
                    self._wait([out[0]], {})
                    yield out.popleft().result()
            finally:
                self._cancel(out)

    def perform(self, tasks: "Sequence[Task[Work]]", folder: Path, device: str, report: "Report") -> None:
        """Do a pool's works; the files that come back are written into `folder`.

        Raises:
            PacemakerError: one of a work that has nothing to do with its network; the scheduler is gone; worker after
                worker ended, or none came.
        """
        round_ = _Round(self, folder, device, report)
        with self._told():
            try:
                round_.run(list(tasks))
            finally:
                round_.close()

    def _ask(self, function: Callable[..., object], *given: object, wants: Mapping[str, int] | None = None) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)  # weights: large, sent once
            return self.client.submit(function, *given, pure=False, resources=dict(wants or {}) or None)

    def _wait(self, futures: Sequence[Any], wants: Mapping[str, int]) -> None:
        """Until one is done, or some time has passed.

        Raises:
            PacemakerError: for a long time no worker could do it.
        """
        from distributed import wait

        since = time.monotonic()
        while True:
            with suppress(TimeoutError), self.client.as_current():
                wait(futures, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")  # type: ignore[no-untyped-call]
                return
            if self._able(wants):
                return
            if time.monotonic() - since > self.patience_seconds:
                offering = f" that offers {GPU}={wants[GPU]}" if wants else ""
                raise PacemakerError(
                    f"cluster {self.address}: no worker{offering} came in {self.patience_seconds:g} s; start one "
                    "(docs/cluster.md), and the same command goes on"
                )

    def _able(self, wants: Mapping[str, int]) -> bool:
        """Whether there is a worker that offers so much."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        offers = (each["resources"] for each in workers)
        return any(all(offer.get(name, 0) >= least for name, least in wants.items()) for offer in offers)

    def _cancel(self, futures: Iterable[Any]) -> None:
        """Forget futures; without a scheduler there is nobody to tell."""
        with suppress(CancelledError, OSError):
            if self.client.status == "running":
                self.client.cancel(list(futures))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Dask's own errors as sentences."""
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            yield
        except PacemakerError:
            raise
        except KilledWorker as error:
            raise PacemakerError(
                f"cluster {self.address}: {error.allowed_failures + 1} workers, one after another, ended while they "
                "did the same piece of work; if memory ran out, start workers with more of it, and the same command "
                "goes on"
            ) from None
        except (CancelledError, OSError) as error:
            lost = isinstance(error, CancelledError | CommClosedError)
            if not lost and self.client.status == "running":
                raise  # a worker's own, as of its disk
            raise PacemakerError(
                f"cluster {self.address}: the scheduler is gone; start it again, and the same command goes on"
            ) from None


class _Round:
    """The works of one call of `Cluster.perform`."""

    def __init__(self, cluster: Cluster, folder: Path, device: str, report: "Report") -> None:
        self.cluster = cluster
        self.folder = folder
        self.device = device
        self.report = report
        self.out: dict[Any, Work] = {}
        self.given: dict[str, Any] = {}
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.topic = f"pacemaker-{uuid.uuid4().hex}"
        cluster.client.subscribe_topic(self.topic, lambda event: self.events.put(event[1]))

    def close(self) -> None:
        """Forget what is out."""
        with suppress(CancelledError, OSError):
            if self.cluster.client.status == "running":
                self.cluster.client.unsubscribe_topic(self.topic)
        self.cluster._cancel([*self.out, *self.given.values()])

    def run(self, waiting: "list[Task[Work]]") -> None:
        """Ask for each work when what it needs has come back."""
        unfinished = {task.key for task in waiting}
        while waiting or self.out:
            for task in [task for task in waiting if not task.needs & unfinished]:
                waiting.remove(task)
                if not self._ask(task.payload):
                    unfinished.discard(task.key)
            if self.out:
                self.cluster._wait(list(self.out), self.cluster.training)
            self._tell()
            for future in [future for future in self.out if future.done()]:
                unfinished.discard(self._take(future))
            wanted = {need.key for task in waiting for need in task.payload.needs}
            self.given = {key: future for key, future in self.given.items() if key in wanted}
        self._tell()

    def _ask(self, work: "Work") -> bool:
        """Send a work out; not if something that it needs has failed."""
        from reports.sweep import pool

        if not all(pool.is_done(self.folder, each) for each in work.needs):
            return False
        for each in work.needs:
            if each.key not in self.given:
                self.given[each.key] = self.cluster._ask(_same, pool.kept(self.folder, each))
        needs = [self.given[each.key] for each in work.needs]
        sent = self.cluster._ask(_done, work, needs, self.device, self.topic, wants=self.cluster.training)
        self.out[sent] = work
        return True

    def _take(self, future: Any) -> str:
        """Keep what has come back; the key of its work."""
        from reports.sweep import pool

        work = self.out.pop(future)
        files, reason = future.result()
        if not reason:
            pool.keep(self.folder, work, files)
        self.report(pool.ended(work, reason))
        return work.key

    def _tell(self) -> None:
        """Pass on what workers have told."""
        from reports.sweep.works import Epoch

        while not self.events.empty():
            self.report(msgspec.json.decode(self.events.get(), type=Epoch))


def connect(address: str, *, gpus: int = 0, patience_seconds: float = PATIENCE_SECONDS) -> Cluster:
    """The cluster whose scheduler has this address, such as tcp://10.0.0.1:8786.

    Args:
        address: what `dask scheduler` prints.
        gpus: of dask's resource `gpu` that each training and quantisation asks for; 0 lets any worker train.
        patience_seconds: how long to wait where no worker can do what is asked for.

    Raises:
        MissingTool: the package distributed is not there.
        BadInput: no scheduler answers.
    """
    distributed = need("distributed", "cluster", "a sweep on a cluster")
    if gpus < 0:
        raise BadInput(f"gpus is {gpus}, wanted is 0 or more")
    if not ADDRESS.fullmatch(address):  # dask would tell it in a traceback
        raise BadInput(
            f"cluster {address}: wanted is an address such as tcp://10.0.0.1:8786, which dask scheduler prints"
        )
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"cluster {address}: no scheduler answers there within {CONNECT_SECONDS:g} s ({error}); wanted is an "
            "address such as tcp://10.0.0.1:8786, which dask scheduler prints when it starts"
        ) from None
    return Cluster(client, address, gpus, patience_seconds)


def _same(files: "Files") -> "Files":
    """A training that others need, lying with a worker."""
    return files


def _done(work: "Work", needs: "Sequence[Files]", device: str, topic: str) -> "tuple[Files, str]":
    """On a worker: a work done in a temporary folder; its files, or why it cannot be done."""
    from distributed import get_worker

    from reports.sweep import pool

    worker = get_worker()

    def tell(event: object) -> None:
        worker.log_event(topic, msgspec.json.encode(event).decode())

    with tempfile.TemporaryDirectory(prefix="pacemaker-") as folder:
        return pool.away(work, needs, Path(folder), device, tell)

"""Tasks with dependencies, in this process or in several side by side.

Workers are spawned, run one torch thread each and talk over a pipe of their own, so that one can be stopped at any
moment without harm to the others. Nothing here knows what a task does.
"""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Generic, TypeVar

from hw.errors import PacemakerError

Payload = TypeVar("Payload")

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:"
    "glibc.malloc.trim_threshold=8589934592",
}
"""Of a worker: one thread; and maps that were freed stay with the process, in huge pages, since the next step wants as
many again (docs/performance.md). Other C libraries than glibc ignore it."""
SECONDS_TO_STOP = 5.0
SECONDS_TO_ASK_AGAIN = 0.02


@dataclass(frozen=True)
class Task(Generic[Payload]):
    """One piece of work: its own key, the keys of tasks that come first, and what it is about."""

    key: str
    needs: frozenset[str]
    payload: Payload


Report = Callable[[object], None]
"""Takes an event of a task to the caller's process."""
Perform = Callable[[Payload, Report], None]
"""Does a task; a function of a module or a `functools.partial` of one, since it goes to other processes."""


@dataclass(frozen=True)
class _Event:
    content: object


@dataclass(frozen=True)
class _Failed:
    error: Exception


@dataclass(frozen=True)
class _Finished:
    pass


@dataclass
class _Worker:
    process: BaseProcess
    pipe: "Connection[object, object]"
    key: str | None = None


def execute(tasks: Sequence[Task[Payload]], perform: Perform[Payload], workers: int, report: Report) -> None:
    """Do all tasks, each after those that it needs; among ready ones the first comes first.

    Args:
        tasks: in an order in which they could be done one by one; needs that are not among them count as done.
        perform: does one task.
        workers: processes side by side; 1 works in this process.
        report: gets the events of all tasks, in this process.

    Raises:
        PacemakerError: as raised by a task, or a worker ended by itself.
        RuntimeError: any other exception of a task, with its traceback.
        KeyboardInterrupt: interrupted; all workers are stopped first.
    """
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            perform(task.payload, report)
        return
    pool: list[_Worker] = []
    try:
        for _ in range(min(workers, len(tasks))):
            pool.append(_start(perform))
        _hand_out(list(tasks), pool, report)
    finally:
        _stop(pool)


def _hand_out(waiting: list[Task[Payload]], pool: list[_Worker], report: Report) -> None:
    unfinished = {task.key for task in waiting}
    while unfinished:
        for worker in pool:
            ready = next((task for task in waiting if not task.needs & unfinished), None)
            if worker.key is None and ready is not None:
                waiting.remove(ready)
                worker.key = ready.key
                worker.pipe.send(ready.payload)
        busy = {worker.pipe: worker for worker in pool if worker.key is not None}
        if not busy:
            raise ValueError(f"tasks that need each other: {sorted(unfinished)}")
        for pipe in wait(list(busy)):
            _hear(busy[pipe], unfinished, report)  # type: ignore[index]


def _hear(worker: _Worker, unfinished: set[str], report: Report) -> None:
    """Take one message of a worker."""
    try:
        message = worker.pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join(SECONDS_TO_STOP)
        raise PacemakerError(
            f"{worker.key}: the worker process ended by itself (exit code {worker.process.exitcode}); "
            "if memory ran out, take fewer workers; a script of yours wants its work under "
            'if __name__ == "__main__":, or one worker'
        ) from None
    if isinstance(message, _Event):
        report(message.content)
    elif isinstance(message, _Failed):
        raise message.error
    elif worker.key is not None:
        unfinished.discard(worker.key)
        worker.key = None


def _serve(pipe: "Connection[object, object]", perform: Perform[Payload]) -> None:
    """A worker's life: do what comes over the pipe, until the pipe closes."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGALRM, _leave)
    sys.unraisablehook = _leave_again
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            payload = pipe.recv()
            pipe.send(_outcome(payload, perform, pipe))


def _outcome(payload: object, perform: Callable[..., None], pipe: "Connection[object, object]") -> _Finished | _Failed:
    try:
        perform(payload, lambda event: pipe.send(_Event(event)))
    except ConnectionError:
        raise
    except PacemakerError as error:
        return _Failed(error)
    except Exception:
        return _Failed(RuntimeError(f"a worker failed:\n{traceback.format_exc()}"))
    return _Finished()


def _leave(signal_number: int, frame: FrameType | None) -> None:
    """Unwind, so that temporary files go."""
    raise SystemExit(128 + signal.SIGTERM)


def _leave_again(swallowed: "sys.UnraisableHookArgs") -> None:
    """Python drops what is raised within a callback of C code or a finaliser: ask to leave once more."""
    if isinstance(swallowed.exc_value, SystemExit):
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_ASK_AGAIN)
    else:
        sys.__unraisablehook__(swallowed)


def _start(perform: Perform[Payload]) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, perform), daemon=True)
    with _environment(ENVIRONMENT), _uninterrupted():
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _stop(pool: Sequence[_Worker]) -> None:
    """End all workers: at once, whether they work or wait."""
    for worker in pool:
        worker.process.terminate()
    for worker in pool:
        worker.process.join(SECONDS_TO_STOP)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Children born here ignore Ctrl-C, which a terminal sends to all: their parent stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

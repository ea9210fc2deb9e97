"""Every reader of files, fed with files that were made worse: `python tests/fuzz.py TARGET --count N --seed S`.

The law: what comes out is an object, or a `PacemakerError` whose message is one printable line of bounded length. No
other exception, no warning, no hang (CPU seconds an input), no memory above a bound, and nothing written, started or
connected to outside of the folder that the file lies in. Input i of a target is the same for ever as long as the right
files are: a run of seeds S to S + N - 1 goes on where another stopped, and one seed alone is `--count 1 --seed i`.
"""

import argparse
import contextlib
import faulthandler
import mmap
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec
from fuzz_mutations import of_bytes
from fuzz_targets import TARGETS, Change, Target

from hw.errors import LONGEST, PacemakerError

ROOT = Path(__file__).parents[1]
CPU_SECONDS = 10
WALL_SECONDS = 120
MEMORY_BYTES = 1 << 30
"""Of address space, above what the process has before its first input."""
CHUNK = 2000
"""Inputs a process: a crash costs one of them, and the peak of memory is that of few."""
IN_MEMORY = "/dev/shm"  # noqa: S108  # a folder with a name of its own is made there
"""Where inputs are laid if it is there: on a disk they wait for it."""
CHANGING = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate"}
FORBIDDEN = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class"}


class TooLong(BaseException):
    """An input took more than `CPU_SECONDS`."""


class Outside(BaseException):
    """Something was written outside of the folder, started, connected to, or unpickled."""


class Tally(msgspec.Struct):
    """What came of some inputs; `faults` has the first seed and the trace of each kind."""

    read: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    slowest_seed: int = 0
    grown_kib: int = 0
    faults: dict[str, tuple[int, str]] = {}
    counts: dict[str, int] = {}
    sentences: dict[str, int] = {}

    def fault(self, kind: str, seed: int, trace: str = "") -> None:
        """Count one; keep the first of its kind."""
        self.faults.setdefault(kind, (seed, trace))
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def add(self, other: "Tally") -> None:
        """Take another's inputs in."""
        self.read, self.refused = self.read + other.read, self.refused + other.refused
        self.grown_kib = max(self.grown_kib, other.grown_kib)
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest_seed = other.slowest_s, other.slowest_seed
        for kind, (seed, trace) in other.faults.items():
            self.faults.setdefault(kind, (seed, trace))
        self.counts = dict(Counter(self.counts) + Counter(other.counts))


@dataclass
class Sandbox:
    """The only folder that may be written to, and whether that is watched just now."""

    root: Path
    watched: bool = False
    inside: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.root.resolve()
        self.inside = (f"{self.root}/", "/dev/null")
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple) -> None:
        if not self.watched:
            return
        if event == "open":
            writes = given[2] is not None and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            self._check(event, given[:1] if writes else ())
        elif event in CHANGING:
            folder = given[-1] if isinstance(given[-1], int) and event in ("os.remove", "os.rmdir") else -1
            beside = "" if folder < 0 else f"/proc/self/fd/{folder}/"
            self._check(event, [f"{beside}{os.fsdecode(path)}" for path in given[:2] if isinstance(path, str | bytes)])
        elif event == "sqlite3.connect":
            self._check(event, given[:1])
        elif event in FORBIDDEN:
            raise Outside(f"{event} {given!r}")

    def _check(self, event: str, paths: Sequence[object]) -> None:
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike):
                name = os.path.realpath(os.fsdecode(path))  # of any kind of path
                if not f"{name}/".startswith(self.inside[0]) and name != "/dev/null":
                    raise Outside(f"{event} {name}")


def run(name: str, seeds: range) -> Tally:
    """All inputs of these seeds, in processes that each do some of them."""
    total, target = Tally(), TARGETS[name][0]()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=IN_MEMORY if Path(IN_MEMORY).is_dir() else None) as place:
        right = _right(target, Path(place) / "right")
        todo = seeds
        while todo:
            done, tally = _chunk(target, name, right, Path(place), todo[:CHUNK])
            total.add(tally)
            todo = todo[done:]
    return total


def _right(target: Target, folder: Path) -> list[dict[str, bytes]]:
    """The right files of each case; they are read once, so that all is imported before anything is bounded."""
    folder.mkdir()
    target.make(folder)
    cases = []
    for case in sorted({path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}):
        cases.append({str(p.relative_to(folder / case)): p.read_bytes() for p in _files(folder / case)})
        target.read(folder / case)
    return cases


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _chunk(target: Target, name: str, right: list[dict[str, bytes]], place: Path, seeds: range) -> tuple[int, Tally]:
    """Inputs in a process of their own; how many of them were done, a crash counted as one."""
    now, answer = mmap.mmap(-1, 8), place / "tally.json"
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 70
        faulthandler.disable()  # a crash is counted, not told
        try:
            answer.write_bytes(msgspec.json.encode(_inputs(target, name, right, place / "box", seeds, now)))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status == 0:
        return len(seeds), msgspec.json.decode(answer.read_bytes(), type=Tally)
    seed, tally = int.from_bytes(now[:8], "little"), Tally()
    code = os.waitstatus_to_exitcode(status)
    tally.fault(f"the process ended with {code}", seed)
    before = seeds[: seed - seeds[0]]
    if before:  # its tally is lost: do those before the crash again
        tally.add(_chunk(target, name, right, place, before)[1])
    return seed - seeds[0] + 1, tally


def _inputs(target: Target, name: str, right: list[dict[str, bytes]], box: Path, seeds: range, now: mmap.mmap) -> Tally:
    shutil.rmtree(box, ignore_errors=True)
    (box / "tmp").mkdir(parents=True)
    sandbox, tally = Sandbox(box), Tally()
    tempfile.tempdir = str(sandbox.root / "tmp")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _bounded(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in seeds:
            now[:8] = seed.to_bytes(8, "little")
            folder = sandbox.root / "in" / "put"
            _write(target, name, right, folder, seed)
            start = time.process_time()
            _one(target, folder, sandbox, seed, tally)
            took = time.process_time() - start
            if took > tally.slowest_s:
                tally.slowest_s, tally.slowest_seed = took, seed
    tally.grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return tally


def _write(target: Target, name: str, right: list[dict[str, bytes]], folder: Path, seed: int) -> None:
    """The files of a case, one or more of them made worse."""
    shutil.rmtree(folder.parent, ignore_errors=True)
    rng = Random(f"{name} {seed}")
    files = dict(rng.choice(right))
    able = [path for path in files if Path(path).suffix in target.change]
    chosen = {rng.choice(able)} | {path for path in able if rng.random() < 0.1}
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_worse(target.change[place.suffix], rng, data) if path in chosen else data)


def _worse(change: Change, rng: Random, data: bytes) -> bytes:
    """A structure that cannot be changed or written in this way is changed as bytes."""
    try:
        return change(rng, data)
    except (LookupError, TypeError, ValueError, RecursionError, OverflowError):
        return of_bytes(rng, data)


def _one(target: Target, folder: Path, sandbox: Sandbox, seed: int, tally: Tally) -> None:
    try:
        with _timed():
            sandbox.watched = True
            try:
                target.read(folder)
            finally:
                sandbox.watched = False
        tally.read += 1
    except PacemakerError as error:
        tally.refused += 1
        said = str(error)
        if not said or not said.isprintable() or len(said) > LONGEST:
            tally.fault(f"a message that is no readable line: {said[:200]!a}", seed)
    except (Exception, TooLong, Outside) as error:
        tally.fault(_kind(error), seed, "".join(traceback.format_exception(error))[-3000:])


def _kind(error: BaseException) -> str:
    """Type and place in our files: equal faults are one."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if str(ROOT) in f.filename and "/tests/" not in f.filename
    ]
    place = f"{Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno}" if frames else "outside"
    return f"{type(error).__name__} at {place}"


@contextlib.contextmanager
def _timed() -> Iterator[None]:
    """Stop Python code by CPU time; C code that does not come back ends the process."""

    def stop(number: int, frame: object) -> None:
        raise TooLong(f"more than {CPU_SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    faulthandler.dump_traceback_later(WALL_SECONDS, exit=True)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """At most `MEMORY_BYTES` of address space more than there is now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def shares(count: int) -> dict[str, int]:
    """How many of `count` inputs each target gets."""
    whole = sum(share for _, share in TARGETS.values())
    return {name: max(1, round(count * share / whole)) for name, (_, share) in TARGETS.items()}


def main(words: list[str] | None = None) -> int:
    """Fuzz one target or all; 1 if the law was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["all", *TARGETS])
    parser.add_argument("--count", type=int, default=1000, help="inputs; of all targets together by `all`")
    parser.add_argument("--seed", type=int, default=0, help="of the first input")
    given = parser.parse_args(words)
    counts = shares(given.count) if given.target == "all" else {given.target: given.count}
    broken = 0
    for name, count in counts.items():
        start = time.monotonic()
        tally = run(name, range(given.seed, given.seed + count))
        print(
            f"{name:10} seeds {given.seed}-{given.seed + count - 1}: {tally.read} read, {tally.refused} refused, "
            f"{sum(tally.counts.values())} faults; {time.monotonic() - start:.0f} s, slowest {tally.slowest_s:.2f} s "
            f"(seed {tally.slowest_seed}), +{tally.grown_kib / 1024:.0f} MiB",
            flush=True,
        )
        for kind, (seed, trace) in tally.faults.items():
            broken += 1
            print(f"  {tally.counts[kind]} x {kind}; again by: {name} --count 1 --seed {seed}\n{trace}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

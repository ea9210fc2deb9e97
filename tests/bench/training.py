"""Teacher-student training against torchdistill: `python tests/bench/training.py`, or `rows()` from bench.py.

Two processes of one thread each, ours and torchdistill's in an environment of its own but on the same torch, train an
epoch in turn: the same nets and weights, images, order, losses and SGD, no augmentation. The headline asks the teacher
at every step on both sides; what else ours can do is listed apart, and what our workers' memory settings alone do for
torchdistill. About five minutes on an idle machine, the making
of the environment not counted.
"""

import json
import statistics
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import msgspec
from peer_environments import HERE, ROOT, Missing, Peer, environment, last_line, surroundings
from training_rows import Row, differs, missing, ratio_row, seconds_row

from distill.workers import ENVIRONMENT

TORCHDISTILL = Peer("torchdistill", ("torchdistill==1.1.5", "torchvision==0.28.0"), shares=True)
TURN_TIMEOUT_S = 240.0
ROUNDS = 3
WORKERS = ("0", "2")
HELPED = "torchdistill_helped"
LOSSES = 20
CLOSE = 1e-5


class Seconds(msgspec.Struct, frozen=True):
    """Of wall clock, and of the process's own CPU (a loader's workers not counted)."""

    wall_s: float
    cpu_s: float


class Epochs(msgspec.Struct, frozen=True):
    """One training: its epochs (of a compiled one the first one compiles), the teacher's part, each step's loss."""

    epochs: list[Seconds]
    teacher: Seconds
    losses: list[float]
    torch: str
    python: str


class Plan(NamedTuple):
    """A case of `training_case.py`, its steps, and the modes of ours that are measured besides `asked`."""

    case: str
    steps: int
    besides: tuple[str, ...]
    compiles: bool


PLANS = (
    Plan("fashion_wrn_10_1", 20, ("cached", "bfloat16"), True),
    Plan("wrn_16_2", 20, (), False),
)


class Worker:
    """A process of `training_worker.py` that answers requests."""

    def __init__(self, python: Path, side: str, folder: Path, memory: bool) -> None:
        """Start it; with `memory` the C library keeps freed memory, as in the workers of a run of ours."""
        self.side = side
        self.complaints = (folder / f"{side}.log").open("w+b")
        command = [str(python), str(HERE / "training_worker.py"), side]
        quiet = {**surroundings(), **(ENVIRONMENT if memory else {"OMP_WAIT_POLICY": "passive"})}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.complaints}
        self.process = subprocess.Popen(command, text=True, env=quiet, **pipes)

    def train(self, plan: Plan, mode: str, steps: int | None = None) -> Epochs | Missing:
        """One training; a worker that dies, stops answering or says why not is Missing."""
        assert self.process.stdin
        assert self.process.stdout
        alarm = threading.Timer(TURN_TIMEOUT_S, self.process.kill)
        alarm.start()
        try:
            print(json.dumps({"case": plan.case, "mode": mode, "steps": steps or plan.steps}), file=self.process.stdin)
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError as error:
            return Missing(f"{self.side}: {error}")
        finally:
            alarm.cancel()
        if not line:
            return Missing(f"{self.side}, {mode}: {self.last_words()}")
        said = json.loads(line)
        if "error" in said:
            return Missing(f"{self.side}, {mode}: {said['error']}")
        return msgspec.convert(said, Epochs)

    def last_words(self) -> str:
        self.complaints.seek(0)
        return last_line(self.complaints.read())

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.complaints.close()


def rows() -> dict[str, Row]:
    """A row for each figure; where one cannot be had, `median` is None and `reason` says why."""
    try:
        python = environment(TORCHDISTILL)
    except (OSError, subprocess.SubprocessError) as error:
        detail = last_line(getattr(error, "stderr", None))
        return {"training_ratio_torchdistill": missing(f"torchdistill: its environment: {error}; {detail}")}
    ours = Worker(Path(sys.executable), "ours", ROOT, memory=True)
    theirs, helped = (Worker(python, "torchdistill", ROOT, memory) for memory in (False, True))
    try:
        found = {}
        for plan in PLANS:
            found |= case_rows(plan, theirs, helped, ours)
    finally:
        for worker in (theirs, helped, ours):
            worker.end()
    return {"training_ratio_torchdistill": headline(found), **found}


def case_rows(plan: Plan, theirs: Worker, helped: Worker, ours: Worker) -> dict[str, Row]:
    """Warm all up, choose torchdistill's number of workers, then train in turn; `helped` has our memory settings."""
    ours.train(plan, "asked", 2)
    helped.train(plan, "0", 2)
    tried = {mode: theirs.train(plan, mode, 4) for mode in WORKERS[::-1] for _ in range(2)}
    quickest = min(WORKERS, key=lambda mode: wall(tried[mode]))
    modes = ("asked", *plan.besides)
    taken: dict[str, list[Epochs | Missing]] = {mode: [] for mode in ("torchdistill", HELPED, *modes)}
    for _ in range(ROUNDS):
        taken["torchdistill"].append(theirs.train(plan, quickest))
        taken[HELPED].append(helped.train(plan, quickest))
        for mode in modes:
            taken[mode].append(ours.train(plan, mode))
    if plan.compiles:
        taken["compiled"] = [ours.train(plan, "compiled")]
    return in_rows(plan, taken, f"num_workers {quickest}, the quicker of {' and '.join(WORKERS)}")


def wall(answer: Epochs | Missing) -> float:
    return float("inf") if isinstance(answer, Missing) else answer.epochs[-1].wall_s


def in_rows(plan: Plan, taken: dict[str, list[Epochs | Missing]], loader: str) -> dict[str, Row]:
    """Seconds of an epoch in each mode, and how many times longer torchdistill's takes."""
    found: dict[str, Row] = {}
    for mode, answers in taken.items():
        bad = next((answer.reason for answer in answers if isinstance(answer, Missing)), None)
        good = [answer for answer in answers if isinstance(answer, Epochs)]
        key = f"training_{plan.case}_{mode}_s"
        if bad is not None:
            found[key] = missing(bad)
            continue
        walls, cpus = epoch_seconds(mode, good, "wall_s"), epoch_seconds(mode, good, "cpu_s")
        found[key] = seconds_row(
            walls, cpus, f"torch {good[0].torch}, Python {good[0].python}", said(mode, good, loader)
        )
        found[key]["losses"] = good[0].losses[:LOSSES]
    peer = found[f"training_{plan.case}_torchdistill_s"]
    for mode in [mode for mode in taken if mode != "torchdistill"]:
        mine = found[f"training_{plan.case}_{mode}_s"]
        found[f"training_{plan.case}_{mode}_ratio_torchdistill"] = ratio_row(peer, mine, differs(peer, mine), CLOSE)
    for row in found.values():
        row.pop("losses", None)
    return found


def epoch_seconds(mode: str, answers: list[Epochs], clock: str) -> list[float]:
    """An epoch's, without what is done once for all epochs: compiling, and a teacher whose answers are kept."""
    if mode == "compiled":
        return [getattr(epoch, clock) for answer in answers for epoch in answer.epochs[1:]]
    once = [getattr(answer.teacher, clock) if mode == "cached" else 0.0 for answer in answers]
    return [getattr(answer.epochs[0], clock) - less for answer, less in zip(answers, once, strict=True)]


def said(mode: str, answers: list[Epochs], loader: str) -> str:
    """What a mode is, and its seconds that are not an epoch's."""
    teacher = statistics.median(answer.teacher.wall_s for answer in answers)
    if mode == "cached":
        return f"without the {teacher:.3g} s in which the teacher answers once for all epochs"
    if mode == "compiled":
        first = answers[0].epochs[0].wall_s
        return f"training.compile, teacher asked at every step; without the first epoch, {first:.3g} s, which compiles"
    precision = "training.precision bfloat16, " if mode == "bfloat16" else ""
    beside = f"; {loader}" if mode in ("torchdistill", HELPED) else ""
    beside += "; started with the memory settings of our workers" if mode == HELPED else ""
    return f"{precision}teacher asked at every step, {teacher:.3g} s of it{beside}"


def headline(found: dict[str, Row]) -> Row:
    """The lesser of the cases' ratios, teachers asked at every step on both sides."""
    ratios = {plan.case: found[f"training_{plan.case}_asked_ratio_torchdistill"] for plan in PLANS}
    for case, row in ratios.items():
        if row["median"] is None:
            return missing(f"{case}: {row['reason']}")
    least = min(ratios, key=lambda case: float(str(ratios[case]["median"])))
    return {**ratios[least], "note": f"{least}, the lesser of {len(ratios)} cases; {ratios[least]['note']}"}


def main() -> None:
    found = rows()
    for name, row in found.items():
        print(json.dumps({name: row}))


if __name__ == "__main__":
    main()

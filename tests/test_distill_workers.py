import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from distill.workers import Task, execute
from hw.errors import BadInput, PacemakerError


def perform(payload, report):
    """Payloads are little commands, so that a worker finds this function by name."""
    word, *rest = payload.split()
    if word == "fail":
        raise BadInput("teacher: no good")
    if word == "break":
        raise KeyError("fault")
    if word == "die":
        os._exit(3)
    if word == "callback":
        ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGTERM))()
        time.sleep(60)
    if word == "sleep":
        time.sleep(float(rest[0]))
    report((payload, os.getpid()))


def tasks(*payloads, needs=None):
    needs = needs or {}
    return [Task(payload, frozenset(needs.get(payload, ())), payload) for payload in payloads]


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_run_after_those_they_need(workers):
    seen = []
    chain = tasks("a", "b", "c", "d", needs={"b": ["a"], "c": ["a"], "d": ["b", "c", "elsewhere"]})
    execute(chain, perform, workers, seen.append)
    order = [payload for payload, _ in seen]
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order[0] == "a"
    assert order[-1] == "d"
    assert (os.getpid() in {process for _, process in seen}) == (workers == 1)


def test_a_worker_that_is_stopped_within_a_callback_of_c_code_still_stops_and_says_nothing(capfd):
    with pytest.raises(PacemakerError, match=r"ended by itself \(exit code 143\)"):
        execute(tasks("callback", "sleep 60"), perform, 2, lambda event: None)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_that_users_can_mend_come_through_as_they_are(workers):
    with pytest.raises(BadInput, match=r"^teacher: no good$"):
        execute(tasks("fail", "sleep 60"), perform, workers, lambda event: None)


def test_other_errors_come_with_their_traceback():
    with pytest.raises(RuntimeError, match=r"a worker failed:\n(?s:.*)KeyError: 'fault'"):
        execute(tasks("break", "sleep 60"), perform, 2, lambda event: None)


def test_a_worker_that_dies_is_told():
    with pytest.raises(PacemakerError) as error:
        execute(tasks("die", "sleep 60"), perform, 2, lambda event: None)
    assert str(error.value) == (
        "die: the worker process ended by itself (exit code 3); if memory ran out, take fewer workers; "
        'a script of yours wants its work under if __name__ == "__main__":, or one worker'
    )


def test_ctrl_c_stops_a_run_at_once_and_leaves_only_whole_files(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from pathlib import Path
            from distill import recipe, run
            from hw.errors import Interrupted

            if __name__ == "__main__":
                try:
                    run.run(recipe.load("digits"), Path(sys.argv[1]), on_progress=lambda p: print(p.epoch, flush=True))
                except Interrupted as error:
                    print(error)
                    sys.exit(7)
            """
        )
    )
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, script, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        start_new_session=True,
    )
    assert process.stdout.readline() == "1\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 7
    assert err == ""
    assert out.splitlines()[-1] == f"{folder}: stopped; finished epochs are kept, and the same command goes on"
    left = {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".unfinished"}
    assert left == {"recipe.json", "log.jsonl"}

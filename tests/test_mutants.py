"""The mutation tool itself, and that every mutant that lived is judged in docs/mutants.md."""

import subprocess
import sys
from pathlib import Path

import pytest
from mutants import RESULTS, SURVIVED, mutants, read

SOURCE = """
@njit(cache=True)
def kernel(values: Table[3], wide: bool = False) -> int:
    for i in range(2, 9):
        if values[i] <= -i and wide:
            continue
        best = min(best, values[i] // 4)
    return best
"""
MUTANTS = [
    (3, "wide: bool=False", "wide: bool=True"),
    (4, "range(2, 9)", "range(3, 9)"),
    (4, "range(2, 9)", "range(2, 10)"),
    (5, "<= -i and wide", "<= -i or wide"),
    (5, "values[i] <= -i", "values[i] < -i"),
    (5, "<= -i", "<= +i"),
    (6, "continue", "break"),
    (7, "min(best", "max(best"),
    (7, "// 4", "* 4"),
    (7, "// 4", "// 5"),
]


def test_the_mutants_of_a_function_by_hand() -> None:
    found = mutants(SOURCE)
    assert sorted(each.line for each in found) == [line for line, _, _ in MUTANTS]
    for line, old, new in MUTANTS:
        assert [each for each in found if each.line == line and each.mutant == each.original.replace(old, new)], new
    assert {each.function for each in found} == {"kernel"}
    assert len({each.source for each in found}) == len(MUTANTS)


def test_every_mutant_that_lived_is_judged() -> None:
    judged = (RESULTS.parent / "mutants.md").read_text()
    lived = {row["mutant"] for row in read(RESULTS).values() if row["verdict"] == SURVIVED}
    assert {text for text in lived if f"`{text}`" not in judged} == set()


@pytest.mark.slow
def test_a_mutant_is_killed_in_a_copy_and_the_file_stays(tmp_path: Path) -> None:
    file = RESULTS.parents[1] / "hw" / "fixed.py"
    before = file.read_bytes(), file.stat().st_mtime_ns
    words = ("hw/fixed.py", "--sample", "2", "--results", str(tmp_path / "results.csv"))
    done = subprocess.run(
        [sys.executable, "tests/mutants.py", *words], cwd=file.parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("hw/fixed.py: 2 run, 2 killed, 0 endless, 0 survived\n")
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before

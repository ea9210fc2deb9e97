"""Mutation tests of kernels and of fixed point: `python tests/mutants.py hw/fixed.py` (docs/mutants.md).

A mutant is a file with one operator, comparison or constant changed. It is written into a copy of the packages, never
into the checkout, and the tests that matter for the file are run on it, until one fails. The results are kept in
docs/mutants.csv; mutants that it has are not run again.

Every mutant runs in a fork of a process that has the heavy imports behind it, with numba switched off: kernels are
plain Python then, nothing is compiled, and no cache can answer for another mutant.
"""

import argparse
import ast
import csv
import importlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "mutants.csv"
PACKAGES = ("pacemaker", "hw", "sim", "distill", "reports", "tests")
LEAST_SECONDS = 10
MOST_BYTES = 12 << 30
PATIENCE = 20
"""Seconds by the clock for each of the processor's, on a machine that has other things to do."""
QUICKLY = ("-x", "-q", "--assert=plain", "--tb=no", "-p", "no:cacheprovider")
VERDICTS = KILLED, ENDLESS, SURVIVED = "killed", "endless", "survived"
OF_MUTANT = ("number", "line", "function", "original", "mutant")
FIELDS = ("file", *OF_MUTANT, "verdict")


ORACLES = "three_frames_equal_the_oracles"


class Target(NamedTuple):
    """Words for pytest: the tests that matter for a file, without the slow ones; what a fork need not import again."""

    tests: tuple[str, ...]
    imports: tuple[str, ...] = ("numba",)


TARGETS = {
    "hw/fixed.py": Target(("tests/test_fixed.py",)),
    "sim/kernels_engine.py": Target(
        (
            "tests/test_engine.py",
            "tests/test_line_sensor.py",
            "-k",
            f"{ORACLES} or by_hand or many_machines or line_sensor",
        )
    ),
    "sim/kernels_hls.py": Target(("tests/test_hls_fifos.py", "-k", "not whole_frames and not 3x3")),
    "sim/kernels_pipeline.py": Target(
        ("tests/test_pipeline_oracle.py", "tests/test_lanes.py", "-k", "not each_for_itself and not shorter")
    ),
    "sim/kernels_screening.py": Target(("tests/test_screening.py", "-k", "not simulation and not thread")),
    "sim/kernels_turns.py": Target(("tests/test_engine.py", "-k", f"{ORACLES} or by_hand")),
    "reports/sweep/kernels_pareto.py": Target(("tests/test_pareto.py",)),
    "distill/kernels_norm.py": Target(("tests/test_distill_norm.py",), ("numba", "torch")),
}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


class Mutant(NamedTuple):
    """A changed module: the statement's line and text before and after, and the whole text.

    `number` counts the file's mutants from 0 in the order of its text.
    """

    number: int
    line: int
    function: str
    original: str
    mutant: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module: one for each comparison, operator, `min` or `max`, number, truth value and jump."""
    tree = ast.parse(source)
    plain = ast.unparse(tree)
    found: list[Mutant] = []
    for function, node in _places(tree, ""):
        for line, field, value in _changes(node):
            kept = getattr(node, field)
            setattr(node, field, value)
            text = ast.unparse(tree)
            setattr(node, field, kept)
            pairs = zip(plain.splitlines(), text.splitlines(), strict=True)
            before, after = next((old.strip(), new.strip()) for old, new in pairs if old != new)
            found.append(Mutant(len(found), line, function, before, after, text))
    return found


def _places(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    """Nodes in the order of the text, each with its function; neither types nor decorators."""
    inner = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.FunctionDef):
        function = f"{function}.{node.name}".lstrip(".")
        inner = [*node.args.defaults, *node.body]
    elif isinstance(node, ast.AnnAssign):
        inner = [] if node.value is None else [node.value]
    yield function, node
    for child in inner:
        yield from _places(child, function)


def _changes(node: ast.AST) -> Iterator[tuple[int, str, object]]:
    """What can be changed of a node itself: line, field, and what is put there."""
    match node:
        case ast.Compare():
            for k, operator in enumerate(node.ops):
                if type(operator) in COMPARISONS:
                    yield node.lineno, "ops", [*node.ops[:k], COMPARISONS[type(operator)](), *node.ops[k + 1 :]]
        case ast.BinOp() | ast.AugAssign() if type(node.op) in OPERATORS:
            yield node.lineno, "op", OPERATORS[type(node.op)]()
        case ast.BoolOp():
            yield node.lineno, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.USub()):
            yield node.lineno, "op", ast.UAdd()
        case ast.Name(id="min" | "max"):
            yield node.lineno, "id", "min" if node.id == "max" else "max"
        case ast.Constant(value=bool()):
            yield node.lineno, "value", not node.value
        case ast.Constant(value=int() | float()):
            yield node.lineno, "value", node.value + 1
        case ast.If() | ast.For() | ast.While():
            for k, jump in enumerate(node.body):
                if isinstance(jump, ast.Break | ast.Continue):
                    other = ast.Continue() if isinstance(jump, ast.Break) else ast.Break()
                    yield jump.lineno, "body", [*node.body[:k], other, *node.body[k + 1 :]]


class Bench:
    """A copy of the packages in which one file is changed at a time, and its tests are run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.target = folder, name, TARGETS[name]
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        for module in ("pytest", "hypothesis", "numpy", *self.target.imports):
            importlib.import_module(module)

    def run(self, source: str, seconds: float) -> str:
        """What becomes of a text of the file: killed, survived, or endless after so many seconds of the processor."""
        (self.folder / self.name).write_text(source)
        child = os.fork()
        if child == 0:
            self._test(int(seconds) + 1)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return ENDLESS if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM) else KILLED
        return SURVIVED if os.WEXITSTATUS(status) == 0 else KILLED

    def _test(self, seconds: int) -> NoReturn:
        """Run the tests in this process and end it; its exit code is pytest's."""
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE * seconds)  # one that sleeps for ever uses no processor
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        os.chdir(self.folder)
        code = 3
        try:
            import pytest
            from hypothesis import Phase, settings

            settings.register_profile("first", phases=[Phase.explicit, Phase.generate])  # a failure is told by nobody
            settings.load_profile("first")
            sys.path[:] = [str(self.folder), *(path for path in sys.path if Path(path or ".").resolve() != ROOT)]
            code = int(pytest.main([*QUICKLY, "-m", "not slow", *self.target.tests]))
        finally:
            os._exit(code)


def chosen(found: Sequence[Mutant], sample: int | None, seed: int) -> list[Mutant]:
    """So many of the mutants, drawn by a seed; the same seed draws the same ones first."""
    order = list(found)
    random.Random(seed).shuffle(order)
    return sorted(order[:sample])


Rows = dict[tuple[str, int], dict[str, str]]


def read(results: Path) -> Rows:
    """Results so far by file and number."""
    if not results.exists():
        return {}
    with results.open(newline="") as file:
        return {(row["file"], int(row["number"])): row for row in csv.DictReader(file)}


def write(rows: Rows, results: Path) -> None:
    """All results, in the order of files and numbers."""
    with results.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))


def examine(name: str, drawn: int | None, seed: int, results: Path) -> None:
    """Run the mutants of a file that have no result yet, one after the other; results are kept as they come."""
    found = mutants((ROOT / name).read_text())
    rows = {key: row for key, row in read(results).items() if key[0] != name or _is_of(row, found)}
    with tempfile.TemporaryDirectory(prefix="pacemaker-mutants.") as folder:
        bench = Bench(Path(folder).resolve(), name)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        if bench.run((ROOT / name).read_text(), 3600) != SURVIVED:
            sys.exit(f"{name}: its tests fail without any change: {' '.join(bench.target.tests)}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = max(LEAST_SECONDS, 4 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
        print(f"{name}: {len(found)} mutants, {seconds / 4:.1f} s of the processor for the tests of one", flush=True)
        for mutant in chosen(found, drawn, seed):
            key = name, mutant.number
            if key in rows:
                continue
            verdict = bench.run(mutant.source, seconds)
            rows[key] = {"file": name, "verdict": verdict} | {field: str(getattr(mutant, field)) for field in OF_MUTANT}
            write(rows, results)
            print(f"{verdict:8} {mutant.line:4} {mutant.original}  ->  {mutant.mutant}", flush=True)


def _is_of(row: dict[str, str], found: Sequence[Mutant]) -> bool:
    """Whether a result is of the file as it is now."""
    number = int(row["number"])
    return number < len(found) and all(row[field] == str(getattr(found[number], field)) for field in OF_MUTANT)


def main() -> None:
    """Run what is asked, and tell the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", choices=[[], *TARGETS], help="all if none is given")
    parser.add_argument("--sample", type=int, help="so many mutants a file, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="what is there is not run again")
    given = parser.parse_args()
    os.environ |= {"NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1"}
    sys.dont_write_bytecode = True  # a mutant of the same length, made in the same second, would be taken for the last
    for name in given.files or TARGETS:
        examine(name, given.sample, given.seed, given.results.absolute())
    for name in given.files or TARGETS:
        verdicts = Counter(row["verdict"] for row in read(given.results).values() if row["file"] == name)
        print(f"{name}: {verdicts.total()} run, " + ", ".join(f"{verdicts[kind]} {kind}" for kind in VERDICTS))


if __name__ == "__main__":
    main()

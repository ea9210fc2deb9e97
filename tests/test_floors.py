"""Who may import whom: `hw` below `sim` and `distill`, `reports` above them, the command line on top."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "hw": {"hw"},
    "sim": {"sim", "hw"},
    "distill": {"distill", "hw"},
    "reports": {"reports", "sim", "distill", "hw"},
    "pacemaker": {"pacemaker", "reports", "sim", "distill", "hw"},
}
DISTILL_MAY_KNOW = {"hw.errors", "hw.files", "hw.network", "hw.fixed", "hw.functions"}
HEAVY = {"torch", "hls4ml", "matplotlib", "sklearn", "jinja2"}


def sources(room: str) -> list[Path]:
    """The modules of a room."""
    found = sorted((ROOT / room).rglob("*.py"))
    assert found
    return found


def imported(tree: ast.AST, package: str, *, everywhere: bool) -> Iterator[str]:
    """Dotted names that a module imports: those inside functions only if `everywhere`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif everywhere or not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or only_for_types(node)):
            yield from imported(node, package, everywhere=everywhere)


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_of(path: Path, *, everywhere: bool = True) -> set[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return set(imported(ast.parse(path.read_text()), package, everywhere=everywhere))


def below(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    own = set(MAY_IMPORT)
    for path in sources(room):
        wrong = {name for name in imports_of(path) if below(name, own) and not below(name, MAY_IMPORT[room])}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_training_knows_only_the_ground_of_the_hardware() -> None:
    for path in sources("distill"):
        known = {name for name in imports_of(path) if below(name, {"hw"})}
        wrong = {name for name in known if not below(name, DISTILL_MAY_KNOW)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("room", ["hw", "sim", "pacemaker"])
def test_heavy_packages_are_imported_only_inside_functions(room: str) -> None:
    for path in sources(room):
        wrong = {name for name in imports_of(path, everywhere=False) if below(name, HEAVY)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)} at module level"


def test_the_reader_of_imports_sees_all_of_them() -> None:
    text = (
        "import torch.nn as nn\nfrom hw import network\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import jinja2\ntry:\n    import sklearn\nexcept ImportError:\n    pass\n"
        "class A:\n    import matplotlib\ndef f():\n    from sim.run import named\n    from . import sibling\n"
    )
    tree = ast.parse(text)
    at_load = {"torch.nn", "hw.network", "typing.TYPE_CHECKING", "sklearn", "matplotlib"}
    assert set(imported(tree, "pkg", everywhere=False)) == at_load
    assert set(imported(tree, "pkg", everywhere=True)) == at_load | {"jinja2", "sim.run.named", "pkg.sibling"}
    assert below("hw.network", {"hw"})
    assert not below("hwy.network", {"hw"})


def test_every_room_is_packaged_and_no_other() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {path.stem for path in ROOT.glob("*.py")}
    assert rooms == set(MAY_IMPORT)


def test_the_simulators_load_nothing_heavy() -> None:
    script = f"import sys, sim.run, pacemaker; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""

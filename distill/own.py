"""Functions of the user's own that a recipe names, `package.module:function`: installed or in the current folder."""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hw.errors import BadInput

_INSTALLED = ("site-packages", "dist-packages")
_OURS = ("hw", "sim", "distill", "reports", "pacemaker")


def check_form(what: str, name: str) -> None:
    """Demand `package.module:function`.

    Raises:
        BadInput: it is something else.
    """
    module, _, function = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), function)):
        raise BadInput(f"{what} {name!r} is not of the form package.module:function")


def imported(what: str, name: str) -> Callable[..., object]:
    """The function of that name; `what` says in sentences what it is to the recipe.

    Raises:
        BadInput: not of that form, not there, not importable, or no function.
    """
    check_form(what, name)
    module, _, function_name = name.partition(":")
    try:
        with _current_folder():
            function: object = getattr(importlib.import_module(module), function_name)
    except Exception as error:  # whatever a module of the user's own raises
        raise BadInput(f"{what} {name} cannot be imported ({error})") from error
    if not callable(function):
        raise BadInput(f"{what} {name} is {type(function).__name__}, wanted is a function")
    return function


def digest(name: str) -> str:
    """Of the file that the function lies in and of the user's own files that it imports, for fingerprints.

    The user's own are those of the same package and those below the current folder, without what is installed (of that
    only the function's file counts) and without this project's. What is imported by other means than import statements
    is not seen. "" where no file is found.
    """
    module = name.partition(":")[0]
    with _current_folder():
        files = _files_of(module)
    sums = [hashlib.sha256(files[found]).hexdigest() for found in sorted(files)]
    if len(sums) > 1:
        return hashlib.sha256("".join(sums).encode()).hexdigest()[:16]
    return sums[0][:16] if sums else ""


def _files_of(module: str) -> dict[str, bytes]:
    """Contents of a module's file and of all of the user's own that it imports, one through the other, by name."""
    root = _file_of(module)
    if root is None or set(root.parts) & set(_INSTALLED):  # a library may have hundreds, and nobody changes them
        return {} if root is None else {module: root.read_bytes()}
    files: dict[str, bytes] = {}
    waiting = _with_packages([module])
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if file is None or (name != module and not _is_own(name, file, module)):
            continue
        files[name] = file.read_bytes()
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        found = _with_packages(other for other in _imports(files[name], package) if _may_be_own(other, module)) - seen
        seen |= found
        waiting |= found
    return files


def _with_packages(modules: Iterable[str]) -> set[str]:
    """Modules and the packages around them, whose `__init__.py` runs first."""
    return {name.rsplit(".", depth)[0] for name in modules for depth in range(name.count(".") + 1)}


def _file_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # a package of the user's that cannot be imported: `imported` says so; or no module, but a value
        return None
    file = Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    return file if file is not None and file.is_file() else None


def _may_be_own(module: str, root: str) -> bool:
    """Whether the package that it lies in is the user's own; no package is imported for that."""
    top = module.partition(".")[0]
    if top == root.partition(".")[0]:
        return True
    file = _file_of(top)
    return file is not None and _is_own(top, file, root)


def _is_own(module: str, file: Path, root: str) -> bool:
    top = module.partition(".")[0]
    if top == root.partition(".")[0]:
        return True
    return top not in _OURS and file.is_relative_to(Path.cwd()) and not set(file.parts) & set(_INSTALLED)


def _imports(source: bytes, package: str) -> Iterator[str]:
    """Modules that a file may import: `from a import b` may mean a value of `a` or the module `a.b`."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@contextmanager
def _current_folder() -> Iterator[None]:
    """Modules of the current folder can be imported."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)

"""The command that looks at the installation."""

import json as formats
import sys
from typing import TYPE_CHECKING

import typer

from pacemaker.options import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hw.tools import Found
    from reports.doctor import Examination

GIB = 2**30


def doctor(json: Json = False) -> None:
    """What is installed and works: packages, programs of others, the computer; what each is for and how to get it."""
    from reports import doctor as examination

    found = examination.examine()
    sys.stdout.write(formats.dumps(_plain(found), indent=1, sort_keys=True) + "\n" if json else _told(found))
    for fault in found.faults:
        typer.echo(f"pacemaker: {fault}", err=True)
    if found.faults:
        sys.exit(1)


def _plain(value: object) -> object:
    """Named tuples as dictionaries, at every depth."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _told(found: "Examination") -> str:
    lines = [f"pacemaker {found.version} on Python {found.computer.python}, {found.computer.system}"]
    lines += [*_computer(found), "", "base installation: " + ("it does not work" if found.faults else "it works")]
    lines += _rows(found.base)
    for title, rows in (("packages", found.packages), ("programs", found.programs)):
        lines += ["", f"{title}, each with what it is for", *_rows(rows)]
    return "\n".join(lines) + "\n"


def _computer(found: "Examination") -> list[str]:
    has, numba = found.computer, found.numba
    lines = [f"{has.cores} cores, {_size(has.memory_bytes)} of memory, {_size(has.memory_free_bytes)} of it free"]
    locked = "" if has.folder_writable else ", which cannot be written"
    lines.append(f"{_size(has.disk_free_bytes)} of disk free in {has.folder or 'a folder that is gone'}{locked}")
    if numba is not None:
        kept = f"kernels kept in {numba.cache}" if numba.cache else "kernels are not kept"
        locked = "" if numba.cache_writable or not numba.cache else ", which cannot be written"
        off = "" if numba.compiles else "; NUMBA_DISABLE_JIT is set, all simulators crawl"
        lines.append(f"numba: {numba.threads} threads ({numba.threading_layer}), {kept}{locked}{off}")
    driver = f"NVIDIA's driver {found.gpu_driver}" if found.gpu_driver else "no NVIDIA driver"
    torch = f"torch for CUDA {found.torch_cuda}" if found.torch_cuda else "no torch for CUDA"
    return [*lines, f"GPU: {driver}, {torch}"]


def _size(count: int | None) -> str:
    return "an unknown size" if count is None else f"{count / GIB:.1f} GiB"


def _rows(rows: "Sequence[Found]") -> list[str]:
    """A line for each; below one that does not work, what is wrong and how to get it."""
    name = max((len(row.name) for row in rows), default=0)
    version = max((len(row.version) for row in rows), default=0)
    lines = []
    for row in rows:
        lines.append(f"  {row.state:7}  {row.name:{name}}  {row.version:{version}}  {row.unlocks}")
        if row.state != "works":
            lines.append(f"  {'':7}  {'; '.join(filter(None, (row.problem, row.get)))}")
    return lines

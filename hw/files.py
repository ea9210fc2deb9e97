"""Checked reading and atomic writing: a file under its final name is always whole.

YAML and JSON are decoded into typed records by msgspec, so that a wrong key or type is told with its place; weights
travel as safetensors. Nothing here unpickles.
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.errors import BadInput

Record = TypeVar("Record")
Arrays = dict[str, NDArray[np.generic]]
LARGEST_TEXT_BYTES = 1 << 26
"""Of YAML and JSON: 64 MiB, so that a device or a wrong file does not fill the memory."""


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The bytes of `path`, `most` of them at most.

    Raises:
        BadInput: the file is missing, a folder, not readable, or larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(-1 if most is None else most + 1)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a name with a NUL in it
        raise BadInput(f"{path}: cannot be read ({error})") from error
    if most is not None and len(data) > most:
        raise BadInput(f"{path}: more than {most} bytes were found, no more are wanted")
    return data


def exists(path: Path) -> bool:
    """Whether something is there; a name that no file system takes is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def read_json(path: Path, record: type[Record]) -> Record:
    """`path` as a `record`, every key and type checked.

    Raises:
        BadInput: not readable, not JSON, or not of the record's form.
    """
    return _decode(path, record, lambda text: msgspec.json.decode(text.decode(), type=record))


def read_yaml(path: Path, record: type[Record]) -> Record:
    """`path` as a `record`, every key and type checked; only plain YAML (`hw.plain_yaml`), no key twice, no objects.

    Raises:
        BadInput: not readable, not plain YAML, or not of the record's form.
    """
    from hw import plain_yaml

    def decode(text: bytes) -> Record:
        plain_yaml.check(text)
        return msgspec.yaml.decode(text, type=record)

    return _decode(path, record, decode)


def _decode(path: Path, record: type[Record], decode: Callable[[bytes], Record]) -> Record:
    text = read_bytes(path, LARGEST_TEXT_BYTES)
    try:
        return decode(text)
    except msgspec.ValidationError as error:
        from hw.cures import cure

        raise BadInput(f"{path}: {error}{cure(record, str(error), text)}") from error
    except (ValueError, ArithmeticError, RecursionError) as error:  # dates and numbers of YAML among them
        first_line = " ".join(str(error).split())
        raise BadInput(f"{path}: {first_line}") from error


def to_json(value: object) -> str:
    """`value` as indented JSON with sorted keys: the same value gives the same bytes."""
    text = msgspec.json.encode(value, order="sorted")
    return msgspec.json.format(text, indent=1).decode() + "\n"


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, atomically."""
    write_text(path, to_json(value))


def write_yaml(path: Path, value: object) -> None:
    """Write `value` as YAML, atomically."""
    write_text(path, msgspec.yaml.encode(value).decode())


def write_text(path: Path, text: str) -> None:
    """Write `text`, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_arrays(path: Path) -> Arrays:
    """The arrays of a safetensors file, by name.

    Raises:
        BadInput: not readable, or not a whole safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(read_bytes(path))
    except (SafetensorError, KeyError) as error:
        raise BadInput(f"{path}: not a whole safetensors file ({error}); make it again") from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays as safetensors, atomically."""
    from safetensors.numpy import save

    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(whole))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its name only when the block ends well.

    Raises:
        BadInput: the folder cannot be written, or the disk is full.
    """
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        place = path if error.errno == errno.ENAMETOOLONG else path.parent
        raise BadInput(f"{place}: cannot be written ({error.strerror})") from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its name, and its place, only when the block ends well.

    What has the name is moved aside first, and back where the new folder cannot be moved.

    Raises:
        BadInput: a symbolic link has the name, or the folder beside cannot be written.
    """
    refuse_link(folder)
    place = folder.resolve()  # so that `.` and `..` have a name and a parent outside themselves
    make_folder(place.parent)
    try:
        temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    except OSError as error:
        raise BadInput(f"{place.parent}: cannot be written ({error.strerror})") from error
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir()
        yield new
        if place.exists():
            place.replace(old)
        try:
            new.replace(place)
        except OSError:
            if old.exists():
                old.replace(place)
            raise
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def alone(folder: Path, fault: str) -> Iterator[None]:
    """Be the only process that does this with this folder; a process that is killed lets go. No file is left.

    Where locks are not to be had (Windows, some network file systems) nobody is kept out.

    Raises:
        BadInput: another one does, which `fault` says; or the folder cannot be made or opened.
    """
    make_folder(folder)
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise BadInput(f"{folder}: cannot be read ({error.strerror})") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise BadInput(f"{folder}: {fault}") from None
        yield
    finally:
        os.close(lock)


def refuse_link(folder: Path) -> None:
    """Demand that a folder to be replaced is no symbolic link: whose folder it is would be a guess.

    Raises:
        BadInput: it is one.
    """
    if folder.is_symlink():
        raise BadInput(f"{folder}: it is a symbolic link and is not replaced; name the folder itself, or another one")


def make_folder(path: Path) -> None:
    """Make a folder and its parents.

    Raises:
        BadInput: it cannot be made, or a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{path}: cannot be made a folder ({error.strerror})") from error

"""Compiled C simulations by the hash of what they were compiled from, in the user's cache folder.

A library comes and goes by renaming, so that whoever runs at the same time sees a whole one or none; two that compile
the same thing at once both keep theirs, and the last stays. The least recently used go where `LIMIT_BYTES` is passed.
Behind a library stands its SHA-256, in the same file so that the two never part; one that is damaged is dropped.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

LIMIT_BYTES = 512 * 1024 * 1024
_HASH_BYTES = hashlib.sha256().digest_size
_NO_CACHE = (OSError, RuntimeError)
"""What is no fault: a folder that cannot be used, or `Path.home` where there is no home."""


def folder() -> Path:
    """`pacemaker/csim` in $XDG_CACHE_HOME, or in ~/.cache.

    Raises:
        RuntimeError: there is no home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pacemaker" / "csim"


def fetch(key: str, target: Path) -> bool:
    """Copy the library of `key` to `target`, if there is one that is whole."""
    try:
        kept = folder() / f"{key}.so"
        data = kept.read_bytes()
        library, digest = data[:-_HASH_BYTES], data[-_HASH_BYTES:]
        if hashlib.sha256(library).digest() != digest:
            kept.unlink(missing_ok=True)
            return False
        _write(target, library)
    except _NO_CACHE:
        return False
    with contextlib.suppress(OSError):
        os.utime(kept)
    return True


def keep(key: str, library: Path, limit_bytes: int = LIMIT_BYTES) -> None:
    """Keep a copy of `library` under `key`; a cache that cannot be written is no fault."""
    with contextlib.suppress(*_NO_CACHE):
        folder().mkdir(parents=True, exist_ok=True)
        data = library.read_bytes()
        _write(folder() / f"{key}.so", data + hashlib.sha256(data).digest())
        _shrink(limit_bytes)


def _write(target: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.write_bytes(data)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _shrink(limit_bytes: int) -> None:
    """Drop the least recently used, what broken runs left among them; the newest stays, however large it is."""
    found = []
    for path in folder().iterdir():
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    total = 0
    for number, (_, size, path) in enumerate(sorted(found, reverse=True)):
        total += size
        if number > 0 and total > limit_bytes:
            path.unlink(missing_ok=True)

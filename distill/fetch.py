"""Files from the web: downloaded once into the user's cache, held against a checksum, and whole or not there."""

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from hw.errors import BadInput
from hw.files import replacing

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 60
LONGEST_NAME = 200
"""Bytes: file systems take 255, and a temporary file's name is longer than that of the file."""
_DIGITS = {"md5": 32, "sha256": 64}


def is_address(place: str) -> bool:
    """Whether `place` is a web address rather than a path."""
    return place.startswith(("http://", "https://"))


def cache_folder() -> Path:
    """Where downloads are kept: `pacemaker` in $XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pacemaker"


def fetched(address: str, checksum: str, folder: Path | None = None) -> Path:
    """The file at a web address in `folder` (None: the cache); fetched if it is not there with this checksum.

    Args:
        address: http or https.
        checksum: `md5:` or `sha256:` and hexadecimal digits.
        folder: where it is kept, under the last part of its address.

    Raises:
        BadInput: no address, not reachable, cut short or changed (another checksum), or not to be written there.
    """
    path = (folder or cache_folder()) / _file_name(address)
    if path.is_file() and checksum_of(path, checksum) == checksum:
        return path
    with replacing(path) as temporary, temporary.open("wb") as out:
        digest = hashlib.new(_kind(checksum), usedforsecurity=False)
        for block in _blocks(address):
            digest.update(block)
            out.write(block)
        _check(address, f"{_kind(checksum)}:{digest.hexdigest()}", checksum)
    return path


def _file_name(address: str) -> str:
    """The last part of an address's path; never a folder's name, nor one that no file system takes."""
    try:
        name = unquote(urlsplit(address).path).rpartition("/")[2]
    except ValueError as error:
        raise BadInput(f"{address}: no web address ({error})") from error
    if "\0" in name or len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        raise BadInput(f"{address}: its last part is no name of a file; fetch it by hand and set data.folder to it")
    return name if name not in ("", ".", "..") else "download"


def checked(path: Path, checksum: str) -> Path:
    """`path`, if it has this checksum.

    Raises:
        BadInput: it has another one, or cannot be read.
    """
    _check(str(path), checksum_of(path, checksum), checksum)
    return path


def checksum_of(path: Path, like: str) -> str:
    """The checksum of a file, of the kind of `like`.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.new(_kind(like), usedforsecurity=False))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    return f"{_kind(like)}:{digest.hexdigest()}"


def check_form(what: str, checksum: str) -> None:
    """Demand `md5:` and 32, or `sha256:` and 64 small hexadecimal digits.

    Raises:
        BadInput: another form.
    """
    kind, _, digits = checksum.partition(":")
    if len(digits) != _DIGITS.get(kind) or not re.fullmatch("[0-9a-f]+", digits):
        raise BadInput(f"{what} is {checksum!r}, wanted is md5: and 32, or sha256: and 64 digits of 0-9 and a-f")


def _kind(checksum: str) -> str:
    return checksum.partition(":")[0]


def _check(name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise BadInput(f"{name}: its checksum is {found}, wanted is {wanted}; fetch it again, it was cut or changed")


def _blocks(address: str) -> Iterator[bytes]:
    """The body at an address, block by block; faults of the network become one sentence."""
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310  # http(s): `is_address`
            yield from _parts(answer)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer, too, and holds the connection
        raise BadInput(
            f"{address}: cannot be fetched ({error}); fetch it by hand and set data.folder to its place"
        ) from error


def _parts(answer: BinaryIO) -> Iterator[bytes]:
    while block := answer.read(BLOCK_BYTES):
        yield block

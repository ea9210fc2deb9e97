"""The error tree. What a user can mend is a `PacemakerError`; anything else is our fault.

PacemakerError
├── BadInput          a file, a name, a value or a flag that cannot be used
├── UnsupportedLayer  a layer that no machine here executes
├── DoesNotFit        a design larger than what it is put into
├── Deadlock          a pipeline that stops for ever
├── MissingTool       an optional package or program that is wanted and is not there
└── Interrupted       a run stopped on purpose, with everything finished so far kept

Every message is one sentence or two: the name of the thing, what was found, what is wanted, the cure.
"""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

LONGEST = 2000
"""Characters of a message: names in it may come from a file and be of any length."""


class PacemakerError(ValueError):
    """Something that the user can mend; the command line prints it and exits with 2.

    As text it is one line of at most `LONGEST` characters that a terminal prints as they are.
    """

    def __str__(self) -> str:
        return readable(super().__str__())


class BadInput(PacemakerError):
    """A file, name, value or flag that cannot be used."""


class UnsupportedLayer(PacemakerError):
    """A layer that no machine here executes."""


class DoesNotFit(PacemakerError):
    """A design larger than what it is put into."""


class Deadlock(PacemakerError):
    """A pipeline that stops for ever."""


class MissingTool(PacemakerError):
    """An optional package or program that is wanted and is not there."""


class Interrupted(PacemakerError):
    """A run stopped on purpose, with everything finished so far kept."""


def readable(text: str) -> str:
    r"""`text` in one line: what is not to be printed as \x1b and the like, its middle left out where it is too long."""
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"
    return text


def need(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional `module`, or say in one sentence which extra brings it.

    Raises:
        MissingTool: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingTool(
            f"{purpose} needs the package {error.name}, which is not installed: "
            f"pip install 'pacemaker-codesign[{extra}]'"
        ) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that names what was perhaps meant; empty if nothing is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """`did_you_mean`, or where nothing is near, all that is known."""
    names = list(known)
    return did_you_mean(name, names) or f"; known are {', '.join(names)}"


def check_word(what: str, found: str, wanted: tuple[str, ...]) -> None:
    """Demand one of a few words.

    Raises:
        BadInput: names what was found, what is wanted and, where one is near, the word that was meant.
    """
    if found not in wanted:
        raise BadInput(
            f"{what} {found!r} is unknown; wanted is one of {', '.join(wanted)}{did_you_mean(found, wanted)}"
        )

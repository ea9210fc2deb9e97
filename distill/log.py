"""How trainings went: `<run>/log.jsonl`, a line an epoch, and event files for TensorBoard.

One process writes, the one that starts the others. A line is one write at the end of the file, so that a run that is
killed leaves at most its last line torn; the next run takes that piece away. An epoch stands twice if it was trained
twice.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hw.errors import BadInput, need
from hw.files import make_folder, read_bytes

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Progress(msgspec.Struct, frozen=True):
    """An epoch is over (`epoch` of `epochs`); an ensemble has one, without rate and speed.

    `head` is set for a candidate head only. `images_per_second` is the training images over the time since the epoch
    before, with teachers, validation and writing the state in it. `learning_rate` is that of the epoch's last step.
    """

    stage: str
    seed: int
    head: str | None
    epoch: int
    epochs: int
    loss: float
    validation_accuracy: float
    learning_rate: float | None = None
    images_per_second: float | None = None


class Line(Progress, frozen=True, kw_only=True):
    """A line of the log: `time` is UTC, as ISO 8601 says."""

    time: str


class Log:
    """A log that lines can be added to."""

    def __init__(self, path: Path) -> None:
        """Make the folder, and the file end in a whole line.

        Raises:
            BadInput: it cannot be written.
        """
        self.path = path
        make_folder(path.parent)
        with _told(path):
            path.touch()
            whole = path.read_bytes().rfind(b"\n") + 1
            os.truncate(path, whole)

    def add(self, progress: Progress) -> None:
        """Append a line.

        Raises:
            BadInput: it cannot be written, as on a full disk.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": now, **msgspec.structs.asdict(progress)}) + b"\n"
        with _told(self.path), self.path.open("ab", buffering=0) as file:
            if file.write(line) != len(line):
                raise OSError(0, "only part of a line was written; the disk may be full")


def read(path: Path) -> list[Line]:
    """All whole lines of a log, in the order of writing.

    Raises:
        BadInput: not readable, or a whole line that is none of a log.
    """
    *lines, _torn = read_bytes(path).split(b"\n")
    try:
        return [msgspec.json.decode(line, type=Line) for line in lines]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not a log of trainings ({error})") from error


class Boards:
    """Event files for TensorBoard: a folder a training, `<stage>-<seed>` or `<stage>-<head>-<seed>`."""

    def __init__(self, folder: Path) -> None:
        """Nothing is written yet.

        Raises:
            MissingTool: the package tensorboard is not installed.
        """
        need("tensorboard", "tensorboard", "a log for TensorBoard")
        self.folder = folder
        self._writers: dict[str, SummaryWriter] = {}

    def add(self, progress: Progress) -> None:
        """Write an epoch's values, each at the epoch's number as its step.

        Raises:
            BadInput: it cannot be written, as on a full disk.
        """
        from torch.utils.tensorboard import SummaryWriter

        head = "" if progress.head is None else f"-{progress.head}"
        name = f"{progress.stage}{head}-{progress.seed}"
        with _told(self.folder / name):
            if name not in self._writers:
                self._writers[name] = SummaryWriter(self.folder / name)
            for what in ("loss", "validation_accuracy", "learning_rate", "images_per_second"):
                value = getattr(progress, what)
                if value is not None:
                    self._writers[name].add_scalar(what, value, progress.epoch)
            self._writers[name].flush()
            if progress.epoch == progress.epochs:
                self._writers.pop(name).close()

    def close(self) -> None:
        """End all files."""
        for writer in self._writers.values():
            with contextlib.suppress(OSError):
                writer.close()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror})") from error

"""What teachers say to the training images: asked as seldom as can be, and kept on disk for the next student.

Images that never change are asked about once. Images that change from epoch to epoch, but alike in every stage of a
seed (`augmentation_seed: shared`), once an epoch. Images of a stage's own are asked about batch by batch, only of the
teachers that speak, and not kept, since nobody sees them again.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.data import Pixels
from distill.predict import device_of, predictions
from hw.errors import BadInput
from hw.files import Arrays, read_arrays, write_arrays

DEFAULT_BYTES = 2**30
SUFFIX = ".answers.safetensors"
"""Of the store's own files: others in its folder are left alone."""
Indices = NDArray[np.int64]
ImagesOf = Callable[[Indices, int], Pixels]
"""Indices and epoch -> these training images as they are in this epoch."""


class Store(msgspec.Struct, frozen=True):
    """Logits in `folder`, `limit_bytes` in all: what was not read for longest goes first.

    An epoch of shared augmentation takes images x classes x 4 bytes of each teacher. A bound below one training's sum
    keeps nothing for the next student, unless they train side by side.
    """

    folder: Path
    limit_bytes: int = DEFAULT_BYTES

    def kept(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """The float32 tensor of this key: from disk if it is there whole, else made and, if there is room, written."""
        path = self.folder / f"{key}{SUFFIX}"
        found = _read(path, key)
        if found is not None:
            return found
        made = make()
        if made.numel() * made.element_size() < self.limit_bytes:
            logits = made.numpy()
            with contextlib.suppress(BadInput):  # a full disk stops the training at its next checkpoint, not here
                write_arrays(path, {"logits": logits, "digest": _digest(key, logits)})
                self._trim(path)
        return made

    def _trim(self, newest: Path) -> None:
        """Make room; another process may do so at the same time."""
        files = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                status = path.stat()
                files.append((path != newest, -status.st_mtime_ns, status.st_size, path))
        total = 0
        for _, _, size, path in sorted(files):
            total += size
            if total > self.limit_bytes:
                with contextlib.suppress(OSError):
                    path.unlink()


class Answers:
    """Logits of a stage's teachers for the images of a batch."""

    def __init__(
        self,
        teachers: Sequence[nn.Module],
        images_of: ImagesOf,
        count: int,
        often: str,
        store: Store | None = None,
        fingerprints: Sequence[str] = (),
    ) -> None:
        """Nobody is asked yet.

        Args:
            teachers: in evaluation mode.
            images_of: the training images.
            count: how many they are.
            often: how often teachers are asked: once, every epoch or every batch.
            store: keeps answers to all images, if there is one.
            fingerprints: of each teacher, how it was made; for the store.
        """
        self.teachers = teachers
        self.images_of = images_of
        self.count = count
        self.often = often
        self.store = store
        self.fingerprints = fingerprints
        self._whole: dict[int, tuple[int, Tensor]] = {}

    def speaking(
        self, weights: Sequence[float], indices: Indices, pixels: Pixels, epoch: int
    ) -> list[tuple[float, Tensor]]:
        """Weight and logits [batch, classes] of every teacher with a weight above 0; the others are not asked.

        Args:
            weights: of all teachers.
            indices: of the batch's images.
            pixels: of the batch in this epoch.
            epoch: counted from 0.
        """
        return [(weight, self._of(i, indices, pixels, epoch)) for i, weight in enumerate(weights) if weight > 0]

    def _of(self, teacher: int, indices: Indices, pixels: Pixels, epoch: int) -> Tensor:
        if self.often == "batch":
            return predictions(self.teachers[teacher], pixels)
        since = epoch if self.often == "epoch" else 0
        if teacher not in self._whole or self._whole[teacher][0] != since:
            self._whole[teacher] = since, self._to_all(teacher, since)
        return self._whole[teacher][1][indices]

    def _to_all(self, teacher: int, epoch: int) -> Tensor:
        module = self.teachers[teacher]
        pixels = self.images_of(np.arange(self.count), epoch)
        if self.store is None:
            return predictions(module, pixels)
        return self.store.kept(_key(module, self.fingerprints[teacher], pixels), lambda: predictions(module, pixels))


def _key(teacher: nn.Module, fingerprint: str, pixels: Pixels) -> str:
    """A name for all that logits depend on: weights, the network (by its fingerprint), pixels, and who computes."""
    device = device_of(teacher)
    by = device if device.type == "cpu" else torch.cuda.get_device_name(device)
    digest = hashlib.sha256(f"{torch.__version__}/{_processor()}/{by}/{fingerprint}/{pixels.shape}".encode())
    for name, tensor in teacher.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()[:32]


def _processor() -> str:
    return str(torch.backends.cpu.get_cpu_capability())


def _read(path: Path, key: str) -> Tensor | None:
    """The tensor, or None if the file is missing or not what was written; it counts as read just now."""
    arrays: Arrays = {}
    with contextlib.suppress(BadInput):
        arrays = read_arrays(path)
    if arrays.keys() != {"logits", "digest"} or not np.array_equal(arrays["digest"], _digest(key, arrays["logits"])):
        return None
    with contextlib.suppress(OSError):
        path.touch()
    return torch.from_numpy(np.array(arrays["logits"]))


def _digest(key: str, logits: NDArray[np.generic]) -> NDArray[np.uint8]:
    """SHA-256 of key, form and bytes: safetensors has no checksum of its own."""
    head = f"{key}/{logits.dtype}/{logits.shape}".encode()
    return np.frombuffer(hashlib.sha256(head + np.ascontiguousarray(logits).tobytes()).digest(), np.uint8)

"""Small CIFAR files, written image by image as the format's description has it; shares nothing with the reader."""

import io
import tarfile
from pathlib import Path

import numpy as np

FOLDERS = {"cifar-10": "cifar-10-batches-bin", "cifar-100": "cifar-100-binary"}
TRAIN = {"cifar-10": [f"data_batch_{i}.bin" for i in range(1, 6)], "cifar-100": ["train.bin"]}
TEST = {"cifar-10": "test_batch.bin", "cifar-100": "test.bin"}


def images(count: int, seed: int) -> np.ndarray:
    """Random images [count, 32, 32, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def encoded(name: str, pixels: np.ndarray, labels: list[int]) -> bytes:
    """Records of images [count, 32, 32, 3] and labels; CIFAR-100's coarse labels are a fifth of the fine ones."""
    out = bytearray()
    for image, label in zip(pixels, labels, strict=True):
        out += bytes([label]) if name == "cifar-10" else bytes([label // 5, label])
        for channel in range(3):
            for row in range(32):
                out += image[row, :, channel].tobytes()
    return bytes(out)


def write_folder(name: str, folder: Path, count: int = 20, tests: int = 10) -> Path:
    """A folder of the data set with `count` images in each training file; labels go round the classes."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = 10 if name == "cifar-10" else 100
    for number, file in enumerate(TRAIN[name]):
        labels = [i % classes for i in range(count)]
        (folder / file).write_bytes(encoded(name, images(count, number), labels))
    (folder / TEST[name]).write_bytes(encoded(name, images(tests, 99), [i % classes for i in range(tests)]))
    return folder


def write_archive(name: str, folder: Path, archive: Path, leave_out: str = "") -> Path:
    """The files of a folder as the authors pack them."""
    with tarfile.open(archive, "w:gz") as out:
        for path in sorted(folder.iterdir()):
            if path.name == leave_out:
                continue
            member = tarfile.TarInfo(f"{FOLDERS[name]}/{path.name}")
            member.size = path.stat().st_size
            out.addfile(member, io.BytesIO(path.read_bytes()))
    return archive

"""Data sets as 8-bit images, their splits, and augmentation that is a pure function of seed, epoch and index.

A pixel is an unsigned 8-bit integer that stands for integer / 256 (`PIXEL_FRACTION_BITS`), so that a float input lies
exactly on the grid that hardware reads. No mean is subtracted: the first layers learn it, and a sensor's raw image is
the network's input. Test images are apart from all that training and choosing see.
"""

import gzip
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from distill.networks import DataShape
from hw.errors import BadInput, need
from hw.files import read_bytes

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

PIXEL_FRACTION_BITS = 8
DATA_SETS = ("digits", "fashion-mnist")
FASHION_MNIST_FOLDER = "/usr/share/datasets/fashion-mnist"


class DataSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which images, of what size, and how they are split.

    Attributes:
        name: digits (scikit-learn's, inside the wheel) or fashion-mnist (idx.gz files in `folder`).
        folder: where files are; None is the folder of Debian's package dataset-fashion-mnist.
        rows: rows after average pooling; None keeps them. Likewise cols.
        cols: columns after average pooling.
        train_images: take only so many training images, evenly over the classes; None takes all.
        validation: share of the images not for testing that choices are made on.
        split_seed: which images validate (and, for digits, which test); apart from the seeds of training.
    """

    name: str = "digits"
    folder: str | None = None
    rows: int | None = None
    cols: int | None = None
    train_images: int | None = None
    validation: float = 0.25
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in DATA_SETS:
            raise BadInput(f"data: name {self.name!r} is unknown; wanted is one of {', '.join(DATA_SETS)}")
        if not 0 < self.validation < 1:
            raise BadInput(f"data: validation is {self.validation}, wanted is a share between 0 and 1")
        for what, value in (("rows", self.rows), ("cols", self.cols), ("train_images", self.train_images)):
            if value is not None and value < 1:
                raise BadInput(f"data: {what} is {value}, wanted is 1 or more")
        if self.split_seed < 0:
            raise BadInput(f"data: split_seed is {self.split_seed}, wanted is 0 or more")


@dataclass(frozen=True)
class Images:
    """Images [count, rows, cols, channels] of 8 bits, and their class numbers [count]."""

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Images":
        """The images of these indices, in this order."""
        return Images(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class Data:
    """One data set, split in three; `shape` is (channels, rows, cols)."""

    train: Images
    validation: Images
    test: Images
    classes: int

    @property
    def shape(self) -> DataShape:
        """Channels, rows and cols of one image."""
        _, rows, cols, channels = self.train.pixels.shape
        return channels, rows, cols


@lru_cache(maxsize=2)
def load(spec: DataSpec) -> Data:
    """The data set of `spec`; the same spec gives the same images in the same order.

    Raises:
        BadInput: a file is missing or not what it should be, or the sizes do not fit.
        MissingTool: digits without scikit-learn.
    """
    pool, test = _digits(spec.split_seed) if spec.name == "digits" else _fashion_mnist(spec)
    pool, test = (Images(pooled(part.pixels, spec.rows, spec.cols), part.labels) for part in (pool, test))
    validation, train = split(pool, spec.validation, spec.split_seed)
    if spec.train_images is not None:
        if spec.train_images > len(train):
            raise BadInput(f"data: train_images is {spec.train_images}, but {spec.name} has {len(train)} to train on")
        train, _ = split(train, spec.train_images / len(train), spec.split_seed)
    return Data(train, validation, test, int(pool.labels.max()) + 1)


def split(images: Images, share: float, seed: int) -> tuple[Images, Images]:
    """Two parts of the images, the first with `share` of every class (rounded), both in their old order."""
    generator = np.random.default_rng([seed, 0x5B117])
    first = np.zeros(len(images), dtype=bool)
    for label in np.unique(images.labels):
        members = np.flatnonzero(images.labels == label)
        first[generator.permutation(members)[: round(share * len(members))]] = True
    return images.take(np.flatnonzero(first)), images.take(np.flatnonzero(~first))


def pooled(pixels: Pixels, rows: int | None, cols: int | None) -> Pixels:
    """Average pooling to rows x cols, rounded half up.

    Raises:
        BadInput: rows or cols do not divide those of the images.
    """
    count, old_rows, old_cols, channels = pixels.shape
    rows, cols = rows or old_rows, cols or old_cols
    if old_rows % rows or old_cols % cols:
        raise BadInput(f"data: images of {old_rows}x{old_cols} cannot be pooled to {rows}x{cols}; wanted are divisors")
    tall, wide = old_rows // rows, old_cols // cols
    tiles = pixels.reshape(count, rows, tall, cols, wide, channels)
    sums = tiles.sum(axis=(2, 4), dtype=np.int64)
    means: Pixels = ((2 * sums + tall * wide) // (2 * tall * wide)).astype(np.uint8)
    return means


def augment(pixels: Pixels, indices: NDArray[np.int64], seed: int, epoch: int, shift: int, flip: bool) -> Pixels:
    """A batch with every image moved by up to `shift` pixels (zeros come in) and maybe mirrored left to right.

    What happens to an image depends on (seed, epoch, index) alone, not on the batch that it is in.

    Args:
        pixels: the batch, [batch, rows, cols, channels].
        indices: the images' indices in the training set, [batch].
        seed: of the training run.
        epoch: counted from 0.
        shift: greatest move in rows and in cols.
        flip: mirror half of the images.
    """
    if shift == 0 and not flip:
        return pixels
    batch, rows, cols, _ = pixels.shape
    noise = _mixed(indices, seed, epoch)
    span = np.uint64(2 * shift + 1)
    down = (noise % span).astype(np.int64)
    right = ((noise >> np.uint64(20)) % span).astype(np.int64)
    mirrored = ((noise >> np.uint64(40)) & np.uint64(1)).astype(bool) & flip
    padded = np.pad(pixels, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
    across = np.where(mirrored[:, None], np.arange(cols)[::-1], np.arange(cols)) + right[:, None]
    along = np.arange(rows) + down[:, None]
    moved: Pixels = padded[np.arange(batch)[:, None, None], along[:, :, None], across[:, None, :]]
    return moved


def _mixed(indices: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.uint64]:
    """64 random bits an image: the mixing steps of SplitMix64 (Steele et al. 2014) over a key of seed and epoch."""
    key = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()[:8]
    golden = np.uint64(0x9E3779B97F4A7C15)
    bits = indices.astype(np.uint64) * golden + np.frombuffer(key, dtype=np.uint64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed


def _digits(seed: int) -> tuple[Images, Images]:
    """1,797 images of 8x8: a pixel of 0..16 becomes 16 times as much, at most 255; every fifth image is for testing."""
    bunch: Mapping[str, NDArray[np.float64]] = need("sklearn.datasets", "distill", "the data set digits").load_digits()
    pixels = np.minimum(bunch["images"] * 16, 255).astype(np.uint8)[..., None]
    test, pool = split(Images(pixels, bunch["target"].astype(np.int64)), 0.2, seed)
    return pool, test


def _fashion_mnist(spec: DataSpec) -> tuple[Images, Images]:
    """60,000 and 10,000 images of 28x28 (Xiao et al. 2017), in their own split."""
    folder = Path(spec.folder or FASHION_MNIST_FOLDER)
    if not folder.is_dir():
        raise BadInput(
            f"{folder}: no such folder; install Debian's package dataset-fashion-mnist, or set data.folder to the "
            f"place of its idx.gz files"
        )
    return read_idx_pair(folder, "train", 10), read_idx_pair(folder, "t10k", 10)


def read_idx_pair(folder: Path, prefix: str, classes: int) -> Images:
    """Images and labels of `<prefix>-images-idx3-ubyte.gz` and `<prefix>-labels-idx1-ubyte.gz`.

    Raises:
        BadInput: missing, not gzip, another magic number, cut short, or counts and labels that do not fit.
    """
    image_path = folder / f"{prefix}-images-idx3-ubyte.gz"
    label_path = folder / f"{prefix}-labels-idx1-ubyte.gz"
    pixels, labels = read_idx(image_path, 3), read_idx(label_path, 1)
    if len(pixels) != len(labels):
        raise BadInput(f"{label_path}: {len(labels)} labels for {len(pixels)} images in {image_path.name}")
    if len(labels) and labels.max() >= classes:
        raise BadInput(f"{label_path}: the label {labels.max()} is out of range; wanted is 0 to {classes - 1}")
    return Images(pixels[..., None], labels.astype(np.int64))


def read_idx(path: Path, dimensions: int) -> Pixels:
    """A gzipped idx file of unsigned bytes (magic number 0x0000080D with D dimensions, then big-endian sizes).

    Raises:
        BadInput: missing, not gzip, another magic number, or not as long as its sizes say.
    """
    try:
        raw = gzip.decompress(read_bytes(path))
    except (OSError, EOFError) as error:
        raise BadInput(f"{path}: not a whole gzip file ({error}); fetch it again") from error
    wanted = 0x0800 + dimensions
    magic = int.from_bytes(raw[:4], "big")
    if magic != wanted or len(raw) < 4 + 4 * dimensions:
        raise BadInput(f"{path}: magic number {magic:#010x}, wanted is {wanted:#010x} (idx, unsigned bytes)")
    sizes = [int(size) for size in np.frombuffer(raw, ">u4", dimensions, 4)]
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions)
    if len(values) != math.prod(sizes):
        raise BadInput(f"{path}: {len(values)} bytes of values, wanted are {math.prod(sizes)}; fetch it again")
    return values.reshape(sizes)

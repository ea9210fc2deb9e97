"""Data sets as 8-bit images, and their splits.

A pixel is an unsigned 8-bit integer that stands for integer / 256 (`PIXEL_FRACTION_BITS`), so that a float input lies
exactly on the grid that hardware reads. No mean is subtracted here: a sensor's raw image is the network's input, whose
first layers learn it or are told it (`NetworkSpec.mean`). Test images are apart from all that training and choosing
see.
"""

import contextlib
import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from distill import arrays, cifar, images
from distill.augment import Pixels as Pixels
from distill.augment import augment as augment
from distill.fetch import BLOCK_BYTES, cache_folder, check_form, fetched, is_address
from distill.networks import DataShape
from hw.errors import BadInput, need

Labels = NDArray[np.int64]

PIXEL_FRACTION_BITS = 8
DATA_SETS = ("digits", "fashion-mnist", "cifar-10", "cifar-100", "folder", "arrays")
OWN = ("folder", "arrays")
"""What is found in `folder` is the data set, not a copy of one with a name."""
TEST_SHARE = 0.2
LARGEST_IDX_BYTES = 1 << 30
"""Of one idx file, unpacked: 1.3 million images of Fashion-MNIST's size."""
FASHION_MNIST_FOLDER = "/usr/share/datasets/fashion-mnist"
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
"""As published at https://github.com/zalandoresearch/fashion-mnist; Debian packs the same images again."""


class DataSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which images, of what size, and how they are split.

    Attributes:
        name: digits (scikit-learn's, inside the wheel), fashion-mnist (idx.gz files), cifar-10 or cifar-100 (binary
            version), folder (PNG or JPEG files in a sub-folder for every class, maybe below `train` and `test`), or
            arrays (an .npz file, `distill.arrays`).
        folder: where files are: a folder; of CIFAR an archive too; a web address of either, fetched once; of arrays
            the file. None is the folder of Debian's package dataset-fashion-mnist, or CIFAR's own address.
        checksum: of a CIFAR archive, `md5:` or `sha256:` and its digits; needed for an address that is not its own.
        rows: rows after average pooling; None keeps them. Likewise cols.
        cols: columns after average pooling.
        train_images: take only so many training images, evenly over the classes; None takes all.
        validation: share of the images not for testing that choices are made on.
        split_seed: which images validate (and, for digits, which test); apart from the seeds of training.
    """

    name: str = "digits"
    folder: str | None = None
    checksum: str | None = None
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
        if self.name in OWN and self.folder is None:
            raise BadInput(f"data: name is {self.name}, but no folder is given; set data.folder to the images' place")
        if self.checksum is not None:
            if self.name not in cifar.FORMS:
                raise BadInput(f"data: a checksum is of an archive, and {self.name} has none; remove data.checksum")
            check_form("data: checksum", self.checksum)


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

    @property
    def statistics(self) -> "Statistics":
        """Of the training images."""
        return statistics(self.train)


class Statistics(msgspec.Struct, frozen=True):
    """Mean and standard deviation of each channel, over all images and pixels, as a network sees them: integer / 256.

    They are what `NetworkSpec.mean` and `.deviation` want.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@lru_cache(maxsize=2)
def load(spec: DataSpec) -> Data:
    """The data set of `spec`; the same spec gives the same images in the same order.

    Raises:
        BadInput: a file is missing or not what it should be, or the sizes do not fit.
        MissingTool: digits without scikit-learn.
    """
    pool, test, classes = _read(spec)
    pool, test = (Images(pooled(part.pixels, spec.rows, spec.cols), part.labels) for part in (pool, test))
    validation, train = split(pool, spec.validation, spec.split_seed)
    if spec.train_images is not None:
        if spec.train_images > len(train):
            raise BadInput(f"data: train_images is {spec.train_images}, but {spec.name} has {len(train)} to train on")
        train, _ = split(train, spec.train_images / len(train), spec.split_seed)
    return Data(train, validation, test, classes)


@lru_cache(maxsize=2)
def digest(spec: DataSpec) -> str:
    """Of the files of images of the user's own, for fingerprints; "" for those that have a published name.

    Raises:
        BadInput: they are not there or cannot be read.
    """
    place = Path(spec.folder or "")
    if spec.name not in OWN:
        return ""
    found = hashlib.sha256()
    for file in [arrays.checked(place)] if spec.name == "arrays" else images.files_of(place):
        try:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").digest()
        except OSError as error:
            raise BadInput(f"{file}: cannot be read ({error.strerror})") from error
        found.update(str(file.relative_to(place)).encode() + b"\0" + content)
    return found.hexdigest()[:16]


def statistics(images: Images) -> Statistics:
    """Mean and deviation of each channel, exact to float64: from a histogram of the 256 values."""
    values = np.arange(256) / 2**PIXEL_FRACTION_BITS
    channels = np.moveaxis(images.pixels, -1, 0).reshape(images.pixels.shape[-1], -1)
    shares = [np.bincount(channel, minlength=256) / channel.size for channel in channels]
    means = [float(share @ values) for share in shares]
    spreads = [math.sqrt(share @ (values - mean) ** 2) for share, mean in zip(shares, means, strict=True)]
    return Statistics(tuple(means), tuple(spreads))


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


def _read(spec: DataSpec) -> tuple[Images, Images, int]:
    """Images to train and validate on, images to test on, and the number of classes."""
    if spec.name == "digits":
        return (*_digits(spec.split_seed), 10)
    if spec.name == "fashion-mnist":
        return (*_fashion_mnist(spec), 10)
    if spec.name in OWN:
        return _own(spec)
    train, test = cifar.read(spec.name, spec.folder, spec.checksum)
    return Images(*train), Images(*test), cifar.FORMS[spec.name].classes


def _own(spec: DataSpec) -> tuple[Images, Images, int]:
    """Images of the user's own; where they have no part for testing, a share of every class is put apart by the seed.

    The seed is the split's.
    """
    place = Path(spec.folder or "")
    found, apart, classes = arrays.read(place) if spec.name == "arrays" else images.read_split(place)
    if apart is not None:
        return Images(*found), Images(*apart), classes
    test, pool = split(Images(*found), TEST_SHARE, spec.split_seed)
    return pool, test, classes


def _digits(seed: int) -> tuple[Images, Images]:
    """1,797 images of 8x8: a pixel of 0..16 becomes 16 times as much, at most 255; every fifth image is for testing."""
    bunch: Mapping[str, NDArray[np.float64]] = need("sklearn.datasets", "distill", "the data set digits").load_digits()
    pixels = np.minimum(bunch["images"] * 16, 255).astype(np.uint8)[..., None]
    test, pool = split(Images(pixels, bunch["target"].astype(np.int64)), TEST_SHARE, seed)
    return pool, test


def _fashion_mnist(spec: DataSpec) -> tuple[Images, Images]:
    """60,000 and 10,000 images of 28x28 (Xiao et al. 2017), in their own split."""
    place = spec.folder or FASHION_MNIST_FOLDER
    folder = _fetched_fashion_mnist(place) if is_address(place) else Path(place)
    if not folder.is_dir():
        raise BadInput(
            f"{folder}: no such folder; install Debian's package dataset-fashion-mnist, or set data.folder to the "
            f"place of its idx.gz files"
        )
    return read_idx_pair(folder, "train", 10), read_idx_pair(folder, "t10k", 10)


def _fetched_fashion_mnist(address: str) -> Path:
    """The folder that the four files were fetched to."""
    folder = cache_folder() / "fashion-mnist"
    for name, checksum in FASHION_MNIST_FILES.items():
        fetched(f"{address.rstrip('/')}/{name}", checksum, folder)
    return folder


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
    wanted, head = 0x0800 + dimensions, 4 + 4 * dimensions
    with _unpacked(path) as file:
        start = file.read(head)
        magic = int.from_bytes(start[:4], "big")
        if magic != wanted or len(start) < head:
            raise BadInput(f"{path}: magic number {magic:#010x}, wanted is {wanted:#010x} (idx, unsigned bytes)")
        sizes = [int(size) for size in np.frombuffer(start, ">u4", dimensions, 4)]
        count = math.prod(sizes)
        if count > LARGEST_IDX_BYTES:
            raise BadInput(f"{path}: {count} bytes of values are announced, at most {LARGEST_IDX_BYTES} are read")
        raw = b"".join(_blocks(file, count + 1))
    if len(raw) != count:
        found = f"more than {count}" if len(raw) > count else len(raw)
        raise BadInput(f"{path}: {found} bytes of values, wanted are {count}; fetch it again")
    return np.frombuffer(raw, np.uint8).reshape(sizes)


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    """A gzipped file as it is unpacked, bit by bit: a small file may unpack to any size."""
    try:
        with gzip.open(path) as file:
            yield cast("BinaryIO", file)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: not a whole gzip file ({error}); fetch it again") from error


def _blocks(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Up to `most` bytes, so that what is announced takes no memory before it is there."""
    while most and (block := file.read(min(most, BLOCK_BYTES))):
        most -= len(block)
        yield block

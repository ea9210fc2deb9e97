import gzip
import struct

import numpy as np
import pytest

from distill import data as data_sets
from distill.data import DataSpec, Images, augment, pooled
from hw.errors import BadInput


def write_idx(path, array, magic=None):
    magic = 0x0800 + array.ndim if magic is None else magic
    raw = struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw))


@pytest.fixture
def fashion(tmp_path):
    """A small folder of the form of Fashion-MNIST: 200 and 20 images."""
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 200), ("t10k", 20)):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", generator.integers(0, 256, (count, 28, 28)))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return tmp_path


def test_digits_are_split_60_20_20_with_every_class_alike():
    data = data_sets.load(DataSpec())
    assert (len(data.train), len(data.validation), len(data.test)) == (1079, 359, 359)
    assert data.shape == (1, 8, 8)
    assert data.classes == 10
    for part in (data.train, data.validation, data.test):
        counts = np.bincount(part.labels)
        assert counts.max() - counts.min() <= 0.1 * counts.max()


def test_digits_lie_on_the_grid_of_8_bits():
    pixels = data_sets.load(DataSpec()).train.pixels
    assert pixels.dtype == np.uint8
    assert set(np.unique(pixels)) == {*range(0, 256, 16), 255}


def test_the_split_of_digits_depends_on_its_own_seed_only():
    first, again = data_sets.load(DataSpec()), data_sets.load.__wrapped__(DataSpec())
    other = data_sets.load(DataSpec(split_seed=1))
    assert np.array_equal(first.test.pixels, again.test.pixels)
    assert not np.array_equal(first.test.pixels, other.test.pixels)


def test_the_parts_of_a_split_are_disjoint_and_whole():
    images = Images(np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1), np.arange(100, dtype=np.int64) % 4)
    first, second = data_sets.split(images, 0.2, 3)
    assert np.bincount(first.labels).tolist() == [5, 5, 5, 5]
    assert sorted([*first.pixels.ravel(), *second.pixels.ravel()]) == list(range(100))


def test_fashion_mnist_reads_its_files(fashion):
    data = data_sets.load(DataSpec("fashion-mnist", str(fashion), validation=0.1))
    assert (len(data.train), len(data.validation), len(data.test)) == (180, 20, 20)
    assert data.shape == (1, 28, 28)


def test_fashion_mnist_pools_and_limits(fashion):
    data = data_sets.load(DataSpec("fashion-mnist", str(fashion), rows=14, cols=14, train_images=50))
    assert data.shape == (1, 14, 14)
    assert np.bincount(data.train.labels).tolist() == [5] * 10


def test_pooling_rounds_half_up():
    pixels = np.array([[0, 1], [0, 1]], dtype=np.uint8).reshape(1, 2, 2, 1)
    assert pooled(pixels, 1, 1).ravel().tolist() == [1]
    assert pooled(pixels, 2, 1).ravel().tolist() == [1, 1]
    assert pooled(np.full((1, 2, 2, 1), 255, dtype=np.uint8), 1, 1).item() == 255


def images_file(folder):
    return folder / "train-images-idx3-ubyte.gz"


def labels_file(folder):
    return folder / "train-labels-idx1-ubyte.gz"


def wrong_magic(folder):
    write_idx(images_file(folder), np.zeros((2, 28, 28)), magic=0x0D03)
    return f"{images_file(folder)}: magic number 0x00000d03, wanted is 0x00000803 (idx, unsigned bytes)"


def cut_short(folder):
    raw = struct.pack(">4I", 0x0803, 200, 28, 28) + bytes(100)
    images_file(folder).write_bytes(gzip.compress(raw))
    return f"{images_file(folder)}: 100 bytes of values, wanted are 156800; fetch it again"


def cut_gzip(folder):
    images_file(folder).write_bytes(images_file(folder).read_bytes()[:-500])
    return (
        f"{images_file(folder)}: not a whole gzip file (Compressed file ended before the end-of-stream marker was "
        "reached); fetch it again"
    )


def no_gzip(folder):
    images_file(folder).write_bytes(b"plain text")
    return f"{images_file(folder)}: not a whole gzip file (Not a gzipped file (b'pl')); fetch it again"


def empty(folder):
    images_file(folder).write_bytes(gzip.compress(b""))
    return f"{images_file(folder)}: magic number 0x00000000, wanted is 0x00000803 (idx, unsigned bytes)"


def too_few_labels(folder):
    write_idx(labels_file(folder), np.zeros(199))
    return f"{labels_file(folder)}: 199 labels for 200 images in train-images-idx3-ubyte.gz"


def label_out_of_range(folder):
    write_idx(labels_file(folder), np.full(200, 10))
    return f"{labels_file(folder)}: the label 10 is out of range; wanted is 0 to 9"


def missing(folder):
    images_file(folder).unlink()
    return f"{images_file(folder)}: no such file"


@pytest.mark.parametrize(
    "spoil", [wrong_magic, cut_short, cut_gzip, no_gzip, empty, too_few_labels, label_out_of_range, missing]
)
def test_files_that_are_not_fashion_mnist_are_told(fashion, spoil):
    sentence = spoil(fashion)
    with pytest.raises(BadInput) as error:
        data_sets.load(DataSpec("fashion-mnist", str(fashion)))
    assert str(error.value) == sentence


def test_sizes_that_do_not_fit_are_told(fashion):
    with pytest.raises(BadInput) as error:
        data_sets.load(DataSpec("fashion-mnist", str(fashion), rows=9))
    assert str(error.value) == "data: images of 28x28 cannot be pooled to 9x28; wanted are divisors"
    with pytest.raises(BadInput) as error:
        data_sets.load(DataSpec("fashion-mnist", str(fashion), train_images=151))
    assert str(error.value) == "data: train_images is 151, but fashion-mnist has 150 to train on"
    with pytest.raises(BadInput) as error:
        data_sets.load(DataSpec("fashion-mnist", str(fashion / "nowhere")))
    assert str(error.value) == (
        f"{fashion / 'nowhere'}: no such folder; install Debian's package dataset-fashion-mnist, or set data.folder "
        "to the place of its idx.gz files"
    )


BATCH = np.random.default_rng(5).integers(1, 256, (64, 6, 7, 2)).astype(np.uint8)
INDICES = np.arange(100, 164)


def naive_moves(image, shift):
    """Every image that a shift can make, with zeros coming in."""
    rows, cols, _ = image.shape
    for down in range(-shift, shift + 1):
        for right in range(-shift, shift + 1):
            moved = np.zeros_like(image)
            for row in range(rows):
                for col in range(cols):
                    if 0 <= row + down < rows and 0 <= col + right < cols:
                        moved[row, col] = image[row + down, col + right]
            yield moved


@pytest.mark.parametrize("flip", [False, True])
def test_augmentation_moves_and_mirrors_whole_images(flip):
    out = augment(BATCH, INDICES, seed=1, epoch=2, shift=1, flip=flip)
    ways = set()
    for image, found in zip(BATCH, out, strict=True):
        allowed = [*naive_moves(image, 1)] + ([*naive_moves(image[:, ::-1], 1)] if flip else [])
        ways.add(next(i for i, other in enumerate(allowed) if np.array_equal(found, other)))
    assert len(ways) > (12 if flip else 6)


def test_augmentation_depends_on_seed_epoch_and_index_alone():
    whole = augment(BATCH, INDICES, seed=1, epoch=2, shift=1, flip=True)
    order = np.random.default_rng(0).permutation(64)[:10]
    assert np.array_equal(augment(BATCH[order], INDICES[order], 1, 2, 1, True), whole[order])
    assert not np.array_equal(augment(BATCH, INDICES, 2, 2, 1, True), whole)
    assert not np.array_equal(augment(BATCH, INDICES, 1, 3, 1, True), whole)
    assert np.array_equal(augment(BATCH, INDICES, 1, 2, 0, False), BATCH)

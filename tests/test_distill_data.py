import gzip
import struct
import time

import numpy as np
import pytest

from distill import data as data_sets
from distill.augment import augment
from distill.data import DataSpec, Images, pooled, statistics
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


def test_statistics_are_those_of_the_inputs_that_a_network_sees():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 4, 6, 3)).astype(np.uint8)
    pixels[..., 2] = 128
    found = statistics(Images(pixels, np.zeros(50, dtype=np.int64)))
    np.testing.assert_allclose(found.mean, (pixels / 256).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, (pixels / 256).std(axis=(0, 1, 2)), rtol=1e-12, atol=1e-15)
    assert (found.mean[2], found.deviation[2]) == (0.5, 0.0)


def test_statistics_of_a_data_set_are_of_its_training_images():
    data = data_sets.load(DataSpec())
    assert data.statistics == statistics(data.train)
    assert data.statistics != statistics(data.test)


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


def moves_of(count, seed, epoch, shift, flip):
    """What happened to image after image, read from a marked pixel and its right neighbour: (down, right, mirrored)."""
    pixels = np.zeros((count, 31, 31, 1), dtype=np.uint8)
    pixels[:, 15, 15], pixels[:, 15, 16] = 1, 2
    out = augment(pixels, np.arange(count), seed, epoch, shift, flip)[..., 0]
    marked, neighbour = (np.argwhere(out == value)[:, 1:] for value in (1, 2))
    mirrored = neighbour[:, 1] < marked[:, 1]
    right = np.where(mirrored, 30 - marked[:, 1], marked[:, 1]) - 15
    return marked[:, 0] - 15, right, mirrored


@pytest.mark.parametrize("shift", [1, 4])
def test_all_moves_are_equally_likely(shift):
    """Chi-squared over every (down, right, mirrored) below mean + 5 deviations: chance finds 1 in 10^5."""
    down, right, mirrored = moves_of(40_000, 3, 7, shift, True)
    side = 2 * shift + 1
    cells = ((down + shift) * side + right + shift) * 2 + mirrored
    counts = np.bincount(cells, minlength=2 * side * side)
    expected = 40_000 / counts.size
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    freedom = counts.size - 1
    assert counts.size == 2 * side * side
    assert freedom - 5 * (2 * freedom) ** 0.5 < chi_squared < freedom + 5 * (2 * freedom) ** 0.5


def test_moves_of_neighbours_epochs_and_seeds_are_unrelated():
    first = np.stack(moves_of(20_000, 0, 0, 4, True))
    others = [np.stack(moves_of(20_000, seed, epoch, 4, True)) for seed, epoch in ((1, 0), (0, 1))]
    for other in (np.roll(first, 1, axis=1), *others):
        for one in first:
            for two in other:
                assert abs(np.corrcoef(one, two)[0, 1]) < 5 / 20_000**0.5
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(first[i], first[j])[0, 1]) < 5 / 20_000**0.5


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_augmentation_is_the_same_in_batches_of_any_size_and_order(batch):
    whole = augment(BATCH, INDICES, 4, 9, 2, True)
    order = np.random.default_rng(batch).permutation(64)
    out = np.empty_like(whole)
    for part in np.array_split(order, -(-64 // batch)):
        out[part] = augment(BATCH[part], INDICES[part], 4, 9, 2, True)
    assert np.array_equal(out, whole)


def test_augmentation_leaves_its_input_as_it_was():
    before = BATCH.copy()
    augment(BATCH, INDICES, 1, 2, 0, True)
    assert np.array_equal(BATCH, before)


def test_a_shift_alone_mirrors_nothing_and_a_flip_alone_moves_nothing():
    assert not moves_of(1000, 0, 0, 4, False)[2].any()
    down, right, mirrored = moves_of(1000, 0, 0, 0, True)
    assert not down.any()
    assert not right.any()
    assert 400 < mirrored.sum() < 600


@pytest.mark.slow
def test_augmentation_keeps_ahead_of_a_fast_machine():
    """100,000 images of 32x32x3 a second of one core; the best of 5, since others use this machine."""
    pixels = np.random.default_rng(0).integers(0, 256, (12_800, 32, 32, 3), dtype=np.uint8)
    times = []
    for _ in range(5):
        start = time.process_time()
        for first in range(0, len(pixels), 128):
            augment(pixels[first : first + 128], np.arange(first, first + 128), 0, 0, 4, True)
        times.append(time.process_time() - start)
    assert len(pixels) / min(times) > 100_000


def test_an_idx_file_that_announces_too_much_or_unpacks_to_too_much_is_told(tmp_path):
    import gzip
    import struct

    from distill.data import read_idx

    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 2**20, 2**10, 2)))
    with pytest.raises(BadInput) as error:
        read_idx(path, 3)
    assert str(error.value) == f"{path}: 2147483648 bytes of values are announced, at most 1073741824 are read"
    path.write_bytes(gzip.compress(struct.pack(">2I", 0x801, 5) + bytes(10**7)))
    with pytest.raises(BadInput) as error:
        read_idx(path, 1)
    assert str(error.value) == f"{path}: more than 5 bytes of values, wanted are 5; fetch it again"
    path.write_bytes(gzip.compress(bytes(100))[:10] + bytes([255] * 20))
    with pytest.raises(BadInput, match="not a whole gzip file"):
        read_idx(path, 1)

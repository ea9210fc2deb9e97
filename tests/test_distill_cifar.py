"""CIFAR's binary files from a folder, an archive and a web address, and what is said of wrong ones."""

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cifar_files import FOLDERS, TRAIN, encoded, images, write_archive, write_folder

from distill import cifar, fetch
from distill import data as data_sets
from distill.data import DataSpec
from hw.errors import BadInput

NAMES = ("cifar-10", "cifar-100")


def md5(path: Path) -> str:
    return f"md5:{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}"


def sentence(place: Path | str | None, name: str = "cifar-100", checksum: str | None = None) -> str:
    with pytest.raises(BadInput) as error:
        cifar.read(name, None if place is None else str(place), checksum)
    return str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_images_and_labels_are_those_that_were_written(name: str, tmp_path: Path) -> None:
    write_folder(name, tmp_path)
    (pixels, labels), (test_pixels, test_labels) = cifar.read(name, str(tmp_path), None)
    assert np.array_equal(pixels, np.concatenate([images(20, i) for i in range(len(TRAIN[name]))]))
    classes = 10 if name == "cifar-10" else 100
    assert labels.tolist() == [i % classes for i in range(20)] * len(TRAIN[name])
    assert np.array_equal(test_pixels, images(10, 99))
    assert test_labels.tolist() == list(range(10))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_and_the_folder_above_hold_the_same(name: str, tmp_path: Path) -> None:
    inner = write_folder(name, tmp_path / "above" / FOLDERS[name])
    archive = write_archive(name, inner, tmp_path / "any.tar.gz")
    (wanted, _), _ = cifar.read(name, str(inner), None)
    for place, checksum in ((tmp_path / "above", None), (archive, None), (archive, md5(archive))):
        (found, _), _ = cifar.read(name, str(place), checksum)
        assert np.array_equal(found, wanted)


def test_a_data_set_has_its_classes_though_few_are_seen(tmp_path: Path) -> None:
    write_folder("cifar-100", tmp_path, count=40)
    data = data_sets.load(DataSpec("cifar-100", str(tmp_path), validation=0.5))
    assert (data.shape, data.classes) == ((3, 32, 32), 100)


def test_the_validation_split_is_fixed_by_its_seed(tmp_path: Path) -> None:
    write_folder("cifar-10", tmp_path, count=40)
    spec = DataSpec("cifar-10", str(tmp_path), validation=0.25)
    first, again = data_sets.load(spec), data_sets.load.__wrapped__(spec)
    other = data_sets.load(DataSpec("cifar-10", str(tmp_path), validation=0.25, split_seed=1))
    assert (len(first.train), len(first.validation), len(first.test)) == (150, 50, 10)
    assert np.bincount(first.validation.labels).tolist() == [5] * 10
    assert np.array_equal(first.validation.pixels, again.validation.pixels)
    assert not np.array_equal(first.validation.pixels, other.validation.pixels)


def test_the_authors_archives_have_their_published_checksums() -> None:
    found = {name: form.checksum for name, form in cifar.FORMS.items()}
    assert found == {
        "cifar-10": "md5:c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-100": "md5:03b5dce01913d631647c71ecec9e9cb8",
    }
    assert [form.record for form in cifar.FORMS.values()] == [3073, 3074]


@pytest.mark.parametrize(("cut", "size"), [(1, 20 * 3074 - 1), (20 * 3074, 0)])
def test_a_file_that_is_cut_short_is_told(cut: int, size: int, tmp_path: Path) -> None:
    path = write_folder("cifar-100", tmp_path) / "train.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    assert sentence(tmp_path) == (
        f"{path}: {size} bytes, wanted is a multiple of 3074 (a record of cifar-100-binary); fetch it again"
    )


def test_a_label_out_of_range_is_told(tmp_path: Path) -> None:
    write_folder("cifar-100", tmp_path)
    (tmp_path / "test.bin").write_bytes(encoded("cifar-100", images(3, 0), [99, 100, 7]))
    assert sentence(tmp_path) == (
        f"{tmp_path / 'test.bin'}: the label 100 of record 2 is out of range; wanted is 0 to 99; fetch it again"
    )


def test_a_missing_file_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    write_folder("cifar-10", tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    assert sentence(tmp_path, "cifar-10") == f"{tmp_path / 'data_batch_4.bin'}: no such file"
    assert sentence(tmp_path / "nowhere", "cifar-10") == (
        f"{tmp_path / 'nowhere'}: no such folder or archive; set data.folder to the place of cifar-10-batches-bin, or "
        f"leave it out to fetch https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    )


def test_an_archive_without_a_member_is_told(tmp_path: Path) -> None:
    folder = write_folder("cifar-100", tmp_path / "files")
    archive = write_archive("cifar-100", folder, tmp_path / "a.tar.gz", leave_out="test.bin")
    assert sentence(archive) == (
        f"{archive}: no member test.bin; wanted is the archive of cifar-100-binary, from "
        f"https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
    )


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_an_archive_that_is_cut_short_is_told(share: float, tmp_path: Path) -> None:
    archive = write_archive("cifar-100", write_folder("cifar-100", tmp_path / "files"), tmp_path / "a.tar.gz")
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    assert sentence(archive).startswith(f"{archive}: not a whole tar archive (")


def test_no_archive_at_all_and_one_with_another_checksum_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"plain text, not an archive" * 100)
    assert sentence(path).startswith(f"{path}: not a whole tar archive (")
    wrong = "sha256:" + 64 * "0"
    found = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert sentence(path, checksum=wrong) == (
        f"{path}: its checksum is {found}, wanted is {wrong}; fetch it again, it was cut or changed"
    )


class Server(http.server.ThreadingHTTPServer):
    """Serves one body under every path that does not end in `missing`, and counts what it was asked for."""

    body = b""
    told_length: int | None = None
    asked: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += (self.path,)
        if self.path.endswith("missing"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.told_length or len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pacemaker"


def test_an_address_is_fetched_once_into_the_cache(server: Server, cache: Path, tmp_path: Path) -> None:
    archive = write_archive("cifar-100", write_folder("cifar-100", tmp_path / "files"), tmp_path / "a.tar.gz")
    server.body = archive.read_bytes()
    place = f"{server.address}/data/small.tar.gz"
    for _ in range(2):
        (pixels, _), _ = cifar.read("cifar-100", place, md5(archive))
        assert np.array_equal(pixels, images(20, 0))
    assert server.asked == ("/data/small.tar.gz",)
    assert [path.name for path in cache.iterdir()] == ["small.tar.gz"]


def test_a_file_in_the_cache_that_has_changed_is_fetched_again(server: Server, tmp_path: Path) -> None:
    server.body = b"right"
    wanted = f"sha256:{hashlib.sha256(b'right').hexdigest()}"
    (tmp_path / "f").write_bytes(b"wrong")
    assert fetch.fetched(f"{server.address}/f?x=1", wanted, tmp_path).read_bytes() == b"right"


def changed(server: Server) -> str:
    server.body = b"other"
    digest = hashlib.md5(b"other", usedforsecurity=False).hexdigest()
    return f"its checksum is md5:{digest}, wanted is md5:{32 * '0'}; fetch it again, it was cut or changed"


def cut(server: Server) -> str:
    server.told_length = 1000
    return changed(server)


@pytest.mark.parametrize("spoil", [changed, cut])
def test_a_download_with_another_checksum_leaves_nothing(
    spoil: Callable[[Server], str], server: Server, cache: Path
) -> None:
    wanted = spoil(server)
    place = f"{server.address}/a.tar.gz"
    assert sentence(place, checksum="md5:" + 32 * "0") == f"{place}: {wanted}"
    assert list(cache.iterdir()) == []


def test_an_address_that_does_not_answer_is_told(server: Server, cache: Path) -> None:
    checksum = "md5:" + 32 * "0"
    place = f"{server.address}/missing"
    assert sentence(place, checksum=checksum) == (
        f"{place}: cannot be fetched (HTTP Error 404: Not Found); fetch it by hand and set data.folder to its place"
    )
    nobody = "http://127.0.0.1:1/a.tar.gz"
    assert sentence(nobody, checksum=checksum).startswith(f"{nobody}: cannot be fetched (")
    assert list(cache.iterdir()) == []


def test_an_address_of_ones_own_wants_a_checksum(server: Server) -> None:
    place = f"{server.address}/a.tar.gz"
    assert sentence(place) == (f"data: {place} wants a checksum; set data.checksum to md5: or sha256: and its digits")
    assert server.asked == ()


def test_without_a_place_the_authors_archive_is_fetched_and_checked(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = cifar.FORMS["cifar-100"]
    here = cifar.Form(100, 2, form.folder, form.train, form.test, f"{server.address}/c.tar.gz", form.checksum)
    monkeypatch.setitem(cifar.FORMS, "cifar-100", here)
    server.body = b"not the archive"
    assert sentence(None).endswith(
        "wanted is md5:03b5dce01913d631647c71ecec9e9cb8; fetch it again, it was cut or changed"
    )


def test_fashion_mnist_is_fetched_file_by_file(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.body = b"not idx"
    digest = hashlib.md5(b"not idx", usedforsecurity=False).hexdigest()
    monkeypatch.setattr(data_sets, "FASHION_MNIST_FILES", dict.fromkeys(data_sets.FASHION_MNIST_FILES, f"md5:{digest}"))
    with pytest.raises(BadInput, match=r"train-images-idx3-ubyte\.gz: not a whole gzip file"):
        data_sets.load(DataSpec("fashion-mnist", f"{server.address}/fashion/"))
    assert len(server.asked) == 4
    assert server.asked[0] == "/fashion/train-images-idx3-ubyte.gz"
    assert sorted(path.name for path in (cache / "fashion-mnist").iterdir()) == sorted(data_sets.FASHION_MNIST_FILES)


def test_a_checksum_of_what_is_no_archive_is_told(tmp_path: Path) -> None:
    checksum = "md5:" + 32 * "0"
    assert sentence(tmp_path, checksum=checksum) == (
        f"{tmp_path}: a checksum is of an archive, and this is a folder; remove data.checksum"
    )
    with pytest.raises(BadInput) as error:
        DataSpec("digits", checksum=checksum)
    assert str(error.value) == "data: a checksum is of an archive, and digits has none; remove data.checksum"


@pytest.mark.parametrize("checksum", ["md5:12", "crc:12345678", "md5:" + 32 * "G", "sha256:" + 32 * "0", ""])
def test_a_checksum_of_another_form_is_told(checksum: str) -> None:
    with pytest.raises(BadInput) as error:
        DataSpec("cifar-10", checksum=checksum)
    assert str(error.value) == (
        f"data: checksum is {checksum!r}, wanted is md5: and 32, or sha256: and 64 digits of 0-9 and a-f"
    )


def test_an_archive_that_unpacks_to_too_much_is_told(tmp_path, monkeypatch):
    from distill import cifar

    folder = write_folder("cifar-10", tmp_path / "a")
    archive = write_archive("cifar-10", folder, tmp_path / "a.tar.gz")
    monkeypatch.setattr(cifar, "LARGEST_ARCHIVE_BYTES", 100_000)
    with pytest.raises(BadInput) as error:
        cifar.read("cifar-10", str(archive), None)
    assert str(error.value) == (
        f"{archive}: not a whole tar archive (it unpacks to more than 100000 bytes); fetch it again"
    )


@pytest.mark.parametrize("address", ["http://h/..", "http://h/.", "http://h/%2e%2e", "http://h/a%2f"])
def test_the_last_part_of_an_address_never_names_a_folder(address, tmp_path, monkeypatch):
    import hashlib
    import io

    from distill import fetch

    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **words: io.BytesIO(b"x"))
    checksum = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    assert fetch.fetched(address, checksum, tmp_path / "cache") == tmp_path / "cache" / "download"

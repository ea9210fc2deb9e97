"""What is fuzzed: for every reader, files that are right, how they are made worse, and the reading itself."""

import gzip
import io
import shutil
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from unittest import mock

import cifar_files
import fuzz_mutations as worse
import msgspec
import numpy as np
from random_networks import random_network, random_pipeline
from random_students import random_student

from hw.errors import UnsupportedLayer
from hw.files import to_json, write_arrays, write_json, write_yaml

ROOT = Path(__file__).parents[1]
Files = dict[str, bytes]
Change = Callable[[Random, bytes], bytes]


@dataclass(frozen=True)
class Target:
    """`make` writes right files into a folder, time and again others; `change` is by suffix; `read` reads them."""

    make: Callable[[Path], None]
    change: dict[str, Change]
    read: Callable[[Path], object]


def recipe() -> Target:
    from distill import recipe as recipes

    def make(folder: Path) -> None:
        paths = [*(ROOT / "distill" / "recipes").glob("*.yaml"), *(ROOT / "docs" / "study").glob("*.yaml")]
        for path in [*paths, ROOT / "examples" / "fashion-mnist-small.yaml"]:
            _put(folder, path.stem, "recipe.yaml", path.read_bytes())

    def read(folder: Path) -> object:
        made = recipes.load(str(folder / "recipe.yaml"))
        return to_json(made), [recipes.fingerprint(made, stage.name, None, 0) for stage in made.stages[:3]]

    return Target(make, {".yaml": worse.of_yaml}, read)


def machine() -> Target:
    from hw import accelerator

    def make(folder: Path) -> None:
        for name in ("pipeline-256", "zynq-7020", "line-64", "line-216"):
            write_yaml(folder / name / "machine.yaml", accelerator.machine(name))
        for seed in range(6):
            write_yaml(folder / str(seed) / "machine.yaml", random_pipeline(seed, random_network(seed)))

    return Target(make, {".yaml": worse.of_yaml}, lambda folder: accelerator.machine(str(folder / "machine.yaml")))


def space() -> Target:
    from reports.sweep import space as spaces

    def make(folder: Path) -> None:
        for name in ("fashion-mnist-students", "presets"):
            _put(folder, name, "space.yaml", (ROOT / "examples" / f"{name}.yaml").read_bytes())

    def read(folder: Path) -> object:
        made = spaces.load(folder / "space.yaml")
        return to_json(made), made.kept, [next(iter(each)) for each in made.machines]

    return Target(make, {".yaml": worse.of_yaml}, read)


def energy() -> Target:
    from sim import energy as tables

    def make(folder: Path) -> None:
        for path in (ROOT / "hw" / "energy_tables").glob("*.yaml"):
            _put(folder, path.stem, "table.yaml", path.read_bytes())

    return Target(make, {".yaml": worse.of_yaml}, lambda folder: to_json(tables.load(str(folder / "table.yaml"))))


def network() -> Target:
    from hw.files import read_json
    from hw.network import Network

    def make(folder: Path) -> None:
        for seed in range(12):
            write_json(folder / str(seed) / "network.json", random_network(seed))

    def read(folder: Path) -> object:
        made = read_json(folder / "network.json", Network)
        return str(made), made.macs, made.parameters

    return Target(make, {".json": worse.of_json}, read)


def onnx() -> Target:
    from hw import onnx_file, onnx_out

    def make(folder: Path) -> None:
        _put(folder, "plain", "net.onnx", _plain_onnx())
        for seed in range(8):
            path = folder / str(seed) / "net.onnx"
            onnx_out.write(random_student(seed), path)
            try:
                onnx_file.read(path)
            except UnsupportedLayer:  # what scales its input
                shutil.rmtree(path.parent)

    def read(folder: Path) -> object:
        made = onnx_file.read(folder / "net.onnx")
        return str(made), made.macs, made.parameters

    return Target(make, {".onnx": worse.of_onnx}, read)


def _plain_onnx() -> bytes:
    """A graph with every operation that is read."""
    from onnx import TensorProto, helper, numpy_helper

    steps = [
        ("Slice", ["x", "starts", "ends", "axes", "steps"], {}),
        ("Conv", ["Slice", "w", "b"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 2]}),
        ("BatchNormalization", ["Conv", "b", "b", "b", "b"], {}),
        ("Relu", ["BatchNormalization"], {}),
        ("Conv", ["Relu", "v"], {"auto_pad": "SAME_UPPER", "group": 1, "dilations": [1, 1]}),
        ("Add", ["Conv2", "Relu"], {}),
        ("Concat", ["Add", "Relu"], {"axis": 1}),
        ("MaxPool", ["Concat"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("AveragePool", ["MaxPool"], {"kernel_shape": [1, 2]}),
        ("ReduceMean", ["AveragePool"], {"axes": [3], "keepdims": 1}),
        ("GlobalAveragePool", ["ReduceMean"], {}),
        ("Flatten", ["GlobalAveragePool"], {}),
        ("Gemm", ["Flatten", "d"], {"transB": 1}),
        ("Add", ["Gemm", "e"], {}),
    ]
    arrays = {"w": np.ones((4, 2, 3, 3)), "b": np.ones(4), "v": np.ones((4, 4, 1, 1)), "d": np.ones((3, 8))}
    arrays |= {"e": np.ones(3)}
    floats = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()]
    whole = {"starts": [0], "ends": [8], "axes": [2], "steps": [2]}
    numbers = [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in whole.items()]
    nodes, seen = [], set()
    for kind, inputs, attributes in steps:
        output = f"{kind}2" if kind in seen else kind
        seen.add(kind)
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])
    result = helper.make_tensor_value_info("Add2", TensorProto.FLOAT, ["any"])
    graph = helper.make_graph(nodes, "graph", [given], [result], floats + numbers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


def student() -> Target:
    from hw import student as students

    def make(folder: Path) -> None:
        for seed in range(8):
            students.save(random_student(seed), folder / str(seed))

    def read(folder: Path) -> object:
        made = students.load(folder)
        layers = [layer for layer in made.network.layers if layer.kind in ("conv", "affine")]
        return str(made.network), [students.accumulator(made, layer) for layer in layers]

    return Target(make, {".json": worse.of_json, ".safetensors": worse.of_safetensors}, read)


def _module():
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))


def checkpoint() -> Target:
    import torch

    from distill import checkpoint as checkpoints
    from distill import recipe as recipes

    torch.set_num_threads(1)
    chosen = recipes.load("digits")

    def make(folder: Path) -> None:
        checkpoints.write_run(folder / "a", chosen, 0)
        record = checkpoints.Record("student", 0, "rows", (0.5, 0.25), (0.75, 0.5), "0" * 16)
        checkpoints.save(checkpoints.path_of(folder / "a", "student", 0), _module(), record)

    def read(folder: Path) -> object:
        found = checkpoints.read_run(folder)
        record = checkpoints.record_of(folder, "student", 0)
        with torch.no_grad():
            checkpoints.fill(_module(), checkpoints.weights_file(checkpoints.path_of(folder, "student", 0)))
        return found.seeds, record.validation_accuracy

    return Target(make, {".json": worse.of_json, ".safetensors": worse.of_safetensors}, read)


def resume() -> Target:
    import torch
    from torch.amp import GradScaler
    from torch.optim import SGD

    from distill.resume import Curves, Memory

    torch.set_num_threads(1)

    def parts(enabled: bool):
        module = _module()
        return module, SGD(module.parameters(), 0.1, momentum=0.9), GradScaler("cpu", enabled=enabled)

    def make(folder: Path) -> None:
        for scaled in (False, True):
            module, optimizer, scaler = parts(scaled)
            loss = module(torch.ones(3, 1, 4, 4)).sum()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            path = folder / str(int(scaled)) / ("scaled.unfinished" if scaled else "plain.unfinished")
            Memory(path, "print").save(module, optimizer, scaler, Curves((0.5,), (0.25,)))

    def read(folder: Path) -> object:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            (path,) = folder.iterdir()
            return Memory(path, "print").restore(*parts(path.stem == "scaled"))

    return Target(make, {".unfinished": worse.of_safetensors}, read)


def log() -> Target:
    from distill import log as logs

    def make(folder: Path) -> None:
        made = logs.Log(folder / "a" / "log.jsonl")
        for epoch in range(3):
            made.add(logs.Progress("student", 0, None, epoch + 1, 3, 0.5, 0.25, 0.1, 100.0))

    def change(rng: Random, data: bytes) -> bytes:
        lines = data.split(b"\n")
        at = rng.randrange(len(lines) - 1)
        lines[at] = worse.of_json(rng, lines[at])
        return b"\n".join(lines)

    def read(folder: Path) -> object:
        lines = logs.read(folder / "log.jsonl")
        logs.Log(folder / "log.jsonl").add(logs.Progress("student", 0, None, 1, 3, 0.5, 0.25))
        return lines

    return Target(make, {".jsonl": change}, read)


def report() -> Target:
    from test_report import RECORD, a_report

    from reports import candidate, html

    def make(folder: Path) -> None:
        candidate.write(folder / "a", a_report(), RECORD)

    return Target(make, {".json": worse.of_json}, lambda folder: html.prepare(*candidate.read(folder)))


def idx() -> Target:
    from distill import data

    def make(folder: Path) -> None:
        head = struct.pack(">4I", 0x803, 5, 4, 3)
        _put(folder, "a", "train-images-idx3-ubyte.gz", gzip.compress(head + bytes(range(60)), mtime=0))
        _put(folder, "a", "train-labels-idx1-ubyte.gz", gzip.compress(struct.pack(">2I", 0x801, 5) + bytes(5), mtime=0))

    def change(rng: Random, packed: bytes) -> bytes:
        if rng.random() < 0.02:
            raw = struct.pack(">4I", 0x803, 2**16, 2**14, 3) + bytes(10**6)
            return gzip.compress(raw) * rng.choice([1, 400])
        raw = worse.of_bytes(rng, gzip.decompress(packed)) if rng.random() < 0.7 else gzip.decompress(packed)
        packed = gzip.compress(raw, compresslevel=rng.choice([0, 1]), mtime=0)
        return worse.of_bytes(rng, packed) if rng.random() < 0.5 else packed

    return Target(make, {".gz": change}, lambda folder: data.statistics(data.read_idx_pair(folder, "train", 10)))


def cifar() -> Target:
    from distill import cifar as sets

    def make(folder: Path) -> None:
        for name in ("cifar-10", "cifar-100"):
            cifar_files.write_folder(name, folder / name, count=1, tests=1)
            cifar_files.write_archive(name, folder / name, folder / f"{name}.tar.gz")
            _put(folder, f"{name}-packed", "a.tar.gz", (folder / f"{name}.tar.gz").read_bytes())
            (folder / f"{name}.tar.gz").unlink()

    def read(folder: Path) -> object:
        archive = folder / "a.tar.gz"
        small = (folder / "train.bin").exists() or (archive.exists() and archive.stat().st_size < 9000)
        return sets.read("cifar-100" if small else "cifar-10", str(archive if archive.exists() else folder), None)

    return Target(make, {".bin": worse.of_bytes, ".gz": _of_archive}, read)


def _of_archive(rng: Random, packed: bytes) -> bytes:
    """Members under other names, as links, of other sizes; a bomb; any bytes of the archive or of its packing."""
    raw = gzip.decompress(packed)
    kind = rng.random()
    if kind < 0.01:
        return _bomb(rng.choice([tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME]))
    if kind < 0.5:
        out = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(raw)) as old, tarfile.open(fileobj=out, mode="w") as new:
            for member in old:
                content = old.extractfile(member).read()
                if rng.random() < 0.3:
                    member.name = rng.choice(
                        [f"../{member.name}", f"/{member.name}", "..", "/", *worse.NAMES[1:6], "x" * 300]
                    )
                if rng.random() < 0.2:
                    member.type = rng.choice(
                        [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, b"S"]
                    )
                    member.linkname = rng.choice(["../../secret", "/etc/passwd", member.name, ""])
                if rng.random() < 0.2:
                    content = worse.of_bytes(rng, content)
                    member.size = len(content)
                new.addfile(member, io.BytesIO(content))
        raw = out.getvalue()
    elif kind < 0.8:
        raw = worse.of_bytes(rng, raw)
    packed = gzip.compress(raw, compresslevel=1, mtime=0)
    return packed if kind < 0.7 else worse.of_bytes(rng, packed)


@lru_cache
def _bomb(kind: bytes) -> bytes:
    """A member that is announced with 16 GiB, of which 1 GiB of zeros is there, packed to 1 MB."""
    member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    member.size, member.type = 2**34, kind
    zeros = bytes(2**22)
    packer = zlib.compressobj(1, wbits=31)
    return b"".join([packer.compress(member.tobuf()), *(packer.compress(zeros) for _ in range(2**8)), packer.flush()])


def images() -> Target:
    from PIL import Image

    from distill import images as folders

    def make(folder: Path) -> None:
        rng = np.random.default_rng(0)
        for kind, mode in (("png", "L"), ("jpg", "RGB"), ("png", "P"), ("png", "LA"), ("jpeg", "CMYK")):
            for name in ("cat", "dog"):
                path = folder / f"{kind}-{mode}" / "train" / name / f"0.{kind}"
                path.parent.mkdir(parents=True)
                picture = Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8))
                picture.convert(mode).save(path)

    change = dict.fromkeys((".png", ".jpg", ".jpeg"), _of_image)
    return Target(make, change, lambda folder: folders.read_split(folder / "train"))


def _of_image(rng: Random, data: bytes) -> bytes:
    from PIL import Image

    if rng.random() < 0.1:
        out = io.BytesIO()
        Image.new("L", (2, 2)).save(out, rng.choice(["GIF", "BMP", "TIFF", "EPS", "PPM", "ICO", "WEBP", "PCX", "PDF"]))
        data = out.getvalue()
    made = worse.of_bytes(rng, data)
    if made[:4] != b"\x89PNG" or rng.random() < 0.5:
        return made
    if rng.random() < 0.5:
        made = (
            made[:16]
            + struct.pack(">2I", rng.choice([5, 9000, 13000, 2**31 - 1]), rng.choice([6, 9500, 2**31 - 1]))
            + made[24:]
        )
    if rng.random() < 0.2:
        made = (
            made[:33]
            + _chunk(rng.choice([b"zTXt", b"iCCP", b"iTXt"]), b"a\0\0" + zlib.compress(bytes(10**7)))
            + made[33:]
        )
    chunks, at = made[:8], 8
    while at + 8 <= len(made):  # right checksums, so that more is read
        size = int.from_bytes(made[at : at + 4], "big")
        chunks += _chunk(made[at + 4 : at + 8], made[at + 8 : at + 8 + size])
        at += 12 + size
    return chunks


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def arrays() -> Target:
    from distill import arrays as files

    def make(folder: Path) -> None:
        rng = np.random.default_rng(0)
        for name, shape in (("grey", (4, 3)), ("colour", (3, 5, 3))):
            parts = {"train": 6, "test": 4} if name == "grey" else {"train": 6}
            found = {f"x_{part}": rng.integers(0, 256, (n, *shape), np.uint8) for part, n in parts.items()}
            found |= {f"y_{part}": np.arange(n) % 2 for part, n in parts.items()}
            (folder / name).mkdir(parents=True)
            (np.savez if name == "grey" else np.savez_compressed)(folder / name / "a.npz", **found)

    return Target(make, {".npz": _of_npz}, lambda folder: files.read(folder / "a.npz"))


def _of_npz(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.3:
        return worse.of_bytes(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    head = members[name][:128]
    changes = [
        lambda: members.__setitem__(name, members[name][:-1] + rng.randbytes(1)),
        lambda: members.pop(name),
        lambda: members.__setitem__(name, worse.of_bytes(rng, members[name])),
        lambda: members.__setitem__(name, head.replace(b"(6", rng.choice([b"(7", b"(-6", b"(6e9", b"(2" + b"0" * 9]))),
        lambda: members.__setitem__(name, head.replace(b"|u1", rng.choice([b"|O", b"<f8", b"<U0", b"|V0", b"<M8"]))),
        lambda: members.__setitem__(name, members[rng.choice(sorted(members))]),
        lambda: members.__setitem__(name, _npy_bomb()),
    ]
    rng.choice(changes)()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])) as made:
        for member, content in members.items():
            made.writestr(member, content)
    return out.getvalue() if rng.random() < 0.8 else worse.of_bytes(rng, out.getvalue())


@lru_cache
def _npy_bomb() -> bytes:
    """An array that is announced with 60 bytes and goes on for 3 MB of zeros."""
    out = io.BytesIO()
    np.save(out, np.zeros((6, 10), np.uint8))
    return out.getvalue() + bytes(3 * 10**6)


def fetch() -> Target:
    """Addresses and checksums, and an answer that changes; the web is a stand-in."""
    import http.client

    from distill import fetch as web

    def make(folder: Path) -> None:
        text = {"address": "http://example.org/a/b.tar.gz?x=1#y", "checksum": "md5:" + "0" * 32, "answer": "x"}
        text["checksum"] = "md5:9dd4e461268c8034f5c8564e155c67a6"  # of x
        write_json(folder / "a" / "fetch.json", text)

    def change(rng: Random, data: bytes) -> bytes:
        text = msgspec.json.decode(data)
        last = rng.choice(
            [b"..", b".", b"%2e%2e", b"..%2Fx", b"%00", b"%0a", b"\xff", b"x" * 300, b"%ff", b"[", b"a b"]
        )
        text["address"] = rng.choice(
            ["http://h/", "http://h/a/", "https://h/", "http://[", "http://h:x/"]
        ) + last.decode("latin1")
        if rng.random() < 0.3:
            text["address"] = worse.of_bytes(rng, text["address"].encode()).decode("latin1")
        if rng.random() < 0.3:
            text[rng.choice(["checksum", "answer"])] = rng.choice(
                ["md5:", "", "sha256:" + "z" * 64, "crc:0", *worse.NAMES[:6]]
            )
        text["fault"] = rng.choice(["", "", "", "OSError", "IncompleteRead", "InvalidURL", "ValueError"])
        return msgspec.json.encode(text)

    def read(folder: Path) -> object:
        text = msgspec.json.decode((folder / "fetch.json").read_bytes())
        faults = {"OSError": OSError(5, "x"), "IncompleteRead": http.client.IncompleteRead(b"x")}
        faults |= {"InvalidURL": http.client.InvalidURL("x"), "ValueError": ValueError("x")}
        if not web.is_address(text["address"]):
            return None
        web.check_form("checksum", text["checksum"])
        answer = io.BytesIO(text["answer"].encode("utf-8", "replace"))
        with mock.patch("urllib.request.urlopen", side_effect=faults.get(text.get("fault")), return_value=answer):
            path = web.fetched(text["address"], text["checksum"], folder / "cache")
        assert path.is_file(), path
        return path

    return Target(make, {".json": change}, read)


def database() -> Target:
    from test_sweep_store import points, subject

    from hw.accelerator import machine as preset
    from reports.sweep.space import Machines, Networks, Space
    from reports.sweep.store import Outcome, Store

    asked = Space("a", Networks(given=("wrn-10-1",)), (Machines("pipeline", {"macs": (64, 128)}),), ("latency_ms",))

    def make(folder: Path) -> None:
        with Store(folder / "a" / "sweep.db", "code") as store:
            store.put(points([("n1", "m1"), ("n1", "m2"), ("n2", "m1")]))
            store.finish(points([("n2", "m2")], status="bound"))
            store.add_subjects([subject("n1", "one", accuracy=0.5), subject("n2", "two")])
            store.add_machines({"m1": preset("line-64"), "m2": preset("zynq-7020")})
            store.put_training(Outcome("design", 0, 2, 0.5, {"a": 1}))
            store.put_run(asked, {"command": "x"})

    def read(folder: Path) -> object:
        with Store(folder / "sweep.db", "code") as store:
            table = store.table()
            store.known("n1")
            return len(table), store.machines(), store.trainings(), store.failed_designs(), store.last_run()

    return Target(make, {".db": _of_database}, read)


def _of_database(rng: Random, data: bytes) -> bytes:
    """Values of other types and sizes by SQL, or any bytes."""
    if rng.random() < 0.5:
        return worse.of_bytes(rng, data)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.deserialize(data)
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for _ in range(rng.choice([1, 1, 2, 3])):
            table = rng.choice(tables)
            names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            odd = [
                None,
                "",
                "x",
                b"\xff",
                -1,
                10**9,
                2**62,
                1e308,
                '{"a": [',
                "[]",
                "null",
                "{}",
                "\x1b[31m",
                '{"network": 3}',
            ]
            changes = [f"DROP TABLE {table}", f"DELETE FROM {table}", f"ALTER TABLE {table} RENAME TO x"]  # noqa: S608
            try:
                if rng.random() < 0.1:
                    database.execute(rng.choice(changes))
                else:
                    update = f"UPDATE OR IGNORE {table} SET {rng.choice(names)} = ?"  # noqa: S608
                    database.execute(update, (rng.choice(odd),))
            except sqlite3.Error:
                continue
        return database.serialize()


def vendor() -> Target:
    from test_hls_vendor import csynth, vivado_synth

    from hw.hls import vendor as reports

    def make(folder: Path) -> None:
        _put(folder, "xml", "a.xml", csynth().encode())
        _put(folder, "old", "a.xml", csynth("2019.2", "DSP48E").encode())
        _put(folder, "rpt", "a.rpt", vivado_synth().encode())
        solution = "whole/student_prj/solution1"
        _put(folder, f"{solution}/syn/report", "student_csynth.xml", csynth().encode())
        _put(folder, "whole", "project.tcl", b'set project_name "student"\nset backend "vitis"\n')
        app = b'<project><solutions><solution name="solution1"/></solutions></project>\n'
        _put(folder, "whole/student_prj", "hls.app", app)

    def change(rng: Random, data: bytes) -> bytes:
        if rng.random() < 0.6:
            parts = data.split(rng.choice([b">", b"|", b"\n", b"<"]))
            at = rng.randrange(len(parts))
            parts[at] = rng.choice([b"", b"undef", b"-1", b"1e400", b"nan", b"9" * 5000, parts[0], b"\xff", b"student"])
            data = (
                rng.choice([b">", b"|", b"\n"]).join(parts)
                if rng.random() < 0.2
                else data.replace(b"student", parts[at], 1)
            )
        if rng.random() < 0.05:
            bomb = '<!DOCTYPE a [<!ENTITY a "xxxx">' + "".join(
                f'<!ENTITY a{i} "{f"&a{i - 1 or chr(97)};" * 9}">' for i in range(1, 9)
            )
            data = (f"{bomb}]>" + "<profile>&a8;</profile>").encode(rng.choice(["utf-8", "utf-16"]))
        return worse.of_bytes(rng, data) if rng.random() < 0.7 else data

    def read(folder: Path) -> object:
        lone = [path for path in folder.iterdir() if path.suffix in (".xml", ".rpt")]
        return reports.read(lone[0] if lone else folder)

    return Target(make, dict.fromkeys((".xml", ".rpt", ".tcl", ".app"), change), read)


def project() -> Target:
    """The manifest of a generated project."""
    from hw.fixed import Format
    from hw.hls import manifest as manifests

    def make(folder: Path) -> None:
        layer = manifests.LayerRecord(
            "c", "c", "Conv2D", False, "latency", 1, Format(8, 3), {"weight": "ap_fixed<8,1>"}
        )
        made = manifests.Manifest(
            manifests.VERSION, "net", {"run": "r"}, "0" * 64, (8, 8, 1), 1, "Vitis", "io_stream", "auto", "part", 5.0,
            {"hls4ml": "1.3.0"}, (layer,), {"c": 3}, {"a.cpp": "0" * 64}, manifests.Comparison(2, 2, 0, 0.0, 0),
        )  # fmt: skip
        (folder / "a").mkdir()
        manifests.write_manifest(folder / "a", made)

    def read(folder: Path) -> object:
        return manifests.is_ours(folder), manifests.open_generated(folder), manifests.file_hashes(folder)

    return Target(make, {".json": worse.of_json}, read)


def names() -> Target:
    """What becomes a path in an output folder: a recipe's stages and seeds, an array's name, a network's name."""
    from distill import checkpoint as checkpoints
    from distill import recipe as recipes
    from hw.errors import BadInput

    def make(folder: Path) -> None:
        _put(folder, "a", "recipe.yaml", (ROOT / "distill" / "recipes" / "digits.yaml").read_bytes())

    def change(rng: Random, data: bytes) -> bytes:
        tree = msgspec.yaml.decode(data)
        name = rng.choice([*worse.NAMES, "a/../../b", "~", "con", ".", "-x", "a b", "ü"])
        if rng.random() < 0.3:
            tree["name"] = name
        else:
            tree["stages"] = [{"name": name, "kind": "row"}]
            tree.pop("chain", None)
        return msgspec.yaml.encode(tree)

    def read(folder: Path) -> object:
        made = recipes.load(str(folder / "recipe.yaml"))
        out = folder / "out" / made.name
        for stage in made.stages:
            path = checkpoints.path_of(out, stage.name, 0)
            write_arrays(checkpoints.weights_file(path), {"a": np.zeros(1)})
            if out.resolve() not in path.resolve().parents:
                raise AssertionError(f"{path} lies outside {out}")
        return BadInput

    return Target(make, {".yaml": change}, read)


def _put(folder: Path, case: str, name: str, data: bytes) -> None:
    path = folder / case / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


TARGETS: dict[str, tuple[Callable[[], Target], float]] = {
    "recipe": (recipe, 8),
    "machine": (machine, 10),
    "space": (space, 10),
    "energy": (energy, 6),
    "network": (network, 14),
    "onnx": (onnx, 10),
    "student": (student, 10),
    "checkpoint": (checkpoint, 4),
    "resume": (resume, 3),
    "log": (log, 4),
    "report": (report, 0.3),
    "idx": (idx, 4),
    "cifar": (cifar, 3),
    "images": (images, 4),
    "arrays": (arrays, 3),
    "fetch": (fetch, 2),
    "database": (database, 2),
    "vendor": (vendor, 2),
    "project": (project, 1),
    "names": (names, 1),
}
"""By name; the second number is the share of 100 that a target gets of the inputs of all."""

"""Makes docs/hls_matrix.csv and the tables of docs/hls.md: `python docs/make_hls.py FOLDER [WORD ...]`.

About an hour; goes on where it stopped.

Trains small students for a moment, on digits and Fashion-MNIST, quantises them into FOLDER, and for every row below
writes the HLS project, compiles its C simulation with g++ and compares it with the integer reference: all outputs of
all images, and every layer on 20. Rows that the CSV has are kept; those of distributed arithmetic want da4ml. Compiled
simulations are cached in FOLDER alone, so that every row is compiled. With words, only rows that have all of them.
"""

import csv
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw import student
from hw.errors import DoesNotFit
from hw.hls import compare, generate
from hw.student import Student

HERE = Path(__file__).parent
TARGET = HERE / "hls_matrix.csv"
MANY, FEW = 1000, 20


class Recipe(NamedTuple):
    """A student: what it is trained on and how it is made."""

    family: str
    depth: int
    width: int
    side: int
    bits: int = 8
    train_images: int = 1200
    epochs: int = 8
    rows: str = "keep"
    head: str = "global"


class Row(NamedTuple):
    """One line of the CSV: wall seconds, CPU seconds of compiler and simulation; a refusal's sentence or nothing."""

    backend: str
    io: str
    strategy: str
    student: str
    images: int
    wrong_outputs: int | str
    layers: int | str
    wrong_layers: int | str
    generate_s: float | str
    compile_compare_s: float | str
    cpu_s: float | str
    megabytes: float | str
    outcome: str


STUDENTS = {
    "digits-narrow-plain": Recipe("narrow-plain", 0, 0, 8),
    "digits-narrow-residual": Recipe("narrow-residual", 0, 0, 8),
    "digits-plain-8": Recipe("plain", 8, 1, 8),
    "digits-wrn-10-1": Recipe("wrn", 10, 1, 8),
    "digits-wrn-10-1-6bit": Recipe("wrn", 10, 1, 8, bits=6),
    "digits-wrn-10-1-4bit": Recipe("wrn", 10, 1, 8, bits=4),
    "digits-wrn-10-1-skip": Recipe("wrn", 10, 1, 8, rows="skip"),
    "digits-resnet-8": Recipe("resnet", 8, 1, 8),
    "fashion-14-wrn-10-1": Recipe("wrn", 10, 1, 14, epochs=3),
    "fashion-14-plain-8": Recipe("plain", 8, 1, 14, epochs=3),
    "fashion-28-wrn-16-1": Recipe("wrn", 16, 1, 28, epochs=1),
    "fashion-32-wrn-16-2": Recipe("wrn", 16, 2, 32, epochs=1, train_images=400),
}
ONE_OF_EACH = ("digits-plain-8", "digits-wrn-10-1")
NARROW = "digits-narrow-residual"
PLACES = (("Vivado", "io_stream"), ("Vitis", "io_parallel"), ("Quartus", "io_parallel"), ("Catapult", "io_parallel"))


def wanted() -> Iterator[tuple[str, str, str, str, int]]:
    """Backend, io, strategy, student and number of images of every row."""
    for name, recipe in STUDENTS.items():
        yield "Vitis", "io_stream", "auto", name, MANY if recipe.side <= 14 else FEW
    for backend, io in PLACES:
        for name in ONE_OF_EACH:
            yield backend, io, "auto", name, FEW
    for backend, io in (("Vitis", "io_stream"), *PLACES):
        for strategy in ("Latency", "Resource", "distributed_arithmetic"):
            if _has(backend, strategy):
                yield backend, io, strategy, NARROW, FEW
    yield "Vitis", "io_stream", "Latency", "digits-wrn-10-1", FEW
    yield "Vitis", "io_parallel", "auto", "fashion-28-wrn-16-1", FEW


def _has(backend: str, strategy: str) -> bool:
    lacking = {"Quartus": ("Latency", "distributed_arithmetic"), "Catapult": ("distributed_arithmetic",)}
    return strategy not in lacking.get(backend, ())


def made(name: str, folder: Path) -> Student:
    """The student of that name, trained if it is not in `folder` yet."""
    if not (folder / name / "student.json").is_file():
        student.save(_trained(name, STUDENTS[name]), folder / name)
    return student.lifted(student.load(folder / name))


def _trained(name: str, recipe: Recipe) -> Student:
    import torch

    from distill import quantize
    from distill.recipe import Stage, Training
    from distill.train import deterministic, to_input, train
    from hw import reference
    from hw.fixed import Format
    from hw.network import Shape
    from hw.passes import fold_affines, fold_weights
    from hw.trace import trace

    data = _data(recipe)
    channels, rows, cols = data.shape
    with deterministic(1):
        module = _module(recipe, channels, data.classes)
        training = Training(epochs=recipe.epochs, batch=64, learning_rate=0.05)
        train(Stage("ce", "row"), module, data, training, [], 1)
        found = trace(module.eval(), Shape(rows, cols, channels), name)
        network, weights = fold_affines(found.network), fold_weights(found.network, found.weights)
        formats = quantize.calibrate(
            network, weights, to_input(data.train.pixels[:256]), recipe.bits, Format(8, 0, False)
        )
        formats, integers = quantize.integers(quantize.FixedPoint(network, weights, formats))
    pixels = np.concatenate([data.test.pixels, data.train.pixels])[:MANY].astype(np.int64)
    labels = np.concatenate([data.test.labels, data.train.labels])[:MANY].astype(np.int64)
    shape = network.shapes[network.output.name]
    bare = Student(network, formats, integers, pixels, labels, np.zeros((len(pixels), *shape), np.int64), {})
    outputs = reference.forward(bare, pixels)
    right = (outputs.reshape(len(pixels), -1).argmax(1) == labels)[: len(data.test)].mean()
    print(f"{name}: {100 * right:.1f} % of its test images right", flush=True)
    del torch
    return bare.with_vectors(pixels, labels, outputs)


def _data(recipe: Recipe):  # noqa: ANN202  # of torch's side, imported late
    from distill.data import Data, DataSpec, Images, load

    if recipe.side == 8:
        return load(DataSpec(name="digits"))
    pooled = {"rows": 14, "cols": 14} if recipe.side == 14 else {}
    data = load(DataSpec(name="fashion-mnist", train_images=recipe.train_images, **pooled))
    around = max(0, recipe.side - 28) // 2

    def padded(images: Images) -> Images:
        return Images(np.pad(images.pixels, ((0, 0), (around, around), (around, around), (0, 0))), images.labels)

    small = Images(data.validation.pixels[:200], data.validation.labels[:200])
    test = Images(data.test.pixels[:MANY], data.test.labels[:MANY])
    return Data(padded(data.train), padded(small), padded(test), data.classes)


def _module(recipe: Recipe, channels: int, classes: int):  # noqa: ANN202
    from torch import nn

    from distill.blocks import GlobalHead, PreActivationBlock
    from distill.filters import on_the_fly
    from distill.networks import NetworkSpec, build, initialise

    if not recipe.family.startswith("narrow"):
        spec = NetworkSpec(family=recipe.family, depth=recipe.depth, width=recipe.width)
        return on_the_fly(build(spec, (channels, recipe.side, recipe.side), classes), 3, recipe.rows)
    middle: list[nn.Module] = [PreActivationBlock(8, 8, 1), PreActivationBlock(8, 16, 2)]
    if recipe.family == "narrow-plain":
        convs = [nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.Conv2d(8, 16, 3, 2, 1, bias=False)]
        middle = [nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), conv) for conv in convs]
    stem = nn.Conv2d(channels, 8, 3, 1, 1, bias=False)
    parts = [stem, *middle, nn.BatchNorm2d(16), nn.ReLU(), GlobalHead(16, classes)]
    return on_the_fly(initialise(nn.Sequential(*parts)), 3, recipe.rows)


def row_of(folder: Path, backend: str, io: str, strategy: str, name: str, images: int) -> Row:
    """Generate, compile and compare."""
    one = made(name, folder / "students")
    key = (backend, io, strategy, name, images)
    started = time.perf_counter()
    try:
        project = generate(
            one, folder / "projects" / "-".join(key[:4]), backend=backend, io_type=io, strategy=strategy, force=True
        )
    except DoesNotFit as refusal:
        return Row(*key, "", "", "", "", "", "", "", str(refusal))
    written = time.perf_counter()
    before = os.times().children_user
    found = compare(one, project, one.images[:images])
    done, cpu = time.perf_counter(), os.times().children_user - before
    size = sum(path.stat().st_size for path in project.folder.rglob("*") if path.is_file() and "csim" not in path.parts)
    figures = (found.wrong_outputs, found.layers, len(found.wrong_layers))
    seconds = (round(written - started, 1), round(done - written, 1), round(cpu, 1), round(size / 1e6, 1))
    return Row(*key, *figures, *seconds, "" if found.exact else str(found))


def run(folder: Path, words: list[str], say: Callable[[str], None] = print) -> None:
    """Every row with these words that the CSV has not got yet, each written as soon as it is known."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    present = set()
    if TARGET.is_file():
        with TARGET.open(newline="") as stream:
            present = {tuple(row[key] for key in Row._fields[:4]) for row in csv.DictReader(stream)}
    else:
        TARGET.write_text(",".join(Row._fields) + "\n")
    for key in wanted():
        if key[:4] in present or not set(words) <= set(key[:4]):
            continue
        row = row_of(folder, *key)
        with TARGET.open("a", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerow(row)
        say(str(row))


def matrix_table() -> str:
    """The CSV as a table."""
    lines = ["| backend | io | strategy | student | images | wrong outputs | wrong layers | CPU s |", "|---" * 8 + "|"]
    with TARGET.open(newline="") as stream:
        for row in csv.DictReader(stream):
            head = [row[key] for key in ("backend", "io", "strategy", "student")]
            wrong = [f"{row['wrong_layers']} of {row['layers']}", row["cpu_s"]]
            tail = [row["outcome"], "", ""] if row["outcome"] else [row["wrong_outputs"], *wrong]
            lines.append(f"| {' | '.join([*head, row['images'], *tail])} |")
    return "\n".join(lines)


def fifo_table() -> str:
    """FIFOs of hls4ml and ours, for both kinds of kernel."""
    from hw.presets import preset
    from reports.hls import hls_fifos

    lines = ["| network | bits before | after | block RAMs before | after | deepest after, pixels |", "|---" * 6 + "|"]
    for name in ("wrn-10-1", "wrn-10-1-1x3-keep", "resnet-20", "resnet-20-1x3-keep", "wrn-16-2", "wrn-16-2-1x3-keep"):
        found = hls_fifos(preset(name))
        bits, rams = (found.before.bits, found.after.bits), (found.before.bram18, found.after.bram18)
        deepest = max(found.depths.values())
        lines.append(f"| {name} | {bits[0]:,} | {bits[1]:,} | {rams[0]:,} | {rams[1]:,} | {deepest:,} |")
    return "\n".join(lines)


def fill_page() -> None:
    """Write both tables into docs/hls.md."""
    page = HERE / "hls.md"
    text = page.read_text()
    for name, table in {"matrix": matrix_table(), "fifos": fifo_table()}.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)
    page.write_text(text)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
    fill_page()

"""From a trained stage to a `Student`: trace, fold, calibrate, fine-tune, integers, test vectors."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from distill import checkpoint, quantize
from distill import data as data_sets
from distill.data import PIXEL_FRACTION_BITS, Data, Images, Pixels
from distill.recipe import Recipe, Stage, fingerprint
from distill.run import accuracies_on_test, outcome, summary
from distill.train import deterministic, stable_seed, to_input, train
from hw import reference, student
from hw.errors import BadInput
from hw.files import read_json, write_json
from hw.fixed import Format
from hw.network import Shape
from hw.passes import fold_affines, fold_weights
from hw.student import Student
from hw.trace import Traced, trace
from reports.candidate import Accuracy
from reports.statistics import Paired, against_baselines

CALIBRATION_IMAGES = 512
TEST_VECTORS = 1000
AT_ONCE = 500
"""Images whose values in all layers are held in memory together."""
PIXEL = Format(8, 8 - PIXEL_FRACTION_BITS, signed=False)


class Twins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The quantised twins of the best student, one a seed; `seed` is the one with the best validation accuracy.

    `equal_images` counts the test images on which the fake-quantised module and the integer reference agree in every
    bit of every layer.
    """

    stage: str
    seed: int
    bits: int
    validation: tuple[float, ...]
    test: tuple[float, ...]
    equal_images: tuple[int, ...]
    test_images: int
    fingerprints: tuple[str, ...]


def traced(recipe: Recipe, folder: Path, stage: str, seed: int) -> Traced:
    """A trained stage as a network, batch norms not folded, and its float weights."""
    module = checkpoint.load_module(recipe, folder, stage, seed)
    channels, rows, cols = data_sets.load(recipe.data).shape
    return trace(module, Shape(rows, cols, channels), stage)


def check_traceable(recipe: Recipe) -> None:
    """Trace the untrained network of every kind of stage, before hours are spent on training it.

    Raises:
        UnsupportedLayer: a layer that no machine here executes.
        BadInput: a network that torch cannot export.
    """
    data = data_sets.load(recipe.data)
    channels, rows, cols = data.shape
    kinds = {stage.kind: stage for stage in recipe.stages if stage.kind != "ensemble"}
    with torch.random.fork_rng(devices=[]):
        for kind, stage in kinds.items():
            for head in recipe.student.heads if kind == "row" else [checkpoint.DEFAULT_HEAD]:
                module = checkpoint.fresh(recipe, stage, head, data.shape, data.classes)
                trace(module, Shape(rows, cols, channels), stage.name)


def best_student(recipe: Recipe, folder: Path) -> Stage:
    """The 1xN stage with the best mean validation accuracy; the first in a tie. Repeated ones are no choice.

    Raises:
        BadInput: the recipe has no 1xN stage.
    """
    validation = outcome(folder).validation
    students = [stage for stage in recipe.stages if stage.kind == "row" and not recipe.again(stage)]
    if not students:
        raise BadInput(f"recipe {recipe.name}: it has no stage of kind row, and so no student to quantise")
    return max(students, key=lambda stage: fmean(validation[stage.name]))


def make(folder: Path) -> Twins:
    """Quantise the best student of a distilled run, every seed; write the best twin to `<folder>/student`.

    What is there already, made from the same weights, is kept.

    Raises:
        BadInput: the run is not finished, or has no student.
    """
    run = checkpoint.read_run(folder)
    stage = best_student(run.recipe, folder)
    made_by = tuple(_fingerprint(run.recipe, folder, stage, seed) for seed in run.seeds)
    path = folder / "quantised.json"
    if path.is_file() and (folder / "student" / "student.json").is_file():
        kept = read_json(path, Twins)
        if kept.fingerprints == made_by:
            return kept
    data = data_sets.load(run.recipe.data)
    modules = {seed: _fine_tuned(run.recipe, folder, stage, seed, data) for seed in run.seeds}
    students = {seed: _integers(modules[seed], stage, seed, made_by[i]) for i, seed in enumerate(run.seeds)}
    validation = {seed: accuracy_of(students[seed], data.validation) for seed in run.seeds}
    best = max(run.seeds, key=lambda seed: validation[seed])
    student.save(with_vectors(students[best], data.test), folder / "student")
    twins = Twins(
        stage=stage.name,
        seed=best,
        bits=run.recipe.quantisation.bits,
        validation=tuple(validation.values()),
        test=tuple(accuracy_of(students[seed], data.test) for seed in run.seeds),
        equal_images=tuple(_equal_images(modules[seed], students[seed], data.test) for seed in run.seeds),
        test_images=len(data.test),
        fingerprints=made_by,
    )
    write_json(path, twins)
    return twins


def accuracies(folder: Path) -> dict[str, dict[str, Accuracy]]:
    """Of every stage and of the quantised student: accuracy on the validation and the test split.

    Raises:
        BadInput: the run is not finished.
    """
    validation, test = outcome(folder).validation, accuracies_on_test(folder)
    rows = {
        name: {"validation": accuracy_over(validation[name]), "test": accuracy_over(test[name])} for name in validation
    }
    if (folder / "quantised.json").is_file():
        twins = read_json(folder / "quantised.json", Twins)
        name = f"{twins.stage}-int{twins.bits}"
        rows[name] = {"validation": accuracy_over(twins.validation), "test": accuracy_over(twins.test)}
    return rows


def differences(folder: Path) -> tuple[Paired, ...]:
    """Every student against cross entropy and plain distillation, on the test split, seed by seed.

    Raises:
        BadInput: the run is not finished.
    """
    return against_baselines(checkpoint.read_run(folder).recipe, accuracies_on_test(folder))


def accuracy_over(seeds: Sequence[float]) -> Accuracy:
    """Accuracies of several seeds with mean and standard deviation."""
    spread = summary({"": seeds})[""]
    return Accuracy(tuple(seeds), spread.mean, spread.deviation)


def twin(recipe: Recipe, folder: Path, stage_name: str, seed: int) -> Student:
    """The fixed-point twin of one trained stage of one seed, fine-tuned as `make` does it, without test vectors.

    Raises:
        BadInput: weights that are missing, or a fine-tuning whose loss is not finite.
        UnsupportedLayer: a layer that no machine here executes.
    """
    stage, data = recipe.stage(stage_name), data_sets.load(recipe.data)
    module = _fine_tuned(recipe, folder, stage, seed, data)
    return _integers(module, stage, seed, _fingerprint(recipe, folder, stage, seed))


def with_vectors(made: Student, images: Images, count: int = TEST_VECTORS) -> Student:
    """The student with its first `count` images, labels and outputs as test vectors."""
    pixels = images.pixels[:count].astype(np.int64)
    return made.with_vectors(pixels, images.labels[:count], reference.forward(made, pixels))


def accuracy_of(made: Student, images: Images) -> float:
    """Share of the images that the integers put into the right class, 0 to 1."""
    outputs = reference.forward(made, images.pixels).reshape(len(images), -1)
    return int((outputs.argmax(1) == images.labels).sum()) / len(images)


def twin_key(recipe: Recipe, stage_name: str, head: str, seed: int) -> str:
    """`fingerprint` of the stage and the quantisation: changes when anything changes that a twin depends on."""
    quantisation = recipe.quantisation
    settings = f"{quantisation.bits}-{quantisation.epochs}-{quantisation.learning_rate:g}"
    return f"{fingerprint(recipe, stage_name, head, seed)}-{settings}"


def _fingerprint(recipe: Recipe, folder: Path, stage: Stage, seed: int) -> str:
    return twin_key(recipe, stage.name, checkpoint.record_of(folder, stage.name, seed).head, seed)


def _fine_tuned(recipe: Recipe, folder: Path, stage: Stage, seed: int, data: Data) -> quantize.FixedPoint:
    """The fake-quantised module of a stage, trained on as the stage was: its teachers, weights, method, temperature.

    In float32, whatever the stage was trained in: a narrower float would round between the steps of the fixed point.
    """
    source = traced(recipe, folder, stage.name, seed)
    network = fold_affines(source.network)
    weights = fold_weights(source.network, source.weights)
    settings = recipe.quantisation
    own_seed = stable_seed(seed, stage.name, "quantised")
    with deterministic(own_seed):
        images = to_input(data.train.pixels[:CALIBRATION_IMAGES])
        formats = quantize.calibrate(network, weights, images, settings.bits, PIXEL)
        module = quantize.FixedPoint(network, weights, formats)
        if settings.epochs:
            training = msgspec.structs.replace(
                recipe.training,
                epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                weight_decay=0.0,
                precision="float32",
                compile=False,
            )
            teachers = [
                (weight, checkpoint.load_module(recipe, folder, teacher, seed))
                for teacher, weight in stage.teachers.items()
            ]
            train(stage, module, data, training, teachers, own_seed)
    return module.eval()


def _integers(module: quantize.FixedPoint, stage: Stage, seed: int, made_by: str) -> Student:
    formats, integers = quantize.integers(module)
    none = np.zeros((0, *module.network.input), np.int64)
    outputs = np.zeros((0, *module.network.shapes[module.network.output.name]), np.int64)
    provenance = {"stage": stage.name, "seed": str(seed), "fingerprint": made_by}
    return Student(module.network, formats, integers, none, np.zeros(0, np.int64), outputs, provenance)


def _equal_images(module: quantize.FixedPoint, made: Student, images: Images) -> int:
    """Images on which the module, in float64, gives the reference's integers in every layer."""
    module.double()
    with deterministic(0):
        equal = [_equal(module, made, images.pixels[i : i + AT_ONCE]) for i in range(0, len(images), AT_ONCE)]
    module.float()
    return int(np.concatenate(equal).sum())


def _equal(module: quantize.FixedPoint, made: Student, pixels: Pixels) -> NDArray[np.bool_]:
    """Whether an image [count, rows, cols, channels] gives the same integers in every layer, [count]."""
    expected = reference.layer_outputs(made, pixels)
    equal = np.ones(len(pixels), bool)
    for name, values in quantize.layer_values(module, to_input(pixels).double()).items():
        found = values.permute(0, 2, 3, 1).numpy() * 2.0 ** made.fraction(name)
        equal &= (found == expected[name]).all(axis=(1, 2, 3))
    return equal

"""What a run leaves on disk: weights as safetensors, a small JSON record beside them, and the recipe.

`<run>/recipe.json` holds recipe and seed; `<run>/weights/<stage>-<seed>.safetensors` and `.json` each trained stage;
`<run>/weights/heads/` the candidates that the choice of the head left. An ensemble has a record and no weights. A stage
that was stopped in its training has left its state in `<stage>-<seed>.unfinished` (`distill.resume`).
"""

from pathlib import Path

import msgspec
import torch
from torch import nn

from distill import data as data_sets
from distill import ensemble, filters, networks
from distill.networks import DataShape
from distill.recipe import Recipe, Stage
from hw.errors import BadInput
from hw.files import Arrays, read_arrays, read_json, replacing, write_arrays, write_json

DEFAULT_HEAD = "global"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One trained stage of one seed.

    Attributes:
        stage: its name.
        seed: of its chain.
        head: global, or rows for a student that knows its rows.
        loss: mean training loss of every epoch; empty for an ensemble.
        validation: validation accuracy after every epoch (0 to 1); of an ensemble one value.
        fingerprint: `recipe.fingerprint` when it was trained.
    """

    stage: str
    seed: int
    head: str
    loss: tuple[float, ...]
    validation: tuple[float, ...]
    fingerprint: str

    def __post_init__(self) -> None:
        if not self.validation:
            raise BadInput(f"stage {self.stage}, seed {self.seed}: its record has no accuracy; remove it")

    @property
    def validation_accuracy(self) -> float:
        """After the last epoch, 0 to 1."""
        return self.validation[-1]


class Distillation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run folder is of: the recipe, and the seed of its first chain."""

    recipe: Recipe
    seed: int

    @property
    def seeds(self) -> range:
        """The seeds of all chains."""
        return range(self.seed, self.seed + self.recipe.seeds)


def write_run(folder: Path, recipe: Recipe, seed: int) -> None:
    """Leave recipe and seed in the run's folder."""
    write_json(folder / "recipe.json", Distillation(recipe, seed))


def read_run(folder: Path) -> Distillation:
    """Recipe and seed of a run's folder.

    Raises:
        BadInput: the folder is not a run.
    """
    if not (folder / "recipe.json").is_file():
        raise BadInput(
            f"{folder}: no run here (recipe.json is missing); make one with: pacemaker distill RECIPE --out {folder}"
        )
    return read_json(folder / "recipe.json", Distillation)


def path_of(folder: Path, stage: str, seed: int, candidate: str | None = None) -> Path:
    """The checkpoint of a stage and a seed, without suffix; `candidate` is a head that is only tried."""
    if candidate is None:
        return folder / "weights" / f"{stage}-{seed}"
    return folder / "weights" / "heads" / f"{stage}-{candidate}-{seed}"


def save(path: Path, module: nn.Module | None, record: Record) -> None:
    """Write weights, then the record: a record without its weights does not exist.

    Raises:
        BadInput: they cannot be written, as on a full disk; an older checkpoint is then as it was, or has no record.
    """
    if module is not None:
        _write(path, {name: tensor.detach().cpu().numpy() for name, tensor in _state(module).items()})
    write_json(_suffixed(path, ".json"), record)


def copy(source: Path, target: Path) -> None:
    """Make `target` the same checkpoint as `source`."""
    _write(target, read_arrays(weights_file(source)))
    write_json(_suffixed(target, ".json"), record_at(source))


def record_at(path: Path) -> Record:
    """The record of a checkpoint.

    Raises:
        BadInput: it is missing or not of its form.
    """
    return read_json(_suffixed(path, ".json"), Record)


def record_of(folder: Path, stage: str, seed: int) -> Record:
    """The record of a stage and a seed.

    Raises:
        BadInput: it is missing or not of its form.
    """
    return record_at(path_of(folder, stage, seed))


def load_module(recipe: Recipe, folder: Path, stage_name: str, seed: int) -> nn.Module:
    """A trained stage (of an ensemble, with all its members) in evaluation mode.

    Raises:
        BadInput: no such stage, or a checkpoint that is missing, damaged, or of another network.
    """
    stage = recipe.stage(stage_name)
    if stage.kind == "ensemble":
        members = [load_module(recipe, folder, member, seed) for member in stage.members]
        return ensemble.logits(members, list(stage.members.values()))
    path = path_of(folder, stage_name, seed)
    data = data_sets.load(recipe.data)
    module = fresh(recipe, stage, record_at(path).head, data.shape, data.classes)
    fill(module, weights_file(path))
    return module.eval()


def fresh(recipe: Recipe, stage: Stage, head: str, data_shape: DataShape, classes: int) -> nn.Module:
    """The untrained network of a stage, with weights from torch's generator."""
    module = networks.build(recipe.network, data_shape, classes)
    student = recipe.student
    if stage.kind == "row":
        plan = filters.plan_of(module, "row", student.stem)
        return filters.convert(module, plan, n=student.n, rows=student.rows, head=head, data_shape=data_shape)
    return filters.convert(module, filters.plan_of(module, stage.kind), n=student.n)


def check_networks(recipe: Recipe) -> None:
    """Build the network of every kind of stage once and show it an empty image, before hours are spent on another.

    Raises:
        BadInput: a network that cannot be built or converted, that cannot take the images, or with other classes.
        MissingTool: data that needs a package that is not there.
    """
    data = data_sets.load(recipe.data)
    kinds = {stage.kind: stage for stage in recipe.stages if stage.kind != "ensemble"}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for kind, stage in kinds.items():
            for head in recipe.student.heads if kind == "row" else [DEFAULT_HEAD]:
                _check_network(fresh(recipe, stage, head, data.shape, data.classes), kind, data.shape, data.classes)


def _check_network(module: nn.Module, kind: str, data_shape: DataShape, classes: int) -> None:
    channels, rows, cols = data_shape
    try:
        answer = module.eval()(torch.zeros(1, *data_shape))
    except Exception as error:
        raise BadInput(
            f"network: its {kind} form cannot take an image of {channels} channels, {rows} rows and {cols} cols "
            f"({error}); filters and strides change the rows, so end with a mean over rows and cols"
        ) from error
    found = list(answer.shape) if isinstance(answer, torch.Tensor) else f"a {type(answer).__name__}"
    if found != [1, classes]:
        raise BadInput(f"network: its {kind} form gives {found} for one image, wanted are logits {[1, classes]}")


def fill(module: nn.Module, path: Path) -> None:
    """Take a module's weights from a safetensors file.

    Raises:
        BadInput: a tensor is missing, too much, or of another shape or type.
    """
    arrays, wanted = read_arrays(path), _state(module)
    for name in sorted(arrays.keys() ^ wanted.keys()):
        state = "is missing" if name in wanted else "belongs to another network"
        raise BadInput(f"{path}: the tensor {name} {state}; remove the file and distil again")
    for name, tensor in wanted.items():
        found = torch.from_numpy(arrays[name])
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise BadInput(
                f"{path}: {name} is {found.dtype} {list(found.shape)}, wanted is {tensor.dtype} "
                f"{list(tensor.shape)}; remove the file and distil again"
            )
        tensor.copy_(found)


def _write(path: Path, arrays: Arrays) -> None:
    """Weights, whole on the disk before the record of older ones goes."""
    with replacing(weights_file(path)) as temporary:
        write_arrays(temporary, arrays)
        _suffixed(path, ".json").unlink(missing_ok=True)


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Weights and running statistics, without batch norm's count of batches, which nothing uses."""
    return {name: value for name, value in module.state_dict().items() if not name.endswith(".num_batches_tracked")}


def weights_file(path: Path) -> Path:
    """The safetensors file of a checkpoint."""
    return _suffixed(path, ".safetensors")


def unfinished_file(path: Path) -> Path:
    """Where a checkpoint's training keeps its state until it is over."""
    return _suffixed(path, ".unfinished")


def _suffixed(path: Path, suffix: str) -> Path:
    """Stage names have no dots, but a folder may: append, do not replace."""
    return path.with_name(path.name + suffix)

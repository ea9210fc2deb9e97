"""Trains one epoch a request: `python training_worker.py ours|torchdistill`, in the environment of each.

A request is a line of JSON on standard input: a case, a mode (`training.py` says which there are), steps. The answer is
a line on standard output: seconds of the epoch, of the teacher in it, and the loss of every step. One thread.
"""

import importlib
import json
import logging
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
import training_case as common
from torch import Tensor, nn
from training_case import Case

Answer = dict[str, Any]
Seconds = dict[str, float]
COMPILED_EPOCHS = 4  # the first one compiles
NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class Clock:
    """Seconds of wall clock and of this process's CPU."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def lap(self) -> Seconds:
        """Since the last one."""
        wall, cpu = time.perf_counter(), time.process_time()
        taken = {"wall_s": wall - self.wall, "cpu_s": cpu - self.cpu}
        self.wall, self.cpu = wall, cpu
        return taken


class Timed(nn.Module):
    """A teacher that adds up the seconds of its answers."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.seconds = {"wall_s": 0.0, "cpu_s": 0.0}

    def forward(self, x: Tensor) -> Tensor:
        clock = Clock()
        logits: Tensor = self.inner(x)
        for key, value in clock.lap().items():
            self.seconds[key] += value
        return logits


def ours() -> Callable[[Case, str], Answer]:
    """`distill.train.train` as runs call it, under `deterministic`, its losses written down on the way."""
    train = importlib.import_module("distill.train")
    data, methods, recipe = (importlib.import_module(f"distill.{name}") for name in ("data", "methods", "recipe"))
    plain_loss = methods.loss

    class Asking(recipe.Training, frozen=True):  # type: ignore[name-defined, misc]
        """Images that are said to differ from epoch to epoch, though they do not: teachers are asked at every step."""

        @property
        def augments(self) -> bool:
            return True

    def training_of(mode: str) -> Any:
        kind = recipe.Training if mode == "cached" else Asking
        return kind(
            epochs=COMPILED_EPOCHS if mode == "compiled" else 1,
            batch=common.BATCH,
            learning_rate=common.LEARNING_RATE,
            momentum=common.MOMENTUM,
            nesterov=True,
            weight_decay=common.WEIGHT_DECAY,
            schedule="steps",
            milestones=(),
            precision="bfloat16" if mode == "bfloat16" else "float32",
            compile=mode == "compiled",
        )

    def train_one(case: Case, mode: str) -> Answer:
        pixels, labels = common.images(case)
        teacher, student = common.teacher_and_student(case, pixels)
        asked, training = Timed(teacher).eval(), training_of(mode)
        everything = data.Images(pixels, labels)
        one = everything.take(np.arange(1))
        whole = data.Data(everything, one, one, case.classes)
        stage = recipe.Stage("kd", "row", {"teacher": 1.0}, alpha=common.ALPHA, temperature=common.TEMPERATURE)
        losses: list[Tensor] = []
        epochs: list[Seconds] = []

        def noting(*args: Any) -> Tensor:
            loss: Tensor = plain_loss(*args)
            losses.append(loss.detach())
            return loss

        methods.loss = noting
        with train.deterministic(common.SEED):
            clock = Clock()
            train.train(
                stage, student, whole, training, [(1.0, asked)], common.SEED, lambda *_: epochs.append(clock.lap())
            )
        return {"epochs": epochs, "teacher": asked.seconds, "losses": [loss.item() for loss in losses]}

    return train_one


def torchdistill() -> Callable[[Case, str], Answer]:
    """Its distillation box, losses and meters, driven as its image classification example does; `mode` is workers."""
    with_torchvision()
    box_of = importlib.import_module("torchdistill.core.distillation").get_distillation_box
    log = importlib.import_module("torchdistill.misc.log")
    logging.disable(logging.INFO)

    def train_one(case: Case, mode: str) -> Answer:
        pixels, labels = common.images(case)
        teacher, student = map(common.with_torchs_norm, common.teacher_and_student(case, pixels))
        asked = Timed(teacher).eval()
        dataset = torch.utils.data.TensorDataset(common.as_input(pixels), torch.from_numpy(labels))
        device = torch.device("cpu")
        config = configuration(case, int(mode))
        box = box_of(asked, student, {"train": dataset}, config, device, None, False, 1)
        losses: list[float] = []
        clock = Clock()
        box.pre_epoch_process(epoch=0)
        logger = log.MetricLogger(delimiter="  ")
        logger.add_meter("lr", log.SmoothedValue(window_size=1, fmt="{value}"))
        logger.add_meter("img/s", log.SmoothedValue(window_size=10, fmt="{value}"))
        for batch, targets, extra in logger.log_every(box.train_data_loader, config["log_freq"], "Epoch: [0]"):
            begin = time.time()
            loss = box.forward_process(batch.to(device), targets.to(device), extra)
            box.post_forward_process(loss=loss)
            losses.append(loss.item())
            logger.update(loss=losses[-1], lr=box.optimizer.param_groups[0]["lr"])
            logger.meters["img/s"].update(len(batch) / (time.time() - begin))
        box.post_epoch_process()
        return {"epochs": [clock.lap()], "teacher": asked.seconds, "losses": losses}

    return train_one


def with_torchvision() -> None:
    """Import torchvision, without its compiled part if that is for another build of torch (its wheel is for CUDA).

    Nothing timed here uses it; torchdistill imports it for its registries of models and data sets.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(name + NMS)
        importlib.import_module("torchvision")
        torch.classes.kept = library  # its operators last as long as it does


def configuration(case: Case, workers: int) -> dict[str, Any]:
    """What the file of a user of torchdistill would say; its alpha is the share of the labels."""
    logits = {"student_module_path": ".", "student_module_io": "output"}
    logits |= {"teacher_module_path": ".", "teacher_module_io": "output"}
    weights = {"temperature": common.TEMPERATURE, "alpha": 1 - common.ALPHA, "reduction": "batchmean"}
    knowledge = {"criterion": {"key": "KDLoss", "kwargs": {**logits, **weights}}, "weight": 1.0}
    return {
        "log_freq": 100,
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": lambda dataset: common.order(len(dataset))},
            "kwargs": {"batch_size": common.BATCH, "num_workers": workers},
        },
        "teacher": {"forward_proc": "forward_batch_only", "sequential": [], "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "sequential": [], "requires_grad": True},
        "optimizer": {
            "key": "SGD",
            "kwargs": {
                "lr": common.LEARNING_RATE,
                "momentum": common.MOMENTUM,
                "nesterov": True,
                "weight_decay": common.WEIGHT_DECAY,
            },
        },
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": knowledge}}},
    }


def requests() -> Iterator[tuple[Case, str]]:
    for line in sys.stdin:
        asked = json.loads(line)
        yield common.CASES[asked["case"]]._replace(steps=asked["steps"]), asked["mode"]


def main() -> None:
    torch.set_num_threads(1)
    train_one = {"ours": ours, "torchdistill": torchdistill}[sys.argv[1]]()
    for case, mode in requests():
        try:
            answer = train_one(case, mode)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no word'}"}
        print(json.dumps({**answer, "torch": torch.__version__, "python": platform.python_version()}), flush=True)


if __name__ == "__main__":
    main()

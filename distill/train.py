"""The one training loop. The same seed gives the same weights, bit for bit, on the same machine and versions."""

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from distill import methods
from distill.data import PIXEL_FRACTION_BITS, Data, Images, Pixels, augment
from distill.methods import Moment
from distill.recipe import Stage, Training
from distill.resume import Curves, Memory
from hw.errors import BadInput

Teachers = Sequence[tuple[float, nn.Module]]
OnEpoch = Callable[[int, float, float], None]
"""Called after every epoch (counted from 1) with the mean training loss and the validation accuracy."""

EVALUATION_BATCH = 512


def train(
    stage: Stage,
    module: nn.Module,
    data: Data,
    training: Training,
    teachers: Teachers,
    seed: int,
    on_epoch: OnEpoch = lambda epoch, loss, validation: None,
    who: str = "training",
    memory: Memory | None = None,
) -> Curves:
    """Train `module` in place on the training images and leave it in evaluation mode.

    Args:
        stage: says what is minimised, and when.
        module: with the weights to start from.
        data: only its training and validation images are read.
        training: the schedule and the augmentation.
        teachers: weight and module of each; modules in evaluation mode.
        seed: of the order of the images and of their augmentation.
        on_epoch: told after every epoch.
        who: begins the sentence of an error.
        memory: where the state is kept after every epoch; a state that is there already is gone on from.

    Raises:
        BadInput: the loss is no longer finite.
    """
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.2 times as fast at 8x8
    steps = max(1, len(data.train) // training.batch)
    optimizer = SGD(
        module.parameters(),
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=training.nesterov,
    )
    rates = learning_rates(training, steps)
    known = None if training.augments else _answers(teachers, data.train.pixels)
    curves = memory.restore(module, optimizer) if memory else Curves()
    for epoch in range(len(curves.loss), training.epochs):
        module.train()
        total = 0.0
        for step, indices in enumerate(_batches(len(data.train), steps, seed, epoch)):
            pixels = augment(data.train.pixels[indices], indices, seed, epoch, training.shift, training.flip)
            if known is None:
                answers = _answers(teachers, pixels)
            else:
                answers = [(weight, logits[indices]) for weight, logits in known]
            labels = torch.from_numpy(data.train.labels[indices])
            moment = Moment(epoch, training.epochs, step, seed)
            loss = methods.loss(stage, module(to_input(pixels)), labels, answers, moment)
            _check_finite(loss.item(), who, training, epoch, step)
            optimizer.param_groups[0]["lr"] = rates[epoch * steps + step]
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(indices)
        loss_curve = (*curves.loss, total / len(data.train))
        curves = Curves(loss_curve, (*curves.validation, accuracy(module, data.validation)))
        if memory is not None:
            memory.save(module, optimizer, curves)
        on_epoch(epoch + 1, curves.loss[-1], curves.validation[-1])
    module.eval()
    return curves


def accuracy(module: nn.Module, images: Images) -> float:
    """Share of the images whose greatest logit is their label's; leaves the module in evaluation mode."""
    right = int((predictions(module, images.pixels).argmax(1) == torch.from_numpy(images.labels)).sum())
    return right / len(images)


def predictions(module: nn.Module, pixels: Pixels) -> Tensor:
    """Logits [count, classes] of 8-bit images [count, rows, cols, channels], in evaluation mode."""
    module.eval()
    with torch.no_grad():
        return torch.cat(
            [module(to_input(pixels[i : i + EVALUATION_BATCH])) for i in range(0, len(pixels), EVALUATION_BATCH)]
        )


def to_input(pixels: Pixels) -> Tensor:
    """8-bit images [batch, rows, cols, channels] as float32 [batch, channels, rows, cols], integer / 256, exactly."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32)
    return images * 2.0**-PIXEL_FRACTION_BITS


def stable_seed(*parts: object) -> int:
    """A number below 2^63 that depends on the parts' text alone, the same in every process."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """One torch thread, deterministic algorithms and torch's generator at `seed`; settings as before afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)


def _answers(teachers: Teachers, pixels: Pixels) -> list[tuple[float, Tensor]]:
    """Weight and logits of each teacher; images that never change are asked about once."""
    return [(weight, predictions(teacher, pixels)) for weight, teacher in teachers]


def _batches(count: int, steps: int, seed: int, epoch: int) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """A fresh order of all indices, in `steps` parts of nearly equal size."""
    return np.array_split(np.random.default_rng([seed, epoch]).permutation(count), steps)


def learning_rates(training: Training, steps: int) -> list[float]:
    """The learning rate of every step, `steps` an epoch."""
    optimizer = SGD([torch.zeros(1)], lr=training.learning_rate)
    schedule = _schedule(training, optimizer, steps)
    rates = []
    for _ in range(training.epochs * steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def _schedule(training: Training, optimizer: SGD, steps: int) -> LRScheduler:
    """The learning rate, moved after every step."""
    whole = training.epochs * steps
    if training.schedule == "onecycle":
        return OneCycleLR(
            optimizer, training.learning_rate, whole + 1, pct_start=training.warm_up, cycle_momentum=False
        )
    if training.schedule == "cosine":
        return CosineAnnealingLR(optimizer, whole)
    milestones = [round(share * training.epochs) * steps for share in training.milestones]
    return MultiStepLR(optimizer, milestones, training.factor)


def _check_finite(loss: float, who: str, training: Training, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        raise BadInput(
            f"{who}: the loss is {loss} in epoch {epoch + 1}, step {step + 1}; "
            f"try a training.learning_rate below {training.learning_rate:g}"
        )

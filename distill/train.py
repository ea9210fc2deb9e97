"""The one training loop. The same seed gives the same weights, bit for bit, on the same machine and versions."""

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from distill import methods
from distill.answers import Answers, Store
from distill.data import Data, Pixels, augment
from distill.methods import Moment
from distill.parallel import ALONE, Indices, Ranks
from distill.precision import Arithmetic, compiled
from distill.predict import accuracy as accuracy
from distill.predict import predictions as predictions
from distill.predict import to_input as to_input
from distill.recipe import Stage, Training
from distill.resume import Curves, Memory
from hw.errors import BadInput

Teachers = Sequence[tuple[float, nn.Module]]
OnEpoch = Callable[[int, float, float], None]
"""Called after every epoch (counted from 1) with the mean training loss and the validation accuracy."""


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
    *,
    ranks: Ranks = ALONE,
    augmentation_seed: int | None = None,
    store: Store | None = None,
    fingerprints: Sequence[str] = (),
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
        ranks: the device, where the module then stays, and the processes that train together, of which the first one
            keeps the state and tells of epochs.
        augmentation_seed: of all stages that see the same images; None moves and mirrors them by `seed`.
        store: keeps the teachers' answers on disk, where they do not change or all stages see the same images.
        fingerprints: how each teacher was made; wanted by a store.

    Raises:
        BadInput: the loss is no longer finite, a batch is too small for a batch norm, the disk is full, or torch cannot
            compile the network.
    """
    arithmetic = Arithmetic(training.precision, ranks.device)
    module.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.2 times as fast at 8x8
    steps = steps_an_epoch(training, len(data.train))
    optimizer = SGD(
        module.parameters(),
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=training.nesterov,
    )
    rates = learning_rates(training, steps)

    def images_of(indices: Indices, epoch: int) -> Pixels:
        moves = seed if augmentation_seed is None else augmentation_seed
        return augment(data.train.pixels[indices], indices, moves, epoch, training.shift, training.flip)

    often = "once" if not training.augments else "batch" if augmentation_seed is None else "epoch"
    modules = [teacher.to(ranks.device) for _, teacher in teachers]
    answers = Answers(modules, images_of, len(data.train), often, store, fingerprints)
    curves = memory.restore(module, optimizer, arithmetic.scaler) if memory else Curves()
    network = ranks.network(module)
    forward = compiled(network) if training.compile else network
    for epoch in range(len(curves.loss), training.epochs):
        module.train()
        ranks.begin(stable_seed(seed, epoch))
        total = 0.0
        for step, batch in enumerate(_batches(len(data.train), steps, seed, epoch)):
            indices = ranks.share(batch)
            pixels = images_of(indices, epoch)
            labels = torch.from_numpy(data.train.labels[indices]).to(ranks.device)
            weights = methods.weights_at(stage, [w for w, _ in teachers], Moment(epoch, training.epochs, step, seed))
            with _told(who):
                logits = arithmetic.logits(forward, to_input(pixels, ranks.device))
            told = [(w, t.to(ranks.device)) for w, t in answers.speaking(weights, indices, pixels, epoch)]
            loss = methods.loss(stage, logits, labels, told)
            mean = ranks.mean(loss.item(), len(indices), len(batch))
            _check_finite(mean, who, training, epoch, step)
            optimizer.param_groups[0]["lr"] = rates[epoch * steps + step]
            arithmetic.step(ranks.scaled(loss, len(indices), len(batch)), optimizer)
            total += mean * len(batch)
        ranks.settle(module)
        loss_curve = (*curves.loss, total / len(data.train))
        curves = Curves(loss_curve, (*curves.validation, accuracy(module, data.validation)))
        if ranks.first:
            if memory is not None:
                memory.save(module, optimizer, arithmetic.scaler, curves)
            on_epoch(epoch + 1, curves.loss[-1], curves.validation[-1])
    module.eval()
    return curves


def stable_seed(*parts: object) -> int:
    """A number below 2^63 that depends on the parts' text alone, the same in every process."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """One torch thread, deterministic algorithms and torch's generator at `seed`; settings as before afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    switches: Any = torch.utils.deterministic
    filled = switches.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        switches.fill_uninitialized_memory = False  # costs time, changes no bit
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
            switches.fill_uninitialized_memory = filled


def _batches(count: int, steps: int, seed: int, epoch: int) -> list[Indices]:
    """A fresh order of all indices, in `steps` parts of nearly equal size."""
    return np.array_split(np.random.default_rng([seed, epoch]).permutation(count), steps)


def steps_an_epoch(training: Training, images: int) -> int:
    """Batches that `images` are spread over; the last ones make no batch of their own."""
    return max(1, images // training.batch)


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


@contextlib.contextmanager
def _told(who: str) -> Iterator[None]:
    """Torch's batch norm cannot learn from a single value: of one image whose map has become one pixel."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise BadInput(
            f"{who}: a batch norm found one value a channel, of one image of 1x1, and wants two or more; "
            "set training.batch to 2 or more"
        ) from error


def _check_finite(loss: float, who: str, training: Training, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        exact = "" if training.precision == "float32" else ", or training.precision float32"
        raise BadInput(
            f"{who}: the loss is {loss} in epoch {epoch + 1}, step {step + 1}; "
            f"try a training.learning_rate below {training.learning_rate:g}{exact}"
        )

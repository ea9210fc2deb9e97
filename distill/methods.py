"""How one network of the chain is made: its kind, whom it learns from and when, and by which loss."""

import math
import re
from collections.abc import Sequence
from functools import partial

import msgspec
import numpy as np
import torch
from torch import Tensor

from distill import losses, own
from distill.ensemble import MIXED, PARTS
from hw.errors import BadInput, check_word

STAGE_KINDS = ("full", *MIXED, "row", "ensemble")
METHODS = ("kd", "dkd")


def check_range(what: str, value: float, least: float, greatest: float = math.inf) -> None:
    """Demand a finite number between two others.

    Raises:
        BadInput: it is not.
    """
    if not least <= value <= greatest or math.isinf(value):
        wanted = f"{least} or more" if math.isinf(greatest) else f"{least} to {greatest}"
        raise BadInput(f"{what} is {value}, wanted is {wanted}")


def check_positive(what: str, value: float) -> None:
    """Demand a finite number above 0.

    Raises:
        BadInput: it is not.
    """
    if not 0 < value < math.inf:
        raise BadInput(f"{what} is {value}, wanted is above 0")


class Method(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stage minimises: truth CE + alpha sum_i weight_i match_i; alpha and the weights are the stage's own.

    Attributes:
        method: kd, dkd (`losses.dkd`), or a `losses.Match` of one's own, package.module:function.
        standardise: compare z-scores of the logits (`losses.standardised`).
        truth: weight of the cross entropy; None is 1 - alpha.
        target: weight of TCKD, of the method dkd only (alpha in its paper).
        beta: weight of NCKD, of the method dkd only.
        warm_up: share of the epochs in which the teachers' part grows to its weight.
        drop: teachers left out of each batch, drawn anew.
    """

    method: str = "kd"
    standardise: bool = False
    truth: float | None = None
    target: float = 1.0
    beta: float = 8.0
    warm_up: float = 0.0
    drop: int = 0


def check_method(who: str, method: Method) -> None:
    """Demand what a `Method` means.

    Raises:
        BadInput: an unknown word, a weight below 0, or one that the method has no use for.
    """
    if ":" in method.method:
        own.check_form(f"{who}: method", method.method)
    else:
        check_word(f"{who}: method", method.method, METHODS)
    for name in ("target", "beta"):
        check_range(f"{who}: {name}", getattr(method, name), 0)
        if method.method != "dkd" and getattr(method, name) != getattr(Method(), name):
            raise BadInput(f"{who}: {name} is of the method dkd only, found is {method.method}")
    if method.truth is not None:
        check_range(f"{who}: truth", method.truth, 0)
    check_range(f"{who}: warm_up", method.warm_up, 0, 1)
    check_range(f"{who}: drop", method.drop, 0)


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a training: its share of the epochs, and the weights of the teachers that speak in it (maybe none)."""

    share: float
    teachers: dict[str, float] = {}


class Stage(Method, frozen=True, forbid_unknown_fields=True):
    """One network of the chain and whom it learns from.

    Attributes:
        name: lower-case letters, digits and hyphens; also the name of its files.
        kind: full (NxN), split, sum, alternate, early or late (a pacemaker of both), row (a 1xN student) or ensemble
            (not trained).
        teachers: stage -> weight; empty trains by cross entropy alone. With phases left out: then it becomes each
            teacher's mean weight over the epochs.
        members: stage -> weight of an ensemble's logits.
        alpha: share of the teachers in the loss.
        temperature: of the teachers' and the student's logits.
        start: stage whose weights training starts from; None starts afresh.
        start_part: what 1xN filters take from it: middle (rows of NxN filters) or row (its 1xN part alone).
        phases: one after another, weights and learning rate going on; their shares sum to 1.
    """

    name: str
    kind: str
    teachers: dict[str, float] = {}
    members: dict[str, float] = {}
    alpha: float = 0.5
    temperature: float = 4.0
    start: str | None = None
    start_part: str = "middle"
    phases: tuple[Phase, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.name):
            raise BadInput(f"stage {self.name!r}: wanted is a name of lower-case letters, digits and hyphens")
        who = f"stage {self.name}"
        check_word(f"{who}: kind", self.kind, STAGE_KINDS)
        check_range(f"{who}: alpha", self.alpha, 0, 1)
        check_positive(f"{who}: temperature", self.temperature)
        check_method(who, self)
        if self.phases:
            _check_phases(who, self)
            msgspec.structs.force_setattr(self, "teachers", _mean_weights(self.phases))
        for other, weight in {**self.teachers, **self.members}.items():
            check_positive(f"{who}: the weight of {other}", weight)
        _check_drop(who, self)
        _check_roles(who, self)

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages that come before this one."""
        start = (self.start,) if self.start else ()
        return tuple(dict.fromkeys((*self.teachers, *self.members, *start)))


class Moment(msgspec.Struct, frozen=True):
    """Where a training is: the epoch (counted from 0) of how many, the step in it, and the training's seed."""

    epoch: int
    epochs: int
    step: int
    seed: int


def loss(stage: Stage, logits: Tensor, labels: Tensor, speaking: Sequence[tuple[float, Tensor]]) -> Tensor:
    """What a stage minimises at one step.

    Args:
        stage: says how.
        logits: of the network in training, [batch, classes].
        labels: class numbers, [batch].
        speaking: weight (above 0, `weights_at`) and logits of each teacher that is not silent, in the stage's order.
    """
    return losses.distillation(
        logits, labels, speaking, stage.alpha, stage.temperature, match_of(stage), truth=stage.truth
    )


def match_of(method: Method) -> losses.Match:
    """The loss by which a student is compared with one teacher.

    Raises:
        BadInput: one of the user's own that cannot be imported.
    """
    match: losses.Match = losses.plain_kd
    if method.method == "dkd":
        match = partial(losses.dkd, alpha=method.target, beta=method.beta)
    elif method.method not in METHODS:
        match = _own_match(method.method)
    return losses.standardised(match) if method.standardise else match


def check_losses(stages: Sequence[Stage], classes: int) -> None:
    """Ask the loss of every stage that has teachers once, before hours are spent on another one.

    Raises:
        BadInput: one of the user's own that cannot be imported, or whose answer is not a number to learn from.
    """
    for stage in stages:
        if stage.teachers:
            student = torch.zeros(2, classes, requires_grad=True)
            match_of(stage)(student, torch.eye(classes)[:2], torch.tensor([0, 1]), stage.temperature)


def _own_match(name: str) -> losses.Match:
    function = own.imported("method", name)

    def match(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
        try:
            found = function(student_logits, teacher_logits, labels, temperature)
        except Exception as error:  # whatever a function of the user's own raises
            raise BadInput(f"method {name} failed ({type(error).__name__}: {error})") from error
        if not isinstance(found, Tensor) or found.dim() or not found.is_floating_point():
            shape = f" {list(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else ""
            raise BadInput(f"method {name} returned a {type(found).__name__}{shape}, wanted is one number, a Tensor []")
        if student_logits.requires_grad and not found.requires_grad:
            raise BadInput(f"method {name} has no gradient by the student's logits; wanted are torch's operations")
        return found

    return match


def weights_at(stage: Stage, weights: Sequence[float], moment: Moment) -> list[float]:
    """The weight of each teacher at one step; 0 keeps it silent.

    Args:
        stage: whose phases, if there are any, take the place of `weights`.
        weights: in the order of the stage's teachers.
        moment: the same one always gives the same weights, so that a training can be gone on with.
    """
    found = list(weights)
    if stage.phases:
        phase = phase_at(stage.phases, moment)
        found = [phase.teachers.get(name, 0.0) for name in stage.teachers]
    if stage.drop:
        speaking = [i for i, weight in enumerate(found) if weight > 0]
        generator = np.random.default_rng([moment.seed, moment.epoch, moment.step, stage.drop])
        for i in generator.permutation(speaking)[: min(stage.drop, max(0, len(speaking) - 1))]:
            found[i] = 0.0
    if stage.warm_up:
        grown = min(1.0, (moment.epoch + 1) / (stage.warm_up * moment.epochs))
        found = [weight * grown for weight in found]
    return found


def phase_at(phases: Sequence[Phase], moment: Moment) -> Phase:
    """The phase that the middle of this epoch is in."""
    passed = 0.0
    for phase in phases:
        passed += phase.share
        if (moment.epoch + 0.5) / moment.epochs < passed:
            return phase
    return phases[-1]


def _mean_weights(phases: Sequence[Phase]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for phase in phases:
        for name, weight in phase.teachers.items():
            weights[name] = weights.get(name, 0.0) + phase.share * weight
    return weights


def _check_phases(who: str, stage: Stage) -> None:
    for phase in stage.phases:
        check_positive(f"{who}: the share of a phase", phase.share)
        for name, weight in phase.teachers.items():
            check_positive(f"{who}: the weight of {name} in a phase", weight)
    whole = sum(phase.share for phase in stage.phases)
    if not math.isclose(whole, 1, abs_tol=1e-6):
        raise BadInput(f"{who}: the shares of its phases sum to {whole:g}, wanted is 1")
    if stage.teachers and stage.teachers != _mean_weights(stage.phases):
        raise BadInput(f"{who}: its phases name the teachers; leave teachers out")


def _check_drop(who: str, stage: Stage) -> None:
    least = min((len(phase.teachers) for phase in stage.phases), default=len(stage.teachers))
    if stage.drop and stage.drop >= least:
        raise BadInput(f"{who}: drop is {stage.drop}, wanted is less than its number of teachers, {least}")


def _check_roles(who: str, stage: Stage) -> None:
    if stage.kind == "ensemble" and (not stage.members or stage.teachers or stage.start):
        raise BadInput(f"{who}: an ensemble wants members, and neither teachers nor start")
    if stage.kind != "ensemble" and stage.members:
        raise BadInput(f"{who}: kind {stage.kind} has no members; wanted is kind ensemble, or teachers")
    check_word(f"{who}: start_part", stage.start_part, PARTS)
    if stage.start is None and stage.start_part != "middle":
        raise BadInput(f"{who}: start_part is {stage.start_part}, but it has no start; name a stage there")

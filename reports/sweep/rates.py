"""How long a training that nobody has timed yet will take: by a few of its steps, made now and thrown away."""

import dataclasses
import time

import msgspec

from distill import checkpoint
from distill import data as data_sets
from distill.data import Images
from distill.train import deterministic, train
from reports.sweep.works import Work

BATCHES = 3


def seconds_an_epoch(work: Work) -> float:
    """Of a training on this machine, one thread; a quantisation is taken for a training of its network.

    Networks and teachers are untrained, which takes them as long.
    """
    recipe, stage = work.recipe, work.recipe.stage(work.stage)
    data = data_sets.load(recipe.data)
    few = min(len(data.train), BATCHES * recipe.training.batch)
    some = Images(data.train.pixels[:few], data.train.labels[:few])
    short = dataclasses.replace(data, train=some, validation=some)
    once = msgspec.structs.replace(recipe.training, epochs=1)
    head = recipe.student.heads[0]
    with deterministic(0):
        module = checkpoint.fresh(recipe, stage, head, data.shape, data.classes)
        above = [recipe.stage(name) for name in stage.teachers]
        solid = [each if each.kind != "ensemble" else recipe.stage(next(iter(each.members))) for each in above]
        teachers = [(1.0, checkpoint.fresh(recipe, each, head, data.shape, data.classes)) for each in solid]
        train(stage, module, short, once, teachers, 0)
        begin = time.perf_counter()
        train(stage, module, short, once, teachers, 0)
    return (time.perf_counter() - begin) * len(data.train) / few

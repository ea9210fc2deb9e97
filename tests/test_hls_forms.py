"""Layers that hls4ml has not, written as others: the same integers in numpy and in C, the same shapes in the model."""

import numpy as np
import pytest
from hls_students import SIGNED, UNSIGNED, conv, student_of
from random_networks import random_network
from random_students import random_student
from test_hls import needs_compiler
from test_hls_backends import PLACES, exact

from hw.fixed import Format
from hw.hls.forms import as_generated
from hw.hls.passes import join_by_adds, prepare, write_out_depthwise
from hw.hls.templates import dataflow
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.reference import layer_outputs
from sim import hls_fifos


def depthwise(name, source, kernel, stride=(1, 1), relu=False, bias=True):
    rows, cols = kernel[0] // 2, kernel[1] // 2
    return Layer(
        name, "depthwise", (source,), 0, Size(*kernel), Size(*stride), Padding(rows, rows, cols, cols), bias, relu
    )


def mobile(images=100):
    """Depthwise convs of both heights, one that strides over rows, and a concat of three inputs on three grids."""
    layers = (
        conv("stem", INPUT, 4, (1, 3), relu=True),
        depthwise("tall", "stem", (3, 3), relu=True),
        depthwise("wide", "tall", (1, 3), (2, 1), bias=False),
        conv("short", "stem", 3, (1, 1), (2, 1)),
        depthwise("same", "wide", (1, 1)),
        Layer("both", "concat", ("wide", "short", "same"), relu=True),
        conv("out", "both", 5, (1, 1)),
    )
    formats = {"wide": Format(8, 3), "short": Format(7, 4), "same": SIGNED, "both": UNSIGNED}
    return student_of(Network("mobile", Shape(6, 5, 2), layers), 3, images, formats)


@pytest.mark.parametrize("seed", range(60))
def test_random_students_keep_their_integers(seed):
    student = random_student(seed, images=3, depthwise=True)
    changed = join_by_adds(write_out_depthwise(student))
    assert {layer.kind for layer in changed.network.layers}.isdisjoint({"depthwise", "concat"})
    before, after = (layer_outputs(each, student.images) for each in (student, changed))
    for name in student.network.by_name:
        assert np.array_equal(before[name], after[name]), name


def test_the_random_students_have_both():
    kinds = [layer.kind for seed in range(60) for layer in random_network(seed, depthwise=True).layers]
    assert min(kinds.count("depthwise"), kinds.count("concat")) > 20


def test_shapes_alone_tell_what_is_generated():
    student = mobile(images=1)
    form = as_generated(student.network)
    assert form == prepare(student).network
    assert [f"{layer.name} {layer.kind}" for layer in form.layers[2:]] == [
        "wide_rows conv",
        "wide conv",
        "short conv",
        "same conv",
        "both_part1 conv",
        "both_part2 conv",
        "both_part3 conv",
        "both_sum1 add",
        "both add",
        "out conv",
    ]


@needs_compiler
def test_a_student_with_both_in_c_simulation(tmp_path):
    student = mobile()
    depths = hls_fifos.size(dataflow(student.network)).depths
    assert {"wide -> both", "short -> both", "stem -> short"} <= depths.keys()
    exact(student, tmp_path, fifo_depths=depths)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("backend", "io_type"), PLACES)
def test_a_student_with_both_on_every_backend(backend, io_type, tmp_path):
    exact(mobile(images=20), tmp_path, backend=backend, io_type=io_type)

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distill import data as data_sets
from distill import devices, networks, precision, run
from distill.data import DataSpec
from distill.networks import NetworkSpec
from distill.precision import Arithmetic
from distill.recipe import Recipe, Stage, Training
from distill.resume import Curves, Memory
from distill.train import deterministic, train
from hw.errors import BadInput, MissingTool

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]


def trained(training):
    data = data_sets.load(DataSpec(train_images=128))
    with deterministic(1):
        module = networks.plain(5, 1, 10, channels=1)
        curves = train(Stage("a", "full"), module, data, training, [], 3)
    return curves, module


def test_bfloat16_is_near_float32_and_another_training():
    exact, _ = trained(Training(epochs=2, batch=32, learning_rate=0.01))
    near, module = trained(Training(epochs=2, batch=32, learning_rate=0.01, precision="bfloat16"))
    assert near.loss != exact.loss
    assert near.loss == pytest.approx(exact.loss, rel=0.02)
    assert {value.dtype for value in module.parameters()} == {torch.float32}


def test_a_bfloat16_convolution_is_of_rounded_numbers_and_its_logits_are_float32():
    torch.manual_seed(0)
    convolution, images = torch.nn.Conv2d(3, 4, 3, bias=False), torch.rand(2, 3, 8, 8)
    rounded = copy.deepcopy(convolution)
    rounded.weight.data = rounded.weight.data.bfloat16().float()
    expected = rounded(images.bfloat16().float()).bfloat16()
    found = Arithmetic("bfloat16", CPU).logits(convolution, images)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected.float(), rtol=2**-7, atol=1e-6)
    assert torch.equal(Arithmetic("float32", CPU).logits(convolution, images), convolution(images))


def test_float16_is_refused_on_the_cpu_before_anything_is_written(tmp_path):
    training = Training(precision="float16")
    recipe = Recipe("r", DataSpec(), NetworkSpec("plain", 5), (Stage("teacher", "full"),), training=training)
    with pytest.raises(BadInput) as error:
        run.run(recipe, tmp_path / "run")
    assert str(error.value) == ("training: precision float16 is for CUDA, found is the CPU; take bfloat16 or float32")
    assert not (tmp_path / "run").exists()


def test_the_scale_of_float16_is_remembered(tmp_path):
    """On a GPU it would be the same code; here the scaler of the CPU stands in."""
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)

    def step(value):
        optimizer.zero_grad()
        scaler.scale(module(torch.full((1, 2), value)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    step(float("inf"))
    step(1.0)
    memory = Memory(tmp_path / "state", "mine")
    memory.save(module, optimizer, scaler, Curves((1.0,), (0.5,)))
    again = torch.amp.GradScaler("cpu", growth_interval=3)
    assert memory.restore(module, optimizer, again) == Curves((1.0,), (0.5,))
    assert scaler.get_scale() == again.get_scale() == 4.0
    scaler = again
    step(1.0)
    step(1.0)
    assert again.get_scale() == 8.0


def test_no_cpp_compiler_is_told(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    precision.check("float32", False, CPU)
    with pytest.raises(MissingTool) as error:
        precision.check("float32", True, CPU)
    assert str(error.value) == (
        "training: compile needs a C++ compiler, and no-such-compiler is not found; install one, name another in CXX, "
        "or set compile: false"
    )


COMPILED = """
import sys
sys.path.append(sys.argv[1])
import test_distill_precision as case
from distill.recipe import Training
from hw.errors import BadInput
exact, _ = case.trained(Training(epochs=1, batch=32, learning_rate=0.01))
try:
    found = [case.trained(Training(epochs=1, batch=32, learning_rate=0.01, compile=True))[0] for _ in range(2)]
except BadInput as error:
    print(error)
    sys.exit(2)
assert found[0] == found[1]
assert abs(found[0].loss[0] - exact.loss[0]) < 1e-4
"""


def compiled_with(compiler, cache):
    """In a process of its own: torch warns of itself while it compiles, and warnings are errors here."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CXX": compiler, "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", COMPILED, str(ROOT / "tests")]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_training_is_the_same_up_to_rounding_and_again_the_same_bits(tmp_path):
    done = compiled_with("g++", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_compiler_that_does_not_work_is_told(tmp_path):
    done = compiled_with("false", tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout.startswith("training: torch cannot compile this network (")
    assert done.stdout.endswith("; set compile: false\n")


def test_devices_are_told_and_taken(monkeypatch):
    assert devices.chosen("cpu") == CPU
    assert devices.chosen("auto").type in ("cpu", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, wanted in (("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("gpu", "gpu"), ("tpu:x", "tpu:x")):
        with pytest.raises(BadInput) as error:
            devices.chosen(name)
        assert str(error.value) == f"device {name!r} ({wanted}) is not there; found are cpu; wanted is one, or auto"


def test_with_cuda_every_process_has_a_device_and_the_same_bits_every_time(monkeypatch):
    """No GPU is needed to name one: torch says that there are two."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    assert devices.chosen("cpu") == CPU
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert [devices.chosen("auto", rank) for rank in (0, 1)] == [torch.device("cuda:0"), torch.device("cuda:1")]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    with pytest.raises(BadInput) as error:
        devices.chosen("cuda", 2)
    assert str(error.value) == (
        "device 'cuda' (cuda:2) is not there; found are cpu, cuda:0, cuda:1; wanted is one, or auto"
    )


def test_an_unknown_device_stops_a_run_before_it_begins(tmp_path):
    recipe = Recipe("r", DataSpec(), NetworkSpec("plain", 5), (Stage("teacher", "full"),))
    with pytest.raises(BadInput, match=r"^device 'moon'"):
        run.run(recipe, tmp_path / "run", device="moon")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_in_bfloat16_names_float32_too():
    with pytest.raises(BadInput) as error:
        trained(Training(epochs=2, batch=32, learning_rate=1e30, precision="bfloat16"))
    assert str(error.value).endswith("; try a training.learning_rate below 1e+30, or training.precision float32")

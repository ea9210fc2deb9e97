"""Networks of the user's own: functions named in a recipe, installed or in the current folder."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from hw.errors import BadInput


def call_factory(factory: str, classes: int, channels: int, rows: int, cols: int) -> nn.Module:
    """The module that `package.module:function` returns for these keywords.

    Raises:
        BadInput: not of that form, not there, not callable so, or what it returns is no module.
    """
    module_name, _, function_name = factory.partition(":")
    if not module_name or not function_name:
        raise BadInput(f"network: factory {factory!r} is not of the form package.module:function")
    function = _import_function(factory, module_name, function_name)
    try:
        network = function(classes=classes, channels=channels, rows=rows, cols=cols)
    except TypeError as error:
        raise BadInput(
            f"network: {factory} cannot be called with classes, channels, rows and cols ({error})"
        ) from error
    except Exception as error:
        raise BadInput(f"network: factory {factory} failed ({type(error).__name__}: {error})") from error
    if not isinstance(network, nn.Module):
        raise BadInput(f"network: {factory} returned {type(network).__name__}, wanted is a torch.nn.Module")
    _check_module(factory, network)
    return network


def digest(factory: str) -> str:
    """Of the file that `package.module:function` lies in, for fingerprints; nothing where none is found.

    What that file imports is not looked at.
    """
    try:
        with _current_folder():
            spec = importlib.util.find_spec(factory.partition(":")[0])
    except Exception:  # a package of the user's that cannot be imported: `call_factory` says so
        return ""
    file = Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file is not None and file.is_file() else ""


@contextmanager
def _current_folder() -> Iterator[None]:
    """Modules of the current folder can be imported."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _check_module(factory: str, network: nn.Module) -> None:
    """Training wants Python's own modules with float32 weights on the CPU; it moves them itself."""
    if isinstance(network, torch.jit.ScriptModule):
        raise BadInput(f"network: {factory} returned a ScriptModule, wanted is the module that it was made of")
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if torch.nn.parameter.is_lazy(tensor):
            raise BadInput(f"network: {factory}: {name} has no size yet, wanted is a module that has seen an image")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise BadInput(f"network: {factory}: {name} is {tensor.dtype}, wanted is torch.float32; model.float() does")
        if tensor.device.type != "cpu":
            raise BadInput(f"network: {factory}: {name} is on the device {tensor.device}, wanted is cpu")


def _import_function(factory: str, module_name: str, function_name: str) -> Callable[..., object]:
    try:
        with _current_folder():
            function: object = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # whatever a module of the user's own raises
        raise BadInput(f"network: factory {factory} cannot be imported ({error})") from error
    if not callable(function):
        raise BadInput(f"network: {factory} is {type(function).__name__}, wanted is a function")
    return function

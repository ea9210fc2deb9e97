"""Networks of the user's own: what a function that a recipe names returns."""

import torch
from torch import nn

from distill import own
from hw.errors import BadInput


def call_factory(factory: str, classes: int, channels: int, rows: int, cols: int) -> nn.Module:
    """The module that `package.module:function` returns for these keywords.

    Raises:
        BadInput: not of that form, not there, not callable so, or what it returns is no module.
    """
    function = own.imported("network: factory", factory)
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

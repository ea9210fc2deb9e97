"""The fixed-point twin of a trained network, built *from* its `Network` and float weights.

Layers, folding and formats are therefore those of `hw.reference`, and the integers come out the same. Formats are
powers of two, chosen by the least squared error on training images; fine-tuning sees rounding as the identity
(straight-through estimator, Bengio et al. 2013, arXiv 1308.3432) and saturation as it is.

All weights and all layers' results have the same number of bits, the first and the last layer's weights too. Three
things have others: the input keeps the 8 bits of its pixels, a bias has its accumulator's grid, and a last layer with
weights keeps its accumulator, since nothing reads its logits but a comparison.
"""

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hw import functions
from hw.fixed import Format, Integers, LayerFormats, accumulator_width, quantise
from hw.network import INPUT, Layer, Network, Padding

Weights = Mapping[str, NDArray[np.float64]]
CANDIDATES = 4
"""Formats that are tried: the one that holds the largest value, and those of 1 to 3 integer bits less."""
FINEST_FRACTION = 24
"""Bits after the point at most: a layer that has shrunk to nothing must not blow up its bias and accumulator."""


class FixedPoint(nn.Module):
    """A network in which every number lies on its format's grid, computed in floats.

    Its parameters are the float weights; rounding happens in `forward`. In float64 the results are exact.
    """

    def __init__(self, network: Network, weights: Weights, formats: Mapping[str, LayerFormats]) -> None:
        super().__init__()
        self.network = network
        self.formats = dict(formats)
        self.values = nn.ParameterDict({_key(k): nn.Parameter(torch.tensor(v).float()) for k, v in weights.items()})

    def forward(self, x: Tensor) -> Tensor:
        """Images [batch, channels, rows, cols] -> logits [batch, classes]."""
        return run(self.network, self.weight, x, self.result, self.table).flatten(1)

    def weight(self, layer: Layer, kind: str) -> Tensor | None:
        """A layer's `weight` or `bias` on its grid."""
        name = _key(f"{layer.name}.{kind}")
        if name not in self.values:
            return None
        value: Tensor = self.values[name]
        fmt = self.formats[layer.name].weight
        assert fmt is not None
        if kind == "weight":
            return _on_grid(value, fmt)
        scale = 2.0 ** (self.formats[layer.inputs[0]].out.fraction + fmt.fraction)
        return _rounded(value * scale) / scale

    def table(self, layer: Layer, x: Tensor) -> Tensor:
        """What a table's layer looks up, the reference's integers; the gradient is that of its function.

        Raises:
            BadInput: it reads more bits than a table has.
        """
        source, out = self.formats[layer.inputs[0]].out, self.formats[layer.name].out
        integers = (x.detach() * 2.0**source.fraction).round().long().cpu().numpy()
        found = functions.looked_up(layer.function, integers, source, out)
        exact = torch.as_tensor(found, dtype=x.dtype, device=x.device) * 2.0**-out.fraction
        value = function_of(layer, x).clamp(out.low * 2.0**-out.fraction, out.high * 2.0**-out.fraction)
        return value + (exact - value).detach()

    def result(self, name: str, value: Tensor) -> Tensor:
        """A layer's result on its grid; a last layer with weights keeps its accumulator."""
        last = self.network.output
        keeps = name == last.name and last.weighted
        return value if keeps else _on_grid(value, self.formats[name].out)


def run(
    network: Network,
    weight: Callable[[Layer, str], Tensor | None],
    x: Tensor,
    result: Callable[[str, Tensor], Tensor],
    table: Callable[[Layer, Tensor], Tensor] | None = None,
) -> Tensor:
    """Execute a `Network` in torch; `result` sees, and may change, what every layer gives.

    Args:
        network: what to execute.
        weight: of a layer, its `weight` or `bias`, shaped as in `Network`.
        x: images [batch, channels, rows, cols].
        result: called with a layer's name (the input's first) and its value.
        table: of a table's layer and what it reads, what it gives; without it the function itself.
    """
    values = {INPUT: result(INPUT, x[:, :, :: network.row_step])}
    for layer in network.layers:
        if layer.kind == "table":
            value = (table or function_of)(layer, values[layer.inputs[0]])
        else:
            value = _step(layer, weight, [values[name] for name in layer.inputs])
        values[layer.name] = result(layer.name, value.relu() if layer.relu else value)
    return values[network.output.name]


def layer_values(module: FixedPoint, x: Tensor) -> dict[str, Tensor]:
    """The input's and every layer's values [batch, channels, rows, cols] in the twin, of images of that form."""
    values: dict[str, Tensor] = {}

    def note(name: str, value: Tensor) -> Tensor:
        values[name] = module.result(name, value)
        return values[name]

    with torch.no_grad():
        run(module.network, module.weight, x, note, module.table)
    return values


def calibrate(network: Network, weights: Weights, images: Tensor, bits: int, pixel: Format) -> dict[str, LayerFormats]:
    """Formats for every layer and the input, from the values that `images` [batch, channels, rows, cols] give.

    The inputs of an add get one fraction, so that it needs no shift. A last layer with weights keeps its accumulator's
    grid; its width is told by `integers`.
    """
    seen: dict[str, NDArray[np.float64]] = {}

    def note(name: str, value: Tensor) -> Tensor:
        seen[name] = value.detach().double().numpy().ravel()
        return value

    tensors = {key: torch.tensor(value).float() for key, value in weights.items()}
    with torch.no_grad():
        run(network, lambda layer, kind: tensors.get(f"{layer.name}.{kind}"), images, note)
    signs = _signs(network)
    out = {name: best_format(seen[name], bits, signs[name]) for name in network.by_name}
    out |= {name: _with_fraction(out[name], fraction) for name, fraction in _shared_fractions(network, out).items()}
    formats = {INPUT: LayerFormats(pixel)}
    for layer in network.layers:
        values = weights.get(f"{layer.name}.weight")
        fmt = None if values is None else best_format(values, bits, signed=True)
        formats[layer.name] = LayerFormats(out[layer.name], fmt)
    return formats


def best_format(values: NDArray[np.float64], bits: int, signed: bool) -> Format:
    """Of the formats of `bits` that hold the largest value, or nearly, the one with the least squared error."""
    largest = float(np.abs(values).max(initial=0.0))
    integer = int(np.ceil(np.log2(largest))) + signed if largest > 0 else signed
    tried = (max(integer - k, bits - FINEST_FRACTION) for k in range(-1, CANDIDATES))

    def error(fmt: Format) -> float:
        return float(((quantise(values, fmt) * 2.0**-fmt.fraction - values) ** 2).sum())

    return min((Format(bits, integer, signed) for integer in tried), key=error)


def integers(module: FixedPoint) -> tuple[dict[str, LayerFormats], dict[str, Integers]]:
    """Formats, with accumulators proved wide enough from the weights, and the weights as integers."""
    network, formats = module.network, dict(module.formats)
    arrays: dict[str, Integers] = {}
    for layer in network.layers:
        fmt = formats[layer.name].weight
        if fmt is None:
            continue
        source = formats[layer.inputs[0]].out
        weight = quantise(_array(module, layer, "weight"), fmt)
        arrays[f"{layer.name}.weight"] = weight
        total = np.abs(weight).reshape(-1, weight.shape[-1]).sum(axis=0)
        largest = total * max(source.high, -source.low)
        fraction = source.fraction + fmt.fraction
        if _key(f"{layer.name}.bias") in module.values:
            bias = np.floor(_array(module, layer, "bias") * 2.0**fraction + 0.5).astype(np.int64)
            arrays[f"{layer.name}.bias"] = bias
            largest = largest + np.abs(bias)
        width = accumulator_width(int(largest.max()))
        accumulator = Format(width, width - fraction)
        last = layer is network.output
        out = Format(width, width - fraction, signed=not layer.relu) if last else formats[layer.name].out
        formats[layer.name] = msgspec.structs.replace(formats[layer.name], accumulator=accumulator, out=out)
    return formats, arrays


def _array(module: FixedPoint, layer: Layer, kind: str) -> NDArray[np.float64]:
    return module.values[_key(f"{layer.name}.{kind}")].detach().double().numpy()  # type: ignore[no-any-return]


def _key(name: str) -> str:
    """A parameter's name in torch, which admits no dots."""
    return name.replace(".", "/")


def _rounded(x: Tensor) -> Tensor:
    """Half up; the gradient passes through."""
    return x + (torch.floor(x + 0.5) - x).detach()


def _on_grid(x: Tensor, fmt: Format) -> Tensor:
    scale = 2.0**fmt.fraction
    return _rounded(x * scale).clamp(fmt.low, fmt.high) / scale


def _step(layer: Layer, weight: Callable[[Layer, str], Tensor | None], inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    if layer.kind == "add":
        return inputs[0] + inputs[1]
    if layer.kind == "concat":
        return torch.cat(inputs, 1)
    if layer.kind == "mean":
        return F.avg_pool2d(x, tuple(layer.kernel), tuple(layer.stride))
    if layer.kind == "max":
        return F.max_pool2d(_padded(x, layer.padding, -torch.inf), tuple(layer.kernel), tuple(layer.stride))
    if layer.kind == "upsample":
        return x.repeat_interleave(layer.factor.rows, 2).repeat_interleave(layer.factor.cols, 3)
    values, bias = weight(layer, "weight"), weight(layer, "bias")
    assert values is not None
    if layer.kind == "affine":
        assert bias is not None
        return x * values[:, None, None] + bias[:, None, None]
    if layer.kind == "depthwise":
        filters = values.permute(2, 0, 1)[:, None]
        return F.conv2d(_padded(x, layer.padding, 0.0), filters, bias, tuple(layer.stride), groups=len(filters))
    filters = values.permute(3, 2, 0, 1)
    return F.conv2d(_padded(x, layer.padding, 0.0), filters, bias, tuple(layer.stride))


def function_of(layer: Layer, x: Tensor) -> Tensor:
    """The function of a table's layer, in floats."""
    name, parameters = functions.parse(layer.function)
    return _FUNCTIONS[name](x, *parameters)


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "softplus": F.softplus,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "clip": torch.clamp,
}


def _padded(x: Tensor, padding: Padding, value: float) -> Tensor:
    top, bottom, left, right = padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(padding) else x


def _signs(network: Network) -> dict[str, bool]:
    """Which results can be negative: a ReLU's never, and nothing that only takes means, maxima or sums of such."""
    signs = {INPUT: False}
    for layer in network.layers:
        from_inputs = layer.weighted or any(signs[name] for name in layer.inputs)
        if layer.kind == "table":
            from_inputs = functions.can_be_negative(layer.function)
        signs[layer.name] = from_inputs and not layer.relu
    return signs


def _shared_fractions(network: Network, out: Mapping[str, Format]) -> dict[str, int]:
    """The least fraction among results that meet in an add, or that are only passed on, for each of them."""
    groups: list[set[str]] = []
    for layer in network.layers:
        if layer.kind in ("add", "max", "upsample"):
            group = {*layer.inputs, *([layer.name] if layer.kind != "add" else [])} - {INPUT}
            touching = [other for other in groups if other & group]
            groups = [other for other in groups if not other & group] + [group.union(*touching)]
    return {name: min(out[member].fraction for member in group) for group in groups for name in group}


def _with_fraction(fmt: Format, fraction: int) -> Format:
    return Format(fmt.width, fmt.width - fraction, fmt.signed)

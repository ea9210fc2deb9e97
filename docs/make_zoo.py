"""Makes docs/zoo.csv and the table of docs/zoo.md: `python docs/make_zoo.py [name ...]` (half an hour for all).

Architectures of torchvision and timm with random weights, before and after `distill.filters.on_the_fly` (N = 3, rows
skipped): are they traced, and if so what do they take on both machines. Needs `pip install torchvision timm` beside
this package. An architecture that is refused as it is is tried again without what was refused (`_changed`).
"""

import csv
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hw.accelerator import Budget, LineEngine
from hw.errors import PacemakerError
from hw.network import Shape
from hw.trace import trace
from sim.run import simulate

HERE = Path(__file__).parent
TORCHVISION = [
    "resnet18",
    "resnext50_32x4d",
    "vgg11_bn",
    "alexnet",
    "squeezenet1_1",
    "densenet121",
    "googlenet",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit_b_16",
]
TIMM = [
    "resnet10t",
    "mobileone_s0",
    "repvgg_a0",
    "ghostnet_050",
    "darknet53",
    "dla34",
    "resnetv2_50",
    "vovnet39a",
    "tinynet_e",
    "semnasnet_050",
    "selecsls42b",
    "hrnet_w18_small",
    "xception41",
    "fbnetc_100",
    "mobilenetv4_conv_small",
    "res2net50_26w_4s",
    "nfnet_f0",
]
SIZES = {"alexnet": 224, "vgg11_bn": 224, "vit_b_16": 224, "inception_v3": 96}
SIZE = 64
PIPELINE = Budget("1,000 multipliers", 1000, 200.0)
ENGINE = LineEngine("16 x 16", 16, 16, 4 << 20, 1 << 20, 16.0, 40, 200.0)
FIGURES = ("parameters", "macs", "line_bytes", "pipeline_ms", "engine_line_bytes", "engine_ms")
COLUMNS = (
    "architecture",
    "source",
    "version",
    "size",
    "as_it_is",
    "changes",
    "traced",
    "sentence",
    *(f"{key}_{kind}" for kind in ("nxn", "1xn") for key in FIGURES),
    "not_simulated",
)
Row = dict[str, object]
_HEAD = (
    "| architecture | input | as it is | what was changed | MACs | line memory, kB | pipeline, ms | line engine, ms |"
)


def main(names: list[str]) -> None:
    """Try the named architectures, or all; write the CSV and the page's table of all that it holds."""
    made = {str(row["architecture"]): row for row in _kept()} if names else {}
    for name, source in [(name, "torchvision") for name in TORCHVISION] + [(name, "timm") for name in TIMM]:
        if not names or name in names:
            made[name] = row_of(name, source)
            print(*list(made[name].values())[:8], sep="  ", flush=True)
            _write([made[key] for key in (*TORCHVISION, *TIMM) if key in made])


def row_of(name: str, source: str) -> Row:
    """One architecture."""
    import torch

    torch.manual_seed(0)
    size = SIZES.get(name, SIZE)
    model, version = _create(name, source)
    row: Row = {"architecture": name, "source": source, "version": version, "size": size}
    said = _refused(model, size)
    row["as_it_is"] = said or "yes"
    changed: list[str] = []
    if said:
        model, changed = _changed(model)
        said = _refused(model, size)
    row |= {"changes": ", ".join(changed), "traced": "no" if said else "yes", "sentence": said}
    return row if said else row | _figures(model, size)


def _create(name: str, source: str) -> tuple[Any, str]:
    """A model in evaluation mode with random weights, and its library's version."""
    torchvision = _torchvision()
    if source == "timm":
        import timm  # which imports torchvision

        return timm.create_model(name, pretrained=False).eval(), str(timm.__version__)
    plain = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **plain).eval(), str(torchvision.__version__)


def _torchvision() -> Any:
    """The package, whose compiled operators a torch without CUDA may lack; no model here uses them."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    _KEPT.append(library)
    return torchvision


_KEPT: list[Any] = []


def _refused(model: Any, size: int) -> str:
    """The sentence with which a model or its 1xN twin is refused; none if both are traced."""
    from distill.filters import on_the_fly

    try:
        trace(model, Shape(size, size, 3), "net")
    except PacemakerError as error:
        return str(error)
    try:
        trace(on_the_fly(model, 3, data_shape=(3, size, size)), Shape(size, size, 3), "net")
    except PacemakerError as error:
        return f"its 1xN twin: {error}"
    return ""


def _changed(model: Any) -> tuple[Any, list[str]]:
    """Nothing for squeeze-and-excitation, plain convs for standardised and for grouped ones."""
    from torch import nn

    from distill.dense import dense

    changed = []
    gates = [
        name
        for name, part in model.named_modules(remove_duplicate=False)
        if type(part).__name__ in ("SqueezeExcitation", "SqueezeExcite", "SEModule")
    ]
    for name in gates:
        model.set_submodule(name, nn.Identity())
    if gates:
        changed.append("no squeeze-and-excitation")
    standardised = [
        (name, part) for name, part in model.named_modules() if type(part).__name__.startswith("ScaledStdConv2d")
    ]
    for name, conv in standardised:
        model.set_submodule(name, _plain(conv))
    if standardised:
        changed.append("plain convs for standardised ones")
    if any(_grouped(part) for part in model.modules()):
        model = dense(model)
        changed.append("grouped convs written dense")
    return model, changed


def _plain(conv: Any) -> Any:
    """A conv of the same sizes that pads by half a kernel."""
    from torch import nn

    half = tuple(size // 2 for size in conv.kernel_size)
    sizes = conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, half, conv.dilation, conv.groups
    return nn.Conv2d(*sizes, bias=conv.bias is not None)


def _grouped(part: Any) -> bool:
    from torch import nn

    return isinstance(part, nn.Conv2d) and part.groups > 1 and not part.groups == part.in_channels == part.out_channels


def _figures(model: Any, size: int) -> Row:
    """Both networks on both machines."""
    from distill.filters import on_the_fly

    found: Row = {}
    for kind, module in (("nxn", model), ("1xn", on_the_fly(model, 3))):
        network = trace(module, Shape(size, size, 3), "net").network
        found |= {f"parameters_{kind}": network.parameters, f"macs_{kind}": network.macs}
        for machine, lines, latency in (
            (PIPELINE, "line_bytes", "pipeline_ms"),
            (ENGINE, "engine_line_bytes", "engine_ms"),
        ):
            try:
                result = simulate(network, machine)
            except PacemakerError as error:
                found["not_simulated"] = str(error)
                continue
            layers = sum(layer.line_buffer_bytes for layer in result.layers)
            found[f"{lines}_{kind}"] = layers if machine is PIPELINE else result.line_memory_bytes
            found[f"{latency}_{kind}"] = round(result.latency_cycles / machine.clock_mhz / 1e3, 3)
    return found


def _kept() -> Iterator[dict[str, str]]:
    if (HERE / "zoo.csv").exists():
        with (HERE / "zoo.csv").open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def _write(rows: list[Row]) -> None:
    with (HERE / "zoo.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    page = HERE / "zoo.md"
    if page.exists():
        text = re.sub(
            r"(<!-- table -->\n).*?(<!-- end -->)",
            lambda marks: marks[1] + "\n".join(_table(list(_kept()))) + "\n" + marks[2],
            page.read_text(encoding="utf-8"),
            flags=re.DOTALL,
        )
        page.write_text(text, encoding="utf-8")


def _table(rows: list[dict[str, str]]) -> Iterator[str]:
    yield _HEAD
    yield "|" + " --- |" * (_HEAD.count("|") - 1)
    for row in rows:
        if row["traced"] == "no":
            cells = [row["sentence"], row["changes"] or "nothing", *[""] * 4]
        else:
            cells = [
                row["as_it_is"],
                row["changes"],
                _both(row, "macs", 1e6, "M"),
                _both(row, "line_bytes", 1e3),
                _both(row, "pipeline_ms", 1),
                _both(row, "engine_ms", 1),
            ]
        yield f"| {row['architecture']} | {row['size']} | " + " | ".join(cells) + " |"


def _both(row: dict[str, str], key: str, unit: float, suffix: str = "") -> str:
    """A figure before and after."""
    values = [row[f"{key}_{kind}"] for kind in ("nxn", "1xn")]
    return " → ".join(f"{float(value) / unit:.4g}{suffix and f' {suffix}'}" if value else "-" for value in values)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main(sys.argv[1:])

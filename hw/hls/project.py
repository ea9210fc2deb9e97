"""Writes a `Student` as an hls4ml project: a folder that Vitis HLS opens and that g++ compiles."""

import contextlib
import importlib.metadata
import os
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hw.errors import BadInput, need
from hw.files import appearing, refuse_link, write_text
from hw.hls import backends, fifos, readme, reuse, testbench
from hw.hls.backends import AUTO, STREAM, TESTED, Strategy
from hw.hls.layers import identifiers, layer_list, precisions, result_type
from hw.hls.manifest import (
    VERSION,
    Generated,
    LayerRecord,
    Manifest,
    file_hashes,
    is_ours,
    open_generated,
    student_hash,
    write_manifest,
)
from hw.hls.passes import prepare
from hw.network import INPUT, Edge
from hw.student import Student

__all__ = ["Generated", "Manifest", "generate", "open_generated"]

TOP = "student"


def generate(
    student: Student,
    folder: Path,
    *,
    backend: str = "Vitis",
    io_type: str = STREAM,
    strategy: Strategy = AUTO,
    fifo_depths: Mapping[Edge, int] | Mapping[str, int] | None = None,
    reuse_factors: Mapping[str, int] | None = None,
    clock_ns: float = 5.0,
    part: str | None = None,
    force: bool = False,
    progress: Callable[[str], None] = lambda message: None,
) -> Generated:
    """Write the project of `student` into `folder`, which appears whole or not at all.

    The project's input is the frame as the network reads it: every `network.row_step`-th row. FIFO depths are in
    pixels, by edge ("a -> b" or an `Edge`); an edge that is not named keeps hls4ml's depth, a whole frame.
    `strategy` is that of every convolution, where `auto` is Latency without reuse and Resource with it. `part` is the
    backend's own where none is given. `force` replaces an earlier project, and nothing else.

    Raises:
        BadInput: the folder exists, a backend, edge, clock, part or reuse factor cannot be used, or an accumulator is
            too narrow.
        DoesNotFit: a layer too large to be unrolled, or for io_parallel a map too large for registers.
        UnsupportedLayer: a layer that hls4ml does not execute.
        MissingTool: hls4ml is not installed, or da4ml where distributed arithmetic is asked for.
    """
    check_folder(folder, force)
    backends.check_target(clock_ns, part)
    hls4ml = need("hls4ml", "hls", "generating HLS")
    target = backends.backend(backend, io_type, strategy)
    if hls4ml.__version__ not in TESTED:
        progress(
            f"hls4ml {hls4ml.__version__} is not a version tested here ({', '.join(TESTED)}): trust what is compared"
        )
    prepared = prepare(student, wide_means=target.wide_means)
    backends.check_maps(prepared.network, io_type)
    names = identifiers((INPUT, *prepared.network.by_name))
    depths = _depths(student, fifo_depths or {}, io_type)
    factors = reuse.choose(prepared.network, reuse_factors or {}, strategy, one_sum=backends.one_sum(backend, io_type))
    layers = layer_list(prepared, names, io_type, strategy)
    config = _config(prepared, names, factors, strategy)
    settings = {"Backend": backend, "IOType": io_type, "Part": part or target.part, "ClockPeriod": clock_ns}
    with appearing(folder) as temporary:
        progress("building hls4ml's graph")
        with _quiet():
            model = _graph(settings | config | {"OutputDir": str(temporary)}, layers)
            if io_type == STREAM:
                fifos.apply(model, {name: names[name] for name in (INPUT, *student.network.by_name)}, depths)
            progress("writing the HLS project")
            model.write()
        readme.make_portable(temporary, str(model.config.get_config_value("Stamp")))
        testbench.write(student, temporary, TOP, target)
        manifest = Manifest(
            version=VERSION,
            network=student.network.name,
            student=dict(student.provenance),
            student_sha256=student_hash(student),
            input_shape=student.network.shapes[INPUT],
            row_step=student.network.row_step,
            backend=backend,
            io_type=io_type,
            strategy=strategy,
            part=part or target.part,
            clock_ns=clock_ns,
            versions=_versions(hls4ml.__version__),
            layers=_records(student, prepared, names, factors, layers, strategy),
            streams=fifos.depths_of(model) if io_type == STREAM else {},
            files={},
        )
        write_text(temporary / "README.md", readme.readme(manifest, TOP))
        file, text = readme.constraints(target, clock_ns)
        write_text(temporary / file, text)
        manifest = msgspec.structs.replace(manifest, files=file_hashes(temporary))
        write_manifest(temporary, manifest)
    return Generated(folder, manifest)


def _depths(student: Student, given: Mapping[Edge, int] | Mapping[str, int], io_type: str) -> dict[str, int]:
    if given and io_type != STREAM:
        raise BadInput(f"io_type {io_type}: FIFO depths were given, and there are no FIFOs; take io_stream")
    return fifos.checked(student.network, given)


def check_folder(folder: Path, force: bool) -> None:
    """Demand a place for a project.

    Raises:
        BadInput: something is there that is not to be replaced.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    refuse_link(folder)
    if not folder.is_dir() or (any(folder.iterdir()) and not is_ours(folder)):
        raise BadInput(f"{folder}: it is no HLS project of ours and is not replaced; name another folder")
    if not force:
        raise BadInput(f"{folder}: it exists already; name another folder, or replace it with --force")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without hls4ml's chatter: it prints its progress, and warns of attributes that it overrides itself."""
    with (
        warnings.catch_warnings(),
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        warnings.filterwarnings("ignore", module=r"hls4ml\.")
        yield


def _config(
    student: Student, names: Mapping[str, str], factors: Mapping[str, int], strategy: Strategy
) -> dict[str, Any]:
    by_layer: dict[str, Any] = {
        names[layer.name]: {
            "Precision": precisions(student, layer),
            "Strategy": reuse.strategy(factors[layer.name], strategy, layer.kind),
            "ReuseFactor": factors[layer.name],
            "Trace": True,
        }
        for layer in student.network.layers
    }
    by_layer[names[INPUT]] = {"Precision": {"result": result_type(student.formats[INPUT].out)}}
    # the default serves no layer; it is as wide as it is so that a type forgotten would show in the comparison
    model = {"Precision": {"default": "ap_fixed<16,6>"}, "ReuseFactor": 1, "Strategy": "Latency"}
    return {
        "ProjectName": TOP,
        "HLSConfig": {"Model": model, "LayerName": by_layer},
        "WriterConfig": {"Namespace": None, "WriteWeightsTxt": True, "WriteTar": False, "TBOutputStream": "both"},
        "TraceOutput": True,
    }


def _graph(config: dict[str, Any], layers: list[dict[str, object]]) -> Any:
    from hls4ml.model.graph import ModelGraph

    return ModelGraph.from_layer_list(config, layers)


def _versions(hls4ml: str) -> dict[str, str]:
    try:
        own = importlib.metadata.version("pacemaker-codesign")
    except importlib.metadata.PackageNotFoundError:
        own = "unknown"
    found = {"pacemaker-codesign": own, "hls4ml": hls4ml, "python": platform.python_version()}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["da4ml"] = importlib.metadata.version("da4ml")
    return found


def _records(
    student: Student,
    prepared: Student,
    names: Mapping[str, str],
    factors: Mapping[str, int],
    layers: list[dict[str, object]],
    strategy: Strategy,
) -> tuple[LayerRecord, ...]:
    return tuple(
        LayerRecord(
            name=layer.name,
            identifier=names[layer.name],
            hls_class=str(attributes["class_name"]),
            inserted=layer.name not in student.network.by_name,
            strategy=reuse.strategy(factors[layer.name], strategy, layer.kind),
            reuse_factor=factors[layer.name],
            out=prepared.formats[layer.name].out,
            types=precisions(prepared, layer),
        )
        for layer, attributes in zip(prepared.network.layers, layers[1:], strict=True)
    )

"""Writes a `Student` as an hls4ml project: a folder that Vitis HLS opens and that g++ compiles."""

import contextlib
import difflib
import importlib.metadata
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hw.errors import BadInput, need
from hw.files import make_folder, write_text
from hw.hls import fifos, reuse
from hw.hls.layers import identifiers, layer_list, precisions, result_type
from hw.hls.manifest import MANIFEST, VERSION, Generated, LayerRecord, Manifest, open_generated, write_manifest
from hw.hls.passes import prepare
from hw.network import INPUT, Edge
from hw.student import Student

__all__ = ["Generated", "Manifest", "generate", "open_generated"]

BACKENDS = ("Vitis",)
IO_TYPES = ("io_stream",)
PART = "xcvu13p-flga2577-2-e"
TOP = "student"
STAMP = "csim"


def generate(
    student: Student,
    folder: Path,
    *,
    backend: str = "Vitis",
    io_type: str = "io_stream",
    fifo_depths: Mapping[Edge, int] | Mapping[str, int] | None = None,
    reuse_factors: Mapping[str, int] | None = None,
    clock_ns: float = 5.0,
    part: str = PART,
    force: bool = False,
    progress: Callable[[str], None] = lambda message: None,
) -> Generated:
    """Write the project of `student` into `folder`, which appears whole or not at all.

    The project's input is the frame as the network reads it: every `network.row_step`-th row. FIFO depths are in
    pixels, by edge ("a -> b" or an `Edge`); an edge that is not named keeps hls4ml's depth, a whole frame.
    `force` replaces an earlier project, and nothing else.

    Raises:
        BadInput: the folder exists, a backend, edge or reuse factor is unknown, or an accumulator is too narrow.
        UnsupportedLayer: a layer that hls4ml's streams do not execute.
        MissingTool: hls4ml is not installed.
    """
    _check_name("backend", backend, BACKENDS)
    _check_name("io_type", io_type, IO_TYPES)
    _check_folder(folder, force)
    prepared = prepare(student)
    names = identifiers((INPUT, *prepared.network.by_name))
    depths = fifos.checked(student.network, fifo_depths or {})
    factors = reuse.choose(prepared.network, reuse_factors or {})
    layers = layer_list(prepared, names)
    settings = {"Backend": backend, "IOType": io_type, "Part": part, "ClockPeriod": clock_ns}
    hls4ml = need("hls4ml", "hls", "generating HLS")
    with _appearing(folder) as temporary:
        progress("building hls4ml's graph")
        with _quiet():
            model = _graph(settings | _config(prepared, names, factors, temporary), layers)
            fifos.apply(model, {name: names[name] for name in (INPUT, *student.network.by_name)}, depths)
            progress("writing the HLS project")
            model.write()
        _make_portable(temporary, str(model.config.get_config_value("Stamp")))
        manifest = Manifest(
            version=VERSION,
            network=student.network.name,
            student=dict(student.provenance),
            input_shape=student.network.shapes[INPUT],
            row_step=student.network.row_step,
            backend=backend,
            io_type=io_type,
            part=part,
            clock_ns=clock_ns,
            versions=_versions(hls4ml.__version__),
            layers=_records(student, prepared, names, factors, layers),
            streams=fifos.depths_of(model),
        )
        write_manifest(temporary, manifest)
        write_text(temporary / "README.md", _readme(manifest))
    return Generated(folder, manifest)


def _check_name(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        nearest = (difflib.get_close_matches(name, known, 1, 0) or known)[0]
        raise BadInput(f"{what} {name}: not generated here; did you mean {nearest}?")


def _check_folder(folder: Path, force: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if not force:
        raise BadInput(f"{folder}: it exists already; name another folder, or replace it with --force")
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file()):
        raise BadInput(f"{folder}: it is no HLS project of ours and is not replaced; name another folder")


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its name, and its place, only when the block ends well."""
    make_folder(folder.parent)
    try:
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise BadInput(f"{folder.parent}: cannot be written ({error.strerror})") from error
    try:
        (temporary / "new").mkdir()
        yield temporary / "new"
        if folder.exists():
            folder.replace(temporary / "old")
        (temporary / "new").replace(folder)
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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


def _config(student: Student, names: Mapping[str, str], factors: Mapping[str, int], folder: Path) -> dict[str, Any]:
    by_layer: dict[str, Any] = {
        names[layer.name]: {
            "Precision": precisions(student, layer),
            "Strategy": reuse.strategy(factors[layer.name]),
            "ReuseFactor": factors[layer.name],
        }
        for layer in student.network.layers
    }
    by_layer[names[INPUT]] = {"Precision": {"result": result_type(student.formats[INPUT].out)}}
    # the default serves no layer; it is as wide as it is so that a type forgotten would show in the comparison
    model = {"Precision": {"default": "ap_fixed<16,6>"}, "ReuseFactor": 1, "Strategy": "Latency"}
    return {
        "OutputDir": str(folder),
        "ProjectName": TOP,
        "HLSConfig": {"Model": model, "LayerName": by_layer},
        "WriterConfig": {"Namespace": None, "WriteWeightsTxt": True, "WriteTar": False, "TBOutputStream": "both"},
    }


def _graph(config: dict[str, Any], layers: list[dict[str, object]]) -> Any:
    from hls4ml.model.graph import ModelGraph

    return ModelGraph.from_layer_list(config, layers)


def _make_portable(folder: Path, stamp: str) -> None:
    """Take out what differs between two runs: the temporary folder's name and a random stamp."""
    for name in ("hls4ml_config.yml", "build_lib.sh"):
        path = folder / name
        text = path.read_text(encoding="utf-8")
        write_text(path, text.replace(str(folder), ".").replace(stamp, STAMP))
    (folder / "build_lib.sh").chmod(0o755)


def _versions(hls4ml: str) -> dict[str, str]:
    try:
        own = importlib.metadata.version("pacemaker-codesign")
    except importlib.metadata.PackageNotFoundError:
        own = "unknown"
    return {"pacemaker-codesign": own, "hls4ml": hls4ml, "python": platform.python_version()}


def _records(
    student: Student,
    prepared: Student,
    names: Mapping[str, str],
    factors: Mapping[str, int],
    layers: list[dict[str, object]],
) -> tuple[LayerRecord, ...]:
    return tuple(
        LayerRecord(
            name=layer.name,
            identifier=names[layer.name],
            hls_class=str(attributes["class_name"]),
            inserted=layer.name not in student.network.by_name,
            strategy=reuse.strategy(factors[layer.name]),
            reuse_factor=factors[layer.name],
            types=precisions(prepared, layer),
        )
        for layer, attributes in zip(prepared.network.layers, layers[1:], strict=True)
    )


def _readme(manifest: Manifest) -> str:
    rows, cols, channels = manifest.input_shape
    step = f" (one row in {manifest.row_step} of the frame)" if manifest.row_step > 1 else ""
    return f"""# {manifest.network} in HLS

A project of hls4ml {manifest.versions["hls4ml"]}: {manifest.backend}, {manifest.io_type}, part {manifest.part},
a clock of {manifest.clock_ns:g} ns.

The top function is `{TOP}` in `firmware/{TOP}.cpp`. It reads {rows}x{cols} pixels{step} of {channels} channels,
row by row, and writes the results of the last layer in the format of its accumulator.

With Vitis HLS on the path, in this folder: `vitis-run --mode hls --tcl build_prj.tcl` simulates and synthesises
(`build_opt.tcl` holds the switches; `cosim 1` also checks the FIFO depths).
Without it, `sh build_lib.sh` compiles the C simulation with g++.

`manifest.json` holds the versions, the types, strategy and reuse factor of every layer, the FIFO depths, and what the C
simulation was compared with. That simulation has streams without a limit: it cannot show a FIFO that is too small.
"""

"""A run's student as a SystemVerilog project; as an HLS project it is `reports.hls`'s."""

from pathlib import Path

import msgspec

from hw.accelerator import LineEngine, Machine, machine
from hw.errors import BadInput
from hw.rtl.project import IMAGES, write_project
from hw.student import lifted, of_run
from reports.hls import DEFAULT, Options
from sim.folding import settled
from sim.run import precision_of

TARGETS = ("hls", "rtl")
DEFAULT_MACHINE = "pipeline-256"
_FLAGS = {
    "backend": "--backend",
    "io_type": "--io",
    "strategy": "--strategy",
    "margin": "--fifo-margin",
    "clock_ns": "--clock-ns",
    "part": "--part",
}
"""What of `reports.hls.Options` means nothing in SystemVerilog; `machine` does."""


class RtlProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A SystemVerilog project: its machine's name, numbers of layers and test images, and its sources in order."""

    folder: str
    machine: str
    layers: int
    sources: tuple[str, ...]
    images: int

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.layers} layers on {self.machine}, {len(self.sources)} sources, "
            f"{self.images} test images; README.md says how to run it"
        )


def target_named(name: str) -> str:
    """What a student can be written as.

    Raises:
        BadInput: nothing of that name.
    """
    if name not in TARGETS:
        raise BadInput(f"target {name}: wanted is {' or '.join(TARGETS)}")
    return name


def check_rtl_options(options: Options, vendor_report: Path | None = None, build: bool = False) -> None:
    """Refuse what only an HLS project has.

    Raises:
        BadInput: an option other than by default; the first one is named.
    """
    changed = [flag for field, flag in _FLAGS.items() if getattr(options, field) != getattr(DEFAULT, field)]
    changed += ["--vendor-report"] * (vendor_report is not None) + ["--build"] * build
    if changed:
        raise BadInput(f"{changed[0]}: it is of HLS projects only; leave it out, or take --target hls")


def rtl_project(run: Path, on: Machine | None, out: Path, *, force: bool = False) -> RtlProject:
    """Write a run's student as a SystemVerilog project.

    `on` is a pipeline or a budget, `DEFAULT_MACHINE` if None.

    Raises:
        BadInput: no student, or as `hw.rtl.project.write_project`.
    """
    student = lifted(of_run(run))
    images = min(IMAGES, len(student.images))
    pipeline = settled(student.network, on or machine(DEFAULT_MACHINE), precision_of(student))
    if isinstance(pipeline, LineEngine):
        raise BadInput(f"machine {pipeline.name}: the RTL project is of a pipeline; take one, or a budget")
    design = write_project(student, pipeline, out, images, force=force)
    return RtlProject(str(out), pipeline.name, len(student.network.layers), design.sources, images)

"""A run's student as a SystemVerilog project; as an HLS project it is `reports.hls`'s."""

from pathlib import Path

from hw.accelerator import LineEngine, Machine, machine
from hw.errors import BadInput
from hw.rtl.project import IMAGES, write_project
from hw.student import lifted, of_run
from sim.folding import settled
from sim.run import precision_of

TARGETS = ("hls", "rtl")
DEFAULT_MACHINE = "pipeline-256"


def target_named(name: str) -> str:
    """What a student can be written as.

    Raises:
        BadInput: nothing of that name.
    """
    if name not in TARGETS:
        raise BadInput(f"target {name}: wanted is {' or '.join(TARGETS)}")
    return name


def rtl_project(run: Path, on: Machine | None, out: Path, *, force: bool = False) -> str:
    """Write a run's student as a SystemVerilog project; one line that says what it is.

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
    return (
        f"{out}: {len(student.network.layers)} layers on {pipeline.name}, {len(design.sources)} sources, "
        f"{images} test images; README.md says how to run it"
    )

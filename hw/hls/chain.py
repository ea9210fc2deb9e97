"""From the student that a run left to a project that was compared: what `pacemaker generate` does."""

from collections.abc import Callable, Mapping
from pathlib import Path

from hw import student
from hw.hls.backends import AUTO, STREAM, Strategy
from hw.hls.compare import compare
from hw.hls.csim import compiler_available
from hw.hls.manifest import Generated, open_generated
from hw.hls.project import generate
from hw.network import Edge

NO_COMPILER = "g++ is not installed (Debian: apt install g++), so the HLS project was not compiled and compared"


def student_project(
    run: Path,
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
    say: Callable[[str], None] = lambda message: None,
) -> Generated:
    """Write the student of `run` as an HLS project and compare its C simulation with the integer reference.

    Row strides are lifted first; FIFO depths and reuse factors go by the layers of `student.lifted`. Without a
    compiler nothing is compared, and the manifest's `compared` stays None.

    Raises:
        PacemakerError: no student, hls4ml missing, a folder that exists already, or as `generate`.
    """
    made = student.lifted(student.of_run(run))
    generated = generate(
        made,
        folder,
        backend=backend,
        io_type=io_type,
        strategy=strategy,
        fifo_depths=fifo_depths,
        reuse_factors=reuse_factors,
        clock_ns=clock_ns,
        part=part,
        force=force,
        progress=say,
    )
    if compiler_available():
        compare(made, generated, progress=say)
    return open_generated(folder)

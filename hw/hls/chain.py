"""From the student that a run left to a project that was compared: what `pacemaker generate` does."""

from collections.abc import Callable
from pathlib import Path

from hw import student
from hw.hls.compare import compare
from hw.hls.csim import compiler_available
from hw.hls.manifest import Generated, open_generated
from hw.hls.project import generate

NO_COMPILER = "g++ is not installed (Debian: apt install g++), so the HLS project was not compiled and compared"


def student_project(
    run: Path,
    folder: Path,
    *,
    backend: str = "Vitis",
    force: bool = False,
    say: Callable[[str], None] = lambda message: None,
) -> Generated:
    """Write the student of `run` as an HLS project and compare its C simulation with the integer reference.

    Row strides are lifted first. Without a compiler nothing is compared, and the manifest's `compared` stays None.

    Raises:
        PacemakerError: no student, hls4ml missing, or a folder that exists already.
    """
    made = student.lifted(student.of_run(run))
    generated = generate(made, folder, backend=backend, force=force, progress=say)
    if compiler_available():
        compare(made, generated, progress=say)
    return open_generated(folder)

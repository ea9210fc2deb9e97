"""A student as an HLS project, compiled and compared.

Trains the small student of 05 (kept: a second call goes on from what is there), holds its integer reference against the
test vectors, writes it as an hls4ml project for Vitis with sized FIFOs, and, where g++ is there, compiles its C
simulation and compares every output.

It prints:

    reference: all outputs equal
    hls: Vitis io_stream, ... FIFO bits where hls4ml's own depths take ...
    C simulation equals the integer reference on all 359 images
"""

from pathlib import Path

from distill import recipe
from distill.run import run
from hw import reference, student
from hw.hls import NO_COMPILER
from reports import hls, students

folder = Path("runs/digits-small")
run(recipe.load("digits-small"), folder, workers=1)
students.make(folder)
made = student.of_run(folder)
equal = (reference.forward(made, made.images) == made.outputs).all()
print(f"reference: {'all outputs equal' if equal else 'outputs differ'}")
report = hls.make(folder, Path("hls"), force=True)
assert report.fifos is not None
sized, whole = report.fifos.after.bits, report.fifos.before.bits
print(f"hls: Vitis io_stream, {sized:,} FIFO bits where hls4ml's own depths take {whole:,}")
print(report.manifest.compared or NO_COMPILER)

"""A `Student` as an hls4ml project, written, compiled and compared with the integer reference, bit for bit.

    generated = generate(student, Path("hls"))       # an HLS project in a folder
    comparison = compare(student, generated)         # its C simulation against `hw.reference`
    comparison.exact                                 # every output equal, nothing left in a stream

The project is built through hls4ml's `ModelGraph.from_layer_list`: no torch and no keras take part, the layout is
channels-last throughout, and every number has the type that the student's formats give it. Where hls4ml 1.3 computes
something else than it is told, or stops, a pass in `hw.hls.passes` or a change of a node in `hw.hls.layers` goes round
it. Vitis and Vivado take streams or whole maps, Quartus and Catapult whole maps (`hw.hls.backends`).
"""

from hw.hls.chain import NO_COMPILER, student_project
from hw.hls.compare import Comparison, compare
from hw.hls.csim import compiler_available
from hw.hls.project import Generated, Manifest, generate, open_generated

__all__ = [
    "NO_COMPILER",
    "Comparison",
    "Generated",
    "Manifest",
    "compare",
    "compiler_available",
    "generate",
    "open_generated",
    "student_project",
]

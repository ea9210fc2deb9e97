"""The test bench of a project: hls4ml's own `main`, images and expected outputs where it reads them.

`tb_data/tb_input_features.dat` holds an image a line, `tb_data/tb_output_predictions.dat` what the integer reference
gives for it. `main` writes what the hardware description gives, in the same form, so that `diff` compares the two.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np

from hw.errors import BadInput
from hw.files import write_text
from hw.fixed import Floats, dequantise
from hw.hls.backends import Backend
from hw.network import INPUT
from hw.reference import forward
from hw.student import Student

FEATURES = "tb_data/tb_input_features.dat"
EXPECTED = "tb_data/tb_output_predictions.dat"
IMAGES = 20
DIGITS = 17
_WITHOUT_INTEL = """
#ifndef __INTELFPGA_COMPILER__ // what the Intel compiler has built in: calls that it queues, here at once
#define ihc_hls_enqueue(result, function, ...) (*(result) = (function)(__VA_ARGS__))
#define ihc_hls_component_run_all(function)
#endif

namespace nnet {
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = NULL;
size_t trace_type_size = sizeof(double);
} // namespace nnet
"""


def write(student: Student, folder: Path, top: str, backend: Backend, images: int = IMAGES) -> None:
    """Write the first test vectors of `student`, and make `main` read them and print every digit.

    Raises:
        BadInput: hls4ml's test bench is not the one that is known.
    """
    pixels = student.images[:images]
    (folder / "tb_data").mkdir(exist_ok=True)
    text = _ac_text if backend.name in ("Quartus", "Catapult") else _ap_text
    write_text(folder / FEATURES, _lines(input_values(student, pixels), text))
    expected = dequantise(forward(student, pixels), student.formats[student.network.output.name].out)
    write_text(folder / EXPECTED, _lines(expected.reshape(len(pixels), -1), text))
    path = folder / f"{top}_test.cpp"
    write_text(path, _changed(path.read_text(encoding="utf-8"), path))
    if backend.name == "Catapult":
        _feed_catapult(folder / "build_prj.tcl")


def results(backend: Backend) -> str:
    """The file that `main` writes."""
    return "tb_data/results.log" if backend.name == "Quartus" else "tb_data/csim_results.log"


def arguments(backend: Backend) -> tuple[str, ...]:
    """What `main` wants on its command line."""
    return ("firmware/weights", FEATURES, EXPECTED) if backend.name == "Catapult" else ()


def input_values(student: Student, images: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
    """The rows that are read of integer images (n, rows, cols, channels), as floats (n, values)."""
    floats = dequantise(images[:, :: student.network.row_step], student.formats[INPUT].out)
    return floats.reshape(len(images), -1)


def _lines(values: Floats, text: Callable[[float], str]) -> str:
    """Numbers as `main` prints them: a line an image, a blank behind each."""
    return "".join("".join(f"{text(float(value))} " for value in row) + "\n" for row in values + 0.0)


def _ap_text(value: float) -> str:
    """As `ap_fixed` is printed: a double of `DIGITS` digits."""
    return f"{value:.{DIGITS}g}"


def _ac_text(value: float) -> str:
    """As `ac_fixed` is printed: all decimals, no zero before the point."""
    whole, _, decimals = f"{Decimal(value):f}".partition(".")
    return f"{whole.removesuffix('0') if whole in ('0', '-0') else whole}.{decimals}" if decimals else whole


def _changed(text: str, path: Path) -> str:
    """hls4ml's `main` with all digits in its results, with layers' traces off, and open to g++ (Intel's is not)."""
    opened = "std::ofstream fout(RESULTS_LOG);"
    if opened not in text:
        raise BadInput(f"{path}: hls4ml's test bench opens no results; its version is not one that was tested")
    text = text.replace(opened, f"{opened}\n    fout.precision({DIGITS});")
    if "bool trace_enabled" in text:
        return re.sub(r"bool trace_enabled = true;", "bool trace_enabled = false;", text)
    head, _, rest = text.partition("\n#define CHECKPOINT")
    return f"#include <map>\n{head}{_WITHOUT_INTEL}\n#define CHECKPOINT{rest}"


def _feed_catapult(path: Path) -> None:
    """Let SCVerify give `main` the images; hls4ml's script gives it the weights alone, and `main` draws random ones."""
    text = path.read_text(encoding="utf-8")
    files = f"$sfd/firmware/weights $sfd/{FEATURES} $sfd/{EXPECTED}"
    asked = 'flow package option set /SCVerify/INVOKE_ARGS "$sfd/firmware/weights"'
    write_text(path, text.replace(asked, f'flow package option set /SCVerify/INVOKE_ARGS "{files}"'))

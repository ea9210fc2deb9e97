"""The README, the constraints and the portable paths of a project."""

from pathlib import Path

from hw.files import write_text
from hw.hls import testbench
from hw.hls.backends import BACKENDS, Backend
from hw.hls.manifest import Manifest

STAMP = "csim"


def constraints(backend: Backend, clock_ns: float) -> tuple[str, str]:
    """A file name and the clock as that vendor's tools read it."""
    if backend.name == "Quartus":
        return "constraints.sdc", f"create_clock -name clock -period {clock_ns:g} [get_ports clock]\n"
    port = "clk" if backend.name == "Catapult" else "ap_clk"
    return "constraints.xdc", f"create_clock -name {port} -period {clock_ns:g} [get_ports {port}]\n"


def make_portable(folder: Path, stamp: str) -> None:
    """Take out what differs between two runs: the temporary folder's name and a random stamp."""
    for path in sorted(folder.glob("*")):
        if path.suffix in (".yml", ".sh", ".cpp", ".tcl"):
            text = path.read_text(encoding="utf-8")
            inside = text.replace(f"{folder}/", "" if path.suffix == ".cpp" else "./")
            # Where it is digits alone, YAML quotes the stamp, since it is no number.
            plain = inside.replace(f"'{stamp}'", STAMP).replace(stamp, STAMP)
            write_text(path, plain.replace(str(folder), "."))
    (folder / "build_lib.sh").chmod(0o755)


def readme(manifest: Manifest, top: str) -> str:
    """What the project is, and how it is simulated and synthesised."""
    rows, cols, channels = manifest.input_shape
    backend = BACKENDS[manifest.backend]
    step = f" (one row in {manifest.row_step} of the frame)" if manifest.row_step > 1 else ""
    order = "row by row, one after the other" if manifest.io_type == "io_stream" else "all at once"
    limits = (
        "That simulation has streams without a limit: it cannot show a FIFO that is too small.\n"
        "Sized FIFOs have twice the depth of a timing model plus 2, or what `--fifo-margin` said. Only the vendor's\n"
        f"cosimulation checks them: `{backend.command}` with cosim 1; one that is too small stops the design or\n"
        "slows it.\n"
        if manifest.io_type == "io_stream"
        else ""
    )
    return f"""# {manifest.network} in HLS

A project of hls4ml {manifest.versions["hls4ml"]}: {manifest.backend}, {manifest.io_type}, part {manifest.part},
a clock of {manifest.clock_ns:g} ns.

The top function is `{top}` in `firmware/{top}.cpp`. It reads {rows}x{cols} pixels{step} of {channels} channels,
{order}, and writes the results of the last layer in the format of its accumulator.

With {backend.tool} on the path, in this folder: `{backend.command}` simulates and synthesises
(`build_opt.tcl`, where there is one, holds the switches; cosimulation also checks the FIFO depths).
Without it, `./build_lib.sh` compiles the C simulation with g++.

`{top}_test.cpp` is the test bench. It reads test images from `{testbench.FEATURES}` and writes what it found to
`{testbench.results(backend)}`; that file must equal `{testbench.EXPECTED}`,
which holds what the integer reference gives: `diff {testbench.results(backend)} {testbench.EXPECTED}`. With g++ alone:

    g++ -std={backend.standard} -O1 -w {" ".join(f"-I{path}" for path in backend.includes)} \\
        '-DWEIGHTS_DIR="firmware/weights"' firmware/{top}.cpp {top}_test.cpp -o testbench
    ./testbench {" ".join(testbench.arguments(backend))}

`{constraints(backend, manifest.clock_ns)[0]}` holds the clock for synthesis outside this flow.

`manifest.json` holds the versions, the formats, types, strategy and reuse factor of every layer, the FIFO depths,
hashes of the student and of the files, and what the C simulation was compared with. {limits}"""

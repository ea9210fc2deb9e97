"""The test bench of a written design: feeds words, prints what happens, and ends by itself."""

from hw.network import INPUT, OUTPUT
from hw.rtl.write import TOP, Design
from hw.student import Student

_BENCH = """\
module bench;
    logic clk = 0, rst = 1;
    always #1 clk = ~clk;
    logic in_valid, in_ready, out_valid, out_ready;
    logic [{in_bits}-1:0] in_data, words [{in_words}];
    logic [{out_bits}-1:0] out_data;
    logic valid [{valid_size}], ready [{ready_size}];
    integer cycle = 0, sent = 0, got = 0, quiet = 0, started = 0, ended = 0;
    {top} dut (.*);
    initial begin
        $readmemh("input.hex", words);
        $readmemh("valid.hex", valid);
        $readmemh("ready.hex", ready);
        repeat (3) @(posedge clk);
        rst <= 0;
    end
    assign in_valid = !rst && sent < {in_words} && (cycle >= {valid} || valid[cycle < {valid} ? cycle : 0]);
    assign in_data = words[sent < {in_words} ? sent : 0];
    assign out_ready = !rst && (cycle >= {ready} || ready[cycle < {ready} ? cycle : 0]);
    always @(posedge clk) if (!rst) begin
        cycle <= cycle + 1;
        quiet <= quiet + 1;
        if (in_valid && in_ready) begin sent <= sent + 1; quiet <= 0; end
{starts}
        if (out_valid && out_ready) begin
            $display("D %h %0d", out_data, cycle);
            got = got + 1;
            ended = cycle + 1;
            quiet <= 0;
        end
        if (got == {out_words} && started == {pixels}) begin $display("E %0d", ended); $finish; end
        if (quiet > {silence}) begin $display("T %0d", cycle); $finish; end
    end
endmodule
"""
_START = '        if ({signal}) begin $display("S {own} %0d", cycle); started = started + 1; quiet <= 0; end'


def bench(student: Student, design: Design, frames: int, valid: int, ready: int, silence: int) -> str:
    """A test bench that prints "S node cycle" and "D word cycle", and last "E cycle" or "T cycle".

    It goes on until every node has started every pixel, those too that no output needs any more (E: the cycle after the
    last output), or until nothing has happened for `silence` cycles (T). `input.hex` holds the words; in the first
    `valid` cycles the source has one as `valid.hex` says, in the first `ready` the sink takes one as `ready.hex` says.
    """
    shapes = student.network.shapes
    output = shapes[student.network.output.name].pixels
    signals = {own: "take" if name == OUTPUT else "reserve" for name, own in design.nodes.items()}
    starts = [_START.format(signal=f"dut.{own}.{signal}", own=own) for own, signal in signals.items()]
    return _BENCH.format(
        in_bits=design.in_word_bits,
        out_bits=design.out_word_bits,
        in_words=frames * shapes[INPUT].pixels * design.in_words,
        out_words=frames * output * design.out_words,
        valid=valid,
        ready=ready,
        valid_size=max(1, valid),
        ready_size=max(1, ready),
        top=TOP,
        starts="\n".join(starts),
        pixels=frames * (sum(shape.pixels for shape in shapes.values()) + output),
        silence=silence,
    )

"""A top with four pins around a student, so that routing needs no part with as many pins as the student has bits."""

from hw.rtl.write import TOP, Design

NAME = "harness"
INSTANCE = "dut"

_TEXT = """\
// Shifts words in and out a bit at a time; every path of the student begins and ends in a register.
module {name} (
    input  logic clk,
    input  logic reset,
    input  logic serial_in,
    output logic serial_out
);
    logic rst, in_valid, in_ready, out_valid, out_ready, ready_seen, valid_seen;
    logic [{in_bits}:0] shifted;
    logic [{in_bits}-1:0] in_data;
    logic [{out_bits}-1:0] out_data, caught;
    {top} {instance} (.*);
    always_ff @(posedge clk) begin
        rst <= reset;
        shifted <= {{shifted[{in_bits}-1:0], serial_in}};
        in_data <= shifted[{in_bits}-1:0];
        in_valid <= shifted[{in_bits}];
        out_ready <= serial_in;
        ready_seen <= in_ready;
        valid_seen <= out_valid;
        caught <= valid_seen ? out_data : {{{shift}ready_seen}};
        serial_out <= caught[{out_bits}-1];
    end
endmodule
"""


def harness(design: Design) -> str:
    """The text of the module."""
    out_bits = design.out_word_bits
    return _TEXT.format(
        name=NAME,
        top=TOP,
        instance=INSTANCE,
        in_bits=design.in_word_bits,
        out_bits=out_bits,
        shift=f"caught[{out_bits - 2}:0], " if out_bits > 1 else "",
    )

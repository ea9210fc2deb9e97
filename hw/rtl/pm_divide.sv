// A sum divided by a constant, rounded half up, in another format: sum * MULTIPLIER + OFFSET, less the lowest DROP bits.
// The constants make it exact for every sum that can come (hw/rtl/engines.py). Two registers.
module pm_divide #(
    parameter int SUM_BITS = 16,
    parameter int MULTIPLIER_BITS = 1,
    parameter int WORK_BITS = 32,           // of the product, and of it and the offset
    parameter bit [63:0] MULTIPLIER = 1,
    parameter bit [127:0] OFFSET = '0,      // signed
    parameter int DROP = 0,
    parameter int OUT_BITS = 8,
    parameter bit OUT_SIGNED = 0
) (
    input  logic                        clk,
    input  logic signed [SUM_BITS-1:0]  sum,
    output logic [OUT_BITS-1:0]         out
);
    logic signed [MULTIPLIER_BITS:0] multiplier;
    logic signed [WORK_BITS-1:0] product, moved;
    assign multiplier = {1'b0, MULTIPLIER_BITS'(MULTIPLIER)};
    always_ff @(posedge clk) product <= WORK_BITS'(sum) * WORK_BITS'(multiplier);
    assign moved = product + WORK_BITS'(OFFSET);
    logic [OUT_BITS-1:0] result;
    pm_requantise #(.IN_BITS(WORK_BITS - DROP), .SHIFT(0), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED))
        requantise (.in(moved[WORK_BITS-1:DROP]), .out(result));
    always_ff @(posedge clk) out <= result;
    logic unused_bits;
    assign unused_bits = &{1'b0, moved};
endmodule

// A sum divided by a constant, rounded half up, in another format: (sum * 2^UP + ADDEND) * MULTIPLIER >> DROP, less ZERO.
// The constants make it exact for every sum that can come (hw/rtl/write.py). Two registers.
module pm_divide #(
    parameter int SUM_BITS = 16,
    parameter int UP = 0,
    parameter int WORK_BITS = 32,
    parameter bit [63:0] ADDEND = '0,
    parameter bit [63:0] MULTIPLIER = 1,
    parameter int DROP = 0,
    parameter int ZERO = 0,
    parameter int OUT_BITS = 8,
    parameter bit OUT_SIGNED = 0
) (
    input  logic                        clk,
    input  logic signed [SUM_BITS-1:0]  sum,
    output logic [OUT_BITS-1:0]         out
);
    logic [WORK_BITS-1:0] scaled, product;
    assign scaled = (WORK_BITS'(sum) << UP) + WORK_BITS'(ADDEND);
    always_ff @(posedge clk) product <= scaled * WORK_BITS'(MULTIPLIER);
    logic signed [WORK_BITS:0] quotient;
    assign quotient = $signed({1'b0, product >> DROP}) - (WORK_BITS + 1)'(ZERO);
    logic [OUT_BITS-1:0] result;
    pm_requantise #(.IN_BITS(WORK_BITS + 1), .SHIFT(0), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED))
        requantise (.in(quotient), .out(result));
    always_ff @(posedge clk) out <= result;
endmodule

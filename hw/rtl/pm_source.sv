// The source of a pipeline. A word passes when valid and ready meet; words may pause inside a pixel.
module pm_source #(
    parameter int WORDS = 1     // of a pixel
) (
    input  logic    clk,
    input  logic    rst,
    input  logic    in_valid,
    output logic    in_ready,
    input  logic    space,
    output logic    reserve,
    output logic    wr_valid,
    output logic    wr_last
);
    localparam int STEP_BITS = (WORDS > 1) ? $clog2(WORDS) : 1;
    logic [STEP_BITS-1:0] step;
    assign in_ready = (step != '0) | space;
    assign wr_valid = in_valid & in_ready;
    assign wr_last = wr_valid & (step == STEP_BITS'(WORDS - 1));
    assign reserve = wr_valid & (step == '0);
    always_ff @(posedge clk)
        if (rst | wr_last) step <= '0;
        else if (wr_valid) step <= step + 1'b1;
endmodule

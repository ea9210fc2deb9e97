// The sink of a pipeline. A word passes when valid and ready meet; words may pause inside a pixel.
module pm_sink #(
    parameter int WORDS = 1
) (
    input  logic    clk,
    input  logic    rst,
    output logic    out_valid,
    input  logic    out_ready,
    input  logic    available,
    output logic    take,
    output logic    rd_en,
    output logic    free
);
    localparam int STEP_BITS = (WORDS > 1) ? $clog2(WORDS) : 1;
    logic [STEP_BITS-1:0] step;
    assign out_valid = (step != '0) | available;
    assign rd_en = out_valid & out_ready;
    assign free = rd_en & (step == STEP_BITS'(WORDS - 1));
    assign take = rd_en & (step == '0);
    always_ff @(posedge clk)
        if (rst | free) step <= '0;
        else if (rd_en) step <= step + 1'b1;
endmodule

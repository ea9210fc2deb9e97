// Lets the marks of an issue travel beside its data: STAGES registers.
module pm_follow #(
    parameter int STAGES = 1
) (
    input  logic    clk,
    input  logic    rst,
    input  logic    busy,
    input  logic    last,
    output logic    wr_valid,
    output logic    wr_last
);
    logic [STAGES-1:0] valids, lasts;
    assign wr_valid = valids[STAGES-1];
    assign wr_last = lasts[STAGES-1];
    generate
        if (STAGES == 1) begin : g_one
            always_ff @(posedge clk) begin
                valids <= busy & ~rst;
                lasts <= last;
            end
        end else begin : g_more
            always_ff @(posedge clk) begin
                valids <= rst ? '0 : {valids[STAGES-2:0], busy};
                lasts <= {lasts[STAGES-2:0], last};
            end
        end
    endgenerate
endmodule

// Another format, chosen while it runs: shift, round half up, saturate to at most 8 bits. Combinational.
module pl_requantise #(
    parameter int IN_BITS = 34,
    parameter int N = 16
) (
    input  logic signed [IN_BITS-1:0]   in,
    input  logic [5:0]                  right,  // fraction bits to drop,
    input  logic [3:0]                  left,   // or to add
    input  logic signed [N-1:0]         high,
    input  logic signed [N-1:0]         low,
    output logic [7:0]                  out
);
    localparam int WORK = IN_BITS + 10;
    logic signed [WORK-1:0] half, moved;
    assign half = (right == '0) ? '0 : WORK'(1) <<< (right - 1'b1);
    assign moved = ((WORK'(in) <<< left) + half) >>> right;
    assign out = (moved > WORK'(high)) ? high[7:0] : (moved < WORK'(low)) ? low[7:0] : moved[7:0];
endmodule

// Another format: shift, round half up, saturate. Combinational.
module pm_requantise #(
    parameter int IN_BITS = 16,
    parameter int SHIFT = 0,        // fraction bits to drop; negative: to add
    parameter int OUT_BITS = 8,
    parameter bit OUT_SIGNED = 0
) (
    input  logic signed [IN_BITS-1:0] in,
    output logic        [OUT_BITS-1:0] out
);
    localparam int GROW = (SHIFT < 0) ? -SHIFT : SHIFT + 1;
    localparam int WORK = ((IN_BITS + GROW > OUT_BITS + 1) ? IN_BITS + GROW : OUT_BITS + 1) + 1;
    localparam logic signed [WORK-1:0] HIGH = OUT_SIGNED ? (WORK'(1) <<< (OUT_BITS - 1)) - 1 : (WORK'(1) <<< OUT_BITS) - 1;
    localparam logic signed [WORK-1:0] LOW = OUT_SIGNED ? -(WORK'(1) <<< (OUT_BITS - 1)) : '0;
    localparam logic signed [WORK-1:0] HALF = (SHIFT > 0) ? WORK'(1) <<< ((SHIFT > 0) ? SHIFT - 1 : 0) : '0;

    logic signed [WORK-1:0] wide, moved;
    assign wide = WORK'(in) + HALF;
    generate
        if (SHIFT > 0) begin : g_right
            assign moved = wide >>> SHIFT;
        end else begin : g_left
            assign moved = wide <<< (-SHIFT);
        end
    endgenerate
    assign out = (moved > HIGH) ? HIGH[OUT_BITS-1:0] : (moved < LOW) ? LOW[OUT_BITS-1:0] : moved[OUT_BITS-1:0];
endmodule

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
    localparam int GROW = (SHIFT < 0) ? -SHIFT : 0;
    localparam int DROP = (SHIFT > 0 && SHIFT < IN_BITS) ? SHIFT : 0;
    localparam int KEPT = IN_BITS + GROW - DROP + 1;
    localparam int WORK = (KEPT > OUT_BITS + 1) ? KEPT : OUT_BITS + 1;

    // Half up: the highest bit that is dropped is added to those that stay.
    logic signed [IN_BITS-DROP-1:0] kept;
    logic signed [WORK-1:0] moved;
    assign kept = in[IN_BITS-1:DROP];
    logic unused_bits;      // those below the half; all of them where nothing stays
    assign unused_bits = &{1'b0, in, kept};
    generate
        if (SHIFT >= IN_BITS) begin : g_nothing     // at most half of the last bit that stays
            assign moved = '0;
        end else if (SHIFT > 0) begin : g_right
            assign moved = WORK'(kept) + WORK'({1'b0, in[DROP-1]});
        end else begin : g_left
            assign moved = WORK'(kept) <<< GROW;
        end
    endgenerate
    logic below, beyond;
    assign below = moved[WORK-1];
    generate
        if (OUT_SIGNED) begin : g_signed
            assign beyond = moved[WORK-1:OUT_BITS-1] != {(WORK-OUT_BITS+1){below}};
            assign out = beyond ? {below, {(OUT_BITS-1){~below}}} : moved[OUT_BITS-1:0];
        end else begin : g_unsigned
            assign beyond = moved[WORK-1:OUT_BITS] != '0;
            assign out = below ? '0 : beyond ? '1 : moved[OUT_BITS-1:0];
        end
    endgenerate
endmodule

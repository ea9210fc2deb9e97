// The sum, or the greatest, of every group of RADIX signed numbers, a cycle later; the last group may be smaller.
module pm_reduce #(
    parameter bit GREATEST = 0,
    parameter int COUNT = 1,
    parameter int RADIX = 1,
    parameter int IN_BITS = 8,
    parameter int OUT_BITS = 8,
    localparam int GROUPS = (COUNT + RADIX - 1) / RADIX
) (
    input  logic                        clk,
    input  logic [COUNT*IN_BITS-1:0]    in,
    output logic [GROUPS*OUT_BITS-1:0]  out
);
    generate
        for (genvar g = 0; g < GROUPS; g++) begin : g_group
            localparam int TERMS = (COUNT - g * RADIX < RADIX) ? COUNT - g * RADIX : RADIX;
            logic signed [OUT_BITS-1:0] value, total;
            always_comb begin
                total = OUT_BITS'($signed(in[g*RADIX*IN_BITS+:IN_BITS]));
                value = total;
                for (int i = 1; i < TERMS; i++) begin
                    value = OUT_BITS'($signed(in[(g*RADIX+i)*IN_BITS+:IN_BITS]));
                    if (GREATEST) total = (value > total) ? value : total;
                    else total = total + value;
                end
            end
            always_ff @(posedge clk) out[g*OUT_BITS+:OUT_BITS] <= total;
        end
    endgenerate
endmodule

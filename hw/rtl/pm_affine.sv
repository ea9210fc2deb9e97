// Scale and shift of every channel, PE channels a cycle, read in place: four registers from issue to result, and the
// FIFO's own.
module pm_affine #(
    parameter int CHANNELS = 1,
    parameter int LATENCY = 0,
    parameter int PE = 1,
    parameter int IN_BITS = 8,
    parameter bit IN_SIGNED = 0,
    parameter int WEIGHT_BITS = 8,
    parameter int SUM_BITS = 32,
    parameter int SHIFT = 0,
    parameter int OUT_BITS = 8,
    parameter bit OUT_SIGNED = 0,
    parameter WEIGHTS = "weights.hex",
    parameter BIASES = "biases.hex"
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic                    available,
    output logic                    take,
    output logic                    rd_en,
    output logic                    free,
    input  logic [PE*IN_BITS-1:0]   rd_data,
    input  logic                    space,
    output logic                    reserve,
    output logic                    wr_valid,
    output logic                    wr_last,
    output logic [PE*OUT_BITS-1:0]  wr_data
);
    localparam int II = CHANNELS / PE;
    localparam int FULL_BITS = IN_BITS + 1 + WEIGHT_BITS;
    localparam int PRODUCT_BITS = (FULL_BITS < SUM_BITS) ? FULL_BITS : SUM_BITS;    // no product is beyond the sum
    localparam int STEP_BITS = (II > 1) ? $clog2(II) : 1;
    logic start, busy, last;
    logic [STEP_BITS-1:0] step, step_0, step_1;
    pm_issue #(.II(II)) issue (.ready(available & space), .*);
    assign reserve = start;
    assign take = start;
    assign rd_en = busy;
    assign free = last;

    pm_follow #(.STAGES(4 + LATENCY)) follow (.*);
    generate
        if (LATENCY == 0) begin : g_now
            assign step_0 = step;
        end else begin : g_later
            always_ff @(posedge clk) step_0 <= step;
        end
    endgenerate

    logic [PE*WEIGHT_BITS-1:0] weight_rom [II];
    logic [PE*SUM_BITS-1:0] bias_rom [II];
    initial begin
        $readmemh(WEIGHTS, weight_rom);
        $readmemh(BIASES, bias_rom);
    end
    logic [PE*WEIGHT_BITS-1:0] weights;
    logic [PE*SUM_BITS-1:0] biases;
    always_ff @(posedge clk) begin
        weights <= weight_rom[step_0];
        step_1 <= step_0;
        biases <= bias_rom[step_1];
    end
    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic signed [IN_BITS:0] value;
            logic signed [WEIGHT_BITS-1:0] weight;
            logic signed [PRODUCT_BITS-1:0] product;
            logic signed [SUM_BITS-1:0] bias, sum;
            logic [OUT_BITS-1:0] result;
            assign weight = weights[p*WEIGHT_BITS+:WEIGHT_BITS];
            assign bias = biases[p*SUM_BITS+:SUM_BITS];
            pm_requantise #(.IN_BITS(SUM_BITS), .SHIFT(SHIFT), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED))
                requantise (.in(sum), .out(result));
            always_ff @(posedge clk) begin
                value <= {IN_SIGNED & rd_data[(p+1)*IN_BITS-1], rd_data[p*IN_BITS+:IN_BITS]};
                product <= PRODUCT_BITS'(FULL_BITS'(value) * FULL_BITS'(weight));
                sum <= SUM_BITS'(product) + bias;
                wr_data[p*OUT_BITS+:OUT_BITS] <= result;
            end
        end
    endgenerate
endmodule

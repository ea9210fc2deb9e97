// A convolution: PE output channels and SIMD inputs a cycle, weights in a ROM, four registers from issue to result.
// A dense layer is one whose kernel is its whole input.
module pm_conv #(
    parameter int ROWS = 1,
    parameter int COLS = 1,
    parameter int CHANNELS = 1,
    parameter int OUT_ROWS = 1,
    parameter int OUT_COLS = 1,
    parameter int OUT_CHANNELS = 1,
    parameter int KERNEL_ROWS = 1,
    parameter int KERNEL_COLS = 1,
    parameter int STRIDE_ROWS = 1,
    parameter int STRIDE_COLS = 1,
    parameter int TOP = 0,
    parameter int LEFT = 0,
    parameter int CAPACITY = 1,
    parameter int LATENCY = 0,
    parameter int PE = 1,
    parameter int SIMD = 1,
    parameter int IN_BITS = 8,
    parameter bit IN_SIGNED = 0,
    parameter int WEIGHT_BITS = 8,
    parameter int SUM_BITS = 32,
    parameter int SHIFT = 0,
    parameter int OUT_BITS = 8,
    parameter bit OUT_SIGNED = 0,
    parameter WEIGHTS = "weights.hex",
    parameter BIASES = "biases.hex",
    localparam int WORD = (SIMD < CHANNELS) ? SIMD : CHANNELS
) (
    input  logic                        clk,
    input  logic                        rst,
    input  logic                        available,
    output logic                        take,
    output logic                        rd_en,
    output logic                        free,
    input  logic [WORD*IN_BITS-1:0]     rd_data,
    input  logic                        space,
    output logic                        reserve,
    output logic                        wr_valid,
    output logic                        wr_last,
    output logic [PE*OUT_BITS-1:0]      wr_data
);
    localparam int PORTS = SIMD / WORD;
    localparam int WORDS = CHANNELS / WORD;
    localparam int CHUNKS = KERNEL_ROWS * KERNEL_COLS * CHANNELS / SIMD;
    localparam int GROUPS = OUT_CHANNELS / PE;
    localparam int II = CHUNKS * GROUPS;
    localparam int GROUP_BITS = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam int STEP_BITS = (II > 1) ? $clog2(II) : 1;
    localparam int INDEX = $clog2((ROWS + KERNEL_ROWS + STRIDE_ROWS) * (COLS + KERNEL_COLS + STRIDE_COLS) + CAPACITY) + 2;
    localparam int ADDRESS = (CAPACITY * WORDS > 1) ? $clog2(CAPACITY * WORDS) : 1;

    logic write, complete, start, busy, last;
    logic [ADDRESS-1:0] write_address;
    logic [INDEX-1:0] base;
    logic signed [INDEX-1:0] first_row, first_col;
    logic [STEP_BITS-1:0] step;
    pm_window #(
        .ROWS(ROWS), .COLS(COLS), .OUT_ROWS(OUT_ROWS), .OUT_COLS(OUT_COLS),
        .KERNEL_ROWS(KERNEL_ROWS), .KERNEL_COLS(KERNEL_COLS), .STRIDE_ROWS(STRIDE_ROWS), .STRIDE_COLS(STRIDE_COLS),
        .TOP(TOP), .LEFT(LEFT), .CAPACITY(CAPACITY), .WORDS(WORDS), .LATENCY(LATENCY),
        .INDEX(INDEX), .ADDRESS(ADDRESS)
    ) window (.finish(last), .*);
    pm_issue #(.II(II)) issue (.ready(complete & space), .*);
    assign reserve = start;

    // Issue: which words, which weights.
    localparam int CHUNK_WORDS = CHUNKS * PORTS / (KERNEL_ROWS * KERNEL_COLS);     // words of a tap that come in turn
    logic [INDEX-1:0] tap;
    logic [ADDRESS-1:0] word;
    logic [GROUP_BITS-1:0] group;
    logic word_ends, chunk_ends;
    assign word_ends = word == ADDRESS'(CHUNK_WORDS - 1);
    assign chunk_ends = word_ends && tap == INDEX'(KERNEL_ROWS * KERNEL_COLS - PORTS);
    always_ff @(posedge clk)
        if (rst | last) begin
            tap <= '0;
            word <= '0;
            group <= '0;
        end else if (busy) begin
            word <= word_ends ? '0 : word + 1'b1;
            if (word_ends) tap <= chunk_ends ? '0 : tap + INDEX'(PORTS);
            if (chunk_ends) group <= group + 1'b1;
        end

    // 1: words and weights.
    logic [SIMD*IN_BITS-1:0] words;
    logic [PE*SIMD*WEIGHT_BITS-1:0] weights;
    logic [PE*SUM_BITS-1:0] bias;
    pm_ring #(
        .ROWS(ROWS), .COLS(COLS), .KERNEL_COLS(KERNEL_COLS), .CAPACITY(CAPACITY), .WORDS(WORDS), .WIDTH(WORD * IN_BITS),
        .PORTS(PORTS), .INDEX(INDEX), .ADDRESS(ADDRESS)
    ) ring (.write_data(rd_data), .data(words), .*);
    logic [PE*SIMD*WEIGHT_BITS-1:0] weight_rom [II];
    logic [PE*SUM_BITS-1:0] bias_rom [GROUPS];
    initial begin
        $readmemh(WEIGHTS, weight_rom);
        $readmemh(BIASES, bias_rom);
    end
    logic [GROUP_BITS-1:0] group_1;
    always_ff @(posedge clk) begin
        weights <= weight_rom[step];
        group_1 <= group;
    end

    logic busy_2, first_2;
    pm_follow #(.STAGES(4)) follow (.busy(busy & chunk_ends), .*);
    pm_follow #(.STAGES(2)) follow_sum (.last(tap == '0 && word == '0), .wr_valid(busy_2), .wr_last(first_2), .*);

    // 2: products. 3: sums. 4: requantised.
    localparam int FULL_BITS = IN_BITS + 1 + WEIGHT_BITS;
    localparam int PRODUCT_BITS = (FULL_BITS < SUM_BITS) ? FULL_BITS : SUM_BITS;    // no product is beyond the sum
    always_ff @(posedge clk) bias <= bias_rom[group_1];
    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic signed [PRODUCT_BITS-1:0] products [SIMD];
            for (genvar s = 0; s < SIMD; s++) begin : g_simd
                logic signed [IN_BITS:0] value;
                logic signed [WEIGHT_BITS-1:0] weight;
                assign value = {IN_SIGNED & words[(s+1)*IN_BITS-1], words[s*IN_BITS+:IN_BITS]};
                assign weight = weights[(p*SIMD+s)*WEIGHT_BITS+:WEIGHT_BITS];
                always_ff @(posedge clk) products[s] <= PRODUCT_BITS'(FULL_BITS'(value) * FULL_BITS'(weight));
            end
            logic signed [SUM_BITS-1:0] sum, total, begin_with;
            assign begin_with = first_2 ? bias[p*SUM_BITS+:SUM_BITS] : sum;
            always_comb begin
                total = begin_with;
                for (int s = 0; s < SIMD; s++) total = total + SUM_BITS'(products[s]);
            end
            always_ff @(posedge clk) if (busy_2) sum <= total;
            logic [OUT_BITS-1:0] result;
            pm_requantise #(.IN_BITS(SUM_BITS), .SHIFT(SHIFT), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED))
                requantise (.in(sum), .out(result));
            always_ff @(posedge clk) wr_data[p*OUT_BITS+:OUT_BITS] <= result;
        end
    endgenerate
endmodule

// A depthwise convolution: PE channels side by side and SIMD taps of each a cycle, weights in a ROM, six registers from
// issue to result.
module pm_depthwise #(
    parameter int ROWS = 1,
    parameter int COLS = 1,
    parameter int CHANNELS = 1,
    parameter int OUT_ROWS = 1,
    parameter int OUT_COLS = 1,
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
    parameter int RADIX = 1,        // products added up in a cycle, and sums of them
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
    input  logic                        clk,
    input  logic                        rst,
    input  logic                        available,
    output logic                        take,
    output logic                        rd_en,
    output logic                        free,
    input  logic [PE*IN_BITS-1:0]       rd_data,
    input  logic                        space,
    output logic                        reserve,
    output logic                        wr_valid,
    output logic                        wr_last,
    output logic [PE*OUT_BITS-1:0]      wr_data
);
    localparam int TURNS = KERNEL_ROWS * KERNEL_COLS / SIMD;
    localparam int GROUPS = CHANNELS / PE;
    localparam int II = TURNS * GROUPS;
    localparam int GROUP_BITS = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam int STEP_BITS = (II > 1) ? $clog2(II) : 1;
    localparam int INDEX = $clog2((ROWS + KERNEL_ROWS + STRIDE_ROWS) * (COLS + KERNEL_COLS + STRIDE_COLS) + CAPACITY) + 2;
    localparam int ADDRESS = (CAPACITY * GROUPS > 1) ? $clog2(CAPACITY * GROUPS) : 1;
    localparam bit PADDED = TOP > 0 || LEFT > 0 || (OUT_ROWS - 1) * STRIDE_ROWS - TOP + KERNEL_ROWS > ROWS
        || (OUT_COLS - 1) * STRIDE_COLS - LEFT + KERNEL_COLS > COLS;

    logic write, complete, again, settled, start, busy, last;
    logic [ADDRESS-1:0] write_address, place, group_place;
    logic signed [INDEX-1:0] first_row, first_col;
    logic [STEP_BITS-1:0] step;
    pm_window #(
        .ROWS(ROWS), .COLS(COLS), .OUT_ROWS(OUT_ROWS), .OUT_COLS(OUT_COLS),
        .KERNEL_ROWS(KERNEL_ROWS), .KERNEL_COLS(KERNEL_COLS), .STRIDE_ROWS(STRIDE_ROWS), .STRIDE_COLS(STRIDE_COLS),
        .TOP(TOP), .LEFT(LEFT), .CAPACITY(CAPACITY), .WORDS(GROUPS), .LATENCY(LATENCY),
        .INDEX(INDEX), .ADDRESS(ADDRESS)
    ) window (.finish(last), .*);
    pm_issue #(.II(II)) issue (.ready(complete & space), .*);
    assign reserve = start;

    // Issue: which taps, of which group of channels.
    localparam int TURN_BITS = (TURNS > 1) ? $clog2(TURNS) : 1;
    logic [TURN_BITS-1:0] turn;
    logic [GROUP_BITS-1:0] group, next_group;
    logic turn_ends;
    assign turn_ends = turn == TURN_BITS'(TURNS - 1);
    assign again = group != GROUP_BITS'(GROUPS - 1);
    assign next_group = (busy & again) ? group + 1'b1 : '0;
    always_ff @(posedge clk)
        if (rst | last) begin
            turn <= '0;
            group <= '0;
        end else if (busy) begin
            turn <= turn_ends ? '0 : turn + 1'b1;
            if (turn_ends) group <= next_group;
        end

    // 1, 2: words and weights. A group reads its own word of each tap.
    logic [SIMD*PE*IN_BITS-1:0] words;
    pm_moved #(.SIZE(CAPACITY * GROUPS), .BITS(ADDRESS)) to_group (
        .from(place), .step(ADDRESS'(next_group)), .to(group_place));
    pm_ring #(
        .ROWS(ROWS), .COLS(COLS), .KERNEL_ROWS(KERNEL_ROWS), .KERNEL_COLS(KERNEL_COLS), .PADDED(PADDED), .TAPWISE(1),
        .CAPACITY(CAPACITY), .WORDS(GROUPS), .WIDTH(PE * IN_BITS), .PORTS(SIMD), .INDEX(INDEX), .ADDRESS(ADDRESS)
    ) ring (
        .write_data(rd_data), .restart(~settled | (busy & turn_ends)), .place(group_place), .word_ends(1'b1),
        .data(words), .*
    );
    logic [PE*SIMD*WEIGHT_BITS-1:0] weight_rom [II];
    logic [PE*SUM_BITS-1:0] bias_rom [GROUPS];
    initial begin
        $readmemh(WEIGHTS, weight_rom);
        $readmemh(BIASES, bias_rom);
    end
    logic [PE*SIMD*WEIGHT_BITS-1:0] weights, weights_1;
    always_ff @(posedge clk) begin
        weights_1 <= weight_rom[step];
        weights <= weights_1;
    end

    logic busy_4, first_4;
    logic [GROUP_BITS-1:0] group_1, group_2, group_3;
    logic [PE*SUM_BITS-1:0] bias;
    pm_follow #(.STAGES(6)) follow (.busy(busy & turn_ends), .*);
    pm_follow #(.STAGES(4)) follow_sum (.last(turn == '0), .wr_valid(busy_4), .wr_last(first_4), .*);
    always_ff @(posedge clk) begin
        {group_3, group_2, group_1} <= {group_2, group_1, group};
        bias <= bias_rom[group_3];
    end

    // 3: products. 4: their sums in groups. 5: all of them. 6: requantised.
    localparam int FULL_BITS = IN_BITS + 1 + WEIGHT_BITS;
    localparam int PRODUCT_BITS = (FULL_BITS < SUM_BITS) ? FULL_BITS : SUM_BITS;    // no product is beyond the sum
    localparam int PARTS = (SIMD + RADIX - 1) / RADIX;
    localparam int WIDE_BITS = PRODUCT_BITS + $clog2(RADIX);
    localparam int PART_BITS = (WIDE_BITS < SUM_BITS) ? WIDE_BITS : SUM_BITS;
    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic [SIMD*PRODUCT_BITS-1:0] products;
            for (genvar s = 0; s < SIMD; s++) begin : g_simd
                logic signed [IN_BITS:0] value;
                logic signed [WEIGHT_BITS-1:0] weight;
                assign value = {IN_SIGNED & words[(s*PE+p+1)*IN_BITS-1], words[(s*PE+p)*IN_BITS+:IN_BITS]};
                assign weight = weights[(p*SIMD+s)*WEIGHT_BITS+:WEIGHT_BITS];
                always_ff @(posedge clk)
                    products[s*PRODUCT_BITS+:PRODUCT_BITS] <= PRODUCT_BITS'(FULL_BITS'(value) * FULL_BITS'(weight));
            end
            logic [PARTS*PART_BITS-1:0] parts;
            pm_reduce #(.COUNT(SIMD), .RADIX(RADIX), .IN_BITS(PRODUCT_BITS), .OUT_BITS(PART_BITS))
                reduce (.clk, .in(products), .out(parts));
            logic signed [SUM_BITS-1:0] sum, total;
            always_comb begin
                total = first_4 ? bias[p*SUM_BITS+:SUM_BITS] : sum;
                for (int i = 0; i < PARTS; i++) total = total + SUM_BITS'($signed(parts[i*PART_BITS+:PART_BITS]));
            end
            always_ff @(posedge clk) if (busy_4) sum <= total;
            logic [OUT_BITS-1:0] result;
            pm_requantise #(.IN_BITS(SUM_BITS), .SHIFT(SHIFT), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED))
                requantise (.in(sum), .out(result));
            always_ff @(posedge clk) wr_data[p*OUT_BITS+:OUT_BITS] <= result;
        end
    endgenerate
endmodule

// A maximum (five registers from issue to result) or a mean (six) of overlapping windows, PE channels and all taps a
// cycle.
module pm_pool #(
    parameter bit MEAN = 0,
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
    parameter int RADIX = 1,                // taps reduced in a cycle, and results of that
    parameter int IN_BITS = 8,
    parameter bit IN_SIGNED = 0,
    parameter int SHIFT = 0,                // of a maximum
    parameter int SUM_BITS = 16,            // these of a mean
    parameter int MULTIPLIER_BITS = 1,
    parameter int WORK_BITS = 32,
    parameter bit [63:0] MULTIPLIER = 1,
    parameter bit [127:0] OFFSET = '0,
    parameter int DROP = 0,
    parameter int OUT_BITS = 8,
    parameter bit OUT_SIGNED = 0
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
    localparam int TAPS = KERNEL_ROWS * KERNEL_COLS;
    localparam int II = CHANNELS / PE;
    localparam int STEP_BITS = (II > 1) ? $clog2(II) : 1;
    localparam int INDEX = $clog2((ROWS + KERNEL_ROWS + STRIDE_ROWS) * (COLS + KERNEL_COLS + STRIDE_COLS) + CAPACITY) + 2;
    localparam int ADDRESS = (CAPACITY * II > 1) ? $clog2(CAPACITY * II) : 1;
    localparam int STAGES = MEAN ? 6 : 5;
    localparam logic [IN_BITS-1:0] LOWEST = (IN_SIGNED && !MEAN) ? {1'b1, {(IN_BITS-1){1'b0}}} : '0;

    localparam bit PADDED = TOP > 0 || LEFT > 0 || (OUT_ROWS - 1) * STRIDE_ROWS - TOP + KERNEL_ROWS > ROWS
        || (OUT_COLS - 1) * STRIDE_COLS - LEFT + KERNEL_COLS > COLS;

    logic write, complete, settled, start, busy, last;
    logic [ADDRESS-1:0] write_address, place;
    logic signed [INDEX-1:0] first_row, first_col;
    logic [STEP_BITS-1:0] unused_step;
    pm_window #(
        .ROWS(ROWS), .COLS(COLS), .OUT_ROWS(OUT_ROWS), .OUT_COLS(OUT_COLS),
        .KERNEL_ROWS(KERNEL_ROWS), .KERNEL_COLS(KERNEL_COLS), .STRIDE_ROWS(STRIDE_ROWS), .STRIDE_COLS(STRIDE_COLS),
        .TOP(TOP), .LEFT(LEFT), .CAPACITY(CAPACITY), .WORDS(II), .LATENCY(LATENCY), .INDEX(INDEX), .ADDRESS(ADDRESS)
    ) window (.finish(last), .again(1'b0), .*);
    pm_issue #(.II(II)) issue (.ready(complete & space), .step(unused_step), .*);
    assign reserve = start;

    logic [TAPS*PE*IN_BITS-1:0] words;
    pm_ring #(
        .ROWS(ROWS), .COLS(COLS), .KERNEL_ROWS(KERNEL_ROWS), .KERNEL_COLS(KERNEL_COLS), .PADDED(PADDED),
        .CAPACITY(CAPACITY), .WORDS(II), .WIDTH(PE * IN_BITS), .PORTS(TAPS), .OUTSIDE({PE{LOWEST}}),
        .INDEX(INDEX), .ADDRESS(ADDRESS)
    ) ring (.write_data(rd_data), .restart(~settled | last), .word_ends(1'b0), .data(words), .*);

    pm_follow #(.STAGES(STAGES)) follow (.*);

    // 1, 2: words. 3, 4: reduced. Of a maximum 5: requantised. Of a mean 4 to 6: divided.
    localparam int PARTS = (TAPS + RADIX - 1) / RADIX;
    localparam int PART_BITS = MEAN ? SUM_BITS : IN_BITS + 1;
    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic [TAPS*(IN_BITS+1)-1:0] values;
            for (genvar t = 0; t < TAPS; t++) begin : g_tap
                assign values[t*(IN_BITS+1)+:IN_BITS+1] =
                    {IN_SIGNED & words[(t*PE+p+1)*IN_BITS-1], words[(t*PE+p)*IN_BITS+:IN_BITS]};
            end
            logic [PARTS*PART_BITS-1:0] parts;
            logic signed [PART_BITS-1:0] whole;
            pm_reduce #(.GREATEST(!MEAN), .COUNT(TAPS), .RADIX(RADIX), .IN_BITS(IN_BITS + 1), .OUT_BITS(PART_BITS))
                reduce (.clk, .in(values), .out(parts));
            pm_reduce #(.GREATEST(!MEAN), .COUNT(PARTS), .RADIX(PARTS), .IN_BITS(PART_BITS), .OUT_BITS(PART_BITS))
                reduce_parts (.clk, .in(parts), .out(whole));
            if (MEAN) begin : g_mean
                pm_divide #(
                    .SUM_BITS(SUM_BITS), .MULTIPLIER_BITS(MULTIPLIER_BITS), .WORK_BITS(WORK_BITS), .MULTIPLIER(MULTIPLIER),
                    .OFFSET(OFFSET), .DROP(DROP), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED)
                ) divide (.clk, .sum(whole), .out(wr_data[p*OUT_BITS+:OUT_BITS]));
            end else begin : g_max
                logic [OUT_BITS-1:0] result;
                pm_requantise #(.IN_BITS(IN_BITS + 1), .SHIFT(SHIFT), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED))
                    requantise (.in(whole), .out(result));
                always_ff @(posedge clk) wr_data[p*OUT_BITS+:OUT_BITS] <= result;
            end
        end
    endgenerate
endmodule

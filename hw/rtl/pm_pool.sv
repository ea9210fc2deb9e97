// A maximum (two registers from issue to result) or a mean (four) of overlapping windows, PE channels and all taps a cycle.
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
    parameter int IN_BITS = 8,
    parameter bit IN_SIGNED = 0,
    parameter int SHIFT = 0,                // of a maximum
    parameter int SUM_BITS = 16,            // these of a mean
    parameter int UP = 0,
    parameter int WORK_BITS = 32,
    parameter bit [63:0] ADDEND = '0,
    parameter bit [63:0] MULTIPLIER = 1,
    parameter int DROP = 0,
    parameter int ZERO = 0,
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
    localparam int STAGES = MEAN ? 4 : 2;
    localparam logic [IN_BITS-1:0] LOWEST = (IN_SIGNED && !MEAN) ? {1'b1, {(IN_BITS-1){1'b0}}} : '0;

    logic write, complete, start, busy, last;
    logic [ADDRESS-1:0] write_address;
    logic [INDEX-1:0] base;
    logic signed [INDEX-1:0] first_row, first_col;
    logic [STEP_BITS-1:0] step;
    pm_window #(
        .ROWS(ROWS), .COLS(COLS), .OUT_ROWS(OUT_ROWS), .OUT_COLS(OUT_COLS),
        .KERNEL_ROWS(KERNEL_ROWS), .KERNEL_COLS(KERNEL_COLS), .STRIDE_ROWS(STRIDE_ROWS), .STRIDE_COLS(STRIDE_COLS),
        .TOP(TOP), .LEFT(LEFT), .CAPACITY(CAPACITY), .WORDS(II), .LATENCY(LATENCY), .INDEX(INDEX), .ADDRESS(ADDRESS)
    ) window (.finish(last), .*);
    pm_issue #(.II(II)) issue (.ready(complete & space), .*);
    assign reserve = start;

    logic [TAPS*PE*IN_BITS-1:0] words;
    pm_ring #(
        .ROWS(ROWS), .COLS(COLS), .KERNEL_COLS(KERNEL_COLS), .CAPACITY(CAPACITY), .WORDS(II), .WIDTH(PE * IN_BITS),
        .PORTS(TAPS), .OUTSIDE({PE{LOWEST}}), .INDEX(INDEX), .ADDRESS(ADDRESS)
    ) ring (.write_data(rd_data), .tap('0), .word(ADDRESS'(step)), .data(words), .*);

    pm_follow #(.STAGES(STAGES)) follow (.*);

    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic signed [IN_BITS:0] value;
            if (MEAN) begin : g_mean
                logic signed [SUM_BITS-1:0] total, sum;
                always_comb begin
                    total = '0;
                    value = '0;
                    for (int t = 0; t < TAPS; t++) begin
                        value = {IN_SIGNED & words[(t*PE+p+1)*IN_BITS-1], words[(t*PE+p)*IN_BITS+:IN_BITS]};
                        total = total + SUM_BITS'(value);
                    end
                end
                always_ff @(posedge clk) sum <= total;
                pm_divide #(
                    .SUM_BITS(SUM_BITS), .UP(UP), .WORK_BITS(WORK_BITS), .ADDEND(ADDEND), .MULTIPLIER(MULTIPLIER),
                    .DROP(DROP), .ZERO(ZERO), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED)
                ) divide (.out(wr_data[p*OUT_BITS+:OUT_BITS]), .*);
            end else begin : g_max
                logic signed [IN_BITS:0] greatest;
                logic [OUT_BITS-1:0] result;
                always_comb begin
                    greatest = '0;
                    value = '0;
                    for (int t = 0; t < TAPS; t++) begin
                        value = {IN_SIGNED & words[(t*PE+p+1)*IN_BITS-1], words[(t*PE+p)*IN_BITS+:IN_BITS]};
                        if (t == 0 || value > greatest) greatest = value;
                    end
                end
                pm_requantise #(.IN_BITS(IN_BITS + 1), .SHIFT(SHIFT), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED))
                    requantise (.in(greatest), .out(result));
                always_ff @(posedge clk) wr_data[p*OUT_BITS+:OUT_BITS] <= result;
            end
        end
    endgenerate
endmodule

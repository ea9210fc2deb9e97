// A mean of disjoint windows (stride equal to kernel): keeps sums instead of pixels, one, or a row of them. Four registers
// from issue to result. The ring's rule with the least capacity keeps a sum from being overwritten before it was read.
module pm_mean #(
    parameter int ROWS = 1,
    parameter int COLS = 1,
    parameter int CHANNELS = 1,
    parameter int OUT_ROWS = 1,
    parameter int OUT_COLS = 1,
    parameter int KERNEL_ROWS = 1,
    parameter int KERNEL_COLS = 1,
    parameter int LATENCY = 0,
    parameter int PE = 1,
    parameter int IN_BITS = 8,
    parameter bit IN_SIGNED = 0,
    parameter int SUM_BITS = 16,
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
    output logic                    rd_last,
    input  logic [PE*IN_BITS-1:0]   rd_data,
    input  logic                    space,
    output logic                    reserve,
    output logic                    wr_valid,
    output logic                    wr_last,
    output logic [PE*OUT_BITS-1:0]  wr_data
);
    localparam int II = CHANNELS / PE;
    localparam int STEP_BITS = (II > 1) ? $clog2(II) : 1;
    localparam int SUMS = (KERNEL_ROWS > 1) ? OUT_COLS : 1;
    localparam int SIZE = SUMS * II;
    localparam int ADDRESS_BITS = (SIZE > 1) ? $clog2(SIZE) : 1;

    logic write, complete, start, busy, last;
    logic [31:0] write_address, base;
    logic signed [31:0] first_row, first_col;
    logic [STEP_BITS-1:0] step;
    pm_window #(
        .ROWS(ROWS), .COLS(COLS), .OUT_ROWS(OUT_ROWS), .OUT_COLS(OUT_COLS),
        .KERNEL_ROWS(KERNEL_ROWS), .KERNEL_COLS(KERNEL_COLS), .STRIDE_ROWS(KERNEL_ROWS), .STRIDE_COLS(KERNEL_COLS),
        .CAPACITY((KERNEL_ROWS - 1) * COLS + KERNEL_COLS), .WORDS(II), .LATENCY(LATENCY)
    ) window (.finish(last), .*);
    pm_issue #(.II(II)) issue (.ready(complete & space), .*);
    assign reserve = start;

    // Where the word that comes now belongs: row and column within its window, and which window of the row.
    logic [31:0] word, row, col, tile, tile_row;
    logic word_ends, col_ends, row_ends;
    assign word_ends = word == 32'(II - 1);
    assign col_ends = tile * KERNEL_COLS + col == 32'(COLS - 1);
    assign row_ends = tile_row * KERNEL_ROWS + row == 32'(ROWS - 1);
    always_ff @(posedge clk)
        if (rst) begin
            word <= '0;
            row <= '0;
            col <= '0;
            tile <= '0;
            tile_row <= '0;
        end else if (write) begin
            word <= word_ends ? '0 : word + 1;
            if (word_ends) begin
                col <= (col_ends || col == 32'(KERNEL_COLS - 1)) ? '0 : col + 1;
                if (col_ends) tile <= '0;
                else if (col == 32'(KERNEL_COLS - 1)) tile <= tile + 1;
                if (col_ends) begin
                    row <= (row_ends || row == 32'(KERNEL_ROWS - 1)) ? '0 : row + 1;
                    if (row_ends) tile_row <= '0;
                    else if (row == 32'(KERNEL_ROWS - 1)) tile_row <= tile_row + 1;
                end
            end
        end

    logic [PE*SUM_BITS-1:0] sums [SIZE];
    logic [ADDRESS_BITS-1:0] into, from;
    logic fresh, counts;
    assign into = ADDRESS_BITS'(((SUMS > 1) ? tile * II : 0) + word);
    assign from = ADDRESS_BITS'(((SUMS > 1) ? 32'(first_col) / KERNEL_COLS * II : 0) + 32'(step));
    assign fresh = row == '0 && col == '0;
    assign counts = write && tile < 32'(OUT_COLS) && tile_row < 32'(OUT_ROWS);
    logic [PE*SUM_BITS-1:0] prior, posterior, seen, summed;
    assign prior = fresh ? '0 : sums[into];
    always_ff @(posedge clk) if (counts) sums[into] <= posterior;
    always_ff @(posedge clk) begin
        seen <= sums[from];
        summed <= seen;
    end

    pm_follow #(.STAGES(4)) follow (.*);
    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic signed [IN_BITS:0] value;
            assign value = {IN_SIGNED & rd_data[(p+1)*IN_BITS-1], rd_data[p*IN_BITS+:IN_BITS]};
            assign posterior[p*SUM_BITS+:SUM_BITS] = prior[p*SUM_BITS+:SUM_BITS] + SUM_BITS'(value);
            pm_divide #(
                .SUM_BITS(SUM_BITS), .UP(UP), .WORK_BITS(WORK_BITS), .ADDEND(ADDEND), .MULTIPLIER(MULTIPLIER),
                .DROP(DROP), .ZERO(ZERO), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED)
            ) divide (.sum(summed[p*SUM_BITS+:SUM_BITS]), .out(wr_data[p*OUT_BITS+:OUT_BITS]), .*);
        end
    endgenerate
endmodule

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
    output logic                    free,
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
    localparam int INDEX = $clog2(2 * (ROWS + KERNEL_ROWS) * (COLS + KERNEL_COLS)) + 2;

    logic write, complete, start, busy, last;
    logic [INDEX-1:0] unused_address, unused_base;
    logic signed [INDEX-1:0] unused_row, unused_col;
    logic [STEP_BITS-1:0] unused_step;
    pm_window #(
        .ROWS(ROWS), .COLS(COLS), .OUT_ROWS(OUT_ROWS), .OUT_COLS(OUT_COLS),
        .KERNEL_ROWS(KERNEL_ROWS), .KERNEL_COLS(KERNEL_COLS), .STRIDE_ROWS(KERNEL_ROWS), .STRIDE_COLS(KERNEL_COLS),
        .CAPACITY((KERNEL_ROWS - 1) * COLS + KERNEL_COLS), .WORDS(II), .LATENCY(LATENCY),
        .INDEX(INDEX), .ADDRESS(INDEX)
    ) window (.finish(last), .write_address(unused_address), .base(unused_base),
        .first_row(unused_row), .first_col(unused_col), .*);
    pm_issue #(.II(II)) issue (.ready(complete & space), .step(unused_step), .*);
    assign reserve = start;

    // Where the word that comes now belongs: row and column within its window, and which window of the row.
    logic [STEP_BITS-1:0] word;
    logic [INDEX-1:0] row, col, tile, tile_row;
    logic word_ends, col_ends, row_ends, tile_ends, tile_row_ends;
    assign word_ends = word == STEP_BITS'(II - 1);
    assign col_ends = INDEX'(tile * INDEX'(KERNEL_COLS)) + col == INDEX'(COLS - 1);
    assign row_ends = INDEX'(tile_row * INDEX'(KERNEL_ROWS)) + row == INDEX'(ROWS - 1);
    assign tile_ends = col == INDEX'(KERNEL_COLS - 1);
    assign tile_row_ends = row == INDEX'(KERNEL_ROWS - 1);
    always_ff @(posedge clk)
        if (rst) begin
            word <= '0;
            row <= '0;
            col <= '0;
            tile <= '0;
            tile_row <= '0;
        end else if (write) begin
            word <= word_ends ? '0 : word + 1'b1;
            if (word_ends) begin
                col <= (col_ends || tile_ends) ? '0 : col + 1'b1;
                if (col_ends) tile <= '0;
                else if (tile_ends) tile <= tile + 1'b1;
            end
            if (word_ends && col_ends) begin
                row <= (row_ends || tile_row_ends) ? '0 : row + 1'b1;
                if (row_ends) tile_row <= '0;
                else if (tile_row_ends) tile_row <= tile_row + 1'b1;
            end
        end

    logic [PE*SUM_BITS-1:0] sums [SIZE];
    logic [ADDRESS_BITS-1:0] into, from;
    logic fresh, counts;
    assign into = ((SUMS > 1) ? ADDRESS_BITS'(tile * INDEX'(II)) : '0) + ADDRESS_BITS'(word);
    always_ff @(posedge clk)
        if (rst) from <= '0;
        else if (busy && SIZE > 1) from <= (from == ADDRESS_BITS'(SIZE - 1)) ? '0 : from + 1'b1;
    assign fresh = row == '0 && col == '0;
    assign counts = write && tile < INDEX'(OUT_COLS) && tile_row < INDEX'(OUT_ROWS);
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

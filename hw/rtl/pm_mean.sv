// A mean of disjoint windows (stride equal to kernel): keeps sums instead of pixels, one, or a row of them. Six registers
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
    localparam int II = CHANNELS / PE;
    localparam int STEP_BITS = (II > 1) ? $clog2(II) : 1;
    localparam int SUMS = (KERNEL_ROWS > 1) ? OUT_COLS : 1;
    localparam int SIZE = SUMS * II;
    localparam int ADDRESS_BITS = (SIZE > 1) ? $clog2(SIZE) : 1;
    localparam int INDEX = $clog2(2 * (ROWS + KERNEL_ROWS) * (COLS + KERNEL_COLS)) + 2;

    localparam int PIXEL_BITS = $clog2(ROWS * COLS + 1);

    logic write, complete, settled, start, busy, last;
    logic [INDEX-1:0] unused_address, unused_place;
    logic signed [INDEX-1:0] unused_row, unused_col;
    logic [STEP_BITS-1:0] unused_step;
    logic unused_settled;
    assign unused_settled = &{1'b0, settled};
    pm_window #(
        .ROWS(ROWS), .COLS(COLS), .OUT_ROWS(OUT_ROWS), .OUT_COLS(OUT_COLS),
        .KERNEL_ROWS(KERNEL_ROWS), .KERNEL_COLS(KERNEL_COLS), .STRIDE_ROWS(KERNEL_ROWS), .STRIDE_COLS(KERNEL_COLS),
        .CAPACITY((KERNEL_ROWS - 1) * COLS + KERNEL_COLS), .WORDS(II), .LATENCY(LATENCY),
        .INDEX(INDEX), .ADDRESS(INDEX)
    ) window (.finish(last), .again(1'b0), .write_address(unused_address), .place(unused_place),
        .first_row(unused_row), .first_col(unused_col), .*);
    pm_issue #(.II(II)) issue (.ready(complete & space), .step(unused_step), .*);
    assign reserve = start;

    // Where the word that comes now belongs: row and column in the map and within its window, and which sum that is.
    logic [STEP_BITS-1:0] word;
    logic [PIXEL_BITS-1:0] row, col, tap_row, tap_col;
    logic [ADDRESS_BITS-1:0] first, into, from;     // `first` of its window's words
    logic word_ends, col_ends, row_ends, tap_col_ends, tap_row_ends;
    assign word_ends = word == STEP_BITS'(II - 1);
    assign col_ends = col == PIXEL_BITS'(COLS - 1);
    assign row_ends = row == PIXEL_BITS'(ROWS - 1);
    assign tap_col_ends = tap_col == PIXEL_BITS'(KERNEL_COLS - 1);
    assign tap_row_ends = tap_row == PIXEL_BITS'(KERNEL_ROWS - 1);
    always_ff @(posedge clk)
        if (rst) begin
            word <= '0;
            {row, col, tap_row, tap_col} <= '0;
            first <= '0;
            into <= '0;
        end else if (write) begin
            word <= word_ends ? '0 : word + 1'b1;
            if (SIZE > 1) into <= !word_ends || (tap_col_ends && SUMS > 1) ? into + 1'b1 : first;
            if (word_ends) begin
                col <= col_ends ? '0 : col + 1'b1;
                tap_col <= (col_ends || tap_col_ends) ? '0 : tap_col + 1'b1;
                if (tap_col_ends && SUMS > 1) first <= first + ADDRESS_BITS'(II);
            end
            if (word_ends && col_ends) begin
                row <= row_ends ? '0 : row + 1'b1;
                tap_row <= (row_ends || tap_row_ends) ? '0 : tap_row + 1'b1;
                first <= '0;
                into <= '0;
            end
        end

    always_ff @(posedge clk)
        if (rst) from <= '0;
        else if (busy && SIZE > 1) from <= (from == ADDRESS_BITS'(SIZE - 1)) ? '0 : from + 1'b1;

    // Sums are written a cycle after their words come, and read a cycle after their issue: in the same order. A sum that
    // is written while the next word asks for it (one word a pixel) goes by `latest`.
    logic [ADDRESS_BITS-1:0] into_1, from_1;
    logic fresh, counts, same;
    always_ff @(posedge clk) begin
        into_1 <= into;
        from_1 <= from;
        same <= II == 1 && counts && into == into_1;
        fresh <= tap_row == '0 && tap_col == '0;
        counts <= write && col < PIXEL_BITS'(OUT_COLS * KERNEL_COLS) && row < PIXEL_BITS'(OUT_ROWS * KERNEL_ROWS);
    end
    logic [PE*SUM_BITS-1:0] sums [SIZE];
    logic [PE*SUM_BITS-1:0] stored, latest, prior, posterior, seen, seen_2, summed;
    assign prior = fresh ? '0 : same ? latest : stored;
    always_ff @(posedge clk) if (counts) sums[into_1] <= posterior;
    always_ff @(posedge clk) begin
        stored <= sums[into];
        latest <= posterior;
        seen <= sums[from_1];
        {summed, seen_2} <= {seen_2, seen};
    end

    pm_follow #(.STAGES(6)) follow (.*);
    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic signed [IN_BITS:0] value;
            always_ff @(posedge clk) value <= {IN_SIGNED & rd_data[(p+1)*IN_BITS-1], rd_data[p*IN_BITS+:IN_BITS]};
            assign posterior[p*SUM_BITS+:SUM_BITS] = prior[p*SUM_BITS+:SUM_BITS] + SUM_BITS'(value);
            pm_divide #(
                .SUM_BITS(SUM_BITS), .MULTIPLIER_BITS(MULTIPLIER_BITS), .WORK_BITS(WORK_BITS), .MULTIPLIER(MULTIPLIER),
                .OFFSET(OFFSET), .DROP(DROP), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED)
            ) divide (.sum(summed[p*SUM_BITS+:SUM_BITS]), .out(wr_data[p*OUT_BITS+:OUT_BITS]), .*);
        end
    endgenerate
endmodule

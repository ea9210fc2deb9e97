// Every pixel FACTOR_COLS times in each of FACTOR_ROWS rows, PE channels a cycle: three registers from issue to result.
// A row is kept until it has been given for the last time; where rows are not repeated a pixel is.
//
// `surplus`: pixels written, less those that the next output needs; complete from 0 on. `room`: pixels that may still be
// copied, less one. Semantics: docs/pipeline.md, "Window".
module pm_upsample #(
    parameter int ROWS = 1,
    parameter int COLS = 1,
    parameter int CHANNELS = 1,
    parameter int FACTOR_ROWS = 1,
    parameter int FACTOR_COLS = 1,
    parameter int CAPACITY = 1,
    parameter int LATENCY = 0,
    parameter int PE = 1,
    parameter int IN_BITS = 8,
    parameter bit IN_SIGNED = 0,
    parameter int SHIFT = 0,
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
    localparam int SIZE = CAPACITY * II;
    localparam int ADDRESS = (SIZE > 1) ? $clog2(SIZE) : 1;
    localparam int INDEX = $clog2(COLS + CAPACITY + 1) + 2;
    localparam int COL_BITS = (COLS > 1) ? $clog2(COLS) : 1;
    localparam int AGAIN_BITS = (FACTOR_COLS > 1) ? $clog2(FACTOR_COLS) : 1;
    localparam int ROW_AGAIN_BITS = (FACTOR_ROWS > 1) ? $clog2(FACTOR_ROWS) : 1;
    typedef logic signed [INDEX-1:0] index_t;

    logic complete, start, busy, last;
    logic [STEP_BITS-1:0] step;
    pm_issue #(.II(II)) issue (.ready(complete & space), .*);
    assign reserve = start;
    pm_follow #(.STAGES(3)) follow (.*);

    // The walk over the outputs, and where the next one's pixel lies.
    logic [COL_BITS-1:0] col;
    logic [AGAIN_BITS-1:0] again;
    logic [ROW_AGAIN_BITS-1:0] row_again;
    logic [ADDRESS-1:0] at, at_row, moved, next_at;
    logic pixel_ends, row_ends, row_leaves, back;
    assign pixel_ends = again == AGAIN_BITS'(FACTOR_COLS - 1);
    assign row_ends = pixel_ends && col == COL_BITS'(COLS - 1);
    assign row_leaves = row_again == ROW_AGAIN_BITS'(FACTOR_ROWS - 1);
    assign back = row_ends & ~row_leaves;
    pm_moved #(.SIZE(SIZE), .BITS(ADDRESS)) by_pixel (.from(at), .step(ADDRESS'(II % SIZE)), .to(moved));
    assign next_at = !pixel_ends ? at : back ? at_row : moved;
    always_ff @(posedge clk)
        if (rst) begin
            col <= '0;
            again <= '0;
            row_again <= '0;
            at <= '0;
            at_row <= '0;
        end else if (last) begin
            again <= pixel_ends ? '0 : again + 1'b1;
            if (pixel_ends) col <= row_ends ? '0 : col + 1'b1;
            if (row_ends) row_again <= row_leaves ? '0 : row_again + 1'b1;
            at <= next_at;
            if (row_ends) at_row <= next_at;
        end

    // Copying.
    index_t surplus, room;
    logic [STEP_BITS-1:0] word;
    logic [ADDRESS-1:0] to, write_address;
    logic write, ends;
    assign take = available && word == '0 && !room[INDEX-1];
    assign rd_en = take || word != '0;
    assign free = rd_en && word == STEP_BITS'(II - 1);
    assign complete = !surplus[INDEX-1];
    always_ff @(posedge clk)
        if (rst) begin
            surplus <= -index_t'(1);
            room <= index_t'(CAPACITY - 1);
            word <= '0;
            to <= '0;
        end else begin
            if (rd_en) word <= free ? '0 : word + 1'b1;
            if (rd_en) to <= (to == ADDRESS'(SIZE - 1)) ? '0 : to + 1'b1;
            surplus <= surplus + index_t'({1'b0, ends}) + ((last & back) ? index_t'(COLS - 1)
                : (last & pixel_ends) ? -index_t'(1) : '0);
            room <= room + index_t'({1'b0, last & pixel_ends & row_leaves}) - index_t'({1'b0, free});
        end
    generate
        if (LATENCY == 0) begin : g_now
            assign write = rd_en;
            assign write_address = to;
            assign ends = free;
        end else begin : g_later
            always_ff @(posedge clk) begin
                write <= rd_en & ~rst;
                write_address <= to;
                ends <= free & ~rst;
            end
        end
    endgenerate

    // 1, 2: a word. 3: requantised.
    logic [PE*IN_BITS-1:0] words;
    pm_ring #(
        .ROWS(ROWS), .COLS(COLS), .CAPACITY(CAPACITY), .WORDS(II), .WIDTH(PE * IN_BITS), .INDEX(INDEX),
        .ADDRESS(ADDRESS)
    ) ring (
        .write_data(rd_data), .restart(rst | last), .place(rst ? '0 : next_at), .first_row('0), .first_col('0),
        .word_ends(1'b0), .data(words), .*
    );
    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic [OUT_BITS-1:0] result;
            pm_requantise #(.IN_BITS(IN_BITS + 1), .SHIFT(SHIFT), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED)) requantise (
                .in({IN_SIGNED & words[(p+1)*IN_BITS-1], words[p*IN_BITS+:IN_BITS]}), .out(result));
            always_ff @(posedge clk) wr_data[p*OUT_BITS+:OUT_BITS] <= result;
        end
    endgenerate
    logic unused_step;      // the ring counts
    assign unused_step = &{1'b0, step};
endmodule

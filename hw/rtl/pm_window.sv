// The input side of an engine that looks at windows: copies pixels from its FIFO, walks over the output positions, and
// tells when the window of the next output is complete. Semantics: docs/pipeline.md, "Window".
//
// The walk runs two outputs ahead, since it depends on no data: what `finish` brings is then a register. So too whether a
// pixel may be copied and whether a window is complete: a sign each, of a distance that every output moves by a step.
module pm_window #(
    parameter int ROWS = 1,
    parameter int COLS = 1,
    parameter int OUT_ROWS = 1,
    parameter int OUT_COLS = 1,
    parameter int KERNEL_ROWS = 1,
    parameter int KERNEL_COLS = 1,
    parameter int STRIDE_ROWS = 1,
    parameter int STRIDE_COLS = 1,
    parameter int TOP = 0,
    parameter int LEFT = 0,
    parameter int CAPACITY = 1,     // pixels of the ring
    parameter int WORDS = 1,        // words of a pixel
    parameter int LATENCY = 0,      // of the FIFO
    parameter int INDEX = 32,       // bits of a signed pixel number
    parameter int ADDRESS = 32      // bits of a word's place in the ring
) (
    input  logic                        clk,
    input  logic                        rst,
    // FIFO
    input  logic                        available,
    output logic                        take,
    output logic                        rd_en,
    output logic                        free,
    // ring: where the word that the FIFO gives now belongs
    output logic                        write,
    output logic [ADDRESS-1:0]          write_address,
    // outputs
    output logic                        complete,   // the window of the next output is there
    input  logic                        finish,     // the last cycle of an output's issue
    // the window that is read after this one
    input  logic                        again,      // it is the same one
    output logic                        settled,    // it is known: from the third cycle on
    output logic [ADDRESS-1:0]          place,      // of its first word in the ring
    output logic signed [INDEX-1:0]     first_row,  // its first row, in pixels before that; may lie above the map
    output logic signed [INDEX-1:0]     first_col
);
    typedef logic signed [INDEX-1:0] index_t;
    localparam int PIXELS = ROWS * COLS;
    localparam int SIZE = CAPACITY * WORDS;

    // The walk: a window's place in the map and in the ring.
    localparam int PIXEL_STEP = (STRIDE_COLS * WORDS) % SIZE;
    localparam int ROW_STEP = (STRIDE_ROWS * COLS * WORDS) % SIZE;
    localparam int FRAME_STEP = (PIXELS * WORDS) % SIZE;
    localparam int ORIGIN = (SIZE - ((TOP * COLS + LEFT) * WORDS) % SIZE) % SIZE;
    localparam int FIRST_ROW = -TOP * COLS;
    localparam int LAST_ROW = ((OUT_ROWS - 1) * STRIDE_ROWS - TOP) * COLS;
    localparam int LAST_COL = (OUT_COLS - 1) * STRIDE_COLS - LEFT;
    index_t row, col;
    logic [ADDRESS-1:0] at, at_row, at_frame, next_pixel, next_line, next_frame;
    logic row_ends, frame_ends, frame_begins, known, advance;
    assign row_ends = col == index_t'(LAST_COL);
    assign frame_ends = row_ends && row == index_t'(LAST_ROW);
    pm_moved #(.SIZE(SIZE), .BITS(ADDRESS)) by_pixel (.from(at), .step(ADDRESS'(PIXEL_STEP)), .to(next_pixel));
    pm_moved #(.SIZE(SIZE), .BITS(ADDRESS)) by_row (.from(at_row), .step(ADDRESS'(ROW_STEP)), .to(next_line));
    pm_moved #(.SIZE(SIZE), .BITS(ADDRESS)) by_frame (.from(at_frame), .step(ADDRESS'(FRAME_STEP)), .to(next_frame));
    assign advance = finish | ~settled;
    always_ff @(posedge clk)
        if (rst) begin
            {settled, known} <= '0;
            row <= index_t'(FIRST_ROW);
            col <= index_t'(-LEFT);
            at <= ADDRESS'(ORIGIN);
            at_row <= ADDRESS'(ORIGIN);
            at_frame <= ADDRESS'(ORIGIN);
            frame_begins <= '0;
        end else if (advance) begin
            {settled, known} <= {known, 1'b1};
            col <= col + index_t'(STRIDE_COLS);
            at <= next_pixel;
            if (row_ends) begin
                col <= index_t'(-LEFT);
                row <= row + index_t'(STRIDE_ROWS * COLS);
                at <= next_line;
                at_row <= next_line;
            end
            if (frame_ends) begin
                row <= index_t'(FIRST_ROW);
                at <= next_frame;
                at_row <= next_frame;
                at_frame <= next_frame;
            end
            frame_begins <= frame_ends;
        end

    // The last pixel that a window needs, clipped to the map, and the least that it or a later one needs: 0 while another
    // output row follows whose window still begins at or above the map.
    localparam int DOWN = STRIDE_ROWS * COLS;
    localparam int FIRST_BOTTOM = ((KERNEL_ROWS - 1 - TOP < ROWS - 1) ? KERNEL_ROWS - 1 - TOP : ROWS - 1) * COLS;
    localparam int FIRST_RIGHT = (KERNEL_COLS - 1 - LEFT < COLS - 1) ? KERNEL_COLS - 1 - LEFT : COLS - 1;
    localparam bit FIRST_GUARDED = TOP >= STRIDE_ROWS && OUT_ROWS > 1;
    index_t bottom, right, need, low, need_1, low_1, need_step, low_step;
    logic guarded;
    assign need = bottom + right;
    assign low = (row < 0 ? '0 : row) + (guarded || col < 0 ? '0 : col);
    always_ff @(posedge clk)
        if (rst) begin
            bottom <= index_t'(FIRST_BOTTOM);
            right <= index_t'(FIRST_RIGHT);
            guarded <= FIRST_GUARDED;
        end else if (advance) begin
            right <= (col > index_t'(COLS - KERNEL_COLS - STRIDE_COLS)) ? index_t'(COLS - 1)
                : col + index_t'(STRIDE_COLS + KERNEL_COLS - 1);
            if (row_ends) begin
                right <= index_t'(FIRST_RIGHT);
                bottom <= (row > index_t'((ROWS - KERNEL_ROWS) * COLS - DOWN)) ? index_t'((ROWS - 1) * COLS)
                    : row + index_t'(DOWN + (KERNEL_ROWS - 1) * COLS);
                guarded <= row <= index_t'(-2 * DOWN) && row != index_t'(LAST_ROW - DOWN);
            end
            if (frame_ends) begin
                bottom <= index_t'(FIRST_BOTTOM);
                guarded <= FIRST_GUARDED;
            end
            need_1 <= need;
            low_1 <= low;
            need_step <= need - need_1 + (frame_begins ? index_t'(PIXELS) : '0);
            low_step <= low - low_1 + (frame_begins ? index_t'(PIXELS) : '0);
        end

    // What reads the ring next: this window again, or the next one.
    logic [ADDRESS-1:0] place_0, place_1;
    index_t row_0, row_1, col_0, col_1;
    logic same;
    always_ff @(posedge clk)
        if (advance) begin
            {place_0, place_1} <= {place_1, at};
            {row_0, row_1} <= {row_1, row};
            {col_0, col_1} <= {col_1, col};
        end
    assign same = again & settled;
    assign place = same ? place_0 : place_1;
    assign first_row = same ? row_0 : row_1;
    assign first_col = same ? col_0 : col_1;

    // Copying. `surplus`: pixels written, less those that the next output needs; complete from 0 on. `room`: pixels that
    // may still be copied, less one.
    localparam int WORD_BITS = (WORDS > 1) ? $clog2(WORDS) : 1;
    index_t surplus, room;
    logic [WORD_BITS-1:0] word;
    logic [ADDRESS-1:0] to;
    logic ends;
    assign take = available && word == '0 && !room[INDEX-1];
    assign rd_en = take || word != '0;
    assign free = rd_en && word == WORD_BITS'(WORDS - 1);
    assign complete = !surplus[INDEX-1];
    always_ff @(posedge clk)
        if (rst) begin
            surplus <= index_t'(-FIRST_BOTTOM - FIRST_RIGHT - 1);
            room <= index_t'(CAPACITY - 1);
            word <= '0;
            to <= '0;
        end else begin
            if (rd_en) word <= free ? '0 : word + 1'b1;
            if (rd_en) to <= (to == ADDRESS'(SIZE - 1)) ? '0 : to + 1'b1;
            surplus <= surplus - (finish ? need_step : '0) + index_t'({1'b0, ends});
            room <= room + (finish ? low_step : '0) - index_t'({1'b0, free});
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
endmodule

// The input side of an engine that looks at windows: copies pixels from its FIFO, walks over the output positions, and
// tells when the window of the next output is complete. Semantics: docs/pipeline.md, "Window".
//
// Pixels are counted from the start of the frame that the next output belongs to; when that frame ends, its pixels are
// taken off again.
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
    parameter int INDEX = 32,       // bits of a signed pixel, row or column number
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
    output logic [INDEX-1:0]            base,       // ring slot of the window's first pixel
    output logic signed [INDEX-1:0]     first_row,  // of the window, in the map; may lie above it
    output logic signed [INDEX-1:0]     first_col
);
    typedef logic signed [INDEX-1:0] index_t;
    localparam int PIXELS = ROWS * COLS;

    // The window of the next output: its place in the map and in the ring.
    function automatic int modulo(input int value);
        return ((value % CAPACITY) + CAPACITY) % CAPACITY;
    endfunction
    function automatic logic [INDEX-1:0] moved(input logic [INDEX-1:0] slot, input int step);
        logic [INDEX-1:0] sum;
        sum = slot + INDEX'(modulo(step));
        return (sum >= INDEX'(CAPACITY)) ? sum - INDEX'(CAPACITY) : sum;
    endfunction
    localparam int ORIGIN = modulo(-TOP * COLS - LEFT);

    logic [INDEX-1:0] base_of_row, base_of_frame;
    logic row_ends, frame_ends;
    assign row_ends = first_col == index_t'((OUT_COLS - 1) * STRIDE_COLS - LEFT);
    assign frame_ends = row_ends && first_row == index_t'((OUT_ROWS - 1) * STRIDE_ROWS - TOP);
    always_ff @(posedge clk)
        if (rst) begin
            first_row <= index_t'(-TOP);
            first_col <= index_t'(-LEFT);
            base <= INDEX'(ORIGIN);
            base_of_row <= INDEX'(ORIGIN);
            base_of_frame <= INDEX'(ORIGIN);
        end else if (finish) begin
            first_col <= row_ends ? index_t'(-LEFT) : first_col + index_t'(STRIDE_COLS);
            base <= moved(base, STRIDE_COLS);
            if (row_ends) begin
                first_row <= first_row + index_t'(STRIDE_ROWS);
                base <= moved(base_of_row, STRIDE_ROWS * COLS);
                base_of_row <= moved(base_of_row, STRIDE_ROWS * COLS);
            end
            if (frame_ends) begin
                first_row <= index_t'(-TOP);
                base <= moved(base_of_frame, PIXELS);
                base_of_row <= moved(base_of_frame, PIXELS);
                base_of_frame <= moved(base_of_frame, PIXELS);
            end
        end

    // The last pixel that the next output needs, and the least that it or a later one needs.
    index_t last_row, last_col, top_row, left_col, need, low;
    logic row_again;    // another output row follows whose window still begins at or above the map
    assign last_row = (first_row > index_t'(ROWS - KERNEL_ROWS)) ? index_t'(ROWS - 1) : first_row + index_t'(KERNEL_ROWS - 1);
    assign last_col = (first_col > index_t'(COLS - KERNEL_COLS)) ? index_t'(COLS - 1) : first_col + index_t'(KERNEL_COLS - 1);
    assign need = index_t'(last_row * index_t'(COLS)) + last_col;
    assign top_row = (first_row < 0) ? '0 : first_row;
    assign left_col = (first_col < 0) ? '0 : first_col;
    assign row_again = first_row <= index_t'(-STRIDE_ROWS) && first_row != index_t'((OUT_ROWS - 1) * STRIDE_ROWS - TOP);
    assign low = row_again ? '0 : index_t'(top_row * index_t'(COLS)) + left_col;

    // Copying.
    localparam int WORD_BITS = (WORDS > 1) ? $clog2(WORDS) : 1;
    index_t next, written, taken_off;
    logic [WORD_BITS-1:0] word;
    logic [ADDRESS-1:0] place;
    logic ends;
    assign take = available && word == '0 && next < low + index_t'(CAPACITY);
    assign rd_en = take || word != '0;
    assign free = rd_en && word == WORD_BITS'(WORDS - 1);
    assign taken_off = (finish && frame_ends) ? index_t'(PIXELS) : '0;
    always_ff @(posedge clk)
        if (rst) begin
            next <= '0;
            written <= '0;
            word <= '0;
            place <= '0;
        end else begin
            if (rd_en) word <= free ? '0 : word + 1'b1;
            if (rd_en) place <= (place == ADDRESS'(CAPACITY * WORDS - 1)) ? '0 : place + 1'b1;
            next <= next + index_t'({1'b0, free}) - taken_off;
            written <= written + index_t'({1'b0, ends}) - taken_off;
        end
    generate
        if (LATENCY == 0) begin : g_now
            assign write = rd_en;
            assign write_address = place;
            assign ends = free;
        end else begin : g_later
            always_ff @(posedge clk) begin
                write <= rd_en & ~rst;
                write_address <= place;
                ends <= free & ~rst;
            end
        end
    endgenerate
    assign complete = written > need;
endmodule

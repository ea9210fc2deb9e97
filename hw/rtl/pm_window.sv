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
    parameter int LATENCY = 0       // of the FIFO
) (
    input  logic                clk,
    input  logic                rst,
    // FIFO
    input  logic                available,
    output logic                take,
    output logic                rd_en,
    output logic                rd_last,
    // ring: where the word that the FIFO gives now belongs
    output logic                write,
    output logic [31:0]         write_address,
    // outputs
    output logic                complete,   // the window of the next output is there
    input  logic                finish,     // the last cycle of an output's issue
    output logic [31:0]         base,       // ring slot of the window's first pixel, modulo CAPACITY
    output logic signed [31:0]  first_row,  // of the window, in the map; may lie above it
    output logic signed [31:0]  first_col
);
    localparam int PIXELS = ROWS * COLS;

    // Position of the next output, and of its window.
    logic [31:0] y, x;
    logic [31:0] base_of_row, base_of_frame;
    logic end_of_row, end_of_frame;
    assign end_of_row = x == 32'(OUT_COLS - 1);
    assign end_of_frame = end_of_row & (y == 32'(OUT_ROWS - 1));
    assign first_row = $signed(y) * STRIDE_ROWS - TOP;
    assign first_col = $signed(x) * STRIDE_COLS - LEFT;

    function automatic logic [31:0] wrapped(input logic [31:0] slot, input int step);
        logic [31:0] sum;
        sum = slot + 32'(step);
        return (sum >= 32'(CAPACITY)) ? sum - 32'(CAPACITY) : sum;
    endfunction
    function automatic int modulo(input int value);
        return ((value % CAPACITY) + CAPACITY) % CAPACITY;
    endfunction
    localparam int ORIGIN = modulo(-TOP * COLS - LEFT);
    localparam int COL_STEP = modulo(STRIDE_COLS);
    localparam int ROW_STEP = modulo(STRIDE_ROWS * COLS);
    localparam int FRAME_STEP = modulo(PIXELS);

    always_ff @(posedge clk)
        if (rst) begin
            y <= '0;
            x <= '0;
            base <= 32'(ORIGIN);
            base_of_row <= 32'(ORIGIN);
            base_of_frame <= 32'(ORIGIN);
        end else if (finish) begin
            x <= end_of_row ? '0 : x + 1;
            if (end_of_row) y <= end_of_frame ? '0 : y + 1;
            if (end_of_frame) begin
                base <= wrapped(base_of_frame, FRAME_STEP);
                base_of_row <= wrapped(base_of_frame, FRAME_STEP);
                base_of_frame <= wrapped(base_of_frame, FRAME_STEP);
            end else if (end_of_row) begin
                base <= wrapped(base_of_row, ROW_STEP);
                base_of_row <= wrapped(base_of_row, ROW_STEP);
            end else base <= wrapped(base, COL_STEP);
        end

    // The last pixel that the next output needs, and the least that it or a later one needs.
    logic signed [31:0] last_row, last_col, need, low;
    always_comb begin
        last_row = first_row + KERNEL_ROWS - 1;
        if (last_row > ROWS - 1) last_row = ROWS - 1;
        last_col = first_col + KERNEL_COLS - 1;
        if (last_col > COLS - 1) last_col = COLS - 1;
        need = last_row * COLS + last_col;
        low = ((first_row < 0) ? 0 : first_row * COLS) + ((first_col < 0) ? 0 : first_col);
        if (first_row + STRIDE_ROWS <= 0 && y + 1 < 32'(OUT_ROWS)) low = 0;
    end

    // Copying.
    logic signed [31:0] next, written;
    logic [31:0] word;
    logic [31:0] slot;
    logic copying, ends;
    assign take = available & (word == '0) & (next < low + CAPACITY);
    assign copying = take | (word != '0);
    assign rd_en = copying;
    assign rd_last = copying & (word == 32'(WORDS - 1));

    logic signed [31:0] taken_off;
    assign taken_off = (finish & end_of_frame) ? PIXELS : 0;
    always_ff @(posedge clk)
        if (rst) begin
            next <= '0;
            written <= '0;
            word <= '0;
            slot <= '0;
        end else begin
            if (copying) word <= rd_last ? '0 : word + 1;
            if (rd_last) slot <= (slot == 32'((CAPACITY - 1) * WORDS)) ? '0 : slot + 32'(WORDS);
            next <= next + (rd_last ? 1 : 0) - taken_off;
            written <= written + (ends ? 1 : 0) - taken_off;
        end
    generate
        if (LATENCY == 0) begin : g_now
            assign write = copying;
            assign write_address = slot + word;
            assign ends = rd_last;
        end else begin : g_later
            always_ff @(posedge clk) begin
                write <= copying & ~rst;
                write_address <= slot + word;
                ends <= rd_last & ~rst;
            end
        end
    endgenerate
    assign complete = written > need;
endmodule

// The window's memory: a ring of CAPACITY pixels, read by the taps of a window, PORTS of them a cycle, one copy a port.
// A tap outside of the map reads OUTSIDE. The answer comes two cycles later.
//
// Every port holds the address that it reads next. A window's taps lie in its rows one behind the other, so an address
// moves by a word, or at the end of a tap by one of two jumps.
module pm_ring #(
    parameter int ROWS = 1,
    parameter int COLS = 1,
    parameter int KERNEL_ROWS = 1,
    parameter int KERNEL_COLS = 1,
    parameter bit PADDED = 0,       // some window begins above or left of the map, or ends below or right of it
    parameter int CAPACITY = 1,
    parameter int WORDS = 1,
    parameter int WIDTH = 8,
    parameter int PORTS = 1,
    parameter bit TAPWISE = 0,      // of a window one word of each tap is read, then the next word of each
    parameter logic [WIDTH-1:0] OUTSIDE = '0,
    parameter int INDEX = 32,
    parameter int ADDRESS = 1
) (
    input  logic                        clk,
    input  logic                        write,
    input  logic [ADDRESS-1:0]          write_address,
    input  logic [WIDTH-1:0]            write_data,
    input  logic                        restart,    // next is the first word of the window that begins at `place`
    input  logic [ADDRESS-1:0]          place,
    input  logic signed [INDEX-1:0]     first_row,  // in pixels before the row
    input  logic signed [INDEX-1:0]     first_col,
    input  logic                        busy,       // a word is read
    input  logic                        word_ends,  // it is the last one of its taps
    output logic [PORTS*WIDTH-1:0]      data
);
    typedef logic signed [INDEX-1:0] index_t;
    localparam int SIZE = CAPACITY * WORDS;
    localparam int TURNS = KERNEL_ROWS * KERNEL_COLS / PORTS;
    // From a port's tap to its next one: DOWN rows and RIGHT columns, or where that leaves the kernel a row more and back.
    localparam int DOWN = PORTS / KERNEL_COLS;
    localparam int RIGHT = PORTS % KERNEL_COLS;
    localparam int READ = TAPWISE ? 0 : WORDS - 1;  // words of a tap that lie between its first and its last one read
    localparam int JUMP = ((DOWN * COLS + RIGHT) * WORDS - READ) % SIZE;
    localparam int JUMP_BACK = (((DOWN + 1) * COLS + RIGHT - KERNEL_COLS) * WORDS - READ + SIZE * KERNEL_COLS) % SIZE;
    localparam int COL_BITS = $clog2(KERNEL_COLS + 1);
    generate
        for (genvar port = 0; port < PORTS; port++) begin : g_port
            localparam int ROW = port / KERNEL_COLS;
            localparam int COL = port % KERNEL_COLS;
            logic [WIDTH-1:0] memory [SIZE];
            logic [WIDTH-1:0] seen;
            logic [ADDRESS-1:0] address, begun, step, stepped;
            logic back, outside;
            pm_moved #(.SIZE(SIZE), .BITS(ADDRESS)) begin_at (
                .from(place), .step(ADDRESS'((ROW * COLS + COL) * WORDS % SIZE)), .to(begun));
            pm_moved #(.SIZE(SIZE), .BITS(ADDRESS)) next_at (.from(address), .step, .to(stepped));
            always_ff @(posedge clk)
                if (restart) address <= begun;
                else if (busy) address <= stepped;
            always_ff @(posedge clk) if (write) memory[write_address] <= write_data;
            always_ff @(posedge clk) begin
                seen <= memory[address];
                data[port*WIDTH+:WIDTH] <= outside ? OUTSIDE : seen;
            end

            // Which column of the kernel: of several turns only.
            if (TURNS > 1 && KERNEL_COLS > 1) begin : g_turns
                logic [COL_BITS-1:0] col;
                assign back = col >= COL_BITS'(KERNEL_COLS - RIGHT);
                assign step = !word_ends ? ADDRESS'(1 % SIZE) : back ? ADDRESS'(JUMP_BACK) : ADDRESS'(JUMP);
                always_ff @(posedge clk)
                    if (restart) col <= COL_BITS'(COL);
                    else if (busy & word_ends)
                        col <= back ? col - COL_BITS'(KERNEL_COLS - RIGHT) : col + COL_BITS'(RIGHT);
            end else begin : g_turn
                assign back = '0;
                assign step = word_ends ? ADDRESS'(JUMP) : ADDRESS'(1 % SIZE);
            end
            if (PADDED) begin : g_padded
                index_t row, col;
                always_ff @(posedge clk)
                    if (restart) begin
                        row <= first_row + index_t'(ROW * COLS);
                        col <= first_col + index_t'(COL);
                    end else if (busy & word_ends) begin
                        row <= row + (back ? index_t'((DOWN + 1) * COLS) : index_t'(DOWN * COLS));
                        col <= col + (back ? index_t'(RIGHT - KERNEL_COLS) : index_t'(RIGHT));
                    end
                always_ff @(posedge clk)
                    outside <= row < 0 || row > index_t'((ROWS - 1) * COLS) || col < 0 || col > index_t'(COLS - 1);
            end else begin : g_inside
                logic unused;
                assign unused = &{1'b0, back, first_row, first_col};
                assign outside = '0;
            end
        end
    endgenerate
endmodule

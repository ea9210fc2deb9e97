// The window's memory: a ring of CAPACITY pixels, read by the taps of a window, PORTS of them a cycle, one copy a port.
// A tap outside of the map reads OUTSIDE. The answer comes one cycle later.
module pm_ring #(
    parameter int ROWS = 1,
    parameter int COLS = 1,
    parameter int KERNEL_ROWS = 1,
    parameter int KERNEL_COLS = 1,
    parameter int CAPACITY = 1,
    parameter int WORDS = 1,
    parameter int WIDTH = 8,
    parameter int PORTS = 1,
    parameter logic [WIDTH-1:0] OUTSIDE = '0
) (
    input  logic                    clk,
    input  logic                    write,
    input  logic [31:0]             write_address,
    input  logic [WIDTH-1:0]        write_data,
    input  logic [31:0]             base,
    input  logic signed [31:0]      first_row,
    input  logic signed [31:0]      first_col,
    input  logic [31:0]             tap,    // of port 0; the others follow
    input  logic [31:0]             word,
    output logic [PORTS*WIDTH-1:0]  data
);
    localparam int SIZE = CAPACITY * WORDS;
    localparam int ADDRESS_BITS = (SIZE > 1) ? $clog2(SIZE) : 1;
    generate
        for (genvar port = 0; port < PORTS; port++) begin : g_port
            logic [WIDTH-1:0] memory [SIZE];
            logic [31:0] own_tap, sum, slot;
            logic signed [31:0] row, col;
            logic outside;
            logic [ADDRESS_BITS-1:0] read_address;
            logic [WIDTH-1:0] seen;
            assign own_tap = tap + 32'(port);
            assign row = $signed(own_tap) / KERNEL_COLS;
            assign col = $signed(own_tap) % KERNEL_COLS;
            assign sum = base + 32'(row * COLS + col);
            assign slot = (sum >= 32'(CAPACITY)) ? sum - 32'(CAPACITY) : sum;
            assign read_address = ADDRESS_BITS'(slot * WORDS + word);
            always_ff @(posedge clk) if (write) memory[write_address[ADDRESS_BITS-1:0]] <= write_data;
            always_ff @(posedge clk) seen <= memory[read_address];
            always_ff @(posedge clk)
                outside <= first_row + row < 0 || first_row + row >= ROWS || first_col + col < 0 || first_col + col >= COLS;
            assign data[port*WIDTH+:WIDTH] = outside ? OUTSIDE : seen;
        end
    endgenerate
endmodule

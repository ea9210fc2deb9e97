// The window's memory: a ring of CAPACITY pixels, read by the taps of a window, PORTS of them a cycle, one copy a port.
// A tap outside of the map reads OUTSIDE. The answer comes one cycle later.
module pm_ring #(
    parameter int ROWS = 1,
    parameter int COLS = 1,
    parameter int KERNEL_COLS = 1,
    parameter int CAPACITY = 1,
    parameter int WORDS = 1,
    parameter int WIDTH = 8,
    parameter int PORTS = 1,
    parameter logic [WIDTH-1:0] OUTSIDE = '0,
    parameter int INDEX = 32,
    parameter int ADDRESS = 1
) (
    input  logic                        clk,
    input  logic                        write,
    input  logic [ADDRESS-1:0]          write_address,
    input  logic [WIDTH-1:0]            write_data,
    input  logic [INDEX-1:0]            base,
    input  logic signed [INDEX-1:0]     first_row,
    input  logic signed [INDEX-1:0]     first_col,
    input  logic [INDEX-1:0]            tap,        // of port 0; the others follow
    input  logic [ADDRESS-1:0]          word,
    output logic [PORTS*WIDTH-1:0]      data
);
    typedef logic signed [INDEX-1:0] index_t;
    generate
        for (genvar port = 0; port < PORTS; port++) begin : g_port
            logic [WIDTH-1:0] memory [CAPACITY * WORDS];
            logic [WIDTH-1:0] seen;
            index_t own_tap, row, col;
            logic [INDEX-1:0] sum, slot;
            logic outside, unused_slot;     // a slot has as many bits as a pixel number, an address fewer
            assign unused_slot = &{1'b0, slot};
            assign own_tap = index_t'(tap) + index_t'(port);
            assign row = own_tap / index_t'(KERNEL_COLS);
            assign col = own_tap % index_t'(KERNEL_COLS);
            assign sum = base + INDEX'(row * index_t'(COLS)) + INDEX'(col);
            assign slot = (sum >= INDEX'(CAPACITY)) ? sum - INDEX'(CAPACITY) : sum;
            always_ff @(posedge clk) if (write) memory[write_address] <= write_data;
            always_ff @(posedge clk) begin
                seen <= memory[ADDRESS'(slot) * ADDRESS'(WORDS) + word];
                outside <= first_row + row < 0 || first_row + row > index_t'(ROWS - 1)
                        || first_col + col < 0 || first_col + col > index_t'(COLS - 1);
            end
            assign data[port*WIDTH+:WIDTH] = outside ? OUTSIDE : seen;
        end
    endgenerate
endmodule

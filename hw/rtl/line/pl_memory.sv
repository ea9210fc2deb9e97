// Bytes in banks, byte a of memory in bank a mod BANKS, so that a port reads or writes several bytes from any one on.
// Reads answer one cycle later, with what was there before. No two ports write a byte in one cycle.
module pl_memory #(
    parameter int N = 16,
    parameter int BYTES = 1,
    parameter int READS = 1,
    parameter int READ_BYTES = 1,
    parameter int WRITES = 1,
    parameter int WRITE_BYTES = 1,
    parameter bit PRELOADED = 0,
    parameter FILE = "memory.hex"
) (
    input  logic                            clk,
    input  logic [READS*N-1:0]              read_address,
    output logic [READS*READ_BYTES*8-1:0]   read_data,
    input  logic [WRITES*N-1:0]             write_address,
    input  logic [WRITES*WRITE_BYTES-1:0]   write_mask,
    input  logic [WRITES*WRITE_BYTES*8-1:0] write_data
);
    localparam int WIDEST = (READ_BYTES > WRITE_BYTES) ? READ_BYTES : WRITE_BYTES;
    localparam int LANE = (WIDEST > 2) ? $clog2(WIDEST) : 1;
    localparam int BANKS = 1 << LANE;
    localparam int DEPTH = (BYTES + BANKS - 1) / BANKS;
    localparam int ROW = (DEPTH > 1) ? $clog2(DEPTH) : 1;
    typedef logic [LANE-1:0] lane_t;

    // What every bank gives to every read port, and what it takes of every write port.
    logic [READS*BANKS*8-1:0] seen;
    logic [READS*LANE-1:0] begins;
    generate
        for (genvar r = 0; r < READS; r++) begin : g_read
            always_ff @(posedge clk) begins[r*LANE+:LANE] <= read_address[r*N+:LANE];
            for (genvar i = 0; i < READ_BYTES; i++) begin : g_byte
                lane_t bank;
                assign bank = begins[r*LANE+:LANE] + lane_t'(i);
                assign read_data[(r*READ_BYTES+i)*8+:8] = seen[(r*BANKS+32'(bank))*8+:8];
            end
        end
        for (genvar b = 0; b < BANKS; b++) begin : g_bank
            logic [7:0] memory [DEPTH];
            if (PRELOADED) begin : g_preloaded
                logic [7:0] image [BYTES];
                initial begin
                    $readmemh(FILE, image);
                    for (int row = 0; row < DEPTH; row++)
                        if (row * BANKS + b < BYTES) memory[row] = image[row*BANKS+b];
                end
            end
            for (genvar r = 0; r < READS; r++) begin : g_port
                logic [ROW-1:0] row;
                // The port's first byte may lie in a bank behind this one: then its byte here is a row further.
                assign row = ROW'((read_address[r*N+:N] + N'(BANKS - 1 - b)) >> LANE);
                always_ff @(posedge clk) seen[(r*BANKS+b)*8+:8] <= memory[row];
            end
            logic [WRITES*ROW-1:0] rows;
            logic [WRITES*8-1:0] bytes;
            logic [WRITES-1:0] enable;
            for (genvar w = 0; w < WRITES; w++) begin : g_write
                lane_t lane;
                logic [BANKS-1:0] mask;
                logic [BANKS*8-1:0] data;
                assign mask = BANKS'(write_mask[w*WRITE_BYTES+:WRITE_BYTES]);
                assign data = (BANKS*8)'(write_data[w*WRITE_BYTES*8+:WRITE_BYTES*8]);
                assign lane = lane_t'(b) - write_address[w*N+:LANE];
                assign rows[w*ROW+:ROW] = ROW'((write_address[w*N+:N] + N'(BANKS - 1 - b)) >> LANE);
                assign bytes[w*8+:8] = data[32'(lane)*8+:8];
                assign enable[w] = mask[lane];
            end
            always_ff @(posedge clk)
                for (int w = 0; w < WRITES; w++)
                    if (enable[w]) memory[rows[w*ROW+:ROW]] <= bytes[w*8+:8];
        end
    endgenerate
    logic unused;       // an address has as many bits as any number of the machine
    assign unused = &{1'b0, read_address, write_address};
endmodule

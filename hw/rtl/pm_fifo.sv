// A FIFO that counts whole pixels. The writer reserves a slot when it starts a pixel and commits it with its last word;
// the reader takes a pixel when it starts to read it and frees the slot in the last cycle of that. Words are as narrow as
// the folding on either side; the memory is as wide as the wider of them.
module pm_fifo #(
    parameter int CHANNELS = 1,
    parameter int BITS = 8,
    parameter int WRITE = 1,    // channels of a written word
    parameter int READ = 1,     // channels of a read word
    parameter int DEPTH = 2,    // pixels
    parameter int LATENCY = 0   // cycles from rd_en to rd_data: 0 look-up-table RAM, 1 block RAM
) (
    input  logic                    clk,
    input  logic                    rst,
    output logic                    space,
    input  logic                    reserve,
    input  logic                    wr_valid,
    input  logic                    wr_last,
    input  logic [WRITE*BITS-1:0]   wr_data,
    output logic                    available,
    input  logic                    take,
    input  logic                    rd_en,
    input  logic                    free,
    output logic [READ*BITS-1:0]    rd_data
);
    localparam int WIDE = (WRITE % READ == 0) ? WRITE : (READ % WRITE == 0) ? READ : CHANNELS;
    localparam int WORDS = DEPTH * (CHANNELS / WIDE);
    localparam int GATHER = WIDE / WRITE;
    localparam int SPREAD = WIDE / READ;
    localparam int COUNT_BITS = $clog2(DEPTH + 1);
    localparam int ADDRESS_BITS = (WORDS > 1) ? $clog2(WORDS) : 1;

    logic [COUNT_BITS-1:0] slots, pixels;
    logic committed;
    assign committed = wr_valid & wr_last;
    assign space = slots != '0;
    assign available = pixels != '0;

    always_ff @(posedge clk)
        if (rst) begin
            slots <= COUNT_BITS'(DEPTH);
            pixels <= '0;
        end else begin
            slots <= slots + COUNT_BITS'(free) - COUNT_BITS'(reserve);
            pixels <= pixels + COUNT_BITS'(committed) - COUNT_BITS'(take);
        end

    // Writing: narrow words are gathered until a wide one is whole.
    logic [WIDE*BITS-1:0] whole;
    logic whole_valid;
    generate
        if (GATHER == 1) begin : g_write
            assign whole = wr_data;
            assign whole_valid = wr_valid;
        end else begin : g_gather
            localparam int PART_BITS = $clog2(GATHER);
            logic [(GATHER-1)*WRITE*BITS-1:0] held;
            logic [PART_BITS-1:0] part;
            assign whole = {wr_data, held};
            assign whole_valid = wr_valid & (part == PART_BITS'(GATHER - 1));
            always_ff @(posedge clk)
                if (rst) part <= '0;
                else if (wr_valid) part <= whole_valid ? '0 : part + 1'b1;
            if (GATHER == 2) begin : g_two
                always_ff @(posedge clk) if (wr_valid) held <= wr_data;
            end else begin : g_more
                always_ff @(posedge clk) if (wr_valid) held <= {wr_data, held[(GATHER-1)*WRITE*BITS-1:WRITE*BITS]};
            end
        end
    endgenerate

    logic [WIDE*BITS-1:0] memory [WORDS];
    logic [ADDRESS_BITS-1:0] write_address, read_address;
    always_ff @(posedge clk)
        if (rst) write_address <= '0;
        else if (whole_valid)
            write_address <= (write_address == ADDRESS_BITS'(WORDS - 1)) ? '0 : write_address + 1'b1;
    always_ff @(posedge clk) if (whole_valid) memory[write_address] <= whole;

    // Reading: a wide word is spread over narrow ones.
    logic next_word;
    logic [WIDE*BITS-1:0] seen;
    always_ff @(posedge clk)
        if (rst) read_address <= '0;
        else if (next_word)
            read_address <= (read_address == ADDRESS_BITS'(WORDS - 1)) ? '0 : read_address + 1'b1;
    generate
        if (LATENCY == 0) begin : g_comb
            assign seen = memory[read_address];
        end else begin : g_registered
            always_ff @(posedge clk) seen <= memory[read_address];
        end
        if (SPREAD == 1) begin : g_read
            assign next_word = rd_en;
            assign rd_data = seen;
        end else begin : g_spread
            localparam int PART_BITS = $clog2(SPREAD);
            logic [PART_BITS-1:0] part, seen_part;
            assign next_word = rd_en & (part == PART_BITS'(SPREAD - 1));
            always_ff @(posedge clk)
                if (rst) part <= '0;
                else if (rd_en) part <= next_word ? '0 : part + 1'b1;
            if (LATENCY == 0) begin : g_now
                assign seen_part = part;
            end else begin : g_later
                always_ff @(posedge clk) seen_part <= part;
            end
            assign rd_data = seen[seen_part*READ*BITS+:READ*BITS];
        end
    endgenerate
endmodule

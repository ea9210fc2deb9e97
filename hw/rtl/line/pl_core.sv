// A line engine: array, line memory, weight memory, load unit and store unit, each with its list. Semantics:
// docs/line_engine.md; what this does of them: docs/line_engine_rtl.md.
module pl_core
    import pl_fields::*;
#(
    parameter int N = 16,
    parameter int STEPS = 1,
    parameter int TASKS = 1,
    parameter int LAYERS = 1,
    parameter int LOADS = 1,
    parameter int STORES = 1,
    parameter int ROWS = 1,
    parameter int PORTS = 1,
    parameter int PE = 1,
    parameter int SIMD = 1,
    parameter int LINE_BYTES = 1,
    parameter int WEIGHT_BYTES = 1,
    parameter int SUM_WORDS = 1,
    parameter int WORK_BITS = 32,
    parameter int TABLES = 0,
    parameter int DMA_BYTES = 1,
    parameter int BURST = 0,
    parameter int DRAIN = 6
) (
    input  logic                        clk,
    input  logic                        rst,
    output logic                        read_request,
    output logic [N-1:0]                read_address,
    output logic [N-1:0]                read_bytes,
    input  logic                        read_beat,
    input  logic [DMA_BYTES-1:0][7:0]   read_data,
    output logic                        write_request,
    output logic [N-1:0]                write_address,
    output logic [N-1:0]                write_bytes,
    input  logic                        write_beat,
    output logic [DMA_BYTES-1:0][7:0]   write_data,
    output logic                        finished
);
    localparam int LANES = (PE > SIMD) ? PE : SIMD;
    localparam int READ_BYTES = (LANES > DMA_BYTES) ? LANES : DMA_BYTES;
    localparam int WRITE_BYTES = (PE > DMA_BYTES) ? PE : DMA_BYTES;
    localparam int WORD = PE * SIMD;
    localparam int WIDER = (WORD > 4 * PE) ? WORD : 4 * PE;

    logic step_start, step_done, load_start, load_done, store_start, store_done;
    logic [N-1:0] steps, loads, stores;
    assign finished = steps == N'(STEPS) && loads == N'(LOADS) && stores == N'(STORES);

    logic [FIELDS-1:0][N-1:0] layer;
    logic [PORTS-1:0] is_signed;
    logic [PORTS-1:0][4:0] align;
    logic [WORK_BITS-1:0] addend, multiplier;
    logic valid, first, fresh, keep, write;
    logic [PORTS-1:0][N-1:0] address;
    logic [PORTS-1:0][LANES-1:0] mask;
    logic [N-1:0] weight_address, bias_address, lanes, sums, own_address, channels;
    pl_steps #(
        .N(N), .STEPS(STEPS), .TASKS(TASKS), .LAYERS(LAYERS), .ROWS(ROWS), .PORTS(PORTS), .LANES(LANES), .PE(PE),
        .SIMD(SIMD), .WORK_BITS(WORK_BITS), .DRAIN(DRAIN)
    ) sequencer (
        .start(step_start), .done(step_done), .index(steps), .loads, .stores, .write_address(own_address), .*
    );

    logic to_weights, unused_kind;
    logic [N-1:0] load_place, load_taken, store_place, store_taken;
    logic [DMA_BYTES-1:0] load_mask, store_mask;
    pl_dma #(.N(N), .COUNT(LOADS), .BYTES(DMA_BYTES), .BURST(BURST), .LIST("loads.hex")) loader (
        .clk, .rst, .steps, .others(stores), .start(load_start), .done(load_done), .index(loads),
        .request(read_request), .dram_address(read_address), .burst_bytes(read_bytes), .beat(read_beat),
        .weights(to_weights), .place(load_place), .mask(load_mask), .taken(load_taken)
    );
    pl_dma #(.N(N), .COUNT(STORES), .BYTES(DMA_BYTES), .BURST(BURST), .LIST("stores.hex")) storer (
        .clk, .rst, .steps, .others(loads), .start(store_start), .done(store_done), .index(stores),
        .request(write_request), .dram_address(write_address), .burst_bytes(write_bytes), .beat(write_beat),
        .weights(unused_kind), .place(store_place), .mask(store_mask), .taken(store_taken)
    );

    // Line memory. The store unit reads a cycle ahead: the next beat's bytes in the cycle of a beat.
    logic [PORTS:0][N-1:0] line_addresses;
    logic [PORTS:0][READ_BYTES-1:0][7:0] line_data;
    logic [1:0][N-1:0] line_places;
    logic [1:0][WRITE_BYTES-1:0] line_masks;
    logic [1:0][WRITE_BYTES-1:0][7:0] line_written;
    logic [PORTS-1:0][LANES-1:0][7:0] data;
    logic [N-1:0] result_address;
    logic [PE-1:0] result_mask;
    logic [PE-1:0][7:0] result;
    assign line_addresses = {write_beat ? store_place + store_taken : store_place, address};
    assign line_places = {load_place, result_address};
    assign line_masks = {WRITE_BYTES'(to_weights ? '0 : load_mask), WRITE_BYTES'(result_mask)};
    assign line_written = {(8*WRITE_BYTES)'(read_data), (8*WRITE_BYTES)'(result)};
    generate
        for (genvar p = 0; p < PORTS; p++) begin : g_port
            assign data[p] = line_data[p][LANES-1:0];
        end
    endgenerate
    assign write_data = line_data[PORTS][DMA_BYTES-1:0];
    pl_memory #(
        .N(N), .BYTES(LINE_BYTES), .READS(PORTS + 1), .READ_BYTES(READ_BYTES), .WRITES(2), .WRITE_BYTES(WRITE_BYTES)
    ) line_memory (
        .clk, .read_address(line_addresses), .read_data(line_data), .write_address(line_places),
        .write_mask(line_masks), .write_data(line_written)
    );

    // Weight memory, where resident weights are from the start.
    logic [1:0][WIDER-1:0][7:0] words;
    pl_memory #(
        .N(N), .BYTES(WEIGHT_BYTES), .READS(2), .READ_BYTES(WIDER), .WRITES(1), .WRITE_BYTES(DMA_BYTES), .PRELOADED(1),
        .FILE("weights.hex")
    ) weight_memory (
        .clk, .read_address({bias_address, weight_address}), .read_data(words), .write_address(load_place),
        .write_mask(to_weights ? load_mask : '0), .write_data(read_data)
    );

    pl_array #(
        .N(N), .PORTS(PORTS), .LANES(LANES), .PE(PE), .SIMD(SIMD), .SUM_WORDS(SUM_WORDS), .WORK_BITS(WORK_BITS),
        .TABLES(TABLES)
    ) array (.write_address(own_address), .weights(words[0][WORD-1:0]), .biases(words[1][4*PE-1:0]), .*);
    logic unused;
    assign unused = &{1'b0, unused_kind, store_mask, load_taken, step_start, step_done, load_start, load_done,
        store_start, store_done, line_data, words};
endmodule

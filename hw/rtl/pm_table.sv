// A function of every channel looked up, PE channels a cycle, read in place: two registers from issue to result, and the
// FIFO's own. Every PE has the ROM, with a word for each pattern of an input's bits.
module pm_table #(
    parameter int CHANNELS = 1,
    parameter int LATENCY = 0,
    parameter int PE = 1,
    parameter int IN_BITS = 8,
    parameter int OUT_BITS = 8,
    parameter TABLE = "table.hex"
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
    logic start, busy, last;
    logic [STEP_BITS-1:0] step;
    pm_issue #(.II(II)) issue (.ready(available & space), .*);
    assign reserve = start;
    assign take = start;
    assign rd_en = busy;
    assign free = last;
    logic unused_step;      // all channels have one table
    assign unused_step = &{1'b0, step};

    pm_follow #(.STAGES(2 + LATENCY)) follow (.*);

    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic [OUT_BITS-1:0] rom [1 << IN_BITS];
            initial $readmemh(TABLE, rom);
            logic [IN_BITS-1:0] value;
            always_ff @(posedge clk) begin
                value <= rd_data[p*IN_BITS+:IN_BITS];
                wr_data[p*OUT_BITS+:OUT_BITS] <= rom[value];
            end
        end
    endgenerate
endmodule

// Two streams added (ADD) or INPUTS streams one after the other, PE channels a cycle, read in place. Words of an input
// are shifted left by its own ALIGN, so that all have one fraction. Three registers from issue to the result of an
// add, two of a concat, and the FIFOs' own; an input of LATENCY 0 beside one of LATENCY 1 waits a cycle.
module pm_join #(
    parameter bit ADD = 1,
    parameter int INPUTS = 2,
    parameter int CHANNELS = 1,                     // of the result
    parameter int PE = 1,
    parameter int IN_BITS = 8,                      // the widest input; narrower ones come extended
    parameter bit [INPUTS-1:0] IN_SIGNED = '0,
    parameter bit [INPUTS-1:0] LATENCY = '0,
    parameter bit [32*INPUTS-1:0] ALIGN = '0,
    parameter bit [32*INPUTS-1:0] ENDS = '0,        // concat: the step after an input's last word
    parameter int SUM_BITS = 32,
    parameter int SHIFT = 0,
    parameter int OUT_BITS = 8,
    parameter bit OUT_SIGNED = 0
) (
    input  logic                            clk,
    input  logic                            rst,
    input  logic [INPUTS-1:0]               available,
    output logic [INPUTS-1:0]               take,
    output logic [INPUTS-1:0]               rd_en,
    output logic [INPUTS-1:0]               free,
    input  logic [INPUTS*PE*IN_BITS-1:0]    rd_data,
    input  logic                            space,
    output logic                            reserve,
    output logic                            wr_valid,
    output logic                            wr_last,
    output logic [PE*OUT_BITS-1:0]          wr_data
);
    localparam int II = CHANNELS / PE;
    localparam int STEP_BITS = (II > 1) ? $clog2(II) : 1;
    localparam int SLOWEST = (LATENCY == '0) ? 0 : 1;
    localparam int STAGES = (ADD ? 3 : 2) + SLOWEST;
    logic start, busy, last;
    logic [STEP_BITS-1:0] step;
    pm_issue #(.II(II)) issue (.ready((&available) & space), .*);
    assign reserve = start;
    assign take = {INPUTS{start}};
    logic unused_step;      // an add needs none
    assign unused_step = &{1'b0, step};

    pm_follow #(.STAGES(STAGES)) follow (.*);

    // Which input's turn it is, and the words of all inputs in one cycle.
    logic [INPUTS-1:0] turn, turn_now, turn_seen;
    logic [INPUTS*PE*IN_BITS-1:0] words;
    generate
        for (genvar i = 0; i < INPUTS; i++) begin : g_input
            localparam int FIRST = (i > 0) ? int'(ENDS[(i > 0 ? i - 1 : 0)*32+:32]) : 0;
            localparam int END = int'(ENDS[i*32+:32]);
            if (ADD) begin : g_both
                assign turn[i] = 1'b1;
            end else begin : g_one
                assign turn[i] = 32'(step) + 1 > FIRST && 32'(step) < END;
            end
            assign rd_en[i] = busy & turn[i];
            assign free[i] = last;
            logic [PE*IN_BITS-1:0] own;
            if (SLOWEST == 1 && !LATENCY[i]) begin : g_wait
                always_ff @(posedge clk) own <= rd_data[i*PE*IN_BITS+:PE*IN_BITS];
            end else begin : g_now
                assign own = rd_data[i*PE*IN_BITS+:PE*IN_BITS];
            end
            always_ff @(posedge clk) words[i*PE*IN_BITS+:PE*IN_BITS] <= own;
        end
        if (SLOWEST == 1) begin : g_turn_later
            always_ff @(posedge clk) turn_now <= turn;
        end else begin : g_turn_now
            assign turn_now = turn;
        end
        always_ff @(posedge clk) turn_seen <= turn_now;
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic signed [SUM_BITS-1:0] total, sum;
            logic [OUT_BITS-1:0] result;
            logic signed [IN_BITS:0] value;
            always_comb begin
                total = '0;
                value = '0;
                for (int i = 0; i < INPUTS; i++) begin
                    value = {IN_SIGNED[i] & words[(i*PE+p+1)*IN_BITS-1], words[(i*PE+p)*IN_BITS+:IN_BITS]};
                    if (turn_seen[i]) total = total + (SUM_BITS'(value) <<< ALIGN[i*32+:32]);
                end
            end
            if (ADD) begin : g_register
                always_ff @(posedge clk) sum <= total;
            end else begin : g_pass
                assign sum = total;
            end
            pm_requantise #(.IN_BITS(SUM_BITS), .SHIFT(SHIFT), .OUT_BITS(OUT_BITS), .OUT_SIGNED(OUT_SIGNED))
                requantise (.in(sum), .out(result));
            always_ff @(posedge clk) wr_data[p*OUT_BITS+:OUT_BITS] <= result;
        end
    endgenerate
endmodule

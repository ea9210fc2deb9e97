// The load unit, and the store unit: a list of transfers in order, each in bursts, one burst at a time. A transfer starts
// in the cycle in which what it waits for has ended; DRAM answers a burst by `beat` for each BYTES of it, or what is left.
module pl_dma #(
    parameter int N = 16,
    parameter int COUNT = 1,
    parameter int BYTES = 1,    // of a beat
    parameter int BURST = 0,    // bytes at most; 0: a transfer is one burst
    parameter LIST = "loads.hex"
) (
    input  logic                clk,
    input  logic                rst,
    input  logic [N-1:0]        steps,          // that have ended
    input  logic [N-1:0]        others,         // transfers of the other unit that have ended
    output logic                start,
    output logic                done,
    output logic [N-1:0]        index,          // of the transfer; transfers that have ended
    output logic                request,        // a burst is wanted or under way
    output logic [N-1:0]        dram_address,
    output logic [N-1:0]        burst_bytes,
    input  logic                beat,
    output logic                weights,        // the transfer is one of weights
    output logic [N-1:0]        place,          // on chip, of the beat
    output logic [BYTES-1:0]    mask,
    output logic [N-1:0]        taken           // bytes of the beat
);
    localparam int BITS = (COUNT > 1) ? $clog2(COUNT) : 1;
    logic [5:0][N-1:0] list [COUNT];
    initial $readmemh(LIST, list);
    logic [N-1:0] dram, home, size, after_steps, after_others, kind;
    assign {kind, after_others, after_steps, size, home, dram} = list[BITS'(index)];
    assign weights = kind[0];

    logic active, burst_ends;
    logic [N-1:0] moved, given, left;       // bytes of whole bursts, of this one, and what is left of it
    assign start = !rst && !active && index < N'(COUNT) && steps >= after_steps && others >= after_others;
    assign request = active | start;
    assign dram_address = dram + moved;
    assign burst_bytes = (BURST != 0 && size - moved > N'(BURST)) ? N'(BURST) : size - moved;
    assign left = burst_bytes - given;
    assign burst_ends = beat && left <= N'(BYTES);
    assign taken = (left < N'(BYTES)) ? left : N'(BYTES);
    assign done = burst_ends && moved + burst_bytes == size;
    assign place = home + moved + given;
    always_comb
        for (int i = 0; i < BYTES; i++) mask[i] = beat && N'(i) < left;
    always_ff @(posedge clk)
        if (rst) begin
            active <= 1'b0;
            index <= '0;
            moved <= '0;
            given <= '0;
        end else begin
            active <= request & ~done;
            if (beat) given <= burst_ends ? '0 : given + N'(BYTES);
            if (burst_ends) moved <= done ? '0 : moved + burst_bytes;
            if (done) index <= index + 1'b1;
        end
    logic unused;
    assign unused = &{1'b0, kind[N-1:1]};
endmodule

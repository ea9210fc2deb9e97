// The issue counter of an engine: a pixel is started when everything is ready, and occupies the engine for II cycles.
module pm_issue #(
    parameter int II = 1
) (
    input  logic                                    clk,
    input  logic                                    rst,
    input  logic                                    ready,   // inputs there, room on every output
    output logic                                    start,   // the first cycle of a pixel
    output logic                                    busy,    // every cycle of a pixel
    output logic                                    last,    // its last cycle
    output logic [((II > 1) ? $clog2(II) : 1)-1:0]  step     // which cycle of the pixel
);
    localparam int STEP_BITS = (II > 1) ? $clog2(II) : 1;
    assign start = ready & (step == '0);
    assign busy = start | (step != '0);
    assign last = busy & (step == STEP_BITS'(II - 1));
    always_ff @(posedge clk)
        if (rst | last) step <= '0;
        else if (busy) step <= step + 1'b1;
endmodule

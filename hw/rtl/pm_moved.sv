// A place in a ring of SIZE, moved on by a step of less than SIZE.
module pm_moved #(
    parameter int SIZE = 1,
    parameter int BITS = 1
) (
    input  logic [BITS-1:0] from,
    input  logic [BITS-1:0] step,
    output logic [BITS-1:0] to
);
    logic [BITS-1:0] sum;
    logic [BITS+1:0] less;      // both at once; below 0 where the ring has not come round
    assign sum = from + step;
    assign less = {2'b00, from} + {2'b00, step} - (BITS + 2)'(SIZE);
    assign to = less[BITS+1] ? sum : less[BITS-1:0];
    logic unused_bit;
    assign unused_bit = &{1'b0, less[BITS]};
endmodule

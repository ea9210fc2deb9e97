// The numbers of which a layer's word consists, in the order in which layers.py packs them; behind them, of every port of
// line memory: row of the window, bytes ahead of its row, limit, bytes from pixel to pixel, bytes of the row, bits to shift
// it, signed or not; last the constants of a mean.
package pl_fields;
    localparam int F_KIND = 0;
    localparam int F_COLS = 1;          // pixels that are issued a row task
    localparam int F_OUT_COLS = 2;      // pixels that come out
    localparam int F_CHUNKS = 3;        // cycles of a pixel
    localparam int F_START = 4;         // of the first pixel's window, below 0 where it lies in the padding
    localparam int F_SPAN = 5;          // bytes of a window's row
    localparam int F_ROW_STEP = 6;      // a chunk in whole rows of a window,
    localparam int F_SPAN_STEP = 7;     // and what is over
    localparam int F_LAST = 8;          // channels of the last group
    localparam int F_CHANNELS = 9;      // bytes of an output pixel
    localparam int F_REST = 10;         // lanes of the last chunk
    localparam int F_BIAS = 11;         // bytes of a channel's bias
    localparam int F_GROUP_BYTES = 12;  // of weights and biases of a whole group
    localparam int F_KERNEL_COLS = 13;
    localparam int F_RIGHT = 14;        // bits to drop,
    localparam int F_LEFT = 15;         // or to add
    localparam int F_HIGH = 16;
    localparam int F_LOW = 17;
    localparam int F_UP = 18;           // constants of a mean
    localparam int F_DROP = 19;
    localparam int F_ZERO = 20;
    localparam int F_SUMS = 21;         // where a mean's sums begin
    localparam int F_TABLE = 22;        // which table
    localparam int F_REPEAT = 23;       // pixels that come of one that is read, in a row
    localparam int FIELDS = 24;

    // Kinds; 2 is an add, concat or upsample, of which nobody asks.
    localparam int CONV = 0;
    localparam int AFFINE = 1;
    localparam int MAX = 3;
    localparam int MEAN = 4;            // of windows that overlap
    localparam int SUMS = 5;            // a mean of disjoint windows
    localparam int TABLE = 6;
    localparam int DEPTHWISE = 7;
endpackage

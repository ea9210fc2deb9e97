// The array's list, and its addresses: starts each step when what it waits for has ended, walks over its row tasks, groups,
// pixels and chunks, one chunk a cycle, and stays DRAIN cycles more at the end of a turn. Where the chunk's bytes are comes
// out a cycle later.
module pl_steps
    import pl_fields::*;
#(
    parameter int N = 16,
    parameter int STEPS = 1,
    parameter int TASKS = 1,
    parameter int LAYERS = 1,
    parameter int ROWS = 1,         // input rows of a task
    parameter int PORTS = 1,
    parameter int LANES = 1,        // bytes of a port
    parameter int PE = 1,
    parameter int SIMD = 1,
    parameter int WORK_BITS = 32,
    parameter int DRAIN = 6
) (
    input  logic                            clk,
    input  logic                            rst,
    input  logic [N-1:0]                    loads,      // that have ended
    input  logic [N-1:0]                    stores,
    output logic                            start,
    output logic                            done,
    output logic [N-1:0]                    index,      // of the step; steps that have ended
    output logic [FIELDS-1:0][N-1:0]        layer,      // stands while any register holds something of it
    output logic [PORTS-1:0]                is_signed,
    output logic [PORTS-1:0][4:0]           align,
    output logic [WORK_BITS-1:0]            addend,
    output logic [WORK_BITS-1:0]            multiplier,
    output logic                            valid,
    output logic                            first,      // chunk or pixel of a sum
    output logic                            fresh,      // sums of a mean begin
    output logic [PORTS-1:0][N-1:0]         address,
    output logic [PORTS-1:0][LANES-1:0]     mask,
    output logic [N-1:0]                    weight_address,
    output logic [N-1:0]                    bias_address,
    output logic [N-1:0]                    lanes,      // products of this chunk
    output logic [N-1:0]                    sums,       // the sum's place
    output logic                            keep,       // the sum goes there
    output logic                            write,      // a result comes of this chunk
    output logic [N-1:0]                    write_address,
    output logic [N-1:0]                    channels    // of the group
);
    typedef logic signed [N-1:0] index_t;
    localparam int STEP_BITS = (STEPS > 1) ? $clog2(STEPS) : 1;
    localparam int TASK_BITS = (TASKS > 1) ? $clog2(TASKS) : 1;
    localparam int LAYER_BITS = (LAYERS > 1) ? $clog2(LAYERS) : 1;

    logic [8:0][N-1:0] step_list [STEPS];
    logic [2*ROWS+2:0][N-1:0] task_list [TASKS];
    logic [2*WORK_BITS+(7*PORTS+FIELDS)*N-1:0] layer_list [LAYERS];
    initial begin
        $readmemh("steps.hex", step_list);
        $readmemh("tasks.hex", task_list);
        $readmemh("layers.hex", layer_list);
    end

    // The step, its layer, and the task.
    logic [N-1:0] own_layer, first_task, tasks, first_channel, groups, weights, ends, after_loads, after_stores;
    logic [N-1:0] task_number, group, col, chunk, tap, again;
    assign {after_stores, after_loads, ends, weights, groups, first_channel, tasks, first_task, own_layer} =
        step_list[STEP_BITS'(index)];
    logic [PORTS-1:0][N-1:0] port_row, port_offset, port_limit, port_step, port_row_bytes, port_align, port_signed;
    assign {multiplier, addend, port_signed, port_align, port_row_bytes, port_step, port_limit, port_offset, port_row,
        layer} = layer_list[LAYER_BITS'(own_layer)];
    logic [N-1:0] task_place;
    logic [2*ROWS+2:0][N-1:0] own_task;
    assign task_place = first_task + task_number;
    assign own_task = task_list[TASK_BITS'(task_place)];
    logic [N-1:0] target, begins, emits;
    assign {emits, begins, target} = own_task[2*ROWS+2:2*ROWS];
    logic [N-1:0] row_address [ROWS];
    logic row_there [ROWS];
    generate
        for (genvar r = 0; r < ROWS; r++) begin : g_row
            logic unused;
            assign row_address[r] = own_task[r];
            assign row_there[r] = own_task[ROWS+r][0];
            assign unused = &{1'b0, own_task[ROWS+r]};
        end
    endgenerate

    // Issue.
    logic active, draining, busy, work, last_chunk, last_col, last_group, last_task, is_conv, is_depthwise, is_sums;
    logic window_ends, pixel_ends;
    logic [3:0] drained;
    assign start = !rst && !active && index < N'(STEPS) && loads >= after_loads && stores >= after_stores;
    assign busy = active | start;
    assign work = busy & ~draining;
    assign is_conv = layer[F_KIND] == N'(CONV);
    assign is_depthwise = layer[F_KIND] == N'(DEPTHWISE);
    assign is_sums = layer[F_KIND] == N'(SUMS);
    assign last_chunk = chunk == layer[F_CHUNKS] - 1'b1;
    assign last_col = last_chunk && col == layer[F_COLS] - 1'b1;
    assign last_group = last_col && group == groups - 1'b1;
    assign last_task = last_group && task_number == tasks - 1'b1;
    assign window_ends = !is_sums || tap == layer[F_KERNEL_COLS] - 1'b1;
    assign pixel_ends = again == layer[F_REPEAT] - 1'b1;
    assign done = (work && last_task && !ends[0]) || (draining && drained == 4'(DRAIN - 1));

    logic [N-1:0] span, row, channel, group_weights, chunk_weights, out, col_out, group_sums, own_channels;
    logic [N-1:0] span_next;
    logic span_wraps, short_group;
    assign span_next = span + layer[F_SPAN_STEP];
    assign span_wraps = span_next >= layer[F_SPAN];
    assign short_group = first_channel + channel + N'(PE) >= layer[F_CHANNELS];
    assign own_channels = short_group ? layer[F_LAST] : N'(PE);
    always_ff @(posedge clk)
        if (rst | done) begin
            draining <= 1'b0;
            drained <= '0;
            task_number <= '0;
            group <= '0;
            channel <= '0;
            group_weights <= '0;
            group_sums <= '0;
            col <= '0;
            tap <= '0;
            again <= '0;
            out <= '0;
            col_out <= '0;
            chunk <= '0;
            span <= '0;
            row <= '0;
            chunk_weights <= '0;
        end else if (draining) drained <= drained + 1'b1;
        else if (work) begin
            chunk <= last_chunk ? '0 : chunk + 1'b1;
            chunk_weights <= last_chunk ? '0 : chunk_weights + N'(N'(SIMD) * own_channels);
            span <= last_chunk ? '0 : span_wraps ? span_next - layer[F_SPAN] : span_next;
            row <= last_chunk ? '0 : row + layer[F_ROW_STEP] + N'(span_wraps);
            if (last_chunk) begin
                col <= last_col ? '0 : col + 1'b1;
                again <= (last_col || pixel_ends) ? '0 : again + 1'b1;
                tap <= (last_col || window_ends) ? '0 : tap + 1'b1;
                if (last_col || window_ends) begin
                    out <= last_col ? '0 : out + 1'b1;
                    col_out <= last_col ? '0 : col_out + layer[F_CHANNELS];
                end
            end
            if (last_col) begin
                group <= last_group ? '0 : group + 1'b1;
                channel <= last_group ? '0 : channel + N'(PE);
                group_weights <= last_group ? '0 : group_weights + layer[F_GROUP_BYTES];
                group_sums <= last_group ? '0 : group_sums + layer[F_OUT_COLS];
            end
            if (last_group) task_number <= task_number + 1'b1;
            draining <= last_task;
        end
    always_ff @(posedge clk)
        if (rst) begin
            active <= 1'b0;
            index <= '0;
        end else begin
            active <= busy & ~done;
            if (done) index <= index + 1'b1;
        end

    // Where it is.
    logic [PORTS-1:0][N-1:0] now_address;
    logic [PORTS-1:0][LANES-1:0] now_mask;
    generate
        for (genvar p = 0; p < PORTS; p++) begin : g_port
            localparam int ROW_BITS = (ROWS > 1) ? $clog2(ROWS) : 1;
            logic [N-1:0] own_row, ahead, tap_ahead;
            logic row_inside, tap_wraps, unused;
            index_t offset, x, col_x;
            always_ff @(posedge clk)
                if (rst | done) col_x <= '0;
                else if (work && last_chunk && pixel_ends) col_x <= last_col ? '0 : col_x + index_t'(port_step[p]);
            // Of a depthwise conv a port reads one tap, which may lie a row below the chunk's first.
            assign ahead = span + port_offset[p];
            assign tap_wraps = is_depthwise && ahead >= layer[F_SPAN];
            assign tap_ahead = tap_wraps ? ahead - layer[F_SPAN] : ahead;
            assign own_row = row + port_row[p] + N'(tap_wraps);
            assign row_inside = own_row < N'(ROWS) && row_there[ROW_BITS'(own_row)];
            assign offset = index_t'(is_conv ? ahead
                : first_channel + channel + (is_depthwise ? tap_ahead : port_offset[p]));
            assign x = index_t'(layer[F_START]) + col_x + offset;
            assign now_address[p] = row_address[ROW_BITS'(own_row)] + x;
            for (genvar i = 0; i < LANES; i++) begin : g_lane
                assign now_mask[p][i] = row_inside
                    && x + index_t'(i) >= 0 && x + index_t'(i) < index_t'(port_row_bytes[p])
                    && offset + index_t'(i) >= 0 && offset + index_t'(i) < index_t'(port_limit[p]);
            end
            assign is_signed[p] = port_signed[p][0];
            assign align[p] = port_align[p][4:0];
            assign unused = &{1'b0, port_signed[p], port_align[p]};
        end
    endgenerate
    logic shown;
    assign shown = out < layer[F_OUT_COLS];
    always_ff @(posedge clk) begin
        valid <= work;
        first <= is_sums ? tap == '0 : chunk == '0;
        fresh <= begins[0];
        address <= now_address;
        mask <= now_mask;
        bias_address <= weights + group_weights;
        weight_address <= weights + group_weights + N'(layer[F_BIAS] * own_channels) + chunk_weights;
        lanes <= last_chunk ? layer[F_REST] : N'(SIMD);
        sums <= layer[F_SUMS] + group_sums + out;
        keep <= work && is_sums && window_ends && shown;
        write <= work && last_chunk && window_ends && shown && emits[0];
        write_address <= target + col_out + first_channel + channel;
        channels <= own_channels;
    end
    logic unused;
    assign unused = &{1'b0, own_layer, task_place, ends[N-1:1], begins[N-1:1], emits[N-1:1]};
endmodule
